// Compiled once for each ISA, with its flags. From the build:
//   LOWBIT_ISA    the tile header        WORDS_NAME   the table's name, if another than LOWBIT_ISA
//   WORDS_NEEDS   the ISA that must be available to run it, likewise
#define WORDS_QUOTE(text) #text
#define WORDS_TEXT(text) WORDS_QUOTE(text)
#define WORDS_PASTE(a, b) a##b
#define WORDS_TABLE(name) WORDS_PASTE(words_, name)
// clang-format off: it would put spaces into the path
#define WORDS_TILE(isa) WORDS_QUOTE(tile/isa.hpp)
// clang-format on
#ifndef WORDS_NAME
#define WORDS_NAME LOWBIT_ISA
#endif
#ifndef WORDS_NEEDS
#define WORDS_NEEDS LOWBIT_ISA
#endif

#include "words.hpp"

#include WORDS_TILE(LOWBIT_ISA)

#include "isa/begin.hpp"

constexpr int greatest(int a, int b) { return a > b ? a : b; }
template <class Tile, int MR, int NV, bool kBytes>
void dot_tile(int64_t steps, const int32_t* start, const uint8_t* codes, const uint8_t* a, ptrdiff_t stride,
              int32_t* out) {
  typename Tile::template Acc<MR, NV> acc;
  acc.start([=](int r) { return start[r]; });
  for (int64_t i = 0; i < steps; ++i) {
    typename Tile::B b[NV];
    for (int j = 0; j < NV; ++j) {
      Vec::I dwords[Tile::kStep / 4];
      for (int d = 0; d < Tile::kStep / 4; ++d) {
        dwords[d] = Vec::iload(codes + ((i * (Tile::kStep / 4) + d) * NV + j) * 4 * Vec::kLanes);
      }
      b[j] = Tile::template prepare<kBytes>(dwords);
    }
    acc.mac(b, a + i * Tile::kStep * Tile::kBytesPerK, stride);
  }
  for (int r = 0; r < MR; ++r) {
    for (int j = 0; j < NV; ++j) Vec::istore(out + (r * NV + j) * Vec::kLanes, acc.get(r, j));
  }
}

template <class Tile, int MR, int NV>
void dot(int rows, int vecs, bool bytes, int64_t steps, const int32_t* start, const uint8_t* codes, const uint8_t* a,
         ptrdiff_t stride, int32_t* out) {
  if constexpr (MR > 1) {
    if (rows < MR) return dot<Tile, MR - 1, NV>(rows, vecs, bytes, steps, start, codes, a, stride, out);
  }
  if constexpr (NV > 1) {
    if (vecs < NV) return dot<Tile, MR, NV - 1>(rows, vecs, bytes, steps, start, codes, a, stride, out);
  }
  (bytes ? dot_tile<Tile, MR, NV, true> : dot_tile<Tile, MR, NV, false>)(steps, start, codes, a, stride, out);
}

template <class Tile>
constexpr TileWords tile_words(int most_byte, int most_code, int byte_zero,
                               void (*widen)(const int8_t* a, int64_t k, uint8_t* out)) {
  constexpr int rows =
      greatest(greatest(Tile::kCodesRows, Tile::kGroupsRows), greatest(Tile::kScaledRows, Tile::kGemvRows));
  constexpr int vecs =
      greatest(greatest(Tile::kCodesVecs, Tile::kGroupsVecs), greatest(Tile::kScaledVecs, Tile::kGemvVecs));
  return {Tile::kBytesPerK, Tile::kStep, Tile::kBias, most_byte, most_code,
          byte_zero,        rows,        vecs,        widen,     dot<Tile, rows, vecs>};
}

template <class Tile>
constexpr TileWords small_words() {
  if constexpr (Tile::kSmallBits > 0) {
    constexpr int most = (1 << Tile::kSmallBits) - 1;
    return tile_words<typename Tile::Small>(
        2 * most, most, Tile::Small::kBias,
        [](const int8_t* a, int64_t k, uint8_t* out) { LOWBIT_COPY(out, a, size_t(k)); });
  } else {
    return {};
  }
}

template <class Fn>
void fold_rows(const float* rows, float* out, Fn fn) {
  Vec::F v[Vec::kLanes];
  for (int i = 0; i < Vec::kLanes; ++i) v[i] = Vec::load(rows + i * Vec::kLanes);
  Vec::store(out, Vec::fold_rows(v, fn));
}

#define FLOAT2(word) \
  [](const float* a, const float* b, float* out) { Vec::store(out, Vec::word(Vec::load(a), Vec::load(b))); }
#define INT2(word) \
  [](const int32_t* a, const int32_t* b, int32_t* out) { Vec::istore(out, Vec::word(Vec::iload(a), Vec::iload(b))); }
#define SHIFT(word) [](const int32_t* a, int n, int32_t* out) { Vec::istore(out, Vec::word(Vec::iload(a), n)); }

constexpr Words kWords = {
    WORDS_TEXT(WORDS_NAME),
    WORDS_TEXT(WORDS_NEEDS),
    Vec::kLanes,
    [](const float* p, float* out) { Vec::store(out, Vec::load(p)); },
    [](const float* p, int n, float* out) { Vec::store(out, Vec::load_n(p, n)); },
    [](float* p, const float* a) { Vec::store(p, Vec::load(a)); },
    [](float* p, const float* a, int n) { Vec::store_n(p, Vec::load(a), n); },
    [](const void* p, int32_t* out) { Vec::istore(out, Vec::iload(p)); },
    [](const int32_t* p, int n, int32_t* out) { Vec::istore(out, Vec::iload_n(p, n)); },
    [](void* p, const int32_t* a) { Vec::istore(p, Vec::iload(a)); },
    [](int32_t* p, const int32_t* a, int n) { Vec::istore_n(p, Vec::iload(a), n); },
    [](const uint8_t* p, int32_t* out) { Vec::istore(out, Vec::load_u8(p)); },
    [](const uint8_t* p, int n, int32_t* out) { Vec::istore(out, Vec::load_u8_n(p, n)); },
    [](uint8_t* p, const int32_t* a) { Vec::store_u8(p, Vec::iload(a)); },
    [](uint8_t* p, const int32_t* a, int n) { Vec::store_u8_n(p, Vec::iload(a), n); },
    [](const uint16_t* p, int32_t* out) { Vec::istore(out, Vec::load_u16(p)); },
    [](const uint16_t* p, int n, int32_t* out) { Vec::istore(out, Vec::load_u16_n(p, n)); },
    [](uint16_t* p, const int32_t* a) { Vec::store_u16(p, Vec::iload(a)); },
    [](uint16_t* p, const int32_t* a, int n) { Vec::store_u16_n(p, Vec::iload(a), n); },
    [](const uint16_t* p, float* out) { Vec::store(out, Vec::load_half(p)); },
    [](float a, float* out) { Vec::store(out, Vec::set(a)); },
    FLOAT2(add),
    FLOAT2(sub),
    FLOAT2(mul),
    FLOAT2(div),
    FLOAT2(min),
    FLOAT2(max),
    [](const float* a, const float* b, const float* c, float* out) {
      Vec::store(out, Vec::fma(Vec::load(a), Vec::load(b), Vec::load(c)));
    },
    [](const float* a, int32_t* out) { Vec::istore(out, Vec::bits(Vec::load(a))); },
    [](const int32_t* a, float* out) { Vec::store(out, Vec::from_bits(Vec::iload(a))); },
    [](const float* a, const float* b, const float* yes, const float* no, float* out) {
      Vec::store(out, Vec::select(Vec::less(Vec::load(a), Vec::load(b)), Vec::load(yes), Vec::load(no)));
    },
    [](const float* a, const float* yes, const float* no, float* out) {
      Vec::store(out, Vec::select(Vec::is_nan(Vec::load(a)), Vec::load(yes), Vec::load(no)));
    },
    [](const float* a, int32_t* out) { Vec::istore(out, Vec::round(Vec::load(a))); },
    [](const int32_t* a, float* out) { Vec::store(out, Vec::to_float(Vec::iload(a))); },
    [](int32_t a, int32_t* out) { Vec::istore(out, Vec::iset(a)); },
    INT2(iadd),
    INT2(isub),
    INT2(imul),
    INT2(imax),
    INT2(iand),
    INT2(ior),
    INT2(ixor),
    INT2(sub_bytes),
    SHIFT(shl),
    SHIFT(shr),
    SHIFT(sra),
    [](const float* table, const int32_t* index, float* out) {
      Vec::store(out, Vec::pick(Vec::table(table), Vec::iload(index)));
    },
    [](const void* p, ptrdiff_t stride, int32_t* out) { Vec::istore(out, Vec::load_quads(p, stride)); },
    [](void* p, ptrdiff_t stride, const int32_t* a) { Vec::store_quads(p, stride, Vec::iload(a)); },
    INT2(shuffle),
    [](uint64_t a, int32_t* out) { Vec::istore(out, Vec::set64(a)); },
    SHIFT(shl64),
    SHIFT(shr64),
    [](void* p, const int32_t* a) {
      Vec::stream(p, Vec::iload(a));
      Vec::fence();
    },
    [](const float* rows, float* out) {
      fold_rows(rows, out, [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::min(a, b); });
    },
    [](const float* rows, float* out) {
      fold_rows(rows, out, [](Vec::F a, Vec::F b) LOWBIT_ALWAYS { return Vec::max(a, b); });
    },
    [](const int32_t* a) { return Vec::reduce_add(Vec::iload(a)); },
    [](const int32_t* a) { return Vec::reduce_max(Vec::iload(a)); },
    [](const float* a) { return Vec::reduce_min(Vec::load(a)); },
    [](const float* a) { return Vec::reduce_max(Vec::load(a)); },
    tile_words<Tile>(255, 127, 128, [](const int8_t* a, int64_t k, uint8_t* out) { Tile::widen(a, k, out); }),
    small_words<Tile>(),
};

#include "isa/end.hpp"

const Words WORDS_TABLE(WORDS_NAME) = lowbit::LOWBIT_ISA::kWords;
