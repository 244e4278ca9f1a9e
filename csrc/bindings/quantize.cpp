// Bits, ranges, quantize and dequantize.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <limits>
#include <string>

#include "arrays.hpp"
#include "context.hpp"
#include "runs.hpp"

namespace lowbit::bindings {
namespace {

void pack_bits(const lowbit_context& context, int bits, int64_t rows, int64_t row_length, const Array& codes,
               const Array& packed) {
  const int64_t bytes = packed_bytes(bits, rows, row_length);
  const auto* from =
      static_cast<const uint8_t*>(data_of(codes, "codes", {kInt8, kUint8}, product("codes", rows, row_length)));
  auto* to = static_cast<uint8_t*>(data_of(packed, "packed", {kUint8}, bytes, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_pack_bits(&context, bits, rows, row_length, from, to, error); });
}

void unpack_bits(const lowbit_context& context, int bits, bool sign_extend, int64_t rows, int64_t row_length,
                 const Array& packed, const Array& codes) {
  const int64_t bytes = packed_bytes(bits, rows, row_length);
  const auto* from = static_cast<const uint8_t*>(data_of(packed, "packed", {kUint8}, bytes));
  auto* to = static_cast<uint8_t*>(
      data_of(codes, "codes", {kInt8, kUint8}, product("codes", rows, row_length), Access::kWrite));
  run([&](lowbit_error* error) {
    return lowbit_unpack_bits(&context, bits, sign_extend, rows, row_length, from, to, error);
  });
}

void find_range(const lowbit_context& context, const Runs& shape, const Array& x, const Array& minimum,
                const Array& maximum) {
  const lowbit_runs runs = runs_of(shape);
  const auto* data = static_cast<const float*>(data_of(x, "x", {kFloat32}, product("x", runs.rows, runs.row_length)));
  auto* low = static_cast<float*>(data_of(minimum, "minimum", {kFloat32}, runs.params, Access::kWrite));
  auto* high = static_cast<float*>(data_of(maximum, "maximum", {kFloat32}, runs.params, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_range(&context, &runs, data, low, high, error); });
}

void choose_params(const lowbit_context& context, lowbit_format format, int convention, const Array& minimum,
                   const Array& maximum, int scale_type, float global_scale, const Array& scale,
                   const OptionalArray& zero_point) {
  lowbit_choose_args args{};
  args.struct_size = sizeof args;
  args.format = format;
  args.convention = static_cast<lowbit_convention>(convention);
  args.scale_type = static_cast<lowbit_type>(scale_type);
  args.global_scale = global_scale;
  args.count = minimum.size();
  args.minimum = static_cast<const float*>(data_of(minimum, "minimum", {kFloat32}, args.count));
  args.maximum = static_cast<const float*>(data_of(maximum, "maximum", {kFloat32}, args.count));
  args.scale = scale_data(scale, args.scale_type, args.count, Access::kWrite);
  args.zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8}, args.count, Access::kWrite);
  run([&](lowbit_error* error) { return lowbit_choose_params(&context, &args, error); });
}

// What both argument structs have in common: format, runs, scale and zero point.
template <typename Args>
void set_params(Args* args, lowbit_format format, const Runs& shape, int scale_type, float global_scale,
                const Array& scale, const OptionalArray& zero_point, Access access) {
  args->struct_size = sizeof *args;
  args->format = format;
  args->runs = runs_of(shape);
  args->scale_type = static_cast<lowbit_type>(scale_type);
  args->global_scale = global_scale;
  args->scale = scale_data(scale, args->scale_type, args->runs.params, access);
  if (!zero_point) return;
  args->zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8, kFloat32}, args->runs.params, access);
  args->zero_type = type_of(*zero_point);
}

void quantize(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& x, int convention,
              bool find_params, int scale_type, float global_scale, const Array& scale, const OptionalArray& zero_point,
              const Array& codes) {
  lowbit_quantize_args args{};
  set_params(&args, format, shape, scale_type, global_scale, scale, zero_point,
             find_params ? Access::kWrite : Access::kRead);
  args.x = static_cast<const float*>(data_of(x, "x", {kFloat32}, product("x", args.runs.rows, args.runs.row_length)));
  args.find_params = find_params;
  args.convention = static_cast<lowbit_convention>(convention);
  args.codes = codes_data(codes, bits_of(format), args.runs.rows, args.runs.row_length, Access::kWrite);
  run([&](lowbit_error* error) { return lowbit_quantize(&context, &args, error); });
}

void dequantize(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& codes,
                int scale_type, float global_scale, const Array& scale, const OptionalArray& zero_point,
                const Array& out) {
  lowbit_dequantize_args args{};
  set_params(&args, format, shape, scale_type, global_scale, scale, zero_point, Access::kRead);
  args.codes = codes_data(codes, bits_of(format), args.runs.rows, args.runs.row_length, Access::kRead);
  args.out = static_cast<float*>(
      data_of(out, "out", {kFloat32}, product("out", args.runs.rows, args.runs.row_length), Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_dequantize(&context, &args, error); });
}

void* float_data(const Array& array, const char* name, int type, int64_t count, Access access) {
  if (type == LOWBIT_FLOAT32) return data_of(array, name, {kFloat32}, count, access);
  if (type == LOWBIT_FLOAT16 || type == LOWBIT_BFLOAT16) return data_of(array, name, {kUint16}, count, access);
  return data_of(array, name, {kUint8}, count, access);
}

void cast(const lowbit_context& context, const Array& x, int from, const Array& out, int to, int rounding,
          bool saturate, uint64_t seed) {
  lowbit_cast_args args{};
  args.struct_size = sizeof args;
  args.count = x.size();
  args.from = static_cast<lowbit_type>(from);
  args.x = float_data(x, "x", from, args.count, Access::kRead);
  args.to = static_cast<lowbit_type>(to);
  args.out = float_data(out, "out", to, args.count, Access::kWrite);
  args.rounding = static_cast<lowbit_rounding>(rounding);
  args.saturate = saturate;
  args.seed = seed;
  run([&](lowbit_error* error) { return lowbit_cast(&context, &args, error); });
}

}  // namespace

void bind_quantize(py::module_& module) {
  module.attr("ASYMMETRIC") = static_cast<int>(LOWBIT_ASYMMETRIC);
  module.attr("ABSMAX") = static_cast<int>(LOWBIT_ABSMAX);
  module.attr("FULL") = static_cast<int>(LOWBIT_FULL);
  module.attr("SIGNED_MAX") = static_cast<int>(LOWBIT_SIGNED_MAX);
  module.attr("NO_CLIP") = static_cast<int>(LOWBIT_NO_CLIP);
  module.attr("NEAREST_EVEN") = static_cast<int>(LOWBIT_NEAREST_EVEN);
  module.attr("UP") = static_cast<int>(LOWBIT_UP);
  module.attr("DOWN") = static_cast<int>(LOWBIT_DOWN);
  module.attr("STOCHASTIC") = static_cast<int>(LOWBIT_STOCHASTIC);

  module.def("pack_bits", &pack_bits, py::arg("context"), py::arg("bits"), py::arg("rows"), py::arg("row_length"),
             py::arg("codes"), py::arg("packed"));
  module.def("unpack_bits", &unpack_bits, py::arg("context"), py::arg("bits"), py::arg("sign_extend"), py::arg("rows"),
             py::arg("row_length"), py::arg("packed"), py::arg("codes"));
  module.def("find_range", &find_range, py::arg("context"), py::arg("runs"), py::arg("x"), py::arg("minimum"),
             py::arg("maximum"));
  module.def("choose_params", &choose_params, py::arg("context"), py::arg("format"), py::arg("convention"),
             py::arg("minimum"), py::arg("maximum"), py::arg("scale_type"), py::arg("global_scale"), py::arg("scale"),
             py::arg("zero_point"));
  module.def("quantize", &quantize, py::arg("context"), py::arg("format"), py::arg("runs"), py::arg("x"),
             py::arg("convention"), py::arg("find_params"), py::arg("scale_type"), py::arg("global_scale"),
             py::arg("scale"), py::arg("zero_point"), py::arg("codes"));
  module.def("dequantize", &dequantize, py::arg("context"), py::arg("format"), py::arg("runs"), py::arg("codes"),
             py::arg("scale_type"), py::arg("global_scale"), py::arg("scale"), py::arg("zero_point"), py::arg("out"));
  module.def("cast", &cast, py::arg("context"), py::arg("x"), py::arg("from_type"), py::arg("out"), py::arg("to_type"),
             py::arg("rounding"), py::arg("saturate"), py::arg("seed"));
}

}  // namespace lowbit::bindings
