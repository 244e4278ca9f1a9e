// lowbit_absmean.
#include "../context.hpp"
#include "../error.hpp"
#include "elements.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

struct Sizes {
  float sum;
  int64_t count;
};

float absmean(const Context& context, const RunMap& map, const float* x, int64_t p, bool parallel) {
  double total = 0;
  int64_t count = 0;
  each_segment<Sizes>(
      context, map, p, Elements(map, p).count(), parallel, 1,
      [&](Elements* elements, int64_t length, Sizes* part) {
        float buffer[kSegment];
        elements->read(x, length, buffer);
        context.kernels->absolute_sum(buffer, length, &part->sum, &part->count);
      },
      [&](const Sizes& part) {
        total += double(part.sum);
        count += part.count;
      });
  return count == 0 ? 0.0f : float(total / double(count));
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_absmean(const lowbit_context* opaque, const lowbit_runs* runs, const float* x, float* mean,
                             lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  if (!runs) return fail(error, LOWBIT_INVALID_VALUE, "runs: got NULL, expected a lowbit_runs");
  if (const lowbit_status status = check_runs(*runs, error)) return status;
  const bool empty = runs->rows * runs->row_length == 0;
  if (!empty) {
    if (const lowbit_status status = check_array(x, "x", sizeof *x, error)) return status;
  }
  if (runs->params > 0) {
    if (const lowbit_status status = check_array(mean, "mean", sizeof *mean, error)) return status;
  }
  if (empty) {
    std::fill(mean, mean + runs->params, 0.0f);
    return ok(error);
  }
  const RunMap map = make_map(*runs, true);
  if (threads_share_params(context, map)) {
    for (int64_t p = 0; p < map.params; ++p) mean[p] = absmean(context, map, x, p, true);
    return ok(error);
  }
  parallel_items(context, map.params, ceil_div(map.elements(), map.params), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) mean[p] = absmean(context, map, x, p, false);
  });
  return ok(error);
}
