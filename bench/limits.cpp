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
void store_past_caches(void* to, Line x) { _mm512_stream_si512(static_cast<__m512i*>(to), reinterpret_cast<__m512i>(x)); }
#elif defined(__x86_64__)
void store_past_caches(void* to, Line x) {
  const __m128i* parts = reinterpret_cast<const __m128i*>(&x);
  for (int i = 0; i < 4; ++i) _mm_stream_si128(static_cast<__m128i*>(to) + i, _mm_load_si128(parts + i));
}
#else
void store_past_caches(void* to, Line x) { *static_cast<Line*>(to) = x; }
#endif

// Reads and writes lines evenly mixed. What is written changes from line to line: Zen 5 writes lines of zeros past the
// caches twice as fast as others.
template <bool kPastCaches>
void stream(const char* from, int64_t read, char* to, int64_t written) {
  Line sum = {};
  const Line step = Line{} + 0x9e3779b97f4a7c15;
  const auto load = [&] {
    sum += *reinterpret_cast<const Line*>(from);
    from += kLine;
  };
  const auto store = [&] {
    sum += step;
    if (kPastCaches) {
      store_past_caches(to, sum);
    } else {
      *reinterpret_cast<Line*>(to) = sum;
    }
    to += kLine;
  };
  int64_t due = 0;  // Bresenham's line from (0, 0) to (read, written)
  if (read >= written) {
    for (int64_t i = 0; i < read; ++i) {
      load();
      if ((due += written) >= read) {
        due -= read;
        store();
      }
    }
  } else {
    for (int64_t i = 0; i < written; ++i) {
      if ((due += read) >= written) {
        due -= written;
        load();
      }
      store();
    }
  }
#if defined(__x86_64__)
  if (kPastCaches) _mm_sfence();
#endif
  __asm__ volatile("" : : "m"(sum));
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
      while (!go) {
      }
      f(t);
      ++done;
    });
  }
  while (ready < threads - 1) {
  }
  const auto begin = std::chrono::steady_clock::now();
  go = true;
  f(0);
  while (done < threads - 1) {
  }
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
double limits_stream(const char* from, int64_t read, char* to, int64_t written, int nontemporal, int threads) {
  return seconds(threads, [&](int t) {
    const int64_t r = read * t / threads, w = written * t / threads;
    const int64_t r_end = read * (t + 1) / threads, w_end = written * (t + 1) / threads;
    (nontemporal ? stream<true> : stream<false>)(from + kLine * r, r_end - r, to + kLine * w, w_end - w);
  });
}

}  // extern "C"
