// Activation functions: fixed polynomials in a fixed order, so that every ISA gives the same bits (docs/numerics.md).
#pragma once

#include "../isa/begin.hpp"

// Horner with fma, coefficients highest degree first.
template <int n>
LOWBIT_INLINE Vec::F polynomial(const float (&c)[n], Vec::F x) {
  Vec::F p = Vec::set(c[0]);
  LOWBIT_UNROLL
  for (int i = 1; i < n; ++i) p = Vec::fma(p, x, Vec::set(c[i]));
  return p;
}

LOWBIT_INLINE Vec::F power_of_two(Vec::I n) { return Vec::from_bits(Vec::shl(Vec::iadd(n, Vec::iset(127)), 23)); }

LOWBIT_INLINE Vec::F negate(Vec::F x) { return Vec::from_bits(Vec::ixor(Vec::bits(x), Vec::iset(INT32_MIN))); }

// Relative error below 1e-7 where the result is normal; 0 below -104, infinity above 88.8.
LOWBIT_INLINE Vec::F exponential(Vec::F x) {
  const Vec::F low = Vec::set(-104.0f), high = Vec::set(89.0f);
  x = Vec::select(Vec::less(x, low), low, x);
  x = Vec::select(Vec::less(high, x), high, x);
  const Vec::I n = Vec::round(Vec::mul(x, Vec::set(1.44269504f)));
  const Vec::F whole = Vec::to_float(n);
  Vec::F r = Vec::fma(whole, Vec::set(-0.693359375f), x);  // ln 2 in two parts, the first exact in 10 bits
  r = Vec::fma(whole, Vec::set(2.12194440e-4f), r);
  Vec::F p = polynomial(
      {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}, r);
  p = Vec::add(Vec::fma(p, Vec::mul(r, r), r), Vec::set(1.0f));
  const Vec::I half = Vec::sra(n, 1);  // in two factors: 2^n alone overflows at 128 and has no subnormals
  return Vec::mul(Vec::mul(p, power_of_two(half)), power_of_two(Vec::isub(n, half)));
}

// Of x >= 0, relative error below 2e-7; -infinity at 0 (and below).
LOWBIT_INLINE Vec::F logarithm(Vec::F x) {
  const Vec::M tiny = Vec::less(x, Vec::set(0x1p-126f));  // subnormals have no exponent of their own
  const Vec::F y = Vec::select(tiny, Vec::mul(x, Vec::set(0x1p23f)), x);
  const Vec::I above = Vec::isub(Vec::bits(y), Vec::iset(0x3f3504f3));  // sqrt(1/2): m is within [sqrt(1/2), sqrt(2))
  const Vec::I n = Vec::sra(above, 23);
  const Vec::F m = Vec::from_bits(Vec::isub(Vec::bits(y), Vec::shl(n, 23)));
  const Vec::F whole = Vec::sub(Vec::to_float(n), Vec::select(tiny, Vec::set(23.0f), Vec::set(0.0f)));
  // log m = 2 atanh((m - 1) / (m + 1)), its series to the ninth power
  const Vec::F s = Vec::div(Vec::sub(m, Vec::set(1.0f)), Vec::add(m, Vec::set(1.0f)));
  const Vec::F z = Vec::mul(s, s), twice = Vec::add(s, s);
  const Vec::F p = polynomial({0.111111111f, 0.142857143f, 0.2f, 0.333333333f}, z);
  Vec::F r = Vec::fma(Vec::mul(twice, z), p, twice);
  r = Vec::fma(whole, Vec::set(-2.12194440e-4f), r);
  r = Vec::fma(whole, Vec::set(0.693359375f), r);
  r = Vec::select(Vec::less(x, Vec::set(LOWBIT_INFINITY)), r, x);
  return Vec::select(Vec::less(x, Vec::set(0x1p-149f)), Vec::set(-LOWBIT_INFINITY), r);
}

// x / (1 + exp(-u))
LOWBIT_INLINE Vec::F logistic_times(Vec::F x, Vec::F u) {
  return Vec::div(x, Vec::add(Vec::set(1.0f), exponential(negate(u))));
}

LOWBIT_INLINE Vec::F gelu_tanh(Vec::F x) {
  const Vec::F slope = Vec::fma(Vec::mul(x, x), Vec::set(0.0713548162726f), Vec::set(1.5957691216f));
  return logistic_times(x, Vec::mul(x, slope));
}

LOWBIT_INLINE Vec::F gelu(Vec::F x) {
  const Vec::F a = Vec::from_bits(Vec::iand(Vec::bits(x), Vec::iset(INT32_MAX)));
  const Vec::F t = Vec::div(Vec::set(1.0f), Vec::fma(a, Vec::set(0.35f), Vec::set(1.0f)));
  const Vec::F p = polynomial(
      {-0.029147522523999214f, 0.14397913217544556f, -0.2557288408279419f, 0.15918979048728943f, -0.02311977744102478f,
       0.10551181435585022f, 0.11983201652765274f, 0.13986197113990784f, 0.13962140679359436f},
      t);
  const Vec::F tail = exponential(Vec::mul(Vec::mul(x, x), Vec::set(-0.5f)));
  const Vec::F h = Vec::mul(Vec::mul(tail, t), p);  // the normal distribution's tail beyond |x|
  return Vec::select(Vec::less(x, Vec::set(0.0f)), Vec::mul(x, h), Vec::fma(negate(x), h, x));
}

LOWBIT_INLINE Vec::F relu(Vec::F x) { return Vec::select(Vec::less(x, Vec::set(0.0f)), Vec::set(0.0f), x); }

#include "../isa/end.hpp"
