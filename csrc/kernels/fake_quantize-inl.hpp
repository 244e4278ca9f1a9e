// Fake quantization and its gradients, and the fixed-order sum of gradients (docs/numerics.md, "Fake quantization").
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "quantize-inl.hpp"

#include "../isa/begin.hpp"

// What a step reads and writes: a whole vector, or the first n lanes of one.
struct WholeVector {
  static LOWBIT_INLINE Vec::F load(const float* p) { return Vec::load(p); }
  static LOWBIT_INLINE void store(float* p, Vec::F a) { Vec::store(p, a); }
};
struct FirstLanes {
  int n;
  LOWBIT_INLINE Vec::F load(const float* p) const { return Vec::load_n(p, n); }
  LOWBIT_INLINE void store(float* p, Vec::F a) const { Vec::store_n(p, a, n); }
};

// Calls step(lanes, i, scale, zero) for vectors of elements that cover [0, n), with the parameters of those elements.
template <class Step>
LOWBIT_INLINE void each_quantized_vector(int64_t n, int64_t run, const float* scale, const float* zero, Step step) {
  const Vec::F none = Vec::set(0.0f);
  if (run < Vec::kLanes) {
    const auto each = [&](int64_t at, int64_t length, const float* s, const float* z) {  // a parameter for each element
      if (length < Vec::kLanes) {
        const FirstLanes lanes = {int(length)};
        return step(lanes, at, lanes.load(s), z ? lanes.load(z) : none);
      }
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS {
        step(WholeVector(), at + i, Vec::load(s + i), z ? Vec::load(z + i) : none);
      });
    };
    if (run > 1) return each_short_runs(n, run, scale, zero, each);
    if (n > 0) each(0, n, scale, zero);
    return;
  }
  for (int64_t at = 0, r = 0; at < n; at += run, ++r) {
    const Vec::F s = Vec::set(scale[r]), z = zero ? Vec::set(zero[r]) : none;
    const int64_t length = n - at < run ? n - at : run;
    if (length < Vec::kLanes) {
      step(FirstLanes{int(length)}, at, s, z);
    } else {
      each_vector(length, [&](int64_t i) LOWBIT_ALWAYS { step(WholeVector(), at + i, s, z); });
    }
  }
}

// x / scale counts steps from the zero point. Its ends are integers, so that clipping before rounding gives the same.
struct Steps {
  Vec::F low, high;

  LOWBIT_INLINE Steps(CodeRange range, Vec::F zero) {
    low = Vec::sub(Vec::set(float(range.qmin)), zero);
    high = Vec::sub(Vec::set(float(range.qmax)), zero);
  }
  LOWBIT_INLINE Vec::F clip(Vec::F v) const { return Vec::min(Vec::max(v, low), high); }
  // Clipped one step beyond either end: enough to see what is outside, and it fits Vec::round.
  LOWBIT_INLINE Vec::F clip_beyond(Vec::F v) const {
    const Vec::F one = Vec::set(1.0f);
    return Vec::min(Vec::max(v, Vec::sub(low, one)), Vec::add(high, one));
  }
};

void fake_quantize_runs(const float* x, int64_t n, int64_t run, const float* scale, const float* zero, CodeRange range,
                        float* out) {
  const Vec::F none = Vec::set(0.0f);
  each_quantized_vector(n, run, scale, zero, [&](auto lanes, int64_t i, Vec::F s, Vec::F z) LOWBIT_ALWAYS {
    Vec::F v = Vec::div(lanes.load(x + i), s);
    v = Vec::select(Vec::is_nan(v), none, v);
    lanes.store(out + i, Vec::mul(Vec::to_float(Vec::round(Steps(range, z).clip(v))), s));
  });
}

void fake_quantize_gradient_runs(const FakeQuantizeGradient& g) {
  const Vec::F none = Vec::set(0.0f);
  each_quantized_vector(g.n, g.run, g.scale, g.zero, [&](auto lanes, int64_t i, Vec::F s, Vec::F z) LOWBIT_ALWAYS {
    const Steps steps(g.range, z);
    const Vec::F grad = lanes.load(g.grad + i);
    Vec::F v = Vec::div(lanes.load(g.x + i), s);
    const Vec::M nan = Vec::is_nan(v);
    v = Vec::select(nan, none, v);
    const Vec::F rounded = Vec::to_float(Vec::round(steps.clip_beyond(v)));
    const Vec::F kept = steps.clip(rounded), beyond = Vec::sub(rounded, kept);
    const Vec::M clipped = Vec::less(none, Vec::mul(beyond, beyond));
    lanes.store(g.grad_x + i, Vec::select(nan, none, Vec::select(clipped, none, grad)));
    lanes.store(g.scale_terms + i, Vec::mul(grad, Vec::select(clipped, kept, Vec::sub(rounded, v))));
    lanes.store(g.zero_terms + i, Vec::select(clipped, grad, none));
  });
}

void add_lanes(const float* x, int64_t n, int first, float* lanes) {
  int64_t i = 0;
  for (; i < n && first != 0; first = (first + 1) % kSumLanes) lanes[first] += x[i++];
  if (n - i >= kSumLanes) {
    constexpr int kVectors = kSumLanes / Vec::kLanes;
    Vec::F sum[kVectors];
    LOWBIT_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[v] = Vec::load(lanes + v * Vec::kLanes);
    for (; i + kSumLanes <= n; i += kSumLanes) {
      LOWBIT_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[v] = Vec::add(sum[v], Vec::load(x + i + v * Vec::kLanes));
    }
    LOWBIT_UNROLL
    for (int v = 0; v < kVectors; ++v) Vec::store(lanes + v * Vec::kLanes, sum[v]);
  }
  for (int lane = 0; i < n; ++lane) lanes[lane] += x[i++];
}

#include "../isa/end.hpp"
