/* What the encoder computes by itself, to the bit: IEEE-754 float32, one rounding for each written operation, sums in a
 * written order. embed.py has the same operations in numpy. Compile with -ffp-contract=off. */
#ifndef ENGINE_NUMBERS_H_
#define ENGINE_NUMBERS_H_

#include <float.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "float operations are rounded to float");

/* The sum of x[i], or of x[i] * x[i]. Element i is added to lane i % 16, ascending; then lanes 8, 4, 2 and 1 apart are
 * added: 16 chains instead of one, and an order that numpy can follow. */
static inline float sum_lanes(const float* x, int64_t n, int squares) {
  float lane[16] = {0};
  for (int64_t begin = 0; begin < n; begin += 16) {
    const int count = n - begin < 16 ? (int)(n - begin) : 16;
    for (int j = 0; j < count; j++) lane[j] += squares ? x[begin + j] * x[begin + j] : x[begin + j];
  }
  for (int apart = 8; apart > 0; apart /= 2) {
    for (int j = 0; j < apart; j++) lane[j] += lane[j + apart];
  }
  return lane[0];
}

static inline float sum(const float* x, int64_t n) { return sum_lanes(x, n, 0); }
static inline float sum_squares(const float* x, int64_t n) { return sum_lanes(x, n, 1); }

/* exp(x) for x <= 0, relative error below 1e-6 down to x = -87, and exp(-87) below; NaN passes. */
static inline float exp_negative(float x) {
  const float round = 12582912.0f; /* 1.5 * 2^23: a number added to it is rounded to an integer, its lowest bits */
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504f + round;
  const float n = shifted - round;
  float r = x - n * 0.693359375f; /* log 2 in two parts; the product is exact */
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f; /* (exp(r) - 1 - r) / r^2 */
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r;
  p = p + 1.0f;
  uint32_t bits;
  float power; /* 2^n */
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;
  memcpy(&power, &bits, sizeof power);
  return p * power;
}

#endif
