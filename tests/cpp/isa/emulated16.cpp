// The scalar ISA with 16 lanes.
#define LOWBIT_ISA emulated16
#define LOWBIT_LANES 16
namespace lowbit {
extern const struct Kernels kernels_emulated16;
}
#include "tile/scalar.hpp"
#include "kernels/table-inl.hpp"
