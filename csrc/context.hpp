// What a lowbit_context holds.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

struct Context {
  uint64_t magic;
  const Kernels* kernels;
  lowbit_parallel_for fn;  // NULL: everything runs on the calling thread
  void* pool;
  int64_t max_threads;  // an int, at least 1, and 1 where fn is NULL; wide because multiples of it are taken
};

// False, with error filled, where `opaque` is NULL or was never initialised.
bool get_context(const lowbit_context* opaque, Context* context, lowbit_error* error);

}  // namespace lowbit
