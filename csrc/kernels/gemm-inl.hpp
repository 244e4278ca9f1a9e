// Matrix kernels with integer products. The register tile loops here; blocking for caches and threads is in ops/.
//
// Versions: gemm_codes one group, int32 sums only (6x64 on AVX-512: 24 sums leave room for nothing else);
//           gemm_groups float sums beside the integer ones, bytes in; gemv_groups (gemv-inl.hpp) the same, codes
//           unpacked on the way.
#pragma once

#include "codes-inl.hpp"
#include "epilogue-inl.hpp"
#include "tiles-inl.hpp"

#include "../isa/begin.hpp"

template <class Tile, int MR, int NV>
void codes_tile(const GemmBlock& g, int64_t row, int64_t vec) {
  const uint8_t* b[NV];
  for (int j = 0; j < NV; ++j) b[j] = g.b + panel_of(vec + j) * g.b_stride + 4 * column_of(vec + j);
  const uint8_t* a = g.a + row * g.a_stride;

  typename Tile::template Acc<MR, NV> acc;
  const Rows<int32_t, MR> sums(g.sums + row * g.sums_stride, g.sums_stride);
  acc.start([&](int r) LOWBIT_ALWAYS { return int32_t(uint32_t(sums.at(r, 0)) * uint32_t(-Tile::kBias)); });
  for (int64_t k = 0; k < g.last_group_k; k += Tile::kStep) {
    typename Tile::B codes[NV];
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) {
      Vec::I dwords[Tile::kStep / 4];
      LOWBIT_UNROLL
      for (int d = 0; d < Tile::kStep / 4; ++d) dwords[d] = Vec::iload(b[j] + 16 * k + 64 * d);
      codes[j] = Tile::template prepare<true>(dwords);
    }
    acc.mac(codes, a + Tile::kBytesPerK * k, g.a_stride);
  }

  if (const Epilogue* const e = g.epilogue) {
    float* const c = static_cast<float*>(g.c) + row * g.ldc + vec * Vec::kLanes;
    return store_results<MR, NV>(*e, row, vec, c, g.ldc, [&](int j, Vec::F* v) LOWBIT_ALWAYS {
      const Vec::F scale = Vec::load(e->scale + (vec + j) * Vec::kLanes);
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) v[r] = scaled(acc.get(r, j), scale);
    });
  }
  int32_t* c = static_cast<int32_t*>(g.c) + row * g.ldc + vec * Vec::kLanes;
  LOWBIT_UNROLL
  for (int r = 0; r < MR; ++r) {
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) Vec::istore(c + r * g.ldc + j * Vec::kLanes, acc.get(r, j));
  }
}

// The sums of a tile to results, where they are.
template <int MR, int NV>
LOWBIT_INLINE void finish_tile(const GemmBlock& g, int64_t row, int64_t vec) {
  if (!g.epilogue) return;
  float* const c = static_cast<float*>(g.c) + row * g.ldc + vec * Vec::kLanes;
  store_results<MR, NV>(*g.epilogue, row, vec, c, g.ldc, [&](int j, Vec::F* v) LOWBIT_ALWAYS {
    LOWBIT_UNROLL
    for (int r = 0; r < MR; ++r) v[r] = Vec::load(c + r * g.ldc + j * Vec::kLanes);
  });
}

// Codes<8>: bytes that mean p - 128, from an 8-bit layout or from unpack_panel. kZeros: columns may have zero points.
template <class Tile, class Layout, bool kActScale, bool kZeros, int MR, int NV>
void groups_tile(const GemmBlock& g, int64_t row, int64_t vec) {
  const bool zeros = kZeros && g.zero;
  const Layout layout(g.table);
  constexpr bool kBytes = Layout::kBytes;
  // Packed codes come from memory: they are fetched 1 KB before their use, at a panel's end those of the panel that
  // follows the NV of this tile. (Bytes come from L2.)
  constexpr int kAhead = Layout::kStepBytes == 64 * Layout::kDwords ? 0 : 1024;
  const uint8_t* b[NV];
  const uint8_t* scale_of[NV];
  LOWBIT_UNROLL
  for (int j = 0; j < NV; ++j) {
    b[j] = g.b + panel_of(vec + j) * g.b_stride + 4 * column_of(vec + j);
    scale_of[j] = g.scale + panel_of(vec + j) * g.scale_stride;
  }
  constexpr int64_t kOtherPanels = (NV - 1) / kVecsPerPanel;
  ptrdiff_t ahead = kAhead, scale_ahead = kAhead / 2;
  const int64_t last_ahead = g.groups - kAhead / (g.group_k / Layout::kStep * Layout::kStepBytes);
  const int scale_bytes = g.scale_half ? 2 : 4;
  const uint8_t* a = g.a + row * g.a_stride;
  const Rows<int32_t, MR> sums(g.sums + row * g.sums_stride, g.sums_stride);
  const Rows<float, MR> act_scales(kActScale ? g.act_scale + row * g.act_scale_stride : nullptr, g.act_scale_stride);
  float* c = static_cast<float*>(g.c) + row * g.ldc + vec * Vec::kLanes;

  int64_t scale_group = 0, scale_left = g.scale_ratio, act_group = 0, act_left = g.act_ratio;
  for (int64_t first = 0; first < g.groups; first += g.segment_groups) {
    const int64_t end = first + g.segment_groups < g.groups ? first + g.segment_groups : g.groups;
    Vec::F total[MR][NV];
    LOWBIT_UNROLL
    for (int r = 0; r < MR; ++r) {
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) total[r][j] = Vec::set(0.0f);
    }

    for (int64_t group = first; group < end; ++group) {
      typename Tile::template Acc<MR, NV> acc;
      acc.start([&](int r) LOWBIT_ALWAYS { return zeros ? 0 : sums.at(r, group); });
      if (kAhead != 0 && group == last_ahead) {
        ahead += kOtherPanels * g.b_stride;
        scale_ahead += kOtherPanels * g.scale_stride;
      }

      const int64_t k_end = group + 1 < g.groups ? g.group_k : g.last_group_k;
      for (int64_t k = 0; k < k_end; k += Layout::kStep) {
        typename Layout::Planes planes[NV];
        each_dword<Layout::kDwords * 4 / Tile::kStep>([&](auto step) LOWBIT_ALWAYS {
          constexpr int kDwordsPerStep = Tile::kStep / 4;
          typename Tile::B codes[NV];
          LOWBIT_UNROLL
          for (int j = 0; j < NV; ++j) {
            Vec::I dwords[kDwordsPerStep];
            each_dword<kDwordsPerStep>([&](auto d) LOWBIT_ALWAYS {
              dwords[d.value] = layout.template dword<step.value * kDwordsPerStep + d.value>(b[j], planes[j]);
            });
            codes[j] = Tile::template prepare<kBytes>(dwords);
          }
          acc.mac(codes, a + Tile::kBytesPerK * Tile::kStep * step.value, g.a_stride);
        });
        a += Tile::kBytesPerK * Layout::kStep;
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          if (kAhead != 0 && column_of(vec + j) == 0) {
            LOWBIT_UNROLL
            for (int i = 0; i < Layout::kStepBytes; i += 64) LOWBIT_PREFETCH(b[j] + ahead + i);
          }
          b[j] += Layout::kStepBytes;
        }
      }

      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) {
        const int column = column_of(vec + j);
        if (kAhead != 0) LOWBIT_PREFETCH(scale_of[j] + (scale_group * kPanel + column) * scale_bytes + scale_ahead);
        const Vec::F scale = load_scale(scale_of[j], g.scale_half, scale_group, column);
        Vec::I zero = Vec::iset(0);
        if (zeros) {
          zero = load_zero(g.zero + panel_of(vec + j) * g.zero_stride, g.zero_bits, scale_group, column);
          if (kBytes) zero = Vec::isub(zero, Vec::iset(128 - Tile::kBias));
        }
        LOWBIT_UNROLL
        for (int r = 0; r < MR; ++r) {
          Vec::I s = acc.get(r, j);
          if (zeros) s = Vec::isub(s, Vec::imul(zero, Vec::iset(sums.at(r, group))));
          Vec::F scales = scale;
          if (kActScale) scales = Vec::mul(scale, Vec::set(act_scales.at(r, act_group)));
          total[r][j] = Vec::fma(Vec::to_float(s), scales, total[r][j]);
        }
      }
      if (--scale_left == 0) ++scale_group, scale_left = g.scale_ratio;
      if (--act_left == 0) ++act_group, act_left = g.act_ratio;
    }

    store_segment(total, first == 0, c, g.ldc);
  }
  finish_tile<MR, NV>(g, row, vec);
}

// Tile: the ISA's, or its Tile::Small.
template <class Tile>
struct CodesBody {
  template <int MR, int NV>
  static LOWBIT_INLINE void tile(const GemmBlock& g, int64_t row, int64_t vec) {
    codes_tile<Tile, MR, NV>(g, row, vec);
  }
};

template <class Tile, class Layout, bool kActScale, bool kZeros>
struct GroupsBody {
  template <int MR, int NV>
  static LOWBIT_INLINE void tile(const GemmBlock& g, int64_t row, int64_t vec) {
    groups_tile<Tile, Layout, kActScale, kZeros, MR, NV>(g, row, vec);
  }
};

// The tile for small codes, or the ISA's.
template <bool kSmall, class T = Tile>
struct Chosen {
  using type = T;
};
template <class T>
struct Chosen<true, T> {
  using type = typename T::Small;
};

// Calls fn with the Chosen tile for a block's codes.
template <class Fn>
LOWBIT_INLINE void with_tile(bool small, Fn fn) {
  constexpr bool kHasSmall = Tile::kSmallBits > 0;
  if (kHasSmall && small) return fn(Chosen<kHasSmall>());
  fn(Chosen<false>());
}

void gemm_codes(const GemmBlock& g) {
  with_tile(g.small, [&](auto type) LOWBIT_ALWAYS {
    using T = typename decltype(type)::type;
    each_tile<CodesBody<T>, T::kCodesRows, T::kCodesVecs>(g);
  });
}

template <bool kActScale>
void gemm_bytes(const GemmBlock& g) {
  if (g.zero) {
    return each_tile<GroupsBody<Tile, Codes<8>, kActScale, true>, Tile::kGroupsRows, Tile::kGroupsVecs>(g);
  }
  with_tile(g.small, [&](auto type) LOWBIT_ALWAYS {
    using T = typename decltype(type)::type;
    each_tile<GroupsBody<T, Codes<8>, kActScale, false>, T::kGroupsRows, T::kGroupsVecs>(g);
  });
}

void gemm_groups(const GemmBlock& g) { g.act_scale ? gemm_bytes<true>(g) : gemm_bytes<false>(g); }

#include "../isa/end.hpp"
