// lowbit_format_by_name, lowbit_format_describe, lowbit_format_name, lowbit_type_size, lowbit_codes_size.
#include "registry.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "../error.hpp"
#include "../ops/check.hpp"

namespace lowbit {
namespace {

const FormatFamily* const kFamilies[] = {&affine_formats, &float_formats, &table_formats, &microscaling_formats};

// The first format for which want(format) is true, or NULL.
template <typename Want>
const Format* first_format(Want want) {
  for (const FormatFamily* family : kFamilies) {
    for (const Format* format = family->rows; format != family->rows + family->count; ++format) {
      if (want(*format)) return format;
    }
  }
  return nullptr;
}

}  // namespace

float Format::max_value() const {
  switch (coder.kind) {
    case Coder::kInteger: return float(coder.range.qmax);
    case Coder::kFloat: return coder.floats.max_value;
    case Coder::kTable: return coder.values[coder.ranks[15]];
  }
  return 0;
}

const Format* find_format(lowbit_format id, lowbit_error* error) {
  const Format* found = first_format([=](const Format& format) { return format.id == id; });
  if (!found) {
    fail(error, LOWBIT_INVALID_VALUE, "format: got %d, expected a lowbit_format as lowbit_format_by_name gives",
         static_cast<int>(id));
  }
  return found;
}

}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_format_by_name(const char* name, lowbit_format* format, lowbit_error* error) {
  if (!name) return fail(error, LOWBIT_INVALID_VALUE, "name: got NULL, expected the name of a format");
  if (!format) return fail(error, LOWBIT_INVALID_VALUE, "format: got NULL, expected a lowbit_format to fill");
  if (const Format* found = first_format([=](const Format& f) { return std::string_view(f.name) == name; })) {
    *format = found->id;
    return ok(error);
  }
  char known[400] = "";
  size_t used = 0;
  first_format([&](const Format& f) {
    const size_t length = std::strlen(f.name);
    if (used + length + 3 > sizeof known) return true;  // the message would be cut anyway
    if (used > 0) {
      std::memcpy(known + used, ", ", 2);
      used += 2;
    }
    std::memcpy(known + used, f.name, length + 1);
    used += length;
    return false;
  });
  return fail(error, LOWBIT_INVALID_VALUE, "format: expected one of %s; got \"%s\"", known, name);
}

lowbit_status lowbit_format_describe(lowbit_format format, lowbit_format_info* out, lowbit_error* error) {
  size_t size = 0;
  if (const lowbit_status status = struct_size_of(out, "info", &size, error)) return status;
  const Format* found = find_format(format, error);
  if (!found) return LOWBIT_INVALID_VALUE;
  lowbit_format_info info = {};
  info.format = found->id;
  info.name = found->name;
  info.bits = found->bits;
  info.kind = static_cast<lowbit_format_kind>(found->coder.kind);
  info.qmin = found->qmin();
  info.qmax = found->qmax();
  info.max_value = found->max_value();
  info.group_size = found->group_size;
  info.scale_type = found->scale_type;
  info.has_global_scale = found->global_scale;
  info.has_int8 = found->has_int8();
  const bool exact = found->has_int8() && found->coder.kind != Coder::kTable;
  info.default_compute = exact ? LOWBIT_COMPUTE_INT8 : LOWBIT_COMPUTE_FLOAT32;
  write_struct(info, out);
  return ok(error);
}

const char* lowbit_format_name(int index) {
  if (index < 0) return nullptr;
  const Format* found = first_format([&](const Format&) { return index-- == 0; });
  return found ? found->name : nullptr;
}

size_t lowbit_type_size(lowbit_type type) { return size_t(type_bits(type) + 7) / 8; }

lowbit_status lowbit_codes_size(lowbit_format format, int64_t rows, int64_t row_length, size_t* size,
                                lowbit_error* error) {
  if (!size) return fail(error, LOWBIT_INVALID_VALUE, "size: got NULL, expected a size_t to fill");
  const Format* found = find_format(format, error);
  if (!found) return LOWBIT_INVALID_VALUE;
  int64_t elements = 0;
  if (!multiply(&elements, rows, row_length) || std::max({elements, rows, row_length}) > kMostElements) {
    return fail(error, LOWBIT_INVALID_VALUE, "rows, row_length: got %lld and %lld, expected 0 to 2^56 elements",
                static_cast<long long>(rows), static_cast<long long>(row_length));
  }
  *size = size_t(rows * ceil_div(row_length * found->bits, 8));
  return ok(error);
}
