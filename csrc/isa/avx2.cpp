#define LOWBIT_ISA avx2
#include "../tile/avx2.hpp"
#include "../kernels/table-inl.hpp"
