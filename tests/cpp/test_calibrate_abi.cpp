// lowbit_search_params, lowbit_absmean, lowbit_histogram, lowbit_entropy and lowbit_hqq_params: the same results on
// every ISA and however the work is cut, and an error for every argument that cannot be meant.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "split.hpp"
#include "test.hpp"

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_floats(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  for (size_t i = 5; i < n; i += 97) x[i] = kNan;
  return x;
}

// Groups, rows, columns, blocks, an inner axis, one for all, uneven ones.
const lowbit_runs kRuns[] = {{7, 75, 32, 1, 21}, {7, 75, 75, 1, 7},     {7, 75, 1, 1, 75},   {7, 75, 30, 3, 9},
                             {6, 90, 90, 3, 2},  {1, 1500, 1500, 1, 1}, {4, 600, 600, 4, 1}, {4, 600, 600, 1, 4},
                             {6, 40, 20, 1, 4},  {1, 1, 1, 1, 1}};

size_t elements(const lowbit_runs& runs) { return size_t(runs.rows * runs.row_length); }

lowbit_search_args search_args(const lowbit_runs& runs, const float* x, float* scale, uint8_t* zero) {
  lowbit_search_args args = {};
  args.struct_size = sizeof args;
  args.format = LOWBIT_INT(4);
  args.runs = runs;
  args.x = x;
  args.convention = LOWBIT_ASYMMETRIC;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = scale;
  args.zero_point = zero;
  return args;
}

lowbit_hqq_args hqq_args(const lowbit_runs& runs, const float* x, float* scale, float* zero) {
  lowbit_hqq_args args = {};
  args.struct_size = sizeof args;
  args.format = LOWBIT_UINT(4);
  args.runs = runs;
  args.x = x;
  args.p = 0.7f;
  args.beta = 10;
  args.kappa = 1.01f;
  args.rounds = 20;
  args.scale_type = LOWBIT_FLOAT32;
  args.scale = scale;
  args.zero_point = zero;
  return args;
}

// The runs of one parameter each that are one stretch of memory.
bool stretches(const lowbit_runs& r) {
  const int64_t per_row = (r.row_length + r.run - 1) / r.run;
  if (r.params == 1) return true;
  return (r.rows_per_param == 1 && r.params == r.rows * per_row) ||
         (per_row == 1 && r.params == r.rows / r.rows_per_param);
}

lowbit_context any_context() {
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, nullptr, nullptr), LOWBIT_OK);
  return context;
}

// The status, and whether the message has this text.
void check_refused(lowbit_status status, const lowbit_error& error, const char* text) {
  CHECK(status != LOWBIT_OK);
  CHECK_EQ(int(error.status), int(status));
  if (!std::strstr(error.message, text))
    test::failed(__FILE__, __LINE__, std::string(text) + " not in " + error.message);
}

}  // namespace

TEST(search_params_of_all_runs) {
  for (const lowbit_runs& runs : kRuns) {
    const std::vector<float> x = random_floats(elements(runs), 1);
    std::vector<float> importance = random_floats(elements(runs), 2);
    for (float& w : importance) w = std::isnan(w) ? 0.0f : std::fabs(w);
    for (const lowbit_convention convention : {LOWBIT_ASYMMETRIC, LOWBIT_SIGNED_MAX, LOWBIT_FULL}) {
      for (const int weights : {0, 1, 2}) {
        std::vector<float> expected, scale(size_t(runs.params));
        std::vector<uint8_t> expected_zero, zero(size_t(runs.params));
        for (const test::Split& split : test::splits()) {
          std::fill(scale.begin(), scale.end(), kNan);
          lowbit_search_args args = search_args(runs, x.data(), scale.data(), zero.data());
          args.convention = convention;
          args.importance = weights ? importance.data() : nullptr;
          args.importance_count = weights == 1 ? runs.row_length : weights == 2 ? int64_t(x.size()) : 0;
          lowbit_error error;
          CHECK_EQ(lowbit_search_params(&split.context, &args, &error), LOWBIT_OK);
          if (expected.empty()) {
            expected = scale;
            expected_zero = zero;
          }
          CHECK(scale == expected);
          CHECK(zero == expected_zero);
          for (const float s : scale) CHECK(std::isfinite(s) && s != 0);
        }
      }
    }
  }
}

TEST(absmean_and_histogram_of_all_runs) {
  for (const lowbit_runs& runs : kRuns) {
    const std::vector<float> x = random_floats(elements(runs), 3);
    const std::vector<float> inverse(size_t(runs.params), 20.0f);
    std::vector<float> expected, mean(size_t(runs.params));
    std::vector<int64_t> expected_counts, counts(size_t(runs.params) * 64);
    int64_t finite = 0;
    for (const float v : x) finite += std::isfinite(v);
    for (const test::Split& split : test::splits()) {
      std::fill(mean.begin(), mean.end(), kNan);
      std::fill(counts.begin(), counts.end(), 1);
      CHECK_EQ(lowbit_absmean(&split.context, &runs, x.data(), mean.data(), nullptr), LOWBIT_OK);
      CHECK_EQ(lowbit_histogram(&split.context, &runs, x.data(), 64, 1, inverse.data(), counts.data(), nullptr),
               LOWBIT_OK);
      if (expected.empty()) {
        expected = mean;
        expected_counts = counts;
      }
      CHECK(mean == expected);
      CHECK(counts == expected_counts);
      int64_t sum = 0;
      for (const int64_t count : counts) sum += count - 1;
      CHECK_EQ(sum, finite);
    }
  }
}

TEST(hqq_params_of_all_stretches) {
  for (const lowbit_runs& runs : kRuns) {
    const std::vector<float> x = random_floats(elements(runs), 4);
    std::vector<float> expected, expected_zero, scale(size_t(runs.params)), zero(size_t(runs.params));
    for (const test::Split& split : test::splits()) {
      const lowbit_hqq_args args = hqq_args(runs, x.data(), scale.data(), zero.data());
      lowbit_error error;
      const lowbit_status status = lowbit_hqq_params(&split.context, &args, &error);
      if (!stretches(runs)) {
        check_refused(status, error, "args.runs: got rows_per_param");
        continue;
      }
      CHECK_EQ(status, LOWBIT_OK);
      if (expected.empty()) {
        expected = scale;
        expected_zero = zero;
      }
      CHECK(scale == expected);
      CHECK(zero == expected_zero);
    }
  }
}

TEST(entropy_of_many_parameters) {
  std::mt19937 random(5);
  std::vector<int64_t> counts(9 * 512);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = int64_t(random() % 100) * (i % 512 < 300 ? 50 : 0 == i % 7);
  std::fill(counts.begin(), counts.begin() + 512, 0);  // the first one has no elements
  std::vector<int64_t> expected, kept(9);
  for (const test::Split& split : test::splits()) {
    CHECK_EQ(lowbit_entropy(&split.context, 9, 512, counts.data(), 128, 128, kept.data(), nullptr), LOWBIT_OK);
    if (expected.empty()) expected = kept;
    CHECK(kept == expected);
    CHECK_EQ(kept[0], 512);
    for (const int64_t k : kept) CHECK(k >= 128 && k <= 512);
  }
}

TEST(calibration_of_nothing) {
  const lowbit_context context = any_context();
  for (const lowbit_runs runs : {lowbit_runs{0, 4, 4, 1, 0}, lowbit_runs{3, 0, 1, 1, 3}, lowbit_runs{0, 0, 0, 0, 2}}) {
    float scale[3] = {kNan, kNan, kNan}, zero[3];
    uint8_t zeros[3] = {9, 9, 9};
    const lowbit_search_args args = search_args(runs, nullptr, scale, zeros);
    CHECK_EQ(lowbit_search_params(&context, &args, nullptr), LOWBIT_OK);
    for (int64_t p = 0; p < 3; ++p) {
      CHECK(p < runs.params ? scale[p] == 1.0f : std::isnan(scale[p]));
      CHECK_EQ(zeros[p], p < runs.params ? uint8_t(-8) : 9);
    }
    CHECK_EQ(lowbit_absmean(&context, &runs, nullptr, scale, nullptr), LOWBIT_OK);
    for (int64_t p = 0; p < runs.params; ++p) CHECK_EQ(scale[p], 0.0f);
    CHECK_EQ(lowbit_histogram(&context, &runs, nullptr, 4, 0, nullptr, nullptr, nullptr), LOWBIT_OK);
    const lowbit_hqq_args hqq = hqq_args(runs, nullptr, scale, zero);
    CHECK_EQ(lowbit_hqq_params(&context, &hqq, nullptr), LOWBIT_OK);
  }
  CHECK_EQ(lowbit_entropy(&context, 0, 4, nullptr, 1, 1, nullptr, nullptr), LOWBIT_OK);
}

TEST(search_params_refuses) {
  const lowbit_context context = any_context();
  const std::vector<float> x = random_floats(12, 6);
  std::vector<float> weights(12, 1.0f), scale(4);
  std::vector<uint8_t> zero(4);
  lowbit_error error;
  const lowbit_search_args good = search_args({2, 6, 3, 1, 4}, x.data(), scale.data(), zero.data());
  CHECK_EQ(lowbit_search_params(&context, &good, &error), LOWBIT_OK);
  const auto refused = [&](const char* text, auto change) {
    lowbit_search_args args = good;
    change(&args);
    check_refused(lowbit_search_params(&context, &args, &error), error, text);
  };
  check_refused(lowbit_search_params(&context, nullptr, &error), error, "args: got NULL");
  check_refused(lowbit_search_params(nullptr, &good, &error), error, "context");
  refused("args.struct_size: got 3", [](lowbit_search_args* a) { a->struct_size = 3; });
  refused("format: got 999", [](lowbit_search_args* a) { a->format = 999; });
  refused("runs: got params = 5", [](lowbit_search_args* a) { a->runs.params = 5; });
  refused("runs: got rows = -1", [](lowbit_search_args* a) { a->runs.rows = -1; });
  refused("scale_type: got 3", [](lowbit_search_args* a) { a->scale_type = LOWBIT_INT8; });
  refused("global_scale: got -1", [](lowbit_search_args* a) { a->global_scale = -1; });
  refused("convention: got 9", [](lowbit_search_args* a) { a->convention = static_cast<lowbit_convention>(9); });
  refused("convention: got asymmetric for format nf4", [](lowbit_search_args* a) { a->format = LOWBIT_FORMAT_NF4; });
  refused("args.zero_point: given for format nf4", [](lowbit_search_args* a) {
    a->format = LOWBIT_FORMAT_NF4;
    a->convention = LOWBIT_ABSMAX;
  });
  refused("zero_point: got NULL", [](lowbit_search_args* a) { a->zero_point = nullptr; });
  refused("args.x: got NULL", [](lowbit_search_args* a) { a->x = nullptr; });
  refused("args.scale: got NULL", [](lowbit_search_args* a) { a->scale = nullptr; });
  for (const int64_t count : {0, 1, 4, 13, -6}) {
    refused("args.importance_count: got", [&](lowbit_search_args* a) {
      a->importance = weights.data();
      a->importance_count = count;
    });
  }
  for (const float bad : {-1.0f, kNan, std::numeric_limits<float>::infinity()}) {
    weights[5] = bad;
    refused("args.importance: got", [&](lowbit_search_args* a) {
      a->importance = weights.data();
      a->importance_count = 6;
    });
  }
  const std::vector<float> large(12, 1e9f);
  refused("scale: that of parameter 0 does not fit scale_type float16", [&](lowbit_search_args* a) {
    a->x = large.data();
    a->scale_type = LOWBIT_FLOAT16;
  });
}

TEST(other_calibrations_refuse) {
  const lowbit_context context = any_context();
  const lowbit_runs runs = {2, 6, 3, 1, 4}, uneven = {2, 6, 3, 1, 5};
  const std::vector<float> x = random_floats(12, 7);
  std::vector<float> mean(4), inverse(4, 1.0f), scale(4), zero(4);
  std::vector<int64_t> counts(4 * 8), kept(4);
  lowbit_error error;
  const float* const in = x.data();

  check_refused(lowbit_absmean(nullptr, &runs, in, mean.data(), &error), error, "context");
  check_refused(lowbit_absmean(&context, nullptr, in, mean.data(), &error), error, "runs: got NULL");
  check_refused(lowbit_absmean(&context, &uneven, in, mean.data(), &error), error, "runs: got params = 5");
  check_refused(lowbit_absmean(&context, &runs, nullptr, mean.data(), &error), error, "x: got NULL");
  check_refused(lowbit_absmean(&context, &runs, in, nullptr, &error), error, "mean: got NULL");

  const auto histogram = [&](const lowbit_runs* r, const float* data, int bins, const float* widths, int64_t* out) {
    return lowbit_histogram(&context, r, data, bins, 0, widths, out, &error);
  };
  check_refused(histogram(nullptr, in, 8, inverse.data(), counts.data()), error, "runs: got NULL");
  check_refused(histogram(&uneven, in, 8, inverse.data(), counts.data()), error, "runs: got params = 5");
  for (const int bins : {0, 1, 7, 4098, -2}) {
    check_refused(histogram(&runs, in, bins, inverse.data(), counts.data()), error, "bins: got");
  }
  check_refused(histogram(&runs, nullptr, 8, inverse.data(), counts.data()), error, "x: got NULL");
  check_refused(histogram(&runs, in, 8, nullptr, counts.data()), error, "inverse_width: got NULL");
  check_refused(histogram(&runs, in, 8, inverse.data(), nullptr), error, "counts: got NULL");
  for (const float bad : {0.0f, -1.0f, kNan, std::numeric_limits<float>::infinity()}) {
    inverse[3] = bad;
    check_refused(histogram(&runs, in, 8, inverse.data(), counts.data()), error, "inverse_width: got");
  }

  const auto entropy = [&](int64_t params, int bins, const int64_t* data, int levels, int first, int64_t* out) {
    return lowbit_entropy(&context, params, bins, data, levels, first, out, &error);
  };
  check_refused(entropy(-1, 8, counts.data(), 4, 4, kept.data()), error, "params: got -1");
  check_refused(entropy(4, 0, counts.data(), 4, 4, kept.data()), error, "bins: got 0");
  check_refused(entropy(4, 4097, counts.data(), 4, 4, kept.data()), error, "bins: got 4097");
  check_refused(entropy(4, 8, counts.data(), 0, 4, kept.data()), error, "levels, first: got 0 and 4");
  check_refused(entropy(4, 8, counts.data(), 4, 0, kept.data()), error, "levels, first: got 4 and 0");
  check_refused(entropy(4, 8, nullptr, 4, 4, kept.data()), error, "counts: got NULL");
  check_refused(entropy(4, 8, counts.data(), 4, 4, nullptr), error, "kept: got NULL");
  for (const int64_t bad : {int64_t{-1}, (int64_t{1} << 53) + 1, std::numeric_limits<int64_t>::max()}) {
    counts[9] = bad;
    check_refused(entropy(4, 8, counts.data(), 4, 4, kept.data()), error, "in bin 1 of parameter 1");
  }

  const lowbit_hqq_args good = hqq_args(runs, in, scale.data(), zero.data());
  CHECK_EQ(lowbit_hqq_params(&context, &good, &error), LOWBIT_OK);
  const auto refused = [&](const char* text, auto change) {
    lowbit_hqq_args args = good;
    change(&args);
    check_refused(lowbit_hqq_params(&context, &args, &error), error, text);
  };
  check_refused(lowbit_hqq_params(&context, nullptr, &error), error, "args: got NULL");
  refused("args.struct_size: got 0", [](lowbit_hqq_args* a) { a->struct_size = 0; });
  refused("format: got -1", [](lowbit_hqq_args* a) { a->format = -1; });
  refused("args.format: got nf4", [](lowbit_hqq_args* a) { a->format = LOWBIT_FORMAT_NF4; });
  refused("runs: got params = 5", [](lowbit_hqq_args* a) { a->runs.params = 5; });
  refused("scale_type: got 4", [](lowbit_hqq_args* a) { a->scale_type = LOWBIT_UINT8; });
  refused("args.scale_type: got float8_e8m0fnu", [](lowbit_hqq_args* a) { a->scale_type = LOWBIT_FLOAT8_E8M0FNU; });
  refused("args.p, beta, kappa, rounds", [](lowbit_hqq_args* a) { a->beta = 0; });
  refused("args.p, beta, kappa, rounds", [](lowbit_hqq_args* a) { a->p = kNan; });
  refused("args.p, beta, kappa, rounds", [](lowbit_hqq_args* a) { a->rounds = -1; });
  refused("args.x: got NULL", [](lowbit_hqq_args* a) { a->x = nullptr; });
  refused("args.scale: got NULL", [](lowbit_hqq_args* a) { a->scale = nullptr; });
  refused("args.zero_point: got NULL", [](lowbit_hqq_args* a) { a->zero_point = nullptr; });
  std::vector<float> large = x;
  large[0] = 1e9f;
  refused("scale: that of parameter 0 does not fit scale_type float16", [&](lowbit_hqq_args* a) {
    a->x = large.data();
    a->scale_type = LOWBIT_FLOAT16;
  });
}
