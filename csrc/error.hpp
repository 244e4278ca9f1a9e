// How a function of the C ABI reports what went wrong.
#pragma once

#include "compiler.hpp"
#include "lowbit/lowbit.h"

namespace lowbit {

// Writes status and message (cut to fit, never inside a UTF-8 character); error may be NULL. Returns status.
LOWBIT_PRINTF(3, 4) lowbit_status fail(lowbit_error* error, lowbit_status status, const char* format, ...);

// Clears error, which may be NULL. Returns LOWBIT_OK.
lowbit_status ok(lowbit_error* error);

}  // namespace lowbit
