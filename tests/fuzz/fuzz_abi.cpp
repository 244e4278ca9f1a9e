// The C ABI's sizes and pointers: any function, shapes that are small, negative, huge or overflow, any types and
// strides, arrays of exactly the documented size or NULL. Sizes that lie are the caller's breach and are not tried.
//
// Required: a status and its message, no access outside of the arrays, and on failure nothing written.
#include "fuzz.hpp"

using namespace fuzz;

namespace {

struct Call {
  Input* in;
  Memory* memory;
  const lowbit_context* context;
  Error error;
  lowbit_error* e() { return error.to(in); }
};

// f(error): a call that writes nothing where it fails.
template <typename F>
bool run(Call* call, F f) {
  lowbit_error* const to = call->e();
  const uint64_t before = call->memory->hash();
  const bool good = call->error.check(f(to));
  if (!good) REQUIRE(call->memory->hash() == before);
  return good;
}

lowbit_type type_of(Input* in) { return static_cast<lowbit_type>(in->mostly(in->pick(17))); }
lowbit_type scale_type_of(Input* in) {
  return in->one_of({LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E8M0FNU, LOWBIT_FLOAT8_E4M3FN,
                     LOWBIT_NONE, LOWBIT_INT8, static_cast<lowbit_type>(99)});
}
float global_scale_of(Input* in) { return in->one_of({0.0f, 1.0f, 0.37f, 1e-40f, -1.0f, 3e38f, HUGE_VALF, NAN}); }

lowbit_runs runs_of(Input* in) {
  lowbit_runs r = {in->extent(9), in->extent(300), 0, 1, 1};
  const auto ceil = [](int64_t a, int64_t b) { return b > 0 ? a / b + (a % b > 0) : 0; };
  const auto times = [](int64_t a, int64_t b) {
    const double product = double(a) * double(b);
    return product < 0x1p62 && product > -0x1p62 ? a * b : 0;
  };
  r.run = r.row_length;
  switch (in->pick(7)) {
    case 0: r.rows_per_param = r.rows; break;
    case 1: r.params = r.rows; break;
    case 2:
      r.rows_per_param = 1 + in->pick(4);
      r.params = 1 + in->pick(4);
      break;
    case 3:
      r.run = 1;
      r.params = r.row_length;
      break;
    case 4:
      r.run = 1 + in->pick(70);
      r.params = times(r.rows, ceil(r.row_length, r.run));
      break;
    case 5:
      r.run = 1 + in->pick(70);
      r.rows_per_param = 1 + in->pick(4);
      r.params = times(ceil(r.rows, r.rows_per_param), ceil(r.row_length, r.run));
      break;
    default: r = {r.rows, r.row_length, in->extent(64), in->extent(9), in->extent(64)};
  }
  return r;
}
double elements(const lowbit_runs& r) { return double(r.rows) * double(r.row_length); }
double codes_of(lowbit_format format, const lowbit_runs& r) {
  const int bits = describe(format).bits;
  const double bytes = code_bytes(bits ? bits : 16, double(r.rows), double(r.row_length));
  size_t size = 0;
  if (lowbit_codes_size(format, r.rows, r.row_length, &size, nullptr) == LOWBIT_OK && bytes < 0x1p49) {
    REQUIRE(double(size) == bytes);  // doubles are exact up to there, bits as well
  }
  return bytes;
}

// ---- one function of each kind -------------------------------------------------------------------------------------

void context_init(Call* c) {
  lowbit_options options = {};
  options.isa = c->in->one_of<const char*>({nullptr, "scalar", "avx2", "neon", "", "sse9", "%s%n"});
  options.max_threads = int(c->in->extent(8));
  options.parallel_for = c->in->maybe() ? &backwards : nullptr;
  lowbit_context room;
  lowbit_context* const context = c->in->rarely() ? nullptr : &room;
  const auto* args = c->memory->args(options);
  if (run(c, [&](lowbit_error* e) { return lowbit_context_init(context, args, e); })) {
    REQUIRE(lowbit_context_isa(context));
  }
  lowbit_context_isa(c->context);
}

void formats(Call* c) {
  const int32_t any = c->in->mostly(int32_t(c->in->extent(140)));
  lowbit_format_info info = {};
  info.struct_size = c->in->rarely() ? size_t(c->in->extent(200)) : sizeof info;
  run(c, [&](lowbit_error* e) { return lowbit_format_describe(any, c->in->rarely() ? nullptr : &info, e); });
  char name[12];
  for (char& letter : name) letter = char(c->in->take<uint8_t>());
  name[11] = 0;
  lowbit_format id;
  Error second;
  second.check(
      lowbit_format_by_name(c->in->rarely() ? nullptr : name, c->in->rarely() ? nullptr : &id, second.to(c->in)));
  lowbit_format_name(any);
  lowbit_type_size(static_cast<lowbit_type>(any));
  lowbit_available_isa(any);
  lowbit_built_isa(any);
  const double size = c->in->pick(100);
  lowbit_cpu_description(c->memory->array<char>(size), 0);
  if (char* text = c->memory->array<char>(size)) lowbit_cpu_description(text, size_t(size));
}

void bits(Call* c) {
  const int bits = int(c->in->extent(9));
  const int64_t rows = c->in->extent(5), length = c->in->extent(200);
  uint8_t* codes = c->memory->noise<uint8_t>(double(rows) * double(length));
  uint8_t* packed = c->memory->noise<uint8_t>(code_bytes(bits, double(rows), double(length)));
  const bool pack = c->in->maybe();
  run(c, [&](lowbit_error* e) {
    return pack ? lowbit_pack_bits(c->context, bits, rows, length, codes, packed, e)
                : lowbit_unpack_bits(c->context, bits, c->in->pick(3), rows, length, packed, codes, e);
  });
}

void range(Call* c) {
  const lowbit_runs r = runs_of(c->in);
  const float* x = c->memory->floats(elements(r));
  float* low = c->memory->array<float>(double(r.params));
  float* high = c->memory->array<float>(double(r.params));
  const bool mean = c->in->maybe(), none = c->in->rarely();
  run(c, [&](lowbit_error* e) {
    return mean ? lowbit_absmean(c->context, none ? nullptr : &r, x, low, e)
                : lowbit_range(c->context, none ? nullptr : &r, x, low, high, e);
  });
}

void choose(Call* c) {
  lowbit_choose_args a = {};
  a.format = format_of(c->in);
  a.convention = static_cast<lowbit_convention>(c->in->mostly(c->in->pick(6)));
  a.scale_type = scale_type_of(c->in);
  a.global_scale = global_scale_of(c->in);
  a.count = c->in->extent(40);
  const double n = double(a.count);
  float* minimum = c->memory->floats(n);
  float* maximum = c->memory->floats(n);
  for (int64_t i = 0; minimum && maximum && i < a.count; ++i) {
    if (minimum[i] > maximum[i]) minimum[i] = maximum[i];
  }
  a.minimum = minimum;
  a.maximum = maximum;
  a.scale = c->memory->noise<uint8_t>(n, type_bytes(a.scale_type));
  a.zero_point = c->in->maybe() ? c->memory->noise<uint8_t>(n) : nullptr;
  const auto* args = c->memory->args(a);
  run(c, [&](lowbit_error* e) { return lowbit_choose_params(c->context, args, e); });
}

void quantize(Call* c) {
  lowbit_quantize_args a = {};
  a.format = format_of(c->in);
  a.runs = runs_of(c->in);
  a.x = c->memory->floats(elements(a.runs));
  a.find_params = c->in->pick(2);
  a.convention = static_cast<lowbit_convention>(c->in->mostly(c->in->pick(6)));
  a.scale_type = scale_type_of(c->in);
  a.global_scale = global_scale_of(c->in);
  a.scale = c->memory->noise<uint8_t>(double(a.runs.params), type_bytes(a.scale_type));
  a.zero_type = type_of(c->in);
  a.zero_point = c->in->maybe() ? c->memory->noise<uint8_t>(double(a.runs.params), type_bytes(a.zero_type)) : nullptr;
  a.codes = c->memory->array<uint8_t>(codes_of(a.format, a.runs));
  const auto* args = c->memory->args(a);
  c->error.check(lowbit_quantize(c->context, args, c->e()));
}

void dequantize(Call* c) {
  lowbit_dequantize_args a = {};
  a.format = format_of(c->in);
  a.runs = runs_of(c->in);
  a.codes = c->memory->noise<uint8_t>(codes_of(a.format, a.runs));
  a.scale_type = scale_type_of(c->in);
  a.global_scale = global_scale_of(c->in);
  a.scale = c->memory->noise<uint8_t>(double(a.runs.params), type_bytes(a.scale_type));
  a.zero_type = type_of(c->in);
  a.zero_point = c->in->maybe() ? c->memory->noise<uint8_t>(double(a.runs.params), type_bytes(a.zero_type)) : nullptr;
  a.out = c->memory->array<float>(elements(a.runs));
  const auto* args = c->memory->args(a);
  run(c, [&](lowbit_error* e) { return lowbit_dequantize(c->context, args, e); });
}

void cast(Call* c) {
  lowbit_cast_args a = {};
  a.from = type_of(c->in);
  a.to = type_of(c->in);
  (c->in->maybe() ? a.from : a.to) = LOWBIT_FLOAT32;
  a.count = c->in->extent(300);
  a.x = c->memory->noise<uint8_t>(double(a.count), type_bytes(a.from));
  a.out = c->memory->noise<uint8_t>(double(a.count), type_bytes(a.to));
  a.rounding = static_cast<lowbit_rounding>(c->in->mostly(c->in->pick(5)));
  a.saturate = c->in->pick(3);
  a.seed = c->in->take<uint64_t>();
  const auto* args = c->memory->args(a);
  run(c, [&](lowbit_error* e) { return lowbit_cast(c->context, args, e); });
}

void fake_quantize(Call* c) {
  lowbit_fake_quantize_gradient_args g = {};
  g.format = format_of(c->in);
  g.runs = runs_of(c->in);
  const double n = elements(g.runs), params = double(g.runs.params);
  g.x = c->memory->floats(n);
  g.scale = c->memory->floats(params);
  g.zero_point = c->in->maybe() ? c->memory->array<uint8_t>(params) : nullptr;
  g.grad_x = c->memory->array<float>(n);
  if (c->in->maybe()) {
    lowbit_fake_quantize_args a = {0, g.format, g.runs, g.x, g.scale, g.zero_point, g.grad_x};
    const auto* args = c->memory->args(a);
    run(c, [&](lowbit_error* e) { return lowbit_fake_quantize(c->context, args, e); });
    return;
  }
  g.grad = c->memory->floats(n);
  g.lsq_scale = c->in->pick(3);
  g.grad_scale = c->in->maybe() ? c->memory->array<float>(params) : nullptr;
  g.grad_zero_point = c->in->maybe() ? c->memory->array<float>(params) : nullptr;
  const auto* args = c->memory->args(g);
  run(c, [&](lowbit_error* e) { return lowbit_fake_quantize_gradient(c->context, args, e); });
}

void search(Call* c) {
  lowbit_search_args a = {};
  a.format = format_of(c->in);
  a.runs = runs_of(c->in);
  if (elements(a.runs) > 600 && elements(a.runs) < 1e7) a.runs.rows = 1;  // 64 candidates for each element
  a.x = c->memory->floats(elements(a.runs));
  if (c->in->maybe()) {
    a.importance_count = c->in->one_of({a.runs.row_length, c->in->extent(600)});
    a.importance = c->memory->floats(double(a.importance_count));
  }
  a.convention = static_cast<lowbit_convention>(c->in->mostly(c->in->pick(6)));
  a.scale_type = scale_type_of(c->in);
  a.global_scale = global_scale_of(c->in);
  a.scale = c->memory->array<uint8_t>(double(a.runs.params), type_bytes(a.scale_type));
  a.zero_point = c->in->maybe() ? c->memory->array<uint8_t>(double(a.runs.params)) : nullptr;
  const auto* args = c->memory->args(a);
  c->error.check(lowbit_search_params(c->context, args, c->e()));
}

void hqq(Call* c) {
  lowbit_hqq_args a = {};
  a.format = format_of(c->in);
  a.runs = runs_of(c->in);
  a.x = c->memory->floats(elements(a.runs));
  a.p = c->in->mostly(0.7f);
  a.beta = c->in->mostly(10.0f);
  a.kappa = c->in->mostly(1.01f);
  a.rounds = int(c->in->extent(6));
  if (a.rounds > 1000) a.rounds = 1000;  // as many as are asked for
  a.scale_type = scale_type_of(c->in);
  a.scale = c->memory->array<uint8_t>(double(a.runs.params), type_bytes(a.scale_type));
  a.zero_point = c->memory->array<float>(double(a.runs.params));
  const auto* args = c->memory->args(a);
  c->error.check(lowbit_hqq_params(c->context, args, c->e()));
}

void histogram(Call* c) {
  const lowbit_runs r = runs_of(c->in);
  const int bins = int(c->in->one_of<int64_t>({2, 16, 4096, c->in->extent(100)}));
  const float* x = c->memory->floats(elements(r));
  float* inverse = c->memory->floats(double(r.params));
  for (int64_t i = 0; inverse && i < r.params; ++i) {
    if (!c->in->rarely()) inverse[i] = std::fabs(inverse[i]);
  }
  int64_t* counts = c->memory->array<int64_t>(double(r.params) * bins);
  const bool none = c->in->rarely(), absolute = c->in->maybe();
  run(c, [&](lowbit_error* e) {
    return lowbit_histogram(c->context, none ? nullptr : &r, x, bins, absolute, inverse, counts, e);
  });
}

void entropy(Call* c) {
  const int64_t params = c->in->extent(3);
  const int bins = int(c->in->extent(130));
  const double n = double(params) * bins;
  int64_t* counts = c->memory->array<int64_t>(n);
  for (int64_t i = 0; counts && i < n; ++i) counts[i] = c->in->extent(9);
  const int levels = int(c->in->extent(20)), first = int(c->in->extent(20));
  int64_t* kept = c->memory->array<int64_t>(double(params));
  if (run(c,
          [&](lowbit_error* e) { return lowbit_entropy(c->context, params, bins, counts, levels, first, kept, e); })) {
    for (int64_t i = 0; i < params; ++i) REQUIRE(kept[i] >= 1 && kept[i] <= bins);
  }
}

// ---- weights and products ------------------------------------------------------------------------------------------

struct Weights {
  lowbit_weights_info info;
  const uint8_t* packed;
  size_t size;
};

// A description, a packed form of it if there is one, and the round trip. Products get plain shapes more often.
Weights pack(Call* c, bool plain) {
  Weights w = {};
  lowbit_weights_info& info = w.info;
  info.format = plain && c->in->maybe() ? LOWBIT_INT(8) : format_of(c->in);
  const lowbit_format_info format = describe(info.format);
  info.n = c->in->extent(40);
  info.k = c->in->extent(100);
  info.group_size = c->in->maybe() ? c->in->extent(64) : 0;
  info.scale_type = plain ? LOWBIT_FLOAT32 : scale_type_of(c->in);
  info.global_scale = plain || c->in->maybe() ? 0 : global_scale_of(c->in);
  const lowbit_type byte = format.qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
  if (!plain || format.kind == LOWBIT_KIND_INTEGER)
    info.zero_type = c->in->one_of({LOWBIT_NONE, byte, LOWBIT_FLOAT16, type_of(c->in)});
  info.transposed = c->in->pick(2);
  const lowbit_weights_info* args = c->memory->args(info);
  size_t size = 0;
  Error first;
  if (!first.check(lowbit_packed_size(args, c->in->rarely() ? nullptr : &size, first.to(c->in)))) return w;

  const double n = double(info.n), k = double(info.k);
  const double groups = info.group_size > 0 && info.k > 0 ? ceil_div(k, double(info.group_size)) : 1;
  const double bytes = info.transposed ? code_bytes(format.bits, k, n) : code_bytes(format.bits, n, k);
  uint8_t* codes = c->memory->noise<uint8_t>(bytes);
  void* scale = info.scale_type == LOWBIT_NONE ? nullptr
                : info.scale_type == LOWBIT_FLOAT32
                    ? c->memory->floats(n * groups)
                    : static_cast<void*>(c->memory->noise<uint8_t>(n * groups, type_bytes(info.scale_type)));
  void* zero =
      info.zero_type == LOWBIT_NONE ? nullptr : c->memory->noise<uint8_t>(n * groups, type_bytes(info.zero_type));
  uint8_t* packed = c->memory->aligned(double(size));
  if (!run(c, [&](lowbit_error* e) { return lowbit_pack_weights(c->context, args, codes, scale, zero, packed, e); })) {
    return w;
  }
  w.packed = packed;
  w.size = size;
  return w;
}

void weights(Call* c) {
  const Weights w = pack(c, false);
  if (!w.packed) return;
  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  size_t size = c->in->rarely() ? size_t(c->in->pick(200)) : w.size;
  if (size > w.size) size = w.size;
  Error error;
  const bool good = error.check(lowbit_packed_describe(w.packed, size, &info, error.to(c->in)));
  REQUIRE(good == (size == w.size));
  const double n = double(w.info.n), k = double(w.info.k);
  const double groups = w.info.group_size > 0 && w.info.k > 0 ? ceil_div(k, double(w.info.group_size)) : 1;
  uint8_t* codes = c->memory->array<uint8_t>(code_bytes(describe(w.info.format).bits, n, k));
  uint8_t* scale = c->memory->array<uint8_t>(n * groups, type_bytes(w.info.scale_type));
  uint8_t* zero = c->memory->array<uint8_t>(n * groups, type_bytes(w.info.zero_type));
  run(c, [&](lowbit_error* e) { return lowbit_unpack_weights(c->context, w.packed, size, codes, scale, zero, e); });
}

// Bytes of a matrix whose rows begin `stride` elements apart.
double matrix(int64_t rows, int64_t width, int64_t stride) {
  return rows > 0 ? double(rows - 1) * double(stride) + double(width) : 0;
}
int64_t stride_of(Input* in, int64_t width) { return in->rarely() ? in->extent(200) : width + in->pick(4); }

lowbit_matmul_args product(Call* c) {
  const Weights w = pack(c, true);
  lowbit_matmul_args a = {};
  Input* in = c->in;
  a.struct_size = in->rarely() ? 8 : sizeof a;
  a.weights = w.packed;
  a.weights_size = w.size;
  const int64_t n = w.info.n;
  a.m = in->extent(20);
  a.k = in->rarely() ? in->extent(100) : w.info.k;
  a.x_type = in->one_of({LOWBIT_FLOAT32, LOWBIT_INT8, LOWBIT_FLOAT16, LOWBIT_UINT8, LOWBIT_BFLOAT16, type_of(in)});
  a.ldx = stride_of(in, a.k < 1 << 20 ? a.k : 0);
  const double x_size = matrix(a.m, a.k, a.ldx);
  a.x = a.x_type == LOWBIT_FLOAT32 ? c->memory->floats(x_size)
                                   : static_cast<void*>(c->memory->noise<uint8_t>(x_size, type_bytes(a.x_type)));
  a.compute = static_cast<lowbit_compute>(in->mostly(in->pick(4)));
  a.act_group_size = in->one_of<int64_t>({0, -1, w.info.group_size, 8, 16, 32, in->extent(100)});
  const double groups = a.act_group_size > 0 ? ceil_div(double(a.k), double(a.act_group_size)) : 1;
  a.x_scale_count = in->one_of<int64_t>({1, a.m, in->extent(100)});
  if (in->maybe() && groups >= 0 && groups < 200 && a.m > 0 && a.m < 100) a.x_scale_count = a.m * int64_t(groups);
  a.x_scale = c->memory->floats(double(a.x_scale_count));
  if (in->maybe()) {
    a.x_zero_point_count = in->one_of<int64_t>({1, a.m, in->extent(100)});
    a.x_zero_point = c->memory->noise<int32_t>(double(a.x_zero_point_count));
  }
  if (in->maybe()) a.bias = c->memory->floats(double(n));
  a.activation = static_cast<lowbit_activation>(in->mostly(in->pick(6)));
  a.out_type = in->one_of(
      {LOWBIT_NONE, LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_INT8, LOWBIT_UINT8, type_of(in)});
  a.ldout = stride_of(in, n < 1 << 20 ? n : 0);
  const double out_size = matrix(a.m, n, a.ldout);
  a.out = c->memory->array<uint8_t>(out_size, a.out_type == LOWBIT_NONE ? 4 : type_bytes(a.out_type));
  a.out_scale = in->mostly(0.5f);
  a.out_zero_point = in->mostly(int32_t{3});
  switch (in->pick(4)) {
    case 1:
      a.residual = a.out;
      a.residual_type = a.out_type;
      a.ldresidual = a.ldout;
      break;
    case 2:
      a.residual_type = in->one_of({LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, type_of(in)});
      a.ldresidual = stride_of(in, n < 1 << 20 ? n : 0);
      a.residual = c->memory->noise<uint8_t>(matrix(a.m, n, a.ldresidual), type_bytes(a.residual_type));
      break;
    case 3: a.residual = in->rarely() ? a.x : nullptr; break;
    default: break;
  }
  return a;
}

// The workspace that was asked for: all of it, a byte less, or none.
uint8_t* workspace(Call* c, size_t* size) {
  const size_t needed = *size;
  if (c->in->rarely() && *size > 0) --*size;
  uint8_t* at = c->memory->aligned(double(*size));
  if (at) c->memory->last_is_workspace();
  return *size < needed && c->in->maybe() ? nullptr : at;
}

void matmul(Call* c) {
  lowbit_matmul_args a = product(c);
  Error first;
  const size_t struct_size = a.struct_size;
  if (!first.check(lowbit_matmul_workspace(c->context, struct_size == sizeof a ? &a : c->memory->args(a),
                                           c->in->rarely() ? nullptr : &a.workspace_size, first.to(c->in)))) {
    return;
  }
  const size_t needed = a.workspace_size;
  a.workspace = workspace(c, &a.workspace_size);
  if (run(c, [&](lowbit_error* e) { return lowbit_matmul(c->context, &a, e); })) REQUIRE(a.workspace_size >= needed);
}

void grouped(Call* c) {
  const int64_t count = c->in->extent(3);
  std::vector<lowbit_matmul_args> args;
  for (int64_t i = 0; i < count && i < 3; ++i) args.push_back(product(c));
  const bool none = c->in->rarely() || int64_t(args.size()) != count;
  size_t size = 0;
  Error first;
  if (!first.check(lowbit_matmul_grouped_workspace(c->context, none ? nullptr : args.data(), count,
                                                   c->in->rarely() ? nullptr : &size, first.to(c->in)))) {
    return;
  }
  void* at = workspace(c, &size);
  run(c, [&](lowbit_error* e) {
    return lowbit_matmul_grouped(c->context, none ? nullptr : args.data(), count, at, size, e);
  });
}

void matmul_int(Call* c) {
  const Weights w = pack(c, true);
  lowbit_matmul_int_args a = {};
  Input* in = c->in;
  a.struct_size = sizeof a;
  a.weights = w.packed;
  a.weights_size = w.size;
  a.m = in->extent(20);
  a.k = in->rarely() ? in->extent(100) : w.info.k;
  a.a_type = in->one_of({LOWBIT_INT8, LOWBIT_UINT8, type_of(in)});
  a.lda = stride_of(in, a.k < 1 << 20 ? a.k : 0);
  a.a = c->memory->noise<uint8_t>(matrix(a.m, a.k, a.lda));
  if (in->maybe()) {
    a.a_zero_point_count = in->one_of<int64_t>({1, a.m, in->extent(100)});
    a.a_zero_point = c->memory->noise<int32_t>(double(a.a_zero_point_count));
  }
  if (in->maybe()) {
    a.b_zero_point_count = in->one_of<int64_t>({1, w.info.n, in->extent(100)});
    a.b_zero_point = c->memory->noise<int32_t>(double(a.b_zero_point_count));
  }
  a.ldout = stride_of(in, w.info.n < 1 << 20 ? w.info.n : 0);
  a.out = c->memory->noise<int32_t>(matrix(a.m, w.info.n, a.ldout));
  a.accumulate = in->pick(3);
  Error first;
  if (!first.check(
          lowbit_matmul_int_workspace(c->context, &a, in->rarely() ? nullptr : &a.workspace_size, first.to(in)))) {
    return;
  }
  a.workspace = workspace(c, &a.workspace_size);
  run(c, [&](lowbit_error* e) { return lowbit_matmul_int(c->context, &a, e); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  void (*const functions[])(Call*) = {matmul,    weights, grouped, matmul_int,    quantize,    dequantize,
                                      cast,      bits,    range,   fake_quantize, choose,      search,
                                      histogram, entropy, hqq,     formats,       context_init};
  Input in(data, size);
  Memory memory(&in);
  lowbit_context context = context_of(&in);
  const lowbit_context nothing = {};
  Call call = {&in, &memory, &context, {}};
  if (in.rarely()) call.context = in.maybe() ? &nothing : nullptr;
  functions[in.pick(int(sizeof functions / sizeof *functions))](&call);
  return 0;
}
