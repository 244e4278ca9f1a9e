// Opens the one namespace an ISA's code lives in. The shim defines LOWBIT_ISA first; end.hpp closes it.
// Everything is in an unnamed namespace, so nothing compiled with this ISA's flags can be linked into another's place.
#include "../compiler.hpp"
#define LOWBIT_INLINE inline LOWBIT_ALWAYS
// Register tiles are arrays: every loop over one must disappear, or the compiler keeps it on the stack. The emulated
// lanes have no registers to win; vec/scalar.hpp defines this as nothing and compiles in half the time.
#ifndef LOWBIT_UNROLL
#define LOWBIT_UNROLL LOWBIT_UNROLL_LOOP
#endif
// Makes the compiler have this vector now: without it gcc 12 gathers the terms of a sum first, more than fit registers.
// The emulated lanes have none.
#ifndef LOWBIT_NOW
#define LOWBIT_NOW(vector) LOWBIT_IN_REGISTER(vector)
#endif
namespace lowbit {
namespace LOWBIT_ISA {
namespace {
