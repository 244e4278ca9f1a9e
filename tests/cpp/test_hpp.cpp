// lowbit.hpp: the results of the C calls that it stands for, exceptions, and who owns what. Nothing from inside the
// library: this is a user's program.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "lowbit/lowbit.hpp"
#include "test.hpp"

namespace {

std::vector<float> numbers(size_t n) {
  std::vector<float> x(n);
  uint32_t state = 1;
  for (float& v : x) v = float(int32_t(state = state * 1664525u + 1013904223u) >> 16) / 8192;
  return x;
}

// Status and text of what f throws.
template <class F>
void check_throws(lowbit_status status, const char* text, F f) {
  try {
    f();
  } catch (const lowbit::Error& error) {
    CHECK_EQ(error.status(), status);
    if (!std::strstr(error.what(), text)) test::failed(__FILE__, __LINE__, std::string(text) + ": " + error.what());
    return;
  }
  test::failed(__FILE__, __LINE__, std::string("nothing was thrown: ") + text);
}

void on_the_caller(void* pool, int64_t n, int, lowbit_task task, void* arg) {
  ++*static_cast<int*>(pool);
  task(arg, 0, n, 0);
}

bool same(const void* a, const void* b, size_t size) { return size == 0 || std::memcmp(a, b, size) == 0; }

}  // namespace

static_assert(!std::is_copy_constructible_v<lowbit::Buffer> && !std::is_copy_assignable_v<lowbit::Buffer>);
static_assert(!std::is_copy_constructible_v<lowbit::PackedWeights> &&
              !std::is_copy_assignable_v<lowbit::PackedWeights>);
static_assert(std::is_nothrow_move_constructible_v<lowbit::PackedWeights>);
static_assert(std::is_nothrow_move_assignable_v<lowbit::PackedWeights>);
static_assert(std::is_copy_constructible_v<lowbit::Context>);
static_assert(std::is_base_of_v<std::runtime_error, lowbit::Error>);

TEST(a_context_is_the_c_one) {
  const lowbit::Context best;
  CHECK_EQ(std::string(best.isa()), std::string(lowbit_available_isa(0)));
  const lowbit::Context scalar("scalar");
  CHECK_EQ(std::string(scalar.isa()), "scalar");
  int calls = 0;
  const lowbit::Context pooled(&on_the_caller, &calls, 3, "scalar");
  const lowbit::Context copy = pooled;
  const std::vector<float> x = numbers(1 << 20);
  const lowbit_runs runs = {1, 1 << 20, 1 << 20, 1, 1};
  float low = 0, high = 0;
  CHECK_EQ(lowbit_range(copy, &runs, x.data(), &low, &high, nullptr), LOWBIT_OK);
  CHECK(calls > 0);
  CHECK_EQ(low, *std::min_element(x.begin(), x.end()));
  check_throws(LOWBIT_UNAVAILABLE, "'sse9'", [] { lowbit::Context("sse9"); });
  check_throws(LOWBIT_INVALID_VALUE, "options.max_threads: got 0", [&] { lowbit::Context(&on_the_caller, &calls, 0); });
}

TEST(formats_by_name) {
  CHECK_EQ(lowbit::format("nvfp4"), LOWBIT_FORMAT_NVFP4);
  CHECK_EQ(lowbit::describe(LOWBIT_FORMAT_NVFP4).group_size, 16);
  check_throws(LOWBIT_INVALID_VALUE, "got \"int9\"", [] { lowbit::format("int9"); });
  check_throws(LOWBIT_INVALID_VALUE, "format: got 99", [] { lowbit::describe(99); });
}

TEST(a_buffer_is_moved_not_copied) {
  lowbit::Buffer none;
  CHECK(none.data() == nullptr && none.size() == 0);
  CHECK(lowbit::Buffer(0).data() == nullptr);
  lowbit::Buffer a(100);
  CHECK_EQ(reinterpret_cast<uintptr_t>(a.data()) % LOWBIT_ALIGNMENT, uintptr_t{0});
  std::memset(a.data(), 7, 100);
  void* const at = a.data();
  lowbit::Buffer b(std::move(a));
  CHECK(b.data() == at && b.size() == 100 && a.data() == nullptr && a.size() == 0);
  lowbit::Buffer c(10);
  c = std::move(b);
  CHECK(c.data() == at && b.data() == nullptr && c.as<uint8_t>()[99] == 7);
  lowbit::Buffer& self = c;
  c = std::move(self);
  CHECK(c.data() == at && c.size() == 100);
  c.reserve(50);
  CHECK(c.data() == at && c.size() == 100);
  c.reserve(1000);
  CHECK(c.size() == 1000);
}

// Codes and parameters are lowbit_quantize's, for every format, with groups and without.
TEST(quantize_is_the_c_call) {
  const lowbit::Context context;
  const int64_t rows = 5, length = 70;
  const std::vector<float> x = numbers(size_t(rows * length));
  for (int i = 0; lowbit_format_name(i); ++i) {
    const lowbit_format format = lowbit::format(lowbit_format_name(i));
    const lowbit_format_info info = lowbit::describe(format);
    const bool integer = info.kind == LOWBIT_KIND_INTEGER;
    for (const int64_t group : {int64_t{0}, int64_t{32}, int64_t{1000}}) {
      const lowbit_convention convention = integer ? LOWBIT_ASYMMETRIC : LOWBIT_ABSMAX;
      const lowbit::Quantized q = lowbit::quantize(context, x.data(), rows, length, format, convention, group);
      const int64_t run = info.group_size ? info.group_size : group ? group : length;
      CHECK_EQ(q.runs.params, rows * ((length + run - 1) / run));
      CHECK_EQ(q.scale_type, info.group_size ? info.scale_type : LOWBIT_FLOAT32);
      CHECK_EQ(q.zero_point.size(), integer ? size_t(q.runs.params) : size_t{0});

      std::vector<uint8_t> codes(q.codes.size()), zero(size_t(q.runs.params));
      lowbit::Buffer scale(q.scale.size());
      lowbit_quantize_args args = {};
      args.struct_size = sizeof args;
      args.format = format;
      args.runs = {rows, length, run, 1, q.runs.params};
      args.x = x.data();
      args.find_params = 1;
      args.convention = convention;
      args.scale_type = q.scale_type;
      args.scale = scale.data();
      args.zero_type = info.qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
      args.zero_point = integer ? zero.data() : nullptr;
      args.codes = codes.data();
      CHECK_EQ(lowbit_quantize(context, &args, nullptr), LOWBIT_OK);
      CHECK(same(codes.data(), q.codes.data(), codes.size()));
      CHECK(same(scale.data(), q.scale.data(), scale.size()));
      CHECK(same(zero.data(), q.zero_point.data(), q.zero_point.size()));

      std::vector<float> back(x.size()), expected(x.size());
      lowbit::dequantize(context, q, back.data());
      lowbit_dequantize_args decode = {};
      decode.struct_size = sizeof decode;
      decode.format = format;
      decode.runs = args.runs;
      decode.codes = codes.data();
      decode.scale_type = q.scale_type;
      decode.scale = scale.data();
      decode.zero_type = args.zero_type;
      decode.zero_point = args.zero_point;
      decode.out = expected.data();
      CHECK_EQ(lowbit_dequantize(context, &decode, nullptr), LOWBIT_OK);
      CHECK(same(back.data(), expected.data(), 4 * x.size()));
    }
  }
}

// As for an embedding: the codes of a row begin lowbit_codes_size of one row behind those of the row before.
TEST(rows_are_dequantized_alone) {
  const lowbit::Context context;
  const int64_t rows = 6, length = 37, group = 16, groups = 3;
  const std::vector<float> x = numbers(size_t(rows * length));
  for (const lowbit_format format : {LOWBIT_UINT(3), LOWBIT_INT(8), LOWBIT_FORMAT_BFLOAT16, LOWBIT_FORMAT_NF4}) {
    const bool integer = lowbit::describe(format).kind == LOWBIT_KIND_INTEGER;
    const lowbit::Quantized q =
        lowbit::quantize(context, x.data(), rows, length, format, integer ? LOWBIT_ASYMMETRIC : LOWBIT_ABSMAX, group);
    std::vector<float> all(x.size()), one(static_cast<size_t>(length));
    lowbit::dequantize(context, q, all.data());
    size_t row_bytes = 0;
    lowbit::check([&](lowbit_error* e) { return lowbit_codes_size(format, 1, length, &row_bytes, e); });
    for (const int64_t row : {5, 0, 3}) {
      lowbit_dequantize_args args = lowbit::make<lowbit_dequantize_args>();
      args.format = format;
      args.runs = {1, length, group, 1, groups};
      args.codes = q.codes.as<uint8_t>() + size_t(row) * row_bytes;
      args.scale_type = LOWBIT_FLOAT32;
      args.scale = q.scale.as<float>() + row * groups;
      args.zero_type = q.zero_type;
      args.zero_point = integer ? q.zero_point.as<uint8_t>() + row * groups : nullptr;
      args.out = one.data();
      lowbit::check([&](lowbit_error* e) { return lowbit_dequantize(context, &args, e); });
      CHECK(same(one.data(), all.data() + row * length, 4 * one.size()));
    }
  }
}

TEST(symmetric_codes_have_a_zero_point_where_they_are_unsigned) {
  const lowbit::Context context;
  const std::vector<float> x = numbers(64);
  CHECK_EQ(lowbit::quantize(context, x.data(), 2, 32, LOWBIT_INT(4), LOWBIT_FULL).zero_type, LOWBIT_NONE);
  const lowbit::Quantized q = lowbit::quantize(context, x.data(), 2, 32, LOWBIT_UINT(4), LOWBIT_FULL);
  CHECK_EQ(q.zero_type, LOWBIT_UINT8);
  CHECK_EQ(q.zero_point.as<uint8_t>()[1], 8);
}

TEST(quantize_throws_what_the_c_call_reports) {
  const lowbit::Context context;
  const std::vector<float> x = numbers(64);
  const auto quantize = [&](int64_t rows, int64_t length, lowbit_format format, lowbit_type scale_type) {
    return lowbit::quantize(context, x.data(), rows, length, format, LOWBIT_FULL, 0, scale_type);
  };
  check_throws(LOWBIT_INVALID_VALUE, "format: got 99", [&] { quantize(2, 32, 99, LOWBIT_FLOAT32); });
  check_throws(LOWBIT_INVALID_VALUE, "convention: got full for format nf4",
               [&] { quantize(2, 32, LOWBIT_FORMAT_NF4, LOWBIT_FLOAT32); });
  check_throws(LOWBIT_INVALID_TYPE, "scale_type: got 3", [&] { quantize(2, 32, LOWBIT_INT(4), LOWBIT_INT8); });
  const int64_t most = std::numeric_limits<int64_t>::max();
  check_throws(LOWBIT_INVALID_VALUE, "rows, row_length: got", [&] { quantize(-1, 32, LOWBIT_INT(4), LOWBIT_FLOAT32); });
  check_throws(LOWBIT_INVALID_VALUE, "rows, row_length: got",
               [&] { quantize(most, 3, LOWBIT_INT(4), LOWBIT_FLOAT32); });
}

TEST(packed_weights_move_are_saved_and_come_back) {
  const lowbit::Context context;
  const std::vector<float> w = numbers(20 * 64);
  const lowbit::Quantized q = lowbit::quantize(context, w.data(), 20, 64, LOWBIT_UINT(4), LOWBIT_ASYMMETRIC, 32);
  lowbit::PackedWeights packed = lowbit::pack(context, q);
  CHECK_EQ(packed.n(), 20);
  CHECK_EQ(packed.k(), 64);
  CHECK_EQ(packed.info().format, LOWBIT_UINT(4));
  CHECK_EQ(packed.info().group_size, 32);
  CHECK_EQ(packed.info().zero_type, LOWBIT_UINT8);

  std::vector<uint8_t> codes(q.codes.size()), scale(q.scale.size()), zero(q.zero_point.size());
  packed.unpack(context, codes.data(), scale.data(), zero.data());
  CHECK(same(codes.data(), q.codes.data(), codes.size()));
  CHECK(same(scale.data(), q.scale.data(), scale.size()));
  CHECK(same(zero.data(), q.zero_point.data(), zero.size()));

  const void* const at = packed.data();
  lowbit::PackedWeights moved = std::move(packed);
  CHECK(moved.data() == at && packed.data() == nullptr && packed.size() == 0);
  packed = std::move(moved);
  CHECK(packed.data() == at && packed.n() == 20);

  const auto* const bytes = static_cast<const uint8_t*>(packed.data());
  std::vector<uint8_t> saved(1, 0);  // as a file may lie in memory: at any address
  saved.insert(saved.end(), bytes, bytes + packed.size());
  const lowbit::PackedWeights loaded = lowbit::PackedWeights::load(saved.data() + 1, saved.size() - 1);
  CHECK_EQ(loaded.size(), packed.size());
  CHECK(same(loaded.data(), packed.data(), packed.size()));
  CHECK_EQ(loaded.info().zero_type, LOWBIT_UINT8);

  check_throws(LOWBIT_INVALID_VALUE, "packed: ", [&] { lowbit::PackedWeights::load(nullptr, 0); });
  check_throws(LOWBIT_INVALID_VALUE, "packed: ", [&] { lowbit::PackedWeights::load(saved.data() + 1, 500); });
  check_throws(LOWBIT_INVALID_VALUE, "packed: not packed weights",
               [&] { lowbit::PackedWeights::load(saved.data(), saved.size()); });
  lowbit_weights_info info = lowbit::make<lowbit_weights_info>();
  check_throws(LOWBIT_INVALID_VALUE, "format: got 0", [&] { lowbit::PackedWeights(context, info, nullptr, nullptr); });
}

TEST(weights_without_elements) {
  const lowbit::Context context;
  float out[6] = {1, 2, 3, 4, 5, 6};
  lowbit::Buffer workspace;
  for (const int64_t n : {0, 3}) {
    const lowbit::Quantized q = lowbit::quantize(context, nullptr, n, 0, LOWBIT_INT(4), LOWBIT_FULL, 32);
    const lowbit::PackedWeights packed = lowbit::pack(context, q);
    lowbit::matmul(context, lowbit::matmul_args(packed, nullptr, 2, out), workspace);
  }
  for (const float y : out) CHECK_EQ(y, 0.0f);
}

// The bits of the C call, with a workspace that starts empty and stays.
TEST(products_are_the_c_calls) {
  const lowbit::Context context;
  const int64_t n = 33, k = 96;
  const std::vector<float> w = numbers(size_t(n * k)), bias = numbers(size_t(n));
  lowbit::Buffer workspace;
  size_t before = 0;
  for (const char* name : {"int4", "nf4", "float8_e4m3fn"}) {
    const lowbit_format format = lowbit::format(name);
    const lowbit_convention convention = LOWBIT_ABSMAX;
    const lowbit::PackedWeights packed =
        lowbit::pack(context, lowbit::quantize(context, w.data(), n, k, format, convention, 32));
    for (const int64_t m : {1, 7, 40}) {
      const std::vector<float> x = numbers(size_t(m * k));
      std::vector<float> out(size_t(m * n)), expected(out.size());
      lowbit_matmul_args args = lowbit::matmul_args(packed, x.data(), m, out.data());
      CHECK_EQ(args.compute, format == LOWBIT_INT(4) ? LOWBIT_COMPUTE_INT8 : LOWBIT_COMPUTE_FLOAT32);
      args.bias = bias.data();
      args.activation = LOWBIT_GELU;
      lowbit::matmul(context, args, workspace);
      CHECK(workspace.size() >= before);
      before = workspace.size();

      size_t size = 0;
      args.out = expected.data();
      CHECK_EQ(lowbit_matmul_workspace(context, &args, &size, nullptr), LOWBIT_OK);
      lowbit::Buffer own(size);
      args.workspace = own.data();
      args.workspace_size = size;
      CHECK_EQ(lowbit_matmul(context, &args, nullptr), LOWBIT_OK);
      CHECK(same(out.data(), expected.data(), 4 * out.size()));
      CHECK(std::any_of(out.begin(), out.end(), [](float y) { return y > 1; }));

      std::fill(out.begin(), out.end(), 0.0f);
      lowbit_matmul_args two[2] = {args, args};
      two[0].out = out.data();
      two[0].m = m / 2;
      two[1].out = out.data() + m / 2 * n;
      two[1].x = x.data() + m / 2 * k;
      two[1].m = m - m / 2;
      lowbit::matmul_grouped(context, two, 2, workspace);
      CHECK(same(out.data(), expected.data(), 4 * out.size()));
    }
  }
  lowbit_matmul_args args = lowbit::make<lowbit_matmul_args>();
  check_throws(LOWBIT_INVALID_VALUE, "packed: got NULL", [&] { lowbit::matmul(context, args, workspace); });
  check_throws(LOWBIT_INVALID_VALUE, "packed: got NULL", [&] { lowbit::matmul_grouped(context, &args, 1, workspace); });
}

TEST(integer_products) {
  const lowbit::Context context;
  const int8_t a[4] = {-128, 127, 3, -4}, w[4] = {1, 2, -3, -128};
  lowbit_weights_info info = lowbit::make<lowbit_weights_info>();
  info.format = LOWBIT_INT(8);
  info.n = info.k = 2;
  const lowbit::PackedWeights packed(context, info, w, nullptr);
  int32_t out[4] = {};
  lowbit_matmul_int_args args = lowbit::make<lowbit_matmul_int_args>();
  args.weights = packed.data();
  args.weights_size = packed.size();
  args.m = args.k = args.lda = args.ldout = 2;
  args.a_type = LOWBIT_INT8;
  args.a = a;
  args.out = out;
  lowbit::Buffer workspace;
  lowbit::matmul_int(context, args, workspace);
  const int32_t expected[4] = {-128 + 2 * 127, 3 * 128 - 127 * 128, 3 - 8, -9 + 4 * 128};
  CHECK(same(out, expected, sizeof out));
  args.a_type = LOWBIT_FLOAT32;
  check_throws(LOWBIT_INVALID_TYPE, "a_type: ", [&] { lowbit::matmul_int(context, args, workspace); });
}
