// Every tile of csrc/tile against sums in 64 bits, on every ISA of this CPU and on 4, 8 and 16 emulated lanes.
// Bug classes 9 (pairs that saturate), 10 (lanes that overflow), 11 (-128), 12 (int32 sums), 17 (dirty buffers),
// 31 (inputs reach both extremes).
#include <cstdint>
#include <string>
#include <vector>

#include "available.hpp"
#include "test.hpp"

namespace {

struct Shape {
  const TileWords* tile;
  int rows, vecs;
  bool bytes;
  int64_t steps;
};

// What row r's sums start from, of either sign.
int64_t first_sum(int r) { return r % 2 ? -1000 * r : 1000 * r; }

// Fills codes and activations from fn(k, column or row), multiplies, and compares with 64-bit sums.
template <class Code, class Activation>
void check_dot(const Words& words, const Shape& shape, Code code, Activation activation) {
  const TileWords& w = *shape.tile;
  const int64_t k = shape.steps * w.step;
  const int columns = shape.vecs * words.lanes;

  std::vector<uint8_t> codes(static_cast<std::size_t>(k * columns));
  for (int64_t i = 0; i < k; ++i) {
    for (int c = 0; c < columns; ++c) codes[static_cast<std::size_t>((i / 4 * columns + c) * 4 + i % 4)] = code(i, c);
  }

  // `widen` takes multiples of 8; a row has a gap behind it
  const int64_t padded = (k + 7) / 8 * 8;
  const ptrdiff_t stride = padded * w.bytes_per_k + 24;
  std::vector<uint8_t> rows(static_cast<std::size_t>(stride * shape.rows), 0x80);
  std::vector<int32_t> start(static_cast<std::size_t>(shape.rows));
  std::vector<int64_t> sums(static_cast<std::size_t>(shape.rows));
  for (int r = 0; r < shape.rows; ++r) {
    std::vector<int8_t> a(static_cast<std::size_t>(padded));
    for (int64_t i = 0; i < k; ++i) {
      a[static_cast<std::size_t>(i)] = activation(i, r);
      sums[static_cast<std::size_t>(r)] += a[static_cast<std::size_t>(i)];
    }
    w.widen(a.data(), padded, rows.data() + r * stride);
    const int64_t bias = shape.bytes ? w.bias : 0;
    start[static_cast<std::size_t>(r)] =
        static_cast<int32_t>(static_cast<uint32_t>(first_sum(r) - bias * sums[static_cast<std::size_t>(r)]));
  }

  std::vector<int32_t> out(static_cast<std::size_t>(shape.rows * columns), 0x55555555);
  w.dot(shape.rows, shape.vecs, shape.bytes, shape.steps, start.data(), codes.data(), rows.data(), stride, out.data());

  for (int r = 0; r < shape.rows; ++r) {
    for (int c = 0; c < columns; ++c) {
      int64_t expected = first_sum(r);
      for (int64_t i = 0; i < k; ++i)
        expected += (code(i, c) - (shape.bytes ? w.byte_zero : 0)) * int64_t{activation(i, r)};
      const int32_t got = out[static_cast<std::size_t>(r * columns + c)];
      if (got != static_cast<int32_t>(static_cast<uint32_t>(expected))) {
        test::failed(__FILE__, __LINE__,
                     std::string(words.name) + " " + test::show(shape.rows) + "x" + test::show(shape.vecs) +
                         (shape.bytes ? " bytes" : "") + ", row " + test::show(r) + ", column " + test::show(c) + ": " +
                         test::show(got) + ", expected " + test::show(expected));
      }
    }
  }
}

template <class Fn>
void each_tile(Fn fn) {
  for (const Words* words : available_words()) {
    for (const TileWords* tile : {&words->tile, &words->small}) {
      if (tile->step > 0) fn(*words, *tile);
    }
  }
}

template <class Fn>
void each_shape(int64_t steps, Fn fn) {
  each_tile([&](const Words& words, const TileWords& tile) {
    for (int rows = 1; rows <= tile.most_rows; ++rows) {
      for (int vecs = 1; vecs <= tile.most_vecs; ++vecs) {
        for (const bool bytes : {false, true}) fn(words, Shape{&tile, rows, vecs, bytes, steps});
      }
    }
  });
}

int most(const Shape& shape) { return shape.bytes ? shape.tile->most_byte : shape.tile->most_code; }

}  // namespace

// Every extreme code with every extreme activation, the same throughout: the largest sums there are.
TEST(tile_extremes) {
  each_shape(5, [](const Words& w, const Shape& shape) {
    for (const int code : {0, 1, most(shape) / 2, most(shape) / 2 + 1, most(shape)}) {
      for (const int activation : {-128, -127, -1, 0, 127}) {
        check_dot(
            w, shape, [&](int64_t, int) { return static_cast<uint8_t>(code); },
            [&](int64_t, int) { return static_cast<int8_t>(activation); });
      }
    }
  });
}

// One code and one activation that are not zero: which lane, which byte, which row.
TEST(tile_places) {
  each_tile([](const Words& words, const TileWords& tile) {
    const Shape shape = {&tile, tile.most_rows, tile.most_vecs, false, 2};
    for (int64_t k = 0; k < 2 * tile.step; ++k) {
      for (int row = 0; row < shape.rows; ++row) {
        check_dot(
            words, shape, [&](int64_t i, int c) { return static_cast<uint8_t>(i == k ? c % tile.most_code + 1 : 0); },
            [&](int64_t i, int r) { return static_cast<int8_t>(i == k && r == row ? 3 : 0); });
      }
    }
  });
}

TEST(tile_random) {
  for (const int64_t steps : {1, 2, 3, 33}) {
    each_shape(steps, [](const Words& w, const Shape& shape) {
      const auto mixed = [](int64_t i, int j) {
        uint64_t h = (static_cast<uint64_t>(i) * 64 + static_cast<uint64_t>(j) + 1) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
        return static_cast<int>(h * 0xbf58476d1ce4e5b9u >> 56);
      };
      check_dot(
          w, shape, [&](int64_t i, int c) { return static_cast<uint8_t>(mixed(i, c) % (most(shape) + 1)); },
          [&](int64_t i, int r) { return static_cast<int8_t>(mixed(i, r + 32)); });
    });
  }
}

// The longest sums of one sign that int32 holds, and one step more, which wraps modulo 2^32.
TEST(tile_longest_sums) {
  for (const Words* words : available_words()) {
    for (const int64_t k : {131064, 131072}) {
      check_dot(
          *words, {&words->tile, 1, 1, true, k / words->tile.step}, [](int64_t, int) { return uint8_t{0}; },
          [](int64_t, int) { return int8_t{-128}; });
    }
  }
}
