/* A host's own threads, as an engine has them: lowbit only sees a callback. */
#ifndef HOSTS_POOL_H_
#define HOSTS_POOL_H_

#include <stdint.h>

#include "lowbit/lowbit.h"

typedef struct host_pool host_pool;

/* `threads` of which one is the caller. */
host_pool* host_pool_start(int threads);
/* Waits for the threads to end. No call may be under way. */
void host_pool_stop(host_pool* pool);
/* A lowbit_parallel_for: cuts [0, n) into a part for each thread; part i runs under thread id i, the first on the
 * caller, the others on workers. Many threads may call it at once. */
void host_pool_run(void* pool, int64_t n, int max_threads, lowbit_task task, void* arg);
/* Parts that workers have run. */
int64_t host_pool_parts(host_pool* pool);

/* A context on that pool, with the library's choice of ISA. */
lowbit_context host_context(host_pool* pool, int threads);

#endif
