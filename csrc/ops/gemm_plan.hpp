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
  bool float_zeros;      // zero points that are floats: a small product of their own subtracts them
  ScaleType scale_type;  // of the weights, times what the integers have been multiplied by
  bool decode_scales;    // a column block's scales become float32 first: kernels read float32 and float16 as they are
  int64_t m, n, k;

  // kernel groups: the smaller of the weights' groups and the activations'
  int64_t groups, group, group_k, last_group_k, segment_groups, scale_ratio;
  // activation scales: in groups inside the sum, or one for each row after it
  bool act_in_sum;
  int64_t act_group, act_groups, act_ratio;

  // tasks: column blocks x row blocks
  int64_t block_panels, column_blocks, rows_per_task, row_blocks;
  int max_threads;

  // workspace, in bytes from its start: shared, then a slice for each thread
  int64_t a_stride, a_offset, sums_offset, act_scale_offset, zero_sums_offset, thread_offset;
  int64_t panel_offset, scale_offset, zero_offset, c_offset, thread_stride;  // within a thread's slice
  int64_t size;
};

constexpr int64_t kSegment = 1024;     // k in a segment (docs/numerics.md)
constexpr int64_t kGemvRows = 16;      // up to here codes are unpacked on the way, past it once for all rows
constexpr int64_t kFloatGemvRows = 8;  // likewise, where weights become floats
constexpr int64_t kRowChunk = 48;      // rows whose results wait in L1 for their epilogue; a multiple of most tiles
constexpr int64_t kMostGroup = 65536;  // 65536 * 128 * 255 < 2^31: no group's sum wraps

struct Operands {
  int64_t m;
  lowbit_compute compute;
  int64_t act_group_size;  // 0 the weights' own, -1 whole rows
  bool x_quantized;        // 8-bit x
  bool integer_result;     // lowbit_matmul_int
  bool column_sums;        // needed because x has a zero point
};

lowbit_status make_plan(const Context& context, const Layout& layout, const Operands& operands, Plan* plan,
                        lowbit_error* error);

}  // namespace lowbit
