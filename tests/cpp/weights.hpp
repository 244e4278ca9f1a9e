// docs/numerics.md written out for packed weights of any format, and products to compare with it, bit for bit.
#pragma once

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

namespace test {

// A context of kernels that dispatch may not know; items run one by one, the last first, as if by 3 threads.
inline lowbit_context context_of(const lowbit::Kernels* kernels) {
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

// ---- numbers of codes -------------------------------------------------------------------------------------------

// A float of `bits` with a sign: its bias, and which of its codes are no numbers.
struct Small {
  int bits, mantissa, bias;
  enum { kIeee, kLastIsNan, kAllFinite, kFnuz } special;

  float value(int code) const {
    const int magnitude = code & ((1 << (bits - 1)) - 1), exponent = magnitude >> mantissa;
    const int fraction = magnitude & ((1 << mantissa) - 1), top = (1 << (bits - 1 - mantissa)) - 1;
    const float sign = code >> (bits - 1) ? -1.0f : 1.0f;
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    if (special == kFnuz && code == 1 << (bits - 1)) return kNan;
    if (special == kIeee && exponent == top) return fraction ? kNan : sign * INFINITY;
    if (special == kLastIsNan && magnitude == (1 << (bits - 1)) - 1) return kNan;
    const float value = exponent == 0 ? std::ldexp(float(fraction), 1 - bias - mantissa)
                                      : std::ldexp(float(fraction + (1 << mantissa)), exponent - bias - mantissa);
    return sign * value;
  }
};

inline const Small* small_float(lowbit_format format) {
  static const Small kHalf = {16, 10, 15, Small::kIeee}, kBfloat = {16, 7, 127, Small::kIeee};
  static const Small kE4m3fn = {8, 3, 7, Small::kLastIsNan}, kE5m2 = {8, 2, 15, Small::kIeee};
  static const Small kE4m3fnuz = {8, 3, 8, Small::kFnuz}, kE5m2fnuz = {8, 2, 16, Small::kFnuz};
  static const Small kE4m3 = {8, 3, 7, Small::kIeee}, kE3m4 = {8, 4, 3, Small::kIeee};
  static const Small kE4m3b11fnuz = {8, 3, 11, Small::kFnuz};
  static const Small kE2m3 = {6, 3, 1, Small::kAllFinite}, kE3m2 = {6, 2, 3, Small::kAllFinite};
  static const Small kE2m1 = {4, 1, 1, Small::kAllFinite};
  switch (format) {
    case LOWBIT_FORMAT_FLOAT16: return &kHalf;
    case LOWBIT_FORMAT_BFLOAT16: return &kBfloat;
    case LOWBIT_FORMAT_E4M3FN:
    case LOWBIT_FORMAT_MXFP8_E4M3: return &kE4m3fn;
    case LOWBIT_FORMAT_E5M2:
    case LOWBIT_FORMAT_MXFP8_E5M2: return &kE5m2;
    case LOWBIT_FORMAT_E4M3FNUZ: return &kE4m3fnuz;
    case LOWBIT_FORMAT_E5M2FNUZ: return &kE5m2fnuz;
    case LOWBIT_FORMAT_E4M3: return &kE4m3;
    case LOWBIT_FORMAT_E3M4: return &kE3m4;
    case LOWBIT_FORMAT_E4M3B11FNUZ: return &kE4m3b11fnuz;
    case LOWBIT_FORMAT_E2M3FN:
    case LOWBIT_FORMAT_MXFP6_E2M3: return &kE2m3;
    case LOWBIT_FORMAT_E3M2FN:
    case LOWBIT_FORMAT_MXFP6_E3M2: return &kE3m2;
    case LOWBIT_FORMAT_E2M1FN:
    case LOWBIT_FORMAT_MXFP4:
    case LOWBIT_FORMAT_NVFP4: return &kE2m1;
    default: return nullptr;
  }
}

// The tables as the C functions decode them; tests/test_reference.py compares those with their sources.
inline std::vector<float> table_of(lowbit_format format) {
  lowbit_context context;
  lowbit_context_init(&context, nullptr, nullptr);
  const uint8_t codes[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
  const float one = 1;
  std::vector<float> out(16);
  lowbit_dequantize_args args = {};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = {1, 16, 16, 1, 1};
  args.codes = codes;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = &one;
  args.out = out.data();
  CHECK_EQ(lowbit_dequantize(&context, &args, nullptr), LOWBIT_OK);
  return out;
}

// ---- weights ----------------------------------------------------------------------------------------------------

inline lowbit_weights_info weights_info(lowbit_format format, int64_t n, int64_t k, int64_t group,
                                        lowbit_type scale_type, lowbit_type zero_type, float global_scale = 0) {
  return {sizeof(lowbit_weights_info), format, n, k, group, scale_type, global_scale, zero_type, 0};
}

struct Weights {
  lowbit_weights_info info;
  std::string name;
  int bits, low, steps;  // of a code: its width, the least one; what compute int8 multiplies numbers by
  bool is_integer;
  int64_t group, groups;
  std::vector<int> codes;      // n x k
  std::vector<float> numbers;  // by code - low
  std::vector<float> scale;    // n x groups, without the global scale
  std::vector<float> zero;     // n x groups each
  std::unique_ptr<Guarded> memory;
  void* packed = nullptr;
  size_t size = 0;

  bool float_zeros() const {
    return info.zero_type != LOWBIT_NONE && info.zero_type != LOWBIT_INT8 && info.zero_type != LOWBIT_UINT8;
  }
  float number(int code) const { return numbers[size_t(code - low)]; }
  int int8(int code) const { return is_integer ? code : int(std::nearbyint(number(code) * float(steps))); }
  float global_scale() const { return info.global_scale == 0 ? 1.0f : info.global_scale; }
};

template <class Random>
int pick(Random& random, int low, int high) {  // a third of all values are extremes
  const uint32_t r = random();
  return r % 6 == 0 ? low : r % 6 == 1 ? high : low + int(random() % uint32_t(high - low + 1));
}

// `bytes` bytes of a little-endian value, appended.
inline void append(std::vector<uint8_t>* to, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to->push_back(uint8_t(value >> (8 * i)));
}

// A random float of `type` with the given exponent and sign: appends its code.
template <class Random>
float random_float(Random& random, lowbit_type type, int exponent, bool negative, std::vector<uint8_t>* codes) {
  const int mantissa_bits = type == LOWBIT_FLOAT8_E8M0FNU ? 0 : type == LOWBIT_FLOAT8_E4M3FN ? 3 : 7;
  const int mantissa = int(random() % (1u << mantissa_bits));
  const float magnitude = std::ldexp(1.0f + std::ldexp(float(mantissa), -mantissa_bits), exponent);
  const float value = negative ? -magnitude : magnitude;
  uint32_t single;
  std::memcpy(&single, &value, 4);
  switch (type) {
    case LOWBIT_FLOAT32: append(codes, single, 4); break;
    case LOWBIT_FLOAT16:
      append(codes, uint32_t(negative) << 15 | uint32_t((15 + exponent) << 10 | mantissa << 3), 2);
      break;
    case LOWBIT_BFLOAT16: append(codes, single >> 16, 2); break;
    case LOWBIT_FLOAT8_E8M0FNU: append(codes, uint32_t(127 + exponent), 1); break;
    default: append(codes, uint32_t(negative) << 7 | uint32_t((7 + exponent) << 3 | mantissa), 1); break;
  }
  return value;
}

// Random codes, scales and zero points, packed against a guard page; what they unpack to is checked.
template <class Random>
Weights make_weights(Random& random, const lowbit_weights_info& info) {
  Weights w;
  w.info = info;
  lowbit_format_info format = {};
  format.struct_size = sizeof format;
  lowbit_error error = {};
  CHECK_EQ(lowbit_format_describe(info.format, &format, &error), LOWBIT_OK);
  w.name = format.name;
  w.bits = format.bits;
  w.is_integer = format.kind == LOWBIT_KIND_INTEGER;
  w.low = w.is_integer ? format.qmin : 0;
  const int high = w.is_integer ? format.qmax : (1 << w.bits) - 1;
  w.steps = w.is_integer || w.bits != 4        ? 1
            : info.format == LOWBIT_FORMAT_NF4 ? 124
            : info.format == LOWBIT_FORMAT_FP4 ? 120
                                               : 2;
  if (format.kind == LOWBIT_KIND_TABLE) {
    w.numbers = table_of(info.format);
  } else {
    const Small* small = small_float(info.format);
    for (int code = w.low; code <= high; ++code) w.numbers.push_back(small ? small->value(code) : float(code));
  }
  const int64_t n = info.n, k = info.k;
  w.group = info.group_size == 0 ? std::max<int64_t>(k, 1) : info.group_size;
  w.groups = k == 0 ? 1 : (k + w.group - 1) / w.group;

  const int64_t row_bytes = (k * w.bits + 7) / 8;
  std::vector<uint8_t> bytes(size_t(n * row_bytes));
  for (int64_t i = 0; i < n * k; ++i) {
    int code = pick(random, w.low, high);
    // NaN and infinities in one column only: in each they would hide everything else
    if (i / k != 2 && !std::isfinite(w.number(code))) code = int(random() % 64);
    w.codes.push_back(code);
    for (int bit = 0; bit < w.bits; ++bit) {
      const int64_t at = i % k * w.bits + bit;
      bytes[size_t(i / k * row_bytes + at / 8)] |= uint8_t((code >> bit & 1) << (at % 8));
    }
  }
  std::vector<uint8_t> scales, zeros;
  for (int64_t i = 0; i < n * w.groups; ++i) {
    if (info.scale_type != LOWBIT_NONE)
      w.scale.push_back(random_float(random, info.scale_type, -int(random() % 6), false, &scales));
    if (w.float_zeros()) {
      w.zero.push_back(random_float(random, info.zero_type, int(random() % 5) - 1, random() % 2, &zeros));
    } else {
      w.zero.push_back(info.zero_type == LOWBIT_NONE ? 0.0f : float(pick(random, w.low, high)));
      zeros.push_back(uint8_t(int(w.zero.back())));
    }
  }

  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, &error), LOWBIT_OK);
  CHECK_EQ(lowbit_packed_size(&w.info, &w.size, &error), LOWBIT_OK);
  w.memory.reset(new Guarded(w.size));
  w.packed = w.memory->last<uint8_t>(w.size);  // sizes are multiples of 64, so this is aligned
  const bool has_zero = info.zero_type != LOWBIT_NONE;
  CHECK_EQ(lowbit_pack_weights(&context, &w.info, bytes.data(), scales.data(), has_zero ? zeros.data() : nullptr,
                               w.packed, &error),
           LOWBIT_OK);

  std::vector<uint8_t> bytes_back(bytes.size(), 0xee), scales_back(scales.size(), 0xee), zeros_back(zeros.size(), 0xee);
  CHECK_EQ(lowbit_unpack_weights(&context, w.packed, w.size, bytes_back.data(), scales_back.data(), zeros_back.data(),
                                 &error),
           LOWBIT_OK);
  CHECK(bytes_back == bytes);
  CHECK(scales_back == scales);
  if (has_zero) CHECK(zeros_back == zeros);
  lowbit_weights_info read = {};
  read.struct_size = sizeof read;
  CHECK_EQ(lowbit_packed_describe(w.packed, w.size, &read, &error), LOWBIT_OK);
  CHECK_EQ(read.format, info.format);
  CHECK_EQ(read.scale_type, info.scale_type);
  CHECK_EQ(read.global_scale, info.global_scale);
  CHECK_EQ(read.zero_type, info.zero_type);
  return w;
}

// ---- the formulas -----------------------------------------------------------------------------------------------

// docs/numerics.md, "Activations quantized inside matmul": one group.
inline void quantize_group(const float* x, int64_t n, int* codes, float* scale) {
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

// "Matmul, compute int8x2": what the codes of one group leave of it.
inline void quantize_rest(const float* x, int64_t n, int* codes, float* scale) {
  for (int64_t i = 0; i < n; ++i) {
    const float rest = std::clamp(x[i] / *scale, -127.0f, 127.0f) - float(codes[i]);
    codes[i] = *scale > 0 ? int(std::nearbyint(rest * 254.0f)) : 0;
  }
  *scale /= 254.0f;
}

// "Matmul, compute int8", steps 1 to 4: one row. second: of the second terms of int8x2.
inline std::vector<float> row_codes(const Weights& w, const float* x, int64_t act, bool second) {
  const int64_t k = w.info.k, whole = std::max<int64_t>(k, 1);
  const int64_t weights_group = std::min(w.group, whole);
  act = act == 0 ? weights_group : act == -1 ? whole : std::min(act, whole);
  const int64_t group = std::min(act, weights_group);
  std::vector<int> codes(size_t(k) + 1);
  std::vector<float> scales;
  for (int64_t i = 0; i < k; i += act) {
    float scale;
    quantize_group(x + i, std::min(act, k - i), &codes[size_t(i)], &scale);
    if (second) quantize_rest(x + i, std::min(act, k - i), &codes[size_t(i)], &scale);
    scales.push_back(scale);
  }
  const float unit = w.global_scale() / float(w.steps);
  std::vector<float> out;
  for (int64_t n = 0; n < w.info.n; ++n) {
    const auto param = [&](int64_t g) { return size_t(n * w.groups + g * group / weights_group); };
    float y = 0, acc = 0;
    const int64_t segment = std::max<int64_t>(1, 1024 / group), groups = (k + group - 1) / group;
    for (int64_t g = 0; g < groups; ++g) {
      const int zero = w.float_zeros() ? 0 : int(w.zero[param(g)]);
      int32_t sum = 0;
      for (int64_t i = g * group; i < std::min(k, (g + 1) * group); ++i) {
        sum += codes[size_t(i)] * (w.int8(w.codes[size_t(n * k + i)]) - zero);
      }
      float c = w.scale[param(g)] * unit;
      if (act < whole) c *= scales[size_t(g * group / act)];
      acc = std::fma(float(sum), c, g % segment == 0 ? 0.0f : acc);
      if (g % segment == segment - 1 || g + 1 == groups) y = g < segment ? acc : y + acc;
    }
    for (int64_t g = 0; w.float_zeros() && g < groups; ++g) {
      int32_t sum = 0;
      for (int64_t i = g * group; i < std::min(k, (g + 1) * group); ++i) sum += codes[size_t(i)];
      const float t = act < whole ? float(sum) * scales[size_t(g * group / act)] : float(sum);
      acc = std::fma(t, -(w.zero[param(g)] * (w.scale[param(g)] * unit)), g % 1024 == 0 ? 0.0f : acc);
      if (g % 1024 == 1023 || g + 1 == groups) y += acc;
    }
    if (act == whole && k > 0) y *= scales[0];
    out.push_back(y);
  }
  return out;
}

// "Matmul, compute int8" and "int8x2": one row.
inline std::vector<float> row_int8(const Weights& w, const float* x, int64_t act, int terms,
                                   const std::vector<float>& bias) {
  std::vector<float> out = row_codes(w, x, act, false);
  const std::vector<float> second = terms == 2 ? row_codes(w, x, act, true) : std::vector<float>();
  for (size_t n = 0; n < out.size(); ++n) {
    if (terms == 2) out[n] += second[n];
    if (!bias.empty()) out[n] += bias[n];
  }
  return out;
}

// "Matmul, compute float32": one row.
inline std::vector<float> row_float32(const Weights& w, const float* x, const std::vector<float>& bias) {
  const int64_t k = w.info.k;
  std::vector<float> out;
  for (int64_t n = 0; n < w.info.n; ++n) {
    float y = 0, acc = 0;
    for (int64_t i = 0; i < k; ++i) {
      const size_t param = size_t(n * w.groups + i / w.group);
      const float difference = w.number(w.codes[size_t(n * k + i)]) - w.zero[param];  // of integers: exact
      const float weight = difference * (w.scale[param] * w.global_scale());
      acc = std::fma(x[i], weight, i % 1024 == 0 ? 0.0f : acc);
      if (i % 1024 == 1023 || i + 1 == k) y = i < 1024 ? acc : y + acc;
    }
    out.push_back(bias.empty() ? y : y + bias[size_t(n)]);
  }
  return out;
}

// ---- products ---------------------------------------------------------------------------------------------------

inline lowbit_status query(const lowbit_context* c, const lowbit_matmul_args* a, size_t* size, lowbit_error* error) {
  return lowbit_matmul_workspace(c, a, size, error);
}
inline lowbit_status query(const lowbit_context* c, const lowbit_matmul_int_args* a, size_t* size,
                           lowbit_error* error) {
  return lowbit_matmul_int_workspace(c, a, size, error);
}
inline lowbit_status call(const lowbit_context* c, const lowbit_matmul_args* a, lowbit_error* error) {
  return lowbit_matmul(c, a, error);
}
inline lowbit_status call(const lowbit_context* c, const lowbit_matmul_int_args* a, lowbit_error* error) {
  return lowbit_matmul_int(c, a, error);
}

// Fills in weights, m, k and ldout (0: n), a dirty workspace of exactly the size asked for, and calls.
template <class Args>
void multiply(const lowbit::Kernels* kernels, const Weights& w, int64_t m, Args args, int64_t ldout = 0) {
  const lowbit_context context = context_of(kernels);
  lowbit_error error = {};
  args.struct_size = sizeof args;
  args.weights = w.packed;
  args.weights_size = w.size;
  args.m = m;
  args.k = w.info.k;
  args.ldout = ldout ? ldout : w.info.n;
  size_t size = 0;
  CHECK_EQ(query(&context, &args, &size, &error), LOWBIT_OK);
  const Guarded workspace(size);
  args.workspace = workspace.last<uint8_t>(size);
  args.workspace_size = size;
  std::memset(args.workspace, 0xff, size);
  CHECK_EQ(call(&context, &args, &error), LOWBIT_OK);
}

inline bool same(float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); }

struct Case {
  lowbit_weights_info info;
  int64_t m, act;
  lowbit_compute compute;
};

inline std::string text(const Weights& w, const Case& c) {
  return w.name + " n " + std::to_string(c.info.n) + " k " + std::to_string(c.info.k) + " group " +
         std::to_string(c.info.group_size) + " scale " + std::to_string(c.info.scale_type) + " zero " +
         std::to_string(c.info.zero_type) + " m " + std::to_string(c.m) + " act " + std::to_string(c.act) +
         (c.compute == LOWBIT_COMPUTE_INT8     ? " int8"
          : c.compute == LOWBIT_COMPUTE_INT8X2 ? " int8x2"
                                               : " float32");
}

// All contents random, NaN and infinity in some rows.
inline void check_case(const Case& c, uint32_t seed) {
  std::mt19937 random(seed);
  const Weights w = make_weights(random, c.info);
  const int64_t n = c.info.n, k = c.info.k;
  const Guarded x_memory(size_t(c.m * k) * 4 + 4), out_memory(size_t(c.m * n) * 4 + 4), bias_memory(size_t(n) * 4 + 4);
  float* const x = x_memory.last<float>(size_t(c.m * k));
  for (int64_t i = 0; i < c.m * k; ++i) x[i] = std::ldexp(float(int(random() % 4001) - 2000), -int(random() % 16));
  if (c.m > 2 && k > 0) x[k * 2 + int64_t(random() % uint32_t(k))] = INFINITY;
  if (c.m > 3 && k > 0) x[k * 3] = NAN;
  if (c.m > 4 && k > 0) std::fill(x + 4 * k, x + 5 * k, 0.0f);
  std::vector<float> bias;
  if (random() % 2) {
    for (int64_t i = 0; i < n; ++i) bias.push_back(float(int(random() % 100) - 50) / 7);
  }
  float* const bias_at = bias_memory.last<float>(size_t(n));
  std::copy(bias.begin(), bias.end(), bias_at);

  for (const lowbit::Kernels* kernels : lowbit::all_kernels()) {
    float* const out = out_memory.last<float>(size_t(c.m * n));
    std::memset(out, 0xff, size_t(c.m * n) * 4);
    lowbit_matmul_args args = {};
    args.x_type = LOWBIT_FLOAT32;
    args.x = x;
    args.ldx = k;
    args.compute = c.compute;
    args.act_group_size = c.act;
    args.bias = bias.empty() ? nullptr : bias_at;
    args.out = out;
    multiply(kernels, w, c.m, args);
    for (int64_t row = 0; row < c.m; ++row) {
      const std::vector<float> expected =
          c.compute == LOWBIT_COMPUTE_FLOAT32
              ? row_float32(w, x + row * k, bias)
              : row_int8(w, x + row * k, c.act, c.compute == LOWBIT_COMPUTE_INT8X2 ? 2 : 1, bias);
      for (int64_t column = 0; column < n; ++column) {
        if (!same(out[row * n + column], expected[size_t(column)])) {
          test::failed(__FILE__, __LINE__,
                       std::string(kernels->name) + ", " + text(w, c) + ": row " + std::to_string(row) + ", column " +
                           std::to_string(column) + ": " + test::show(out[row * n + column]) + ", expected " +
                           test::show(expected[size_t(column)]));
          return;
        }
      }
    }
  }
}

}  // namespace test
