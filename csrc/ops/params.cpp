// lowbit_choose_params.
#include "params.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../error.hpp"
#include "check.hpp"

namespace lowbit {
namespace {

const char* name_of(lowbit_type type) {
  switch (type) {
    case LOWBIT_FLOAT16: return "float16";
    case LOWBIT_BFLOAT16: return "bfloat16";
    case LOWBIT_FLOAT8_E8M0FNU: return "float8_e8m0fnu";
    case LOWBIT_FLOAT8_E4M3FN: return "float8_e4m3fn";
    default: return "float32";
  }
}

const char* name_of(lowbit_convention convention) {
  switch (convention) {
    case LOWBIT_ABSMAX: return "absmax";
    case LOWBIT_FULL: return "full";
    case LOWBIT_SIGNED_MAX: return "signed_max";
    case LOWBIT_NO_CLIP: return "no_clip";
    case LOWBIT_ASYMMETRIC: break;
  }
  return "asymmetric";
}

}  // namespace

lowbit_status make_scale_type(lowbit_type type, float global_scale, ScaleType* out, lowbit_error* error) {
  switch (type) {
    case LOWBIT_FLOAT32:
    case LOWBIT_FLOAT16:
    case LOWBIT_BFLOAT16:
    case LOWBIT_FLOAT8_E8M0FNU:
    case LOWBIT_FLOAT8_E4M3FN: break;
    default:
      return fail(error, LOWBIT_INVALID_TYPE,
                  "scale_type: got %d, expected LOWBIT_FLOAT32 (1), LOWBIT_FLOAT16 (2), LOWBIT_BFLOAT16 (5), "
                  "LOWBIT_FLOAT8_E8M0FNU (13) or LOWBIT_FLOAT8_E4M3FN (6)",
                  static_cast<int>(type));
  }
  if (!std::isfinite(global_scale) || global_scale < 0) {
    return fail(error, LOWBIT_INVALID_VALUE, "global_scale: got %g, expected a finite value above 0, or 0 for none",
                double(global_scale));
  }
  *out = {type, global_scale == 0 ? 1.0f : global_scale};
  return LOWBIT_OK;
}

void read_scales(const Kernels& kernels, const ScaleType& type, const void* scale, int64_t first, int64_t count,
                 float* out) {
  if (type.type == LOWBIT_FLOAT32) {
    std::memcpy(out, static_cast<const float*>(scale) + first, size_t(count) * sizeof(float));
  } else {
    const FloatFormat& format = *float_format(type.type);
    kernels.decode_floats(static_cast<const uint8_t*>(scale) + first * type.bytes(), count, format, out);
  }
  if (type.global_scale != 1.0f) {
    for (int64_t i = 0; i < count; ++i) out[i] *= type.global_scale;
  }
}

lowbit_status check_convention(lowbit_convention convention, lowbit_error* error) {
  if (convention >= LOWBIT_ASYMMETRIC && convention <= LOWBIT_NO_CLIP) return LOWBIT_OK;
  return fail(error, LOWBIT_INVALID_VALUE, "convention: got %d, expected a lowbit_convention, 0 to 4",
              static_cast<int>(convention));
}

lowbit_status make_rule(const Format& format, lowbit_convention convention, const ScaleType& scale_type,
                        bool has_zero_point, ParamRule* rule, lowbit_error* error) {
  if (const lowbit_status status = check_convention(convention, error)) return status;
  if (!format.is_integer() && convention != LOWBIT_ABSMAX) {
    return fail(error, LOWBIT_INVALID_VALUE, "convention: got %s for format %s, expected absmax", name_of(convention),
                format.name);
  }
  if (format.bits == 1 && (convention == LOWBIT_ABSMAX || convention == LOWBIT_NO_CLIP)) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "convention: got %s for format %s, which has no positive code; expected full, signed_max or asymmetric",
                name_of(convention), format.name);
  }
  const bool power = scale_type.type == LOWBIT_FLOAT8_E8M0FNU;
  if (power && convention == LOWBIT_SIGNED_MAX) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "convention: got signed_max with scale_type float8_e8m0fnu, which has no negative scales; expected "
                "another convention");
  }
  if (!has_zero_point && format.is_integer() && (convention == LOWBIT_ASYMMETRIC || !format.is_signed())) {
    return fail(error, LOWBIT_INVALID_VALUE,
                "zero_point: got NULL, expected a byte for each parameter (the convention is asymmetric or the format, "
                "%s, unsigned)",
                format.name);
  }

  ParamRule r = {};
  // symmetric conventions mean the signed codes, on unsigned formats too
  const bool asymmetric = convention == LOWBIT_ASYMMETRIC;
  const int middle = format.is_integer() && !format.is_signed() && !asymmetric ? 1 << (format.bits - 1) : 0;
  r.qmin = float(format.qmin() - middle);
  r.qmax = format.is_integer() ? float(format.qmax() - middle) : format.max_value();
  r.zero = float(middle);
  switch (convention) {
    case LOWBIT_FULL: r.qmax += 0.5f; [[fallthrough]];
    case LOWBIT_ABSMAX: r.convention = ParamRule::kMagnitude; break;
    case LOWBIT_SIGNED_MAX: r.convention = ParamRule::kSigned; break;
    case LOWBIT_NO_CLIP: r.convention = ParamRule::kNoClip; break;
    case LOWBIT_ASYMMETRIC: r.convention = ParamRule::kAsymmetric; break;
  }
  r.global_scale = scale_type.global_scale;
  if (const FloatFormat* floats = float_format(scale_type.type)) {
    r.rounded = 1;
    r.scale_format = *floats;
    r.rounding.mode = Rounding::kNearest;
  }
  if (power) {
    // Integers: up, so that nothing is clipped. Floats: as OCP has it, 2^(floor(log2 absmax) - floor(log2 max)).
    r.rounding.mode = format.is_integer() ? Rounding::kUp : Rounding::kDown;
    if (!format.is_integer()) r.qmax = std::ldexp(1.0f, std::ilogb(r.qmax));
  }
  *rule = r;
  return LOWBIT_OK;
}

int64_t first_misfit(const float* scale, int64_t count) {
  int64_t i = 0;
  while (i < count && std::isfinite(scale[i])) ++i;
  return i;
}

lowbit_status fail_misfit(const ScaleType& scale_type, int64_t i, lowbit_error* error) {
  return fail(error, LOWBIT_INVALID_VALUE,
              "scale: that of parameter %lld does not fit scale_type %s, expected data of smaller range%s",
              static_cast<long long>(i), name_of(scale_type.type),
              scale_type.type == LOWBIT_FLOAT32 ? "" : " or scale_type float32");
}

}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_choose_params(const lowbit_context* opaque, const lowbit_choose_args* given, lowbit_error* error) {
  lowbit_choose_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  const Format* format = find_format(args.format, error);
  if (!format) return LOWBIT_INVALID_VALUE;
  ScaleType scale_type;
  if (const lowbit_status status = make_scale_type(args.scale_type, args.global_scale, &scale_type, error)) {
    return status;
  }
  const int64_t count = args.count;
  ParamRule rule;
  if (const lowbit_status status =
          make_rule(*format, args.convention, scale_type, args.zero_point != nullptr || count == 0, &rule, error)) {
    return status;
  }
  if (count < 0 || count > kMostElements) {
    return fail(error, LOWBIT_INVALID_VALUE, "count: got %lld, expected 0 to 2^56", static_cast<long long>(count));
  }
  if (count == 0) return ok(error);
  const float *minimum = args.minimum, *maximum = args.maximum;
  if (const lowbit_status status = check_array(minimum, "minimum", sizeof *minimum, error)) return status;
  if (const lowbit_status status = check_array(maximum, "maximum", sizeof *maximum, error)) return status;
  if (const lowbit_status status = check_array(args.scale, "scale", scale_type.bytes(), error)) return status;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(minimum[i]) || !std::isfinite(maximum[i]) || minimum[i] > maximum[i]) {
      return fail(error, LOWBIT_INVALID_VALUE,
                  "minimum, maximum: got %g and %g at %lld, expected finite values, minimum <= maximum",
                  double(minimum[i]), double(maximum[i]), static_cast<long long>(i));
    }
  }
  // twice: nothing is written if any scale does not fit
  constexpr int64_t kBlock = 256;
  float codes[kBlock], scale[kBlock], zero[kBlock];
  for (const bool write : {false, true}) {
    for (int64_t i = 0; i < count; i += kBlock) {
      const int64_t n = std::min(kBlock, count - i);
      context.kernels->choose_params(minimum + i, maximum + i, n, rule, codes, scale, zero);
      if (const int64_t misfit = first_misfit(scale, n); misfit < n) return fail_misfit(scale_type, i + misfit, error);
      if (!write) continue;
      std::memcpy(static_cast<uint8_t*>(args.scale) + i * scale_type.bytes(), codes, size_t(n * scale_type.bytes()));
      if (!args.zero_point) continue;
      uint8_t* to = static_cast<uint8_t*>(args.zero_point) + i;
      for (int64_t j = 0; j < n; ++j) to[j] = uint8_t(int(zero[j]));
    }
  }
  return ok(error);
}
