"""The engine's twin in numpy and lowbit: the same embeddings, to the last bit.

    python embed.py MODEL < token ids > embeddings

What lowbit does is the same anyway. The rest (LayerNorm, attention, pooling) is the same sequence of IEEE float32
operations as in encoder.c and numbers.h: no numpy function whose rounding or order of additions is numpy's own affair,
as sum, mean, matmul and exp are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import model_file
import numpy as np
from model_file import Floats, Linear, Model, Norm

import lowbit as lb

F32 = np.float32
LANES = 16


def total(x: Floats) -> Floats:
    """Sums along the last axis: element i is added to lane i % 16, ascending, then lanes 8, 4, 2 and 1 apart."""
    padded = np.zeros((*x.shape[:-1], -(-x.shape[-1] // LANES), LANES), F32)  # + 0 changes no sum that began with +0
    padded.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]] = x
    lanes = np.zeros((*x.shape[:-1], LANES), F32)
    for i in range(padded.shape[-2]):
        lanes += padded[..., i, :]
    for apart in (8, 4, 2, 1):
        lanes = lanes[..., :apart] + lanes[..., apart:]
    return lanes[..., 0]


def exp_negative(x: Floats) -> Floats:
    """exp(x) for x <= 0, as numbers.h has it."""
    x = np.maximum(x, F32(-87))
    shifted = x * F32(1.44269504) + F32(12582912)
    n = shifted - F32(12582912)
    r = x - n * F32(0.693359375)
    r = r - n * F32(-2.12194440e-4)
    p = np.full_like(r, 1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + F32(c)
    p = p * (r * r) + r
    p = p + F32(1)
    power: Floats = ((shifted.view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000)).view(F32)
    y: Floats = p * power
    return y


def normalize(x: Floats, norm: Norm, eps: np.float32) -> Floats:
    """LayerNorm over the last axis."""
    width = F32(x.shape[-1])
    y = x - (total(x) / width)[:, None]
    scale = F32(1) / np.sqrt(total(y * y) / width + eps)
    scaled: Floats = y * scale[:, None] * norm.weight + norm.bias
    return scaled


def attend(qkv: Floats, heads: int) -> Floats:
    """softmax(q k^T / sqrt(head width)) v in each head of one sentence. qkv: (tokens, 3 * width)."""
    tokens = len(qkv)
    q, k, v = qkv.reshape(tokens, 3, heads, -1).transpose(1, 2, 0, 3)  # each (heads, tokens, head width)
    scores = np.zeros((heads, tokens, tokens), F32)
    for d in range(q.shape[-1]):
        scores += q[:, :, d, None] * k[:, None, :, d]
    scores = (scores - scores.max(axis=-1, keepdims=True)) * (F32(1) / np.sqrt(F32(q.shape[-1])))
    weights = exp_negative(scores)
    y = np.zeros_like(q)
    for j in range(tokens):
        y += weights[:, :, j, None] * v[:, j, None, :]
    y = y / total(weights)[:, :, None]
    return y.transpose(1, 0, 2).reshape(tokens, -1)


def pool(x: Floats) -> Floats:
    """The mean of a sentence's rows, divided by its length."""
    y = np.zeros_like(x[0])
    for row in x:
        y = y + row
    y = y / F32(len(x))
    unit: Floats = y / np.sqrt(total(y * y))
    return unit


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is found at the end
def encode(model: Model, sentences: Sequence[Sequence[int]]) -> Floats:
    """Embeddings (len(sentences), width) of unit length. sentences: token ids of each, at least one.

    Raises:
        ValueError: a sentence is empty or too long, an id is not in the vocabulary, or an embedding is not finite.
    """

    def linear(x: Floats, layer: Linear, activation: str | None = None, residual: Floats | None = None) -> Floats:
        return lb.matmul(
            x, layer.weights, bias=layer.bias, activation=activation, residual=residual, compute=model.compute
        )

    check(model, sentences)
    bounds = np.cumsum([len(ids) for ids in sentences])[:-1]
    ids = np.concatenate([np.asarray(ids) for ids in sentences])
    places = np.concatenate([np.arange(len(ids)) for ids in sentences])
    x = model.words[ids].astype(F32) * model.word_scales[ids, None] + model.places[places]
    x = normalize(x, model.embedding_norm, model.eps)
    for layer in model.layers:
        qkv = linear(x, layer.qkv)
        a = np.concatenate([attend(part, model.heads) for part in np.split(qkv, bounds)])
        x = normalize(linear(a, layer.out, residual=x), layer.attention_norm, model.eps)
        inner = linear(x, layer.inner, "gelu")
        x = normalize(linear(inner, layer.outer, residual=x), layer.output_norm, model.eps)
    embeddings = np.stack([pool(part) for part in np.split(x, bounds)])
    if not np.isfinite(embeddings).all():
        raise ValueError(f"sentence {np.argwhere(~np.isfinite(embeddings))[0][0] + 1}: the embedding is not finite")
    return embeddings


def check(model: Model, sentences: Sequence[Sequence[int]]) -> None:
    vocabulary, positions = len(model.words), len(model.places)
    for number, ids in enumerate(sentences, 1):
        if not 1 <= len(ids) <= positions:
            raise ValueError(f"sentence {number}: {len(ids)} token ids, expected 1 to {positions}")
        if not 0 <= min(ids) <= max(ids) < vocabulary:
            raise ValueError(f"sentence {number}: token ids {min(ids)} to {max(ids)}, expected 0 to {vocabulary - 1}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL")
    try:
        model = model_file.read(parser.parse_args().model)
        sentences = [[int(word) for word in line.split()] for line in sys.stdin]
        for embedding in encode(model, sentences) if sentences else ():
            print(" ".join(f"{x:.9g}" for x in embedding))
    except (OSError, ValueError) as error:
        parser.exit(1, f"embed.py: {error}\n")


if __name__ == "__main__":
    main()
