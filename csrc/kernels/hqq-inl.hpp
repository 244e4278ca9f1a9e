// Half-quadratic quantization: the zero point of one run (docs/numerics.md, "Calibration").
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"
#include "math-inl.hpp"
#include "sum-inl.hpp"

#include "../isa/begin.hpp"

float hqq_zero(const float* x, int64_t n, const HqqRule& rule, float scale, float zero) {
  constexpr int64_t kSegment = 4096;
  const Vec::F s = Vec::set(scale), none = Vec::set(0.0f);
  float beta = rule.beta, best = zero;
  double least = LOWBIT_INFINITY;
  for (int round = 0; round < rule.rounds; ++round) {
    const Vec::F z = Vec::set(zero), b = Vec::set(beta);
    double wanted = 0, error = 0, count = 0;
    for (int64_t first = 0; first < n; first += kSegment) {
      LaneSum zeros, errors, finites;
      const int64_t length = n - first < kSegment ? n - first : kSegment;
      each_part_of_16(x + first, length, [&](int v, Vec::F a) LOWBIT_ALWAYS {
        const Vec::M skip = Vec::is_nan(finite(a));
        a = Vec::select(skip, none, a);
        Vec::F q = Vec::add(Vec::div(a, s), z);
        q = Vec::to_float(Vec::round(Vec::min(Vec::max(q, Vec::set(rule.qmin)), Vec::set(rule.qmax))));
        const Vec::F d = Vec::sub(a, Vec::mul(Vec::sub(q, z), s)), size = absolute(d);
        // what of d is no outlier: |d| less |d|^(p - 1) / beta
        const Vec::F power = exponential(Vec::mul(Vec::set(rule.power), logarithm(size)));
        Vec::F e = Vec::max(Vec::sub(size, Vec::div(power, b)), none);
        e = Vec::select(Vec::less(d, none), negate(e), e);
        zeros.add(v, Vec::select(skip, none, Vec::sub(q, Vec::div(Vec::sub(a, e), s))));
        errors.add(v, Vec::select(skip, none, size));
        finites.add(v, Vec::select(skip, none, Vec::set(1.0f)));
      });
      wanted += double(zeros.total());
      error += double(errors.total());
      count += double(finites.total());
    }
    error /= count;
    if (!(error < least)) break;
    least = error;
    best = zero;
    zero = float(wanted / count);
    beta *= rule.growth;
  }
  return best;
}

#include "../isa/end.hpp"
