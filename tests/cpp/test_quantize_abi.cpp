// lowbit_range, lowbit_quantize and lowbit_dequantize: every shape of lowbit_runs, on every ISA, however the work is
// split, against naive.hpp (reliability.md: 1, 2, 4, 5, 13, 17, 18, 30).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "lowbit/lowbit.h"
#include "naive.hpp"
#include "split.hpp"
#include "test.hpp"

namespace {

using naive::kInf;
using naive::kNan;
using naive::Params;
using naive::Setting;

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
      // blocks, the last of which are smaller: 3 x 32, 128 x 128; joined rows; of one row each; wider and higher than
      // all
      {{7, 100, 32, 3, 12}, false},
      {{300, 200, 128, 128, 6}, false},
      {{10, 64, 64, 4, 3}, false},
      {{11, 3, 3, 2, 6}, false},
      {{3, 40, 8, 1, 15}, true},
      {{5, 20, 50, 8, 1}, false},
      {{5000, 24, 5, 4096, 10}, false},
      {{5, 30001, 20000, 2, 6}, false},
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

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), naive::same);
}

enum class Zero { kNone, kInteger, kFraction };

// Scales and zero points as the ABI has them.
struct Stored {
  const Setting& setting;
  Zero kind;
  std::vector<uint8_t> scale, zero;

  Stored(const Setting& s, Zero z, size_t n)
      : setting(s), kind(z), scale(n * s.scale_bytes(), 0xee), zero(n * (z == Zero::kFraction ? 4 : 1), 0xee) {}
  void set(size_t i, const Params& p, float zero_point) {
    setting.store(p, &scale[i * setting.scale_bytes()]);
    if (kind == Zero::kFraction) {
      std::memcpy(&zero[4 * i], &zero_point, 4);
    } else {
      zero[i] = uint8_t(int(zero_point));
    }
  }
  void* zeros() { return kind == Zero::kNone ? nullptr : zero.data(); }
  lowbit_type zero_type() const {
    return kind == Zero::kFraction ? LOWBIT_FLOAT32 : setting.format->qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
  }
  float global() const { return setting.global == 1 ? 0.0f : setting.global; }
};

template <typename Args>
Args make_args(const Shape& shape, Stored* params, void* codes) {
  Args args = {};
  args.struct_size = sizeof args;
  args.format = params->setting.format->id;
  args.runs = shape.runs;
  args.codes = codes;
  args.scale_type = params->setting.scale_type;
  args.global_scale = params->global();
  args.scale = params->scale.data();
  args.zero_type = params->zero_type();
  args.zero_point = params->zeros();
  return args;
}

lowbit_quantize_args quantize_args(const Shape& shape, const float* x, int find, Stored* params, void* codes) {
  lowbit_quantize_args args = make_args<lowbit_quantize_args>(shape, params, codes);
  args.x = x;
  args.find_params = find;
  args.convention = params->setting.convention;
  return args;
}

lowbit_dequantize_args dequantize_args(const Shape& shape, Stored* params, const void* codes, float* out) {
  lowbit_dequantize_args args = make_args<lowbit_dequantize_args>(shape, params, const_cast<void*>(codes));
  args.out = out;
  return args;
}

// Quantizes with given and with found parameters and dequantizes, in every split, against naive.hpp.
void check_round_trip(const Shape& shape, const std::vector<float>& x, const Setting& s, Zero kind,
                      const std::vector<test::Split>& splits) {
  const Ranges ranges = naive_ranges(shape, x);
  const size_t params = ranges.low.size();
  std::vector<Params> p(params);
  std::vector<float> zero(params, 0.0f);
  Stored given(s, kind, params);
  for (size_t i = 0; i < params; ++i) {
    p[i] = s.expect(ranges.low[i], ranges.high[i]);
    CHECK(std::isfinite(p[i].scale));
    if (kind == Zero::kInteger) zero[i] = float(p[i].zero);
    if (kind == Zero::kFraction) zero[i] = float(p[i].zero) + float(i % 9) * 0.31f - 1.0f;
    given.set(i, p[i], zero[i]);
  }
  std::vector<int> codes(x.size());
  std::vector<float> values(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t own = size_t(shape.param(int64_t(i)));
    codes[i] = s.format->code(x[i], p[own].scale, zero[own], kind == Zero::kFraction);
    values[i] = s.format->value(codes[i], p[own].scale, zero[own]);
  }
  const std::vector<uint8_t> packed = naive_packed(shape, codes, s.format->bits);

  const auto check = [&](bool good, const test::Split& split, const char* what) {
    if (good) return;
    const lowbit_runs& r = shape.runs;
    test::failed(__FILE__, __LINE__,
                 split.isa + " x " + std::to_string(split.max_threads) + ", " + s.name() + ", zero " +
                     std::to_string(int(kind)) + ", runs " + std::to_string(r.rows) + " " +
                     std::to_string(r.row_length) + " " + std::to_string(r.run) + " " +
                     std::to_string(r.rows_per_param) + " " + std::to_string(r.params) + ": " + what);
  };
  for (const test::Split& split : splits) {
    for (const int find : {0, 1}) {
      if (find && (!shape.one_run_each || kind == Zero::kFraction || (s.needs_zero() && kind == Zero::kNone))) continue;
      Stored found(s, kind, params);
      std::vector<uint8_t> out(packed.size(), 0xee);
      const lowbit_quantize_args args = quantize_args(shape, x.data(), find, find ? &found : &given, out.data());
      lowbit_error error = {};
      check(lowbit_quantize(&split.context, &args, &error) == LOWBIT_OK, split, error.message);
      check(out == packed, split, find ? "codes of found parameters" : "codes of given parameters");
      if (find) check(found.scale == given.scale, split, "scales");
      if (find && kind != Zero::kNone) check(found.zero == given.zero, split, "zero points");
    }
    std::vector<float> back(x.size(), kNan);
    const lowbit_dequantize_args args = dequantize_args(shape, &given, packed.data(), back.data());
    lowbit_error error = {};
    check(lowbit_dequantize(&split.context, &args, &error) == LOWBIT_OK, split, error.message);
    check(same(back, values), split, "values");
  }
}

std::vector<Zero> zeros(const Setting& s) {
  if (!s.format->is_integer()) return {Zero::kNone};
  if (s.needs_zero()) return {Zero::kInteger, Zero::kFraction};
  return {Zero::kNone, Zero::kInteger, Zero::kFraction};
}

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

TEST(quantize_every_shape) {
  const std::vector<test::Split> splits = test::splits();
  const std::vector<Setting> settings = naive::settings();
  size_t turn = 0;
  for (const Shape& shape : shapes()) {
    const std::vector<float> x = data_for(shape, unsigned(turn));
    for (int round = 0; round < (x.size() > 20000 ? 3 : 16); ++round) {
      const Setting& s = settings[turn++ * 97 % settings.size()];
      const std::vector<Zero> kinds = zeros(s);
      check_round_trip(shape, x, s, kinds[turn % kinds.size()], splits);
    }
  }
}

TEST(quantize_every_setting) {
  const std::vector<test::Split> splits = test::splits();
  const Shape shape = groups(5, 70, 16);
  const std::vector<float> x = data_for(shape, 11);
  for (const Setting& s : naive::settings()) {
    for (const Zero kind : zeros(s)) check_round_trip(shape, x, s, kind, splits);
  }
}

// From 16 MiB of results on they are written past the caches. In pieces that are smaller, and with any number of
// threads, they are the same.
TEST(large_results_are_those_of_their_rows) {
  struct Large {
    lowbit_format format;
    Shape shape;
    bool find;
  };
  const Large larges[] = {{LOWBIT_INT(8), groups(17, 999999, 64), true},
                          {LOWBIT_INT(7), per_row(19200, 1001), false},  // rows of whole bytes: 876 and no line
                          {LOWBIT_UINT(8), groups(3, 6000000, 20001), true},
                          {LOWBIT_FORMAT_BFLOAT16, per_row(2, 4200001), false}};
  constexpr int kThreads[] = {1, 2, 3, 7};
  std::vector<float> x(size_t{1001} * 19200);
  const Shape pattern = {{1, 100003, 100003, 1, 1}, true};
  const std::vector<float> some = data_for(pattern, 5);
  for (size_t i = 0; i < x.size(); ++i) x[i] = some[i % some.size()];
  size_t turn = 0;
  for (const Large& large : larges) {
    const auto is_it = [&](const naive::Format& f) { return f.id == large.format; };
    const naive::Format& f = *std::find_if(naive::formats().begin(), naive::formats().end(), is_it);
    const Setting s = {&f, LOWBIT_ABSMAX, LOWBIT_FLOAT32, 1};
    const Shape& shape = large.shape;
    const size_t per_row = size_t(shape.per_row()), rows = size_t(shape.runs.rows);
    const size_t bytes = row_bytes(shape, f.bits), length = size_t(shape.runs.row_length);
    CHECK(rows * bytes >= size_t{16} << 20);
    CHECK(size_t(shape.elements()) <= x.size());

    // some rows at a time
    Stored params(s, s.needs_zero() ? Zero::kInteger : Zero::kNone, size_t(shape.runs.params));
    for (size_t i = 0; i < params.zero.size(); ++i) params.set(i, {0, 0.01f * float(i % 5 + 1), 0.0f, 128}, 128);
    std::vector<uint8_t> expected(rows * bytes);
    const size_t most = std::max<size_t>(1, rows / 7);
    const lowbit_context alone = test::pool_context(nullptr, 1);
    for (size_t row = 0; row < rows; row += most) {
      const size_t count = std::min(most, rows - row);
      Shape part = shape;
      part.runs.rows = int64_t(count);
      part.runs.params = int64_t(count * per_row);
      lowbit_quantize_args args = quantize_args(part, &x[row * length], large.find, &params, &expected[row * bytes]);
      args.scale = &params.scale[4 * row * per_row];
      if (args.zero_point) args.zero_point = &params.zero[row * per_row];
      CHECK_EQ(lowbit_quantize(&alone, &args, nullptr), LOWBIT_OK);
    }

    for (int i = 0; const char* isa = lowbit_available_isa(i); ++i, ++turn) {
      const lowbit_context context = test::pool_context(isa, kThreads[turn % 4]);
      Stored found = params;
      std::fill(found.scale.begin(), found.scale.end(), uint8_t(large.find ? 0xee : 0));
      if (!large.find) found.scale = params.scale;
      std::vector<uint8_t> room(rows * bytes + 64, 0xee);
      uint8_t* codes = room.data() + turn * f.code_bytes() % 64;  // any alignment
      const lowbit_quantize_args args = quantize_args(shape, x.data(), large.find, &found, codes);
      CHECK_EQ(lowbit_quantize(&context, &args, nullptr), LOWBIT_OK);
      CHECK(std::memcmp(codes, expected.data(), expected.size()) == 0);
      CHECK(found.scale == params.scale);
      CHECK_EQ(codes[expected.size()], 0xee);
      if (codes > room.data()) CHECK_EQ(codes[-1], 0xee);
    }
  }
}

TEST(large_values_are_those_of_their_rows) {
  constexpr int kThreads[] = {1, 2, 3, 7};
  size_t turn = 0;
  for (const lowbit_format format :
       {LOWBIT_INT(3), LOWBIT_UINT(8), LOWBIT_FORMAT_FLOAT16, LOWBIT_FORMAT_NF4, LOWBIT_FORMAT_E3M2FN}) {
    const auto is_it = [&](const naive::Format& f) { return f.id == format; };
    const naive::Format& f = *std::find_if(naive::formats().begin(), naive::formats().end(), is_it);
    const Setting s = {&f, LOWBIT_ABSMAX, LOWBIT_FLOAT32, 1};
    const Shape shape = groups(43, 99999, 48);
    const size_t per_row = size_t(shape.per_row()), bytes = row_bytes(shape, f.bits), length = 99999;
    CHECK(shape.elements() * 4 >= int64_t{16} << 20);
    Stored params(s, Zero::kNone, size_t(shape.runs.params));
    for (size_t i = 0; i < params.zero.size(); ++i) params.set(i, {0, 0.01f * float(i % 5 + 1), 0.0f, 0}, 0);
    std::vector<uint8_t> codes(43 * bytes);
    std::mt19937 random(9);
    for (uint8_t& code : codes) code = uint8_t(random());
    std::vector<float> expected(43 * length);
    const lowbit_context alone = test::pool_context(nullptr, 1);
    for (size_t row = 0; row < 43; ++row) {
      Shape part = groups(1, 99999, 48);
      lowbit_dequantize_args args = dequantize_args(part, &params, &codes[row * bytes], &expected[row * length]);
      args.scale = &params.scale[4 * row * per_row];
      CHECK_EQ(lowbit_dequantize(&alone, &args, nullptr), LOWBIT_OK);
    }
    for (int i = 0; const char* isa = lowbit_available_isa(i); ++i, ++turn) {
      const lowbit_context context = test::pool_context(isa, kThreads[turn % 4]);
      std::vector<float> room(expected.size() + 16, -7.0f);
      float* out = room.data() + turn % 16;
      const lowbit_dequantize_args args = dequantize_args(shape, &params, codes.data(), out);
      CHECK_EQ(lowbit_dequantize(&context, &args, nullptr), LOWBIT_OK);
      CHECK(std::equal(expected.begin(), expected.end(), out, naive::same));
      CHECK_EQ(out[expected.size()], -7.0f);
      if (out > room.data()) CHECK_EQ(out[-1], -7.0f);
    }
  }
}

namespace {

// Calls change(&args) on a copy that works, and expects the function to fail with `says`, having written nothing
// (`written`: codes may have been).
struct Refusal {
  lowbit_context context = test::pool_context(nullptr, 1);
  float x[512] = {};
  float scale[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  uint8_t zero[8] = {};
  float fractions[8] = {};
  uint8_t codes[1024] = {};
  lowbit_quantize_args quantize = {};
  lowbit_dequantize_args dequantize = {};

  Refusal() {
    for (int i = 0; i < 512; ++i) x[i] = float(i % 8 + 1);
    quantize.struct_size = sizeof quantize;
    dequantize.struct_size = sizeof dequantize;
    quantize.format = dequantize.format = LOWBIT_INT(4);
    quantize.runs = dequantize.runs = {2, 4, 2, 1, 4};
    quantize.scale_type = dequantize.scale_type = LOWBIT_FLOAT32;
    quantize.scale = scale;
    quantize.zero_type = dequantize.zero_type = LOWBIT_INT8;
    quantize.zero_point = zero;
    quantize.codes = codes;
    quantize.convention = LOWBIT_ABSMAX;
    quantize.x = x;
    dequantize.scale = scale;
    dequantize.zero_point = zero;
    dequantize.codes = codes;
    dequantize.out = x;
    CHECK_EQ(lowbit_quantize(&context, &quantize, nullptr), LOWBIT_OK);
    CHECK_EQ(lowbit_dequantize(&context, &dequantize, nullptr), LOWBIT_OK);
  }

  template <typename Change>
  void quantizing(lowbit_status status, const char* says, Change change, bool written = false) {
    lowbit_quantize_args bad = quantize;
    change(&bad);
    lowbit_error error = {};
    std::memset(codes, 0xee, sizeof codes);
    const lowbit_status got = lowbit_quantize(&context, &bad, &error);
    expect(got, status, error, says);
    if (!written) CHECK_EQ(codes[0], 0xee);
    std::fill(scale, scale + 8, 1.0f);
    std::fill(zero, zero + 8, uint8_t(0));
    std::fill(fractions, fractions + 8, 0.0f);
  }
  template <typename Change>
  void dequantizing(lowbit_status status, const char* says, Change change) {
    lowbit_dequantize_args bad = dequantize;
    change(&bad);
    lowbit_error error = {};
    x[0] = -7;
    const lowbit_status got = lowbit_dequantize(&context, &bad, &error);
    expect(got, status, error, says);
    CHECK_EQ(x[0], -7.0f);
  }
  // Where both functions have the argument.
  template <typename Change>
  void both(lowbit_status status, const char* says, Change change) {
    quantizing(status, says, [&](lowbit_quantize_args* a) { change(a); });
    dequantizing(status, says, [&](lowbit_dequantize_args* a) { change(a); });
  }

 private:
  static void expect(lowbit_status got, lowbit_status status, const lowbit_error& error, const char* says) {
    CHECK_EQ(got, status);
    CHECK_EQ(error.status, status);
    if (!std::strstr(error.message, says)) test::failed(__FILE__, __LINE__, std::string(says) + ": " + error.message);
  }
};

constexpr lowbit_status kValue = LOWBIT_INVALID_VALUE, kType = LOWBIT_INVALID_TYPE;

}  // namespace

TEST(quantize_and_dequantize_refuse) {
  Refusal refuse;
  refuse.both(kValue, "args.struct_size: got 1, expected sizeof(lowbit_", [](auto* a) { a->struct_size = 1; });
  refuse.both(kValue, "format: got 99", [](auto* a) { a->format = 99; });
  refuse.both(kValue, "format: got 0", [](auto* a) { a->format = 0; });
  refuse.both(kType, "scale_type: got 3", [](auto* a) { a->scale_type = LOWBIT_INT8; });
  refuse.both(kType, "scale_type: got 0", [](auto* a) { a->scale_type = LOWBIT_NONE; });
  refuse.both(kType, "scale_type: got 7", [](auto* a) { a->scale_type = LOWBIT_FLOAT8_E5M2; });
  for (const float global : {-1.0f, kNan, kInf}) {
    refuse.both(kValue, "global_scale: got", [=](auto* a) { a->global_scale = global; });
  }
  refuse.both(kType, "args.zero_type: got 4, expected 3 (LOWBIT_INT8)", [](auto* a) { a->zero_type = LOWBIT_UINT8; });
  refuse.both(kType, "args.zero_type: got 3, expected 4 (LOWBIT_UINT8)", [](auto* a) { a->format = LOWBIT_UINT(4); });
  refuse.both(kType, "args.zero_type: got 0", [](auto* a) { a->zero_type = LOWBIT_NONE; });
  refuse.both(kType, "args.zero_type: got 2", [](auto* a) { a->zero_type = LOWBIT_FLOAT16; });
  for (const lowbit_format f : {LOWBIT_FORMAT_NF4, LOWBIT_FORMAT_E4M3FN, LOWBIT_FORMAT_MXFP4}) {
    refuse.both(kValue, "args.zero_point: given for format ", [=](auto* a) { a->format = f; });
  }
  refuse.quantizing(kValue, "args.x: got NULL", [](auto* a) { a->x = nullptr; });
  refuse.dequantizing(kValue, "args.out: got NULL", [](auto* a) { a->out = nullptr; });
  refuse.both(kValue, "args.scale: got NULL", [](auto* a) { a->scale = nullptr; });
  refuse.both(kValue, "args.codes: got NULL", [](auto* a) { a->codes = nullptr; });
  refuse.both(kValue, "none below 0", [](auto* a) { a->runs.rows = -1; });
  refuse.both(kValue, "none below 0", [](auto* a) { a->runs.params = -1; });
  refuse.both(kValue, "at least 1", [](auto* a) { a->runs.run = 0; });
  refuse.both(kValue, "at least 1", [](auto* a) { a->runs.rows_per_param = 0; });
  refuse.both(kValue, "at least 1", [](auto* a) { a->runs.params = 0; });
  refuse.both(kValue, "params = 3, expected 4 or a divisor", [](auto* a) { a->runs.params = 3; });
  refuse.both(kValue, "params = 8, expected 4 or a divisor", [](auto* a) { a->runs.params = 8; });
  refuse.both(kValue, "params = 4, expected 2", [](auto* a) { a->runs.rows_per_param = 2; });
  refuse.both(kValue, "2^56", [](auto* a) { a->runs.rows = int64_t{1} << 40, a->runs.row_length = int64_t{1} << 40; });
  refuse.both(kValue, "2^56", [](auto* a) { a->runs.rows = INT64_MAX, a->runs.row_length = 2; });

  lowbit_error error;
  CHECK_EQ(lowbit_quantize(&refuse.context, nullptr, &error), kValue);
  CHECK_EQ(lowbit_quantize(nullptr, &refuse.quantize, &error), kValue);
  CHECK_EQ(lowbit_dequantize(&refuse.context, nullptr, &error), kValue);
  CHECK_EQ(lowbit_dequantize(nullptr, &refuse.dequantize, &error), kValue);
}

TEST(quantize_refuses_parameters) {
  Refusal refuse;
  using Args = lowbit_quantize_args*;
  // few parameters for many elements are checked before anything is written, others on the way
  const auto few = [](Args a) { a->runs = {1, 512, 512, 1, 1}; };
  const auto many = [](Args) {};
  for (const float s : {0.0f, -0.0f, kNan, kInf, -kInf, -1.0f}) {
    refuse.quantizing(
        kValue, " at 3, expected finite values above 0", [&](Args a) { refuse.scale[3] = s, many(a); }, true);
    refuse.quantizing(kValue, " at 0, expected finite values above 0", [&](Args a) { refuse.scale[0] = s, few(a); });
    if (s == -1) continue;
    refuse.quantizing(
        kValue, "expected finite values other than 0",
        [&](Args a) { refuse.scale[3] = s, a->convention = LOWBIT_SIGNED_MAX; }, true);
  }
  for (const uint8_t z : {uint8_t(8), uint8_t(247), uint8_t(127)}) {  // 247: -9
    const std::string says = "zero_point: got " + std::to_string(int8_t(z)) + " at ";
    refuse.quantizing(kValue, says.c_str(), [&](Args a) { refuse.zero[1] = z, many(a); }, true);
    refuse.quantizing(kValue, says.c_str(), [&](Args a) { refuse.zero[0] = z, few(a); });
  }
  for (const float z : {kNan, kInf, -kInf}) {
    refuse.quantizing(
        kValue, "expected finite values around codes of int4",
        [&](Args a) {
          refuse.fractions[2] = z;
          a->zero_type = LOWBIT_FLOAT32;
          a->zero_point = refuse.fractions;
        },
        true);
  }
  // codes of scales that stand for no positive number: 0 and NaN in float8_e4m3fn, NaN in float8_e8m0fnu
  const uint8_t zero_scales[8] = {56, 56, 0, 56}, nan_scales[8] = {56, 127, 56, 56}, powers[8] = {127, 127, 127, 255};
  const auto scales = [](lowbit_type type, const uint8_t* s) {
    return [=](Args a) { a->scale_type = type, a->scale = const_cast<uint8_t*>(s); };
  };
  refuse.quantizing(kValue, "scale: got 0 at 2", scales(LOWBIT_FLOAT8_E4M3FN, zero_scales), true);
  refuse.quantizing(kValue, "nan at 1", scales(LOWBIT_FLOAT8_E4M3FN, nan_scales), true);
  refuse.quantizing(kValue, "nan at 3", scales(LOWBIT_FLOAT8_E8M0FNU, powers), true);
  // the product with the global scale counts
  refuse.quantizing(
      kValue, "scale: got 0 at 0", [&](Args a) { refuse.scale[0] = 1e-30f, a->global_scale = 1e-30f; }, true);
  refuse.quantizing(
      kValue, "scale: got inf at 1", [&](Args a) { refuse.scale[1] = 1e30f, a->global_scale = 1e30f; }, true);
}

TEST(quantize_refuses_to_find_parameters) {
  Refusal refuse;
  refuse.quantize.find_params = 1;
  using Args = lowbit_quantize_args*;
  refuse.quantizing(kValue, "convention: got 7", [](Args a) { a->convention = lowbit_convention(7); });
  refuse.quantizing(kValue, "convention: got absmax for format int1", [](Args a) { a->format = LOWBIT_INT(1); });
  refuse.quantizing(kValue, "convention: got full for format nf4", [](Args a) {
    a->format = LOWBIT_FORMAT_NF4, a->zero_point = nullptr, a->convention = LOWBIT_FULL;
  });
  refuse.quantizing(kValue, "convention: got signed_max with scale_type float8_e8m0fnu",
                    [](Args a) { a->scale_type = LOWBIT_FLOAT8_E8M0FNU, a->convention = LOWBIT_SIGNED_MAX; });
  refuse.quantizing(kValue, "zero_point: got NULL",
                    [](Args a) { a->zero_point = nullptr, a->convention = LOWBIT_ASYMMETRIC; });
  refuse.quantizing(kValue, "zero_point: got NULL",
                    [](Args a) { a->zero_point = nullptr, a->format = LOWBIT_UINT(4); });
  refuse.quantizing(kType, "args.zero_type: got LOWBIT_FLOAT32 with find_params",
                    [&](Args a) { a->zero_type = LOWBIT_FLOAT32, a->zero_point = refuse.fractions; });
  refuse.quantizing(kValue, "find_params needs", [](Args a) { a->runs = {2, 4, 4, 2, 1}; });
  refuse.quantizing(kValue, "find_params needs", [](Args a) { a->runs = {4, 4, 4, 1, 2}; });

  // scales that their type has no room for: the message says which
  refuse.x[5] = 1e7f;
  refuse.quantizing(
      kValue, "scale: that of parameter 2 does not fit scale_type float16",
      [](Args a) { a->scale_type = LOWBIT_FLOAT16; }, true);
  refuse.quantizing(
      kValue, "scale: that of parameter 2 does not fit scale_type float8_e4m3fn",
      [](Args a) { a->scale_type = LOWBIT_FLOAT8_E4M3FN; }, true);
  for (float& v : refuse.x) v = FLT_MAX;
  refuse.quantizing(
      kValue, "scale: that of parameter 0 does not fit scale_type float32",
      [](Args a) { a->format = LOWBIT_INT(1), a->convention = LOWBIT_FULL; }, true);
}

TEST(quantize_nothing) {
  Refusal refuse;
  for (const lowbit_runs& runs : {lowbit_runs{0, 4, 2, 1, 0}, lowbit_runs{3, 0, 1, 1, 0}, lowbit_runs{0, 0, 0, 0, 0}}) {
    for (const int find : {0, 1}) {
      lowbit_quantize_args args = refuse.quantize;
      args.runs = runs;
      args.find_params = find;
      args.x = nullptr;
      args.scale = args.codes = args.zero_point = nullptr;
      CHECK_EQ(lowbit_quantize(&refuse.context, &args, nullptr), LOWBIT_OK);
    }
    lowbit_dequantize_args args = refuse.dequantize;
    args.runs = runs;
    args.codes = args.scale = args.zero_point = nullptr;
    args.out = nullptr;
    CHECK_EQ(lowbit_dequantize(&refuse.context, &args, nullptr), LOWBIT_OK);
  }
}
