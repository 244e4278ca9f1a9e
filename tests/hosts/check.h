/* Ends the program where something does not hold. */
#ifndef HOSTS_CHECK_H_
#define HOSTS_CHECK_H_

#include <stdio.h>
#include <stdlib.h>

#include "lowbit/lowbit.h"

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                \
    }                                                                         \
  } while (0)

/* A call that must succeed, with &host_error as its last argument. */
#define CHECK_OK(call)                                                        \
  do {                                                                        \
    lowbit_error host_error;                                                  \
    if ((call) != LOWBIT_OK) {                                                \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, host_error.message); \
      abort();                                                                \
    }                                                                         \
  } while (0)

#endif
