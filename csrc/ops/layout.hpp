// The packed form of weights: one layout for every ISA (docs/architecture.md, the kernel-layout table).
#pragma once

#include <cstddef>
#include <cstdint>

#include "../formats/registry.hpp"
#include "../kernels.hpp"
#include "lowbit/lowbit.h"
#include "params.hpp"

namespace lowbit {

constexpr uint32_t kLayoutId = 1;       // panels of 16 columns x dwords of 4 k, bit planes
constexpr uint32_t kLayoutVersion = 2;  // of that layout; another one is refused

// First bytes of a packed buffer.
struct PackedHeader {
  char magic[8];  // "lowbitPW"
  uint32_t layout, version;
  int32_t format, scale_type, zero_type;
  float global_scale;  // 0: none
  int64_t n, k, group_size;
  uint64_t size;  // of the whole buffer
  uint64_t reserved[8];
};
static_assert(sizeof(PackedHeader) == 2 * LOWBIT_ALIGNMENT, "sections behind the header start aligned");

// Where things are. Sections: header, codes, scales, zero points; each starts at a multiple of LOWBIT_ALIGNMENT.
struct Layout {
  const Format* format;
  int bits;
  int64_t n, k;
  int64_t panels;
  int64_t groups, group;                           // of scales; group is k where there is one for each row
  int64_t step;                                    // k that the code planes take at once
  int64_t group_k, last_group_k;                   // padded to steps
  int64_t padded_k;                                // all groups
  int64_t code_stride, scale_stride, zero_stride;  // bytes from panel to panel
  int64_t scale_offset, zero_offset;
  int64_t size;
  bool has_scale;
  ScaleType scale_type;   // where has_scale
  lowbit_type zero_type;  // LOWBIT_NONE: no zero points
  int zero_bits;          // of a stored zero point

  bool empty() const { return size == code_offset(); }  // nothing behind the header, though n may be 2^45 if k is 0
  bool has_zero() const { return zero_type != LOWBIT_NONE; }
  bool whole_zeros() const { return zero_type == LOWBIT_INT8 || zero_type == LOWBIT_UINT8; }
  bool float_zeros() const { return has_zero() && !whole_zeros(); }
  // what a stored code has more than its value
  int32_t code_zero() const { return format->is_signed() ? 1 << (bits - 1) : 0; }
  static constexpr int64_t code_offset() { return int64_t(sizeof(PackedHeader)); }
};

// Fails on what no weights can be: sizes below 0, products past int64, unknown formats or types.
lowbit_status make_layout(const lowbit_weights_info& info, Layout* layout, lowbit_error* error);

// Checks a packed buffer's header and finds its layout.
lowbit_status read_layout(const void* packed, size_t size, lowbit_weights_info* info, Layout* layout,
                          lowbit_error* error);

}  // namespace lowbit
