// csrc/structs.hpp: argument structs of callers that were compiled with an older header.
#include <cstddef>
#include <cstring>
#include <string>

#include "guard.hpp"
#include "structs.hpp"
#include "test.hpp"

namespace {

struct Grown {
  size_t struct_size;
  int32_t first, second;
  int64_t appended;
};

}  // namespace

template <>
struct lowbit::StructHistory<Grown> {
  static constexpr const char* name = "Grown";
  static constexpr size_t first_size = 16;
};

TEST(an_older_caller_has_zeros_in_what_it_does_not_know) {
  const Guarded page;
  const Grown whole = {0, 1, 2, 3};
  for (const size_t size : {size_t{16}, size_t{24}}) {
    uint8_t* const at = page.last<uint8_t>(size);
    std::memcpy(at, &whole, size);
    std::memcpy(at, &size, sizeof size);
    Grown read = {9, 9, 9, 9};
    CHECK_EQ(lowbit::read_struct(reinterpret_cast<const Grown*>(at), "args", &read, nullptr), LOWBIT_OK);
    CHECK_EQ(read.struct_size, sizeof(Grown));
    CHECK_EQ(read.first, 1);
    CHECK_EQ(read.second, 2);
    CHECK_EQ(read.appended, size == 24 ? 3 : 0);
    lowbit::write_struct(Grown{sizeof(Grown), 5, 6, 7}, reinterpret_cast<Grown*>(at));
    Grown back = {0, 0, 0, 8};
    std::memcpy(&back, at, size);
    CHECK_EQ(back.struct_size, size);
    CHECK_EQ(back.second, 6);
    CHECK_EQ(back.appended, size == 24 ? 7 : 8);
  }
}

// lowbit_format_info has grown by two fields.
TEST(an_older_caller_gets_as_much_of_a_description_as_it_has_room_for) {
  const size_t old = offsetof(lowbit_format_info, has_int8);
  const Guarded page;
  auto* const info = reinterpret_cast<lowbit_format_info*>(page.last<uint8_t>(old));
  std::memset(static_cast<void*>(info), 0xee, old);
  info->struct_size = old;
  lowbit_error error = {};
  CHECK_EQ(lowbit_format_describe(LOWBIT_FORMAT_NVFP4, info, &error), LOWBIT_OK);
  CHECK_EQ(info->struct_size, old);
  CHECK_EQ(std::string(info->name), "nvfp4");
  CHECK_EQ(info->has_global_scale, 1);
  lowbit_format_info whole = {};
  whole.struct_size = sizeof whole;
  const struct {
    lowbit_format format;
    int has_int8;
    lowbit_compute compute;
  } rows[] = {{LOWBIT_INT(4), 1, LOWBIT_COMPUTE_INT8},
              {LOWBIT_FORMAT_NVFP4, 1, LOWBIT_COMPUTE_INT8},
              {LOWBIT_FORMAT_NF4, 1, LOWBIT_COMPUTE_FLOAT32},
              {LOWBIT_FORMAT_E4M3FN, 0, LOWBIT_COMPUTE_FLOAT32}};
  for (const auto& row : rows) {
    CHECK_EQ(lowbit_format_describe(row.format, &whole, &error), LOWBIT_OK);
    CHECK_EQ(whole.has_int8, row.has_int8);
    CHECK_EQ(whole.default_compute, row.compute);
  }
}
