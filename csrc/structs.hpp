// The argument structs of lowbit.h, whose callers may have been compiled against an older header than this library.
//
// Between compatible versions fields are only appended, behind the padding that a struct ended with, and 0 in a new one
// means what was done before it. So an older, shorter struct is read as if it ended in zeros. A longer one is refused:
// what it asks for is not here.
#pragma once

#include <cstddef>
#include <cstring>

#include "error.hpp"

namespace lowbit {

// The name of a struct, and its size in the first header of this major version.
template <typename T>
struct StructHistory;

#define LOWBIT_STRUCT(type, last_field_at_first)                                                           \
  template <>                                                                                              \
  struct StructHistory<type> {                                                                             \
    static constexpr const char* name = #type;                                                             \
    static constexpr size_t end = offsetof(type, last_field_at_first) + sizeof(type::last_field_at_first); \
    static constexpr size_t first_size = (end + alignof(type) - 1) / alignof(type) * alignof(type);        \
  }
LOWBIT_STRUCT(lowbit_options, max_threads);
LOWBIT_STRUCT(lowbit_format_info, has_global_scale);
LOWBIT_STRUCT(lowbit_choose_args, zero_point);
LOWBIT_STRUCT(lowbit_quantize_args, codes);
LOWBIT_STRUCT(lowbit_dequantize_args, out);
LOWBIT_STRUCT(lowbit_cast_args, seed);
LOWBIT_STRUCT(lowbit_fake_quantize_args, out);
LOWBIT_STRUCT(lowbit_fake_quantize_gradient_args, grad_zero_point);
LOWBIT_STRUCT(lowbit_search_args, zero_point);
LOWBIT_STRUCT(lowbit_hqq_args, zero_point);
LOWBIT_STRUCT(lowbit_weights_info, transposed);
LOWBIT_STRUCT(lowbit_matmul_args, workspace_size);
LOWBIT_STRUCT(lowbit_matmul_int_args, workspace_size);
#undef LOWBIT_STRUCT

// The size of a caller's struct, which `argument` points to, or a failure where no header of this version has had it.
template <typename T>
lowbit_status struct_size_of(const T* given, const char* argument, size_t* size, lowbit_error* error) {
  using History = StructHistory<T>;
  if (!given) return fail(error, LOWBIT_INVALID_VALUE, "%s: got NULL, expected a %s", argument, History::name);
  std::memcpy(size, given, sizeof *size);  // the first field of each
  if (*size >= History::first_size && *size <= sizeof(T) && *size % alignof(T) == 0) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "%s.struct_size: got %zu, expected sizeof(%s) = %zu%s", argument, *size,
              History::name, sizeof(T),
              *size > sizeof(T) ? " (a program needs a library that is not older than its header)" : "");
}

// What a caller's struct says, in this library's size.
template <typename T>
lowbit_status read_struct(const T* given, const char* argument, T* value, lowbit_error* error) {
  size_t size = 0;
  if (const lowbit_status status = struct_size_of(given, argument, &size, error)) return status;
  *value = T{};
  std::memcpy(value, given, size);
  value->struct_size = sizeof(T);
  return LOWBIT_OK;
}

// Hands a struct over, as much of it as the caller has; `out` has passed struct_size_of.
template <typename T>
void write_struct(T value, T* out) {
  std::memcpy(&value.struct_size, out, sizeof value.struct_size);
  std::memcpy(out, &value, value.struct_size);
}

}  // namespace lowbit
