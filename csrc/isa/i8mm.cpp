#define LOWBIT_ISA i8mm
#include "../tile/i8mm.hpp"
#include "../kernels/table-inl.hpp"
