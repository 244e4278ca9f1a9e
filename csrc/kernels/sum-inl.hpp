// Sums of floats in an order that no ISA changes: element i goes to lane i % 16, then lanes 8, 4, 2 and 1 apart are
// added (docs/numerics.md, "Sums").
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "quantize-inl.hpp"

#include "../isa/begin.hpp"

constexpr int kSumParts = kSumLanes / Vec::kLanes;
static_assert(kSumParts * Vec::kLanes == kSumLanes, "lanes fill whole vectors");

struct LaneSum {
  Vec::F part[kSumParts];

  LOWBIT_INLINE LaneSum() {
    LOWBIT_UNROLL
    for (int v = 0; v < kSumParts; ++v) part[v] = Vec::set(0.0f);
  }
  LOWBIT_INLINE void add(int v, Vec::F x) { part[v] = Vec::add(part[v], x); }
  LOWBIT_INLINE float total() const {
    float lanes[kSumLanes];
    LOWBIT_UNROLL
    for (int v = 0; v < kSumParts; ++v) Vec::store(lanes + v * Vec::kLanes, part[v]);
    for (int half = kSumLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    return lanes[0];
  }
};

// Calls fn(v, vector): the elements of [x, x + n), vector v of each 16 of them; NaN past the end.
template <class Fn>
LOWBIT_INLINE void each_part_of_16(const float* x, int64_t n, Fn fn) {
  int64_t i = 0;
  const auto sixteen = [&](const float* p) LOWBIT_ALWAYS {
    LOWBIT_UNROLL
    for (int v = 0; v < kSumParts; ++v) fn(v, Vec::load(p + v * Vec::kLanes));
  };
  for (; i + kSumLanes <= n; i += kSumLanes) sixteen(x + i);
  if (i == n) return;
  float rest[kSumLanes];
  for (int k = 0; k < kSumLanes; ++k) rest[k] = i + k < n ? x[i + k] : LOWBIT_NAN;
  sixteen(rest);
}

void absolute_sum(const float* x, int64_t n, float* sum, int64_t* count) {
  LaneSum sizes, finites;
  each_part_of_16(x, n, [&](int v, Vec::F a) LOWBIT_ALWAYS {
    const Vec::M none = Vec::is_nan(finite(a));
    sizes.add(v, Vec::select(none, Vec::set(0.0f), absolute(a)));
    finites.add(v, Vec::select(none, Vec::set(0.0f), Vec::set(1.0f)));
  });
  *sum = sizes.total();
  *count = int64_t(finites.total());
}

#include "../isa/end.hpp"
