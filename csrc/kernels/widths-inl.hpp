// Code for one bit width, chosen at run time.
#pragma once

#include "../isa/begin.hpp"

template <int n>
struct Constant {
  static constexpr int value = n;
};

// Calls fn(Constant<bits>()), bits 1 … 8.
template <int n = 1, class Fn>
LOWBIT_INLINE void with_bits(int bits, Fn fn) {
  if constexpr (n < 8) {
    if (bits != n) return with_bits<n + 1>(bits, fn);
  }
  fn(Constant<n>());
}

#include "../isa/end.hpp"
