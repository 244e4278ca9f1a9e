// The last step of a matrix product where tiles do not take it: rows of a column block, while they are in L1.
#pragma once

#include "epilogue-inl.hpp"
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

// A vector of a row of sums. kIntegers: the epilogue has a scale.
template <bool kIntegers>
LOWBIT_INLINE Vec::F finish_sums(const FinishRows& f, int64_t row, int64_t i, int n) {
  const int64_t at = row * f.ldsums + i;
  Vec::F v;
  if (kIntegers) {
    v = scaled(load_upto(static_cast<const int32_t*>(f.sums) + at, n), load_upto(f.epilogue.scale + i, n));
  } else {
    v = load_upto(static_cast<const float*>(f.sums) + at, n);
  }
  const Epilogue& e = f.epilogue;
  return e.act_scale ? Vec::mul(v, Vec::set(e.act_scale[row * e.act_scale_stride])) : v;
}

// kMore: a second term or a residual. Asking for each vector made a product of 128 x 384 x 1536 7 % slower.
template <bool kIntegers, bool kMore, class Activation>
LOWBIT_INLINE void finish_loop(const FinishRows& rows, Activation activation) {
  const FinishRows f = rows;  // of its own: what is written cannot be one of its members
  for (int64_t r = 0; r < f.rows; ++r) {
    each_part(f.n, [&](int64_t i, int n) LOWBIT_ALWAYS {
      Vec::F v = finish_sums<kIntegers>(f, r * f.terms, i, n);
      if (kMore && f.terms == 2) v = Vec::add(v, finish_sums<kIntegers>(f, r * f.terms + 1, i, n));
      if (f.epilogue.bias) v = Vec::add(v, load_upto(f.epilogue.bias + i, n));
      v = activation(v);
      if (kMore && f.residual) v = Vec::add(v, load_upto(f.residual + r * f.ldresidual + i, n));
      store_upto(f.out + r * f.ldout + i, v, n);
    });
  }
}

template <class Activation>
LOWBIT_INLINE void finish_with(const FinishRows& f, Activation activation) {
  const bool more = f.terms == 2 || f.residual;
  if (f.epilogue.scale) return more ? finish_loop<true, true>(f, activation) : finish_loop<true, false>(f, activation);
  more ? finish_loop<false, true>(f, activation) : finish_loop<false, false>(f, activation);
}

void finish_rows(const FinishRows& rows) {
  switch (rows.activation) {  // lowbit_activation
    case 1: return finish_with(rows, [](Vec::F v) LOWBIT_ALWAYS { return relu(v); });
    case 2: return finish_with(rows, [](Vec::F v) LOWBIT_ALWAYS { return gelu(v); });
    case 3: return finish_with(rows, [](Vec::F v) LOWBIT_ALWAYS { return gelu_tanh(v); });
    case 4: return finish_with(rows, [](Vec::F v) LOWBIT_ALWAYS { return logistic_times(v, v); });
    default: return finish_with(rows, [](Vec::F v) LOWBIT_ALWAYS { return v; });
  }
}

#include "../isa/end.hpp"
