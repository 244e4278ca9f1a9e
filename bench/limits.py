"""What this machine can do: streams of memory and peaks of arithmetic, in C++ compiled when this runs.

    python bench/limits.py            a table of ratios of bytes read and written, and the peaks

Needs a C++17 compiler: CXX, or c++ or g++ or clang++ in PATH.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

LINE = 64
SOURCE = Path(__file__).with_suffix(".cpp")


@functools.cache
def library() -> ctypes.CDLL:
    """limits.cpp, compiled for this CPU."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ["c++", "g++", "clang++"]), None)
    if compiler is None:
        raise RuntimeError("no C++ compiler for bench/limits.cpp: set CXX or install one")
    with tempfile.TemporaryDirectory(prefix="lowbit-limits-") as folder:
        built = Path(folder) / "limits.so"
        options = ["-std=c++17", "-O3", "-march=native", "-pthread", "-shared", "-fPIC"]
        done = subprocess.run([compiler, *options, str(SOURCE), "-o", str(built)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{compiler} does not compile {SOURCE.name}:\n{done.stderr}")
        loaded = ctypes.CDLL(str(built))
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    loaded.limits_stream.argtypes = [pointer, size, pointer, size, size, ctypes.c_int, ctypes.c_int]
    loaded.limits_stream.restype = ctypes.c_double
    loaded.limits_read.argtypes = [pointer, size, size, ctypes.c_int, ctypes.c_int]
    loaded.limits_read.restype = ctypes.c_double
    loaded.limits_peak.argtypes = [ctypes.c_int, size, ctypes.c_int]
    loaded.limits_peak.restype = ctypes.c_double
    loaded.limits_peak_name.restype = ctypes.c_char_p
    loaded.limits_peak_ops.restype = size
    return loaded


def touched(nbytes: int) -> np.ndarray:
    """Random bytes on touched pages, aligned to a line."""
    words = np.random.default_rng(0).integers(0, 2**64, nbytes // 8 + 2 * LINE // 8, np.uint64).view(np.uint8)
    begin = -words.ctypes.data % LINE
    return words[begin : begin + nbytes]


class Streams:
    """Times streams between two buffers of its own."""

    BLOCKS = (1, 8)  # lines read or written in a row: which is faster, depends on the ratio

    def __init__(self, most_read: int, most_written: int, threads: int) -> None:
        """The most bytes that will be read and written."""
        self._from, self._to, self._threads = touched(most_read), touched(most_written), threads
        stores = ["regular", "nontemporal"] if library().limits_has_nontemporal() else ["regular"]
        self._kinds = {f"{store} {block}": (store, block) for store in stores for block in self.BLOCKS}
        self.kinds = list(self._kinds)

    def seconds(self, kind: str, read: int, written: int) -> float:
        """Time to read and write so many bytes, in whole lines, evenly mixed."""
        assert read <= self._from.nbytes
        assert written <= self._to.nbytes
        store, block = self._kinds[kind]
        source, target = self._from.ctypes.data, self._to.ctypes.data
        return library().limits_stream(
            source, read // LINE, target, written // LINE, block, store == "nontemporal", self._threads
        )


class Reads:
    """Times reading `count` buffers one after the other, each as large as a matrix and allocated as one."""

    SEQUENCES = (1, 2, 4)  # side by side in each thread: the fastest is the limit

    def __init__(self, nbytes: int, count: int, threads: int) -> None:
        self._lines, self._threads = -(-nbytes // LINE), threads
        first = touched(self._lines * LINE)
        self._buffers = [first]
        for _ in range(count - 1):
            copy = np.empty(first.nbytes + LINE, np.uint8)
            self._buffers.append(copy[-copy.ctypes.data % LINE :][: first.nbytes])
            self._buffers[-1][:] = first
        self._pointers = (ctypes.c_void_p * count)(*(buffer.ctypes.data for buffer in self._buffers))

    def seconds(self) -> float:
        """Of the fastest pass over all, of as many as an engine's turn has: caches hold what they will."""
        times: list[float] = []
        end = time.perf_counter() + 0.02
        while len(times) < 2 * len(self.SEQUENCES) or time.perf_counter() < end:
            sequences = self.SEQUENCES[len(times) % len(self.SEQUENCES)]
            count = len(self._buffers)
            times.append(library().limits_read(self._pointers, count, self._lines, sequences, self._threads))
        return min(times)


@functools.cache
def peak_names() -> tuple[str, ...]:
    """Instructions of limits.cpp that this CPU has."""
    names = []
    while (name := library().limits_peak_name(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def peak(name: str, threads: int) -> float:
    """Operations in a second (a multiplication and an addition are two) that so many threads reach together.

    The best of many short times: long ones would be interrupted where something else runs, and call it the peak.
    """
    index = peak_names().index(name)
    ops, loops = library().limits_peak_ops(index), 1 << 12
    time = min(library().limits_peak(index, loops, threads) for _ in range(6))
    loops = max(loops, round(loops * 0.0005 / time))  # half a millisecond
    time = min(library().limits_peak(index, loops, threads) for _ in range(12))
    return float(loops * ops * threads / time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mib", type=int, default=128, help="of the larger side")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    side = options.mib << 20
    streams = Streams(side, side, options.threads)
    print(f"{options.threads} threads, {options.mib} MiB on the larger side; GB/s of all bytes, medians")
    print(f"{'read : written':>15}", *(f"{kind:>14}" for kind in streams.kinds))
    for read, written in [(1, 0), (8, 1), (4, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8), (0, 1)]:
        sizes = side * read // max(read, written), side * written // max(read, written)
        times: dict[str, list[float]] = {kind: [] for kind in streams.kinds}
        for _ in range(options.rounds):
            for kind in streams.kinds:
                times[kind].append(streams.seconds(kind, *sizes))
        print(
            f"{f'{read} : {written}':>15}",
            *(f"{sum(sizes) / statistics.median(t) / 1e9:14.1f}" for t in times.values()),
        )

    for name in peak_names():
        print(f"{name:>15} {peak(name, options.threads) / 1e9:14.0f} GOPS")


if __name__ == "__main__":
    main()
