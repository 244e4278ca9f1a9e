// Scale and zero point from ranges (docs/numerics.md, "Ranges and parameters").
#pragma once

#include <cstdint>

#include "../formats/registry.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

inline int64_t scale_bytes(lowbit_type scale_type) { return scale_type == LOWBIT_FLOAT16 ? 2 : 4; }

lowbit_status check_scale_type(lowbit_type scale_type, lowbit_error* error);

struct ParamRule {
  const Format* format;
  lowbit_convention convention;
  lowbit_type scale_type;

  // False where the scale does not fit scale_type. scale, zero_point: where element 0 stands; zero_point may be NULL.
  bool choose(float minimum, float maximum, int64_t i, void* scale, void* zero_point) const;
  // The first of `count` ranges whose scale does not fit, or count; writes nothing.
  int64_t first_misfit(int64_t count, const float* minimum, const float* maximum) const;
};

// Fails where format and convention do not go together, or where a zero point is needed and has_zero_point is false.
lowbit_status make_rule(const Format& format, lowbit_convention convention, lowbit_type scale_type, bool has_zero_point,
                        ParamRule* rule, lowbit_error* error);

lowbit_status fail_misfit(lowbit_type scale_type, int64_t i, lowbit_error* error);

}  // namespace lowbit
