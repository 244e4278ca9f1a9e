#include "layout.hpp"

#include <algorithm>
#include <cstring>

#include "../error.hpp"
#include "check.hpp"

namespace lowbit {

static const char kMagic[8] = {'l', 'o', 'w', 'b', 'i', 't', 'P', 'W'};

namespace {

lowbit_status check_zero_type(const Format& format, lowbit_type type, lowbit_error* error) {
  if (type == LOWBIT_NONE) return LOWBIT_OK;
  if (!format.is_integer()) {
    return fail(error, LOWBIT_INVALID_VALUE, "info.zero_type: got %d for format %s, expected LOWBIT_NONE (0)",
                static_cast<int>(type), format.name);
  }
  const lowbit_type byte = format.is_signed() ? LOWBIT_INT8 : LOWBIT_UINT8;
  if (type == byte || type == LOWBIT_FLOAT32 || type == LOWBIT_FLOAT16 || type == LOWBIT_BFLOAT16) return LOWBIT_OK;
  return fail(
      error, LOWBIT_INVALID_TYPE,
      "info.zero_type: got %d for format %s, expected LOWBIT_NONE (0), %s, LOWBIT_FLOAT32 (1), LOWBIT_FLOAT16 (2) "
      "or LOWBIT_BFLOAT16 (5)",
      static_cast<int>(type), format.name, format.is_signed() ? "LOWBIT_INT8 (3)" : "LOWBIT_UINT8 (4)");
}

}  // namespace

lowbit_status make_layout(const lowbit_weights_info& info, Layout* l, lowbit_error* error) {
  l->format = find_format(info.format, error);
  if (!l->format) return LOWBIT_INVALID_VALUE;
  if (info.n < 0 || info.k < 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "info: n and k must be at least 0, got n = %lld, k = %lld",
                static_cast<long long>(info.n), static_cast<long long>(info.k));
  }
  if (info.group_size < 0) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "info: group_size must be at least 1, or 0 for one group per row, got %lld",
                static_cast<long long>(info.group_size));
  }
  l->has_scale = info.scale_type != LOWBIT_NONE;
  if (l->has_scale) {
    if (const auto status = make_scale_type(info.scale_type, info.global_scale, &l->scale_type, error)) return status;
  } else if (info.global_scale != 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "info.global_scale: got %g without scales, expected 0",
                double(info.global_scale));
  }
  if (const lowbit_status status = check_zero_type(*l->format, info.zero_type, error)) return status;
  l->zero_type = info.zero_type;

  l->bits = l->format->bits;
  l->n = info.n;
  l->k = info.k;
  l->panels = ceil_div(info.n, kPanel);
  const int64_t whole = info.k > 0 ? info.k : 1;
  l->group = info.group_size == 0 || info.group_size >= whole ? whole : info.group_size;
  l->groups = info.k == 0 ? 1 : ceil_div(info.k, l->group);
  l->step = l->bits % 8 == 0 ? 8 : l->bits % 2 ? 32 : l->bits % 4 ? 16 : 8;
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
  l->zero_bits = l->float_zeros() ? type_bits(l->zero_type) : l->bits > 4 ? 8 : l->bits > 2 ? 4 : l->bits;

  l->code_stride = l->padded_k * kPanel * l->bits / 8;
  l->scale_stride = l->has_scale ? l->groups * kPanel * l->scale_type.bytes() : 0;
  l->zero_stride = l->has_zero() ? ceil_div(l->groups * l->zero_bits, 8) * kPanel : 0;
  l->scale_offset = l->code_offset() + round_up(l->panels * l->code_stride, LOWBIT_ALIGNMENT);
  l->zero_offset = l->scale_offset + round_up(l->panels * l->scale_stride, LOWBIT_ALIGNMENT);
  l->size = l->zero_offset + round_up(l->panels * l->zero_stride, LOWBIT_ALIGNMENT);
  return LOWBIT_OK;
}

lowbit_status read_layout(const void* packed, size_t size, lowbit_weights_info* info, Layout* layout,
                          lowbit_error* error) {
  if (const lowbit_status status = check_array(packed, "packed", LOWBIT_ALIGNMENT, error)) return status;
  // what every version begins with, first: an older one is named even where it is shorter
  PackedHeader header = {};
  std::memcpy(&header, packed, std::min(size, sizeof header));
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: not packed weights (the buffer does not begin with 'lowbitPW')");
  }
  if (header.layout != kLayoutId || header.version != kLayoutVersion) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: layout %u version %u; this build reads layout %u version %u",
                header.layout, header.version, kLayoutId, kLayoutVersion);
  }
  if (size < sizeof header) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: a buffer of %zu bytes is too short for packed weights", size);
  }
  // an extension that has to be understood may use them
  for (const uint64_t word : header.reserved) {
    if (word != 0) {
      return fail(error, LOWBIT_INVALID_VALUE, "packed: a header with %016llx where layout %u version %u has 0",
                  static_cast<unsigned long long>(word), kLayoutId, kLayoutVersion);
    }
  }
  info->struct_size = sizeof *info;
  info->format = header.format;
  info->n = header.n;
  info->k = header.k;
  info->group_size = header.group_size;
  info->scale_type = static_cast<lowbit_type>(header.scale_type);
  info->global_scale = header.global_scale;
  info->zero_type = static_cast<lowbit_type>(header.zero_type);
  info->transposed = 0;
  lowbit_error why = {};
  if (const lowbit_status status = make_layout(*info, layout, &why)) {
    return fail(error, status, "packed: a header that describes no weights: %s", why.message);
  }
  if (header.size != uint64_t(layout->size) || size < header.size) {
    return fail(error, LOWBIT_INVALID_VALUE, "packed: %zu bytes given, %llu stated and %lld needed for its shape", size,
                static_cast<unsigned long long>(header.size), static_cast<long long>(layout->size));
  }
  return LOWBIT_OK;
}

}  // namespace lowbit
