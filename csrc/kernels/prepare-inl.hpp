// Activations to the int8 rows that the matrix kernels read, with their sums.
#pragma once

#include "../isa/begin.hpp"

// Chunks of k that are written at a time, by way of the stack where Tile::widen spreads them; a multiple of every step.
constexpr int kPrepareChunk = 256;

// The larger magnitudes, lane by lane, as the bits of floats: NaN above infinity above every number.
LOWBIT_INLINE Vec::I larger(Vec::I top, Vec::F x) {
  return Vec::imax(top, Vec::iand(Vec::bits(x), Vec::iset(0x7fffffff)));
}

LOWBIT_INLINE float absmax(const float* x, int64_t n) {
  Vec::I top = Vec::iset(0);
  int64_t i = 0;
  for (; i + Vec::kLanes <= n; i += Vec::kLanes) top = larger(top, Vec::load(x + i));
  if (i < n) top = larger(top, Vec::load_n(x + i, int(n - i)));
  const int32_t bits = Vec::reduce_max(top);
  float m;
  LOWBIT_COPY(&m, &bits, 4);
  return m;
}

// x is finite. term 1: what rounding has left, at most half a step, in steps 254 times finer.
LOWBIT_INLINE Vec::I activation_codes(Vec::F x, Vec::F scale, int term) {
  // only scales of a few bits, denormal ones, need the bounds
  const Vec::F t = Vec::max(Vec::min(Vec::div(x, scale), Vec::set(127.0f)), Vec::set(-127.0f));
  const Vec::I code = Vec::round(t);
  return term == 0 ? code : Vec::round(Vec::mul(Vec::sub(t, Vec::to_float(code)), Vec::set(254.0f)));
}

// One kernel group: fill(k, n, codes) writes codes k … k + n and returns their sum. Padding is 0.
template <class Fill>
LOWBIT_INLINE void prepare_group(const PrepareRow& row, int64_t n, int64_t padded, uint8_t* a, int32_t* sum,
                                 Fill fill) {
  constexpr bool kMayWiden = Tile::kBytesPerK > 1;
  const bool widens = kMayWiden && row.bytes_per_k > 1;
  int32_t total = 0;
  for (int64_t k = 0; k < padded; k += kPrepareChunk) {
    int8_t chunk[kMayWiden ? kPrepareChunk : 1];
    int8_t* const codes = widens ? chunk : reinterpret_cast<int8_t*>(a + k);
    const int64_t want = padded - k < kPrepareChunk ? padded - k : kPrepareChunk;
    const int64_t have = n - k < 0 ? 0 : n - k < want ? n - k : want;
    if (have > 0) total += fill(k, have, codes);
    for (int64_t i = have; i < want; ++i) codes[i] = 0;
    if (widens) Tile::widen(codes, want, a + Tile::kBytesPerK * k);
  }
  *sum = total;
}

// The padding of a group, the last one's being shorter: to whole steps of what group_padded is made of.
LOWBIT_INLINE int64_t padded_group(const PrepareRow& row, int64_t n) {
  return n == row.group ? row.group_padded : (n + row.step - 1) / row.step * row.step;
}

// kLanes groups of whole vectors, each with its scale, so that scales and sums are found lane by lane.
LOWBIT_INLINE void prepare_block(const float* x, int64_t group, int term, uint8_t* a, int32_t* sums, float* act_scale) {
  Vec::F top[Vec::kLanes], sum[Vec::kLanes];
  for (int r = 0; r < Vec::kLanes; ++r) {
    Vec::I t = Vec::iset(0);
    for (int64_t i = 0; i < group; i += Vec::kLanes) t = larger(t, Vec::load(x + r * group + i));
    top[r] = Vec::from_bits(t);
  }
  const Vec::F m = Vec::fold_rows(
      top, [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::from_bits(Vec::imax(Vec::bits(a), Vec::bits(b))); });
  const Vec::F none = Vec::sub(m, m);  // NaN where a group holds NaN or infinity
  const Vec::F scales = Vec::select(Vec::is_nan(none), none, Vec::div(m, Vec::set(127.0f)));
  float scale[Vec::kLanes];
  Vec::store(scale, scales);
  Vec::store(act_scale, term == 0 ? scales : Vec::div(scales, Vec::set(254.0f)));
  for (int r = 0; r < Vec::kLanes; ++r) {
    const bool some = scale[r] > 0.0f;
    const Vec::F divisor = Vec::set(scale[r]);
    Vec::I s = Vec::iset(0);
    for (int64_t i = 0; i < group; i += Vec::kLanes) {
      const Vec::I q = some ? activation_codes(Vec::load(x + r * group + i), divisor, term) : Vec::iset(0);
      s = Vec::iadd(s, q);
      Vec::store_u8(a + r * group + i, q);
    }
    sum[r] = Vec::from_bits(s);
  }
  const Vec::F total = Vec::fold_rows(
      sum, [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::from_bits(Vec::iadd(Vec::bits(a), Vec::bits(b))); });
  Vec::istore(sums, Vec::bits(total));
}

void prepare_float(const float* x, const PrepareRow& row) {
  uint8_t* a = row.a;
  int32_t* sums = row.sums;
  int64_t act = 0, index = 0;
  const int64_t group = row.group, block = Vec::kLanes * group;
  if (group == row.act_group && group == row.group_padded && group % Vec::kLanes == 0 && row.bytes_per_k == 1) {
    for (; row.k - act >= block; act += block, index += Vec::kLanes, a += block, sums += Vec::kLanes) {
      prepare_block(x + act, group, row.term, a, sums, row.act_scale + index);
    }
  }
  for (; act < row.k; act += row.act_group, ++index) {
    const int64_t act_end = row.k - act < row.act_group ? row.k : act + row.act_group;
    const float m = absmax(x + act, act_end - act);
    const bool finite = m - m == 0.0f;
    const float scale = finite ? m / 127.0f : m - m;  // NaN where the group holds NaN or infinity
    row.act_scale[index] = row.term == 0 ? scale : scale / 254.0f;
    const Vec::F divisor = Vec::set(scale);
    for (int64_t k = act; k < act_end; k += row.group) {
      const int64_t n = act_end - k < row.group ? act_end - k : row.group;
      const int64_t padded = padded_group(row, n);
      prepare_group(row, n, padded, a, sums++, [&](int64_t from, int64_t count, int8_t* codes) LOWBIT_ALWAYS {
        uint8_t* to = reinterpret_cast<uint8_t*>(codes);
        if (!(scale > 0.0f)) {
          for (int64_t i = 0; i < count; ++i) to[i] = 0;
          return 0;
        }
        const float* in = x + k + from;
        Vec::I sum = Vec::iset(0);
        int64_t i = 0;
        for (; i + Vec::kLanes <= count; i += Vec::kLanes) {
          const Vec::I q = activation_codes(Vec::load(in + i), divisor, row.term);
          sum = Vec::iadd(sum, q);
          Vec::store_u8(to + i, q);
        }
        if (i < count) {
          const Vec::I q = activation_codes(Vec::load_n(in + i, int(count - i)), divisor, row.term);
          sum = Vec::iadd(sum, q);
          Vec::store_u8_n(to + i, q, int(count - i));
        }
        return Vec::reduce_add(sum);
      });
      a += row.bytes_per_k * padded;
    }
  }
}

void prepare_codes(const uint8_t* x, int flip, const PrepareRow& row) {
  uint8_t* a = row.a;
  int32_t* sums = row.sums;
  // (x ^ flip) as int8 is ((x ^ flip ^ 0x80) as uint8) - 128
  const Vec::I turn = Vec::iset(flip), sign = Vec::iset(0x80);
  for (int64_t k = 0; k < row.k; k += row.group) {
    const int64_t n = row.k - k < row.group ? row.k - k : row.group;
    const int64_t padded = padded_group(row, n);
    prepare_group(row, n, padded, a, sums++, [&](int64_t from, int64_t count, int8_t* codes) LOWBIT_ALWAYS {
      uint8_t* to = reinterpret_cast<uint8_t*>(codes);
      const uint8_t* in = x + k + from;
      Vec::I sum = Vec::iset(0);
      int64_t i = 0;
      for (; i + Vec::kLanes <= count; i += Vec::kLanes) {
        const Vec::I q = Vec::ixor(Vec::load_u8(in + i), turn);
        sum = Vec::iadd(sum, Vec::isub(Vec::ixor(q, sign), sign));
        Vec::store_u8(to + i, q);
      }
      int32_t total = Vec::reduce_add(sum);
      for (; i < count; ++i) {
        to[i] = uint8_t(in[i] ^ flip);
        total += int8_t(to[i]);
      }
      return total;
    });
    a += row.bytes_per_k * padded;
  }
}

#include "../isa/end.hpp"
