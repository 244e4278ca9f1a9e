// The sums of a tile whose products leave one lane to a column.
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

#include "../isa/end.hpp"
