// encode_floats and decode_floats of every ISA against a search among all the numbers of each format (naive.hpp), and
// what stochastic rounding promises (reliability.md: 1, 3, 4, 5, 7, 14, 17, 30).
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
#include "test.hpp"

using lowbit::FloatFormat;
using lowbit::Kernels;
using lowbit::Rounding;

namespace {

const FloatFormat& row(const naive::Float& f) { return *lowbit::float_format(f.type); }

// Every number of the format, the middle to the next, and the floats on both sides of each; of both signs. What lies
// far outside, what is no number, and random bits.
std::vector<float> inputs(const naive::Float& f) {
  std::vector<float> x = {naive::kInf,     naive::kNan, FLT_MAX, FLT_MIN, FLT_TRUE_MIN,
                          0.75f * FLT_MIN, 0.0f,        1e30f,   1e-30f};
  for (size_t i = 0; i + 1 < f.numbers.size(); ++i) {
    for (const double at : {f.numbers[i], (f.numbers[i] + f.numbers[i + 1]) / 2}) {
      const float v = float(at);
      x.insert(x.end(), {v, std::nextafter(v, naive::kInf), std::nextafter(v, 0.0f)});
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) x.push_back(naive::from_bits(uint32_t(random())));
  for (size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  return x;
}

std::vector<int> codes_of(const naive::Float& f, const void* codes, size_t n) {
  std::vector<int> all(n);
  for (size_t i = 0; i < n; ++i) {
    all[i] = f.bits > 8 ? static_cast<const uint16_t*>(codes)[i] : static_cast<const uint8_t*>(codes)[i];
  }
  return all;
}

std::vector<int> encode(const Kernels& k, const naive::Float& f, const std::vector<float>& x, const Rounding& how) {
  std::vector<uint16_t> codes(x.size(), 0xeeee);
  k.encode_floats(x.data(), int64_t(x.size()), row(f), how, codes.data());
  return codes_of(f, codes.data(), x.size());
}

void check_codes(const Kernels& k, const naive::Float& f, const std::vector<float>& x, const std::vector<int>& codes,
                 const std::vector<int>& expected) {
  for (size_t i = 0; i < x.size(); ++i) {
    if (codes[i] == expected[i]) continue;
    test::failed(__FILE__, __LINE__,
                 std::string(k.name) + ", lowbit_type " + std::to_string(f.type) + ": " + test::show(x[i]) + " -> " +
                     std::to_string(codes[i]) + ", expected " + std::to_string(expected[i]));
  }
}

struct Mode {
  Rounding::Mode mode;
  naive::Round round;
};

std::vector<Mode> modes(const naive::Float& f) {
  if (f.special != naive::Special::kPower) return {{Rounding::kNearest, naive::Round::kNearest}};
  return {{Rounding::kNearest, naive::Round::kNearest},
          {Rounding::kUp, naive::Round::kUp},
          {Rounding::kDown, naive::Round::kDown}};
}

// Both neighbours of x: what stochastic rounding may give.
void neighbours(const naive::Float& f, float x, bool saturate, int* below, int* above) {
  f.neighbours(std::fabs(double(x)), below, above);
  *below = f.finish(*below, x, saturate);
  *above = f.finish(*above, x, saturate);
}

}  // namespace

TEST(encode_every_number_and_middle) {
  for (const naive::Float& f : naive::floats()) {
    const std::vector<float> x = inputs(f);
    for (const Mode& mode : modes(f)) {
      for (const bool saturate : {false, true}) {
        std::vector<int> expected;
        for (const float v : x) expected.push_back(f.code(v, saturate, mode.round));
        for (const Kernels* k : lowbit::all_kernels()) {
          check_codes(*k, f, x, encode(*k, f, x, {mode.mode, saturate, 0, 0}), expected);
        }
      }
    }
  }
}

TEST(decode_every_code) {
  for (const naive::Float& f : naive::floats()) {
    std::vector<uint16_t> halves(size_t{1} << f.bits);
    std::vector<uint8_t> bytes(halves.size());
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = uint16_t(i), bytes[i] = uint8_t(i);
    const void* codes = f.bits > 8 ? static_cast<const void*>(halves.data()) : bytes.data();
    for (const Kernels* k : lowbit::all_kernels()) {
      std::vector<float> out(halves.size(), -7.0f);
      k->decode_floats(codes, int64_t(out.size()), row(f), out.data());
      for (size_t i = 0; i < out.size(); ++i) CHECK(naive::same(out[i], f.value(int(i))));
      // and back, where the code stands for a number and is the only one that does
      const std::vector<int> back = encode(*k, f, out, {Rounding::kNearest, 0, 0, 0});
      for (size_t i = 0; i < out.size(); ++i) CHECK(back[i] == int(i) || std::isnan(out[i]));
    }
  }
}

TEST(encode_and_decode_every_length) {
  const Guarded from, to, decoded;
  for (const naive::Float& f : naive::floats()) {
    const size_t bytes = f.bits > 8 ? 2 : 1;
    const std::vector<float> all = inputs(f);
    for (const Kernels* k : lowbit::all_kernels()) {
      for (const Mode& mode : modes(f)) {
        for (size_t n = 0; n <= size_t(4 * k->lanes + 3); ++n) {
          for (const bool at_end : {false, true}) {
            const std::vector<float> x(all.end() - ptrdiff_t(n) - 7, all.end() - 7);
            float* in = at_end ? from.last<float>(n) : from.first<float>();
            uint8_t* codes = at_end ? to.last<uint8_t>(bytes * n) : to.first<uint8_t>();
            float* back = at_end ? decoded.last<float>(n) : decoded.first<float>();
            std::copy(x.begin(), x.end(), in);
            std::memset(codes, 0xee, bytes * n + !at_end);
            k->encode_floats(in, int64_t(n), row(f), {mode.mode, 1, 0, 0}, codes);
            std::vector<int> expected;
            for (const float v : x) expected.push_back(f.code(v, true, mode.round));
            check_codes(*k, f, x, codes_of(f, codes, n), expected);
            if (!at_end) CHECK_EQ(codes[bytes * n], 0xee);

            std::memset(back, 0xee, 4 * n + !at_end);
            k->decode_floats(codes, int64_t(n), row(f), back);
            for (size_t i = 0; i < n; ++i) CHECK(naive::same(back[i], f.value(expected[i])));
            if (!at_end) CHECK_EQ(reinterpret_cast<uint8_t*>(back)[4 * n], 0xee);
          }
        }
      }
    }
  }
}

TEST(stochastic_gives_the_neighbour_that_is_drawn) {
  for (const naive::Float& f : naive::floats()) {
    if (f.special == naive::Special::kPower) continue;
    const std::vector<float> x = inputs(f);
    for (const bool saturate : {false, true}) {
      const Rounding how = {Rounding::kStochastic, saturate, 0x9e3779b9u, 0xffffff00u};  // the index wraps
      const std::vector<int> first = encode(*lowbit::all_kernels()[0], f, x, how);
      size_t ups = 0, downs = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        if (std::isnan(x[i])) {
          CHECK_EQ(first[i], f.code(x[i], saturate));
          continue;
        }
        int below, above;
        neighbours(f, x[i], saturate, &below, &above);
        if (first[i] != below && first[i] != above) {
          test::failed(__FILE__, __LINE__,
                       "lowbit_type " + std::to_string(f.type) + ": " + test::show(x[i]) + " -> " +
                           std::to_string(first[i]) + ", expected " + std::to_string(below) + " or " +
                           std::to_string(above));
        }
        CHECK_EQ(first[i], f.stochastic_code(x[i], saturate, naive::hash((how.first + uint32_t(i)) ^ how.key)));
        ups += above != below && first[i] == above;
        downs += above != below && first[i] == below;
      }
      CHECK(ups > 50 && downs > 50);
      for (const Kernels* k : lowbit::all_kernels()) {
        check_codes(*k, f, x, encode(*k, f, x, how), first);
        // a piece alone, and with another key
        const size_t from = 333, n = 61;
        const std::vector<float> piece(x.begin() + ptrdiff_t(from), x.begin() + ptrdiff_t(from + n));
        Rounding there = how;
        there.first += uint32_t(from);
        const std::vector<int> codes(first.begin() + ptrdiff_t(from), first.begin() + ptrdiff_t(from + n));
        check_codes(*k, f, piece, encode(*k, f, piece, there), codes);
      }
      Rounding other = how;
      ++other.key;
      CHECK(encode(*lowbit::all_kernels()[0], f, x, other) != first);
    }
  }
}

// Of many draws at one place, the share that goes up is the distance from the number below, in steps.
TEST(stochastic_keeps_the_mean) {
  constexpr size_t kDraws = 40000;
  const Kernels& k = *lowbit::all_kernels()[0];
  for (const naive::Float& f : naive::floats()) {
    if (f.special == naive::Special::kPower) continue;
    const int normal = 1 << f.mantissa;  // code of the least normal number
    for (const int below : {0, normal / 2, normal - 1, normal, normal + 1, f.max() / 2, f.max() - 1}) {
      for (const double share : {0.0, 0.001, 0.1, 0.5, 0.77, 0.999}) {
        for (const double sign : {1.0, -1.0}) {
          const double low = f.numbers[size_t(below)], high = f.numbers[size_t(below) + 1];
          const float v = float(sign * (low + share * (high - low)));
          // bfloat16's lowest numbers have no floats in between to speak of
          const double exact = (std::fabs(double(v)) - low) / (high - low);
          const std::vector<int> codes = encode(k, f, std::vector<float>(kDraws, v), {Rounding::kStochastic, 0, 77, 5});
          double ups = 0;
          for (const int code : codes) ups += (code & ~f.sign()) == below + 1;
          const double deviation = std::sqrt(exact * (1 - exact) / kDraws) + 1.0 / 8192;  // below normals: 12 bits
          CHECK(std::fabs(ups / kDraws - exact) < 5 * deviation);
          if (exact == 0) CHECK_EQ(ups, 0.0);
        }
      }
    }
  }
}
