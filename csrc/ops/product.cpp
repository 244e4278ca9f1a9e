// x @ W^T in column blocks that fit the cache, rows passing over each.
#include "product.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

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

// Activations with a uint8 code are shifted to int8; their zero point goes along.
int32_t x_zero_of(const Product& p, int64_t row) {
  const int32_t zero = p.x_zero ? p.x_zero[p.x_zero_count == 1 ? 0 : row] : 0;
  return p.x_type == LOWBIT_UINT8 ? int32_t(uint32_t(zero) - 128u) : zero;
}

void prepare_rows(const Product& p) {
  const Kernels& kernels = *p.context.kernels;
  const Plan& plan = p.plan;
  const auto prepare = [&](int64_t row) {
    if (plan.path == Path::kFloat) {
      if (plan.k > 0) {
        std::memcpy(prepared_row(p, row), static_cast<const float*>(p.x) + row * p.ldx, size_t(plan.k) * 4);
      }
      return;
    }
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
    to.a = prepared_row(p, row);
    to.sums = sums_row(p, row);
    if (row == plan.m) {  // the row of ones
      std::memset(to.a, 0, size_t(plan.a_stride));
      int8_t ones[256];
      std::memset(ones, 1, sizeof ones);
      int32_t ignored;
      for (int64_t k = 0; k < plan.k; k += 256) {  // one kernel group, so chunks are as good as the whole
        to.k = std::min<int64_t>(256, plan.k - k);
        to.group = to.group_padded = 256;
        to.sums = &ignored;
        kernels.prepare_codes(reinterpret_cast<const uint8_t*>(ones), 0, to);
        to.a += 256 * kernels.bytes_per_k;
      }
      *sums_row(p, row) = int32_t(uint32_t(plan.k));
    } else if (p.x_type == LOWBIT_FLOAT32) {
      to.act_scale = act_scale_row(p, row);
      kernels.prepare_float(static_cast<const float*>(p.x) + row * p.ldx, to);
    } else {
      kernels.prepare_codes(static_cast<const uint8_t*>(p.x) + row * p.ldx, p.x_type == LOWBIT_UINT8 ? 0x80 : 0, to);
    }
    if (plan.float_zeros) sum_activations(p, row);
  };
  Context context = p.context;
  context.max_threads = plan.max_threads;
  constexpr int64_t kRows = 4;
  const int64_t rows = plan.m + plan.ones;
  parallel_for(context, ceil_div(rows, kRows), [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin * kRows; row < std::min(rows, end * kRows); ++row) prepare(row);
  });
}

// A block of columns, as kernels are told about it.
struct Columns {
  int64_t panel, panels;  // first, how many
  int64_t first, n;       // columns that exist
};

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
  if (!l.format->is_integer() && p.plan.path != Path::kFloat) {
    block.table = p.table;
    block.zero_offset = 128;
  }
  block.group_size = l.group;
  return block;
}

GemmBlock gemm_block(const Product& p, const PanelBlock& b, uint8_t* bytes) {
  const Plan& plan = p.plan;
  GemmBlock g = {};
  g.panels = b.panels;
  g.a_stride = plan.a_stride;
  g.b = b.b;
  g.b_stride = b.b_stride;
  g.bits = b.bits;
  g.table = b.table;
  g.groups = plan.groups;
  g.group_k = plan.group_k;
  g.last_group_k = plan.last_group_k;
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
  g.zero_offset = b.zero_offset;
  g.ldc = b.panels * kPanel;
  if (plan.unpack) {
    const int64_t stride = p.layout.padded_k * kPanel;
    p.context.kernels->unpack_panel(b, bytes, stride);
    g.b = bytes;
    g.b_stride = stride;
    g.bits = 8;
    g.table = nullptr;
    g.zero = nullptr;  // bytes are code - zero + 128
    g.zero_offset = 128;
  }
  return g;
}

void set_rows(const Product& p, int64_t row, int64_t rows, GemmBlock* g) {
  g->rows = rows;
  g->a = prepared_row(p, row);
  g->sums = sums_row(p, row);
  if (p.plan.act_in_sum) {
    g->act_scale = act_scales(p, row);
    g->act_scale_stride = p.plan.act_groups;
  }
}

// Scale of the whole row, multiplied in after the sum.
void finish_float(const Product& p, int64_t row, const Columns& c, const float* sum) {
  FinishRow f = {};
  f.n = c.n;
  f.has_act_scale = p.plan.path != Path::kFloat && !p.plan.act_in_sum;
  if (f.has_act_scale) {
    f.act_scale = p.x_scale ? p.x_scale[p.x_scale_count == 1 ? 0 : row] : *act_scale_row(p, row);
  }
  f.bias = p.bias ? p.bias + c.first : nullptr;
  f.activation = p.activation;
  p.context.kernels->finish_row(sum, f, static_cast<float*>(p.out) + row * p.ldout + c.first);
}

// Path::kCodes: int32 sums, corrected for zero points, are the result or are scaled to it.
void codes_task(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice) {
  const Kernels& kernels = *p.context.kernels;
  const PanelBlock b = panel_block(p, c, slice);
  GemmBlock g = gemm_block(p, b, slice + p.plan.panel_offset);
  const int64_t width = g.panels * kPanel;
  int32_t* const sums = reinterpret_cast<int32_t*>(slice + p.plan.c_offset);
  g.c = sums;

  // Column vectors: what a byte's zero is beyond 128, the sum of (byte - 128), the scale.
  constexpr int kMostColumns = 4 * kPanel;
  int32_t zero[kMostColumns] = {}, column_sum[kMostColumns] = {};
  float scale[kMostColumns] = {};
  bool correct = p.plan.ones;
  if (!p.plan.unpack) {  // unpacking has taken zeros out
    for (int64_t j = 0; j < c.n; ++j) {
      int32_t z = p.layout.code_zero();
      if (p.integer_result) {
        if (p.b_zero) z = int32_t(uint32_t(z) + uint32_t(p.b_zero[p.b_zero_count == 1 ? 0 : c.first + j]));
      } else if (b.zero) {
        z = b.zero[j / kPanel * b.zero_stride + j % kPanel];
      }
      zero[j] = int32_t(uint32_t(z) - 128u);
      correct |= zero[j] != 0;
    }
  }
  if (p.layout.has_scale) {
    for (int64_t panel = 0; panel < g.panels; ++panel) {
      const uint8_t* from = b.scale + panel * b.scale_stride;
      if (b.scale_half) {
        kernels.decode_floats(from, kPanel, *float_format(LOWBIT_FLOAT16), scale + panel * kPanel);
      } else {
        std::memcpy(scale + panel * kPanel, from, kPanel * 4);
      }
    }
  }
  if (p.plan.ones) {
    set_rows(p, p.plan.m, 1, &g);
    kernels.gemm_codes(g);
    std::memcpy(column_sum, sums, size_t(width) * 4);
  }

  for (int64_t first = row_begin; first < row_end; first += kRowChunk) {
    const int64_t rows = std::min(kRowChunk, row_end - first);
    set_rows(p, first, rows, &g);
    kernels.gemm_codes(g);
    for (int64_t r = 0; r < rows; ++r) {
      int32_t* s = sums + r * width;
      if (correct) {
        CorrectRow row = {};
        row.n = c.n;
        row.a_sum = *sums_row(p, first + r);
        row.a_zero = p.x_type == LOWBIT_FLOAT32 ? 0 : x_zero_of(p, first + r);
        row.b_zero = zero;
        row.column_sum = column_sum;
        row.k = p.plan.k;
        kernels.correct_row(s, row);
      }
      if (p.integer_result) {
        std::memcpy(static_cast<int32_t*>(p.out) + (first + r) * p.ldout + c.first, s, size_t(c.n) * 4);
      } else {
        float scaled[kMostColumns];
        kernels.scale_row(s, c.n, scale, scaled);
        finish_float(p, first + r, c, scaled);
      }
    }
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
  GemmBlock g = gemm_block(p, b, slice + p.plan.panel_offset);
  float* const sums = reinterpret_cast<float*>(slice + p.plan.c_offset);
  g.c = sums;
  const auto gemm = p.plan.path == Path::kGemv ? kernels.gemv_groups : kernels.gemm_groups;
  const float* zeros = nullptr;
  if (p.plan.float_zeros) zeros = zero_products(p, c, reinterpret_cast<const float*>(b.scale), slice);
  for (int64_t first = row_begin; first < row_end; first += kRowChunk) {
    const int64_t rows = std::min(kRowChunk, row_end - first);
    set_rows(p, first, rows, &g);
    gemm(g);
    if (zeros) subtract_zeros(p, zeros, c.panels, first, rows, sums);
    for (int64_t r = 0; r < rows; ++r) finish_float(p, first + r, c, sums + r * g.ldc);
  }
}

void float_task(const Product& p, const Columns& c, int64_t row_begin, int64_t row_end, uint8_t* slice) {
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
  g.c = reinterpret_cast<float*>(slice + p.plan.c_offset);
  g.ldc = c.panels * kPanel;
  int64_t k = 0;
  do {  // once where k is 0: the sums are 0 then
    b.k_begin = k;
    b.k_end = std::min(p.plan.k, k + kSegment);
    g.a = reinterpret_cast<const float*>(prepared_row(p, row_begin)) + k;
    g.k = b.k_end - b.k_begin;
    g.first = k == 0;
    if (p.plan.float_gemv) {
      kernels.gemv_float(b, g);
    } else {
      kernels.decode_panel(b, decoded);
      kernels.gemm_float(g);
    }
    k = b.k_end;
  } while (k < p.plan.k);
  for (int64_t r = 0; r < g.rows; ++r) finish_float(p, row_begin + r, c, g.c + r * g.ldc);
}

}  // namespace

void set_table(Product* p) {
  const Format& f = *p->layout.format;
  if (f.is_integer() || !f.has_int8()) return;
  for (int i = 0; i < 64; ++i) {
    p->table[i] = uint8_t(128 + std::lrint(f.coder.values[i % 16] * float(f.int8_steps)));
  }
}

void run(const Product& p) {
  const Plan& plan = p.plan;
  if (plan.m == 0 || plan.n == 0) return;
  prepare_rows(p);
  Context context = p.context;
  context.max_threads = plan.max_threads;
  parallel_for(context, plan.column_blocks * plan.row_blocks, [&](int64_t begin, int64_t end, int thread_id) {
    uint8_t* const slice = p.workspace + plan.thread_offset + thread_id * plan.thread_stride;
    for (int64_t task = begin; task < end; ++task) {
      Columns c;
      c.panel = task / plan.row_blocks * plan.block_panels;
      c.panels = std::min(plan.block_panels, p.layout.panels - c.panel);
      c.first = c.panel * kPanel;
      c.n = std::min(plan.n - c.first, c.panels * kPanel);
      const int64_t row = task % plan.row_blocks * plan.rows_per_task;
      const int64_t row_end = std::min(plan.m, row + plan.rows_per_task);
      switch (plan.path) {
        case Path::kCodes: codes_task(p, c, row, row_end, slice); break;
        case Path::kFloat: float_task(p, c, row, row_end, slice); break;
        default: groups_task(p, c, row, row_end, slice); break;
      }
    }
  });
}

}  // namespace lowbit
