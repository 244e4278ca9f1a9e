"""Argument checks. Every message names the argument, what was given and what was expected."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeVar

import ml_dtypes
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")

FLOAT32 = np.dtype(np.float32)
FLOAT_TYPES = (FLOAT32, np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
CODE_TYPES = (np.dtype(np.int8), np.dtype(np.uint8))
MAX_SIDE = 2**31 - 1  # rows and columns of a matrix product
OVERLAP_WORK = 10_000  # steps numpy may spend on proving that two strided arrays are apart


def names(items: Iterable[object]) -> str:
    """For the end of a message: "a, b or c"."""
    *most, last = map(str, items)
    return f"{', '.join(most)} or {last}" if most else last


def choice(name: str, value: str, choices: Mapping[str, T]) -> T:
    """choices[value]; ValueError with the list where there is no such choice."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {type(value).__name__}, expected a string, {names(map(repr, choices))}")
    if value not in choices:
        raise ValueError(f"{name}: {value!r}, expected {names(map(repr, choices))}")
    return choices[value]


def integer(name: str, value: Any, low: int, high: int) -> int:
    """value as int, low <= value <= high."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: {type(value).__name__}, expected an integer from {low} to {high}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: {number}, expected an integer from {low} to {high}")
    return number


def typed(name: str, array: Array, allowed: Iterable[np.dtype[Any]]) -> Array:
    """The array itself; TypeError unless its dtype is one of allowed, in native byte order."""
    allowed = tuple(allowed)
    if array.dtype in allowed:  # dtypes of the other byte order compare unequal
        return array
    if array.dtype.newbyteorder("=") in allowed:
        raise TypeError(
            f"{name}: dtype {array.dtype!r} is not in native byte order; "
            f"convert with {name}.astype({name}.dtype.newbyteorder('='))"
        )
    hint = f"; convert with {name}.astype(np.float32)" if FLOAT32 in allowed and array.dtype.kind in "fiu" else ""
    raise TypeError(f"{name}: dtype {array.dtype}, expected {names(allowed)}{hint}")


def floats(name: str, x: Any) -> Array:
    """x as an array of one of FLOAT_TYPES, not converted."""
    if type(x) is np.ndarray and x.dtype is FLOAT32:  # the usual, in a third of the time
        return x
    return typed(name, np.asarray(x), FLOAT_TYPES)


def to_float32(x: Array) -> Array:
    """Exact; the array itself where it is float32."""
    with np.errstate(all="ignore"):  # a signalling NaN is data, not an event
        return x.astype(np.float32, copy=False)


def store(x: Array, out: Array) -> Array:
    """Round float32 x to the dtype of out, to nearest even; out of range gives infinities."""
    with np.errstate(all="ignore"):
        out[...] = x
    return out


def contiguous(x: Array) -> Array:
    """C-contiguous and aligned, copied only if it must be. (np.ascontiguousarray would make 0-d arrays 1-d.)"""
    return x if x.flags.c_contiguous and x.flags.aligned else x.copy(order="C")


def has_plain_rows(x: Array) -> bool:
    """Whether 2-d x has contiguous rows that do not overlap, as the C functions take them."""
    flags = x.flags
    if not flags.aligned or flags.c_contiguous:
        return flags.aligned
    across, inside = x.strides
    return inside == x.itemsize and across >= x.shape[1] * x.itemsize and across % x.itemsize == 0


def matrix(x: Array, rows: int, columns: int) -> Array:
    """x as (rows, columns) with plain rows, copied only if it must be."""
    if x.ndim != 2:
        x = x.reshape(rows, columns)
    return x if has_plain_rows(x) else x.copy(order="C")


def overlaps(a: Array, b: Array) -> bool:
    """Whether two arrays share memory; True as well where the answer would take numpy too long."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=OVERLAP_WORK)  # type: ignore[arg-type]  # any int
    except np.exceptions.TooHardError:
        return True


def output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Mapping[str, Array | None]) -> Array:
    """out, checked: the result is written straight into it, so nothing about it may need a conversion."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: {type(out).__name__}, expected a numpy array")
    if out.dtype is not dtype:
        typed("out", out, (dtype,))
    if out.shape != shape:
        raise ValueError(f"out: shape {out.shape}, expected {shape}")
    flags = out.flags
    if not flags.carray:  # contiguous, aligned and writeable
        if not flags.writeable:
            raise ValueError("out: a read-only array, expected a writeable one")
        if not (out.ndim == 2 and has_plain_rows(out)):
            raise ValueError(f"out: strides {out.strides}, expected an aligned array with contiguous rows")
    for name, array in inputs.items():
        if array is None or (flags.owndata and array.flags.owndata and array is not out):
            continue
        if overlaps(out, array):
            raise ValueError(f"out: shares memory with {name}, expected an array of its own")
    return out


def contiguous_output(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Mapping[str, Array | None]
) -> Array:
    """output() for functions that fill out as one block."""
    output(out, shape, dtype, inputs)
    if not out.flags.c_contiguous:
        raise ValueError(f"out: strides {out.strides}, expected a C-contiguous array")
    return out  # type: ignore[no-any-return]  # output() has checked it
