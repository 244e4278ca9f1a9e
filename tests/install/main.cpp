#include "main.c"  // the header is C++ as well
