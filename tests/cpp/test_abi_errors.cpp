// Every function of lowbit.h, given what it cannot be given: a status and a message that names it, with a lowbit_error
// and without; never a crash. csrc/lowbit.symbols says which functions there are.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "abi.hpp"

using namespace abi;

namespace {

void check_those_that_cannot_fail() {
  for (const int index : {-1, 1000, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()}) {
    CHECK(lowbit_available_isa(index) == nullptr);
    CHECK(lowbit_built_isa(index) == nullptr);
    CHECK(lowbit_format_name(index) == nullptr);
  }
  for (const int type : {-1, 0, 17, std::numeric_limits<int>::max()}) {
    CHECK_EQ(lowbit_type_size(lowbit_type(type)), size_t{0});
  }
  CHECK_EQ(lowbit_type_size(LOWBIT_FLOAT32), size_t{4});
  CHECK_EQ(lowbit_type_size(LOWBIT_BFLOAT16), size_t{2});
  CHECK_EQ(lowbit_type_size(LOWBIT_FLOAT6_E2M3FN), size_t{1});
  CHECK_EQ(lowbit_type_size(LOWBIT_UINT8), size_t{1});
  char text[4] = "###";
  lowbit_cpu_description(nullptr, 10);
  lowbit_cpu_description(text, 0);
  CHECK_EQ(std::string(text), "###");
  lowbit_cpu_description(text, 1);
  CHECK_EQ(text[0], '\0');
  lowbit_cpu_description(text, sizeof text);
  CHECK_EQ(std::strlen(text), size_t{3});
  const std::string version = lowbit_version();
  CHECK_EQ(version, std::to_string(LOWBIT_VERSION_MAJOR) + "." + std::to_string(LOWBIT_VERSION_MINOR) + "." +
                        std::to_string(LOWBIT_VERSION_PATCH));
  CHECK_EQ(lowbit_version_number(), LOWBIT_VERSION_NUMBER);
  CHECK(lowbit_context_isa(nullptr) == nullptr);
  const lowbit_context zeros = {};
  CHECK(lowbit_context_isa(&zeros) == nullptr);
  CHECK(lowbit_context_isa(&kContext) != nullptr);
  seen.insert({"lowbit_available_isa", "lowbit_built_isa", "lowbit_format_name", "lowbit_type_size",
               "lowbit_cpu_description", "lowbit_version", "lowbit_version_number", "lowbit_context_isa"});
}

void check_context() {
  const char* const name = "lowbit_context_init";
  lowbit_context context;
  lowbit_options good = {};
  good.struct_size = sizeof good;
  good.max_threads = 1;
  const auto init = [&](const lowbit_options* options, lowbit_error* error) {
    return lowbit_context_init(&context, options, error);
  };
  accept(name, [&](lowbit_error* error) { return init(&good, error); });
  accept(name, [&](lowbit_error* error) { return init(nullptr, error); });
  refuse(name, LOWBIT_INVALID_VALUE, "context: got NULL",
         [&](lowbit_error* error) { return lowbit_context_init(nullptr, &good, error); });
  for (const size_t size : {size_t{0}, size_t{8}, sizeof good - 8, sizeof good + 8, SIZE_MAX}) {
    lowbit_options bad = good;
    bad.struct_size = size;
    refuse(name, LOWBIT_INVALID_VALUE, "options.struct_size: got " + std::to_string(size),
           [&](lowbit_error* error) { return init(&bad, error); });
  }
  for (const int threads : {0, -1, std::numeric_limits<int>::min()}) {
    lowbit_options bad = good;
    bad.max_threads = threads;
    refuse(name, LOWBIT_INVALID_VALUE, "options.max_threads: got ",
           [&](lowbit_error* error) { return init(&bad, error); });
  }
  const std::string endless(100000, 'x');
  for (const char* isa : {"", "AVX2", "sse2", "avx2 ", endless.c_str()}) {
    lowbit_options bad = good;
    bad.isa = isa;
    refuse(name, LOWBIT_UNAVAILABLE, "is not an ISA of this build", [&](lowbit_error* e) { return init(&bad, e); });
  }
}

void check_formats() {
  lowbit_format format = 0;
  refuse("lowbit_format_by_name", LOWBIT_INVALID_VALUE, "name: got NULL",
         [&](lowbit_error* error) { return lowbit_format_by_name(nullptr, &format, error); });
  refuse("lowbit_format_by_name", LOWBIT_INVALID_VALUE, "format: got NULL",
         [](lowbit_error* error) { return lowbit_format_by_name("int4", nullptr, error); });
  for (const char* name : {"", "int9", "INT4", "int4 "}) {
    refuse("lowbit_format_by_name", LOWBIT_INVALID_VALUE, std::string("got \"") + name + '"',
           [&](lowbit_error* error) { return lowbit_format_by_name(name, &format, error); });
  }
  refuse("lowbit_format_by_name", LOWBIT_INVALID_VALUE, "format: expected one of int1",
         [&](lowbit_error* error) { return lowbit_format_by_name(std::string(5000, 'x').c_str(), &format, error); });

  lowbit_format_info info = {};
  info.struct_size = sizeof info;
  accept("lowbit_format_describe", [&](lowbit_error* e) { return lowbit_format_describe(LOWBIT_INT(4), &info, e); });
  refuse_sizes("lowbit_format_describe", "info", info, [](const lowbit_format_info* at, lowbit_error* error) {
    return lowbit_format_describe(LOWBIT_INT(4), const_cast<lowbit_format_info*>(at), error);
  });
  size_t size = 0;
  for (const int bad : {0, -1, 9, 1 << 30}) {
    refuse("lowbit_format_describe", LOWBIT_INVALID_VALUE, "format: got " + std::to_string(bad),
           [&](lowbit_error* error) { return lowbit_format_describe(bad, &info, error); });
    refuse("lowbit_codes_size", LOWBIT_INVALID_VALUE, "format: got " + std::to_string(bad),
           [&](lowbit_error* error) { return lowbit_codes_size(bad, 1, 1, &size, error); });
  }
  const auto codes_size = [&](lowbit_format f, int64_t rows, int64_t length) {
    CHECK_EQ(lowbit_codes_size(f, rows, length, &size, nullptr), LOWBIT_OK);
    return size;
  };
  CHECK_EQ(codes_size(LOWBIT_INT(3), 5, 11), size_t{5 * 5});  // 33 bits
  CHECK_EQ(codes_size(LOWBIT_UINT(8), 5, 11), size_t{5 * 11});
  CHECK_EQ(codes_size(LOWBIT_FORMAT_BFLOAT16, 5, 11), size_t{5 * 22});
  CHECK_EQ(codes_size(LOWBIT_FORMAT_MXFP4, 0, 11), size_t{0});
  CHECK_EQ(codes_size(LOWBIT_INT(1), int64_t{1} << 28, int64_t{1} << 28), size_t{1} << 53);
  refuse("lowbit_codes_size", LOWBIT_INVALID_VALUE, "size: got NULL",
         [](lowbit_error* error) { return lowbit_codes_size(LOWBIT_INT(4), 1, 1, nullptr, error); });
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (const auto& [rows, length] : {std::pair<int64_t, int64_t>{-1, 1}, {1, -1}, {most, most}, {most, 1}, {0, most}}) {
    refuse("lowbit_codes_size", LOWBIT_INVALID_VALUE, "rows, row_length: got",
           [&, r = rows, l = length](lowbit_error* error) {
             return lowbit_codes_size(LOWBIT_INT(4), r, l, &size, error);
           });
  }
}

void check_bits() {
  Memory& m = memory();
  const auto both = [&](auto check) {
    check("lowbit_pack_bits",
          [](const lowbit_context* c, int bits, int64_t rows, int64_t length, const uint8_t* from, uint8_t* to,
             lowbit_error* e) { return lowbit_pack_bits(c, bits, rows, length, from, to, e); });
    check("lowbit_unpack_bits",
          [](const lowbit_context* c, int bits, int64_t rows, int64_t length, const uint8_t* from, uint8_t* to,
             lowbit_error* e) { return lowbit_unpack_bits(c, bits, 1, rows, length, from, to, e); });
  };
  both([&](const char* name, auto call) {
    accept(name, [&](lowbit_error* e) { return call(&kContext, 4, 4, 64, m.codes, m.other, e); });
    accept(name, [&](lowbit_error* e) { return call(&kContext, 4, 0, 64, nullptr, nullptr, e); });
    refuse_contexts(name,
                    [&](const lowbit_context* c, lowbit_error* e) { return call(c, 4, 4, 64, m.codes, m.other, e); });
    for (const int bits : {0, 9, -1, 1 << 30}) {
      refuse(name, LOWBIT_INVALID_VALUE, "bits: got ",
             [&](lowbit_error* e) { return call(&kContext, bits, 4, 64, m.codes, m.other, e); });
    }
    refuse(name, LOWBIT_INVALID_VALUE, ": got NULL",
           [&](lowbit_error* e) { return call(&kContext, 4, 4, 64, nullptr, m.other, e); });
    refuse(name, LOWBIT_INVALID_VALUE, ": got NULL",
           [&](lowbit_error* e) { return call(&kContext, 4, 4, 64, m.codes, nullptr, e); });
    for (const int64_t size : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
      refuse(name, LOWBIT_INVALID_VALUE, "runs: got",
             [&](lowbit_error* e) { return call(&kContext, 4, size, 64, m.codes, m.other, e); });
      refuse(name, LOWBIT_INVALID_VALUE, "runs: got",
             [&](lowbit_error* e) { return call(&kContext, 4, 4, size, m.codes, m.other, e); });
    }
  });
}

// Of a function of a context, a lowbit_runs and what the caller has bound: call(context, runs, error).
template <class F>
void refuse_runs(const char* name, F call) {
  accept(name, [&](lowbit_error* e) { return call(&kContext, &kRuns, e); });
  refuse_contexts(name, [&](const lowbit_context* c, lowbit_error* e) { return call(c, &kRuns, e); });
  refuse(name, LOWBIT_INVALID_VALUE, "runs: got NULL", [&](lowbit_error* e) { return call(&kContext, nullptr, e); });
  using R = lowbit_runs;
  for (int64_t R::* field : {&R::rows, &R::row_length, &R::run, &R::rows_per_param, &R::params}) {
    for (const int64_t value : {int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
      lowbit_runs bad = kRuns;
      bad.*field = value;
      refuse(name, LOWBIT_INVALID_VALUE, "runs: got", [&](lowbit_error* e) { return call(&kContext, &bad, e); });
    }
  }
}

void check_ranges() {
  Memory& m = memory();
  const auto range = [&](const float* x, float* low, float* high) {
    return [=](lowbit_error* e) { return lowbit_range(&kContext, &kRuns, x, low, high, e); };
  };
  const char* name = "lowbit_range";
  refuse_runs(name, [&](const lowbit_context* c, const lowbit_runs* runs, lowbit_error* e) {
    return lowbit_range(c, runs, m.x, m.out, m.out + 16, e);
  });
  refuse(name, LOWBIT_INVALID_VALUE, "x: got NULL", range(nullptr, m.out, m.out + 16));
  refuse(name, LOWBIT_INVALID_VALUE, "minimum: got NULL", range(m.x, nullptr, m.out));
  refuse(name, LOWBIT_INVALID_VALUE, "maximum: got NULL", range(m.x, m.out, nullptr));
  refuse(name, LOWBIT_INVALID_VALUE, "x: got address", range(misaligned(m.x), m.out, m.out + 16));
  refuse(name, LOWBIT_INVALID_VALUE, "minimum: got address", range(m.x, misaligned(m.out), m.out + 16));
  refuse(name, LOWBIT_INVALID_VALUE, "maximum: got address", range(m.x, m.out, misaligned(m.out + 16)));

  name = "lowbit_absmean";
  const auto mean = [&](const float* x, float* to) {
    return [=](lowbit_error* e) { return lowbit_absmean(&kContext, &kRuns, x, to, e); };
  };
  refuse_runs(name, [&](const lowbit_context* c, const lowbit_runs* runs, lowbit_error* e) {
    return lowbit_absmean(c, runs, m.x, m.out, e);
  });
  refuse(name, LOWBIT_INVALID_VALUE, "x: got NULL", mean(nullptr, m.out));
  refuse(name, LOWBIT_INVALID_VALUE, "mean: got NULL", mean(m.x, nullptr));
  refuse(name, LOWBIT_INVALID_VALUE, "x: got address", mean(misaligned(m.x), m.out));
  refuse(name, LOWBIT_INVALID_VALUE, "mean: got address", mean(m.x, misaligned(m.out)));
}

void check_histograms() {
  Memory& m = memory();
  const char* name = "lowbit_histogram";
  refuse_runs(name, [&](const lowbit_context* c, const lowbit_runs* runs, lowbit_error* e) {
    return lowbit_histogram(c, runs, m.x, 64, 0, m.scale, m.counts, e);
  });
  const auto histogram = [&](const float* x, int bins, const float* inverse, int64_t* counts) {
    return [=](lowbit_error* e) { return lowbit_histogram(&kContext, &kRuns, x, bins, 0, inverse, counts, e); };
  };
  refuse(name, LOWBIT_INVALID_VALUE, "x: got NULL", histogram(nullptr, 64, m.scale, m.counts));
  refuse(name, LOWBIT_INVALID_VALUE, "inverse_width: got NULL", histogram(m.x, 64, nullptr, m.counts));
  refuse(name, LOWBIT_INVALID_VALUE, "counts: got NULL", histogram(m.x, 64, m.scale, nullptr));
  refuse(name, LOWBIT_INVALID_VALUE, "x: got address", histogram(misaligned(m.x), 64, m.scale, m.counts));
  refuse(name, LOWBIT_INVALID_VALUE, "inverse_width: got address", histogram(m.x, 64, misaligned(m.scale), m.counts));
  refuse(name, LOWBIT_INVALID_VALUE, "counts: got address", histogram(m.x, 64, m.scale, misaligned(m.counts)));
  for (const int bins : {0, 1, 3, -2, 4098, std::numeric_limits<int>::max()}) {
    refuse(name, LOWBIT_INVALID_VALUE, "bins: got", histogram(m.x, bins, m.scale, m.counts));
  }
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float inverse : {0.0f, -1.0f, infinity, std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> bad(kParams, 1.0f);
    bad[5] = inverse;
    refuse(name, LOWBIT_INVALID_VALUE, " at 5, expected finite", histogram(m.x, 64, bad.data(), m.counts));
  }

  name = "lowbit_entropy";
  const auto entropy = [&](int64_t params, int bins, const int64_t* counts, int levels, int first, int64_t* kept) {
    return [=](lowbit_error* e) { return lowbit_entropy(&kContext, params, bins, counts, levels, first, kept, e); };
  };
  accept(name, entropy(kParams, 64, m.counts, 8, 8, m.kept));
  accept(name, entropy(0, 64, nullptr, 8, 8, nullptr));
  refuse_contexts(name, [&](const lowbit_context* c, lowbit_error* e) {
    return lowbit_entropy(c, kParams, 64, m.counts, 8, 8, m.kept, e);
  });
  refuse(name, LOWBIT_INVALID_VALUE, "counts: got NULL", entropy(kParams, 64, nullptr, 8, 8, m.kept));
  refuse(name, LOWBIT_INVALID_VALUE, "kept: got NULL", entropy(kParams, 64, m.counts, 8, 8, nullptr));
  refuse(name, LOWBIT_INVALID_VALUE, "counts: got address", entropy(8, 64, misaligned(m.counts), 8, 8, m.kept));
  refuse(name, LOWBIT_INVALID_VALUE, "kept: got address", entropy(8, 64, m.counts, 8, 8, misaligned(m.kept)));
  for (const int64_t params : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    refuse(name, LOWBIT_INVALID_VALUE, "params: got", entropy(params, 64, m.counts, 8, 8, m.kept));
  }
  for (const int bins : {0, -1, 4097}) {
    refuse(name, LOWBIT_INVALID_VALUE, "bins: got", entropy(kParams, bins, m.counts, 8, 8, m.kept));
  }
  for (const auto& [levels, first] : {std::pair<int, int>{0, 1}, {4097, 1}, {8, 0}, {-1, -1}}) {
    refuse(name, LOWBIT_INVALID_VALUE, "levels, first: got", entropy(kParams, 64, m.counts, levels, first, m.kept));
  }
  for (const int64_t count : {int64_t{-1}, std::numeric_limits<int64_t>::max(), int64_t{1} << 53}) {
    std::vector<int64_t> bad(kParams * 64, 1);
    bad[7 * 64 + 3] = count;
    refuse(name, LOWBIT_INVALID_VALUE, "counts: got", entropy(kParams, 64, bad.data(), 8, 8, m.kept));
  }
}

void check_choose() {
  Memory& m = memory();
  using Args = lowbit_choose_args;
  Args args = {};
  args.format = LOWBIT_INT(4);
  args.convention = LOWBIT_ASYMMETRIC;
  args.scale_type = LOWBIT_FLOAT32;
  args.count = kParams;
  args.minimum = m.low;
  args.maximum = m.high;
  args.scale = m.out;
  args.zero_point = m.other;
  const Function<Args> f("lowbit_choose_params", &lowbit_choose_params, args);
  f.format();
  f.scale_type();
  f.global_scale();
  f.enumeration("convention: got", &Args::convention, LOWBIT_NO_CLIP);
  f.array("minimum", &Args::minimum);
  f.array("maximum", &Args::maximum);
  f.array("scale", &Args::scale);
  f.bytes("zero_point", &Args::zero_point);
  f.bad("count: got -1", [](Args& a) { a.count = -1; });
  f.bad("count: got", [](Args& a) { a.count = std::numeric_limits<int64_t>::max(); });
  f.bad("minimum, maximum: got", [](Args& a) { std::swap(a.minimum, a.maximum); });
}

void check_quantize() {
  Memory& m = memory();
  using Args = lowbit_quantize_args;
  Args args = {};
  args.format = LOWBIT_INT(4);
  args.runs = kRuns;
  args.x = m.x;
  args.find_params = 1;
  args.convention = LOWBIT_ASYMMETRIC;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = m.out;
  args.zero_type = LOWBIT_INT8;
  args.zero_point = m.other;
  args.codes = m.workspace;
  for (const int find : {1, 0}) {
    args.find_params = find;
    if (!find) args.scale = m.scale;
    const Function<Args> f("lowbit_quantize", &lowbit_quantize, args);
    f.format();
    f.runs();
    f.scale_type();
    f.global_scale();
    f.enumeration("convention: got", &Args::convention, LOWBIT_NO_CLIP);
    f.array("args.x", &Args::x);
    f.array("args.scale", &Args::scale);
    f.bytes("args.codes", &Args::codes);
    f.bad("zero_type: got 4", [](Args& a) { a.zero_type = LOWBIT_UINT8; }, LOWBIT_INVALID_TYPE);
    f.bad("zero_point: given for format nf4", [](Args& a) { a.format = LOWBIT_FORMAT_NF4; });
    f.bad("codes: got address", [](Args& a) {
      a.format = LOWBIT_FORMAT_BFLOAT16;
      a.convention = LOWBIT_ABSMAX;
      a.zero_point = nullptr;
      a.codes = misaligned(static_cast<uint8_t*>(a.codes));
    });
    if (find) {
      f.bad("zero_point: got NULL", [](Args& a) { a.zero_point = nullptr; });
      f.bad(
          "zero_type: got LOWBIT_FLOAT32 with find_params",
          [&](Args& a) { a.zero_type = LOWBIT_FLOAT32, a.zero_point = m.y; }, LOWBIT_INVALID_TYPE);
      f.bad("args.runs: got", [](Args& a) { a.runs.params = 2; });
    } else {
      f.good([](Args& a) { a.zero_point = nullptr; });
      f.bad("zero_point: got address", [&](Args& a) { a.zero_type = LOWBIT_FLOAT32, a.zero_point = misaligned(m.y); });
      f.bad("scale: got 0 at 0", [&](Args& a) { a.scale = m.bytes; });
    }
  }
}

void check_dequantize() {
  Memory& m = memory();
  using Args = lowbit_dequantize_args;
  Args args = {};
  args.format = LOWBIT_INT(4);
  args.runs = kRuns;
  args.codes = m.codes;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = m.scale;
  args.zero_type = LOWBIT_FLOAT32;
  args.zero_point = m.zero;
  args.out = m.out;
  const Function<Args> f("lowbit_dequantize", &lowbit_dequantize, args);
  f.format();
  f.runs();
  f.scale_type();
  f.global_scale();
  f.bytes("args.codes", &Args::codes);
  f.array("args.scale", &Args::scale);
  f.optional("args.zero_point", &Args::zero_point);
  f.array("args.out", &Args::out);
  f.bad("zero_type: got 4", [](Args& a) { a.zero_type = LOWBIT_UINT8; }, LOWBIT_INVALID_TYPE);
}

void check_cast() {
  Memory& m = memory();
  using Args = lowbit_cast_args;
  Args args = {};
  args.count = 64;
  args.from = LOWBIT_FLOAT32;
  args.x = m.x;
  args.to = LOWBIT_FLOAT16;
  args.out = m.out;
  const Function<Args> f("lowbit_cast", &lowbit_cast, args);
  f.array("args.x", &Args::x);
  f.array("args.out", &Args::out);
  for (const int64_t count : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    f.bad("args.count: got", [=](Args& a) { a.count = count; });
  }
  for (const int type : {0, 1, 3, -1, 17}) {
    f.bad("args.from, args.to: got", [=](Args& a) { a.to = lowbit_type(type); }, LOWBIT_INVALID_TYPE);
  }
  f.enumeration("args.rounding: got", &Args::rounding, LOWBIT_STOCHASTIC);
  f.bad("args.rounding: got up", [](Args& a) { a.rounding = LOWBIT_UP; });
  f.good([](Args& a) { a.count = 0, a.x = a.out = nullptr; });
}

void check_fake_quantize() {
  Memory& m = memory();
  {
    using Args = lowbit_fake_quantize_args;
    Args args = {};
    args.format = LOWBIT_INT(4);
    args.runs = kRuns;
    args.x = m.x;
    args.scale = m.scale;
    args.zero_point = m.bytes;
    args.out = m.out;
    const Function<Args> f("lowbit_fake_quantize", &lowbit_fake_quantize, args);
    f.format();
    f.runs();
    f.array("args.x", &Args::x);
    f.array("args.scale", &Args::scale);
    f.array("args.out", &Args::out);
    f.good([](Args& a) { a.zero_point = nullptr; });
    f.bad("args.format: got nf4", [](Args& a) { a.format = LOWBIT_FORMAT_NF4; });
    f.bad("args.out: must share no memory with args.x", [&](Args& a) { a.out = m.x; });
    f.bad("args.out: must share no memory with args.x", [&](Args& a) { a.out = m.x + kRows * kLength - 1; });
  }
  using Args = lowbit_fake_quantize_gradient_args;
  Args args = {};
  args.format = LOWBIT_INT(4);
  args.runs = kRuns;
  args.grad = m.y;
  args.x = m.x;
  args.scale = m.scale;
  args.zero_point = m.bytes;
  args.lsq_scale = 1;
  args.grad_x = m.out;
  args.grad_scale = m.low;
  args.grad_zero_point = m.high;
  const Function<Args> f("lowbit_fake_quantize_gradient", &lowbit_fake_quantize_gradient, args);
  f.format();
  f.runs();
  f.array("args.grad", &Args::grad);
  f.array("args.x", &Args::x);
  f.array("args.scale", &Args::scale);
  f.array("args.grad_x", &Args::grad_x);
  f.optional("args.grad_scale", &Args::grad_scale);
  f.optional("args.grad_zero_point", &Args::grad_zero_point);
  f.bad("args.lsq_scale: got 1 for int1", [](Args& a) { a.format = LOWBIT_INT(1); });
  f.bad("args.grad_x: must share no memory with args.x", [&](Args& a) { a.grad_x = m.x; });
  f.bad("args.grad_x: must share no memory with args.grad", [&](Args& a) { a.grad_x = m.y + 1; });
  std::fill_n(m.low, kParams + 1, -3.0f);
  std::fill_n(m.high, kParams + 1, 5.0f);
}

void check_searches() {
  Memory& m = memory();
  {
    using Args = lowbit_search_args;
    Args args = {};
    args.format = LOWBIT_INT(4);
    args.runs = kRuns;
    args.x = m.x;
    args.importance = m.y;
    args.importance_count = kLength;
    args.convention = LOWBIT_ASYMMETRIC;
    args.scale_type = LOWBIT_FLOAT32;
    args.scale = m.out;
    args.zero_point = m.other;
    const Function<Args> f("lowbit_search_params", &lowbit_search_params, args);
    f.format();
    f.runs();
    f.scale_type();
    f.global_scale();
    f.enumeration("convention: got", &Args::convention, LOWBIT_NO_CLIP);
    f.array("args.x", &Args::x);
    f.optional("args.importance", &Args::importance);
    f.array("args.scale", &Args::scale);
    f.bytes("zero_point", &Args::zero_point);
    f.bad("args.importance_count: got 1", [](Args& a) { a.importance_count = 1; });
    f.bad("args.importance: got -3 at 0", [&](Args& a) { a.importance = m.low; });
  }
  using Args = lowbit_hqq_args;
  Args args = {};
  args.format = LOWBIT_UINT(4);
  args.runs = kRuns;
  args.x = m.x;
  args.p = 0.7f;
  args.beta = 10;
  args.kappa = 1.01f;
  args.rounds = 2;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = m.out;
  args.zero_point = m.out + 16;
  const Function<Args> f("lowbit_hqq_params", &lowbit_hqq_params, args);
  f.format();
  f.runs();
  f.scale_type();
  f.array("args.x", &Args::x);
  f.array("args.scale", &Args::scale);
  f.array("args.zero_point", &Args::zero_point);
  f.bad("args.format: got nf4", [](Args& a) { a.format = LOWBIT_FORMAT_NF4; });
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float value : {0.0f, -1.0f, nan}) {
    f.bad("args.p, beta, kappa, rounds: got", [=](Args& a) { a.beta = value; });
    f.bad("args.p, beta, kappa, rounds: got", [=](Args& a) { a.kappa = value; });
  }
  f.bad("args.p, beta, kappa, rounds: got", [=](Args& a) { a.p = nan; });
  f.bad("args.p, beta, kappa, rounds: got", [](Args& a) { a.rounds = -1; });
}

void check_packing() {
  Memory& m = memory();
  using Info = lowbit_weights_info;
  size_t size = 0;
  const auto size_of = [&](const Info* info, lowbit_error* e) { return lowbit_packed_size(info, &size, e); };
  const auto pack = [&](const Info* info, lowbit_error* e) {
    return lowbit_pack_weights(&kContext, info, m.codes, m.scale, m.bytes, m.other, e);
  };
  const auto refuse_both = [&](lowbit_status status, const char* text, auto change) {
    Info bad = m.info;
    change(bad);
    refuse("lowbit_packed_size", status, text, [&](lowbit_error* e) { return size_of(&bad, e); });
    refuse("lowbit_pack_weights", status, text, [&](lowbit_error* e) { return pack(&bad, e); });
  };
  refuse_sizes("lowbit_packed_size", "info", m.info, size_of);
  refuse_sizes("lowbit_pack_weights", "info", m.info, pack);
  const lowbit_status kValue = LOWBIT_INVALID_VALUE, kType = LOWBIT_INVALID_TYPE;
  refuse_both(kValue, "format: got 0", [](Info& i) { i.format = 0; });
  refuse_both(kType, "scale_type: got 3", [](Info& i) { i.scale_type = LOWBIT_INT8; });
  refuse_both(kType, "info.zero_type: got 4", [](Info& i) { i.zero_type = LOWBIT_UINT8; });
  refuse_both(kValue, "info.zero_type: got 3 for format nf4", [](Info& i) { i.format = LOWBIT_FORMAT_NF4; });
  refuse_both(kValue, "global_scale: got -1", [](Info& i) { i.global_scale = -1; });
  refuse_both(kValue, "info.global_scale: got 2 without scales", [](Info& i) {
    i.scale_type = LOWBIT_NONE;
    i.global_scale = 2;
  });
  for (int64_t Info::* field : {&Info::n, &Info::k}) {
    refuse_both(kValue, "info: n and k must be at least 0", [=](Info& i) { i.*field = -1; });
    refuse_both(kValue, "info: n x k must be at most 2^48",
                [=](Info& i) { i.*field = std::numeric_limits<int64_t>::max(); });
  }
  refuse_both(kValue, "info: group_size must be", [](Info& i) { i.group_size = -1; });
  refuse("lowbit_packed_size", kValue, "size: got NULL",
         [&](lowbit_error* e) { return lowbit_packed_size(&m.info, nullptr, e); });

  const char* name = "lowbit_pack_weights";
  refuse_contexts(name, [&](const lowbit_context* c, lowbit_error* e) {
    return lowbit_pack_weights(c, &m.info, m.codes, m.scale, m.bytes, m.other, e);
  });
  const auto parts = [&](const void* codes, const void* scale, const void* zero, void* packed) {
    return [=, &m](lowbit_error* e) { return lowbit_pack_weights(&kContext, &m.info, codes, scale, zero, packed, e); };
  };
  accept(name, parts(m.codes, m.scale, m.bytes, m.other));
  refuse(name, kValue, "codes: got NULL", parts(nullptr, m.scale, m.bytes, m.other));
  refuse(name, kValue, "scale: got NULL", parts(m.codes, nullptr, m.bytes, m.other));
  refuse(name, kValue, "zero_point: got NULL", parts(m.codes, m.scale, nullptr, m.other));
  refuse(name, kValue, "packed: got NULL", parts(m.codes, m.scale, m.bytes, nullptr));
  refuse(name, kValue, "packed: got address", parts(m.codes, m.scale, m.bytes, m.other + 32));
}

// Buffers that are no packed weights, for each function that reads some: call(packed, size, error).
template <class F>
void refuse_packed(const char* name, const uint8_t* good, size_t size, F call) {
  const lowbit_status kValue = LOWBIT_INVALID_VALUE;
  accept(name, [&](lowbit_error* e) { return call(good, size, e); });
  refuse(name, kValue, "packed: got NULL", [&](lowbit_error* e) { return call(nullptr, size, e); });
  for (const int shift : {1, 8, 32}) {
    refuse(name, kValue, "packed: got address", [&](lowbit_error* e) { return call(good + shift, size, e); });
  }
  const Guarded page(size);
  for (size_t length = 0; length < size; length += 64) {  // with nothing behind it
    uint8_t* const at = page.last<uint8_t>(length);
    std::memcpy(at, good, length);
    refuse(name, kValue, "packed: ", [&](lowbit_error* e) { return call(at, length, e); });
  }
  for (const size_t length : {size_t{1}, size_t{7}, size_t{63}, size_t{127}, size_t{129}, size - 1}) {
    refuse(name, kValue, "packed: ", [&](lowbit_error* e) { return call(good, length, e); });
  }
  const auto change = [&](const char* text, size_t at, auto value) {
    uint8_t* const copy = page.first<uint8_t>();
    std::memcpy(copy, good, size);
    std::memcpy(copy + at, &value, sizeof value);
    refuse(name, kValue, text, [&](lowbit_error* e) { return call(copy, size, e); });
  };
  change("packed: not packed weights", 0, 'x');
  change("packed: layout 9 version 2", 8, uint32_t{9});
  change("packed: layout 1 version 1;", 12, uint32_t{1});
  change("packed: layout 1 version 3;", 12, uint32_t{3});
  change("packed: a header that describes no weights: format: got 99", 16, int32_t{99});
  change("packed: a header that describes no weights: ", 32, int64_t{-1});                          // n
  change("packed: a header that describes no weights: ", 40, std::numeric_limits<int64_t>::max());  // k
  change("packed: a header that describes no weights: ", 48, int64_t{-5});                          // group_size
  change("needed for its shape", 32, int64_t{1} << 30);                                             // n
  change("needed for its shape", 56, std::numeric_limits<uint64_t>::max());                         // size
  change("needed for its shape", 56, uint64_t{64});
  for (size_t at = 64; at < 128; at += 8) change("has 0", at, uint64_t{1} << 63);
}

void check_packed() {
  Memory& m = memory();
  using Info = lowbit_weights_info;
  Info info = {};
  info.struct_size = sizeof info;
  refuse_packed(
      "lowbit_packed_describe", m.packed, m.packed_size,
      [&](const void* packed, size_t size, lowbit_error* e) { return lowbit_packed_describe(packed, size, &info, e); });
  refuse_sizes("lowbit_packed_describe", "info", info, [&](const Info* at, lowbit_error* e) {
    return lowbit_packed_describe(m.packed, m.packed_size, const_cast<Info*>(at), e);
  });

  const char* const name = "lowbit_unpack_weights";
  std::vector<uint8_t> codes(kN * kLength), zero(kN * 2);
  std::vector<float> scale(kN * 2);
  refuse_packed(name, m.packed, m.packed_size, [&](const void* packed, size_t size, lowbit_error* e) {
    return lowbit_unpack_weights(&kContext, packed, size, codes.data(), scale.data(), zero.data(), e);
  });
  refuse_contexts(name, [&](const lowbit_context* c, lowbit_error* e) {
    return lowbit_unpack_weights(c, m.packed, m.packed_size, codes.data(), scale.data(), zero.data(), e);
  });
  const auto parts = [&](void* to_codes, void* to_scale, void* to_zero) {
    return [=, &m](lowbit_error* e) {
      return lowbit_unpack_weights(&kContext, m.packed, m.packed_size, to_codes, to_scale, to_zero, e);
    };
  };
  refuse(name, LOWBIT_INVALID_VALUE, "codes: got NULL", parts(nullptr, scale.data(), zero.data()));
  refuse(name, LOWBIT_INVALID_VALUE, "scale: got NULL", parts(codes.data(), nullptr, zero.data()));
  refuse(name, LOWBIT_INVALID_VALUE, "zero_point: got NULL", parts(codes.data(), scale.data(), nullptr));
}

lowbit_status workspace_of(const lowbit_context* context, const lowbit_matmul_args* args, lowbit_error* error) {
  size_t size = 0;
  return lowbit_matmul_workspace(context, args, &size, error);
}
lowbit_status grouped_workspace_of(const lowbit_context* context, const lowbit_matmul_args* args, lowbit_error* error) {
  size_t size = 0;
  return lowbit_matmul_grouped_workspace(context, args, 1, &size, error);
}
lowbit_status grouped(const lowbit_context* context, const lowbit_matmul_args* args, lowbit_error* error) {
  Memory& m = memory();
  return lowbit_matmul_grouped(context, args, 1, m.workspace, sizeof m.workspace, error);
}
lowbit_status int_workspace_of(const lowbit_context* context, const lowbit_matmul_int_args* args, lowbit_error* error) {
  size_t size = 0;
  return lowbit_matmul_int_workspace(context, args, &size, error);
}

// What the workspace depends on: both the query and the product refuse it.
void check_shape(const Function<lowbit_matmul_args>& f) {
  using Args = lowbit_matmul_args;
  const int64_t most = std::numeric_limits<int64_t>::max();
  f.bad("m: must be at least 0, got -1", [](Args& a) { a.m = -1; });
  f.bad("activations are too many", [=](Args& a) { a.m = most; });
  for (const int64_t k : {int64_t{-1}, kLength + 1, most}) f.bad("x: has K = ", [=](Args& a) { a.k = k; });
  for (const int type : {0, 6, -1, 17}) {
    f.bad("x_type: must be", [=](Args& a) { a.x_type = lowbit_type(type); }, LOWBIT_INVALID_TYPE);
  }
  f.bad("out_type: must be", [](Args& a) { a.out_type = LOWBIT_FLOAT8_E5M2; }, LOWBIT_INVALID_TYPE);
  f.enumeration("compute: must be", &Args::compute, LOWBIT_COMPUTE_INT8X2);
  f.enumeration("activation: unknown value", &Args::activation, LOWBIT_SILU);
  for (const int64_t group : {int64_t{-2}, int64_t{3}, std::numeric_limits<int64_t>::min()}) {
    f.bad("act_group_size: ", [=](Args& a) { a.act_group_size = group; });
  }
}

void check_matmul() {
  Memory& m = memory();
  using Args = lowbit_matmul_args;
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Function<Args> query("lowbit_matmul_workspace", &workspace_of, matmul_args());
  const Function<Args> grouped_query("lowbit_matmul_grouped_workspace", &grouped_workspace_of, matmul_args());
  const Function<Args> matmul("lowbit_matmul", &lowbit_matmul, matmul_args());
  const Function<Args> group("lowbit_matmul_grouped", &grouped, matmul_args());
  for (const Function<Args>* f : {&query, &grouped_query, &matmul, &group}) check_shape(*f);
  query.good([](Args& a) {  // of its pointers only `weights` is read
    a.x = a.out = a.workspace = nullptr;
    a.bias = nullptr;
    a.residual = nullptr;
  });
  for (const Function<Args>* f : {&matmul, &group}) {
    f->array("x", &Args::x);
    f->array("out", &Args::out);
    f->optional("bias", &Args::bias);
    f->optional("residual", &Args::residual);
    f->bad("ldx: must be at least 64", [](Args& a) { a.ldx = 63; });
    f->bad("ldx: got", [=](Args& a) { a.ldx = most; });
    f->bad("ldout: must be at least 20", [](Args& a) { a.ldout = -20; });
    f->bad("ldout: got", [=](Args& a) { a.ldout = most / 4; });
    f->bad("ldresidual: must be at least 20", [](Args& a) { a.ldresidual = 19; });
    f->bad("ldresidual: got", [=](Args& a) { a.ldresidual = most / 8; });
    f->good([](Args& a) { a.m = 1, a.ldx = a.ldout = a.ldresidual = 0; });
    f->bad("residual_type: must be", [](Args& a) { a.residual_type = LOWBIT_INT8; }, LOWBIT_INVALID_TYPE);
    f->bad("out: must share no memory with x", [&](Args& a) { a.out = m.x; });
    f->bad("residual: must be out itself", [&](Args& a) { a.residual = m.out + 1; });
    f->bad("out_scale: must be finite", [](Args& a) { a.out_type = LOWBIT_INT8; });
    f->bad("out_zero_point: must be", [](Args& a) {
      a.out_type = LOWBIT_UINT8;
      a.out_scale = 1;
      a.out_zero_point = -1;
    });
  }
  for (const auto& [name, call] : {std::pair{"lowbit_matmul_workspace", &workspace_of},
                                   {"lowbit_matmul", &lowbit_matmul},
                                   {"lowbit_matmul_grouped", &grouped},
                                   {"lowbit_matmul_grouped_workspace", &grouped_workspace_of}}) {
    refuse_packed(name, m.packed, m.packed_size, [&, f = call](const uint8_t* packed, size_t size, lowbit_error* e) {
      Args args = matmul_args();
      args.weights = packed;
      args.weights_size = size;
      return f(&kContext, &args, e);
    });
  }

  // 8-bit x
  Args quantized = matmul_args();
  quantized.weights = m.packed8;
  quantized.weights_size = m.packed8_size;
  quantized.x_type = LOWBIT_INT8;
  quantized.x = m.codes;
  quantized.x_scale = m.scale;
  quantized.x_scale_count = 1;
  quantized.x_zero_point = m.zeros;
  quantized.x_zero_point_count = kRows;
  const Function<Args> f("lowbit_matmul", &lowbit_matmul, quantized);
  f.array("x_scale", &Args::x_scale);
  f.optional("x_zero_point", &Args::x_zero_point);
  for (const int64_t count : {int64_t{0}, int64_t{2}, int64_t{-1}, most}) {
    f.bad("x_scale_count: must be", [=](Args& a) { a.x_scale_count = count; });
    f.bad("x_zero_point_count: must be", [=](Args& a) { a.x_zero_point_count = count; });
  }
  f.bad("compute: must be int8 for 8-bit x", [](Args& a) { a.compute = LOWBIT_COMPUTE_FLOAT32; });
  f.bad("x_zero_point: activations with a zero point need", [&](Args& a) {
    a.weights = m.packed;
    a.weights_size = m.packed_size;
    a.x_scale_count = kRows * 2;
    a.act_group_size = kGroup;
  });

  // workspaces
  size_t needed = 0;
  Args args = matmul_args();
  CHECK_EQ(lowbit_matmul_workspace(&kContext, &args, &needed, nullptr), LOWBIT_OK);
  CHECK(needed > 64 && needed < sizeof m.workspace);
  matmul.good([=](Args& a) { a.workspace_size = needed; });
  matmul.bad("workspace: ", [=](Args& a) { a.workspace_size = needed - 1; });
  matmul.bad("workspace: 0 bytes given", [](Args& a) { a.workspace_size = 0; });
  matmul.bad("workspace: got NULL", [](Args& a) { a.workspace = nullptr; });
  matmul.bad("workspace: got address", [&](Args& a) { a.workspace = m.workspace + 32; });
  refuse("lowbit_matmul_workspace", LOWBIT_INVALID_VALUE, "size: got NULL",
         [&](lowbit_error* e) { return lowbit_matmul_workspace(&kContext, &args, nullptr, e); });
  refuse("lowbit_matmul_grouped_workspace", LOWBIT_INVALID_VALUE, "size: got NULL",
         [&](lowbit_error* e) { return lowbit_matmul_grouped_workspace(&kContext, &args, 1, nullptr, e); });
  const auto grouped_in = [&](void* workspace, size_t size) {
    return [=, &args](lowbit_error* e) { return lowbit_matmul_grouped(&kContext, &args, 1, workspace, size, e); };
  };
  accept("lowbit_matmul_grouped", grouped_in(m.workspace, needed));
  refuse("lowbit_matmul_grouped", LOWBIT_INVALID_VALUE, "workspace: ", grouped_in(m.workspace, needed - 1));
  refuse("lowbit_matmul_grouped", LOWBIT_INVALID_VALUE, "workspace: got NULL", grouped_in(nullptr, needed));
  refuse("lowbit_matmul_grouped", LOWBIT_INVALID_VALUE, "workspace: got address", grouped_in(m.workspace + 1, needed));
  for (const int64_t count : {int64_t{-1}, most}) {
    refuse("lowbit_matmul_grouped", LOWBIT_INVALID_VALUE, "count: ", [&](lowbit_error* e) {
      return lowbit_matmul_grouped(&kContext, &args, count, m.workspace, sizeof m.workspace, e);
    });
    refuse("lowbit_matmul_grouped_workspace", LOWBIT_INVALID_VALUE, "count: ", [&](lowbit_error* e) {
      return lowbit_matmul_grouped_workspace(&kContext, &args, count, &needed, e);
    });
  }
  // an array of structs of two sizes
  Args two[2] = {matmul_args(), matmul_args()};
  two[1].struct_size = sizeof(Args) + 8;
  refuse("lowbit_matmul_grouped", LOWBIT_INVALID_VALUE, "args[1]: args.struct_size: got ",
         [&](lowbit_error* e) { return lowbit_matmul_grouped(&kContext, two, 2, m.workspace, sizeof m.workspace, e); });
}

void check_matmul_int() {
  Memory& m = memory();
  using Args = lowbit_matmul_int_args;
  Args args = {};
  args.weights = m.packed8;
  args.weights_size = m.packed8_size;
  args.m = kRows;
  args.k = kLength;
  args.a_type = LOWBIT_UINT8;
  args.a = m.codes;
  args.lda = kLength;
  args.a_zero_point = m.zeros;
  args.a_zero_point_count = 1;
  args.b_zero_point = m.zeros;
  args.b_zero_point_count = kN;
  args.out = reinterpret_cast<int32_t*>(m.out);
  args.ldout = kN;
  args.workspace = m.workspace;
  args.workspace_size = sizeof m.workspace;
  const int64_t most = std::numeric_limits<int64_t>::max();
  const Function<Args> query("lowbit_matmul_int_workspace", &int_workspace_of, args);
  const Function<Args> product("lowbit_matmul_int", &lowbit_matmul_int, args);
  for (const Function<Args>* f : {&query, &product}) {
    f->bad("m: must be at least 0, got -1", [](Args& a) { a.m = -1; });
    f->bad("activations are too many", [=](Args& a) { a.m = most; });
    f->bad("a: has K = ", [](Args& a) { a.k = 63; });
    for (const int type : {0, 1, -1, 17}) {
      f->bad("a_type: must be", [=](Args& a) { a.a_type = lowbit_type(type); }, LOWBIT_INVALID_TYPE);
    }
    f->bad("a_zero_point_count: must be", [](Args& a) { a.a_zero_point_count = 3; });
    f->bad("b_zero_point_count: must be", [](Args& a) { a.b_zero_point_count = 0; });
    f->bad("weights: must be int8 or uint8 codes", [&](Args& a) {
      a.weights = m.packed;
      a.weights_size = m.packed_size;
    });
  }
  product.bytes("a", &Args::a);
  product.array("out", &Args::out);
  product.optional("a_zero_point", &Args::a_zero_point);
  product.optional("b_zero_point", &Args::b_zero_point);
  product.bad("lda: must be at least 64", [](Args& a) { a.lda = 63; });
  product.bad("lda: got", [=](Args& a) { a.lda = most; });
  product.bad("ldout: must be at least 20", [](Args& a) { a.ldout = 19; });
  product.bad("ldout: got", [=](Args& a) { a.ldout = most / 2; });
  product.bad("out: must share no memory with a", [&](Args& a) { a.out = reinterpret_cast<int32_t*>(m.codes); });
  size_t needed = 0;
  args.struct_size = sizeof args;
  CHECK_EQ(lowbit_matmul_int_workspace(&kContext, &args, &needed, nullptr), LOWBIT_OK);
  product.good([=](Args& a) { a.workspace_size = needed; });
  product.bad("workspace: ", [=](Args& a) { a.workspace_size = needed - 1; });
  product.bad("workspace: got NULL", [](Args& a) { a.workspace = nullptr; });
  product.bad("workspace: got address", [&](Args& a) { a.workspace = m.workspace + 8; });
  refuse("lowbit_matmul_int_workspace", LOWBIT_INVALID_VALUE, "size: got NULL",
         [&](lowbit_error* e) { return lowbit_matmul_int_workspace(&kContext, &args, nullptr, e); });
  for (const auto& [name, call] :
       {std::pair{"lowbit_matmul_int_workspace", &int_workspace_of}, {"lowbit_matmul_int", &lowbit_matmul_int}}) {
    refuse_packed(name, m.packed8, m.packed8_size, [&, f = call](const uint8_t* packed, size_t size, lowbit_error* e) {
      Args other = args;
      other.weights = packed;
      other.weights_size = size;
      return f(&kContext, &other, e);
    });
  }
}

}  // namespace

TEST(every_function_refuses_what_it_cannot_take) {
  seen.clear();
  check_those_that_cannot_fail();
  check_context();
  check_formats();
  check_bits();
  check_ranges();
  check_histograms();
  check_choose();
  check_quantize();
  check_dequantize();
  check_cast();
  check_fake_quantize();
  check_searches();
  check_packing();
  check_packed();
  check_matmul();
  check_matmul_int();

  std::ifstream file(LOWBIT_SYMBOLS);
  std::set<std::string> listed;
  for (std::string line; std::getline(file, line);) listed.insert(line);
  CHECK(listed.size() > 30);
  for (const std::string& name : listed) {
    if (!seen.count(name)) test::failed(__FILE__, __LINE__, name + " has not been tried");
  }
  for (const std::string& name : seen) {
    if (!listed.count(name)) test::failed(__FILE__, __LINE__, name + " is not in csrc/lowbit.symbols");
  }
}
