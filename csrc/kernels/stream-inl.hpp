// A copy that leaves no trace in the caches: large results are not read again before they are evicted.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernels.hpp"

#include "../isa/begin.hpp"

void stream(void* to, const void* from, int64_t n) {
  constexpr int64_t kLine = 64, kVector = 4 * Vec::kLanes;
  uint8_t* out = static_cast<uint8_t*>(to);
  const uint8_t* in = static_cast<const uint8_t*>(from);
  // Lines that are not written whole go the plain way: past the caches they would be merged in memory.
  const int64_t head = int64_t(-reinterpret_cast<uintptr_t>(out) % kLine);
  if (head < n) {
    __builtin_memcpy(out, in, size_t(head));
    out += head, in += head, n -= head;
    for (; n >= kLine; n -= kLine, out += kLine, in += kLine) {
      for (int64_t i = 0; i < kLine; i += kVector) Vec::stream(out + i, Vec::iload(in + i));
    }
  }
  if (n > 0) __builtin_memcpy(out, in, size_t(n));
  Vec::fence();
}

#include "../isa/end.hpp"
