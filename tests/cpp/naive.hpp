// What number formats mean, written from their specifications: one element at a time, in double, by search among all
// the numbers that a format has. Slow, and without a line of csrc.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lowbit/lowbit.h"

namespace naive {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Equal bits, or both NaN.
inline bool same(float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); }

inline float from_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// ---- floats of at most 16 bits ------------------------------------------------------------------------------------

enum class Special {
  kIeee,    // infinities and NaNs
  kOneNan,  // no infinity, the code of all ones is NaN
  kFinite,  // neither
  kFnuz,    // one zero, one NaN (the code of -0)
  kPower    // powers of two, no zero, one NaN
};
enum class Round { kNearest, kUp, kDown };

struct Float {
  lowbit_type type;
  lowbit_format format;  // 0: a type for scales
  int bits, mantissa, bias;
  Special special;
  std::vector<double> numbers;  // by code: not negative, finite, ascending; one more, as if the format went on

  Float(lowbit_type t, lowbit_format f, int total, int m, int b, Special s)
      : type(t), format(f), bits(total), mantissa(m), bias(b), special(s) {
    for (int code = 0; code <= max() + 1; ++code) numbers.push_back(number(code));
  }

  int sign() const { return special == Special::kPower ? 0 : 1 << (bits - 1); }
  int max() const {  // code of the largest finite number
    switch (special) {
      case Special::kIeee: return (sign() - (1 << mantissa)) - 1;
      case Special::kOneNan: return sign() - 2;
      case Special::kPower: return 254;
      default: return sign() - 1;
    }
  }
  double max_value() const { return numbers[size_t(max())]; }

  float value(int code) const {
    const int magnitude = code & ~sign();
    if (special == Special::kFnuz && code == sign()) return kNan;
    const bool finite = magnitude <= max(), infinite = special == Special::kIeee && magnitude == max() + 1;
    const float v = finite ? float(numbers[size_t(magnitude)]) : infinite ? kInf : kNan;
    return magnitude != code ? -v : v;
  }

  // The codes whose numbers are next to a >= 0, as if there were no largest one.
  void neighbours(double a, int* below, int* above) const {
    const auto next = std::upper_bound(numbers.begin(), numbers.end(), a);
    *above = int(std::min(next, numbers.end() - 1) - numbers.begin());
    *below = int(next - numbers.begin()) - 1;
    if (*below < 0 || numbers[size_t(*below)] == a) *above = *below = std::max(*below, 0);
  }
  // A code of `neighbours`, with the sign of x.
  int finish(int code, float x, bool saturate) const {
    if (code > max()) code = saturate ? max() : overflow();
    const bool signed_zero = special != Special::kFnuz;
    return std::signbit(x) && (code != 0 || signed_zero) ? code | sign() : code;
  }

  int code(float x, bool saturate, Round how = Round::kNearest) const {
    if (special == Special::kPower) return power_code(x, saturate, how);
    if (std::isnan(x)) return nan(std::signbit(x));
    const double a = std::fabs(double(x));
    int below, above;
    neighbours(a, &below, &above);
    if (below == above) return finish(below, x, saturate);
    const double down = a - numbers[size_t(below)], up = numbers[size_t(above)] - a;
    return finish(down > up || (down == up && below % 2) ? above : below, x, saturate);
  }
  // Not for powers of two. draw: 32 random bits.
  int stochastic_code(float x, bool saturate, uint32_t draw) const {
    if (std::isnan(x)) return nan(std::signbit(x));
    float a = std::fabs(x);
    if (saturate) a = std::min(a, float(max_value()));
    if (bias == 127 || a >= std::ldexp(1.0f, 1 - bias)) {  // bits are added below the last one, and cut
      uint32_t b;
      std::memcpy(&b, &a, 4);
      b += draw >> (9 + mantissa);
      a = from_bits(b >> (23 - mantissa) << (23 - mantissa));
    } else {  // 1/4096 of a step
      const double step = std::ldexp(1.0, 1 - bias - mantissa);
      a = float(std::floor((std::nearbyint(double(a) / step * 4096) + (draw >> 20)) / 4096) * step);
    }
    return code(std::signbit(x) ? -a : a, saturate);
  }

 private:
  double number(int code) const {
    if (special == Special::kPower) return std::ldexp(1.0, code - bias);
    const int exponent = code >> mantissa, fraction = code & ((1 << mantissa) - 1);
    return exponent == 0 ? std::ldexp(fraction, 1 - bias - mantissa)
                         : std::ldexp(fraction + (1 << mantissa), exponent - bias - mantissa);
  }
  int overflow() const {
    switch (special) {
      case Special::kFinite: return max();
      case Special::kFnuz: return sign();
      default: return max() + 1;  // infinity, or the NaN that is there
    }
  }
  int nan(bool negative) const {
    switch (special) {
      case Special::kIeee: return (max() + 1) | 1 << (mantissa - 1) | (negative ? sign() : 0);
      case Special::kOneNan: return (max() + 1) | (negative ? sign() : 0);
      case Special::kFinite: return negative ? 0 : sign();  // a zero of the other sign, as ml_dtypes has it
      default: return sign();
    }
  }
  int power_code(float x, bool saturate, Round how) const {
    if (!(x > 0)) return 255;
    int below, above;
    neighbours(x, &below, &above);
    if (below == above) return finish(below, x, saturate);
    const double down = double(x) - numbers[size_t(below)], up = numbers[size_t(above)] - double(x);
    // a tie goes up, and so does all between 2^-127 and 2^-126, as ml_dtypes has it
    const bool nearest_up = down >= up || below == 0;
    return finish(how == Round::kUp || (how == Round::kNearest && nearest_up) ? above : below, x, saturate);
  }
};

inline const std::vector<Float>& floats() {
  static const std::vector<Float> all = {
      {LOWBIT_FLOAT16, LOWBIT_FORMAT_FLOAT16, 16, 10, 15, Special::kIeee},
      {LOWBIT_BFLOAT16, LOWBIT_FORMAT_BFLOAT16, 16, 7, 127, Special::kIeee},
      {LOWBIT_FLOAT8_E4M3FN, LOWBIT_FORMAT_E4M3FN, 8, 3, 7, Special::kOneNan},
      {LOWBIT_FLOAT8_E5M2, LOWBIT_FORMAT_E5M2, 8, 2, 15, Special::kIeee},
      {LOWBIT_FLOAT8_E4M3FNUZ, LOWBIT_FORMAT_E4M3FNUZ, 8, 3, 8, Special::kFnuz},
      {LOWBIT_FLOAT8_E5M2FNUZ, LOWBIT_FORMAT_E5M2FNUZ, 8, 2, 16, Special::kFnuz},
      {LOWBIT_FLOAT8_E4M3, LOWBIT_FORMAT_E4M3, 8, 3, 7, Special::kIeee},
      {LOWBIT_FLOAT8_E3M4, LOWBIT_FORMAT_E3M4, 8, 4, 3, Special::kIeee},
      {LOWBIT_FLOAT8_E4M3B11FNUZ, LOWBIT_FORMAT_E4M3B11FNUZ, 8, 3, 11, Special::kFnuz},
      {LOWBIT_FLOAT6_E2M3FN, LOWBIT_FORMAT_E2M3FN, 6, 3, 1, Special::kFinite},
      {LOWBIT_FLOAT6_E3M2FN, LOWBIT_FORMAT_E3M2FN, 6, 2, 3, Special::kFinite},
      {LOWBIT_FLOAT4_E2M1FN, LOWBIT_FORMAT_E2M1FN, 4, 1, 1, Special::kFinite},
      {LOWBIT_FLOAT8_E8M0FNU, 0, 8, 0, 127, Special::kPower},
  };
  return all;
}

inline const Float& float_of(lowbit_type type) {
  return *std::find_if(floats().begin(), floats().end(), [=](const Float& f) { return f.type == type; });
}

// ---- random bits: the finalizers of MurmurHash3 -------------------------------------------------------------------

inline uint32_t hash(uint32_t h) {
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

// Of element i with a seed.
inline uint32_t draw(uint64_t seed, uint64_t i) {
  const auto mix = [](uint64_t h) {
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    return uint32_t((h ^ h >> 33) >> 32);
  };
  return hash(uint32_t(i) ^ mix(seed ^ mix(i >> 32)));
}

// ---- formats for quantize -----------------------------------------------------------------------------------------

struct Format {
  lowbit_format id;
  int bits;
  int qmin = 0, qmax = 0;         // integers
  const Float* floats = nullptr;  // else: of this type,
  std::vector<float> table = {};  // or numbers by code
  int table_nan = 0;
  int64_t group_size = 0;
  lowbit_type scale_type = LOWBIT_NONE;
  bool has_global_scale = false;

  bool is_integer() const { return !floats && table.empty(); }
  float max_value() const {
    return is_integer() ? float(qmax)
           : floats     ? float(floats->max_value())
                        : *std::max_element(table.begin(), table.end());
  }
  size_t code_bytes() const { return bits > 8 ? 2 : 1; }

  // fraction: zero is added before rounding.
  int code(float x, float scale, float zero = 0, bool fraction = false) const {
    const float t = x / scale;
    if (floats) return floats->code(t, true);
    if (!table.empty()) return std::isnan(t) ? table_nan : table_code(t);
    double q = zero;
    if (!std::isnan(t)) q = fraction ? double(t + zero) : std::nearbyint(double(t)) + double(zero);
    q = std::min(std::max(std::nearbyint(q), double(qmin)), double(qmax));
    return int(q);
  }
  float value(int code, float scale, float zero = 0) const {
    if (floats) return floats->value(code) * scale;
    if (!table.empty()) return table[size_t(code)] * scale;
    return (float(code) - zero) * scale;
  }

 private:
  // The nearest number; the lower one up to the middle as a float. -0 is never chosen.
  int table_code(float t) const {
    int best = -1;
    for (int code = 0; code < 16; ++code) {
      const float v = table[size_t(code)];
      if (v == 0 && std::signbit(v)) continue;
      if (best < 0) {
        best = code;
        continue;
      }
      const float known = table[size_t(best)], low = std::min(v, known), high = std::max(v, known);
      const bool higher = t > float((double(low) + double(high)) / 2);
      if (higher == (v > known)) best = code;
    }
    return best;
  }
};

inline const std::vector<Format>& formats() {
  static const std::vector<Format> all = [] {
    std::vector<Format> list;
    for (int bits = 1; bits <= 8; ++bits) {
      const int half = 1 << (bits - 1);
      list.push_back({LOWBIT_INT(bits), bits, -half, half - 1});
      list.push_back({LOWBIT_UINT(bits), bits, 0, 2 * half - 1});
    }
    list.push_back({LOWBIT_TERNARY, 2, -1, 1});
    for (const Float& f : floats()) {
      if (f.format) list.push_back({f.format, f.bits, 0, 0, &f});
    }
    // QLoRA, appendix E: quantiles of the normal distribution (test_formats.cpp checks that they are)
    list.push_back({LOWBIT_FORMAT_NF4,
                    4,
                    0,
                    0,
                    nullptr,
                    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
                     -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
                     0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
                     0.7229568362236023f, 1.0f},
                    7});
    std::vector<float> fp4;
    for (const float sign : {1.0f, -1.0f}) {  // twelfths of bitsandbytes' FP4; its subnormal is 1/192
      for (const double twelfths : {0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0})
        fp4.push_back(sign * float(twelfths / 12));
    }
    list.push_back({LOWBIT_FORMAT_FP4, 4, 0, 0, nullptr, fp4, 0});
    const auto block = [&](lowbit_format id, lowbit_type type, int64_t group, lowbit_type scale, bool global) {
      const Float& f = float_of(type);
      list.push_back({id, f.bits, 0, 0, &f, {}, 0, group, scale, global});
    };
    block(LOWBIT_FORMAT_MXFP8_E4M3, LOWBIT_FLOAT8_E4M3FN, 32, LOWBIT_FLOAT8_E8M0FNU, false);
    block(LOWBIT_FORMAT_MXFP8_E5M2, LOWBIT_FLOAT8_E5M2, 32, LOWBIT_FLOAT8_E8M0FNU, false);
    block(LOWBIT_FORMAT_MXFP6_E2M3, LOWBIT_FLOAT6_E2M3FN, 32, LOWBIT_FLOAT8_E8M0FNU, false);
    block(LOWBIT_FORMAT_MXFP6_E3M2, LOWBIT_FLOAT6_E3M2FN, 32, LOWBIT_FLOAT8_E8M0FNU, false);
    block(LOWBIT_FORMAT_MXFP4, LOWBIT_FLOAT4_E2M1FN, 32, LOWBIT_FLOAT8_E8M0FNU, false);
    block(LOWBIT_FORMAT_NVFP4, LOWBIT_FLOAT4_E2M1FN, 16, LOWBIT_FLOAT8_E4M3FN, true);
    return list;
  }();
  return all;
}

// ---- scale and zero point from a range ----------------------------------------------------------------------------

struct Params {
  int code;     // of the scale; unused where it is a float32
  float own;    // without the global scale
  float scale;  // with it; not finite where it overflows
  int zero;
};

// global: 1 for none.
inline Params choose(const Format& f, lowbit_convention convention, lowbit_type scale_type, float global, float low,
                     float high) {
  // symmetric conventions take the codes of signed formats
  const int middle = f.is_integer() && f.qmin == 0 ? 1 << (f.bits - 1) : 0;
  const float least = float(f.qmin - middle);
  float qmax = f.max_value() - float(middle);
  const bool power = scale_type == LOWBIT_FLOAT8_E8M0FNU;
  // OCP: 2^(floor(log2 absmax) - floor(log2 max))
  if (power && !f.is_integer()) qmax = std::exp2(std::floor(std::log2(qmax)));
  const float from = std::min(low, 0.0f), to = std::max(high, 0.0f), steps = float(f.qmax - f.qmin);
  const float absmax = std::max(std::fabs(low), std::fabs(high));
  float s = 0;
  switch (convention) {
    case LOWBIT_ABSMAX: s = absmax / qmax; break;
    case LOWBIT_FULL: s = absmax / (qmax + 0.5f); break;
    case LOWBIT_SIGNED_MAX: s = (std::fabs(low) > std::fabs(high) ? low : high) / least; break;
    case LOWBIT_NO_CLIP: s = std::max(low / least, high / qmax); break;
    case LOWBIT_ASYMMETRIC: s = std::isinf(to - from) ? to / steps - from / steps : (to - from) / steps; break;
  }
  if (global != 1) s = s / global;
  if (s == 0) s = 1;
  Params p = {0, s, s, middle};
  if (scale_type != LOWBIT_FLOAT32) {
    const Float& type = float_of(scale_type);
    p.code = type.code(s, false, !power ? Round::kNearest : f.is_integer() ? Round::kUp : Round::kDown);
    p.own = type.value(p.code);
    if (p.own == 0) p.own = 1, p.code = type.code(1.0f, false);
  }
  p.scale = p.own * global;
  if (convention == LOWBIT_ASYMMETRIC && std::isfinite(p.scale)) {
    const float quotient = from / p.scale, point = float(f.qmin) - quotient;
    p.zero = int(std::nearbyint(std::min(std::max(double(point), double(f.qmin)), double(f.qmax))));
  }
  return p;
}

// A way to choose parameters.
struct Setting {
  const Format* format;
  lowbit_convention convention;
  lowbit_type scale_type;
  float global;  // 1: none

  bool has_meaning() const {
    if (!format->is_integer() && convention != LOWBIT_ABSMAX) return false;
    if (format->bits == 1 && (convention == LOWBIT_ABSMAX || convention == LOWBIT_NO_CLIP)) return false;
    return convention != LOWBIT_SIGNED_MAX || scale_type != LOWBIT_FLOAT8_E8M0FNU;
  }
  bool needs_zero() const { return format->is_integer() && (convention == LOWBIT_ASYMMETRIC || format->qmin == 0); }
  Params expect(float low, float high) const { return choose(*format, convention, scale_type, global, low, high); }
  size_t scale_bytes() const { return scale_type == LOWBIT_FLOAT32 ? 4 : size_t(float_of(scale_type).bits) / 8; }
  // What is stored for p.
  void store(const Params& p, uint8_t* to) const {
    const float as_stored = p.own;
    std::memcpy(to, scale_type == LOWBIT_FLOAT32 ? static_cast<const void*>(&as_stored) : &p.code, scale_bytes());
  }
  std::string name() const {
    return "format " + std::to_string(format->id) + ", convention " + std::to_string(convention) + ", scale type " +
           std::to_string(scale_type) + ", global scale " + std::to_string(global);
  }
};

// All there are, those without meaning too.
inline std::vector<Setting> all_settings() {
  std::vector<Setting> all;
  for (const Format& f : formats()) {
    for (int convention = LOWBIT_ASYMMETRIC; convention <= LOWBIT_NO_CLIP; ++convention) {
      for (const lowbit_type type :
           {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E8M0FNU, LOWBIT_FLOAT8_E4M3FN}) {
        for (const float global : {1.0f, 0.4f}) all.push_back({&f, lowbit_convention(convention), type, global});
      }
    }
  }
  return all;
}

inline std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Setting& s : all_settings()) {
    if (s.has_meaning()) all.push_back(s);
  }
  return all;
}

}  // namespace naive
