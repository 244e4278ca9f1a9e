/* A host forks between two calls; parent and child go on. The child's threads are gone, as in any program: it starts
 * new ones and makes a context on them, or works on its one thread. The library has no state that a fork could break.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "pool.h"
#include "work.h"

enum { THREADS = 3 };

/* Runs f in a child, which must come to its end within a minute. */
static void in_child(void (*f)(uint64_t), uint64_t expected) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(60);
    f(expected);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void with_new_threads(uint64_t expected) {
  host_pool* const pool = host_pool_start(THREADS);
  const lowbit_context context = host_context(pool, THREADS);
  CHECK(do_work(&context) == expected);
  host_pool_stop(pool);
}

static void without_threads(uint64_t expected) {
  lowbit_context context;
  CHECK_OK(lowbit_context_init(&context, NULL, &host_error));
  CHECK(do_work(&context) == expected);
  in_child(with_new_threads, expected); /* a child of the child */
}

int main(void) {
  host_pool* const pool = host_pool_start(THREADS);
  const lowbit_context context = host_context(pool, THREADS);
  const uint64_t expected = do_work(&context);
  in_child(with_new_threads, expected);
  in_child(without_threads, expected);
  CHECK(do_work(&context) == expected); /* the parent's pool is as it was */
  in_child(with_new_threads, expected);
  host_pool_stop(pool);
  return 0;
}
