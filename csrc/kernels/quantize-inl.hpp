// Ranges, quantization and dequantization of float32, and float16 to float32 (docs/numerics.md).
//
// A run of at least kLanes elements has no tail: its last vector ends where the run ends and overlaps the one before,
// which writes the same codes twice and changes no minimum. Only shorter pieces go through load_n and store_n.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"

#include "../isa/begin.hpp"

constexpr float kInfinity = __builtin_inff();

// Calls fn(i) for vectors that cover [0, n), n >= kLanes.
template <class Fn>
LOWBIT_INLINE void each_vector(int64_t n, Fn fn) {
  constexpr int64_t kLanes = Vec::kLanes;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    fn(i);
    fn(i + kLanes);
    fn(i + 2 * kLanes);
    fn(i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) fn(i);
  if (i < n) fn(n - kLanes);
}

// ---- ranges -----------------------------------------------------------------------------------------------------

// x where it is finite, else NaN, which min and max pass over (x - x is 0 or NaN).
LOWBIT_INLINE Vec::F finite(Vec::F x) { return Vec::add(Vec::sub(x, x), x); }

struct Extent {
  Vec::F low, high;

  LOWBIT_INLINE void start() {
    low = Vec::set(kInfinity);
    high = Vec::set(-kInfinity);
  }
  LOWBIT_INLINE void take(Vec::F x) {
    x = finite(x);
    low = Vec::min(x, low);
    high = Vec::max(x, high);
  }
  LOWBIT_INLINE void merge(const Extent& other) {
    low = Vec::min(other.low, low);
    high = Vec::max(other.high, high);
  }
};

LOWBIT_INLINE void range_run(const float* x, int64_t n, float* minimum, float* maximum) {
  constexpr int64_t kLanes = Vec::kLanes;
  float low = kInfinity, high = -kInfinity;
  if (n < kLanes) {
    for (int64_t i = 0; i < n; ++i) {
      const float v = (x[i] - x[i]) + x[i];
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
  } else {
    Extent a;
    a.start();
    int64_t i = 0;
    if (n >= 4 * kLanes) {  // four chains hide the latency of min and max
      Extent b = a, c = a, d = a;
      for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
        a.take(Vec::load(x + i));
        b.take(Vec::load(x + i + kLanes));
        c.take(Vec::load(x + i + 2 * kLanes));
        d.take(Vec::load(x + i + 3 * kLanes));
      }
      c.merge(d);
      a.merge(b);
      a.merge(c);
    }
    for (; i + kLanes <= n; i += kLanes) a.take(Vec::load(x + i));
    if (i < n) a.take(Vec::load(x + n - kLanes));
    low = Vec::reduce_min(a.low);
    high = Vec::reduce_max(a.high);
  }
  *minimum = low + 0.0f;  // -0 or +0: which one, depends on the lanes
  *maximum = high + 0.0f;
}

void range_runs(const float* x, int64_t n, int64_t run, float* minimum, float* maximum) {
  for (; n > 0; n -= run, x += run) range_run(x, n < run ? n : run, minimum++, maximum++);
}

void range_each(const float* x, int64_t n, float* minimum, float* maximum) {
  int64_t i = 0;
  // no overlap here: this reads what it writes
  for (; i + Vec::kLanes <= n; i += Vec::kLanes) {
    const Vec::F v = finite(Vec::load(x + i));
    Vec::store(minimum + i, Vec::min(v, Vec::load(minimum + i)));
    Vec::store(maximum + i, Vec::max(v, Vec::load(maximum + i)));
  }
  if (i < n) {
    const int rest = int(n - i);
    const Vec::F v = finite(Vec::load_n(x + i, rest));
    Vec::store_n(minimum + i, Vec::min(v, Vec::load_n(minimum + i, rest)), rest);
    Vec::store_n(maximum + i, Vec::max(v, Vec::load_n(maximum + i, rest)), rest);
  }
}

// ---- quantize ---------------------------------------------------------------------------------------------------

// x / scale is clipped as a float, to what the zero point leaves of the code range: both bounds are integers, so
// clipping before rounding gives the same code, and no float that is out of range gets converted.
struct Quantizer {
  Vec::F scale, low, high;
  Vec::I zero;

  LOWBIT_INLINE void set(Vec::F s, Vec::I z, CodeRange range) {
    scale = s;
    zero = z;
    low = Vec::to_float(Vec::isub(Vec::iset(range.qmin), z));
    high = Vec::to_float(Vec::isub(Vec::iset(range.qmax), z));
  }
  LOWBIT_INLINE Vec::I codes(Vec::F x) const {
    Vec::F t = Vec::div(x, scale);
    t = Vec::select(Vec::is_nan(t), Vec::set(0.0f), t);
    t = Vec::min(Vec::max(t, low), high);
    return Vec::iadd(Vec::round(t), zero);
  }
};

template <bool kZero>
LOWBIT_INLINE void quantize_elements(const float* x, int64_t n, const float* scale, const int32_t* zero,
                                     CodeRange range, uint8_t* codes) {
  Quantizer q;
  if (n < Vec::kLanes) {
    const int rest = int(n);
    if (rest == 0) return;
    q.set(Vec::load_n(scale, rest), kZero ? Vec::iload_n(zero, rest) : Vec::iset(0), range);
    return Vec::store_u8_n(codes, q.codes(Vec::load_n(x, rest)), rest);
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS {
    q.set(Vec::load(scale + i), kZero ? Vec::iload(zero + i) : Vec::iset(0), range);
    Vec::store_u8(codes + i, q.codes(Vec::load(x + i)));
  });
}

void quantize_each(const float* x, int64_t n, const float* scale, const int32_t* zero, CodeRange range,
                   uint8_t* codes) {
  return zero ? quantize_elements<true>(x, n, scale, zero, range, codes)
              : quantize_elements<false>(x, n, scale, zero, range, codes);
}

// ---- dequantize -------------------------------------------------------------------------------------------------

// Bytes as they come are code + 128 where signed, once their top bit is flipped; zero has the same 128 in it.
LOWBIT_INLINE Vec::F dequantize_vector(Vec::I bytes, Vec::I flip, Vec::I zero, Vec::F scale) {
  return Vec::mul(Vec::to_float(Vec::isub(Vec::ixor(bytes, flip), zero)), scale);
}

template <bool kZero>
LOWBIT_INLINE void dequantize_elements(const uint8_t* codes, int is_signed, int64_t n, const float* scale,
                                       const int32_t* zero, float* out) {
  const Vec::I flip = Vec::iset(is_signed ? 128 : 0);
  if (n < Vec::kLanes) {
    const int rest = int(n);
    if (rest == 0) return;
    const Vec::I z = kZero ? Vec::iadd(Vec::iload_n(zero, rest), flip) : flip;
    return Vec::store_n(out, dequantize_vector(Vec::load_u8_n(codes, rest), flip, z, Vec::load_n(scale, rest)), rest);
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS {
    const Vec::I z = kZero ? Vec::iadd(Vec::iload(zero + i), flip) : flip;
    Vec::store(out + i, dequantize_vector(Vec::load_u8(codes + i), flip, z, Vec::load(scale + i)));
  });
}

void dequantize_each(const uint8_t* codes, int is_signed, int64_t n, const float* scale, const int32_t* zero,
                     float* out) {
  return zero ? dequantize_elements<true>(codes, is_signed, n, scale, zero, out)
              : dequantize_elements<false>(codes, is_signed, n, scale, zero, out);
}

// ---- runs -------------------------------------------------------------------------------------------------------

// Runs shorter than a vector: writes each parameter once for each of its elements, a block at a time, and calls
// fn(first element, elements, scales, zero points or null).
template <class Fn>
LOWBIT_INLINE void each_short_runs(int64_t n, int64_t run, const float* scale, const int32_t* zero, Fn fn) {
  constexpr int64_t kBlock = 16 * Vec::kLanes;
  float scales[kBlock];
  int32_t zeros[kBlock];
  const int64_t runs = kBlock / run;
  for (int64_t i = 0; i < n; i += runs * run, scale += runs) {
    const int64_t length = n - i < runs * run ? n - i : runs * run;
    for (int64_t e = 0, r = 0; e < length; e += run, ++r) {
      for (int64_t end = e + run < length ? e + run : length, k = e; k < end; ++k) scales[k] = scale[r];
    }
    if (zero) {
      for (int64_t e = 0, r = 0; e < length; e += run, ++r) {
        for (int64_t end = e + run < length ? e + run : length, k = e; k < end; ++k) zeros[k] = zero[r];
      }
      zero += runs;
    }
    fn(i, length, scales, zero ? zeros : nullptr);
  }
}

void quantize_runs(const float* x, int64_t n, int64_t run, const float* scale, const int32_t* zero, CodeRange range,
                   uint8_t* codes) {
  if (run == 1) return quantize_each(x, n, scale, zero, range, codes);
  if (run < Vec::kLanes) {
    return each_short_runs(n, run, scale, zero, [&](int64_t i, int64_t length, const float* s, const int32_t* z) {
      quantize_each(x + i, length, s, z, range, codes + i);
    });
  }
  for (int64_t r = 0; n > 0; ++r, n -= run, x += run, codes += run) {
    Quantizer q;
    q.set(Vec::set(scale[r]), Vec::iset(zero ? zero[r] : 0), range);
    const int64_t length = n < run ? n : run;
    if (length < Vec::kLanes) {
      Vec::store_u8_n(codes, q.codes(Vec::load_n(x, int(length))), int(length));
    } else {
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS { Vec::store_u8(codes + i, q.codes(Vec::load(x + i))); });
    }
  }
}

void dequantize_runs(const uint8_t* codes, int is_signed, int64_t n, int64_t run, const float* scale,
                     const int32_t* zero, float* out) {
  if (run == 1) return dequantize_each(codes, is_signed, n, scale, zero, out);
  if (run < Vec::kLanes) {
    return each_short_runs(n, run, scale, zero, [&](int64_t i, int64_t length, const float* s, const int32_t* z) {
      dequantize_each(codes + i, is_signed, length, s, z, out + i);
    });
  }
  const Vec::I flip = Vec::iset(is_signed ? 128 : 0);
  for (int64_t r = 0; n > 0; ++r, n -= run, codes += run, out += run) {
    const Vec::F s = Vec::set(scale[r]);
    const Vec::I z = Vec::iadd(Vec::iset(zero ? zero[r] : 0), flip);
    const int64_t length = n < run ? n : run;
    if (length < Vec::kLanes) {
      Vec::store_n(out, dequantize_vector(Vec::load_u8_n(codes, int(length)), flip, z, s), int(length));
    } else {
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS {
        Vec::store(out + i, dequantize_vector(Vec::load_u8(codes + i), flip, z, s));
      });
    }
  }
}

// ---- float16 ----------------------------------------------------------------------------------------------------

void widen_half(const uint16_t* x, int64_t n, float* out) {
  if (n < Vec::kLanes) {
    if (n <= 0) return;
    uint16_t padded[Vec::kLanes] = {};
    for (int64_t i = 0; i < n; ++i) padded[i] = x[i];
    return Vec::store_n(out, Vec::load_half(padded), int(n));
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS { Vec::store(out + i, Vec::load_half(x + i)); });
}

#include "../isa/end.hpp"
