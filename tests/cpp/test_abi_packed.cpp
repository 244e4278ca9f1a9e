// Packed buffers whose bytes are not to be trusted: from a file, or from another program.
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "abi.hpp"

using namespace abi;

// Whatever a header says, the answer is an error, or a description that the buffer's size bears out: then products and
// unpacking stay inside of it.
TEST(a_header_with_other_bytes_is_refused_or_consistent) {
  Memory& m = memory();
  int accepted = 0, refused = 0;
  for (const auto& [good, size] :
       {std::pair<const uint8_t*, size_t>{m.packed, m.packed_size}, {m.packed8, m.packed8_size}}) {
    const Guarded page(size);
    uint8_t* const at = page.last<uint8_t>(size);
    for (size_t byte = 0; byte < 128; ++byte) {
      for (int value = 0; value < 256; value += value < 40 || value > 120 ? 1 : 13) {
        std::memcpy(at, good, size);
        at[byte] = uint8_t(value);
        lowbit_weights_info info = {};
        info.struct_size = sizeof info;
        lowbit_error error = {};
        if (lowbit_packed_describe(at, size, &info, &error) != LOWBIT_OK) {
          ++refused;
          CHECK(std::strncmp(error.message, "packed: ", 8) == 0);
          continue;
        }
        ++accepted;
        size_t needed = 0, codes_size = 0;
        CHECK_EQ(lowbit_packed_size(&info, &needed, &error), LOWBIT_OK);
        CHECK_EQ(needed, size);
        CHECK_EQ(lowbit_codes_size(info.format, info.n, info.k, &codes_size, &error), LOWBIT_OK);
        const int64_t groups =
            info.group_size == 0 || info.k == 0 ? 1 : (info.k + info.group_size - 1) / info.group_size;
        std::vector<uint8_t> codes(codes_size), scale(size_t(info.n * groups) * lowbit_type_size(info.scale_type));
        std::vector<uint8_t> zero(size_t(info.n * groups) * lowbit_type_size(info.zero_type));
        CHECK_EQ(lowbit_unpack_weights(&kContext, at, size, codes.data(), scale.data(), zero.data(), &error),
                 LOWBIT_OK);
        if (info.scale_type == LOWBIT_NONE) continue;
        std::vector<float> x(size_t(info.k) * 2, 1.0f), out(size_t(info.n) * 2);
        for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_FLOAT32}) {
          lowbit_matmul_args args = matmul_args();
          args.weights = at;
          args.weights_size = size;
          args.m = 2;
          args.k = args.ldx = info.k;
          args.x = x.data();
          args.compute = compute;
          args.bias = nullptr;
          args.out = out.data();
          args.ldout = info.n;
          args.residual = nullptr;
          const lowbit_status status = lowbit_matmul(&kContext, &args, &error);
          CHECK(status == LOWBIT_OK || error.message[0] != 0);
        }
      }
    }
  }
  CHECK(refused > 10000 && accepted > 100);
}

// Queries read nothing but the header: sizes that it may state, with whatever the caller says of x, must not overflow.
TEST(queries_of_enormous_products_do_not_overflow) {
  const lowbit_context many = make_context(std::numeric_limits<int>::max());
  alignas(64) uint8_t header[128];
  int answered = 0, refused = 0;
  for (const auto& [n, k] :
       {std::pair<int64_t, int64_t>{1 << 24, 1 << 24}, {1, int64_t{1} << 47}, {int64_t{1} << 43, 1}}) {
    for (const int64_t group : {int64_t{0}, int64_t{1}, int64_t{32}, int64_t{1} << 40}) {
      std::memcpy(header, memory().packed, sizeof header);
      lowbit_weights_info info = memory().info;
      info.n = n;
      info.k = k;
      info.group_size = group;
      size_t size = 0;
      if (lowbit_packed_size(&info, &size, nullptr) != LOWBIT_OK) continue;
      std::memcpy(header + 32, &n, 8);
      std::memcpy(header + 40, &k, 8);
      std::memcpy(header + 48, &group, 8);
      std::memcpy(header + 56, &size, 8);
      for (const int64_t rows :
           {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{1} << 40, std::numeric_limits<int64_t>::max()}) {
        for (const lowbit_compute compute : {LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_FLOAT32, LOWBIT_COMPUTE_INT8X2}) {
          lowbit_matmul_args args = matmul_args();
          args.weights = header;
          args.weights_size = size;
          args.m = rows;
          args.k = k;
          args.compute = compute;
          size_t needed = 0;
          lowbit_error error = {};
          const lowbit_status status = lowbit_matmul_workspace(&many, &args, &needed, &error);
          ++(status == LOWBIT_OK ? answered : refused);
          CHECK(status == LOWBIT_OK ? needed < size_t{1} << 58 : error.message[0] != 0);
        }
      }
    }
  }
  CHECK(answered > 10 && refused > 10);
}
