"""lowbit's C library from a language without a compiler: quantize, pack, multiply, through ctypes alone.

    python ctypes_caller.py LIBRARY      liblowbit.so.0, in the folder that `python -m lowbit --lib-dir` names

Multiplies x (5, 200) with int8 weights of W (33, 200), on threads of its own, and compares the result with what
docs/numerics.md says, in a few lines of numpy: equal to the last bit, or exit status 1. It does not import lowbit.
"""

from __future__ import annotations

import argparse
import ctypes as c
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

ALIGNMENT = 64
THREADS = 3
INT8_FORMAT, ABSMAX, FLOAT32 = 8, 1, 1  # LOWBIT_INT(8), LOWBIT_ABSMAX, LOWBIT_FLOAT32

TASK = c.CFUNCTYPE(None, c.c_void_p, c.c_int64, c.c_int64, c.c_int)
PARALLEL_FOR = c.CFUNCTYPE(None, c.c_void_p, c.c_int64, c.c_int, TASK, c.c_void_p)


class LowbitError(Exception):
    """What a function of the library answered."""


class Struct(c.Structure):
    """A struct of lowbit.h that begins with its size; fields that are not named are 0."""

    def __init__(self, **values: Any) -> None:
        super().__init__(struct_size=c.sizeof(self), **values)


class Error(c.Structure):
    _fields_ = (("status", c.c_int), ("message", c.c_char * 508))


class Context(c.Structure):
    _fields_ = (("opaque", c.c_uint64 * 8),)


class Runs(c.Structure):
    _fields_ = tuple((name, c.c_int64) for name in ("rows", "row_length", "run", "rows_per_param", "params"))


class Options(Struct):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("isa", c.c_char_p),
        ("parallel_for", PARALLEL_FOR),
        ("pool", c.c_void_p),
        ("max_threads", c.c_int),
    )


class QuantizeArgs(Struct):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("format", c.c_int32),
        ("runs", Runs),
        ("x", c.c_void_p),
        ("find_params", c.c_int),
        ("convention", c.c_int),
        ("scale_type", c.c_int),
        ("global_scale", c.c_float),
        ("scale", c.c_void_p),
        ("zero_type", c.c_int),
        ("zero_point", c.c_void_p),
        ("codes", c.c_void_p),
    )


class WeightsInfo(Struct):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("format", c.c_int32),
        ("n", c.c_int64),
        ("k", c.c_int64),
        ("group_size", c.c_int64),
        ("scale_type", c.c_int),
        ("global_scale", c.c_float),
        ("zero_type", c.c_int),
        ("transposed", c.c_int),
    )


class MatmulArgs(Struct):
    _fields_ = (
        ("struct_size", c.c_size_t),
        ("weights", c.c_void_p),
        ("weights_size", c.c_size_t),
        ("m", c.c_int64),
        ("k", c.c_int64),
        ("x_type", c.c_int),
        ("x", c.c_void_p),
        ("ldx", c.c_int64),
        ("compute", c.c_int),
        ("act_group_size", c.c_int64),
        ("x_scale", c.c_void_p),
        ("x_scale_count", c.c_int64),
        ("x_zero_point", c.c_void_p),
        ("x_zero_point_count", c.c_int64),
        ("bias", c.c_void_p),
        ("activation", c.c_int),
        ("out", c.c_void_p),
        ("ldout", c.c_int64),
        ("out_type", c.c_int),
        ("out_scale", c.c_float),
        ("out_zero_point", c.c_int32),
        ("residual", c.c_void_p),
        ("ldresidual", c.c_int64),
        ("residual_type", c.c_int),
        ("workspace", c.c_void_p),
        ("workspace_size", c.c_size_t),
    )


def aligned(size: int) -> npt.NDArray[np.uint8]:
    """Bytes at a multiple of 64, as packed weights and workspaces have to be."""
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size]


class Library:
    """The functions used here. Every one of them takes a lowbit_error last, which becomes an exception."""

    def __init__(self, path: str, threads: int) -> None:
        self._library = c.CDLL(path)
        self._executor = ThreadPoolExecutor(threads)
        self._parallel_for = PARALLEL_FOR(self._run)  # ctypes' callbacks live as long as Python keeps them
        self._context = Context()
        options = Options(parallel_for=self._parallel_for, max_threads=threads)
        self._call("lowbit_context_init", c.byref(self._context), c.byref(options))

    def _run(self, pool: object, n: int, max_threads: int, task: Callable[..., None], arg: object) -> None:
        """lowbit_parallel_for: a part of [0, n) on each thread, each with its own thread_id."""
        bounds = [n * i // max_threads for i in range(max_threads + 1)]
        parts = [(arg, bounds[i], bounds[i + 1], i) for i in range(max_threads) if bounds[i] < bounds[i + 1]]
        for done in [self._executor.submit(task, *part) for part in parts]:
            done.result()

    def _call(self, name: str, *arguments: object) -> None:
        error = Error()
        if getattr(self._library, name)(*arguments, c.byref(error)) != 0:
            raise LowbitError(f"{name}: {error.message.decode()}")

    def quantize(self, w: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
        """int8 codes of the shape of w, and a scale for each row."""
        n, k = w.shape
        codes, scale = np.empty((n, k), np.int8), np.empty(n, np.float32)
        args = QuantizeArgs(
            format=INT8_FORMAT,
            runs=Runs(n, k, k, 1, n),
            x=w.ctypes.data,
            find_params=1,
            convention=ABSMAX,
            scale_type=FLOAT32,
            scale=scale.ctypes.data,
            codes=codes.ctypes.data,
        )
        self._call("lowbit_quantize", c.byref(self._context), c.byref(args))
        return codes, scale

    def pack(self, codes: npt.NDArray[np.int8], scale: Floats) -> npt.NDArray[np.uint8]:
        """Packed weights."""
        n, k = codes.shape
        info = WeightsInfo(format=INT8_FORMAT, n=n, k=k, scale_type=FLOAT32)
        size = c.c_size_t()
        self._call("lowbit_packed_size", c.byref(info), c.byref(size))
        packed = aligned(size.value)
        pointers = [c.c_void_p(a.ctypes.data) for a in (codes, scale)]
        target = c.c_void_p(packed.ctypes.data)
        self._call("lowbit_pack_weights", c.byref(self._context), c.byref(info), *pointers, None, target)
        return packed

    def matmul(self, x: Floats, packed: npt.NDArray[np.uint8], n: int) -> Floats:
        """x @ W.T"""
        m, k = x.shape
        out = np.empty((m, n), np.float32)
        args = MatmulArgs(
            weights=packed.ctypes.data,
            weights_size=packed.size,
            m=m,
            k=k,
            x_type=FLOAT32,
            x=x.ctypes.data,
            ldx=k,
            out=out.ctypes.data,
            ldout=n,
        )
        size = c.c_size_t()
        self._call("lowbit_matmul_workspace", c.byref(self._context), c.byref(args), c.byref(size))
        workspace = aligned(size.value)
        args.workspace, args.workspace_size = workspace.ctypes.data, size.value
        self._call("lowbit_matmul", c.byref(self._context), c.byref(args))
        return out


def quantized(x: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """int8 codes, and the scale of each row: largest magnitude / 127."""
    scale: Floats = np.abs(x).max(axis=1) / np.float32(127)
    return np.rint(x / scale[:, None]).astype(np.int64), scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", metavar="LIBRARY")
    parser.add_argument("--save", metavar="FILE.npz", help="x, w and the product, to be compared elsewhere")
    arguments = parser.parse_args()
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((5, 200), (33, 200)))
    try:
        library = Library(arguments.library, THREADS)
        codes, scale = library.quantize(w)
        y = library.matmul(x, library.pack(codes, scale), len(w))
    except (OSError, LowbitError) as error:
        parser.exit(1, f"ctypes_caller.py: {error}\n")

    x_codes, x_scale = quantized(x)
    w_codes, w_scale = quantized(w)
    sums = (x_codes @ w_codes.T).astype(np.float32)  # exact: below 2^24
    expected = sums * w_scale * x_scale[:, None]
    same = np.array_equal(codes, w_codes) and y.tobytes() == expected.tobytes()
    print(f"{y.shape[0]} x {y.shape[1]} numbers: {'equal to numpy' if same else 'NOT equal to numpy'}, to the last bit")
    if arguments.save:
        np.savez(arguments.save, x=x, w=w, y=y)
    parser.exit(0 if same else 1)


if __name__ == "__main__":
    main()
