// lowbit_fake_quantize and lowbit_fake_quantize_gradient. Work is cut into chunks whose gradients stay in the
// first-level cache until they are summed; nothing is allocated: a chunk's terms and the sums are on the stack.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "../context.hpp"
#include "../error.hpp"
#include "../formats/registry.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr int64_t kChunk = 2048;    // elements
constexpr int64_t kSegment = 4096;  // elements of a parameter that are summed in float32 (docs/numerics.md)

// What both functions have in common.
struct Job {
  Context context;
  const Format* format;
  RunMap map;
  const float* scale;
  const void* zero_point;

  int zero(int64_t p) const {
    return format->is_signed() ? static_cast<const int8_t*>(zero_point)[p] : static_cast<const uint8_t*>(zero_point)[p];
  }
};

// The parameters of up to kChunk runs, one after the other, as kernels take them.
struct ChunkParams {
  alignas(64) float scale[kChunk];
  alignas(64) float zero[kChunk];
  const float* zero_or_null;

  void read(const Job& job, int64_t first, int64_t count) {
    zero_or_null = job.zero_point ? zero : nullptr;
    for (int64_t done = 0, p = first; done < count; p = 0) {
      const int64_t n = std::min(count - done, job.map.params - p);
      std::memcpy(scale + done, job.scale + p, size_t(n) * sizeof(float));
      for (int64_t i = 0; job.zero_point && i < n; ++i) zero[done + i] = float(job.zero(p + i));
      done += n;
    }
  }
};

// Cuts every row into chunks of whole runs, or runs into chunks: f(row, first run, begin, end).
template <typename F>
void each_chunk(const Job& job, F f) {
  const RunMap& map = job.map;
  const int64_t runs = std::max<int64_t>(1, kChunk / map.run), cuts = ceil_div(map.run, kChunk);
  const int64_t per_row = ceil_div(map.per_row, runs) * cuts;
  parallel_items(job.context, map.rows * per_row, std::min(runs * map.run, kChunk), [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t j = item % per_row / cuts * runs, begin = j * map.run + item % cuts * kChunk;
      const int64_t end = std::min({map.row_length, (j + runs) * map.run, begin + kChunk});
      if (begin < end) f(item / per_row, j, begin, end);
    }
  });
}

void fake_quantize(const Job& job, const float* x, float* out) {
  each_chunk(job, [&](int64_t row, int64_t j, int64_t begin, int64_t end) {
    ChunkParams params;
    params.read(job, job.map.first_param(row, j), ceil_div(end - begin, job.map.run));
    const int64_t at = row * job.map.row_length + begin;
    job.context.kernels->fake_quantize_runs(x + at, end - begin, job.map.run, params.scale, params.zero_or_null,
                                            job.format->coder.range, out + at);
  });
}

// ---- gradients --------------------------------------------------------------------------------------------------

struct GradientJob : Job {
  const float* grad;
  const float* x;
  float* grad_x;
  float* grad_scale;       // or NULL
  float* grad_zero_point;  // or NULL
  bool lsq_scale;

  bool sums_wanted() const { return grad_scale || grad_zero_point; }
  bool few_long_runs() const {
    return map.rows == 1 && map.row_length % map.run == 0 && map.run >= 64 && map.params < 2 * context.max_threads;
  }
};

// The terms of a chunk of elements that use consecutive parameters.
struct ChunkTerms {
  ChunkParams params;
  alignas(64) float scale[kChunk];
  alignas(64) float zero[kChunk];

  // n elements from x[at], the first run of which uses parameter p.
  void compute(const GradientJob& job, int64_t at, int64_t n, int64_t run, int64_t p) {
    params.read(job, p, ceil_div(n, run));
    compute(job, at, n, run);
  }
  // The same with the parameters there already.
  void compute(const GradientJob& job, int64_t at, int64_t n, int64_t run) {
    job.context.kernels->fake_quantize_gradient_runs({job.grad + at, job.x + at, n, run, params.scale,
                                                      params.zero_or_null, job.format->coder.range, job.grad_x + at,
                                                      scale, zero});
  }
};

// The terms of one segment, or of the part of it that is there so far.
struct SegmentSum {
  float lanes[kSumLanes];

  void add(const Kernels& kernels, const float* terms, int64_t n, int64_t position) {
    kernels.add_lanes(terms, n, int(position % kSumLanes), lanes);
  }
  // The sum; starts anew.
  float take() {
    for (int half = kSumLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    }
    const float sum = lanes[0];
    clear();
    return sum;
  }
  void clear() { std::fill(lanes, lanes + kSumLanes, 0.0f); }
};

void write_sums(const GradientJob& job, int64_t p, double scale_total, double zero_total, int64_t count) {
  const double factor = job.lsq_scale ? 1.0 / std::sqrt(double(count) * double(job.format->qmax())) : 1.0;
  if (job.grad_scale) job.grad_scale[p] = float(scale_total * factor);
  if (job.grad_zero_point) job.grad_zero_point[p] = float(-double(job.scale[p]) * zero_total * factor);
}

// Sums of a parameter over its elements in order.
struct ParamSum {
  SegmentSum scale, zero;
  double scale_total, zero_total;
  int64_t count;

  void clear() {
    scale.clear();
    zero.clear();
    scale_total = zero_total = 0.0;
    count = 0;
  }
  void take_segment() {
    scale_total += double(scale.take());
    zero_total += double(zero.take());
  }
  void add(const Kernels& kernels, const float* scale_terms, const float* zero_terms, int64_t n) {
    while (n > 0) {
      const int64_t part = std::min(n, kSegment - count % kSegment);
      scale.add(kernels, scale_terms, part, count);
      zero.add(kernels, zero_terms, part, count);
      count += part;
      if (count % kSegment == 0) take_segment();
      scale_terms += part;
      zero_terms += part;
      n -= part;
    }
  }
  void write(const GradientJob& job, int64_t p) {
    if (count % kSegment != 0) take_segment();
    write_sums(job, p, scale_total, zero_total, count);
  }
};

// Runs [from, to), counted as r / rows_per_param * per_row + j, into the sums of parameters from `first` on.
void add_runs(const GradientJob& job, int64_t from, int64_t to, int64_t first, ChunkTerms* terms, ParamSum* sums) {
  const RunMap& map = job.map;
  const int64_t last_row = std::min(map.rows, ceil_div(to, map.per_row) * map.rows_per_param);
  for (int64_t row = from / map.per_row * map.rows_per_param; row < last_row; ++row) {
    const int64_t base = row / map.rows_per_param * map.per_row;
    int64_t q = std::max(from, base);
    const int64_t end = std::min(map.row_length, (std::min(to, base + map.per_row) - base) * map.run);
    for (int64_t begin = (q - base) * map.run, n; begin < end; begin += n) {
      // whole runs, or a part of one
      const int64_t room =
          map.run <= kChunk ? kChunk / map.run * map.run : std::min(kChunk, (q - base + 1) * map.run - begin);
      n = std::min(room, end - begin);
      terms->compute(job, row * map.row_length + begin, n, map.run, q % map.params);
      for (int64_t at = 0; at < n; at += map.run) {
        const int64_t part = std::min(n - at, map.run);
        sums[q % map.params - first].add(*job.context.kernels, terms->scale + at, terms->zero + at, part);
        q += (begin + at + part) % map.run == 0;
      }
    }
  }
}

// Some neighbouring parameters at a time, all of their elements in order.
void sum_by_params(const GradientJob& job) {
  constexpr int64_t kMost = 256;  // 39 KB of sums
  const int64_t params = job.map.params, runs = job.map.runs(), turns = runs / params;
  const int64_t block = std::min(kMost, std::max<int64_t>(1, kChunk / job.map.run));
  const int64_t size = std::min(block, params) * job.map.run * turns * job.map.rows_per_param;
  parallel_items(job.context, ceil_div(params, block), size, [&](int64_t begin, int64_t end) {
    ChunkTerms terms;
    ParamSum sums[kMost];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item * block, last = std::min(params, first + block);
      for (int64_t p = first; p < last; ++p) sums[p - first].clear();
      if (job.map.rows == 1 && last - first == params) {
        add_runs(job, 0, runs, 0, &terms, sums);  // one turn follows the other in memory
      } else {
        for (int64_t turn = 0; turn < turns; ++turn) {
          add_runs(job, turn * params + first, turn * params + last, first, &terms, sums);
        }
      }
      for (int64_t p = first; p < last; ++p) sums[p - first].write(job, p);
    }
  });
}

// Few parameters with long runs: the threads share each of them. All runs are whole, run q begins at q * run.
void sum_by_segments(const GradientJob& job) {
  constexpr int64_t kRound = 4096;  // segments
  const Kernels& kernels = *job.context.kernels;
  const int64_t params = job.map.params, run = job.map.run, count = job.map.runs() / params * run;
  float scale[kRound], zero[kRound];
  for (int64_t p = 0; p < params; ++p) {
    double scale_total = 0.0, zero_total = 0.0;
    for (int64_t round = 0; round < count; round += kRound * kSegment) {
      const int64_t segments = std::min(kRound, ceil_div(count - round, kSegment));
      parallel_items(job.context, segments, kSegment, [&](int64_t begin, int64_t end) {
        ChunkTerms terms;
        for (int64_t s = begin; s < end; ++s) {
          SegmentSum scale_sum, zero_sum;
          scale_sum.clear();
          zero_sum.clear();
          const int64_t first = round + s * kSegment, last = std::min(count, first + kSegment);
          for (int64_t at = first, n; at < last; at += n) {
            n = std::min({kChunk, last - at, run - at % run});
            terms.compute(job, (at / run * params + p) * run + at % run, n, n, p);
            scale_sum.add(kernels, terms.scale, n, at);
            zero_sum.add(kernels, terms.zero, n, at);
          }
          scale[s] = scale_sum.take();
          zero[s] = zero_sum.take();
        }
      });
      for (int64_t s = 0; s < segments; ++s) {
        scale_total += double(scale[s]);
        zero_total += double(zero[s]);
      }
    }
    write_sums(job, p, scale_total, zero_total, count);
  }
}

// One parameter for each column of a matrix: lanes are rows of sums, for some columns at a time.
struct ColumnSums {
  static constexpr int64_t kMost = 256;  // columns: 32 KB of lanes
  float lanes[kSumLanes * kMost];
  double total[kMost];

  void clear() {
    std::fill(std::begin(lanes), std::end(lanes), 0.0f);
    std::fill(std::begin(total), std::end(total), 0.0);
  }
  void add(const float* terms, int64_t n, int64_t at) {
    for (int64_t i = 0; i < n; ++i) lanes[at + i] += terms[i];
  }
  void take_segment(int64_t columns) {
    for (int half = kSumLanes / 2; half > 0; half /= 2) add(lanes + half * columns, half * columns, 0);
    for (int64_t i = 0; i < columns; ++i) total[i] += double(lanes[i]);
    std::fill(std::begin(lanes), std::end(lanes), 0.0f);
  }
};

void sum_by_columns(const GradientJob& job) {
  const int64_t params = job.map.params, rows = job.map.runs() / params;
  const int64_t block = std::min(params, ColumnSums::kMost);
  parallel_items(job.context, ceil_div(params, block), block * rows, [&](int64_t begin, int64_t end) {
    ChunkTerms terms;
    ColumnSums scale, zero;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item * block, columns = std::min(block, params - first);
      // Where a block has all columns, rows follow each other in memory, as their lanes do.
      const int64_t most = columns == params ? std::min<int64_t>(kSumLanes, kChunk / columns) : 1;
      terms.params.read(job, first, most * columns);
      scale.clear();
      zero.clear();
      for (int64_t row = 0, n; row < rows; row += n) {
        const int64_t lane = row % kSumLanes;
        n = std::min({most, kSumLanes - lane, rows - row});
        terms.compute(job, row * params + first, n * columns, 1);
        scale.add(terms.scale, n * columns, lane * columns);
        zero.add(terms.zero, n * columns, lane * columns);
        if ((row + n) % kSegment == 0 || row + n == rows) {
          scale.take_segment(columns);
          zero.take_segment(columns);
        }
      }
      for (int64_t i = 0; i < columns; ++i) write_sums(job, first + i, scale.total[i], zero.total[i], rows);
    }
  });
}

// ---- checks -----------------------------------------------------------------------------------------------------

lowbit_status check_floats(const float* array, const char* name, lowbit_error* error) {
  return check_array(array, name, sizeof *array, error);
}

// out, which chunks are written to while others are still to be read from `in`.
lowbit_status check_apart(const float* out, const char* out_name, const float* in, const char* in_name,
                          int64_t elements, lowbit_error* error) {
  if (!overlap({out, 1, elements * 4, 0}, {in, 1, elements * 4, 0})) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "%s: must share no memory with %s", out_name, in_name);
}

lowbit_status check_params(const Job& job, lowbit_error* error) {
  for (int64_t i = 0; i < job.map.params; ++i) {
    if (!std::isfinite(job.scale[i]) || job.scale[i] == 0.0f) {
      return fail(error, LOWBIT_INVALID_VALUE, "scale: got %g at %lld, expected finite values other than 0",
                  double(job.scale[i]), static_cast<long long>(i));
    }
    if (job.zero_point && (job.zero(i) < job.format->qmin() || job.zero(i) > job.format->qmax())) {
      return fail(error, LOWBIT_INVALID_VALUE, "zero_point: got %d at %lld, expected codes of %s, %d to %d",
                  job.zero(i), static_cast<long long>(i), job.format->name, job.format->qmin(), job.format->qmax());
    }
  }
  return LOWBIT_OK;
}

// Checks what both functions are given and fills job; *elements is 0 where there is nothing to do.
template <typename Args>
lowbit_status make_job(const lowbit_context* context, const Args& args, Job* job, int64_t* elements,
                       lowbit_error* error) {
  if (!get_context(context, &job->context, error)) return LOWBIT_INVALID_VALUE;
  job->format = find_format(args.format, error);
  if (!job->format) return LOWBIT_INVALID_VALUE;
  if (!job->format->is_integer()) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.format: got %s, expected integers", job->format->name);
  }
  if (const lowbit_status status = check_runs(args.runs, error)) return status;
  *elements = args.runs.rows * args.runs.row_length;
  if (*elements == 0) return LOWBIT_OK;
  if (const lowbit_status status = check_floats(args.x, "args.x", error)) return status;
  if (const lowbit_status status = check_floats(args.scale, "args.scale", error)) return status;
  job->map = make_map(args.runs, true);
  job->scale = args.scale;
  job->zero_point = args.zero_point;
  return check_params(*job, error);
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_fake_quantize(const lowbit_context* context, const lowbit_fake_quantize_args* given,
                                   lowbit_error* error) {
  lowbit_fake_quantize_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Job job;
  int64_t elements = 0;
  if (const lowbit_status status = make_job(context, args, &job, &elements, error)) return status;
  if (elements == 0) return ok(error);
  if (const lowbit_status status = check_floats(args.out, "args.out", error)) return status;
  if (const lowbit_status status = check_apart(args.out, "args.out", args.x, "args.x", elements, error)) return status;
  fake_quantize(job, args.x, args.out);
  return ok(error);
}

lowbit_status lowbit_fake_quantize_gradient(const lowbit_context* context,
                                            const lowbit_fake_quantize_gradient_args* given, lowbit_error* error) {
  lowbit_fake_quantize_gradient_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  GradientJob job;
  int64_t elements = 0;
  if (const lowbit_status status = make_job(context, args, &job, &elements, error)) return status;
  if (args.lsq_scale && job.format->qmax() == 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.lsq_scale: got %d for %s, whose largest code is 0, expected 0",
                args.lsq_scale, job.format->name);
  }
  if (const lowbit_status status = check_optional(args.grad_scale, "args.grad_scale", 4, error)) return status;
  if (const lowbit_status status = check_optional(args.grad_zero_point, "args.grad_zero_point", 4, error)) {
    return status;
  }
  job.grad_scale = args.grad_scale;
  job.grad_zero_point = args.grad_zero_point;
  if (elements == 0) {
    for (float* sums : {args.grad_scale, args.grad_zero_point}) {
      if (sums) std::fill(sums, sums + args.runs.params, 0.0f);
    }
    return ok(error);
  }
  if (const lowbit_status status = check_floats(args.grad, "args.grad", error)) return status;
  if (const lowbit_status status = check_floats(args.grad_x, "args.grad_x", error)) return status;
  if (const lowbit_status status = check_apart(args.grad_x, "args.grad_x", args.x, "args.x", elements, error)) {
    return status;
  }
  if (const lowbit_status status = check_apart(args.grad_x, "args.grad_x", args.grad, "args.grad", elements, error)) {
    return status;
  }
  job.grad = args.grad;
  job.x = args.x;
  job.grad_x = args.grad_x;
  job.lsq_scale = args.lsq_scale != 0;

  if (!job.sums_wanted()) {
    each_chunk(job, [&](int64_t row, int64_t j, int64_t begin, int64_t end) {
      ChunkTerms terms;
      terms.compute(job, row * job.map.row_length + begin, end - begin, job.map.run, job.map.first_param(row, j));
    });
  } else if (job.map.rows == 1 && job.map.run == 1) {
    sum_by_columns(job);
  } else if (job.few_long_runs()) {
    sum_by_segments(job);
  } else {
    sum_by_params(job);
  }
  return ok(error);
}
