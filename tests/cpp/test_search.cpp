// The kernels of calibration on every ISA, bit for bit against docs/numerics.md written out for one candidate or one
// element (reliability.md: 1, 3, 4, 5, 6, 13, 17, 31).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "formats/registry.hpp"
#include "guard.hpp"
#include "isas.hpp"
#include "test.hpp"

using namespace lowbit;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
const std::vector<float> kSpecial = {kNan,  kInf,   -kInf, FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN,
                                     kTiny, -kTiny, 0.0f,  -0.0f,   1.0f,     -1.0f};

bool same_bits(float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); }

std::vector<float> random_floats(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

void sprinkle(std::vector<float>* x, size_t turn) {
  for (size_t i = turn % 3; i < x->size(); i += 2 + turn % 5) (*x)[i] = kSpecial[(i + turn) % kSpecial.size()];
}

float* place(const Guarded& guarded, const std::vector<float>& values, bool at_end) {
  float* p = at_end ? guarded.last<float>(values.size()) : guarded.first<float>();
  std::copy(values.begin(), values.end(), p);
  return p;
}

const Format& format_of(const char* name) {
  lowbit_format id = 0;
  CHECK_EQ(lowbit_format_by_name(name, &id, nullptr), LOWBIT_OK);
  return *find_format(id, nullptr);
}

SearchRule rule_of(const char* format, float qmin, float qmax, int has_zero) {
  SearchRule rule = {};
  rule.coder = format_of(format).coder;
  rule.qmin = qmin;
  rule.qmax = qmax;
  rule.has_zero = has_zero;
  rule.global_scale = 1.0f;
  return rule;
}

// What each format's codes stand for, nearest to t: a search through all of them.
float naive_value(const Kernels& k, const SearchRule& rule, const SearchCandidates& c, int lane, float x) {
  if (rule.coder.kind == Coder::kInteger) {
    const float q = std::fma(x, c.inverse[lane], 12582912.0f);
    return std::min(std::max(q, c.low[lane] + 12582912.0f), c.high[lane] + 12582912.0f) - 12582912.0f;
  }
  // other formats: quantize and dequantize, which have tests of their own, with scale 1
  const float t = x * c.inverse[lane], one = 1.0f;
  uint16_t code = 0;
  float value;
  k.quantize_runs(&t, 1, 1, &one, nullptr, 0, rule.coder, &code);
  k.dequantize_runs(&code, 1, 1, &one, nullptr, rule.coder, &value);
  return value;
}

SearchCandidates some_candidates(unsigned seed, float qmin, float qmax) {
  SearchCandidates c = {};
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> scale(0.02f, 0.6f);
  for (int k = 0; k < kCandidates; ++k) {
    c.scale[k] = k % 5 == 3 ? -scale(random) : scale(random);
    c.stored[k] = c.scale[k];
    c.inverse[k] = 1.0f / c.scale[k];
    const float zero = float(k % int(qmax - qmin + 1));
    c.low[k] = -zero;
    c.high[k] = qmax - qmin - zero;
  }
  return c;
}

const char* const kFormats[] = {"int4",          "uint8",           "int1",          "nf4",     "fp4",
                                "float8_e4m3fn", "float8_e5m2fnuz", "float4_e2m1fn", "bfloat16"};

}  // namespace

TEST(search_load_every_length) {
  const Guarded from, to;
  for (const Kernels* k : all_kernels()) {
    for (size_t n = 0; n <= size_t(4 * k->lanes + 3); ++n) {
      for (const float factor : {1.0f, 0.25f, 0x1p-126f, 0x1p126f}) {
        std::vector<float> x = random_floats(n, unsigned(n + 1));
        sprinkle(&x, n);
        for (const bool at_end : {false, true}) {
          const float* in = place(from, x, at_end);
          float* out = place(to, std::vector<float>(n, kNan), at_end);
          k->search_load(in, int64_t(n), factor, out);
          for (size_t i = 0; i < n; ++i) CHECK(out[i] == (std::isfinite(x[i]) ? x[i] * factor : 0.0f));  // -0 or +0
        }
        float* both = place(to, x, true);  // in place
        k->search_load(both, int64_t(n), factor, both);
        for (size_t i = 0; i < n; ++i) CHECK(both[i] == (std::isfinite(x[i]) ? x[i] * factor : 0.0f));
      }
    }
  }
}

TEST(search_sums_of_every_candidate) {
  const Guarded from, weight_room;
  for (const Kernels* k : all_kernels()) {
    unsigned seed = 0;
    for (const char* name : kFormats) {
      for (const size_t n : {0, 1, 2, 5, 32, 67}) {
        const Coder& coder = format_of(name).coder;
        const float qmin = float(coder.range.qmin), qmax = float(coder.range.qmax);
        const SearchRule rule = rule_of(name, qmin, qmax, 1);
        const SearchCandidates c = some_candidates(++seed, qmin, qmax);
        const std::vector<float> x = random_floats(n, seed);
        std::vector<float> w = random_floats(n, seed + 1000);
        for (float& v : w) v = std::fabs(v);
        for (const bool weighted : {false, true}) {
          const float* in = place(from, x, true);
          const float* weights = weighted ? place(weight_room, w, true) : nullptr;
          alignas(64) float cross[kCandidates], square[kCandidates], error[kCandidates];
          for (int lane = 0; lane < kCandidates; ++lane) cross[lane] = square[lane] = error[lane] = float(lane);
          k->search_fit(in, weights, int64_t(n), rule, c, cross, square);
          k->search_error(in, weights, int64_t(n), rule, c, error);
          bool differ = false;
          for (int lane = 0; lane < kCandidates; ++lane) {
            float a = float(lane), b = float(lane), e = float(lane);
            for (size_t i = 0; i < n; ++i) {
              const float q = naive_value(*k, rule, c, lane, x[i]), by = weighted ? w[i] : 1.0f;
              a = std::fma(x[i], by * q, a);
              b = std::fma(q, by * q, b);
              const float d = std::fma(q, -c.scale[lane], x[i]);
              e = std::fma(by * d, d, e);
            }
            CHECK(same_bits(cross[lane], a));
            CHECK(same_bits(square[lane], b));
            CHECK(same_bits(error[lane], e));
            differ = differ || error[lane] - float(lane) != error[0];
          }
          CHECK(n == 0 || differ);
        }
      }
    }
  }
}

TEST(search_start_and_refine) {
  const FloatFormat* types[] = {nullptr, float_format(LOWBIT_FLOAT16), float_format(LOWBIT_BFLOAT16),
                                float_format(LOWBIT_FLOAT8_E4M3FN), float_format(LOWBIT_FLOAT8_E8M0FNU)};
  alignas(64) float low_factor[kCandidates], high_factor[kCandidates], cross[kCandidates], square[kCandidates];
  for (int lane = 0; lane < kCandidates; ++lane) {
    low_factor[lane] = 1.0f - float(lane / 8) * 0.1f;
    high_factor[lane] = 1.1f - float(lane % 8) * 0.13f;
  }
  for (const Kernels* k : all_kernels()) {
    for (const FloatFormat* type : types) {
      for (const float global : {1.0f, 0.37f}) {
        for (const int exponent : {0, -20, 9, 30, -126, 126}) {
          for (const int has_zero : {0, 1}) {
            SearchRule rule = rule_of("uint4", has_zero ? 0.0f : -8.0f, has_zero ? 15.0f : 7.0f, has_zero);
            rule.global_scale = global;
            rule.rounded = type != nullptr;
            if (type) rule.scale_format = *type;
            const float unit = std::ldexp(1.0f, exponent);
            const SearchUnit units = {unit, 1.0f / unit, 0.125f, 5.0f};
            const SearchGrid grid = {-1.3f, 1.7f, low_factor, high_factor};
            SearchCandidates c;
            k->search_start(rule, units, grid, &c);

            // a scale, stored and in units, from what is wanted; or the other one
            const auto expect = [&](int lane, float wanted, float other, float other_stored) {
              float stored = wanted * unit / global;
              if (type) {
                uint16_t code = 0;
                k->encode_floats(&stored, 1, *type, {}, &code);
                k->decode_floats(&code, 1, *type, &stored);
              }
              const float real = stored * global;
              const bool good = std::isfinite(real) && real != 0.0f;
              CHECK(same_bits(c.scale[lane], good ? real / unit : other));
              CHECK(same_bits(c.stored[lane], good ? stored : other_stored));
              CHECK(same_bits(c.inverse[lane], 1.0f / c.scale[lane]));
            };
            for (int lane = 0; lane < kCandidates; ++lane) {
              const float high = 1.7f * high_factor[lane], low = -1.3f * low_factor[lane];
              expect(lane, has_zero ? (high - low) / 15.0f : high, 0.125f, 5.0f);
              float zero = 0.0f - low / c.scale[lane];
              zero = std::nearbyint(std::min(std::max(zero, 0.0f), 15.0f));
              CHECK_EQ(c.low[lane], has_zero ? 0.0f - zero : -8.0f);
              CHECK_EQ(c.high[lane], has_zero ? 15.0f - zero : 7.0f);
              cross[lane] = lane % 7 == 0 ? 0.0f : lane % 7 == 1 ? kInf : 0.3f * float(lane - 20);
              square[lane] = lane % 3 == 0 ? 0.0f : float(lane);
            }
            const SearchCandidates old = c;
            k->search_refine(rule, units, cross, square, &c);
            for (int lane = 0; lane < kCandidates; ++lane) {
              expect(lane, cross[lane] / square[lane], old.scale[lane], old.stored[lane]);
            }
          }
        }
      }
    }
  }
}

TEST(search_best_is_the_first_of_the_least) {
  alignas(64) float error[kCandidates];
  for (const Kernels* k : all_kernels()) {
    for (int at = 0; at < kCandidates; ++at) {
      for (int again = at; again < kCandidates; ++again) {
        std::fill(error, error + kCandidates, 2.0f);
        error[(at + 13) % kCandidates] = kInf;
        error[(at + 29) % kCandidates] = kNan;
        error[at] = error[again] = 1.0f;
        CHECK_EQ(k->search_best(error), at);
      }
    }
    std::fill(error, error + kCandidates, 0.0f);
    CHECK_EQ(k->search_best(error), 0);
    error[0] = kNan;
    CHECK_EQ(k->search_best(error), 1);
  }
}

TEST(histogram_every_length) {
  const Guarded from;
  for (const Kernels* k : all_kernels()) {
    for (const HistogramRule rule : {HistogramRule{8.0f, 16, 0}, HistogramRule{3.3f, 64, 1},
                                     HistogramRule{0x1p126f, 4, 0}, HistogramRule{0x1p-126f, 4, 1}}) {
      for (size_t n = 0; n <= 600; n += n < 70 ? 1 : 53) {
        std::vector<float> x = random_floats(n, unsigned(n));
        if (n % 2) sprinkle(&x, n);
        const float* in = place(from, x, n % 3 != 0);
        std::vector<uint32_t> tables(size_t(kHistogramTables * (rule.bins + 1)), 0), expected(size_t(rule.bins + 1), 7);
        for (size_t i = 0; i < expected.size(); ++i) tables[i] = 7;  // counts are added
        k->histogram(in, int64_t(n), rule, tables.data());
        for (const float v : x) {
          if (!std::isfinite(v)) {
            ++expected.back();
            continue;
          }
          const double bin = rule.absolute ? std::floor(double(std::fabs(v) * rule.inverse))
                                           : std::floor(double(v * rule.inverse)) + rule.bins / 2;
          ++expected[size_t(std::min(std::max(bin, 0.0), double(rule.bins - 1)))];
        }
        for (size_t bin = 0; bin < expected.size(); ++bin) {
          uint32_t sum = 0;
          for (size_t t = 0; t < kHistogramTables; ++t) sum += tables[t * expected.size() + bin];
          CHECK_EQ(sum, expected[bin]);
        }
      }
    }
  }
}

TEST(absolute_sum_in_16_lanes) {
  const Guarded from(5000 * sizeof(float));
  for (const Kernels* k : all_kernels()) {
    for (size_t n = 0; n <= 4096; n += n < 140 ? 1 : 659) {
      std::vector<float> x = random_floats(n, unsigned(n));
      for (size_t i = n % 4; i < n; i += 7) x[i] = i % 2 ? kNan : -kInf;
      for (const bool at_end : {false, true}) {
        float sum = kNan, lanes[16] = {};
        int64_t count = -1, expected = 0;
        k->absolute_sum(place(from, x, at_end), int64_t(n), &sum, &count);
        for (size_t i = 0; i < n; ++i) {
          if (!std::isfinite(x[i])) continue;
          lanes[i % 16] += std::fabs(x[i]);
          ++expected;
        }
        for (int half = 8; half > 0; half /= 2) {
          for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        }
        CHECK(same_bits(sum, lanes[0]));
        CHECK_EQ(count, expected);
      }
    }
  }
}

// Every ISA's bits are those of the first; lowbit.reference has the formula.
TEST(hqq_zero_is_the_same_everywhere) {
  const Guarded from(5000 * sizeof(float));
  const HqqRule rule = {0.0f, 15.0f, -0.3f, 10.0f, 1.01f, 20};
  int moves = 0;
  for (const size_t n : {1, 2, 15, 16, 17, 64, 131, 4096, 4099}) {
    for (size_t turn = 0; turn < 6; ++turn) {
      std::vector<float> x = random_floats(n, unsigned(n + turn));
      if (turn % 2) sprinkle(&x, turn);
      const float scale = turn < 3 ? 0.3f : 1e-3f, start = 7.3f;
      float expected = kNan;
      bool moved = false;
      for (const Kernels* k : all_kernels()) {
        const float zero = k->hqq_zero(place(from, x, true), int64_t(n), rule, scale, start);
        if (k == all_kernels().front()) expected = zero;
        CHECK(same_bits(zero, expected));
        CHECK(std::isfinite(zero));
        moved = moved || zero != start;
      }
      moves += moved;
    }
  }
  CHECK(moves > 20);                        // of 54
  for (const Kernels* k : all_kernels()) {  // nothing finite, nothing at all, no rounds
    const float nothing[] = {kNan, kInf, -kInf};
    CHECK_EQ(k->hqq_zero(nothing, 3, rule, 0.5f, 3.0f), 3.0f);
    CHECK_EQ(k->hqq_zero(nothing, 0, rule, 0.5f, 3.0f), 3.0f);
    const float one = 1.0f;
    CHECK_EQ(k->hqq_zero(&one, 1, {0.0f, 15.0f, -0.3f, 10.0f, 1.01f, 0}, 0.5f, 3.25f), 3.25f);
  }
}
