#include "pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

typedef struct worker {
  pool* owner;
  pthread_t thread;
  int id; /* from 1; the caller is 0 */
} worker;

struct pool {
  pthread_mutex_t mutex; /* guards all that follows but `workers` */
  pthread_cond_t work;   /* there are chunks to claim, or the pool ends */
  pthread_cond_t done;   /* the last running chunk has returned */
  int ending;

  /* the loop: [next, n) is not claimed yet */
  lowbit_task task;
  void* arg;
  int64_t next, n, chunk;
  int max_threads, running;

  int count;
  worker* workers;
};

/* Claims a chunk, runs it, and so on until none is left. The mutex is held on entry and on return. */
static void run_chunks(pool* p, int id) {
  while (p->next < p->n) {
    const int64_t begin = p->next;
    const int64_t end = p->n - begin < p->chunk ? p->n : begin + p->chunk;
    const lowbit_task task = p->task;
    void* arg = p->arg;
    p->next = end;
    p->running++;
    pthread_mutex_unlock(&p->mutex);
    task(arg, begin, end, id);
    pthread_mutex_lock(&p->mutex);
    p->running--;
  }
}

static void* work(void* argument) {
  const worker* self = argument;
  pool* p = self->owner;
  pthread_mutex_lock(&p->mutex);
  while (!p->ending) {
    if (p->next < p->n && self->id < p->max_threads) {
      run_chunks(p, self->id);
      if (p->running == 0) pthread_cond_signal(&p->done);
    } else {
      pthread_cond_wait(&p->work, &p->mutex);
    }
  }
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

pool* pool_create(int threads) {
  pool* p = calloc(1, sizeof *p);
  worker* workers = calloc((size_t)threads, sizeof *workers);
  if (!p || !workers) die("out of memory for %d threads", threads);
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->work, NULL);
  pthread_cond_init(&p->done, NULL);
  p->count = threads - 1;
  p->workers = workers;
  for (int i = 0; i < p->count; i++) {
    workers[i].owner = p;
    workers[i].id = i + 1;
    const int failure = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    if (failure) die("thread %d of %d: %s", i + 2, threads, strerror(failure));
  }
  return p;
}

void pool_destroy(pool* p) {
  pthread_mutex_lock(&p->mutex);
  p->ending = 1;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->mutex);
  for (int i = 0; i < p->count; i++) pthread_join(p->workers[i].thread, NULL);
  pthread_cond_destroy(&p->done);
  pthread_cond_destroy(&p->work);
  pthread_mutex_destroy(&p->mutex);
  free(p->workers);
  free(p);
}

void pool_run(void* pointer, int64_t n, int max_threads, lowbit_task task, void* arg) {
  pool* p = pointer;
  const int threads = max_threads < p->count + 1 ? max_threads : p->count + 1;
  pthread_mutex_lock(&p->mutex);
  p->task = task;
  p->arg = arg;
  p->next = 0;
  p->n = n;
  p->chunk = n / (4 * threads) + 1; /* so that a thread that comes late, or is slow, costs a quarter of its share */
  p->max_threads = max_threads;
  if (threads > 1 && n > 1) pthread_cond_broadcast(&p->work);
  run_chunks(p, 0);
  while (p->running > 0) pthread_cond_wait(&p->done, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
}
