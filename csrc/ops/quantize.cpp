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
#include "params.hpp"
#include "runs.hpp"
#include "stream.hpp"

namespace lowbit {
namespace {

constexpr int64_t kChunk = 1024;  // elements: 8 KB of floats, as much of scales and of zero points

// What quantize and dequantize have in common.
struct Job {
  Context context;
  const Format* format;
  RunMap map;
  ScaleType scale_type;
  const void* scale;
  lowbit_type zero_type;
  const void* zero_point;
  int64_t row_bytes;  // of codes

  int64_t code_offset(int64_t row, int64_t begin) const { return row * row_bytes + begin * format->bits / 8; }
  bool fraction() const { return zero_type == LOWBIT_FLOAT32; }
  bool plain_scale() const { return scale_type.type == LOWBIT_FLOAT32 && scale_type.global_scale == 1.0f; }

  // x / scale must be a number, a zero point a code or a finite number; negative scales are for signed_max.
  bool usable(float s, bool may_be_negative) const {
    const float magnitude = may_be_negative ? std::fabs(s) : s;
    return (magnitude > 0) & (magnitude <= std::numeric_limits<float>::max());
  }
  bool usable_zero(float z) const {
    return fraction() ? std::isfinite(z) : z >= float(format->qmin()) && z <= float(format->qmax());
  }
};

// The parameters of some runs, as kernels take them: where they are, or decoded into a buffer.
struct ChunkParams {
  const float* scale;
  const float* zero;
  alignas(64) float scales[kChunk];
  alignas(64) float zeros[kChunk];

  // `count` runs of a row, the first of which is j.
  void read(const Job& job, int64_t row, int64_t j, int64_t count) {
    int64_t p = job.map.first_param(row, j);
    scale = scales;
    zero = job.zero_point ? zeros : nullptr;
    if (job.plain_scale() && p + count <= job.map.params) scale = static_cast<const float*>(job.scale) + p;
    if (scale != scales && !zero) return;
    for (int64_t done = 0; done < count; p = 0) {
      const int64_t n = std::min(count - done, job.map.params - p);
      if (scale == scales) read_scales(*job.context.kernels, job.scale_type, job.scale, p, n, scales + done);
      if (zero) read_zeros(job, p, n, zeros + done);
      done += n;
    }
  }

  static void read_zeros(const Job& job, int64_t p, int64_t n, float* to) {
    switch (job.zero_type) {
      case LOWBIT_INT8: std::copy_n(static_cast<const int8_t*>(job.zero_point) + p, n, to); break;
      case LOWBIT_UINT8: std::copy_n(static_cast<const uint8_t*>(job.zero_point) + p, n, to); break;
      default: std::copy_n(static_cast<const float*>(job.zero_point) + p, n, to); break;
    }
  }
};

// The elements [begin, end) of a row, at most kChunk: calls kernel(offset from begin, n, run, scales, zero points) for
// the rest of a run that began earlier, and for the runs that begin here.
template <typename F>
void each_runs(const Job& job, int64_t row, int64_t begin, int64_t end, F kernel) {
  ChunkParams params;  // not initialized: only what is read into it is used
  const int64_t run = job.map.run, j = begin / run;
  const int64_t head = std::min((run - begin % run) % run, end - begin);
  if (head > 0) {
    params.read(job, row, j, 1);
    kernel(int64_t{0}, head, head, params.scale, params.zero);
  }
  const int64_t rest = end - begin - head;
  if (rest > 0) {
    params.read(job, row, (begin + head) / run, ceil_div(rest, run));
    kernel(head, rest, run, params.scale, params.zero);
  }
}

// Given scales on the way: not at all, finite and above 0, or finite and not 0.
enum class Check { kNone, kPositive, kSigned };

// Codes of a chunk before they are packed.
struct ChunkCodes {
  alignas(64) uint8_t bytes[kChunk];
};

// Whether the parameters of all runs of a chunk can be used.
bool are_usable(const Job& job, int64_t count, const float* scale, const float* zero, bool may_be_negative) {
  bool good = true;
  for (int64_t i = 0; i < count; ++i) good &= job.usable(scale[i], may_be_negative);
  for (int64_t i = 0; zero && i < count; ++i) good &= job.usable_zero(zero[i]);
  return good;
}

// Codes of the elements [begin, end) of a row, at most kChunk, to `out`. False where `check` finds a parameter that
// cannot be used; what is written then means nothing.
bool quantize_chunk(const Job& job, Check check, const float* x, int64_t row, int64_t begin, int64_t end,
                    uint8_t* out) {
  const Kernels& kernels = *job.context.kernels;
  bool good = true;
  ChunkCodes buffer;
  uint8_t* const codes = job.format->packed() ? buffer.bytes : out;
  x += row * job.map.row_length + begin;
  const int64_t bytes = job.format->code_bytes();
  each_runs(job, row, begin, end, [&](int64_t at, int64_t n, int64_t run, const float* scale, const float* zero) {
    if (check != Check::kNone) good &= are_usable(job, ceil_div(n, run), scale, zero, check == Check::kSigned);
    kernels.quantize_runs(x + at, n, run, scale, zero, job.fraction(), job.format->coder, codes + at * bytes);
  });
  if (job.format->packed()) kernels.pack_bits(buffer.bytes, end - begin, job.format->bits, out);
  return good;
}

void dequantize_chunk(const Job& job, const uint8_t* codes, int64_t row, int64_t begin, int64_t end, float* out) {
  const Kernels& kernels = *job.context.kernels;
  ChunkCodes buffer;
  codes += job.code_offset(row, begin);
  if (job.format->packed()) {
    kernels.unpack_bits(codes, end - begin, job.format->bits, job.format->is_signed(), buffer.bytes);
    codes = buffer.bytes;
  }
  const int64_t bytes = job.format->code_bytes();
  each_runs(job, row, begin, end, [&](int64_t at, int64_t n, int64_t run, const float* scale, const float* zero) {
    kernels.dequantize_runs(codes + at * bytes, n, run, scale, zero, job.format->coder, out + at);
  });
}

// Runs that begin on a byte of the packed codes, counted from the row's start: every so many.
int64_t aligned_runs(const Job& job) { return job.format->packed() ? 8 / std::gcd(job.map.run, int64_t{8}) : 1; }

// Cuts every row into pieces of `size` elements, a multiple of 8, whose results are written one after the other:
// f(row, begin, end, writer). to: where the result of element 0 goes; bits: of each.
template <typename F>
void each_piece(const Job& job, int64_t size, void* to, int64_t bits, F f) {
  const int64_t length = job.map.row_length, per_row = ceil_div(length, size), row_bytes = ceil_div(length * bits, 8);
  const bool streamed = job.map.rows * row_bytes >= kStreamBytes;
  parallel_items(job.context, job.map.rows * per_row, std::min(size, length), [&](int64_t first, int64_t last) {
    const int64_t offset = first / per_row * row_bytes + first % per_row * size * bits / 8;
    Writer writer(*job.context.kernels, streamed, static_cast<uint8_t*>(to) + offset);
    for (int64_t item = first; item < last; ++item) {
      const int64_t row = item / per_row, begin = item % per_row * size;
      f(row, begin, std::min(length, begin + size), &writer);
    }
  });
}

// Elements in a chunk: whole runs where runs are short, a multiple of 8.
int64_t chunk_length(const Job& job) {
  const int64_t unit = job.map.run < kChunk ? std::lcm(job.map.run, int64_t{8}) : kChunk;
  return unit < kChunk ? kChunk / unit * unit : kChunk;
}

int64_t packed_bytes(const Job& job, int64_t elements) { return ceil_div(elements * job.format->bits, 8); }

bool quantize_given(const Job& job, Check check, const float* x, uint8_t* codes) {
  std::atomic<bool> good{true};
  each_piece(job, chunk_length(job), codes, job.format->bits,
             [&](int64_t row, int64_t begin, int64_t end, Writer* out) {
               out->write(packed_bytes(job, end - begin), [&](uint8_t* to) {
                 if (!quantize_chunk(job, check, x, row, begin, end, to)) good.store(false, std::memory_order_relaxed);
               });
             });
  return good;
}

// Chooses the parameters of `count` runs from `first` on and stores them.
struct ParamWriter {
  const Job& job;
  const ParamRule& rule;
  void* scale;
  void* zero_point;
  Misfit misfit;

  // scales: room for `count` floats, and gets them
  void write(const float* minimum, const float* maximum, int64_t first, int64_t count, float* scales, float* zeros) {
    job.context.kernels->choose_params(minimum, maximum, count, rule,
                                       static_cast<uint8_t*>(scale) + first * job.scale_type.bytes(), scales,
                                       zero_point ? zeros : nullptr);
    if (const int64_t bad = first_misfit(scales, count); bad < count) misfit.note(first + bad);
    if (!zero_point) return;
    uint8_t* to = static_cast<uint8_t*>(zero_point) + first;
    for (int64_t i = 0; i < count; ++i) to[i] = uint8_t(int(zeros[i]));
  }
};

// Range, parameters and codes of whole runs, at most kChunk elements.
void quantize_runs_found(const Job& job, ParamWriter* writer, const float* x, int64_t row, int64_t begin, int64_t end,
                         uint8_t* out) {
  const Kernels& kernels = *job.context.kernels;
  float minimum[kChunk], maximum[kChunk], scale[kChunk], zero[kChunk];
  const int64_t run = job.map.run, n = end - begin, count = ceil_div(n, run);
  x += row * job.map.row_length + begin;
  kernels.range_runs(x, n, run, minimum, maximum);
  finish_ranges(count, minimum, maximum);
  writer->write(minimum, maximum, job.map.first_param(row, begin / run), count, scale, zero);
  ChunkCodes buffer;
  uint8_t* const codes = job.format->packed() ? buffer.bytes : out;
  kernels.quantize_runs(x, n, run, scale, job.zero_point ? zero : nullptr, 0, job.format->coder, codes);
  if (job.format->packed()) kernels.pack_bits(buffer.bytes, n, job.format->bits, out);
}

// The same for a run, or the few until one begins on a byte, that no chunk holds: its data is read twice.
void quantize_long_found(const Job& job, ParamWriter* params, const float* x, int64_t row, int64_t begin, int64_t end,
                         Writer* out) {
  const int64_t run = job.map.run;
  for (int64_t at = begin; at < end; at += run) {
    const int64_t n = std::min(run, end - at);
    float minimum, maximum, scale, zero;
    job.context.kernels->range_runs(x + row * job.map.row_length + at, n, n, &minimum, &maximum);
    finish_ranges(1, &minimum, &maximum);
    params->write(&minimum, &maximum, job.map.first_param(row, at / run), 1, &scale, &zero);
  }
  for (int64_t at = begin; at < end; at += kChunk) {
    const int64_t stop = std::min(end, at + kChunk);
    out->write(packed_bytes(job, stop - at),
               [&](uint8_t* to) { quantize_chunk(job, Check::kNone, x, row, at, stop, to); });
  }
}

void quantize_found(const Job& job, ParamWriter* params, const float* x, uint8_t* codes) {
  const int64_t unit = aligned_runs(job) * job.map.run, bits = job.format->bits;
  if (unit > kChunk) {
    return each_piece(job, unit, codes, bits, [&](int64_t row, int64_t begin, int64_t end, Writer* out) {
      quantize_long_found(job, params, x, row, begin, end, out);
    });
  }
  each_piece(job, kChunk / unit * unit, codes, bits, [&](int64_t row, int64_t begin, int64_t end, Writer* out) {
    out->write(packed_bytes(job, end - begin),
               [&](uint8_t* to) { quantize_runs_found(job, params, x, row, begin, end, to); });
  });
}

// Parameters alone, for few long runs: the threads share each of them.
void find_params(const Job& job, ParamWriter* writer, const float* x) {
  for (int64_t row = 0; row < job.map.rows; ++row) {
    for (int64_t j = 0; j < job.map.per_row; ++j) {
      const int64_t begin = j * job.map.run, n = std::min(job.map.run, job.map.row_length - begin);
      float minimum, maximum, scale, zero;
      find_ranges(job.context, RunMap{1, n, n, 1, 1, 1}, x + row * job.map.row_length + begin, &minimum, &maximum);
      writer->write(&minimum, &maximum, job.map.first_param(row, j), 1, &scale, &zero);
    }
  }
}

// Checks what both functions are given and fills job. elements: 0 where there is nothing to do.
template <typename Args>
lowbit_status make_job(const lowbit_context* context, const Args& args, const void* floats, const char* floats_name,
                       Job* job, int64_t* elements, lowbit_error* error) {
  if (!get_context(context, &job->context, error)) return LOWBIT_INVALID_VALUE;
  job->format = find_format(args.format, error);
  if (!job->format) return LOWBIT_INVALID_VALUE;
  const lowbit_runs& runs = args.runs;
  if (const lowbit_status status = check_runs(runs, error)) return status;
  if (const lowbit_status status = make_scale_type(args.scale_type, args.global_scale, &job->scale_type, error)) {
    return status;
  }
  job->scale = args.scale;
  job->zero_point = args.zero_point;
  job->zero_type = args.zero_type;
  if (args.zero_point) {
    if (!job->format->is_integer()) {
      return fail(error, LOWBIT_INVALID_VALUE, "args.zero_point: given for format %s, expected NULL",
                  job->format->name);
    }
    const lowbit_type byte = job->format->is_signed() ? LOWBIT_INT8 : LOWBIT_UINT8;
    if (args.zero_type != byte && args.zero_type != LOWBIT_FLOAT32) {
      return fail(error, LOWBIT_INVALID_TYPE, "args.zero_type: got %d, expected %d (%s) or LOWBIT_FLOAT32 (1)",
                  static_cast<int>(args.zero_type), static_cast<int>(byte),
                  job->format->is_signed() ? "LOWBIT_INT8" : "LOWBIT_UINT8");
    }
  }
  *elements = runs.rows * runs.row_length;
  if (*elements == 0) return LOWBIT_OK;
  const int64_t zero_bytes = args.zero_type == LOWBIT_FLOAT32 ? 4 : 1;
  if (const lowbit_status status = check_array(args.scale, "args.scale", job->scale_type.bytes(), error)) return status;
  if (const lowbit_status status = check_optional(args.zero_point, "args.zero_point", zero_bytes, error)) return status;
  if (const lowbit_status status = check_array(args.codes, "args.codes", job->format->code_bytes(), error)) {
    return status;
  }
  if (const lowbit_status status = check_array(floats, floats_name, sizeof(float), error)) return status;
  const bool rows_join = runs.row_length * job->format->bits % 8 == 0;
  job->map = make_map(runs, rows_join);
  job->row_bytes = ceil_div(job->map.row_length * job->format->bits, 8);
  return LOWBIT_OK;
}

// Fails if one of the given parameters cannot be used.
lowbit_status check_params(const Job& job, bool may_be_negative, lowbit_error* error) {
  const Format& f = *job.format;
  for (int64_t i = 0; i < job.map.params; ++i) {
    float scale, zero = 0;
    read_scales(*job.context.kernels, job.scale_type, job.scale, i, 1, &scale);
    if (job.zero_point) ChunkParams::read_zeros(job, i, 1, &zero);
    if (!job.usable(scale, may_be_negative)) {
      return fail(error, LOWBIT_INVALID_VALUE, "scale: got %g at %lld, expected finite values %s", double(scale),
                  static_cast<long long>(i),
                  may_be_negative ? "other than 0" : "above 0 (convention signed_max: not 0)");
    }
    if (job.zero_point && !job.usable_zero(zero)) {
      return fail(error, LOWBIT_INVALID_VALUE, "zero_point: got %g at %lld, expected %s of %s, %d to %d", double(zero),
                  static_cast<long long>(i), job.fraction() ? "finite values around codes" : "codes", f.name, f.qmin(),
                  f.qmax());
    }
  }
  return LOWBIT_OK;
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_quantize(const lowbit_context* context, const lowbit_quantize_args* given, lowbit_error* error) {
  lowbit_quantize_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Job job = {};
  int64_t elements = 0;
  if (const lowbit_status status = make_job(context, args, args.x, "args.x", &job, &elements, error)) return status;
  uint8_t* codes = static_cast<uint8_t*>(args.codes);
  if (!args.find_params) {
    if (const lowbit_status status = check_convention(args.convention, error)) return status;
    if (elements == 0) return ok(error);
    const bool may_be_negative = args.convention == LOWBIT_SIGNED_MAX;
    if (job.map.params * 64 <= elements) {  // the few that many elements share are checked first
      if (const lowbit_status status = check_params(job, may_be_negative, error)) return status;
      quantize_given(job, Check::kNone, args.x, codes);
    } else if (!quantize_given(job, may_be_negative ? Check::kSigned : Check::kPositive, args.x, codes)) {
      return check_params(job, may_be_negative, error);  // says which
    }
    return ok(error);
  }

  if (job.zero_point && job.fraction()) {
    return fail(error, LOWBIT_INVALID_TYPE, "args.zero_type: got LOWBIT_FLOAT32 with find_params, expected integers");
  }
  ParamRule rule;
  if (const lowbit_status status = make_rule(*job.format, args.convention, job.scale_type,
                                             args.zero_point != nullptr || elements == 0, &rule, error)) {
    return status;
  }
  if (elements == 0) return ok(error);
  const int64_t runs = args.runs.rows * ceil_div(args.runs.row_length, args.runs.run);
  if (args.runs.rows_per_param != 1 || args.runs.params != runs) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "args.runs: got rows_per_param = %lld, params = %lld, expected 1 and %lld: find_params needs one "
                "parameter for each run",
                static_cast<long long>(args.runs.rows_per_param), static_cast<long long>(args.runs.params),
                static_cast<long long>(runs));
  }
  ParamWriter writer = {job, rule, args.scale, args.zero_point, {}};
  // Fewer runs than keep all threads busy, and long enough to be worth sharing.
  if (runs < 2 * job.context.max_threads && elements / runs > 32768) {
    find_params(job, &writer, args.x);
    quantize_given(job, Check::kNone, args.x, codes);
  } else {
    quantize_found(job, &writer, args.x, codes);
  }
  return writer.misfit.any() ? fail_misfit(job.scale_type, writer.misfit.param.load(), error) : ok(error);
}

lowbit_status lowbit_dequantize(const lowbit_context* context, const lowbit_dequantize_args* given,
                                lowbit_error* error) {
  lowbit_dequantize_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Job job = {};
  int64_t elements = 0;
  if (const lowbit_status status = make_job(context, args, args.out, "args.out", &job, &elements, error)) return status;
  if (elements == 0) return ok(error);
  const uint8_t* codes = static_cast<const uint8_t*>(args.codes);
  each_piece(job, chunk_length(job), args.out, 32, [&](int64_t row, int64_t begin, int64_t end, Writer* out) {
    out->write((end - begin) * 4,
               [&](uint8_t* to) { dequantize_chunk(job, codes, row, begin, end, reinterpret_cast<float*>(to)); });
  });
  return ok(error);
}
