// AVX-512 VNNI: vpdpbusd, 64 products an instruction; 32 registers.
#pragma once

#include "../vec/avx512.hpp"
#include "bytes.hpp"

#include "../isa/begin.hpp"

struct DotWords {
  static LOWBIT_INLINE Vec::I dot(Vec::I sum, Vec::I b, Vec::I a) { return _mm512_dpbusd_epi32(sum, b, a); }
};

struct Tile : ByteTile<DotWords> {
  static constexpr int kCodesRows = 6, kCodesVecs = 4;    // 24 sums + 4 codes + 1 activation
  static constexpr int kGroupsRows = 6, kGroupsVecs = 2;  // 12 + 12 float sums + 2 + 1
  static constexpr int kScaledRows = 4, kScaledVecs = 4;  // 16 + 16 float sums, some in L1: 4 to 9 % faster than 6 x 2
  static constexpr int kFloatRows = 12, kFloatVecs = 2;   // 24 sums + 2 + 1
  static constexpr int kGemvRows = 6, kGemvVecs = 4;
  static constexpr int64_t kPackedRows = INT64_MAX;
};

#include "../isa/end.hpp"
