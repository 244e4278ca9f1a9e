// The scalar ISA with 4 lanes.
#define LOWBIT_ISA emulated4
#define LOWBIT_LANES 4
namespace lowbit {
extern const struct Kernels kernels_emulated4;
}
#include "tile/scalar.hpp"
#include "kernels/table-inl.hpp"
