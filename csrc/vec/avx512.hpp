// The words of vec/scalar.hpp on AVX-512 F + BW + DQ + VL: 16 lanes, masked tails.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "../isa/begin.hpp"

struct Vec {
  static constexpr int kLanes = 16;
  static constexpr bool kEmulated = false;
  using F = __m512;
  using I = __m512i;
  using M = __mmask16;

  static LOWBIT_INLINE __mmask16 first(int n) { return __mmask16((1u << n) - 1); }

  static LOWBIT_INLINE F load(const float* p) { return _mm512_loadu_ps(p); }
  static LOWBIT_INLINE F load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static LOWBIT_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static LOWBIT_INLINE void store_n(float* p, F a, int n) { _mm512_mask_storeu_ps(p, first(n), a); }
  static LOWBIT_INLINE I iload(const void* p) { return _mm512_loadu_si512(p); }
  static LOWBIT_INLINE I iload_n(const int32_t* p, int n) { return _mm512_maskz_loadu_epi32(first(n), p); }
  static LOWBIT_INLINE void istore(void* p, I a) { _mm512_storeu_si512(p, a); }
  static LOWBIT_INLINE void istore_n(int32_t* p, I a, int n) { _mm512_mask_storeu_epi32(p, first(n), a); }
  static LOWBIT_INLINE I load_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static LOWBIT_INLINE I load_u8_n(const uint8_t* p, int n) {
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p));
  }
  static LOWBIT_INLINE void store_u8(uint8_t* p, I a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
  }
  static LOWBIT_INLINE void store_u8_n(uint8_t* p, I a, int n) {
    _mm_mask_storeu_epi8(p, first(n), _mm512_cvtepi32_epi8(a));
  }
  static LOWBIT_INLINE I load_u16(const uint16_t* p) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static LOWBIT_INLINE I load_u16_n(const uint16_t* p, int n) {
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(n), p));
  }
  static LOWBIT_INLINE void store_u16(uint16_t* p, I a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a));
  }
  static LOWBIT_INLINE void store_u16_n(uint16_t* p, I a, int n) {
    _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtepi32_epi16(a));
  }
  static LOWBIT_INLINE F load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  static LOWBIT_INLINE F set(float a) { return _mm512_set1_ps(a); }
  static LOWBIT_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  static LOWBIT_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static LOWBIT_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static LOWBIT_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
  static LOWBIT_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static LOWBIT_INLINE I bits(F a) { return _mm512_castps_si512(a); }
  static LOWBIT_INLINE F from_bits(I a) { return _mm512_castsi512_ps(a); }
  static LOWBIT_INLINE M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static LOWBIT_INLINE M is_nan(F a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  static LOWBIT_INLINE F select(M m, F yes, F no) { return _mm512_mask_blend_ps(m, no, yes); }
  static LOWBIT_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
  static LOWBIT_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
  static LOWBIT_INLINE I round(F a) { return _mm512_cvtps_epi32(a); }
  static LOWBIT_INLINE F to_float(I a) { return _mm512_cvtepi32_ps(a); }

  static LOWBIT_INLINE I iset(int32_t a) { return _mm512_set1_epi32(a); }
  static LOWBIT_INLINE I iadd(I a, I b) { return _mm512_add_epi32(a, b); }
  static LOWBIT_INLINE I isub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static LOWBIT_INLINE I imul(I a, I b) { return _mm512_mullo_epi32(a, b); }
  static LOWBIT_INLINE I imax(I a, I b) { return _mm512_max_epi32(a, b); }
  static LOWBIT_INLINE I iand(I a, I b) { return _mm512_and_si512(a, b); }
  static LOWBIT_INLINE I ior(I a, I b) { return _mm512_or_si512(a, b); }
  static LOWBIT_INLINE I ixor(I a, I b) { return _mm512_xor_si512(a, b); }
  static LOWBIT_INLINE I shl(I a, int n) { return _mm512_slli_epi32(a, unsigned(n)); }
  static LOWBIT_INLINE I shr(I a, int n) { return _mm512_srli_epi32(a, unsigned(n)); }
  static LOWBIT_INLINE I sra(I a, int n) { return _mm512_srai_epi32(a, unsigned(n)); }
  static LOWBIT_INLINE I sub_bytes(I a, I b) { return _mm512_sub_epi8(a, b); }

  using Table = F;
  static LOWBIT_INLINE Table table(const float* p) { return load(p); }
  static LOWBIT_INLINE F pick(const Table& t, I index) { return _mm512_permutexvar_ps(index, t); }

  static LOWBIT_INLINE I load_quads(const void* p, ptrdiff_t stride) {
    const char* bytes = static_cast<const char*>(p);
    const auto quad = [=](int i) LOWBIT_ALWAYS {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i * stride));
    };
    I r = _mm512_castsi128_si512(quad(0));
    r = _mm512_inserti32x4(r, quad(1), 1);
    r = _mm512_inserti32x4(r, quad(2), 2);
    return _mm512_inserti32x4(r, quad(3), 3);
  }
  static LOWBIT_INLINE void store_quads(void* p, ptrdiff_t stride, I a) {
    char* bytes = static_cast<char*>(p);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), _mm512_castsi512_si128(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + stride), _mm512_extracti32x4_epi32(a, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + 2 * stride), _mm512_extracti32x4_epi32(a, 2));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + 3 * stride), _mm512_extracti32x4_epi32(a, 3));
  }
  static LOWBIT_INLINE I shuffle(I table, I indices) { return _mm512_shuffle_epi8(table, indices); }

  static LOWBIT_INLINE I set64(uint64_t a) { return _mm512_set1_epi64(int64_t(a)); }
  static LOWBIT_INLINE I shl64(I a, int n) { return _mm512_slli_epi64(a, unsigned(n)); }
  static LOWBIT_INLINE I shr64(I a, int n) { return _mm512_srli_epi64(a, unsigned(n)); }

  static LOWBIT_INLINE void stream(void* p, I a) { _mm512_stream_si512(static_cast<__m512i*>(p), a); }
  static LOWBIT_INLINE void fence() { _mm_sfence(); }

  template <class Fn>
  static LOWBIT_INLINE F fold_rows(const F (&v)[kLanes], Fn fn) {
    F quads[4];  // lane by lane of 128 bits: rows 4 i … 4 i + 3
    LOWBIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      const F a = fn(_mm512_unpacklo_ps(v[4 * i], v[4 * i + 1]), _mm512_unpackhi_ps(v[4 * i], v[4 * i + 1]));
      const F b = fn(_mm512_unpacklo_ps(v[4 * i + 2], v[4 * i + 3]), _mm512_unpackhi_ps(v[4 * i + 2], v[4 * i + 3]));
      const __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
      quads[i] = fn(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
    }
    const F low = fn(_mm512_shuffle_f32x4(quads[0], quads[1], 0x88), _mm512_shuffle_f32x4(quads[0], quads[1], 0xdd));
    const F high = fn(_mm512_shuffle_f32x4(quads[2], quads[3], 0x88), _mm512_shuffle_f32x4(quads[2], quads[3], 0xdd));
    return fn(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
  }

  static LOWBIT_INLINE int32_t reduce_add(I a) { return _mm512_reduce_add_epi32(a); }
  static LOWBIT_INLINE int32_t reduce_max(I a) { return _mm512_reduce_max_epi32(a); }
  static LOWBIT_INLINE float reduce_min(F a) { return _mm512_reduce_min_ps(a); }
  static LOWBIT_INLINE float reduce_max(F a) { return _mm512_reduce_max_ps(a); }
};

#include "../isa/end.hpp"
