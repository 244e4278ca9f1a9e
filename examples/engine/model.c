#define _POSIX_C_SOURCE 200809L

#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "die.h"

enum { kVersion = 1, kMostLayers = 1024, kMostSide = 1 << 24 };

/* First bytes of the file, little-endian. On a big-endian machine the version is another number: refused. */
typedef struct header {
  char magic[8]; /* "lbengine" */
  uint32_t version;
  int32_t compute;
  int32_t layers, heads, width, inner, vocabulary, positions;
  float eps;
  uint32_t reserved;
  uint64_t size; /* of the file */
  uint64_t reserved2;
} header;
_Static_assert(sizeof(header) == LOWBIT_ALIGNMENT, "the first section follows at once");

/* What is read next. Sections start at multiples of LOWBIT_ALIGNMENT, which is what packed weights ask for. */
typedef struct cursor {
  const char* path;
  const unsigned char* data;
  size_t size, at;
} cursor;

static const void* section(cursor* c, const char* name, size_t size) {
  const void* found = c->data + c->at;
  if (size > c->size - c->at) {
    die("%s: %s: %zu bytes at %zu, but the file ends at %zu", c->path, name, size, c->at, c->size);
  }
  c->at += size;
  const size_t padding = (LOWBIT_ALIGNMENT - c->at % LOWBIT_ALIGNMENT) % LOWBIT_ALIGNMENT;
  c->at += padding < c->size - c->at ? padding : c->size - c->at;
  return found;
}

static const float* floats(cursor* c, const char* name, int64_t count) {
  return section(c, name, (size_t)count * sizeof(float));
}

static norm read_norm(cursor* c, const char* name, int64_t width) {
  norm r;
  r.weight = floats(c, name, width);
  r.bias = floats(c, name, width);
  return r;
}

/* Packed weights say themselves what they are and how long; lowbit refuses those of another version. */
static linear read_linear(cursor* c, const char* name, int64_t n, int64_t k) {
  linear r = {.n = n, .k = k};
  lowbit_weights_info info = {.struct_size = sizeof info};
  lowbit_error error;
  if (lowbit_packed_describe(c->data + c->at, c->size - c->at, &info, &error) != LOWBIT_OK ||
      lowbit_packed_size(&info, &r.size, &error) != LOWBIT_OK) {
    die("%s: %s: %s", c->path, name, error.message);
  }
  if (info.n != n || info.k != k) {
    die("%s: %s: weights of %lld x %lld, expected %lld x %lld", c->path, name, (long long)info.n, (long long)info.k,
        (long long)n, (long long)k);
  }
  r.weights = section(c, name, r.size);
  r.bias = floats(c, name, n);
  return r;
}

static void check_side(const char* path, const char* name, int32_t value, int32_t most) {
  if (value < 1 || value > most) die("%s: %s: %d, expected 1 to %d", path, name, (int)value, (int)most);
}

static void read_header(cursor* c, model* m) {
  const header* h = section(c, "header", sizeof *h);
  if (memcmp(h->magic, "lbengine", sizeof h->magic) != 0) {
    die("%s: no model file: it does not begin with 'lbengine'", c->path);
  }
  if (h->version != kVersion) die("%s: version %u, this engine reads version %d", c->path, h->version, kVersion);
  if (h->size != c->size) {
    die("%s: %zu bytes, expected %llu: it is not whole", c->path, c->size, (unsigned long long)h->size);
  }
  check_side(c->path, "layers", h->layers, kMostLayers);
  check_side(c->path, "heads", h->heads, kMostSide);
  check_side(c->path, "width", h->width, kMostSide);
  check_side(c->path, "inner", h->inner, kMostSide);
  check_side(c->path, "vocabulary", h->vocabulary, kMostSide);
  check_side(c->path, "positions", h->positions, kMostSide);
  if (h->width % h->heads != 0) die("%s: width: %d, expected a multiple of %d heads", c->path, h->width, h->heads);
  m->compute = (lowbit_compute)h->compute; /* lowbit checks it with each product */
  m->layers = h->layers;
  m->heads = h->heads;
  m->head_width = h->width / h->heads;
  m->width = h->width;
  m->inner = h->inner;
  m->vocabulary = h->vocabulary;
  m->positions = h->positions;
  m->eps = h->eps;
}

static void* map(const char* path, size_t* size) {
  const int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) die("%s: %s", path, strerror(errno));
  if (!S_ISREG(status.st_mode)) die("%s: not a regular file", path);
  *size = (size_t)status.st_size;
  if (*size < sizeof(header)) die("%s: %zu bytes are too few for a model file", path, *size);
  void* mapping = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, file, 0);
  if (mapping == MAP_FAILED) die("%s: %s", path, strerror(errno));
  close(file);
  return mapping;
}

model* model_open(const char* path) {
  model* m = calloc(1, sizeof *m);
  if (!m) die("out of memory");
  m->mapping = map(path, &m->size);
  cursor c = {.path = path, .data = m->mapping, .size = m->size};
  read_header(&c, m);
  m->words = section(&c, "word embeddings", (size_t)m->vocabulary * (size_t)m->width);
  m->word_scales = floats(&c, "word scales", m->vocabulary);
  m->places = floats(&c, "position embeddings", m->positions * m->width);
  m->embedding_norm = read_norm(&c, "embedding norm", m->width);
  m->layer = calloc((size_t)m->layers, sizeof *m->layer);
  if (!m->layer) die("out of memory for %d layers", m->layers);
  for (int i = 0; i < m->layers; i++) {
    layer* l = &m->layer[i];
    l->qkv = read_linear(&c, "queries, keys, values", 3 * m->width, m->width);
    l->out = read_linear(&c, "attention output", m->width, m->width);
    l->attention_norm = read_norm(&c, "attention norm", m->width);
    l->inner = read_linear(&c, "inner layer", m->inner, m->width);
    l->outer = read_linear(&c, "outer layer", m->width, m->inner);
    l->output_norm = read_norm(&c, "output norm", m->width);
  }
  if (c.at != c.size) die("%s: %zu bytes more than its %d layers have", path, c.size - c.at, m->layers);
  return m;
}

void model_close(model* m) {
  munmap(m->mapping, m->size);
  free(m->layer);
  free(m);
}
