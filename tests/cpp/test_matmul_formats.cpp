// lowbit_matmul with weights that are no plain integers: floats, tables, scales of every type, zero points that are
// floats; on every ISA and on the emulated lanes, bit for bit against docs/numerics.md written out. Operands end at
// guard pages (reliability.md: 1, 3, 8, 17, 30).
#include <cstring>
#include <string>
#include <vector>

#include "weights.hpp"

namespace {

using namespace test;

constexpr lowbit_type kScaleTypes[] = {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E8M0FNU,
                                       LOWBIT_FLOAT8_E4M3FN};
constexpr lowbit_compute kComputes[] = {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_FLOAT32};

std::vector<lowbit_format_info> formats() {
  std::vector<lowbit_format_info> all;
  for (int i = 0; const char* name = lowbit_format_name(i); ++i) {
    lowbit_format format;
    lowbit_format_info info = {};
    info.struct_size = sizeof info;
    CHECK_EQ(lowbit_format_by_name(name, &format, nullptr), LOWBIT_OK);
    CHECK_EQ(lowbit_format_describe(format, &info, nullptr), LOWBIT_OK);
    all.push_back(info);
  }
  return all;
}

bool takes(const lowbit_format_info& format, lowbit_compute compute) {
  return compute == LOWBIT_COMPUTE_FLOAT32 || format.kind == LOWBIT_KIND_INTEGER || format.bits == 4;
}

lowbit_weights_info weights(lowbit_format format, int64_t n, int64_t k, int64_t group, lowbit_type scale_type,
                            float global_scale, lowbit_type zero_type) {
  return weights_info(format, n, k, group, scale_type, zero_type, global_scale);
}

// Every format x scale type x compute; M, N, K, groups and the global scale go round.
TEST(every_format_and_scale_type) {
  uint32_t seed = 1;
  for (const lowbit_format_info& format : formats()) {
    for (const lowbit_type scale_type : kScaleTypes) {
      for (const lowbit_compute compute : kComputes) {
        if (!takes(format, compute)) continue;
        for (const int64_t m : {1, 3, 9}) {
          const int64_t n = m == 1 ? 17 : m == 3 ? 35 : 70, k = m == 1 ? 131 : m == 3 ? 99 : 77;
          const int64_t group = seed % 4 == 0 ? 0 : seed % 4 == 1 ? 32 : seed % 4 == 2 ? 16 : 20;
          const int64_t act = compute == LOWBIT_COMPUTE_INT8 && seed % 5 == 0 ? -1 : 0;
          const float global_scale = seed % 3 == 0 ? 0.0f : 0.37f;
          check_case({weights(format.format, n, k, group, scale_type, global_scale, LOWBIT_NONE), m, act, compute},
                     ++seed);
        }
      }
    }
  }
}

// Rows of more than one segment, and more rows than the path for few of them takes.
TEST(long_rows_and_many_rows) {
  uint32_t seed = 5000;
  for (const lowbit_format format : {LOWBIT_FORMAT_NF4, LOWBIT_FORMAT_NVFP4, LOWBIT_FORMAT_MXFP4, LOWBIT_FORMAT_E4M3FN,
                                     LOWBIT_FORMAT_MXFP6_E3M2, LOWBIT_FORMAT_BFLOAT16}) {
    for (const lowbit_compute compute : kComputes) {
      if (compute == LOWBIT_COMPUTE_INT8 && format != LOWBIT_FORMAT_NF4 && format != LOWBIT_FORMAT_NVFP4 &&
          format != LOWBIT_FORMAT_MXFP4) {
        continue;
      }
      for (const int64_t m : {8, 33, 50}) {
        check_case({weights(format, 5, 2085, 64, LOWBIT_BFLOAT16, 0, LOWBIT_NONE), m, 0, compute}, ++seed);
      }
      for (const int64_t k : {0, 1, 7, 1024, 1025}) {
        check_case({weights(format, 18, k, 16, LOWBIT_FLOAT8_E4M3FN, 3, LOWBIT_NONE), 2, 0, compute}, ++seed);
      }
    }
  }
}

// Zero points that are floats: every width, type and kind of group; activation groups below, at and above the weights'.
TEST(float_zero_points) {
  uint32_t seed = 9000;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const lowbit_type zero_type : {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16}) {
      for (const lowbit_compute compute : kComputes) {
        for (const int64_t m : {1, 3, 13}) {
          const int64_t group = seed % 3 == 0 ? 0 : 64;
          const int64_t act = compute == LOWBIT_COMPUTE_FLOAT32 || seed % 4 == 0 ? 0
                              : seed % 4 == 1                                    ? -1
                              : seed % 4 == 2                                    ? 32
                                                                                 : 128;
          const lowbit_format format = seed % 2 ? LOWBIT_INT(bits) : LOWBIT_UINT(bits);
          check_case({weights(format, m == 1 ? 17 : 37, group == 0 ? 64 * m : 131, group, kScaleTypes[seed % 5],
                              seed % 2 ? 0.0f : 1.5f, zero_type),
                      m, group == 0 && act > 0 ? -1 : act, compute},
                     seed);
          ++seed;
        }
      }
    }
  }
  // more than 1024 groups: two segments of zero points; and no k
  check_case(
      {weights(LOWBIT_UINT(4), 3, 1040 * 8 + 5, 8, LOWBIT_FLOAT16, 0, LOWBIT_FLOAT32), 2, 0, LOWBIT_COMPUTE_INT8},
      ++seed);
  check_case(
      {weights(LOWBIT_UINT(4), 3, 1040 * 8 + 5, 8, LOWBIT_FLOAT16, 0, LOWBIT_FLOAT32), 9, 0, LOWBIT_COMPUTE_INT8},
      ++seed);
  check_case({weights(LOWBIT_UINT(4), 3, 0, 8, LOWBIT_FLOAT16, 0, LOWBIT_FLOAT32), 2, 0, LOWBIT_COMPUTE_INT8}, ++seed);
}

// 8-bit x with a zero point for each row meets tables as it meets integers.
TEST(quantized_rows_and_tables) {
  std::mt19937 random(5);
  const int64_t n = 21, k = 77;
  const Weights w = make_weights(random, weights(LOWBIT_FORMAT_E2M1FN, n, k, 0, LOWBIT_FLOAT16, 0, LOWBIT_NONE));
  for (const int64_t m : {3, 11}) {
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
          sum += (int(x[size_t(i / n * k + j)]) - zero[size_t(i / n)]) * w.int8(w.codes[size_t(i % n * k + j)]);
        }
        CHECK_EQ(out[size_t(i)], float(sum) * (w.scale[size_t(i % n)] * 0.5f) * scale[size_t(i / n)]);
      }
    }
  }
}

// ---- what is refused, and how -----------------------------------------------------------------------------------

void expect(lowbit_status got, lowbit_status status, const lowbit_error& error, const std::vector<std::string>& words) {
  CHECK_EQ(got, status);
  for (const std::string& word : words) {
    if (std::string(error.message).find(word) == std::string::npos) {
      failed(__FILE__, __LINE__, word + " is not in: " + error.message);
    }
  }
}

lowbit_status size_of(const lowbit_weights_info& info, lowbit_error* error) {
  size_t size = 0;
  return lowbit_packed_size(&info, &size, error);
}

TEST(descriptions_that_mean_nothing) {
  lowbit_error error = {};
  const lowbit_type f32 = LOWBIT_FLOAT32, none = LOWBIT_NONE;
  expect(size_of(weights(LOWBIT_INT(4), 1, 1, 0, LOWBIT_FLOAT8_E5M2, 0, none), &error), LOWBIT_INVALID_TYPE, error,
         {"scale_type", "7", "LOWBIT_BFLOAT16"});
  for (const float bad : {-1.0f, INFINITY, NAN}) {
    expect(size_of(weights(LOWBIT_INT(4), 1, 1, 0, f32, bad, none), &error), LOWBIT_INVALID_VALUE, error,
           {"global_scale"});
  }
  expect(size_of(weights(LOWBIT_INT(4), 1, 1, 0, none, 2, none), &error), LOWBIT_INVALID_VALUE, error,
         {"global_scale", "2", "without scales"});
  expect(size_of(weights(LOWBIT_INT(4), 1, 1, 0, f32, 0, LOWBIT_UINT8), &error), LOWBIT_INVALID_TYPE, error,
         {"zero_type", "4", "LOWBIT_INT8"});
  expect(size_of(weights(LOWBIT_FORMAT_NF4, 1, 1, 0, f32, 0, LOWBIT_FLOAT32), &error), LOWBIT_INVALID_VALUE, error,
         {"zero_type", "nf4"});
  expect(size_of(weights(999, 1, 1, 0, f32, 0, none), &error), LOWBIT_INVALID_VALUE, error, {"format", "999"});
}

TEST(an_older_layout_is_named) {
  std::mt19937 random(1);
  const Weights w = make_weights(random, weights(LOWBIT_INT(4), 0, 0, 0, LOWBIT_FLOAT32, 0, LOWBIT_NONE));
  const uint32_t version = 1;
  std::memcpy(static_cast<uint8_t*>(w.packed) + 12, &version, 4);
  for (const size_t size : {size_t(64), w.size}) {
    lowbit_weights_info info = {};
    info.struct_size = sizeof info;
    lowbit_error error = {};
    expect(lowbit_packed_describe(w.packed, size, &info, &error), LOWBIT_INVALID_VALUE, error,
           {"layout 1 version 1", "reads layout 1 version 2"});
  }
  const uint32_t now = 2;
  std::memcpy(static_cast<uint8_t*>(w.packed) + 12, &now, 4);
  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  lowbit_error error = {};
  for (const size_t size : {size_t(0), size_t(15), size_t(64), size_t(127)}) {
    expect(lowbit_packed_describe(w.packed, size, &info, &error), LOWBIT_INVALID_VALUE, error, {"packed"});
  }
}

TEST(products_that_mean_nothing) {
  std::mt19937 random(2);
  lowbit_context context;
  lowbit_error error = {};
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  const auto plan = [&](const Weights& w, lowbit_type x_type, lowbit_compute compute) {
    lowbit_matmul_args args = {};
    args.struct_size = sizeof args;
    args.weights = w.packed;
    args.weights_size = w.size;
    args.m = 1;
    args.k = w.info.k;
    args.x_type = x_type;
    args.x_scale_count = 1;
    args.compute = compute;
    size_t size = 0;
    return lowbit_matmul_workspace(&context, &args, &size, &error);
  };
  for (const lowbit_format format : {LOWBIT_FORMAT_E4M3FN, LOWBIT_FORMAT_E2M3FN, LOWBIT_FORMAT_FLOAT16}) {
    const Weights w = make_weights(random, weights(format, 2, 9, 0, LOWBIT_FLOAT32, 0, LOWBIT_NONE));
    expect(plan(w, LOWBIT_FLOAT32, LOWBIT_COMPUTE_INT8), LOWBIT_INVALID_VALUE, error, {"compute", w.name, "float32"});
    expect(plan(w, LOWBIT_INT8, LOWBIT_COMPUTE_INT8), LOWBIT_INVALID_VALUE, error, {"compute", w.name, "8-bit x"});
  }
  const Weights zeros = make_weights(random, weights(LOWBIT_UINT(8), 2, 9, 0, LOWBIT_FLOAT32, 0, LOWBIT_FLOAT32));
  expect(plan(zeros, LOWBIT_UINT8, LOWBIT_COMPUTE_INT8), LOWBIT_INVALID_VALUE, error, {"x_zero_point", "floats"});
  CHECK_EQ(plan(zeros, LOWBIT_INT8, LOWBIT_COMPUTE_INT8), LOWBIT_OK);

  const Weights floats = make_weights(random, weights(LOWBIT_FORMAT_E4M3FN, 2, 9, 0, LOWBIT_FLOAT32, 0, LOWBIT_NONE));
  lowbit_matmul_int_args args = {};
  args.struct_size = sizeof args;
  args.weights = floats.packed;
  args.weights_size = floats.size;
  args.m = 1;
  args.k = 9;
  args.a_type = LOWBIT_INT8;
  size_t size = 0;
  expect(lowbit_matmul_int_workspace(&context, &args, &size, &error), LOWBIT_INVALID_VALUE, error,
         {"weights", "float8_e4m3fn", "int8 or uint8"});
}

}  // namespace
