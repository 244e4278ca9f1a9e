// Packed panels to bytes or floats, once for many rows.
#pragma once

#include "codes-inl.hpp"

#include "../isa/begin.hpp"

template <int kBits>
void unpack_bits_panel(const PanelBlock& p, uint8_t* out, ptrdiff_t out_stride) {
  using Layout = Codes<kBits>;
  for (int64_t panel = 0; panel < p.panels; ++panel) {
    for (int column = 0; column < kPanel; column += Vec::kLanes) {
      const uint8_t* b = p.b + panel * p.b_stride + 4 * column;
      uint8_t* to = out + panel * out_stride + 4 * column;
      for (int64_t group = 0; group < p.groups; ++group) {
        // code - zero + 128 in every byte
        Vec::I zero = Vec::iset(p.zero_offset);
        if (p.zero) zero = load_zero(p.zero + panel * p.zero_stride, p.zero_bits, group, column);
        zero = Vec::isub(zero, Vec::iset(128));
        zero = Vec::imul(Vec::iand(zero, Vec::iset(255)), Vec::iset(0x01010101));
        const int64_t k_end = group + 1 < p.groups ? p.group_k : p.last_group_k;
        for (int64_t k = 0; k < k_end; k += Layout::kStep) {
          each_dword<Layout::kDwords>([&](auto d) LOWBIT_ALWAYS {
            Vec::istore(to + 64 * d.value, Vec::sub_bytes(Layout::template dword<d.value>(b), zero));
          });
          b += Layout::kStepBytes;
          to += 64 * Layout::kDwords;
        }
      }
    }
  }
}

template <int kBits>
void decode_bits_panel(const PanelBlock& p, float* out) {
  using Layout = Codes<kBits>;
  const int64_t ld = p.panels * kPanel;
  const int64_t first = p.k_begin / p.group_size, end = (p.k_end + p.group_size - 1) / p.group_size;
  for (int64_t panel = 0; panel < p.panels; ++panel) {
    for (int column = 0; column < kPanel; column += Vec::kLanes) {
      for (int64_t group = first; group < end; ++group) {
        const Vec::F scale = load_scale(p.scale + panel * p.scale_stride, p.scale_half, group, column);
        Vec::I zero = Vec::iset(p.zero_offset);
        if (p.zero) zero = load_zero(p.zero + panel * p.zero_stride, p.zero_bits, group, column);

        // k of this group that are wanted, counted within the group
        const int64_t origin = group * p.group_size;
        const int64_t begin = p.k_begin > origin ? p.k_begin - origin : 0;
        const int64_t stop = p.k_end - origin < p.group_size ? p.k_end - origin : p.group_size;
        const uint8_t* b =
            p.b + panel * p.b_stride + group * (p.group_k / Layout::kStep) * Layout::kStepBytes + 4 * column;
        float* to = out + panel * kPanel + column + (origin - p.k_begin) * ld;
        for (int64_t k = begin - begin % Layout::kStep; k < stop; k += Layout::kStep) {
          const uint8_t* step = b + k / Layout::kStep * Layout::kStepBytes;
          each_dword<Layout::kDwords>([&](auto d) LOWBIT_ALWAYS {
            const Vec::I dword = Layout::template dword<d.value>(step);
            LOWBIT_UNROLL
            for (int i = 0; i < 4; ++i) {
              const int64_t at = k + 4 * d.value + i;
              if (at < begin || at >= stop) continue;
              const Vec::I code = Vec::iand(Vec::shr(dword, 8 * i), Vec::iset(255));
              Vec::store(to + at * ld, Vec::mul(Vec::to_float(Vec::isub(code, zero)), scale));
            }
          });
        }
      }
    }
  }
}

void unpack_panel(const PanelBlock& p, uint8_t* out, ptrdiff_t out_stride) {
  with_bits(p.bits, [&](auto bits) LOWBIT_ALWAYS {
    if constexpr (bits.value < 8) unpack_bits_panel<bits.value>(p, out, out_stride);  // bytes are what they are
  });
}

void decode_panel(const PanelBlock& p, float* out) {
  with_bits(p.bits, [&](auto bits) LOWBIT_ALWAYS { decode_bits_panel<bits.value>(p, out); });
}

#include "../isa/end.hpp"
