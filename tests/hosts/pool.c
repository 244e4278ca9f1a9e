#include "pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "check.h"

typedef struct job {
  lowbit_task task;
  void* arg;
  int parts_left;
} job;

/* A part of a job, in the queue. */
typedef struct part {
  struct part* next;
  job* of;
  int64_t begin, end;
  int thread_id;
} part;

struct host_pool {
  pthread_mutex_t mutex;
  pthread_cond_t work, done;
  part *first, *last;
  int64_t parts;
  int stop;
  int workers;
  pthread_t threads[];
};

static void* work(void* arg) {
  host_pool* const pool = arg;
  pthread_mutex_lock(&pool->mutex);
  for (;;) {
    while (!pool->first && !pool->stop) pthread_cond_wait(&pool->work, &pool->mutex);
    if (!pool->first) break;
    part* const mine = pool->first;
    pool->first = mine->next;
    if (!pool->first) pool->last = NULL;
    ++pool->parts;
    pthread_mutex_unlock(&pool->mutex);
    mine->of->task(mine->of->arg, mine->begin, mine->end, mine->thread_id);
    pthread_mutex_lock(&pool->mutex);
    if (--mine->of->parts_left == 0) pthread_cond_broadcast(&pool->done);
  }
  pthread_mutex_unlock(&pool->mutex);
  return NULL;
}

host_pool* host_pool_start(int threads) {
  const size_t workers = (size_t)threads - 1;
  host_pool* const pool = calloc(1, sizeof *pool + workers * sizeof pool->threads[0]);
  CHECK(pool != NULL);
  CHECK(pthread_mutex_init(&pool->mutex, NULL) == 0);
  CHECK(pthread_cond_init(&pool->work, NULL) == 0);
  CHECK(pthread_cond_init(&pool->done, NULL) == 0);
  for (; pool->workers < (int)workers; ++pool->workers) {
    CHECK(pthread_create(&pool->threads[pool->workers], NULL, work, pool) == 0);
  }
  return pool;
}

void host_pool_stop(host_pool* pool) {
  pthread_mutex_lock(&pool->mutex);
  pool->stop = 1;
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->mutex);
  for (int i = 0; i < pool->workers; ++i) CHECK(pthread_join(pool->threads[i], NULL) == 0);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

void host_pool_run(void* opaque, int64_t n, int max_threads, lowbit_task task, void* arg) {
  host_pool* const pool = opaque;
  enum { kMost = 64 };
  part parts[kMost];
  int count = pool->workers + 1 < max_threads ? pool->workers + 1 : max_threads;
  if (count > kMost) count = kMost;
  if (count > n) count = (int)n;
  job mine = {task, arg, count - 1};
  pthread_mutex_lock(&pool->mutex);
  for (int i = 1; i < count; ++i) {
    parts[i] = (part){NULL, &mine, n / count * i, i + 1 < count ? n / count * (i + 1) : n, i};
    if (pool->last) {
      pool->last->next = &parts[i];
    } else {
      pool->first = &parts[i];
    }
    pool->last = &parts[i];
  }
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->mutex);
  task(arg, 0, count > 1 ? n / count : n, 0);
  pthread_mutex_lock(&pool->mutex);
  while (mine.parts_left > 0) pthread_cond_wait(&pool->done, &pool->mutex);
  pthread_mutex_unlock(&pool->mutex);
}

int64_t host_pool_parts(host_pool* pool) {
  pthread_mutex_lock(&pool->mutex);
  const int64_t parts = pool->parts;
  pthread_mutex_unlock(&pool->mutex);
  return parts;
}

lowbit_context host_context(host_pool* pool, int threads) {
  lowbit_options options = {0};
  options.struct_size = sizeof options;
  options.parallel_for = host_pool_run;
  options.pool = pool;
  options.max_threads = threads;
  lowbit_context context;
  CHECK_OK(lowbit_context_init(&context, &options, &host_error));
  return context;
}
