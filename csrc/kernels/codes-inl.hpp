// Packed codes of 1..8 and 16 bits to bytes, a step at a time.
//
// A panel holds 16 columns. Its codes stand in planes of 4, 2 and 1 bits (8 bits: one plane of bytes, 16 bits: one of
// low and one of high bytes), so that any bit width unpacks with shifts and masks alone. A step is the fewest k that
// fill whole 64-byte vectors of every plane:
//     bits    planes     step (k)   bytes
//     16      8 8        8          256
//     8       8          8          128
//     4       4          8          64
//     2, 6    2 | 4 2    16         64 | 192
//     1,3,5,7 … 1        32         64 * bits
// Within a step the vectors of the widest plane come first. In a vector of width w, dword c belongs to column c and
// holds, in bits w*s … w*s + w - 1 of its four bytes, the code bits of k = 4*d … 4*d + 3 where d counts dwords of four
// k and s = d mod (8 / w).
#pragma once

#include "widths-inl.hpp"

#include "../isa/begin.hpp"

template <int kBits>
struct Codes {
  static constexpr bool kBytes = kBits == 8;  // dwords use all bits of their bytes
  static constexpr bool kOnePlane = kBits < 8 && 8 % kBits == 0;
  static constexpr int kStep = kBits % 8 == 0 ? 8 : kBits % 2 ? 32 : kBits % 4 ? 16 : 8;
  static constexpr int kDwords = kStep / 4;
  static constexpr int kStepBytes = kStep * kPanel * kBits / 8;

  LOWBIT_INLINE explicit Codes(const uint8_t*) {}

  // One vector of each plane: it has 8 / width dwords, so that taking them in order loads it once. (Left to itself,
  // g++ 12 makes each shift and each mask load it again, and loads bound a product of one row.)
  struct Planes {
    Vec::I four, two, one;
  };

  // Dword d of the step at p: four codes for each of kLanes columns (of 16 bits: their low bytes; their high bytes are
  // kDwords further). p already points at the first column wanted. Wants d ascending, with the same planes.
  template <int d>
  static LOWBIT_INLINE Vec::I dword(const uint8_t* p, Planes& planes) {
    if constexpr (kBits % 8 == 0) {
      return Vec::iload(p + 64 * d);
    } else {
      constexpr int four = kBits & 4, two = kBits & 2;
      Vec::I code = Vec::iset(0);
      if constexpr (four != 0) code = part<4, d, 0>(p, planes.four);
      if constexpr (two != 0) {
        const Vec::I v = part<2, d, four>(p + 64 * (kStep / 8) * (four != 0), planes.two);
        code = four != 0 ? Vec::ior(code, v) : v;
      }
      if constexpr ((kBits & 1) != 0) {
        const uint8_t* plane = p + 64 * ((kStep / 8) * (four != 0) + (kStep / 16) * (two != 0));
        const Vec::I v = part<1, d, four + two>(plane, planes.one);
        code = four + two != 0 ? Vec::ior(code, v) : v;
      }
      return code;
    }
  }

 private:
  // The bits that plane `width` has of dword d, moved to bit `to` of each byte.
  template <int width, int d, int to>
  static LOWBIT_INLINE Vec::I part(const uint8_t* plane, Vec::I& v) {
    constexpr int from = width * (d % (8 / width));
    constexpr int32_t mask = int32_t(0x01010101u * uint32_t(((1 << width) - 1) << to));
    if constexpr (d % (8 / width) == 0) {
      v = Vec::iload(plane + 64 * (d / (8 / width)));
      LOWBIT_NOW(v);
    }
    if constexpr (from > to) return Vec::iand(Vec::shr(v, from - to), Vec::iset(mask));
    if constexpr (from < to) return Vec::iand(Vec::shl(v, to - from), Vec::iset(mask));
    return Vec::iand(v, Vec::iset(mask));
  }
};

// 4-bit codes as the bytes that a table has for them (docs/numerics.md, "Tables"): value + 128.
struct TableCodes : Codes<4> {
  static constexpr bool kBytes = true, kOnePlane = false;
  Vec::I table;

  LOWBIT_INLINE explicit TableCodes(const uint8_t* t) : Codes<4>(t), table(Vec::iload(t)) {}
  template <int d>
  LOWBIT_INLINE Vec::I dword(const uint8_t* p, Planes& planes) const {
    return Vec::shuffle(table, Codes<4>::dword<d>(p, planes));
  }
};

// Calls fn(Constant<d>()) for d = 0 … n - 1.
template <int n, int d = 0, class Fn>
LOWBIT_INLINE void each_dword(Fn fn) {
  if constexpr (d < n) {
    fn(Constant<d>());
    each_dword<n, d + 1>(fn);
  }
}

// Zero points of one panel: kPanel bytes hold 8 / bits groups, the first in the low bits.
LOWBIT_INLINE Vec::I load_zero(const uint8_t* zero, int bits, int64_t group, int column) {
  const int64_t bit = group * bits;
  const Vec::I v = Vec::load_u8(zero + (bit >> 3) * kPanel + column);
  return Vec::iand(Vec::shr(v, int(bit & 7)), Vec::iset((1 << bits) - 1));
}

LOWBIT_INLINE Vec::F load_scale(const uint8_t* scale, int half, int64_t group, int column) {
  const int64_t i = group * kPanel + column;
  return half ? Vec::load_half(reinterpret_cast<const uint16_t*>(scale) + i)
              : Vec::load(reinterpret_cast<const float*>(scale) + i);
}

#include "../isa/end.hpp"
