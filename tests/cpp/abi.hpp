// What the tests of the C ABI share: arguments that are right, and ways to get each of them wrong.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "guard.hpp"
#include "lowbit/lowbit.h"
#include "structs.hpp"
#include "test.hpp"

namespace abi {

inline std::set<std::string> seen;  // functions that have been tried

// ---- what good calls are made of ----------------------------------------------------------------------------------

inline void on_the_caller(void*, int64_t n, int, lowbit_task task, void* arg) { task(arg, 0, n, 0); }

inline lowbit_context make_context(int max_threads = 1) {
  lowbit_options options = {};
  options.struct_size = sizeof options;
  options.parallel_for = &on_the_caller;
  options.max_threads = max_threads;
  lowbit_context context;
  CHECK_EQ(lowbit_context_init(&context, &options, nullptr), LOWBIT_OK);
  return context;
}

inline const lowbit_context kContext = make_context();

// 4 rows of 64 in groups of 32: 8 parameters. Weights of 20 x 64.
constexpr int64_t kRows = 4, kLength = 64, kGroup = 32, kParams = 8, kN = 20;
constexpr lowbit_runs kRuns = {kRows, kLength, kGroup, 1, kParams};

// Arrays large enough for everything here, with a byte to spare for misaligned addresses.
struct Memory {
  alignas(64) float x[kRows * kLength + 1], y[kRows * kLength + 1], out[kRows * kLength + 1];
  alignas(64) float low[kParams + 1], high[kParams + 1], scale[kN * 2 + 1], zero[kN * 2 + 1], bias[kN + 1];
  alignas(64) uint8_t codes[kN * kLength + 1], bytes[kN * kLength + 1];
  alignas(64) int64_t counts[kParams * 64 + 1], kept[kParams + 1];
  alignas(64) int32_t zeros[kN + 1];
  alignas(64) uint8_t packed[1 << 14], packed8[1 << 14], other[1 << 14], workspace[1 << 16];
  size_t packed_size, packed8_size;
  lowbit_weights_info info, info8;

  Memory() {
    for (int i = 0; i < kRows * kLength + 1; ++i) x[i] = float(i % 13) - 6;
    std::fill_n(y, kRows * kLength + 1, 1.0f);
    std::fill_n(low, kParams + 1, -3.0f);
    std::fill_n(high, kParams + 1, 5.0f);
    std::fill_n(scale, kN * 2 + 1, 0.5f);
    std::fill_n(zero, kN * 2 + 1, 0.0f);
    std::fill_n(bias, kN + 1, 2.0f);
    std::fill_n(codes, kN * kLength + 1, uint8_t(0x21));
    std::fill_n(bytes, kN * kLength + 1, uint8_t(0));
    std::fill_n(counts, kParams * 64 + 1, int64_t(3));
    std::fill_n(zeros, kN + 1, 1);
    info = {};
    info.struct_size = sizeof info;
    info.format = LOWBIT_INT(4);
    info.n = kN;
    info.k = kLength;
    info.group_size = kGroup;
    info.scale_type = LOWBIT_FLOAT32;
    info.zero_type = LOWBIT_INT8;
    info8 = info;
    info8.format = LOWBIT_INT(8);
    info8.group_size = 0;
    info8.zero_type = LOWBIT_NONE;
    packed_size = pack(info, packed);
    packed8_size = pack(info8, packed8);
  }

  size_t pack(const lowbit_weights_info& which, uint8_t* to) {
    size_t size = 0;
    lowbit_error error = {};
    CHECK_EQ(lowbit_packed_size(&which, &size, &error), LOWBIT_OK);
    CHECK(size <= sizeof packed);
    CHECK_EQ(lowbit_pack_weights(&kContext, &which, codes, scale, bytes, to, &error), LOWBIT_OK);
    return size;
  }
};

inline Memory& memory() {
  static Memory all;
  return all;
}

template <class T>
T* misaligned(T* p) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(p) + 1);
}

inline lowbit_matmul_args matmul_args() {
  Memory& m = memory();
  lowbit_matmul_args args = {};
  args.struct_size = sizeof args;
  args.weights = m.packed;
  args.weights_size = m.packed_size;
  args.m = kRows;
  args.k = kLength;
  args.x_type = LOWBIT_FLOAT32;
  args.x = m.x;
  args.ldx = kLength;
  args.compute = LOWBIT_COMPUTE_INT8;
  args.bias = m.bias;
  args.out = m.out;
  args.ldout = kN;
  args.residual = m.y;
  args.ldresidual = kN;
  args.residual_type = LOWBIT_FLOAT32;
  args.workspace = m.workspace;
  args.workspace_size = sizeof m.workspace;
  return args;
}

// ---- how they are refused -----------------------------------------------------------------------------------------

using Call = std::function<lowbit_status(lowbit_error*)>;

inline void refuse(const char* function, lowbit_status status, const std::string& text, const Call& call) {
  seen.insert(function);
  lowbit_error error;
  std::memset(&error, '#', sizeof error);
  const lowbit_status got = call(&error);
  const bool ended = std::memchr(error.message, 0, sizeof error.message) != nullptr;
  if (got != status || error.status != status || !ended || !std::strstr(error.message, text.c_str())) {
    test::failed(__FILE__, __LINE__,
                 std::string(function) + " should fail with " + test::show(status) + " and \"" + text + "\": got " +
                     test::show(got) + ", \"" + (ended ? error.message : "no text") + "\"");
  }
  if (call(nullptr) != status) test::failed(__FILE__, __LINE__, std::string(function) + " without an error: " + text);
}

inline void accept(const char* function, const Call& call) {
  seen.insert(function);
  lowbit_error error = {LOWBIT_INVALID_TYPE, "old"};
  if (call(&error) != LOWBIT_OK || error.status != LOWBIT_OK || error.message[0] != 0)
    test::failed(__FILE__, __LINE__, std::string(function) + " should succeed: " + error.message);
  if (call(nullptr) != LOWBIT_OK) test::failed(__FILE__, __LINE__, std::string(function) + " without an error");
}

// A context that lowbit_context_init has not filled; call takes one.
template <class F>
void refuse_contexts(const char* function, F call) {
  refuse(function, LOWBIT_INVALID_VALUE, "context: got NULL",
         [=](lowbit_error* error) { return call(nullptr, error); });
  for (const int byte : {0, 0xff}) {
    lowbit_context bad;
    std::memset(&bad, byte, sizeof bad);
    refuse(function, LOWBIT_INVALID_VALUE, "context: got memory that is no context",
           [=](lowbit_error* error) { return call(&bad, error); });
  }
}

// Every size of a struct that no header has had, with nothing behind the struct that could be read: one of those that
// headers have had begins to work again. call(const Struct*, error).
template <class Struct, class F>
void refuse_sizes(const char* function, const std::string& argument, const Struct& good, F call) {
  const Guarded page(sizeof good);
  refuse(function, LOWBIT_INVALID_VALUE, argument + ": got NULL",
         [=](lowbit_error* error) { return call(static_cast<Struct*>(nullptr), error); });
  for (size_t size = 0; size <= sizeof good + 64; ++size) {
    const size_t first = lowbit::StructHistory<Struct>::first_size;
    if (size >= first && size <= sizeof good && size % alignof(Struct) == 0) continue;
    const size_t room = std::min(sizeof good, (size + 15) / 8 * 8);
    uint8_t* const at = page.last<uint8_t>(room);
    std::memcpy(at, &good, room);
    std::memcpy(at, &size, sizeof size);
    refuse(function, LOWBIT_INVALID_VALUE, argument + ".struct_size: got " + std::to_string(size) + ", expected",
           [&](lowbit_error* error) { return call(reinterpret_cast<Struct*>(at), error); });
  }
  for (const size_t size : {SIZE_MAX, SIZE_MAX / 2 + 1, size_t(1) << 32}) {
    Struct bad = good;
    bad.struct_size = size;
    refuse(function, LOWBIT_INVALID_VALUE, argument + ".struct_size: got " + std::to_string(size),
           [&](lowbit_error* error) { return call(&bad, error); });
  }
}

// A function of a context and an argument struct.
template <class Args>
class Function {
 public:
  Function(const char* name, lowbit_status (*function)(const lowbit_context*, const Args*, lowbit_error*), Args args)
      : name_(name), function_(function), good_(args) {
    good_.struct_size = sizeof good_;
    good();
    refuse_contexts(
        name, [=](const lowbit_context* context, lowbit_error* error) { return function(context, &good_, error); });
    refuse_sizes(name, "args", good_,
                 [=](const Args* given, lowbit_error* error) { return function(&kContext, given, error); });
  }

  void good() const {
    good([](Args&) {});
  }
  template <class Change>
  void good(Change change) const {
    Args args = good_;
    change(args);
    accept(name_, [&](lowbit_error* error) { return function_(&kContext, &args, error); });
  }

  template <class Change>
  void bad(const char* text, Change change, lowbit_status status = LOWBIT_INVALID_VALUE) const {
    Args args = good_;
    change(args);
    refuse(name_, status, text, [&](lowbit_error* error) { return function_(&kContext, &args, error); });
  }

  // An array that must be there and aligned, and whose elements have more than one byte.
  template <class T>
  void array(const char* name, T* Args::* field) const {
    bad((std::string(name) + ": got NULL").c_str(), [=](Args& a) { a.*field = nullptr; });
    odd(name, field);
  }
  // One that may be missing.
  template <class T>
  void optional(const char* name, T* Args::* field) const {
    good([=](Args& a) { a.*field = nullptr; });
    odd(name, field);
  }
  template <class T>
  void odd(const char* name, T* Args::* field) const {
    CHECK(good_.*field != nullptr);
    bad((std::string(name) + ": got address").c_str(), [=](Args& a) { a.*field = misaligned(a.*field); });
  }
  // One of bytes.
  template <class T>
  void bytes(const char* name, T* Args::* field) const {
    bad((std::string(name) + ": got NULL").c_str(), [=](Args& a) { a.*field = nullptr; });
  }

  // Shapes that no array has, in a member `runs`.
  void runs() const {
    using R = lowbit_runs;
    for (int64_t R::* field : {&R::rows, &R::row_length, &R::run, &R::rows_per_param, &R::params}) {
      bad("runs: got", [=](Args& a) { a.runs.*field = -1; });
      bad("runs: got", [=](Args& a) { a.runs.*field = std::numeric_limits<int64_t>::min(); });
    }
    for (int64_t R::* field : {&R::run, &R::rows_per_param, &R::params}) {
      bad("runs: got", [=](Args& a) { a.runs.*field = 0; });
    }
    for (int64_t R::* field : {&R::rows, &R::row_length, &R::params}) {
      bad("runs: got", [=](Args& a) { a.runs.*field = std::numeric_limits<int64_t>::max(); });
    }
    bad("runs: got params = 3", [](Args& a) { a.runs.params = 3; });
  }
  void format() const {
    for (const int format : {0, -1, 9, 16, 99, 1 << 30}) {
      bad(("format: got " + std::to_string(format)).c_str(), [=](Args& a) { a.format = format; });
    }
  }
  void scale_type() const {
    for (const int type : {0, 3, -1, 17}) {
      bad(("scale_type: got " + std::to_string(type)).c_str(), [=](Args& a) { a.scale_type = lowbit_type(type); },
          LOWBIT_INVALID_TYPE);
    }
  }
  void global_scale() const {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float global : {-1.0f, infinity, std::numeric_limits<float>::quiet_NaN()}) {
      bad("global_scale: got", [=](Args& a) { a.global_scale = global; });
    }
  }
  template <class Enum>
  void enumeration(const char* name, Enum Args::* field, int most) const {
    for (const int value : {-1, most + 1, std::numeric_limits<int>::max()}) {
      bad(name, [=](Args& a) { a.*field = Enum(value); });
    }
  }

 private:
  const char* name_;
  lowbit_status (*function_)(const lowbit_context*, const Args*, lowbit_error*);
  Args good_;
};

}  // namespace abi
