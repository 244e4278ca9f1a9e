// AVX2: 16-bit pairs; 16 registers.
#pragma once

#include "../vec/avx2.hpp"
#include "pairs.hpp"
#include "small.hpp"

#include "../isa/begin.hpp"

struct PairWords {
  static LOWBIT_INLINE Vec::I even(Vec::I b) { return _mm256_and_si256(b, _mm256_set1_epi16(255)); }
  static LOWBIT_INLINE Vec::I odd(Vec::I b) { return _mm256_srli_epi16(b, 8); }
  static LOWBIT_INLINE Vec::I madd(Vec::I b, Vec::I a) { return _mm256_madd_epi16(b, a); }
  static LOWBIT_INLINE Vec::I madd_bytes(Vec::I b, Vec::I a) { return _mm256_maddubs_epi16(b, a); }
  static LOWBIT_INLINE Vec::I add_pairs(Vec::I a, Vec::I b) { return _mm256_add_epi16(a, b); }
  static LOWBIT_INLINE Vec::I ones() { return _mm256_set1_epi16(1); }
};

struct Tile : PairTile<PairWords> {
  static constexpr int kCodesRows = 4, kCodesVecs = 2;    // 8 sums + 4 codes + 2 activations + mask
  static constexpr int kGroupsRows = 4, kGroupsVecs = 1;  // 4 + 4 float sums + 2 + 2 + mask
  static constexpr int kFloatRows = 6, kFloatVecs = 2;    // 12 sums + 2 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 2;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 16;

  struct Small : SmallTile<PairWords> {
    static constexpr int kCodesRows = 3, kCodesVecs = 2;    // 6 sums + 4 codes + 2 activations + 1 + ones; 4 rows spill
    static constexpr int kGroupsRows = 4, kGroupsVecs = 1;  // 4 + 4 float sums + 2 + 2 + 1 + ones
    static constexpr int kGemvRows = 4, kGemvVecs = 2;
    static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  };
};

#include "../isa/end.hpp"
