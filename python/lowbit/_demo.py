"""``python -m lowbit demo``: one layer in float32, int8 and int4."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import lowbit

from ._checks import Array

SECONDS = 0.6  # of repetitions for each line, or 3 repetitions
ROWS = (1, 512)  # of x: one token, and a batch


class Mode(NamedTuple):
    name: str
    bytes: int  # of the weights
    multiply: Callable[[Array], Array]


def median_seconds(multiply: Callable[[Array], Array], x: Array) -> float:
    """Median of at least 3 calls, after one to warm up."""
    multiply(x)
    times: list[float] = []
    last = time.perf_counter()
    end = last + SECONDS
    while len(times) < 3 or last < end:
        start = time.perf_counter()
        multiply(x)
        last = time.perf_counter()
        times.append(last - start)
    return statistics.median(times)


def run(size: int) -> None:
    """Quantize a (size, size) layer of normal weights, multiply, print a table."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((size, size), np.float32)

    start = time.perf_counter()
    int8 = lowbit.pack_weights(lowbit.quantize(weights, "int8", axis=0))
    int4 = lowbit.pack_weights(lowbit.quantize(weights, "int4", group_size=32, scale_dtype=np.float16))
    seconds = time.perf_counter() - start
    modes = (
        Mode("float32 (numpy)", weights.nbytes, lambda x: x @ weights.T),
        Mode("int8", int8.nbytes, lambda x: x @ int8),
        Mode("int4 g32, compute int8", int4.nbytes, lambda x: x @ int4),
        Mode("int4 g32, compute float32", int4.nbytes, lambda x: lowbit.matmul(x, int4, compute="float32")),
    )
    print(f"lowbit {lowbit.__version__}, {lowbit.current_isa()}, {lowbit.get_num_threads()} threads")
    print(f"weights {size} x {size}; quantized and packed to int8 and int4 in {seconds:.2f} s")
    for rows in ROWS:
        x = rng.standard_normal((rows, size), np.float32)
        exact = x @ weights.T
        print(f"\n{f'x {rows} x {size}':26}{'weights':>10}{'time':>11}{'speed':>14}{'speed-up':>10}{'error':>9}")
        baseline = 0.0
        for mode in modes:
            seconds = median_seconds(mode.multiply, x)
            baseline = baseline or seconds
            if rows == 1:  # bound by reading the weights
                speed = f"{mode.bytes / seconds / 1e9:.1f} GB/s"
            else:
                speed = f"{2 * rows * size * size / seconds / 1e9:.0f} GOPS"
            error = float(np.linalg.norm(mode.multiply(x) - exact) / np.linalg.norm(exact))
            print(
                f"{mode.name:26}{mode.bytes / 2**20:7.1f} MB{1e3 * seconds:8.2f} ms{speed:>14}"
                f"{baseline / seconds:9.1f}x{error:9.4f}"
            )
    print(
        "\nerror: |y - y_float32| / |y_float32|. time: median. speed at 1 row: weights read; else 2 M N K operations."
    )
