// NEON without a dot product: bytes multiplied to 16 bits (smull), pairs of products added to 32-bit sums (sadalp).
// Exact: (-128)(-128) fits 16 bits, and no sum of products is formed in them. 32 registers.
#pragma once

#include "../vec/neon.hpp"

#include "../isa/begin.hpp"

struct Tile {
  static constexpr int kBytesPerK = 1, kStep = 4, kBias = 0, kSmallBits = 0;
  static constexpr int kCodesRows = 6, kCodesVecs = 2;    // 24 sums + 2 codes + 1 activation + 2 products
  static constexpr int kGroupsRows = 4, kGroupsVecs = 2;  // 16 + 8 float sums + 2 + 1 + 2
  static constexpr int kFloatRows = 6, kFloatVecs = 4;    // 24 sums + 4 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 4;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 16;

  using B = int8x16_t;

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    const int8x16_t b = vreinterpretq_s8_s32(codes[0]);
    return kBytes ? veorq_s8(b, vdupq_n_s8(-128)) : b;
  }

  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); }

  template <int MR, int NV>
  struct Acc {
    // Columns 0, 1 and columns 2, 3 of each vector; a column has two lanes: its even and its odd pairs of k.
    Vec::I left[MR][NV], right[MR][NV];

    template <class Start>
    LOWBIT_INLINE void start(Start s) {
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) {
        const Vec::I first = vreinterpretq_s32_u64(vdupq_n_u64(uint32_t(s(r))));
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) left[r][j] = right[r][j] = first;
      }
    }
    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) {
        int32_t four;
        LOWBIT_COPY(&four, a + r * stride, 4);
        const int8x16_t x = vreinterpretq_s8_s32(Vec::iset(four));
        LOWBIT_UNROLL
        for (int j = 0; j < NV; ++j) {
          left[r][j] = vpadalq_s16(left[r][j], vmull_s8(vget_low_s8(b[j]), vget_low_s8(x)));
          right[r][j] = vpadalq_s16(right[r][j], vmull_high_s8(b[j], x));
        }
      }
    }
    LOWBIT_INLINE Vec::I get(int r, int j) const { return vpaddq_s32(left[r][j], right[r][j]); }
  };
};

#include "../isa/end.hpp"
