// What lowbit_matmul adds to a product and how it writes it: residuals, accumulation, 16-bit floats in and out, 8-bit
// results; on every ISA and on the emulated lanes, against the same from separate calls (reliability.md: 1, 2, 3, 17,
// 22, 30). Operands end at guard pages.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "split.hpp"
#include "weights.hpp"

namespace {

using namespace test;

constexpr lowbit_type kFloats[] = {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16};
constexpr float kScale = 0.37f;

int64_t bytes_of(lowbit_type type) {
  return type == LOWBIT_FLOAT32 ? 4 : type == LOWBIT_FLOAT16 || type == LOWBIT_BFLOAT16 ? 2 : 1;
}
int zero_of(lowbit_type type) { return type == LOWBIT_INT8 ? -7 : 131; }

lowbit_weights_info weights_of(lowbit_format format, int64_t n, int64_t k, int64_t group) {
  return weights_info(format, n, k, group, LOWBIT_FLOAT16, LOWBIT_UINT8);
}

// float32 to any type that goes in or out, by the functions for it.
std::vector<uint8_t> convert(const std::vector<float>& x, lowbit_type type) {
  lowbit_context context;
  lowbit_error error = {};
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  std::vector<uint8_t> out(x.size() * size_t(bytes_of(type)));
  const int64_t count = int64_t(x.size());
  if (type == LOWBIT_FLOAT32) {
    if (!x.empty()) std::memcpy(out.data(), x.data(), out.size());
  } else if (bytes_of(type) == 2) {
    lowbit_cast_args args = {};
    args.struct_size = sizeof args;
    args.count = count;
    args.from = LOWBIT_FLOAT32;
    args.to = type;
    args.x = x.data();
    args.out = out.data();
    CHECK_EQ(lowbit_cast(&context, &args, &error), LOWBIT_OK);
  } else {
    float scale = kScale;
    const uint8_t zero = uint8_t(zero_of(type));
    lowbit_quantize_args args = {};
    args.struct_size = sizeof args;
    args.format = type == LOWBIT_INT8 ? LOWBIT_INT(8) : LOWBIT_UINT(8);
    args.runs = {1, count, count, 1, 1};
    args.x = x.data();
    args.convention = LOWBIT_ABSMAX;
    args.scale_type = LOWBIT_FLOAT32;
    args.scale = &scale;
    args.zero_type = type;
    args.zero_point = const_cast<uint8_t*>(&zero);
    args.codes = out.data();
    CHECK_EQ(lowbit_quantize(&context, &args, &error), LOWBIT_OK);
  }
  return out;
}

std::vector<float> widen(const uint8_t* x, size_t count, lowbit_type type) {
  std::vector<float> out(count);
  if (type == LOWBIT_FLOAT32) {
    if (count > 0) std::memcpy(out.data(), x, count * 4);
    return out;
  }
  lowbit_context context;
  lowbit_error error = {};
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  lowbit_cast_args args = {};
  args.struct_size = sizeof args;
  args.count = int64_t(count);
  args.from = type;
  args.to = LOWBIT_FLOAT32;
  args.x = x;
  args.out = out.data();
  CHECK_EQ(lowbit_cast(&context, &args, &error), LOWBIT_OK);
  return out;
}

// Equal, but for which NaN it is.
bool same_element(const uint8_t* a, const uint8_t* b, lowbit_type type) {
  if (std::memcmp(a, b, size_t(bytes_of(type))) == 0) return true;
  return bytes_of(type) > 1 && std::isnan(widen(a, 1, type)[0]) && std::isnan(widen(b, 1, type)[0]);
}

// A matrix that ends at a guard page, its rows `gap` elements apart from each other; what lies between them is checked.
struct Matrix {
  int64_t rows, columns, ld, element;
  Guarded memory;
  uint8_t* data;

  Matrix(int64_t m, int64_t n, int64_t gap, lowbit_type type)
      : rows(m), columns(n), ld(n + gap), element(bytes_of(type)), memory(size_t(std::max<int64_t>(bytes(), 1))) {
    data = memory.last<uint8_t>(size_t(bytes()));
    std::memset(data, 0xa5, size_t(bytes()));
  }
  int64_t bytes() const { return rows == 0 ? 0 : ((rows - 1) * ld + columns) * element; }
  uint8_t* at(int64_t row) const { return data + row * ld * element; }
  void fill(const std::vector<uint8_t>& from) {
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(from.begin() + row * columns * element, columns * element, at(row));
    }
  }
  bool gaps_are_clean() const {
    for (int64_t row = 0; row + 1 < rows; ++row) {
      for (int64_t i = columns * element; i < ld * element; ++i) {
        if (at(row)[i] != 0xa5) return false;
      }
    }
    return true;
  }
};

struct Setting {
  lowbit_type x, out, residual;  // residual: LOWBIT_NONE for none
  bool accumulate;               // the residual is out
  lowbit_compute compute;
  lowbit_activation activation;
};

std::string text(const Weights& w, int64_t m, const Setting& s) {
  return w.name + " n " + std::to_string(w.info.n) + " k " + std::to_string(w.info.k) + " m " + std::to_string(m) +
         " types " + std::to_string(s.x) + " " + std::to_string(s.out) + " " + std::to_string(s.residual) +
         " compute " + std::to_string(s.compute) + (s.accumulate ? " accumulate" : "");
}

// The same product in float32 without a residual; then a sum and a conversion.
void check_setting(std::mt19937& random, const Weights& w, int64_t m, const Setting& s) {
  const int64_t n = w.info.n, k = w.info.k;
  std::vector<float> values(size_t(m * k)), added(size_t(m * n)), bias(static_cast<size_t>(n));
  for (float& v : values) v = std::ldexp(float(int(random() % 4001) - 2000), -int(random() % 8) - 8);
  for (float& v : added) v = std::ldexp(float(int(random() % 4001) - 2000), int(random() % 24) - 20);
  for (float& v : bias) v = float(int(random() % 100) - 50) / 7;
  if (m > 2 && n > 2) {
    added[0] = INFINITY;
    added[1] = NAN;
    added[2] = -3e38f;
    values[size_t(2 * k)] = s.x == LOWBIT_FLOAT16 ? 65504.0f : 1e30f;
  }
  Matrix x(m, k, 3, s.x), out(m, n, 5, s.out);
  Matrix residual(m, n, 2, s.residual == LOWBIT_NONE ? LOWBIT_FLOAT32 : s.residual);
  const std::vector<uint8_t> x_bytes = convert(values, s.x);
  x.fill(x_bytes);
  values = widen(x_bytes.data(), values.size(), s.x);
  std::vector<uint8_t> residual_bytes;
  if (s.residual != LOWBIT_NONE) {
    residual_bytes = convert(added, s.residual);
    added = widen(residual_bytes.data(), added.size(), s.residual);
    residual.fill(residual_bytes);
  }

  for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
    std::vector<float> wide(added.size());
    lowbit_matmul_args args = {};
    args.x_type = LOWBIT_FLOAT32;
    args.x = values.data();
    args.ldx = k;
    args.compute = s.compute;
    args.bias = bias.data();
    args.activation = s.activation;
    args.out = wide.data();
    args.out_type = LOWBIT_FLOAT32;
    multiply(kernels, w, m, args);
    if (s.residual != LOWBIT_NONE) {
      for (size_t i = 0; i < wide.size(); ++i) wide[i] += added[i];
    }
    const std::vector<uint8_t> expected = convert(wide, s.out);

    if (s.accumulate) out.fill(residual_bytes);
    args.x_type = s.x;
    args.x = x.data;
    args.ldx = x.ld;
    args.out = out.data;
    args.out_type = s.out;
    args.out_scale = kScale;
    args.out_zero_point = zero_of(s.out);
    args.residual_type = s.residual;
    args.residual = s.residual == LOWBIT_NONE ? nullptr : s.accumulate ? out.data : residual.data;
    args.ldresidual = s.accumulate ? out.ld : residual.ld;
    multiply(kernels, w, m, args, out.ld);
    CHECK(out.gaps_are_clean());
    for (int64_t i = 0; i < m * n; ++i) {
      const uint8_t* got = out.at(i / n) + i % n * out.element;
      if (!same_element(got, expected.data() + i * out.element, s.out)) {
        failed(__FILE__, __LINE__,
               std::string(kernels->name) + ", " + text(w, m, s) + ": row " + std::to_string(i / n) + ", column " +
                   std::to_string(i % n));
        return;
      }
    }
  }
}

TEST(every_type_in_and_out) {
  std::mt19937 random(1);
  const Weights few[] = {make_weights(random, weights_of(LOWBIT_UINT(4), 70, 131, 32)),
                         make_weights(random, weights_of(LOWBIT_UINT(8), 33, 99, 0)),
                         make_weights(random, weights_of(LOWBIT_UINT(3), 17, 40, 0))};
  const lowbit_activation activations[] = {LOWBIT_IDENTITY, LOWBIT_GELU, LOWBIT_RELU, LOWBIT_SILU, LOWBIT_GELU_TANH};
  int number = 0;
  for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_INT8X2, LOWBIT_COMPUTE_FLOAT32}) {
    for (const lowbit_type x : kFloats) {
      for (const lowbit_type out : {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_INT8, LOWBIT_UINT8}) {
        for (const lowbit_type residual : {LOWBIT_NONE, LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16}) {
          const Weights& w = few[number % 3];
          const int64_t m = number % 4 == 0 ? 1 : number % 4 == 1 ? 9 : number % 4 == 2 ? 4 : 53;
          const lowbit_activation activation = activations[++number % 5];
          check_setting(random, w, m, {x, out, residual, false, compute, activation});
          if (residual == out) check_setting(random, w, m, {x, out, residual, true, compute, activation});
        }
      }
    }
  }
}

TEST(every_width_of_a_result) {
  std::mt19937 random(2);
  for (int64_t n = 1; n < 70; n += n < 20 ? 1 : 7) {
    const Weights w = make_weights(random, weights_of(LOWBIT_UINT(8), n, 20, 0));
    const lowbit_type out = n % 3 == 0 ? LOWBIT_FLOAT16 : n % 3 == 1 ? LOWBIT_UINT8 : LOWBIT_BFLOAT16;
    for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_INT8X2}) {
      check_setting(random, w, 3, {LOWBIT_BFLOAT16, out, LOWBIT_FLOAT16, false, compute, LOWBIT_IDENTITY});
    }
  }
}

// Segments and rows of x longer than any buffer on the stack; no k at all.
TEST(every_length_of_a_row) {
  std::mt19937 random(3);
  for (const int64_t k : {0, 1, 7, 1023, 1025, 5000}) {
    const Weights w = make_weights(random, weights_of(LOWBIT_UINT(4), 18, k, 32));
    for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_INT8X2, LOWBIT_COMPUTE_FLOAT32}) {
      for (const int64_t m : {0, 1, 11}) {
        const lowbit_type x = m == 1 ? LOWBIT_FLOAT16 : LOWBIT_BFLOAT16;
        if (k > 0) check_setting(random, w, m, {x, x, x, true, compute, LOWBIT_IDENTITY});
        if (k == 0 && m < 3) check_setting(random, w, m, {x, LOWBIT_INT8, x, false, compute, LOWBIT_IDENTITY});
      }
    }
  }
}

// The same bits however the work is cut: blocks of rows and columns, each with its own piece of everything.
TEST(threads_change_nothing) {
  std::mt19937 random(4);
  const int64_t m = 150, n = 300, k = 300;
  const Weights w = make_weights(random, weights_of(LOWBIT_UINT(4), n, k, 32));
  std::vector<float> values(size_t(m * k)), added(size_t(m * n));
  for (float& v : values) v = float(int(random() % 4001) - 2000) / 100;
  for (float& v : added) v = float(int(random() % 4001) - 2000) / 100;
  const std::vector<uint8_t> x = convert(values, LOWBIT_BFLOAT16), start = convert(added, LOWBIT_BFLOAT16);
  for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_INT8X2, LOWBIT_COMPUTE_FLOAT32}) {
    std::vector<uint8_t> first;
    std::vector<Split> all = splits();
    for (const int threads : {2, 5}) all.push_back({"pool", threads, pool_context(nullptr, threads)});
    for (const Split& split : all) {
      std::vector<uint8_t> out = start;
      lowbit_error error = {};
      lowbit_matmul_args args = {};
      args.struct_size = sizeof args;
      args.weights = w.packed;
      args.weights_size = w.size;
      args.m = m;
      args.k = k;
      args.x_type = args.out_type = args.residual_type = LOWBIT_BFLOAT16;
      args.x = x.data();
      args.ldx = k;
      args.compute = compute;
      args.out = out.data();
      args.residual = out.data();
      args.ldout = args.ldresidual = n;
      CHECK_EQ(lowbit_matmul_workspace(&split.context, &args, &args.workspace_size, &error), LOWBIT_OK);
      const Guarded workspace(args.workspace_size);
      args.workspace = workspace.last<uint8_t>(args.workspace_size);
      CHECK_EQ(lowbit_matmul(&split.context, &args, &error), LOWBIT_OK);
      if (first.empty()) {
        first = out;
        CHECK(out != start);
      }
      if (out != first) failed(__FILE__, __LINE__, split.isa + ", threads " + std::to_string(split.max_threads));
    }
  }
}

TEST(matmul_int_accumulates_modulo_2_32) {
  std::mt19937 random(5);
  lowbit_weights_info info = weights_of(LOWBIT_INT(8), 37, 50, 0);
  info.scale_type = info.zero_type = LOWBIT_NONE;
  const Weights w = make_weights(random, info);
  for (const int64_t m : {1, 60}) {
    std::vector<uint8_t> a(size_t(m * 50));
    for (uint8_t& code : a) code = uint8_t(random());
    std::vector<int32_t> start(size_t(m * 37));
    for (int32_t& s : start) s = int32_t(random());
    const int32_t zero = 3;
    for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
      std::vector<int32_t> product(start.size(), 17), out = start;
      lowbit_matmul_int_args args = {};
      args.a_type = LOWBIT_UINT8;
      args.a = a.data();
      args.lda = 50;
      args.a_zero_point = &zero;
      args.a_zero_point_count = 1;
      args.out = product.data();
      multiply(kernels, w, m, args);
      args.out = out.data();
      args.accumulate = 1;
      multiply(kernels, w, m, args);
      for (size_t i = 0; i < out.size(); ++i) {
        CHECK_EQ(out[i], int32_t(uint32_t(start[i]) + uint32_t(product[i])));
      }
    }
  }
}

// ---- what is refused ----------------------------------------------------------------------------------------------

struct Call {
  static constexpr int64_t kM = 3, kN = 5, kK = 8;
  Weights w;
  std::vector<float> memory = std::vector<float>(400, 1.0f);
  std::vector<uint8_t> workspace = std::vector<uint8_t>(size_t{1} << 16);
  lowbit_matmul_args args = {};

  Call() {
    std::mt19937 random(6);
    w = make_weights(random, weights_of(LOWBIT_UINT(8), kN, kK, 0));
    args.struct_size = sizeof args;
    args.weights = w.packed;
    args.weights_size = w.size;
    args.m = kM;
    args.k = kK;
    args.x_type = LOWBIT_FLOAT32;
    args.x = memory.data();
    args.ldx = kK;
    args.out = memory.data() + 200;
    args.ldout = kN;
    args.workspace = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64) % 64;
    args.workspace_size = workspace.size() - 64;
  }
  float* out() { return memory.data() + 200; }

  template <class Change>
  void expect(lowbit_status status, const char* words, Change change) {
    lowbit_context context;
    lowbit_error error = {};
    CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
    const lowbit_matmul_args before = args;
    change(&args);
    const std::vector<float> untouched = memory;
    const lowbit_status got = lowbit_matmul(&context, &args, &error);
    if (got != status || !std::strstr(error.message, words)) {
      failed(__FILE__, __LINE__, std::string(words) + ": status " + show(got) + ", message " + error.message);
    }
    if (status != LOWBIT_OK) CHECK(memory == untouched);
    args = before;
    memory.assign(memory.size(), 1.0f);
  }
};

TEST(types_and_strides_that_are_refused) {
  Call call;
  call.expect(LOWBIT_OK, "", [](auto*) {});
  for (const int type : {-1, 6, 13, 16, 17, 99}) {
    const lowbit_type unknown = static_cast<lowbit_type>(type);
    call.expect(LOWBIT_INVALID_TYPE, "x_type: must be float32, float16, bfloat16, int8 or uint8, got",
                [=](auto* a) { a->x_type = unknown; });
    call.expect(LOWBIT_INVALID_TYPE, "out_type: must be float32, float16, bfloat16, int8 or uint8, got",
                [=](auto* a) { a->out_type = unknown; });
  }
  for (const lowbit_type type : {LOWBIT_NONE, LOWBIT_INT8, LOWBIT_FLOAT8_E5M2}) {
    call.expect(LOWBIT_INVALID_TYPE, "residual_type: must be float32, float16 or bfloat16, got", [&](auto* a) {
      a->residual = call.memory.data();
      a->ldresidual = Call::kN;
      a->residual_type = type;
    });
    call.expect(LOWBIT_OK, "", [=](auto* a) { a->residual_type = type; });  // without a residual it means nothing
  }
  for (const int compute : {-1, 3}) {
    call.expect(LOWBIT_INVALID_VALUE, "compute: must be int8, float32 or int8x2, got",
                [=](auto* a) { a->compute = static_cast<lowbit_compute>(compute); });
  }
  const float one = 1;
  for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8X2, LOWBIT_COMPUTE_FLOAT32}) {
    call.expect(LOWBIT_INVALID_VALUE, "compute: must be int8 for 8-bit x, got", [&](auto* a) {
      a->x_type = LOWBIT_INT8;
      a->x_scale = &one;
      a->x_scale_count = 1;
      a->compute = compute;
    });
  }
  call.expect(LOWBIT_INVALID_VALUE, "ldout: must be at least 5, got 4", [](auto* a) { a->ldout = 4; });
  call.expect(LOWBIT_INVALID_VALUE, "ldresidual: must be at least 5, got 4", [&](auto* a) {
    a->residual = call.memory.data();
    a->residual_type = LOWBIT_FLOAT32;
    a->ldresidual = 4;
  });
  call.expect(LOWBIT_OK, "", [&](auto* a) {  // the strides of one row mean nothing
    a->m = 1;
    a->residual = a->out;
    a->residual_type = LOWBIT_FLOAT32;
    a->ldresidual = 0;
  });
}

TEST(scales_and_zero_points_of_results) {
  Call call;
  constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (const lowbit_type type : {LOWBIT_INT8, LOWBIT_UINT8}) {
    for (const float scale : {0.0f, -1.0f, kInf, kNan}) {
      call.expect(LOWBIT_INVALID_VALUE, "out_scale: must be finite and above 0, got", [=](auto* a) {
        a->out_type = type;
        a->out_scale = scale;
      });
      call.expect(LOWBIT_OK, "", [=](auto* a) { a->out_scale = scale; });  // of floats it means nothing
    }
    const bool is_signed = type == LOWBIT_INT8;
    for (const int zero : {is_signed ? -129 : -1, is_signed ? 128 : 256}) {
      call.expect(LOWBIT_INVALID_VALUE,
                  is_signed ? "out_zero_point: must be -128 to 127, got" : "out_zero_point: must be 0 to 255, got",
                  [=](auto* a) {
                    a->out_type = type;
                    a->out_scale = 1;
                    a->out_zero_point = zero;
                  });
    }
  }
}

// Class 22: a result may be its own residual, and nothing else.
TEST(operands_that_share_memory) {
  Call call;
  const auto residual = [&](float* at, int64_t ld) {
    return [=](auto* a) {
      a->residual = at;
      a->ldresidual = ld;
      a->residual_type = LOWBIT_FLOAT32;
    };
  };
  call.expect(LOWBIT_OK, "", residual(call.out(), Call::kN));
  const int64_t size = Call::kM * Call::kN;
  for (const int64_t shift : {-size + 1, int64_t{-1}, int64_t{1}, size - 1}) {
    call.expect(LOWBIT_INVALID_VALUE, "residual: must be out itself", residual(call.out() + shift, Call::kN));
  }
  for (const int64_t shift : {-size, size}) call.expect(LOWBIT_OK, "", residual(call.out() + shift, Call::kN));
  call.expect(LOWBIT_INVALID_VALUE, "residual: must be out itself", residual(call.out(), Call::kN + 1));
  call.expect(LOWBIT_INVALID_VALUE, "residual: must be out itself", [&](auto* a) {
    residual(call.out(), Call::kN)(a);
    a->out_type = LOWBIT_BFLOAT16;
  });
  // Columns beside each other in one matrix: rows in turn, no memory shared.
  const auto beside = [&](int64_t columns_apart) {
    return [=, &call](auto* a) {
      residual(call.out() + columns_apart, 2 * Call::kN + 1)(a);
      a->ldout = 2 * Call::kN + 1;
    };
  };
  for (const int64_t apart : {5, 6}) call.expect(LOWBIT_OK, "", beside(apart));
  for (const int64_t apart : {-5, -6}) call.expect(LOWBIT_OK, "", beside(apart));
  for (const int64_t apart : {4, 7, -4, -7, 11}) {
    call.expect(LOWBIT_INVALID_VALUE, "residual: must be out itself", beside(apart));
  }

  const int64_t x_size = Call::kM * Call::kK;
  for (const int64_t shift : {-size + 1, int64_t{0}, int64_t{3}, x_size - 1}) {
    call.expect(LOWBIT_INVALID_VALUE, "out: must share no memory with x", [&](auto* a) {
      a->x = call.memory.data() + 100;
      a->out = call.memory.data() + 100 + shift;
    });
  }
  for (const int64_t shift : {-size, x_size}) {
    call.expect(LOWBIT_OK, "", [&](auto* a) {
      a->x = call.memory.data() + 100;
      a->out = call.memory.data() + 100 + shift;
    });
  }
  call.expect(LOWBIT_OK, "", [](auto* a) {  // nothing is read and nothing written
    a->m = 0;
    a->out = const_cast<void*>(a->x);
  });
}

TEST(matmul_int_refuses_shared_memory) {
  std::mt19937 random(7);
  lowbit_weights_info info = weights_of(LOWBIT_INT(8), 2, 8, 0);
  info.scale_type = info.zero_type = LOWBIT_NONE;
  const Weights w = make_weights(random, info);
  std::vector<int32_t> memory(64);
  alignas(64) static uint8_t workspace[1 << 14];
  lowbit_context context;
  lowbit_error error = {};
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  lowbit_matmul_int_args args = {};
  args.struct_size = sizeof args;
  args.weights = w.packed;
  args.weights_size = w.size;
  args.m = 2;
  args.k = args.lda = 8;
  args.a_type = LOWBIT_INT8;
  args.a = memory.data();
  args.ldout = 2;
  args.workspace = workspace;
  args.workspace_size = sizeof workspace;
  args.out = memory.data() + 3;
  CHECK_EQ(lowbit_matmul_int(&context, &args, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "out: must share no memory with a") != nullptr);
  args.out = memory.data() + 4;
  CHECK_EQ(lowbit_matmul_int(&context, &args, &error), LOWBIT_OK);
}

}  // namespace
