// The AVX-VNNI tile in AVX-512 VNNI's encoding of its instruction: runs where only that one is there.
#define LOWBIT_ISA avxvnni_evex
namespace lowbit {
extern const struct Kernels kernels_avxvnni_evex;
}
#include "tile/avxvnni.hpp"
#include "kernels/table-inl.hpp"
