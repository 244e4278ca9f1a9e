// Argument checks that several functions share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../error.hpp"
#include "../structs.hpp"

namespace lowbit {

// Of an array, so that bits, bytes and sizes rounded up fit int64 as well.
constexpr int64_t kMostElements = int64_t{1} << 56;

// a * b * …, or false where the product does not fit int64 or a factor is negative.
inline bool multiply(int64_t* product, int64_t a, int64_t b) {
  if (a < 0 || b < 0 || (b > 0 && a > INT64_MAX / b)) return false;
  *product = a * b;
  return true;
}

inline bool aligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }

// An array that is going to be used, aligned to so many bytes: those of an element, mostly.
inline lowbit_status check_array(const void* data, const char* name, int64_t alignment, lowbit_error* error) {
  if (!data) return fail(error, LOWBIT_INVALID_VALUE, "%s: got NULL, expected the array", name);
  if (aligned(data, size_t(alignment))) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "%s: got address %p, expected one aligned to %d bytes", name, data,
              int(alignment));
}

// The same for one that may be missing.
inline lowbit_status check_optional(const void* data, const char* name, int64_t alignment, lowbit_error* error) {
  return data ? check_array(data, name, alignment, error) : LOWBIT_OK;
}

// A matrix in memory, in bytes.
struct Bytes {
  const void* data;
  int64_t rows, width, stride;
};

// Whether two matrices share memory. True as well, though they may lie between each other's rows, where their ranges of
// addresses meet and their strides differ.
inline bool overlap(const Bytes& a, const Bytes& b) {
  if (a.rows < 1 || a.width < 1 || b.rows < 1 || b.width < 1) return false;
  const auto begin = [](const Bytes& m) { return reinterpret_cast<uintptr_t>(m.data); };
  const auto end = [&](const Bytes& m) {
    return begin(m) + uintptr_t(m.rows - 1) * uintptr_t(m.stride) + uintptr_t(m.width);
  };
  if (begin(a) >= end(b) || begin(b) >= end(a)) return false;
  if (a.rows == 1 || a.rows != b.rows || a.stride != b.stride) return true;
  const Bytes& first = begin(a) <= begin(b) ? a : b;
  const Bytes& second = begin(a) <= begin(b) ? b : a;
  const uintptr_t shift = (begin(second) - begin(first)) % uintptr_t(a.stride);
  return shift < uintptr_t(first.width) || uintptr_t(a.stride) - shift < uintptr_t(second.width);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
inline int64_t round_up(int64_t a, int64_t to) { return ceil_div(a, to) * to; }

}  // namespace lowbit
