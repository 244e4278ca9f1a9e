#define LOWBIT_ISA avxvnni
#include "../tile/avxvnni.hpp"
#include "../kernels/table-inl.hpp"
