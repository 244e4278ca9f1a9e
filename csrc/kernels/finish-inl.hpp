// The last step of a matrix product, a row of a column block at a time, while it is in L1.
#pragma once

#include "math-inl.hpp"

#include "../isa/begin.hpp"

// fn(i, count): vectors of a row, the last with fewer than kLanes elements.
template <class Fn>
LOWBIT_INLINE void each_part(int64_t n, Fn fn) {
  int64_t i = 0;
  for (; i + Vec::kLanes <= n; i += Vec::kLanes) fn(i, Vec::kLanes);
  if (i < n) fn(i, int(n - i));
}

LOWBIT_INLINE Vec::F load_upto(const float* p, int n) { return n == Vec::kLanes ? Vec::load(p) : Vec::load_n(p, n); }
LOWBIT_INLINE Vec::I load_upto(const int32_t* p, int n) {
  return n == Vec::kLanes ? Vec::iload(p) : Vec::iload_n(p, n);
}
LOWBIT_INLINE void store_upto(float* p, Vec::F v, int n) {
  n == Vec::kLanes ? Vec::store(p, v) : Vec::store_n(p, v, n);
}
LOWBIT_INLINE void store_upto(int32_t* p, Vec::I v, int n) {
  n == Vec::kLanes ? Vec::istore(p, v) : Vec::istore_n(p, v, n);
}

void correct_row(int32_t* s, const CorrectRow& c) {
  const Vec::I a_sum = Vec::iset(c.a_sum), a_zero = Vec::iset(c.a_zero), k = Vec::iset(int32_t(c.k));
  each_part(c.n, [&](int64_t i, int n) LOWBIT_ALWAYS {
    const Vec::I zero = load_upto(c.b_zero + i, n);
    const Vec::I column = Vec::isub(load_upto(c.column_sum + i, n), Vec::imul(k, zero));
    Vec::I v = Vec::isub(load_upto(s + i, n), Vec::imul(zero, a_sum));
    v = Vec::isub(v, Vec::imul(a_zero, column));
    store_upto(s + i, v, n);
  });
}

void scale_row(const int32_t* s, int64_t n, const float* scale, float* y) {
  each_part(n, [&](int64_t i, int count) LOWBIT_ALWAYS {
    // fma from +0, as the sum over groups has it: 0 * -1 gives +0
    const Vec::F v = Vec::fma(Vec::to_float(load_upto(s + i, count)), load_upto(scale + i, count), Vec::set(0.0f));
    store_upto(y + i, v, count);
  });
}

template <class Activation>
LOWBIT_INLINE void finish_with(const float* x, const FinishRow& row, float* y, Activation activation) {
  const Vec::F scale = Vec::set(row.act_scale), second_scale = Vec::set(row.second_act_scale);
  each_part(row.n, [&](int64_t i, int n) LOWBIT_ALWAYS {
    Vec::F v = load_upto(x + i, n);
    if (row.has_act_scale) v = Vec::mul(v, scale);
    if (row.second) {
      Vec::F second = load_upto(row.second + i, n);
      if (row.has_act_scale) second = Vec::mul(second, second_scale);
      v = Vec::add(v, second);
    }
    if (row.bias) v = Vec::add(v, load_upto(row.bias + i, n));
    v = activation(v);
    if (row.residual) v = Vec::add(v, load_upto(row.residual + i, n));
    store_upto(y + i, v, n);
  });
}

void finish_row(const float* x, const FinishRow& row, float* y) {
  switch (row.activation) {  // lowbit_activation
    case 1: return finish_with(x, row, y, [](Vec::F v) LOWBIT_ALWAYS { return relu(v); });
    case 2: return finish_with(x, row, y, [](Vec::F v) LOWBIT_ALWAYS { return gelu(v); });
    case 3: return finish_with(x, row, y, [](Vec::F v) LOWBIT_ALWAYS { return gelu_tanh(v); });
    case 4: return finish_with(x, row, y, [](Vec::F v) LOWBIT_ALWAYS { return logistic_times(v, v); });
    default: return finish_with(x, row, y, [](Vec::F v) LOWBIT_ALWAYS { return v; });
  }
}

#include "../isa/end.hpp"
