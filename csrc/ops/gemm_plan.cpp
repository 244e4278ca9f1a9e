#include "gemm_plan.hpp"

#include <algorithm>
#include <atomic>

#include "../error.hpp"
#include "check.hpp"

namespace lowbit {
namespace {

// Bytes of L2 that a column block of codes may take: half of the smallest L2 in use, so that activations fit beside it.
constexpr int64_t kBlockBytes = 512 * 1024;
// Multiplications, about 2 µs of them, for which a thread that is awake is worth its while. (Whether to wake one that
// sleeps is the pool's to say.)
constexpr int64_t kWorkPerThread = 1 << 20;
// Rows that multiplying costs as much as reading their weights, and as decoding them to float32.
constexpr int64_t kReadRows = 4, kDecodeRows = 8;
// Rows of a task are a multiple of most tiles' rows.
constexpr int64_t kRowStep = 24;
static_assert(kRowStep % 2 == 0, "both terms of a row of x are in one task");
// Elements of x that are prepared at a time: a few µs.
constexpr int64_t kPrepareWork = 1 << 14;

lowbit_status choose_groups(const Layout& l, const Operands& o, Plan* p, lowbit_error* error) {
  const int64_t whole = std::max<int64_t>(l.k, 1);
  int64_t act = o.act_group_size == 0    ? (o.x_quantized ? whole : l.group)
                : o.act_group_size == -1 ? whole
                                         : o.act_group_size;
  if (act < 1) {
    return fail(error, LOWBIT_INVALID_VALUE, "act_group_size: must be at least 1, or -1 for whole rows, got %lld",
                static_cast<long long>(o.act_group_size));
  }
  act = std::min(act, whole);
  p->group = std::min(act, l.group);
  const int64_t larger = std::max(act, l.group);
  if (larger < whole && larger % p->group != 0) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "act_group_size: must divide the weights' group size %lld or be a multiple of it, got %lld",
                static_cast<long long>(l.group), static_cast<long long>(act));
  }
  if (p->group < l.group && p->group % l.step != 0) {
    return fail(
        error, LOWBIT_INVALID_VALUE,
        "act_group_size: below the weights' group size it must be a multiple of %lld for %d-bit codes, got %lld",
        static_cast<long long>(l.step), l.bits, static_cast<long long>(act));
  }
  // matmul_int is modulo 2^32 by contract; a float result must not wrap
  const int64_t most = o.column_sums ? 33025 : kMostGroup;
  if (!o.integer_result && p->group > most) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "act_group_size: sums of %lld products do not fit int32; give an act_group_size of at most %lld",
                static_cast<long long>(p->group), static_cast<long long>(most));
  }
  p->groups = ceil_div(whole, p->group);
  p->group_k = p->group == l.group ? l.group_k : p->group;
  p->last_group_k = round_up(l.k - (p->groups - 1) * p->group, l.step);
  p->segment_groups = std::max<int64_t>(1, kSegment / p->group);
  p->scale_ratio = ceil_div(l.group, p->group);
  p->act_in_sum = act < whole;
  p->act_group = act;
  p->act_groups = ceil_div(whole, act);
  p->act_ratio = ceil_div(act, p->group);
  return LOWBIT_OK;
}

void choose_scales(const Layout& l, bool is_float, Plan* p) {
  p->scale_type = l.scale_type;
  if (!is_float && l.format->int8_steps > 0) p->scale_type.global_scale /= float(l.format->int8_steps);
  const bool readable = l.scale_type.type == LOWBIT_FLOAT32 || l.scale_type.type == LOWBIT_FLOAT16;
  p->decode_scales = !readable || p->scale_type.global_scale != 1.0f || p->float_zeros;
}

lowbit_status fail_too_many(int64_t m, int64_t k, lowbit_error* error) {
  return fail(error, LOWBIT_INVALID_VALUE, "x: %lld x %lld activations are too many for one call",
              static_cast<long long>(m), static_cast<long long>(k));
}

// Whether every segment starts where the group of an activation scale, of a weight scale and a byte of zero points do,
// or lies within one, so that kernels can be shown a segment alone.
bool segments_stand_alone(const Layout& l, const Plan& p) {
  const auto in_phase = [&](int64_t ratio) {
    return ratio >= p.groups || p.segment_groups % ratio == 0 || ratio % p.segment_groups == 0;
  };
  if (!in_phase(p.act_ratio) || !in_phase(p.scale_ratio)) return false;
  return !l.whole_zeros() || l.groups == 1 || p.segment_groups * l.zero_bits % (8 * p.scale_ratio) == 0;
}

// Segments of K that can be computed apart, as docs/numerics.md has them. One group's integers may be cut anywhere.
void choose_segments(const Layout& l, bool one, Plan* p) {
  p->segments = 1;
  p->segment_k = kSegment;
  if (p->path == Path::kFloat || one) {
    p->segments = std::max<int64_t>(1, ceil_div(l.padded_k, kSegment));
    if (p->path == Path::kFloat) p->segments = std::max<int64_t>(1, ceil_div(l.k, kSegment));
  } else if (segments_stand_alone(l, *p)) {
    p->segments = ceil_div(p->groups, p->segment_groups);
    p->segment_k = p->segment_groups * p->group_k;
  }
}

// Rows up to which codes are unpacked on the way. Easy ones, a shift and a mask for four codes, are next to nothing
// beside the products of six rows, and half the bytes or less to read: with AVX-512 VNNI int4 in groups of 32 is 9 %
// faster at 64 rows and 2 % at 512, with more planes (int6) 6 % slower at 64, with zero points 23 %.
int64_t most_gemv_rows(const Kernels& kernels, const Layout& l, bool one) {
  if (l.bits == 8) return one ? 0 : kGemvByteRows;
  const bool easy = 8 % l.bits == 0 && l.format->is_integer() && !l.whole_zeros() && !one;
  return easy ? kernels.packed_rows : kGemvRows;
}

// Tasks for `threads` threads: four for each, so that a slow thread holds little. Columns are cut for the cache; where
// they are too few, rows are, then, where there are not even enough for one task a thread, K, which costs 2 % against
// the 7 % of narrower register tiles, and what is left of columns.
void cut(const Layout& l, int64_t threads, bool one, Plan* p) {
  const int64_t m = std::max<int64_t>(p->rows, 1), wanted = threads == 1 ? 1 : 4 * threads;
  const bool is_float = p->path == Path::kFloat;
  const int64_t block_k = std::max<int64_t>(l.padded_k, 1);
  const int64_t most_panels = std::clamp<int64_t>(kBlockBytes / (block_k * kPanel), 1, 4);
  p->block_panels = p->float_gemv ? 4 : is_float ? 2 : most_panels;
  p->column_blocks = ceil_div(l.panels, p->block_panels);

  const int64_t most_row_blocks = std::max<int64_t>(1, m / kRowChunk);
  p->row_blocks = std::clamp<int64_t>(ceil_div(wanted, std::max<int64_t>(p->column_blocks, 1)), 1, most_row_blocks);
  p->rows_per_task = round_up(ceil_div(m, p->row_blocks), kRowStep);
  if (is_float) p->rows_per_task = std::min<int64_t>(p->rows_per_task, 480);  // sums of a task: 60 KB
  p->row_blocks = ceil_div(m, p->rows_per_task);

  p->parts = 1;
  choose_segments(l, one, p);
  p->part_segments = p->segments;
  if (p->blocks() == 0 || p->blocks() >= threads) return;
  if (p->segments > 1) {
    p->part_segments = ceil_div(p->segments, ceil_div(wanted, p->blocks()));
    p->parts = ceil_div(p->segments, p->part_segments);
    if (one && p->path == Path::kGemv) {  // whose sums of one group are floats
      p->path = Path::kCodes;
      p->unpack = true;
    }
  }
  if (p->blocks() * p->parts < threads) {
    p->block_panels = std::max<int64_t>(1, l.panels * p->row_blocks * p->parts / threads);
    p->column_blocks = ceil_div(l.panels, p->block_panels);
  }
}

}  // namespace

int useful_threads(const Context& context, int64_t work) {
  return int(std::clamp<int64_t>(work / kWorkPerThread, 1, context.max_threads));
}

lowbit_status make_plan(const Context& context, const Layout& l, const Operands& o, Plan* p, lowbit_error* error) {
  *p = Plan();
  p->m = o.m;
  p->n = l.n;
  p->k = l.k;
  // more than any buffer: rows and their bytes fit int64
  if (o.m > int64_t{1} << 46) return fail_too_many(o.m, l.k, error);
  int64_t results;
  if (!multiply(&results, o.m, l.n) || results > kMostElements) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "out: %lld x %lld results are too many for one call, expected at most 2^56",
                static_cast<long long>(o.m), static_cast<long long>(l.n));
  }
  // Without any k every float result is activation(0 + bias), which the path without activation scales gives.
  const bool is_float = o.compute == LOWBIT_COMPUTE_FLOAT32 || (l.k == 0 && !o.integer_result);
  bool one = false;  // the whole sum is one integer
  p->float_zeros = l.float_zeros() && !o.integer_result;
  if (l.has_scale) choose_scales(l, is_float, p);
  p->small = l.format->is_integer() && l.bits <= context.kernels->small_bits;
  p->bytes_per_k = p->small ? 1 : context.kernels->bytes_per_k;
  if (is_float) {
    p->path = Path::kFloat;
    p->float_gemv = l.bits <= 4 && o.m <= kFloatGemvRows;
    p->groups = 0;
    p->terms = 1;
  } else {
    if (const lowbit_status status = choose_groups(l, o, p, error)) return status;
    p->terms = o.compute == LOWBIT_COMPUTE_INT8X2 ? 2 : 1;
    one = p->groups == 1 && !p->act_in_sum && !p->float_zeros;
    if (p->terms * o.m <= most_gemv_rows(*context.kernels, l, one) && !o.column_sums) {
      p->path = Path::kGemv;
    } else {
      p->path = one ? Path::kCodes : Path::kGroups;
      p->unpack = l.bits < 8;
    }
    if (o.column_sums && p->float_zeros) {
      return fail(error, LOWBIT_INVALID_VALUE,
                  "x_zero_point: uint8 activations, or int8 with a zero point, need weights whose zero points are "
                  "integers or none, got floats");
    }
    if (o.column_sums && p->path != Path::kCodes) {
      return fail(error, LOWBIT_INVALID_VALUE,
                  "x_zero_point: activations with a zero point need weights with one scale for each row of W and one "
                  "activation scale for each row of x, got weights in groups of %lld",
                  static_cast<long long>(p->group));
    }
    p->ones = o.column_sums;
  }

  p->rows = o.m * p->terms;
  const int64_t rows = p->rows + p->ones;
  const int64_t work_rows = p->rows + (is_float ? kDecodeRows : kReadRows);
  if (!multiply(&p->work, work_rows, l.n) || !multiply(&p->work, p->work, std::max<int64_t>(l.k, 1))) {
    p->work = INT64_MAX;
  }
  const int64_t threads = useful_threads(context, p->work);
  cut(l, threads, one, p);
  const int64_t most_rows = std::max<int64_t>(1, kPrepareWork / std::max<int64_t>(l.k, 1));
  const int64_t prepare_tasks = round_up(ceil_div(std::max<int64_t>(o.m, 1), most_rows), threads);  // as many for each
  p->prepare_rows = ceil_div(std::max<int64_t>(o.m, 1), prepare_tasks);

  int64_t size = 0;
  const auto take = [&](int64_t bytes) {
    const int64_t at = size;
    size += round_up(bytes, LOWBIT_ALIGNMENT);
    return at;
  };
  // A line more than a power of two: a tile's rows at the same k would share one cache set, 12 rows in 8 ways.
  p->a_stride = round_up(is_float ? l.k * 4 : l.padded_k * p->bytes_per_k, 64) + 64;
  int64_t a_bytes = 0;
  if (!multiply(&a_bytes, rows, p->a_stride + (2 * p->groups + p->act_groups) * 4) || a_bytes > (int64_t{1} << 46)) {
    return fail_too_many(o.m, l.k, error);
  }
  p->a_offset = take(rows * p->a_stride);
  p->sums_offset = take(is_float ? 0 : rows * p->groups * 4);
  p->act_scale_offset = take(is_float || o.x_quantized ? 0 : rows * p->act_groups * 4);
  p->zero_sums_offset = take(p->float_zeros ? rows * p->groups * 4 : 0);
  const int64_t columns = p->block_panels * kPanel;
  if (p->parts > 1) {
    p->slots = p->path == Path::kCodes ? p->parts : p->segments;
    p->slot_stride = (p->rows_per_task + p->ones) * columns * 4;
    p->slots_offset = take(p->blocks() * p->slots * p->slot_stride);
    p->left_offset = take(p->blocks() * int64_t(sizeof(std::atomic<int32_t>)));
  }
  p->size = size;

  size = 0;
  p->panel_offset = take(is_float ? std::min(l.k, kSegment) * columns * 4 : p->unpack ? l.padded_k * columns : 0);
  p->scale_offset = take(p->decode_scales ? l.groups * columns * 4 : 0);
  p->zero_offset = take(p->float_zeros ? (is_float ? l.groups : p->groups) * columns * 4 : 0);
  p->c_offset = take((is_float ? p->rows_per_task : kRowChunk + 1) * columns * 4);
  p->slice = std::max(size, round_up(o.decode_x && !is_float ? l.k * 4 : 0, LOWBIT_ALIGNMENT));
  return LOWBIT_OK;
}

}  // namespace lowbit
