// What this machine can do, for bench/limits.py: compiled when it runs, with -march=native, and called through ctypes.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int64_t kLine = 64;
typedef uint64_t Line __attribute__((vector_size(kLine), may_alias));  // registers of any size, in one name

// ---- streams of memory ---------------------------------------------------------------------------------------------

#if defined(__AVX512F__)
void store_past_caches(void* to, const Line& x) {
  _mm512_stream_si512(static_cast<__m512i*>(to), reinterpret_cast<__m512i>(x));
}
#elif defined(__x86_64__)
void store_past_caches(void* to, const Line& x) {
  const __m128i* parts = reinterpret_cast<const __m128i*>(&x);
  for (int i = 0; i < 4; ++i) _mm_stream_si128(static_cast<__m128i*>(to) + i, _mm_load_si128(parts + i));
}
#else
void store_past_caches(void* to, const Line& x) { *static_cast<Line*>(to) = x; }
#endif

void use(const Line& sum) {
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i) total ^= sum[i];
  volatile uint64_t used = total;  // or the compiler would drop the reading
  (void)used;
}

// Shares `lines` evenly among `steps`: the next step's.
struct Share {
  int64_t lines, steps, error = 0;

  int64_t next() {
    int64_t n = lines / steps;
    if ((error += lines % steps) >= steps) {
      error -= steps;
      ++n;
    }
    return n;
  }
};

// Reads and writes in turn, at most `block` lines at a time. What is written changes from line to line: Zen 5 writes
// lines of zeros past the caches twice as fast as others.
template <bool kPastCaches>
void stream(const char* from, int64_t read, char* to, int64_t written, int64_t block) {
  const int64_t steps = ((read > written ? read : written) + block - 1) / block;
  Share reads = {read, steps}, writes = {written, steps};
  Line sum = {};
  const Line next = Line{} + 0x9e3779b97f4a7c15;
  for (int64_t i = 0; i < steps; ++i) {
    for (int64_t n = reads.next(); n > 0; --n, from += kLine) sum += *reinterpret_cast<const Line*>(from);
    for (int64_t n = writes.next(); n > 0; --n, to += kLine) {
      sum += next;
      if (kPastCaches) {
        store_past_caches(to, sum);
      } else {
        *reinterpret_cast<Line*>(to) = sum;
      }
    }
  }
#if defined(__x86_64__)
  if (kPastCaches) _mm_sfence();
#endif
  use(sum);
}

// ---- peaks of arithmetic -------------------------------------------------------------------------------------------

// Twelve independent sums, more than latency (about 5) times throughput (2 a cycle) needs, and nothing but registers.
// Assembly, because compilers would drop the loop, or make other instructions of vpmaddwd and vpaddd. \s: each of the
// registers in turn.
#if defined(__x86_64__)
#define LIMITS_ZERO "vpxor %%xmm\\s, %%xmm\\s, %%xmm\\s"
#define LIMITS_REGISTERS                                                                                              \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14"
#elif defined(__aarch64__)
#define LIMITS_ZERO "movi v\\s\\().16b, #0"
#define LIMITS_REGISTERS "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14"
#endif
#define LIMITS_PEAK(name, instructions)                                                                            \
  void name(int64_t loops) {                                                                                       \
    __asm__ volatile(".irp s, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n" LIMITS_ZERO "\n.endr\n" ::: LIMITS_REGISTERS); \
    for (int64_t i = 0; i < loops; ++i)                                                                            \
      __asm__ volatile(".irp s, 0,1,2,3,4,5,6,7,8,9,10,11\n" instructions "\n.endr\n" ::: LIMITS_REGISTERS);       \
  }

#if defined(__AVX512VNNI__)
LIMITS_PEAK(vpdpbusd_zmm, "vpdpbusd %%zmm13, %%zmm12, %%zmm\\s")
#endif
#if defined(__AVXVNNI__)
LIMITS_PEAK(vpdpbusd_ymm, "%{vex%} vpdpbusd %%ymm13, %%ymm12, %%ymm\\s")
#endif
#if defined(__AVX512BW__)
LIMITS_PEAK(vpmaddubsw_zmm, "vpmaddubsw %%zmm13, %%zmm12, %%zmm14\nvpaddw %%zmm14, %%zmm\\s, %%zmm\\s")
LIMITS_PEAK(vpmaddwd_zmm, "vpmaddwd %%zmm13, %%zmm12, %%zmm14\nvpaddd %%zmm14, %%zmm\\s, %%zmm\\s")
#endif
#if defined(__AVX2__)
LIMITS_PEAK(vpmaddwd_ymm, "vpmaddwd %%ymm13, %%ymm12, %%ymm14\nvpaddd %%ymm14, %%ymm\\s, %%ymm\\s")
LIMITS_PEAK(vpmaddubsw_ymm, "vpmaddubsw %%ymm13, %%ymm12, %%ymm14\nvpaddw %%ymm14, %%ymm\\s, %%ymm\\s")
#endif
#if defined(__AVX512F__)
LIMITS_PEAK(fma_zmm, "vfmadd231ps %%zmm13, %%zmm12, %%zmm\\s")
#endif
#if defined(__FMA__)
LIMITS_PEAK(fma_ymm, "vfmadd231ps %%ymm13, %%ymm12, %%ymm\\s")
#endif
#if defined(__AVX512BF16__)
LIMITS_PEAK(vdpbf16ps_zmm, "vdpbf16ps %%zmm13, %%zmm12, %%zmm\\s")
#endif
#if defined(__aarch64__)
LIMITS_PEAK(smull_sadalp, "smull v14.8h, v12.8b, v13.8b\nsadalp v\\s\\().4s, v14.8h")
LIMITS_PEAK(fmla, "fmla v\\s\\().4s, v12.4s, v13.4s")
#endif
#if defined(__ARM_FEATURE_DOTPROD)
LIMITS_PEAK(sdot, "sdot v\\s\\().4s, v12.16b, v13.16b")
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
LIMITS_PEAK(smmla, "smmla v\\s\\().4s, v12.16b, v13.16b")
#endif

// ops: multiplications and additions of one loop of twelve.
struct Peak {
  const char* name;
  int64_t ops;
  void (*run)(int64_t loops);
};
constexpr int64_t kTwelve = 12 * 2;
const Peak kPeaks[] = {
#if defined(__AVX512VNNI__)
    {"vpdpbusd zmm", kTwelve * 64, vpdpbusd_zmm},
#endif
#if defined(__AVXVNNI__)
    {"vpdpbusd ymm", kTwelve * 32, vpdpbusd_ymm},
#endif
#if defined(__AVX512BW__)
    {"vpmaddwd zmm", kTwelve * 32, vpmaddwd_zmm},
    {"vpmaddubsw zmm", kTwelve * 64, vpmaddubsw_zmm},
#endif
#if defined(__AVX2__)
    {"vpmaddwd ymm", kTwelve * 16, vpmaddwd_ymm},
    {"vpmaddubsw ymm", kTwelve * 32, vpmaddubsw_ymm},
#endif
#if defined(__AVX512F__)
    {"fma zmm", kTwelve * 16, fma_zmm},
#endif
#if defined(__FMA__)
    {"fma ymm", kTwelve * 8, fma_ymm},
#endif
#if defined(__AVX512BF16__)
    {"vdpbf16ps zmm", kTwelve * 32, vdpbf16ps_zmm},
#endif
#if defined(__aarch64__)
    {"smull sadalp", kTwelve * 8, smull_sadalp},
    {"fmla", kTwelve * 4, fmla},
#endif
#if defined(__ARM_FEATURE_DOTPROD)
    {"sdot", kTwelve * 16, sdot},
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    {"smmla", kTwelve * 32, smmla},
#endif
    {nullptr, 0, nullptr},
};

// ---- reading -------------------------------------------------------------------------------------------------------

// Sums `lines` lines, in so many sequences side by side: how many are fastest, depends on the CPU's prefetching.
template <int kSequences>
Line sum_of(const char* from, int64_t lines) {
  Line sums[kSequences] = {};
  const int64_t each = lines / kSequences;
  for (int64_t i = 0; i < each; ++i)
    for (int s = 0; s < kSequences; ++s) sums[s] += *reinterpret_cast<const Line*>(from + kLine * (s * each + i));
  for (int64_t i = kSequences * each; i < lines; ++i) sums[0] += *reinterpret_cast<const Line*>(from + kLine * i);
  for (int s = 1; s < kSequences; ++s) sums[0] += sums[s];
  return sums[0];
}

// ---- threads -------------------------------------------------------------------------------------------------------

#if defined(__linux__)
using Cpus = cpu_set_t;
Cpus usable_cpus() {
  Cpus cpus;
  sched_getaffinity(0, sizeof cpus, &cpus);
  return cpus;
}
void use_cpus(const Cpus& cpus) { sched_setaffinity(0, sizeof cpus, &cpus); }
// Keeps the calling thread on the index-th of them: half a millisecond is over before the scheduler parts two threads
// that it has started on one CPU.
void use_cpu(const Cpus& cpus, int index) {
  int cpu = 0;
  for (int left = index % CPU_COUNT(&cpus); !CPU_ISSET(cpu, &cpus) || left-- > 0;) ++cpu;
  Cpus one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  use_cpus(one);
}
#else
struct Cpus {};
Cpus usable_cpus() { return {}; }
void use_cpus(const Cpus&) {}
void use_cpu(const Cpus&, int) {}
#endif

// Seconds that f(0) … f(threads - 1) take together, without the starting of threads.
template <typename F>
double seconds(int threads, F f) {
  const Cpus cpus = usable_cpus();
  use_cpu(cpus, 0);
  std::atomic<int> ready{0}, done{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) {
    others.emplace_back([&, t] {
      use_cpu(cpus, t);
      ++ready;
      while (!go) std::this_thread::yield();
      f(t);
      ++done;
    });
  }
  while (ready < threads - 1) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  go = true;
  f(0);
  while (done < threads - 1) std::this_thread::yield();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  for (std::thread& other : others) other.join();
  use_cpus(cpus);
  return time.count();
}

}  // namespace

extern "C" {

int limits_has_nontemporal() {
#if defined(__x86_64__)
  return 1;
#else
  return 0;
#endif
}

// Reads `read` lines and writes `written`, both buffers aligned to a line.
double limits_stream(const char* from, int64_t read, char* to, int64_t written, int64_t block, int nontemporal,
                     int threads) {
  return seconds(threads, [&](int t) {
    const int64_t r = read * t / threads, w = written * t / threads;
    const int64_t r_end = read * (t + 1) / threads, w_end = written * (t + 1) / threads;
    (nontemporal ? stream<true> : stream<false>)(from + kLine * r, r_end - r, to + kLine * w, w_end - w, block);
  });
}

// Name of peak i, null past the last one.
const char* limits_peak_name(int i) { return kPeaks[i].name; }

// Multiplications and additions in each of a peak's loops.
int64_t limits_peak_ops(int i) { return kPeaks[i].ops; }

double limits_peak(int i, int64_t loops, int threads) {
  return seconds(threads, [&](int) { kPeaks[i].run(loops); });
}

// Reads `count` buffers of `lines` lines each, one after the other, every thread its share of each.
double limits_read(const char* const* buffers, int64_t count, int64_t lines, int sequences, int threads) {
  return seconds(threads, [&](int t) {
    const int64_t begin = lines * t / threads, end = lines * (t + 1) / threads;
    Line sum = {};
    for (int64_t i = 0; i < count; ++i) {
      const char* from = buffers[i] + kLine * begin;
      sum += sequences == 1   ? sum_of<1>(from, end - begin)
             : sequences == 2 ? sum_of<2>(from, end - begin)
                              : sum_of<4>(from, end - begin);
    }
    use(sum);
  });
}

}  // extern "C"
