// Argument checks that several functions share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../error.hpp"

namespace lowbit {

// An argument struct that the caller's header and this library agree on.
template <typename Args>
lowbit_status check_size(const Args* args, const char* type, lowbit_error* error) {
  if (!args) return fail(error, LOWBIT_INVALID_VALUE, "args: got NULL, expected a %s", type);
  if (args->struct_size == sizeof *args) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "args.struct_size: got %zu, expected sizeof(%s) = %zu", args->struct_size,
              type, sizeof *args);
}

// a * b * …, or false where the product does not fit int64 or a factor is negative.
inline bool multiply(int64_t* product, int64_t a, int64_t b) {
  return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

inline bool aligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
inline int64_t round_up(int64_t a, int64_t to) { return ceil_div(a, to) * to; }

}  // namespace lowbit
