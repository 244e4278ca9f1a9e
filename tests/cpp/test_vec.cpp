// Every word of csrc/vec against plain C++, on every ISA of this CPU and on 4, 8 and 16 emulated lanes.
// Bug classes 1 (tails), 3 (over-read, over-write), 4 (misaligned), 6 (NaN order), 7 (rounding), 8 (contraction),
// 14 (float16), 17 (dirty buffers).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "available.hpp"
#include "guard.hpp"
#include "test.hpp"

namespace {

constexpr int kMostLanes = 16;
constexpr float kInf = std::numeric_limits<float>::infinity();

template <class To, class From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

uint32_t next_random(uint64_t* state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(*state >> 32);
}

// Extremes first, then numbers of every magnitude (random bits: some are NaN).
std::vector<float> floats() {
  std::vector<float> x = {0.0f,
                          1e-45f,
                          5.877471e-39f,
                          1.1754942e-38f,
                          1.17549435e-38f,
                          1e-20f,
                          0.49999997f,
                          0.5f,
                          0.50000006f,
                          1.0f,
                          1.00000012f,
                          1.5f,
                          2.5f,
                          3.5f,
                          126.5f,
                          127.0f,
                          127.5f,
                          128.5f,
                          255.5f,
                          16777215.0f,
                          16777216.0f,
                          2147483648.0f,
                          3e9f,
                          1e20f,
                          3.4028233e38f,
                          3.4028235e38f,
                          kInf,
                          std::numeric_limits<float>::quiet_NaN()};
  for (std::size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  uint64_t state = 1;
  while (x.size() < 80) x.push_back(same_bits<float>(next_random(&state)));
  return x;
}

std::vector<int32_t> integers() {
  std::vector<int32_t> x = {0,
                            1,
                            -1,
                            127,
                            -128,
                            255,
                            256,
                            32767,
                            -32768,
                            65535,
                            65536,
                            131071,
                            16777216,
                            16777217,
                            33554431,
                            INT32_MAX,
                            INT32_MIN,
                            INT32_MIN + 1,
                            int32_t(0x80808080u),
                            0x7f7f7f7f,
                            0x01020304,
                            int32_t(0xff00ff00u)};
  uint64_t state = 2;
  while (x.size() < 64) x.push_back(static_cast<int32_t>(next_random(&state)));
  return x;
}

// Equal bits; any NaN equals any other.
bool equal(float a, float b) {
  return same_bits<uint32_t>(a) == same_bits<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// Runs a word over all pairs of elements of x, a vector at a time.
template <class In, class Out, class Run, class Expect>
void each_pair(const Words& w, const char* word, const std::vector<In>& x, Run run, Expect expect) {
  const std::size_t count = x.size() * x.size();
  for (std::size_t i = 0; i < count; i += static_cast<std::size_t>(w.lanes)) {
    In a[kMostLanes], b[kMostLanes];
    Out out[kMostLanes];
    for (int lane = 0; lane < w.lanes; ++lane) {
      const std::size_t at = (i + static_cast<std::size_t>(lane)) % count;
      a[lane] = x[at / x.size()];
      b[lane] = x[at % x.size()];
    }
    run(a, b, out);
    for (int lane = 0; lane < w.lanes; ++lane) {
      const Out expected = expect(a[lane], b[lane]);
      bool same;
      if constexpr (std::is_same_v<Out, float>) {
        same = equal(out[lane], expected);
      } else {
        same = out[lane] == expected;
      }
      if (!same) {
        test::failed(__FILE__, __LINE__,
                     std::string(w.name) + " " + word + "(" + test::show(a[lane]) + ", " + test::show(b[lane]) +
                         "): " + test::show(out[lane]) + ", expected " + test::show(expected));
      }
    }
  }
}

template <class Fn>
void each_isa(Fn fn) {
  for (const Words* words : available_words()) fn(*words);
}

}  // namespace

// The tests mean something only where the best ISA of this CPU is among them.
TEST(words_of_every_available_isa) {
  for (int i = 0; const char* isa = lowbit_available_isa(i); ++i) {
    bool found = false;
    for (const Words* words : available_words()) found = found || std::strcmp(words->needs, isa) == 0;
    if (!found) test::failed(__FILE__, __LINE__, std::string("no words for ") + isa);
  }
  std::printf("words:");
  for (const Words* words : available_words()) std::printf(" %s", words->name);
  std::printf("\n");
}

TEST(vec_float_arithmetic) {
  const std::vector<float> x = floats();
  each_isa([&](const Words& w) {
    each_pair<float, float>(w, "add", x, w.add, [](float a, float b) { return a + b; });
    each_pair<float, float>(w, "sub", x, w.sub, [](float a, float b) { return a - b; });
    each_pair<float, float>(w, "mul", x, w.mul, [](float a, float b) { return a * b; });
    each_pair<float, float>(w, "div", x, w.div, [](float a, float b) { return a / b; });
  });
}

TEST(vec_fma) {
  const std::vector<float> x = floats();
  each_isa([&](const Words& w) {
    for (const float c : x) {
      each_pair<float, float>(
          w, "fma", x,
          [&](const float* a, const float* b, float* out) {
            float cs[kMostLanes];
            for (float& lane : cs) lane = c;
            w.fma(a, b, cs, out);
          },
          [&](float a, float b) { return std::fma(a, b, c); });
    }
    // sums that nearly cancel, and sums next to a tie
    uint64_t state = 3;
    for (int i = 0; i < 20000; ++i) {
      float a[kMostLanes], b[kMostLanes], c[kMostLanes], out[kMostLanes];
      for (int lane = 0; lane < w.lanes; ++lane) {
        a[lane] = same_bits<float>((next_random(&state) & 0x83ffffffu) + 0x3c000000u);
        b[lane] = same_bits<float>((next_random(&state) & 0x83ffffffu) + 0x3c000000u);
        const float product = -(a[lane] * b[lane]);
        const int32_t ulps = static_cast<int32_t>(next_random(&state) % 7) - 3;
        c[lane] = same_bits<float>(same_bits<int32_t>(product) + ulps);
        if (i % 2 != 0) c[lane] = std::ldexp(c[lane], static_cast<int>(next_random(&state) % 60) - 30);
      }
      w.fma(a, b, c, out);
      for (int lane = 0; lane < w.lanes; ++lane) CHECK(equal(out[lane], std::fma(a[lane], b[lane], c[lane])));
    }
  });
}

TEST(vec_compare_and_select) {
  const std::vector<float> x = floats();
  each_isa([&](const Words& w) {
    // what is selected must pass unchanged, NaN and -0 as well
    each_pair<float, float>(
        w, "less", x, [&](const float* a, const float* b, float* out) { w.less(a, b, a, b, out); },
        [](float a, float b) { return a < b ? a : b; });
    each_pair<float, float>(w, "min", x, w.min, [](float a, float b) { return a < b ? a : b; });
    each_pair<float, float>(w, "max", x, w.max, [](float a, float b) { return b < a ? a : b; });
    each_pair<float, float>(
        w, "is_nan", x, [&](const float* a, const float* b, float* out) { w.is_nan(a, b, a, out); },
        [](float a, float b) { return std::isnan(a) ? b : a; });
  });
}

TEST(vec_round_is_to_nearest_even) {
  std::vector<float> x;
  for (float whole = 0; whole <= 300; ++whole) {
    for (const float tie : {whole, whole + 0.5f}) {
      x.insert(x.end(), {tie, std::nextafter(tie, -1.0f), std::nextafter(tie, 1e9f), -tie, -std::nextafter(tie, 1e9f)});
    }
  }
  x.insert(x.end(),
           {4194304.0f, -4194304.0f, 4194303.5f, -4194303.5f, 4194302.5f, -4194302.5f, 1e-45f, -1e-45f, -0.0f});
  uint64_t state = 4;
  for (int i = 0; i < 20000; ++i) {
    const float v = same_bits<float>(next_random(&state));
    if (std::fabs(v) <= 4194304.0f) x.push_back(v);
  }
  each_isa([&](const Words& w) {
    for (std::size_t i = 0; i < x.size(); i += static_cast<std::size_t>(w.lanes)) {
      float a[kMostLanes];
      int32_t out[kMostLanes];
      for (int lane = 0; lane < w.lanes; ++lane) a[lane] = x[(i + static_cast<std::size_t>(lane)) % x.size()];
      w.round(a, out);
      for (int lane = 0; lane < w.lanes; ++lane) CHECK_EQ(out[lane], static_cast<int32_t>(std::nearbyint(a[lane])));
    }
  });
}

TEST(vec_half_exhaustively) {
  each_isa([&](const Words& w) {
    for (uint32_t first = 0; first < 65536; first += static_cast<uint32_t>(w.lanes)) {
      uint16_t half[kMostLanes];
      float out[kMostLanes];
      for (int lane = 0; lane < w.lanes; ++lane)
        half[lane] = static_cast<uint16_t>(first + static_cast<uint32_t>(lane));
      w.load_half(half, out);
      for (int lane = 0; lane < w.lanes; ++lane) {
        const uint32_t sign = half[lane] >> 15, exponent = half[lane] >> 10 & 31, fraction = half[lane] & 1023;
        uint32_t expected;
        if (exponent == 31) {
          expected = 0x7f800000u | (fraction ? 0x00400000u | fraction << 13 : 0u);  // NaN: quiet
        } else {
          const float magnitude = exponent
                                      ? std::ldexp(static_cast<float>(1024 + fraction), static_cast<int>(exponent) - 25)
                                      : std::ldexp(static_cast<float>(fraction), -24);
          expected = same_bits<uint32_t>(magnitude);
        }
        CHECK_EQ(same_bits<uint32_t>(out[lane]), expected | sign << 31);
      }
    }
  });
}

TEST(vec_integer_arithmetic) {
  const std::vector<int32_t> x = integers();
  each_isa([&](const Words& w) {
    const auto check = [&](const char* word, Words::Int2 run, auto expect) {
      each_pair<int32_t, int32_t>(w, word, x, run, [&](int32_t a, int32_t b) {
        return static_cast<int32_t>(expect(static_cast<uint32_t>(a), static_cast<uint32_t>(b)));
      });
    };
    check("iadd", w.iadd, [](uint32_t a, uint32_t b) { return a + b; });
    check("isub", w.isub, [](uint32_t a, uint32_t b) { return a - b; });
    check("imul", w.imul, [](uint32_t a, uint32_t b) { return a * b; });
    check("iand", w.iand, [](uint32_t a, uint32_t b) { return a & b; });
    check("ior", w.ior, [](uint32_t a, uint32_t b) { return a | b; });
    check("ixor", w.ixor, [](uint32_t a, uint32_t b) { return a ^ b; });
    check("sub_bytes", w.sub_bytes, [](uint32_t a, uint32_t b) {
      uint32_t r = 0;
      for (int i = 0; i < 32; i += 8) r |= (((a >> i) - (b >> i)) & 255) << i;
      return r;
    });
    each_pair<int32_t, int32_t>(w, "imax", x, w.imax, [](int32_t a, int32_t b) { return a > b ? a : b; });
    for (int n = 0; n < 32; ++n) {
      const auto shift = [&](const char* word, Words::Shift run, auto expect) {
        each_pair<int32_t, int32_t>(
            w, word, x, [&](const int32_t* a, const int32_t*, int32_t* out) { run(a, n, out); },
            [&](int32_t a, int32_t) { return static_cast<int32_t>(expect(a)); });
      };
      shift("shl", w.shl, [&](int32_t a) { return static_cast<uint32_t>(a) << n; });
      shift("shr", w.shr, [&](int32_t a) { return static_cast<uint32_t>(a) >> n; });
      shift("sra", w.sra, [&](int32_t a) { return int64_t{a} >> n; });
    }
  });
}

TEST(vec_conversions) {
  const std::vector<int32_t> x = integers();
  const std::vector<float> f = floats();
  each_isa([&](const Words& w) {
    each_pair<int32_t, float>(
        w, "to_float", x, [&](const int32_t* a, const int32_t*, float* out) { w.to_float(a, out); },
        [](int32_t a, int32_t) { return static_cast<float>(a); });
    for (const int32_t v : x) {
      int32_t out[kMostLanes];
      w.iset(v, out);
      for (int lane = 0; lane < w.lanes; ++lane) CHECK_EQ(out[lane], v);
    }
    for (const float v : f) {
      float out[kMostLanes], back[kMostLanes];
      int32_t bits[kMostLanes];
      w.set(v, out);
      w.bits(out, bits);
      w.from_bits(bits, back);
      for (int lane = 0; lane < w.lanes; ++lane) {
        CHECK_EQ(bits[lane], same_bits<int32_t>(v));
        CHECK_EQ(same_bits<int32_t>(back[lane]), same_bits<int32_t>(v));
      }
    }
  });
}

TEST(vec_reductions) {
  const std::vector<int32_t> x = integers();
  each_isa([&](const Words& w) {
    uint64_t state = 5;
    for (int i = 0; i < 2000; ++i) {
      int32_t a[kMostLanes];
      float f[kMostLanes];
      uint32_t sum = 0;
      int32_t most = INT32_MIN;
      float low = kInf, high = -kInf;
      for (int lane = 0; lane < w.lanes; ++lane) {
        a[lane] = x[next_random(&state) % x.size()];
        f[lane] = same_bits<float>(next_random(&state));
        if (std::isnan(f[lane])) f[lane] = lane % 2 ? kInf : -kInf;
        sum += static_cast<uint32_t>(a[lane]);
        most = std::max(most, a[lane]);
        low = std::fmin(low, f[lane]);
        high = std::fmax(high, f[lane]);
      }
      CHECK_EQ(w.reduce_add(a), static_cast<int32_t>(sum));
      CHECK_EQ(w.reduce_max(a), most);
      CHECK_EQ(w.reduce_min_float(f), low);
      CHECK_EQ(w.reduce_max_float(f), high);
    }
    // the extreme alone in each lane
    for (int at = 0; at < w.lanes; ++at) {
      float f[kMostLanes] = {};
      f[at] = -1;
      CHECK_EQ(w.reduce_min_float(f), -1.0f);
      f[at] = 1;
      CHECK_EQ(w.reduce_max_float(f), 1.0f);
    }
  });
}

// Every count, each at both ends of a page between two that may not be touched.
TEST(vec_memory) {
  const Guarded guarded;
  each_isa([&](const Words& w) {
    for (int n = 1; n <= w.lanes; ++n) {
      const auto count = static_cast<std::size_t>(n);
      const bool whole = n == w.lanes;
      float f[kMostLanes], fout[kMostLanes];
      int32_t a[kMostLanes], out[kMostLanes];
      for (int i = 0; i < kMostLanes; ++i) f[i] = 1.5f + static_cast<float>(i), a[i] = -0x01020300 - i;

      for (float* p : {guarded.first<float>(), guarded.last<float>(count)}) {
        for (int i = 0; i < n; ++i) p[i] = f[i];
        w.load_n(p, n, fout);
        for (int i = 0; i < w.lanes; ++i) CHECK_EQ(fout[i], i < n ? f[i] : 0.0f);
        if (whole) {
          w.load(p, fout);
          CHECK(std::memcmp(fout, f, 4 * count) == 0);
        }
        std::memset(p, 0xff, 4 * count);
        w.store_n(p, f, n);
        CHECK(std::memcmp(p, f, 4 * count) == 0);
        std::memset(p, 0xff, 4 * count);
        if (whole) w.store(p, f);
        CHECK_EQ(std::memcmp(p, f, 4 * count) == 0, whole);
      }
      for (int32_t* p : {guarded.first<int32_t>(), guarded.last<int32_t>(count)}) {
        for (int i = 0; i < n; ++i) p[i] = a[i];
        w.iload_n(p, n, out);
        for (int i = 0; i < w.lanes; ++i) CHECK_EQ(out[i], i < n ? a[i] : 0);
        std::memset(p, 0xff, 4 * count);
        w.istore_n(p, a, n);
        CHECK(std::memcmp(p, a, 4 * count) == 0);
      }
      for (uint8_t* p : {guarded.first<uint8_t>(), guarded.last<uint8_t>(count)}) {
        for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(255 - i);
        w.load_u8_n(p, n, out);
        for (int i = 0; i < w.lanes; ++i) CHECK_EQ(out[i], i < n ? 255 - i : 0);
        if (whole) {
          w.load_u8(p, out);
          for (int i = 0; i < n; ++i) CHECK_EQ(out[i], 255 - i);
        }
        std::memset(p, 0xff, count);
        w.store_u8_n(p, a, n);
        for (int i = 0; i < n; ++i) CHECK_EQ(p[i], static_cast<uint8_t>(a[i]));
        std::memset(p, 0xff, count);
        if (whole) w.store_u8(p, a);
        for (int i = 0; whole && i < n; ++i) CHECK_EQ(p[i], static_cast<uint8_t>(a[i]));
      }
      for (uint16_t* p : {guarded.first<uint16_t>(), guarded.last<uint16_t>(count)}) {
        for (int i = 0; i < n; ++i) p[i] = static_cast<uint16_t>(0xffff - 257 * i);
        w.load_u16_n(p, n, out);
        for (int i = 0; i < w.lanes; ++i) CHECK_EQ(out[i], i < n ? 0xffff - 257 * i : 0);
        if (whole) {
          w.load_u16(p, out);
          for (int i = 0; i < n; ++i) CHECK_EQ(out[i], 0xffff - 257 * i);
        }
        std::memset(p, 0xff, 2 * count);
        w.store_u16_n(p, a, n);
        for (int i = 0; i < n; ++i) CHECK_EQ(p[i], static_cast<uint16_t>(a[i]));
        std::memset(p, 0xff, 2 * count);
        if (whole) w.store_u16(p, a);
        for (int i = 0; whole && i < n; ++i) CHECK_EQ(p[i], static_cast<uint16_t>(a[i]));
      }
      // nothing behind the count is written
      float fkeep[kMostLanes + 1];
      int32_t keep[kMostLanes + 1];
      uint8_t bytes[kMostLanes + 1];
      uint16_t halves[kMostLanes + 1];
      std::memset(halves, 0xa5, sizeof halves);
      std::memset(fkeep, 0xa5, sizeof fkeep);
      std::memset(keep, 0xa5, sizeof keep);
      std::memset(bytes, 0xa5, sizeof bytes);
      w.store_n(fkeep, f, n);
      w.istore_n(keep, a, n);
      w.store_u8_n(bytes, a, n);
      w.store_u16_n(halves, a, n);
      for (int i = n; i <= kMostLanes; ++i) {
        CHECK_EQ(same_bits<uint32_t>(fkeep[i]), 0xa5a5a5a5u);
        CHECK_EQ(static_cast<uint32_t>(keep[i]), 0xa5a5a5a5u);
        CHECK_EQ(bytes[i], 0xa5);
        CHECK_EQ(halves[i], 0xa5a5);
      }
    }
    // iload and istore: any address; load_half: exactly `lanes` of them
    for (std::size_t offset = 0; offset < 64; ++offset) {
      const auto size = 4 * static_cast<std::size_t>(w.lanes);
      int32_t a[kMostLanes], out[kMostLanes];
      for (int i = 0; i < kMostLanes; ++i) a[i] = 0x01020304 * (i + 1);
      uint8_t* p = guarded.last<uint8_t>(size + offset);
      w.istore(p, a);
      CHECK(std::memcmp(p, a, size) == 0);
      w.iload(p, out);
      CHECK(std::memcmp(out, a, size) == 0);
    }
    float fout[kMostLanes];
    uint16_t* half = guarded.last<uint16_t>(static_cast<std::size_t>(w.lanes));
    for (int i = 0; i < w.lanes; ++i) half[i] = 0x3c00;
    w.load_half(half, fout);
    for (int i = 0; i < w.lanes; ++i) CHECK_EQ(fout[i], 1.0f);
  });
}

TEST(vec_pick_from_a_table) {
  float table[16];  // whose bits say where they are from
  for (uint32_t i = 0; i < 16; ++i) table[i] = same_bits<float>(0x01020304u * (i + 1));
  each_isa([&](const Words& w) {
    for (int first = 0; first < 256; ++first) {  // every index in every lane
      int32_t index[kMostLanes];
      float out[kMostLanes];
      for (int i = 0; i < w.lanes; ++i) index[i] = (first + first / 16 * i) % 16 - 16 * (first * i);
      w.pick(table, index, out);
      for (int i = 0; i < w.lanes; ++i) CHECK(std::memcmp(out + i, table + (index[i] & 15), 4) == 0);
    }
  });
}

TEST(vec_fold_rows) {
  each_isa([&](const Words& w) {
    uint64_t state = 8;
    for (int at = 0; at < w.lanes * w.lanes; ++at) {
      float rows[kMostLanes * kMostLanes], low[kMostLanes], high[kMostLanes];
      for (float& v : rows) v = static_cast<float>(next_random(&state) % 1000) - 500.0f;
      rows[at] = at % 2 ? kInf : -kInf;  // the extreme alone in each place
      w.fold_rows_min(rows, low);
      w.fold_rows_max(rows, high);
      for (int i = 0; i < w.lanes; ++i) {
        const float* row = rows + i * w.lanes;
        CHECK_EQ(low[i], *std::min_element(row, row + w.lanes));
        CHECK_EQ(high[i], *std::max_element(row, row + w.lanes));
      }
    }
  });
}

TEST(vec_quads) {
  const Guarded guarded;
  each_isa([&](const Words& w) {
    const int quads = w.lanes / 4;
    uint8_t bytes[4 * kMostLanes], out[4 * kMostLanes];
    for (int i = 0; i < 4 * kMostLanes; ++i) bytes[i] = static_cast<uint8_t>(3 * i + 1);
    for (int stride = 0; stride <= 17; ++stride) {
      // exactly what is read, and what is written, against the page after it
      const auto size = static_cast<std::size_t>((quads - 1) * stride + 16);
      for (uint8_t* p : {guarded.first<uint8_t>(), guarded.last<uint8_t>(size)}) {
        for (std::size_t i = 0; i < size; ++i) p[i] = static_cast<uint8_t>(7 * i + 5);
        w.load_quads(p, stride, reinterpret_cast<int32_t*>(out));
        for (int i = 0; i < 4 * w.lanes; ++i) CHECK_EQ(out[i], p[i / 16 * stride + i % 16]);

        uint8_t expected[256];
        std::memset(expected, 0xee, size);
        for (int i = 0; i < 4 * w.lanes; ++i) expected[i / 16 * stride + i % 16] = bytes[i];
        std::memset(p, 0xee, size);
        w.store_quads(p, stride, reinterpret_cast<const int32_t*>(bytes));
        CHECK(std::memcmp(p, expected, size) == 0);
      }
    }
    // every index, in every byte, and indices that mean 0
    for (int first = 0; first < 256; ++first) {
      uint8_t at[4 * kMostLanes];
      for (int i = 0; i < 4 * w.lanes; ++i) {
        at[i] = static_cast<uint8_t>(first + 37 * i);
        if (at[i] >= 16 && at[i] < 128) at[i] &= 15;
      }
      w.shuffle(reinterpret_cast<const int32_t*>(bytes), reinterpret_cast<const int32_t*>(at),
                reinterpret_cast<int32_t*>(out));
      for (int i = 0; i < 4 * w.lanes; ++i) CHECK_EQ(out[i], at[i] < 16 ? bytes[i / 16 * 16 + at[i]] : 0);
    }
  });
}

TEST(vec_64_bit_words) {
  uint64_t state = 6;
  each_isa([&](const Words& w) {
    for (int n = 0; n < 64; ++n) {
      uint64_t a[kMostLanes / 2], out[kMostLanes / 2];
      for (uint64_t& word : a) word = uint64_t{next_random(&state)} << 32 | next_random(&state);
      const auto* in = reinterpret_cast<const int32_t*>(a);
      w.shl64(in, n, reinterpret_cast<int32_t*>(out));
      for (int i = 0; i < w.lanes / 2; ++i) CHECK_EQ(out[i], a[i] << n);
      w.shr64(in, n, reinterpret_cast<int32_t*>(out));
      for (int i = 0; i < w.lanes / 2; ++i) CHECK_EQ(out[i], a[i] >> n);
      w.set64(a[0], reinterpret_cast<int32_t*>(out));
      for (int i = 0; i < w.lanes / 2; ++i) CHECK_EQ(out[i], a[0]);
    }
  });
}

TEST(vec_stream) {
  const Guarded guarded;
  each_isa([&](const Words& w) {
    const auto lanes = static_cast<std::size_t>(w.lanes);
    int32_t a[kMostLanes];
    for (int i = 0; i < kMostLanes; ++i) a[i] = -0x01020300 - i;
    for (int32_t* p : {guarded.first<int32_t>(), guarded.last<int32_t>(lanes)}) {
      std::memset(p, 0xee, 4 * lanes);
      w.stream(p, a);
      CHECK(std::memcmp(p, a, 4 * lanes) == 0);
    }
  });
}
