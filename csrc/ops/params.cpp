// lowbit_choose_params.
#include "params.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../error.hpp"
#include "half.hpp"

namespace lowbit {
namespace {

float exact_scale(const Format& format, lowbit_convention convention, float minimum, float maximum) {
  // symmetric conventions mean the signed codes, on unsigned formats too
  const float qmin = -float(1 << (format.bits - 1)), qmax = float((1 << (format.bits - 1)) - 1);
  const float low = std::fabs(minimum), high = std::fabs(maximum);
  switch (convention) {
    case LOWBIT_ABSMAX: return std::max(low, high) / qmax;
    case LOWBIT_FULL: return std::max(low, high) / (qmax + 0.5f);
    case LOWBIT_SIGNED_MAX: return (low > high ? minimum : maximum) / qmin;
    case LOWBIT_NO_CLIP: return std::max(minimum / qmin, maximum / qmax);
    case LOWBIT_ASYMMETRIC: break;
  }
  const float from = std::min(minimum, 0.0f), to = std::max(maximum, 0.0f);
  const float steps = float(format.qmax - format.qmin), span = to - from;
  return std::isinf(span) ? to / steps - from / steps : span / steps;
}

// The scale as its type has it.
float stored_scale(const ParamRule& rule, float minimum, float maximum) {
  float scale = exact_scale(*rule.format, rule.convention, minimum, maximum);
  if (rule.scale_type == LOWBIT_FLOAT16) scale = half_to_float(float_to_half(scale));
  return scale == 0.0f ? 1.0f : scale;
}

int stored_zero(const ParamRule& rule, float minimum, float scale) {
  const Format& f = *rule.format;
  if (rule.convention != LOWBIT_ASYMMETRIC) return f.qmin < 0 ? 0 : 1 << (f.bits - 1);
  const float point = float(f.qmin) - std::min(minimum, 0.0f) / scale;
  // clipped before it is converted: a subnormal scale can make the quotient huge
  return int(std::nearbyint(std::min(std::max(point, float(f.qmin)), float(f.qmax))));
}

}  // namespace

lowbit_status check_scale_type(lowbit_type scale_type, lowbit_error* error) {
  if (scale_type == LOWBIT_FLOAT32 || scale_type == LOWBIT_FLOAT16) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_TYPE, "scale_type: got %d, expected LOWBIT_FLOAT32 (1) or LOWBIT_FLOAT16 (2)",
              static_cast<int>(scale_type));
}

bool ParamRule::choose(float minimum, float maximum, int64_t i, void* scale, void* zero_point) const {
  const float value = stored_scale(*this, minimum, maximum);
  if (scale_type == LOWBIT_FLOAT16) {
    static_cast<uint16_t*>(scale)[i] = float_to_half(value);
  } else {
    static_cast<float*>(scale)[i] = value;
  }
  const bool fits = std::isfinite(value);
  if (zero_point) static_cast<uint8_t*>(zero_point)[i] = fits ? uint8_t(stored_zero(*this, minimum, value)) : 0;
  return fits;
}

int64_t ParamRule::first_misfit(int64_t count, const float* minimum, const float* maximum) const {
  int64_t i = 0;
  while (i < count && std::isfinite(stored_scale(*this, minimum[i], maximum[i]))) ++i;
  return i;
}

lowbit_status make_rule(const Format& format, lowbit_convention convention, lowbit_type scale_type, bool has_zero_point,
                        ParamRule* rule, lowbit_error* error) {
  if (convention < LOWBIT_ASYMMETRIC || convention > LOWBIT_NO_CLIP) {
    return fail(error, LOWBIT_INVALID_VALUE, "convention: got %d, expected a lowbit_convention, 0 to 4",
                static_cast<int>(convention));
  }
  if (format.bits == 1 && (convention == LOWBIT_ABSMAX || convention == LOWBIT_NO_CLIP)) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "convention: got %s for format %s, which has no positive code; expected full, signed_max or asymmetric",
                convention == LOWBIT_ABSMAX ? "absmax" : "no_clip", format.name);
  }
  if (const lowbit_status status = check_scale_type(scale_type, error)) return status;
  if (!has_zero_point && (convention == LOWBIT_ASYMMETRIC || format.qmin == 0)) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "zero_point: got NULL, expected a byte for each parameter (the convention is asymmetric or the format, "
                "%s, unsigned)",
                format.name);
  }
  *rule = {&format, convention, scale_type};
  return LOWBIT_OK;
}

lowbit_status fail_misfit(lowbit_type scale_type, int64_t i, lowbit_error* error) {
  return fail(error, LOWBIT_INVALID_VALUE,
              "scale: that of parameter %lld does not fit scale_type %s, expected data of smaller range%s",
              static_cast<long long>(i), scale_type == LOWBIT_FLOAT16 ? "float16" : "float32",
              scale_type == LOWBIT_FLOAT16 ? " or scale_type float32" : "");
}

}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_choose_params(lowbit_format format, lowbit_convention convention, lowbit_type scale_type,
                                   int64_t count, const float* minimum, const float* maximum, void* scale,
                                   void* zero_point, lowbit_error* error) {
  const Format* found = find_format(format, error);
  if (!found) return LOWBIT_INVALID_VALUE;
  ParamRule rule;
  if (const lowbit_status status =
          make_rule(*found, convention, scale_type, zero_point != nullptr || count == 0, &rule, error)) {
    return status;
  }
  if (count < 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "count: got %lld, expected at least 0", static_cast<long long>(count));
  }
  if (count > 0 && (!minimum || !maximum || !scale)) {
    return fail(error, LOWBIT_INVALID_VALUE, "%s: got NULL, expected count = %lld values",
                !minimum   ? "minimum"
                : !maximum ? "maximum"
                           : "scale",
                static_cast<long long>(count));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(minimum[i]) || !std::isfinite(maximum[i]) || minimum[i] > maximum[i]) {
      return fail(error, LOWBIT_INVALID_VALUE,
                  "minimum, maximum: got %g and %g at %lld, expected finite values, minimum <= maximum",
                  double(minimum[i]), double(maximum[i]), static_cast<long long>(i));
    }
  }
  const int64_t misfit = rule.first_misfit(count, minimum, maximum);
  if (misfit < count) return fail_misfit(scale_type, misfit, error);
  for (int64_t i = 0; i < count; ++i) rule.choose(minimum[i], maximum[i], i, scale, zero_point);
  return ok(error);
}
