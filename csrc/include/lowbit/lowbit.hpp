// lowbit for C++17: lowbit.h with exceptions and destructors. Header only; all computing is the library's.
//
//   lowbit::Context context;  // or with a parallel_for of your own
//   const lowbit::Quantized q = lowbit::quantize(context, w, n, k, LOWBIT_INT(4), LOWBIT_FULL, 32);
//   const lowbit::PackedWeights packed = lowbit::pack(context, q);
//   lowbit::Buffer workspace;  // kept from call to call, one for each calling thread
//   lowbit_matmul_args args = lowbit::matmul_args(packed, x, m, out);
//   args.bias = bias;
//   lowbit::matmul(context, args, workspace);
//
// A Context, and the data() of everything else, can be handed to the functions of lowbit.h, which has the rules.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef LOWBIT_LOWBIT_HPP_
#define LOWBIT_LOWBIT_HPP_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

#include "lowbit.h"

namespace lowbit {
// The library has a namespace lowbit inside, with other things of these names.
inline namespace cpp {

// ---- errors ---------------------------------------------------------------------------------------------------------

class Error : public std::runtime_error {
 public:
  explicit Error(const lowbit_error& error) : std::runtime_error(error.message), status_(error.status) {}
  lowbit_status status() const noexcept { return status_; }

 private:
  lowbit_status status_;
};

// Calls f(lowbit_error*), and throws the Error that it reports.
template <class F>
void check(F f) {
  lowbit_error error;
  if (f(&error) != LOWBIT_OK) throw Error(error);
}

// A struct of lowbit.h: zeros, its size set.
template <class Struct>
Struct make() {
  Struct value = {};
  value.struct_size = sizeof value;
  return value;
}

// ---- context, memory, formats ---------------------------------------------------------------------------------------

// An instruction set and a way to run in parallel. Freely copied; a pool has to outlive the calls that use it.
class Context {
 public:
  // Everything runs on the calling thread. isa: NULL for the best.
  explicit Context(const char* isa = nullptr) : Context(nullptr, nullptr, 1, isa) {}
  Context(lowbit_parallel_for parallel_for, void* pool, int max_threads, const char* isa = nullptr) {
    lowbit_options options = make<lowbit_options>();
    options.isa = isa;
    options.parallel_for = parallel_for;
    options.pool = pool;
    options.max_threads = max_threads;
    check([&](lowbit_error* error) { return lowbit_context_init(&context_, &options, error); });
  }

  const char* isa() const noexcept { return lowbit_context_isa(&context_); }
  operator const lowbit_context*() const noexcept { return &context_; }

 private:
  lowbit_context context_;
};

// Bytes aligned to LOWBIT_ALIGNMENT, uninitialised.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size) : data_(size > 0 ? ::operator new(size, kAlignment) : nullptr), size_(size) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, size_t{0})) {}
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer taken(std::move(other));
    std::swap(data_, taken.data_);
    std::swap(size_, taken.size_);
    return *this;
  }
  ~Buffer() { ::operator delete(data_, kAlignment); }

  // NULL without bytes.
  void* data() noexcept { return data_; }
  const void* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  template <class T>
  T* as() noexcept {
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* as() const noexcept {
    return static_cast<const T*>(data_);
  }

  // At least so many bytes. Where that takes new ones, what was in the old ones is lost.
  void reserve(size_t size) {
    if (size > size_) *this = Buffer(size);
  }

 private:
  static constexpr std::align_val_t kAlignment{LOWBIT_ALIGNMENT};
  void* data_ = nullptr;
  size_t size_ = 0;
};

inline lowbit_format format(const char* name) {
  lowbit_format found = 0;
  check([&](lowbit_error* error) { return lowbit_format_by_name(name, &found, error); });
  return found;
}

inline lowbit_format_info describe(lowbit_format format) {
  lowbit_format_info info = make<lowbit_format_info>();
  check([&](lowbit_error* error) { return lowbit_format_describe(format, &info, error); });
  return info;
}

// ---- quantize -------------------------------------------------------------------------------------------------------

// A matrix of rows x row_length codes, with a scale (and a zero point) for each group of a row.
struct Quantized {
  lowbit_format format = 0;
  lowbit_runs runs = {};
  lowbit_type scale_type = LOWBIT_NONE;
  float global_scale = 0;               // 0: none
  lowbit_type zero_type = LOWBIT_NONE;  // LOWBIT_NONE: no zero points
  Buffer codes, scale, zero_point;
};

// group_size: 0 for whole rows. Block formats have group_size and scale_type of their own, which are taken.
// lowbit_quantize says what can be thrown.
inline Quantized quantize(const Context& context, const float* x, int64_t rows, int64_t row_length,
                          lowbit_format format, lowbit_convention convention, int64_t group_size = 0,
                          lowbit_type scale_type = LOWBIT_FLOAT32, float global_scale = 0) {
  size_t codes_size = 0;
  check([&](lowbit_error* error) { return lowbit_codes_size(format, rows, row_length, &codes_size, error); });
  const lowbit_format_info info = describe(format);
  const int64_t run = info.group_size > 0 ? info.group_size : group_size > 0 ? group_size : row_length;
  const int64_t groups = row_length > 0 ? row_length / run + (row_length % run != 0) : 1;
  Quantized q;
  q.format = format;
  q.runs = {rows, row_length, run, 1, rows * groups};
  q.scale_type = info.scale_type != LOWBIT_NONE ? info.scale_type : scale_type;
  q.global_scale = global_scale;
  q.codes = Buffer(codes_size);
  q.scale = Buffer(static_cast<size_t>(q.runs.params) * lowbit_type_size(q.scale_type));
  if (info.kind == LOWBIT_KIND_INTEGER && (convention == LOWBIT_ASYMMETRIC || info.qmin == 0)) {
    q.zero_type = info.qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
    q.zero_point = Buffer(static_cast<size_t>(q.runs.params));
  }

  // of rows without elements
  if (q.scale.size() > 0) std::memset(q.scale.data(), 0, q.scale.size());
  if (q.zero_point.size() > 0) std::memset(q.zero_point.data(), 0, q.zero_point.size());

  lowbit_quantize_args args = make<lowbit_quantize_args>();
  args.format = format;
  args.runs = q.runs;
  args.x = x;
  args.find_params = 1;
  args.convention = convention;
  args.scale_type = q.scale_type;
  args.global_scale = global_scale;
  args.scale = q.scale.data();
  args.zero_type = q.zero_type;
  args.zero_point = q.zero_point.data();
  args.codes = q.codes.data();
  check([&](lowbit_error* error) { return lowbit_quantize(context, &args, error); });
  return q;
}

// out: rows x row_length.
inline void dequantize(const Context& context, const Quantized& q, float* out) {
  lowbit_dequantize_args args = make<lowbit_dequantize_args>();
  args.format = q.format;
  args.runs = q.runs;
  args.codes = q.codes.data();
  args.scale_type = q.scale_type;
  args.global_scale = q.global_scale;
  args.scale = q.scale.data();
  args.zero_type = q.zero_type;
  args.zero_point = q.zero_point.data();
  args.out = out;
  check([&](lowbit_error* error) { return lowbit_dequantize(context, &args, error); });
}

// ---- packed weights -------------------------------------------------------------------------------------------------

// The right-hand operand of products: W of shape (n, k). The bytes may be kept in a file, for any CPU.
class PackedWeights {
 public:
  // As lowbit_pack_weights takes them.
  PackedWeights(const Context& context, const lowbit_weights_info& info, const void* codes, const void* scale,
                const void* zero_point = nullptr) {
    size_t size = 0;
    check([&](lowbit_error* error) { return lowbit_packed_size(&info, &size, error); });
    bytes_ = Buffer(size);
    check([&](lowbit_error* error) {
      return lowbit_pack_weights(context, &info, codes, scale, zero_point, bytes_.data(), error);
    });
    describe();
  }

  // A copy of bytes that data() and size() gave once. Throws where they are not packed weights of this version.
  static PackedWeights load(const void* bytes, size_t size) {
    Buffer copy(size);
    if (size > 0) std::memcpy(copy.data(), bytes, size);
    return PackedWeights(std::move(copy));
  }
  // The same without the copy.
  explicit PackedWeights(Buffer bytes) : bytes_(std::move(bytes)) { describe(); }

  const void* data() const noexcept { return bytes_.data(); }
  size_t size() const noexcept { return bytes_.size(); }
  const lowbit_weights_info& info() const noexcept { return info_; }
  int64_t n() const noexcept { return info_.n; }
  int64_t k() const noexcept { return info_.k; }

  // As lowbit_unpack_weights fills them.
  void unpack(const Context& context, void* codes, void* scale, void* zero_point = nullptr) const {
    check([&](lowbit_error* error) {
      return lowbit_unpack_weights(context, data(), size(), codes, scale, zero_point, error);
    });
  }

 private:
  void describe() {
    check([&](lowbit_error* error) { return lowbit_packed_describe(data(), size(), &info_, error); });
  }

  Buffer bytes_;
  lowbit_weights_info info_ = make<lowbit_weights_info>();
};

inline PackedWeights pack(const Context& context, const Quantized& q) {
  lowbit_weights_info info = make<lowbit_weights_info>();
  info.format = q.format;
  info.n = q.runs.rows;
  info.k = q.runs.row_length;
  info.group_size = q.runs.run;
  info.scale_type = q.scale_type;
  info.global_scale = q.global_scale;
  info.zero_type = q.zero_type;
  return PackedWeights(context, info, q.codes.data(), q.scale.data(), q.zero_point.data());
}

// ---- products -------------------------------------------------------------------------------------------------------

// out (m, n) = x (m, k) @ W^T, both float32 and contiguous, computed as suits the format; more is for the caller to
// set.
inline lowbit_matmul_args matmul_args(const PackedWeights& weights, const float* x, int64_t m, float* out) {
  lowbit_matmul_args args = make<lowbit_matmul_args>();
  args.weights = weights.data();
  args.weights_size = weights.size();
  args.m = m;
  args.k = args.ldx = weights.k();
  args.x_type = LOWBIT_FLOAT32;
  args.x = x;
  args.compute = describe(weights.info().format).default_compute;
  args.out = out;
  args.ldout = weights.n();
  return args;
}

// The products of lowbit.h, in a workspace that grows to what they need.
inline void matmul(const Context& context, lowbit_matmul_args args, Buffer& workspace) {
  size_t size = 0;
  check([&](lowbit_error* error) { return lowbit_matmul_workspace(context, &args, &size, error); });
  workspace.reserve(size);
  args.workspace = workspace.data();
  args.workspace_size = workspace.size();
  check([&](lowbit_error* error) { return lowbit_matmul(context, &args, error); });
}

inline void matmul_int(const Context& context, lowbit_matmul_int_args args, Buffer& workspace) {
  size_t size = 0;
  check([&](lowbit_error* error) { return lowbit_matmul_int_workspace(context, &args, &size, error); });
  workspace.reserve(size);
  args.workspace = workspace.data();
  args.workspace_size = workspace.size();
  check([&](lowbit_error* error) { return lowbit_matmul_int(context, &args, error); });
}

inline void matmul_grouped(const Context& context, const lowbit_matmul_args* args, int64_t count, Buffer& workspace) {
  size_t size = 0;
  check([&](lowbit_error* error) { return lowbit_matmul_grouped_workspace(context, args, count, &size, error); });
  workspace.reserve(size);
  check([&](lowbit_error* error) {
    return lowbit_matmul_grouped(context, args, count, workspace.data(), workspace.size(), error);
  });
}

}  // namespace cpp
}  // namespace lowbit

#endif  // LOWBIT_LOWBIT_HPP_
