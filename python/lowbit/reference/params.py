"""Scale and zero point from data: docs/numerics.md, "Ranges and parameters"."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .formats import FLOATS, TABLES, code_range, element, encode, encode_power, numbers
from .layout import group_count, group_length

f32 = np.float32


def value_range(
    x: npt.ArrayLike, *, axis: int | None = None, group_size: int | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return (minimum, maximum) of the finite elements of float32 x; 0 and 0 where there is none.

    Shapes: () for axis=None, (x.shape[axis],) for an axis, x.shape[:-1] + (ceil(x.shape[-1] / group_size),) for groups
    along the last axis.
    """
    x = np.asarray(x, f32)
    reduced = tuple(range(x.ndim))
    if axis is not None and group_size is not None:
        raise ValueError(f"axis and group_size exclude each other, got axis={axis}, group_size={group_size}")
    if axis is not None:
        reduced = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    elif group_size is not None:
        length, group, count = x.shape[-1], group_length(x.shape[-1], group_size), group_count(x.shape[-1], group_size)
        padding = [(0, 0)] * (x.ndim - 1) + [(0, count * group - length)]
        x = np.pad(x, padding, constant_values=np.nan).reshape(*x.shape[:-1], count, group)
        reduced = (-1,)
    finite = np.isfinite(x)
    minimum = np.where(finite, x, f32(np.inf)).min(axis=reduced, initial=f32(np.inf))
    maximum = np.where(finite, x, f32(-np.inf)).max(axis=reduced, initial=f32(-np.inf))
    # Adding +0 turns -0 into +0.
    minimum = np.where(minimum == f32(np.inf), f32(0), minimum) + f32(0)
    maximum = np.where(maximum == f32(-np.inf), f32(0), maximum) + f32(0)
    return np.asarray(minimum), np.asarray(maximum)


def choose_params(
    format: str,
    convention: str,
    minimum: npt.ArrayLike,
    maximum: npt.ArrayLike,
    scale_dtype: npt.DTypeLike = np.float32,
    global_scale: float | np.float32 = 1,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return (scale, zero_point) for finite float32 ranges; both have their shape.

    convention: "asymmetric", "absmax", "full", "signed_max" or "no_clip"; "absmax" for floats and tables. scale is of
    scale_dtype; zero_point is int8 for signed formats, uint8 for unsigned ones, and None for floats, tables and a
    symmetric convention on a signed format (it is 0).
    ValueError for an unknown convention, one that the format does not have, or a scale that overflows scale_dtype.
    """
    low, high = np.asarray(minimum, f32), np.asarray(maximum, f32)
    integers = element(format) not in (*FLOATS, *TABLES)
    with np.errstate(all="ignore"):
        if not integers:
            if convention != "absmax":
                raise ValueError(f"convention: {convention!r} for {format}, expected 'absmax'")
            values = numbers(format)
            largest = f32(values[np.isfinite(values)].max())
            if np.dtype(scale_dtype).name == "float8_e8m0fnu":
                largest = f32(2.0 ** np.floor(np.log2(largest)))
            exact: npt.NDArray[Any] = np.maximum(np.abs(low), np.abs(high)) / largest
        elif convention == "asymmetric":
            _, _, qmin, qmax = code_range(format)
            low, high = np.minimum(low, f32(0)), np.maximum(high, f32(0))
            steps = f32(qmax - qmin)
            span = high - low
            exact = np.where(np.isinf(span), high / steps - low / steps, span / steps)
        else:
            exact = _symmetric_scale(format, convention, low, high)
        scale = _stored(np.asarray(exact / f32(global_scale)), scale_dtype, "up" if integers else "down")
        if not integers:
            return scale, None
        bits, signed, qmin, qmax = code_range(format)
        code_dtype = np.int8 if signed else np.uint8
        if convention == "asymmetric":
            point = f32(qmin) - low / (scale.astype(f32) * f32(global_scale))
            return scale, np.clip(np.rint(point), qmin, qmax).astype(code_dtype)
    if signed:
        return scale, None
    return scale, np.full(scale.shape, 2 ** (bits - 1), code_dtype)


def _stored(exact: npt.NDArray[np.float32], scale_dtype: npt.DTypeLike, power_rounding: str) -> npt.NDArray[Any]:
    """Rounded to scale_dtype; 1 where that is 0."""
    dtype = np.dtype(scale_dtype)
    exact = np.where(exact == 0, f32(1), exact)
    if dtype.name == "float8_e8m0fnu":
        scale = encode_power(exact, power_rounding).view(dtype)
    elif dtype.name in FLOATS:
        codes = encode(exact, dtype.name, saturate=False)
        scale = codes.view(dtype)
    else:
        scale = exact.astype(dtype)
    values = scale.astype(f32)
    if not np.isfinite(values).all():
        raise ValueError(f"scale: {np.abs(exact).max()} does not fit scale_dtype {dtype}")
    return np.where(values == 0, f32(1), values).astype(dtype)


def _symmetric_scale(
    format: str, convention: str, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]
) -> npt.NDArray[Any]:
    bits, signed, qmin, qmax = code_range(format)
    if not signed:  # symmetric conventions mean the signed codes
        _, _, qmin, qmax = code_range(f"int{bits}")
    if qmax == 0 and convention in ("absmax", "no_clip"):
        raise ValueError(f"convention: {convention!r} has no meaning for a format of one bit")
    magnitude: npt.NDArray[Any] = np.maximum(np.abs(low), np.abs(high))
    if convention == "absmax":
        return magnitude / f32(qmax)
    if convention == "full":
        return magnitude / f32(qmax + 0.5)
    if convention == "signed_max":
        largest: npt.NDArray[Any] = np.where(np.abs(low) > np.abs(high), low, high)
        return largest / f32(qmin)
    if convention == "no_clip":
        return np.asarray(np.maximum(low / f32(qmin), high / f32(qmax)))
    raise ValueError(
        f"convention: got {convention!r}, expected 'asymmetric', 'absmax', 'full', 'signed_max' or 'no_clip'"
    )
