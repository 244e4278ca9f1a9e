// Matrix kernel with float32 products: one fma for each k, ascending, from +0 (docs/numerics.md).
#pragma once

#include "tiles-inl.hpp"

#include "../isa/begin.hpp"

template <int MR, int NV>
void float_tile(const FloatBlock& g, int64_t row, int64_t vec) {
  const int64_t ldb = g.panels * kPanel;
  const float* a = g.a + row * g.a_stride;
  const float* b = g.b + vec * Vec::kLanes;
  Vec::F sum[MR][NV];
  LOWBIT_UNROLL
  for (int r = 0; r < MR; ++r) {
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) sum[r][j] = Vec::set(0.0f);
  }
  for (int64_t k = 0; k < g.k; ++k) {
    Vec::F w[NV];
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) w[j] = Vec::load(b + k * ldb + j * Vec::kLanes);
    LOWBIT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const Vec::F x = Vec::set(a[r * g.a_stride + k]);
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) sum[r][j] = Vec::fma(x, w[j], sum[r][j]);
    }
  }
  float* c = g.c + row * g.ldc + vec * Vec::kLanes;
  LOWBIT_UNROLL
  for (int r = 0; r < MR; ++r) {
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) {
      float* at = c + r * g.ldc + j * Vec::kLanes;
      Vec::store(at, g.first ? sum[r][j] : Vec::add(Vec::load(at), sum[r][j]));
    }
  }
}

struct FloatBody {
  template <int MR, int NV>
  static LOWBIT_INLINE void tile(const FloatBlock& g, int64_t row, int64_t vec) {
    float_tile<MR, NV>(g, row, vec);
  }
};

void gemm_float(const FloatBlock& g) { each_tile<FloatBody, Tile::kFloatRows, Tile::kFloatVecs>(g); }

#include "../isa/end.hpp"
