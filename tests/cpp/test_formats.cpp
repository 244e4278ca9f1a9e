// The registry of number formats against naive.hpp, and its tables against where they come from.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "formats/registry.hpp"
#include "lowbit/lowbit.h"
#include "naive.hpp"
#include "test.hpp"

namespace {

lowbit_format_info describe(lowbit_format format) {
  lowbit_format_info info = {};
  info.struct_size = sizeof info;
  CHECK_EQ(lowbit_format_describe(format, &info, nullptr), LOWBIT_OK);
  return info;
}

double normal_distribution(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

}  // namespace

TEST(formats_are_those_of_the_specifications) {
  CHECK_EQ(std::string(describe(LOWBIT_INT(4)).name), std::string("int4"));
  CHECK_EQ(std::string(describe(LOWBIT_UINT(7)).name), std::string("uint7"));
  CHECK_EQ(std::string(describe(LOWBIT_FORMAT_E4M3B11FNUZ).name), std::string("float8_e4m3b11fnuz"));
  CHECK_EQ(std::string(describe(LOWBIT_FORMAT_NVFP4).name), std::string("nvfp4"));
  for (const naive::Format& f : naive::formats()) {
    const lowbit_format_info info = describe(f.id);
    CHECK_EQ(info.format, f.id);
    CHECK_EQ(info.bits, f.bits);
    CHECK_EQ(info.kind, f.is_integer() ? LOWBIT_KIND_INTEGER : f.floats ? LOWBIT_KIND_FLOAT : LOWBIT_KIND_TABLE);
    CHECK_EQ(info.qmin, f.qmin);
    CHECK_EQ(info.qmax, f.qmax);
    CHECK_EQ(info.max_value, f.max_value());
    CHECK_EQ(info.group_size, f.group_size);
    CHECK_EQ(info.scale_type, f.scale_type);
    CHECK_EQ(info.has_global_scale != 0, f.has_global_scale);
  }
}

TEST(formats_by_name_and_number) {
  std::set<lowbit_format> seen;
  for (int i = 0; const char* name = lowbit_format_name(i); ++i) {
    lowbit_format format = 0;
    CHECK_EQ(lowbit_format_by_name(name, &format, nullptr), LOWBIT_OK);
    CHECK_EQ(std::string(describe(format).name), std::string(name));
    CHECK(seen.insert(format).second);
  }
  CHECK_EQ(seen.size(), naive::formats().size());
  for (const naive::Format& f : naive::formats()) CHECK_EQ(seen.count(f.id), size_t{1});
  CHECK(lowbit_format_name(-1) == nullptr);

  lowbit_format format = 0;
  lowbit_error error;
  CHECK_EQ(lowbit_format_by_name("int9", &format, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "uint8") && std::strstr(error.message, "got \"int9\""));
  CHECK(std::strstr(error.message, "nvfp4"));  // the list of names is whole
  CHECK_EQ(lowbit_format_by_name("", &format, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_format_by_name(nullptr, &format, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_format_by_name("int4", nullptr, &error), LOWBIT_INVALID_VALUE);
  lowbit_format_info info = {};
  CHECK_EQ(lowbit_format_describe(LOWBIT_INT(4), &info, &error), LOWBIT_INVALID_VALUE);  // struct_size
  CHECK_EQ(lowbit_format_describe(LOWBIT_INT(4), nullptr, &error), LOWBIT_INVALID_VALUE);
  info.struct_size = sizeof info;
  for (const lowbit_format none : {0, -1, 9, 16, 25, 33, 76, 98, 134}) {
    CHECK_EQ(lowbit_format_describe(none, &info, &error), LOWBIT_INVALID_VALUE);
  }
}

TEST(element_types) {
  for (const naive::Float& f : naive::floats()) {
    const lowbit::FloatFormat* row = lowbit::float_format(f.type);
    CHECK(row != nullptr);
    CHECK_EQ(row->max_value, float(f.max_value()));
    CHECK_EQ(row->max, f.max());
    CHECK_EQ(lowbit::type_bits(f.type), f.bits);
  }
  for (const lowbit_type type : {LOWBIT_NONE, LOWBIT_FLOAT32, LOWBIT_INT8, LOWBIT_UINT8, lowbit_type(17)}) {
    CHECK(lowbit::float_format(type) == nullptr);
  }
  CHECK_EQ(lowbit::type_bits(LOWBIT_FLOAT32), 32);
  CHECK_EQ(lowbit::type_bits(LOWBIT_INT8), 8);
  CHECK_EQ(lowbit::type_bits(LOWBIT_NONE), 0);
}

// NF4: the quantiles of the probabilities between 1 - offset and 1/2, in 7 steps, and between 1/2 and offset, in 8,
// divided by the largest.
TEST(nf4_is_made_of_quantiles) {
  const lowbit::Coder& coder = lowbit::find_format(LOWBIT_FORMAT_NF4, nullptr)->coder;
  const double offset = 0.9677083;
  double low = 0, high = 10;
  for (int i = 0; i < 100; ++i) (normal_distribution((low + high) / 2) < offset ? low : high) = (low + high) / 2;
  for (int code = 0; code < 16; ++code) {
    const double steps = code < 7 ? (code - 7) / 7.0 : (code - 7) / 8.0;
    const double probability = 0.5 + steps * (offset - 0.5);
    CHECK(std::fabs(normal_distribution(double(coder.values[code]) * low) - probability) < 1e-6);
  }
}

// Ranks are the order of the numbers, -0 left out; thresholds the middles between neighbours, and all are in their
// cells.
TEST(tables_are_in_order) {
  for (const lowbit_format id : {LOWBIT_FORMAT_NF4, LOWBIT_FORMAT_FP4}) {
    const lowbit::Coder& coder = lowbit::find_format(id, nullptr)->coder;
    const auto is_it = [=](const naive::Format& f) { return f.id == id; };
    const naive::Format& f = *std::find_if(naive::formats().begin(), naive::formats().end(), is_it);
    for (int code = 0; code < 16; ++code) CHECK(naive::same(coder.values[code], f.table[size_t(code)]));
    int rank = 0;
    for (int cell = 0; cell < 16; ++cell) {
      CHECK_EQ(coder.below[cell], rank);
      for (const float inside : {coder.first[cell], coder.second[cell]}) {
        if (std::isinf(inside)) continue;
        const float low = coder.values[coder.ranks[rank]], high = coder.values[coder.ranks[rank + 1]];
        CHECK(low < high);
        CHECK_EQ(inside, float((double(low) + double(high)) / 2));
        CHECK(inside > float(cell - 8) / 8 && inside < float(cell - 7) / 8);
        ++rank;
      }
    }
    CHECK_EQ(rank, id == LOWBIT_FORMAT_NF4 ? 15 : 14);
    CHECK_EQ(coder.ranks[rank], coder.ranks[15]);
  }
}
