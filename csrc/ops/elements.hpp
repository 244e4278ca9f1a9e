// The elements of one parameter in order, and sums over them that do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "runs.hpp"

namespace lowbit {

// In order: the runs as lowbit_runs counts them, each row by row.
class Elements {
 public:
  // All of parameter p.
  Elements(const RunMap& map, int64_t p) : map_(map), run_(p), row_(first_row()) { enter(); }
  // From element `begin` on; only of maps with a single run.
  Elements(const RunMap& map, int64_t p, int64_t begin) : Elements(map, p) {
    at_ += begin;
    left_ -= begin;
  }

  int64_t count() const {
    const int64_t last = map_.row_length - (map_.per_row - 1) * map_.run;
    int64_t n = 0;
    for (int64_t run = run_; run < map_.runs(); run += map_.params) {
      const int64_t row = run / map_.per_row * map_.rows_per_param;
      const int64_t rows = std::min(map_.rows_per_param, map_.rows - row);
      n += rows * (run % map_.per_row == map_.per_row - 1 ? last : map_.run);
    }
    return n;
  }

  // Calls f(index, n) for at most `most` elements that follow each other in the array; false where none is left.
  template <typename F>
  bool next(int64_t most, F f) {
    if (left_ == 0) return false;
    const int64_t n = std::min(most, left_);
    f(at_, n);
    at_ += n;
    left_ -= n;
    if (left_ > 0) return true;
    if (++row_ == std::min(map_.rows, first_row() + map_.rows_per_param)) {
      run_ += map_.params;
      row_ = first_row();
    }
    enter();
    return true;
  }

  // Fills a buffer: copy(first place in it, index, n) for at most `most` elements; returns how many there were.
  template <typename F>
  int64_t fill(int64_t most, F copy) {
    int64_t n = 0;
    while (n < most && next(
                           most - n,
                           [&](int64_t at, int64_t count) {
                             copy(n, at, count);
                             n += count;
                           })) {
    }
    return n;
  }
  int64_t read(const float* x, int64_t most, float* out) {
    return fill(most, [=](int64_t to, int64_t at, int64_t n) { std::memcpy(out + to, x + at, size_t(n) * 4); });
  }

 private:
  int64_t first_row() const { return run_ / map_.per_row * map_.rows_per_param; }
  void enter() {
    left_ = 0;
    if (run_ >= map_.runs()) return;
    const int64_t begin = run_ % map_.per_row * map_.run;
    at_ = row_ * map_.row_length + begin;
    left_ = std::min(map_.run, map_.row_length - begin);
  }

  const RunMap& map_;
  int64_t run_, row_;
  int64_t at_ = 0, left_ = 0;  // of the current row's part of the run
};

constexpr int64_t kSegment = 4096;  // elements whose sum is float32, in 16 lanes (docs/numerics.md, "Sums")

// Whether each parameter is one stretch of memory, so that its segments can be found, and too few for a thread each.
inline bool threads_share_params(const Context& context, const RunMap& map) {
  const bool stretches = map.runs() == map.params && std::min(map.rows, map.rows_per_param) == 1;
  return stretches && map.params < 2 * context.max_threads;
}

// Sums over the n elements of parameter p by segments of kLength: sum(&elements, length, &part) takes the next `length`
// elements, add(part) gets the parts in order. parallel: threads share the segments. cost: of an element, in simple
// steps.
template <typename Part, int64_t kLength = kSegment, typename Sum, typename Add>
void each_segment(const Context& context, const RunMap& map, int64_t p, int64_t n, bool parallel, int64_t cost, Sum sum,
                  Add add) {
  const int64_t segments = ceil_div(n, kLength);
  const auto length = [=](int64_t segment) { return std::min(kLength, n - segment * kLength); };
  if (!parallel) {
    Elements elements(map, p);
    Part part;
    for (int64_t i = 0; i < segments; ++i) {
      sum(&elements, length(i), &part);
      add(part);
    }
    return;
  }
  constexpr int64_t kRound = 32768 / int64_t(sizeof(Part));
  Part parts[kRound];
  for (int64_t first = 0; first < segments; first += kRound) {
    const int64_t count = std::min(kRound, segments - first);
    parallel_items(context, count, kLength * cost, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Elements elements(map, p, (first + i) * kLength);
        sum(&elements, length(first + i), &parts[i]);
      }
    });
    for (int64_t i = 0; i < count; ++i) add(parts[i]);
  }
}

}  // namespace lowbit
