#define LOWBIT_ISA avx512vnni
#include "../tile/avx512vnni.hpp"
#include "../kernels/table-inl.hpp"
