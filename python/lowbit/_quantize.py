"""quantize and dequantize."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._bits import unpack_rows
from ._checks import Array, choice, contiguous, floats, names, to_float32
from ._formats import Format, find_format
from ._layout import Layout, make_layout
from ._runtime import context
from .arrays import (
    SCALE_TYPES,
    QuantizedArray,
    check_scale,
    check_zero_point,
    check_zero_point_bytes,
    codes_shape,
    stored_zero_point,
    zero_points_are_packed,
)

CONVENTIONS = {
    "absmax": _core.ABSMAX,
    "full": _core.FULL,
    "signed_max": _core.SIGNED_MAX,
    "no_clip": _core.NO_CLIP,
}
CALIBRATIONS = {"minmax": None}


def quantize(
    x: npt.ArrayLike,
    format: npt.DTypeLike,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    symmetric: bool = True,
    convention: str | None = None,
    scale: npt.ArrayLike | None = None,
    zero_point: npt.ArrayLike | None = None,
    scale_dtype: npt.DTypeLike | None = None,
    calibrate: str = "minmax",
) -> QuantizedArray:
    """Quantize floats: ``code = clip(round_half_even(x / scale) + zero_point, qmin, qmax)``.

    NaN gives the zero point, infinities saturate, and neither counts when scales are found.

    Args:
        x: float32, float16 or ml_dtypes.bfloat16, of any shape and strides.
        format: ``"int1"`` to ``"int8"``, ``"uint1"`` to ``"uint8"``, or a numpy or ml_dtypes dtype of such a name.
        axis: None for one scale, else one scale for each index of this axis (0: one per row of (N, K)). Negative
            ones count from the end.
        group_size: one scale for each group of this many elements along the last axis; the last group may be shorter;
            -1 for the whole last axis. Excludes axis.
        symmetric: zero stays in the middle: no zero point for signed formats, 2^(bits-1) for unsigned ones. False: the
            codes cover [min(x, 0), max(x, 0)] with a scale and a zero point.
        convention: how a symmetric scale follows from the data: "absmax" (absmax / qmax), "full"
            (absmax / (qmax + 1/2)), "signed_max" (the value of largest magnitude / qmin; may be negative), "no_clip".
            None: "absmax" at 8 bits, "full" below, "signed_max" at 1 bit, where "full" has no code but 0.
        scale: use these scales instead of finding them: float32 or float16 of the shape that QuantizedArray documents,
            finite, not zero, and positive unless convention is "signed_max". A Python float is a float32.
        zero_point: use these with scale: as QuantizedArray documents, or one int8 or uint8 for each scale. None: as
            symmetric says.
        scale_dtype: float32 (None) or float16, for scales that are found.
        calibrate: "minmax": scales from the smallest and largest finite element.

    Returns:
        QuantizedArray of the shape of x.

    Raises:
        TypeError: x is not one of these float types (float64 must be converted: ``x.astype(np.float32)``), or another
            argument has a wrong type.
        ValueError: an unknown name, a shape or value that does not fit, or a scale that overflows scale_dtype.

    Source: docs/numerics.md, "Ranges and parameters" and "Quantize and dequantize".
    """
    fmt = find_format(format)
    array = floats("x", x)
    layout = make_layout(array.shape, axis, group_size)
    choice("calibrate", calibrate, CALIBRATIONS)
    if convention is not None and not symmetric:
        raise ValueError(f"convention: {convention!r} with symmetric=False, expected None: it is for symmetric codes")
    convention = convention or {8: "absmax", 1: "signed_max"}.get(fmt.bits, "full")
    rule = choice("convention", convention, CONVENTIONS) if symmetric else _core.ASYMMETRIC

    scales: Array
    zeros: Array | None
    found_while_quantizing: int | None = None
    if scale is not None:
        scales = check_scale(scale, layout, positive=convention != "signed_max")
        if scale_dtype is not None and np.dtype(scale_dtype) != scales.dtype:
            raise ValueError(f"scale_dtype: {np.dtype(scale_dtype)} with a scale of {scales.dtype}, expected None")
        zeros = _given_zero_point(zero_point, symmetric, fmt, layout)
        array = contiguous(to_float32(array))
    else:
        if zero_point is not None:
            raise ValueError("zero_point: given without scale, expected both or neither")
        scales = np.empty(layout.scale_shape, _scale_type(scale_dtype))
        has_zero = not (symmetric and fmt.signed)
        zeros = np.empty(layout.scale_shape, fmt.dtype) if has_zero else None
        array = contiguous(to_float32(array))
        if array.size and layout.one_run_per_scale:
            found_while_quantizing = rule  # one pass over memory
        else:
            low, high = np.zeros(layout.scale_shape, np.float32), np.zeros(layout.scale_shape, np.float32)
            if array.size:
                _core.find_range(context(), layout.runs, array, low, high)
            _core.choose_params(fmt.id, rule, low, high, scales, zeros)

    codes = np.zeros(codes_shape(fmt, layout), fmt.codes_dtype)
    if array.size:
        _core.quantize(context(), fmt.id, layout.runs, array, found_while_quantizing, scales, zeros, codes)
    return QuantizedArray(
        codes,
        scales,
        stored_zero_point(zeros, fmt, layout),
        format=fmt.name,
        shape=layout.shape,
        axis=layout.axis,
        group_size=layout.group_size,
    )


def _scale_type(scale_dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    dtype = SCALE_TYPES[0] if scale_dtype is None else np.dtype(scale_dtype)
    if dtype not in SCALE_TYPES:
        raise ValueError(f"scale_dtype: {dtype}, expected {names(SCALE_TYPES)}")
    return dtype


def _given_zero_point(zero_point: npt.ArrayLike | None, symmetric: bool, fmt: Format, layout: Layout) -> Array | None:
    """One byte for each scale."""
    if zero_point is None:
        if not symmetric:
            raise ValueError("zero_point: None with symmetric=False and a scale, expected zero points")
        return None if fmt.signed else np.full(layout.scale_shape, 1 << (fmt.bits - 1), np.uint8)
    array = np.asarray(zero_point)
    if type(zero_point) is int and fmt.qmin <= zero_point <= fmt.qmax:
        array = array.astype(fmt.dtype)
    may_be_packed = zero_points_are_packed(fmt, layout) and array.dtype == np.uint8
    if may_be_packed and (fmt.signed or array.shape != layout.scale_shape):  # one code in a byte is the same packed
        return unpack_rows(check_zero_point(array, fmt, layout), fmt.bits, layout.groups, fmt.signed)
    return check_zero_point_bytes(array, fmt, layout.scale_shape)


def dequantize(
    q: QuantizedArray, *, dtype: npt.DTypeLike = np.float32, rows: npt.ArrayLike | None = None, out: Array | None = None
) -> Array:
    """The floats that q stands for; the same as ``q.dequantize``, which documents the arguments.

    Raises:
        TypeError: q is not a QuantizedArray; see ``QuantizedArray.dequantize`` for the rest.
    """
    if not isinstance(q, QuantizedArray):
        raise TypeError(f"q: {type(q).__name__}, expected a QuantizedArray")
    return q.dequantize(dtype=dtype, rows=rows, out=out)
