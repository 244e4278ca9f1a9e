// Numbers at the ends of their types, where nothing may overflow or take for ever. Matrices without elements may have
// any number of rows: K = 0 and n = 2^45 take a header.
#include <climits>
#include <cstdint>

#include "lowbit/lowbit.h"
#include "test.hpp"

namespace {

constexpr int64_t kMany = int64_t{1} << 45;

struct Packed {
  alignas(LOWBIT_ALIGNMENT) unsigned char bytes[256];
  size_t size = 0;
};

lowbit_context context() {
  lowbit_context made = {};
  CHECK_EQ(lowbit_context_init(&made, nullptr, nullptr), LOWBIT_OK);
  return made;
}

// A header without codes, scales and zero points.
Packed pack_empty(int64_t n, int64_t k) {
  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  info.format = LOWBIT_INT(8);
  info.n = n;
  info.k = k;
  Packed packed;
  const lowbit_context c = context();
  CHECK_EQ(lowbit_packed_size(&info, &packed.size, nullptr), LOWBIT_OK);
  CHECK(packed.size <= sizeof packed.bytes);
  CHECK_EQ(lowbit_pack_weights(&c, &info, nullptr, nullptr, nullptr, packed.bytes, nullptr), LOWBIT_OK);
  return packed;
}

}  // namespace

TEST(weights_without_codes_pack_and_unpack_at_once) {
  const lowbit_context c = context();
  for (const int64_t n : {int64_t{0}, int64_t{5}, kMany}) {
    const Packed packed = pack_empty(n, 0);
    lowbit_weights_info info = {};
    info.struct_size = sizeof info;
    CHECK_EQ(lowbit_packed_describe(packed.bytes, packed.size, &info, nullptr), LOWBIT_OK);
    CHECK_EQ(info.n, n);
    CHECK_EQ(info.k, 0);
    CHECK_EQ(lowbit_unpack_weights(&c, packed.bytes, packed.size, nullptr, nullptr, nullptr, nullptr), LOWBIT_OK);
  }
}

TEST(products_without_results_are_done_at_once) {
  const lowbit_context c = context();
  for (const bool columns : {false, true}) {
    const Packed packed = pack_empty(columns ? kMany : 0, 0);
    lowbit_matmul_int_args args = {};
    args.struct_size = sizeof args;
    args.weights = packed.bytes;
    args.weights_size = packed.size;
    args.m = columns ? 0 : 1000;
    args.ldout = columns ? kMany : 0;
    args.a_type = LOWBIT_INT8;
    lowbit_error error;
    CHECK_EQ(lowbit_matmul_int_workspace(&c, &args, &args.workspace_size, &error), LOWBIT_OK);
    alignas(LOWBIT_ALIGNMENT) static unsigned char workspace[1 << 20];
    CHECK(args.workspace_size <= sizeof workspace);
    args.workspace = workspace;
    CHECK_EQ(lowbit_matmul_int(&c, &args, &error), LOWBIT_OK);
  }
}

TEST(an_index_may_be_any_int) {
  for (const int index : {INT_MIN, -1, INT_MAX}) {
    CHECK(lowbit_available_isa(index) == nullptr);
    CHECK(lowbit_built_isa(index) == nullptr);
    CHECK(lowbit_format_name(index) == nullptr);
  }
}

// As many threads and rows for each parameter as their types hold: multiples of both were taken.
TEST(threads_and_rows_for_each_parameter_may_be_any_number) {
  lowbit_options options = {};
  options.struct_size = sizeof options;
  options.parallel_for = [](void*, int64_t n, int, lowbit_task task, void* arg) { task(arg, 0, n, 0); };
  options.max_threads = INT_MAX;
  lowbit_context c;
  CHECK_EQ(lowbit_context_init(&c, &options, nullptr), LOWBIT_OK);
  const float x[] = {1, 2, 3, 4, -5, 6};
  float low[3], high[3], mean[3];
  const lowbit_runs runs = {2, 3, 1, INT64_MAX, 3};
  CHECK_EQ(lowbit_range(&c, &runs, x, low, high, nullptr), LOWBIT_OK);
  CHECK_EQ(low[1], -5.0f);
  CHECK_EQ(high[2], 6.0f);
  CHECK_EQ(lowbit_absmean(&c, &runs, x, mean, nullptr), LOWBIT_OK);
  CHECK_EQ(mean[0], 2.5f);
}
