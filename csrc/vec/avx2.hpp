// The words of vec/scalar.hpp on AVX2 + FMA + F16C: 8 lanes.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "../isa/begin.hpp"

struct Vec {
  static constexpr int kLanes = 8;
  static constexpr bool kEmulated = false;
  using F = __m256;
  using I = __m256i;
  using M = __m256;

  // all ones in the first n lanes
  static LOWBIT_INLINE I first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static LOWBIT_INLINE F load(const float* p) { return _mm256_loadu_ps(p); }
  static LOWBIT_INLINE F load_n(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
  static LOWBIT_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static LOWBIT_INLINE void store_n(float* p, F a, int n) { _mm256_maskstore_ps(p, first(n), a); }
  static LOWBIT_INLINE I iload(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static LOWBIT_INLINE I iload_n(const int32_t* p, int n) { return _mm256_maskload_epi32(p, first(n)); }
  static LOWBIT_INLINE void istore(void* p, I a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
  static LOWBIT_INLINE void istore_n(int32_t* p, I a, int n) { _mm256_maskstore_epi32(p, first(n), a); }
  static LOWBIT_INLINE I load_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  // AVX2 has no byte masks: the tail goes through a register, byte by byte
  static LOWBIT_INLINE I load_u8_n(const uint8_t* p, int n) {
    uint64_t bytes = 0;
    for (int i = 0; i < n; ++i) bytes |= uint64_t(p[i]) << (8 * i);
    return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(int64_t(bytes)));
  }
  static LOWBIT_INLINE __m128i low_bytes(I a) {
    const __m256i pick = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                          0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i b = _mm256_shuffle_epi8(a, pick);
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  }
  static LOWBIT_INLINE void store_u8(uint8_t* p, I a) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), low_bytes(a)); }
  static LOWBIT_INLINE void store_u8_n(uint8_t* p, I a, int n) {
    const uint64_t bytes = uint64_t(_mm_cvtsi128_si64(low_bytes(a)));
    for (int i = 0; i < n; ++i) p[i] = uint8_t(bytes >> (8 * i));
  }
  static LOWBIT_INLINE I load_u16(const uint16_t* p) {
    return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static LOWBIT_INLINE I load_u16_n(const uint16_t* p, int n) {
    uint64_t words[2] = {};
    for (int i = 0; i < n; ++i) words[i >> 2] |= uint64_t(p[i]) << (16 * (i & 3));
    return _mm256_cvtepu16_epi32(_mm_set_epi64x(int64_t(words[1]), int64_t(words[0])));
  }
  static LOWBIT_INLINE __m128i low_halves(I a) {
    const __m256i low = _mm256_and_si256(a, _mm256_set1_epi32(0xffff));
    return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  }
  static LOWBIT_INLINE void store_u16(uint16_t* p, I a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), low_halves(a));
  }
  static LOWBIT_INLINE void store_u16_n(uint16_t* p, I a, int n) {
    const __m128i halves = low_halves(a);
    const uint64_t words[2] = {uint64_t(_mm_cvtsi128_si64(halves)), uint64_t(_mm_extract_epi64(halves, 1))};
    for (int i = 0; i < n; ++i) p[i] = uint16_t(words[i >> 2] >> (16 * (i & 3)));
  }
  static LOWBIT_INLINE F load_half(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }

  static LOWBIT_INLINE F set(float a) { return _mm256_set1_ps(a); }
  static LOWBIT_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  static LOWBIT_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static LOWBIT_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static LOWBIT_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
  static LOWBIT_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static LOWBIT_INLINE I bits(F a) { return _mm256_castps_si256(a); }
  static LOWBIT_INLINE F from_bits(I a) { return _mm256_castsi256_ps(a); }
  static LOWBIT_INLINE M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static LOWBIT_INLINE M is_nan(F a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
  static LOWBIT_INLINE F select(M m, F yes, F no) { return _mm256_blendv_ps(no, yes, m); }
  static LOWBIT_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }
  static LOWBIT_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
  static LOWBIT_INLINE I round(F a) { return _mm256_cvtps_epi32(a); }
  static LOWBIT_INLINE F to_float(I a) { return _mm256_cvtepi32_ps(a); }

  static LOWBIT_INLINE I iset(int32_t a) { return _mm256_set1_epi32(a); }
  static LOWBIT_INLINE I iadd(I a, I b) { return _mm256_add_epi32(a, b); }
  static LOWBIT_INLINE I isub(I a, I b) { return _mm256_sub_epi32(a, b); }
  static LOWBIT_INLINE I imul(I a, I b) { return _mm256_mullo_epi32(a, b); }
  static LOWBIT_INLINE I imax(I a, I b) { return _mm256_max_epi32(a, b); }
  static LOWBIT_INLINE I iand(I a, I b) { return _mm256_and_si256(a, b); }
  static LOWBIT_INLINE I ior(I a, I b) { return _mm256_or_si256(a, b); }
  static LOWBIT_INLINE I ixor(I a, I b) { return _mm256_xor_si256(a, b); }
  static LOWBIT_INLINE I shl(I a, int n) { return _mm256_slli_epi32(a, n); }
  static LOWBIT_INLINE I shr(I a, int n) { return _mm256_srli_epi32(a, n); }
  static LOWBIT_INLINE I sra(I a, int n) { return _mm256_srai_epi32(a, n); }
  static LOWBIT_INLINE I sub_bytes(I a, I b) { return _mm256_sub_epi8(a, b); }

  struct Table {
    F low, high;
  };
  static LOWBIT_INLINE Table table(const float* p) { return {load(p), load(p + 8)}; }
  static LOWBIT_INLINE F pick(const Table& t, I index) {
    const F high = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));  // its sign: index >= 8
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(t.low, index), _mm256_permutevar8x32_ps(t.high, index), high);
  }

  static LOWBIT_INLINE I load_quads(const void* p, ptrdiff_t stride) {
    const char* bytes = static_cast<const char*>(p);
    return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(bytes + stride),
                               reinterpret_cast<const __m128i*>(bytes));
  }
  static LOWBIT_INLINE void store_quads(void* p, ptrdiff_t stride, I a) {
    char* bytes = static_cast<char*>(p);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm256_castsi256_si128(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + stride), _mm256_extracti128_si256(a, 1));
  }
  static LOWBIT_INLINE I shuffle(I table, I indices) { return _mm256_shuffle_epi8(table, indices); }

  static LOWBIT_INLINE I set64(uint64_t a) { return _mm256_set1_epi64x(int64_t(a)); }
  static LOWBIT_INLINE I shl64(I a, int n) { return _mm256_slli_epi64(a, n); }
  static LOWBIT_INLINE I shr64(I a, int n) { return _mm256_srli_epi64(a, n); }

  static LOWBIT_INLINE void stream(void* p, I a) { _mm256_stream_si256(static_cast<__m256i*>(p), a); }
  static LOWBIT_INLINE void fence() { _mm_sfence(); }

  template <class Fn>
  static LOWBIT_INLINE F fold_rows(const F (&v)[kLanes], Fn fn) {
    F quads[2];  // lane by lane of 128 bits: rows 4 i … 4 i + 3
    LOWBIT_UNROLL
    for (int i = 0; i < 2; ++i) {
      const F a = fn(_mm256_unpacklo_ps(v[4 * i], v[4 * i + 1]), _mm256_unpackhi_ps(v[4 * i], v[4 * i + 1]));
      const F b = fn(_mm256_unpacklo_ps(v[4 * i + 2], v[4 * i + 3]), _mm256_unpackhi_ps(v[4 * i + 2], v[4 * i + 3]));
      const __m256d c = _mm256_castps_pd(a), d = _mm256_castps_pd(b);
      quads[i] = fn(_mm256_castpd_ps(_mm256_unpacklo_pd(c, d)), _mm256_castpd_ps(_mm256_unpackhi_pd(c, d)));
    }
    return fn(_mm256_permute2f128_ps(quads[0], quads[1], 0x20), _mm256_permute2f128_ps(quads[0], quads[1], 0x31));
  }

  static LOWBIT_INLINE int32_t reduce_add(I a) {
    __m128i r = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0x4e));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0xb1));
    return _mm_cvtsi128_si32(r);
  }
  static LOWBIT_INLINE int32_t reduce_max(I a) {
    __m128i r = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    r = _mm_max_epi32(r, _mm_shuffle_epi32(r, 0x4e));
    r = _mm_max_epi32(r, _mm_shuffle_epi32(r, 0xb1));
    return _mm_cvtsi128_si32(r);
  }
  static LOWBIT_INLINE float reduce_min(F a) {
    __m128 r = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    r = _mm_min_ps(r, _mm_shuffle_ps(r, r, 0x4e));
    r = _mm_min_ps(r, _mm_shuffle_ps(r, r, 0xb1));
    return _mm_cvtss_f32(r);
  }
  static LOWBIT_INLINE float reduce_max(F a) {
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    r = _mm_max_ps(r, _mm_shuffle_ps(r, r, 0x4e));
    r = _mm_max_ps(r, _mm_shuffle_ps(r, r, 0xb1));
    return _mm_cvtss_f32(r);
  }
};

#include "../isa/end.hpp"
