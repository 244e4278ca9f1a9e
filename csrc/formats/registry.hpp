// The number formats. A family of encodings is one file with its rows; registry.cpp lists the families.
#pragma once

#include <cstdint>

#include "../kernels.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

struct Format {
  lowbit_format id;
  const char* name;
  int bits;  // of one code
  Coder coder;
  // What a block format fixes: 0 and LOWBIT_NONE where the caller chooses.
  int64_t group_size;
  lowbit_type scale_type;
  bool global_scale;  // the scales of groups are multiples of one float32
  // Compute int8 multiplies integers as they are, and numbers of 4 bits times so many, rounded; 0: not these codes.
  int int8_steps;

  bool is_integer() const { return coder.kind == Coder::kInteger; }
  bool is_signed() const { return coder.is_signed != 0; }
  bool packed() const { return bits < 8; }             // stored as a stream of bits
  int code_bytes() const { return bits > 8 ? 2 : 1; }  // of an unpacked code
  int qmin() const { return coder.range.qmin; }
  int qmax() const { return coder.range.qmax; }
  bool has_int8() const { return is_integer() || int8_steps != 0; }
  float max_value() const;  // the largest number that a code stands for
};

struct FormatFamily {
  const Format* rows;
  int count;
};

extern const FormatFamily affine_formats;        // affine.cpp
extern const FormatFamily float_formats;         // floats.cpp
extern const FormatFamily table_formats;         // tables.cpp
extern const FormatFamily microscaling_formats;  // microscaling.cpp

// NULL, with error LOWBIT_INVALID_VALUE, where there is none.
const Format* find_format(lowbit_format id, lowbit_error* error);

// float16, bfloat16, float8_e8m0fnu and so on as element types; NULL for types that are no float of at most 16 bits.
const FloatFormat* float_format(lowbit_type type);
int type_bits(lowbit_type type);  // 0 for LOWBIT_NONE and unknown types

}  // namespace lowbit
