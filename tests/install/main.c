/* An 8-bit product through the installed header and library; prints the library's version. */
#include <lowbit/lowbit.h>
#include <stdio.h>

enum { N = 3, K = 40, BYTES = 16384 };

static lowbit_context context;
static lowbit_weights_info info; /* static: fields that are not set below are 0 */
static lowbit_matmul_int_args args;
static lowbit_error error;
static int8_t a[K], w[N * K];
static int32_t out[N];
static unsigned char memory[2 * BYTES + LOWBIT_ALIGNMENT];

static int failed(lowbit_status status, const char* function) {
  if (status != LOWBIT_OK) fprintf(stderr, "%s: %s\n", function, error.message);
  return status != LOWBIT_OK;
}

int main(void) {
  unsigned char* const packed = memory + (LOWBIT_ALIGNMENT - (uintptr_t)memory % LOWBIT_ALIGNMENT) % LOWBIT_ALIGNMENT;
  int n, k;
  for (k = 0; k < K; ++k) a[k] = (int8_t)(k - 20);
  for (k = 0; k < N * K; ++k) w[k] = (int8_t)(k % 101 - 50);

  if (failed(lowbit_context_init(&context, NULL, &error), "lowbit_context_init")) return 1;
  info.struct_size = sizeof info;
  info.format = LOWBIT_INT(8);
  info.n = N;
  info.k = K;
  args.struct_size = sizeof args;
  if (failed(lowbit_packed_size(&info, &args.weights_size, &error), "lowbit_packed_size")) return 1;
  if (args.weights_size > BYTES) return 2;
  if (failed(lowbit_pack_weights(&context, &info, w, NULL, NULL, packed, &error), "lowbit_pack_weights")) return 1;

  args.weights = packed;
  args.m = 1;
  args.k = K;
  args.a_type = LOWBIT_INT8;
  args.a = a;
  args.lda = K;
  args.out = out;
  args.ldout = N;
  if (failed(lowbit_matmul_int_workspace(&context, &args, &args.workspace_size, &error), "workspace")) return 1;
  if (args.workspace_size > BYTES) return 3;
  args.workspace = packed + BYTES;
  if (failed(lowbit_matmul_int(&context, &args, &error), "lowbit_matmul_int")) return 1;

  for (n = 0; n < N; ++n) {
    int32_t expected = 0;
    for (k = 0; k < K; ++k) expected += a[k] * w[n * K + k];
    if (out[n] != expected) return 4;
  }
  printf("lowbit %s\n", lowbit_version());
  return 0;
}
