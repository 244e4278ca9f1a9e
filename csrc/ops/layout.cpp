#include "layout.hpp"

#include <cstring>

#include "../error.hpp"
#include "check.hpp"

namespace lowbit {

static const char kMagic[8] = {'l', 'o', 'w', 'b', 'i', 't', 'P', 'W'};

lowbit_status make_layout(const lowbit_weights_info& info, Layout* l, lowbit_error* error) {
  lowbit_format_info format = {};
  format.struct_size = sizeof format;
  if (const lowbit_status status = lowbit_format_describe(info.format, &format, error)) return status;
  if (format.kind != LOWBIT_KIND_INTEGER) {
    return fail(error, LOWBIT_INVALID_VALUE, "info: format %s cannot be packed, expected integers", format.name);
  }
  if (info.n < 0 || info.k < 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "info: n and k must be at least 0, got n = %lld, k = %lld",
                static_cast<long long>(info.n), static_cast<long long>(info.k));
  }
  if (info.group_size < 0) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "info: group_size must be at least 1, or 0 for one group per row, got %lld",
                static_cast<long long>(info.group_size));
  }
  if (info.scale_type != LOWBIT_NONE && info.scale_type != LOWBIT_FLOAT32 && info.scale_type != LOWBIT_FLOAT16) {
    return fail(error, LOWBIT_INVALID_TYPE, "info: scale_type must be none, float32 or float16, got %d",
                static_cast<int>(info.scale_type));
  }

  l->bits = format.bits;
  l->is_signed = format.qmin < 0;
  l->n = info.n;
  l->k = info.k;
  l->panels = ceil_div(info.n, kPanel);
  const int64_t whole = info.k > 0 ? info.k : 1;
  l->group = info.group_size == 0 || info.group_size >= whole ? whole : info.group_size;
  l->groups = info.k == 0 ? 1 : ceil_div(info.k, l->group);
  l->step = l->bits == 8 ? 8 : l->bits % 2 ? 32 : l->bits % 4 ? 16 : 8;
  // Far below 2^63, so that the products that follow (at most 16 bytes for each padded code) cannot wrap.
  constexpr int64_t kMost = int64_t{1} << 48;
  int64_t codes = 0;
  if (info.k > kMost || info.n > kMost || !multiply(&codes, l->panels * kPanel, info.k + l->groups * l->step) ||
      codes > kMost) {
    return fail(error, LOWBIT_INVALID_VALUE, "info: n x k must be at most 2^48 codes, got %lld x %lld",
                static_cast<long long>(info.n), static_cast<long long>(info.k));
  }
  l->group_k = round_up(l->group, l->step);
  l->last_group_k = round_up(info.k - (l->groups - 1) * l->group, l->step);
  l->padded_k = (l->groups - 1) * l->group_k + l->last_group_k;
  l->has_scale = info.scale_type != LOWBIT_NONE;
  l->scale_half = info.scale_type == LOWBIT_FLOAT16;
  l->has_zero = info.has_zero_point != 0;
  l->zero_bits = l->bits > 4 ? 8 : l->bits > 2 ? 4 : l->bits;

  l->code_stride = l->padded_k * kPanel * l->bits / 8;
  l->scale_stride = l->has_scale ? l->groups * kPanel * (l->scale_half ? 2 : 4) : 0;
  l->zero_stride = l->has_zero ? ceil_div(l->groups * l->zero_bits, 8) * kPanel : 0;
  l->scale_offset = l->code_offset() + round_up(l->panels * l->code_stride, LOWBIT_ALIGNMENT);
  l->zero_offset = l->scale_offset + round_up(l->panels * l->scale_stride, LOWBIT_ALIGNMENT);
  l->size = l->zero_offset + round_up(l->panels * l->zero_stride, LOWBIT_ALIGNMENT);
  return LOWBIT_OK;
}

lowbit_status read_layout(const void* packed, size_t size, lowbit_weights_info* info, Layout* layout,
                          lowbit_error* error) {
  if (!packed) return fail(error, LOWBIT_INVALID_VALUE, "packed: must not be NULL");
  if (!aligned(packed, LOWBIT_ALIGNMENT)) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: must be aligned to %d bytes, got %p", LOWBIT_ALIGNMENT, packed);
  }
  PackedHeader header;
  if (size < sizeof header) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: a buffer of %zu bytes is too short for packed weights", size);
  }
  std::memcpy(&header, packed, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: not packed weights (the buffer does not begin with 'lowbitPW')");
  }
  if (header.layout != kLayoutId || header.version != kLayoutVersion) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: layout %u version %u; this build reads layout %u version %u",
                header.layout, header.version, kLayoutId, kLayoutVersion);
  }
  info->struct_size = sizeof *info;
  info->format = header.format;
  info->n = header.n;
  info->k = header.k;
  info->group_size = header.group_size;
  info->scale_type = static_cast<lowbit_type>(header.scale_type);
  info->has_zero_point = header.has_zero_point;
  if (const lowbit_status status = make_layout(*info, layout, error)) return status;
  if (header.size != uint64_t(layout->size) || size < header.size) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: %zu bytes given, %llu stated and %lld needed for its shape", size,
                static_cast<unsigned long long>(header.size), static_cast<long long>(layout->size));
  }
  return LOWBIT_OK;
}

}  // namespace lowbit
