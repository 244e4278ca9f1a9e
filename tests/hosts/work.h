/* What a host does all day: weights quantized and packed, activations multiplied with them. */
#ifndef HOSTS_WORK_H_
#define HOSTS_WORK_H_

#include <stdint.h>

#include "lowbit/lowbit.h"

/* Runs a number of functions in their own memory and returns a hash of all bytes that come out: quantize, dequantize,
 * cast, range, pack_weights, unpack_weights, matmul of every compute, matmul_int, matmul_grouped. */
uint64_t do_work(const lowbit_context* context);

#endif
