// Which parameter (scale, zero point, range) an element uses.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../parallel.hpp"
#include "check.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

// Run j of row r uses the parameter (r / rows_per_param * per_row + j) % params, as in lowbit_runs.
struct RunMap {
  int64_t rows, row_length, run;
  int64_t per_row;  // runs in a row
  int64_t rows_per_param, params;

  int64_t runs() const { return ceil_div(rows, rows_per_param) * per_row; }  // groups of rows count once
  int64_t elements() const { return rows * row_length; }
  int64_t first_param(int64_t row, int64_t j) const { return (row / rows_per_param * per_row + j) % params; }
};

// Fails on what has no meaning: sizes below 0, more than 2^56 elements, parameters that do not divide the runs.
lowbit_status check_runs(const lowbit_runs& runs, lowbit_error* error);

// The map of checked runs with at least one element. rows_join: the rows follow each other without padding; they are
// then taken as one wherever that gives the same parameters, so that short rows cost nothing.
RunMap make_map(const lowbit_runs& runs, bool rows_join);

// Covers items [0, n) of about `size` elements each with calls f(begin, end), in portions worth waking a thread for.
template <typename F>
void parallel_items(const Context& context, int64_t n, int64_t size, F f) {
  constexpr int64_t kPortion = 32768;  // elements: some 10 µs
  const int64_t per = std::max<int64_t>(1, kPortion / std::max<int64_t>(1, size));
  parallel_for(context, ceil_div(n, per),
               [&](int64_t begin, int64_t end, int) { f(begin * per, std::min(n, end * per)); });
}

// Ranges of all parameters as lowbit_range gives them.
void find_ranges(const Context& context, const RunMap& map, const float* x, float* minimum, float* maximum);

// What no finite element has left (+inf, -inf) becomes (0, 0), and -0 becomes +0.
inline void finish_ranges(int64_t n, float* minimum, float* maximum) {
  for (int64_t i = 0; i < n; ++i) {
    const bool none = minimum[i] > maximum[i];
    minimum[i] = none ? 0.0f : minimum[i] + 0.0f;
    maximum[i] = none ? 0.0f : maximum[i] + 0.0f;
  }
}

}  // namespace lowbit
