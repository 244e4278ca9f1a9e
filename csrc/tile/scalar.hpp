// The vocabulary of the matrix kernels: what one ISA's integer dot product looks like. This file defines the words.
//
// A tile holds sums for MR rows of activations x NV vectors of columns. One step multiplies kStep values of k:
// codes of a panel come as dwords, four k of one column to a lane; activations as rows of int8, widened by `widen`.
//   kBytesPerK   bytes of a prepared activation: 1, or 2 where the ISA multiplies 16-bit pairs
//   kStep        k values a step takes, 4 or 8
//   kBias        what the dot product has left in a byte code p, which means p - 128: 128 if it multiplies p unsigned,
//                0 if `prepare` makes it signed. Sums start at -kBias * sum(a).
//   kSmallBits   integer codes of at most so many bits have a tile of their own, Tile::Small, with activations of one
//                byte and kBias = kSmallBias; 0: there is none
// Acc holds the sums: start and get as in sums.hpp, and mac.
#pragma once

#include "../vec/scalar.hpp"

#include "sums.hpp"

#include "../isa/begin.hpp"

struct Tile {
  static constexpr int kBytesPerK = 1, kStep = 4, kBias = 128, kSmallBits = 0;
  static constexpr int kCodesRows = 2, kCodesVecs = 1;    // rows x vectors of columns in registers: one group,
  static constexpr int kGroupsRows = 2, kGroupsVecs = 1;  // groups (as many float sums beside them),
  static constexpr int kFloatRows = 2, kFloatVecs = 1;    // float weights,
  static constexpr int kGemvRows = 1, kGemvVecs = 1;      // packed codes; vectors: of one row of floats
  static constexpr int kScaledRows = 1, kScaledVecs = 1;  // packed codes with scales of x in the sum
  static constexpr int64_t kPackedRows = 16;              // Kernels::packed_rows

  using B = Vec::I;

  // From kStep / 4 dwords of codes; kBytes: codes use all 8 bits and mean p - 128 (otherwise they are below 128).
  template <bool kBytes>
  static LOWBIT_INLINE B prepare(const Vec::I* codes) {
    return codes[0];
  }

  // k (a multiple of 8) activations to what mac reads: kBytesPerK * k bytes.
  static LOWBIT_INLINE void widen(const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); }

  template <int MR, int NV>
  struct Acc : LaneSums<MR, NV> {
    using LaneSums<MR, NV>::sum;

    // One step; a points at the step in row 0, rows are stride bytes apart.
    LOWBIT_INLINE void mac(const B (&b)[NV], const uint8_t* a, ptrdiff_t stride) {
      for (int r = 0; r < MR; ++r) {
        int8_t x[4];
        LOWBIT_COPY(x, a + r * stride, 4);
        for (int j = 0; j < NV; ++j) {
          sum[r][j] = Vec::make<Vec::I>([&](int lane) {
            const uint32_t codes = uint32_t(b[j].v[lane]);
            int32_t dot = 0;
            for (int i = 0; i < 4; ++i) dot += int32_t(codes >> (8 * i) & 255) * x[i];
            return int32_t(uint32_t(sum[r][j].v[lane]) + uint32_t(dot));
          });
        }
      }
    }
  };
};

#include "../isa/end.hpp"
