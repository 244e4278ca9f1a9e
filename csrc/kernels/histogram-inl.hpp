// Counts in equal bins (docs/numerics.md, "Calibration").
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "quantize-inl.hpp"

#include "../isa/begin.hpp"

struct BinFinder {
  Vec::F inverse, middle, last;
  bool absolute_values;

  LOWBIT_INLINE explicit BinFinder(const HistogramRule& rule)
      : inverse(Vec::set(rule.inverse)),
        middle(Vec::set(rule.absolute ? 0.0f : float(rule.bins / 2))),
        last(Vec::set(float(rule.bins - 1))),
        absolute_values(rule.absolute != 0) {}

  LOWBIT_INLINE Vec::I operator()(Vec::F x) const {
    const Vec::F limit = Vec::set(0x1p21f);  // far past the bins; Vec::round takes no more
    Vec::F t = Vec::mul(absolute_values ? absolute(x) : x, inverse);
    t = Vec::min(Vec::max(t, negate(limit)), limit);
    const Vec::F nearest = Vec::to_float(Vec::round(t));
    const Vec::F floor = Vec::select(Vec::less(t, nearest), Vec::sub(nearest, Vec::set(1.0f)), nearest);
    Vec::F bin = Vec::min(Vec::max(Vec::add(floor, middle), Vec::set(0.0f)), last);
    bin = Vec::select(Vec::is_nan(finite(x)), Vec::add(last, Vec::set(1.0f)), bin);
    return Vec::round(bin);
  }
};

void histogram(const float* x, int64_t n, const HistogramRule& rule, uint32_t* tables) {
  constexpr int64_t kBlock = 256;
  const BinFinder find(rule);
  const int64_t table = rule.bins + 1;
  int32_t bins[kBlock];
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = n - first < kBlock ? n - first : kBlock;
    for (int64_t i = 0; i < count; i += Vec::kLanes) {
      const int64_t left = count - i;
      const Vec::F v = left < Vec::kLanes ? Vec::load_n(x + first + i, int(left)) : Vec::load(x + first + i);
      Vec::istore(bins + i, find(v));
    }
    // one table after the other: a count that has just been written need not be read at once
    int64_t i = 0;
    for (; i + kHistogramTables <= count; i += kHistogramTables) {
      LOWBIT_UNROLL
      for (int t = 0; t < kHistogramTables; ++t) ++tables[t * table + bins[i + t]];
    }
    for (; i < count; ++i) ++tables[bins[i]];
  }
}

#include "../isa/end.hpp"
