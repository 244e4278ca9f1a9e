// How one matrix product is cut up: kernel groups, blocks for caches, tasks for threads, and the workspace for it.
#pragma once

#include <cstdint>

#include "../context.hpp"
#include "layout.hpp"

namespace lowbit {

enum class Path {
  kCodes,   // one kernel group: int32 sums of bytes, then the epilogue
  kGroups,  // float sums of groups, from bytes
  kGemv,    // the same from packed codes, for few rows
  kFloat    // decoded weights
};

struct Plan {
  Path path;
  bool float_gemv;       // kFloat: codes are decoded on the way
  bool unpack;           // the codes of a column block become bytes first
  bool ones;             // a row of ones behind x gives the sums of W's columns
  bool small;            // codes for the kernels' product of small codes
  int bytes_per_k;       // of prepared rows
  int terms;             // prepared rows for each row of x: 2 with compute int8x2, the second term after the first
  bool float_zeros;      // zero points that are floats: a small product of their own subtracts them
  ScaleType scale_type;  // of the weights, times what the integers have been multiplied by
  bool decode_scales;    // a column block's scales become float32 first: kernels read float32 and float16 as they are
  int64_t m, n, k;
  int64_t rows;  // prepared: m * terms, without the row of ones
  int64_t work;  // multiplications; the largest int64 where there are more

  // kernel groups: the smaller of the weights' groups and the activations'
  int64_t groups, group, group_k, last_group_k, segment_groups, scale_ratio;
  // activation scales: in groups inside the sum, or one for each row after it
  bool act_in_sum;
  int64_t act_group, act_groups, act_ratio;

  // tasks: column blocks x row blocks x parts of K. With several parts the sums of segments (kCodes: of parts) are kept
  // apart, `slots` of slot_stride bytes for each block, and added in order by the last of its tasks.
  int64_t block_panels, column_blocks, rows_per_task, row_blocks;
  int64_t segments, segment_k;   // of K, and the (padded) k of each
  int64_t parts, part_segments;  // segments in a part; the last may have fewer
  int64_t slots, slot_stride;
  int64_t prepare_rows;  // rows of x that are prepared at a time

  int64_t blocks() const { return column_blocks * row_blocks; }
  int64_t tasks() const { return m > 0 && n > 0 ? blocks() * parts : 0; }

  // workspace, in bytes: what the tasks share, and a thread's slice
  int64_t a_stride, a_offset, sums_offset, act_scale_offset, zero_sums_offset, slots_offset, left_offset, size;
  int64_t panel_offset, scale_offset, zero_offset, c_offset, slice;
};

constexpr int64_t kSegment = 1024;     // k in a segment (docs/numerics.md)
constexpr int64_t kGemvRows = 16;      // up to here codes are unpacked on the way, past it once for all rows
constexpr int64_t kGemvByteRows = 4;   // likewise where there is nothing to unpack, but more to fetch at a time
constexpr int64_t kFloatGemvRows = 8;  // likewise, where weights become floats
constexpr int64_t kRowChunk = 48;      // rows whose results wait in L1 for their epilogue; a multiple of most tiles
static_assert(kRowChunk % 2 == 0, "both terms of a row of x are in one chunk");
constexpr int64_t kMostGroup = 65536;  // 65536 * 128 * 255 < 2^31: no group's sum wraps

struct Operands {
  int64_t m;
  lowbit_compute compute;
  int64_t act_group_size;  // 0 the weights' own, -1 whole rows
  bool x_quantized;        // 8-bit x
  bool decode_x;           // x is 16-bit floats: a row at a time becomes float32 in the workspace
  bool integer_result;     // lowbit_matmul_int
  bool column_sums;        // needed because x has a zero point
};

// How many threads that are awake are worth using for so many multiplications.
int useful_threads(const Context& context, int64_t work);

lowbit_status make_plan(const Context& context, const Layout& layout, const Operands& operands, Plan* plan,
                        lowbit_error* error);

}  // namespace lowbit
