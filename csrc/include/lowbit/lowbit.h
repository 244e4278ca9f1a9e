/* lowbit: low-bit numeric kernels. The C ABI; lowbit.hpp is a layer over it for C++17.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Rules that hold for every function (docs/c-api.md: at length, and function by function)
 *  - C99, no exceptions, no global mutable state. The caller owns all memory; nothing is allocated here.
 *  - Functions return a lowbit_status. With a non-NULL `error` they also write a message that names the argument, what
 *    was given and what was expected. On failure no output has been written unless the function says so.
 *  - Argument structs begin with `struct_size`, set by the caller to sizeof the struct it was compiled with; other
 *    fields are 0 where nothing is to be said. Compatible versions only append fields: a caller with an older header is
 *    served as if its structs ended in zeros, one with a newer header than the library's is refused.
 *  - Matrices are row-major. Strides ("ld…") count elements. Buffers need no alignment beyond that of their element,
 *    except packed weights and workspaces: LOWBIT_ALIGNMENT bytes.
 *  - A context may be used by many threads at once. Results do not depend on the ISA, on the number of threads or on M.
 */
#ifndef LOWBIT_LOWBIT_H_
#define LOWBIT_LOWBIT_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(LOWBIT_SHARED)
#if defined(LOWBIT_BUILDING)
#define LOWBIT_API __declspec(dllexport)
#else
#define LOWBIT_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define LOWBIT_API __attribute__((visibility("default")))
#else
#define LOWBIT_API
#endif

/* Enumerations are ints: a C caller can hand over any, and C++ has to know that reading one is no mistake yet. */
#ifdef __cplusplus
#define LOWBIT_IS_INT : int
extern "C" {
#else
#define LOWBIT_IS_INT
#endif

#define LOWBIT_ALIGNMENT 64

/* ---- status ------------------------------------------------------------------------------------------------- */

typedef enum lowbit_status LOWBIT_IS_INT {
  LOWBIT_OK = 0,
  LOWBIT_INVALID_VALUE = 1, /* a shape, size or value that cannot be meant */
  LOWBIT_INVALID_TYPE = 2,  /* an element type or format that the function does not take */
  LOWBIT_UNAVAILABLE = 3    /* an ISA that this CPU, operating system or build does not have */
} lowbit_status;

typedef struct lowbit_error {
  lowbit_status status;
  char message[508]; /* NUL-terminated */
} lowbit_error;

/* ---- version ------------------------------------------------------------------------------------------------- */

/* Of this header. Before 1.0 a minor version may break what came before; from then on only a major one. */
#define LOWBIT_VERSION_MAJOR 0
#define LOWBIT_VERSION_MINOR 1
#define LOWBIT_VERSION_PATCH 0
#define LOWBIT_MAKE_VERSION(major, minor, patch) ((major) * 1000000 + (minor) * 1000 + (patch))
#define LOWBIT_VERSION_NUMBER LOWBIT_MAKE_VERSION(LOWBIT_VERSION_MAJOR, LOWBIT_VERSION_MINOR, LOWBIT_VERSION_PATCH)

/* Of the library: "0.1.0", and what LOWBIT_VERSION_NUMBER was when it was built. */
LOWBIT_API const char* lowbit_version(void);
LOWBIT_API int lowbit_version_number(void);

/* ---- instruction sets ---------------------------------------------------------------------------------------- */

/* Names of the ISAs this CPU and operating system can run, best first; NULL once index is past the last. */
LOWBIT_API const char* lowbit_available_isa(int index);
/* Names of all ISAs in this build, best first; NULL once index is past the last. */
LOWBIT_API const char* lowbit_built_isa(int index);
/* A line that describes the CPU, for bug reports. Writes at most size bytes, NUL included. */
LOWBIT_API void lowbit_cpu_description(char* text, size_t size);

/* ---- context: an ISA and a way to run in parallel ------------------------------------------------------------ */

/* Work on the items [begin, end). thread_id is in [0, max_threads); no two calls that overlap in time share one. */
typedef void (*lowbit_task)(void* arg, int64_t begin, int64_t end, int thread_id);
/* Cover [0, n) with calls of task, on at most max_threads threads; return when all of them have returned. */
typedef void (*lowbit_parallel_for)(void* pool, int64_t n, int max_threads, lowbit_task task, void* arg);

typedef struct lowbit_options {
  size_t struct_size;
  const char* isa;                  /* NULL: the environment's LOWBIT_ISA, else the best available */
  lowbit_parallel_for parallel_for; /* NULL: everything runs on the calling thread */
  void* pool;                       /* handed to parallel_for */
  int max_threads;                  /* >= 1; workspaces grow with it */
} lowbit_options;

/* Plain data: may be copied and dropped; nothing to release. */
typedef struct lowbit_context {
  uint64_t opaque[8];
} lowbit_context;

/* options may be NULL: best ISA, calling thread only. LOWBIT_UNAVAILABLE where this machine has no such ISA. */
LOWBIT_API lowbit_status lowbit_context_init(lowbit_context* context, const lowbit_options* options,
                                             lowbit_error* error);
/* NULL for what is no context. */
LOWBIT_API const char* lowbit_context_isa(const lowbit_context* context);

/* ---- number formats ------------------------------------------------------------------------------------------ */

/* Element types of arrays. Codes of 4 and 6 bits take a byte each here. */
typedef enum lowbit_type LOWBIT_IS_INT {
  LOWBIT_NONE = 0,
  LOWBIT_FLOAT32 = 1,
  LOWBIT_FLOAT16 = 2,
  LOWBIT_INT8 = 3,
  LOWBIT_UINT8 = 4,
  LOWBIT_BFLOAT16 = 5,
  LOWBIT_FLOAT8_E4M3FN = 6,
  LOWBIT_FLOAT8_E5M2 = 7,
  LOWBIT_FLOAT8_E4M3FNUZ = 8,
  LOWBIT_FLOAT8_E5M2FNUZ = 9,
  LOWBIT_FLOAT8_E4M3 = 10,
  LOWBIT_FLOAT8_E3M4 = 11,
  LOWBIT_FLOAT8_E4M3B11FNUZ = 12,
  LOWBIT_FLOAT8_E8M0FNU = 13, /* powers of two: a type for scales */
  LOWBIT_FLOAT6_E2M3FN = 14,
  LOWBIT_FLOAT6_E3M2FN = 15,
  LOWBIT_FLOAT4_E2M1FN = 16
} lowbit_type;

/* Bytes of an element, 0 for LOWBIT_NONE and numbers that are no type. */
LOWBIT_API size_t lowbit_type_size(lowbit_type type);

typedef int32_t lowbit_format;                           /* > 0 */
#define LOWBIT_INT(bits) ((lowbit_format)(bits))         /* int1 … int8 */
#define LOWBIT_UINT(bits) ((lowbit_format)(16 + (bits))) /* uint1 … uint8 */
#define LOWBIT_TERNARY ((lowbit_format)32)
#define LOWBIT_FORMAT_FLOAT16 ((lowbit_format)64)
#define LOWBIT_FORMAT_BFLOAT16 ((lowbit_format)65)
#define LOWBIT_FORMAT_E4M3FN ((lowbit_format)66)
#define LOWBIT_FORMAT_E5M2 ((lowbit_format)67)
#define LOWBIT_FORMAT_E4M3FNUZ ((lowbit_format)68)
#define LOWBIT_FORMAT_E5M2FNUZ ((lowbit_format)69)
#define LOWBIT_FORMAT_E4M3 ((lowbit_format)70)
#define LOWBIT_FORMAT_E3M4 ((lowbit_format)71)
#define LOWBIT_FORMAT_E4M3B11FNUZ ((lowbit_format)72)
#define LOWBIT_FORMAT_E2M3FN ((lowbit_format)73)
#define LOWBIT_FORMAT_E3M2FN ((lowbit_format)74)
#define LOWBIT_FORMAT_E2M1FN ((lowbit_format)75)
#define LOWBIT_FORMAT_NF4 ((lowbit_format)96)
#define LOWBIT_FORMAT_FP4 ((lowbit_format)97)
#define LOWBIT_FORMAT_MXFP8_E4M3 ((lowbit_format)128)
#define LOWBIT_FORMAT_MXFP8_E5M2 ((lowbit_format)129)
#define LOWBIT_FORMAT_MXFP6_E2M3 ((lowbit_format)130)
#define LOWBIT_FORMAT_MXFP6_E3M2 ((lowbit_format)131)
#define LOWBIT_FORMAT_MXFP4 ((lowbit_format)132)
#define LOWBIT_FORMAT_NVFP4 ((lowbit_format)133)

typedef enum lowbit_format_kind LOWBIT_IS_INT {
  LOWBIT_KIND_INTEGER = 0, /* x = (code - zero_point) * scale */
  LOWBIT_KIND_FLOAT = 1,   /* x = float(code) * scale */
  LOWBIT_KIND_TABLE = 2    /* x = table[code] * scale */
} lowbit_format_kind;

typedef enum lowbit_compute LOWBIT_IS_INT {
  LOWBIT_COMPUTE_INT8 = 0,    /* activations quantized to int8, exact integer sums within each group; for formats of
                                 integers and of 4 bits (nf4 and fp4: numbers rounded, see docs/numerics.md) */
  LOWBIT_COMPUTE_FLOAT32 = 1, /* weights decoded to float32 */
  LOWBIT_COMPUTE_INT8X2 = 2   /* int8 with two terms for each activation, hi + lo / 254: 15 bits, twice the products */
} lowbit_compute;

typedef struct lowbit_format_info {
  size_t struct_size;
  lowbit_format format;
  const char* name; /* "int4" */
  int bits;         /* of one code; below 8 codes are stored as a stream of bits, 16: two bytes each */
  lowbit_format_kind kind;
  int qmin, qmax;                 /* smallest and largest code of integers */
  float max_value;                /* largest number that a code stands for */
  int64_t group_size;             /* of block formats, else 0: the caller chooses */
  lowbit_type scale_type;         /* of block formats, else LOWBIT_NONE */
  int has_global_scale;           /* the scales of groups are multiples of one float32 */
  int has_int8;                   /* lowbit_matmul takes LOWBIT_COMPUTE_INT8 and LOWBIT_COMPUTE_INT8X2 for it */
  lowbit_compute default_compute; /* what suits it: int8 where that multiplies its numbers as they are, else float32 */
} lowbit_format_info;

LOWBIT_API lowbit_status lowbit_format_by_name(const char* name, lowbit_format* format, lowbit_error* error);
LOWBIT_API lowbit_status lowbit_format_describe(lowbit_format format, lowbit_format_info* info, lowbit_error* error);
LOWBIT_API const char* lowbit_format_name(int index); /* NULL once index is past the last */
/* Bytes of the codes of rows x row_length elements: each row begins on a byte, and codes of 16 bits take two. */
LOWBIT_API lowbit_status lowbit_codes_size(lowbit_format format, int64_t rows, int64_t row_length, size_t* size,
                                           lowbit_error* error);

/* ---- bits ---------------------------------------------------------------------------------------------------- */

/* Codes of 1..8 bits, one per byte (the low bits count), to a dense LSB-first bit stream and back. Each row starts on
 * a byte: a packed row has (row_length * bits + 7) / 8 bytes, the bits past its end are 0.
 * unpack: sign_extend != 0 reads two's complement. */
LOWBIT_API lowbit_status lowbit_pack_bits(const lowbit_context* context, int bits, int64_t rows, int64_t row_length,
                                          const uint8_t* codes, uint8_t* packed, lowbit_error* error);
LOWBIT_API lowbit_status lowbit_unpack_bits(const lowbit_context* context, int bits, int sign_extend, int64_t rows,
                                            int64_t row_length, const uint8_t* packed, uint8_t* codes,
                                            lowbit_error* error);

/* ---- quantize ------------------------------------------------------------------------------------------------ */

/* Which parameter (scale, zero point) an element uses. The array is rows x row_length. A row falls into runs of `run`
 * elements, the last of which may be shorter; with P = ceil(row_length / run), run j of row r uses the parameter
 *     ((r / rows_per_param) * P + j) % params.
 *   one for the tensor   run = row_length, rows_per_param = rows, params = 1
 *   one per row          run = row_length, rows_per_param = 1,    params = rows
 *   axis c of (o, c, i, last), i and last trailing it:
 *                        run = row_length = last, rows_per_param = i, params = c
 *   last axis            run = 1, rows_per_param = 1, params = row_length
 *   groups of g          run = g, rows_per_param = 1, params = rows * ceil(row_length / g)
 *   blocks of a x b      run = b, rows_per_param = a, params = ceil(rows / a) * ceil(row_length / b)
 * ceil(rows / rows_per_param) * P must be a multiple of params, and there are at most 2^56 elements. */
typedef struct lowbit_runs {
  int64_t rows, row_length, run, rows_per_param, params;
} lowbit_runs;

/* How scale and zero point follow from a range; docs/numerics.md has the formulas. */
typedef enum lowbit_convention LOWBIT_IS_INT {
  LOWBIT_ASYMMETRIC = 0,
  LOWBIT_ABSMAX = 1,     /* absmax / qmax */
  LOWBIT_FULL = 2,       /* absmax / (qmax + 1/2) */
  LOWBIT_SIGNED_MAX = 3, /* the value of largest magnitude / qmin; may be negative */
  LOWBIT_NO_CLIP = 4     /* max(min / qmin, max / qmax) */
} lowbit_convention;

/* Smallest and largest finite element of each parameter's elements (NaN and infinities do not count; 0 and 0 where
 * there is none). minimum, maximum: runs.params each. */
LOWBIT_API lowbit_status lowbit_range(const lowbit_context* context, const lowbit_runs* runs, const float* x,
                                      float* minimum, float* maximum, lowbit_error* error);

/* Scales are float32, float16, bfloat16, float8_e8m0fnu or float8_e4m3fn. With a global scale, the scale of a parameter
 * is its own times the global one, rounded once to float32. */
typedef struct lowbit_choose_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_convention convention; /* LOWBIT_ABSMAX for formats that are not integers */
  lowbit_type scale_type;
  float global_scale; /* 0: none */
  int64_t count;
  const float* minimum; /* count each; finite, minimum <= maximum */
  const float* maximum;
  void* scale;      /* out: count values of scale_type */
  void* zero_point; /* out: count bytes, int8 for signed formats; may be NULL unless the convention is asymmetric or the
                       format unsigned */
} lowbit_choose_args;

/* Scale and zero point from ranges. Fails, and writes nothing, when a scale does not fit scale_type. */
LOWBIT_API lowbit_status lowbit_choose_params(const lowbit_context* context, const lowbit_choose_args* args,
                                              lowbit_error* error);

typedef struct lowbit_quantize_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_runs runs;
  const float* x;  /* rows x row_length, contiguous */
  int find_params; /* 0: scale and zero_point are given. 1: they are found and written; needs every parameter to have
                      exactly one run (groups, or one per row) */
  lowbit_convention convention;
  lowbit_type scale_type;
  float global_scale;    /* 0: none */
  void* scale;           /* runs.params values of scale_type */
  lowbit_type zero_type; /* LOWBIT_INT8 or LOWBIT_UINT8, as the format is signed or not; LOWBIT_FLOAT32: zero points
                            that are no codes, code = clip(round(x / scale + zero)), given ones only */
  void* zero_point;      /* runs.params values of zero_type; NULL: 0 */
  void* codes;           /* below 8 bits: rows of packed bits, as lowbit_pack_bits writes them; else rows x row_length
                            bytes, or pairs of bytes for floats of 16 bits */
} lowbit_quantize_args;

/* Given scales must be finite, not 0, and positive unless the convention is LOWBIT_SIGNED_MAX; given zero points within
 * the format's range. Parameters that are not, and found scales that do not fit scale_type: fails after codes have been
 * written, which then mean nothing. */
LOWBIT_API lowbit_status lowbit_quantize(const lowbit_context* context, const lowbit_quantize_args* args,
                                         lowbit_error* error);

typedef struct lowbit_dequantize_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_runs runs;
  const void* codes;
  lowbit_type scale_type;
  float global_scale; /* 0: none */
  const void* scale;
  lowbit_type zero_type;
  const void* zero_point; /* runs.params values of zero_type; NULL: 0 */
  float* out;             /* rows x row_length, contiguous */
} lowbit_dequantize_args;

LOWBIT_API lowbit_status lowbit_dequantize(const lowbit_context* context, const lowbit_dequantize_args* args,
                                           lowbit_error* error);

/* ---- cast ---------------------------------------------------------------------------------------------------- */

typedef enum lowbit_rounding LOWBIT_IS_INT {
  LOWBIT_NEAREST_EVEN = 0, /* e8m0: nearest, a tie up */
  LOWBIT_UP = 1,           /* e8m0 only: towards infinity */
  LOWBIT_DOWN = 2,         /* e8m0 only: towards 0 */
  LOWBIT_STOCHASTIC = 3    /* to one of the two neighbours, with the probability that keeps the mean; not for e8m0 */
} lowbit_rounding;

typedef struct lowbit_cast_args {
  size_t struct_size;
  int64_t count;
  lowbit_type from; /* one of the two is LOWBIT_FLOAT32, the other a float of at most 16 bits */
  const void* x;
  lowbit_type to;
  void* out;
  lowbit_rounding rounding;
  int saturate;  /* 1: what is too large, infinity included, becomes the largest number. 0: infinity, or NaN where the
                    format has none, or the largest number where it has neither. Formats without NaN: NaN becomes a zero
                  */
  uint64_t seed; /* LOWBIT_STOCHASTIC: equal seeds give equal results on every ISA, with any number of threads */
} lowbit_cast_args;

/* float32 to float16, bfloat16, float8, float6, float4 (a byte per code below 16 bits) and back. */
LOWBIT_API lowbit_status lowbit_cast(const lowbit_context* context, const lowbit_cast_args* args, lowbit_error* error);

/* ---- fake quantization --------------------------------------------------------------------------------------- */

/* What quantizing and dequantizing at once leaves of x, for training: out = (code - zero_point) * scale. */
typedef struct lowbit_fake_quantize_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_runs runs;
  const float* x;         /* rows x row_length, contiguous */
  const float* scale;     /* runs.params values, finite and not 0 */
  const void* zero_point; /* runs.params bytes, codes of the format; NULL: 0 */
  float* out;             /* rows x row_length, contiguous, shares no memory with x */
} lowbit_fake_quantize_args;

LOWBIT_API lowbit_status lowbit_fake_quantize(const lowbit_context* context, const lowbit_fake_quantize_args* args,
                                              lowbit_error* error);

/* Gradients of that by x (straight-through: grad inside, 0 where clipped), by scale (learned step size) and by zero
 * point. Sums take a parameter's elements in the order of its runs: by r / rows_per_param * P + j, then by row. */
typedef struct lowbit_fake_quantize_gradient_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_runs runs;
  const float* grad; /* of the loss by out: rows x row_length, contiguous */
  const float* x;
  const float* scale;
  const void* zero_point;
  int lsq_scale;          /* 1: grad_scale and grad_zero_point times 1 / sqrt(n * qmax), n a parameter's elements */
  float* grad_x;          /* rows x row_length, contiguous, shares no memory with grad and x */
  float* grad_scale;      /* runs.params values; NULL: not wanted */
  float* grad_zero_point; /* likewise */
} lowbit_fake_quantize_gradient_args;

LOWBIT_API lowbit_status lowbit_fake_quantize_gradient(const lowbit_context* context,
                                                       const lowbit_fake_quantize_gradient_args* args,
                                                       lowbit_error* error);

/* ---- calibration: parameters from more than the range; docs/numerics.md, "Calibration" ------------------------ */

typedef struct lowbit_search_args {
  size_t struct_size;
  lowbit_format format;
  lowbit_runs runs;
  const float* x;               /* rows x row_length, contiguous */
  const float* importance;      /* finite, at least 0; NULL: 1 */
  int64_t importance_count;     /* row_length: one for each element of the last axis; rows * row_length: one for each */
  lowbit_convention convention; /* LOWBIT_ASYMMETRIC: zero points are searched too. LOWBIT_SIGNED_MAX: scales may be
                                   negative. The others differ in nothing here */
  lowbit_type scale_type;
  float global_scale; /* 0: none */
  void* scale;        /* out: runs.params values of scale_type */
  void* zero_point;   /* out: runs.params bytes, as in lowbit_choose_args */
} lowbit_search_args;

/* Scales and zero points of the least squared error, sum of importance * (x - x')^2. Fails, after outputs have been
 * written, where the scale of an unclipped range does not fit scale_type. */
LOWBIT_API lowbit_status lowbit_search_params(const lowbit_context* context, const lowbit_search_args* args,
                                              lowbit_error* error);

/* The mean |x| of each parameter's finite elements, 0 where there is none. mean: runs.params. */
LOWBIT_API lowbit_status lowbit_absmean(const lowbit_context* context, const lowbit_runs* runs, const float* x,
                                        float* mean, lowbit_error* error);

/* Adds each parameter's finite elements to its counts, params x bins. An element is in bin
 * floor(x * inverse_width) + bins / 2, or, where absolute is not 0, floor(|x| * inverse_width); what is outside of the
 * bins is in the nearest. bins: even, 2 to 4096. inverse_width: runs.params, above 0. */
LOWBIT_API lowbit_status lowbit_histogram(const lowbit_context* context, const lowbit_runs* runs, const float* x,
                                          int bins, int absolute, const float* inverse_width, int64_t* counts,
                                          lowbit_error* error);

/* From counts of |x| (params x bins, at most 4096 bins): how many bins to keep so that, the rest clipped and the kept
 * ones quantized to `levels` levels, the Kullback-Leibler divergence is least; at least `first` of them. kept: params.
 */
LOWBIT_API lowbit_status lowbit_entropy(const lowbit_context* context, int64_t params, int bins, const int64_t* counts,
                                        int levels, int first, int64_t* kept, lowbit_error* error);

typedef struct lowbit_hqq_args {
  size_t struct_size;
  lowbit_format format; /* integers */
  lowbit_runs runs;     /* one parameter for each stretch of memory: groups, rows, or the whole tensor */
  const float* x;
  float p, beta, kappa; /* 0.7, 10 and 1.01 in the authors' work */
  int rounds;           /* 20 */
  lowbit_type scale_type;
  void* scale;       /* out: runs.params values of scale_type */
  float* zero_point; /* out: runs.params; code = clip(round(x / scale + zero_point)) */
} lowbit_hqq_args;

/* Half-quadratic quantization. Fails, after outputs have been written, where a scale does not fit scale_type. */
LOWBIT_API lowbit_status lowbit_hqq_params(const lowbit_context* context, const lowbit_hqq_args* args,
                                           lowbit_error* error);

/* ---- packed weights ------------------------------------------------------------------------------------------ */

/* Weights W of shape (N, K) = (out, in). */
typedef struct lowbit_weights_info {
  size_t struct_size;
  lowbit_format format;
  int64_t n, k;
  int64_t group_size;     /* scales and zero points in groups of this many along K, the last may be shorter;
                             0: one per row of W */
  lowbit_type scale_type; /* as in lowbit_choose_args; LOWBIT_NONE: plain codes without scale, for lowbit_matmul_int */
  float global_scale;     /* 0: none */
  lowbit_type zero_type;  /* LOWBIT_NONE: no zero points. Integer formats: LOWBIT_INT8 or LOWBIT_UINT8, as the format is
                             signed or not; LOWBIT_FLOAT32, LOWBIT_FLOAT16 or LOWBIT_BFLOAT16: zero points that are no
                             codes */
  int transposed;         /* lowbit_pack_weights only. 1: codes are W^T, as lowbit_quantize writes them for rows = k,
                             row_length = n; 0: W. The packed form is the same */
} lowbit_weights_info;

/* Bytes of the packed form, which is the same for every ISA. */
LOWBIT_API lowbit_status lowbit_packed_size(const lowbit_weights_info* info, size_t* size, lowbit_error* error);
/* codes: as lowbit_quantize writes them for rows = n, row_length = k, unless info->transposed. scale: n x groups of
 * scale_type. zero_point: n x groups of zero_type, NULL without. packed: lowbit_packed_size bytes, aligned to
 * LOWBIT_ALIGNMENT. */
LOWBIT_API lowbit_status lowbit_pack_weights(const lowbit_context* context, const lowbit_weights_info* info,
                                             const void* codes, const void* scale, const void* zero_point, void* packed,
                                             lowbit_error* error);
/* Reads the description back; fails on a buffer that is not packed weights of this version. */
LOWBIT_API lowbit_status lowbit_packed_describe(const void* packed, size_t size, lowbit_weights_info* info,
                                                lowbit_error* error);
/* The inverse of lowbit_pack_weights, exactly. scale and zero_point may be NULL where there are none. */
LOWBIT_API lowbit_status lowbit_unpack_weights(const lowbit_context* context, const void* packed, size_t size,
                                               void* codes, void* scale, void* zero_point, lowbit_error* error);

/* ---- matrix multiplication ----------------------------------------------------------------------------------- */

typedef enum lowbit_activation LOWBIT_IS_INT {
  LOWBIT_IDENTITY = 0,
  LOWBIT_RELU = 1,
  LOWBIT_GELU = 2,
  LOWBIT_GELU_TANH = 3,
  LOWBIT_SILU = 4
} lowbit_activation;

/* out (m, n) = activation(x (m, k) @ W^T + bias) + residual */
typedef struct lowbit_matmul_args {
  size_t struct_size;
  const void* weights; /* packed */
  size_t weights_size;
  int64_t m, k;
  lowbit_type x_type; /* LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16; LOWBIT_INT8 or LOWBIT_UINT8 with x_scale */
  const void* x;
  int64_t ldx; /* elements from one row to the next, >= k or 0 when m <= 1 */
  lowbit_compute compute;
  int64_t act_group_size; /* groups in which float activations are quantized: 0 the weights' own, -1 whole rows, else a
                             divisor or a multiple of group_size. 8-bit x: the groups of x_scale, 0 or -1 whole rows */
  const float* x_scale;   /* 8-bit x only: x_scale_count values */
  int64_t x_scale_count;  /* 1, m, or m x ceil(k / act_group_size) */
  const int32_t* x_zero_point; /* 8-bit x only: x_zero_point_count values, NULL: 0 */
  int64_t x_zero_point_count;  /* 1 or m; only with one scale per row of W and whole-row x_scale, as uint8 x, and
                                  without zero points that are floats */
  const float* bias;           /* n values or NULL */
  lowbit_activation activation;
  void* out;            /* of out_type; shares no memory with x */
  int64_t ldout;        /* elements from one row to the next, >= n */
  lowbit_type out_type; /* LOWBIT_FLOAT32 (LOWBIT_NONE: the same), LOWBIT_FLOAT16, LOWBIT_BFLOAT16: rounded once, at the
                           end; LOWBIT_INT8, LOWBIT_UINT8: quantized as lowbit_quantize does it */
  float out_scale;      /* 8-bit out only: finite, above 0 */
  int32_t out_zero_point; /* 8-bit out only: a code */
  const void* residual; /* (m, n), added last, in float32; NULL: none. May be out itself, of its type and stride: out is
                           accumulated to; else it shares no memory with out */
  int64_t ldresidual;   /* elements from one row to the next, >= n */
  lowbit_type residual_type; /* with residual: LOWBIT_FLOAT32, LOWBIT_FLOAT16 or LOWBIT_BFLOAT16 */
  void* workspace;
  size_t workspace_size;
} lowbit_matmul_args;

/* Bytes of workspace that lowbit_matmul needs for these arguments; of its pointers only `weights` is read, and whether
 * x_zero_point is NULL counts. */
LOWBIT_API lowbit_status lowbit_matmul_workspace(const lowbit_context* context, const lowbit_matmul_args* args,
                                                 size_t* size, lowbit_error* error);
LOWBIT_API lowbit_status lowbit_matmul(const lowbit_context* context, const lowbit_matmul_args* args,
                                       lowbit_error* error);

/* `count` products at once, args[0] … args[count - 1], of any shapes: experts with their rows of x, attention heads.
 * The bits are those of `count` calls of lowbit_matmul; threads share out all of the work, without a pause between
 * products. No out may overlap another product's operands. Of args, workspace and workspace_size are not looked at. A
 * message about one of several products begins with "args[i]: ". */
LOWBIT_API lowbit_status lowbit_matmul_grouped_workspace(const lowbit_context* context, const lowbit_matmul_args* args,
                                                         int64_t count, size_t* size, lowbit_error* error);
LOWBIT_API lowbit_status lowbit_matmul_grouped(const lowbit_context* context, const lowbit_matmul_args* args,
                                               int64_t count, void* workspace, size_t workspace_size,
                                               lowbit_error* error);

/* out (m, n) = (a - a_zero_point) @ (W - b_zero_point)^T, modulo 2^32. W: packed int8 or uint8 codes (group_size 0);
 * the weights' own zero point, if any, is not used. */
typedef struct lowbit_matmul_int_args {
  size_t struct_size;
  const void* weights;
  size_t weights_size;
  int64_t m, k;
  lowbit_type a_type; /* LOWBIT_INT8 or LOWBIT_UINT8 */
  const void* a;
  int64_t lda;
  const int32_t* a_zero_point; /* NULL: 0 */
  int64_t a_zero_point_count;  /* 1 or m */
  const int32_t* b_zero_point; /* NULL: 0 */
  int64_t b_zero_point_count;  /* 1 or n */
  int32_t* out;                /* shares no memory with a */
  int64_t ldout;
  int accumulate; /* not 0: the product is added to out, modulo 2^32 */
  void* workspace;
  size_t workspace_size;
} lowbit_matmul_int_args;

LOWBIT_API lowbit_status lowbit_matmul_int_workspace(const lowbit_context* context, const lowbit_matmul_int_args* args,
                                                     size_t* size, lowbit_error* error);
LOWBIT_API lowbit_status lowbit_matmul_int(const lowbit_context* context, const lowbit_matmul_int_args* args,
                                           lowbit_error* error);

#ifdef __cplusplus
}
#endif
#endif /* LOWBIT_LOWBIT_H_ */
