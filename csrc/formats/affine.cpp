// Integers with a scale and a zero point: x = (code - zero_point) * scale.
#include "registry.hpp"

namespace lowbit {
namespace {

constexpr Format row(lowbit_format id, const char* name, int bits, int qmin, int qmax) {
  Format f = {};
  f.id = id;
  f.name = name;
  f.bits = bits;
  f.coder.kind = Coder::kInteger;
  f.coder.range = {qmin, qmax};
  f.coder.is_signed = qmin < 0;
  return f;
}

constexpr Format integer(const char* name, int bits) {
  return row(LOWBIT_INT(bits), name, bits, -(1 << (bits - 1)), (1 << (bits - 1)) - 1);
}

constexpr Format unsigned_integer(const char* name, int bits) {
  return row(LOWBIT_UINT(bits), name, bits, 0, (1 << bits) - 1);
}

constexpr Format kRows[] = {
    integer("int1", 1),
    integer("int2", 2),
    integer("int3", 3),
    integer("int4", 4),
    integer("int5", 5),
    integer("int6", 6),
    integer("int7", 7),
    integer("int8", 8),
    unsigned_integer("uint1", 1),
    unsigned_integer("uint2", 2),
    unsigned_integer("uint3", 3),
    unsigned_integer("uint4", 4),
    unsigned_integer("uint5", 5),
    unsigned_integer("uint6", 6),
    unsigned_integer("uint7", 7),
    unsigned_integer("uint8", 8),
    row(LOWBIT_TERNARY, "ternary", 2, -1, 1),  // BitNet b1.58
};

}  // namespace

const FormatFamily affine_formats = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace lowbit
