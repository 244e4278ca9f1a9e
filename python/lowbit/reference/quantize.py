"""Codes from values and back: docs/numerics.md, "Quantize and dequantize"."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .formats import FLOATS, TABLES, code_range, decode, element, encode
from .layout import spread

f32 = np.float32


def quantize(
    x: npt.ArrayLike,
    format: str,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    global_scale: float | np.float32 = 1,
) -> npt.NDArray[Any]:
    """Return the codes of float32 x, unpacked, of x's shape: int8 for signed formats, uint8, or uint16 for 16 bits.

    scale and zero_point (None: 0) have the shape that axis, group_size and block_shape give: (), (x.shape[axis],),
    x.shape[:-1] + (ceil(x.shape[-1] / group_size),) or the number of blocks. ValueError for any other shape. A
    zero_point of floats is added before rounding.
    """
    x = np.asarray(x, f32)
    layout = (x.shape, axis, group_size, block_shape)
    with np.errstate(all="ignore"):
        quotient = x / spread(np.asarray(scale).astype(f32) * f32(global_scale), *layout)
    if element(format) in (*FLOATS, *TABLES):
        return encode(quotient, format)
    _, signed, qmin, qmax = code_range(format)
    zero = np.zeros((), f32) if zero_point is None else spread(np.asarray(zero_point).astype(f32), *layout)
    with np.errstate(all="ignore"):
        if zero_point is not None and np.asarray(zero_point).dtype.kind == "f":
            quotient = np.where(np.isnan(quotient), f32(0), quotient)
            return np.clip(np.rint(quotient + zero), qmin, qmax).astype(np.int8 if signed else np.uint8)
        codes = np.clip(np.rint(quotient) + zero, f32(qmin), f32(qmax))
    return np.where(np.isnan(x), zero, codes).astype(np.int8 if signed else np.uint8)


def dequantize(
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    format: str | None = None,
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    global_scale: float | np.float32 = 1,
) -> npt.NDArray[np.float32]:
    """Return the float32 values of unpacked codes; parameters as in quantize. format: needed for floats and tables."""
    codes = np.asarray(codes)
    layout = (codes.shape, axis, group_size, block_shape)
    if format is not None and element(format) in (*FLOATS, *TABLES):
        number = decode(codes, format)
    else:
        number = codes.astype(f32)
    if zero_point is not None:
        number = number - spread(np.asarray(zero_point).astype(f32), *layout)
    with np.errstate(all="ignore"):
        return np.asarray(number * spread(np.asarray(scale).astype(f32) * f32(global_scale), *layout))
