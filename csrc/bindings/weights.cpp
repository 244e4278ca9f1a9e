// Packed weights.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "arrays.hpp"
#include "context.hpp"

namespace lowbit::bindings {
namespace {

struct AlignedFree {
  void operator()(void* data) const { ::operator delete(data, std::align_val_t{LOWBIT_ALIGNMENT}); }
};

// Scales, and zero points, of the weights.
int64_t params_of(const lowbit_weights_info& info) {
  const int64_t groups = info.group_size > 0 ? info.k / info.group_size + (info.k % info.group_size != 0) : 1;
  return product("scale", info.n, groups);
}

// The three parts as the C functions take them, checked against the description.
struct Parts {
  void *codes, *scale, *zero_point;
};

Parts parts_of(const lowbit_weights_info& info, const Array& codes, const OptionalArray& scale,
               const OptionalArray& zero_point, Access access) {
  const int64_t params = params_of(info);
  Parts parts{};
  parts.codes = codes_data(codes, bits_of(info.format), info.transposed ? info.k : info.n,
                           info.transposed ? info.n : info.k, access);
  if (scale) parts.scale = scale_data(*scale, info.scale_type, params, access);
  if (info.zero_type == LOWBIT_FLOAT32 || info.zero_type == LOWBIT_FLOAT16) {
    parts.zero_point =
        data_of(zero_point, "zero_point", {info.zero_type == LOWBIT_FLOAT16 ? kFloat16 : kFloat32}, params, access);
  } else {
    parts.zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8}, params, access);
  }
  return parts;
}

// A packed buffer as a read-only uint8 array: nobody can change what lowbit_matmul trusts.
py::array read_only(std::unique_ptr<void, AlignedFree> packed, size_t size) {
  py::capsule owner(packed.get(), [](void* data) { AlignedFree{}(data); });
  py::array_t<uint8_t> array(static_cast<py::ssize_t>(size), static_cast<uint8_t*>(packed.release()), owner);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

// scale_type: LOWBIT_NONE where scale is None.
py::array pack_weights(const lowbit_context& context, lowbit_format format, int64_t n, int64_t k, int64_t group_size,
                       const Array& codes, int scale_type, float global_scale, const OptionalArray& scale,
                       const OptionalArray& zero_point, bool transposed) {
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  info.transposed = transposed;
  info.format = format;
  info.n = n;
  info.k = k;
  info.group_size = group_size;
  info.scale_type = static_cast<lowbit_type>(scale_type);
  info.global_scale = global_scale;
  info.zero_type = zero_point ? type_of(*zero_point) : LOWBIT_NONE;
  size_t size = 0;
  lowbit_error error{};
  check(lowbit_packed_size(&info, &size, &error), error);
  const Parts parts = parts_of(info, codes, scale, zero_point, Access::kRead);

  std::unique_ptr<void, AlignedFree> packed(::operator new(size, std::align_val_t{LOWBIT_ALIGNMENT}));
  run([&](lowbit_error* failure) {
    return lowbit_pack_weights(&context, &info, parts.codes, parts.scale, parts.zero_point, packed.get(), failure);
  });
  return read_only(std::move(packed), size);
}

void unpack_weights(const lowbit_context& context, const Array& packed, const Array& codes, const OptionalArray& scale,
                    const OptionalArray& zero_point) {
  const void* from = data_of(packed, "packed", {kUint8}, packed.size());
  const size_t size = static_cast<size_t>(packed.size());
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  lowbit_error error{};
  check(lowbit_packed_describe(from, size, &info, &error), error);
  const Parts to = parts_of(info, codes, scale, zero_point, Access::kWrite);
  run([&](lowbit_error* failure) {
    return lowbit_unpack_weights(&context, from, size, to.codes, to.scale, to.zero_point, failure);
  });
}

// A copy of the packed buffer that data begins with, as pack_weights returns it, and what it says of itself.
py::tuple load_packed(const Array& data) {
  const auto* from = static_cast<const char*>(data_of(data, "data", {kUint8}, data.size()));
  const size_t given = static_cast<size_t>(data.size());
  alignas(LOWBIT_ALIGNMENT) char header[2 * LOWBIT_ALIGNMENT] =
      {};  // data need not be aligned, the description is all here
  std::memcpy(header, from, std::min(given, sizeof header));
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  lowbit_error error{};
  check(lowbit_packed_describe(header, given, &info, &error), error);
  size_t size = 0;
  check(lowbit_packed_size(&info, &size, &error), error);
  std::unique_ptr<void, AlignedFree> packed(::operator new(size, std::align_val_t{LOWBIT_ALIGNMENT}));
  std::memcpy(packed.get(), from, size);
  return py::make_tuple(read_only(std::move(packed), size), info.format, info.n, info.k, info.group_size,
                        static_cast<int>(info.scale_type), info.global_scale, static_cast<int>(info.zero_type));
}

}  // namespace

void bind_weights(py::module_& module) {
  module.def("pack_weights", &pack_weights, py::arg("context"), py::arg("format"), py::arg("n"), py::arg("k"),
             py::arg("group_size"), py::arg("codes"), py::arg("scale_type"), py::arg("global_scale"), py::arg("scale"),
             py::arg("zero_point"), py::arg("transposed") = false);
  module.def("load_packed", &load_packed, py::arg("data"));
  module.def("unpack_weights", &unpack_weights, py::arg("context"), py::arg("packed"), py::arg("codes"),
             py::arg("scale"), py::arg("zero_point"));
}

}  // namespace lowbit::bindings
