// Packed panels to bytes or floats, once for many rows.
#pragma once

#include "codes-inl.hpp"
#include "coders-inl.hpp"

#include "../isa/begin.hpp"

// ---- bytes ------------------------------------------------------------------------------------------------------

template <class Layout>
void unpack_codes(const PanelBlock& p, uint8_t* out, ptrdiff_t out_stride) {
  constexpr int kAhead = 4096;  // codes are fetched so far before their use: M = 64 is 6 % faster
  const Layout layout(p.table);
  for (int64_t panel = 0; panel < p.panels; ++panel) {
    for (int column = 0; column < kPanel; column += Vec::kLanes) {
      const uint8_t* b = p.b + panel * p.b_stride + 4 * column;
      uint8_t* to = out + panel * out_stride + 4 * column;
      for (int64_t group = 0; group < p.groups; ++group) {
        // code - zero + bias in every byte
        Vec::I zero = Vec::iset(p.zero_offset);
        if (p.zero) zero = load_zero(p.zero + panel * p.zero_stride, p.zero_bits, group, column);
        zero = Vec::isub(zero, Vec::iset(p.bias));
        zero = Vec::imul(Vec::iand(zero, Vec::iset(255)), Vec::iset(0x01010101));
        const int64_t k_end = group + 1 < p.groups ? p.group_k : p.last_group_k;
        for (int64_t k = 0; k < k_end; k += Layout::kStep) {
          typename Layout::Planes planes;
          each_dword<Layout::kDwords>([&](auto d) LOWBIT_ALWAYS {
            Vec::istore(to + 64 * d.value, Vec::sub_bytes(layout.template dword<d.value>(b, planes), zero));
          });
          if (column == 0) {
            LOWBIT_UNROLL
            for (int i = 0; i < Layout::kStepBytes; i += 64) LOWBIT_PREFETCH(b + kAhead + i);
          }
          b += Layout::kStepBytes;
          to += 64 * Layout::kDwords;
        }
      }
    }
  }
}

void unpack_panel(const PanelBlock& p, uint8_t* out, ptrdiff_t out_stride) {
  if (p.table) return unpack_codes<TableCodes>(p, out, out_stride);
  with_bits(p.bits, [&](auto bits) LOWBIT_ALWAYS {
    if constexpr (bits.value < 8) unpack_codes<Codes<bits.value>>(p, out, out_stride);  // bytes are what they are
  });
}

// ---- floats -----------------------------------------------------------------------------------------------------

// float(code - zero)
struct WholeZeros {
  Vec::I zero;

  LOWBIT_INLINE void start_group(const PanelBlock& p, int64_t panel, int64_t group, int column) {
    zero = Vec::iset(p.zero_offset);
    if (p.zero) zero = load_zero(p.zero + panel * p.zero_stride, p.zero_bits, group, column);
  }
  LOWBIT_INLINE Vec::F values(Vec::I code) const { return Vec::to_float(Vec::isub(code, zero)); }
};

// float(code) - zero
struct FloatZeros {
  Vec::I offset;
  Vec::F zero;

  LOWBIT_INLINE void start_group(const PanelBlock& p, int64_t panel, int64_t group, int column) {
    offset = Vec::iset(p.zero_offset);
    zero = Vec::load(p.float_zero + (panel * p.groups + group) * kPanel + column);
  }
  LOWBIT_INLINE Vec::F values(Vec::I code) const { return Vec::sub(Vec::to_float(Vec::isub(code, offset)), zero); }
};

// A decoder of floats or tables, which need no zero point.
template <class Decoder>
struct NoZeros : Decoder {
  using Decoder::Decoder;
  LOWBIT_INLINE void start_group(const PanelBlock&, int64_t, int64_t, int) {}
};

template <int kBits, class Decoder>
void decode_codes(const PanelBlock& p, Decoder decoder, float* out) {
  using Layout = Codes<kBits>;
  const int64_t ld = p.panels * kPanel;
  const int64_t first = p.k_begin / p.group_size, end = (p.k_end + p.group_size - 1) / p.group_size;
  for (int64_t panel = 0; panel < p.panels; ++panel) {
    for (int column = 0; column < kPanel; column += Vec::kLanes) {
      for (int64_t group = first; group < end; ++group) {
        const Vec::F scale = load_scale(p.scale + panel * p.scale_stride, p.scale_half, group, column);
        decoder.start_group(p, panel, group, column);

        // k of this group that are wanted, counted within the group
        const int64_t origin = group * p.group_size;
        const int64_t begin = p.k_begin > origin ? p.k_begin - origin : 0;
        const int64_t stop = p.k_end - origin < p.group_size ? p.k_end - origin : p.group_size;
        const uint8_t* b =
            p.b + panel * p.b_stride + group * (p.group_k / Layout::kStep) * Layout::kStepBytes + 4 * column;
        float* to = out + panel * kPanel + column + (origin - p.k_begin) * ld;
        for (int64_t k = begin - begin % Layout::kStep; k < stop; k += Layout::kStep) {
          const uint8_t* step = b + k / Layout::kStep * Layout::kStepBytes;
          typename Layout::Planes planes;
          each_dword<Layout::kDwords>([&](auto d) LOWBIT_ALWAYS {
            const Vec::I low = Layout::template dword<d.value>(step, planes);
            Vec::I high = low;
            if constexpr (kBits == 16) high = Layout::template dword<d.value + Layout::kDwords>(step, planes);
            LOWBIT_UNROLL
            for (int i = 0; i < 4; ++i) {
              const int64_t at = k + 4 * d.value + i;
              if (at < begin || at >= stop) continue;
              Vec::I code = Vec::iand(Vec::shr(low, 8 * i), Vec::iset(255));
              if constexpr (kBits == 16) {
                code = Vec::ior(code, Vec::shl(Vec::iand(Vec::shr(high, 8 * i), Vec::iset(255)), 8));
              }
              Vec::store(to + at * ld, Vec::mul(decoder.values(code), scale));
            }
          });
        }
      }
    }
  }
}

void decode_panel(const PanelBlock& p, float* out) {
  const Coder& coder = *p.coder;
  if (coder.kind == Coder::kInteger) {
    return with_bits(p.bits, [&](auto bits) LOWBIT_ALWAYS {
      if (p.float_zero) return decode_codes<bits.value>(p, FloatZeros(), out);
      decode_codes<bits.value>(p, WholeZeros(), out);
    });
  }
  if (coder.values) return decode_codes<4>(p, NoZeros<TableDecoder>(coder.values), out);
  const FloatFormat& f = coder.floats;
  if (f.kind == FloatFormat::kFnuz) return decode_codes<8>(p, NoZeros<FloatDecoder<true>>(f), out);
  const NoZeros<FloatDecoder<false>> decoder(f);
  if (p.bits == 16) return decode_codes<16>(p, decoder, out);
  if (p.bits == 8) return decode_codes<8>(p, decoder, out);
  decode_codes<6>(p, decoder, out);
}

#include "../isa/end.hpp"
