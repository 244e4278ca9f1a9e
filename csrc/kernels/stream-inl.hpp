// A copy past the caches, for results that no cache holds anyway.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"

#include "../isa/begin.hpp"

void stream(void* to, const void* from, int64_t lines) {
  constexpr int64_t kLine = 64, kVector = 4 * Vec::kLanes;
  uint8_t* out = static_cast<uint8_t*>(to);
  const uint8_t* in = static_cast<const uint8_t*>(from);
  for (int64_t i = 0; i < kLine * lines; i += kVector) Vec::stream(out + i, Vec::iload(in + i));
}

void stream_fence() { Vec::fence(); }

#include "../isa/end.hpp"
