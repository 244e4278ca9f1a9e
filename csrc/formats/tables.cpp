// Four-bit codes that stand for the 16 numbers of a table: x = table[code] * scale.
#include "registry.hpp"

namespace lowbit {
namespace {

// A table in the two orders that kernels need: by code, and ascending with the thresholds halfway between neighbours.
struct Table {
  float values[16] = {};
  float thresholds[16] = {};  // the last is not used
  int32_t ranks[16] = {};

  constexpr explicit Table(const float (&numbers)[16]) {
    for (int i = 0; i < 16; ++i) {
      values[i] = numbers[i];
      int at = i;  // equal numbers, +0 and -0, end up in the order of descending codes: -0 first
      for (; at > 0 && values[ranks[at - 1]] >= numbers[i]; --at) ranks[at] = ranks[at - 1];
      ranks[at] = i;
    }
    for (int i = 0; i < 15; ++i) {
      const double low = values[ranks[i]], high = values[ranks[i + 1]];
      // of -0 and +0 only the second is ever chosen: the threshold below one is that below both
      thresholds[i] = low == high ? thresholds[i - 1] : float((low + high) / 2);
    }
  }
};

// NF4: quantiles of the normal distribution, from the QLoRA paper (arXiv:2305.14314), appendix E.
constexpr float kNf4Values[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};
constexpr Table kNf4(kNf4Values);

// FP4 as bitsandbytes has it: sign, then a code of 3 bits for 0 … 12 twelfths and one subnormal.
constexpr float kFp4Values[16] = {0.0f,  0.005208333333f,  2.0f / 3,  1.0f,  1.0f / 3,  0.5f,  1.0f / 6,  0.25f,
                                  -0.0f, -0.005208333333f, -2.0f / 3, -1.0f, -1.0f / 3, -0.5f, -1.0f / 6, -0.25f};

constexpr Table kFp4(kFp4Values);

// int8_steps: of 90 to 127 the one that rounding costs least, measured on N(0, 1) in groups of 64 (docs/numerics.md).
constexpr Format row(lowbit_format id, const char* name, const Table& table, int32_t nan, int int8_steps) {
  Format f = {};
  f.id = id;
  f.name = name;
  f.bits = 4;
  f.coder.kind = Coder::kTable;
  f.coder.values = table.values;
  f.coder.thresholds = table.thresholds;
  f.coder.ranks = table.ranks;
  f.coder.nan = nan;
  f.int8_steps = int8_steps;
  return f;
}

constexpr Format kRows[] = {
    row(LOWBIT_FORMAT_NF4, "nf4", kNf4, 7, 124),
    row(LOWBIT_FORMAT_FP4, "fp4", kFp4, 0, 120),
};

}  // namespace

const FormatFamily table_formats = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace lowbit
