// The floating-point formats of at most 16 bits, as facts (IEEE 754, OCP 8-bit and microscaling specifications,
// ml_dtypes).
#pragma once

#include "../kernels.hpp"

namespace lowbit {

constexpr float power_of_two(int n) {
  return n == 0 ? 1.0f : n > 0 ? 2.0f * power_of_two(n - 1) : 0.5f * power_of_two(n + 1);
}

// The number that a finite, positive code stands for.
constexpr float positive_value(int mantissa, int bias, int code) {
  const int exponent = code >> mantissa, fraction = code & ((1 << mantissa) - 1);
  if (exponent == 0) return float(fraction) * power_of_two(1 - bias - mantissa);
  return float(fraction + (1 << mantissa)) * power_of_two(exponent - bias - mantissa);
}

// With infinities and NaNs, as IEEE 754 has them: all ones in the exponent.
constexpr FloatFormat ieee_float(int bits, int mantissa) {
  const int bias = (1 << (bits - mantissa - 2)) - 1;
  const int infinity = (1 << (bits - 1)) - (1 << mantissa);
  return {FloatFormat::kSigned,
          bits,
          mantissa,
          bias,
          infinity - 1,
          infinity,
          infinity,
          mantissa > 0 ? infinity | 1 << (mantissa - 1) : infinity,
          positive_value(mantissa, bias, infinity - 1)};
}

// Finite numbers only, except that the code of all ones is NaN (e4m3fn).
constexpr FloatFormat float_with_nan(int bits, int mantissa) {
  const int bias = (1 << (bits - mantissa - 2)) - 1, nan = (1 << (bits - 1)) - 1;
  return {FloatFormat::kSigned, bits, mantissa, bias, nan - 1, nan, -1, nan, positive_value(mantissa, bias, nan - 1)};
}

// Finite numbers only: NaN becomes a zero, of the other sign as ml_dtypes has it.
constexpr FloatFormat finite_float(int bits, int mantissa) {
  const int bias = (1 << (bits - mantissa - 2)) - 1, max = (1 << (bits - 1)) - 1;
  return {
      FloatFormat::kSigned, bits, mantissa, bias, max, max, -1, 1 << (bits - 1), positive_value(mantissa, bias, max)};
}

// Finite numbers, one zero and one NaN.
constexpr FloatFormat fnuz_float(int bits, int mantissa, int bias) {
  const int max = (1 << (bits - 1)) - 1, nan = 1 << (bits - 1);
  return {FloatFormat::kFnuz, bits, mantissa, bias, max, nan, -1, nan, positive_value(mantissa, bias, max)};
}

constexpr FloatFormat kFloat16 = ieee_float(16, 10);
constexpr FloatFormat kBfloat16 = ieee_float(16, 7);
constexpr FloatFormat kE4m3fn = float_with_nan(8, 3);
constexpr FloatFormat kE5m2 = ieee_float(8, 2);
constexpr FloatFormat kE4m3fnuz = fnuz_float(8, 3, 8);
constexpr FloatFormat kE5m2fnuz = fnuz_float(8, 2, 16);
constexpr FloatFormat kE4m3 = ieee_float(8, 3);
constexpr FloatFormat kE3m4 = ieee_float(8, 4);
constexpr FloatFormat kE4m3b11fnuz = fnuz_float(8, 3, 11);
constexpr FloatFormat kE2m3fn = finite_float(6, 3);
constexpr FloatFormat kE3m2fn = finite_float(6, 2);
constexpr FloatFormat kE2m1fn = finite_float(4, 1);
constexpr FloatFormat kE8m0 = {FloatFormat::kPower, 8, 0, 127, 254, 255, -1, 255, 0x1p127f};

// The 16 numbers of a float of 4 bits, by code.
struct Numbers16 {
  float v[16];
};
constexpr Numbers16 numbers_of(const FloatFormat& f) {
  Numbers16 numbers = {};
  for (int code = 0; code < 16; ++code) {
    const float value = positive_value(f.mantissa, f.bias, code & 7);
    numbers.v[code] = code < 8 ? value : -value;
  }
  return numbers;
}
inline constexpr Numbers16 kE2m1Numbers = numbers_of(kE2m1fn);

constexpr Coder float_coder(const FloatFormat& f) {
  Coder coder = {};
  coder.kind = Coder::kFloat;
  coder.floats = f;
  if (f.bits == 4) coder.values = kE2m1Numbers.v;
  return coder;
}

}  // namespace lowbit
