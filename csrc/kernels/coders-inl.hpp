// The element codings of quantization: x / scale to a code, and a code back to a number (docs/numerics.md).
//
//   Integers  clip(round(t) + zero), (code - zero)       Floats  FloatEncoder, FloatDecoder
//   Numbers   16 numbers of a table: the nearest one     kernels loop over runs, these loop over nothing
#pragma once

#include "floats-inl.hpp"

#include "../isa/begin.hpp"

// The quotient is clipped as a float, to what the zero point leaves of the code range: where zero is an integer both
// bounds are, so clipping before rounding gives the same code, and no float that is out of range gets converted.
template <bool kFraction>
struct IntegerEncoder {
  Vec::F qmin, qmax, low, high, zero;
  Vec::I whole;

  LOWBIT_INLINE explicit IntegerEncoder(const Coder& coder) {
    qmin = low = Vec::set(float(coder.range.qmin));
    qmax = high = Vec::set(float(coder.range.qmax));
    zero = Vec::set(0.0f);
    whole = Vec::iset(0);
  }
  LOWBIT_INLINE void set_zero(Vec::F z) {
    zero = z;
    if (kFraction) return;
    low = Vec::sub(qmin, z);
    high = Vec::sub(qmax, z);
    whole = Vec::round(z);
  }
  LOWBIT_INLINE Vec::I codes(Vec::F t) const {
    t = Vec::select(Vec::is_nan(t), Vec::set(0.0f), t);
    if (kFraction) return Vec::round(Vec::min(Vec::max(Vec::add(t, zero), low), high));
    return Vec::iadd(Vec::round(Vec::min(Vec::max(t, low), high)), whole);
  }
};

// Codes as bytes are code + 128 where signed, once their top bit is flipped.
struct IntegerDecoder {
  Vec::I flip;
  Vec::F zero;

  LOWBIT_INLINE explicit IntegerDecoder(const Coder& coder) {
    flip = Vec::iset(coder.is_signed ? 128 : 0);
    set_zero(Vec::set(0.0f));
  }
  LOWBIT_INLINE void set_zero(Vec::F z) { zero = z; }
  LOWBIT_INLINE Vec::F values(Vec::I byte) const {
    return Vec::sub(Vec::to_float(Vec::isub(Vec::ixor(byte, flip), flip)), zero);
  }
};

struct TableEncoder {
  Vec::Table below, first, second, ranks;
  Vec::I nan;

  LOWBIT_INLINE explicit TableEncoder(const Coder& coder) {
    below = Vec::table(reinterpret_cast<const float*>(coder.below));
    first = Vec::table(coder.first);
    second = Vec::table(coder.second);
    ranks = Vec::table(reinterpret_cast<const float*>(coder.ranks));
    nan = Vec::iset(coder.nan);
  }
  // The cell, then the thresholds in it: a binary search of four steps waits twice as long.
  LOWBIT_INLINE Vec::I codes(Vec::F t) const {
    const Vec::F inside = Vec::min(Vec::max(t, Vec::set(-1.0f)), Vec::set(0.99f));  // NaN: -1
    const Vec::I cell = Vec::round(Vec::fma(inside, Vec::set(8.0f), Vec::set(7.5f)));
    Vec::I rank = Vec::bits(Vec::pick(below, cell));
    rank = count(Vec::less(Vec::pick(first, cell), t), rank);
    rank = count(Vec::less(Vec::pick(second, cell), t), rank);
    return iselect(Vec::is_nan(t), nan, Vec::bits(Vec::pick(ranks, rank)));
  }

 private:
  static LOWBIT_INLINE Vec::I count(Vec::M more, Vec::I n) { return iselect(more, Vec::iadd(n, Vec::iset(1)), n); }
};

struct TableDecoder {
  Vec::Table table;

  LOWBIT_INLINE explicit TableDecoder(const float* values) { table = Vec::table(values); }
  LOWBIT_INLINE Vec::F values(Vec::I code) const { return Vec::pick(table, code); }
};

#include "../isa/end.hpp"
