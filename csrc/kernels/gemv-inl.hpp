// gemv_groups: products with packed codes. One row reads a panel from end to end and then the next: one sequence comes
// from memory 20 % faster than four panels side by side, which is what tiles of more rows (gemm-inl.hpp) read.
#pragma once

#include "gemm-inl.hpp"

#include "../isa/begin.hpp"

// Sums of a row's products with the columns of one panel.
template <class Tile, class Layout>
class RowSums {
 public:
  static constexpr int kVecs = kVecsPerPanel;

  LOWBIT_INLINE explicit RowSums(int32_t first) {
    sums_[0].start([&](int) LOWBIT_ALWAYS { return first; });
    LOWBIT_UNROLL
    for (int i = 1; i < kSums; ++i) sums_[i].start([](int) LOWBIT_ALWAYS { return 0; });
  }

  // Adds the products of the codes from b up to `stop`, whole steps; moves b and a behind them.
  LOWBIT_INLINE void add(const Layout& layout, const uint8_t*& b, const uint8_t*& a, const uint8_t* stop) {
    // 32 k at a time: with steps one by one, counting them took a third of the instructions (4 bits)
    constexpr int kMany = 32 / Layout::kStep;
    while (stop - b >= kMany * Layout::kStepBytes) steps<kMany>(layout, b, a);
    while (kMany > 1 && b < stop) steps<1>(layout, b, a);
  }

  LOWBIT_INLINE Vec::I get(int j) const {
    Vec::I sum = sums_[0].get(0, j);
    LOWBIT_UNROLL
    for (int i = 1; i < kSums; ++i) sum = Vec::iadd(sum, sums_[i].get(0, j));
    return sum;
  }

 private:
  static constexpr int kTileSteps = Layout::kDwords * 4 / Tile::kStep;
  static constexpr int kSums = kTileSteps < 2 ? 1 : 2;  // one would wait for itself
  static constexpr int kAhead = 4096;                   // codes are fetched so many bytes before their use

  template <int n>
  LOWBIT_INLINE void steps(const Layout& layout, const uint8_t*& b, const uint8_t*& a) {
    each_dword<n>([&](auto i) LOWBIT_ALWAYS {
      const uint8_t* const at = b + i.value * Layout::kStepBytes;
      LOWBIT_UNROLL
      for (int line = 0; line < Layout::kStepBytes; line += 64) LOWBIT_PREFETCH(at + kAhead + line);
      typename Layout::Planes planes[kVecs];
      each_dword<kTileSteps>([&](auto step) LOWBIT_ALWAYS {
        constexpr int kDwords = Tile::kStep / 4;
        typename Tile::B codes[kVecs];
        LOWBIT_UNROLL
        for (int j = 0; j < kVecs; ++j) {
          Vec::I dwords[kDwords];
          each_dword<kDwords>([&](auto d) LOWBIT_ALWAYS {
            dwords[d.value] = layout.template dword<step.value * kDwords + d.value>(at + 4 * column_of(j), planes[j]);
          });
          codes[j] = Tile::template prepare<Layout::kBytes>(dwords);
        }
        constexpr int k = i.value * Layout::kStep + step.value * Tile::kStep;
        sums_[step.value % kSums].mac(codes, a + Tile::kBytesPerK * k, 0);
      });
    });
    b += n * Layout::kStepBytes;
    a += n * Tile::kBytesPerK * Layout::kStep;
  }

  typename Tile::template Acc<1, kVecs> sums_[kSums];
};

// As groups_tile.
template <class Tile, class Layout, bool kZeros>
void row_of_panel(const GemmBlock& g, int64_t panel) {
  constexpr int NV = kVecsPerPanel;
  const Layout layout(g.table);
  const int half = g.scale_half;
  const int64_t scale_bytes = kPanel * (half ? 2 : 4), scale_ratio = g.scale_ratio, act_ratio = g.act_ratio;
  const int64_t group_bytes = g.group_k / Layout::kStep * Layout::kStepBytes;
  const int64_t last_group_bytes = g.last_group_k / Layout::kStep * Layout::kStepBytes;
  const uint8_t *b = g.b + panel * g.b_stride, *scale = g.scale + panel * g.scale_stride, *a = g.a;
  const int32_t* a_sum = g.sums;
  const float* act_scale = g.act_scale;
  float* const c = static_cast<float*>(g.c) + panel * kPanel;

  int64_t scale_group = 0, scale_left = scale_ratio, act_left = act_ratio;
  for (int64_t first = 0; first < g.groups; first += g.segment_groups) {
    const int64_t end = first + g.segment_groups < g.groups ? first + g.segment_groups : g.groups;
    Vec::F total[1][NV];
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) total[0][j] = Vec::set(0.0f);
    for (int64_t group = first; group < end; ++group, ++a_sum) {
      RowSums<Tile, Layout> sums(kZeros ? 0 : *a_sum);
      sums.add(layout, b, a, b + (group + 1 < g.groups ? group_bytes : last_group_bytes));
      LOWBIT_PREFETCH(scale + 1024);
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) {
        Vec::I s = sums.get(j);
        if constexpr (kZeros) {
          Vec::I zero = load_zero(g.zero + panel * g.zero_stride, g.zero_bits, scale_group, column_of(j));
          if (Layout::kBytes) zero = Vec::isub(zero, Vec::iset(128 - Tile::kBias));
          s = Vec::isub(s, Vec::imul(zero, Vec::iset(*a_sum)));
        }
        const Vec::F scales = Vec::mul(load_scale(scale, half, 0, column_of(j)), Vec::set(*act_scale));
        total[0][j] = Vec::fma(Vec::to_float(s), scales, total[0][j]);
      }
      if (--scale_left == 0) ++scale_group, scale += scale_bytes, scale_left = scale_ratio;
      if (--act_left == 0) ++act_scale, act_left = act_ratio;
    }
    store_segment(total, first == 0, c, g.ldc);
  }
  finish_tile<1, NV>(g, 0, panel * NV);
}

template <class T, class Layout>
void gemv_codes(const GemmBlock& g) {
  constexpr int MR = T::kGemvRows, NV = T::kGroupsVecs;
  if constexpr (Layout::kOnePlane) {  // these take many rows (most_gemv_rows)
    if (g.rows > 1 && !g.zero) {
      return g.act_scale ? each_tile<GroupsBody<T, Layout, true, false>, T::kScaledRows, T::kScaledVecs>(g)
                         : each_tile<GroupsBody<T, Layout, false, false>, MR, NV>(g);
    }
  }
  const float one = 1.0f;  // scale * 1 is scale: one body serves both
  GemmBlock block = g;
  if (!g.act_scale) {
    block.act_scale = &one;
    block.act_scale_stride = 0;
    block.act_ratio = g.groups + 1;
  }
  if (block.rows > 1) return each_tile<GroupsBody<T, Layout, true, true>, MR, NV>(block);
  // by pointer: g++ 12 pastes all widths into one function else, whose constants do not fit its registers
  const auto row = g.zero ? row_of_panel<T, Layout, true> : row_of_panel<T, Layout, false>;
  for (int64_t panel = 0; panel < block.panels; ++panel) row(block, panel);
}

void gemv_groups(const GemmBlock& g) {
  if (g.table) return gemv_codes<Tile, TableCodes>(g);
  with_bits(g.bits, [&](auto bits) LOWBIT_ALWAYS {
    gemv_codes<typename Chosen<(bits.value <= Tile::kSmallBits)>::type, Codes<bits.value>>(g);
  });
}

#include "../isa/end.hpp"
