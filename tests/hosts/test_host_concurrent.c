/* Many threads call at once, with one context and one pool between them. */
#include <pthread.h>

#include "check.h"
#include "pool.h"
#include "work.h"

enum { CALLERS = 8, ROUNDS = 3 };

typedef struct caller {
  const lowbit_context* context;
  uint64_t expected;
} caller;

static void* call(void* arg) {
  const caller* const mine = arg;
  for (int i = 0; i < ROUNDS; ++i) {
    CHECK(do_work(mine->context) == mine->expected);
    lowbit_error error; /* failures do not meet either */
    CHECK(lowbit_cast(mine->context, NULL, &error) == LOWBIT_INVALID_VALUE && error.message[0] != '\0');
  }
  return NULL;
}

int main(void) {
  host_pool* const pool = host_pool_start(3);
  const lowbit_context context = host_context(pool, 3);
  caller each = {&context, do_work(&context)};
  pthread_t threads[CALLERS];
  for (int i = 0; i < CALLERS; ++i) CHECK(pthread_create(&threads[i], NULL, call, &each) == 0);
  for (int i = 0; i < CALLERS; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
  host_pool_stop(pool);
  return 0;
}
