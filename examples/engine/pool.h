/* A small thread pool, and lowbit's parallel_for on it. */
#ifndef ENGINE_POOL_H_
#define ENGINE_POOL_H_

#include <lowbit/lowbit.h>

typedef struct pool pool;

/* threads >= 1, the calling one included: threads - 1 are started. */
pool* pool_create(int threads);
/* Ends the threads; no loop may be running. */
void pool_destroy(pool* p);

/* A lowbit_parallel_for: covers [0, n) with calls of task on at most max_threads threads, the caller's among them (it
 * has thread_id 0), and returns when all have returned. One loop at a time: not to be called from inside a task, or
 * from two threads at once. */
void pool_run(void* p, int64_t n, int max_threads, lowbit_task task, void* arg);

#endif
