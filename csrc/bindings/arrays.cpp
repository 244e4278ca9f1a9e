// SPDX-License-Identifier: Apache-2.0
#include "arrays.hpp"

#include <limits>
#include <string>

#include "context.hpp"

namespace lowbit::bindings {
namespace {

constexpr int kLastBuiltinType =
    23;  // NPY_HALF; above are types of other packages, such as ml_dtypes.bfloat16 ('V', 2)

std::string text(const Element& element) {
  const char* family = element.kind == 'f' ? "float" : element.kind == 'i' ? "int" : "uint";
  return family + std::to_string(8 * element.bytes);
}

constexpr char kForeignOrder = PY_LITTLE_ENDIAN ? '>' : '<';

void check_element(const Array& array, const char* name, std::initializer_list<Element> allowed) {
  const py::dtype dtype = array.dtype();
  const char kind = dtype.kind();
  const py::ssize_t bytes = dtype.itemsize();
  if (dtype.byteorder() != kForeignOrder && dtype.num() <= kLastBuiltinType) {
    for (const Element& element : allowed) {
      if (kind == element.kind && bytes == element.bytes) return;
    }
  }
  std::string expected;
  for (const Element& element : allowed) expected += (expected.empty() ? "" : " or ") + text(element);
  throw py::type_error(std::string(name) + ": dtype " + std::string(py::str(dtype)) + ", expected " + expected +
                       " in native byte order");
}

void check_memory(const Array& array, const char* name, Access access) {
  if (access == Access::kWrite && !array.writeable())
    throw py::value_error(std::string(name) + ": a read-only array, expected a writeable one");
  if (reinterpret_cast<uintptr_t>(array.data()) % static_cast<uintptr_t>(array.itemsize()) != 0)
    throw py::value_error(std::string(name) + ": misaligned data, expected alignment to the element");
}

}  // namespace

void* data_of(const Array& array, const char* name, std::initializer_list<Element> allowed, int64_t count,
              Access access) {
  check_element(array, name, allowed);
  check_memory(array, name, access);
  if (array.size() != count)
    throw py::value_error(std::string(name) + ": " + std::to_string(array.size()) + " elements, expected " +
                          std::to_string(count));
  if (!(array.flags() & py::array::c_style))
    throw py::value_error(std::string(name) + ": not contiguous, expected a C-contiguous array");
  return const_cast<void*>(array.data());
}

void* data_of(const OptionalArray& array, const char* name, std::initializer_list<Element> allowed, int64_t count,
              Access access) {
  return array ? data_of(*array, name, allowed, count, access) : nullptr;
}

Matrix matrix_of(const Array& array, const char* name, std::initializer_list<Element> allowed, Access access) {
  check_element(array, name, allowed);
  check_memory(array, name, access);
  if (array.ndim() != 2)
    throw py::value_error(std::string(name) + ": " + std::to_string(array.ndim()) + " dimensions, expected 2");
  Matrix matrix{const_cast<void*>(array.data()), array.shape(0), array.shape(1), array.shape(1)};
  if (matrix.rows == 0 || matrix.columns == 0) return matrix;
  const int64_t bytes = array.itemsize();
  if (matrix.rows > 1) {
    if (array.strides(0) % bytes != 0 || array.strides(0) < product(name, matrix.columns, bytes))
      throw py::value_error(std::string(name) + ": stride of " + std::to_string(array.strides(0)) +
                            " bytes from row to row, expected whole elements that do not overlap");
    matrix.stride = array.strides(0) / bytes;
  }
  if (matrix.columns > 1 && array.strides(1) != bytes)
    throw py::value_error(std::string(name) + ": stride of " + std::to_string(array.strides(1)) +
                          " bytes within a row, expected contiguous rows");
  return matrix;
}

lowbit_type type_of(const Array& array) {
  const py::dtype dtype = array.dtype();
  if (dtype.kind() == 'f') return dtype.itemsize() == 2 ? LOWBIT_FLOAT16 : LOWBIT_FLOAT32;
  if (dtype.itemsize() == 2) return LOWBIT_BFLOAT16;
  return dtype.kind() == 'i' ? LOWBIT_INT8 : LOWBIT_UINT8;
}

int bits_of(lowbit_format format) {
  lowbit_format_info info{};
  info.struct_size = sizeof info;
  lowbit_error error{};
  check(lowbit_format_describe(format, &info, &error), error);
  return info.bits;
}

int64_t packed_bytes(int bits, int64_t rows, int64_t row_length) {
  if (bits < 1 || bits > 8) throw py::value_error("bits: " + std::to_string(bits) + ", expected 1 to 8");
  // One row needs product + 7 to fit; the real product of rows comes after.
  const int64_t row_bits = product("row_length", row_length, bits);
  return product("rows", rows, row_bits / 8 + (row_bits % 8 != 0));
}

void* codes_data(const Array& codes, int bits, int64_t rows, int64_t row_length, Access access) {
  if (bits > 8) return data_of(codes, "codes", {kUint16, kFloat16}, product("codes", rows, row_length), access);
  return data_of(codes, "codes", {kInt8, kUint8}, packed_bytes(bits, rows, row_length), access);
}

void* scale_data(const Array& scale, lowbit_type type, int64_t count, Access access) {
  switch (type) {
    case LOWBIT_FLOAT32: return data_of(scale, "scale", {kFloat32}, count, access);
    case LOWBIT_FLOAT16: return data_of(scale, "scale", {kFloat16}, count, access);
    case LOWBIT_BFLOAT16: return data_of(scale, "scale", {kUint16}, count, access);
    default: return data_of(scale, "scale", {kUint8}, count, access);
  }
}

int64_t product(const char* name, int64_t a, int64_t b) {
  if (a < 0 || b < 0 || (b != 0 && a > std::numeric_limits<int64_t>::max() / b))
    throw py::value_error(std::string(name) + ": size " + std::to_string(a) + " * " + std::to_string(b) +
                          ", expected no negative size and less than 2^63 in all");
  return a * b;
}

}  // namespace lowbit::bindings
