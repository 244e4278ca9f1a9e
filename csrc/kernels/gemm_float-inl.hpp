// Matrix kernel with float32 products: one fma for each k, ascending, from +0 (docs/numerics.md).
#pragma once

#include "codes-inl.hpp"
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
  store_segment(sum, g.first != 0, g.c + row * g.ldc + vec * Vec::kLanes, g.ldc);
}

struct FloatBody {
  template <int MR, int NV>
  static LOWBIT_INLINE void tile(const FloatBlock& g, int64_t row, int64_t vec) {
    float_tile<MR, NV>(g, row, vec);
  }
};

void gemm_float(const FloatBlock& g) { each_tile<FloatBody, Tile::kFloatRows, Tile::kFloatVecs>(g); }

// ---- few rows, codes of at most 4 bits decoded on the way -----------------------------------------------------------

struct PackedFloatBlock : FloatBlock {
  PanelBlock codes;
  Vec::Table table;  // numbers by code, before zero points

  LOWBIT_INLINE PackedFloatBlock(const PanelBlock& p, const FloatBlock& g) : FloatBlock(g), codes(p) {
    // whole zero points are subtracted as floats, which is exact
    float values[16];
    for (int q = 0; q < 16; ++q) {
      values[q] = p.coder->kind != Coder::kInteger ? p.coder->values[q] : float(q - (p.float_zero ? p.zero_offset : 0));
    }
    table = Vec::table(values);
  }

  LOWBIT_INLINE Vec::F zero(int64_t panel, int64_t group, int column) const {
    if (codes.coder->kind != Coder::kInteger) return Vec::set(0.0f);
    if (codes.float_zero) return Vec::load(codes.float_zero + (panel * codes.groups + group) * kPanel + column);
    if (!codes.zero) return Vec::set(float(codes.zero_offset));
    return Vec::to_float(load_zero(codes.zero + panel * codes.zero_stride, codes.zero_bits, group, column));
  }
};

template <int kBits, int MR, int NV>
void packed_float_tile(const PackedFloatBlock& g, int64_t row, int64_t vec) {
  using Layout = Codes<kBits>;
  constexpr int kAhead = 1024;  // as groups_tile fetches codes
  const PanelBlock& p = g.codes;
  Vec::F sum[MR][NV];
  LOWBIT_UNROLL
  for (int r = 0; r < MR; ++r) {
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) sum[r][j] = Vec::set(0.0f);
  }
  for (int64_t k = p.k_begin, group = k / p.group_size; k < p.k_end; ++group) {
    Vec::F scale[NV], zero[NV];
    const uint8_t* b[NV];
    const int64_t origin = group * p.group_size;
    const int64_t stop = p.k_end - origin < p.group_size ? p.k_end : origin + p.group_size;
    const int64_t first = (k - origin) / Layout::kStep * Layout::kStep;
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) {
      const int64_t panel = panel_of(vec + j);
      const int column = column_of(vec + j);
      scale[j] = load_scale(p.scale + panel * p.scale_stride, p.scale_half, group, column);
      zero[j] = g.zero(panel, group, column);
      b[j] = p.b + panel * p.b_stride + (group * p.group_k + first) / Layout::kStep * Layout::kStepBytes + 4 * column;
    }
    const Rows<float, MR> x(g.a + row * g.a_stride + origin - p.k_begin, g.a_stride);
    for (int64_t step = first; step < stop - origin; step += Layout::kStep) {
      const bool whole = step + origin >= k && step + origin + Layout::kStep <= stop;
      typename Layout::Planes planes[NV];
      each_dword<Layout::kDwords>([&](auto d) LOWBIT_ALWAYS {
        Vec::I dword[NV];
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) dword[j] = Layout::template dword<d.value>(b[j], planes[j]);
        LOWBIT_UNROLL
        for (int i = 0; i < 4; ++i) {
          const int64_t at = step + 4 * d.value + i;
          if (!whole && (at + origin < k || at + origin >= stop)) continue;
          Vec::F w[NV];
          LOWBIT_UNROLL
          for (int j = 0; j < NV; ++j) {
            w[j] = Vec::mul(Vec::sub(Vec::pick(g.table, Vec::shr(dword[j], 8 * i)), zero[j]), scale[j]);
          }
          LOWBIT_UNROLL
          for (int r = 0; r < MR; ++r) {
            const Vec::F value = Vec::set(x.at(r, at));
            LOWBIT_UNROLL
            for (int j = 0; j < NV; ++j) sum[r][j] = Vec::fma(value, w[j], sum[r][j]);
          }
        }
      });
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) {
        if (column_of(vec + j) == 0) {
          LOWBIT_UNROLL
          for (int i = 0; i < Layout::kStepBytes; i += 64) LOWBIT_PREFETCH(b[j] + kAhead + i);
        }
        b[j] += Layout::kStepBytes;
      }
    }
    k = stop;
  }
  store_segment(sum, g.first != 0, g.c + row * g.ldc + vec * Vec::kLanes, g.ldc);
}

template <int kBits>
struct PackedFloatBody {
  template <int MR, int NV>
  static LOWBIT_INLINE void tile(const PackedFloatBlock& g, int64_t row, int64_t vec) {
    packed_float_tile<kBits, MR, NV>(g, row, vec);
  }
};

void gemv_float(const PanelBlock& codes, const FloatBlock& product) {
  const PackedFloatBlock g(codes, product);
  with_bits(codes.bits, [&](auto bits) LOWBIT_ALWAYS {
    if constexpr (bits.value <= 4) {  // wider ones: decode_panel, gemm_float
      if (g.rows == 1) return each_tile<PackedFloatBody<bits.value>, 1, Tile::kGemvVecs>(g);
      each_tile<PackedFloatBody<bits.value>, Tile::kGemvRows, (Tile::kGemvVecs + 1) / 2>(g);
    }
  });
}

#include "../isa/end.hpp"
