// Packed weights.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <new>

#include "arrays.hpp"
#include "context.hpp"

namespace lowbit::bindings {
namespace {

struct AlignedFree {
  void operator()(void* data) const { ::operator delete(data, std::align_val_t{LOWBIT_ALIGNMENT}); }
};

// Element counts of the unpacked parts.
struct Parts {
  int64_t codes, params;
};

Parts parts_of(const lowbit_weights_info& info) {
  lowbit_format_info format{};
  format.struct_size = sizeof format;
  lowbit_error error{};
  check(lowbit_format_describe(info.format, &format, &error), error);
  const int64_t row_bits = product("K", info.k, format.bits);
  const int64_t groups = info.group_size > 0 ? info.k / info.group_size + (info.k % info.group_size != 0) : 1;
  return {product("weights", info.n, row_bits / 8 + (row_bits % 8 != 0)), product("scale", info.n, groups)};
}

// A read-only uint8 array: nobody can change what lowbit_matmul trusts.
py::array pack_weights(const lowbit_context& context, lowbit_format format, int64_t n, int64_t k, int64_t group_size,
                       const Array& codes, const OptionalArray& scale, const OptionalArray& zero_point) {
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  info.format = format;
  info.n = n;
  info.k = k;
  info.group_size = group_size;
  info.scale_type = scale ? type_of(*scale) : LOWBIT_NONE;
  info.has_zero_point = zero_point.has_value();
  size_t size = 0;
  lowbit_error error{};
  check(lowbit_packed_size(&info, &size, &error), error);
  const Parts parts = parts_of(info);
  const void* from = data_of(codes, "codes", {kInt8, kUint8}, parts.codes);
  const void* scales = data_of(scale, "scale", {kFloat32, kFloat16}, parts.params);
  const void* zeros = data_of(zero_point, "zero_point", {kInt8, kUint8}, parts.params);

  std::unique_ptr<void, AlignedFree> packed(::operator new(size, std::align_val_t{LOWBIT_ALIGNMENT}));
  run([&](lowbit_error* failure) {
    return lowbit_pack_weights(&context, &info, from, scales, zeros, packed.get(), failure);
  });
  py::capsule owner(packed.get(), [](void* data) { AlignedFree{}(data); });
  py::array_t<uint8_t> array(static_cast<py::ssize_t>(size), static_cast<uint8_t*>(packed.release()), owner);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

void unpack_weights(const lowbit_context& context, const Array& packed, const Array& codes, const OptionalArray& scale,
                    const OptionalArray& zero_point) {
  const void* from = data_of(packed, "packed", {kUint8}, packed.size());
  const size_t size = static_cast<size_t>(packed.size());
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  lowbit_error error{};
  check(lowbit_packed_describe(from, size, &info, &error), error);
  const Parts parts = parts_of(info);
  void* to = data_of(codes, "codes", {kInt8, kUint8}, parts.codes, Access::kWrite);
  void* scales =
      data_of(scale, "scale", {info.scale_type == LOWBIT_FLOAT16 ? kFloat16 : kFloat32}, parts.params, Access::kWrite);
  void* zeros = data_of(zero_point, "zero_point", {kInt8, kUint8}, parts.params, Access::kWrite);
  run([&](lowbit_error* failure) { return lowbit_unpack_weights(&context, from, size, to, scales, zeros, failure); });
}

}  // namespace

void bind_weights(py::module_& module) {
  module.def("pack_weights", &pack_weights, py::arg("context"), py::arg("format"), py::arg("n"), py::arg("k"),
             py::arg("group_size"), py::arg("codes"), py::arg("scale"), py::arg("zero_point"));
  module.def("unpack_weights", &unpack_weights, py::arg("context"), py::arg("packed"), py::arg("codes"),
             py::arg("scale"), py::arg("zero_point"));
}

}  // namespace lowbit::bindings
