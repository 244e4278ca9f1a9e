#define LOWBIT_ISA scalar
#include "../tile/scalar.hpp"
#include "../kernels/table-inl.hpp"
