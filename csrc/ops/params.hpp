// Scale and zero point from ranges (docs/numerics.md, "Ranges and parameters").
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "../context.hpp"
#include "../formats/registry.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

// How scales are stored and what they are multiples of.
struct ScaleType {
  lowbit_type type;
  float global_scale;  // 1 where there is none

  int64_t bytes() const { return type_bits(type) / 8; }
};

// Fails unless the type is one for scales and global_scale (0: none) is finite and positive.
lowbit_status make_scale_type(lowbit_type type, float global_scale, ScaleType* out, lowbit_error* error);

// `count` scales from `first` on as float32, global scale included.
void read_scales(const Kernels& kernels, const ScaleType& type, const void* scale, int64_t first, int64_t count,
                 float* out);

lowbit_status check_convention(lowbit_convention convention, lowbit_error* error);

// Fails where format, convention and type of scale do not go together, or where a zero point is needed and
// has_zero_point is false.
lowbit_status make_rule(const Format& format, lowbit_convention convention, const ScaleType& scale_type,
                        bool has_zero_point, ParamRule* rule, lowbit_error* error);

// The first of `count` scales that is not finite, or count.
int64_t first_misfit(const float* scale, int64_t count);

// The lowest parameter whose scale did not fit, from any thread.
struct Misfit {
  std::atomic<int64_t> param{std::numeric_limits<int64_t>::max()};

  void note(int64_t p) {
    int64_t lowest = param.load(std::memory_order_relaxed);
    while (p < lowest && !param.compare_exchange_weak(lowest, p, std::memory_order_relaxed)) {
    }
  }
  bool any() const { return param.load() != std::numeric_limits<int64_t>::max(); }
};

lowbit_status fail_misfit(const ScaleType& scale_type, int64_t i, lowbit_error* error);

}  // namespace lowbit
