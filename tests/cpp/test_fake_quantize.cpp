// Fake quantization and its gradients: the kernels of every ISA at every length and against guard pages, and
// lowbit_fake_quantize(_gradient) over every shape of lowbit_runs, however the work is split, bit for bit against
// docs/numerics.md written out (reliability.md: 1, 2, 3, 5, 7, 13, 17, 18, 30).
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "guard.hpp"
#include "isas.hpp"
#include "lowbit/lowbit.h"
#include "split.hpp"
#include "test.hpp"

using lowbit::CodeRange;
using lowbit::FakeQuantizeGradient;
using lowbit::Kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kSegment = 4096;

// Equal bits, NaN being NaN.
bool same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, 4) == 0; }

struct Terms {
  float value, grad_x, scale, zero;
};

// One element, in double where no step but the division rounds.
Terms naive(float x, float grad, float scale, int zero, CodeRange range) {
  if (std::isnan(x)) return {0.0f * scale, 0.0f, grad * 0.0f, 0.0f};
  const float v = x / scale;
  const double code = std::nearbyint(double(v)) + zero;
  const double kept = std::min(std::max(code, double(range.qmin)), double(range.qmax));
  const float value = float(kept - zero) * scale;
  if (code != kept) return {value, 0.0f, grad * float(kept - zero), grad};
  return {value, grad, grad * float(std::nearbyint(double(v)) - double(v)), 0.0f};
}

std::vector<float> floats(size_t n, unsigned seed, bool hard) {
  const float odd[] = {kNan, kInf, -kInf, FLT_MAX, -FLT_MAX, 1e-45f, -0.0f, 7.5f, -8.5f, 127.5f, -128.5f};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = hard && random() % 7 == 0 ? odd[random() % std::size(odd)] : normal(random);
  return x;
}

int zero_of(CodeRange range, size_t i) { return range.qmin + int(i * 37 % size_t(range.qmax - range.qmin + 1)); }

// n elements at the end or the beginning of guarded memory; dirty where there are no values.
float* place(const Guarded& guarded, size_t n, bool at_end, const std::vector<float>* values = nullptr) {
  float* p = at_end ? guarded.last<float>(n) : guarded.first<float>();
  std::memset(p, 0xee, n * sizeof(float));
  if (values) std::copy(values->begin(), values->end(), p);
  return p;
}

}  // namespace

TEST(kernels_every_length_and_run) {
  const Guarded x_room, grad_room, out_room, grad_x_room, scale_room, zero_room;
  const CodeRange ranges[] = {{-128, 127}, {0, 15}, {-2, 1}, {-1, 0}, {0, 255}};
  for (const Kernels* k : lowbit::all_kernels()) {
    size_t turn = 0, clipped = 0, all = 0;
    for (size_t n = 0; n <= size_t(4 * k->lanes + 3); ++n) {
      for (const size_t run : {size_t{1}, size_t{3}, size_t(k->lanes - 1), size_t(k->lanes), n / 2 + 1, n, n + 5}) {
        if (run == 0) continue;
        const CodeRange range = ranges[++turn % std::size(ranges)];
        const std::vector<float> x = floats(n, unsigned(turn), turn % 2),
                                 grad = floats(n, unsigned(turn + 1000), false);
        const size_t runs = (n + run - 1) / run;
        std::vector<float> scale(runs);
        std::vector<float> zero(runs);
        for (size_t r = 0; r < runs; ++r) {
          scale[r] = (r % 3 ? 0.37f : -1.9f) * 4.0f / float(range.qmax - range.qmin);
          zero[r] = float(zero_of(range, r + turn));
        }
        const bool with_zero = turn % 3 != 0;
        const float* z = with_zero ? zero.data() : nullptr;
        for (const bool at_end : {false, true}) {
          const float* in = place(x_room, n, at_end, &x);
          const float* g = place(grad_room, n, at_end, &grad);
          float* out = place(out_room, n, at_end);
          float* grad_x = place(grad_x_room, n, at_end);
          float* scale_terms = place(scale_room, n, at_end);
          float* zero_terms = place(zero_room, n, at_end);
          k->fake_quantize_runs(in, int64_t(n), int64_t(run), scale.data(), z, range, out);
          k->fake_quantize_gradient_runs(
              {g, in, int64_t(n), int64_t(run), scale.data(), z, range, grad_x, scale_terms, zero_terms});
          for (size_t i = 0; i < n; ++i) {
            const Terms t = naive(x[i], grad[i], scale[i / run], with_zero ? int(zero[i / run]) : 0, range);
            CHECK(same(out[i], t.value));
            CHECK(same(grad_x[i], t.grad_x));
            CHECK(same(scale_terms[i], t.scale));
            CHECK(same(zero_terms[i], t.zero));
            clipped += t.zero != 0.0f;
            ++all;
          }
        }
      }
    }
    CHECK(clipped > all / 20 && clipped < all / 2);  // the data reach both the ends and the middle
  }
}

TEST(kernels_ties_and_neighbours) {
  const CodeRange ranges[] = {{-128, 127}, {0, 255}, {-8, 7}, {0, 3}, {-1, 0}};
  for (const Kernels* k : lowbit::all_kernels()) {
    for (const CodeRange range : ranges) {
      for (const float scale : {1.0f, -1.0f, 0.125f, 3.0f, 1e-40f, 1e30f}) {
        std::vector<float> x;
        for (int half = -1030; half <= 1030; ++half) {
          const float tie = float(half) * 0.5f * scale;
          for (const float v : {tie, std::nextafter(tie, kInf), std::nextafter(tie, -kInf)}) x.push_back(v);
        }
        const std::vector<float> grad(x.size(), 3.0f);
        const int whole = zero_of(range, 5);
        const float zero = float(whole);
        const int64_t n = int64_t(x.size());
        std::vector<float> out(x.size()), grad_x(x.size()), scale_terms(x.size()), zero_terms(x.size());
        k->fake_quantize_runs(x.data(), n, n, &scale, &zero, range, out.data());
        k->fake_quantize_gradient_runs(
            {grad.data(), x.data(), n, n, &scale, &zero, range, grad_x.data(), scale_terms.data(), zero_terms.data()});
        for (size_t i = 0; i < x.size(); ++i) {
          const Terms t = naive(x[i], 3.0f, scale, whole, range);
          CHECK(same(out[i], t.value));
          CHECK(same(grad_x[i], t.grad_x));
          CHECK(same(scale_terms[i], t.scale));
          CHECK(same(zero_terms[i], t.zero));
        }
      }
    }
  }
}

TEST(add_lanes_every_length_and_first_lane) {
  const Guarded room;
  for (const Kernels* k : lowbit::all_kernels()) {
    for (size_t n = 0; n <= 70; ++n) {
      const std::vector<float> x = floats(n, unsigned(n), false);
      for (int first = 0; first < lowbit::kSumLanes; ++first) {
        for (const bool at_end : {false, true}) {
          std::vector<float> lanes = floats(lowbit::kSumLanes, 99, false), expected = lanes;
          for (size_t i = 0; i < n; ++i) expected[(size_t(first) + i) % lowbit::kSumLanes] += x[i];
          k->add_lanes(place(room, n, at_end, &x), int64_t(n), first, lanes.data());
          for (size_t i = 0; i < lanes.size(); ++i) CHECK(same(lanes[i], expected[i]));
        }
      }
    }
  }
}

// ---- the C ABI --------------------------------------------------------------------------------------------------

namespace {

int64_t per_row(const lowbit_runs& r) { return (r.row_length + r.run - 1) / r.run; }

// Every path and its edges: one parameter, rows, columns (few, many), channels, groups whole and ragged, blocks that
// span rows, groups that rows share.
const lowbit_runs kShapes[] = {
    {1, 1, 1, 1, 1},         {1, 13, 13, 1, 1},       {7, 4096, 4096, 7, 1},  {1, 300001, 300001, 1, 1},
    {5000, 3, 3, 5000, 1},   {9, 1, 1, 1, 9},         {700, 5, 5, 1, 700},    {3, 70001, 70001, 1, 3},
    {20, 8192, 8192, 1, 20}, {30, 7, 7, 2, 5},        {600, 4, 4, 1, 3},      {12, 12001, 12001, 3, 2},
    {640, 49, 49, 1, 32},    {1, 5, 1, 1, 5},         {20011, 3, 1, 1, 3},    {5000, 128, 1, 1, 128},
    {4097, 130, 1, 1, 130},  {30, 700, 1, 1, 700},    {1, 1, 1, 1, 1},        {40, 64, 32, 1, 80},
    {40, 65, 32, 1, 120},    {1, 100, 33, 1, 4},      {3, 6006, 1001, 1, 18}, {2, 9000, 4500, 1, 4},
    {300, 5, 32, 1, 300},    {2, 20001, 4097, 1, 10}, {8, 100, 32, 2, 16},    {50, 70, 32, 1, 3},
    {64, 128, 64, 32, 4},    {6, 20000, 10000, 3, 2}, {8, 96, 32, 2, 2},      {6, 8, 1, 2, 4},
};

struct Expected {
  std::vector<float> out, grad_x, grad_scale, grad_zero;
};

// The sum of the terms of one parameter, in order.
double fixed_order(const std::vector<float>& terms) {
  double total = 0.0;
  for (size_t begin = 0; begin < terms.size(); begin += kSegment) {
    float lanes[16] = {};
    for (size_t i = begin; i < std::min(terms.size(), begin + kSegment); ++i) lanes[i % 16] += terms[i];
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
    }
    total += double(lanes[0]);
  }
  return total;
}

Expected expect(const lowbit_runs& r, CodeRange range, const std::vector<float>& x, const std::vector<float>& grad,
                const std::vector<float>& scale, const std::vector<int>& zero, bool lsq) {
  Expected e = {std::vector<float>(x.size()), std::vector<float>(x.size()), {}, {}};
  std::vector<std::vector<float>> scale_terms(size_t(r.params)), zero_terms(size_t(r.params));
  for (int64_t q = 0; q < (r.rows + r.rows_per_param - 1) / r.rows_per_param * per_row(r);
       ++q) {  // runs by number, then by row
    const size_t p = size_t(q % r.params);
    for (int64_t in = 0; in < r.rows_per_param; ++in) {
      const int64_t row = q / per_row(r) * r.rows_per_param + in, begin = q % per_row(r) * r.run;
      if (row >= r.rows) break;
      for (int64_t i = begin; i < std::min(r.row_length, begin + r.run); ++i) {
        const size_t at = size_t(row * r.row_length + i);
        const Terms t = naive(x[at], grad[at], scale[p], zero[p], range);
        e.out[at] = t.value;
        e.grad_x[at] = t.grad_x;
        scale_terms[p].push_back(t.scale);
        zero_terms[p].push_back(t.zero);
      }
    }
  }
  for (size_t p = 0; p < size_t(r.params); ++p) {
    const double factor = lsq ? 1.0 / std::sqrt(double(scale_terms[p].size()) * range.qmax) : 1.0;
    e.grad_scale.push_back(float(fixed_order(scale_terms[p]) * factor));
    e.grad_zero.push_back(float(-double(scale[p]) * fixed_order(zero_terms[p]) * factor));
  }
  return e;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace

TEST(every_shape_and_split) {
  const std::vector<test::Split> splits = test::splits();
  unsigned turn = 0;
  for (const lowbit_runs& runs : kShapes) {
    const size_t n = size_t(runs.rows * runs.row_length), params = size_t(runs.params);
    ++turn;
    const bool is_signed = turn % 2, lsq = turn % 3 != 0, with_zero = turn % 4 != 0;
    const lowbit_format format = is_signed ? LOWBIT_INT(8) : LOWBIT_UINT(4);
    const CodeRange range = is_signed ? CodeRange{-128, 127} : CodeRange{0, 15};
    const std::vector<float> x = floats(n, turn, turn % 2), grad = floats(n, turn + 100, false);
    std::vector<float> scale(params);
    std::vector<int> zero(params);
    std::vector<uint8_t> zero_bytes(params);
    for (size_t p = 0; p < params; ++p) {
      scale[p] = (p % 5 == 4 ? -0.1f : 0.02f + 0.001f * float(p % 7)) * (is_signed ? 1.0f : 10.0f);
      zero[p] = with_zero ? zero_of(range, p + turn) : 0;
      zero_bytes[p] = uint8_t(zero[p]);
    }
    const Expected expected = expect(runs, range, x, grad, scale, zero, lsq);
    for (const test::Split& split : splits) {
      std::vector<float> out(n, kNan), grad_x(n, kNan), grad_scale(params, kNan), grad_zero(params, kNan);
      lowbit_error error = {};
      lowbit_fake_quantize_args forward = {};
      forward.struct_size = sizeof forward;
      forward.format = format;
      forward.runs = runs;
      forward.x = x.data();
      forward.scale = scale.data();
      forward.zero_point = with_zero ? zero_bytes.data() : nullptr;
      forward.out = out.data();
      CHECK_EQ(lowbit_fake_quantize(&split.context, &forward, &error), LOWBIT_OK);
      CHECK(same(out, expected.out));

      lowbit_fake_quantize_gradient_args backward = {};
      backward.struct_size = sizeof backward;
      backward.format = format;
      backward.runs = runs;
      backward.grad = grad.data();
      backward.x = x.data();
      backward.scale = scale.data();
      backward.zero_point = forward.zero_point;
      backward.lsq_scale = lsq;
      backward.grad_x = grad_x.data();
      backward.grad_scale = grad_scale.data();
      backward.grad_zero_point = grad_zero.data();
      CHECK_EQ(lowbit_fake_quantize_gradient(&split.context, &backward, &error), LOWBIT_OK);
      CHECK_EQ(std::string(error.message), std::string());
      CHECK(same(grad_x, expected.grad_x));
      CHECK(same(grad_scale, expected.grad_scale));
      CHECK(same(grad_zero, expected.grad_zero));

      // what is not wanted is not needed
      std::fill(grad_x.begin(), grad_x.end(), kNan);
      std::fill(grad_scale.begin(), grad_scale.end(), kNan);
      backward.grad_zero_point = nullptr;
      CHECK_EQ(lowbit_fake_quantize_gradient(&split.context, &backward, &error), LOWBIT_OK);
      CHECK(same(grad_x, expected.grad_x));
      CHECK(same(grad_scale, expected.grad_scale));
      std::fill(grad_x.begin(), grad_x.end(), kNan);
      backward.grad_scale = nullptr;
      CHECK_EQ(lowbit_fake_quantize_gradient(&split.context, &backward, &error), LOWBIT_OK);
      CHECK(same(grad_x, expected.grad_x));
    }
  }
}

TEST(nothing_has_no_gradient) {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  float grad_scale[3] = {kNan, kNan, kNan}, grad_zero[3] = {kNan, kNan, kNan};
  lowbit_fake_quantize_gradient_args args = {};
  args.struct_size = sizeof args;
  args.format = LOWBIT_INT(8);
  args.runs = {0, 3, 1, 1, 3};
  args.lsq_scale = 1;
  args.grad_scale = grad_scale;
  args.grad_zero_point = grad_zero;
  CHECK_EQ(lowbit_fake_quantize_gradient(&context, &args, nullptr), LOWBIT_OK);
  for (const float g : grad_scale) CHECK(same(g, 0.0f));
  for (const float g : grad_zero) CHECK(same(g, 0.0f));
}

TEST(refuses) {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, scale[8] = {1, 1, 1, 1, 1, 1, 1, 1}, out[8], sums[8];
  uint8_t zero[8] = {};
  lowbit_fake_quantize_args forward = {};
  forward.struct_size = sizeof forward;
  forward.format = LOWBIT_INT(4);
  forward.runs = {2, 4, 2, 1, 4};
  forward.x = x;
  forward.scale = scale;
  forward.zero_point = zero;
  forward.out = out;
  CHECK_EQ(lowbit_fake_quantize(&context, &forward, nullptr), LOWBIT_OK);
  lowbit_fake_quantize_gradient_args backward = {};
  backward.struct_size = sizeof backward;
  backward.format = LOWBIT_INT(4);
  backward.runs = {2, 4, 2, 1, 4};
  backward.grad = x;
  backward.x = x;
  backward.scale = scale;
  backward.zero_point = zero;
  backward.grad_x = out;
  backward.grad_scale = sums;
  CHECK_EQ(lowbit_fake_quantize_gradient(&context, &backward, nullptr), LOWBIT_OK);

  const auto check = [&](lowbit_status status, const lowbit_error& error, const char* says) {
    CHECK(status != LOWBIT_OK);
    if (!std::strstr(error.message, says)) test::failed(__FILE__, __LINE__, std::string(says) + ": " + error.message);
    CHECK_EQ(out[0], 99.0f);  // nothing is written
  };
  const auto refuse_both = [&](const char* says, auto change) {
    lowbit_error error = {};
    out[0] = 99.0f;
    lowbit_fake_quantize_args a = forward;
    change(&a);
    check(lowbit_fake_quantize(&context, &a, &error), error, says);
    lowbit_fake_quantize_gradient_args b = backward;
    change(&b);
    check(lowbit_fake_quantize_gradient(&context, &b, &error), error, says);
    for (float& s : scale) s = 1.0f;
    std::memset(zero, 0, sizeof zero);
  };
  refuse_both("args.struct_size: got 1", [](auto* a) { a->struct_size = 1; });
  refuse_both("format: got 9999", [](auto* a) { a->format = 9999; });
  refuse_both("args.format: got nf4, expected integers", [](auto* a) { a->format = LOWBIT_FORMAT_NF4; });
  refuse_both("args.x: got NULL", [](auto* a) { a->x = nullptr; });
  refuse_both("args.scale: got NULL", [](auto* a) { a->scale = nullptr; });
  refuse_both("none below 0", [](auto* a) { a->runs.rows = -1; });
  refuse_both("params = 3, expected 4", [](auto* a) { a->runs.params = 3; });
  refuse_both("2^56", [](auto* a) { a->runs.rows = INT64_MAX, a->runs.row_length = 2; });
  for (const float s : {0.0f, -0.0f, kNan, kInf, -kInf}) {
    refuse_both("scale: got", [&](auto*) { scale[3] = s; });
  }
  refuse_both("zero_point: got 8 at 1", [&](auto*) { zero[1] = 8; });

  const auto refuse = [&](const char* says, auto change) {
    lowbit_error error = {};
    out[0] = 99.0f;
    lowbit_fake_quantize_gradient_args b = backward;
    change(&b);
    check(lowbit_fake_quantize_gradient(&context, &b, &error), error, says);
  };
  refuse("args.grad: got NULL", [](auto* a) { a->grad = nullptr; });
  refuse("args.grad_x: got NULL", [](auto* a) { a->grad_x = nullptr; });
  refuse("args.lsq_scale: got 1 for int1", [&](auto* a) {
    a->lsq_scale = 1;
    a->format = LOWBIT_INT(1);
  });
  lowbit_error error;
  forward.out = nullptr;
  CHECK_EQ(lowbit_fake_quantize(&context, &forward, &error), LOWBIT_INVALID_VALUE);
  CHECK(std::strstr(error.message, "args.out: got NULL"));
  CHECK_EQ(lowbit_fake_quantize(nullptr, &forward, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_fake_quantize(&context, nullptr, &error), LOWBIT_INVALID_VALUE);
  CHECK_EQ(lowbit_fake_quantize_gradient(&context, nullptr, &error), LOWBIT_INVALID_VALUE);
}
