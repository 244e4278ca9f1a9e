// What this machine can do, for bench/limits.py: compiled when it runs, with -march=native, and called through ctypes.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>
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
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i) total ^= sum[i];
  volatile uint64_t used = total;  // or the compiler would drop the reading
  (void)used;
}

// ---- threads -------------------------------------------------------------------------------------------------------

// Seconds that f(0) … f(threads - 1) take together, without the starting of threads.
template <typename F>
double seconds(int threads, F f) {
  std::atomic<int> ready{0}, done{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) {
    others.emplace_back([&, t] {
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

}  // extern "C"
