// AVX-512 without VNNI: 16-bit pairs; 32 registers.
#pragma once

#include "../vec/avx512.hpp"
#include "pairs.hpp"
#include "small.hpp"

#include "../isa/begin.hpp"

struct PairWords {
  static LOWBIT_INLINE Vec::I even(Vec::I b) { return _mm512_and_si512(b, _mm512_set1_epi16(255)); }
  static LOWBIT_INLINE Vec::I odd(Vec::I b) { return _mm512_srli_epi16(b, 8); }
  static LOWBIT_INLINE Vec::I madd(Vec::I b, Vec::I a) { return _mm512_madd_epi16(b, a); }
  static LOWBIT_INLINE Vec::I madd_bytes(Vec::I b, Vec::I a) { return _mm512_maddubs_epi16(b, a); }
  static LOWBIT_INLINE Vec::I add_pairs(Vec::I a, Vec::I b) { return _mm512_add_epi16(a, b); }
  static LOWBIT_INLINE Vec::I ones() { return _mm512_set1_epi16(1); }
};

struct Tile : PairTile<PairWords> {
  static constexpr int kCodesRows = 8, kCodesVecs = 2;    // 16 sums + 4 codes + 2 activations + mask
  static constexpr int kGroupsRows = 4, kGroupsVecs = 2;  // 8 + 8 float sums + 4 + 2 + mask
  static constexpr int kFloatRows = 12, kFloatVecs = 2;   // 24 sums + 2 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 4;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 128;

  struct Small : SmallTile<PairWords> {
    static constexpr int kCodesRows = 8, kCodesVecs = 2;    // 16 sums + 4 codes + 2 activations + 1 + ones
    static constexpr int kGroupsRows = 4, kGroupsVecs = 2;  // 8 + 8 float sums + 4 + 2 + 1 + ones; 5 rows spill
    static constexpr int kGemvRows = 4, kGemvVecs = 4;
    static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  };
};

#include "../isa/end.hpp"
