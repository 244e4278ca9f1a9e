// What the tests of the pool share.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "pool.hpp"

namespace test {

// Pool::run of anything callable.
template <typename F>
void run(int64_t n, int max_threads, F f) {
  lowbit::Pool::run(
      nullptr, n, max_threads,
      [](void* arg, int64_t begin, int64_t end, int thread_id) { (*static_cast<F*>(arg))(begin, end, thread_id); }, &f);
}

// True where every item is run once, by threads whose ids are in range and never in use twice at a time.
// The items are plain memory: a thread sanitizer sees a missing synchronisation with the caller.
inline bool covers(int64_t n, int max_threads) {
  std::vector<int> items(static_cast<size_t>(n));
  std::vector<std::atomic<int>> in_use(static_cast<size_t>(max_threads));
  std::atomic<bool> good{true};
  run(n, max_threads, [&](int64_t begin, int64_t end, int thread_id) {
    if (begin < 0 || begin >= end || end > n || thread_id < 0 || thread_id >= max_threads) {
      good = false;
      return;
    }
    if (in_use[static_cast<size_t>(thread_id)].fetch_add(1) != 0) good = false;
    for (int64_t i = begin; i < end; ++i) ++items[static_cast<size_t>(i)];
    in_use[static_cast<size_t>(thread_id)].fetch_sub(1);
  });
  return good && std::all_of(items.begin(), items.end(), [](int count) { return count == 1; });
}

inline void busy_wait(int microseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(microseconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

// Runs until `count` threads have been seen at work at the same time: a start or a wake-up may take a while.
inline bool all_take_part(int count) {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    std::atomic<int> present{0};
    std::atomic<int> most{0};
    run(count, count, [&](int64_t, int64_t, int) {
      const int now = ++present;
      for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      for (int i = 0; i < 20 && most < count; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      --present;
    });
    if (most == count) return true;
  }
  return false;
}

}  // namespace test
