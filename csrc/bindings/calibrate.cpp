// Parameters from more than the range: search, histograms, entropy, means, half-quadratic quantization.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <tuple>

#include "arrays.hpp"
#include "context.hpp"
#include "runs.hpp"

namespace lowbit::bindings {
namespace {

void search_params(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& x,
                   const OptionalArray& importance, int convention, int scale_type, float global_scale,
                   const Array& scale, const OptionalArray& zero_point) {
  lowbit_search_args args{};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = runs_of(shape);
  args.x = run_floats(x, args.runs);
  if (importance) {
    args.importance_count = importance->size();
    args.importance = static_cast<const float*>(data_of(*importance, "importance", {kFloat32}, args.importance_count));
  }
  args.convention = static_cast<lowbit_convention>(convention);
  args.scale_type = static_cast<lowbit_type>(scale_type);
  args.global_scale = global_scale;
  args.scale = scale_data(scale, args.scale_type, args.runs.params, Access::kWrite);
  args.zero_point = data_of(zero_point, "zero_point", {kInt8, kUint8}, args.runs.params, Access::kWrite);
  run([&](lowbit_error* error) { return lowbit_search_params(&context, &args, error); });
}

void absmean(const lowbit_context& context, const Runs& shape, const Array& x, const Array& mean) {
  const lowbit_runs runs = runs_of(shape);
  const float* data = run_floats(x, runs);
  auto* out = static_cast<float*>(data_of(mean, "mean", {kFloat32}, runs.params, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_absmean(&context, &runs, data, out, error); });
}

void histogram(const lowbit_context& context, const Runs& shape, const Array& x, int bins, bool absolute,
               const Array& inverse_width, const Array& counts) {
  const lowbit_runs runs = runs_of(shape);
  const float* data = run_floats(x, runs);
  const auto* inverse = static_cast<const float*>(data_of(inverse_width, "inverse_width", {kFloat32}, runs.params));
  auto* out =
      static_cast<int64_t*>(data_of(counts, "counts", {kInt64}, product("counts", runs.params, bins), Access::kWrite));
  run([&](lowbit_error* error) {
    return lowbit_histogram(&context, &runs, data, bins, absolute, inverse, out, error);
  });
}

void entropy(const lowbit_context& context, const Array& counts, int bins, int levels, int first, const Array& kept) {
  const int64_t params = kept.size();
  const auto* in = static_cast<const int64_t*>(data_of(counts, "counts", {kInt64}, product("counts", params, bins)));
  auto* out = static_cast<int64_t*>(data_of(kept, "kept", {kInt64}, params, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_entropy(&context, params, bins, in, levels, first, out, error); });
}

void hqq_params(const lowbit_context& context, lowbit_format format, const Runs& shape, const Array& x,
                const std::tuple<float, float, float, int>& steps, int scale_type, const Array& scale,
                const Array& zero_point) {
  lowbit_hqq_args args{};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = runs_of(shape);
  args.x = run_floats(x, args.runs);
  std::tie(args.p, args.beta, args.kappa, args.rounds) = steps;
  args.scale_type = static_cast<lowbit_type>(scale_type);
  args.scale = scale_data(scale, args.scale_type, args.runs.params, Access::kWrite);
  args.zero_point =
      static_cast<float*>(data_of(zero_point, "zero_point", {kFloat32}, args.runs.params, Access::kWrite));
  run([&](lowbit_error* error) { return lowbit_hqq_params(&context, &args, error); });
}

}  // namespace

void bind_calibrate(py::module_& module) {
  module.def("search_params", &search_params, py::arg("context"), py::arg("format"), py::arg("runs"), py::arg("x"),
             py::arg("importance"), py::arg("convention"), py::arg("scale_type"), py::arg("global_scale"),
             py::arg("scale"), py::arg("zero_point"));
  module.def("absmean", &absmean, py::arg("context"), py::arg("runs"), py::arg("x"), py::arg("mean"));
  module.def("histogram", &histogram, py::arg("context"), py::arg("runs"), py::arg("x"), py::arg("bins"),
             py::arg("absolute"), py::arg("inverse_width"), py::arg("counts"));
  module.def("entropy", &entropy, py::arg("context"), py::arg("counts"), py::arg("bins"), py::arg("levels"),
             py::arg("first"), py::arg("kept"));
  module.def("hqq_params", &hqq_params, py::arg("context"), py::arg("format"), py::arg("runs"), py::arg("x"),
             py::arg("steps"), py::arg("scale_type"), py::arg("scale"), py::arg("zero_point"));
}

}  // namespace lowbit::bindings
