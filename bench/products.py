"""Matrix products that bench/compare.py measures: their sizes, formats and data, the same for every engine."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

import lowbit as lb

SEED = 4


@dataclass(frozen=True)
class Product:
    """x (M, K) by `matrices` different weights (N, K) in turn.

    compute: "integer": int8 x, int8 weights, int32 results; codes of the whole range, where saturation would show.
    "static": the same with scales, to float32. "dynamic": float32 x, quantized inside. "float32": float32 x, weights
    decoded. "int8x2": two int8 terms.
    """

    compute: str
    m: int
    n: int = 4096
    k: int = 4096
    format: str = "int8"
    group: int | None = None  # k that share a scale; None: one scale for each row of the weights
    act_group: int | None = -1  # of "dynamic": -1: one scale for each row of x; None: as the weights
    matrices: int = 1

    @property
    def ops(self) -> int:
        """Multiplications and additions of one matrix."""
        return 2 * self.m * self.n * self.k

    @property
    def bits(self) -> int:
        return int(self.format.lstrip("uint"))

    @property
    def symmetric(self) -> bool:
        return not self.format.startswith("u")


@functools.lru_cache(maxsize=1)
def matrix(n: int, k: int) -> np.ndarray:
    """Float weights, (N, K), of magnitudes that a layer has."""
    return np.random.default_rng(SEED).standard_normal((n, k), np.float32) / np.float32(np.sqrt(k))


def activations(product: Product) -> np.ndarray:
    """Float activations, (M, K)."""
    return np.random.default_rng(SEED + 1).standard_normal((product.m, product.k), np.float32)


@functools.lru_cache(maxsize=2)
def _weights(n: int, k: int, format: str, group: int | None) -> lb.QuantizedArray:
    w = matrix(n, k)
    if group is None:
        return lb.quantize(w, format, axis=0, symmetric=not format.startswith("u"))
    return lb.quantize(w, format, group_size=group, symmetric=not format.startswith("u"), scale_dtype=np.float16)


def weights(product: Product, index: int = 0) -> lb.QuantizedArray:
    """Quantized weights, (N, K); every index has memory of its own, and rows in another order."""
    q = _weights(product.n, product.k, product.format, product.group)
    if index == 0:
        return q
    return lb.QuantizedArray(
        np.roll(q.codes, index, axis=0),
        np.roll(q.scale, index, axis=0),
        None if q.zero_point is None else np.roll(q.zero_point, index, axis=0),
        format=q.format,
        shape=q.shape,
        axis=q.axis,
        group_size=q.group_size,
    )


def codes(product: Product) -> lb.QuantizedArray:
    """Activations as int8 with one scale: of "static"."""
    return lb.quantize(activations(product), "int8")


@functools.lru_cache(maxsize=1)
def integers(product: Product) -> tuple[np.ndarray, np.ndarray]:
    """int8, (M, K) and (N, K): of "integer"."""
    rng = np.random.default_rng(SEED)
    return tuple(rng.integers(-128, 128, (rows, product.k), np.int8) for rows in (product.m, product.n))


def nbytes(product: Product) -> int:
    """Of one matrix of weights as the format has it: codes, scales, zero points."""
    return product.n * product.k if product.compute == "integer" else weights(product).nbytes


def empty(product: Product, dtype: type = np.float32) -> np.ndarray:
    """For results, its pages touched."""
    return np.ones((product.m, product.n), dtype)


@functools.lru_cache(maxsize=2)
def exact(product: Product, rows: int = 4) -> np.ndarray:
    """The first rows of what a perfect engine would return, in float64; of the last matrix."""
    if product.compute == "integer":
        a, b = (array.astype(np.float64) for array in integers(product))
        return a[:rows] @ b.T
    x = lb.dequantize(codes(product)) if product.compute == "static" else activations(product)
    w = lb.dequantize(weights(product, product.matrices - 1))
    return x[:rows].astype(np.float64) @ w.T.astype(np.float64)
