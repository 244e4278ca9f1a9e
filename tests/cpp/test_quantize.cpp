// range, quantize and dequantize kernels of every ISA, every format, bit for bit against naive.hpp (reliability.md: 1,
// 3, 4, 5, 6, 7, 13, 17, 31).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "formats/registry.hpp"
#include "guard.hpp"
#include "isas.hpp"
#include "naive.hpp"
#include "test.hpp"

using lowbit::Coder;
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
std::vector<Case> cases() {
  constexpr size_t kMostLanes = 16;
  std::vector<Case> all;
  for (size_t n = 0; n <= 4 * kMostLanes + 3; ++n) {
    for (size_t run : {size_t{1}, size_t{3}, kMostLanes, n / 2 + 1, n, n + 5}) {
      if (run > 0) all.push_back({n, run});
    }
  }
  for (size_t run = 1; run <= 70; ++run) {
    for (size_t n : {2 * run, 3 * run + run / 2, size_t{241}}) all.push_back({n, run});
  }
  return all;
}

const Coder& coder(const naive::Format& f) { return lowbit::find_format(f.id, nullptr)->coder; }

// Block formats have the coders of their element types.
std::vector<const naive::Format*> formats() {
  std::vector<const naive::Format*> all;
  for (const naive::Format& f : naive::formats()) {
    if (f.group_size == 0) all.push_back(&f);
  }
  return all;
}

// A code as kernels write it: a byte of two's complement, or 16 bits.
int stored(const naive::Format& f, int code) { return f.bits > 8 ? code : code & 255; }
int read(const naive::Format& f, const void* codes, size_t i) {
  return f.bits > 8 ? static_cast<const uint16_t*>(codes)[i] : static_cast<const uint8_t*>(codes)[i];
}

enum class Zero { kNone, kInteger, kFraction };

template <typename T>
void check(const Kernels& k, const naive::Format& f, const Case& c, Zero zero, size_t i, T got, T expected) {
  bool good;
  if constexpr (std::is_same_v<T, float>) {
    good = naive::same(got, expected);
  } else {
    good = got == expected;
  }
  if (good) return;
  test::failed(__FILE__, __LINE__,
               std::string(k.name) + ", format " + std::to_string(f.id) + ", " + std::to_string(c.n) + " in runs of " +
                   std::to_string(c.run) + ", zero " + std::to_string(int(zero)) + ": " + test::show(got) + " at " +
                   std::to_string(i) + ", expected " + test::show(expected));
}

std::vector<Zero> zeros(const naive::Format& f) {
  if (!f.is_integer()) return {Zero::kNone};
  return {Zero::kNone, Zero::kInteger, Zero::kFraction};
}

// Zero points for n runs.
std::vector<float> zeros_for(const naive::Format& f, Zero kind, size_t n, size_t turn) {
  std::vector<float> zero(n, 0.0f);
  for (size_t i = 0; i < n && kind != Zero::kNone; ++i) {
    zero[i] = float(f.qmin) + float((i + turn) * 37 % size_t(f.qmax - f.qmin + 1));
    if (kind == Zero::kFraction) zero[i] += i % 2 ? 0.3f : -1000.5f + float(i % 1000);  // far outside, too
  }
  return zero;
}

}  // namespace

TEST(range_runs_every_length) {
  const Guarded from, low_room, high_room;
  for (const Kernels* k : lowbit::all_kernels()) {
    size_t turn = 0;
    for (const Case& c : cases()) {
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

TEST(quantize_every_format_length_and_run) {
  const Guarded from, scale_room, zero_room, to;
  size_t turn = 0;
  for (const naive::Format* f : formats()) {
    std::vector<int> seen;
    for (const Zero kind : zeros(*f)) {
      for (const Case& c : cases()) {
        std::vector<float> x = random_floats(c.n, unsigned(++turn), std::min(1.2f * f->max_value() + 1.0f, 1e38f));
        for (size_t i = turn % 2; i < c.n && !f->is_integer(); i += 2) x[i] = std::ldexp(x[i], -int((i + turn) % 34));
        if (turn % 2) sprinkle(&x, turn);
        const size_t runs = (c.n + c.run - 1) / c.run;
        std::vector<float> scale(runs);
        for (size_t r = 0; r < runs; ++r) scale[r] = (r % 3 ? 0.37f : -1.9f) * (1.0f + float(r % 4));
        const std::vector<float> zero = zeros_for(*f, kind, runs, turn);
        std::vector<int> expected(c.n);
        for (size_t i = 0; i < c.n; ++i) {
          const size_t r = i / c.run;
          expected[i] = stored(*f, f->code(x[i], scale[r], zero[r], kind == Zero::kFraction));
        }
        seen.insert(seen.end(), expected.begin(), expected.end());
        for (const bool at_end : {false, true}) {
          const float* in = place(from, x, at_end);
          const float* s = place(scale_room, scale, at_end);
          const float* z = kind == Zero::kNone ? nullptr : place(zero_room, zero, at_end);
          const size_t bytes = c.n * f->code_bytes();
          for (const Kernels* k : lowbit::all_kernels()) {
            uint8_t* codes = room<uint8_t>(to, bytes, at_end);
            k->quantize_runs(in, int64_t(c.n), int64_t(c.run), s, z, kind == Zero::kFraction, coder(*f), codes);
            for (size_t i = 0; i < c.n; ++i) check(*k, *f, c, kind, i, read(*f, codes, i), expected[i]);
            CHECK(clean_behind(codes, bytes, at_end));
          }
        }
      }
    }
    // the data reach every code, or very many
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    const size_t all = f->is_integer() ? size_t(f->qmax - f->qmin + 1) : size_t{1} << f->bits;
    if (seen.size() < (all > 256 ? 2000 : all * 4 / 5)) {
      test::failed(__FILE__, __LINE__,
                   "format " + std::to_string(f->id) + ": " + std::to_string(seen.size()) + " codes");
    }
  }
}

TEST(quantize_ties_and_neighbours) {
  for (const naive::Format* f : formats()) {
    // middles between neighbouring numbers, ends included
    std::vector<float> numbers;
    if (f->is_integer()) {
      for (int i = -260; i <= 260; ++i) numbers.push_back(float(i));
    } else if (f->floats) {
      for (const double v : f->floats->numbers) numbers.insert(numbers.end(), {float(v), -float(v)});
    } else {
      numbers = f->table;
    }
    std::sort(numbers.begin(), numbers.end());
    for (const float scale : {1.0f, -1.0f, 0.125f, 3.0f, 1e-40f, 1e30f}) {
      std::vector<float> x(kSpecial);
      const size_t step = numbers.size() > 2000 ? 7 : 1;
      for (size_t i = 0; i + 1 < numbers.size(); i += step) {
        const float tie = float((double(numbers[i]) + double(numbers[i + 1])) / 2) * scale;
        x.insert(x.end(), {tie, std::nextafter(tie, naive::kInf), std::nextafter(tie, -naive::kInf)});
      }
      for (const Zero kind : zeros(*f)) {
        const float zero = zeros_for(*f, kind, 1, 5)[0];
        std::vector<int> expected;
        for (const float v : x) expected.push_back(stored(*f, f->code(v, scale, zero, kind == Zero::kFraction)));
        for (const Kernels* k : lowbit::all_kernels()) {
          std::vector<uint16_t> codes(x.size(), 0xeeee);
          const int64_t n = int64_t(x.size());
          k->quantize_runs(x.data(), n, n, &scale, kind == Zero::kNone ? nullptr : &zero, kind == Zero::kFraction,
                           coder(*f), codes.data());
          const Case c = {x.size(), x.size()};
          for (size_t i = 0; i < c.n; ++i) check(*k, *f, c, kind, i, read(*f, codes.data(), i), expected[i]);
        }
      }
    }
  }
}

TEST(quantize_special_values_at_every_lane) {
  const float scale = 0.25f;
  for (const lowbit_format id : {LOWBIT_INT(4), LOWBIT_FORMAT_E4M3FNUZ, LOWBIT_FORMAT_NF4}) {
    const naive::Format& f = *std::find_if(naive::formats().begin(), naive::formats().end(),
                                           [=](const naive::Format& one) { return one.id == id; });
    const float zero = f.is_integer() ? 3.0f : 0.0f;
    for (const Kernels* k : lowbit::all_kernels()) {
      for (const float special : kSpecial) {
        const int expected = stored(f, f.code(special, scale, zero)), others = stored(f, f.code(0.125f, scale, zero));
        for (size_t n = 1; n <= size_t(3 * k->lanes); ++n) {
          for (size_t at = 0; at < n; ++at) {
            std::vector<float> x(n, 0.125f);
            x[at] = special;
            std::vector<uint8_t> codes(n, 0xee);
            k->quantize_runs(x.data(), int64_t(n), int64_t(n), &scale, f.is_integer() ? &zero : nullptr, 0, coder(f),
                             codes.data());
            for (size_t i = 0; i < n; ++i) CHECK_EQ(codes[i], i == at ? expected : others);
          }
        }
      }
    }
  }
}

TEST(quantize_every_offset) {
  const Guarded from, to;
  const std::vector<float> x = random_floats(77, 1, 100.0f);
  const std::vector<float> scale = {0.5f, 1.0f, 2.0f};
  for (const naive::Format* f : formats()) {
    for (const Kernels* k : lowbit::all_kernels()) {
      for (size_t offset = 0; offset < 64; offset += f->code_bytes()) {
        float* in = from.first<float>() + offset % 16;
        uint8_t* codes = to.first<uint8_t>() + offset;
        std::copy(x.begin(), x.end(), in);
        k->quantize_runs(in, int64_t(x.size()), 32, scale.data(), nullptr, 0, coder(*f), codes);
        k->dequantize_runs(codes, int64_t(x.size()), 32, scale.data(), nullptr, coder(*f), in);
        for (size_t i = 0; i < x.size(); ++i) {
          const int code = f->code(x[i], scale[i / 32]);
          CHECK_EQ(read(*f, codes, i), stored(*f, code));
          CHECK(naive::same(in[i], f->value(code, scale[i / 32])));
        }
      }
    }
  }
}

TEST(dequantize_every_format_length_and_run) {
  const Guarded from, scale_room, zero_room, to;
  size_t turn = 0;
  for (const naive::Format* f : formats()) {
    const int count = 1 << f->bits;
    for (const Zero kind : zeros(*f)) {
      for (const Case& c : cases()) {
        ++turn;
        const size_t runs = (c.n + c.run - 1) / c.run;
        std::vector<float> scale(runs);
        for (size_t r = 0; r < runs; ++r) {
          scale[r] = r % 7 == 3 ? kSpecial[(turn + r) % kSpecial.size()] : 0.1f * float(r + turn % 50);
        }
        const std::vector<float> zero = zeros_for(*f, kind, runs, turn);
        std::vector<uint8_t> bytes(c.n);
        std::vector<uint16_t> halves(c.n);
        std::vector<float> expected(c.n);
        for (size_t i = 0; i < c.n; ++i) {
          int code = int(i * 29 + turn * 11) % count;
          if (f->bits > 8) code = int(i * 2909 + turn * 1117) % count;
          if (f->is_integer()) code = f->qmin + code % (f->qmax - f->qmin + 1);
          bytes[i] = uint8_t(code);
          halves[i] = uint16_t(code);
          expected[i] = f->value(code, scale[i / c.run], zero[i / c.run]);
        }
        for (const bool at_end : {false, true}) {
          const void* in =
              f->bits > 8 ? static_cast<const void*>(place(from, halves, at_end)) : place(from, bytes, at_end);
          const float* s = place(scale_room, scale, at_end);
          const float* z = kind == Zero::kNone ? nullptr : place(zero_room, zero, at_end);
          for (const Kernels* k : lowbit::all_kernels()) {
            float* out = room<float>(to, c.n, at_end);
            k->dequantize_runs(in, int64_t(c.n), int64_t(c.run), s, z, coder(*f), out);
            for (size_t i = 0; i < c.n; ++i) check(*k, *f, c, kind, i, out[i], expected[i]);
            CHECK(clean_behind(out, c.n, at_end));
          }
        }
      }
    }
  }
}

TEST(dequantize_every_code) {
  const float scale = 1.7f;
  for (const naive::Format* f : formats()) {
    const bool wide = f->bits > 8;
    const size_t count = size_t{1} << f->bits;
    std::vector<uint16_t> halves;
    std::vector<uint8_t> bytes;
    std::vector<int> codes;
    for (size_t i = 0; i < count; ++i) {
      const int code = f->is_integer() ? f->qmin + int(i) : int(i);
      if (f->is_integer() && code > f->qmax) break;
      codes.push_back(code);
      bytes.push_back(uint8_t(code));
      halves.push_back(uint16_t(code));
    }
    for (const Kernels* k : lowbit::all_kernels()) {
      std::vector<float> out(codes.size());
      const int64_t n = int64_t(codes.size());
      const void* in = wide ? static_cast<const void*>(halves.data()) : bytes.data();
      k->dequantize_runs(in, n, n, &scale, nullptr, coder(*f), out.data());
      for (size_t i = 0; i < codes.size(); ++i) CHECK(naive::same(out[i], f->value(codes[i], scale)));
    }
  }
}
