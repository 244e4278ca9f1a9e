// lowbit_matmul and lowbit_matmul_int on every ISA and on the emulated lanes, bit for bit against docs/numerics.md
// written out (reliability.md: 1, 2, 3, 9, 10, 11, 12, 17, 30). Operands end at guard pages.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "weights.hpp"

namespace {

using namespace test;

// Integers with or without zero points of their own.
lowbit_weights_info integers(int bits, bool is_signed, bool has_zero, int64_t n, int64_t k, int64_t group,
                             lowbit_type scale_type) {
  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  info.format = is_signed ? LOWBIT_INT(bits) : LOWBIT_UINT(bits);
  info.n = n;
  info.k = k;
  info.group_size = group;
  info.scale_type = scale_type;
  info.zero_type = !has_zero ? LOWBIT_NONE : is_signed ? LOWBIT_INT8 : LOWBIT_UINT8;
  return info;
}

// Every width with every kind of group, at shapes with tails in all three directions.
void check_all(lowbit_compute compute) {
  uint32_t seed = 1 + 1000 * uint32_t(compute);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int64_t group : {0, 32, 20, 96}) {
      for (const bool has_zero : {false, true}) {
        const bool is_signed = seed % 2;
        const lowbit_type type = seed % 3 ? LOWBIT_FLOAT16 : LOWBIT_FLOAT32;
        const int64_t act = compute == LOWBIT_COMPUTE_FLOAT32 || seed % 3 == 0 ? 0
                            : seed % 3 == 1                                    ? -1
                            : group == 20                                      ? 60
                                                                               : 96;
        check_case({integers(bits, is_signed, has_zero, 17, 200, group, type), 1, act, compute}, ++seed);
        check_case({integers(bits, is_signed, has_zero, 33, 131, group, type), 5, act, compute}, ++seed);
        check_case({integers(bits, is_signed, has_zero, 70, 99, group, type), 13, act, compute}, ++seed);
      }
    }
  }
  for (const int64_t k : {0, 1, 3, 8, 31, 32, 33, 1024, 1025, 2085}) {
    check_case({integers(4, true, false, 5, k, 32, LOWBIT_FLOAT32), 2, 0, compute}, ++seed);
    check_case({integers(8, true, true, 5, k, 0, LOWBIT_FLOAT16), 9, 0, compute}, ++seed);
  }
  for (const int64_t m : {0, 1, 2, 7, 8, 9, 47, 48, 49, 97}) {
    check_case({integers(3, true, false, 16, 64, 32, LOWBIT_FLOAT32), m, 0, compute}, ++seed);
    check_case({integers(4, false, true, 3, 40, 0, LOWBIT_FLOAT32), m, 0, compute}, ++seed);
  }
}

TEST(matmul_int8_is_the_formula) { check_all(LOWBIT_COMPUTE_INT8); }
TEST(matmul_int8x2_is_the_formula) { check_all(LOWBIT_COMPUTE_INT8X2); }
TEST(matmul_float32_is_the_formula) { check_all(LOWBIT_COMPUTE_FLOAT32); }

// Class 9, 10, 11, 12: every product at its extreme, all of one sign, as long as int32 lasts.
TEST(extreme_products_do_not_saturate) {
  for (const int64_t k : {int64_t{4}, int64_t{260}, int64_t{32768}}) {
    Case c = {integers(8, true, false, 3, k, 0, LOWBIT_FLOAT32), 1, 0, LOWBIT_COMPUTE_INT8};
    check_case(c, 7);
    for (const int code : {-128, 127}) {
      for (const int a : {-128, 127}) {
        std::mt19937 random(1);
        Weights w = make_weights(random, integers(8, true, false, 2, k, 0, LOWBIT_NONE));
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
      Weights w = make_weights(random, integers(8, b_signed, false, n, k, 0, LOWBIT_NONE));
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
    Weights w = make_weights(random, integers(bits, false, true, n, k, 0, LOWBIT_FLOAT16));
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
                 (w.codes[size_t(i % n * k + j)] - int(w.zero[size_t(i % n)]));
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
  Weights w = make_weights(random, integers(8, true, false, n, k, 0, LOWBIT_FLOAT32));
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
