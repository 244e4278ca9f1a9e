// Any floats in any format: cast, quantize and dequantize give the same bits on every ISA, and what is quantized is
// within reach of what it was.
#include "fuzz.hpp"

using namespace fuzz;

namespace {

std::vector<lowbit_context> contexts() {
  std::vector<lowbit_context> all;
  for (int i = 0; const char* name = lowbit_available_isa(i); ++i) {
    lowbit_options options = {};
    options.struct_size = sizeof options;
    options.isa = name;
    options.max_threads = i % 2 ? 5 : 1;
    options.parallel_for = &backwards;
    all.emplace_back();
    REQUIRE(lowbit_context_init(&all.back(), &options, nullptr) == LOWBIT_OK);
  }
  return all;
}

// The bits of floats but for the payloads of NaN.
std::vector<uint32_t> bits_of(const float* x, size_t count) {
  std::vector<uint32_t> bits(count);
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(&bits[i], x + i, 4);
    if (x[i] != x[i]) bits[i] = 0x7fc00000u;
  }
  return bits;
}

void cast(Input* in, Memory* memory, const lowbit_context& context, std::vector<uint8_t>* codes,
          std::vector<uint32_t>* numbers, size_t count, const std::vector<float>& x, lowbit_cast_args how) {
  const size_t bytes = type_bytes(how.to);
  how.struct_size = sizeof how;
  how.from = LOWBIT_FLOAT32;
  how.count = int64_t(count);
  float* from = memory->array<float>(double(count));
  uint8_t* to = memory->array<uint8_t>(double(count), bytes);
  float* back = memory->array<float>(double(count));
  if (!from || !to || !back) return;
  std::copy(x.begin(), x.end(), from);
  how.x = from;
  how.out = to;
  Error error;
  if (!error.check(lowbit_cast(&context, &how, error.to(in)))) return;
  codes->assign(to, to + count * bytes);
  std::swap(how.from, how.to);
  how.x = to;
  how.out = back;
  how.rounding = LOWBIT_NEAREST_EVEN;
  REQUIRE(lowbit_cast(&context, &how, nullptr) == LOWBIT_OK);
  *numbers = bits_of(back, count);
}

void casts(Input* in, Memory* memory) {
  static const std::vector<lowbit_context> all = contexts();
  lowbit_cast_args how = {};
  how.to =
      in->one_of({LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E4M3FN, LOWBIT_FLOAT8_E5M2, LOWBIT_FLOAT8_E4M3FNUZ,
                  LOWBIT_FLOAT8_E5M2FNUZ, LOWBIT_FLOAT8_E4M3, LOWBIT_FLOAT8_E3M4, LOWBIT_FLOAT8_E4M3B11FNUZ,
                  LOWBIT_FLOAT8_E8M0FNU, LOWBIT_FLOAT6_E2M3FN, LOWBIT_FLOAT6_E3M2FN, LOWBIT_FLOAT4_E2M1FN});
  how.rounding = static_cast<lowbit_rounding>(in->pick(4));
  how.saturate = in->pick(2);
  how.seed = in->take<uint64_t>();
  std::vector<float> x(in->take<uint16_t>() % 700);
  memory->fill(x.data(), x.size());
  for (size_t i = 0; i < x.size() && i < 16; ++i) {
    if (const uint32_t bits = in->take<uint32_t>()) std::memcpy(&x[i], &bits, 4);
  }
  std::vector<uint8_t> codes, first_codes;
  std::vector<uint32_t> numbers, first_numbers;
  for (const lowbit_context& context : all) {
    codes.clear();
    cast(in, memory, context, &codes, &numbers, x.size(), x, how);
    if (codes.empty()) continue;
    if (first_codes.empty()) {
      first_codes = codes;
      first_numbers = numbers;
    }
    REQUIRE(codes == first_codes && numbers == first_numbers);
  }
}

void quantize(Input* in, Memory* memory) {
  static const std::vector<lowbit_context> all = contexts();
  const lowbit_format format = format_of(in);
  const lowbit_format_info info = describe(format);
  if (!info.bits) return;
  const int64_t rows = 1 + in->pick(5), length = 1 + in->take<uint16_t>() % 500;
  const bool by_rows = in->maybe();
  const int64_t run = by_rows ? length : 1 + in->pick(130);
  const int64_t params = rows * ((length + run - 1) / run);
  const lowbit_runs runs = {rows, length, run, 1, params};
  std::vector<float> x(size_t(rows * length));
  memory->fill(x.data(), x.size());
  for (size_t i = 0; i < x.size() && i < 16; ++i) {
    if (const uint32_t bits = in->take<uint32_t>()) std::memcpy(&x[i], &bits, 4);
  }
  lowbit_quantize_args args = {};
  args.struct_size = sizeof args;
  args.format = format;
  args.runs = runs;
  args.find_params = !in->rarely();
  args.convention = static_cast<lowbit_convention>(in->pick(5));
  args.scale_type =
      in->one_of({LOWBIT_FLOAT32, LOWBIT_FLOAT16, LOWBIT_BFLOAT16, LOWBIT_FLOAT8_E8M0FNU, LOWBIT_FLOAT8_E4M3FN});
  args.global_scale = in->one_of({0.0f, 1.0f, 0.37f});
  args.zero_type = info.qmin < 0 ? LOWBIT_INT8 : LOWBIT_UINT8;
  const bool zeros = info.kind == LOWBIT_KIND_INTEGER && in->maybe();
  const size_t scale_bytes = type_bytes(args.scale_type);
  const size_t code_size = size_t(code_bytes(info.bits, double(rows), double(length)));
  std::vector<uint8_t> scale(size_t(params) * scale_bytes), zero(static_cast<size_t>(params));
  memory->fill_bytes(scale.data(), scale.size());
  memory->fill_bytes(zero.data(), zero.size());

  std::vector<uint8_t> first;
  std::vector<uint32_t> first_numbers;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<uint8_t> s = scale, z = zero, codes(code_size);
    std::vector<float> back(x.size());
    args.x = x.data();
    args.scale = s.data();
    args.zero_point = zeros ? z.data() : nullptr;
    args.codes = codes.data();
    Error error;
    const bool good = error.check(lowbit_quantize(&all[i], &args, error.to(in)));
    if (i > 0) REQUIRE(good == !first.empty());
    if (!good) continue;
    lowbit_dequantize_args back_args = {sizeof back_args,  format,     runs,           codes.data(),    args.scale_type,
                                        args.global_scale, args.scale, args.zero_type, args.zero_point, back.data()};
    REQUIRE(lowbit_dequantize(&all[i], &back_args, nullptr) == LOWBIT_OK);
    codes.insert(codes.end(), s.begin(), s.end());
    if (zeros) codes.insert(codes.end(), z.begin(), z.end());
    const std::vector<uint32_t> numbers = bits_of(back.data(), back.size());
    if (i == 0) {
      first = codes;
      first_numbers = numbers;
    }
    REQUIRE(codes == first && numbers == first_numbers);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  Memory memory(&in);
  if (in.maybe()) {
    casts(&in, &memory);
  } else {
    quantize(&in, &memory);
  }
  return 0;
}
