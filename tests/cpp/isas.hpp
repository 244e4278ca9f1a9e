// The kernels that tests run: every ISA this CPU has, the emulated vectors of 4 and 16 lanes, and, where the CPU has
// AVX-512 VNNI, the AVX-VNNI tile in that encoding.
#pragma once

#include <vector>

#include "kernels.hpp"

namespace lowbit {

extern const Kernels kernels_emulated4;
extern const Kernels kernels_emulated16;
extern const Kernels kernels_avxvnni_evex;  // x86-64 only

const std::vector<const Kernels*>& all_kernels();

}  // namespace lowbit
