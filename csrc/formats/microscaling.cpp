// Floats in blocks with a scale each: OCP microscaling (MX) 1.0, and NVFP4.
#include "floats.hpp"
#include "registry.hpp"

namespace lowbit {
namespace {

constexpr Format row(lowbit_format id, const char* name, const FloatFormat& floats, int64_t group_size,
                     lowbit_type scale_type) {
  Format f = {};
  f.id = id;
  f.name = name;
  f.bits = floats.bits;
  f.coder = float_coder(floats);
  f.int8_steps = floats.bits == 4 ? 2 : 0;  // E2M1: halves
  f.group_size = group_size;
  f.scale_type = scale_type;
  return f;
}

constexpr Format with_global_scale(Format f) {
  f.global_scale = true;
  return f;
}

constexpr Format kRows[] = {
    row(LOWBIT_FORMAT_MXFP8_E4M3, "mxfp8_e4m3", kE4m3fn, 32, LOWBIT_FLOAT8_E8M0FNU),
    row(LOWBIT_FORMAT_MXFP8_E5M2, "mxfp8_e5m2", kE5m2, 32, LOWBIT_FLOAT8_E8M0FNU),
    row(LOWBIT_FORMAT_MXFP6_E2M3, "mxfp6_e2m3", kE2m3fn, 32, LOWBIT_FLOAT8_E8M0FNU),
    row(LOWBIT_FORMAT_MXFP6_E3M2, "mxfp6_e3m2", kE3m2fn, 32, LOWBIT_FLOAT8_E8M0FNU),
    row(LOWBIT_FORMAT_MXFP4, "mxfp4", kE2m1fn, 32, LOWBIT_FLOAT8_E8M0FNU),
    with_global_scale(row(LOWBIT_FORMAT_NVFP4, "nvfp4", kE2m1fn, 16, LOWBIT_FLOAT8_E4M3FN)),
};

}  // namespace

const FormatFamily microscaling_formats = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace lowbit
