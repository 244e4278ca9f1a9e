// pack_bits and unpack_bits of every ISA against a loop over bits (reliability.md: 1, 3, 4, 15, 17, 18).
#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "guard.hpp"
#include "isas.hpp"
#include "lowbit/lowbit.h"
#include "split.hpp"
#include "test.hpp"

using lowbit::Kernels;

namespace {

std::vector<uint8_t> random_bytes(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = uint8_t(random());
  return bytes;
}

// n bytes right behind the first page or right before the last, and one more where there is one, all set to `dirt`.
uint8_t* place(const Guarded& guarded, size_t n, bool at_end, int dirt) {
  uint8_t* p = at_end ? guarded.last<uint8_t>(n) : guarded.first<uint8_t>();
  std::memset(p, dirt, at_end ? n : n + 1);
  return p;
}

size_t packed_bytes(size_t n, int bits) { return (n * size_t(bits) + 7) / 8; }

std::vector<uint8_t> naive_pack(const uint8_t* codes, size_t n, int bits) {
  std::vector<uint8_t> packed(packed_bytes(n, bits), 0);
  for (size_t i = 0; i < n * size_t(bits); ++i) {
    const int bit = codes[i / size_t(bits)] >> (i % size_t(bits)) & 1;
    packed[i / 8] = uint8_t(packed[i / 8] | bit << (i % 8));
  }
  return packed;
}

uint8_t naive_code(const uint8_t* packed, size_t i, int bits, bool sign_extend) {
  int code = 0;
  for (int b = 0; b < bits; ++b) {
    const size_t at = i * size_t(bits) + size_t(b);
    code |= (packed[at / 8] >> (at % 8) & 1) << b;
  }
  if (sign_extend && code >> (bits - 1)) code -= 1 << bits;
  return uint8_t(code);
}

}  // namespace

TEST(bits_tails_and_guard_pages) {
  const Guarded from, to;
  for (const Kernels* k : lowbit::all_kernels()) {
    for (int bits = 1; bits <= 8; ++bits) {
      for (size_t n = 0; n <= size_t(4 * k->lanes + 3) + 128; ++n) {
        for (const bool at_end : {false, true}) {
          const std::vector<uint8_t> codes = random_bytes(n, unsigned(n * 8 + size_t(bits)));
          const std::vector<uint8_t> expected = naive_pack(codes.data(), n, bits);
          uint8_t* in = place(from, n, at_end, 0xff);
          std::copy(codes.begin(), codes.end(), in);
          uint8_t* out = place(to, expected.size(), at_end, 0xff);
          k->pack_bits(in, int64_t(n), bits, out);
          CHECK(std::equal(expected.begin(), expected.end(), out));
          if (!at_end) CHECK_EQ(out[expected.size()], 0xff);

          for (const bool sign : {false, true}) {
            in = place(from, expected.size(), at_end, 0xff);
            std::copy(expected.begin(), expected.end(), in);
            uint8_t* back = place(to, n, at_end, 0x55);
            k->unpack_bits(in, int64_t(n), bits, sign, back);
            for (size_t i = 0; i < n; ++i) CHECK_EQ(back[i], naive_code(expected.data(), i, bits, sign));
            if (!at_end) CHECK_EQ(back[n], 0x55);
          }
        }
      }
    }
  }
}

TEST(bits_every_offset) {
  const Guarded from, to;
  const std::vector<uint8_t> codes = random_bytes(77, 1);
  for (const Kernels* k : lowbit::all_kernels()) {
    for (int bits = 1; bits <= 8; ++bits) {
      const std::vector<uint8_t> expected = naive_pack(codes.data(), codes.size(), bits);
      for (size_t offset = 0; offset < 64; ++offset) {
        uint8_t* in = from.first<uint8_t>() + offset;
        uint8_t* out = to.first<uint8_t>() + (63 - offset);
        std::copy(codes.begin(), codes.end(), in);
        k->pack_bits(in, int64_t(codes.size()), bits, out);
        CHECK(std::equal(expected.begin(), expected.end(), out));
        k->unpack_bits(out, int64_t(codes.size()), bits, 0, in);
        for (size_t i = 0; i < codes.size(); ++i) CHECK_EQ(in[i], codes[i] & ((1 << bits) - 1));
      }
    }
  }
}

TEST(bits_rows_through_the_abi) {
  const int64_t shapes[][2] = {{1, 5}, {3, 1}, {7, 9}, {4, 16}, {1, 100003}, {3, 70001}, {5000, 3}, {0, 4}, {4, 0}};
  for (const test::Split& split : test::splits()) {
    for (const auto& shape : shapes) {
      const int64_t rows = shape[0], length = shape[1];
      const std::vector<uint8_t> codes = random_bytes(size_t(rows * length), 3);
      for (int bits = 1; bits <= 8; ++bits) {
        const size_t row_bytes = packed_bytes(size_t(length), bits);
        std::vector<uint8_t> packed(size_t(rows) * row_bytes, 0xee), back(codes.size(), 0xee);
        CHECK_EQ(lowbit_pack_bits(&split.context, bits, rows, length, codes.data(), packed.data(), nullptr), LOWBIT_OK);
        for (int64_t r = 0; r < rows; ++r) {
          const std::vector<uint8_t> expected = naive_pack(codes.data() + r * length, size_t(length), bits);
          CHECK(std::equal(expected.begin(), expected.end(), packed.data() + size_t(r) * row_bytes));
        }
        CHECK_EQ(lowbit_unpack_bits(&split.context, bits, 1, rows, length, packed.data(), back.data(), nullptr),
                 LOWBIT_OK);
        for (size_t i = 0; i < codes.size(); ++i) {
          const int low = codes[i] & ((1 << bits) - 1);
          CHECK_EQ(back[i], uint8_t(low >> (bits - 1) ? low - (1 << bits) : low));
        }
      }
    }
  }
}

// Results large enough for ops/stream.hpp, that begin and end within a line: as the same in pieces that are not.
TEST(bits_streamed) {
  const int64_t piece = int64_t{1} << 20, n = 20 * piece + 3;
  const std::vector<uint8_t> from = random_bytes(size_t(n), 4);
  std::vector<uint8_t> expected(size_t(n) + 64), out(expected.size());
  for (const test::Split& split : test::splits()) {
    for (const int bits : {3, 7, 8}) {
      const size_t offset = bits == 3 ? 61 : 16;
      for (const bool packs : {false, true}) {
        const auto run = [&](int64_t count, int64_t at, uint8_t* to) {
          const int64_t byte = at / 8 * bits;
          CHECK_EQ(packs ? lowbit_pack_bits(&split.context, bits, 1, count, from.data() + at, to + byte, nullptr)
                         : lowbit_unpack_bits(&split.context, bits, 1, 1, count, from.data() + byte, to + at, nullptr),
                   LOWBIT_OK);
        };
        std::fill(expected.begin(), expected.end(), uint8_t{0xee});
        std::fill(out.begin(), out.end(), uint8_t{0xee});
        for (int64_t at = 0; at < n; at += piece) run(std::min(piece, n - at), at, expected.data() + offset);
        run(n, 0, out.data() + offset);
        CHECK(out == expected);
      }
    }
  }
}

TEST(bits_refuses) {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  uint8_t byte = 0;
  lowbit_error error;
  for (const int bits : {0, 9, -1}) {
    CHECK_EQ(lowbit_pack_bits(&context, bits, 1, 1, &byte, &byte, &error), LOWBIT_INVALID_VALUE);
    CHECK(std::strstr(error.message, "bits: got"));
  }
  CHECK_EQ(lowbit_pack_bits(&context, 4, -1, 1, &byte, &byte, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_pack_bits(&context, 4, INT64_MAX, 2, &byte, &byte, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_unpack_bits(&context, 4, 0, int64_t{1} << 40, int64_t{1} << 40, &byte, &byte, &error),
           LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_pack_bits(&context, 4, 1, 1, nullptr, &byte, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "codes: got NULL"));
  CHECK_EQ(lowbit_unpack_bits(&context, 4, 0, 1, 1, nullptr, &byte, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "packed: got NULL"));
  CHECK_EQ(lowbit_pack_bits(nullptr, 4, 1, 1, &byte, &byte, &error), LOWBIT_INVALID_VALUE);
}
