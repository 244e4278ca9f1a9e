// lowbit_cast.
#include <algorithm>

#include "../context.hpp"
#include "../error.hpp"
#include "../formats/registry.hpp"
#include "runs.hpp"
#include "stream.hpp"

namespace lowbit {
namespace {

// 64 bits to well-mixed 32: what a seed and the upper half of an index become (MurmurHash3's 64-bit finalizer).
uint32_t mix(uint64_t h) {
  h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
  h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
  return uint32_t((h ^ h >> 33) >> 32);
}

lowbit_status check_rounding(const lowbit_cast_args& args, const FloatFormat& format, lowbit_error* error) {
  const bool power = format.kind == FloatFormat::kPower;
  switch (args.rounding) {
    case LOWBIT_NEAREST_EVEN: return LOWBIT_OK;
    case LOWBIT_UP:
    case LOWBIT_DOWN:
      if (power) return LOWBIT_OK;
      return fail(error, LOWBIT_INVALID_VALUE, "args.rounding: got %s, expected nearest_even or stochastic",
                  args.rounding == LOWBIT_UP ? "up" : "down");
    case LOWBIT_STOCHASTIC:
      if (!power) return LOWBIT_OK;
      return fail(error, LOWBIT_INVALID_VALUE,
                  "args.rounding: got stochastic for float8_e8m0fnu, expected nearest_even, up or down");
  }
  return fail(error, LOWBIT_INVALID_VALUE, "args.rounding: got %d, expected a lowbit_rounding, 0 to 3",
              static_cast<int>(args.rounding));
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_cast(const lowbit_context* opaque, const lowbit_cast_args* given, lowbit_error* error) {
  lowbit_cast_args args;
  if (const lowbit_status status = read_struct(given, "args", &args, error)) return status;
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  const FloatFormat* from = float_format(args.from);
  const FloatFormat* to = float_format(args.to);
  const bool encode = args.from == LOWBIT_FLOAT32 && to, decode = args.to == LOWBIT_FLOAT32 && from;
  if (!encode && !decode) {
    return fail(error, LOWBIT_INVALID_TYPE,
                "args.from, args.to: got %d and %d, expected LOWBIT_FLOAT32 (1) and a float of at most 16 bits",
                static_cast<int>(args.from), static_cast<int>(args.to));
  }
  if (encode) {
    if (const lowbit_status status = check_rounding(args, *to, error)) return status;
  }
  const int64_t n = args.count;
  if (n < 0 || n > kMostElements) {
    return fail(error, LOWBIT_INVALID_VALUE, "args.count: got %lld, expected 0 to 2^56", static_cast<long long>(n));
  }
  if (n == 0) return ok(error);
  const int64_t bytes = (encode ? to : from)->bits > 8 ? 2 : 1, out_bytes = encode ? bytes : 4;
  if (const lowbit_status status = check_array(args.x, "args.x", encode ? 4 : bytes, error)) return status;
  if (const lowbit_status status = check_array(args.out, "args.out", out_bytes, error)) return status;

  constexpr int64_t kPiece = Writer::kMost / 4;  // a divisor of 2^32: no piece crosses into another key
  const Kernels& kernels = *context.kernels;
  parallel_items(context, ceil_div(n, kPiece), kPiece, [&](int64_t first, int64_t last) {
    Writer writer(kernels, n * out_bytes >= kStreamBytes, static_cast<uint8_t*>(args.out) + first * kPiece * out_bytes);
    for (int64_t i = first * kPiece; i < std::min(n, last * kPiece); i += kPiece) {
      const int64_t count = std::min(kPiece, n - i);
      writer.write(count * out_bytes, [&](uint8_t* out) {
        if (decode) {
          kernels.decode_floats(static_cast<const uint8_t*>(args.x) + i * bytes, count, *from,
                                reinterpret_cast<float*>(out));
          return;
        }
        Rounding how = {static_cast<Rounding::Mode>(args.rounding), args.saturate != 0, 0, uint32_t(i)};
        if (args.rounding == LOWBIT_STOCHASTIC) how.key = mix(args.seed ^ mix(uint64_t(i) >> 32));
        kernels.encode_floats(static_cast<const float*>(args.x) + i, count, *to, how, out);
      });
    }
  });
  return ok(error);
}
