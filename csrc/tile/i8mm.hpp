// NEON with smmla: a 2 x 8 by 8 x 2 product, 32 products an instruction, both operands signed; 32 registers.
#pragma once

#include "../vec/neon.hpp"

#include "../isa/begin.hpp"

struct Tile {
  static constexpr int kBytesPerK = 1, kStep = 8, kBias = 0, kSmallBits = 0;
  static constexpr int kCodesRows = 12, kCodesVecs = 2;   // 24 sums + 4 codes + 1 activation
  static constexpr int kGroupsRows = 4, kGroupsVecs = 2;  // 8 + 8 float sums + 4 + 1
  static constexpr int kFloatRows = 6, kFloatVecs = 4;    // 24 sums + 4 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 4;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 16;

  // Eight k of columns 0, 1 and of columns 2, 3.
  struct B {
    int8x16_t left, right;
  };

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    const int8x16_t left = vreinterpretq_s8_s32(vzip1q_s32(codes[0], codes[1]));
    const int8x16_t right = vreinterpretq_s8_s32(vzip2q_s32(codes[0], codes[1]));
    const int8x16_t sign = vdupq_n_s8(kBytes ? -128 : 0);
    return {veorq_s8(left, sign), veorq_s8(right, sign)};
  }

  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); }

  template <int MR, int NV>
  struct Acc {
    // A vector holds two columns of two rows, the first row in its low half. An odd last row has zeros beside it.
    static constexpr int kPairs = (MR + 1) / 2;
    Vec::I left[kPairs][NV], right[kPairs][NV];

    template <class Start>
    LOWBIT_INLINE void start(Start s) {
      LOWBIT_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const int32x2_t first = vdup_n_s32(s(2 * p));
        const int32x2_t second = 2 * p + 1 < MR ? vdup_n_s32(s(2 * p + 1)) : first;
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) left[p][j] = right[p][j] = vcombine_s32(first, second);
      }
    }
    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      LOWBIT_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const uint8_t* row = a + 2 * p * stride;
        const uint8x8_t first = vld1_u8(row);
        const uint8x8_t second = 2 * p + 1 < MR ? vld1_u8(row + stride) : vdup_n_u8(0);
        const int8x16_t x = vreinterpretq_s8_u8(vcombine_u8(first, second));
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          left[p][j] = vmmlaq_s32(left[p][j], x, b[j].left);
          right[p][j] = vmmlaq_s32(right[p][j], x, b[j].right);
        }
      }
    }
    LOWBIT_INLINE Vec::I get(int r, int j) const {
      const int64x2_t l = vreinterpretq_s64_s32(left[r / 2][j]), h = vreinterpretq_s64_s32(right[r / 2][j]);
      return vreinterpretq_s32_s64(r % 2 == 0 ? vzip1q_s64(l, h) : vzip2q_s64(l, h));
    }
  };
};

#include "../isa/end.hpp"
