// range, quantize, dequantize and widen_half of every ISA, bit for bit against docs/numerics.md written out for one
// element (reliability.md: 1, 3, 4, 5, 6, 7, 13, 14, 17, 31).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "guard.hpp"
#include "isas.hpp"
#include "test.hpp"

using lowbit::CodeRange;
using lowbit::Kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
const std::vector<float> kSpecial = {kNan,          -kNan,          kInf,  -kInf,  FLT_MAX, -FLT_MAX,
                                     FLT_MIN,       -FLT_MIN,       kTiny, -kTiny, 0.0f,    -0.0f,
                                     2147483648.0f, -2147483648.0f, 4e9f,  -4e9f,  0.5f,    -2.5f};

bool same_bits(float a, float b) { return std::memcmp(&a, &b, 4) == 0; }

std::vector<float> random_floats(size_t n, unsigned seed, float spread) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-spread, spread);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

// Some elements of x become special values, at places that move with `turn`.
void sprinkle(std::vector<float>* x, size_t turn) {
  for (size_t i = turn % 3; i < x->size(); i += 3 + turn % 5) (*x)[i] = kSpecial[(i + turn) % kSpecial.size()];
}

// In double, where no step rounds but the division, which is that of float.
uint8_t naive_code(float x, float scale, int32_t zero, CodeRange range) {
  const float quotient = x / scale;
  if (std::isnan(quotient)) return uint8_t(zero);
  const double code = std::nearbyint(double(quotient)) + zero;
  return uint8_t(int32_t(std::min(std::max(code, double(range.qmin)), double(range.qmax))));
}

float naive_value(uint8_t code, bool is_signed, int32_t zero, float scale) {
  return float((is_signed ? int32_t(int8_t(code)) : int32_t(code)) - zero) * scale;
}

// Values in guarded memory, ending at the last page or beginning behind the first.
template <typename T>
T* place(const Guarded& guarded, const std::vector<T>& values, bool at_end) {
  T* p = at_end ? guarded.last<T>(values.size()) : guarded.first<T>();
  std::copy(values.begin(), values.end(), p);
  return p;
}

// n dirty elements, likewise.
template <typename T>
T* room(const Guarded& guarded, size_t n, bool at_end) {
  T* p = at_end ? guarded.last<T>(n) : guarded.first<T>();
  std::memset(p, 0xee, (n + !at_end) * sizeof(T));
  return p;
}

// That of the element behind the n.
template <typename T>
bool clean_behind(const T* p, size_t n, bool at_end) {
  uint8_t dirt[sizeof(T)];
  std::memset(dirt, 0xee, sizeof dirt);
  return at_end || std::memcmp(p + n, dirt, sizeof dirt) == 0;
}

struct Case {
  size_t n, run;
};

// All n to 4 vectors and 3 with runs around it, and runs of 1 to 70 with several to a buffer.
std::vector<Case> cases(const Kernels& k) {
  std::vector<Case> all;
  for (size_t n = 0; n <= size_t(4 * k.lanes + 3); ++n) {
    for (size_t run : {size_t{1}, size_t{3}, size_t(k.lanes), n / 2 + 1, n, n + 5}) {
      if (run > 0) all.push_back({n, run});
    }
  }
  for (size_t run = 1; run <= 70; ++run) {
    for (size_t n : {2 * run, 3 * run + run / 2, size_t{241}}) all.push_back({n, run});
  }
  return all;
}

const CodeRange kRanges[] = {{-128, 127}, {0, 255}, {-8, 7}, {0, 15}, {-1, 0}, {0, 1}, {-64, 63}};

int32_t zero_of(CodeRange range, size_t i) {
  return range.qmin + int32_t(i * 37 % size_t(range.qmax - range.qmin + 1));
}

}  // namespace

TEST(range_runs_every_length) {
  const Guarded from, low_room, high_room;
  for (const Kernels* k : lowbit::all_kernels()) {
    size_t turn = 0;
    for (const Case& c : cases(*k)) {
      std::vector<float> x = random_floats(c.n, unsigned(++turn), 100.0f);
      if (turn % 2) sprinkle(&x, turn);
      const size_t runs = (c.n + c.run - 1) / c.run;
      for (const bool at_end : {false, true}) {
        const float* in = place(from, x, at_end);
        float* low = room<float>(low_room, runs, at_end);
        float* high = room<float>(high_room, runs, at_end);
        k->range_runs(in, int64_t(c.n), int64_t(c.run), low, high);
        for (size_t r = 0; r < runs; ++r) {
          float expected_low = kInf, expected_high = -kInf;
          for (size_t i = r * c.run; i < std::min(c.n, (r + 1) * c.run); ++i) {
            if (!std::isfinite(x[i])) continue;
            expected_low = std::min(expected_low, x[i] == 0 ? 0.0f : x[i]);
            expected_high = std::max(expected_high, x[i] == 0 ? 0.0f : x[i]);
          }
          CHECK(same_bits(low[r], expected_low));
          CHECK(same_bits(high[r], expected_high));
        }
        CHECK(clean_behind(low, runs, at_end));
        CHECK(clean_behind(high, runs, at_end));
      }
    }
  }
}

TEST(range_special_values_at_every_lane) {
  for (const Kernels* k : lowbit::all_kernels()) {
    for (const float special : kSpecial) {
      for (size_t n = 1; n <= size_t(5 * k->lanes); ++n) {
        for (size_t at = 0; at < n; ++at) {
          std::vector<float> x(n, 3.0f);
          x[n / 2] = -2.0f;
          x[at] = special;
          float low, high, expected_low = kInf, expected_high = -kInf;
          for (const float v : x) {
            if (!std::isfinite(v)) continue;
            expected_low = std::min(expected_low, v + 0.0f);
            expected_high = std::max(expected_high, v + 0.0f);
          }
          k->range_runs(x.data(), int64_t(n), int64_t(n), &low, &high);
          CHECK(same_bits(low, expected_low));
          CHECK(same_bits(high, expected_high));
        }
      }
    }
  }
}

TEST(range_each_every_length) {
  const Guarded from, low_room, high_room;
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t n = 0; n <= size_t(4 * k->lanes + 3); ++n) {
      for (const bool at_end : {false, true}) {
        std::vector<float> low(n, kInf), high(n, -kInf);
        float* out_low = place(low_room, low, at_end);
        float* out_high = place(high_room, high, at_end);
        for (size_t turn = 0; turn < 40; ++turn) {
          std::vector<float> x = random_floats(n, unsigned(turn * 100 + n), 10.0f);
          sprinkle(&x, turn);
          k->range_each(place(from, x, at_end), int64_t(n), out_low, out_high);
          for (size_t i = 0; i < n; ++i) {
            if (!std::isfinite(x[i])) continue;
            low[i] = std::min(low[i], x[i]);
            high[i] = std::max(high[i], x[i]);
          }
        }
        for (size_t i = 0; i < n; ++i) {
          CHECK_EQ(out_low[i], low[i]);
          CHECK_EQ(out_high[i], high[i]);
        }
      }
    }
  }
}

TEST(quantize_every_length) {
  const Guarded from, scale_room, zero_room, to;
  for (const Kernels* k : lowbit::all_kernels()) {
    size_t turn = 0, extremes = 0, all = 0;
    for (const Case& c : cases(*k)) {
      const CodeRange range = kRanges[++turn % std::size(kRanges)];
      std::vector<float> x = random_floats(c.n, unsigned(turn), 100.0f);
      if (turn % 2) sprinkle(&x, turn);
      const size_t runs = (c.n + c.run - 1) / c.run;
      const bool with_zero = turn % 3 != 0;
      std::vector<float> scale(runs), scale_each(c.n);
      std::vector<int32_t> zero(runs), zero_each(c.n);
      for (size_t r = 0; r < runs; ++r) {
        scale[r] = (r % 3 ? 0.37f : -1.9f) * float(r + 1) * 20.0f / float(range.qmax - range.qmin);
        zero[r] = zero_of(range, r + turn);
      }
      for (size_t i = 0; i < c.n; ++i) {
        scale_each[i] = scale[i / c.run];
        zero_each[i] = zero[i / c.run];
      }
      for (const bool at_end : {false, true}) {
        for (const bool each : {false, true}) {
          const float* in = place(from, x, at_end);
          const float* s = place(scale_room, each ? scale_each : scale, at_end);
          const int32_t* z = place(zero_room, each ? zero_each : zero, at_end);
          uint8_t* codes = room<uint8_t>(to, c.n, at_end);
          if (each) {
            k->quantize_each(in, int64_t(c.n), s, with_zero ? z : nullptr, range, codes);
          } else {
            k->quantize_runs(in, int64_t(c.n), int64_t(c.run), s, with_zero ? z : nullptr, range, codes);
          }
          for (size_t i = 0; i < c.n; ++i) {
            const uint8_t expected = naive_code(x[i], scale_each[i], with_zero ? zero_each[i] : 0, range);
            CHECK_EQ(codes[i], expected);
            extremes += expected == uint8_t(range.qmin) || expected == uint8_t(range.qmax);
            ++all;
          }
          CHECK(clean_behind(codes, c.n, at_end));
        }
      }
    }
    CHECK(extremes > all / 20 && extremes < all);  // the data reach both the ends and the middle
  }
}

TEST(quantize_ties_and_neighbours) {
  for (const Kernels* k : lowbit::all_kernels()) {
    for (const CodeRange range : kRanges) {
      for (const float scale : {1.0f, -1.0f, 0.125f, 3.0f, 1e-40f, 1e30f}) {
        std::vector<float> x;
        for (int half = -1030; half <= 1030; ++half) {
          const float tie = float(half) * 0.5f * scale;
          for (const float v : {tie, std::nextafter(tie, kInf), std::nextafter(tie, -kInf)}) x.push_back(v);
        }
        x.insert(x.end(), kSpecial.begin(), kSpecial.end());
        const int32_t zero = zero_of(range, 5);
        std::vector<uint8_t> codes(x.size(), 0xee);
        const int64_t n = int64_t(x.size());
        k->quantize_runs(x.data(), n, n, &scale, &zero, range, codes.data());
        for (size_t i = 0; i < x.size(); ++i) CHECK_EQ(codes[i], naive_code(x[i], scale, zero, range));
      }
    }
  }
}

TEST(quantize_special_values_at_every_lane) {
  const float scale = 0.25f;
  const int32_t zero = 3;
  for (const Kernels* k : lowbit::all_kernels()) {
    for (const float special : kSpecial) {
      for (size_t n = 1; n <= size_t(5 * k->lanes); ++n) {
        for (size_t at = 0; at < n; ++at) {
          std::vector<float> x(n, 1.0f);
          x[at] = special;
          std::vector<uint8_t> codes(n, 0xee);
          k->quantize_runs(x.data(), int64_t(n), int64_t(n), &scale, &zero, {-8, 7}, codes.data());
          for (size_t i = 0; i < n; ++i) CHECK_EQ(codes[i], naive_code(x[i], scale, zero, {-8, 7}));
        }
      }
    }
  }
}

TEST(quantize_every_offset) {
  const Guarded from, to;
  const std::vector<float> x = random_floats(77, 1, 100.0f);
  const std::vector<float> scale = {0.5f, 1.0f, 2.0f};
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t offset = 0; offset < 64; ++offset) {
      float* in = from.first<float>() + offset % 16;
      uint8_t* codes = to.first<uint8_t>() + offset;
      std::copy(x.begin(), x.end(), in);
      k->quantize_runs(in, int64_t(x.size()), 32, scale.data(), nullptr, {-128, 127}, codes);
      for (size_t i = 0; i < x.size(); ++i) CHECK_EQ(codes[i], naive_code(x[i], scale[i / 32], 0, {-128, 127}));
      k->dequantize_runs(codes, 1, int64_t(x.size()), 32, scale.data(), nullptr, in);
      for (size_t i = 0; i < x.size(); ++i) CHECK(same_bits(in[i], naive_value(codes[i], true, 0, scale[i / 32])));
    }
  }
}

TEST(dequantize_every_length) {
  const Guarded from, scale_room, zero_room, to;
  for (const Kernels* k : lowbit::all_kernels()) {
    size_t turn = 0;
    for (const Case& c : cases(*k)) {
      const bool is_signed = ++turn % 2;
      const bool with_zero = turn % 3 != 0;
      const size_t runs = (c.n + c.run - 1) / c.run;
      std::vector<uint8_t> codes(c.n);
      for (size_t i = 0; i < c.n; ++i) codes[i] = uint8_t(i * 29 + turn);
      std::vector<float> scale(runs), scale_each(c.n);
      std::vector<int32_t> zero(runs), zero_each(c.n);
      for (size_t r = 0; r < runs; ++r) {
        scale[r] = r % 7 == 3 ? kSpecial[(turn + r) % kSpecial.size()] : 0.1f * float(r + turn);
        zero[r] = int32_t(r * 41 % 256) - (is_signed ? 128 : 0);
      }
      for (size_t i = 0; i < c.n; ++i) {
        scale_each[i] = scale[i / c.run];
        zero_each[i] = zero[i / c.run];
      }
      for (const bool at_end : {false, true}) {
        for (const bool each : {false, true}) {
          const uint8_t* in = place(from, codes, at_end);
          const float* s = place(scale_room, each ? scale_each : scale, at_end);
          const int32_t* z = place(zero_room, each ? zero_each : zero, at_end);
          float* out = room<float>(to, c.n, at_end);
          if (each) {
            k->dequantize_each(in, is_signed, int64_t(c.n), s, with_zero ? z : nullptr, out);
          } else {
            k->dequantize_runs(in, is_signed, int64_t(c.n), int64_t(c.run), s, with_zero ? z : nullptr, out);
          }
          for (size_t i = 0; i < c.n; ++i) {
            const float expected = naive_value(codes[i], is_signed, with_zero ? zero_each[i] : 0, scale_each[i]);
            CHECK(same_bits(out[i], expected) || (std::isnan(out[i]) && std::isnan(expected)));
          }
          CHECK(clean_behind(out, c.n, at_end));
        }
      }
    }
  }
}

TEST(widen_half_all_values_and_lengths) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = uint16_t(i);
  const auto naive = [](uint16_t half) {
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double sign = half & 0x8000 ? -1.0 : 1.0;
    if (exponent == 31) return fraction ? kNan : float(sign) * kInf;
    return float(sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24)));
  };
  const Guarded from, to;
  for (const Kernels* k : lowbit::all_kernels()) {
    std::vector<float> out(halves.size(), kNan);
    k->widen_half(halves.data(), int64_t(halves.size()), out.data());
    for (size_t i = 0; i < halves.size(); ++i) {
      const float expected = naive(halves[i]);
      CHECK(same_bits(out[i], expected) || (std::isnan(out[i]) && std::isnan(expected)));
    }
    for (size_t n = 0; n <= size_t(4 * k->lanes + 3); ++n) {
      for (const bool at_end : {false, true}) {
        const std::vector<uint16_t> some(halves.begin() + 0x3bf0, halves.begin() + 0x3bf0 + ptrdiff_t(n));
        float* p = room<float>(to, n, at_end);
        k->widen_half(place(from, some, at_end), int64_t(n), p);
        for (size_t i = 0; i < n; ++i) CHECK(same_bits(p[i], naive(some[i])));
        CHECK(clean_behind(p, n, at_end));
      }
    }
  }
}
