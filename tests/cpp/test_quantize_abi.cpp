// lowbit_range, lowbit_choose_params, lowbit_quantize and lowbit_dequantize: every shape of lowbit_runs, on every ISA,
// however the work is split, against docs/numerics.md written out (reliability.md: 1, 2, 5, 13, 17, 18, 30).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lowbit/lowbit.h"
#include "split.hpp"
#include "test.hpp"

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  lowbit_runs runs;
  bool one_run_each;  // find_params is allowed

  int64_t per_row() const { return (runs.row_length + runs.run - 1) / runs.run; }
  int64_t elements() const { return runs.rows * runs.row_length; }
  int64_t param(int64_t i) const {
    const int64_t row = i / runs.row_length, j = i % runs.row_length / runs.run;
    return (row / runs.rows_per_param * per_row() + j) % runs.params;
  }
};

Shape per_tensor(int64_t rows, int64_t length) { return {{rows, length, length, rows, 1}, rows == 1}; }
Shape per_row(int64_t rows, int64_t length) { return {{rows, length, length, 1, rows}, true}; }
Shape per_axis(int64_t o, int64_t c, int64_t i, int64_t last) { return {{o * c * i, last, last, i, c}, false}; }
Shape last_axis(int64_t rows, int64_t length) { return {{rows, length, 1, 1, length}, false}; }
Shape groups(int64_t rows, int64_t length, int64_t g) {
  return {{rows, length, g, 1, rows * ((length + g - 1) / g)}, true};
}

std::vector<Shape> shapes() {
  return {
      per_tensor(1, 1),
      per_tensor(1, 13),
      per_tensor(5000, 3),
      per_tensor(7, 4096),
      per_tensor(1, 300001),
      per_row(9, 1),
      per_row(700, 5),
      per_row(40, 33),
      per_row(3, 70001),
      per_row(3, 65536),
      per_row(64, 1024),
      per_axis(3, 5, 2, 7),
      per_axis(200, 3, 1, 4),
      per_axis(2, 2, 3, 12001),
      per_axis(1, 70, 1, 9),
      per_axis(4, 3, 1, 40000),
      last_axis(1, 5),
      last_axis(20011, 3),
      last_axis(50, 1000),
      last_axis(30, 5001),
      last_axis(100, 64),
      groups(1, 1, 1),
      groups(40, 64, 32),
      groups(40, 65, 32),
      groups(7, 100, 13),
      groups(5, 96, 1),
      groups(3, 6006, 1001),
      groups(2, 9000, 3000),
      groups(300, 5, 32),
      groups(33, 40, 5),
      groups(2, 70000, 2),
      groups(1, 200000, 66667),
      // blocks of 2 rows x 32, and groups that all rows share
      {{8, 100, 32, 2, 16}, false},
      {{50, 70, 32, 1, 3}, false},
      {{6, 200000, 100000, 3, 2}, false},
  };
}

std::vector<float> data_for(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const float odd[] = {kNan, kInf, -kInf, -0.0f};
  std::vector<float> x(size_t(shape.elements()));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = normal(random) * (1.0f + float(shape.param(int64_t(i)) % 5));
    if (random() % 211 == 0) x[i] = odd[random() % 4];
  }
  // one parameter has no finite element
  for (size_t i = 0; i < x.size(); ++i) {
    if (shape.runs.params > 3 && shape.param(int64_t(i)) == 2) x[i] = i % 2 ? kNan : -kInf;
  }
  return x;
}

struct Ranges {
  std::vector<float> low, high;
};

Ranges naive_ranges(const Shape& shape, const std::vector<float>& x) {
  const size_t params = size_t(shape.runs.params);
  Ranges r = {std::vector<float>(params, kInf), std::vector<float>(params, -kInf)};
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x[i])) continue;
    const size_t p = size_t(shape.param(int64_t(i)));
    r.low[p] = std::min(r.low[p], x[i]);
    r.high[p] = std::max(r.high[p], x[i]);
  }
  for (size_t p = 0; p < params; ++p) {
    if (r.low[p] > r.high[p]) r.low[p] = r.high[p] = 0.0f;
    r.low[p] += 0.0f;
    r.high[p] += 0.0f;
  }
  return r;
}

float half_value(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double sign = half & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction ? kNan : float(sign) * kInf;
  return float(sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24)));
}

// The nearest of all float16 values, even on a tie: bisection over the positive ones, which are in order.
uint16_t nearest_half(float value) {
  const double x = std::fabs(double(value));
  int low = 0, high = 0x7c00;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (double(half_value(uint16_t(middle))) <= x ? low : high) = middle;
  }
  const double below = half_value(uint16_t(low)), above = high == 0x7c00 ? 65536.0 : double(half_value(uint16_t(high)));
  const bool up = x - below > above - x || (x - below == above - x && low % 2);
  return uint16_t((std::signbit(value) ? 0x8000 : 0) | (up ? high : low));
}

struct Params {
  float scale;
  int zero;
};

Params naive_params(const lowbit_format_info& f, int convention, bool half, float low, float high) {
  const float qmin = -std::ldexp(1.0f, f.bits - 1), qmax = -qmin - 1.0f;
  const float absmax = std::max(std::fabs(low), std::fabs(high));
  float scale = 0.0f;
  if (convention == LOWBIT_ABSMAX) scale = absmax / qmax;
  if (convention == LOWBIT_FULL) scale = absmax / (qmax + 0.5f);
  if (convention == LOWBIT_SIGNED_MAX) scale = (std::fabs(low) > std::fabs(high) ? low : high) / qmin;
  if (convention == LOWBIT_NO_CLIP) scale = std::max(low / qmin, high / qmax);
  const float from = std::min(low, 0.0f), to = std::max(high, 0.0f), steps = float(f.qmax - f.qmin);
  if (convention == LOWBIT_ASYMMETRIC) scale = std::isinf(to - from) ? to / steps - from / steps : (to - from) / steps;
  if (half) scale = half_value(nearest_half(scale));
  if (scale == 0.0f) scale = 1.0f;
  int zero = f.qmin < 0 ? 0 : 1 << (f.bits - 1);
  if (convention == LOWBIT_ASYMMETRIC) {
    const float quotient = from / scale, point = float(f.qmin) - quotient;
    zero = int(std::nearbyint(std::min(std::max(double(point), double(f.qmin)), double(f.qmax))));
  }
  return {scale, zero};
}

int naive_code(float x, const Params& p, const lowbit_format_info& f) {
  const float quotient = x / p.scale;
  if (std::isnan(quotient)) return p.zero;
  return int(std::min(std::max(std::nearbyint(double(quotient)) + p.zero, double(f.qmin)), double(f.qmax)));
}

size_t row_bytes(const Shape& shape, int bits) { return size_t((shape.runs.row_length * bits + 7) / 8); }

std::vector<uint8_t> naive_packed(const Shape& shape, const std::vector<int>& codes, int bits) {
  std::vector<uint8_t> packed(size_t(shape.runs.rows) * row_bytes(shape, bits), 0);
  for (size_t i = 0; i < codes.size(); ++i) {
    const size_t length = size_t(shape.runs.row_length);
    uint8_t* row = packed.data() + i / length * row_bytes(shape, bits);
    for (int b = 0; b < bits; ++b) {
      const size_t at = i % length * size_t(bits) + size_t(b);
      row[at / 8] = uint8_t(row[at / 8] | (codes[i] >> b & 1) << (at % 8));
    }
  }
  return packed;
}

lowbit_format_info describe(lowbit_format format) {
  lowbit_format_info info = {};
  info.struct_size = sizeof info;
  CHECK_EQ(lowbit_format_describe(format, &info, nullptr), LOWBIT_OK);
  return info;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Scales and zero points as the ABI has them.
struct Stored {
  std::vector<float> scale32;
  std::vector<uint16_t> scale16;
  std::vector<uint8_t> zero;
  bool half;

  Stored(size_t n, bool is_half) : scale32(n, kNan), scale16(n, 0xffff), zero(n, 0xee), half(is_half) {}
  void* scale() { return half ? static_cast<void*>(scale16.data()) : scale32.data(); }
  lowbit_type type() const { return half ? LOWBIT_FLOAT16 : LOWBIT_FLOAT32; }
  bool holds(size_t i, const Params& p) const {
    const float scale = half ? half_value(scale16[i]) : scale32[i];
    return std::memcmp(&scale, &p.scale, 4) == 0 && zero[i] == uint8_t(p.zero);
  }
  void set(size_t i, const Params& p) {
    scale32[i] = p.scale;
    scale16[i] = nearest_half(p.scale);
    zero[i] = uint8_t(p.zero);
  }
};

}  // namespace

TEST(range_every_shape) {
  for (const Shape& shape : shapes()) {
    const std::vector<float> x = data_for(shape, 1);
    const Ranges expected = naive_ranges(shape, x);
    for (const test::Split& split : test::splits()) {
      Ranges r = {std::vector<float>(expected.low.size(), kNan), std::vector<float>(expected.low.size(), kNan)};
      CHECK_EQ(lowbit_range(&split.context, &shape.runs, x.data(), r.low.data(), r.high.data(), nullptr), LOWBIT_OK);
      CHECK(same(r.low, expected.low));
      CHECK(same(r.high, expected.high));
    }
  }
}

TEST(range_of_nothing) {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  float low = kNan, high = kNan;
  const lowbit_runs empty = {0, 5, 5, 0, 1};
  CHECK_EQ(lowbit_range(&context, &empty, nullptr, &low, &high, nullptr), LOWBIT_OK);
  CHECK(same({low, high}, {0.0f, 0.0f}));
}

TEST(quantize_every_shape_format_and_split) {
  const std::vector<test::Split> splits = test::splits();
  unsigned turn = 0;
  for (const Shape& shape : shapes()) {
    const std::vector<float> x = data_for(shape, ++turn);
    const Ranges ranges = naive_ranges(shape, x);
    const size_t params = ranges.low.size();
    const int rounds = x.size() > 20000 ? 2 : 16;
    for (int round = 0; round < rounds; ++round) {
      const int bits = (round + int(turn)) % 8 + 1;
      const lowbit_format_info f = describe((round + int(turn / 3)) % 3 ? LOWBIT_INT(bits) : LOWBIT_UINT(bits));
      const bool half = (round / 2 + int(turn)) % 2;
      int convention = (round + int(turn)) % 5;
      if (bits == 1 && (convention == LOWBIT_ABSMAX || convention == LOWBIT_NO_CLIP)) convention = LOWBIT_ASYMMETRIC;

      std::vector<Params> p(params);
      Stored given(params, half);
      for (size_t i = 0; i < params; ++i) {
        p[i] = naive_params(f, convention, half, ranges.low[i], ranges.high[i]);
        given.set(i, p[i]);
      }
      std::vector<int> codes(x.size());
      std::vector<float> values(x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        const Params& own = p[size_t(shape.param(int64_t(i)))];
        codes[i] = naive_code(x[i], own, f);
        values[i] = float(codes[i] - own.zero) * own.scale;
      }
      const std::vector<uint8_t> packed = naive_packed(shape, codes, bits);
      if (x.size() >= 1000) {  // the data reach both ends
        CHECK(std::count(codes.begin(), codes.end(), f.qmin) > 0);
        CHECK(std::count(codes.begin(), codes.end(), f.qmax) > 0);
      }

      Stored chosen(params, half);
      CHECK_EQ(lowbit_choose_params(f.format, lowbit_convention(convention), given.type(), int64_t(params),
                                    ranges.low.data(), ranges.high.data(), chosen.scale(), chosen.zero.data(), nullptr),
               LOWBIT_OK);
      for (size_t i = 0; i < params; ++i) CHECK(chosen.holds(i, p[i]));

      for (const test::Split& split : splits) {
        for (const int find : {0, 1}) {
          if (find && !shape.one_run_each) continue;
          Stored found(params, half);
          std::vector<uint8_t> out(packed.size(), 0xee);
          lowbit_quantize_args args = {};
          args.struct_size = sizeof args;
          args.format = f.format;
          args.runs = shape.runs;
          args.x = x.data();
          args.find_params = find;
          args.convention = lowbit_convention(convention);
          args.scale_type = given.type();
          args.scale = find ? found.scale() : given.scale();
          args.zero_point = find ? found.zero.data() : given.zero.data();
          args.codes = out.data();
          lowbit_error error = {};
          CHECK_EQ(lowbit_quantize(&split.context, &args, &error), LOWBIT_OK);
          CHECK_EQ(std::string(error.message), std::string());
          CHECK(out == packed);
          for (size_t i = 0; find && i < params; ++i) CHECK(found.holds(i, p[i]));
        }
        std::vector<float> back(x.size(), kNan);
        lowbit_dequantize_args args = {};
        args.struct_size = sizeof args;
        args.format = f.format;
        args.runs = shape.runs;
        args.codes = packed.data();
        args.scale_type = given.type();
        args.scale = given.scale();
        args.zero_point = given.zero.data();
        args.out = back.data();
        CHECK_EQ(lowbit_dequantize(&split.context, &args, nullptr), LOWBIT_OK);
        CHECK(same(back, values));
      }
    }
  }
}

TEST(choose_params_extreme_ranges) {
  const float extremes[] = {0.0f,   1e-45f,   1e-40f,   6e-8f, 3e-8f, 1e-5f,  1.0f,
                            127.0f, 65504.0f, 65519.9f, 8e6f,  1e30f, FLT_MAX};
  for (int index = 0; const char* name = lowbit_format_name(index); ++index) {
    lowbit_format format = 0;
    CHECK_EQ(lowbit_format_by_name(name, &format, nullptr), LOWBIT_OK);
    const lowbit_format_info f = describe(format);
    for (int convention = 0; convention < 5; ++convention) {
      if (f.bits == 1 && (convention == LOWBIT_ABSMAX || convention == LOWBIT_NO_CLIP)) continue;
      for (const bool half : {false, true}) {
        for (const float low : extremes) {
          for (const float high : extremes) {
            for (const float sign : {-1.0f, 1.0f}) {
              if (sign * low > high) continue;
              const float from = sign * low;
              const Params expected = naive_params(f, convention, half, from, high);
              Stored stored(1, half);
              const lowbit_status status =
                  lowbit_choose_params(format, lowbit_convention(convention), stored.type(), 1, &from, &high,
                                       stored.scale(), stored.zero.data(), nullptr);
              CHECK_EQ(status == LOWBIT_OK, bool(std::isfinite(expected.scale)));
              if (status == LOWBIT_OK) CHECK(stored.holds(0, expected));
              if (status != LOWBIT_OK) CHECK_EQ(stored.zero[0], 0xee);  // nothing written
            }
          }
        }
      }
    }
  }
}

TEST(choose_params_rounds_to_every_float16) {
  // full at 2 bits: scale = absmax / 1.5; the neighbourhood of every float16 and of every midpoint
  std::mt19937 random(5);
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    const double a = half_value(uint16_t(half)), b = half == 0x7bff ? 65536.0 : double(half_value(uint16_t(half + 1)));
    for (const double at : {a, (a + b) / 2, a + (b - a) * (random() % 1000) / 1000}) {
      const float high = float(at * 1.5), low = 0.0f;
      for (const float v : {high, std::nextafter(high, 0.0f), std::nextafter(high, kInf)}) {
        const Params expected = naive_params(describe(LOWBIT_INT(2)), LOWBIT_FULL, true, low, v);
        Stored stored(1, true);
        const lowbit_status status = lowbit_choose_params(LOWBIT_INT(2), LOWBIT_FULL, LOWBIT_FLOAT16, 1, &low, &v,
                                                          stored.scale(), nullptr, nullptr);
        CHECK_EQ(status == LOWBIT_OK, bool(std::isfinite(expected.scale)));
        if (status == LOWBIT_OK) CHECK_EQ(half_value(stored.scale16[0]), expected.scale);
      }
    }
  }
}

TEST(quantize_refuses) {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, scale[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  uint8_t zero[8] = {}, codes[8];
  lowbit_quantize_args good = {};
  good.struct_size = sizeof good;
  good.format = LOWBIT_INT(4);
  good.runs = {2, 4, 2, 1, 4};
  good.x = x;
  good.convention = LOWBIT_ABSMAX;
  good.scale_type = LOWBIT_FLOAT32;
  good.scale = scale;
  good.zero_point = zero;
  good.codes = codes;
  CHECK_EQ(lowbit_quantize(&context, &good, nullptr), LOWBIT_OK);

  const auto refuse = [&](const char* says, auto change) {
    lowbit_quantize_args bad = good;
    change(&bad);
    lowbit_error error = {};
    std::memset(codes, 0xee, sizeof codes);
    CHECK(lowbit_quantize(&context, &bad, &error) != LOWBIT_OK);
    if (!std::strstr(error.message, says)) test::failed(__FILE__, __LINE__, std::string(says) + ": " + error.message);
    CHECK_EQ(codes[0], 0xee);
    for (float& s : scale) s = 1.0f;
    std::memset(zero, 0, sizeof zero);
  };
  using Args = lowbit_quantize_args*;
  refuse("args.struct_size: got 1", [](Args a) { a->struct_size = 1; });
  refuse("format: got 99", [](Args a) { a->format = 99; });
  refuse("scale_type: got 3", [](Args a) { a->scale_type = LOWBIT_INT8; });
  refuse("args.x: got NULL", [](Args a) { a->x = nullptr; });
  refuse("args.scale: got NULL", [](Args a) { a->scale = nullptr; });
  refuse("args.codes: got NULL", [](Args a) { a->codes = nullptr; });
  refuse("none below 0", [](Args a) { a->runs.rows = -1; });
  refuse("at least 1", [](Args a) { a->runs.run = 0; });
  refuse("at least 1", [](Args a) { a->runs.rows_per_param = 0; });
  refuse("params = 3, expected 4", [](Args a) { a->runs.params = 3; });
  refuse("rows_per_param = 4", [](Args a) { a->runs.rows_per_param = 4; });
  refuse("2^56", [](Args a) { a->runs.rows = int64_t{1} << 40, a->runs.row_length = int64_t{1} << 40; });
  refuse("2^56", [](Args a) { a->runs.rows = INT64_MAX, a->runs.row_length = 2; });
  for (const float s : {0.0f, -0.0f, kNan, kInf, -kInf}) {
    refuse("scale: got", [&](Args) { scale[3] = s; });
  }
  refuse("zero_point: got 8 at 1", [&](Args) { zero[1] = 8; });
  refuse("convention: got 7", [](Args a) { a->find_params = 1, a->convention = lowbit_convention(7); });
  refuse("absmax", [](Args a) { a->find_params = 1, a->format = LOWBIT_INT(1); });
  refuse("zero_point: got NULL",
         [](Args a) { a->find_params = 1, a->zero_point = nullptr, a->convention = LOWBIT_ASYMMETRIC; });
  refuse("zero_point: got NULL",
         [](Args a) { a->find_params = 1, a->zero_point = nullptr, a->format = LOWBIT_UINT(4); });
  refuse("find_params needs", [](Args a) { a->find_params = 1, a->runs = {2, 4, 4, 2, 1}; });

  // a scale that float16 has no room for: the message says which
  lowbit_quantize_args wide = good;
  uint16_t half[4];
  x[5] = 1e7f;
  wide.find_params = 1;
  wide.scale_type = LOWBIT_FLOAT16;
  wide.scale = half;
  lowbit_error error;
  CHECK_EQ(lowbit_quantize(&context, &wide, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "parameter 2 does not fit scale_type float16"));
  CHECK_EQ(lowbit_quantize(&context, nullptr, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_quantize(nullptr, &good, &error), LOWBIT_INVALID_VALUE);
}

TEST(formats_by_name_and_number) {
  int count = 0;
  for (; const char* name = lowbit_format_name(count); ++count) {
    lowbit_format format = 0;
    CHECK_EQ(lowbit_format_by_name(name, &format, nullptr), LOWBIT_OK);
    const lowbit_format_info info = describe(format);
    CHECK_EQ(std::string(info.name), std::string(name));
    CHECK_EQ(std::string(name), (info.qmin < 0 ? "int" : "uint") + std::to_string(info.bits));
    CHECK_EQ(info.qmax - info.qmin, (1 << info.bits) - 1);
    CHECK_EQ(format, info.qmin < 0 ? LOWBIT_INT(info.bits) : LOWBIT_UINT(info.bits));
  }
  CHECK_EQ(count, 16);
  CHECK(lowbit_format_name(-1) == nullptr);
  lowbit_format format = 0;
  lowbit_error error;
  CHECK_EQ(lowbit_format_by_name("int9", &format, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "uint8") && std::strstr(error.message, "got \"int9\""));
  CHECK_EQ(lowbit_format_by_name("", &format, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_format_by_name(nullptr, &format, &error), LOWBIT_INVALID_VALUE);
  lowbit_format_info info = {};
  CHECK_EQ(lowbit_format_describe(LOWBIT_INT(4), &info, &error), LOWBIT_INVALID_VALUE);  // struct_size
  info.struct_size = sizeof info;
  CHECK_EQ(lowbit_format_describe(0, &info, &error), LOWBIT_INVALID_VALUE);
}
