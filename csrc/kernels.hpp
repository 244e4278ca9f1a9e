// The contract: every ISA fills this struct, nothing else crosses into an ISA's object file.
//
// Only <cstddef> and <cstdint> may be included here and in everything an ISA translation unit includes: an inline
// function of the standard library compiled with AVX-512 flags could replace the baseline's at link time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lowbit {

// ---- what kernels are told --------------------------------------------------------------------------------------

// Codes are quantized to [qmin, qmax] and stored as bytes (two's complement).
struct CodeRange {
  int32_t qmin, qmax;
};

// A floating-point format of at most 16 bits; codes are unsigned integers. Rows of csrc/formats/floats.cpp.
struct FloatFormat {
  enum Kind : int32_t {
    kSigned,  // sign, exponent, mantissa
    kFnuz,    // the same without -0, whose code is NaN
    kPower    // e8m0: an exponent and nothing else
  };
  Kind kind;
  int32_t bits, mantissa, bias;
  int32_t max;       // code of the largest finite number
  int32_t overflow;  // code of what rounds past it where nothing saturates: infinity, NaN or max
  int32_t infinity;  // its code, or -1
  int32_t nan;       // code of a NaN; of a zero where the format has no NaN
  float max_value;
};

// How floats are rounded to a FloatFormat.
struct Rounding {
  enum Mode : int32_t { kNearest, kUp, kDown, kStochastic };  // kUp and kDown: e8m0 only
  Mode mode;
  int32_t saturate;
  uint32_t key, first;  // kStochastic: element i draws from hash(key, first + i)
};

// What quantized codes stand for, apart from scale and zero point.
struct Coder {
  enum Kind : int32_t { kInteger, kFloat, kTable };
  Kind kind;
  CodeRange range;      // kInteger
  int32_t is_signed;    // kInteger
  FloatFormat floats;   // kFloat
  const float* values;  // 4 bits, not kInteger: 16 numbers, by code; else null
  // kTable: a number's rank is how many thresholds (15, or 14 where there is a -0) are below it. [-1, 1] falls into 16
  // equal cells with at most two thresholds in each; what is outside belongs to the outer cells.
  const int32_t* below;         // 16, thresholds below each cell
  const float *first, *second;  // 16 each, those inside, or infinity
  const int32_t* ranks;         // 16, the code of each rank
  int32_t nan;                  // the code of NaN
};

// How scale and zero point follow from a range (docs/numerics.md, "Ranges and parameters").
struct ParamRule {
  enum Convention : int32_t { kMagnitude, kSigned, kNoClip, kAsymmetric };
  Convention convention;
  float qmin, qmax;  // what the ends of the range are divided by
  float zero;        // of symmetric conventions
  int32_t rounded;   // 0: scales are float32; else of scale_format
  FloatFormat scale_format;
  Rounding rounding;   // of the scale
  float global_scale;  // scales are multiples of it
};

// Weights are stored in panels of kPanel columns (rows of W), K in dwords of four: docs/architecture.md has the table.
constexpr int kPanel = 16;

// Bytes that stand for codes of at most 5 bits, less a zero point of as many, mean p - kSmallBias where Kernels has a
// product for small codes. Others mean p - 128.
constexpr int kSmallBias = 31;

// What is left to do to sums before an activation, each step rounded, in this order.
struct Epilogue {
  const float* scale;      // of integer sums, by column: fma(float(sum), scale, +0); null: sums are floats
  const float* act_scale;  // of each row of sums; null: none is left to multiply by
  ptrdiff_t act_scale_stride;
  const float* bias;  // by column, or null
};

// One block of a matrix product: `rows` prepared activation rows x `panels` panels of weights, all of K.
// c is rows x (panels * kPanel), its rows ldc elements apart.
struct GemmBlock {
  int64_t rows;
  int64_t panels;

  const uint8_t* a;    // rows as prepare_* wrote them
  ptrdiff_t a_stride;  // bytes

  const uint8_t* b;    // codes of the first panel: packed (`bits`), or one byte each as unpack_panel writes them
  ptrdiff_t b_stride;  // bytes from panel to panel
  int bits;
  int small;             // 1: integers of at most Kernels::small_bits, unpacked with kSmallBias or packed
  const uint8_t* table;  // gemv_groups: the bytes that 4-bit codes stand for, 16 of them four times; null: integers

  // K: `groups` kernel groups of group_k (the last: last_group_k), padded to whole steps; padding codes meet a = 0.
  int64_t groups, group_k, last_group_k;
  int64_t segment_groups;  // groups whose sum is one segment (docs/numerics.md)

  // gemm_groups, gemv: per kernel group
  const int32_t* sums;  // rows x groups: with `zero`, sums of a's codes; else what sums of products start at, those
                        // times -(what the product leaves in each code); gemm_codes: sums of a's codes
  ptrdiff_t sums_stride;
  const float* act_scale;  // rows x act groups; null: no activation scale inside the sum
  ptrdiff_t act_scale_stride;
  int64_t act_ratio;       // kernel groups that share one activation scale
  const uint8_t* scale;    // float32 or float16: panels x weight groups x kPanel
  ptrdiff_t scale_stride;  // bytes from panel to panel
  int scale_half;          // 1: float16
  int64_t scale_ratio;     // kernel groups that share one weight scale
  const uint8_t* zero;     // as load_zero reads them (kernels/codes-inl.hpp); null: see sums
  ptrdiff_t zero_stride;
  int zero_bits;  // 1, 2, 4 or 8

  void* c;
  ptrdiff_t ldc;
  const Epilogue* epilogue;  // null: nothing is done to the sums; else c is float32, also of gemm_codes
};

struct FloatBlock {
  int64_t rows, panels, k;
  const float* a;
  ptrdiff_t a_stride;  // elements
  const float* b;      // decoded: k x (panels * kPanel)
  float* c;
  ptrdiff_t ldc;
  int first;  // 1: c = sum, 0: c = c + sum
};

// Codes of `panels` panels to bytes (unpack_panel) or floats (decode_panel).
struct PanelBlock {
  int64_t panels;
  const uint8_t* b;
  ptrdiff_t b_stride;
  int bits;
  const uint8_t* table;                   // unpack_panel: as in GemmBlock
  int64_t groups, group_k, last_group_k;  // weight groups, padded to steps
  const uint8_t* scale;                   // decode_panel only
  ptrdiff_t scale_stride;
  int scale_half;
  const Coder* coder;       // decode_panel: what codes stand for
  const float* float_zero;  // decode_panel: panels x groups x kPanel, subtracted from float(code); null: zero points
                            // are integers, as follows
  const uint8_t* zero;      // null: every zero is zero_offset
  ptrdiff_t zero_stride;
  int zero_bits;
  int32_t zero_offset;
  int32_t bias;            // unpack_panel: what is added to code - zero, 128 or kSmallBias
  int64_t k_begin, k_end;  // decode_panel: which k, counted without padding
  int64_t group_size;      // decode_panel: k in a group, without padding
};

struct PrepareRow {
  int64_t k;
  int64_t group, group_padded;  // kernel groups: k values, and with padding to whole steps
  int64_t step;                 // of the code layout; the last group is padded to it
  int bytes_per_k;              // of the row: Kernels::bytes_per_k, or 1 for small codes
  int64_t act_group;            // prepare_float: k values that share a scale
  int term;                     // prepare_float: 0: the codes; 1: what they leave of x, in steps of scale / 254
  uint8_t* a;                   // out: the prepared row
  int32_t* sums;                // out: per kernel group
  float* act_scale;             // prepare_float, out: per activation group
};

// Sums to results: rows x n of them.
struct FinishRows {
  int64_t rows, n;
  int terms;         // rows of sums for each result: 2 with compute int8x2
  const void* sums;  // float, or int32 where the epilogue has a scale
  ptrdiff_t ldsums;
  Epilogue epilogue;
  int activation;         // lowbit_activation
  const float* residual;  // or null; may be what the result is written to
  ptrdiff_t ldresidual;
  float* out;
  ptrdiff_t ldout;
};

// Integer result of a row of one-group products: s - b_zero[j] * a_sum - a_zero * (column_sum[j] - k * b_zero[j]).
struct CorrectRow {
  int64_t n;
  int32_t a_sum;              // of the codes as multiplied
  int32_t a_zero;             // likewise
  const int32_t* b_zero;      // n values, less the code's offset
  const int32_t* column_sum;  // n values
  int64_t k;
};

// Gradients of fake quantization (docs/numerics.md): n elements, one parameter for each run of `run` of them.
struct FakeQuantizeGradient {
  const float* grad;  // of the loss by the result
  const float* x;
  int64_t n, run;
  const float* scale;
  const float* zero;  // integers, or null
  CodeRange range;
  float* grad_x;       // n each, out
  float* scale_terms;  // whose sum over a parameter's elements is its gradient
  float* zero_terms;   // likewise, but for the factor -scale
};

// Float sums run over this many lanes, whatever a vector has.
constexpr int kSumLanes = 16;

// ---- what calibration kernels are told --------------------------------------------------------------------------

// Scales that a search tries at a time: as numbers in units of the search, as they are stored (before any global
// scale), and the bounds of code - zero_point that go with each (integer formats).
constexpr int kCandidates = 64;
struct SearchCandidates {
  alignas(64) float scale[kCandidates], inverse[kCandidates], stored[kCandidates], low[kCandidates], high[kCandidates];
};

struct SearchRule {
  Coder coder;
  float qmin, qmax;  // integers: bounds of the code where has_zero, else of code - zero_point
  int32_t has_zero;
  int32_t rounded;  // 0: scales are float32; else of scale_format
  FloatFormat scale_format;
  float global_scale;  // scales are multiples of it
};

// A search sees x / unit, a power of two, so that nothing in it over- or underflows.
struct SearchUnit {
  float unit, inverse;
  float spare,
      spare_stored;  // for candidates that are 0 or too large for the scale's type: a scale in units, as stored
};

// kCandidates places to start from. Without zero point: scale = high * high_factor. With: the codes cover
// [low * low_factor, high * high_factor].
struct SearchGrid {
  float low, high;
  const float *low_factor, *high_factor;
};

// Equal bins: an element is in bin floor(x * inverse) + bins / 2, or in floor(|x| * inverse) where `absolute`.
struct HistogramRule {
  float inverse;
  int bins, absolute;
};

constexpr int kHistogramTables = 4;

struct HqqRule {
  float qmin, qmax;
  float power, beta, growth;  // the shrinkage's exponent p - 1, its beta, and beta's factor from round to round
  int rounds;
};

// ---- the kernels ------------------------------------------------------------------------------------------------

struct Kernels {
  const char* name;
  int lanes;

  // Ranges over finite elements (docs/numerics.md). runs of `run` elements in [x, x + n), the last may be shorter;
  // +inf and -inf where a run has no finite element, so that pieces merge (ops/ turns that into 0 and 0).
  void (*range_runs)(const float* x, int64_t n, int64_t run, float* minimum, float* maximum);
  // Element-wise: minimum[i] = min(minimum[i], x[i]) where x[i] is finite; likewise maximum. Start from +inf, -inf.
  void (*range_each)(const float* x, int64_t n, float* minimum, float* maximum);

  // n scales as they are stored (`codes`), as float32 (`scale`, times global_scale), and zero points (null: not
  // wanted). Where a scale overflows, it is not finite in `scale`.
  void (*choose_params)(const float* minimum, const float* maximum, int64_t n, const ParamRule& rule, void* codes,
                        float* scale, float* zero);

  // One parameter for each run of `run` elements, or for each element where run is 1. codes: a byte each (two's
  // complement), or uint16_t for floats of 16 bits. zero: null, or integers (added to the rounded code); with fraction
  // != 0 any floats (added before rounding; integer formats only).
  void (*quantize_runs)(const float* x, int64_t n, int64_t run, const float* scale, const float* zero, int fraction,
                        const Coder& coder, void* codes);
  void (*dequantize_runs)(const void* codes, int64_t n, int64_t run, const float* scale, const float* zero,
                          const Coder& coder, float* out);

  // n codes to (n * bits + 7) / 8 bytes and back.
  void (*pack_bits)(const uint8_t* codes, int64_t n, int bits, uint8_t* packed);
  void (*unpack_bits)(const uint8_t* packed, int64_t n, int bits, int sign_extend, uint8_t* codes);

  // float32 to codes of a FloatFormat (bytes; 16 bits: uint16_t) and back, which is exact.
  void (*encode_floats)(const float* x, int64_t n, const FloatFormat& format, const Rounding& how, void* codes);
  void (*decode_floats)(const void* codes, int64_t n, const FloatFormat& format, float* out);

  // Whole lines of 64 bytes from a buffer to `to`, aligned to a line, past the caches where the CPU can
  // (ops/stream.hpp). Other threads see them for sure after the writer's next stream_fence, which waits for memory.
  void (*stream)(void* to, const void* from, int64_t lines);
  void (*stream_fence)();

  // Activations into the rows that gemm reads: bytes_per_k bytes for each (padded) k, with small codes 1.
  int bytes_per_k;
  int small_bits;  // integer codes of at most so many bits have products of their own (GemmBlock::small)
  int byte_bias;   // what products leave in a byte, which means p - 128: 128 where they take it as unsigned, else 0
  int64_t packed_rows;  // up to which gemv_groups beats unpacking first, for codes that unpack easily (gemm_plan.cpp)
  void (*prepare_float)(const float* x, const PrepareRow& row);              // quantizes
  void (*prepare_codes)(const uint8_t* x, int flip, const PrepareRow& row);  // each code ^ flip (0 or 0x80) as int8

  // c int32 = sum of a * (b - 128), or of a * (b - kSmallBias) if small; bytes, K as one group. This and the next two
  // write results in place of sums where the block has an epilogue.
  void (*gemm_codes)(const GemmBlock& block);
  // c float = docs/numerics.md, compute int8, steps 1..3; b is bytes from unpack_panel (or an 8-bit layout).
  void (*gemm_groups)(const GemmBlock& block);
  // The same from the packed codes; made for few rows.
  void (*gemv_groups)(const GemmBlock& block);
  // c float = one segment of compute float32.
  void (*gemm_float)(const FloatBlock& block);
  // The same from packed codes of at most 4 bits (b of the product is not used); made for few rows.
  void (*gemv_float)(const PanelBlock& codes, const FloatBlock& product);

  // bytes = code - zero + bias (1..7 bits), for gemm_groups with zero null and gemm_codes.
  void (*unpack_panel)(const PanelBlock& block, uint8_t* out, ptrdiff_t out_stride);
  void (*decode_panel)(const PanelBlock& block, float* out);

  // s (int32) to the integer result, in place.
  void (*correct_row)(int32_t* s, const CorrectRow& row);
  // out = activation(epilogue(sums)) + residual, each step rounded; those of the second of two terms are added before
  // the bias.
  void (*finish_rows)(const FinishRows& rows);

  // out = (code - zero) * scale of each x's code; one parameter for each run of `run` elements, zero may be null.
  void (*fake_quantize_runs)(const float* x, int64_t n, int64_t run, const float* scale, const float* zero,
                             CodeRange range, float* out);
  void (*fake_quantize_gradient_runs)(const FakeQuantizeGradient& gradient);
  // lanes[(first + i) % kSumLanes] += x[i], i ascending; 0 <= first < kSumLanes.
  void (*add_lanes)(const float* x, int64_t n, int first, float* lanes);

  // Calibration. y = x * factor, 0 where x is not finite.
  void (*search_load)(const float* x, int64_t n, float factor, float* y);
  void (*search_start)(const SearchRule& rule, const SearchUnit& unit, const SearchGrid& grid, SearchCandidates* c);
  // Adds w x q and w q^2 of each element, in order, to each candidate's cross and square; q: what the code stands for,
  // in units of the scale; weights null: w = 1.
  void (*search_fit)(const float* x, const float* weights, int64_t n, const SearchRule& rule, const SearchCandidates& c,
                     float* cross, float* square);
  // scale = cross / square: the best one for these codes.
  void (*search_refine)(const SearchRule& rule, const SearchUnit& unit, const float* cross, const float* square,
                        SearchCandidates* c);
  // Adds w (x - q scale)^2 of each element, in order.
  void (*search_error)(const float* x, const float* weights, int64_t n, const SearchRule& rule,
                       const SearchCandidates& c, float* error);
  // The first candidate of least error.
  int (*search_best)(const float* error);

  // Adds the finite elements to kHistogramTables tables of rule.bins + 1 counts, in turn, to be added up; n < 2^31. The
  // last count of a table takes what is not finite.
  void (*histogram)(const float* x, int64_t n, const HistogramRule& rule, uint32_t* tables);

  // The sum of the finite |x|, and how many there are. n <= 2^20.
  void (*absolute_sum)(const float* x, int64_t n, float* sum, int64_t* count);

  // The zero point (a float) that half-quadratic quantization finds for one run, starting from `zero`.
  float (*hqq_zero)(const float* x, int64_t n, const HqqRule& rule, float scale, float zero);
};

// One per ISA, defined by isa/<name>.cpp: the only global symbol of its object file.
extern const Kernels kernels_scalar;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avxvnni;
extern const Kernels kernels_avx512;
extern const Kernels kernels_avx512vnni;
extern const Kernels kernels_neon;
extern const Kernels kernels_dotprod;
extern const Kernels kernels_i8mm;

}  // namespace lowbit
