/* The model file, mapped: README.md has its layout. Everything here points into the mapping. */
#ifndef ENGINE_MODEL_H_
#define ENGINE_MODEL_H_

#include <lowbit/lowbit.h>

/* y = activation(x @ W^T + bias): W is n x k, packed by lowbit */
typedef struct linear {
  const void* weights;
  size_t size;
  int64_t n, k;
  const float* bias; /* n */
} linear;

/* LayerNorm */
typedef struct norm {
  const float *weight, *bias; /* width each */
} norm;

typedef struct layer {
  linear qkv; /* queries, keys and values in one product: n = 3 * width */
  linear out;
  norm attention_norm;
  linear inner; /* with GELU */
  linear outer;
  norm output_norm;
} layer;

typedef struct model {
  lowbit_compute compute; /* how linear layers multiply */
  int layers, heads;
  int64_t width, head_width; /* width = heads * head_width */
  int64_t inner;
  int64_t vocabulary; /* token ids are below this */
  int64_t positions;  /* most tokens of a sentence */
  float eps;          /* of LayerNorm */

  const int8_t* words;      /* vocabulary x width codes */
  const float* word_scales; /* vocabulary */
  const float* places;      /* positions x width: position + token type embeddings */
  norm embedding_norm;
  layer* layer; /* layers */

  void* mapping;
  size_t size;
} model;

/* Ends the program with a message where `path` cannot be read or is no model file of this version, whole and
 * consistent. */
model* model_open(const char* path);
void model_close(model* m);

#endif
