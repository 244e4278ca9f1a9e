// lowbit_quantize and lowbit_dequantize: chunks of a few KB, so that codes are packed, and data read a second time,
// while they are in the first-level cache. Nothing is allocated: a chunk's codes and parameters are on the stack.
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "../context.hpp"
#include "../error.hpp"
#include "../formats/registry.hpp"
#include "half.hpp"
#include "params.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr int64_t kChunk = 2048;  // elements: 8 KB of floats, as much of scales and of zero points

// What quantize and dequantize have in common.
struct Job {
  Context context;
  const Format* format;
  RunMap map;
  lowbit_type scale_type;
  const void* scale;
  const void* zero_point;
  int64_t row_bytes;  // of codes

  bool packed() const { return format->bits < 8; }
  bool is_signed() const { return format->qmin < 0; }
  int64_t code_offset(int64_t row, int64_t begin) const { return row * row_bytes + begin * format->bits / 8; }
};

// The parameters of some runs, as kernels take them.
struct ChunkParams {
  alignas(64) float scale[kChunk];
  alignas(64) int32_t zero[kChunk];

  // `count` runs of a row, the first of which is j.
  void read(const Job& job, int64_t row, int64_t j, int64_t count) {
    int64_t p = job.map.first_param(row, j);
    for (int64_t done = 0; done < count; p = 0) {
      const int64_t n = std::min(count - done, job.map.params - p);
      if (job.scale_type == LOWBIT_FLOAT16) {
        job.context.kernels->widen_half(static_cast<const uint16_t*>(job.scale) + p, n, scale + done);
      } else {
        std::memcpy(scale + done, static_cast<const float*>(job.scale) + p, size_t(n) * sizeof(float));
      }
      if (job.zero_point && job.is_signed()) {
        std::copy_n(static_cast<const int8_t*>(job.zero_point) + p, n, zero + done);
      } else if (job.zero_point) {
        std::copy_n(static_cast<const uint8_t*>(job.zero_point) + p, n, zero + done);
      }
      done += n;
    }
  }
};

// The elements [begin, end) of a row, at most kChunk: calls kernel(offset from begin, n, run, scales, zero points) for
// the rest of a run that began earlier, and for the runs that begin here.
template <typename F>
void each_runs(const Job& job, int64_t row, int64_t begin, int64_t end, F kernel) {
  ChunkParams params;
  const int32_t* zero = job.zero_point ? params.zero : nullptr;
  const int64_t run = job.map.run, j = begin / run;
  const int64_t head = std::min((run - begin % run) % run, end - begin);
  if (head > 0) {
    params.read(job, row, j, 1);
    kernel(int64_t{0}, head, head, params.scale, zero);
  }
  const int64_t rest = end - begin - head;
  if (rest > 0) {
    params.read(job, row, (begin + head) / run, ceil_div(rest, run));
    kernel(head, rest, run, params.scale, zero);
  }
}

void quantize_chunk(const Job& job, const float* x, int64_t row, int64_t begin, int64_t end, uint8_t* out) {
  const Kernels& kernels = *job.context.kernels;
  const CodeRange range = {job.format->qmin, job.format->qmax};
  alignas(64) uint8_t buffer[kChunk];
  out += job.code_offset(row, begin);
  uint8_t* codes = job.packed() ? buffer : out;
  x += row * job.map.row_length + begin;
  each_runs(job, row, begin, end, [&](int64_t at, int64_t n, int64_t run, const float* scale, const int32_t* zero) {
    if (run == 1) return kernels.quantize_each(x + at, n, scale, zero, range, codes + at);
    kernels.quantize_runs(x + at, n, run, scale, zero, range, codes + at);
  });
  if (job.packed()) kernels.pack_bits(buffer, end - begin, job.format->bits, out);
}

void dequantize_chunk(const Job& job, const uint8_t* codes, int64_t row, int64_t begin, int64_t end, float* out) {
  const Kernels& kernels = *job.context.kernels;
  const int is_signed = job.is_signed();
  alignas(64) uint8_t buffer[kChunk];
  codes += job.code_offset(row, begin);
  if (job.packed()) {
    kernels.unpack_bits(codes, end - begin, job.format->bits, is_signed, buffer);
    codes = buffer;
  }
  out += row * job.map.row_length + begin;
  each_runs(job, row, begin, end, [&](int64_t at, int64_t n, int64_t run, const float* scale, const int32_t* zero) {
    if (run == 1) return kernels.dequantize_each(codes + at, is_signed, n, scale, zero, out + at);
    kernels.dequantize_runs(codes + at, is_signed, n, run, scale, zero, out + at);
  });
}

// Runs that begin on a byte of the packed codes, counted from the row's start: every so many.
int64_t aligned_runs(const Job& job) { return job.packed() ? 8 / std::gcd(job.map.run, int64_t{8}) : 1; }

// Cuts every row into pieces of `size` elements, a multiple of 8: f(row, begin, end).
template <typename F>
void each_piece(const Job& job, int64_t size, F f) {
  const int64_t length = job.map.row_length, per_row = ceil_div(length, size);
  parallel_items(job.context, job.map.rows * per_row, std::min(size, length), [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t row = item / per_row, begin = item % per_row * size;
      f(row, begin, std::min(length, begin + size));
    }
  });
}

// Chunks hold whole runs where runs are short.
template <typename F>
void each_chunk(const Job& job, F f) {
  const int64_t unit = job.map.run < kChunk ? std::lcm(job.map.run, int64_t{8}) : kChunk;
  each_piece(job, unit < kChunk ? kChunk / unit * unit : kChunk, f);
}

void quantize_given(const Job& job, const float* x, uint8_t* codes) {
  each_chunk(job, [&](int64_t row, int64_t begin, int64_t end) { quantize_chunk(job, x, row, begin, end, codes); });
}

// The lowest parameter whose scale did not fit, from any thread.
struct Misfit {
  std::atomic<int64_t> param{std::numeric_limits<int64_t>::max()};

  void note(int64_t p) {
    int64_t lowest = param.load(std::memory_order_relaxed);
    while (p < lowest && !param.compare_exchange_weak(lowest, p, std::memory_order_relaxed)) {
    }
  }
  bool any() const { return param.load() != std::numeric_limits<int64_t>::max(); }
};

// Range, parameters and codes of a few runs at a time.
void quantize_found(const Job& job, const ParamRule& rule, const float* x, uint8_t* codes, void* scale, void* zero,
                    Misfit* misfit) {
  const int64_t run = job.map.run, aligned = aligned_runs(job);
  const int64_t runs = std::max(aligned, kChunk / run / aligned * aligned);
  each_piece(job, runs * run, [&](int64_t row, int64_t begin, int64_t end) {
    float minimum[kChunk], maximum[kChunk];
    const float* from = x + row * job.map.row_length + begin;
    const int64_t count = ceil_div(end - begin, run), first = job.map.first_param(row, begin / run);
    job.context.kernels->range_runs(from, end - begin, run, minimum, maximum);
    finish_ranges(count, minimum, maximum);
    for (int64_t i = 0; i < count; ++i) {
      if (!rule.choose(minimum[i], maximum[i], first + i, scale, zero)) misfit->note(first + i);
    }
    for (int64_t at = begin; at < end; at += kChunk) {
      quantize_chunk(job, x, row, at, std::min(end, at + kChunk), codes);
    }
  });
}

// Parameters alone, for few long runs: the threads share each of them.
void find_params(const Job& job, const ParamRule& rule, const float* x, void* scale, void* zero, Misfit* misfit) {
  for (int64_t row = 0; row < job.map.rows; ++row) {
    for (int64_t j = 0; j < job.map.per_row; ++j) {
      const int64_t begin = j * job.map.run, n = std::min(job.map.run, job.map.row_length - begin);
      const int64_t p = job.map.first_param(row, j);
      float minimum, maximum;
      find_ranges(job.context, RunMap{1, n, n, 1, 1, 1}, x + row * job.map.row_length + begin, &minimum, &maximum);
      if (!rule.choose(minimum, maximum, p, scale, zero)) misfit->note(p);
    }
  }
}

// Checks what both functions are given and fills job. elements: 0 where there is nothing to do.
lowbit_status make_job(const lowbit_context* context, lowbit_format format, const lowbit_runs& runs,
                       lowbit_type scale_type, const void* scale, const void* zero_point, const void* codes,
                       const void* floats, const char* floats_name, Job* job, int64_t* elements, lowbit_error* error) {
  if (!get_context(context, &job->context, error)) return LOWBIT_INVALID_VALUE;
  job->format = find_format(format, error);
  if (!job->format) return LOWBIT_INVALID_VALUE;
  if (const lowbit_status status = check_runs(runs, error)) return status;
  if (const lowbit_status status = check_scale_type(scale_type, error)) return status;
  job->scale_type = scale_type;
  job->scale = scale;
  job->zero_point = zero_point;
  *elements = runs.rows * runs.row_length;
  if (*elements == 0) return LOWBIT_OK;
  if (!scale || !codes || !floats) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.%s: got NULL, expected the array",
                !scale   ? "scale"
                : !codes ? "codes"
                         : floats_name);
  }
  const bool rows_join = runs.row_length * job->format->bits % 8 == 0;
  job->map = make_map(runs, rows_join);
  job->row_bytes = ceil_div(job->map.row_length * job->format->bits, 8);
  return LOWBIT_OK;
}

// Given parameters must be usable: x / scale a number, the zero point a code.
lowbit_status check_params(const Job& job, lowbit_error* error) {
  for (int64_t i = 0; i < job.map.params; ++i) {
    const float scale = job.scale_type == LOWBIT_FLOAT16 ? half_to_float(static_cast<const uint16_t*>(job.scale)[i])
                                                         : static_cast<const float*>(job.scale)[i];
    if (!std::isfinite(scale) || scale == 0.0f) {
      return fail(error, LOWBIT_INVALID_VALUE, "scale: got %g at %lld, expected finite values other than 0",
                  double(scale), static_cast<long long>(i));
    }
  }
  if (!job.zero_point || job.format->bits == 8) return LOWBIT_OK;
  for (int64_t i = 0; i < job.map.params; ++i) {
    const int zero = job.is_signed() ? static_cast<const int8_t*>(job.zero_point)[i]
                                     : static_cast<const uint8_t*>(job.zero_point)[i];
    if (zero < job.format->qmin || zero > job.format->qmax) {
      return fail(error, LOWBIT_INVALID_VALUE, "zero_point: got %d at %lld, expected codes of %s, %d to %d", zero,
                  static_cast<long long>(i), job.format->name, job.format->qmin, job.format->qmax);
    }
  }
  return LOWBIT_OK;
}

template <typename Args>
lowbit_status check_size(const Args* args, const char* type, lowbit_error* error) {
  if (!args) return fail(error, LOWBIT_INVALID_VALUE, "args: got NULL, expected a %s", type);
  if (args->struct_size == sizeof *args) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "args.struct_size: got %zu, expected sizeof(%s) = %zu", args->struct_size,
              type, sizeof *args);
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_quantize(const lowbit_context* context, const lowbit_quantize_args* args, lowbit_error* error) {
  if (const lowbit_status status = check_size(args, "lowbit_quantize_args", error)) return status;
  Job job;
  int64_t elements;
  if (const lowbit_status status = make_job(context, args->format, args->runs, args->scale_type, args->scale,
                                            args->zero_point, args->codes, args->x, "x", &job, &elements, error)) {
    return status;
  }
  uint8_t* codes = static_cast<uint8_t*>(args->codes);
  if (!args->find_params) {
    if (elements == 0) return ok(error);
    if (const lowbit_status status = check_params(job, error)) return status;
    quantize_given(job, args->x, codes);
    return ok(error);
  }

  ParamRule rule;
  if (const lowbit_status status = make_rule(*job.format, args->convention, args->scale_type,
                                             args->zero_point != nullptr || elements == 0, &rule, error)) {
    return status;
  }
  if (elements == 0) return ok(error);
  const int64_t runs = args->runs.rows * ceil_div(args->runs.row_length, args->runs.run);
  if (args->runs.rows_per_param != 1 || args->runs.params != runs) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "args.runs: got rows_per_param = %lld, params = %lld, expected 1 and %lld: find_params needs one "
                "parameter for each run",
                static_cast<long long>(args->runs.rows_per_param), static_cast<long long>(args->runs.params),
                static_cast<long long>(runs));
  }
  Misfit misfit;
  // Fewer runs than keep all threads busy, and long enough to be worth sharing.
  if (runs < 2 * job.context.max_threads && elements / runs > 32768) {
    find_params(job, rule, args->x, args->scale, args->zero_point, &misfit);
    quantize_given(job, args->x, codes);
  } else {
    quantize_found(job, rule, args->x, codes, args->scale, args->zero_point, &misfit);
  }
  return misfit.any() ? fail_misfit(args->scale_type, misfit.param.load(), error) : ok(error);
}

lowbit_status lowbit_dequantize(const lowbit_context* context, const lowbit_dequantize_args* args,
                                lowbit_error* error) {
  if (const lowbit_status status = check_size(args, "lowbit_dequantize_args", error)) return status;
  Job job;
  int64_t elements;
  if (const lowbit_status status = make_job(context, args->format, args->runs, args->scale_type, args->scale,
                                            args->zero_point, args->codes, args->out, "out", &job, &elements, error)) {
    return status;
  }
  if (elements == 0) return ok(error);
  const uint8_t* codes = static_cast<const uint8_t*>(args->codes);
  each_chunk(
      job, [&](int64_t row, int64_t begin, int64_t end) { dequantize_chunk(job, codes, row, begin, end, args->out); });
  return ok(error);
}
