#define LOWBIT_ISA avx512
#include "../tile/avx512.hpp"
#include "../kernels/table-inl.hpp"
