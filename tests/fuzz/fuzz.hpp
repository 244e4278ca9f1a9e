// What the fuzz targets share: arguments made from the fuzzer's bytes, and memory of exactly the size that the
// documentation asks for, so that AddressSanitizer sees one byte too many.
//
// A target defines LLVMFuzzerTestOneInput; libFuzzer runs it, or replay.cpp does.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <vector>

#include "lowbit/lowbit.h"

namespace fuzz {

// What must hold whatever the input.
#define REQUIRE(...)                                                                  \
  do {                                                                                \
    if (!(__VA_ARGS__)) {                                                             \
      std::fprintf(stderr, "%s:%d: required %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
      std::abort();                                                                   \
    }                                                                                 \
  } while (false)

// Reads the fuzzer's bytes; zeros once they are used up. 0 is the plain choice everywhere.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), left_(size) {}

  template <typename T>
  T take() {
    T value = {};
    const size_t n = left_ < sizeof value ? left_ : sizeof value;
    if (n > 0) std::memcpy(&value, at_, n);
    at_ += n;
    left_ -= n;
    return value;
  }
  int pick(int n) { return take<uint8_t>() % n; }      // 0 … n - 1
  bool rarely() { return take<uint8_t>() >= 252; }     // 1 in 64
  bool maybe() { return (take<uint8_t>() & 1) != 0; }  // 1 in 2
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[pick(int(values.size()))];
  }

  // A size or stride: 0 … most, or now and then one that no memory has.
  int64_t extent(int most) {
    const int byte = take<uint8_t>();
    if (byte < 248) return byte % (most + 1);
    if (byte == 255) return take<int64_t>();
    return one_of<int64_t>({-1, INT64_MIN, INT64_MAX, int64_t{1} << 31, int64_t{1} << 32, int64_t{1} << 46,
                            int64_t{1} << 48, (int64_t{1} << 56) + 1, int64_t{1} << 62});
  }
  // `value`, or now and then any number.
  template <typename T>
  T mostly(T value) {
    return rarely() ? take<T>() : value;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

// Cheap numbers that only the input decides.
class Random {
 public:
  explicit Random(uint32_t seed) : state_(seed * 2654435761u + 1) {}
  uint32_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
  }

 private:
  uint32_t state_;
};

// Arrays for one input, each exactly as long as it is said to be: the byte behind its last one is no one's.
class Memory {
 public:
  static constexpr double kMost = 1 << 20;

  explicit Memory(Input* in) : in_(in), random_(in->take<uint32_t>()) {}
  ~Memory() {
    for (const Block& block : blocks_) std::free(block.data);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // `count` elements; sizes are doubles, which do not overflow. NULL, which every function must refuse where it needs
  // an array, if that is more than a megabyte, and now and then. Aligned as an element is, and seldom better.
  template <typename T>
  T* array(double count, size_t element = sizeof(T)) {
    const size_t wrong = sizeof(T) < element && in_->rarely() ? 1 : 0;  // misaligned: to be refused
    return static_cast<T*>(place(count * double(element), element * size_t(in_->pick(int(64 / element))) + wrong));
  }
  // Aligned to LOWBIT_ALIGNMENT, but for now and then.
  uint8_t* aligned(double bytes) { return static_cast<uint8_t*>(place(bytes, in_->rarely() ? 8 : 0)); }

  // The same with contents.
  float* floats(double count) {
    float* x = array<float>(count);
    if (x && count > 0) fill(x, size_t(count));
    return x;
  }
  template <typename T>
  T* noise(double count, size_t element = sizeof(T)) {
    T* x = array<T>(count, element);
    if (x && count > 0) fill_bytes(x, size_t(count * double(element)));
    return x;
  }
  // A copy of an argument struct, as long as it says it is.
  template <typename T>
  const T* args(T value) {
    if (in_->rarely()) return nullptr;
    value.struct_size = sizeof value;
    if (in_->rarely()) value.struct_size = in_->one_of<size_t>({0, 1, 8, sizeof value - 8, sizeof value + 8, 4096});
    const size_t size = value.struct_size < 8 ? 8 : value.struct_size;
    void* to = allocate(size);
    std::memset(to, 0, size);
    std::memcpy(to, &value, size < sizeof value ? size : sizeof value);
    return static_cast<const T*>(to);
  }

  // The array that was made last is a workspace, which a call may use as it likes.
  void last_is_workspace() {
    if (!blocks_.empty()) blocks_.back().is_output = false;
  }
  // Of all arrays: on failure nothing has been written.
  uint64_t hash() const {
    uint64_t h = 0;
    for (const Block& block : blocks_) {
      for (size_t i = 0; block.is_output && i < block.size; ++i) h = (h ^ block.data[i]) * 0x100000001b3u;
    }
    return h;
  }

  void fill_bytes(void* to, size_t size) {
    uint8_t* bytes = static_cast<uint8_t*>(to);
    for (size_t i = 0; i < size; ++i) bytes[i] = uint8_t(random_.next() >> 11);
  }
  // Numbers of data, or any bits, or those at which formats end.
  void fill(float* x, size_t count) {
    const int kind = in_->pick(4);
    for (size_t i = 0; i < count; ++i) {
      const uint32_t bits = random_.next();
      if (kind == 1 || (kind == 3 && bits % 16 == 0)) {
        std::memcpy(x + i, &bits, sizeof bits);
      } else if (kind == 2) {
        x[i] = special(bits);
      } else {
        x[i] = (float(bits >> 8) - 0x1p23f) * 0x1p-22f;
      }
    }
  }
  float special(uint32_t bits) {
    using Limits = std::numeric_limits<float>;
    static const float numbers[] = {0.0f,
                                    -0.0f,
                                    0.5f,
                                    1.0f,
                                    2.5f,
                                    127.5f,
                                    448.0f,
                                    65504.0f,
                                    0x1p-126f,
                                    0x1p-149f,
                                    0x1p31f,
                                    Limits::max(),
                                    3e-41f,
                                    0x1p-24f,
                                    Limits::infinity(),
                                    Limits::quiet_NaN()};
    const float x = numbers[bits >> 8 & 15];
    return bits & 1 ? -x : x;
  }

 private:
  struct Block {
    uint8_t* data;
    size_t size;
    bool is_output;
  };

  void* place(double bytes, size_t offset) {
    if (!(bytes <= kMost) || in_->rarely()) return nullptr;
    return static_cast<uint8_t*>(allocate((bytes > 0 ? size_t(bytes) : 0) + offset)) + offset;
  }
  void* allocate(size_t size) {
    void* block = nullptr;
    REQUIRE(posix_memalign(&block, 64, size) == 0);
    blocks_.push_back({static_cast<uint8_t*>(block), size, true});
    std::memset(block, 0, size);
    return block;
  }

  Input* in_;
  Random random_;
  std::vector<Block> blocks_;
};

// One error for each call: what the status and the message have to say to each other.
class Error {
 public:
  Error() { std::memset(&error_, 0xA5, sizeof error_); }
  lowbit_error* to(Input* in) {
    wanted_ = !in->rarely();
    return wanted_ ? &error_ : nullptr;
  }
  bool check(lowbit_status status) const {
    REQUIRE(status >= LOWBIT_OK && status <= LOWBIT_UNAVAILABLE);
    if (wanted_) {
      REQUIRE(error_.status == status);
      REQUIRE(std::memchr(error_.message, 0, sizeof error_.message));
      REQUIRE((error_.message[0] == 0) == (status == LOWBIT_OK));
    }
    return status == LOWBIT_OK;
  }

 private:
  lowbit_error error_;
  bool wanted_ = false;
};

// A callback that runs items one by one, the last first, under the thread ids that it may use.
inline void backwards(void*, int64_t n, int max_threads, lowbit_task task, void* arg) {
  for (int64_t i = n - 1; i >= 0; --i) task(arg, i, i + 1, int(i % max_threads));
}

// Any ISA, any number of threads.
inline lowbit_context context_of(Input* in) {
  lowbit_options options = {};
  options.struct_size = sizeof options;
  int count = 0;
  while (lowbit_available_isa(count)) ++count;
  options.isa = lowbit_available_isa(in->pick(count));
  options.max_threads = in->one_of({1, 2, 3, 7, 64, 1024, INT32_MAX});
  options.parallel_for = options.max_threads > 1 ? &backwards : nullptr;
  lowbit_context context;
  lowbit_error error;
  REQUIRE(lowbit_context_init(&context, &options, &error) == LOWBIT_OK);
  return context;
}

// The formats by number, and a wrong one behind the last.
inline lowbit_format format_of(Input* in) {
  static const std::vector<lowbit_format> all = [] {
    std::vector<lowbit_format> ids;
    for (int i = 0; const char* name = lowbit_format_name(i); ++i) {
      lowbit_format id;
      REQUIRE(lowbit_format_by_name(name, &id, nullptr) == LOWBIT_OK);
      ids.push_back(id);
    }
    return ids;
  }();
  return in->mostly(all[size_t(in->pick(int(all.size())))]);
}

// What the documentation says of it; bits is 0 for a format that there is not.
inline lowbit_format_info describe(lowbit_format format) {
  lowbit_format_info info = {};
  info.struct_size = sizeof info;
  if (lowbit_format_describe(format, &info, nullptr) != LOWBIT_OK) info.bits = 0;
  return info;
}

inline double ceil_div(double a, double b) { return b > 0 ? std::ceil(a / b) : 0; }

// Bytes of codes: rows of packed bits below 8 bits.
inline double code_bytes(int bits, double rows, double row_length) { return rows * ceil_div(row_length * bits, 8); }

// Bytes of an element; 8 for what is no type, more than any has.
inline size_t type_bytes(lowbit_type type) {
  if (type == LOWBIT_FLOAT32) return 4;
  if (type == LOWBIT_FLOAT16 || type == LOWBIT_BFLOAT16) return 2;
  return type >= LOWBIT_INT8 && type <= LOWBIT_FLOAT4_E2M1FN ? 1 : 8;
}

}  // namespace fuzz
