// Fake quantization and its gradients.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <string>

#include "arrays.hpp"
#include "context.hpp"
#include "runs.hpp"

namespace lowbit::bindings {
namespace {

float* floats_of(const Array& array, const char* name, int64_t count, Access access = Access::kRead) {
  return static_cast<float*>(data_of(array, name, {kFloat32}, count, access));
}

void fake_quantize(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& x,
                   const Array& scale, const OptionalArray& zero_point, const Array& out) {
  lowbit_fake_quantize_args args{};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = runs_of(shape);
  const int64_t elements = product("x", args.runs.rows, args.runs.row_length);
  args.x = floats_of(x, "x", elements);
  args.scale = floats_of(scale, "scale", args.runs.params);
  args.zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8}, args.runs.params);
  args.out = floats_of(out, "out", elements, Access::kWrite);
  run([&](lowbit_error* error) { return lowbit_fake_quantize(&context, &args, error); });
}

void fake_quantize_gradient(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& grad,
                            const Array& x, const Array& scale, const OptionalArray& zero_point, bool lsq_scale,
                            const Array& grad_x, const OptionalArray& grad_scale,
                            const OptionalArray& grad_zero_point) {
  lowbit_fake_quantize_gradient_args args{};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = runs_of(shape);
  const int64_t elements = product("x", args.runs.rows, args.runs.row_length);
  args.grad = floats_of(grad, "grad", elements);
  args.x = floats_of(x, "x", elements);
  args.scale = floats_of(scale, "scale", args.runs.params);
  args.zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8}, args.runs.params);
  args.lsq_scale = lsq_scale;
  args.grad_x = floats_of(grad_x, "grad_x", elements, Access::kWrite);
  args.grad_scale =
      static_cast<float*>(data_of(grad_scale, "grad_scale", {kFloat32}, args.runs.params, Access::kWrite));
  args.grad_zero_point =
      static_cast<float*>(data_of(grad_zero_point, "grad_zero_point", {kFloat32}, args.runs.params, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_fake_quantize_gradient(&context, &args, error); });
}

}  // namespace

void bind_fake_quantize(py::module_& module) {
  module.def("fake_quantize", &fake_quantize, py::arg("context"), py::arg("format"), py::arg("runs"), py::arg("x"),
             py::arg("scale"), py::arg("zero_point"), py::arg("out"));
  module.def("fake_quantize_gradient", &fake_quantize_gradient, py::arg("context"), py::arg("format"), py::arg("runs"),
             py::arg("grad"), py::arg("x"), py::arg("scale"), py::arg("zero_point"), py::arg("lsq_scale"),
             py::arg("grad_x"), py::arg("grad_scale"), py::arg("grad_zero_point"));
}

}  // namespace lowbit::bindings
