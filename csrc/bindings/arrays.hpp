// numpy arrays as the C ABI wants them: pointers and sizes, checked before any is used. Nothing is converted here.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef LOWBIT_BINDINGS_ARRAYS_HPP_
#define LOWBIT_BINDINGS_ARRAYS_HPP_

#include <pybind11/numpy.h>

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "lowbit/lowbit.h"

namespace lowbit::bindings {

namespace py = pybind11;

// An element type as numpy describes it.
struct Element {
  char kind;
  int bytes;
};
constexpr Element kFloat32{'f', 4}, kFloat16{'f', 2}, kInt8{'i', 1}, kUint8{'u', 1}, kUint16{'u', 2}, kInt32{'i', 4};
constexpr Element kInt64{'i', 8};

enum class Access { kRead, kWrite };

using Array = pybind11::array;
using OptionalArray = std::optional<pybind11::array>;

// The data of a C-contiguous array of `count` elements (of any shape) of one of the allowed types.
// TypeError: element type or byte order; ValueError: size, contiguity, alignment or a read-only output.
void* data_of(const Array& array, const char* name, std::initializer_list<Element> allowed, int64_t count,
              Access access = Access::kRead);
// nullptr for None.
void* data_of(const OptionalArray& array, const char* name, std::initializer_list<Element> allowed, int64_t count,
              Access access = Access::kRead);

// A matrix whose rows are contiguous, `stride` elements apart.
struct Matrix {
  void* data;
  int64_t rows, columns, stride;
};
Matrix matrix_of(const Array& array, const char* name, std::initializer_list<Element> allowed,
                 Access access = Access::kRead);

// Unsigned integers of 16 bits are the codes of bfloat16, which numpy does not have.
lowbit_type type_of(const Array& array);

int bits_of(lowbit_format format);

// Bytes of rows of packed bits.
int64_t packed_bytes(int bits, int64_t rows, int64_t row_length);

// Codes as they are stored.
void* codes_data(const Array& codes, int bits, int64_t rows, int64_t row_length, Access access);

// Scales of a type that numpy may not know: float16 and float32 as they are, others as the bytes of their codes.
void* scale_data(const Array& scale, lowbit_type type, int64_t count, Access access);

// Sizes in 64 bits; ValueError where one is negative or the product does not fit.
int64_t product(const char* name, int64_t a, int64_t b);

}  // namespace lowbit::bindings

#endif  // LOWBIT_BINDINGS_ARRAYS_HPP_
