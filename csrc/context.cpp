#include "context.hpp"

#include <cstring>
#include <type_traits>

#include "dispatch.hpp"
#include "error.hpp"
#include "structs.hpp"

namespace lowbit {
namespace {

constexpr uint64_t kMagic = 0x31'78'74'63'74'62'77'6cU;  // "lwbtctx1"

static_assert(sizeof(Context) <= sizeof(lowbit_context), "lowbit_context is too small");
static_assert(std::is_trivially_copyable<Context>::value, "a lowbit_context may be copied as plain data");

}  // namespace

bool get_context(const lowbit_context* opaque, Context* context, lowbit_error* error) {
  if (!opaque) {
    fail(error, LOWBIT_INVALID_VALUE, "context: got NULL, expected a context that lowbit_context_init has filled");
    return false;
  }
  std::memcpy(context, opaque, sizeof *context);
  if (context->magic != kMagic) {
    fail(error, LOWBIT_INVALID_VALUE,
         "context: got memory that is no context, expected one that lowbit_context_init has filled");
    return false;
  }
  return true;
}

}  // namespace lowbit

lowbit_status lowbit_context_init(lowbit_context* context, const lowbit_options* given, lowbit_error* error) {
  using namespace lowbit;
  if (!context) return fail(error, LOWBIT_INVALID_VALUE, "context: got NULL, expected a lowbit_context to fill");
  lowbit_options options = {};
  options.max_threads = 1;
  if (given) {
    if (const lowbit_status status = read_struct(given, "options", &options, error)) return status;
  }
  if (options.max_threads < 1)
    return fail(error, LOWBIT_INVALID_VALUE, "options.max_threads: got %d, expected at least 1", options.max_threads);
  const Kernels* kernels = find_kernels(options.isa, error);
  if (!kernels) return LOWBIT_UNAVAILABLE;

  Context value = {kMagic, kernels, nullptr, nullptr, 1};
  if (options.parallel_for) {
    value.fn = options.parallel_for;
    value.pool = options.pool;
    value.max_threads = options.max_threads;
  }
  std::memset(context, 0, sizeof *context);
  std::memcpy(context, &value, sizeof value);
  return ok(error);
}

const char* lowbit_context_isa(const lowbit_context* context) {
  lowbit::Context value;
  return lowbit::get_context(context, &value, nullptr) ? value.kernels->name : nullptr;
}
