// The words of one ISA (csrc/vec, csrc/tile) as functions over memory, so that code compiled without its flags can
// check them. words.cpp defines one table for each ISA; like an ISA's own code it includes no library header.
#pragma once

#include <cstddef>
#include <cstdint>

// One register tile.
struct TileWords {
  int bytes_per_k, step, bias;
  int most_byte, most_code;  // the largest codes: unpacked bytes, which mean p less what 0 stands for, and others
  int byte_zero;             // what 0 stands for: 128, or kSmallBias
  int most_rows, most_vecs;
  void (*widen)(const int8_t* a, int64_t k, uint8_t* out);
  // rows x vecs tile over `steps` steps. codes: vecs vectors for each dword of k; bytes: codes are unpacked bytes;
  // out: rows x vecs * lanes.
  void (*dot)(int rows, int vecs, bool bytes, int64_t steps, const int32_t* start, const uint8_t* codes,
              const uint8_t* a, ptrdiff_t stride, int32_t* out);
};

struct Words {
  const char* name;
  const char* needs;  // the ISA that must be available
  int lanes;

  // memory: p and n as in Vec; out has `lanes` elements
  void (*load)(const float* p, float* out);
  void (*load_n)(const float* p, int n, float* out);
  void (*store)(float* p, const float* a);
  void (*store_n)(float* p, const float* a, int n);
  void (*iload)(const void* p, int32_t* out);
  void (*iload_n)(const int32_t* p, int n, int32_t* out);
  void (*istore)(void* p, const int32_t* a);
  void (*istore_n)(int32_t* p, const int32_t* a, int n);
  void (*load_u8)(const uint8_t* p, int32_t* out);
  void (*load_u8_n)(const uint8_t* p, int n, int32_t* out);
  void (*store_u8)(uint8_t* p, const int32_t* a);
  void (*store_u8_n)(uint8_t* p, const int32_t* a, int n);
  void (*load_u16)(const uint16_t* p, int32_t* out);
  void (*load_u16_n)(const uint16_t* p, int n, int32_t* out);
  void (*store_u16)(uint16_t* p, const int32_t* a);
  void (*store_u16_n)(uint16_t* p, const int32_t* a, int n);
  void (*load_half)(const uint16_t* p, float* out);

  // lanes; a, b, c and out have `lanes` elements
  void (*set)(float a, float* out);
  using Float2 = void (*)(const float* a, const float* b, float* out);
  Float2 add, sub, mul, div, min, max;
  void (*fma)(const float* a, const float* b, const float* c, float* out);
  void (*bits)(const float* a, int32_t* out);
  void (*from_bits)(const int32_t* a, float* out);
  void (*less)(const float* a, const float* b, const float* yes, const float* no, float* out);
  void (*is_nan)(const float* a, const float* yes, const float* no, float* out);
  void (*round)(const float* a, int32_t* out);
  void (*to_float)(const int32_t* a, float* out);
  void (*iset)(int32_t a, int32_t* out);
  using Int2 = void (*)(const int32_t* a, const int32_t* b, int32_t* out);
  Int2 iadd, isub, imul, imax, iand, ior, ixor, sub_bytes;
  using Shift = void (*)(const int32_t* a, int n, int32_t* out);
  Shift shl, shr, sra;

  void (*pick)(const float* table, const int32_t* index, float* out);  // table: 16

  // quads and 64-bit words
  void (*load_quads)(const void* p, ptrdiff_t stride, int32_t* out);
  void (*store_quads)(void* p, ptrdiff_t stride, const int32_t* a);
  Int2 shuffle;
  void (*set64)(uint64_t a, int32_t* out);
  Shift shl64, shr64;
  void (*stream)(void* p, const int32_t* a);  // and fence

  // across lanes; rows: lanes x lanes
  void (*fold_rows_min)(const float* rows, float* out);
  void (*fold_rows_max)(const float* rows, float* out);
  int32_t (*reduce_add)(const int32_t* a);
  int32_t (*reduce_max)(const int32_t* a);
  float (*reduce_min_float)(const float* a);
  float (*reduce_max_float)(const float* a);

  TileWords tile, small;  // small.step is 0 where there is no Tile::Small
};

extern const Words words_scalar4, words_scalar8, words_scalar16;
#if defined(__x86_64__)
extern const Words words_avx2, words_avx512, words_avx512vnni;
extern const Words words_avxvnni;
extern const Words words_avxvnni_evex;  // the same tile in AVX-512 VNNI's encoding: runs where only that is there
#elif defined(__aarch64__)
extern const Words words_neon, words_dotprod, words_i8mm;
#endif
