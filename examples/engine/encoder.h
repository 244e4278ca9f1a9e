/* A BERT encoder with mean pooling: token ids to embeddings of unit length. */
#ifndef ENGINE_ENCODER_H_
#define ENGINE_ENCODER_H_

#include "model.h"
#include "pool.h"

typedef struct encoder encoder;

/* Uses the model and the pool, with `threads` threads, until it is closed. */
encoder* encoder_open(const model* m, pool* p, int threads);
void encoder_close(encoder* e);

/* ids: those of all sentences, one after the other, below m->vocabulary. lengths: tokens of each sentence, 1 to
 * m->positions. embeddings: sentences x width. A sentence's embedding does not depend on the others, nor on threads. */
void encoder_run(encoder* e, int64_t sentences, const int64_t* lengths, const int32_t* ids, float* embeddings);

#endif
