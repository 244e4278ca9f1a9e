/* engine [--threads N] [--batch ROWS] MODEL < token ids > embeddings
 *
 * Each line of standard input is a sentence: its token ids, [CLS] and [SEP] included, separated by spaces. Each line of
 * standard output is its embedding, numbers of 9 digits, which say a float32 exactly. What is wrong with the arguments,
 * the model or a line ends the program with a message and status 1. README.md has more. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "die.h"
#include "encoder.h"
#include "model.h"
#include "pool.h"

static const char* const kUsage = "usage: engine [--threads N] [--batch ROWS] MODEL < token ids > embeddings";

typedef struct options {
  const char* model;
  int threads;
  int64_t batch; /* sentences are collected until they have this many tokens */
} options;

/* Sentences that are encoded together. */
typedef struct batch {
  int64_t sentences, tokens, room; /* room for so many tokens, hence sentences */
  int64_t* lengths;
  int32_t* ids;
  int64_t first_line;
  float* embeddings;
} batch;

static int64_t number(const char* name, const char* text, int64_t most) {
  char* end = NULL;
  errno = 0;
  const long long value = text ? strtoll(text, &end, 10) : 0;
  if (!text || end == text || *end || errno || value < 1 || value > most) {
    die("%s: '%s', expected 1 to %lld", name, text ? text : "", (long long)most);
  }
  return value;
}

static options parse_arguments(int argc, char** argv) {
  options o = {.model = NULL, .threads = 1, .batch = 1024};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--threads") == 0) {
      o.threads = (int)number("--threads", argv[++i], 1024);
    } else if (strcmp(argv[i], "--batch") == 0) {
      o.batch = number("--batch", argv[++i], 1 << 20);
    } else if (argv[i][0] == '-' || o.model) {
      die("unexpected argument '%s'\n%s", argv[i], kUsage);
    } else {
      o.model = argv[i];
    }
  }
  if (!o.model) die("no model given\n%s", kUsage);
  return o;
}

/* Appends a line's ids to the batch. */
static void read_sentence(const model* m, const char* line, size_t size, int64_t line_number, batch* b) {
  int64_t count = 0;
  const char* end = line + size;
  for (const char* c = line; c < end;) {
    if (*c == ' ' || *c == '\t' || *c == '\r' || *c == '\n') {
      c++;
      continue;
    }
    int64_t id = 0;
    const char* begin = c;
    while (c < end && *c >= '0' && *c <= '9' && id < m->vocabulary) id = 10 * id + (*c++ - '0');
    if (c == begin) die("line %lld: character %td is no digit of a token id", (long long)line_number, c - line + 1);
    if (id >= m->vocabulary) {
      die("line %lld: token id %.*s…, expected 0 to %lld", (long long)line_number, (int)(c - begin), begin,
          (long long)m->vocabulary - 1);
    }
    if (count == m->positions) {
      die("line %lld: more than %lld token ids, the model's most", (long long)line_number, (long long)m->positions);
    }
    b->ids[b->tokens + count++] = (int32_t)id;
  }
  if (count == 0) die("line %lld: no token ids", (long long)line_number);
  b->tokens += count;
  b->lengths[b->sentences++] = count;
}

/* Encodes and prints the batch, and empties it. */
static void flush_batch(encoder* e, const model* m, batch* b) {
  encoder_run(e, b->sentences, b->lengths, b->ids, b->embeddings);
  for (int64_t s = 0; s < b->sentences; s++) {
    const float* y = b->embeddings + s * m->width;
    for (int64_t i = 0; i < m->width; i++) { /* NaN in the model, or a model so large that it overflows */
      if (!isfinite(y[i])) die("line %lld: the embedding is not finite", (long long)(b->first_line + s));
      printf("%.9g%c", (double)y[i], i + 1 < m->width ? ' ' : '\n');
    }
  }
  if (fflush(stdout) != 0) die("standard output: %s", strerror(errno));
  b->sentences = b->tokens = 0;
}

int main(int argc, char** argv) {
  const options o = parse_arguments(argc, argv);
  model* m = model_open(o.model);
  pool* p = pool_create(o.threads);
  encoder* e = encoder_open(m, p, o.threads);

  batch b = {.room = o.batch - 1 + m->positions};
  b.lengths = malloc((size_t)b.room * sizeof *b.lengths);
  b.ids = malloc((size_t)b.room * sizeof *b.ids);
  b.embeddings = malloc((size_t)b.room * (size_t)m->width * sizeof *b.embeddings);
  if (!b.lengths || !b.ids || !b.embeddings) die("out of memory for batches of %lld tokens", (long long)b.room);

  char* line = NULL;
  size_t capacity = 0;
  ssize_t size;
  for (int64_t n = 1; (size = getline(&line, &capacity, stdin)) >= 0; n++) {
    if (b.sentences == 0) b.first_line = n;
    read_sentence(m, line, (size_t)size, n, &b);
    if (b.tokens >= o.batch) flush_batch(e, m, &b);
  }
  if (ferror(stdin)) die("standard input: %s", strerror(errno));
  if (b.sentences > 0) flush_batch(e, m, &b);

  free(line);
  free(b.embeddings);
  free(b.ids);
  free(b.lengths);
  encoder_close(e);
  pool_destroy(p);
  model_close(m);
  return 0;
}
