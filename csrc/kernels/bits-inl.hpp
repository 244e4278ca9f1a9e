// Dense LSB-first bit streams: eight codes at a time in a 64-bit word, folded or spread in three steps.
//
// Words are moved by memcpy: byte 0 is the low byte, as on every CPU this runs on. Eight codes fill kBits bytes: 64 of
// them are packed to whole words, and unpacking reads eight bytes where the buffer has as many. (Packing must not store
// eight bytes and let the next store overwrite the excess: clang 19 vectorizes that to wrong results.)
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

template <int kBits>
struct Stream {
  static constexpr uint64_t kOne = in_each((1u << kBits) - 1, 8);                 // codes in bytes
  static constexpr uint64_t kTwo = in_each((1u << 2 * kBits) - 1, 16);            // pairs in 16 bits
  static constexpr uint64_t kFour = in_each((uint64_t{1} << 4 * kBits) - 1, 32);  // fours in 32 bits
  static constexpr uint64_t kLowOne = kOne & in_each(0xff, 16);
  static constexpr uint64_t kLowTwo = kTwo & in_each(0xffff, 32);
  static constexpr uint64_t kLowFour = kFour & 0xffffffff;

  static LOWBIT_INLINE uint64_t fold(uint64_t x) {
    x = (x & kLowOne) | (x >> (8 - kBits) & (kTwo ^ kLowOne));
    x = (x & kLowTwo) | (x >> (16 - 2 * kBits) & (kFour ^ kLowTwo));
    return (x & kLowFour) | (x >> 32 << 4 * kBits);
  }

  static LOWBIT_INLINE uint64_t spread(uint64_t x) {
    x = (x & kLowFour) | (x << (32 - 4 * kBits) & (kFour ^ kLowFour));
    x = (x & kLowTwo) | (x << (16 - 2 * kBits) & (kTwo ^ kLowTwo));
    return (x & kLowOne) | (x << (8 - kBits) & (kOne ^ kLowOne));
  }

  // Two's complement of kBits bits to that of 8, in each byte: (c ^ sign) - sign. The top bits, set for the
  // subtraction, keep each borrow in its byte.
  static LOWBIT_INLINE uint64_t extend(uint64_t x) {
    constexpr uint64_t kTop = in_each(0x80, 8), kSign = in_each(1u << (kBits - 1), 8);
    return (((x ^ kSign) | kTop) - kSign) ^ kTop;
  }

  static LOWBIT_INLINE uint64_t fold_at(const uint8_t* codes) {
    uint64_t x;
    __builtin_memcpy(&x, codes, 8);
    return fold(x);
  }

  static LOWBIT_INLINE void pack(const uint8_t* codes, int64_t n, uint8_t* packed) {
    for (; n >= 64; n -= 64, codes += 64, packed += 8 * kBits) {
      uint64_t words[kBits] = {};
      LOWBIT_UNROLL
      for (int i = 0; i < 8; ++i) {
        const uint64_t x = fold_at(codes + 8 * i);
        const int word = i * kBits / 8, shift = i * kBits % 8 * 8;
        words[word] |= x << shift;
        if (shift + 8 * kBits > 64) words[word + 1] |= x >> (64 - shift);
      }
      __builtin_memcpy(packed, words, sizeof words);
    }
    for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
      const uint64_t x = fold_at(codes);
      __builtin_memcpy(packed, &x, kBits);
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
    const uint8_t* end = packed + n / 8 * kBits + (n % 8 * kBits + 7) / 8;
    for (; n >= 8; n -= 8, codes += 8, packed += kBits) {
      uint64_t x = 0;
      if (end - packed >= 8) {
        __builtin_memcpy(&x, packed, 8);
      } else {
        __builtin_memcpy(&x, packed, kBits);
      }
      x = spread(x);
      if (kExtend) x = extend(x);
      __builtin_memcpy(codes, &x, 8);
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

void pack_bits(const uint8_t* codes, int64_t n, int bits, uint8_t* packed) {
  with_bits(bits, [&](auto width) LOWBIT_ALWAYS {
    if constexpr (width.value < 8) {
      Stream<width.value>::pack(codes, n, packed);
    } else if (n > 0) {
      __builtin_memcpy(packed, codes, size_t(n));
    }
  });
}

void unpack_bits(const uint8_t* packed, int64_t n, int bits, int sign_extend, uint8_t* codes) {
  with_bits(bits, [&](auto width) LOWBIT_ALWAYS {
    if constexpr (width.value < 8) {
      using Bits = Stream<width.value>;
      sign_extend ? Bits::template unpack<true>(packed, n, codes) : Bits::template unpack<false>(packed, n, codes);
    } else if (n > 0) {
      __builtin_memcpy(codes, packed, size_t(n));
    }
  });
}

#include "../isa/end.hpp"
