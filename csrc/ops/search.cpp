// lowbit_search_params: scales and zero points of least squared error. Several rounds of kCandidates candidates: each
// is fitted to the codes that it gives, then the best one is the middle of the next round. Nothing is allocated:
// elements pass through a small buffer.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../context.hpp"
#include "../error.hpp"
#include "../formats/registry.hpp"
#include "elements.hpp"
#include "params.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr int64_t kBuffer = 256;  // elements that are summed in float32, one after the other
constexpr int64_t kGroup = 128;   // up to so many elements one round will do (docs/numerics.md, "Calibration")

// ---- where candidates start ---------------------------------------------------------------------------------------

// Factors of the ends of a range (or of its largest magnitude, in `high` alone).
struct Factors {
  alignas(64) float low[kCandidates], high[kCandidates];

  // Every pair of eight factors.
  void set_pairs(const double (&f)[8]) {
    for (int k = 0; k < kCandidates; ++k) {
      low[k] = float(f[k / 8]);
      high[k] = float(f[k % 8]);
    }
  }
};

// What decides on the first factors.
struct Shape {
  bool has_zero;
  bool both_signs;  // scales may be negative, and that makes a difference
  bool powers;      // scales are powers of two
  bool integer;
  double steps;   // integers: magnitudes of codes, or half the codes where there is a zero point
  double top;     // the largest factor
  float largest;  // without zero point: the magnitude that a code stands for where the factor is 1

  // How far the range may shrink: clipping the largest of n values by c steps costs c^2 and wins n c / (6 steps).
  double bottom(int64_t n) const {
    if (powers) return 0.25;
    if (!integer) return 0.5;
    return std::max(0.3, 1 - (1 + double(n) / (3 * steps)) / steps);
  }
};

double power_of_eighth_root(int k) {  // 2^(-k / 8)
  constexpr double kRoots[8] = {1.0,
                                0.91700404320467121,
                                0.84089641525371461,
                                0.77110541270397040,
                                0.70710678118654757,
                                0.64841977732550482,
                                0.59460355750136051,
                                0.54525386633262877};
  return std::ldexp(kRoots[k % 8], -(k / 8));
}

void first_factors(const Shape& shape, int64_t n, Factors* factors) {
  const bool group = n <= kGroup;
  if (shape.has_zero) {
    const double step = (1 - shape.bottom(n)) / 6;
    double f[8] = {1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125};
    for (int i = 1; group && i < 7; ++i) f[i] = 1 - i * step;
    if (group) f[7] = shape.powers ? 2 : 1 + step;
    return factors->set_pairs(f);
  }
  const int count = shape.both_signs ? kCandidates / 2 : kCandidates;
  const double step = (shape.top - shape.bottom(n)) / (count - 1);
  for (int k = 0; k < kCandidates; ++k) {
    const int i = k % count;
    const double factor = group ? shape.top - i * step : shape.top * power_of_eighth_root(shape.both_signs ? 2 * i : i);
    factors->low[k] = 0;
    factors->high[k] = float(k < count ? factor : -factor);
  }
}

// Around the best candidate of the round before.
void next_factors(const Shape& shape, int round, Factors* factors) {
  if (!shape.has_zero) {
    for (int k = 0; k < kCandidates; ++k) {
      factors->low[k] = 0;
      factors->high[k] = float(0.75 + k / 128.0);
    }
    return;
  }
  const double step = std::ldexp(1.0, -2 * round);
  double f[8];
  for (int i = 0; i < 8; ++i) f[i] = 1 + (i - 3) * step;
  factors->set_pairs(f);
}

constexpr int kMostRounds = 4;

struct Plan {
  int64_t n = -1;  // elements of a parameter that it is for
  Factors factors[kMostRounds];
  int rounds = 0;

  void make(const Shape& shape, int64_t count) {
    n = count;
    rounds = n <= kGroup ? 1 : shape.has_zero ? 4 : 2;
    first_factors(shape, n, &factors[0]);
    for (int round = 1; round < rounds; ++round) next_factors(shape, round, &factors[round]);
  }
};

// ---- one parameter ------------------------------------------------------------------------------------------------

struct Job {
  Context context;
  RunMap map;
  const float* x;
  const float* weights;   // NULL: 1 each
  int64_t weight_period;  // weights repeat after so many elements
  float weight_factor;    // a power of two that brings the largest one to [1, 2)
  ScaleType scale_type;
  ParamRule params;
  SearchRule rule;
  Shape shape;
  void* scale;
  void* zero_point;
  Misfit misfit;

  const Kernels& kernels() const { return *context.kernels; }
};

// Elements of a parameter in units of the search, and their weights.
struct Buffer {
  alignas(64) float x[kBuffer], weights[kBuffer];
  int64_t n;

  void load(const Job& job, Elements* elements, int64_t most, float factor) {
    n = elements->fill(most, [&](int64_t to, int64_t at, int64_t count) {
      std::memcpy(x + to, job.x + at, size_t(count) * sizeof(float));
      if (job.weights) copy_weights(job, to, at, count);
    });
    job.kernels().search_load(x, n, factor, x);
    if (job.weights) job.kernels().search_load(weights, n, job.weight_factor, weights);
  }
  const float* weights_or_null(const Job& job) const { return job.weights ? weights : nullptr; }

 private:
  void copy_weights(const Job& job, int64_t to, int64_t at, int64_t count) {
    for (int64_t done = 0; done < count;) {
      const int64_t from = (at + done) % job.weight_period;
      const int64_t part = std::min(count - done, job.weight_period - from);
      std::memcpy(weights + to + done, job.weights + from, size_t(part) * sizeof(float));
      done += part;
    }
  }
};

enum class Pass { kFit, kError };

// The sums that a round needs: a and b of search_fit, or in a that of search_error.
struct Sums {
  alignas(64) float a[kCandidates], b[kCandidates];

  void clear() {
    std::fill(a, a + kCandidates, 0.0f);
    std::fill(b, b + kCandidates, 0.0f);
  }
  void add(const Job& job, Pass pass, const Buffer& s, const SearchCandidates& c) {
    const float* weights = s.weights_or_null(job);
    if (pass == Pass::kFit) return job.kernels().search_fit(s.x, weights, s.n, job.rule, c, a, b);
    job.kernels().search_error(s.x, weights, s.n, job.rule, c, a);
  }
};

// A parameter as the rounds see it.
class Parameter {
 public:
  // parallel: the threads share it, which needs it to be a single run
  Parameter(const Job& job, int64_t p, int64_t n, bool parallel) : job_(job), p_(p), n_(n), parallel_(parallel) {}

  void set_factor(float factor) {
    factor_ = factor;
    if (n_ > kBuffer) return;
    Elements elements(job_.map, p_);
    only_.load(job_, &elements, n_, factor);
  }

  void sum(Pass pass, const SearchCandidates& c, Sums* out) const {
    out->clear();
    if (n_ <= kBuffer) return out->add(job_, pass, only_, c);
    double a[kCandidates] = {}, b[kCandidates] = {};
    each_segment<Sums, kBuffer>(
        job_.context, job_.map, p_, n_, parallel_, kCandidates,
        [&](Elements* elements, int64_t length, Sums* part) {
          Buffer buffer;
          part->clear();
          buffer.load(job_, elements, length, factor_);
          part->add(job_, pass, buffer, c);
        },
        [&](const Sums& part) {
          for (int k = 0; k < kCandidates; ++k) {
            a[k] += double(part.a[k]);
            b[k] += double(part.b[k]);
          }
        });
    for (int k = 0; k < kCandidates; ++k) {
      out->a[k] = float(a[k]);
      out->b[k] = float(b[k]);
    }
  }

  // The range of its finite elements.
  void range(float* low, float* high) const {
    const float infinity = std::numeric_limits<float>::infinity();
    Elements elements(job_.map, p_);
    if (parallel_) {
      elements.next(n_, [&](int64_t at, int64_t n) {
        find_ranges(job_.context, RunMap{1, n, n, 1, 1, 1}, job_.x + at, low, high);
      });
      return;
    }
    *low = infinity;
    *high = -infinity;
    float buffer[kBuffer];
    while (const int64_t n = elements.read(job_.x, kBuffer, buffer)) {
      float least, most;
      job_.kernels().range_runs(buffer, n, n, &least, &most);
      *low = std::min(*low, least);
      *high = std::max(*high, most);
    }
    finish_ranges(1, low, high);
  }

 private:
  const Job& job_;
  const int64_t p_, n_;
  const bool parallel_;
  float factor_ = 1;
  Buffer only_;  // where all of it fits
};

void store(Job* job, int64_t p, float stored, float zero) {
  const ScaleType& type = job->scale_type;
  uint8_t* to = static_cast<uint8_t*>(job->scale) + p * type.bytes();
  if (job->rule.rounded) {
    job->kernels().encode_floats(&stored, 1, job->rule.scale_format, {}, to);
  } else {
    std::memcpy(to, &stored, sizeof stored);
  }
  if (job->zero_point) static_cast<uint8_t*>(job->zero_point)[p] = uint8_t(int(zero));
}

void search(Job* job, int64_t p, int64_t n, bool parallel, Plan* plan) {
  const Kernels& kernels = job->kernels();
  Parameter parameter(*job, p, n, parallel);
  float low, high, codes, scale, zero;
  parameter.range(&low, &high);
  // what the range alone gives: the answer where there are only zeros, and a candidate that is sure to be usable
  kernels.choose_params(&low, &high, 1, job->params, &codes, &scale, &zero);
  if (!std::isfinite(scale)) return job->misfit.note(p);
  float stored;
  if (job->rule.rounded) {
    kernels.decode_floats(&codes, 1, job->rule.scale_format, &stored);
  } else {
    stored = codes;
  }
  const float most = std::max(std::fabs(low), std::fabs(high));
  if (most == 0) return store(job, p, stored, zero);

  const int exponent = std::min(std::max(std::ilogb(most), -126), 126);
  const float inverse = std::ldexp(1.0f, -exponent);
  const SearchUnit unit = {std::ldexp(1.0f, exponent), inverse, scale * inverse, stored};
  const SearchRule& rule = job->rule;
  SearchGrid grid;
  if (rule.has_zero) {
    grid.low = std::min(low, 0.0f) * inverse;
    grid.high = std::max(high, 0.0f) * inverse;
  } else {
    grid.low = 0;
    grid.high = most * inverse / job->shape.largest;
  }
  parameter.set_factor(inverse);
  if (plan->n != n) plan->make(job->shape, n);
  SearchCandidates c;
  Sums sums;
  int best = 0;
  for (int round = 0; round < plan->rounds; ++round) {
    grid.low_factor = plan->factors[round].low;
    grid.high_factor = plan->factors[round].high;
    kernels.search_start(rule, unit, grid, &c);
    if (round == 0 && !rule.has_zero) {  // then no result is worse than the range's scale
      c.scale[kCandidates - 1] = unit.spare;
      c.stored[kCandidates - 1] = unit.spare_stored;
      c.inverse[kCandidates - 1] = 1.0f / unit.spare;
    }
    parameter.sum(Pass::kFit, c, &sums);
    kernels.search_refine(rule, unit, sums.a, sums.b, &c);
    parameter.sum(Pass::kError, c, &sums);
    best = kernels.search_best(sums.a);
    grid.low = c.low[best] * c.scale[best];
    grid.high = rule.has_zero ? c.high[best] * c.scale[best] : c.scale[best];
  }
  store(job, p, c.stored[best], rule.has_zero ? rule.qmin - c.low[best] : zero);
}

void search_all(Job* job) {
  const RunMap& map = job->map;
  if (threads_share_params(job->context, map)) {
    Plan plan;
    for (int64_t p = 0; p < map.params; ++p) search(job, p, Elements(map, p).count(), true, &plan);
    return;
  }
  const int64_t size = ceil_div(map.elements(), map.params) * kCandidates;
  parallel_items(job->context, map.params, size, [&](int64_t begin, int64_t end) {
    Plan usual, other;  // the last group of a row may be shorter
    for (int64_t p = begin; p < end; ++p) {
      const int64_t n = Elements(map, p).count();
      search(job, p, n, false, usual.n == n || usual.n < 0 ? &usual : &other);
    }
  });
}

// ---- arguments ----------------------------------------------------------------------------------------------------

lowbit_status check_weights(const lowbit_search_args& args, Job* job, lowbit_error* error) {
  const int64_t elements = args.runs.rows * args.runs.row_length, count = args.importance_count;
  job->weights = args.importance;
  if (!args.importance) return LOWBIT_OK;
  if (const lowbit_status status = check_array(args.importance, "args.importance", sizeof(float), error)) {
    return status;
  }
  if (count != args.runs.row_length && count != elements) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "args.importance_count: got %lld, expected row_length = %lld or all elements = %lld",
                static_cast<long long>(count), static_cast<long long>(args.runs.row_length),
                static_cast<long long>(elements));
  }
  float most = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float weight = args.importance[i];
    if (!(weight >= 0 && weight <= std::numeric_limits<float>::max())) {
      return fail(error, LOWBIT_INVALID_VALUE, "args.importance: got %g at %lld, expected finite values, at least 0",
                  double(weight), static_cast<long long>(i));
    }
    most = std::max(most, weight);
  }
  job->weight_period = count;
  job->weight_factor = most > 0 ? std::ldexp(1.0f, -std::min(std::max(std::ilogb(most), -126), 126)) : 1.0f;
  return LOWBIT_OK;
}

void make_search_rule(const Format& format, lowbit_convention convention, Job* job) {
  const ParamRule& params = job->params;
  SearchRule& rule = job->rule;
  rule = {};
  rule.coder = format.coder;
  rule.has_zero = params.convention == ParamRule::kAsymmetric;
  // symmetric codes less their zero point; those of `params` may have half a step more
  rule.qmin = float(format.qmin()) - (rule.has_zero ? 0.0f : params.zero);
  rule.qmax = float(format.qmax()) - (rule.has_zero ? 0.0f : params.zero);
  rule.rounded = params.rounded;
  rule.scale_format = params.scale_format;
  rule.global_scale = params.global_scale;

  Shape& shape = job->shape;
  shape.has_zero = rule.has_zero != 0;
  shape.integer = format.is_integer();
  shape.powers = rule.rounded && rule.scale_format.kind == FloatFormat::kPower;
  shape.both_signs = convention == LOWBIT_SIGNED_MAX && -rule.qmin != rule.qmax;
  shape.steps = rule.has_zero ? double(rule.qmax - rule.qmin) / 2 : double(-rule.qmin);
  shape.largest = shape.integer ? -rule.qmin : format.max_value();
  if (shape.powers) {
    shape.top = 2;
  } else if (!shape.integer) {
    shape.top = 1.25;
  } else {
    shape.top = rule.qmax > 0 ? double(-rule.qmin) / double(rule.qmax) : 2;
  }
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_search_params(const lowbit_context* context, const lowbit_search_args* given,
                                   lowbit_error* error) {
  lowbit_search_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Job job = {};
  if (!get_context(context, &job.context, error)) return LOWBIT_INVALID_VALUE;
  const Format* format = find_format(args.format, error);
  if (!format) return LOWBIT_INVALID_VALUE;
  if (const lowbit_status status = check_runs(args.runs, error)) return status;
  if (const lowbit_status status = make_scale_type(args.scale_type, args.global_scale, &job.scale_type, error)) {
    return status;
  }
  const bool empty = args.runs.rows * args.runs.row_length == 0;
  if (const lowbit_status status = make_rule(*format, args.convention, job.scale_type,
                                             args.zero_point != nullptr || args.runs.params == 0, &job.params, error)) {
    return status;
  }
  if (!empty) {
    if (const lowbit_status status = check_array(args.x, "args.x", sizeof *args.x, error)) return status;
  }
  if (args.runs.params > 0) {
    if (const lowbit_status status = check_array(args.scale, "args.scale", job.scale_type.bytes(), error)) {
      return status;
    }
  }
  if (args.zero_point && !format->is_integer()) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.zero_point: given for format %s, expected NULL", format->name);
  }
  if (const lowbit_status status = check_weights(args, &job, error)) return status;
  job.x = args.x;
  job.scale = args.scale;
  job.zero_point = args.zero_point;
  make_search_rule(*format, args.convention, &job);
  if (empty) {  // as for parameters without any finite element
    const float none = 0;
    float codes, scale, zero, stored;
    job.kernels().choose_params(&none, &none, 1, job.params, &codes, &scale, &zero);
    stored = codes;
    if (job.rule.rounded) job.kernels().decode_floats(&codes, 1, job.rule.scale_format, &stored);
    for (int64_t p = 0; p < args.runs.params; ++p) store(&job, p, stored, zero);
    return ok(error);
  }
  job.map = make_map(args.runs, true);
  search_all(&job);
  return job.misfit.any() ? fail_misfit(job.scale_type, job.misfit.param.load(), error) : ok(error);
}
