// Ranges, quantization and dequantization of float32 (docs/numerics.md).
//
// A run of at least kLanes elements has no tail: its last vector ends where the run ends and overlaps the one before,
// which writes the same codes twice and changes no minimum. Only shorter pieces go through load_n and store_n.
#pragma once

#include <cstddef>
#include <cstdint>

#include "coders-inl.hpp"

#include "../isa/begin.hpp"

constexpr float kInfinity = LOWBIT_INFINITY;

// ---- ranges -----------------------------------------------------------------------------------------------------

// x where it is finite, else NaN, which min and max pass over (x - x is 0 or NaN).
LOWBIT_INLINE Vec::F finite(Vec::F x) { return Vec::add(Vec::sub(x, x), x); }

// Smallest and largest element but NaN; kFinite: but infinities as well.
template <bool kFinite>
struct Extent {
  Vec::F low = Vec::set(kInfinity), high = Vec::set(-kInfinity);

  LOWBIT_INLINE void take(Vec::F x) {
    if (kFinite) x = finite(x);
    low = Vec::min(x, low);
    high = Vec::max(x, high);
  }
  LOWBIT_INLINE void merge(const Extent& other) {
    low = Vec::min(other.low, low);
    high = Vec::max(other.high, high);
  }
};

// Infinities are rare: they are looked for in the result, and taken out by a second look at the data.
LOWBIT_INLINE bool has_infinity(float low, float high) { return low == -kInfinity || high == kInfinity; }

template <bool kFinite>
void range_vectors(const float* x, int64_t n, float* minimum, float* maximum) {
  constexpr int64_t kLanes = Vec::kLanes;
  Extent<kFinite> a, b, c, d;  // four chains hide the latency of min and max
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a.take(Vec::load(x + i));
    b.take(Vec::load(x + i + kLanes));
    c.take(Vec::load(x + i + 2 * kLanes));
    d.take(Vec::load(x + i + 3 * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) a.take(Vec::load(x + i));
  if (i < n) a.take(Vec::load(x + n - kLanes));
  c.merge(d);
  a.merge(b);
  a.merge(c);
  *minimum = Vec::reduce_min(a.low);
  *maximum = Vec::reduce_max(a.high);
}

void range_run(const float* x, int64_t n, float* minimum, float* maximum) {
  float low = kInfinity, high = -kInfinity;
  if (n < Vec::kLanes) {
    for (int64_t i = 0; i < n; ++i) {
      const float v = (x[i] - x[i]) + x[i];
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
  } else {
    range_vectors<false>(x, n, &low, &high);
    if (has_infinity(low, high)) range_vectors<true>(x, n, &low, &high);
  }
  *minimum = low + 0.0f;  // -0 or +0: which one, depends on the lanes
  *maximum = high + 0.0f;
}

// kLanes runs together, so that their results are found lane by lane.
LOWBIT_INLINE void range_block(const float* x, int64_t run, float* minimum, float* maximum) {
  Vec::F low[Vec::kLanes], high[Vec::kLanes];
  for (int r = 0; r < Vec::kLanes; ++r) {
    Extent<false> e;
    each_vector(run, [&](int64_t i) LOWBIT_ALWAYS { e.take(Vec::load(x + r * run + i)); });
    low[r] = e.low;
    high[r] = e.high;
  }
  const auto least = [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::min(a, b); };
  const auto most = [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::max(a, b); };
  const Vec::F lows = Vec::fold_rows(low, least), highs = Vec::fold_rows(high, most);
  if (has_infinity(Vec::reduce_min(lows), Vec::reduce_max(highs))) {
    for (int r = 0; r < Vec::kLanes; ++r) range_run(x + r * run, run, minimum + r, maximum + r);
    return;
  }
  Vec::store(minimum, Vec::add(lows, Vec::set(0.0f)));
  Vec::store(maximum, Vec::add(highs, Vec::set(0.0f)));
}

void range_runs(const float* x, int64_t n, int64_t run, float* minimum, float* maximum) {
  constexpr int64_t kLong = 256;  // elements: above, finding the result of a run's lanes costs little
  if (run >= Vec::kLanes && run < kLong) {
    for (; n >= Vec::kLanes * run; n -= Vec::kLanes * run, x += Vec::kLanes * run) {
      range_block(x, run, minimum, maximum);
      minimum += Vec::kLanes;
      maximum += Vec::kLanes;
    }
  }
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

// Runs shorter than a vector: writes each parameter once for each of its elements, a block at a time, and calls
// fn(first element, elements, scales, zero points or null).
template <class Fn>
LOWBIT_INLINE void each_short_runs(int64_t n, int64_t run, const float* scale, const float* zero, Fn fn) {
  constexpr int64_t kBlock = 16 * Vec::kLanes;
  float scales[kBlock], zeros[kBlock];
  const auto spread = [=](const float* from, int64_t length, float* to) {
    for (int64_t e = 0; e < length; e += run, ++from) {
      for (int64_t end = e + run < length ? e + run : length, k = e; k < end; ++k) to[k] = *from;
    }
  };
  const int64_t runs = kBlock / run;
  for (int64_t i = 0; i < n; i += runs * run, scale += runs) {
    const int64_t length = n - i < runs * run ? n - i : runs * run;
    spread(scale, length, scales);
    if (zero) {
      spread(zero, length, zeros);
      zero += runs;
    }
    fn(i, length, scales, zero ? zeros : nullptr);
  }
}

// The float and table codings have no zero point.
template <class Coding>
LOWBIT_INLINE void set_zero(Coding&, Vec::F) {}
template <bool kFraction>
LOWBIT_INLINE void set_zero(IntegerEncoder<kFraction>& encoder, Vec::F zero) {
  encoder.set_zero(zero);
}
LOWBIT_INLINE void set_zero(IntegerDecoder& decoder, Vec::F zero) { decoder.set_zero(zero); }

LOWBIT_INLINE Vec::I encode(const FloatEncoder<false, true, false>& e, Vec::F t) { return e.codes(t, Vec::iset(0)); }
LOWBIT_INLINE Vec::I encode(const FloatEncoder<true, true, false>& e, Vec::F t) { return e.codes(t, Vec::iset(0)); }
template <class Encoder>
LOWBIT_INLINE Vec::I encode(const Encoder& e, Vec::F t) {
  return e.codes(t);
}

// A scale, and a zero point where zero is not null, for each element.
template <class Code, class Encoder>
void quantize_elements(Encoder encoder, const float* x, int64_t n, const float* scale, const float* zero, Code* codes) {
  if (n < Vec::kLanes) {
    const int rest = int(n);
    if (rest == 0) return;
    if (zero) set_zero(encoder, Vec::load_n(zero, rest));
    return store_codes_n(codes, encode(encoder, Vec::div(Vec::load_n(x, rest), Vec::load_n(scale, rest))), rest);
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS {
    prefetch_ahead(x + i);
    if (zero) set_zero(encoder, Vec::load(zero + i));
    store_codes(codes + i, encode(encoder, Vec::div(Vec::load(x + i), Vec::load(scale + i))));
  });
}

template <class Code, class Encoder>
void quantize_with(Encoder encoder, const float* x, int64_t n, int64_t run, const float* scale, const float* zero,
                   Code* codes) {
  if (run == 1) return quantize_elements(encoder, x, n, scale, zero, codes);
  if (run < Vec::kLanes) {
    return each_short_runs(n, run, scale, zero, [&](int64_t i, int64_t length, const float* s, const float* z) {
      quantize_elements(encoder, x + i, length, s, z, codes + i);
    });
  }
  for (int64_t r = 0; n > 0; ++r, n -= run, x += run, codes += run) {
    const Vec::F s = Vec::set(scale[r]);
    if (zero) set_zero(encoder, Vec::set(zero[r]));
    const int64_t length = n < run ? n : run;
    if (length < Vec::kLanes) {
      store_codes_n(codes, encode(encoder, Vec::div(Vec::load_n(x, int(length)), s)), int(length));
    } else {
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS {
        prefetch_ahead(x + i);
        store_codes(codes + i, encode(encoder, Vec::div(Vec::load(x + i), s)));
      });
    }
  }
}

void quantize_runs(const float* x, int64_t n, int64_t run, const float* scale, const float* zero, int fraction,
                   const Coder& coder, void* codes) {
  uint8_t* const bytes = static_cast<uint8_t*>(codes);
  if (coder.kind == Coder::kInteger) {
    if (fraction) return quantize_with(IntegerEncoder<true>(coder), x, n, run, scale, zero, bytes);
    return quantize_with(IntegerEncoder<false>(coder), x, n, run, scale, zero, bytes);
  }
  if (coder.kind == Coder::kTable) return quantize_with(TableEncoder(coder), x, n, run, scale, nullptr, bytes);
  const FloatFormat& f = coder.floats;
  if (f.kind == FloatFormat::kFnuz) {
    return quantize_with(FloatEncoder<true, true, false>(f), x, n, run, scale, nullptr, bytes);
  }
  const FloatEncoder<false, true, false> encoder(f);
  if (f.bits > 8) return quantize_with(encoder, x, n, run, scale, nullptr, static_cast<uint16_t*>(codes));
  quantize_with(encoder, x, n, run, scale, nullptr, bytes);
}

// ---- dequantize -------------------------------------------------------------------------------------------------

template <class Code, class Decoder>
void dequantize_elements(Decoder decoder, const Code* codes, int64_t n, const float* scale, const float* zero,
                         float* out) {
  if (n < Vec::kLanes) {
    const int rest = int(n);
    if (rest == 0) return;
    if (zero) set_zero(decoder, Vec::load_n(zero, rest));
    return Vec::store_n(out, Vec::mul(decoder.values(load_codes_n(codes, rest)), Vec::load_n(scale, rest)), rest);
  }
  each_vector(n, [&](int64_t i) LOWBIT_ALWAYS {
    if (zero) set_zero(decoder, Vec::load(zero + i));
    Vec::store(out + i, Vec::mul(decoder.values(load_codes(codes + i)), Vec::load(scale + i)));
  });
}

template <class Code, class Decoder>
void dequantize_with(Decoder decoder, const Code* codes, int64_t n, int64_t run, const float* scale, const float* zero,
                     float* out) {
  if (run == 1) return dequantize_elements(decoder, codes, n, scale, zero, out);
  if (run < Vec::kLanes) {
    return each_short_runs(n, run, scale, zero, [&](int64_t i, int64_t length, const float* s, const float* z) {
      dequantize_elements(decoder, codes + i, length, s, z, out + i);
    });
  }
  for (int64_t r = 0; n > 0; ++r, n -= run, codes += run, out += run) {
    const Vec::F s = Vec::set(scale[r]);
    if (zero) set_zero(decoder, Vec::set(zero[r]));
    const int64_t length = n < run ? n : run;
    if (length < Vec::kLanes) {
      Vec::store_n(out, Vec::mul(decoder.values(load_codes_n(codes, int(length))), s), int(length));
    } else {
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS {
        Vec::store(out + i, Vec::mul(decoder.values(load_codes(codes + i)), s));
      });
    }
  }
}

void dequantize_runs(const void* codes, int64_t n, int64_t run, const float* scale, const float* zero,
                     const Coder& coder, float* out) {
  const uint8_t* const bytes = static_cast<const uint8_t*>(codes);
  if (coder.kind == Coder::kInteger) return dequantize_with(IntegerDecoder(coder), bytes, n, run, scale, zero, out);
  // 16 numbers need no arithmetic, whatever they are
  if (coder.values) return dequantize_with(TableDecoder(coder.values), bytes, n, run, scale, nullptr, out);
  const FloatFormat& f = coder.floats;
  if (f.kind == FloatFormat::kFnuz) return dequantize_with(FloatDecoder<true>(f), bytes, n, run, scale, nullptr, out);
  const FloatDecoder<false> decoder(f);
  if (f.bits > 8) return dequantize_with(decoder, static_cast<const uint16_t*>(codes), n, run, scale, nullptr, out);
  dequantize_with(decoder, bytes, n, run, scale, nullptr, out);
}

#include "../isa/end.hpp"
