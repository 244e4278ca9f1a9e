// How register tiles cover a block of rows x panels.
#pragma once

#include "../isa/begin.hpp"

// A block's columns in vectors: 16 columns of a panel are kVecsPerPanel of them.
constexpr int kVecsPerPanel = kPanel / Vec::kLanes;
LOWBIT_INLINE int64_t panel_of(int64_t v) { return v / kVecsPerPanel; }
LOWBIT_INLINE int column_of(int64_t v) { return int(v % kVecsPerPanel) * Vec::kLanes; }

// Rows `stride` apart, addressed from every third: base + 1 and 2 times stride are operands of a load, 3 and 5 times
// are registers more, which g++ 12 keeps on the stack.
template <class T, int MR>
struct Rows {
  const T* base[(MR + 2) / 3];
  ptrdiff_t stride;

  LOWBIT_INLINE Rows(const T* first, ptrdiff_t step) : stride(step) {
    LOWBIT_UNROLL
    for (int i = 0; i < (MR + 2) / 3; ++i) base[i] = first + 3 * i * step;
  }
  LOWBIT_INLINE const T& at(int r, ptrdiff_t i) const { return base[r / 3][r % 3 * stride + i]; }
};

// Stores a segment's sums, or adds them to those of the segments before (docs/numerics.md).
template <int MR, int NV>
LOWBIT_INLINE void store_segment(const Vec::F (&sum)[MR][NV], bool first, float* c, ptrdiff_t ldc) {
  LOWBIT_UNROLL
  for (int r = 0; r < MR; ++r) {
    LOWBIT_UNROLL
    for (int j = 0; j < NV; ++j) {
      float* at = c + r * ldc + j * Vec::kLanes;
      Vec::store(at, first ? sum[r][j] : Vec::add(Vec::load(at), sum[r][j]));
    }
  }
}

// A tile of at most MR rows.
template <class Body, int MR, int NV, class Block>
LOWBIT_INLINE void some_rows(const Block& g, int64_t row, int64_t vec, int64_t rows) {
  if constexpr (MR > 0) {
    if (rows == MR) return Body::template tile<MR, NV>(g, row, vec);
    some_rows<Body, MR - 1, NV>(g, row, vec, rows);
  }
}

// All rows: tiles of MR; what is left is halved where it takes two (8 rows are 4 + 4, not 6 + 2).
template <class Body, int MR, int NV, class Block>
LOWBIT_INLINE void each_row(const Block& g, int64_t vec) {
  for (int64_t row = 0; row < g.rows;) {
    const int64_t left = g.rows - row;
    const int64_t rows = left >= 2 * MR || left == MR ? MR : left > MR ? (left + 1) / 2 : left;
    some_rows<Body, MR, NV>(g, row, vec, rows);
    row += rows;
  }
}

// Columns outermost: NV vectors of them, all of K, stay in cache while the rows pass over.
template <class Body, int MR, int NV, class Block>
LOWBIT_INLINE void each_tile(const Block& g) {
  const int64_t vecs = g.panels * kVecsPerPanel;
  int64_t vec = 0;
  for (; vec + NV <= vecs; vec += NV) each_row<Body, MR, NV>(g, vec);
  if constexpr (NV > 2) {
    for (; vec + 2 <= vecs; vec += 2) each_row<Body, MR, 2>(g, vec);
  }
  if constexpr (NV > 1) {
    for (; vec < vecs; ++vec) each_row<Body, MR, 1>(g, vec);
  }
}

#include "../isa/end.hpp"
