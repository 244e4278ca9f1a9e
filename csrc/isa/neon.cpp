#define LOWBIT_ISA neon
#include "../tile/neon.hpp"
#include "../kernels/table-inl.hpp"
