// Large results go past the caches: a plain store first reads the line that it overwrites, which costs 4-bit unpacking
// a third of its speed (31 GB/s instead of 44, 2 threads, Zen 5).
//
// Kernels write where they are told, so ops has them write to a small buffer, which the stream kernel empties.
// Measured: a fence for every KB halves the speed; so do lines that are written in part between others, and inputs read
// in pieces of 2 KB and more, if the pieces end in the first 64 of 256 bytes (numpy's large arrays begin 16 bytes into
// a page).
#pragma once

#include <cstdint>
#include <cstring>

#include "../kernels.hpp"

namespace lowbit {

// The size of a result from which on it is streamed: it would not stay in the caches.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

// Writes the bytes of one task, in order.
class Writer {
 public:
  static constexpr int64_t kMost =
      8192;  // bytes that one write() may add when streamed: a share of the first-level cache

  Writer(const Kernels& kernels, bool streamed, void* to) : kernels_(kernels), to_(static_cast<uint8_t*>(to)) {
    streamed_ = streamed;
    begin_ = end_ = streamed ? int64_t(reinterpret_cast<uintptr_t>(to) % kLine) : 0;
    to_ -= begin_;
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (!streamed_) return;
    std::memcpy(to_ + begin_, buffer_ + begin_, size_t(end_ - begin_));
    kernels_.stream_fence();
  }

  // produce(p) puts the next n bytes at p.
  template <typename F>
  void write(int64_t n, F produce) {
    if (!streamed_) {
      produce(to_);
      to_ += n;
      return;
    }
    produce(buffer_ + end_);
    end_ += n;
    if (end_ >= kLine) empty();
  }

 private:
  static constexpr int64_t kLine = 64;

  void empty() {
    int64_t done = 0;
    if (begin_ > 0) {  // another task has a part of the first line
      std::memcpy(to_ + begin_, buffer_ + begin_, size_t(kLine - begin_));
      begin_ = 0;
      done = kLine;
    }
    kernels_.stream(to_ + done, buffer_ + done, (end_ - done) / kLine);
    done = end_ / kLine * kLine;
    to_ += done;
    end_ -= done;
    std::memcpy(buffer_, buffer_ + done, kLine);
  }

  const Kernels& kernels_;
  bool streamed_;
  uint8_t* to_;          // streamed: the line that buffer_ begins with; else the next byte
  int64_t begin_, end_;  // what of the buffer is to be written
  alignas(kLine) uint8_t buffer_[kLine + kMost + kLine];
};

}  // namespace lowbit
