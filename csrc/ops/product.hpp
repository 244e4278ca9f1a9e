// Matrix products, checked and planned: what the functions of matmul.cpp come down to.
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
  bool integer_result, accumulate;              // of lowbit_matmul_int; accumulate: added to out
  uint8_t* workspace;                           // Plan::size bytes
  int64_t first_prepare, first_task;            // of all products' in a group, in order; set by run
  alignas(LOWBIT_ALIGNMENT) uint8_t table[64];  // int8 numbers + 128 by code, four times; see set_table
};

// Compute int8 of 4-bit formats that are no integers: fills p->table.
void set_table(Product* p);

// Products that run together. `slices`: one for each of the context's threads, large enough for each product.
struct Group {
  Context context;
  Product* products;
  int64_t count;
  uint8_t* slices;
  int64_t slice;  // bytes
};

// Computes what the products ask for. Everything in them has been checked.
void run(const Group& group);

}  // namespace lowbit
