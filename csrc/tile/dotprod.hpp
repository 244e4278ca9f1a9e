// NEON with sdot: 16 products an instruction, both operands signed; 32 registers.
#pragma once

#include "../vec/neon.hpp"
#include "bytes.hpp"

#include "../isa/begin.hpp"

struct DotWords {
  static LOWBIT_INLINE Vec::I dot(Vec::I sum, Vec::I b, Vec::I a) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(b), vreinterpretq_s8_s32(a));
  }
};

struct Tile : ByteTile<DotWords> {
  static constexpr int kBias = 0;
  static constexpr int kCodesRows = 6, kCodesVecs = 4;    // 24 sums + 4 codes + 1 activation
  static constexpr int kGroupsRows = 6, kGroupsVecs = 2;  // 12 + 12 float sums + 2 + 1
  static constexpr int kFloatRows = 6, kFloatVecs = 4;    // 24 sums + 4 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 4;

  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    return kBytes ? Vec::ixor(codes[0], vreinterpretq_s32_s8(vdupq_n_s8(-128))) : codes[0];
  }
};

#include "../isa/end.hpp"
