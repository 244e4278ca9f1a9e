// Scale and zero point from ranges (docs/numerics.md, "Ranges and parameters").
#pragma once

#include <cstdint>

#include "../context.hpp"
#include "../formats/registry.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

// How scales are stored and what they are multiples of.
struct ScaleType {
  lowbit_type type;
  float global_scale;  // 1 where there is none

  int64_t bytes() const { return type_bits(type) / 8; }
};

// Fails unless the type is one for scales and global_scale (0: none) is finite and positive.
lowbit_status make_scale_type(lowbit_type type, float global_scale, ScaleType* out, lowbit_error* error);

// `count` scales from `first` on as float32, global scale included.
void read_scales(const Kernels& kernels, const ScaleType& type, const void* scale, int64_t first, int64_t count,
                 float* out);

// Fails where format, convention and type of scale do not go together, or where a zero point is needed and
// has_zero_point is false.
lowbit_status make_rule(const Format& format, lowbit_convention convention, const ScaleType& scale_type,
                        bool has_zero_point, ParamRule* rule, lowbit_error* error);

// The first of `count` scales that is not finite, or count.
int64_t first_misfit(const float* scale, int64_t count);

lowbit_status fail_misfit(const ScaleType& scale_type, int64_t i, lowbit_error* error);

}  // namespace lowbit
