// The vocabulary of the kernels, in plain C++: a vector of LOWBIT_LANES lanes.
//
// This is the definition of every word; vec/avx2.hpp, vec/avx512.hpp and vec/neon.hpp say the same with intrinsics.
//   F  float lanes      I  32-bit integer lanes (wrapping)      M  one truth value for each lane
// An I is also a vector of 4 * kLanes bytes, four to a lane, the first in the low bits, of 64-bit words, two lanes
// each, and of quads: 16 bytes, four lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef LOWBIT_LANES
#define LOWBIT_LANES 8
#endif

#define LOWBIT_UNROLL
#define LOWBIT_NOW(vector)
#include "../isa/begin.hpp"

// std::fma without hardware is a call into libm, ten times slower than this: the product of two floats is exact in
// double; the sum is rounded to odd, which keeps the second rounding (to float) correct.
LOWBIT_INLINE float fused(float a, float b, float c) {
  const double p = double(a) * double(b), d = double(c);
  const double s = p + d, t = s - p;
  const double error = (p - (s - t)) + (d - t);
  int64_t bits;
  LOWBIT_COPY(&bits, &s, 8);
  // NaN errors (s infinite or NaN) compare false: those sums stay as they are.
  const int64_t inexact = int64_t(error > 0) | int64_t(error < 0);
  const int64_t away = 1 - 2 * (int64_t(error > 0) ^ int64_t(s > 0));
  bits += inexact & ~bits & 1 ? away : 0;
  double odd;
  LOWBIT_COPY(&odd, &bits, 8);
  return float(odd);
}

struct Vec {
  static constexpr int kLanes = LOWBIT_LANES;
  static constexpr bool kEmulated = true;  // a plain 64-bit word is faster than lanes that hold bytes
  struct F {
    float v[kLanes];
  };
  struct I {
    int32_t v[kLanes];
  };
  struct M {
    bool v[kLanes];
  };

  template <class T, class Fn>
  static LOWBIT_INLINE T make(Fn fn) {
    T r;
    for (int i = 0; i < kLanes; ++i) r.v[i] = fn(i);
    return r;
  }

  // memory; the _n forms touch n elements (0 < n <= kLanes) and read 0 past them
  static LOWBIT_INLINE F load(const float* p) {
    F r;
    LOWBIT_COPY(&r, p, sizeof r);
    return r;
  }
  static LOWBIT_INLINE F load_n(const float* p, int n) {
    return make<F>([=](int i) { return i < n ? p[i] : 0.0f; });
  }
  static LOWBIT_INLINE void store(float* p, F a) { LOWBIT_COPY(p, &a, sizeof a); }
  static LOWBIT_INLINE void store_n(float* p, F a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }
  static LOWBIT_INLINE I iload(const void* p) {
    I r;
    LOWBIT_COPY(&r, p, sizeof r);
    return r;
  }
  static LOWBIT_INLINE I iload_n(const int32_t* p, int n) {
    return make<I>([=](int i) { return i < n ? p[i] : 0; });
  }
  static LOWBIT_INLINE void istore(void* p, I a) { LOWBIT_COPY(p, &a, sizeof a); }
  static LOWBIT_INLINE void istore_n(int32_t* p, I a, int n) {
    for (int i = 0; i < n; ++i) p[i] = a.v[i];
  }
  // bytes to lanes and the low byte of each lane back
  static LOWBIT_INLINE I load_u8(const uint8_t* p) {
    return make<I>([=](int i) { return p[i]; });
  }
  static LOWBIT_INLINE I load_u8_n(const uint8_t* p, int n) {
    return make<I>([=](int i) { return i < n ? p[i] : 0; });
  }
  static LOWBIT_INLINE void store_u8(uint8_t* p, I a) {
    for (int i = 0; i < kLanes; ++i) p[i] = uint8_t(a.v[i]);
  }
  static LOWBIT_INLINE void store_u8_n(uint8_t* p, I a, int n) {
    for (int i = 0; i < n; ++i) p[i] = uint8_t(a.v[i]);
  }
  // 16-bit words to lanes and the low half of each lane back
  static LOWBIT_INLINE I load_u16(const uint16_t* p) {
    return make<I>([=](int i) { return p[i]; });
  }
  static LOWBIT_INLINE I load_u16_n(const uint16_t* p, int n) {
    return make<I>([=](int i) { return i < n ? p[i] : 0; });
  }
  static LOWBIT_INLINE void store_u16(uint16_t* p, I a) {
    for (int i = 0; i < kLanes; ++i) p[i] = uint16_t(a.v[i]);
  }
  static LOWBIT_INLINE void store_u16_n(uint16_t* p, I a, int n) {
    for (int i = 0; i < n; ++i) p[i] = uint16_t(a.v[i]);
  }
  // float16, exactly
  static LOWBIT_INLINE F load_half(const uint16_t* p) {
    return make<F>([=](int i) {
      const uint32_t sign = uint32_t(p[i] & 0x8000) << 16, magnitude = p[i] & 0x7fff;
      uint32_t bits = (magnitude << 13) + (112u << 23);  // normal
      if (magnitude >= 0x7c00) bits += 112u << 23;       // infinity, NaN
      float value;
      LOWBIT_COPY(&value, &bits, 4);
      if (magnitude < 0x0400) value = float(magnitude) * 0x1p-24f;  // subnormal or zero
      LOWBIT_COPY(&bits, &value, 4);
      bits |= sign;
      // a signalling NaN becomes quiet, as the instructions make it
      if (magnitude > 0x7c00) bits |= 0x00400000u;
      LOWBIT_COPY(&value, &bits, 4);
      return value;
    });
  }

  // float arithmetic
  static LOWBIT_INLINE F set(float a) {
    return make<F>([=](int) { return a; });
  }
  static LOWBIT_INLINE F add(F a, F b) {
    return make<F>([=](int i) { return a.v[i] + b.v[i]; });
  }
  static LOWBIT_INLINE F sub(F a, F b) {
    return make<F>([=](int i) { return a.v[i] - b.v[i]; });
  }
  static LOWBIT_INLINE F mul(F a, F b) {
    return make<F>([=](int i) { return a.v[i] * b.v[i]; });
  }
  static LOWBIT_INLINE F div(F a, F b) {
    return make<F>([=](int i) { return a.v[i] / b.v[i]; });
  }
  static LOWBIT_INLINE F fma(F a, F b, F c) {
    return make<F>([=](int i) { return fused(a.v[i], b.v[i], c.v[i]); });
  }
  static LOWBIT_INLINE I bits(F a) {
    I r;
    LOWBIT_COPY(&r, &a, sizeof r);
    return r;
  }
  static LOWBIT_INLINE F from_bits(I a) {
    F r;
    LOWBIT_COPY(&r, &a, sizeof r);
    return r;
  }
  // a < b, false where either is NaN
  static LOWBIT_INLINE M less(F a, F b) {
    return make<M>([=](int i) { return a.v[i] < b.v[i]; });
  }
  static LOWBIT_INLINE M is_nan(F a) {
    return make<M>([=](int i) { return a.v[i] != a.v[i]; });
  }
  static LOWBIT_INLINE F select(M m, F yes, F no) {
    return make<F>([=](int i) { return m.v[i] ? yes.v[i] : no.v[i]; });
  }
  // a < b ? a : b and b < a ? a : b: where either is NaN, or both are zeros, b
  static LOWBIT_INLINE F min(F a, F b) {
    return make<F>([=](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static LOWBIT_INLINE F max(F a, F b) {
    return make<F>([=](int i) { return b.v[i] < a.v[i] ? a.v[i] : b.v[i]; });
  }
  // nearest even, for |a| <= 2^22; anything for others, NaN included (adding 1.5 * 2^23 leaves the integer in the
  // low bits, and never converts a float that does not fit, which C++ leaves undefined)
  static LOWBIT_INLINE I round(F a) {
    return make<I>([=](int i) {
      const float shifted = a.v[i] + 12582912.0f;
      int32_t r;
      LOWBIT_COPY(&r, &shifted, 4);
      return int32_t(uint32_t(r) - 0x4b400000u);
    });
  }
  static LOWBIT_INLINE F to_float(I a) {
    return make<F>([=](int i) { return float(a.v[i]); });
  }

  // integer arithmetic
  static LOWBIT_INLINE I iset(int32_t a) {
    return make<I>([=](int) { return a; });
  }
  static LOWBIT_INLINE I iadd(I a, I b) {
    return make<I>([=](int i) { return int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i])); });
  }
  static LOWBIT_INLINE I isub(I a, I b) {
    return make<I>([=](int i) { return int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i])); });
  }
  static LOWBIT_INLINE I imul(I a, I b) {
    return make<I>([=](int i) { return int32_t(uint32_t(a.v[i]) * uint32_t(b.v[i])); });
  }
  static LOWBIT_INLINE I imax(I a, I b) {
    return make<I>([=](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  static LOWBIT_INLINE I iand(I a, I b) {
    return make<I>([=](int i) { return a.v[i] & b.v[i]; });
  }
  static LOWBIT_INLINE I ior(I a, I b) {
    return make<I>([=](int i) { return a.v[i] | b.v[i]; });
  }
  static LOWBIT_INLINE I ixor(I a, I b) {
    return make<I>([=](int i) { return a.v[i] ^ b.v[i]; });
  }
  static LOWBIT_INLINE I shl(I a, int n) {
    return make<I>([=](int i) { return int32_t(uint32_t(a.v[i]) << n); });
  }
  static LOWBIT_INLINE I shr(I a, int n) {
    return make<I>([=](int i) { return int32_t(uint32_t(a.v[i]) >> n); });
  }  // logical
  static LOWBIT_INLINE I sra(I a, int n) {
    return make<I>([=](int i) { return a.v[i] >> n; });
  }  // arithmetic
  // bytes
  static LOWBIT_INLINE I sub_bytes(I a, I b) {
    return make<I>([=](int i) {
      uint32_t r = 0;
      for (int j = 0; j < 32; j += 8) {
        r |= (((uint32_t(a.v[i]) >> j) - (uint32_t(b.v[i]) >> j)) & 0xff) << j;
      }
      return int32_t(r);
    });
  }

  // 16 lanes' worth of numbers, and the one that each lane's index (0 … 15) names
  struct Table {
    float v[16];
  };
  static LOWBIT_INLINE Table table(const float* p) {
    Table r;
    LOWBIT_COPY(&r, p, sizeof r);
    return r;
  }
  static LOWBIT_INLINE F pick(const Table& t, I index) {
    return make<F>([&](int i) { return t.v[index.v[i] & 15]; });  // of an index four bits count
  }

  // quads: 16 bytes each from p, p + stride, ...; stored in that order, so that what overlaps is the later one's
  static LOWBIT_INLINE I load_quads(const void* p, ptrdiff_t stride) {
    I r;
    for (int i = 0; i < kLanes / 4; ++i) LOWBIT_COPY(r.v + 4 * i, static_cast<const char*>(p) + i * stride, 16);
    return r;
  }
  static LOWBIT_INLINE void store_quads(void* p, ptrdiff_t stride, I a) {
    for (int i = 0; i < kLanes / 4; ++i) LOWBIT_COPY(static_cast<char*>(p) + i * stride, a.v + 4 * i, 16);
  }
  // each byte of `indices` (0 to 15; 128 and more give 0) picks one of the same quad of `table`
  static LOWBIT_INLINE I shuffle(I table, I indices) {
    uint8_t from[4 * kLanes], at[4 * kLanes], to[4 * kLanes];
    LOWBIT_COPY(from, &table, sizeof from);
    LOWBIT_COPY(at, &indices, sizeof at);
    for (int i = 0; i < 4 * kLanes; ++i) to[i] = at[i] & 0x80 ? uint8_t(0) : from[(i & ~15) | (at[i] & 15)];
    I r;
    LOWBIT_COPY(&r, to, sizeof r);
    return r;
  }

  // 64-bit words; 0 <= n < 64
  template <class Fn>
  static LOWBIT_INLINE I make64(I a, Fn fn) {
    for (int i = 0; i < kLanes; i += 2) {
      uint64_t word;
      LOWBIT_COPY(&word, a.v + i, 8);
      word = fn(word);
      LOWBIT_COPY(a.v + i, &word, 8);
    }
    return a;
  }
  static LOWBIT_INLINE I set64(uint64_t a) {
    return make64(I(), [=](uint64_t) { return a; });
  }
  static LOWBIT_INLINE I shl64(I a, int n) {
    return make64(a, [=](uint64_t word) { return word << n; });
  }
  static LOWBIT_INLINE I shr64(I a, int n) {
    return make64(a, [=](uint64_t word) { return word >> n; });
  }

  // past the caches where the CPU can: p is aligned to the vector, whole lines of 64 bytes are written in order, and
  // fence() comes before another thread is told
  static LOWBIT_INLINE void stream(void* p, I a) { istore(p, a); }
  static LOWBIT_INLINE void fence() {}

  // lane i = fn over the lanes of v[i]; fn is min or max
  template <class Fn>
  static LOWBIT_INLINE F fold_rows(const F (&v)[kLanes], Fn fn) {
    F r;
    for (int i = 0; i < kLanes; ++i) {
      F one = v[i];
      for (int width = kLanes / 2; width > 0; width /= 2) {
        F other = one;
        for (int j = 0; j < width; ++j) other.v[j] = one.v[j + width];
        one = fn(one, other);
      }
      r.v[i] = one.v[0];
    }
    return r;
  }

  // across lanes
  static LOWBIT_INLINE int32_t reduce_add(I a) {
    uint32_t r = 0;
    for (int i = 0; i < kLanes; ++i) r += uint32_t(a.v[i]);
    return int32_t(r);
  }
  static LOWBIT_INLINE int32_t reduce_max(I a) {
    int32_t r = a.v[0];
    for (int i = 1; i < kLanes; ++i) r = a.v[i] > r ? a.v[i] : r;
    return r;
  }
  // of lanes without NaN
  static LOWBIT_INLINE float reduce_min(F a) {
    float r = a.v[0];
    for (int i = 1; i < kLanes; ++i) r = a.v[i] < r ? a.v[i] : r;
    return r;
  }
  static LOWBIT_INLINE float reduce_max(F a) {
    float r = a.v[0];
    for (int i = 1; i < kLanes; ++i) r = a.v[i] > r ? a.v[i] : r;
    return r;
  }
};

#include "../isa/end.hpp"
