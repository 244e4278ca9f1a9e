// One matrix product, checked and planned: what lowbit_matmul and lowbit_matmul_int come down to.
#pragma once

#include <cstdint>

#include "../context.hpp"
#include "gemm_plan.hpp"
#include "layout.hpp"

namespace lowbit {

struct Product {
  Context context;
  Layout layout;
  Plan plan;
  const uint8_t* packed;
  const void* x;
  int64_t ldx;
  lowbit_type x_type;
  const float* x_scale;  // 8-bit x
  int64_t x_scale_count;
  const int32_t* x_zero;
  int64_t x_zero_count;
  const int32_t* b_zero;  // lowbit_matmul_int
  int64_t b_zero_count;
  const float* bias;
  int activation;
  const void* residual;  // or null
  int64_t ldresidual;
  lowbit_type residual_type;
  void* out;
  int64_t ldout;
  lowbit_type out_type;      // but int32 where integer_result
  const Format* out_format;  // of 8-bit results, with their scale and zero point
  float out_scale, out_zero;
  bool integer_result, accumulate;  // of lowbit_matmul_int; accumulate: added to out
  uint8_t* workspace;
  alignas(LOWBIT_ALIGNMENT) uint8_t table[64];  // int8 numbers + 128 by code, four times; see set_table
};

// Compute int8 of 4-bit formats that are no integers: fills p->table.
void set_table(Product* p);

// Computes p.out. Everything in p has been checked.
void run(const Product& p);

}  // namespace lowbit
