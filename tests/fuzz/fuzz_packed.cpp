// Packed weights from elsewhere: valid buffers, then bytes changed, cut off or added. They are described, unpacked and
// multiplied with, or refused; whatever they hold, nothing outside of them is read. Every ISA gives the same bits.
#include "fuzz.hpp"

using namespace fuzz;

namespace {

constexpr size_t kHeader = 128;

// A small matrix of any format, packed.
std::vector<uint8_t> pack(Input* in, Memory* memory, const lowbit_context* context) {
  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  info.format = format_of(in);
  const lowbit_format_info format = describe(info.format);
  info.n = 1 + in->pick(40);
  info.k = in->pick(130);
  info.group_size = in->one_of<int64_t>({0, 32, 16, 128, 1 + in->pick(64)});
  info.scale_type = in->one_of(
      {LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_NONE, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E8M0FNU, LOWBIT_FLOAT8_E4M3FN});
  const lowbit_type byte = format.qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
  if (format.kind == LOWBIT_KIND_INTEGER) {
    info.zero_type = in->one_of({LOWBIT_NONE, byte, LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16});
  }
  size_t size = 0;
  if (lowbit_packed_size(&info, &size, nullptr) != LOWBIT_OK) return {};
  std::vector<uint8_t> codes(size_t(info.n * ((info.k * format.bits + 7) / 8))),
      numbers(size_t(info.n * info.k + info.n) * 4);
  memory->fill_bytes(codes.data(), codes.size());
  memory->fill(reinterpret_cast<float*>(numbers.data()), numbers.size() / 4);
  lowbit_error error;
  std::vector<uint8_t> bytes(size);
  void* packed = std::aligned_alloc(LOWBIT_ALIGNMENT, size);
  REQUIRE(packed);
  const lowbit_status status =
      lowbit_pack_weights(context, &info, codes.empty() ? numbers.data() : codes.data(),
                          info.scale_type == LOWBIT_NONE ? nullptr : numbers.data(),
                          info.zero_type == LOWBIT_NONE ? nullptr : numbers.data(), packed, &error);
  REQUIRE(status == LOWBIT_OK);
  std::memcpy(bytes.data(), packed, size);
  std::free(packed);
  return bytes;
}

void mutate(Input* in, std::vector<uint8_t>* bytes) {
  for (int i = in->pick(6); i > 0; --i) {
    const size_t reach = in->maybe() && bytes->size() > kHeader ? kHeader : bytes->size();
    if (reach == 0) return;
    const size_t at = in->take<uint16_t>() % reach;
    switch (in->pick(4)) {
      case 0: (*bytes)[at] = in->take<uint8_t>(); break;
      case 1: {  // a field of the header
        const int64_t value = in->extent(200);
        const size_t field = at / 4 * 4;
        for (size_t b = 0; b < (in->maybe() ? 8u : 4u) && field + b < bytes->size(); ++b) {
          (*bytes)[field + b] = uint8_t(uint64_t(value) >> (8 * b));
        }
        break;
      }
      case 2: bytes->resize(in->maybe() ? at : bytes->size() - at % 70); break;
      default: bytes->resize(bytes->size() + at % 200, 0xA5);
    }
  }
}

template <typename T>
void canonical_nan(std::vector<T>* values) {
  for (T& x : *values) {
    if (x != x) x = std::numeric_limits<T>::quiet_NaN();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Memory memory(&in);
  const lowbit_context context = context_of(&in);
  std::vector<uint8_t> bytes = pack(&in, &memory, &context);
  mutate(&in, &bytes);
  uint8_t* const packed = memory.aligned(double(bytes.size()));
  if (packed && !bytes.empty()) std::memcpy(packed, bytes.data(), bytes.size());

  lowbit_weights_info info = {};
  info.struct_size = sizeof info;
  Error error;
  if (!error.check(lowbit_packed_describe(packed, bytes.size(), &info, error.to(&in)))) {
    Error second, third;
    REQUIRE(!second.check(
        lowbit_unpack_weights(&context, packed, bytes.size(), nullptr, nullptr, nullptr, second.to(&in))));
    lowbit_matmul_args args = {};
    args.struct_size = sizeof args;
    args.weights = packed;
    args.weights_size = bytes.size();
    size_t needed = 0;
    REQUIRE(!third.check(lowbit_matmul_workspace(&context, &args, &needed, third.to(&in))));
    return 0;
  }

  // What it says fits the buffer, which is small; so are n and k, unless the product is 0.
  const double n = double(info.n), k = double(info.k);
  const double groups = info.group_size > 0 && info.k > 0 ? ceil_div(k, double(info.group_size)) : 1;
  const lowbit_format_info format = describe(info.format);
  REQUIRE(format.bits > 0 && info.n >= 0 && info.k >= 0);
  uint8_t* codes = memory.array<uint8_t>(code_bytes(format.bits, n, k));
  uint8_t* scale = memory.array<uint8_t>(n * groups, type_bytes(info.scale_type));
  uint8_t* zero = memory.array<uint8_t>(n * groups, type_bytes(info.zero_type));
  Error unpacked;
  if (unpacked.check(lowbit_unpack_weights(&context, packed, bytes.size(), codes, scale, zero, unpacked.to(&in))) &&
      n * k > 0) {
    // and packing that again gives the buffer, up to what is not read
    size_t again = 0;
    info.struct_size = sizeof info;
    REQUIRE(lowbit_packed_size(&info, &again, nullptr) == LOWBIT_OK);
    REQUIRE(again <= bytes.size());
  }
  if (!(n * k <= 1e6) || n > 1e4 || k > 1e5) return 0;

  const int64_t m = in.pick(20);
  std::vector<float> x(size_t(m * info.k));
  memory.fill(x.data(), x.size());
  std::vector<uint8_t> bytes_x(x.size());
  memory.fill_bytes(bytes_x.data(), bytes_x.size());
  const lowbit_compute compute = in.one_of({LOWBIT_COMPUTE_INT8, LOWBIT_COMPUTE_FLOAT32, LOWBIT_COMPUTE_INT8X2});
  const int64_t act_group = in.one_of<int64_t>({0, -1, 32});
  const lowbit_type a_type = in.one_of({LOWBIT_INT8, LOWBIT_UINT8});
  std::vector<float> first;
  std::vector<int32_t> first_int;
  bool multiplied = false;
  for (int isa = 0; const char* name = lowbit_available_isa(isa); ++isa) {
    lowbit_options options = {};
    options.struct_size = sizeof options;
    options.isa = name;
    options.max_threads = 1 + 2 * in.pick(3);
    options.parallel_for = &backwards;
    lowbit_context each;
    REQUIRE(lowbit_context_init(&each, &options, nullptr) == LOWBIT_OK);

    std::vector<float> out(size_t(m * info.n));
    lowbit_matmul_args args = {};
    args.struct_size = sizeof args;
    args.weights = packed;
    args.weights_size = bytes.size();
    args.m = m;
    args.k = args.ldx = info.k;
    args.x_type = LOWBIT_FLOAT32;
    args.x = x.data();
    args.compute = compute;
    args.act_group_size = act_group;
    args.out = out.data();
    args.ldout = info.n;
    lowbit_error reason;
    const lowbit_status planned = lowbit_matmul_workspace(&each, &args, &args.workspace_size, &reason);
    REQUIRE(isa == 0 || (planned == LOWBIT_OK) == multiplied);
    multiplied = planned == LOWBIT_OK;
    if (multiplied) {
      args.workspace = std::aligned_alloc(LOWBIT_ALIGNMENT, args.workspace_size);
      REQUIRE(lowbit_matmul(&each, &args, &reason) == LOWBIT_OK);
      std::free(args.workspace);
      canonical_nan(&out);
      if (isa == 0) first = out;
      REQUIRE(out.empty() || std::memcmp(out.data(), first.data(), out.size() * 4) == 0);
    }

    std::vector<int32_t> sums(out.size());
    lowbit_matmul_int_args integers = {};
    integers.struct_size = sizeof integers;
    integers.weights = packed;
    integers.weights_size = bytes.size();
    integers.m = m;
    integers.k = integers.lda = info.k;
    integers.a_type = a_type;
    integers.a = bytes_x.data();
    integers.out = sums.data();
    integers.ldout = info.n;
    if (lowbit_matmul_int_workspace(&each, &integers, &integers.workspace_size, &reason) == LOWBIT_OK) {
      integers.workspace = std::aligned_alloc(LOWBIT_ALIGNMENT, integers.workspace_size);
      REQUIRE(lowbit_matmul_int(&each, &integers, &reason) == LOWBIT_OK);
      std::free(integers.workspace);
      if (first_int.empty()) first_int = sums;
      REQUIRE(sums == first_int);
    }
  }
  return 0;
}
