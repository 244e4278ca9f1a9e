// Four-bit codes that stand for the 16 numbers of a table: x = table[code] * scale.
#include <limits>

#include "registry.hpp"

namespace lowbit {
namespace {

// A table in the orders that kernels need: by code, and ascending with the thresholds halfway between neighbours, which
// fall into the 16 cells of Coder.
struct Table {
  float values[16] = {};
  int32_t ranks[16] = {};
  int32_t below[16] = {};
  float first[16] = {}, second[16] = {};
  bool fits = true;  // at most two thresholds in a cell, none so near an edge that rounding decides whose it is

  constexpr explicit Table(const float (&numbers)[16]) {
    int count = 0;
    for (int code = 0; code < 16; ++code) {
      values[code] = numbers[code];
      int at = 0;
      while (at < count && values[ranks[at]] < numbers[code]) ++at;
      if (at < count && values[ranks[at]] == numbers[code]) continue;  // -0, which is never chosen
      for (int i = count++; i > at; --i) ranks[i] = ranks[i - 1];
      ranks[at] = code;
    }
    for (int i = count; i < 16; ++i) ranks[i] = ranks[count - 1];
    const auto threshold = [&](int rank) {
      return float((double(values[ranks[rank]]) + double(values[ranks[rank + 1]])) / 2);
    };
    int rank = 0;
    for (int cell = 0; cell < 16; ++cell) {
      const float end = float(cell - 7) / 8;
      below[cell] = rank;
      for (int i = 0; i < 2; ++i) {
        const bool has = rank < count - 1 && threshold(rank) < end;
        const float inside = has ? threshold(rank++) : std::numeric_limits<float>::infinity();
        (i == 0 ? first : second)[cell] = inside;
        fits = fits && !(has && (end - inside < 1e-3f || inside - (end - 0.125f) < 1e-3f));
      }
    }
    fits = fits && rank == count - 1;
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
static_assert(kNf4.fits);

// FP4 as bitsandbytes has it: sign, then a code of 3 bits for 0 … 12 twelfths and one subnormal.
constexpr float kFp4Values[16] = {0.0f,  0.005208333333f,  2.0f / 3,  1.0f,  1.0f / 3,  0.5f,  1.0f / 6,  0.25f,
                                  -0.0f, -0.005208333333f, -2.0f / 3, -1.0f, -1.0f / 3, -0.5f, -1.0f / 6, -0.25f};

constexpr Table kFp4(kFp4Values);
static_assert(kFp4.fits);

// int8_steps: of 90 to 127 the one that rounding costs least, measured on N(0, 1) in groups of 64 (docs/numerics.md).
constexpr Format row(lowbit_format id, const char* name, const Table& table, int32_t nan, int int8_steps) {
  Format f = {};
  f.id = id;
  f.name = name;
  f.bits = 4;
  f.coder.kind = Coder::kTable;
  f.coder.values = table.values;
  f.coder.below = table.below;
  f.coder.first = table.first;
  f.coder.second = table.second;
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
