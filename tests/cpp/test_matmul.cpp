// lowbit_matmul and lowbit_matmul_int on every ISA and on the emulated lanes, bit for bit against docs/numerics.md
// written out (reliability.md: 1, 2, 3, 9, 10, 11, 12, 17, 30). Operands end at guard pages.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "context.hpp"
#include "guard.hpp"
#include "isas.hpp"
#include "lowbit/lowbit.h"
#include "test.hpp"

namespace {

// A context of kernels that dispatch may not know; items run one by one, the last first, as if by 3 threads.
lowbit_context context_of(const lowbit::Kernels* kernels) {
  lowbit_options options = {};
  options.struct_size = sizeof options;
  options.isa = "scalar";
  options.max_threads = 3;
  options.parallel_for = [](void*, int64_t n, int threads, lowbit_task task, void* arg) {
    for (int64_t item = n - 1; item >= 0; --item) task(arg, item, item + 1, int(item % threads));
  };
  lowbit_context opaque;
  lowbit_context_init(&opaque, &options, nullptr);
  lowbit::Context context;
  std::memcpy(&context, &opaque, sizeof context);
  context.kernels = kernels;
  std::memcpy(&opaque, &context, sizeof context);
  return opaque;
}

struct Weights {
  lowbit_weights_info info;
  int bits, low;  // of a code
  int64_t group, groups;
  std::vector<int> codes;  // n x k
  std::vector<float> scale;
  std::vector<int> zero;  // n x groups each
  std::unique_ptr<Guarded> memory;
  void* packed = nullptr;
  size_t size = 0;
};

template <class Random>
int pick(Random& random, int low, int high) {  // a third of all values are extremes
  const uint32_t r = random();
  return r % 6 == 0 ? low : r % 6 == 1 ? high : low + int(random() % uint32_t(high - low + 1));
}

template <class Random>
Weights make_weights(Random& random, lowbit_format format, int64_t n, int64_t k, int64_t group, lowbit_type scale_type,
                     bool has_zero) {
  Weights w;
  w.info = {sizeof w.info, format, n, k, group, scale_type, has_zero};
  w.bits = format < 16 ? format : format - 16;
  w.low = format < 16 ? -(1 << (w.bits - 1)) : 0;
  const int high = w.low + (1 << w.bits) - 1;
  w.group = group == 0 ? std::max<int64_t>(k, 1) : group;
  w.groups = k == 0 ? 1 : (k + w.group - 1) / w.group;

  const int64_t row_bytes = (k * w.bits + 7) / 8;
  std::vector<uint8_t> bytes(size_t(n * row_bytes));
  for (int64_t i = 0; i < n * k; ++i) {
    const int code = pick(random, w.low, high);
    w.codes.push_back(code);
    for (int bit = 0; bit < w.bits; ++bit) {
      const int64_t at = i % k * w.bits + bit;
      bytes[size_t(i / k * row_bytes + at / 8)] |= uint8_t((code >> bit & 1) << (at % 8));
    }
  }
  std::vector<uint16_t> halves;
  std::vector<uint8_t> zeros;
  for (int64_t i = 0; i < n * w.groups; ++i) {
    const int exponent = -int(random() % 6), mantissa = int(random() % 1024);
    w.scale.push_back(std::ldexp(1.0f + float(mantissa) / 1024, exponent));  // a float16
    halves.push_back(uint16_t((15 + exponent) << 10 | mantissa));
    w.zero.push_back(has_zero ? pick(random, w.low, high) : 0);
    zeros.push_back(uint8_t(w.zero.back()));
  }

  lowbit_error error = {};
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  CHECK_EQ(lowbit_packed_size(&w.info, &w.size, &error), LOWBIT_OK);
  w.memory.reset(new Guarded(w.size));
  w.packed = w.memory->last<uint8_t>(w.size);  // sizes are multiples of 64, so this is aligned
  const void* scale = scale_type == LOWBIT_FLOAT16 ? static_cast<const void*>(halves.data()) : w.scale.data();
  CHECK_EQ(
      lowbit_pack_weights(&context, &w.info, bytes.data(), scale, has_zero ? zeros.data() : nullptr, w.packed, &error),
      LOWBIT_OK);

  std::vector<uint8_t> bytes_back(bytes.size(), 0xee), zeros_back(zeros.size(), 0xee);
  std::vector<uint16_t> halves_back(halves.size());
  std::vector<float> scale_back(w.scale.size());
  void* to_scale = scale_type == LOWBIT_FLOAT16 ? static_cast<void*>(halves_back.data()) : scale_back.data();
  CHECK_EQ(lowbit_unpack_weights(&context, w.packed, w.size, bytes_back.data(), to_scale, zeros_back.data(), &error),
           LOWBIT_OK);
  CHECK(bytes_back == bytes);
  if (scale_type == LOWBIT_FLOAT16) CHECK(halves_back == halves);
  if (scale_type == LOWBIT_FLOAT32) CHECK(scale_back == w.scale);
  if (has_zero) CHECK(zeros_back == zeros);
  return w;
}

// docs/numerics.md, "Activations quantized inside matmul": one group.
void quantize_group(const float* x, int64_t n, int* codes, float* scale) {
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(x[i]);
    most = std::max(most, std::fabs(x[i]));
  }
  *scale = finite ? most / 127.0f : std::numeric_limits<float>::quiet_NaN();
  for (int64_t i = 0; i < n; ++i) {
    codes[i] = *scale > 0 ? int(std::nearbyint(std::clamp(x[i] / *scale, -127.0f, 127.0f))) : 0;
  }
}

// "Matmul, compute int8": one row.
std::vector<float> row_int8(const Weights& w, const float* x, int64_t act, const std::vector<float>& bias) {
  const int64_t k = w.info.k, whole = std::max<int64_t>(k, 1);
  const int64_t weights_group = std::min(w.group, whole);
  act = act == 0 ? weights_group : act == -1 ? whole : std::min(act, whole);
  const int64_t group = std::min(act, weights_group);
  std::vector<int> codes(size_t(k) + 1);
  std::vector<float> scales;
  for (int64_t i = 0; i < k; i += act) {
    float scale;
    quantize_group(x + i, std::min(act, k - i), &codes[size_t(i)], &scale);
    scales.push_back(scale);
  }
  std::vector<float> out;
  for (int64_t n = 0; n < w.info.n; ++n) {
    float y = 0, acc = 0;
    const int64_t segment = std::max<int64_t>(1, 1024 / group);
    for (int64_t g = 0; g * group < k; ++g) {
      const int64_t param = n * w.groups + g * group / weights_group;
      int32_t sum = 0;
      for (int64_t i = g * group; i < std::min(k, (g + 1) * group); ++i) {
        sum += codes[size_t(i)] * (w.codes[size_t(n * k + i)] - w.zero[size_t(param)]);
      }
      float c = w.scale[size_t(param)];
      if (act < whole) c *= scales[size_t(g * group / act)];
      acc = std::fma(float(sum), c, g % segment == 0 ? 0.0f : acc);
      if (g % segment == segment - 1 || (g + 1) * group >= k) y = g < segment ? acc : y + acc;
    }
    if (act == whole && k > 0) y *= scales[0];
    out.push_back(bias.empty() ? y : y + bias[size_t(n)]);
  }
  return out;
}

// "Matmul, compute float32": one row.
std::vector<float> row_float32(const Weights& w, const float* x, const std::vector<float>& bias) {
  const int64_t k = w.info.k;
  std::vector<float> out;
  for (int64_t n = 0; n < w.info.n; ++n) {
    float y = 0, acc = 0;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t param = n * w.groups + i / w.group;
      const float weight = float(w.codes[size_t(n * k + i)] - w.zero[size_t(param)]) * w.scale[size_t(param)];
      acc = std::fma(x[i], weight, i % 1024 == 0 ? 0.0f : acc);
      if (i % 1024 == 1023 || i + 1 == k) y = i < 1024 ? acc : y + acc;
    }
    out.push_back(bias.empty() ? y : y + bias[size_t(n)]);
  }
  return out;
}

lowbit_status query(const lowbit_context* c, const lowbit_matmul_args* a, size_t* size, lowbit_error* error) {
  return lowbit_matmul_workspace(c, a, size, error);
}
lowbit_status query(const lowbit_context* c, const lowbit_matmul_int_args* a, size_t* size, lowbit_error* error) {
  return lowbit_matmul_int_workspace(c, a, size, error);
}
lowbit_status call(const lowbit_context* c, const lowbit_matmul_args* a, lowbit_error* error) {
  return lowbit_matmul(c, a, error);
}
lowbit_status call(const lowbit_context* c, const lowbit_matmul_int_args* a, lowbit_error* error) {
  return lowbit_matmul_int(c, a, error);
}

// Fills in weights, m, k and ldout, a dirty workspace of exactly the size asked for, and calls.
template <class Args>
void multiply(const lowbit::Kernels* kernels, const Weights& w, int64_t m, Args args) {
  const lowbit_context context = context_of(kernels);
  lowbit_error error = {};
  args.struct_size = sizeof args;
  args.weights = w.packed;
  args.weights_size = w.size;
  args.m = m;
  args.k = w.info.k;
  args.ldout = w.info.n;
  size_t size = 0;
  CHECK_EQ(query(&context, &args, &size, &error), LOWBIT_OK);
  const Guarded workspace(size);
  args.workspace = workspace.last<uint8_t>(size);
  args.workspace_size = size;
  std::memset(args.workspace, 0xff, size);
  CHECK_EQ(call(&context, &args, &error), LOWBIT_OK);
}

bool same(float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); }

struct Case {
  int bits;
  bool is_signed, has_zero;
  int64_t m, n, k, group, act;
  lowbit_compute compute;
  lowbit_type scale_type;

  std::string text() const {
    return (is_signed ? "int" : "uint") + std::to_string(bits) + (has_zero ? " zero" : "") + " m " + std::to_string(m) +
           " n " + std::to_string(n) + " k " + std::to_string(k) + " group " + std::to_string(group) + " act " +
           std::to_string(act) + (compute == LOWBIT_COMPUTE_INT8 ? " int8" : " float32");
  }
};

// All contents random, NaN and infinity in some rows.
void check_case(const Case& c, uint32_t seed) {
  std::mt19937 random(seed);
  Weights w = make_weights(random, c.is_signed ? LOWBIT_INT(c.bits) : LOWBIT_UINT(c.bits), c.n, c.k, c.group,
                           c.scale_type, c.has_zero);
  const Guarded x_memory(size_t(c.m * c.k) * 4 + 4), out_memory(size_t(c.m * c.n) * 4 + 4),
      bias_memory(size_t(c.n) * 4 + 4);
  float* const x = x_memory.last<float>(size_t(c.m * c.k));
  for (int64_t i = 0; i < c.m * c.k; ++i) x[i] = std::ldexp(float(int(random() % 4001) - 2000), -int(random() % 16));
  if (c.m > 2 && c.k > 0) x[c.k * 2 + int64_t(random() % uint32_t(c.k))] = INFINITY;
  if (c.m > 3 && c.k > 0) x[c.k * 3] = NAN;
  if (c.m > 4 && c.k > 0) std::fill(x + 4 * c.k, x + 5 * c.k, 0.0f);
  std::vector<float> bias;
  if (random() % 2) {
    for (int64_t i = 0; i < c.n; ++i) bias.push_back(float(int(random() % 100) - 50) / 7);
  }
  float* const bias_at = bias_memory.last<float>(size_t(c.n));
  std::copy(bias.begin(), bias.end(), bias_at);

  for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
    float* const out = out_memory.last<float>(size_t(c.m * c.n));
    std::memset(out, 0xff, size_t(c.m * c.n) * 4);
    lowbit_matmul_args args = {};
    args.x_type = LOWBIT_FLOAT32;
    args.x = x;
    args.ldx = c.k;
    args.compute = c.compute;
    args.act_group_size = c.act;
    args.bias = bias.empty() ? nullptr : bias_at;
    args.out = out;
    multiply(kernels, w, c.m, args);
    for (int64_t row = 0; row < c.m; ++row) {
      const std::vector<float> expected = c.compute == LOWBIT_COMPUTE_INT8 ? row_int8(w, x + row * c.k, c.act, bias)
                                                                           : row_float32(w, x + row * c.k, bias);
      for (int64_t n = 0; n < c.n; ++n) {
        if (!same(out[row * c.n + n], expected[size_t(n)])) {
          test::failed(__FILE__, __LINE__,
                       std::string(kernels->name) + ", " + c.text() + ": row " + std::to_string(row) + ", column " +
                           std::to_string(n) + ": " + test::show(out[row * c.n + n]) + ", expected " +
                           test::show(expected[size_t(n)]));
          return;
        }
      }
    }
  }
}

// Every width with every kind of group, at shapes with tails in all three directions.
void check_all(lowbit_compute compute) {
  uint32_t seed = compute == LOWBIT_COMPUTE_INT8 ? 1 : 1000;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int64_t group : {0, 32, 20, 96}) {
      for (const bool has_zero : {false, true}) {
        const bool is_signed = seed % 2;
        const lowbit_type type = seed % 3 ? LOWBIT_FLOAT16 : LOWBIT_FLOAT32;
        const int64_t act = compute == LOWBIT_COMPUTE_FLOAT32 || seed % 3 == 0 ? 0
                            : seed % 3 == 1                                    ? -1
                            : group == 20                                      ? 60
                                                                               : 96;
        check_case({bits, is_signed, has_zero, 1, 17, 200, group, act, compute, type}, ++seed);
        check_case({bits, is_signed, has_zero, 5, 33, 131, group, act, compute, type}, ++seed);
        check_case({bits, is_signed, has_zero, 13, 70, 99, group, act, compute, type}, ++seed);
      }
    }
  }
  for (const int64_t k : {0, 1, 3, 8, 31, 32, 33, 1024, 1025, 2085}) {
    check_case({4, true, false, 2, 5, k, 32, 0, compute, LOWBIT_FLOAT32}, ++seed);
    check_case({8, true, true, 9, 5, k, 0, 0, compute, LOWBIT_FLOAT16}, ++seed);
  }
  for (const int64_t m : {0, 1, 2, 7, 8, 9, 47, 48, 49, 97}) {
    check_case({3, true, false, m, 16, 64, 32, 0, compute, LOWBIT_FLOAT32}, ++seed);
    check_case({4, false, true, m, 3, 40, 0, 0, compute, LOWBIT_FLOAT32}, ++seed);
  }
}

TEST(matmul_int8_is_the_formula) { check_all(LOWBIT_COMPUTE_INT8); }
TEST(matmul_float32_is_the_formula) { check_all(LOWBIT_COMPUTE_FLOAT32); }

// Class 9, 10, 11, 12: every product at its extreme, all of one sign, as long as int32 lasts.
TEST(extreme_products_do_not_saturate) {
  for (const int64_t k : {int64_t{4}, int64_t{260}, int64_t{32768}}) {
    Case c = {8, true, false, 1, 3, k, 0, 0, LOWBIT_COMPUTE_INT8, LOWBIT_FLOAT32};
    check_case(c, 7);
    for (const int code : {-128, 127}) {
      for (const int a : {-128, 127}) {
        std::mt19937 random(1);
        Weights w = make_weights(random, LOWBIT_INT(8), 2, k, 0, LOWBIT_NONE, false);
        const std::vector<int8_t> codes(size_t(2 * k), int8_t(code)), left(static_cast<size_t>(k), int8_t(a));
        for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
          const lowbit_context context = context_of(kernels);
          lowbit_error error = {};
          CHECK_EQ(lowbit_pack_weights(&context, &w.info, codes.data(), nullptr, nullptr, w.packed, &error), LOWBIT_OK);
          int32_t out[2] = {};
          lowbit_matmul_int_args args = {};
          args.a_type = LOWBIT_INT8;
          args.a = left.data();
          args.lda = k;
          args.out = out;
          multiply(kernels, w, 1, args);
          CHECK_EQ(out[0], int32_t(k * code * a));
          CHECK_EQ(out[1], int32_t(k * code * a));
        }
      }
    }
  }
}

TEST(matmul_int_is_exact) {
  std::mt19937 random(3);
  for (const int64_t m : {1, 4, 6, 7, 50}) {
    for (const int64_t k : {1, 5, 8, 100, 300}) {
      const int64_t n = 1 + int64_t(random() % 70);
      const bool a_signed = random() % 2, b_signed = random() % 2;
      Weights w = make_weights(random, b_signed ? LOWBIT_INT(8) : LOWBIT_UINT(8), n, k, 0, LOWBIT_NONE, false);
      std::vector<int> a;
      const Guarded a_memory(size_t(m * k)), out_memory(size_t(m * n) * 4);
      uint8_t* const left = a_memory.last<uint8_t>(size_t(m * k));
      for (int64_t i = 0; i < m * k; ++i) {
        a.push_back(a_signed ? pick(random, -128, 127) : pick(random, 0, 255));
        left[i] = uint8_t(a.back());
      }
      std::vector<int32_t> a_zero, b_zero;
      if (random() % 3) {
        const int64_t count = random() % 2 ? 1 : m;
        for (int64_t i = 0; i < count; ++i) a_zero.push_back(pick(random, -200, 200));
      }
      if (random() % 3) {
        const int64_t count = random() % 2 ? 1 : n;
        for (int64_t i = 0; i < count; ++i) b_zero.push_back(pick(random, -200, 200));
      }
      for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
        int32_t* const out = out_memory.last<int32_t>(size_t(m * n));
        lowbit_matmul_int_args args = {};
        args.a_type = a_signed ? LOWBIT_INT8 : LOWBIT_UINT8;
        args.a = left;
        args.lda = k;
        args.a_zero_point = a_zero.empty() ? nullptr : a_zero.data();
        args.a_zero_point_count = int64_t(a_zero.size());
        args.b_zero_point = b_zero.empty() ? nullptr : b_zero.data();
        args.b_zero_point_count = int64_t(b_zero.size());
        args.out = out;
        multiply(kernels, w, m, args);
        bool right = true;
        for (int64_t i = 0; i < m * n; ++i) {
          const int64_t row = i / n, column = i % n;
          const int za = a_zero.empty() ? 0 : a_zero[a_zero.size() == 1 ? 0 : size_t(row)];
          const int zb = b_zero.empty() ? 0 : b_zero[b_zero.size() == 1 ? 0 : size_t(column)];
          int64_t sum = 0;
          for (int64_t j = 0; j < k; ++j) {
            sum += int64_t(a[size_t(row * k + j)] - za) * (w.codes[size_t(column * k + j)] - zb);
          }
          right = right && out[i] == int32_t(sum);
        }
        if (!right)
          test::failed(__FILE__, __LINE__,
                       std::string(kernels->name) + ": m " + std::to_string(m) + " k " + std::to_string(k));
      }
    }
  }
}

// 8-bit x with a scale and a zero point for each row: the same as the integers, scaled in the written order.
TEST(matmul_of_quantized_rows) {
  std::mt19937 random(5);
  for (const int bits : {4, 8}) {
    const int64_t m = 7, n = 21, k = 77;
    Weights w = make_weights(random, LOWBIT_UINT(bits), n, k, 0, LOWBIT_FLOAT16, true);
    std::vector<uint8_t> x;
    for (int64_t i = 0; i < m * k; ++i) x.push_back(uint8_t(pick(random, 0, 255)));
    std::vector<float> scale;
    std::vector<int32_t> zero;
    for (int64_t i = 0; i < m; ++i) {
      scale.push_back(0.01f * float(1 + random() % 50));
      zero.push_back(pick(random, 0, 255));
    }
    for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
      std::vector<float> out(size_t(m * n));
      lowbit_matmul_args args = {};
      args.x_type = LOWBIT_UINT8;
      args.x = x.data();
      args.ldx = k;
      args.x_scale = scale.data();
      args.x_scale_count = m;
      args.x_zero_point = zero.data();
      args.x_zero_point_count = m;
      args.out = out.data();
      multiply(kernels, w, m, args);
      for (int64_t i = 0; i < m * n; ++i) {
        int32_t sum = 0;
        for (int64_t j = 0; j < k; ++j) {
          sum += (int(x[size_t(i / n * k + j)]) - zero[size_t(i / n)]) *
                 (w.codes[size_t(i % n * k + j)] - w.zero[size_t(i % n)]);
        }
        const float product = float(sum) * w.scale[size_t(i % n)];
        CHECK_EQ(out[size_t(i)], product * scale[size_t(i / n)]);
      }
    }
  }
}

// Activation functions have the same bits everywhere and are near the true ones.
TEST(activation_functions) {
  const int64_t k = 1, n = 4001;
  std::mt19937 random(9);
  Weights w = make_weights(random, LOWBIT_INT(8), n, k, 0, LOWBIT_FLOAT32, false);
  std::vector<float> bias;
  for (int64_t i = 0; i < n; ++i) bias.push_back(float(i - 2000) / 100);
  const float x = 0;
  for (const auto activation : {LOWBIT_RELU, LOWBIT_GELU, LOWBIT_GELU_TANH, LOWBIT_SILU}) {
    std::vector<float> first;
    for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
      std::vector<float> out(static_cast<size_t>(n));
      lowbit_matmul_args args = {};
      args.x_type = LOWBIT_FLOAT32;
      args.x = &x;
      args.bias = bias.data();
      args.activation = activation;
      args.out = out.data();
      multiply(kernels, w, 1, args);
      if (first.empty()) first = out;
      CHECK(std::memcmp(first.data(), out.data(), out.size() * 4) == 0);
      for (int64_t i = 0; i < n; ++i) {
        const double v = bias[size_t(i)];
        const double u = 0.7978845608028654 * (v + 0.044715 * v * v * v);
        const double expected = activation == LOWBIT_RELU        ? std::max(v, 0.0)
                                : activation == LOWBIT_SILU      ? v / (1 + std::exp(-v))
                                : activation == LOWBIT_GELU_TANH ? v / (1 + std::exp(-2 * u))
                                                                 : 0.5 * v * std::erfc(-v / 1.4142135623730951);
        CHECK(std::fabs(out[size_t(i)] - expected) <= 4e-7 * (std::fabs(expected) + 0.01));
      }
    }
  }
}

}  // namespace
