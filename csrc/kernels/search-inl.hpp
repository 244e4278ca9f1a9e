// Search for the scale of least squared error (docs/numerics.md, "Calibration"): kCandidates scales at a time, each in
// a lane of its own. A lane takes the elements in ascending order, so no sum depends on the number of lanes, and no
// element needs a tail.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "math-inl.hpp"
#include "quantize-inl.hpp"

#include "../isa/begin.hpp"

// ---- what a code stands for, in units of the scale ----------------------------------------------------------------

// Integer codes less their zero point: clip(round_half_even(x * inverse), low, high). The sum with 1.5 * 2^23 rounds;
// what is too large for that to be exact gets clipped.
struct IntegerValues {
  Vec::F inverse, low, high;

  static LOWBIT_INLINE Vec::F magic() { return Vec::set(12582912.0f); }

  LOWBIT_INLINE Vec::F operator()(Vec::F x) const {
    return Vec::sub(Vec::min(Vec::max(Vec::fma(x, inverse, magic()), low), high), magic());
  }
};

struct IntegerCoding {
  // Vectors of candidates at a time: chains of sums enough to hide the latency of fma, few enough for the registers
  // (AVX2: 2 * 5 of 16; AVX-512 and NEON: 4 * 5 of 32).
  static constexpr int kVecs = Vec::kLanes == 8 ? 2 : 4;
  using Values = IntegerValues;

  LOWBIT_INLINE Values at(const SearchCandidates& c, int lane) const {
    return {Vec::load(c.inverse + lane), Vec::add(Vec::load(c.low + lane), Values::magic()),
            Vec::add(Vec::load(c.high + lane), Values::magic())};
  }
};

// Other formats: to the code of x * inverse and back.
template <class Encoder, class Decoder>
struct OtherCoding {
  static constexpr int kVecs = 1;  // so long a way from x to the sums that nothing waits for them
  struct Values {
    const OtherCoding* coding;
    Vec::F inverse;

    LOWBIT_INLINE Vec::F operator()(Vec::F x) const {
      return coding->decoder.values(encode(coding->encoder, Vec::mul(x, inverse)));
    }
  };
  Encoder encoder;
  Decoder decoder;

  LOWBIT_INLINE Values at(const SearchCandidates& c, int lane) const { return {this, Vec::load(c.inverse + lane)}; }
};

template <class Fn>
LOWBIT_INLINE void with_coding(const Coder& coder, Fn fn) {
  const FloatFormat& f = coder.floats;
  if (coder.kind == Coder::kInteger) return fn(IntegerCoding());
  if (coder.kind == Coder::kTable) {
    return fn(OtherCoding<TableEncoder, TableDecoder>{TableEncoder(coder), TableDecoder(coder.values)});
  }
  if (f.kind == FloatFormat::kFnuz) {
    return fn(OtherCoding<FloatEncoder<true, true, false>, FloatDecoder<true>>{FloatEncoder<true, true, false>(f),
                                                                               FloatDecoder<true>(f)});
  }
  fn(OtherCoding<FloatEncoder<false, true, false>, FloatDecoder<false>>{FloatEncoder<false, true, false>(f),
                                                                        FloatDecoder<false>(f)});
}

// ---- sums over elements -----------------------------------------------------------------------------------------

void search_load(const float* x, int64_t n, float factor, float* y) {
  const Vec::F by = Vec::set(factor);
  const auto scaled = [&](Vec::F v) LOWBIT_ALWAYS {
    v = finite(v);
    return Vec::mul(Vec::select(Vec::is_nan(v), Vec::set(0.0f), v), by);
  };
  int64_t i = 0;
  for (; i + Vec::kLanes <= n; i += Vec::kLanes) Vec::store(y + i, scaled(Vec::load(x + i)));
  if (i < n) Vec::store_n(y + i, scaled(Vec::load_n(x + i, int(n - i))), int(n - i));
}

template <bool kWeights, class Coding>
void fit_with(const Coding& coding, const float* x, const float* weights, int64_t n, const SearchCandidates& c,
              float* cross, float* square) {
  constexpr int kVecs = Coding::kVecs;
  static_assert(kCandidates % (kVecs * Vec::kLanes) == 0, "candidates fill whole blocks");
  for (int lane = 0; lane < kCandidates; lane += kVecs * Vec::kLanes) {
    typename Coding::Values value[kVecs];
    Vec::F a[kVecs], b[kVecs];
    LOWBIT_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      value[v] = coding.at(c, lane + v * Vec::kLanes);
      a[v] = Vec::load(cross + lane + v * Vec::kLanes);
      b[v] = Vec::load(square + lane + v * Vec::kLanes);
    }
    for (int64_t i = 0; i < n; ++i) {
      const Vec::F at = Vec::set(x[i]);
      LOWBIT_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        const Vec::F q = value[v](at);
        const Vec::F wq = kWeights ? Vec::mul(Vec::set(weights[i]), q) : q;
        a[v] = Vec::fma(at, wq, a[v]);
        b[v] = Vec::fma(q, wq, b[v]);
      }
    }
    LOWBIT_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      Vec::store(cross + lane + v * Vec::kLanes, a[v]);
      Vec::store(square + lane + v * Vec::kLanes, b[v]);
    }
  }
}

void search_fit(const float* x, const float* weights, int64_t n, const SearchRule& rule, const SearchCandidates& c,
                float* cross, float* square) {
  with_coding(rule.coder, [&](const auto& coding) LOWBIT_ALWAYS {
    weights ? fit_with<true>(coding, x, weights, n, c, cross, square)
            : fit_with<false>(coding, x, weights, n, c, cross, square);
  });
}

template <bool kWeights, class Coding>
void error_with(const Coding& coding, const float* x, const float* weights, int64_t n, const SearchCandidates& c,
                float* error) {
  constexpr int kVecs = Coding::kVecs;
  for (int lane = 0; lane < kCandidates; lane += kVecs * Vec::kLanes) {
    typename Coding::Values value[kVecs];
    Vec::F minus_scale[kVecs], sum[kVecs];
    LOWBIT_UNROLL
    for (int v = 0; v < kVecs; ++v) {
      value[v] = coding.at(c, lane + v * Vec::kLanes);
      minus_scale[v] = negate(Vec::load(c.scale + lane + v * Vec::kLanes));
      sum[v] = Vec::load(error + lane + v * Vec::kLanes);
    }
    for (int64_t i = 0; i < n; ++i) {
      const Vec::F at = Vec::set(x[i]);
      LOWBIT_UNROLL
      for (int v = 0; v < kVecs; ++v) {
        const Vec::F d = Vec::fma(value[v](at), minus_scale[v], at);
        sum[v] = Vec::fma(kWeights ? Vec::mul(Vec::set(weights[i]), d) : d, d, sum[v]);
      }
    }
    LOWBIT_UNROLL
    for (int v = 0; v < kVecs; ++v) Vec::store(error + lane + v * Vec::kLanes, sum[v]);
  }
}

void search_error(const float* x, const float* weights, int64_t n, const SearchRule& rule, const SearchCandidates& c,
                  float* error) {
  with_coding(rule.coder, [&](const auto& coding) LOWBIT_ALWAYS {
    weights ? error_with<true>(coding, x, weights, n, c, error) : error_with<false>(coding, x, weights, n, c, error);
  });
}

// ---- candidates -------------------------------------------------------------------------------------------------

struct Scale {
  Vec::F value, stored;  // in units of the search; as stored
};

// The scale nearest to `wanted` (in units of the search) that can be stored; `other` where that is 0 or too large.
template <class Round>
LOWBIT_INLINE Scale usable_scale(Vec::F wanted, const Scale& other, const SearchRule& rule, const SearchUnit& unit,
                                 Round round) {
  const Vec::F global = Vec::set(rule.global_scale);
  Vec::F real = Vec::mul(wanted, Vec::set(unit.unit));
  Scale s;
  s.stored = round(rule.global_scale == 1.0f ? real : Vec::div(real, global));
  real = Vec::mul(s.stored, global);
  const Vec::F size = absolute(real);
  s.value = Vec::mul(real, Vec::set(unit.inverse));
  const Vec::M large = Vec::less(size, Vec::set(kInfinity)), small = Vec::less(Vec::set(0.0f), size);  // false: NaN
  s.value = Vec::select(small, Vec::select(large, s.value, other.value), other.value);
  s.stored = Vec::select(small, Vec::select(large, s.stored, other.stored), other.stored);
  return s;
}

// Calls fn(round), round(v): the nearest number of the scale's type; infinite or NaN where v is too large for it.
template <class Fn>
LOWBIT_INLINE void with_scale_type(const SearchRule& rule, Fn fn) {
  const FloatFormat& f = rule.scale_format;
  if (!rule.rounded) return fn([](Vec::F v) LOWBIT_ALWAYS { return v; });
  if (f.kind == FloatFormat::kPower) {
    const PowerEncoder<Rounding::kNearest> encoder(false);
    const PowerDecoder decoder(f);
    return fn([&](Vec::F v) LOWBIT_ALWAYS { return decoder.values(encoder.codes(v, Vec::iset(0))); });
  }
  const FloatEncoder<false, false, false> encoder(f);
  const FloatDecoder<false> decoder(f);
  fn([&](Vec::F v) LOWBIT_ALWAYS { return decoder.values(encoder.codes(v, Vec::iset(0))); });
}

LOWBIT_INLINE void store_scale(SearchCandidates* c, int lane, const Scale& s) {
  Vec::store(c->scale + lane, s.value);
  Vec::store(c->stored + lane, s.stored);
  Vec::store(c->inverse + lane, Vec::div(Vec::set(1.0f), s.value));
}

void search_start(const SearchRule& rule, const SearchUnit& unit, const SearchGrid& grid, SearchCandidates* c) {
  const Vec::F qmin = Vec::set(rule.qmin), qmax = Vec::set(rule.qmax);
  const Scale spare = {Vec::set(unit.spare), Vec::set(unit.spare_stored)};
  with_scale_type(rule, [&](const auto& round) LOWBIT_ALWAYS {
    for (int lane = 0; lane < kCandidates; lane += Vec::kLanes) {
      const Vec::F high = Vec::mul(Vec::set(grid.high), Vec::load(grid.high_factor + lane));
      if (!rule.has_zero) {
        store_scale(c, lane, usable_scale(high, spare, rule, unit, round));
        Vec::store(c->low + lane, qmin);
        Vec::store(c->high + lane, qmax);
        continue;
      }
      const Vec::F low = Vec::mul(Vec::set(grid.low), Vec::load(grid.low_factor + lane));
      const Vec::F wanted = Vec::div(Vec::sub(high, low), Vec::sub(qmax, qmin));
      const Scale s = usable_scale(wanted, spare, rule, unit, round);
      Vec::F zero = Vec::sub(qmin, Vec::div(low, s.value));
      zero = Vec::to_float(Vec::round(Vec::min(Vec::max(zero, qmin), qmax)));
      store_scale(c, lane, s);
      Vec::store(c->low + lane, Vec::sub(qmin, zero));
      Vec::store(c->high + lane, Vec::sub(qmax, zero));
    }
  });
}

void search_refine(const SearchRule& rule, const SearchUnit& unit, const float* cross, const float* square,
                   SearchCandidates* c) {
  with_scale_type(rule, [&](const auto& round) LOWBIT_ALWAYS {
    for (int lane = 0; lane < kCandidates; lane += Vec::kLanes) {
      const Vec::F best = Vec::div(Vec::load(cross + lane), Vec::load(square + lane));
      const Scale old = {Vec::load(c->scale + lane), Vec::load(c->stored + lane)};
      store_scale(c, lane, usable_scale(best, old, rule, unit, round));
    }
  });
}

int search_best(const float* error) {
  Vec::F low = Vec::set(LOWBIT_INFINITY);  // an error that is NaN is passed over
  for (int lane = 0; lane < kCandidates; lane += Vec::kLanes) low = Vec::min(Vec::load(error + lane), low);
  const Vec::F least = Vec::set(Vec::reduce_min(low));
  float lanes[Vec::kLanes];
  for (int i = 0; i < Vec::kLanes; ++i) lanes[i] = float(i);
  const Vec::F first = Vec::load(lanes);
  Vec::F best = Vec::set(float(kCandidates - 1));
  for (int lane = 0; lane < kCandidates; lane += Vec::kLanes) {
    const Vec::F index = Vec::add(first, Vec::set(float(lane)));
    const Vec::F e = Vec::load(error + lane);
    const Vec::F here = Vec::select(Vec::less(least, e), best, Vec::select(Vec::is_nan(e), best, index));
    best = Vec::min(here, best);
  }
  return int(Vec::reduce_min(best));
}

#include "../isa/end.hpp"
