"""Cast and CastLike."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from .._cast import cast as cast_floats
from .._checks import Array, choice, contiguous, names, typed
from ._types import BYTES, E8M0, FLOAT32, FLOAT64, FLOATS, SHORTS, SMALL_FLOATS, SMALL_INTEGERS

ROUND_MODES = {"up": "up", "down": "down", "nearest": "nearest_even"}
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
KERNEL_TYPES = (BFLOAT16, E8M0, *SMALL_FLOATS)  # numpy's own conversions are good enough for all others
TYPES = (
    *FLOATS,
    FLOAT64,
    E8M0,
    *SMALL_FLOATS,
    *BYTES,
    *SHORTS,
    *SMALL_INTEGERS,
    *map(np.dtype, (np.int32, np.uint32, np.int64, np.uint64, np.bool_)),
)
E8M0_MIN = np.float32(2.0**-127)


def cast(x: npt.ArrayLike, to: npt.DTypeLike, *, saturate: bool = True, round_mode: str = "up") -> Array:
    """ONNX Cast.

    Args:
        x: of any numeric type of ONNX: floats of 4 to 64 bits, integers of 2 to 64 bits, bool; any shape.
        to: one of the same.
        saturate: of 8-bit floats: what is too large, infinity included, becomes the largest number; False: infinity,
            or NaN where the type has none.
        round_mode: of float8_e8m0fnu: "up" to the next power of two, "down", or "nearest", ties up.

    Returns:
        the shape of x. Floats round to nearest even, whatever their sizes. Floats become integers towards 0, integers
        lose their upper bits; what ONNX leaves undefined (a float that does not fit, a negative number as e8m0) is here
        what numpy and ml_dtypes give, and NaN.

    Raises:
        TypeError: x or to is no such type.
        ValueError: an unknown round_mode.

    Source: ONNX Cast-28.
    """
    array = typed("x", np.asarray(x), TYPES)
    dtype = np.dtype(to)
    if dtype not in TYPES:
        raise TypeError(f"to: {dtype}, expected {names(TYPES)}")
    rounding = choice("round_mode", round_mode, ROUND_MODES)
    if array.dtype in KERNEL_TYPES:
        array = cast_floats(array, FLOAT32)  # exact
    if dtype not in KERNEL_TYPES:
        with np.errstate(all="ignore"):
            return array.astype(dtype)
    values = _to_float32(array)
    if dtype != E8M0:
        return cast_floats(values, dtype, saturate=saturate)
    small = (values >= 0) & (values < E8M0_MIN)  # 0 is too small as well
    values = np.where(small, E8M0_MIN if saturate else np.float32(np.nan), values)
    return cast_floats(values, dtype, saturate=saturate, rounding=rounding)


def cast_like(x: npt.ArrayLike, target: npt.NDArray[Any], *, saturate: bool = True, round_mode: str = "up") -> Array:
    """ONNX CastLike: cast to the type of target.

    Args:
        x: as in cast.
        target: an array of which only the dtype is used.
        saturate: as in cast.
        round_mode: as in cast.

    Returns:
        the shape of x.

    Raises:
        TypeError: x or target is of a type that ONNX does not have.
        ValueError: an unknown round_mode.

    Source: ONNX CastLike-28.
    """
    return cast(x, np.asarray(target).dtype, saturate=saturate, round_mode=round_mode)


def _to_float32(x: Array) -> npt.NDArray[np.float32]:
    """Exact, or rounded to odd: a second rounding, to 11 bits or fewer, is then the rounding of x itself.

    24 bits are at least 2 more than the type has, and the last one says whether anything was lost.
    """
    if x.dtype.itemsize < 4 or x.dtype in (FLOAT32, np.dtype(np.bool_)):
        return contiguous(x).astype(np.float32, copy=False)
    wide = x.astype(np.float64)  # exact but for integers beyond 2^53
    with np.errstate(all="ignore"):
        narrow = wide.astype(np.float32)
        below = np.where(np.abs(narrow) > np.abs(wide), np.nextafter(narrow, np.float32(0)), narrow)  # towards 0
    lost = below != wide
    odd = (below.view(np.uint32) | np.uint32(1)).view(np.float32)
    return np.where(lost & ~np.isnan(wide), odd, below)
