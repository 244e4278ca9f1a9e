// lowbit_matmul, lowbit_matmul_grouped and lowbit_matmul_int: their arguments, checked.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "../context.hpp"
#include "../error.hpp"
#include "check.hpp"
#include "gemm_plan.hpp"
#include "layout.hpp"
#include "product.hpp"

namespace lowbit {
namespace {

lowbit_status check_workspace(int64_t needed, void* workspace, size_t size, lowbit_error* error) {
  if (needed == 0) return LOWBIT_OK;
  if (const auto status = check_array(workspace, "workspace", LOWBIT_ALIGNMENT, error)) return status;
  if (size >= size_t(needed)) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "workspace: %zu bytes given, %lld needed", size,
              static_cast<long long>(needed));
}

// A matrix of m rows that are `stride` elements of so many bytes apart.
lowbit_status check_stride(int64_t stride, int64_t m, int64_t width, int64_t element, const char* name,
                           lowbit_error* error) {
  if (m <= 1) return LOWBIT_OK;  // strides of a single row mean nothing
  if (stride < width) {
    return fail(error, LOWBIT_INVALID_VALUE, "%s: must be at least %lld, got %lld", name, static_cast<long long>(width),
                static_cast<long long>(stride));
  }
  int64_t bytes = 0;
  if (multiply(&bytes, stride, element) && multiply(&bytes, bytes, m)) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "%s: got %lld for m = %lld, expected a matrix of less than 2^63 bytes", name,
              static_cast<long long>(stride), static_cast<long long>(m));
}

const char* left_name(const lowbit_matmul_args&) { return "x"; }
const char* left_name(const lowbit_matmul_int_args&) { return "a"; }

// What all functions ask of their weights and shape.
template <class Args>
lowbit_status open_product(const Context& context, const Args& a, Product* p, lowbit_error* error) {
  p->context = context;
  lowbit_weights_info info;
  if (const lowbit_status status = read_layout(a.weights, a.weights_size, &info, &p->layout, error)) return status;
  if (a.m < 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "m: must be at least 0, got %lld", static_cast<long long>(a.m));
  }
  if (a.k != p->layout.k) {
    return fail(error, LOWBIT_INVALID_VALUE, "%s: has K = %lld columns, the weights need K = %lld", left_name(a),
                static_cast<long long>(a.k), static_cast<long long>(p->layout.k));
  }
  p->packed = static_cast<const uint8_t*>(a.weights);
  return LOWBIT_OK;
}

bool is_code_type(lowbit_type type) { return type == LOWBIT_INT8 || type == LOWBIT_UINT8; }
bool is_float_type(lowbit_type type) {
  return type == LOWBIT_FLOAT32 || type == LOWBIT_FLOAT16 || type == LOWBIT_BFLOAT16;
}

Bytes bytes_of(const void* data, int64_t m, int64_t width, int64_t stride, int64_t element) {
  return {data, m, width * element, m > 1 ? stride * element : 0};
}

// The same for their data, once planned. x_bytes, out_bytes: of an element.
template <class Args>
lowbit_status take_data(const Args& a, const void* x, const char* name, int64_t ldx, const char* ldx_name,
                        int64_t x_bytes, int64_t out_bytes, Product* p, lowbit_error* error) {
  const int64_t n = p->layout.n;
  if (const lowbit_status status = check_stride(ldx, a.m, a.k, x_bytes, ldx_name, error)) return status;
  if (const lowbit_status status = check_stride(a.ldout, a.m, n, out_bytes, "ldout", error)) return status;
  if (a.m > 0 && a.k > 0) {
    if (const lowbit_status status = check_array(x, name, x_bytes, error)) return status;
  }
  if (a.m > 0 && n > 0) {
    if (const lowbit_status status = check_array(a.out, "out", out_bytes, error)) return status;
  }
  if (overlap(bytes_of(x, a.m, a.k, ldx, x_bytes), bytes_of(a.out, a.m, n, a.ldout, out_bytes))) {
    return fail(error, LOWBIT_INVALID_VALUE, "out: must share no memory with %s", name);
  }
  p->x = x;
  p->ldx = ldx;
  p->out = a.out;
  p->ldout = a.ldout;
  return LOWBIT_OK;
}

// Where float or 8-bit results go, and what is added to them.
lowbit_status take_epilogue(const lowbit_matmul_args& a, Product* p, lowbit_error* error) {
  if (const lowbit_status status = check_optional(a.bias, "bias", sizeof *a.bias, error)) return status;
  p->bias = a.bias;
  p->activation = a.activation;
  if (is_code_type(p->out_type)) {
    p->out_format = find_format(p->out_type == LOWBIT_INT8 ? LOWBIT_INT(8) : LOWBIT_UINT(8), error);
    if (!std::isfinite(a.out_scale) || !(a.out_scale > 0)) {
      return fail(error, LOWBIT_INVALID_VALUE, "out_scale: must be finite and above 0, got %g", double(a.out_scale));
    }
    if (a.out_zero_point < p->out_format->qmin() || a.out_zero_point > p->out_format->qmax()) {
      return fail(error, LOWBIT_INVALID_VALUE, "out_zero_point: must be %d to %d, got %d", p->out_format->qmin(),
                  p->out_format->qmax(), static_cast<int>(a.out_zero_point));
    }
    p->out_scale = a.out_scale;
    p->out_zero = float(a.out_zero_point);
  }
  if (!a.residual) return LOWBIT_OK;
  if (!is_float_type(a.residual_type)) {
    return fail(error, LOWBIT_INVALID_TYPE, "residual_type: must be float32, float16 or bfloat16, got %d",
                static_cast<int>(a.residual_type));
  }
  const int64_t n = p->layout.n, bytes = type_bits(a.residual_type) / 8;
  if (const lowbit_status status = check_array(a.residual, "residual", bytes, error)) return status;
  if (const lowbit_status status = check_stride(a.ldresidual, a.m, n, bytes, "ldresidual", error)) return status;
  const bool is_out = a.residual == a.out && a.residual_type == p->out_type && (a.m <= 1 || a.ldresidual == a.ldout);
  if (!is_out && overlap(bytes_of(a.residual, a.m, n, a.ldresidual, bytes),
                         bytes_of(a.out, a.m, n, a.ldout, type_bits(p->out_type) / 8))) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "residual: must be out itself, of its type and stride, or share no memory with it");
  }
  p->residual = a.residual;
  p->ldresidual = a.ldresidual;
  p->residual_type = a.residual_type;
  return LOWBIT_OK;
}

bool count_is(int64_t count, int64_t m) { return count == 1 || count == m; }

// Everything but pointers to data: what the workspace depends on. p has been opened.
lowbit_status plan_product(const lowbit_matmul_args& a, Product* p, lowbit_error* error) {
  const Layout& l = p->layout;
  if (!l.has_scale) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "weights: plain codes without a scale; use matmul_int, or pack a quantized array");
  }
  const bool quantized = is_code_type(a.x_type);
  if (!quantized && !is_float_type(a.x_type)) {
    return fail(error, LOWBIT_INVALID_TYPE, "x_type: must be float32, float16, bfloat16, int8 or uint8, got %d",
                static_cast<int>(a.x_type));
  }
  if (a.out_type != LOWBIT_NONE && !is_float_type(a.out_type) && !is_code_type(a.out_type)) {
    return fail(error, LOWBIT_INVALID_TYPE, "out_type: must be float32, float16, bfloat16, int8 or uint8, got %d",
                static_cast<int>(a.out_type));
  }
  p->x_type = a.x_type;
  p->out_type = a.out_type == LOWBIT_NONE ? LOWBIT_FLOAT32 : a.out_type;
  const bool any = a.compute >= LOWBIT_COMPUTE_INT8 && a.compute <= LOWBIT_COMPUTE_INT8X2;
  if (!any || (quantized && a.compute != LOWBIT_COMPUTE_INT8)) {
    return fail(error, LOWBIT_INVALID_VALUE, "compute: must be int8%s, got %d",
                quantized ? " for 8-bit x" : ", float32 or int8x2", static_cast<int>(a.compute));
  }
  if (a.compute != LOWBIT_COMPUTE_FLOAT32 && !l.format->has_int8()) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "compute: got %s for weights of format %s, whose codes are neither integers nor 4 bits; expected "
                "float32%s",
                a.compute == LOWBIT_COMPUTE_INT8 ? "int8" : "int8x2", l.format->name,
                quantized ? ", which takes no 8-bit x" : "");
  }
  if (a.activation < LOWBIT_IDENTITY || a.activation > LOWBIT_SILU) {
    return fail(error, LOWBIT_INVALID_VALUE, "activation: unknown value %d", static_cast<int>(a.activation));
  }
  Operands o = {};
  o.m = a.m;
  o.compute = a.compute;
  o.act_group_size = a.act_group_size;
  o.x_quantized = quantized;
  o.decode_x = !quantized && a.x_type != LOWBIT_FLOAT32;
  o.column_sums = a.x_type == LOWBIT_UINT8 || (quantized && a.x_zero_point);
  if (const lowbit_status status = make_plan(p->context, l, o, &p->plan, error)) return status;
  if (quantized) {
    const int64_t grouped = a.m * p->plan.act_groups;
    if (p->plan.act_in_sum ? a.x_scale_count != grouped : !count_is(a.x_scale_count, a.m)) {
      return fail(error, LOWBIT_INVALID_VALUE, "x_scale_count: must be %s, got %lld for m = %lld and %lld groups",
                  p->plan.act_in_sum ? "m x groups" : "1 or m", static_cast<long long>(a.x_scale_count),
                  static_cast<long long>(a.m), static_cast<long long>(p->plan.act_groups));
    }
    if (a.x_zero_point && !count_is(a.x_zero_point_count, a.m)) {
      return fail(error, LOWBIT_INVALID_VALUE, "x_zero_point_count: must be 1 or m = %lld, got %lld",
                  static_cast<long long>(a.m), static_cast<long long>(a.x_zero_point_count));
    }
  }
  return LOWBIT_OK;
}

lowbit_status plan_product(const lowbit_matmul_int_args& a, Product* p, lowbit_error* error) {
  const Layout& l = p->layout;
  if (l.bits != 8 || !l.format->is_integer() || l.groups != 1) {
    return fail(error, LOWBIT_INVALID_VALUE, "weights: must be int8 or uint8 codes without groups, got %s%s",
                l.format->name, l.groups != 1 ? " in groups" : "");
  }
  if (a.a_type != LOWBIT_INT8 && a.a_type != LOWBIT_UINT8) {
    return fail(error, LOWBIT_INVALID_TYPE, "a_type: must be int8 or uint8, got %d", static_cast<int>(a.a_type));
  }
  if (a.a_zero_point && !count_is(a.a_zero_point_count, a.m)) {
    return fail(error, LOWBIT_INVALID_VALUE, "a_zero_point_count: must be 1 or m = %lld, got %lld",
                static_cast<long long>(a.m), static_cast<long long>(a.a_zero_point_count));
  }
  if (a.b_zero_point && !count_is(a.b_zero_point_count, l.n)) {
    return fail(error, LOWBIT_INVALID_VALUE, "b_zero_point_count: must be 1 or n = %lld, got %lld",
                static_cast<long long>(l.n), static_cast<long long>(a.b_zero_point_count));
  }
  Operands o = {};
  o.m = a.m;
  o.act_group_size = -1;
  o.x_quantized = o.integer_result = true;
  o.column_sums = a.a_type == LOWBIT_UINT8 || a.a_zero_point;
  return make_plan(p->context, l, o, &p->plan, error);
}

// The pointers, and what goes with them.
lowbit_status fill_product(const lowbit_matmul_args& args, Product* p, lowbit_error* error) {
  if (is_code_type(args.x_type)) {
    if (args.m > 0) {
      if (const lowbit_status status = check_array(args.x_scale, "x_scale", sizeof(float), error)) return status;
    }
    if (const lowbit_status status = check_optional(args.x_zero_point, "x_zero_point", sizeof(int32_t), error)) {
      return status;
    }
    p->x_scale = args.x_scale;
    p->x_scale_count = args.x_scale_count;
    p->x_zero = args.x_zero_point;
    p->x_zero_count = args.x_zero_point_count;
  }
  if (const lowbit_status status = take_data(args, args.x, "x", args.ldx, "ldx", type_bits(p->x_type) / 8,
                                             type_bits(p->out_type) / 8, p, error)) {
    return status;
  }
  if (const lowbit_status status = take_epilogue(args, p, error)) return status;
  set_table(p);
  return LOWBIT_OK;
}

lowbit_status fill_product(const lowbit_matmul_int_args& args, Product* p, lowbit_error* error) {
  if (const lowbit_status status = take_data(args, args.a, "a", args.lda, "lda", 1, 4, p, error)) return status;
  if (const auto status = check_optional(args.a_zero_point, "a_zero_point", sizeof(int32_t), error)) return status;
  if (const auto status = check_optional(args.b_zero_point, "b_zero_point", sizeof(int32_t), error)) return status;
  p->x_type = args.a_type;
  p->x_zero = args.a_zero_point;
  p->x_zero_count = args.a_zero_point_count;
  p->b_zero = args.b_zero_point;
  p->b_zero_count = args.b_zero_point_count;
  p->integer_result = true;
  p->accumulate = args.accumulate != 0;
  return LOWBIT_OK;
}

// A failure of product i of `count` says which it was.
lowbit_status at_product(lowbit_status status, int64_t i, int64_t count, lowbit_error* error) {
  if (!status || count == 1 || !error) return status;
  char message[sizeof error->message];
  std::memcpy(message, error->message, sizeof message);
  return fail(error, status, "args[%lld]: %s", static_cast<long long>(i), message);
}

// What a call needs in all. Its workspace: the Products, what the tasks of each share, a slice for each thread.
struct Needs {
  Context context;
  int threads;     // that are worth using
  int64_t shared;  // bytes in front of the slices
  int64_t slice;

  int64_t size() const { return shared + slice * threads; }
};

// Struct i of an array whose caller has them in the size that the first one states.
template <class Args>
lowbit_status read_args(const Args* args, int64_t i, Args* value, lowbit_error* error) {
  size_t stride, size;
  std::memcpy(&stride, args, sizeof stride);
  const uint8_t* const at = reinterpret_cast<const uint8_t*>(args) + size_t(i) * stride;
  if (const auto status = read_struct(reinterpret_cast<const Args*>(at), "args", value, error)) return status;
  std::memcpy(&size, at, sizeof size);
  if (size == stride) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "args.struct_size: got %zu, expected %zu as in the first", size, stride);
}

// Reads, opens and plans product i, for as many threads as it would have alone.
template <class Args>
lowbit_status plan_one(const Context& context, const Args* args, int64_t i, Args* value, Product* p,
                       lowbit_error* error) {
  if (const lowbit_status status = read_args(args, i, value, error)) return status;
  if (const lowbit_status status = open_product(context, *value, p, error)) return status;
  return plan_product(*value, p, error);
}

lowbit_status fail_too_much(lowbit_error* error) {
  return fail(error, LOWBIT_INVALID_VALUE, "args: too much for one call, more than 2^56 bytes of workspace");
}

// products: where they are kept, or null.
template <class Args>
lowbit_status find_needs(const lowbit_context* context, const Args* args, int64_t count, Product* products,
                         Needs* needs, lowbit_error* error) {
  *needs = Needs();
  if (!get_context(context, &needs->context, error)) return LOWBIT_INVALID_VALUE;
  constexpr int64_t kMost = int64_t{1} << 56;  // bytes; what is added at a time is less than 2^60
  if (count < 0 || count > kMost / int64_t(sizeof(Product))) {
    return fail(error, LOWBIT_INVALID_VALUE, "count: must be at least 0, got %lld", static_cast<long long>(count));
  }
  if (!args && count > 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "args: got NULL, expected a %s", StructHistory<Args>::name);
  }
  int64_t work = 0;
  needs->shared = round_up(count * int64_t(sizeof(Product)), LOWBIT_ALIGNMENT);
  for (int64_t i = 0; i < count; ++i) {
    Product unkept = {};
    Product& p = products ? *new (products + i) Product() : unkept;
    Args value;
    if (const lowbit_status status = plan_one(needs->context, args, i, &value, &p, error)) {
      return at_product(status, i, count, error);
    }
    work = p.plan.work > INT64_MAX - work ? INT64_MAX : work + p.plan.work;
    needs->shared += p.plan.size;
    needs->slice = std::max(needs->slice, p.plan.slice);
    if (needs->shared > kMost) return fail_too_much(error);
  }
  needs->threads = useful_threads(needs->context, work);
  int64_t slices = 0;
  if (!multiply(&slices, needs->slice, needs->threads) || slices > kMost) return fail_too_much(error);
  return LOWBIT_OK;
}

template <class Args>
lowbit_status find_workspace(const lowbit_context* context, const Args* args, int64_t count, size_t* size,
                             lowbit_error* error) {
  if (!size) return fail(error, LOWBIT_INVALID_VALUE, "size: got NULL, expected a size_t to fill");
  Needs needs;
  if (const lowbit_status status = find_needs(context, args, count, nullptr, &needs, error)) return status;
  *size = size_t(needs.size());
  return ok(error);
}

template <class Args>
lowbit_status multiply(const lowbit_context* context, const Args* args, int64_t count, void* workspace, size_t size,
                       lowbit_error* error) {
  Needs needs;
  const bool aligned = reinterpret_cast<uintptr_t>(workspace) % LOWBIT_ALIGNMENT == 0;
  const bool fit = aligned && count <= int64_t(size / sizeof(Product));
  Product* const products = fit ? static_cast<Product*>(workspace) : nullptr;
  if (const lowbit_status status = find_needs(context, args, count, products, &needs, error)) return status;
  if (const lowbit_status status = check_workspace(needs.size(), workspace, size, error)) return status;
  uint8_t* const base = static_cast<uint8_t*>(workspace);
  Group group = {needs.context, products, count, base + needs.shared, needs.slice};
  group.context.max_threads = needs.threads;
  uint8_t* shared = base + round_up(count * int64_t(sizeof(Product)), LOWBIT_ALIGNMENT);
  for (int64_t i = 0; i < count; ++i) {
    Product* const p = group.products + i;
    Args value;
    lowbit_status status = read_args(args, i, &value, error);
    if (!status) status = fill_product(value, p, error);
    if (status) return at_product(status, i, count, error);
    p->workspace = shared;
    shared += p->plan.size;
  }
  run(group);
  return ok(error);
}

// A call whose workspace is in its arguments.
template <class Args>
lowbit_status multiply_one(const lowbit_context* context, const Args* given, lowbit_error* error) {
  Args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  return multiply(context, &args, 1, args.workspace, args.workspace_size, error);
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_matmul_workspace(const lowbit_context* context, const lowbit_matmul_args* args, size_t* size,
                                      lowbit_error* error) {
  return find_workspace(context, args, 1, size, error);
}

lowbit_status lowbit_matmul(const lowbit_context* context, const lowbit_matmul_args* args, lowbit_error* error) {
  return multiply_one(context, args, error);
}

lowbit_status lowbit_matmul_grouped_workspace(const lowbit_context* context, const lowbit_matmul_args* args,
                                              int64_t count, size_t* size, lowbit_error* error) {
  return find_workspace(context, args, count, size, error);
}

lowbit_status lowbit_matmul_grouped(const lowbit_context* context, const lowbit_matmul_args* args, int64_t count,
                                    void* workspace, size_t workspace_size, lowbit_error* error) {
  return multiply(context, args, count, workspace, workspace_size, error);
}

lowbit_status lowbit_matmul_int_workspace(const lowbit_context* context, const lowbit_matmul_int_args* args,
                                          size_t* size, lowbit_error* error) {
  return find_workspace(context, args, 1, size, error);
}

lowbit_status lowbit_matmul_int(const lowbit_context* context, const lowbit_matmul_int_args* args,
                                lowbit_error* error) {
  return multiply_one(context, args, error);
}
