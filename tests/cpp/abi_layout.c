/* The ABI in numbers: sizes, offsets and values that programs have compiled in. Whoever must change a line here breaks
 * them; appending a field to a struct only adds lines and changes its SIZE. docs/c-api.md, "Versions", has the rules. */
#include "lowbit/lowbit.h"

/* LP64 and LLP64; with 4-byte pointers the offsets are others, but follow from these. */
#if UINTPTR_MAX == UINT64_MAX

#define SIZE(type, bytes, alignment)                                  \
  _Static_assert(sizeof(type) == (bytes), "sizeof " #type " changed"); \
  _Static_assert(_Alignof(type) == (alignment), "alignment of " #type " changed")
#define FIELD(type, field, bytes) \
  _Static_assert(offsetof(type, field) == (bytes), "offset of " #type "." #field " changed")
#define VALUE(name, number) _Static_assert((name) == (number), "value of " #name " changed")

SIZE(lowbit_error, 512, 4);
FIELD(lowbit_error, status, 0);
FIELD(lowbit_error, message, 4);

SIZE(lowbit_options, 40, 8);
FIELD(lowbit_options, struct_size, 0);
FIELD(lowbit_options, isa, 8);
FIELD(lowbit_options, parallel_for, 16);
FIELD(lowbit_options, pool, 24);
FIELD(lowbit_options, max_threads, 32);

SIZE(lowbit_context, 64, 8);
FIELD(lowbit_context, opaque, 0);

SIZE(lowbit_format_info, 72, 8);
FIELD(lowbit_format_info, struct_size, 0);
FIELD(lowbit_format_info, format, 8);
FIELD(lowbit_format_info, name, 16);
FIELD(lowbit_format_info, bits, 24);
FIELD(lowbit_format_info, kind, 28);
FIELD(lowbit_format_info, qmin, 32);
FIELD(lowbit_format_info, qmax, 36);
FIELD(lowbit_format_info, max_value, 40);
FIELD(lowbit_format_info, group_size, 48);
FIELD(lowbit_format_info, scale_type, 56);
FIELD(lowbit_format_info, has_global_scale, 60);
FIELD(lowbit_format_info, has_int8, 64);
FIELD(lowbit_format_info, default_compute, 68);

SIZE(lowbit_runs, 40, 8);
FIELD(lowbit_runs, rows, 0);
FIELD(lowbit_runs, row_length, 8);
FIELD(lowbit_runs, run, 16);
FIELD(lowbit_runs, rows_per_param, 24);
FIELD(lowbit_runs, params, 32);

SIZE(lowbit_choose_args, 64, 8);
FIELD(lowbit_choose_args, struct_size, 0);
FIELD(lowbit_choose_args, format, 8);
FIELD(lowbit_choose_args, convention, 12);
FIELD(lowbit_choose_args, scale_type, 16);
FIELD(lowbit_choose_args, global_scale, 20);
FIELD(lowbit_choose_args, count, 24);
FIELD(lowbit_choose_args, minimum, 32);
FIELD(lowbit_choose_args, maximum, 40);
FIELD(lowbit_choose_args, scale, 48);
FIELD(lowbit_choose_args, zero_point, 56);

SIZE(lowbit_quantize_args, 112, 8);
FIELD(lowbit_quantize_args, struct_size, 0);
FIELD(lowbit_quantize_args, format, 8);
FIELD(lowbit_quantize_args, runs, 16);
FIELD(lowbit_quantize_args, x, 56);
FIELD(lowbit_quantize_args, find_params, 64);
FIELD(lowbit_quantize_args, convention, 68);
FIELD(lowbit_quantize_args, scale_type, 72);
FIELD(lowbit_quantize_args, global_scale, 76);
FIELD(lowbit_quantize_args, scale, 80);
FIELD(lowbit_quantize_args, zero_type, 88);
FIELD(lowbit_quantize_args, zero_point, 96);
FIELD(lowbit_quantize_args, codes, 104);

SIZE(lowbit_dequantize_args, 104, 8);
FIELD(lowbit_dequantize_args, struct_size, 0);
FIELD(lowbit_dequantize_args, format, 8);
FIELD(lowbit_dequantize_args, runs, 16);
FIELD(lowbit_dequantize_args, codes, 56);
FIELD(lowbit_dequantize_args, scale_type, 64);
FIELD(lowbit_dequantize_args, global_scale, 68);
FIELD(lowbit_dequantize_args, scale, 72);
FIELD(lowbit_dequantize_args, zero_type, 80);
FIELD(lowbit_dequantize_args, zero_point, 88);
FIELD(lowbit_dequantize_args, out, 96);

SIZE(lowbit_cast_args, 64, 8);
FIELD(lowbit_cast_args, struct_size, 0);
FIELD(lowbit_cast_args, count, 8);
FIELD(lowbit_cast_args, from, 16);
FIELD(lowbit_cast_args, x, 24);
FIELD(lowbit_cast_args, to, 32);
FIELD(lowbit_cast_args, out, 40);
FIELD(lowbit_cast_args, rounding, 48);
FIELD(lowbit_cast_args, saturate, 52);
FIELD(lowbit_cast_args, seed, 56);

SIZE(lowbit_fake_quantize_args, 88, 8);
FIELD(lowbit_fake_quantize_args, struct_size, 0);
FIELD(lowbit_fake_quantize_args, format, 8);
FIELD(lowbit_fake_quantize_args, runs, 16);
FIELD(lowbit_fake_quantize_args, x, 56);
FIELD(lowbit_fake_quantize_args, scale, 64);
FIELD(lowbit_fake_quantize_args, zero_point, 72);
FIELD(lowbit_fake_quantize_args, out, 80);

SIZE(lowbit_fake_quantize_gradient_args, 120, 8);
FIELD(lowbit_fake_quantize_gradient_args, struct_size, 0);
FIELD(lowbit_fake_quantize_gradient_args, format, 8);
FIELD(lowbit_fake_quantize_gradient_args, runs, 16);
FIELD(lowbit_fake_quantize_gradient_args, grad, 56);
FIELD(lowbit_fake_quantize_gradient_args, x, 64);
FIELD(lowbit_fake_quantize_gradient_args, scale, 72);
FIELD(lowbit_fake_quantize_gradient_args, zero_point, 80);
FIELD(lowbit_fake_quantize_gradient_args, lsq_scale, 88);
FIELD(lowbit_fake_quantize_gradient_args, grad_x, 96);
FIELD(lowbit_fake_quantize_gradient_args, grad_scale, 104);
FIELD(lowbit_fake_quantize_gradient_args, grad_zero_point, 112);

SIZE(lowbit_search_args, 112, 8);
FIELD(lowbit_search_args, struct_size, 0);
FIELD(lowbit_search_args, format, 8);
FIELD(lowbit_search_args, runs, 16);
FIELD(lowbit_search_args, x, 56);
FIELD(lowbit_search_args, importance, 64);
FIELD(lowbit_search_args, importance_count, 72);
FIELD(lowbit_search_args, convention, 80);
FIELD(lowbit_search_args, scale_type, 84);
FIELD(lowbit_search_args, global_scale, 88);
FIELD(lowbit_search_args, scale, 96);
FIELD(lowbit_search_args, zero_point, 104);

SIZE(lowbit_hqq_args, 104, 8);
FIELD(lowbit_hqq_args, struct_size, 0);
FIELD(lowbit_hqq_args, format, 8);
FIELD(lowbit_hqq_args, runs, 16);
FIELD(lowbit_hqq_args, x, 56);
FIELD(lowbit_hqq_args, p, 64);
FIELD(lowbit_hqq_args, beta, 68);
FIELD(lowbit_hqq_args, kappa, 72);
FIELD(lowbit_hqq_args, rounds, 76);
FIELD(lowbit_hqq_args, scale_type, 80);
FIELD(lowbit_hqq_args, scale, 88);
FIELD(lowbit_hqq_args, zero_point, 96);

SIZE(lowbit_weights_info, 56, 8);
FIELD(lowbit_weights_info, struct_size, 0);
FIELD(lowbit_weights_info, format, 8);
FIELD(lowbit_weights_info, n, 16);
FIELD(lowbit_weights_info, k, 24);
FIELD(lowbit_weights_info, group_size, 32);
FIELD(lowbit_weights_info, scale_type, 40);
FIELD(lowbit_weights_info, global_scale, 44);
FIELD(lowbit_weights_info, zero_type, 48);
FIELD(lowbit_weights_info, transposed, 52);

SIZE(lowbit_matmul_args, 200, 8);
FIELD(lowbit_matmul_args, struct_size, 0);
FIELD(lowbit_matmul_args, weights, 8);
FIELD(lowbit_matmul_args, weights_size, 16);
FIELD(lowbit_matmul_args, m, 24);
FIELD(lowbit_matmul_args, k, 32);
FIELD(lowbit_matmul_args, x_type, 40);
FIELD(lowbit_matmul_args, x, 48);
FIELD(lowbit_matmul_args, ldx, 56);
FIELD(lowbit_matmul_args, compute, 64);
FIELD(lowbit_matmul_args, act_group_size, 72);
FIELD(lowbit_matmul_args, x_scale, 80);
FIELD(lowbit_matmul_args, x_scale_count, 88);
FIELD(lowbit_matmul_args, x_zero_point, 96);
FIELD(lowbit_matmul_args, x_zero_point_count, 104);
FIELD(lowbit_matmul_args, bias, 112);
FIELD(lowbit_matmul_args, activation, 120);
FIELD(lowbit_matmul_args, out, 128);
FIELD(lowbit_matmul_args, ldout, 136);
FIELD(lowbit_matmul_args, out_type, 144);
FIELD(lowbit_matmul_args, out_scale, 148);
FIELD(lowbit_matmul_args, out_zero_point, 152);
FIELD(lowbit_matmul_args, residual, 160);
FIELD(lowbit_matmul_args, ldresidual, 168);
FIELD(lowbit_matmul_args, residual_type, 176);
FIELD(lowbit_matmul_args, workspace, 184);
FIELD(lowbit_matmul_args, workspace_size, 192);

SIZE(lowbit_matmul_int_args, 136, 8);
FIELD(lowbit_matmul_int_args, struct_size, 0);
FIELD(lowbit_matmul_int_args, weights, 8);
FIELD(lowbit_matmul_int_args, weights_size, 16);
FIELD(lowbit_matmul_int_args, m, 24);
FIELD(lowbit_matmul_int_args, k, 32);
FIELD(lowbit_matmul_int_args, a_type, 40);
FIELD(lowbit_matmul_int_args, a, 48);
FIELD(lowbit_matmul_int_args, lda, 56);
FIELD(lowbit_matmul_int_args, a_zero_point, 64);
FIELD(lowbit_matmul_int_args, a_zero_point_count, 72);
FIELD(lowbit_matmul_int_args, b_zero_point, 80);
FIELD(lowbit_matmul_int_args, b_zero_point_count, 88);
FIELD(lowbit_matmul_int_args, out, 96);
FIELD(lowbit_matmul_int_args, ldout, 104);
FIELD(lowbit_matmul_int_args, accumulate, 112);
FIELD(lowbit_matmul_int_args, workspace, 120);
FIELD(lowbit_matmul_int_args, workspace_size, 128);

SIZE(lowbit_status, 4, 4);
VALUE(LOWBIT_OK, 0);
VALUE(LOWBIT_INVALID_VALUE, 1);
VALUE(LOWBIT_INVALID_TYPE, 2);
VALUE(LOWBIT_UNAVAILABLE, 3);

SIZE(lowbit_type, 4, 4);
VALUE(LOWBIT_NONE, 0);
VALUE(LOWBIT_FLOAT32, 1);
VALUE(LOWBIT_FLOAT16, 2);
VALUE(LOWBIT_INT8, 3);
VALUE(LOWBIT_UINT8, 4);
VALUE(LOWBIT_BFLOAT16, 5);
VALUE(LOWBIT_FLOAT8_E4M3FN, 6);
VALUE(LOWBIT_FLOAT8_E5M2, 7);
VALUE(LOWBIT_FLOAT8_E4M3FNUZ, 8);
VALUE(LOWBIT_FLOAT8_E5M2FNUZ, 9);
VALUE(LOWBIT_FLOAT8_E4M3, 10);
VALUE(LOWBIT_FLOAT8_E3M4, 11);
VALUE(LOWBIT_FLOAT8_E4M3B11FNUZ, 12);
VALUE(LOWBIT_FLOAT8_E8M0FNU, 13);
VALUE(LOWBIT_FLOAT6_E2M3FN, 14);
VALUE(LOWBIT_FLOAT6_E3M2FN, 15);
VALUE(LOWBIT_FLOAT4_E2M1FN, 16);

SIZE(lowbit_format_kind, 4, 4);
VALUE(LOWBIT_KIND_INTEGER, 0);
VALUE(LOWBIT_KIND_FLOAT, 1);
VALUE(LOWBIT_KIND_TABLE, 2);

SIZE(lowbit_compute, 4, 4);
VALUE(LOWBIT_COMPUTE_INT8, 0);
VALUE(LOWBIT_COMPUTE_FLOAT32, 1);
VALUE(LOWBIT_COMPUTE_INT8X2, 2);

SIZE(lowbit_convention, 4, 4);
VALUE(LOWBIT_ASYMMETRIC, 0);
VALUE(LOWBIT_ABSMAX, 1);
VALUE(LOWBIT_FULL, 2);
VALUE(LOWBIT_SIGNED_MAX, 3);
VALUE(LOWBIT_NO_CLIP, 4);

SIZE(lowbit_rounding, 4, 4);
VALUE(LOWBIT_NEAREST_EVEN, 0);
VALUE(LOWBIT_UP, 1);
VALUE(LOWBIT_DOWN, 2);
VALUE(LOWBIT_STOCHASTIC, 3);

SIZE(lowbit_activation, 4, 4);
VALUE(LOWBIT_IDENTITY, 0);
VALUE(LOWBIT_RELU, 1);
VALUE(LOWBIT_GELU, 2);
VALUE(LOWBIT_GELU_TANH, 3);
VALUE(LOWBIT_SILU, 4);
VALUE(LOWBIT_TERNARY, 32);
VALUE(LOWBIT_FORMAT_FLOAT16, 64);
VALUE(LOWBIT_FORMAT_BFLOAT16, 65);
VALUE(LOWBIT_FORMAT_E4M3FN, 66);
VALUE(LOWBIT_FORMAT_E5M2, 67);
VALUE(LOWBIT_FORMAT_E4M3FNUZ, 68);
VALUE(LOWBIT_FORMAT_E5M2FNUZ, 69);
VALUE(LOWBIT_FORMAT_E4M3, 70);
VALUE(LOWBIT_FORMAT_E3M4, 71);
VALUE(LOWBIT_FORMAT_E4M3B11FNUZ, 72);
VALUE(LOWBIT_FORMAT_E2M3FN, 73);
VALUE(LOWBIT_FORMAT_E3M2FN, 74);
VALUE(LOWBIT_FORMAT_E2M1FN, 75);
VALUE(LOWBIT_FORMAT_NF4, 96);
VALUE(LOWBIT_FORMAT_FP4, 97);
VALUE(LOWBIT_FORMAT_MXFP8_E4M3, 128);
VALUE(LOWBIT_FORMAT_MXFP8_E5M2, 129);
VALUE(LOWBIT_FORMAT_MXFP6_E2M3, 130);
VALUE(LOWBIT_FORMAT_MXFP6_E3M2, 131);
VALUE(LOWBIT_FORMAT_MXFP4, 132);
VALUE(LOWBIT_FORMAT_NVFP4, 133);

VALUE(LOWBIT_INT(1), 1);
VALUE(LOWBIT_INT(8), 8);
VALUE(LOWBIT_UINT(1), 17);
VALUE(LOWBIT_UINT(8), 24);
VALUE(sizeof(lowbit_format), 4);
VALUE(LOWBIT_ALIGNMENT, 64);

#endif
