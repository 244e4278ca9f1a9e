"""cast: float32, float16, bfloat16 and the floats of 8, 6 and 4 bits to each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import FLOAT32, Array, choice, contiguous, integer, names, output, typed
from ._formats import TYPES
from ._runtime import context

ROUNDINGS = {
    "nearest_even": _core.NEAREST_EVEN,
    "stochastic": _core.STOCHASTIC,
    "up": _core.UP,
    "down": _core.DOWN,
}


def cast(
    x: npt.ArrayLike,
    dtype: npt.DTypeLike,
    *,
    saturate: bool = True,
    rounding: str = "nearest_even",
    seed: int | None = None,
    out: Array | None = None,
) -> Array:
    """Convert floats to another float type.

    Args:
        x: float32, float16, or one of ml_dtypes' bfloat16, float8_*, float6_*, float4_e2m1fn; any shape and strides.
        dtype: one of the same.
        saturate: of types of at most 8 bits: what is too large, infinity included, becomes the largest number.
            False: it becomes infinity, or NaN where the type has none, or the largest number where it has neither, as
            ml_dtypes has it. float16 and bfloat16 have infinity. A type without NaN turns NaN into a zero.
        rounding: "nearest_even"; "stochastic": to one of the two neighbours, with probabilities that keep the mean;
            float8_e8m0fnu instead has "nearest_even" (a tie goes up), "up" and "down", as ONNX Cast has them.
        seed: 0 to 2^64 - 1 with rounding="stochastic": equal seeds give equal results, everywhere.
        out: array to write into: of this dtype and the shape of x, C-contiguous, not overlapping x.

    Returns:
        the shape of x; out itself if given.

    Raises:
        TypeError: x, dtype or out is of another type.
        ValueError: a rounding that the type does not have, stochastic without a seed, or out does not fit.

    Source: ONNX Cast-25; docs/numerics.md, "Floats of at most 16 bits".
    """
    array = typed("x", np.asarray(x), TYPES)
    target = np.dtype(dtype)
    if target not in TYPES:
        raise TypeError(f"dtype: {target}, expected {names(TYPES)}")
    mode = choice("rounding", rounding, ROUNDINGS)
    if mode == _core.STOCHASTIC:
        if seed is None:
            raise ValueError("seed: None with rounding='stochastic', expected an integer")
        seed = integer("seed", seed, 0, 2**64 - 1)
    elif seed is not None:
        raise ValueError(f"seed: {seed} with rounding={rounding!r}, expected None: it is for 'stochastic'")
    if target == FLOAT32:
        mode = _core.NEAREST_EVEN  # nothing is rounded
    if out is not None:
        output(out, array.shape, target, {"x": array})
        if not out.flags.c_contiguous:
            raise ValueError(f"out: strides {out.strides}, expected a C-contiguous array")
    result = np.empty(array.shape, target) if out is None else out
    array = contiguous(array)
    if array.dtype != FLOAT32:
        wide = result if target == FLOAT32 else np.empty(array.shape, np.float32)
        _convert(array, wide, _core.NEAREST_EVEN, False, 0)
        array = wide
    if array is not result:
        if target == FLOAT32:
            np.copyto(result, array)
        else:
            _convert(array, result, mode, saturate and target.itemsize == 1, seed or 0)
    return result


def _convert(x: Array, out: Array, rounding: int, saturate: bool, seed: int) -> None:
    _core.cast(context(), _codes(x), TYPES[x.dtype], _codes(out), TYPES[out.dtype], rounding, saturate, seed)


def _codes(x: Array) -> npt.NDArray[Any]:
    """float32 as it is, other types as unsigned integers."""
    return x if x.dtype == FLOAT32 else x.view(np.dtype(f"u{x.dtype.itemsize}"))
