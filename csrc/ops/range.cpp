// lowbit_range, and the runs it shares with quantize and dequantize.
#include <limits>

#include "../context.hpp"
#include "../error.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void clear(int64_t n, float* minimum, float* maximum) {
  std::fill(minimum, minimum + n, kInfinity);
  std::fill(maximum, maximum + n, -kInfinity);
}

void fold(int64_t n, const float* low, const float* high, float* minimum, float* maximum) {
  for (int64_t i = 0; i < n; ++i) {
    minimum[i] = std::min(minimum[i], low[i]);
    maximum[i] = std::max(maximum[i], high[i]);
  }
}

// Folds n elements, runs of `run` of which the first starts at x, into the ranges of as many parameters.
void fold_runs(const Kernels& kernels, const float* x, int64_t n, int64_t run, float* minimum, float* maximum) {
  if (run == 1) return kernels.range_each(x, n, minimum, maximum);
  constexpr int64_t kRuns = 256;
  float low[kRuns], high[kRuns];
  for (int64_t runs = ceil_div(n, run); runs > 0; runs -= kRuns) {
    const int64_t count = std::min(runs, kRuns), length = std::min(n, count * run);
    kernels.range_runs(x, length, run, low, high);
    fold(count, low, high, minimum, maximum);
    x += length;
    n -= length;
    minimum += count;
    maximum += count;
  }
}

// The runs, counted as r / rows_per_param * per_row + j, meet the parameters 0 … params - 1 again and again. Folds the
// turns [begin, end) of parameters [first, last) into their ranges.
void fold_turns(const Kernels& kernels, const RunMap& map, const float* x, int64_t begin, int64_t end, int64_t first,
                int64_t last, float* minimum, float* maximum) {
  const int64_t runs = map.runs();
  for (int64_t turn = begin; turn < end; ++turn) {
    const int64_t from = turn * map.params + first, to = std::min(runs, turn * map.params + last);
    const int64_t last_row = std::min(map.rows, ceil_div(to, map.per_row) * map.rows_per_param);
    for (int64_t row = from / map.per_row * map.rows_per_param; row < last_row; ++row) {
      const int64_t base = row / map.rows_per_param * map.per_row;
      const int64_t a = std::max(from, base), b = std::min(to, base + map.per_row);
      const int64_t x_begin = (a - base) * map.run, x_end = std::min(map.row_length, (b - base) * map.run);
      fold_runs(kernels, x + row * map.row_length + x_begin, x_end - x_begin, map.run, minimum + (a - from),
                maximum + (a - from));
    }
  }
}

// One long row of elements with one parameter, split over the threads.
void fold_long(const Context& context, const float* x, int64_t n, float* minimum, float* maximum) {
  constexpr int64_t kPieces = 64;
  float low[kPieces], high[kPieces];
  clear(kPieces, low, high);
  const int64_t piece = round_up(ceil_div(n, kPieces), 16);
  parallel_items(context, ceil_div(n, piece), piece, [&](int64_t begin, int64_t end) {
    const int64_t length = std::min(n, end * piece) - begin * piece;
    context.kernels->range_runs(x + begin * piece, length, piece, low + begin, high + begin);
  });
  *minimum = std::min(*minimum, *std::min_element(low, low + kPieces));
  *maximum = std::max(*maximum, *std::max_element(high, high + kPieces));
}

// Few parameters with short runs: every thread has ranges of its own. Parameters repeat, so a turn may stand for
// several of them: a last axis of 3 is scanned as one of 510.
void fold_few(const Context& context, const RunMap& map, const float* x, float* minimum, float* maximum) {
  constexpr int64_t kRoom = 8192;
  float low[kRoom], high[kRoom];
  RunMap wide = map;
  wide.params *= std::max<int64_t>(1, 512 / map.params);
  const int64_t turns = ceil_div(map.runs(), wide.params);
  const int64_t pieces = std::min<int64_t>({16, kRoom / wide.params, turns});
  const int64_t piece = ceil_div(turns, pieces);
  clear(kRoom, low, high);
  parallel_items(context, pieces, piece * wide.params * map.run * map.rows_per_param, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      fold_turns(*context.kernels, wide, x, i * piece, std::min(turns, (i + 1) * piece), 0, wide.params,
                 low + i * wide.params, high + i * wide.params);
    }
  });
  for (int64_t i = 0; i < pieces * wide.params; i += map.params) {
    fold(map.params, low + i, high + i, minimum, maximum);
  }
}

}  // namespace

lowbit_status check_runs(const lowbit_runs& runs, lowbit_error* error) {
  const auto show = [](int64_t value) { return static_cast<long long>(value); };
  const lowbit_runs& r = runs;
  if (r.rows < 0 || r.row_length < 0 || r.run < 0 || r.rows_per_param < 0 || r.params < 0) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "runs: got rows = %lld, row_length = %lld, run = %lld, rows_per_param = %lld, params = %lld, expected "
                "none below 0",
                show(r.rows), show(r.row_length), show(r.run), show(r.rows_per_param), show(r.params));
  }
  int64_t elements;
  if (!multiply(&elements, r.rows, r.row_length) ||
      std::max({elements, r.rows, r.row_length, r.params}) > kMostElements) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "runs: got rows = %lld, row_length = %lld, params = %lld, expected at most 2^56 elements", show(r.rows),
                show(r.row_length), show(r.params));
  }
  if (elements == 0) return LOWBIT_OK;
  if (r.run < 1 || r.rows_per_param < 1 || r.params < 1) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "runs: got run = %lld, rows_per_param = %lld, params = %lld, expected at least 1 of each", show(r.run),
                show(r.rows_per_param), show(r.params));
  }
  const int64_t count = ceil_div(r.rows, r.rows_per_param) * ceil_div(r.row_length, r.run);
  if (count % r.params != 0) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "runs: got params = %lld, expected %lld or a divisor of it (rows / rows_per_param x runs in a row)",
                show(r.params), show(count));
  }
  return LOWBIT_OK;
}

RunMap make_map(const lowbit_runs& r, bool rows_join) {
  const int64_t run = std::min(r.run, r.row_length), per_row = ceil_div(r.row_length, run);
  const int64_t rows_per_param = std::min(r.rows_per_param, r.rows);  // which may be any: their product would overflow
  const int64_t elements = r.rows * r.row_length;
  if (rows_join) {
    if (r.params == 1) return {1, elements, elements, 1, 1, 1};
    if (per_row == 1) {
      const int64_t joined = rows_per_param * r.row_length;
      return {1, elements, joined, ceil_div(elements, joined), 1, r.params};
    }
    if (rows_per_param == 1 && r.row_length % run == 0) {
      return {1, elements, run, r.rows * per_row, 1, r.params};
    }
  }
  return {r.rows, r.row_length, run, per_row, rows_per_param, r.params};
}

void find_ranges(const Context& context, const RunMap& map, const float* x, float* minimum, float* maximum) {
  constexpr int64_t kLong = 65536, kShort = 64, kFew = 2048;
  clear(map.params, minimum, maximum);
  const int64_t turns = map.runs() / map.params;
  if (map.run >= kLong && map.params < 2 * context.max_threads) {
    for (int64_t row = 0; row < map.rows; ++row) {
      for (int64_t j = 0; j < map.per_row; ++j) {
        const int64_t p = map.first_param(row, j), begin = j * map.run;
        fold_long(context, x + row * map.row_length + begin, std::min(map.run, map.row_length - begin), minimum + p,
                  maximum + p);
      }
    }
  } else if (map.run <= kShort && map.params <= kFew && turns > 1) {
    fold_few(context, map, x, minimum, maximum);
  } else {
    // Neighbouring parameters together, so that each turn has some length.
    const int64_t block = std::max<int64_t>(1, 1024 / map.run);
    const int64_t size = block * map.run * turns * map.rows_per_param;
    parallel_items(context, ceil_div(map.params, block), size, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * block, last = std::min(map.params, end * block);
      fold_turns(*context.kernels, map, x, 0, turns, first, last, minimum + first, maximum + first);
    });
  }
  finish_ranges(map.params, minimum, maximum);
}

}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_range(const lowbit_context* opaque, const lowbit_runs* runs, const float* x, float* minimum,
                           float* maximum, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  if (!runs) return fail(error, LOWBIT_INVALID_VALUE, "runs: got NULL, expected a lowbit_runs");
  if (const lowbit_status status = check_runs(*runs, error)) return status;
  const bool empty = runs->rows == 0 || runs->row_length == 0;
  if (!empty) {
    if (const lowbit_status status = check_array(x, "x", sizeof *x, error)) return status;
  }
  if (runs->params > 0) {
    if (const lowbit_status status = check_array(minimum, "minimum", sizeof *minimum, error)) return status;
    if (const lowbit_status status = check_array(maximum, "maximum", sizeof *maximum, error)) return status;
  }
  if (empty) {
    std::fill(minimum, minimum + runs->params, 0.0f);
    std::fill(maximum, maximum + runs->params, 0.0f);
  } else {
    find_ranges(context, make_map(*runs, true), x, minimum, maximum);
  }
  return ok(error);
}
