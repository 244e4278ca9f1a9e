// lowbit_pack_bits and lowbit_unpack_bits: what is unpacked is what was packed, on every ISA, and nothing is written
// past the last byte.
#include "fuzz.hpp"

using namespace fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Memory memory(&in);
  const int bits = 1 + in.pick(8);
  const int64_t rows = 1 + in.pick(6), length = in.rarely() ? 30000 + in.pick(255) * 20 : in.take<uint16_t>() % 700;
  const bool is_signed = in.maybe();
  const int64_t row_bytes = (length * bits + 7) / 8;
  const uint8_t mask = uint8_t((1 << bits) - 1), sign = uint8_t(1 << (bits - 1));

  std::vector<uint8_t> codes(size_t(rows * length)), first;
  memory.fill_bytes(codes.data(), codes.size());
  for (size_t i = 0; i < codes.size() && i < 64; ++i) codes[i] ^= in.take<uint8_t>();
  for (int isa = 0; const char* name = lowbit_available_isa(isa); ++isa) {
    lowbit_options options = {};
    options.struct_size = sizeof options;
    options.isa = name;
    options.max_threads = 3;
    options.parallel_for = &backwards;
    lowbit_context context;
    REQUIRE(lowbit_context_init(&context, &options, nullptr) == LOWBIT_OK);

    // on the heap, at any address, no longer than they must be
    const size_t shift = size_t(in.pick(64));
    std::vector<uint8_t> from(codes.size() + shift), packed(size_t(rows * row_bytes) + shift, 0xEE),
        back(from.size(), 0xEE);
    std::copy(codes.begin(), codes.end(), from.begin() + ptrdiff_t(shift));
    REQUIRE(lowbit_pack_bits(&context, bits, rows, length, from.data() + shift, packed.data() + shift, nullptr) ==
            LOWBIT_OK);
    REQUIRE(lowbit_unpack_bits(&context, bits, is_signed, rows, length, packed.data() + shift, back.data() + shift,
                               nullptr) == LOWBIT_OK);
    for (size_t i = 0; i < codes.size(); ++i) {
      uint8_t expected = codes[i] & mask;
      if (is_signed && (expected & sign) != 0) expected |= uint8_t(~mask);
      REQUIRE(back[shift + i] == expected);
    }
    for (int64_t row = 1; row <= rows && length > 0; ++row) {  // the bits past the end of a row are 0
      if (length * bits % 8 != 0) REQUIRE(packed[shift + size_t(row * row_bytes) - 1] >> (length * bits % 8) == 0);
    }
    for (size_t i = 0; i < shift; ++i) REQUIRE(packed[i] == 0xEE && back[i] == 0xEE);
    packed.erase(packed.begin(), packed.begin() + ptrdiff_t(shift));
    if (isa == 0) first = packed;
    REQUIRE(packed == first);
  }
  return 0;
}
