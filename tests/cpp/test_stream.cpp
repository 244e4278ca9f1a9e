// Streamed results: the stream kernel, and ops/stream.hpp's Writer, at every alignment and length
// (reliability.md: 1, 3, 4, 17).
#include "ops/stream.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "guard.hpp"
#include "isas.hpp"
#include "test.hpp"

using lowbit::Kernels;
using lowbit::Writer;

namespace {

std::vector<uint8_t> counted(size_t n) {
  std::vector<uint8_t> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = uint8_t(i * 7 + i / 256 + 1);
  return bytes;
}

}  // namespace

TEST(stream_kernel) {
  const Guarded from, to;
  const std::vector<uint8_t> bytes = counted(20 * 64);
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t lines = 0; lines <= 20; ++lines) {
      const size_t n = 64 * lines;
      for (size_t offset = 0; offset < 64; ++offset) {
        for (uint8_t* in : {from.first<uint8_t>() + offset, from.last<uint8_t>(n + offset)}) {
          std::copy_n(bytes.begin(), n, in);
          for (uint8_t* out : {to.first<uint8_t>(), to.last<uint8_t>(n)}) {
            std::memset(out, 0xee, n);
            k->stream(out, in, int64_t(lines));
            k->stream_fence();
            CHECK(std::equal(out, out + n, bytes.begin()));
          }
        }
      }
    }
  }
}

TEST(writer) {
  const Guarded to(3 * 4096);
  const std::vector<uint8_t> bytes = counted(3 * 4096);
  const int64_t pieces[][4] = {{1, 1, 1, 1},        {63, 1, 64, 65}, {7, 130, 3, 500}, {2048, 2048, 2048, 2048},
                               {2047, 64, 1, 2048}, {0, 5, 0, 640}};
  for (const Kernels* k : lowbit::all_kernels()) {
    for (const bool streamed : {false, true}) {
      for (const auto& piece : pieces) {
        for (int count = 0; count <= 4; ++count) {
          size_t n = 0;
          for (int i = 0; i < count; ++i) n += size_t(piece[i]);
          for (size_t offset = 0; offset < 64; ++offset) {
            for (uint8_t* out : {to.first<uint8_t>() + offset, to.last<uint8_t>(n + offset)}) {
              std::memset(to.first<uint8_t>(), 0xee, bytes.size());
              {
                Writer writer(*k, streamed, out);
                const uint8_t* next = bytes.data();
                for (int i = 0; i < count; ++i) {
                  writer.write(piece[i], [&](uint8_t* p) { std::copy_n(next, piece[i], p); });
                  next += piece[i];
                }
              }
              CHECK(std::equal(out, out + n, bytes.begin()));
              // nothing else
              CHECK(std::all_of(to.first<uint8_t>(), out, [](uint8_t b) { return b == 0xee; }));
              CHECK(std::all_of(out + n, to.last<uint8_t>(0), [](uint8_t b) { return b == 0xee; }));
            }
          }
        }
      }
    }
  }
}
