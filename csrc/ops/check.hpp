// Argument checks that several functions share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lowbit {

// a * b * …, or false where the product does not fit int64 or a factor is negative.
inline bool multiply(int64_t* product, int64_t a, int64_t b) {
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

inline bool aligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
inline int64_t round_up(int64_t a, int64_t to) { return ceil_div(a, to) * to; }

}  // namespace lowbit
