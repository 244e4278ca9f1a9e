// From sums of products to what an activation takes, for finish_rows and for tiles that write results themselves.
#pragma once

#include "../isa/begin.hpp"

// fma from +0, as the sum over groups has it: 0 * -1 gives +0
LOWBIT_INLINE Vec::F scaled(Vec::I sum, Vec::F scale) { return Vec::fma(Vec::to_float(sum), scale, Vec::set(0.0f)); }

// Results of a tile at (row, vec) of its block. column(j, v): the sums of vector j, a number for each of MR rows.
template <int MR, int NV, class Column>
LOWBIT_INLINE void store_results(const Epilogue& e, int64_t row, int64_t vec, float* c, ptrdiff_t ldc, Column column) {
  const float one = 1.0f;  // v * 1 and v + -0 are v: one body serves with and without
  const float* const act_scale = e.act_scale ? e.act_scale + row * e.act_scale_stride : &one;
  const ptrdiff_t stride = e.act_scale ? e.act_scale_stride : 0;
  LOWBIT_UNROLL
  for (int j = 0; j < NV; ++j) {
    const Vec::F bias = e.bias ? Vec::load(e.bias + (vec + j) * Vec::kLanes) : Vec::set(-0.0f);
    Vec::F v[MR];
    column(j, v);
    LOWBIT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const Vec::F result = Vec::add(Vec::mul(v[r], Vec::set(act_scale[r * stride])), bias);
      Vec::store(c + r * ldc + j * Vec::kLanes, result);
    }
  }
}

#include "../isa/end.hpp"
