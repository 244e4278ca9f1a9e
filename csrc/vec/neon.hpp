// The words of vec/scalar.hpp on NEON (ARMv8.0): 4 lanes.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "../isa/begin.hpp"

struct Vec {
  static constexpr int kLanes = 4;
  static constexpr bool kEmulated = false;
  using F = float32x4_t;
  using I = int32x4_t;
  using M = uint32x4_t;

  static LOWBIT_INLINE F load(const float* p) { return vld1q_f32(p); }
  // NEON has no masks: the tail goes lane by lane
  static LOWBIT_INLINE F load_n(const float* p, int n) {
    F r = vld1q_lane_f32(p, vdupq_n_f32(0), 0);
    if (n > 1) r = vld1q_lane_f32(p + 1, r, 1);
    if (n > 2) r = vld1q_lane_f32(p + 2, r, 2);
    if (n > 3) r = vld1q_lane_f32(p + 3, r, 3);
    return r;
  }
  static LOWBIT_INLINE void store(float* p, F a) { vst1q_f32(p, a); }
  static LOWBIT_INLINE void store_n(float* p, F a, int n) {
    vst1q_lane_f32(p, a, 0);
    if (n > 1) vst1q_lane_f32(p + 1, a, 1);
    if (n > 2) vst1q_lane_f32(p + 2, a, 2);
    if (n > 3) vst1q_lane_f32(p + 3, a, 3);
  }
  // through bytes: p need not be aligned to 4
  static LOWBIT_INLINE I iload(const void* p) { return vreinterpretq_s32_u8(vld1q_u8(static_cast<const uint8_t*>(p))); }
  static LOWBIT_INLINE I iload_n(const int32_t* p, int n) {
    I r = vld1q_lane_s32(p, vdupq_n_s32(0), 0);
    if (n > 1) r = vld1q_lane_s32(p + 1, r, 1);
    if (n > 2) r = vld1q_lane_s32(p + 2, r, 2);
    if (n > 3) r = vld1q_lane_s32(p + 3, r, 3);
    return r;
  }
  static LOWBIT_INLINE void istore(void* p, I a) { vst1q_u8(static_cast<uint8_t*>(p), vreinterpretq_u8_s32(a)); }
  static LOWBIT_INLINE void istore_n(int32_t* p, I a, int n) {
    vst1q_lane_s32(p, a, 0);
    if (n > 1) vst1q_lane_s32(p + 1, a, 1);
    if (n > 2) vst1q_lane_s32(p + 2, a, 2);
    if (n > 3) vst1q_lane_s32(p + 3, a, 3);
  }
  static LOWBIT_INLINE I widen_bytes(uint32_t bytes) {
    const uint8x8_t b = vreinterpret_u8_u32(vdup_n_u32(bytes));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(b))));
  }
  static LOWBIT_INLINE I load_u8(const uint8_t* p) {
    uint32_t bytes;
    LOWBIT_COPY(&bytes, p, 4);
    return widen_bytes(bytes);
  }
  static LOWBIT_INLINE I load_u8_n(const uint8_t* p, int n) {
    uint32_t bytes = 0;
    for (int i = 0; i < n; ++i) bytes |= uint32_t(p[i]) << (8 * i);
    return widen_bytes(bytes);
  }
  static LOWBIT_INLINE uint32_t low_bytes(I a) {
    const uint16x4_t halves = vmovn_u32(vreinterpretq_u32_s32(a));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(halves, halves));
    return vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  }
  static LOWBIT_INLINE void store_u8(uint8_t* p, I a) {
    const uint32_t bytes = low_bytes(a);
    LOWBIT_COPY(p, &bytes, 4);
  }
  static LOWBIT_INLINE void store_u8_n(uint8_t* p, I a, int n) {
    const uint32_t bytes = low_bytes(a);
    for (int i = 0; i < n; ++i) p[i] = uint8_t(bytes >> (8 * i));
  }
  static LOWBIT_INLINE I load_u16(const uint16_t* p) { return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(p))); }
  static LOWBIT_INLINE I load_u16_n(const uint16_t* p, int n) {
    uint64_t words = 0;
    for (int i = 0; i < n; ++i) words |= uint64_t(p[i]) << (16 * i);
    return vreinterpretq_s32_u32(vmovl_u16(vcreate_u16(words)));
  }
  static LOWBIT_INLINE void store_u16(uint16_t* p, I a) { vst1_u16(p, vmovn_u32(vreinterpretq_u32_s32(a))); }
  static LOWBIT_INLINE void store_u16_n(uint16_t* p, I a, int n) {
    const uint64_t words = vget_lane_u64(vreinterpret_u64_u16(vmovn_u32(vreinterpretq_u32_s32(a))), 0);
    for (int i = 0; i < n; ++i) p[i] = uint16_t(words >> (16 * i));
  }
  static LOWBIT_INLINE F load_half(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }

  static LOWBIT_INLINE F set(float a) { return vdupq_n_f32(a); }
  static LOWBIT_INLINE F add(F a, F b) { return vaddq_f32(a, b); }
  static LOWBIT_INLINE F sub(F a, F b) { return vsubq_f32(a, b); }
  static LOWBIT_INLINE F mul(F a, F b) { return vmulq_f32(a, b); }
  static LOWBIT_INLINE F div(F a, F b) { return vdivq_f32(a, b); }
  static LOWBIT_INLINE F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static LOWBIT_INLINE I bits(F a) { return vreinterpretq_s32_f32(a); }
  static LOWBIT_INLINE F from_bits(I a) { return vreinterpretq_f32_s32(a); }
  static LOWBIT_INLINE M less(F a, F b) { return vcltq_f32(a, b); }
  static LOWBIT_INLINE M is_nan(F a) { return vmvnq_u32(vceqq_f32(a, a)); }
  static LOWBIT_INLINE F select(M m, F yes, F no) { return vbslq_f32(m, yes, no); }
  // not fmin and fmax, which prefer the number to a NaN
  static LOWBIT_INLINE F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static LOWBIT_INLINE F max(F a, F b) { return vbslq_f32(vcltq_f32(b, a), a, b); }
  static LOWBIT_INLINE I round(F a) { return vcvtnq_s32_f32(a); }
  static LOWBIT_INLINE F to_float(I a) { return vcvtq_f32_s32(a); }

  static LOWBIT_INLINE I iset(int32_t a) { return vdupq_n_s32(a); }
  static LOWBIT_INLINE I iadd(I a, I b) { return vaddq_s32(a, b); }
  static LOWBIT_INLINE I isub(I a, I b) { return vsubq_s32(a, b); }
  static LOWBIT_INLINE I imul(I a, I b) { return vmulq_s32(a, b); }
  static LOWBIT_INLINE I imax(I a, I b) { return vmaxq_s32(a, b); }
  static LOWBIT_INLINE I iand(I a, I b) { return vandq_s32(a, b); }
  static LOWBIT_INLINE I ior(I a, I b) { return vorrq_s32(a, b); }
  static LOWBIT_INLINE I ixor(I a, I b) { return veorq_s32(a, b); }
  // operators: an intrinsic takes either a literal or a vector as count, these are the best form of both
  static LOWBIT_INLINE I shl(I a, int n) { return vreinterpretq_s32_u32(vreinterpretq_u32_s32(a) << uint32_t(n)); }
  static LOWBIT_INLINE I shr(I a, int n) { return vreinterpretq_s32_u32(vreinterpretq_u32_s32(a) >> uint32_t(n)); }
  static LOWBIT_INLINE I sra(I a, int n) { return a >> n; }
  static LOWBIT_INLINE I sub_bytes(I a, I b) {
    return vreinterpretq_s32_s8(vsubq_s8(vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)));
  }

  using Table = uint8x16x4_t;
  static LOWBIT_INLINE Table table(const float* p) { return vld1q_u8_x4(reinterpret_cast<const uint8_t*>(p)); }
  static LOWBIT_INLINE F pick(const Table& t, I index) {
    const I four = vandq_s32(index, vdupq_n_s32(15));
    const I bytes = vmlaq_n_s32(vdupq_n_s32(0x03020100), four, 0x04040404);  // of the float: 4 * index + 0 … 3
    return vreinterpretq_f32_u8(vqtbl4q_u8(t, vreinterpretq_u8_s32(bytes)));
  }

  static LOWBIT_INLINE I load_quads(const void* p, ptrdiff_t) { return iload(p); }
  static LOWBIT_INLINE void store_quads(void* p, ptrdiff_t, I a) { istore(p, a); }
  static LOWBIT_INLINE I shuffle(I table, I indices) {
    return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(table), vreinterpretq_u8_s32(indices)));
  }

  static LOWBIT_INLINE I set64(uint64_t a) { return vreinterpretq_s32_u64(vdupq_n_u64(a)); }
  static LOWBIT_INLINE I shl64(I a, int n) { return vreinterpretq_s32_u64(vreinterpretq_u64_s32(a) << uint64_t(n)); }
  static LOWBIT_INLINE I shr64(I a, int n) { return vreinterpretq_s32_u64(vreinterpretq_u64_s32(a) >> uint64_t(n)); }

  // no intrinsic of gcc's for stnp, and ARM's write-allocate turns itself off in long streams
  static LOWBIT_INLINE void stream(void* p, I a) { istore(p, a); }
  static LOWBIT_INLINE void fence() {}

  template <class Fn>
  static LOWBIT_INLINE F fold_rows(const F (&v)[kLanes], Fn fn) {
    const float64x2_t a = vreinterpretq_f64_f32(fn(vzip1q_f32(v[0], v[1]), vzip2q_f32(v[0], v[1])));
    const float64x2_t b = vreinterpretq_f64_f32(fn(vzip1q_f32(v[2], v[3]), vzip2q_f32(v[2], v[3])));
    return fn(vreinterpretq_f32_f64(vzip1q_f64(a, b)), vreinterpretq_f32_f64(vzip2q_f64(a, b)));
  }

  static LOWBIT_INLINE int32_t reduce_add(I a) { return vaddvq_s32(a); }
  static LOWBIT_INLINE int32_t reduce_max(I a) { return vmaxvq_s32(a); }
  static LOWBIT_INLINE float reduce_min(F a) { return vminvq_f32(a); }
  static LOWBIT_INLINE float reduce_max(F a) { return vmaxvq_f32(a); }
};

#include "../isa/end.hpp"
