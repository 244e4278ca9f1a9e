// Dot products of four bytes a lane in one instruction (VNNI: u8 codes x s8 activations; sdot: both signed):
// Words { dot }.
#pragma once

#include "sums.hpp"

#include "../isa/begin.hpp"

template <class Words>
struct ByteTile {
  static constexpr int kBytesPerK = 1, kStep = 4, kBias = 128, kSmallBits = 0;

  using B = Vec::I;

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    return codes[0];
  }

  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); }

  template <int MR, int NV>
  struct Acc : LaneSums<MR, NV> {
    using LaneSums<MR, NV>::sum;

    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) {
        const Vec::I x = four_bytes(a + r * stride);
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          sum[r][j] = Words::dot(sum[r][j], b[j], x);
          LOWBIT_NOW(sum[r][j]);
        }
      }
    }
  };
};

#include "../isa/end.hpp"
