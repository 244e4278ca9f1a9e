// Scales and zero points from ranges (docs/numerics.md, "Ranges and parameters").
#pragma once

#include "floats-inl.hpp"

#include "../isa/begin.hpp"

// The scale as a real number, before it is rounded to its type.
LOWBIT_INLINE Vec::F exact_scale(const ParamRule& rule, Vec::F low, Vec::F high) {
  switch (rule.convention) {
    case ParamRule::kMagnitude: return Vec::div(Vec::max(absolute(low), absolute(high)), Vec::set(rule.qmax));
    case ParamRule::kSigned:
      return Vec::div(Vec::select(Vec::less(absolute(high), absolute(low)), low, high), Vec::set(rule.qmin));
    case ParamRule::kNoClip:
      return Vec::max(Vec::div(low, Vec::set(rule.qmin)), Vec::div(high, Vec::set(rule.qmax)));
    case ParamRule::kAsymmetric: break;
  }
  const Vec::F none = Vec::set(0.0f), steps = Vec::set(rule.qmax - rule.qmin);
  const Vec::F from = Vec::min(low, none), to = Vec::max(high, none), span = Vec::sub(to, from);
  const Vec::F apart = Vec::sub(Vec::div(to, steps), Vec::div(from, steps));  // where the span overflows
  return Vec::select(Vec::less(span, Vec::set(__builtin_inff())), Vec::div(span, steps), apart);
}

// 1 where the scale is 0.
LOWBIT_INLINE Vec::F not_zero(Vec::F scale) {
  return Vec::select(Vec::less(Vec::set(0.0f), absolute(scale)), scale, Vec::set(1.0f));
}

// Rounds *scale to its type and stores it.
template <class Encoder, class Decoder>
LOWBIT_INLINE void store_scale(const Encoder& encoder, const Decoder& decoder, int bits, int64_t i, int n, void* codes,
                               Vec::F* scale) {
  *scale = not_zero(decoder.values(encoder.codes(not_zero(*scale), Vec::iset(0))));
  const Vec::I code = encoder.codes(*scale, Vec::iset(0));  // once more: that of 1 where a scale went to 0
  if (bits > 8) {
    store_codes_n(static_cast<uint16_t*>(codes) + i, code, n);
  } else {
    store_codes_n(static_cast<uint8_t*>(codes) + i, code, n);
  }
}

template <class Store>
LOWBIT_INLINE void choose_with(const float* minimum, const float* maximum, int64_t n, const ParamRule& rule,
                               float* scale, float* zero, Store store) {
  for (int64_t i = 0; i < n; i += Vec::kLanes) {
    const int count = n - i < Vec::kLanes ? int(n - i) : Vec::kLanes;
    const Vec::F low = Vec::load_n(minimum + i, count), high = Vec::load_n(maximum + i, count);
    Vec::F s = Vec::div(exact_scale(rule, low, high), Vec::set(rule.global_scale));
    store(i, count, &s);
    s = Vec::mul(s, Vec::set(rule.global_scale));
    Vec::store_n(scale + i, s, count);
    if (!zero) continue;
    Vec::F z = Vec::set(rule.zero);
    if (rule.convention == ParamRule::kAsymmetric) {
      // clipped before it is converted: a subnormal scale can make the quotient huge
      z = Vec::sub(Vec::set(rule.qmin), Vec::div(Vec::min(low, Vec::set(0.0f)), s));
      z = Vec::to_float(Vec::round(Vec::min(Vec::max(z, Vec::set(rule.qmin)), Vec::set(rule.qmax))));
    }
    Vec::store_n(zero + i, z, count);
  }
}

void choose_params(const float* minimum, const float* maximum, int64_t n, const ParamRule& rule, void* codes,
                   float* scale, float* zero) {
  if (!rule.rounded) {
    return choose_with(minimum, maximum, n, rule, scale, zero, [&](int64_t i, int count, Vec::F* s) LOWBIT_ALWAYS {
      *s = not_zero(*s);
      Vec::store_n(static_cast<float*>(codes) + i, *s, count);
    });
  }
  const FloatFormat& f = rule.scale_format;
  with_encoder(f, rule.rounding, [&](const auto& encoder) LOWBIT_ALWAYS {
    with_decoder(f, [&](const auto& decoder) LOWBIT_ALWAYS {
      choose_with(minimum, maximum, n, rule, scale, zero, [&](int64_t i, int count, Vec::F* s) LOWBIT_ALWAYS {
        store_scale(encoder, decoder, f.bits, i, count, codes, s);
      });
    });
  });
}

#include "../isa/end.hpp"
