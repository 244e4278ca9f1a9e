#include "work.h"

#include <string.h>

#include "check.h"

/* Large enough for seven threads: a thread more is used for every 2^20 multiplications. */
enum { M = 80, N = 176, K = 640, GROUP = 32, GROUPS = K / GROUP };

static uint64_t hash(uint64_t h, const void* data, size_t size) {
  const unsigned char* const bytes = data;
  for (size_t i = 0; i < size; ++i) h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
  return h;
}

static void* room(size_t size) {
  void* const memory =
      aligned_alloc(LOWBIT_ALIGNMENT, (size + LOWBIT_ALIGNMENT - 1) / LOWBIT_ALIGNMENT * LOWBIT_ALIGNMENT);
  CHECK(memory != NULL);
  memset(memory, 0xA5, size);
  return memory;
}

static float* numbers(size_t count, uint32_t seed) {
  float* const x = room(count * sizeof *x);
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(int32_t)seed * 0x1p-31f;
  }
  return x;
}

/* Packed int4 in groups of 32, or int8 with a scale for each row. */
static void* pack(const lowbit_context* context, const float* w, int bits, size_t* size, uint64_t* h) {
  const int groups = bits == 8 ? 1 : GROUPS;
  lowbit_quantize_args q = {0};
  q.struct_size = sizeof q;
  q.format = LOWBIT_INT(bits);
  q.runs.rows = N;
  q.runs.row_length = K;
  q.runs.run = K / groups;
  q.runs.rows_per_param = 1;
  q.runs.params = (int64_t)N * groups;
  q.x = w;
  q.find_params = 1;
  q.convention = LOWBIT_FULL;
  q.scale_type = LOWBIT_FLOAT32;
  const size_t codes_size = (size_t)N * K * (size_t)bits / 8, scale_size = (size_t)q.runs.params * sizeof(float);
  q.scale = room(scale_size);
  q.codes = room(codes_size);
  CHECK_OK(lowbit_quantize(context, &q, &host_error));

  lowbit_dequantize_args d = {0};
  d.struct_size = sizeof d;
  d.format = q.format;
  d.runs = q.runs;
  d.codes = q.codes;
  d.scale_type = q.scale_type;
  d.scale = q.scale;
  d.out = room((size_t)N * K * sizeof(float));
  CHECK_OK(lowbit_dequantize(context, &d, &host_error));

  lowbit_weights_info info = {0};
  info.struct_size = sizeof info;
  info.format = q.format;
  info.n = N;
  info.k = K;
  info.group_size = groups == 1 ? 0 : GROUP;
  info.scale_type = LOWBIT_FLOAT32;
  CHECK_OK(lowbit_packed_size(&info, size, &host_error));
  void* const packed = room(*size);
  CHECK_OK(lowbit_pack_weights(context, &info, q.codes, q.scale, NULL, packed, &host_error));
  void *const codes = room(codes_size), *const scale = room(scale_size);
  CHECK_OK(lowbit_unpack_weights(context, packed, *size, codes, scale, NULL, &host_error));
  CHECK(memcmp(codes, q.codes, codes_size) == 0 && memcmp(scale, q.scale, scale_size) == 0);

  *h = hash(*h, d.out, (size_t)N * K * sizeof(float));
  *h = hash(*h, packed, *size);
  free(codes);
  free(scale);
  free(d.out);
  free(q.codes);
  free(q.scale);
  return packed;
}

static void multiply(const lowbit_context* context, lowbit_matmul_args* args, uint64_t* h) {
  CHECK_OK(lowbit_matmul_workspace(context, args, &args->workspace_size, &host_error));
  args->workspace = room(args->workspace_size);
  CHECK_OK(lowbit_matmul(context, args, &host_error));
  *h = hash(*h, args->out, (size_t)(args->m * N) * sizeof(float));
  free(args->workspace);
}

static void multiply_group(const lowbit_context* context, const lowbit_matmul_args* one, uint64_t* h) {
  lowbit_matmul_args args[3] = {*one, *one, *one};
  for (int i = 0; i < 3; ++i) {
    args[i].m = 1 + 20 * i;
    args[i].out = room((size_t)(args[i].m * N) * sizeof(float));
  }
  size_t size = 0;
  CHECK_OK(lowbit_matmul_grouped_workspace(context, args, 3, &size, &host_error));
  void* const workspace = room(size);
  CHECK_OK(lowbit_matmul_grouped(context, args, 3, workspace, size, &host_error));
  for (int i = 0; i < 3; ++i) {
    *h = hash(*h, args[i].out, (size_t)(args[i].m * N) * sizeof(float));
    free(args[i].out);
  }
  free(workspace);
}

static void multiply_int(const lowbit_context* context, const void* weights, size_t size, const void* a, uint64_t* h) {
  lowbit_matmul_int_args args = {0};
  args.struct_size = sizeof args;
  args.weights = weights;
  args.weights_size = size;
  args.m = M;
  args.k = args.lda = K;
  args.a_type = LOWBIT_UINT8;
  args.a = a;
  args.out = room((size_t)M * N * sizeof(int32_t));
  args.ldout = N;
  CHECK_OK(lowbit_matmul_int_workspace(context, &args, &args.workspace_size, &host_error));
  args.workspace = room(args.workspace_size);
  CHECK_OK(lowbit_matmul_int(context, &args, &host_error));
  *h = hash(*h, args.out, (size_t)M * N * sizeof(int32_t));
  free(args.workspace);
  free(args.out);
}

uint64_t do_work(const lowbit_context* context) {
  uint64_t h = 0;
  float* const w = numbers((size_t)N * K, 1);
  float* const x = numbers((size_t)M * K, 2);
  float* const out = room((size_t)M * N * sizeof *out);
  size_t size4 = 0, size8 = 0;
  void* const int4 = pack(context, w, 4, &size4, &h);
  void* const int8 = pack(context, w, 8, &size8, &h);

  lowbit_matmul_args args = {0};
  args.struct_size = sizeof args;
  args.weights = int4;
  args.weights_size = size4;
  args.k = args.ldx = K;
  args.x_type = LOWBIT_FLOAT32;
  args.x = x;
  args.activation = LOWBIT_GELU;
  args.out = out;
  args.ldout = N;
  static const int64_t rows[] = {1, 7, M};
  for (int compute = LOWBIT_COMPUTE_INT8; compute <= LOWBIT_COMPUTE_INT8X2; ++compute) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
      args.m = rows[i];
      args.compute = (lowbit_compute)compute;
      multiply(context, &args, &h);
    }
  }
  args.compute = LOWBIT_COMPUTE_INT8;
  multiply_group(context, &args, &h);
  args.weights = int8;
  args.weights_size = size8;
  args.act_group_size = -1;
  args.m = M;
  multiply(context, &args, &h);
  multiply_int(context, int8, size8, x, &h);

  lowbit_cast_args cast = {0};
  cast.struct_size = sizeof cast;
  cast.count = (int64_t)N * K;
  cast.from = LOWBIT_FLOAT32;
  cast.x = w;
  cast.to = LOWBIT_FLOAT8_E4M3FN;
  cast.out = room((size_t)N * K);
  cast.rounding = LOWBIT_STOCHASTIC;
  cast.seed = 7;
  CHECK_OK(lowbit_cast(context, &cast, &host_error));
  h = hash(h, cast.out, (size_t)N * K);

  lowbit_runs tensor = {N, K, K, N, 1};
  float range[2];
  CHECK_OK(lowbit_range(context, &tensor, w, range, range + 1, &host_error));
  h = hash(h, range, sizeof range);
  free(cast.out);
  free(int8);
  free(int4);
  free(out);
  free(x);
  free(w);
  return h;
}
