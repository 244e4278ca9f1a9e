// lowbit_cast: every pair of types, way of rounding and length around its pieces, however the work is split, against
// naive.hpp (reliability.md: 1, 4, 5, 14, 17, 18, 30).
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "lowbit/lowbit.h"
#include "naive.hpp"
#include "split.hpp"
#include "test.hpp"

namespace {

constexpr int kThreads[] = {1, 2, 3, 7};

// Floats of all magnitudes that the type has and some that it has not; every 97th is random bits, NaN among them.
std::vector<float> data_for(const naive::Float& f, size_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const int top = std::ilogb(f.max_value()), spread = std::min(40, 2 * (1 << (f.bits - f.mantissa - 1)));
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) {
    x[i] = std::ldexp(normal(random), top - int(random() % unsigned(spread)));
    if (i % 97 == 5) x[i] = naive::from_bits(uint32_t(random()));
    if (i % 97 == 6) x[i] = i % 2 ? naive::kInf : -naive::kNan;
    if (f.special == naive::Special::kPower && i % 13 != 0) x[i] = std::fabs(x[i]);
  }
  return x;
}

size_t bytes_of(const naive::Float& f) { return f.bits > 8 ? 2 : 1; }

lowbit_cast_args encode_args(const naive::Float& f, const std::vector<float>& x, lowbit_rounding rounding, void* out) {
  lowbit_cast_args args = {};
  args.struct_size = sizeof args;
  args.count = int64_t(x.size());
  args.from = LOWBIT_FLOAT32;
  args.x = x.data();
  args.to = f.type;
  args.out = out;
  args.rounding = rounding;
  return args;
}

lowbit_cast_args decode_args(const naive::Float& f, const std::vector<uint8_t>& codes, float* out) {
  lowbit_cast_args args = {};
  args.struct_size = sizeof args;
  args.count = int64_t(codes.size() / bytes_of(f));
  args.from = f.type;
  args.x = codes.data();
  args.to = LOWBIT_FLOAT32;
  args.out = out;
  return args;
}

std::vector<uint8_t> store(const naive::Float& f, const std::vector<int>& codes) {
  std::vector<uint8_t> bytes;
  for (const int code : codes) {
    bytes.push_back(uint8_t(code));
    if (f.bits > 8) bytes.push_back(uint8_t(code >> 8));
  }
  return bytes;
}

// The codes of x; one byte more, which must stay.
std::vector<uint8_t> encode(const lowbit_context& context, const naive::Float& f, const std::vector<float>& x,
                            lowbit_rounding rounding, int saturate, uint64_t seed = 0) {
  std::vector<uint8_t> out(x.size() * bytes_of(f) + 1, 0xee);
  lowbit_cast_args args = encode_args(f, x, rounding, out.data());
  args.saturate = saturate;
  args.seed = seed;
  lowbit_error error = {};
  if (lowbit_cast(&context, &args, &error) != LOWBIT_OK) test::failed(__FILE__, __LINE__, error.message);
  CHECK_EQ(out.back(), 0xee);
  out.pop_back();
  return out;
}

struct Way {
  lowbit_rounding rounding;
  naive::Round round;
};

std::vector<Way> ways(const naive::Float& f) {
  if (f.special != naive::Special::kPower) return {{LOWBIT_NEAREST_EVEN, naive::Round::kNearest}};
  return {{LOWBIT_NEAREST_EVEN, naive::Round::kNearest},
          {LOWBIT_UP, naive::Round::kUp},
          {LOWBIT_DOWN, naive::Round::kDown}};
}

std::string name(const naive::Float& f, const test::Split& split) {
  return "lowbit_type " + std::to_string(f.type) + ", " + split.isa + " x " + std::to_string(split.max_threads);
}

}  // namespace

TEST(cast_every_type_and_split) {
  const std::vector<test::Split> splits = test::splits();
  for (const naive::Float& f : naive::floats()) {
    const std::vector<float> x = data_for(f, 70001);  // more pieces than one portion of work has
    for (const Way& way : ways(f)) {
      for (const int saturate : {0, 1}) {
        std::vector<int> codes;
        size_t overflows = 0;
        for (const float v : x) {
          codes.push_back(f.code(v, saturate, way.round));
          overflows += std::fabs(v) > f.max_value();
        }
        CHECK(overflows > 100);
        const std::vector<uint8_t> expected = store(f, codes);
        for (const test::Split& split : splits) {
          if (encode(split.context, f, x, way.rounding, saturate) != expected) {
            test::failed(__FILE__, __LINE__, name(f, split));
          }
        }
      }
    }
    std::mt19937 random(8);
    std::vector<int> codes(70001);
    for (int& code : codes) code = int(random() & ((1u << f.bits) - 1));
    const std::vector<uint8_t> stored = store(f, codes);
    for (const test::Split& split : splits) {
      std::vector<float> out(codes.size() + 1, -7.0f);
      const lowbit_cast_args args = decode_args(f, stored, out.data());
      CHECK_EQ(lowbit_cast(&split.context, &args, nullptr), LOWBIT_OK);
      for (size_t i = 0; i < codes.size(); ++i) CHECK(naive::same(out[i], f.value(codes[i])));
      CHECK_EQ(out.back(), -7.0f);
    }
  }
}

TEST(cast_lengths_around_pieces) {
  const lowbit_context context = test::pool_context(nullptr, 1);
  for (const naive::Float& f : naive::floats()) {
    for (const size_t n :
         {size_t{0}, size_t{1}, size_t{2047}, size_t{2048}, size_t{2049}, size_t{8191}, size_t{8193}}) {
      const std::vector<float> x = data_for(f, n);
      std::vector<int> codes;
      for (const float v : x) codes.push_back(f.code(v, true));
      const std::vector<uint8_t> stored = encode(context, f, x, LOWBIT_NEAREST_EVEN, 1);
      CHECK(stored == store(f, codes));
      std::vector<float> back(n + 1, -7.0f);
      const lowbit_cast_args args = decode_args(f, stored, back.data());
      CHECK_EQ(lowbit_cast(&context, &args, nullptr), LOWBIT_OK);
      for (size_t i = 0; i < n; ++i) CHECK(naive::same(back[i], f.value(codes[i])));
      CHECK_EQ(back[n], -7.0f);
    }
  }
}

// An element's draw depends on the seed and its index: not on the ISA, the split or what follows.
TEST(cast_stochastic_depends_on_seed_and_index_alone) {
  const std::vector<test::Split> splits = test::splits();
  for (const naive::Float& f : naive::floats()) {
    if (f.special == naive::Special::kPower) continue;
    const std::vector<float> x = data_for(f, 40001);
    for (const int saturate : {0, 1}) {
      std::vector<std::vector<uint8_t>> known;
      for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, UINT64_MAX}) {
        std::vector<int> codes;
        for (const float v : x) codes.push_back(f.stochastic_code(v, saturate, naive::draw(seed, codes.size())));
        const std::vector<uint8_t> first = store(f, codes);
        for (const test::Split& split : splits) {
          if (encode(split.context, f, x, LOWBIT_STOCHASTIC, saturate, seed) != first) {
            test::failed(__FILE__, __LINE__, name(f, split));
          }
        }
        const std::vector<float> some(x.begin(), x.begin() + 9001);
        const std::vector<uint8_t> start(first.begin(), first.begin() + ptrdiff_t(9001 * bytes_of(f)));
        CHECK(encode(splits[0].context, f, some, LOWBIT_STOCHASTIC, saturate, seed) == start);
        for (const std::vector<uint8_t>& other : known) CHECK(other != first);
        known.push_back(first);
      }
    }
  }
}

// Half way between two numbers each is as likely, in every piece; neighbouring draws have nothing to do with each
// other.
TEST(cast_stochastic_draws_are_independent) {
  const lowbit_context context = test::pool_context(nullptr, 1);
  const naive::Float& f = naive::float_of(LOWBIT_FLOAT4_E2M1FN);
  const size_t n = 1 << 18;
  const std::vector<uint8_t> codes = encode(context, f, std::vector<float>(n, 2.5f), LOWBIT_STOCHASTIC, 1, 12345);
  for (const size_t step : {1, 2, 8, 16, 2048, 65536}) {
    int64_t ups = 0, equal = 0;
    for (size_t i = 0; i + step < n; ++i) {
      CHECK(codes[i] == 4 || codes[i] == 5);  // 2 and 3
      ups += codes[i] == 5;
      equal += codes[i] == codes[i + step];
    }
    const double count = double(n - step), deviation = 0.5 / std::sqrt(count);
    CHECK(std::fabs(double(ups) / count - 0.5) < 5 * deviation);
    CHECK(std::fabs(double(equal) / count - 0.5) < 5 * deviation);
  }
}

// From 16 MiB of results on they are written past the caches: the same bytes.
TEST(cast_large_results) {
  const size_t n = (size_t{16} << 20) + 77;
  std::vector<float> x(n), back(n + 16);
  for (const lowbit_type type : {LOWBIT_FLOAT8_E5M2, LOWBIT_BFLOAT16}) {
    const naive::Float& f = naive::float_of(type);
    const std::vector<float> some = data_for(f, 50021);
    for (size_t i = 0; i < n; ++i) x[i] = some[i % some.size()];
    std::vector<int> codes;
    for (const float v : some) codes.push_back(f.code(v, false));
    const std::vector<uint8_t> one = store(f, codes);
    for (int i = 0; const char* isa = lowbit_available_isa(i); ++i) {
      const size_t offset = size_t(10 * i + 2);
      std::vector<uint8_t> room(n * bytes_of(f) + 64, 0xee);
      const lowbit_context context = test::pool_context(isa, kThreads[i % 4]);
      lowbit_cast_args args = encode_args(f, x, LOWBIT_NEAREST_EVEN, room.data() + offset);
      CHECK_EQ(lowbit_cast(&context, &args, nullptr), LOWBIT_OK);
      const uint8_t* out = room.data() + offset;
      const size_t size = n * bytes_of(f);
      for (size_t at = 0; at < size; at += one.size()) {
        CHECK(std::memcmp(out + at, one.data(), std::min(one.size(), size - at)) == 0);
      }
      CHECK_EQ(out[-1], 0xee);
      CHECK_EQ(out[size], 0xee);

      args = decode_args(f, room, back.data() + i);
      args.x = out;
      args.count = int64_t(n / 3);
      back[n / 3 + size_t(i)] = -7.0f;
      CHECK_EQ(lowbit_cast(&context, &args, nullptr), LOWBIT_OK);
      for (size_t k = 0; k < n / 3; ++k) CHECK(naive::same(back[k + size_t(i)], f.value(codes[k % codes.size()])));
      CHECK_EQ(back[n / 3 + size_t(i)], -7.0f);
    }
  }
}

TEST(cast_refuses) {
  const lowbit_context context = test::pool_context(nullptr, 1);
  const std::vector<float> x = {1, 2, 3};
  uint8_t out[16];
  const lowbit_cast_args good = encode_args(naive::float_of(LOWBIT_FLOAT16), x, LOWBIT_NEAREST_EVEN, out);
  CHECK_EQ(lowbit_cast(&context, &good, nullptr), LOWBIT_OK);
  const auto refuse = [&](lowbit_status status, const char* says, auto change) {
    lowbit_cast_args bad = good;
    change(&bad);
    std::memset(out, 0xee, sizeof out);
    lowbit_error error = {};
    CHECK_EQ(lowbit_cast(&context, &bad, &error), status);
    CHECK_EQ(error.status, status);
    if (!std::strstr(error.message, says)) test::failed(__FILE__, __LINE__, std::string(says) + ": " + error.message);
    CHECK_EQ(out[0], 0xee);
  };
  using Args = lowbit_cast_args*;
  constexpr lowbit_status kValue = LOWBIT_INVALID_VALUE, kType = LOWBIT_INVALID_TYPE;
  refuse(kValue, "args.struct_size: got 3, expected sizeof(lowbit_cast_args)", [](Args a) { a->struct_size = 3; });
  refuse(kType, "args.from, args.to: got 1 and 1", [](Args a) { a->to = LOWBIT_FLOAT32; });
  refuse(kType, "args.from, args.to: got 2 and 5", [](Args a) { a->from = LOWBIT_FLOAT16, a->to = LOWBIT_BFLOAT16; });
  refuse(kType, "args.from, args.to: got 1 and 3", [](Args a) { a->to = LOWBIT_INT8; });
  refuse(kType, "args.from, args.to: got 4 and 1", [](Args a) { a->from = LOWBIT_UINT8, a->to = LOWBIT_FLOAT32; });
  refuse(kType, "args.from, args.to: got 0 and 2", [](Args a) { a->from = LOWBIT_NONE; });
  refuse(kType, "args.from, args.to: got 1 and 17", [](Args a) { a->to = lowbit_type(17); });
  refuse(kValue, "args.rounding: got up, expected nearest_even or stochastic", [](Args a) { a->rounding = LOWBIT_UP; });
  refuse(kValue, "args.rounding: got down, expected", [](Args a) { a->rounding = LOWBIT_DOWN; });
  refuse(kValue, "args.rounding: got 4", [](Args a) { a->rounding = lowbit_rounding(4); });
  refuse(kValue, "args.rounding: got -1", [](Args a) { a->rounding = lowbit_rounding(-1); });
  refuse(kValue, "args.rounding: got stochastic for float8_e8m0fnu",
         [](Args a) { a->to = LOWBIT_FLOAT8_E8M0FNU, a->rounding = LOWBIT_STOCHASTIC; });
  refuse(kValue, "args.count: got -1", [](Args a) { a->count = -1; });
  refuse(kValue, "args.count: got 72057594037927937", [](Args a) { a->count = (int64_t{1} << 56) + 1; });
  refuse(kValue, "args.x: got NULL", [](Args a) { a->x = nullptr; });
  refuse(kValue, "args.out: got NULL", [](Args a) { a->out = nullptr; });
  lowbit_error error;
  CHECK_EQ(lowbit_cast(&context, nullptr, &error), kValue);
  CHECK_EQ(lowbit_cast(nullptr, &good, &error), kValue);

  lowbit_cast_args none = good;
  none.count = 0;
  none.x = none.out = nullptr;
  CHECK_EQ(lowbit_cast(&context, &none, nullptr), LOWBIT_OK);
}
