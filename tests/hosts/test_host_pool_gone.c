/* A host destroys its pool before its context: a context is plain data, with nothing to release, and nothing of the
 * pool is touched but by a call. What was packed with it is good for any other context. */
#include <string.h>

#include "check.h"
#include "pool.h"
#include "work.h"

int main(void) {
  host_pool* pool = host_pool_start(3);
  lowbit_context* const context = malloc(sizeof *context);
  CHECK(context != NULL);
  *context = host_context(pool, 3);
  const uint64_t expected = do_work(context);
  host_pool_stop(pool);

  const lowbit_context copy = *context;
  CHECK(memcmp(&copy, context, sizeof copy) == 0);
  CHECK(lowbit_context_isa(context) != NULL);
  size_t size = 0;
  CHECK(lowbit_matmul_workspace(context, NULL, &size, NULL) == LOWBIT_INVALID_VALUE);
  /* a call that needs no threads touches none */
  CHECK_OK(lowbit_pack_bits(context, 4, 0, 0, NULL, NULL, &host_error));
  free(context);
  CHECK(strcmp(lowbit_context_isa(&copy), lowbit_available_isa(0)) == 0 || getenv("LOWBIT_ISA") != NULL);

  pool = host_pool_start(2);
  lowbit_context other = host_context(pool, 2);
  CHECK(do_work(&other) == expected);
  host_pool_stop(pool);
  return 0;
}
