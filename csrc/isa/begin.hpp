// Opens the one namespace an ISA's code lives in. The shim defines LOWBIT_ISA first; end.hpp closes it.
// Everything is in an unnamed namespace, so nothing compiled with this ISA's flags can be linked into another's place.
#define LOWBIT_ALWAYS __attribute__((always_inline))
#define LOWBIT_INLINE inline LOWBIT_ALWAYS
// Register tiles are arrays: every loop over one must disappear, or the compiler keeps it on the stack. The emulated
// lanes have no registers to win; vec/scalar.hpp defines this as nothing and compiles in half the time.
#ifndef LOWBIT_UNROLL
#define LOWBIT_UNROLL _Pragma("GCC unroll 32")
#endif
// Makes the compiler have this vector now: without it gcc 12 gathers the terms of a sum first, more than fit registers.
// "v" is x86's name for a vector register; vec/neon.hpp has its own, vec/scalar.hpp none.
#ifndef LOWBIT_NOW
#define LOWBIT_NOW(vector) __asm__("" : "+v"(vector))
#endif
namespace lowbit {
namespace LOWBIT_ISA {
namespace {
