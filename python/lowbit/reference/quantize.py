"""Codes from values and back: docs/numerics.md, "Quantize and dequantize"."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .formats import code_range
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
) -> npt.NDArray[Any]:
    """Return the codes of float32 x: int8 for signed formats, uint8 for unsigned ones, unpacked, of x's shape.

    scale and zero_point (None: 0) have the shape that axis and group_size give: (), (x.shape[axis],) or
    x.shape[:-1] + (ceil(x.shape[-1] / group_size),). ValueError for any other shape.
    """
    _, signed, qmin, qmax = code_range(format)
    x = np.asarray(x, f32)
    scale = spread(np.asarray(scale).astype(f32), x.shape, axis, group_size)
    zero = f32(0) if zero_point is None else spread(np.asarray(zero_point).astype(f32), x.shape, axis, group_size)
    with np.errstate(all="ignore"):
        codes = np.clip(np.rint(x / scale) + zero, f32(qmin), f32(qmax))
    return np.where(np.isnan(x), zero, codes).astype(np.int8 if signed else np.uint8)


def dequantize(
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    axis: int | None = None,
    group_size: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return the float32 values of unpacked codes; scale and zero_point as in quantize."""
    difference = np.asarray(codes).astype(np.int32)
    scale = spread(np.asarray(scale).astype(f32), difference.shape, axis, group_size)
    if zero_point is not None:
        difference = difference - spread(np.asarray(zero_point).astype(np.int32), difference.shape, axis, group_size)
    with np.errstate(all="ignore"):
        return np.asarray(difference.astype(f32) * scale)
