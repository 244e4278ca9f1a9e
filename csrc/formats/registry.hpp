// The number formats. A family of encodings is one file with its rows; registry.cpp lists the families.
#pragma once

#include "lowbit/lowbit.h"

namespace lowbit {

struct Format {
  lowbit_format id;
  const char* name;
  int bits;        // of one code
  int qmin, qmax;  // smallest and largest code
};

struct FormatFamily {
  const Format* rows;
  int count;
};

extern const FormatFamily affine_formats;  // affine.cpp

// NULL, with error LOWBIT_INVALID_VALUE, where there is none.
const Format* find_format(lowbit_format id, lowbit_error* error);

}  // namespace lowbit
