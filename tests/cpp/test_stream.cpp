// The kernel that copies past the caches: every length, alignment of both sides, and nothing outside
// (reliability.md: 1, 3, 4, 17).
#include <algorithm>
#include <cstring>
#include <vector>

#include "guard.hpp"
#include "isas.hpp"
#include "test.hpp"

using lowbit::Kernels;

TEST(stream_every_length_and_offset) {
  const Guarded from, to;
  std::vector<uint8_t> bytes(600);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = uint8_t(i * 7 + i / 256 + 1);
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t n = 0; n <= bytes.size(); n += n < 4 * 64 + 4 ? 1 : 61) {
      for (size_t offset = 0; offset < 64; ++offset) {
        uint8_t* in = from.last<uint8_t>(n);  // its alignment changes with n
        std::copy_n(bytes.begin(), n, in);
        uint8_t* out = to.first<uint8_t>() + offset;
        std::memset(to.first<uint8_t>(), 0xee, offset + n + 1);
        k->stream(out, in, int64_t(n));
        CHECK(std::equal(out, out + n, bytes.begin()));
        CHECK_EQ(out[n], 0xee);
        if (offset > 0) CHECK_EQ(out[-1], 0xee);
      }
      uint8_t* in = from.first<uint8_t>();
      std::copy_n(bytes.begin(), n, in);
      uint8_t* out = to.last<uint8_t>(n);
      std::memset(out, 0xee, n);
      k->stream(out, in, int64_t(n));
      CHECK(std::equal(out, out + n, bytes.begin()));
    }
  }
}
