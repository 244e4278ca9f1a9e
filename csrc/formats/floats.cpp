// Floats of 4, 6, 8 and 16 bits, with a scale: x = float(code) * scale.
#include "floats.hpp"

#include "registry.hpp"

namespace lowbit {
namespace {

constexpr Format row(lowbit_format id, const char* name, const FloatFormat& floats) {
  Format f = {};
  f.id = id;
  f.name = name;
  f.bits = floats.bits;
  f.coder = float_coder(floats);
  f.int8_steps = floats.bits == 4 ? 2 : 0;  // E2M1: halves
  return f;
}

constexpr Format kRows[] = {
    row(LOWBIT_FORMAT_FLOAT16, "float16", kFloat16),
    row(LOWBIT_FORMAT_BFLOAT16, "bfloat16", kBfloat16),
    row(LOWBIT_FORMAT_E4M3FN, "float8_e4m3fn", kE4m3fn),
    row(LOWBIT_FORMAT_E5M2, "float8_e5m2", kE5m2),
    row(LOWBIT_FORMAT_E4M3FNUZ, "float8_e4m3fnuz", kE4m3fnuz),
    row(LOWBIT_FORMAT_E5M2FNUZ, "float8_e5m2fnuz", kE5m2fnuz),
    row(LOWBIT_FORMAT_E4M3, "float8_e4m3", kE4m3),
    row(LOWBIT_FORMAT_E3M4, "float8_e3m4", kE3m4),
    row(LOWBIT_FORMAT_E4M3B11FNUZ, "float8_e4m3b11fnuz", kE4m3b11fnuz),
    row(LOWBIT_FORMAT_E2M3FN, "float6_e2m3fn", kE2m3fn),
    row(LOWBIT_FORMAT_E3M2FN, "float6_e3m2fn", kE3m2fn),
    row(LOWBIT_FORMAT_E2M1FN, "float4_e2m1fn", kE2m1fn),
};

}  // namespace

const FormatFamily float_formats = {kRows, sizeof kRows / sizeof *kRows};

const FloatFormat* float_format(lowbit_type type) {
  switch (type) {
    case LOWBIT_FLOAT16: return &kFloat16;
    case LOWBIT_BFLOAT16: return &kBfloat16;
    case LOWBIT_FLOAT8_E4M3FN: return &kE4m3fn;
    case LOWBIT_FLOAT8_E5M2: return &kE5m2;
    case LOWBIT_FLOAT8_E4M3FNUZ: return &kE4m3fnuz;
    case LOWBIT_FLOAT8_E5M2FNUZ: return &kE5m2fnuz;
    case LOWBIT_FLOAT8_E4M3: return &kE4m3;
    case LOWBIT_FLOAT8_E3M4: return &kE3m4;
    case LOWBIT_FLOAT8_E4M3B11FNUZ: return &kE4m3b11fnuz;
    case LOWBIT_FLOAT8_E8M0FNU: return &kE8m0;
    case LOWBIT_FLOAT6_E2M3FN: return &kE2m3fn;
    case LOWBIT_FLOAT6_E3M2FN: return &kE3m2fn;
    case LOWBIT_FLOAT4_E2M1FN: return &kE2m1fn;
    default: return nullptr;
  }
}

int type_bits(lowbit_type type) {
  if (type == LOWBIT_FLOAT32) return 32;
  if (type == LOWBIT_INT8 || type == LOWBIT_UINT8) return 8;
  const FloatFormat* format = float_format(type);
  return format ? format->bits : 0;
}

}  // namespace lowbit
