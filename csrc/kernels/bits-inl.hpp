// Dense LSB-first bit streams: eight codes at a time in a 64-bit word, folded or spread in three steps; many such words
// side by side in a vector, where a shuffle joins or parts their bytes.
//
// A quad, two words, is 16 codes or 2 * kBits packed bytes, but moved as 16 bytes: those in excess are overwritten by
// the next quad, or ignored; where they would lie past the packed bytes, these take the way over the stack. The last
// codes go word by word, moved by memcpy: byte 0 is the low byte, as on every CPU this runs on. Eight codes fill kBits
// bytes; unpacking reads eight where the buffer has as many. (Packing single words must not do as the quads do: clang
// 19 vectorizes that to wrong results.)
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "widths-inl.hpp"

#include "../isa/begin.hpp"

// `value` in each of the fields that are `distance` bits apart.
constexpr uint64_t in_each(uint64_t value, int distance) {
  uint64_t r = 0;
  for (int i = 0; i < 64; i += distance) r |= value << i;
  return r;
}

// The 64-bit words of a vector, written as one of them.
struct Wide {
  Vec::I v;

  friend LOWBIT_INLINE Wide operator&(Wide a, uint64_t mask) { return {Vec::iand(a.v, Vec::set64(mask))}; }
  friend LOWBIT_INLINE Wide operator|(Wide a, Wide b) { return {Vec::ior(a.v, b.v)}; }
  friend LOWBIT_INLINE Wide operator^(Wide a, uint64_t mask) { return {Vec::ixor(a.v, Vec::set64(mask))}; }
  friend LOWBIT_INLINE Wide operator<<(Wide a, int n) { return {Vec::shl64(a.v, n)}; }
  friend LOWBIT_INLINE Wide operator>>(Wide a, int n) { return {Vec::shr64(a.v, n)}; }
};

// Indices of a shuffle, the same in each quad.
struct Indices {
  uint8_t of[16];
};
LOWBIT_INLINE Vec::I load_indices(const Indices& indices) { return Vec::load_quads(indices.of, 0); }

template <int kBits>
struct Stream {
  static constexpr int64_t kCodes = 4 * Vec::kLanes;  // to a vector
  static constexpr int64_t kPacked = kCodes * kBits / 8;
  // The last quad's 16 bytes end 16 - 2 * kBits bytes past its own: the fewest codes whose packed bytes reach there.
  static constexpr int64_t kEnough = kCodes + (8 * (16 - 2 * kBits) + kBits - 1) / kBits;

  static constexpr uint64_t kOne = in_each((1u << kBits) - 1, 8);                 // codes in bytes
  static constexpr uint64_t kTwo = in_each((1u << 2 * kBits) - 1, 16);            // pairs in 16 bits
  static constexpr uint64_t kFour = in_each((uint64_t{1} << 4 * kBits) - 1, 32);  // fours in 32 bits
  static constexpr uint64_t kLowOne = kOne & in_each(0xff, 16);
  static constexpr uint64_t kLowTwo = kTwo & in_each(0xffff, 32);
  static constexpr uint64_t kLowFour = kFour & 0xffffffff;

  template <class W>
  static LOWBIT_INLINE W fold(W x) {
    x = (x & kLowOne) | (x >> (8 - kBits) & (kTwo ^ kLowOne));
    x = (x & kLowTwo) | (x >> (16 - 2 * kBits) & (kFour ^ kLowTwo));
    return (x & kLowFour) | (x >> 32 << 4 * kBits);
  }

  template <class W>
  static LOWBIT_INLINE W spread(W x) {
    x = (x & kLowFour) | (x << (32 - 4 * kBits) & (kFour ^ kLowFour));
    x = (x & kLowTwo) | (x << (16 - 2 * kBits) & (kTwo ^ kLowTwo));
    return (x & kLowOne) | (x << (8 - kBits) & (kOne ^ kLowOne));
  }

  // Two's complement of kBits bits to that of 8, in each byte: (c ^ sign) - sign. In a word the top bits, set for the
  // subtraction, keep each borrow in its byte.
  static constexpr uint64_t kSign = in_each(1u << (kBits - 1), 8);
  static LOWBIT_INLINE uint64_t extend(uint64_t x) {
    constexpr uint64_t kTop = in_each(0x80, 8);
    return (((x ^ kSign) | kTop) - kSign) ^ kTop;
  }
  static LOWBIT_INLINE Wide extend(Wide x) { return {Vec::sub_bytes((x ^ kSign).v, Vec::set64(kSign))}; }

  // The kBits bytes of both words of a quad side by side, and back.
  static constexpr Indices joined() {
    Indices r = {};
    for (int i = 0; i < 16; ++i) r.of[i] = i < kBits ? i : i < 2 * kBits ? 8 + i - kBits : 0x80;
    return r;
  }
  static constexpr Indices parted() {
    Indices r = {};
    for (int i = 0; i < 16; ++i) r.of[i] = i % 8 < kBits ? i / 8 * kBits + i % 8 : 0x80;
    return r;
  }

  static LOWBIT_INLINE void pack(const uint8_t* codes, int64_t n, uint8_t* packed) {
    static constexpr Indices kJoined = joined();
    const Vec::I join = load_indices(kJoined);
    for (; !Vec::kEmulated && n >= kCodes; n -= kCodes, codes += kCodes, packed += kPacked) {
      const Vec::I x = Vec::shuffle(fold(Wide{Vec::iload(codes)}).v, join);
      if (n >= kEnough) {
        Vec::store_quads(packed, 2 * kBits, x);
      } else {
        uint8_t quads[kPacked + 16];
        Vec::store_quads(quads, 2 * kBits, x);
        LOWBIT_COPY(packed, quads, kPacked);
      }
    }
    for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
      uint64_t x;
      LOWBIT_COPY(&x, codes, 8);
      x = fold(x);
      LOWBIT_COPY(packed, &x, kBits);
    }
    if (n > 0) {
      uint64_t x = 0;
      for (int64_t i = 0; i < n; ++i) x |= uint64_t{codes[i]} << (8 * i);
      x = fold(x);
      for (int64_t i = 0; i < (n * kBits + 7) / 8; ++i) packed[i] = uint8_t(x >> (8 * i));
    }
  }

  template <bool kExtend>
  static LOWBIT_INLINE void unpack(const uint8_t* packed, int64_t n, uint8_t* codes) {
    static constexpr Indices kParted = parted();
    const Vec::I part = load_indices(kParted);
    for (; !Vec::kEmulated && n >= kCodes; n -= kCodes, codes += kCodes, packed += kPacked) {
      uint8_t quads[kPacked + 16];
      const bool enough = n >= kEnough;
      if (!enough) LOWBIT_COPY(quads, packed, kPacked);
      Wide x = spread(Wide{Vec::shuffle(Vec::load_quads(enough ? packed : quads, 2 * kBits), part)});
      if (kExtend) x = extend(x);
      Vec::istore(codes, x.v);
    }
    const uint8_t* end = packed + n / 8 * kBits + (n % 8 * kBits + 7) / 8;
    for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
      uint64_t x = 0;
      if (end - packed >= 8) {
        LOWBIT_COPY(&x, packed, 8);
      } else {
        LOWBIT_COPY(&x, packed, kBits);
      }
      x = spread(x);
      if (kExtend) x = extend(x);
      LOWBIT_COPY(codes, &x, 8);
    }
    if (n > 0) {
      uint64_t x = 0;
      for (int64_t i = 0; i < end - packed; ++i) x |= uint64_t{packed[i]} << (8 * i);
      x = spread(x);
      if (kExtend) x = extend(x);
      for (int64_t i = 0; i < n; ++i) codes[i] = uint8_t(x >> (8 * i));
    }
  }
};

// 8 bits. Not memcpy: libc's touches the end first, which keeps the CPU from fetching ahead.
void copy_codes(const uint8_t* from, int64_t n, uint8_t* to) {
  for (; n >= 4 * Vec::kLanes; n -= 4 * Vec::kLanes, from += 4 * Vec::kLanes, to += 4 * Vec::kLanes) {
    Vec::istore(to, Vec::iload(from));
  }
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

void pack_bits(const uint8_t* codes, int64_t n, int bits, uint8_t* packed) {
  with_bits(bits, [&](auto width) LOWBIT_ALWAYS {
    if constexpr (width.value < 8) {
      Stream<width.value>::pack(codes, n, packed);
    } else {
      copy_codes(codes, n, packed);
    }
  });
}

void unpack_bits(const uint8_t* packed, int64_t n, int bits, int sign_extend, uint8_t* codes) {
  with_bits(bits, [&](auto width) LOWBIT_ALWAYS {
    if constexpr (width.value < 8) {
      using Bits = Stream<width.value>;
      sign_extend ? Bits::template unpack<true>(packed, n, codes) : Bits::template unpack<false>(packed, n, codes);
    } else {
      copy_codes(packed, n, codes);
    }
  });
}

#include "../isa/end.hpp"
