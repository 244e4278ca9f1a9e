// choose_params of every ISA and lowbit_choose_params: every convention, every type of scale, ranges from nothing to
// what no scale fits, against naive.hpp (reliability.md: 1, 3, 5, 13, 17).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "formats/registry.hpp"
#include "guard.hpp"
#include "isas.hpp"
#include "naive.hpp"
#include "ops/params.hpp"
#include "test.hpp"

using lowbit::Kernels;
using lowbit::ParamRule;
using naive::Setting;

namespace {

lowbit_status make_rule(const Setting& s, ParamRule* rule) {
  return lowbit::make_rule(*lowbit::find_format(s.format->id, nullptr), s.convention, {s.scale_type, s.global}, true,
                           rule, nullptr);
}

ParamRule rule_of(const Setting& s) {
  ParamRule rule = {};
  CHECK_EQ(make_rule(s, &rule), LOWBIT_OK);
  return rule;
}

struct Ranges {
  std::vector<float> low, high;

  void add(float a, float b) {
    low.push_back(std::min(a, b));
    high.push_back(std::max(a, b));
  }
};

Ranges ranges() {
  Ranges r;
  const float ends[] = {0.0f,   FLT_TRUE_MIN, 1e-40f,   FLT_MIN, 3e-8f, 1e-4f,  0.9f,
                        127.0f, 448.0f,       65504.0f, 1e7f,    1e30f, FLT_MAX};
  for (const float a : ends) {
    for (const float b : ends) {
      r.add(-a, b);
      r.add(a, b);
      r.add(-a, -b);
    }
  }
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 300; ++i) {
    const float spread = std::exp2(float(int(random() % 60)) - 30.0f);
    r.add(normal(random) * spread, normal(random) * spread);
  }
  return r;
}

// What the kernel wrote for range i against what is expected; zero may be null.
void check(const Setting& s, const char* isa, float low, float high, const uint8_t* codes, const float* scale,
           const float* zero, size_t i) {
  const naive::Params p = s.expect(low, high);
  bool good = std::isfinite(p.scale) == std::isfinite(scale[i]);
  if (std::isfinite(p.scale)) {
    uint8_t expected[4];
    s.store(p, expected);
    good = good && naive::same(scale[i], p.scale) && (!zero || zero[i] == float(p.zero)) &&
           std::memcmp(codes + i * s.scale_bytes(), expected, s.scale_bytes()) == 0;
  }
  if (!good) {
    test::failed(__FILE__, __LINE__,
                 std::string(isa) + ", " + s.name() + ": range " + test::show(low) + ", " + test::show(high) +
                     ": scale " + test::show(scale[i]) + ", expected " + test::show(p.scale) + "; zero " +
                     (zero ? test::show(zero[i]) : "none") + ", expected " + std::to_string(p.zero));
  }
}

}  // namespace

TEST(what_goes_together) {
  for (const Setting& s : naive::all_settings()) {
    ParamRule rule;
    if ((make_rule(s, &rule) == LOWBIT_OK) != s.has_meaning()) test::failed(__FILE__, __LINE__, s.name());
  }
}

TEST(choose_params_every_setting_and_range) {
  const Ranges r = ranges();
  const size_t n = r.low.size();
  size_t overflows = 0, all = 0;
  for (const Setting& s : naive::settings()) {
    const ParamRule rule = rule_of(s);
    for (const Kernels* k : lowbit::all_kernels()) {
      std::vector<uint8_t> codes(n * s.scale_bytes(), 0xee);
      std::vector<float> scale(n, -7.0f), zero(n, -7.0f);
      k->choose_params(r.low.data(), r.high.data(), int64_t(n), rule, codes.data(), scale.data(), zero.data());
      for (size_t i = 0; i < n; ++i) {
        check(s, k->name, r.low[i], r.high[i], codes.data(), scale.data(), zero.data(), i);
        overflows += !std::isfinite(scale[i]);
        ++all;
      }
    }
  }
  CHECK(overflows > all / 100 && overflows < all / 2);
}

TEST(choose_params_every_length) {
  const Ranges r = ranges();
  const Guarded low_room, high_room, code_room, scale_room, zero_room;
  const auto place = [](const Guarded& room, const std::vector<float>& x, size_t n, bool at_end) {
    float* p = at_end ? room.last<float>(n) : room.first<float>();
    std::copy_n(x.end() - ptrdiff_t(n), n, p);
    return p;
  };
  const auto dirty = [](const Guarded& room, size_t bytes, bool at_end) {
    uint8_t* p = at_end ? room.last<uint8_t>(bytes) : room.first<uint8_t>();
    std::memset(p, 0xee, bytes + !at_end);
    return p;
  };
  size_t turn = 0;
  const std::vector<Setting> all = naive::settings();
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t n = 0; n <= size_t(3 * k->lanes + 3); ++n) {
      for (size_t i = 0; i < 40; ++i) {
        const Setting& s = all[turn++ * 7 % all.size()];
        const ParamRule rule = rule_of(s);
        const bool at_end = turn % 2, with_zero = turn % 3;
        const float* low = place(low_room, r.low, n, at_end);
        const float* high = place(high_room, r.high, n, at_end);
        uint8_t* codes = dirty(code_room, n * s.scale_bytes(), at_end);
        uint8_t* scale_bytes = dirty(scale_room, 4 * n, at_end);
        uint8_t* zero_bytes = dirty(zero_room, 4 * n, at_end);
        float *scale = reinterpret_cast<float*>(scale_bytes), *zero = reinterpret_cast<float*>(zero_bytes);
        k->choose_params(low, high, int64_t(n), rule, codes, scale, with_zero ? zero : nullptr);
        for (size_t j = 0; j < n; ++j) {
          check(s, k->name, low[j], high[j], codes, scale, with_zero ? zero : nullptr, j);
        }
        if (!at_end) {
          CHECK_EQ(codes[n * s.scale_bytes()], 0xee);
          CHECK_EQ(scale_bytes[4 * n], 0xee);
          CHECK_EQ(zero_bytes[4 * n], 0xee);
        }
      }
    }
  }
}

// full at 2 bits: scale = absmax / 1.5; the neighbourhood of every number of the type and of every middle
TEST(choose_params_rounds_to_every_scale) {
  const naive::Format& int2 = *std::find_if(naive::formats().begin(), naive::formats().end(),
                                            [](const naive::Format& f) { return f.id == LOWBIT_INT(2); });
  for (const Setting& s : naive::settings()) {
    if (s.format != &int2 || s.convention != LOWBIT_FULL || s.global != 1 || s.scale_type == LOWBIT_FLOAT32) continue;
    const ParamRule rule = rule_of(s);
    const naive::Float& type = naive::float_of(s.scale_type);
    Ranges r;
    for (size_t i = 0; i + 1 < type.numbers.size(); ++i) {
      for (const double at : {type.numbers[i], (type.numbers[i] + type.numbers[i + 1]) / 2}) {
        const float v = float(std::min(at * 1.5, double(FLT_MAX)));
        for (const float high : {v, std::nextafter(v, 0.0f), std::nextafter(v, FLT_MAX)}) r.add(0.0f, high);
      }
    }
    const size_t n = r.low.size();
    for (const Kernels* k : lowbit::all_kernels()) {
      std::vector<uint8_t> codes(n * s.scale_bytes(), 0xee);
      std::vector<float> scale(n);
      k->choose_params(r.low.data(), r.high.data(), int64_t(n), rule, codes.data(), scale.data(), nullptr);
      for (size_t i = 0; i < n; ++i) check(s, k->name, r.low[i], r.high[i], codes.data(), scale.data(), nullptr, i);
    }
  }
}

namespace {

lowbit_context best() {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  return context;
}

lowbit_choose_args choose_args(const Setting& s, const std::vector<float>& low, const std::vector<float>& high,
                               void* scale, uint8_t* zero) {
  lowbit_choose_args args = {};
  args.struct_size = sizeof args;
  args.format = s.format->id;
  args.convention = s.convention;
  args.scale_type = s.scale_type;
  args.global_scale = s.global == 1 ? 0 : s.global;
  args.count = int64_t(low.size());
  args.minimum = low.data();
  args.maximum = high.data();
  args.scale = scale;
  args.zero_point = zero;
  return args;
}

}  // namespace

TEST(lowbit_choose_params_more_than_a_block_and_all_or_nothing) {
  const lowbit_context context = best();
  const Ranges given = ranges();
  for (const Setting& s : naive::settings()) {
    Ranges r;  // those that fit
    size_t misfit = given.low.size();
    for (size_t i = 0; i < given.low.size(); ++i) {
      const naive::Params p = s.expect(given.low[i], given.high[i]);
      if (std::isfinite(p.scale)) {
        r.add(given.low[i], given.high[i]);
      } else {
        misfit = i;
      }
    }
    while (r.low.size() < 400 || r.low.size() % 256 == 0) r.add(r.low[0], r.high[0]);  // 256: the library's block
    std::vector<uint8_t> codes(r.low.size() * s.scale_bytes(), 0xee), zero(r.low.size(), 0xee);
    lowbit_choose_args args = choose_args(s, r.low, r.high, codes.data(), zero.data());
    lowbit_error error = {};
    CHECK_EQ(lowbit_choose_params(&context, &args, &error), LOWBIT_OK);
    CHECK_EQ(std::string(error.message), std::string());
    for (size_t i = 0; i < r.low.size(); ++i) {
      const naive::Params p = s.expect(r.low[i], r.high[i]);
      CHECK_EQ(zero[i], uint8_t(p.zero));
      uint8_t expected[4];
      s.store(p, expected);
      CHECK(std::memcmp(&codes[i * s.scale_bytes()], expected, s.scale_bytes()) == 0);
    }

    if (misfit == given.low.size()) continue;
    // behind a block of good ones: nothing is written, the message says which
    r.low[300] = given.low[misfit];
    r.high[300] = given.high[misfit];
    std::fill(codes.begin(), codes.end(), uint8_t(0xee));
    std::fill(zero.begin(), zero.end(), uint8_t(0xee));
    CHECK_EQ(lowbit_choose_params(&context, &args, &error), LOWBIT_INVALID_VALUE);
    CHECK(std::strstr(error.message, "scale: that of parameter 300 does not fit scale_type "));
    CHECK(std::count(codes.begin(), codes.end(), 0xee) == ptrdiff_t(codes.size()));
    CHECK(std::count(zero.begin(), zero.end(), 0xee) == ptrdiff_t(zero.size()));
  }
}

TEST(lowbit_choose_params_refuses) {
  const lowbit_context context = best();
  const std::vector<float> low = {-1, -2}, high = {3, 4};
  float scale[2];
  uint8_t zero[2];
  lowbit_choose_args good = {};
  good.struct_size = sizeof good;
  good.format = LOWBIT_INT(4);
  good.convention = LOWBIT_FULL;
  good.scale_type = LOWBIT_FLOAT32;
  good.count = 2;
  good.minimum = low.data();
  good.maximum = high.data();
  good.scale = scale;
  good.zero_point = zero;
  CHECK_EQ(lowbit_choose_params(&context, &good, nullptr), LOWBIT_OK);

  const auto refuse = [&](lowbit_status status, const char* says, auto change) {
    lowbit_choose_args bad = good;
    change(&bad);
    std::memset(scale, 0xee, sizeof scale);
    lowbit_error error = {};
    CHECK_EQ(lowbit_choose_params(&context, &bad, &error), status);
    CHECK_EQ(error.status, status);
    if (!std::strstr(error.message, says)) test::failed(__FILE__, __LINE__, std::string(says) + ": " + error.message);
    CHECK_EQ(reinterpret_cast<uint8_t*>(scale)[0], 0xee);
  };
  using Args = lowbit_choose_args*;
  constexpr lowbit_status kValue = LOWBIT_INVALID_VALUE, kType = LOWBIT_INVALID_TYPE;
  refuse(kValue, "args.struct_size: got 8", [](Args a) { a->struct_size = 8; });
  refuse(kValue, "format: got 99", [](Args a) { a->format = 99; });
  refuse(kValue, "convention: got 5", [](Args a) { a->convention = lowbit_convention(5); });
  refuse(kValue, "convention: got -1", [](Args a) { a->convention = lowbit_convention(-1); });
  refuse(kType, "scale_type: got 3", [](Args a) { a->scale_type = LOWBIT_INT8; });
  refuse(kType, "scale_type: got 7", [](Args a) { a->scale_type = LOWBIT_FLOAT8_E5M2; });
  refuse(kType, "scale_type: got 0", [](Args a) { a->scale_type = LOWBIT_NONE; });
  for (const float global : {-1.0f, naive::kNan, naive::kInf}) {
    refuse(kValue, "global_scale: got", [=](Args a) { a->global_scale = global; });
  }
  refuse(kValue, "count: got -1", [](Args a) { a->count = -1; });
  refuse(kValue, "minimum: got NULL", [](Args a) { a->minimum = nullptr; });
  refuse(kValue, "maximum: got NULL", [](Args a) { a->maximum = nullptr; });
  refuse(kValue, "scale: got NULL", [](Args a) { a->scale = nullptr; });
  refuse(kValue, "zero_point: got NULL", [](Args a) { a->zero_point = nullptr, a->convention = LOWBIT_ASYMMETRIC; });
  refuse(kValue, "zero_point: got NULL", [](Args a) { a->zero_point = nullptr, a->format = LOWBIT_UINT(4); });
  for (const lowbit_convention c : {LOWBIT_ABSMAX, LOWBIT_NO_CLIP}) {
    refuse(kValue, "which has no positive code", [=](Args a) { a->format = LOWBIT_INT(1), a->convention = c; });
  }
  for (const lowbit_format f : {LOWBIT_FORMAT_E5M2, LOWBIT_FORMAT_NF4, LOWBIT_FORMAT_NVFP4}) {
    refuse(kValue, "convention: got full for format ", [=](Args a) { a->format = f; });
    refuse(kValue, "convention: got asymmetric", [=](Args a) { a->format = f, a->convention = LOWBIT_ASYMMETRIC; });
  }
  refuse(kValue, "convention: got signed_max with scale_type float8_e8m0fnu",
         [](Args a) { a->convention = LOWBIT_SIGNED_MAX, a->scale_type = LOWBIT_FLOAT8_E8M0FNU; });
  const std::vector<float> odd[] = {{-1, naive::kNan}, {-1, -naive::kInf}, {-1, 5}};
  for (const std::vector<float>& minimum : odd) {
    refuse(kValue, " at 1, expected finite values, minimum <= maximum", [&](Args a) { a->minimum = minimum.data(); });
  }
  lowbit_error error;
  CHECK_EQ(lowbit_choose_params(&context, nullptr, &error), kValue);
  CHECK_EQ(lowbit_choose_params(nullptr, &good, &error), kValue);

  // nothing is asked, nothing is needed
  lowbit_choose_args none = good;
  none.count = 0;
  none.minimum = none.maximum = nullptr;
  none.scale = none.zero_point = nullptr;
  CHECK_EQ(lowbit_choose_params(&context, &none, nullptr), LOWBIT_OK);
}
