// Large results: written through a small buffer, past the caches.
#pragma once

#include <cstdint>

#include "../kernels.hpp"

namespace lowbit {

// From this size on a destination does not stay in the caches, and a plain store would first read what it overwrites.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

// Bytes that pass through the buffer at a time: a share of the first-level cache, and enough lines that the few written
// in part do not count.
constexpr int64_t kStreamChunk = 8192;

inline bool is_streamed(int64_t destination_bytes) { return destination_bytes >= kStreamBytes; }

// Has write(bytes) produce the n bytes for `to`, n <= kStreamChunk where streamed.
template <typename F>
void write_through(const Kernels& kernels, bool streamed, void* to, int64_t n, F write) {
  if (!streamed) return write(static_cast<uint8_t*>(to));
  alignas(64) uint8_t buffer[kStreamChunk];
  write(buffer);
  kernels.stream(to, buffer, n);
}

}  // namespace lowbit
