// x @ W^T in column blocks that fit the cache, rows passing over each; all tasks of all products in one loop.
#include "product.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>

#include "../formats/registry.hpp"
#include "../parallel.hpp"
#include "check.hpp"

namespace lowbit {
namespace {

uint8_t* prepared_row(const Product& p, int64_t row) { return p.workspace + p.plan.a_offset + row * p.plan.a_stride; }
int32_t* sums_row(const Product& p, int64_t row) {
  return reinterpret_cast<int32_t*>(p.workspace + p.plan.sums_offset) + row * p.plan.groups;
}
float* act_scale_row(const Product& p, int64_t row) {
  return reinterpret_cast<float*>(p.workspace + p.plan.act_scale_offset) + row * p.plan.act_groups;
}

float* zero_sums_row(const Product& p, int64_t row) {
  return reinterpret_cast<float*>(p.workspace + p.plan.zero_sums_offset) + row * p.plan.groups;
}
// of the kernel groups of a row whose scales are inside the sum
const float* act_scales(const Product& p, int64_t row) {
  return p.x_scale ? p.x_scale + row * p.plan.act_groups : act_scale_row(p, row);
}

// What float zero points are multiplied by: the sum of each kernel group's activations.
void sum_activations(const Product& p, int64_t row) {
  const int32_t* sums = sums_row(p, row);
  float* to = zero_sums_row(p, row);
  const float* scale = p.plan.act_in_sum ? act_scales(p, row) : nullptr;
  for (int64_t g = 0; g < p.plan.groups; ++g) {
    to[g] = scale ? float(sums[g]) * scale[g / p.plan.act_ratio] : float(sums[g]);
  }
}

// Turns the sums of a row's activations into what its sums of products start at, where every column of a group starts
// alike: a multiplication less for each row and group in the tiles, of whose 120 instructions that issue where products
// do it is 6 (6 x 32 columns, groups of 32).
void start_sums(const Product& p, int64_t row) {
  const Layout& l = p.layout;
  if (p.plan.path != Path::kGroups && p.plan.path != Path::kGemv) return;
  if (l.whole_zeros() && !p.plan.unpack) return;
  const int32_t byte_bias = p.context.kernels->byte_bias;
  int32_t left = l.code_zero();  // packed codes
  if (p.plan.unpack) {
    left = p.plan.small ? kSmallBias : byte_bias;
  } else if (!l.format->is_integer()) {
    left = byte_bias;
  } else if (l.bits == 8) {
    left += byte_bias - 128;
  }
  int32_t* const sums = sums_row(p, row);
  for (int64_t g = 0; g < p.plan.groups; ++g) sums[g] *= -left;
}

// A row of float x as float32: itself, or decoded to `buffer`.
const float* float_row(const Product& p, int64_t row, void* buffer) {
  const FloatFormat* const half = float_format(p.x_type);
  if (!half) return static_cast<const float*>(p.x) + row * p.ldx;
  float* const x = static_cast<float*>(buffer);
  p.context.kernels->decode_floats(static_cast<const uint16_t*>(p.x) + row * p.ldx, p.plan.k, *half, x);
  return x;
}

// Activations with a uint8 code are shifted to int8; their zero point goes along.
int32_t x_zero_of(const Product& p, int64_t row) {
  const int32_t zero = p.x_zero ? p.x_zero[p.x_zero_count == 1 ? 0 : row] : 0;
  return p.x_type == LOWBIT_UINT8 ? int32_t(uint32_t(zero) - 128u) : zero;
}

int64_t prepare_tasks(const Product& p) {
  return p.plan.tasks() > 0 ? ceil_div(p.plan.m + p.plan.ones, p.plan.prepare_rows) : 0;
}

void prepare_task(const Product& p, int64_t task, uint8_t* slice) {
  const Kernels& kernels = *p.context.kernels;
  const Plan& plan = p.plan;
  // x_row: counted in x; behind them the row of ones
  const auto prepare = [&](int64_t x_row) {
    if (plan.path == Path::kFloat) {
      uint8_t* const to = prepared_row(p, x_row);
      if (plan.k == 0) return;
      const float* const x = float_row(p, x_row, to);
      if (!float_format(p.x_type)) std::memcpy(to, x, size_t(plan.k) * 4);
      return;
    }
    const int64_t row = x_row * plan.terms;
    if (plan.k == 0) {
      std::memset(sums_row(p, row), 0, size_t(plan.groups) * 4);
      return;
    }
    PrepareRow to = {};
    to.k = plan.k;
    to.group = plan.group;
    to.group_padded = plan.group_k;
    to.step = p.layout.step;
    to.act_group = plan.act_group;
    to.bytes_per_k = plan.bytes_per_k;
    to.a = prepared_row(p, row);
    to.sums = sums_row(p, row);
    if (x_row == plan.m) {  // the row of ones
      std::memset(to.a, 0, size_t(plan.a_stride));
      int8_t ones[256];
      std::memset(ones, 1, sizeof ones);
      int32_t ignored;
      for (int64_t k = 0; k < plan.k; k += 256) {  // one kernel group, so chunks are as good as the whole
        to.k = std::min<int64_t>(256, plan.k - k);
        to.group = to.group_padded = 256;
        to.sums = &ignored;
        kernels.prepare_codes(reinterpret_cast<const uint8_t*>(ones), 0, to);
        to.a += 256 * plan.bytes_per_k;
      }
      *sums_row(p, row) = int32_t(uint32_t(plan.k));
    } else if (p.x_type != LOWBIT_INT8 && p.x_type != LOWBIT_UINT8) {
      const float* const x = float_row(p, x_row, slice);
      for (to.term = 0; to.term < plan.terms; ++to.term) {
        to.a = prepared_row(p, row + to.term);
        to.sums = sums_row(p, row + to.term);
        to.act_scale = act_scale_row(p, row + to.term);
        kernels.prepare_float(x, to);
      }
    } else {
      kernels.prepare_codes(static_cast<const uint8_t*>(p.x) + row * p.ldx, p.x_type == LOWBIT_UINT8 ? 0x80 : 0, to);
    }
    for (int term = 0; term < plan.terms; ++term) {
      if (plan.float_zeros) sum_activations(p, row + term);
      start_sums(p, row + term);
    }
  };
  const int64_t first = task * plan.prepare_rows, end = std::min(plan.m + plan.ones, first + plan.prepare_rows);
  for (int64_t row = first; row < end; ++row) prepare(row);
}

// A block of columns and segments of K, as kernels are told about it.
struct Columns {
  int64_t panel, panels;      // first, how many
  int64_t first, n;           // columns that exist
  int64_t segment, segments;  // first, how many
};

// k in front of a segment, padded as codes are.
int64_t padded_begin(const Product& p, int64_t segment) {
  return segment < p.plan.segments ? segment * p.plan.segment_k : p.layout.padded_k;
}
int64_t padded_length(const Product& p, const Columns& c) {
  return padded_begin(p, c.segment + c.segments) - padded_begin(p, c.segment);
}
// Kernel groups in front of a segment.
int64_t groups_begin(const Product& p, int64_t segment) {
  return p.plan.path == Path::kCodes ? 0 : std::min(p.plan.groups, segment * p.plan.segment_groups);
}

// A column block's scales as float32, panels x groups x kPanel.
const float* decode_scales(const Product& p, const Columns& c, uint8_t* slice) {
  const Layout& l = p.layout;
  float* const scale = reinterpret_cast<float*>(slice + p.plan.scale_offset);
  read_scales(*p.context.kernels, p.plan.scale_type, p.packed + l.scale_offset + c.panel * l.scale_stride, 0,
              c.panels * l.groups * kPanel, scale);
  return scale;
}

// `count` zero points that are floats, from `first` on.
void read_zeros(const Product& p, const uint8_t* zeros, int64_t first, int64_t count, float* out) {
  read_scales(*p.context.kernels, ScaleType{p.layout.zero_type, 1.0f}, zeros, first, count, out);
}

// Those of a column block, panels x groups x kPanel.
const float* decode_zeros(const Product& p, const Columns& c, uint8_t* slice) {
  const Layout& l = p.layout;
  float* const zero = reinterpret_cast<float*>(slice + p.plan.zero_offset);
  read_zeros(p, p.packed + l.zero_offset + c.panel * l.zero_stride, 0, c.panels * l.groups * kPanel, zero);
  return zero;
}

// Moves a block of all k to those of c's segments; Plan has seen to it that they can be had alone.
void show_segments(const Product& p, const Columns& c, PanelBlock* b) {
  const Layout& l = p.layout;
  const int64_t ratio = std::max<int64_t>(p.plan.scale_ratio, 1);
  const int64_t first = groups_begin(p, c.segment) / ratio;
  const int64_t end = std::max(first + 1, ceil_div(groups_begin(p, c.segment + c.segments), ratio));
  b->b += padded_begin(p, c.segment) * kPanel * l.bits / 8;
  b->groups = end - first;
  b->last_group_k = padded_length(p, c) - (b->groups - 1) * l.group_k;
  const int64_t scale_bytes = p.plan.decode_scales ? 4 : l.has_scale ? l.scale_type.bytes() : 0;
  b->scale += first * kPanel * scale_bytes;
  if (b->zero) b->zero += first * l.zero_bits / 8 * kPanel;
}

// slice: the thread's workspace.
PanelBlock panel_block(const Product& p, const Columns& c, uint8_t* slice) {
  const Layout& l = p.layout;
  PanelBlock block = {};
  block.panels = c.panels;
  block.b = p.packed + l.code_offset() + c.panel * l.code_stride;
  block.b_stride = l.code_stride;
  block.bits = l.bits;
  block.groups = l.groups;
  block.group_k = l.group_k;
  block.last_group_k = l.last_group_k;
  if (p.plan.decode_scales) {
    block.scale = reinterpret_cast<const uint8_t*>(decode_scales(p, c, slice));
    block.scale_stride = l.groups * kPanel * 4;
  } else {
    block.scale = p.packed + l.scale_offset + c.panel * l.scale_stride;
    block.scale_stride = l.scale_stride;
    block.scale_half = l.scale_type.type == LOWBIT_FLOAT16;
  }
  block.zero = l.whole_zeros() ? p.packed + l.zero_offset + c.panel * l.zero_stride : nullptr;
  block.zero_stride = l.zero_stride;
  block.zero_bits = l.zero_bits;
  block.zero_offset = l.code_zero();
  block.bias = p.plan.small ? kSmallBias : 128;
  if (!l.format->is_integer() && p.plan.path != Path::kFloat) {
    block.table = p.table;
    block.zero_offset = 128;
  }
  block.group_size = l.group;
  if (p.plan.parts > 1 && p.plan.path != Path::kFloat) show_segments(p, c, &block);  // decode_panel takes k as it is
  return block;
}

GemmBlock gemm_block(const Product& p, const Columns& c, const PanelBlock& b, uint8_t* bytes) {
  const Plan& plan = p.plan;
  GemmBlock g = {};
  g.panels = b.panels;
  g.a_stride = plan.a_stride;
  g.b = b.b;
  g.b_stride = b.b_stride;
  g.bits = b.bits;
  g.small = p.plan.small;
  g.table = b.table;
  g.groups = plan.groups;
  g.group_k = plan.group_k;
  g.last_group_k = plan.last_group_k;
  if (plan.parts > 1) {
    g.groups = plan.path == Path::kCodes ? 1 : groups_begin(p, c.segment + c.segments) - groups_begin(p, c.segment);
    g.last_group_k = padded_length(p, c) - (g.groups - 1) * g.group_k;
  }
  g.segment_groups = plan.segment_groups;
  g.sums_stride = plan.groups;
  g.act_ratio = plan.act_ratio;
  g.scale = b.scale;
  g.scale_stride = b.scale_stride;
  g.scale_half = b.scale_half;
  g.scale_ratio = plan.scale_ratio;
  g.zero = b.zero;
  g.zero_stride = b.zero_stride;
  g.zero_bits = b.zero_bits;
  g.ldc = b.panels * kPanel;
  if (plan.unpack) {
    const int64_t stride = padded_length(p, c) * kPanel;
    p.context.kernels->unpack_panel(b, bytes, stride);
    g.b = bytes;
    g.b_stride = stride;
    g.bits = 8;
    g.table = nullptr;
    g.zero = nullptr;  // bytes are code - zero + bias
  }
  return g;
}

void set_rows(const Product& p, const Columns& c, int64_t row, int64_t rows, GemmBlock* g) {
  static const int32_t kNoSum = 0;
  const int64_t group = groups_begin(p, c.segment);
  g->rows = rows;
  g->a = prepared_row(p, row) + padded_begin(p, c.segment) * p.plan.bytes_per_k;
  g->sums = sums_row(p, row) + group;
  // integers of a part: the first takes off what codes are biased by
  if (p.plan.path == Path::kCodes && c.segment > 0) {
    g->sums = &kNoSum;
    g->sums_stride = 0;
  }
  if (p.plan.act_in_sum) {
    g->act_scale = act_scales(p, row) + group / p.plan.act_ratio;
    g->act_scale_stride = p.plan.act_groups;
  }
}

// For rows from `first` on. scale: of integer sums, or null.
Epilogue epilogue_of(const Product& p, const Columns& c, int64_t first, const float* scale) {
  Epilogue e = {};
  e.scale = scale;
  if (p.plan.path != Path::kFloat && !p.plan.act_in_sum) {
    const bool one = p.x_scale && p.x_scale_count == 1;
    e.act_scale = one ? p.x_scale : act_scales(p, first);
    e.act_scale_stride = one ? 0 : 1;
  }
  e.bias = p.bias ? p.bias + c.first : nullptr;
  return e;
}

// Whether products write results themselves. Sums that finish() reads again take 3 % of 512 x 4096 x 4096 and 6 % of
// 128 x 384 x 1536.
bool is_direct(const Product& p, const Columns& c) {
  if (c.n != c.panels * kPanel) return false;
  if (p.integer_result) return !p.accumulate;
  return p.out_type == LOWBIT_FLOAT32 && p.activation == LOWBIT_IDENTITY && !p.residual && p.plan.terms == 1 &&
         !p.plan.float_zeros;
}

// Has a product write to rows of the result from `first` on. scale: of integer sums, or null; epilogue: what g points
// to.
void write_directly(const Product& p, const Columns& c, int64_t first, const float* scale, Epilogue* epilogue,
                    GemmBlock* g) {
  g->c = static_cast<uint8_t*>(p.out) + (first * p.ldout + c.first) * 4;
  g->ldc = p.ldout;
  if (p.integer_result) return;
  *epilogue = epilogue_of(p, c, first, scale);
  g->epilogue = scale || epilogue->act_scale || epilogue->bias ? epilogue : nullptr;
}

// From the sums of `rows` prepared rows from `first` on, `ld` apart, to rows of the result. scale: of integer sums.
// What is no float32 passes through the stack, a piece at a time.
void finish(const Product& p, int64_t first, int64_t rows, const Columns& c, const void* sums, int64_t ld,
            const float* scale) {
  const Kernels& kernels = *p.context.kernels;
  const int64_t x_row = first / p.plan.terms;
  const FloatFormat* const half_residual = float_format(p.residual_type);
  FinishRows f = {};
  f.rows = rows / p.plan.terms;
  f.n = c.n;
  f.terms = p.plan.terms;
  f.sums = sums;
  f.ldsums = ld;
  f.epilogue = epilogue_of(p, c, first, scale);
  f.activation = p.activation;
  f.ldresidual = p.ldresidual;
  f.ldout = p.ldout;
  const int64_t from = x_row * p.ldresidual + c.first, to = x_row * p.ldout + c.first;
  if (p.out_type == LOWBIT_FLOAT32 && !half_residual) {
    f.residual = p.residual ? static_cast<const float*>(p.residual) + from : nullptr;
    f.out = static_cast<float*>(p.out) + to;
    return kernels.finish_rows(f);
  }
  constexpr int64_t kPiece = 4 * kPanel;
  float residual[kPiece], result[kPiece];
  for (int64_t r = 0; r < rows / p.plan.terms; ++r) {
    FinishRows piece = f;
    piece.rows = 1;
    if (f.epilogue.act_scale) piece.epilogue.act_scale += r * f.terms * f.epilogue.act_scale_stride;
    for (int64_t j = 0; j < c.n; j += kPiece) {
      const int64_t added = from + r * p.ldresidual + j, at = to + r * p.ldout + j;
      piece.n = std::min(kPiece, c.n - j);
      piece.sums = static_cast<const char*>(sums) + (r * f.terms * ld + j) * 4;
      if (scale) piece.epilogue.scale = scale + j;
      if (p.bias) piece.epilogue.bias = f.epilogue.bias + j;
      if (half_residual) {
        kernels.decode_floats(static_cast<const uint16_t*>(p.residual) + added, piece.n, *half_residual, residual);
        piece.residual = residual;
      } else if (p.residual) {
        piece.residual = static_cast<const float*>(p.residual) + added;
      }
      piece.out = p.out_type == LOWBIT_FLOAT32 ? static_cast<float*>(p.out) + at : result;
      kernels.finish_rows(piece);
      if (p.out_type == LOWBIT_FLOAT32) continue;
      if (const FloatFormat* const half = float_format(p.out_type)) {
        const Rounding nearest = {Rounding::kNearest, 0, 0, 0};
        kernels.encode_floats(result, piece.n, *half, nearest, static_cast<uint16_t*>(p.out) + at);
      } else {
        kernels.quantize_runs(result, piece.n, piece.n, &p.out_scale, &p.out_zero, 0, p.out_format->coder,
                              static_cast<uint8_t*>(p.out) + at);
      }
    }
  }
}

// Path::kCodes: what turns a block's int32 sums into results.
struct CodesColumns {
  static constexpr int kMost = 4 * kPanel;
  int32_t zero[kMost], column_sum[kMost];  // what a byte's zero is beyond 128, the sum of (byte - 128)
  float scale[kMost];
  bool correct;
};

void read_columns(const Product& p, const Columns& c, const PanelBlock& b, CodesColumns* to) {
  const Kernels& kernels = *p.context.kernels;
  const int32_t code_zero = p.plan.unpack ? 128 : p.layout.code_zero();  // unpacking has taken zeros out
  const bool each = !p.plan.unpack && (p.integer_result ? p.b_zero != nullptr : b.zero != nullptr);
  to->correct = p.plan.ones || each || code_zero != 128;
  if (to->correct) std::memset(to->column_sum, 0, sizeof to->column_sum);
  for (int64_t j = 0; to->correct && j < c.n; ++j) {
    int32_t z = code_zero;
    if (each && p.integer_result) {
      z = int32_t(uint32_t(z) + uint32_t(p.b_zero[p.b_zero_count == 1 ? 0 : c.first + j]));
    } else if (each) {
      z = b.zero[j / kPanel * b.zero_stride + j % kPanel];
    }
    to->zero[j] = int32_t(uint32_t(z) - 128u);
  }
  if (p.layout.has_scale) {
    for (int64_t panel = 0; panel < c.panels; ++panel) {
      const uint8_t* from = b.scale + panel * b.scale_stride;
      if (b.scale_half) {
        kernels.decode_floats(from, kPanel, *float_format(LOWBIT_FLOAT16), to->scale + panel * kPanel);
      } else {
        std::memcpy(to->scale + panel * kPanel, from, kPanel * 4);
      }
    }
  }
}

// Sums of `rows` rows from `first` on are corrected for zero points, and are the result or are scaled to it.
void finish_codes(const Product& p, const Columns& c, const CodesColumns& columns, int64_t first, int64_t rows,
                  int32_t* sums) {
  const int64_t width = c.panels * kPanel;
  for (int64_t r = 0; columns.correct && r < rows; ++r) {
    CorrectRow row = {};
    row.n = c.n;
    row.a_sum = *sums_row(p, first + r);
    row.a_zero = x_zero_of(p, first + r);
    row.b_zero = columns.zero;
    row.column_sum = columns.column_sum;
    row.k = p.plan.k;
    p.context.kernels->correct_row(sums + r * width, row);
  }
  if (!p.integer_result) return finish(p, first, rows, c, sums, width, columns.scale);
  for (int64_t r = 0; r < rows; ++r) {
    int32_t* const s = sums + r * width;
    int32_t* const out = static_cast<int32_t*>(p.out) + (first + r) * p.ldout + c.first;
    for (int64_t j = 0; p.accumulate && j < c.n; ++j) s[j] = int32_t(uint32_t(s[j]) + uint32_t(out[j]));
    std::memcpy(out, s, size_t(c.n) * 4);
  }
}

void codes_task(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice) {
  const Kernels& kernels = *p.context.kernels;
  const PanelBlock b = panel_block(p, c, slice);
  GemmBlock g = gemm_block(p, c, b, slice + p.plan.panel_offset);
  int32_t* const sums = reinterpret_cast<int32_t*>(slice + p.plan.c_offset);
  g.c = sums;
  CodesColumns columns;
  read_columns(p, c, b, &columns);
  if (p.plan.ones) {
    set_rows(p, c, p.plan.rows, 1, &g);
    kernels.gemm_codes(g);
    std::memcpy(columns.column_sum, sums, size_t(c.panels * kPanel) * 4);
  }
  const bool direct = is_direct(p, c) && !columns.correct;
  Epilogue epilogue;
  for (int64_t first = row_begin; first < row_end; first += kRowChunk) {
    const int64_t rows = std::min(kRowChunk, row_end - first);
    set_rows(p, c, first, rows, &g);
    if (direct) write_directly(p, c, first, columns.scale, &epilogue, &g);
    kernels.gemm_codes(g);
    if (!direct) finish_codes(p, c, columns, first, rows, sums);
  }
}

// Minus zero times scale, for each kernel group and column, as gemm_float reads it.
const float* zero_products(const Product& p, const Columns& c, const float* scale, uint8_t* slice) {
  const Layout& l = p.layout;
  const int64_t width = c.panels * kPanel, ratio = p.plan.scale_ratio;
  float* const out = reinterpret_cast<float*>(slice + p.plan.zero_offset);
  constexpr int64_t kGroups = 64;  // at a time: 4 KB
  float zero[kGroups * kPanel];
  for (int64_t panel = 0; panel < c.panels; ++panel) {
    const uint8_t* zeros = p.packed + l.zero_offset + (c.panel + panel) * l.zero_stride;
    for (int64_t group = 0; group < l.groups; ++group, scale += kPanel) {
      if (group % kGroups == 0)
        read_zeros(p, zeros, group * kPanel, std::min(kGroups, l.groups - group) * kPanel, zero);
      const float* const z = zero + group % kGroups * kPanel;
      for (int64_t g = group * ratio; g < std::min(p.plan.groups, (group + 1) * ratio); ++g) {
        float* const to = out + g * width + panel * kPanel;
        for (int i = 0; i < kPanel; ++i) to[i] = -(z[i] * scale[i]);
      }
    }
  }
  return out;
}

// Adds the segments that subtract float zero points to the sums of `rows` rows from `first` on.
void subtract_zeros(const Product& p, const float* zeros, int64_t panels, int64_t first, int64_t rows, float* sums) {
  FloatBlock f = {};
  f.rows = rows;
  f.panels = panels;
  f.a_stride = p.plan.groups;
  f.c = sums;
  f.ldc = panels * kPanel;
  for (int64_t g = 0; g < p.plan.groups; g += kSegment) {
    f.k = std::min(kSegment, p.plan.groups - g);
    f.a = zero_sums_row(p, first) + g;
    f.b = zeros + g * f.ldc;
    p.context.kernels->gemm_float(f);
  }
}

void groups_task(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice) {
  const Kernels& kernels = *p.context.kernels;
  const PanelBlock b = panel_block(p, c, slice);
  GemmBlock g = gemm_block(p, c, b, slice + p.plan.panel_offset);
  float* const sums = reinterpret_cast<float*>(slice + p.plan.c_offset);
  g.c = sums;
  const auto gemm = p.plan.path == Path::kGemv ? kernels.gemv_groups : kernels.gemm_groups;
  const float* zeros = nullptr;
  if (p.plan.float_zeros) zeros = zero_products(p, c, reinterpret_cast<const float*>(b.scale), slice);
  const bool direct = is_direct(p, c);
  Epilogue epilogue;
  for (int64_t first = row_begin; first < row_end; first += kRowChunk) {
    const int64_t rows = std::min(kRowChunk, row_end - first);
    set_rows(p, c, first, rows, &g);
    if (direct) write_directly(p, c, first, nullptr, &epilogue, &g);
    gemm(g);
    if (direct) continue;
    if (zeros) subtract_zeros(p, zeros, c.panels, first, rows, sums);
    finish(p, first, rows, c, sums, g.ldc, nullptr);
  }
}

// The sums of c's segments: added up, or `apart` elements from each other.
void float_sums(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice, float* sums,
                int64_t apart) {
  const Kernels& kernels = *p.context.kernels;
  PanelBlock b = panel_block(p, c, slice);
  b.coder = &p.layout.format->coder;
  if (p.plan.float_zeros) b.float_zero = decode_zeros(p, c, slice);
  float* const decoded = reinterpret_cast<float*>(slice + p.plan.panel_offset);
  FloatBlock g = {};
  g.rows = row_end - row_begin;
  g.panels = c.panels;
  g.a_stride = p.plan.a_stride / 4;
  g.b = decoded;
  g.c = sums;
  g.ldc = c.panels * kPanel;
  for (int64_t i = 0; i < c.segments; ++i, g.c += apart) {
    b.k_begin = (c.segment + i) * kSegment;
    b.k_end = std::min(p.plan.k, b.k_begin + kSegment);
    g.a = reinterpret_cast<const float*>(prepared_row(p, row_begin)) + b.k_begin;
    g.k = b.k_end - b.k_begin;
    g.first = i == 0 || apart > 0;
    if (p.plan.float_gemv) {
      kernels.gemv_float(b, g);
    } else {
      kernels.decode_panel(b, decoded);
      kernels.gemm_float(g);
    }
  }
}

void float_task(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice) {
  float* const sums = reinterpret_cast<float*>(slice + p.plan.c_offset);
  float_sums(p, c, row_begin, row_end, slice, sums, 0);
  finish(p, row_begin, row_end - row_begin, c, sums, c.panels * kPanel, nullptr);
}

// ---- parts of K ---------------------------------------------------------------------------------------------------

// Writes the sums of c's segments to their slots.
void part_sums(const Product& p, Columns c, int64_t row_begin, int64_t row_end, uint8_t* slice, uint8_t* slots) {
  const Kernels& kernels = *p.context.kernels;
  const Plan& plan = p.plan;
  const int64_t rows = row_end - row_begin;
  if (plan.path == Path::kFloat) {
    float* const sums = reinterpret_cast<float*>(slots + c.segment * plan.slot_stride);
    return float_sums(p, c, row_begin, row_end, slice, sums, plan.slot_stride / 4);
  }
  const auto gemm = plan.path == Path::kCodes  ? kernels.gemm_codes
                    : plan.path == Path::kGemv ? kernels.gemv_groups
                                               : kernels.gemm_groups;
  const int64_t end = c.segment + c.segments;
  if (plan.path != Path::kCodes) c.segments = 1;
  for (; c.segment < end; c.segment += c.segments) {
    GemmBlock g = gemm_block(p, c, panel_block(p, c, slice), slice + plan.panel_offset);
    const int64_t slot = plan.path == Path::kCodes ? c.segment / plan.part_segments : c.segment;
    g.c = slots + slot * plan.slot_stride;
    set_rows(p, c, row_begin, rows, &g);
    gemm(g);
    if (plan.ones) {
      g.c = static_cast<int32_t*>(g.c) + rows * g.ldc;
      set_rows(p, c, plan.rows, 1, &g);
      gemm(g);
    }
  }
}

// Adds the slots of a block to the first, in order, and finishes its rows.
void add_parts(const Product& p, Columns c, int64_t row_begin, int64_t row_end, uint8_t* slice, uint8_t* slots) {
  const Plan& plan = p.plan;
  const int64_t rows = row_end - row_begin, width = c.panels * kPanel;
  c.segment = 0;
  c.segments = plan.segments;
  if (plan.path == Path::kCodes) {
    int32_t* const sums = reinterpret_cast<int32_t*>(slots);
    for (int64_t slot = 1; slot < plan.slots; ++slot) {
      const int32_t* const from = reinterpret_cast<const int32_t*>(slots + slot * plan.slot_stride);
      for (int64_t i = 0; i < (rows + plan.ones) * width; ++i) sums[i] = int32_t(uint32_t(sums[i]) + uint32_t(from[i]));
    }
    CodesColumns columns;
    read_columns(p, c, panel_block(p, c, slice), &columns);
    if (plan.ones) std::memcpy(columns.column_sum, sums + rows * width, size_t(width) * 4);
    return finish_codes(p, c, columns, row_begin, rows, sums);
  }
  float* const sums = reinterpret_cast<float*>(slots);
  for (int64_t slot = 1; slot < plan.slots; ++slot) {
    const float* const from = reinterpret_cast<const float*>(slots + slot * plan.slot_stride);
    for (int64_t i = 0; i < rows * width; ++i) sums[i] += from[i];
  }
  if (plan.float_zeros && plan.path != Path::kFloat) {
    const float* const zeros = zero_products(p, c, decode_scales(p, c, slice), slice);
    subtract_zeros(p, zeros, c.panels, row_begin, rows, sums);
  }
  finish(p, row_begin, rows, c, sums, width, nullptr);
}

using Left = std::atomic<int32_t>;
Left* tasks_left(const Product& p) { return reinterpret_cast<Left*>(p.workspace + p.plan.left_offset); }

void product_task(const Product& p, int64_t task, uint8_t* slice) {
  const Plan& plan = p.plan;
  const int64_t block = task / plan.parts;
  Columns c;
  c.panel = block / plan.row_blocks * plan.block_panels;
  c.panels = std::min(plan.block_panels, p.layout.panels - c.panel);
  c.first = c.panel * kPanel;
  c.n = std::min(plan.n - c.first, c.panels * kPanel);
  c.segment = 0;
  c.segments = plan.segments;
  const int64_t row = block % plan.row_blocks * plan.rows_per_task;
  const int64_t row_end = std::min(plan.rows, row + plan.rows_per_task);
  if (plan.parts > 1) {
    uint8_t* const slots = p.workspace + plan.slots_offset + block * plan.slots * plan.slot_stride;
    c.segment = task % plan.parts * plan.part_segments;
    c.segments = std::min(plan.part_segments, plan.segments - c.segment);
    part_sums(p, c, row, row_end, slice, slots);
    if (tasks_left(p)[block].fetch_sub(1, std::memory_order_acq_rel) == 1) add_parts(p, c, row, row_end, slice, slots);
    return;
  }
  switch (plan.path) {
    case Path::kCodes: return codes_task(p, c, row, row_end, slice);
    case Path::kFloat: return float_task(p, c, row, row_end, slice);
    default: return groups_task(p, c, row, row_end, slice);
  }
}

// Calls fn(product, index within it) for tasks [begin, end) of all products; `first`: where each product's begin.
template <class Fn>
void each_task(const Group& group, int64_t Product::* first, int64_t begin, int64_t end, Fn fn) {
  const Product* const products_end = group.products + group.count;
  const auto before = [first](int64_t task, const Product& p) { return task < p.*first; };
  const Product* p = std::upper_bound<const Product*>(group.products, products_end, begin, before) - 1;
  for (; begin < end; ++begin) {
    while (p + 1 < products_end && p[1].*first <= begin) ++p;
    fn(*p, begin - p->*first);
  }
}

}  // namespace

void set_table(Product* p) {
  const Format& f = *p->layout.format;
  if (f.is_integer() || !f.has_int8()) return;
  for (int i = 0; i < 64; ++i) {
    p->table[i] = uint8_t(128 + std::lrint(f.coder.values[i % 16] * float(f.int8_steps)));
  }
}

void run(const Group& group) {
  int64_t preparing = 0, tasks = 0;
  for (Product* p = group.products; p < group.products + group.count; ++p) {
    p->first_prepare = preparing;
    p->first_task = tasks;
    // no results: a file may say n = 2^45 for K = 0, which is as many bytes as its header
    if (p->plan.m == 0 || p->plan.n == 0) continue;
    preparing += prepare_tasks(*p);
    tasks += p->plan.tasks();
    if (p->plan.parts == 1) continue;
    for (int64_t block = 0; block < p->plan.blocks(); ++block)
      new (tasks_left(*p) + block) Left(int32_t(p->plan.parts));
  }
  parallel_for(group.context, preparing, [&](int64_t begin, int64_t end, int thread_id) {
    uint8_t* const slice = group.slices + thread_id * group.slice;
    each_task(group, &Product::first_prepare, begin, end,
              [slice](const Product& p, int64_t task) { prepare_task(p, task, slice); });
  });
  parallel_for(group.context, tasks, [&](int64_t begin, int64_t end, int thread_id) {
    uint8_t* const slice = group.slices + thread_id * group.slice;
    each_task(group, &Product::first_task, begin, end,
              [slice](const Product& p, int64_t task) { product_task(p, task, slice); });
  });
}

}  // namespace lowbit
