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
    case ParamRule::kNoClip: return Vec::max(Vec::div(low, Vec::set(rule.qmin)), Vec::div(high, Vec::set(rule.qmax)));
    case ParamRule::kAsymmetric: break;
  }
  const Vec::F none = Vec::set(0.0f), steps = Vec::set(rule.qmax - rule.qmin);
  const Vec::F from = Vec::min(low, none), to = Vec::max(high, none), span = Vec::sub(to, from);
  const Vec::F apart = Vec::sub(Vec::div(to, steps), Vec::div(from, steps));  // where the span overflows
  return Vec::select(Vec::less(span, Vec::set(LOWBIT_INFINITY)), Vec::div(span, steps), apart);
}

// 1 where the scale is 0.
LOWBIT_INLINE Vec::F not_zero(Vec::F scale) {
  const Vec::F least = Vec::from_bits(Vec::iset(1));  // a NaN is not less: it stays
  return Vec::select(Vec::less(absolute(scale), least), Vec::set(1.0f), scale);
}

template <class Fn>
LOWBIT_INLINE void each_lanes(int64_t n, Fn fn) {
  for (int64_t i = 0; i < n; i += Vec::kLanes) fn(i, n - i < Vec::kLanes ? int(n - i) : Vec::kLanes);
}

LOWBIT_INLINE void replace_zeros(float* scale, int64_t n) {
  each_lanes(n, [=](int64_t i, int count)
                    LOWBIT_ALWAYS { Vec::store_n(scale + i, not_zero(Vec::load_n(scale + i, count)), count); });
}

void choose_params(const float* minimum, const float* maximum, int64_t n, const ParamRule& rule, void* codes,
                   float* scale, float* zero) {
  const bool global = rule.global_scale != 1.0f;
  each_lanes(n, [&](int64_t i, int count) LOWBIT_ALWAYS {
    Vec::F s = exact_scale(rule, Vec::load_n(minimum + i, count), Vec::load_n(maximum + i, count));
    if (global) s = Vec::div(s, Vec::set(rule.global_scale));
    Vec::store_n(scale + i, not_zero(s), count);
  });
  if (rule.rounded) {
    encode_floats(scale, n, rule.scale_format, rule.rounding, codes);
    decode_floats(codes, n, rule.scale_format, scale);
    replace_zeros(scale, n);
    encode_floats(scale, n, rule.scale_format, rule.rounding, codes);  // exact, but for the scales that went to 0
  } else if (n > 0) {
    LOWBIT_COPY(codes, scale, size_t(n) * sizeof(float));
  }
  if (global) {
    each_lanes(n, [&](int64_t i, int count) LOWBIT_ALWAYS {
      Vec::store_n(scale + i, Vec::mul(Vec::load_n(scale + i, count), Vec::set(rule.global_scale)), count);
    });
  }
  if (!zero) return;
  each_lanes(n, [&](int64_t i, int count) LOWBIT_ALWAYS {
    Vec::F z = Vec::set(rule.zero);
    if (rule.convention == ParamRule::kAsymmetric) {
      // clipped before it is converted: a subnormal scale can make the quotient huge
      const Vec::F low = Vec::min(Vec::load_n(minimum + i, count), Vec::set(0.0f));
      z = Vec::sub(Vec::set(rule.qmin), Vec::div(low, Vec::load_n(scale + i, count)));
      z = Vec::to_float(Vec::round(Vec::min(Vec::max(z, Vec::set(rule.qmin)), Vec::set(rule.qmax))));
    }
    Vec::store_n(zero + i, z, count);
  });
}

#include "../isa/end.hpp"
