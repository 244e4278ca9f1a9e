// What C++17 does not say and every compiler says in its own words: the one place for them, which
// tests/test_compiler_words.py checks. g++ and clang are tested; the other half, for MSVC, is not.
//
// ISA translation units include this: macros and <cstddef> alone. Who uses an intrinsic includes its header.
#pragma once

#include <cstddef>

#if defined(__GNUC__)

#define LOWBIT_ALWAYS __attribute__((always_inline))
#define LOWBIT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define LOWBIT_COPY(to, from, bytes) __builtin_memcpy(to, from, bytes)
#define LOWBIT_INFINITY __builtin_inff()
#define LOWBIT_NAN __builtin_nanf("")
#define LOWBIT_PREFETCH(address) __builtin_prefetch(address)
#define LOWBIT_PREFETCH_ONCE(address) __builtin_prefetch(address, 0, 0)  // not to be kept
#define LOWBIT_UNROLL_LOOP _Pragma("GCC unroll 32")
#if defined(__aarch64__)
#define LOWBIT_IN_REGISTER(vector) __asm__("" : "+w"(vector))
#define LOWBIT_PAUSE() __asm__ volatile("yield")
#elif defined(__x86_64__) || defined(__i386__)
#define LOWBIT_IN_REGISTER(vector) __asm__("" : "+v"(vector))
#define LOWBIT_PAUSE() __builtin_ia32_pause()
// the intrinsic would need -mxsave
#define LOWBIT_XGETBV(low, high) __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0))
#else
#define LOWBIT_IN_REGISTER(vector)
#define LOWBIT_PAUSE()
#endif

#else

extern "C" void* __cdecl memcpy(void*, const void*, size_t);
#define LOWBIT_ALWAYS
#define LOWBIT_PRINTF(text, first)
#define LOWBIT_COPY(to, from, bytes) memcpy(to, from, bytes)
#define LOWBIT_INFINITY __builtin_huge_valf()
#define LOWBIT_NAN __builtin_nanf("")
#define LOWBIT_UNROLL_LOOP
#define LOWBIT_IN_REGISTER(vector)
#if defined(_M_X64)
#define LOWBIT_PREFETCH(address) _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T0)
#define LOWBIT_PREFETCH_ONCE(address) _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_NTA)
#define LOWBIT_PAUSE() _mm_pause()
#define LOWBIT_XGETBV(low, high) ((low) = uint32_t(_xgetbv(0)), (high) = uint32_t(_xgetbv(0) >> 32))
#else
#define LOWBIT_PREFETCH(address) __prefetch(address)
#define LOWBIT_PREFETCH_ONCE(address) __prefetch(address)
#define LOWBIT_PAUSE() __yield()
#endif

#endif
