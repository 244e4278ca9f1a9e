// NEON with sdot: 16 products an instruction, both operands signed; 32 registers.
#pragma once

#include "../vec/neon.hpp"

#include "sums.hpp"

#include "../isa/begin.hpp"

struct Tile {
  static constexpr int kBytesPerK = 1, kStep = 8, kBias = 0, kSmallBits = 0;
  static constexpr int kCodesRows = 5, kCodesVecs = 4;    // 20 sums + 4 codes + 5 activations
  static constexpr int kGroupsRows = 5, kGroupsVecs = 2;  // 10 + 10 float sums + 2 + 5
  static constexpr int kFloatRows = 6, kFloatVecs = 4;    // 24 sums + 4 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 4;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 16;

  struct B {
    Vec::I low, high;
  };

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    if (!kBytes) return {codes[0], codes[1]};
    const Vec::I sign = vreinterpretq_s32_s8(vdupq_n_s8(-128));
    return {Vec::ixor(codes[0], sign), Vec::ixor(codes[1], sign)};
  }

  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); }

  template <int MR, int NV>
  struct Acc : LaneSums<MR, NV> {
    using LaneSums<MR, NV>::sum;

    // Eight k of a row in half a register, multiplied by lane: to repeat four of them in a register would take the
    // pipes that multiply.
    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      int8x8_t x[MR];
      LOWBIT_UNROLL
      for (int r = 0; r < MR; ++r) x[r] = vld1_s8(reinterpret_cast<const int8_t*>(a + r * stride));
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) {
        LOWBIT_UNROLL
        for (int r = 0; r < MR; ++r) sum[r][j] = vdotq_lane_s32(sum[r][j], vreinterpretq_s8_s32(b[j].low), x[r], 0);
      }
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) {
        LOWBIT_UNROLL
        for (int r = 0; r < MR; ++r) sum[r][j] = vdotq_lane_s32(sum[r][j], vreinterpretq_s8_s32(b[j].high), x[r], 1);
      }
    }
  };
};

#include "../isa/end.hpp"
