// Dot products of small codes without VNNI: vpmaddubsw, exact while sums of four products fit 16 bits, which they do
// for codes of at most 63 (4 * 63 * 128 < 32768), then vpmaddwd with ones. 5 instructions for 8 k where pairs.hpp
// has 8. Needs from the including tile: Words { madd_bytes, add_pairs, madd, ones }.
#pragma once

#include "../kernels.hpp"

#include "sums.hpp"

#include "../isa/begin.hpp"

template <class Words>
struct SmallTile {
  static constexpr int kBytesPerK = 1, kStep = 8, kBias = kSmallBias;

  struct B {
    Vec::I low, high;
  };

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    return {codes[0], codes[1]};
  }

  template <int MR, int NV>
  struct Acc : LaneSums<MR, NV> {
    using LaneSums<MR, NV>::sum;

    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) {
        const Vec::I low = four_bytes(a + r * stride), high = four_bytes(a + r * stride + 4);
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          const Vec::I pairs = Words::add_pairs(Words::madd_bytes(b[j].low, low), Words::madd_bytes(b[j].high, high));
          sum[r][j] = Vec::iadd(sum[r][j], Words::madd(pairs, Words::ones()));
          LOWBIT_NOW(sum[r][j]);
        }
      }
    }
  };
};

#include "../isa/end.hpp"
