#include "encoder.h"

#include <math.h>
#include <stdlib.h>

#include "die.h"
#include "numbers.h"

/* A buffer that grows, aligned as lowbit wants a workspace. */
typedef struct buffer {
  void* data;
  size_t size;
} buffer;

struct encoder {
  const model* m;
  pool* p;
  int threads;
  lowbit_context context;
  buffer x, y, qkv, inner; /* rows x width, width, 3 * width, inner */
  buffer starts;           /* first row of each sentence */
  buffer scratch;          /* attention, for each thread */
  buffer workspace;
};

/* What the loops over rows and over heads are told. */
typedef struct job {
  const encoder* e;
  const int64_t *lengths, *starts;
  const int32_t* ids;
  const norm* n;
  const float *from, *qkv;
  float *to, *scratch;
} job;

static void* reserve(buffer* b, size_t size) {
  if (size > b->size) {
    size = (size + LOWBIT_ALIGNMENT - 1) / LOWBIT_ALIGNMENT * LOWBIT_ALIGNMENT;
    free(b->data);
    b->data = aligned_alloc(LOWBIT_ALIGNMENT, size);
    b->size = size;
    if (!b->data) die("out of memory: %zu bytes", size);
  }
  return b->data;
}

static float* reserve_floats(buffer* b, int64_t rows, int64_t width) {
  return reserve(b, (size_t)rows * (size_t)width * sizeof(float));
}

static void run(const encoder* e, int64_t n, lowbit_task task, job* j) { pool_run(e->p, n, e->threads, task, j); }

/* out (rows, n) = activation(x (rows, k) @ W^T + bias) + residual. All rows of a batch at once: a row's result does not
 * depend on how many there are. */
static void multiply(encoder* e, const linear* l, int64_t rows, const float* x, lowbit_activation activation,
                     const float* residual, float* out) {
  lowbit_matmul_args args = {
      .struct_size = sizeof args,
      .weights = l->weights,
      .weights_size = l->size,
      .m = rows,
      .k = l->k,
      .x_type = LOWBIT_FLOAT32,
      .x = x,
      .ldx = l->k,
      .compute = e->m->compute,
      .bias = l->bias,
      .activation = activation,
      .out = out,
      .ldout = l->n,
      .out_type = LOWBIT_FLOAT32,
  };
  if (residual) {
    args.residual = residual;
    args.ldresidual = l->n;
    args.residual_type = LOWBIT_FLOAT32;
  }
  lowbit_error error;
  if (lowbit_matmul_workspace(&e->context, &args, &args.workspace_size, &error) != LOWBIT_OK) {
    die("matmul: %s", error.message);
  }
  args.workspace = reserve(&e->workspace, args.workspace_size);
  if (lowbit_matmul(&e->context, &args, &error) != LOWBIT_OK) die("matmul: %s", error.message);
}

/* Rows [begin, end) of j->from to rows of j->to, which may be the same:
 * (x - mean) * (1 / sqrt(variance + eps)) * weight + bias */
static void norm_rows(void* arg, int64_t begin, int64_t end, int thread_id) {
  const job* j = arg;
  const int64_t width = j->e->m->width;
  (void)thread_id;
  for (int64_t row = begin; row < end; row++) {
    const float* x = j->from + row * width;
    float* y = j->to + row * width;
    const float mean = sum(x, width) / (float)width;
    for (int64_t i = 0; i < width; i++) y[i] = x[i] - mean;
    const float variance = sum_squares(y, width) / (float)width;
    const float scale = 1.0f / sqrtf(variance + j->e->m->eps);
    for (int64_t i = 0; i < width; i++) y[i] = y[i] * scale * j->n->weight[i] + j->n->bias[i];
  }
}

static void normalize(const encoder* e, const norm* n, int64_t rows, const float* from, float* to) {
  job j = {.e = e, .n = n, .from = from, .to = to};
  run(e, rows, norm_rows, &j);
}

/* Word and position embeddings of sentences [begin, end). */
static void embed_sentences(void* arg, int64_t begin, int64_t end, int thread_id) {
  const job* j = arg;
  const model* m = j->e->m;
  (void)thread_id;
  for (int64_t s = begin; s < end; s++) {
    for (int64_t t = 0; t < j->lengths[s]; t++) {
      const int64_t row = j->starts[s] + t;
      const int8_t* codes = m->words + j->ids[row] * m->width;
      const float scale = m->word_scales[j->ids[row]];
      for (int64_t i = 0; i < m->width; i++) {
        j->to[row * m->width + i] = (float)codes[i] * scale + m->places[t * m->width + i];
      }
    }
  }
}

/* softmax(q k^T / sqrt(head_width)) v of one head of one sentence of n tokens. q, k, v: their first rows, `stride`
 * floats apart; out: the same in rows of `width`. keys: head_width x n, weights: n. */
static void attend(int64_t n, int64_t head_width, const float* q, const float* k, const float* v, int64_t stride,
                   float* out, int64_t width, float* keys, float* weights) {
  const float scale = 1.0f / sqrtf((float)head_width);
  for (int64_t j = 0; j < n; j++) { /* transposed: the innermost loops below run along memory */
    for (int64_t d = 0; d < head_width; d++) keys[d * n + j] = k[j * stride + d];
  }
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < n; j++) weights[j] = 0;
    for (int64_t d = 0; d < head_width; d++) {
      const float query = q[i * stride + d];
      for (int64_t j = 0; j < n; j++) weights[j] += query * keys[d * n + j];
    }
    float most = weights[0];
    for (int64_t j = 1; j < n; j++) most = weights[j] > most ? weights[j] : most;
    for (int64_t j = 0; j < n; j++) weights[j] = exp_negative((weights[j] - most) * scale);
    const float total = sum(weights, n);
    float* y = out + i * width;
    for (int64_t d = 0; d < head_width; d++) y[d] = 0;
    for (int64_t j = 0; j < n; j++) {
      for (int64_t d = 0; d < head_width; d++) y[d] += weights[j] * v[j * stride + d];
    }
    for (int64_t d = 0; d < head_width; d++) y[d] /= total;
  }
}

/* Item i is head i % heads of sentence i / heads. */
static void attend_heads(void* arg, int64_t begin, int64_t end, int thread_id) {
  const job* j = arg;
  const model* m = j->e->m;
  float* keys = j->scratch + (m->head_width + 1) * m->positions * thread_id;
  float* weights = keys + m->head_width * m->positions;
  for (int64_t i = begin; i < end; i++) {
    const int64_t first = j->starts[i / m->heads];
    const int64_t column = i % m->heads * m->head_width;
    const float* q = j->qkv + first * 3 * m->width + column;
    attend(j->lengths[i / m->heads], m->head_width, q, q + m->width, q + 2 * m->width, 3 * m->width,
           j->to + first * m->width + column, m->width, keys, weights);
  }
}

/* The mean of each sentence's rows, divided by its length. */
static void pool_sentences(void* arg, int64_t begin, int64_t end, int thread_id) {
  const job* j = arg;
  const int64_t width = j->e->m->width;
  (void)thread_id;
  for (int64_t s = begin; s < end; s++) {
    float* y = j->to + s * width;
    for (int64_t i = 0; i < width; i++) y[i] = 0;
    for (int64_t t = 0; t < j->lengths[s]; t++) {
      for (int64_t i = 0; i < width; i++) y[i] += j->from[(j->starts[s] + t) * width + i];
    }
    for (int64_t i = 0; i < width; i++) y[i] /= (float)j->lengths[s];
    const float length = sqrtf(sum_squares(y, width));
    for (int64_t i = 0; i < width; i++) y[i] /= length;
  }
}

encoder* encoder_open(const model* m, pool* p, int threads) {
  encoder* e = calloc(1, sizeof *e);
  if (!e) die("out of memory");
  e->m = m;
  e->p = p;
  e->threads = threads;
  const lowbit_options options = {
      .struct_size = sizeof options, .parallel_for = pool_run, .pool = p, .max_threads = threads};
  lowbit_error error;
  if (lowbit_context_init(&e->context, &options, &error) != LOWBIT_OK) die("%s", error.message);
  reserve_floats(&e->scratch, threads, (m->head_width + 1) * m->positions);
  return e;
}

void encoder_close(encoder* e) {
  buffer* all[] = {&e->x, &e->y, &e->qkv, &e->inner, &e->starts, &e->scratch, &e->workspace};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->data);
  free(e);
}

void encoder_run(encoder* e, int64_t sentences, const int64_t* lengths, const int32_t* ids, float* embeddings) {
  const model* m = e->m;
  int64_t rows = 0;
  int64_t* starts = reserve(&e->starts, (size_t)sentences * sizeof *starts);
  for (int64_t s = 0; s < sentences; s++) {
    starts[s] = rows;
    rows += lengths[s];
  }
  float* x = reserve_floats(&e->x, rows, m->width);
  float* y = reserve_floats(&e->y, rows, m->width);
  float* qkv = reserve_floats(&e->qkv, rows, 3 * m->width);
  float* inner = reserve_floats(&e->inner, rows, m->inner);
  job j = {.e = e, .lengths = lengths, .starts = starts, .ids = ids, .qkv = qkv, .scratch = e->scratch.data};

  j.to = x;
  run(e, sentences, embed_sentences, &j);
  normalize(e, &m->embedding_norm, rows, x, x);
  for (int i = 0; i < m->layers; i++) {
    const layer* l = &m->layer[i];
    multiply(e, &l->qkv, rows, x, LOWBIT_IDENTITY, NULL, qkv);
    j.to = y;
    run(e, sentences * m->heads, attend_heads, &j);
    multiply(e, &l->out, rows, y, LOWBIT_IDENTITY, x, x);
    normalize(e, &l->attention_norm, rows, x, x);
    multiply(e, &l->inner, rows, x, LOWBIT_GELU, NULL, inner);
    multiply(e, &l->outer, rows, inner, LOWBIT_IDENTITY, x, x);
    normalize(e, &l->output_norm, rows, x, x);
  }
  j.from = x;
  j.to = embeddings;
  run(e, sentences, pool_sentences, &j);
}
