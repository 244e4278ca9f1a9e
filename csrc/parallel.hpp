// Splits a loop over the threads of a context.
#pragma once

#include <cstdint>

#include "context.hpp"

namespace lowbit {

// Covers [0, n) with calls f(begin, end, thread_id); returns when all have returned. No call where n <= 0.
// Hand over coarse items: claiming one costs about 0.1 µs, waking a thread several µs.
template <typename F>
void parallel_for(const Context& context, int64_t n, F f) {
  if (n <= 0) return;
  if (!context.fn || context.max_threads == 1 || n == 1) {
    f(int64_t{0}, n, 0);
    return;
  }
  context.fn(
      context.pool, n, int(context.max_threads),
      [](void* arg, int64_t begin, int64_t end, int thread_id) { (*static_cast<F*>(arg))(begin, end, thread_id); }, &f);
}

}  // namespace lowbit
