// AVX-VNNI: vpdpbusd on 256 bits; 16 registers.
#pragma once

#include "../vec/avx2.hpp"
#include "bytes.hpp"

#include "../isa/begin.hpp"

struct DotWords {
#if defined(__AVXVNNI__)
  static LOWBIT_INLINE Vec::I dot(Vec::I sum, Vec::I b, Vec::I a) { return _mm256_dpbusd_avx_epi32(sum, b, a); }
#else  // the C++ tests run this tile with AVX-512 VNNI's encoding of the same instruction, on CPUs that have only that
  static LOWBIT_INLINE Vec::I dot(Vec::I sum, Vec::I b, Vec::I a) { return _mm256_dpbusd_epi32(sum, b, a); }
#endif
};

struct Tile : ByteTile<DotWords> {
  static constexpr int kCodesRows = 6, kCodesVecs = 2;    // 12 sums + 2 codes + 1 activation
  static constexpr int kGroupsRows = 3, kGroupsVecs = 2;  // 6 + 6 float sums + 2 + 1; 6 x 1 waits for loads
  static constexpr int kFloatRows = 6, kFloatVecs = 2;    // 12 sums + 2 + 1
  static constexpr int kGemvRows = 4, kGemvVecs = 2;
  static constexpr int kScaledRows = kGemvRows, kScaledVecs = kGroupsVecs;
  static constexpr int64_t kPackedRows = 128;
};

#include "../isa/end.hpp"
