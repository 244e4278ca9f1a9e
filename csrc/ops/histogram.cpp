// lowbit_histogram. Each task counts in tables of its own, on the stack, and adds them up under a lock: sums of
// integers do not depend on the order.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "../context.hpp"
#include "../error.hpp"
#include "elements.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr int kMostBins = 4096;

struct Tables {
  const Kernels& kernels;
  HistogramRule rule;
  uint32_t counts[kHistogramTables * (kMostBins + 1)];
  int64_t elements = 0;

  Tables(const Kernels& k, const HistogramRule& r) : kernels(k), rule(r) { clear(); }

  void clear() {
    std::fill(counts, counts + kHistogramTables * (rule.bins + 1), 0u);
    elements = 0;
  }
  void count(const float* x, int64_t n) {
    kernels.histogram(x, n, rule, counts);
    elements += n;
  }
  bool full() const { return elements >= int64_t{1} << 30; }
  void add_to(int64_t* out) {
    for (int bin = 0; bin < rule.bins; ++bin) {
      for (int t = 0; t < kHistogramTables; ++t) out[bin] += counts[t * (rule.bins + 1) + bin];
    }
    clear();
  }
};

// All of parameter p on one thread: long stretches where they are, short ones by way of a buffer.
void count_param(const RunMap& map, const float* x, int64_t p, Tables* tables, int64_t* out) {
  constexpr int64_t kShort = 64, kLong = int64_t{1} << 24;
  Elements elements(map, p);
  if (map.run >= kShort) {
    while (elements.next(kLong, [&](int64_t at, int64_t n) { tables->count(x + at, n); })) {
      if (tables->full()) tables->add_to(out);
    }
  } else {
    constexpr int64_t kBuffer = 256;
    float buffer[kBuffer];
    while (const int64_t n = elements.read(x, kBuffer, buffer)) {
      tables->count(buffer, n);
      if (tables->full()) tables->add_to(out);
    }
  }
  tables->add_to(out);
}

// A parameter that is one stretch of n elements, shared by the threads.
void count_stretch(const Context& context, const HistogramRule& rule, const float* x, int64_t n, int64_t* out) {
  const int64_t piece = std::max<int64_t>(int64_t{1} << 18, ceil_div(n, 256));
  std::atomic_flag busy = ATOMIC_FLAG_INIT;
  parallel_items(context, ceil_div(n, piece), piece, [&](int64_t begin, int64_t end) {
    Tables tables(*context.kernels, rule);
    const auto flush = [&] {
      while (busy.test_and_set(std::memory_order_acquire)) {
      }
      tables.add_to(out);
      busy.clear(std::memory_order_release);
    };
    constexpr int64_t kLong = int64_t{1} << 24;
    const int64_t last = std::min(n, end * piece);
    for (int64_t at = begin * piece; at < last; at += kLong) {
      tables.count(x + at, std::min(kLong, last - at));
      if (tables.full()) flush();
    }
    flush();
  });
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_histogram(const lowbit_context* opaque, const lowbit_runs* runs, const float* x, int bins,
                               int absolute, const float* inverse_width, int64_t* counts, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  if (!runs) return fail(error, LOWBIT_INVALID_VALUE, "runs: got NULL, expected a lowbit_runs");
  if (const lowbit_status status = check_runs(*runs, error)) return status;
  if (bins < 2 || bins > kMostBins || bins % 2 != 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "bins: got %d, expected an even number from 2 to %d", bins, kMostBins);
  }
  if (runs->rows * runs->row_length == 0) return ok(error);
  if (const lowbit_status status = check_array(x, "x", sizeof *x, error)) return status;
  if (const lowbit_status status = check_array(inverse_width, "inverse_width", sizeof *inverse_width, error)) {
    return status;
  }
  if (const lowbit_status status = check_array(counts, "counts", sizeof *counts, error)) return status;
  for (int64_t p = 0; p < runs->params; ++p) {
    if (!std::isfinite(inverse_width[p]) || inverse_width[p] <= 0) {
      return fail(error, LOWBIT_INVALID_VALUE, "inverse_width: got %g at %lld, expected finite values above 0",
                  double(inverse_width[p]), static_cast<long long>(p));
    }
  }
  const RunMap map = make_map(*runs, true);
  const auto rule = [&](int64_t p) { return HistogramRule{inverse_width[p], bins, absolute != 0}; };
  if (threads_share_params(context, map)) {
    for (int64_t p = 0; p < map.params; ++p) {
      Elements(map, p).next(map.elements(), [&](int64_t at, int64_t n) {
        count_stretch(context, rule(p), x + at, n, counts + p * bins);
      });
    }
    return ok(error);
  }
  const int64_t size = ceil_div(map.elements(), map.params) + bins;
  parallel_items(context, map.params, size, [&](int64_t begin, int64_t end) {
    Tables tables(*context.kernels, rule(begin));
    for (int64_t p = begin; p < end; ++p) {
      tables.rule = rule(p);
      count_param(map, x, p, &tables, counts + p * bins);
    }
  });
  return ok(error);
}
