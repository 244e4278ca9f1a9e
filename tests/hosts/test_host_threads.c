/* The bytes are the same with 1, 2, 3 and 7 threads of a host's own, and the threads do take part. */
#include "check.h"
#include "pool.h"
#include "work.h"

int main(void) {
  lowbit_context alone;
  CHECK_OK(lowbit_context_init(&alone, NULL, &host_error));
  const uint64_t expected = do_work(&alone);
  static const int counts[] = {1, 2, 3, 7};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i) {
    host_pool* const pool = host_pool_start(counts[i]);
    const lowbit_context context = host_context(pool, counts[i]);
    CHECK(do_work(&context) == expected);
    /* calls that are worth their threads: at least ten of them */
    CHECK(host_pool_parts(pool) >= 10 * (counts[i] - 1));
    host_pool_stop(pool);
  }
  return 0;
}
