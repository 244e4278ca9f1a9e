#define LOWBIT_ISA dotprod
#include "../tile/dotprod.hpp"
#include "../kernels/table-inl.hpp"
