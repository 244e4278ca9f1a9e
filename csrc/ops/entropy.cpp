// lowbit_entropy: where to clip so that the quantized distribution diverges least from the observed one
// (docs/numerics.md, "Calibration"). Plain double arithmetic in a written order: the same bits everywhere.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../context.hpp"
#include "../error.hpp"
#include "runs.hpp"

namespace lowbit {
namespace {

constexpr int kMostBins = 4096;

// log x for x > 0: 2 atanh((m - 1) / (m + 1)) to the 21st power, m within [sqrt(1/2), sqrt(2)), and n log 2. That of
// libm has other last bits on other systems.
double logarithm(double x) {
  int n;
  double m = std::frexp(x, &n);
  if (m < 0.70710678118654757) {
    m += m;
    n -= 1;
  }
  const double s = (m - 1) / (m + 1), z = s * s;
  double p = 1.0 / 21;
  for (int k = 19; k > 0; k -= 2) p = p * z + 1.0 / k;
  return double(n) * 0.69314718055994529 + (s + s) * p;
}

double times_log(double x) { return x > 0 ? x * logarithm(x) : 0.0; }

// Sums over the bins before each one.
struct Prefix {
  int64_t count[kMostBins + 1];
  int32_t filled[kMostBins + 1];
  double times_log[kMostBins + 1];

  Prefix(const int64_t* counts, int bins) {
    count[0] = filled[0] = 0;
    times_log[0] = 0;
    for (int b = 0; b < bins; ++b) {
      count[b + 1] = count[b] + counts[b];
      filled[b + 1] = filled[b] + (counts[b] > 0);
      times_log[b + 1] = times_log[b] + lowbit::times_log(double(counts[b]));
    }
  }
};

// The divergence of keeping the first `kept` bins, the rest being clipped into the last of them; infinite where that
// leaves a probability without counterpart.
double divergence(const Prefix& sums, int bins, int kept, int levels) {
  const int64_t total = sums.count[bins], inside = sums.count[kept], clipped = total - inside;
  const int64_t last = sums.count[kept] - sums.count[kept - 1] + clipped;
  const double own = sums.times_log[kept - 1] + times_log(double(last));
  double cross = 0;
  for (int level = 0; level < levels; ++level) {
    const int begin = int(int64_t(level) * kept / levels), end = int(int64_t(level + 1) * kept / levels);
    int64_t count = sums.count[end] - sums.count[begin], filled = sums.filled[end] - sums.filled[begin];
    const int64_t quantized = count;
    if (end == kept && end > begin && clipped > 0) {
      count += clipped;
      filled += sums.filled[kept] == sums.filled[kept - 1];
    }
    if (count == 0) continue;
    if (quantized == 0) return std::numeric_limits<double>::infinity();
    cross += double(count) * logarithm(double(quantized) / double(filled));
  }
  return (own - cross) / double(total) - logarithm(double(total)) + logarithm(double(inside));
}

int64_t best_kept(const int64_t* counts, int bins, int levels, int first) {
  const Prefix sums(counts, bins);
  int best = bins;
  if (sums.count[bins] == 0) return best;
  double least = std::numeric_limits<double>::infinity();
  for (int kept = std::min(first, bins); kept <= bins; ++kept) {
    if (sums.count[kept] == 0) continue;
    const double d = divergence(sums, bins, kept, levels);
    if (d <= least) {
      least = d;
      best = kept;
    }
  }
  return best;
}

}  // namespace
}  // namespace lowbit

using namespace lowbit;

lowbit_status lowbit_entropy(const lowbit_context* opaque, int64_t params, int bins, const int64_t* counts, int levels,
                             int first, int64_t* kept, lowbit_error* error) {
  Context context;
  if (!get_context(opaque, &context, error)) return LOWBIT_INVALID_VALUE;
  if (params < 0 || params > int64_t{1} << 44) {
    return fail(error, LOWBIT_INVALID_VALUE, "params: got %lld, expected 0 to 2^44", static_cast<long long>(params));
  }
  if (bins < 1 || bins > kMostBins) {
    return fail(error, LOWBIT_INVALID_VALUE, "bins: got %d, expected 1 to %d", bins, kMostBins);
  }
  if (levels < 1 || levels > kMostBins || first < 1) {
    return fail(error, LOWBIT_INVALID_VALUE, "levels, first: got %d and %d, expected at least 1, levels at most %d",
                levels, first, kMostBins);
  }
  if (params == 0) return ok(error);
  if (const lowbit_status status = check_array(counts, "counts", sizeof *counts, error)) return status;
  if (const lowbit_status status = check_array(kept, "kept", sizeof *kept, error)) return status;
  for (int64_t p = 0; p < params; ++p) {
    constexpr int64_t kMost = int64_t{1} << 53;  // so that sums stay exact in double
    int64_t total = 0;
    for (int b = 0; b < bins; ++b) {
      const int64_t count = counts[p * bins + b];
      if (count < 0 || count > kMost || (total += count) > kMost) {
        return fail(error, LOWBIT_INVALID_VALUE,
                    "counts: got %lld in bin %d of parameter %lld, expected none below 0 and at most 2^53 in all",
                    static_cast<long long>(count), b, static_cast<long long>(p));
      }
    }
  }
  parallel_items(context, params, int64_t{1} << 20, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) kept[p] = best_kept(counts + p * bins, bins, levels, first);
  });
  return ok(error);
}
