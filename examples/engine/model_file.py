"""The engine's model file, which model.c reads: a header, then sections that start at multiples of 64 bytes.

README.md has the table. Linear layers are stored as lowbit packs them, so that the engine multiplies with the mapped
file as it is, and lowbit refuses what another version has packed.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

import lowbit as lb

Floats = npt.NDArray[np.float32]

MAGIC = b"lbengine"
VERSION = 1
ALIGNMENT = 64
COMPUTES = ("int8", "float32", "int8x2")  # by the number in the header, which is lowbit.h's lowbit_compute
# magic, version, compute, layers, heads, width, inner, vocabulary, positions, eps, 0, bytes of the file, 0
HEADER = struct.Struct("<8sI7ifIQQ")


class ModelFileError(ValueError):
    """Not a model file of this version, or not a whole one."""


@dataclass(frozen=True)
class Linear:
    weights: lb.PackedWeights
    bias: Floats  # (out,)


@dataclass(frozen=True)
class Norm:
    weight: Floats  # (width,)
    bias: Floats


@dataclass(frozen=True)
class Layer:
    qkv: Linear  # queries, keys and values: (width, 3 * width)
    out: Linear
    attention_norm: Norm
    inner: Linear
    outer: Linear
    output_norm: Norm


@dataclass(frozen=True)
class Model:
    compute: str  # one of COMPUTES
    heads: int
    eps: np.float32
    words: npt.NDArray[np.int8]  # (vocabulary, width)
    word_scales: Floats  # (vocabulary,)
    places: Floats  # (positions, width): position + token type embeddings
    embedding_norm: Norm
    layers: list[Layer] = field(default_factory=list)


def sections(model: Model) -> Iterator[bytes]:
    """What follows the header, in order."""
    yield model.words.tobytes()
    yield model.word_scales.tobytes()
    yield model.places.tobytes()
    yield from norm_sections(model.embedding_norm)
    for layer in model.layers:
        yield from linear_sections(layer.qkv)
        yield from linear_sections(layer.out)
        yield from norm_sections(layer.attention_norm)
        yield from linear_sections(layer.inner)
        yield from linear_sections(layer.outer)
        yield from norm_sections(layer.output_norm)


def linear_sections(linear: Linear) -> Iterator[bytes]:
    yield linear.weights.tobytes()
    yield linear.bias.tobytes()


def norm_sections(norm: Norm) -> Iterator[bytes]:
    yield norm.weight.tobytes()
    yield norm.bias.tobytes()


def write(path: Path, model: Model) -> int:
    """Write the file, whole or not at all; returns its bytes."""
    body = b"".join(section + bytes(-len(section) % ALIGNMENT) for section in sections(model))
    size = HEADER.size + len(body)
    inner = model.layers[0].inner.weights.shape[1]
    shape = (len(model.layers), model.heads, model.words.shape[1], inner, *model.words.shape[:1], len(model.places))
    header = HEADER.pack(MAGIC, VERSION, COMPUTES.index(model.compute), *shape, model.eps, 0, size, 0)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".part", delete=False) as file:
        try:
            file.write(header + body)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # a temporary file is its owner's alone
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
    return size


class Reader:
    """Takes sections from the file's bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def skip(self, size: int, name: str) -> memoryview:
        """The next `size` bytes, and past them and their padding."""
        section = self._data[self._at : self._at + size]
        if len(section) < size:
            raise ModelFileError(f"{name}: {size} bytes at {self._at}, but the file ends at {len(self._data)}")
        self._at += size + -size % ALIGNMENT
        return section

    def end(self) -> None:
        if self._at != len(self._data):
            raise ModelFileError(f"{len(self._data) - self._at} bytes more than the model has")

    def floats(self, *shape: int, name: str) -> Floats:
        return np.frombuffer(self.skip(4 * int(np.prod(shape)), name), "<f4").reshape(shape)

    def norm(self, width: int, name: str) -> Norm:
        return Norm(self.floats(width, name=name), self.floats(width, name=name))

    def linear(self, k: int, n: int, name: str) -> Linear:
        try:
            weights = lb.PackedWeights.frombytes(self._data[self._at :])
        except ValueError as error:
            raise ModelFileError(f"{name}: {error}") from error
        if weights.shape != (k, n):
            raise ModelFileError(f"{name}: weights of shape {weights.shape}, expected {(k, n)}")
        self.skip(weights.nbytes, name)
        return Linear(weights, self.floats(n, name=name))


def read(path: Path) -> Model:
    """The model in the file.

    Raises:
        ModelFileError: it is no model file of this version, or is not whole.
    """
    data = path.read_bytes()
    reader = Reader(data)
    magic, version, compute, layers, heads, width, inner, vocabulary, positions, eps, _, size, _ = HEADER.unpack(
        reader.skip(HEADER.size, "header")
    )
    if magic != MAGIC or version != VERSION or size != len(data) or compute not in range(len(COMPUTES)):
        raise ModelFileError(
            f"{path}: magic {magic!r}, version {version}, {size} bytes, compute {compute}; expected {MAGIC!r}, "
            f"{VERSION}, {len(data)}, 0 to {len(COMPUTES) - 1}"
        )
    sides = {"layers": layers, "heads": heads, "width": width, "inner": inner}
    sides |= {"vocabulary": vocabulary, "positions": positions}
    if min(sides.values()) < 1 or width % heads != 0:
        raise ModelFileError(f"{path}: {sides}, expected at least 1 each, and a width that heads divide")
    model = Model(
        compute=COMPUTES[compute],
        heads=heads,
        eps=np.float32(eps),
        words=np.frombuffer(reader.skip(vocabulary * width, "word embeddings"), np.int8).reshape(vocabulary, width),
        word_scales=reader.floats(vocabulary, name="word scales"),
        places=reader.floats(positions, width, name="position embeddings"),
        embedding_norm=reader.norm(width, "embedding norm"),
        layers=[
            Layer(
                qkv=reader.linear(width, 3 * width, "queries, keys, values"),
                out=reader.linear(width, width, "attention output"),
                attention_norm=reader.norm(width, "attention norm"),
                inner=reader.linear(width, inner, "inner layer"),
                outer=reader.linear(inner, width, "outer layer"),
                output_norm=reader.norm(width, "output norm"),
            )
            for _ in range(layers)
        ],
    )
    reader.end()
    return model
