// Which kernels run on this CPU: detection of levels, and the ordered table of ISAs.
#pragma once

#include <cstdint>

#include "kernels.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

// What an ISA of the table needs. A level stands for all its instructions and for the OS saving their registers.
enum Level : uint32_t {
  kAvx2 = 1u << 0,        // AVX2, FMA, F16C
  kAvxVnni = 1u << 1,     // kAvx2 and AVX-VNNI
  kAvx512 = 1u << 2,      // kAvx2 and AVX512F, BW, DQ, VL
  kAvx512Vnni = 1u << 3,  // kAvx512 and AVX512_VNNI
  kNeon = 1u << 4,
  kDotprod = 1u << 5,  // kNeon and the dot products of ARMv8.2
  kI8mm = 1u << 6,     // kDotprod and the int8 matrix products of ARMv8.6
};

// What an x86 CPU says of itself; xcr0 is 0 where leaf 1 has no OSXSAVE.
struct X86Words {
  uint32_t max_leaf;
  uint32_t leaf1_ecx;
  uint32_t leaf7_max_subleaf;
  uint32_t leaf7_ebx;
  uint32_t leaf7_ecx;
  uint32_t leaf7_1_eax;
  uint64_t xcr0;
};

// The HWCAP words of aarch64 Linux; other systems' answers are written in the same bits.
struct ArmWords {
  uint64_t hwcap;
  uint64_t hwcap2;
};

// The set of levels, from nothing but the words: tests feed CPUs that are not here.
uint32_t levels(const X86Words& words);
uint32_t levels(const ArmWords& words);

// The kernels called `name`; NULL: what the environment's LOWBIT_ISA says, else the best there are.
// NULL, with error LOWBIT_UNAVAILABLE, where this CPU, OS or build has no such ISA.
const Kernels* find_kernels(const char* name, lowbit_error* error);

// The same for a CPU of the given levels. environment: the value of LOWBIT_ISA, or NULL.
const Kernels* find_kernels(const char* name, const char* environment, uint32_t levels, lowbit_error* error);

}  // namespace lowbit
