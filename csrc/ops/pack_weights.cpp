// lowbit_packed_size, lowbit_pack_weights, lowbit_packed_describe, lowbit_unpack_weights.
//
// Packing runs once for each matrix and moves four codes at a time in plain C++; it is not a kernel.
#include <cstring>

#include "../context.hpp"
#include "../error.hpp"
#include "../parallel.hpp"
#include "check.hpp"
#include "layout.hpp"

namespace lowbit {
namespace {

// The code at position k of a row of packed bits, as its bits alone.
inline uint32_t read_code(const uint8_t* row, int bits, int64_t k) {
  const int64_t bit = k * bits;
  const int shift = int(bit & 7);
  uint32_t v = row[bit >> 3];
  if (shift + bits > 8) v |= uint32_t(row[(bit >> 3) + 1]) << 8;
  return v >> shift & ((1u << bits) - 1);
}

inline void write_code(uint8_t* row, int bits, int64_t k, uint32_t code) {
  const int64_t bit = k * bits;
  const int shift = int(bit & 7);
  row[bit >> 3] |= uint8_t(code << shift);
  if (shift + bits > 8) row[(bit >> 3) + 1] |= uint8_t(code >> (8 - shift));
}

// Visits the bit planes of dword d in a step: fn(byte offset in the step, bits' width, shift within a byte, first bit
// of the code). kernels/codes-inl.hpp describes them.
template <class Fn>
inline void each_plane(int bits, int64_t step, int d, Fn fn) {
  if (bits == 16) fn(64 * (d + step / 4), 8, 0, 8);
  if (bits >= 8) return fn(64 * d, 8, 0, 0);
  int64_t plane = 0;
  int low = 0;
  for (int width = 4; width >= 1; width /= 2) {
    if (!(bits & width)) continue;
    const int per_vector = 8 / width;
    fn(plane + 64 * (d / per_vector), width, width * (d % per_vector), low);
    plane += 64 * (step / 4 / per_vector);
    low += width;
  }
}

// Four codes, as the dwords of their low and of their high bytes.
struct Four {
  uint32_t low = 0, high = 0;

  void set(int i, uint32_t code) {
    low |= (code & 255) << (8 * i);
    high |= code >> 8 << (8 * i);
  }
  uint32_t get(int i) const { return (low >> (8 * i) & 255) | (high >> (8 * i) & 255) << 8; }
  // bits `first` … `first + width - 1` of each, in bytes
  uint32_t part(int first, int width) const { return (first < 8 ? low >> first : high) & mask(width); }
  void add_part(int first, int width, uint32_t bytes) {
    (first < 8 ? low : high) |= (bytes & mask(width)) << (first & 7);
  }

 private:
  static uint32_t mask(int width) { return 0x01010101u * ((1u << width) - 1); }
};

// Calls fn(first k, one past the last, address of the step's dword 0 of a column, d) for each four codes of a column.
template <class Byte, class Fn>
void each_four(const Layout& l, Byte* panel, int column, Fn fn) {
  const int64_t step_bytes = l.step * kPanel * l.bits / 8;
  for (int64_t group = 0; group < l.groups; ++group) {
    const int64_t begin = group * l.group, end = l.k - begin < l.group ? l.k : begin + l.group;
    Byte* step = panel + group * (l.group_k / l.step) * step_bytes + 4 * column;
    for (int64_t k = begin; k < end; k += l.step, step += step_bytes) {
      for (int d = 0; d < l.step / 4; ++d) fn(k + 4 * d, end, step, d);
    }
  }
}

// code_at(k): bits of the column's code k.
template <class CodeAt>
void pack_column(const Layout& l, uint8_t* panel, int column, CodeAt code_at) {
  const uint32_t flip = uint32_t(l.code_zero());  // two's complement to offset binary
  each_four(l, panel, column, [&](int64_t k, int64_t end, uint8_t* step, int d) {
    Four four;
    for (int i = 0; i < 4 && k + i < end; ++i) four.set(i, code_at(k + i) ^ flip);
    each_plane(l.bits, l.step, d, [&](int64_t offset, int width, int shift, int first) {
      uint32_t dword;
      std::memcpy(&dword, step + offset, 4);
      dword |= four.part(first, width) << shift;
      std::memcpy(step + offset, &dword, 4);
    });
  });
}

void unpack_column(const Layout& l, const uint8_t* panel, int column, uint8_t* row) {
  const uint32_t flip = uint32_t(l.code_zero());
  each_four(l, panel, column, [&](int64_t k, int64_t end, const uint8_t* step, int d) {
    Four four;
    each_plane(l.bits, l.step, d, [&](int64_t offset, int width, int shift, int first) {
      uint32_t dword;
      std::memcpy(&dword, step + offset, 4);
      four.add_part(first, width, dword >> shift);
    });
    for (int i = 0; i < 4 && k + i < end; ++i) write_code(row, l.bits, k + i, four.get(i) ^ flip);
  });
}

// Byte and shift of an integer zero point in its panel (kernels/codes-inl.hpp: load_zero).
inline uint8_t* zero_at(const Layout& l, uint8_t* panel, int64_t group, int column, int* shift) {
  const int64_t bit = group * l.zero_bits;
  *shift = int(bit & 7);
  return panel + (bit >> 3) * kPanel + column;
}

int64_t row_bytes(const Layout& l) { return (l.k * l.bits + 7) / 8; }

// Column `row` of the product (row of W) from codes of W or, transposed, of W^T.
void pack_row(const Layout& l, const uint8_t* codes, bool transposed, int64_t row, uint8_t* panel, int column) {
  if (transposed) {
    const int64_t stride = (l.n * l.bits + 7) / 8;
    return pack_column(l, panel, column, [&](int64_t k) { return read_code(codes + k * stride, l.bits, row); });
  }
  const uint8_t* const from = codes + row * row_bytes(l);
  pack_column(l, panel, column, [&](int64_t k) { return read_code(from, l.bits, k); });
}

// What is copied to or from; bytes are copied, so any address will do.
lowbit_status check_parts(const Layout& l, const void* codes, const void* scale, const void* zero_point,
                          lowbit_error* error) {
  if (l.n * l.k > 0) {
    if (const lowbit_status status = check_array(codes, "codes", 1, error)) return status;
  }
  if (l.has_scale && l.n > 0) {
    if (const lowbit_status status = check_array(scale, "scale", 1, error)) return status;
  }
  if (!l.has_zero() || l.n == 0) return LOWBIT_OK;
  return check_array(zero_point, "zero_point", 1, error);
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_packed_size(const lowbit_weights_info* given, size_t* size, lowbit_error* error) {
  lowbit_weights_info info;
  if (const lowbit_status status = read_struct(given, "info", &info, error)) return status;
  if (!size) return fail(error, LOWBIT_INVALID_VALUE, "size: got NULL, expected a size_t to fill");
  Layout l;
  if (const lowbit_status status = make_layout(info, &l, error)) return status;
  *size = size_t(l.size);
  return ok(error);
}

lowbit_status lowbit_packed_describe(const void* packed, size_t size, lowbit_weights_info* out, lowbit_error* error) {
  size_t out_size = 0;
  if (const lowbit_status status = struct_size_of(out, "info", &out_size, error)) return status;
  lowbit_weights_info info = {};
  Layout l;
  if (const lowbit_status status = read_layout(packed, size, &info, &l, error)) return status;
  write_struct(info, out);
  return ok(error);
}

lowbit_status lowbit_pack_weights(const lowbit_context* opaque, const lowbit_weights_info* given, const void* codes,
                                  const void* scale, const void* zero_point, void* packed, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  lowbit_weights_info info;
  if (const lowbit_status status = read_struct(given, "info", &info, error)) return status;
  Layout l;
  if (const lowbit_status status = make_layout(info, &l, error)) return status;
  if (const lowbit_status status = check_parts(l, codes, scale, zero_point, error)) return status;
  if (const lowbit_status status = check_array(packed, "packed", LOWBIT_ALIGNMENT, error)) return status;

  uint8_t* const out = static_cast<uint8_t*>(packed);
  std::memset(out, 0, size_t(l.size));  // padding too: equal weights make equal buffers
  PackedHeader header = {};
  std::memcpy(header.magic, "lowbitPW", 8);
  header.layout = kLayoutId;
  header.version = kLayoutVersion;
  header.format = info.format;
  header.scale_type = info.scale_type;
  header.zero_type = info.zero_type;
  header.global_scale = info.global_scale;
  header.n = l.n;
  header.k = l.k;
  header.group_size = info.group_size;
  header.size = uint64_t(l.size);
  std::memcpy(out, &header, sizeof header);

  if (l.empty()) return ok(error);

  const int64_t scale_bytes = l.has_scale ? l.scale_type.bytes() : 0, zero_bytes = l.zero_bits / 8;
  parallel_for(context, l.panels, [&](int64_t begin, int64_t end, int) {
    for (int64_t panel = begin; panel < end; ++panel) {
      for (int column = 0; column < kPanel && panel * kPanel + column < l.n; ++column) {
        const int64_t row = panel * kPanel + column;
        pack_row(l, static_cast<const uint8_t*>(codes), info.transposed != 0, row,
                 out + l.code_offset() + panel * l.code_stride, column);
        for (int64_t group = 0; group < l.groups; ++group) {
          const int64_t from = row * l.groups + group;
          const int64_t to = group * kPanel + column;
          if (l.has_scale) {
            std::memcpy(out + l.scale_offset + panel * l.scale_stride + to * scale_bytes,
                        static_cast<const uint8_t*>(scale) + from * scale_bytes, size_t(scale_bytes));
          }
          if (l.float_zeros()) {
            std::memcpy(out + l.zero_offset + panel * l.zero_stride + to * zero_bytes,
                        static_cast<const uint8_t*>(zero_point) + from * zero_bytes, size_t(zero_bytes));
          }
          if (l.whole_zeros()) {
            int shift;
            uint8_t* at = zero_at(l, out + l.zero_offset + panel * l.zero_stride, group, column, &shift);
            const uint32_t zero = static_cast<const uint8_t*>(zero_point)[from] + uint32_t(l.code_zero());
            *at |= uint8_t((zero & ((1u << l.bits) - 1)) << shift);
          }
        }
      }
    }
  });
  return ok(error);
}

lowbit_status lowbit_unpack_weights(const lowbit_context* opaque, const void* packed, size_t size, void* codes,
                                    void* scale, void* zero_point, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  lowbit_weights_info info;
  Layout l;
  if (const lowbit_status status = read_layout(packed, size, &info, &l, error)) return status;
  if (const lowbit_status status = check_parts(l, codes, scale, zero_point, error)) return status;
  if (l.empty()) return ok(error);

  uint8_t* const in = const_cast<uint8_t*>(static_cast<const uint8_t*>(packed));  // only read
  const int64_t scale_bytes = l.has_scale ? l.scale_type.bytes() : 0, zero_bytes = l.zero_bits / 8;
  parallel_for(context, l.n, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t panel = row / kPanel;
      const int column = int(row % kPanel);
      uint8_t* to = static_cast<uint8_t*>(codes) + row * row_bytes(l);
      if (l.k > 0) std::memset(to, 0, size_t(row_bytes(l)));
      unpack_column(l, in + l.code_offset() + panel * l.code_stride, column, to);
      for (int64_t group = 0; group < l.groups; ++group) {
        const int64_t to_group = row * l.groups + group, from = group * kPanel + column;
        if (l.has_scale) {
          std::memcpy(static_cast<uint8_t*>(scale) + to_group * scale_bytes,
                      in + l.scale_offset + panel * l.scale_stride + from * scale_bytes, size_t(scale_bytes));
        }
        if (l.float_zeros()) {
          std::memcpy(static_cast<uint8_t*>(zero_point) + to_group * zero_bytes,
                      in + l.zero_offset + panel * l.zero_stride + from * zero_bytes, size_t(zero_bytes));
        }
        if (l.whole_zeros()) {
          int shift;
          const uint8_t* at = zero_at(l, in + l.zero_offset + panel * l.zero_stride, group, column, &shift);
          const uint32_t zero = (uint32_t(*at) >> shift & ((1u << l.bits) - 1)) - uint32_t(l.code_zero());
          static_cast<uint8_t*>(zero_point)[to_group] = uint8_t(zero);
        }
      }
    }
  });
  return ok(error);
}
