// float16 <-> float32 for single values; arrays go through Kernels::widen_half.
#pragma once

#include <cstdint>
#include <cstring>

namespace lowbit {

// Nearest even; infinity where the magnitude is 65520 or more.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return uint16_t(sign | 0x7e00);
  if (bits >= 0x47800000) return uint16_t(sign | 0x7c00);  // 65536
  if (bits < 0x38800000) {                                 // below 2^-14: a subnormal, or 0
    std::memcpy(&value, &bits, 4);
    value += 0.5f;  // rounds to a multiple of 2^-24
    std::memcpy(&bits, &value, 4);
    return uint16_t(sign | (bits - 0x3f000000));
  }
  bits += 0xfff + (bits >> 13 & 1);
  return uint16_t(sign | ((bits - (112u << 23)) >> 13));
}

inline float half_to_float(uint16_t half) {
  const uint32_t magnitude = half & 0x7fff;
  float value;
  if (magnitude < 0x0400) {
    value = float(magnitude) * 0x1p-24f;
  } else {
    const uint32_t bits = (magnitude << 13) + (magnitude < 0x7c00 ? 112u << 23 : 224u << 23);
    std::memcpy(&value, &bits, 4);
  }
  return half & 0x8000 ? -value : value;
}

}  // namespace lowbit
