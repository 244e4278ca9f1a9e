// float32 to the codes of a FloatFormat and back (docs/numerics.md, "Floats of at most 16 bits").
//
// Encoding works on the bits of |x|. Where the result is normal, adding half a step and shifting rounds it, the carry
// running into the exponent; where it is subnormal, adding a power of two whose last bit is one step does. bfloat16 has
// float32's exponents and needs the first way alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"

#include "../isa/begin.hpp"

LOWBIT_INLINE Vec::I iselect(Vec::M m, Vec::I yes, Vec::I no) {
  return Vec::bits(Vec::select(m, Vec::from_bits(yes), Vec::from_bits(no)));
}
LOWBIT_INLINE Vec::F absolute(Vec::F x) { return Vec::from_bits(Vec::iand(Vec::bits(x), Vec::iset(0x7fffffff))); }

// 2^n for the exponents of normal floats.
LOWBIT_INLINE float power(int n) {
  const int32_t bits = (n + 127) << 23;
  float r;
  LOWBIT_COPY(&r, &bits, 4);
  return r;
}

// ---- encode -----------------------------------------------------------------------------------------------------

template <bool kFnuz, bool kSaturate, bool kStochastic>
struct FloatEncoder {
  static constexpr bool kRandom = kStochastic;
  int shift, sign_shift;
  bool has_subnormals;
  Vec::F least_normal, magic, most, draws;
  Vec::I rebias, half, max, overflow, nan;

  LOWBIT_INLINE explicit FloatEncoder(const FloatFormat& f) {
    shift = 23 - f.mantissa;
    sign_shift = f.bits - 1;
    has_subnormals = f.bias < 127;
    least_normal = Vec::set(power(1 - f.bias));
    magic = Vec::set(has_subnormals ? power(1 - f.bias + shift) : 0.0f);
    draws = Vec::set(has_subnormals ? power(12 + f.mantissa - 1 + f.bias) : 0.0f);
    rebias = Vec::iset((127 - f.bias) << f.mantissa);
    half = Vec::iset((1 << (shift - 1)) - 1);
    most = Vec::set(f.max_value);
    max = Vec::iset(f.max);
    overflow = Vec::iset(f.overflow);
    nan = Vec::iset(f.nan);
  }

  // random: 32 bits for each lane, where kStochastic
  LOWBIT_INLINE Vec::I codes(Vec::F x, Vec::I random) const {
    Vec::F y = absolute(x);
    if (kSaturate) y = Vec::min(y, most);
    const Vec::I b = Vec::bits(y);
    Vec::I rounding;  // what is added below the last bit that stays
    if (kStochastic) {
      rounding = Vec::shr(random, 32 - shift);
    } else {
      rounding = Vec::iadd(half, Vec::iand(Vec::shr(b, shift), Vec::iset(1)));
    }
    Vec::I code = Vec::isub(Vec::shr(Vec::iadd(b, rounding), shift), rebias);
    if (has_subnormals) {
      Vec::I small;
      if (kStochastic) {  // 12 bits below the step
        const Vec::I steps = Vec::round(Vec::mul(Vec::min(y, least_normal), draws));
        small = Vec::shr(Vec::iadd(steps, Vec::shr(random, 20)), 12);
      } else {
        small = Vec::isub(Vec::bits(Vec::add(y, magic)), Vec::bits(magic));
      }
      code = iselect(Vec::less(y, least_normal), small, code);
    }
    // an infinity stays one whatever is drawn: its bits are past max as they are
    if (!kSaturate) code = iselect(Vec::less(Vec::to_float(max), Vec::to_float(code)), overflow, code);
    const Vec::I sign = Vec::shl(Vec::shr(Vec::bits(x), 31), sign_shift);
    if (!kFnuz) return Vec::ixor(iselect(Vec::is_nan(x), nan, code), sign);
    code = iselect(Vec::less(Vec::set(0.0f), Vec::to_float(code)), Vec::ior(code, sign), code);  // 0 has no sign
    return iselect(Vec::is_nan(x), nan, code);
  }
};

// e8m0: the exponent's bits, code 0 being 2^-127. What is not positive is NaN, and so is what rounds past 2^127 unless
// it saturates.
template <Rounding::Mode kMode>
struct PowerEncoder {
  static constexpr bool kRandom = false;
  bool saturate;

  LOWBIT_INLINE explicit PowerEncoder(bool s) : saturate(s) {}

  LOWBIT_INLINE Vec::I codes(Vec::F x, Vec::I) const {
    const Vec::F y = saturate ? Vec::min(x, Vec::set(power(127))) : x;
    // a tie goes up; kUp: any bit below the exponent does
    const int32_t below = kMode == Rounding::kUp ? 0x7fffff : kMode == Rounding::kDown ? 0 : 0x400000;
    Vec::I code = Vec::shr(Vec::iadd(Vec::bits(y), Vec::iset(below)), 23);
    if (kMode != Rounding::kDown) {  // 2^-127, a subnormal, is code 0
      code = iselect(Vec::less(Vec::from_bits(Vec::iset(0x400000)), y), code, Vec::iset(0));
    }
    return iselect(Vec::less(Vec::set(0.0f), x), code, Vec::iset(255));
  }
};

// Calls fn(encoder) with the one for this format and rounding.
template <class Fn>
LOWBIT_INLINE void with_encoder(const FloatFormat& f, const Rounding& how, Fn fn) {
  if (f.kind == FloatFormat::kPower) {
    if (how.mode == Rounding::kUp) return fn(PowerEncoder<Rounding::kUp>(how.saturate));
    if (how.mode == Rounding::kDown) return fn(PowerEncoder<Rounding::kDown>(how.saturate));
    return fn(PowerEncoder<Rounding::kNearest>(how.saturate));
  }
  const bool fnuz = f.kind == FloatFormat::kFnuz, stochastic = how.mode == Rounding::kStochastic;
  if (stochastic) {
    if (how.saturate) return fnuz ? fn(FloatEncoder<true, true, true>(f)) : fn(FloatEncoder<false, true, true>(f));
    return fnuz ? fn(FloatEncoder<true, false, true>(f)) : fn(FloatEncoder<false, false, true>(f));
  }
  if (how.saturate) return fnuz ? fn(FloatEncoder<true, true, false>(f)) : fn(FloatEncoder<false, true, false>(f));
  return fnuz ? fn(FloatEncoder<true, false, false>(f)) : fn(FloatEncoder<false, false, false>(f));
}

// 32 random bits for the elements i, i + 1 …: a bijection of each index under a key, mixed as in MurmurHash3's
// finalizer.
struct Hash {
  Vec::I key, lanes;

  LOWBIT_INLINE explicit Hash(uint32_t k) {
    int32_t index[Vec::kLanes];
    for (int i = 0; i < Vec::kLanes; ++i) index[i] = i;
    lanes = Vec::iload(index);
    key = Vec::iset(int32_t(k));
  }
  LOWBIT_INLINE Vec::I at(uint32_t i) const {
    Vec::I h = Vec::ixor(Vec::iadd(lanes, Vec::iset(int32_t(i))), key);
    h = Vec::imul(Vec::ixor(h, Vec::shr(h, 16)), Vec::iset(int32_t(0x85ebca6bu)));
    h = Vec::imul(Vec::ixor(h, Vec::shr(h, 13)), Vec::iset(int32_t(0xc2b2ae35u)));
    return Vec::ixor(h, Vec::shr(h, 16));
  }
};

// ---- codes in memory: bytes, or uint16_t -------------------------------------------------------------------------

LOWBIT_INLINE Vec::I load_codes(const uint8_t* p) { return Vec::load_u8(p); }
LOWBIT_INLINE Vec::I load_codes(const uint16_t* p) { return Vec::load_u16(p); }
LOWBIT_INLINE Vec::I load_codes_n(const uint8_t* p, int n) { return Vec::load_u8_n(p, n); }
LOWBIT_INLINE Vec::I load_codes_n(const uint16_t* p, int n) { return Vec::load_u16_n(p, n); }
LOWBIT_INLINE void store_codes(uint8_t* p, Vec::I a) { Vec::store_u8(p, a); }
LOWBIT_INLINE void store_codes(uint16_t* p, Vec::I a) { Vec::store_u16(p, a); }
LOWBIT_INLINE void store_codes_n(uint8_t* p, Vec::I a, int n) { Vec::store_u8_n(p, a, n); }
LOWBIT_INLINE void store_codes_n(uint16_t* p, Vec::I a, int n) { Vec::store_u16_n(p, a, n); }

// Calls fn(i) for vectors that cover [0, n), n >= kLanes; the last may overlap the one before. One copy of fn: there
// are many of these loops, and the CPU looks ahead as far as unrolling would.
template <class Fn>
LOWBIT_INLINE void each_vector(int64_t n, Fn fn) {
  const int64_t last = n - Vec::kLanes;
  for (int64_t i = 0;; i = i + Vec::kLanes < last ? i + Vec::kLanes : last) {
    fn(i);
    if (i == last) return;
  }
}

// Asks for what will be read after 8 KB, the chunk that ops works on next: the CPU's own prefetching stops between
// chunks. A prefetch for each vector: as many at once as a chunk has lines would stall. Past the end of x it does
// nothing.
LOWBIT_INLINE void prefetch_ahead(const float* x) { LOWBIT_PREFETCH_ONCE(x + 2048); }

template <class Code, class Encoder>
void encode_with(const Encoder& encoder, const float* x, int64_t n, const Rounding& how, Code* codes) {
  const Hash hash(how.key);
  const auto random = [&](int64_t i)
                          LOWBIT_ALWAYS { return Encoder::kRandom ? hash.at(how.first + uint32_t(i)) : Vec::iset(0); };
  if (n < Vec::kLanes) {
    if (n > 0) store_codes_n(codes, encoder.codes(Vec::load_n(x, int(n)), random(0)), int(n));
    return;
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS {
    prefetch_ahead(x + i);
    store_codes(codes + i, encoder.codes(Vec::load(x + i), random(i)));
  });
}

void encode_floats(const float* x, int64_t n, const FloatFormat& format, const Rounding& how, void* codes) {
  with_encoder(format, how, [&](const auto& encoder) LOWBIT_ALWAYS {
    if (format.bits > 8) {
      encode_with(encoder, x, n, how, static_cast<uint16_t*>(codes));
    } else {
      encode_with(encoder, x, n, how, static_cast<uint8_t*>(codes));
    }
  });
}

// ---- decode -----------------------------------------------------------------------------------------------------

template <bool kFnuz>
struct FloatDecoder {
  int shift, sign_shift;
  Vec::F least_normal, step, most;
  Vec::I magnitude, rebias, beyond;

  LOWBIT_INLINE explicit FloatDecoder(const FloatFormat& f) {
    shift = 23 - f.mantissa;
    sign_shift = 32 - f.bits;
    magnitude = Vec::iset((1 << (f.bits - 1)) - 1);
    rebias = Vec::iset((127 - f.bias) << 23);
    least_normal = Vec::set(float(1 << f.mantissa));
    step = Vec::set(power(1 - f.bias) * power(-f.mantissa));  // two factors: bfloat16's is subnormal
    most = Vec::set(float(f.max));
    // all ones in the exponent: infinity, or NaN where there is a fraction; for formats without infinity always a NaN
    beyond = Vec::iset(f.infinity >= 0 ? 0x7f800000 : 0x7fc00000);
  }

  LOWBIT_INLINE Vec::F values(Vec::I code) const {
    const Vec::I bits = Vec::iand(code, magnitude);
    const Vec::I sign = Vec::shl(Vec::ixor(code, bits), sign_shift);
    const Vec::F number = Vec::to_float(bits);
    Vec::F value = Vec::from_bits(Vec::iadd(Vec::shl(bits, shift), rebias));
    value = Vec::select(Vec::less(number, least_normal), Vec::mul(number, step), value);
    if (kFnuz) {  // the code of -0 is NaN: all ones, where +0 is all zeros
      const Vec::F zero = Vec::from_bits(Vec::sra(sign, 31));
      return Vec::select(Vec::less(Vec::set(0.0f), number), Vec::from_bits(Vec::ior(Vec::bits(value), sign)), zero);
    }
    value = Vec::select(Vec::less(most, number), Vec::from_bits(Vec::ior(Vec::bits(value), beyond)), value);
    return Vec::from_bits(Vec::ior(Vec::bits(value), sign));
  }
};

struct PowerDecoder {
  LOWBIT_INLINE explicit PowerDecoder(const FloatFormat&) {}

  LOWBIT_INLINE Vec::F values(Vec::I code) const {
    const Vec::F number = Vec::to_float(code);
    const Vec::F lowest = Vec::from_bits(Vec::iset(0x400000)), nan = Vec::from_bits(Vec::iset(0x7fc00000));
    const Vec::F value = Vec::select(Vec::less(number, Vec::set(0.5f)), lowest, Vec::from_bits(Vec::shl(code, 23)));
    return Vec::select(Vec::less(Vec::set(254.5f), number), nan, value);
  }
};

template <class Fn>
LOWBIT_INLINE void with_decoder(const FloatFormat& f, Fn fn) {
  if (f.kind == FloatFormat::kPower) return fn(PowerDecoder(f));
  if (f.kind == FloatFormat::kFnuz) return fn(FloatDecoder<true>(f));
  fn(FloatDecoder<false>(f));
}

template <class Code, class Decoder>
void decode_with(const Decoder& decoder, const Code* codes, int64_t n, float* out) {
  if (n < Vec::kLanes) {
    if (n > 0) Vec::store_n(out, decoder.values(load_codes_n(codes, int(n))), int(n));
    return;
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS { Vec::store(out + i, decoder.values(load_codes(codes + i))); });
}

void decode_floats(const void* codes, int64_t n, const FloatFormat& format, float* out) {
  with_decoder(format, [&](const auto& decoder) LOWBIT_ALWAYS {
    if (format.bits > 8) {
      decode_with(decoder, static_cast<const uint16_t*>(codes), n, out);
    } else {
      decode_with(decoder, static_cast<const uint8_t*>(codes), n, out);
    }
  });
}

#include "../isa/end.hpp"
