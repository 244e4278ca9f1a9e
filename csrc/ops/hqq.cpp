// lowbit_hqq_params: the scale is that of the range, the zero point any float.
#include <cmath>
#include <cstring>

#include "../context.hpp"
#include "../error.hpp"
#include "../formats/registry.hpp"
#include "params.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

struct Job {
  Context context;
  const Format* format;
  ScaleType scale_type;
  HqqRule rule;
  const float* x;
  uint8_t* scale;
  float* zero_point;
  Misfit misfit;
};

// n elements of parameter p.
void find_zero(Job* job, const float* x, int64_t n, int64_t p) {
  const Kernels& kernels = *job->context.kernels;
  float low, high;
  kernels.range_runs(x, n, n, &low, &high);
  finish_ranges(1, &low, &high);
  const float steps = job->rule.qmax - job->rule.qmin, span = high - low;
  float scale = std::isinf(span) ? high / steps - low / steps : span / steps;
  uint8_t* const to = job->scale + p * job->scale_type.bytes();
  const FloatFormat* type = float_format(job->scale_type.type);
  for (const bool again : {false, true}) {  // again: a scale that is 0 in its type becomes 1
    if (scale == 0.0f) scale = 1.0f;
    if (type) {
      kernels.encode_floats(&scale, 1, *type, {}, to);
      kernels.decode_floats(to, 1, *type, &scale);
    } else {
      std::memcpy(to, &scale, sizeof scale);
    }
    if (scale != 0.0f || again) break;
  }
  if (!std::isfinite(scale)) return job->misfit.note(p);
  const float zero = kernels.hqq_zero(x, n, job->rule, scale, job->rule.qmin - low / scale);
  if (!std::isfinite(zero)) job->misfit.note(p);
  job->zero_point[p] = zero;
}

lowbit_status check_steps(const lowbit_hqq_args& args, lowbit_error* error) {
  const bool good = std::isfinite(args.p) && std::isfinite(args.beta) && args.beta > 0 && std::isfinite(args.kappa) &&
                    args.kappa > 0 && args.rounds >= 0;
  if (good) return LOWBIT_OK;
  return fail(
      error, LOWBIT_INVALID_VALUE,
      "args.p, beta, kappa, rounds: got %g, %g, %g and %d, expected finite numbers, beta and kappa above 0, rounds "
      "at least 0",
      double(args.p), double(args.beta), double(args.kappa), args.rounds);
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_hqq_params(const lowbit_context* context, const lowbit_hqq_args* given, lowbit_error* error) {
  lowbit_hqq_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Job job = {};
  if (!get_context(context, &job.context, error)) return LOWBIT_INVALID_VALUE;
  job.format = find_format(args.format, error);
  if (!job.format) return LOWBIT_INVALID_VALUE;
  if (!job.format->is_integer()) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.format: got %s, expected a format of integers", job.format->name);
  }
  const lowbit_runs& runs = args.runs;
  if (const lowbit_status status = check_runs(runs, error)) return status;
  if (const lowbit_status status = make_scale_type(args.scale_type, 0, &job.scale_type, error)) return status;
  if (args.scale_type == LOWBIT_FLOAT8_E8M0FNU) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.scale_type: got float8_e8m0fnu, expected a type with a fraction");
  }
  if (const lowbit_status status = check_steps(args, error)) return status;
  if (runs.rows * runs.row_length == 0) return ok(error);
  if (const lowbit_status status = check_array(args.x, "args.x", sizeof *args.x, error)) return status;
  if (const lowbit_status status = check_array(args.scale, "args.scale", job.scale_type.bytes(), error)) return status;
  if (const lowbit_status status = check_array(args.zero_point, "args.zero_point", sizeof *args.zero_point, error)) {
    return status;
  }
  const RunMap map = make_map(runs, true);
  if (map.runs() != map.params || std::min(map.rows, map.rows_per_param) != 1) {
    return fail(
        error, LOWBIT_INVALID_VALUE,
        "args.runs: got rows_per_param = %lld, params = %lld for %lld runs, expected a parameter for each stretch "
        "of memory (groups, rows, or the whole tensor)",
        static_cast<long long>(runs.rows_per_param), static_cast<long long>(runs.params),
        static_cast<long long>(map.runs()));
  }
  job.rule = {float(job.format->qmin()), float(job.format->qmax()), args.p - 1, args.beta, args.kappa, args.rounds};
  job.x = args.x;
  job.scale = static_cast<uint8_t*>(args.scale);
  job.zero_point = args.zero_point;
  const int64_t cost = 64 * int64_t(std::max(1, args.rounds));
  parallel_items(job.context, map.params, map.run * cost, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t row = p / map.per_row, at = p % map.per_row * map.run;
      find_zero(&job, job.x + row * map.row_length + at, std::min(map.run, map.row_length - at), p);
    }
  });
  return job.misfit.any() ? fail_misfit(job.scale_type, job.misfit.param.load(), error) : ok(error);
}
