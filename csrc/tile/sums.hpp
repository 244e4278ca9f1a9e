// What tiles share whose products leave one lane to a column: their sums, and four bytes of activations in every lane.
#pragma once

#include "../isa/begin.hpp"

template <int MR, int NV>
struct LaneSums {
  Vec::I sum[MR][NV];

  // Every column of row r starts at s(r).
  template <class Start>
  LOWBIT_INLINE void start(Start s) {
    LOWBIT_UNROLL
    for (int r = 0; r < MR; ++r) {
      const Vec::I first = Vec::iset(s(r));
      LOWBIT_UNROLL
      for (int j = 0; j < NV; ++j) sum[r][j] = first;
    }
  }
  LOWBIT_INLINE Vec::I get(int r, int j) const { return sum[r][j]; }
};

// One copy for each four bytes: from a single one of 8 bytes gcc 12 takes the halves apart in general registers.
LOWBIT_INLINE Vec::I four_bytes(const uint8_t* a) {
  int32_t four;
  LOWBIT_COPY(&four, a, 4);
  return Vec::iset(four);
}

#include "../isa/end.hpp"
