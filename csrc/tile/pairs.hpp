// Dot products without VNNI (AVX2, AVX-512 BW): bytes widened to 16 bits and vpmaddwd, which is exact.
// vpmaddubsw would be half the work but saturates: 255 * 127 + 255 * 127 > 32767.
//
// Even and odd bytes of a dword of codes become two vectors of 16-bit pairs, so sums stay one lane to a column; an
// activation dword (a0 a1 a2 a3) is stored as the 16-bit pairs (a0 a2) (a1 a3).
// Needs from the including tile: Words { madd, even, odd }.
#pragma once

#include "sums.hpp"

#include "../isa/begin.hpp"

template <class Words>
struct PairTile {
  static constexpr int kBytesPerK = 2, kStep = 4, kBias = 128, kSmallBits = 5;

  struct B {
    Vec::I even, odd;
  };

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    return {Words::even(codes[0]), Words::odd(codes[0])};
  }

  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) {
    for (int64_t i = 0; i < k; i += 4) {
      const int16_t pairs[4] = {a[i], a[i + 2], a[i + 1], a[i + 3]};
      LOWBIT_COPY(out + 2 * i, pairs, 8);
    }
  }

  template <int MR, int NV>
  struct Acc : LaneSums<MR, NV> {
    using LaneSums<MR, NV>::sum;

    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) {
        const Vec::I even = four_bytes(a + r * stride), odd = four_bytes(a + r * stride + 4);
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          sum[r][j] = Vec::iadd(sum[r][j], Words::madd(b[j].even, even));
          LOWBIT_NOW(sum[r][j]);
          sum[r][j] = Vec::iadd(sum[r][j], Words::madd(b[j].odd, odd));
          LOWBIT_NOW(sum[r][j]);
        }
      }
    }
  };
};

#include "../isa/end.hpp"
