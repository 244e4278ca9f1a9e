// Matrix multiplication.
//
// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "context.hpp"

namespace lowbit::bindings {
namespace {

// The calling thread's workspace: grows, and is kept between calls up to 64 MiB, so that a loop over layers allocates
// once; a larger one is released after its call.
constexpr size_t kRetainedWorkspace = size_t{64} << 20;

class Workspace {
 public:
  explicit Workspace(size_t size) {
    if (kept_.size < size) {
      kept_.data.reset();
      kept_.size = 0;
      kept_.data.reset(::operator new(size, std::align_val_t{LOWBIT_ALIGNMENT}));
      kept_.size = size;
    }
  }
  ~Workspace() {
    if (kept_.size > kRetainedWorkspace) {
      kept_.data.reset();
      kept_.size = 0;
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return kept_.data.get(); }
  size_t size() const { return kept_.size; }

 private:
  struct AlignedFree {
    void operator()(void* data) const { ::operator delete(data, std::align_val_t{LOWBIT_ALIGNMENT}); }
  };
  struct Kept {
    std::unique_ptr<void, AlignedFree> data;
    size_t size = 0;
  };
  static thread_local Kept kept_;
};
thread_local Workspace::Kept Workspace::kept_;

lowbit_weights_info describe(const Array& packed, const void* data) {
  lowbit_weights_info info{};
  info.struct_size = sizeof info;
  lowbit_error error{};
  check(lowbit_packed_describe(data, static_cast<size_t>(packed.size()), &info, &error), error);
  return info;
}

void check_shapes(const Matrix& x, const char* x_name, const Matrix& out, const lowbit_weights_info& info) {
  if (x.columns != info.k)
    throw py::value_error(std::string(x_name) + ": " + std::to_string(x.columns) +
                          " columns, expected K = " + std::to_string(info.k));
  if (out.rows != x.rows || out.columns != info.n)
    throw py::value_error("out: shape (" + std::to_string(out.rows) + ", " + std::to_string(out.columns) +
                          "), expected (" + std::to_string(x.rows) + ", " + std::to_string(info.n) + ")");
}

int64_t size_of(const OptionalArray& array) { return array ? array->size() : 0; }

// x: floats, or int8/uint8 with x_scale. x_scale and x_zero_point: as many values as lowbit_matmul_args says. residual
// may be out. bfloat16 is uint16 throughout.
void matmul(const lowbit_context& context, const Array& packed, const Array& x, int compute, int64_t act_group_size,
            const OptionalArray& x_scale, const OptionalArray& x_zero_point, const OptionalArray& bias, int activation,
            const Array& out, const OptionalArray& residual, float out_scale, int out_zero_point) {
  lowbit_matmul_args args{};
  args.struct_size = sizeof args;
  args.weights = data_of(packed, "weights", {kUint8}, packed.size());
  args.weights_size = static_cast<size_t>(packed.size());
  const lowbit_weights_info info = describe(packed, args.weights);
  const Matrix from = matrix_of(x, "x", {kFloat32, kFloat16, kUint16, kInt8, kUint8});
  const Matrix to = matrix_of(out, "out", {kFloat32, kFloat16, kUint16, kInt8, kUint8}, Access::kWrite);
  check_shapes(from, "x", to, info);
  args.m = from.rows;
  args.k = from.columns;
  args.x_type = type_of(x);
  args.x = from.data;
  args.ldx = from.stride;
  args.compute = static_cast<lowbit_compute>(compute);
  args.act_group_size = act_group_size;
  args.x_scale_count = size_of(x_scale);
  args.x_scale = static_cast<const float*>(data_of(x_scale, "x_scale", {kFloat32}, args.x_scale_count));
  args.x_zero_point_count = size_of(x_zero_point);
  args.x_zero_point =
      static_cast<const int32_t*>(data_of(x_zero_point, "x_zero_point", {kInt32}, args.x_zero_point_count));
  args.bias = static_cast<const float*>(data_of(bias, "bias", {kFloat32}, info.n));
  args.activation = static_cast<lowbit_activation>(activation);
  args.out = to.data;
  args.ldout = to.stride;
  args.out_type = type_of(out);
  args.out_scale = out_scale;
  args.out_zero_point = out_zero_point;
  if (residual) {
    const Matrix added = matrix_of(*residual, "residual", {kFloat32, kFloat16, kUint16});
    if (added.rows != to.rows || added.columns != to.columns)
      throw py::value_error("residual: shape (" + std::to_string(added.rows) + ", " + std::to_string(added.columns) +
                            "), expected (" + std::to_string(to.rows) + ", " + std::to_string(to.columns) + ")");
    args.residual = added.data;
    args.ldresidual = added.stride;
    args.residual_type = type_of(*residual);
  }

  lowbit_error error{};
  size_t size = 0;
  check(lowbit_matmul_workspace(&context, &args, &size, &error), error);
  const Workspace workspace(size);
  args.workspace = workspace.data();
  args.workspace_size = workspace.size();
  run([&](lowbit_error* failure) { return lowbit_matmul(&context, &args, failure); });
}

// x: as in matmul, the rows of each product behind those of the one before, rows[i] of them; compute: for each product;
// bias: (products, n).
void matmul_grouped(const lowbit_context& context, const std::vector<Array>& packed, const Array& x,
                    const std::vector<int64_t>& rows, const std::vector<int>& compute, int64_t act_group_size,
                    const OptionalArray& x_scale, const OptionalArray& x_zero_point, const OptionalArray& bias,
                    int activation, const Array& out) {
  if (rows.size() != packed.size() || compute.size() != packed.size())
    throw py::value_error("rows: " + std::to_string(rows.size()) + " numbers, expected one for each of " +
                          std::to_string(packed.size()) + " weights");
  const Matrix from = matrix_of(x, "x", {kFloat32, kFloat16, kUint16, kInt8, kUint8});
  const Matrix to = matrix_of(out, "out", {kFloat32, kFloat16, kUint16}, Access::kWrite);
  const int64_t scales = size_of(x_scale), zeros = size_of(x_zero_point);
  const float* const scale = static_cast<const float*>(data_of(x_scale, "x_scale", {kFloat32}, scales));
  const int32_t* const zero = static_cast<const int32_t*>(data_of(x_zero_point, "x_zero_point", {kInt32}, zeros));
  // one for all of x, or as many for each row
  const int64_t scales_each = scales == 1 || from.rows == 0 ? 0 : scales / from.rows, zeros_each = zeros == 1 ? 0 : 1;
  if (scales > 1 && scales_each * from.rows != scales)
    throw py::value_error("x_scale: " + std::to_string(scales) + " values, expected as many for each row of x");
  if (zeros > 1 && zeros != from.rows)
    throw py::value_error("x_zero_point: " + std::to_string(zeros) + " values, expected one for each row of x");
  const float* const biases = static_cast<const float*>(
      data_of(bias, "bias", {kFloat32}, product("bias", static_cast<int64_t>(packed.size()), to.columns)));

  std::vector<lowbit_matmul_args> args(packed.size());
  int64_t row = 0;
  for (size_t i = 0; i < args.size(); ++i) {
    lowbit_matmul_args& a = args[i];
    a.struct_size = sizeof a;
    a.weights = data_of(packed[i], "weights", {kUint8}, packed[i].size());
    a.weights_size = static_cast<size_t>(packed[i].size());
    if (rows[i] < 0 || rows[i] > from.rows - row)
      throw py::value_error("rows: " + std::to_string(rows[i]) + " after the first " + std::to_string(row) +
                            ", expected a sum of " + std::to_string(from.rows));
    check_shapes({from.data, rows[i], from.columns, from.stride}, "x", {to.data, rows[i], to.columns, to.stride},
                 describe(packed[i], a.weights));
    a.m = rows[i];
    a.k = from.columns;
    a.x_type = type_of(x);
    a.x = static_cast<const uint8_t*>(from.data) + row * from.stride * x.itemsize();
    a.ldx = from.stride;
    a.compute = static_cast<lowbit_compute>(compute[i]);
    a.act_group_size = act_group_size;
    a.x_scale = scale ? scale + row * scales_each : nullptr;
    a.x_scale_count = scales_each > 0 ? rows[i] * scales_each : scales;
    a.x_zero_point = zero ? zero + row * zeros_each : nullptr;
    a.x_zero_point_count = zeros_each > 0 ? rows[i] : zeros;
    a.bias = biases ? biases + static_cast<int64_t>(i) * to.columns : nullptr;
    a.activation = static_cast<lowbit_activation>(activation);
    a.out = static_cast<uint8_t*>(to.data) + row * to.stride * out.itemsize();
    a.ldout = to.stride;
    a.out_type = type_of(out);
    row += rows[i];
  }
  if (row != from.rows || to.rows != from.rows)
    throw py::value_error("rows: a sum of " + std::to_string(row) + ", expected the " + std::to_string(from.rows) +
                          " rows of x and the " + std::to_string(to.rows) + " of out");

  lowbit_error error{};
  size_t size = 0;
  const int64_t count = static_cast<int64_t>(args.size());
  check(lowbit_matmul_grouped_workspace(&context, args.data(), count, &size, &error), error);
  const Workspace workspace(size);
  run([&](lowbit_error* failure) {
    return lowbit_matmul_grouped(&context, args.data(), count, workspace.data(), workspace.size(), failure);
  });
}

void matmul_int(const lowbit_context& context, const Array& packed, const Array& a, const OptionalArray& a_zero_point,
                const OptionalArray& b_zero_point, const Array& out, bool accumulate) {
  lowbit_matmul_int_args args{};
  args.struct_size = sizeof args;
  args.weights = data_of(packed, "weights", {kUint8}, packed.size());
  args.weights_size = static_cast<size_t>(packed.size());
  const lowbit_weights_info info = describe(packed, args.weights);
  const Matrix from = matrix_of(a, "a", {kInt8, kUint8});
  const Matrix to = matrix_of(out, "out", {kInt32}, Access::kWrite);
  check_shapes(from, "a", to, info);
  args.m = from.rows;
  args.k = from.columns;
  args.a_type = type_of(a);
  args.a = from.data;
  args.lda = from.stride;
  args.a_zero_point_count = size_of(a_zero_point);
  args.a_zero_point =
      static_cast<const int32_t*>(data_of(a_zero_point, "a_zero_point", {kInt32}, args.a_zero_point_count));
  args.b_zero_point_count = size_of(b_zero_point);
  args.b_zero_point =
      static_cast<const int32_t*>(data_of(b_zero_point, "b_zero_point", {kInt32}, args.b_zero_point_count));
  args.out = static_cast<int32_t*>(to.data);
  args.ldout = to.stride;
  args.accumulate = accumulate;

  lowbit_error error{};
  size_t size = 0;
  check(lowbit_matmul_int_workspace(&context, &args, &size, &error), error);
  const Workspace workspace(size);
  args.workspace = workspace.data();
  args.workspace_size = workspace.size();
  run([&](lowbit_error* failure) { return lowbit_matmul_int(&context, &args, failure); });
}

}  // namespace

void bind_matmul(py::module_& module) {
  module.attr("IDENTITY") = static_cast<int>(LOWBIT_IDENTITY);
  module.attr("RELU") = static_cast<int>(LOWBIT_RELU);
  module.attr("GELU") = static_cast<int>(LOWBIT_GELU);
  module.attr("GELU_TANH") = static_cast<int>(LOWBIT_GELU_TANH);
  module.attr("SILU") = static_cast<int>(LOWBIT_SILU);
  module.attr("COMPUTE_INT8") = static_cast<int>(LOWBIT_COMPUTE_INT8);
  module.attr("COMPUTE_FLOAT32") = static_cast<int>(LOWBIT_COMPUTE_FLOAT32);
  module.attr("COMPUTE_INT8X2") = static_cast<int>(LOWBIT_COMPUTE_INT8X2);

  module.def("matmul", &matmul, py::arg("context"), py::arg("weights"), py::arg("x"), py::arg("compute"),
             py::arg("act_group_size"), py::arg("x_scale"), py::arg("x_zero_point"), py::arg("bias"),
             py::arg("activation"), py::arg("out"), py::arg("residual") = py::none(), py::arg("out_scale") = 0.0f,
             py::arg("out_zero_point") = 0);
  module.def("matmul_grouped", &matmul_grouped, py::arg("context"), py::arg("weights"), py::arg("x"), py::arg("rows"),
             py::arg("compute"), py::arg("act_group_size"), py::arg("x_scale"), py::arg("x_zero_point"),
             py::arg("bias"), py::arg("activation"), py::arg("out"));
  module.def("matmul_int", &matmul_int, py::arg("context"), py::arg("weights"), py::arg("a"), py::arg("a_zero_point"),
             py::arg("b_zero_point"), py::arg("out"), py::arg("accumulate") = false);
}

}  // namespace lowbit::bindings
