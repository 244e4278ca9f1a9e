// lowbit_pack_bits and lowbit_unpack_bits.
#include "../context.hpp"
#include "../error.hpp"
#include "runs.hpp"
#include "stream.hpp"

namespace lowbit {
namespace {

// Rows of codes and of packed bytes. Rows that end on a byte are taken as one.
struct Rows {
  int64_t count, length, bytes;
};

lowbit_status check_bits(int bits, int64_t rows, int64_t row_length, const void* codes, const void* packed, Rows* out,
                         lowbit_error* error) {
  if (bits < 1 || bits > 8) return fail(error, LOWBIT_INVALID_VALUE, "bits: got %d, expected 1 to 8", bits);
  // the limits of a tensor with one parameter
  const lowbit_runs runs = {rows, row_length, row_length, rows, 1};
  if (const lowbit_status status = check_runs(runs, error)) return status;
  *out = {rows, row_length, ceil_div(row_length * bits, 8)};
  if (row_length * bits % 8 == 0) *out = {1, rows * row_length, rows * (row_length * bits / 8)};
  if (rows == 0 || row_length == 0) {
    out->count = 0;
  } else if (!codes || !packed) {
    return fail(error, LOWBIT_INVALID_VALUE, "%s: got NULL, expected the array", codes ? "packed" : "codes");
  }
  return LOWBIT_OK;
}

// Packs or unpacks: f(offset in codes, offset in packed bytes, number of codes, where to write them).
template <typename F>
void each_piece(const Context& context, const Rows& rows, int bits, bool packs, uint8_t* out, F f) {
  constexpr int64_t kSpan = 32768;  // multiples of 8, so that they begin on a byte
  constexpr int64_t kPiece = 1024;  // no more, and reading goes on while the last piece is being stored
  const bool streamed = rows.count * (packs ? rows.bytes : rows.length) >= kStreamBytes;
  const int64_t most = streamed ? kPiece : kSpan;
  const int64_t per_row = ceil_div(rows.length, kSpan);
  parallel_items(context, rows.count * per_row, std::min(rows.length, kSpan), [&](int64_t first, int64_t last) {
    const auto code_at = [&](int64_t item) { return item / per_row * rows.length + item % per_row * kSpan; };
    const auto byte_at = [&](int64_t item) { return item / per_row * rows.bytes + item % per_row * kSpan / 8 * bits; };
    Writer writer(*context.kernels, streamed, out + (packs ? byte_at(first) : code_at(first)));
    for (int64_t item = first; item < last; ++item) {
      const int64_t end = std::min(kSpan, rows.length - item % per_row * kSpan);
      for (int64_t begin = 0; begin < end; begin += most) {
        const int64_t n = std::min(most, end - begin);
        writer.write(packs ? ceil_div(n * bits, 8) : n,
                     [&](uint8_t* to) { f(code_at(item) + begin, byte_at(item) + begin / 8 * bits, n, to); });
      }
    }
  });
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_pack_bits(const lowbit_context* opaque, int bits, int64_t rows, int64_t row_length,
                               const uint8_t* codes, uint8_t* packed, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  Rows shape;
  if (const lowbit_status status = check_bits(bits, rows, row_length, codes, packed, &shape, error)) return status;
  each_piece(context, shape, bits, true, packed, [&](int64_t code, int64_t, int64_t n, uint8_t* to) {
    context.kernels->pack_bits(codes + code, n, bits, to);
  });
  return ok(error);
}

lowbit_status lowbit_unpack_bits(const lowbit_context* opaque, int bits, int sign_extend, int64_t rows,
                                 int64_t row_length, const uint8_t* packed, uint8_t* codes, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  Rows shape;
  if (const lowbit_status status = check_bits(bits, rows, row_length, codes, packed, &shape, error)) return status;
  each_piece(context, shape, bits, false, codes, [&](int64_t, int64_t byte, int64_t n, uint8_t* to) {
    context.kernels->unpack_bits(packed + byte, n, bits, sign_extend, to);
  });
  return ok(error);
}
