"""quantize and dequantize."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from . import _core
from ._bits import unpack_rows
from ._calibration import CONVENTIONS, Fill, Parameters, find_range, make_fill
from ._checks import Array, choice, contiguous, floats, names, to_float32
from ._formats import TYPES, Format, find_format, raw
from ._layout import Layout, make_layout
from ._runtime import context
from .arrays import (
    FLOAT_ZERO_TYPES,
    QuantizedArray,
    check_block,
    check_global_scale,
    check_scale_form,
    check_scale_values,
    check_zero_point,
    check_zero_point_each,
    codes_shape,
    scale_types,
    stored_zero_point,
    zero_points_are_packed,
)
from .calibrate import Observer


def quantize(
    x: npt.ArrayLike,
    format: npt.DTypeLike,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    symmetric: bool = True,
    convention: str | None = None,
    scale: npt.ArrayLike | None = None,
    zero_point: npt.ArrayLike | None = None,
    scale_dtype: npt.DTypeLike | None = None,
    global_scale: npt.ArrayLike | None = None,
    double_quantize: bool = False,
    calibrate: str | Observer = "minmax",
    importance: npt.ArrayLike | None = None,
    percentile: float = 99.99,
    out: QuantizedArray | None = None,
) -> QuantizedArray:
    """Quantize floats: ``code = clip(round_half_even(x / scale) + zero_point, qmin, qmax)``.

    Floats and tables: the number nearest to x / scale, saturating; a tie goes to the even code of a float and to the
    lower number of a table. NaN gives the zero point, or NaN where the format has one; infinities saturate, and neither
    counts when scales are found.

    Args:
        x: float32, float16 or ml_dtypes.bfloat16, of any shape and strides.
        format: a name, or a numpy or ml_dtypes dtype of that name: "int1" to "int8", "uint1" to "uint8", "ternary",
            "float8_e4m3fn" …, "nf4", "fp4", "mxfp4" …, "nvfp4"; docs/formats.md lists them.
        axis: None for one scale, else one scale for each index of this axis (0: one per row of (N, K)). Negative
            ones count from the end.
        group_size: one scale for each group of this many elements along the last axis; the last group may be shorter;
            -1 for the whole last axis. Block formats have their own. Of axis, group_size and block_shape at most one.
        block_shape: one scale for each block of (rows, columns) of a matrix; the last may be smaller.
        symmetric: zero stays in the middle: no zero point for signed formats, 2^(bits-1) for unsigned ones. False: the
            codes cover [min(x, 0), max(x, 0)] with a scale and a zero point. Floats and tables are symmetric.
        convention: how a symmetric scale follows from the data: "absmax" (absmax / qmax), "full"
            (absmax / (qmax + 1/2)), "signed_max" (the value of largest magnitude / qmin; may be negative), "no_clip".
            None: "absmax" at 8 bits and for floats, tables and ternary, "full" below, "signed_max" at 1 bit, where
            "full" has no code but 0; float16 and bfloat16 have scale 1.
        scale: use these scales instead of finding them: of the shape and dtype that QuantizedArray documents,
            finite, not zero, and positive unless convention is "signed_max". A Python float is a float32.
        zero_point: use these with scale: as QuantizedArray documents, or one int8 or uint8 for each scale. None: as
            symmetric says. Floats are added before rounding: ``clip(round_half_even(x / scale + zero_point))``.
        scale_dtype: float32 (None), float16, or ml_dtypes' bfloat16, float8_e8m0fnu or float8_e4m3fn, for scales that
            are found. Block formats have their own.
        global_scale: a positive float that scales are multiples of. None: none; NVFP4: absmax / 6 / 448 of all of x.
        double_quantize: quantize the scales as well, to uint8 in groups of 256 (QLoRA's double quantization).
        calibrate: where scales (and zero points) come from. "minmax": the smallest and largest finite element.
            "percentile": the same without the outermost values. "mse": a search for the least squared error. "entropy":
            the range that changes the distribution least (integers; 2 ms a scale, so for tensors and axes). "absmean":
            scale = mean |x| (symmetric; BitNet's ternary weights). "hqq": the range, and zero points that are no codes,
            found by half-quadratic optimization (symmetric=False). Or an observer, ``lowbit.MinMaxObserver`` …, for
            this format and axis, that has seen data: symmetric, convention and scale_dtype are then its own.
        importance: with calibrate="mse", weights of the squared errors: float32, float16 or bfloat16, of the shape of x
            or of its last axis, finite, at least 0.
        percentile: with calibrate="percentile", above 50 and at most 100: of |x| if symmetric, else both ends lose
            100 - percentile.
        out: a QuantizedArray with the same format, shape, and kind of scales and zero points: its arrays are
            overwritten, and it is returned. Memory that has been used before saves its page faults.

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
    default_group = fmt.group_size if axis is None and block_shape is None else None
    layout = make_layout(array.shape, axis, default_group if group_size is None else group_size, block_shape)
    check_block(fmt, layout)
    if importance is not None and calibrate != "mse":
        raise ValueError(f"importance: given with calibrate={calibrate!r}, expected calibrate='mse'")
    if isinstance(calibrate, Observer):
        symmetric, convention, scale_dtype = calibrate.settings_for(symmetric, convention, scale_dtype)
        fill: Fill | None = calibrate.fill_for(fmt, layout)
    else:
        fill = make_fill(calibrate, fmt, layout, symmetric, importance, percentile)
    if fill is not None and scale is not None:
        raise ValueError(f"calibrate: {calibrate!r} with scale, expected 'minmax': nothing is to be found")
    if convention is not None and not symmetric:
        raise ValueError(f"convention: {convention!r} with symmetric=False, expected None: it is for symmetric codes")
    if fmt.kind != "integer" and not symmetric:
        raise ValueError(f"symmetric: False for {fmt.name}, expected True: only integers have zero points")
    has_own_range = fmt.bits == 16 and convention is None and scale is None and fill is None
    convention = convention or _default_convention(fmt, calibrate, scale_dtype)
    rule = choice("convention", convention, CONVENTIONS) if symmetric else _core.ASYMMETRIC
    if scale is None and zero_point is not None:
        raise ValueError("zero_point: given without scale, expected both or neither")
    if double_quantize and (scale is not None or out is not None):
        other = "scale" if scale is not None else "out"
        raise ValueError(f"double_quantize: True with {other}, expected False: it is for scales that are found")
    array = contiguous(to_float32(array))
    multiplier = check_global_scale(_global_scale(array, global_scale, fmt), fmt)

    scales: Array
    zeros: Array | None
    if has_own_range:
        scale = np.ones(layout.scale_shape, _scale_type(scale_dtype, fmt))
    if scale is not None:
        scales = check_scale_form(scale, fmt, layout)
        if scale_dtype is not None and np.dtype(scale_dtype) != scales.dtype:
            raise ValueError(f"scale_dtype: {np.dtype(scale_dtype)} with a scale of {scales.dtype}, expected None")
        zeros = _given_zero_point(zero_point, symmetric, fmt, layout)
        target = quantize_target(out, fmt, layout, scales.dtype, zeros)
    else:
        dtype = _scale_type(scale_dtype, fmt)
        has_zero = fmt.kind == "integer" and not (symmetric and fmt.signed)
        zero_dtype = (dtype if dtype in FLOAT_ZERO_TYPES else FLOAT_ZERO_TYPES[0]) if calibrate == "hqq" else fmt.dtype
        zeros = np.empty(layout.scale_shape, zero_dtype) if has_zero else None
        target = quantize_target(out, fmt, layout, dtype, zeros)
        scales = np.empty(layout.scale_shape, dtype) if target is None else target.decoded_scale()

    codes = np.zeros(codes_shape(fmt, layout), fmt.codes_dtype) if target is None else target.codes
    common = TYPES[scales.dtype], 0.0 if multiplier is None else float(multiplier), raw(scales), _kernel_zeros(zeros)
    find = bool(scale is None and fill is None and array.size and layout.one_run_per_scale)  # while quantizing
    wanted = Parameters(fmt, layout, rule, multiplier, scales, zeros)
    if fill is not None:
        fill(array, wanted)
        common = *common[:3], _kernel_zeros(zeros)
    elif scale is None and not find:
        wanted.choose(*find_range(array, layout))
    if double_quantize:
        # the codes follow the scales that are stored
        if find:
            _core.quantize(context(), fmt.id, layout.runs, array, rule, True, *common, raw(codes))
            find = False
        nested = quantize(scales.ravel().astype(np.float32), "uint8", group_size=256, symmetric=False)
        scales = nested.dequantize().reshape(layout.scale_shape)
        common = TYPES[scales.dtype], *common[1:2], scales, common[3]
    if array.size:
        try:
            _core.quantize(context(), fmt.id, layout.runs, array, rule, find, *common, raw(codes))
        except ValueError:
            if scale is not None:
                check_scale_values(scales, positive=convention != "signed_max")  # says where
            raise
    elif scale is not None:
        check_scale_values(scales, positive=convention != "signed_max")
    stored = stored_zero_point(zeros, fmt, layout)
    if target is None:
        return QuantizedArray._trusted(codes, nested if double_quantize else scales, stored, multiplier, fmt, layout)
    if scale is not None and scales is not target.scale:
        np.copyto(target.decoded_scale(), scales)
    if stored is not None and target.zero_point is not None:
        np.copyto(target.zero_point, stored)
    target.global_scale = multiplier
    return target


def _default_convention(fmt: Format, calibrate: str | Observer, scale_dtype: npt.DTypeLike | None) -> str:
    if fmt.kind != "integer" or fmt.bits == 8 or fmt.name == "ternary":
        return "absmax"
    can_be_negative = scale_dtype is None or np.dtype(scale_dtype) != ml_dtypes.float8_e8m0fnu
    return "signed_max" if fmt.bits == 1 or (calibrate == "mse" and can_be_negative) else "full"


def _scale_type(scale_dtype: npt.DTypeLike | None, fmt: Format) -> np.dtype[Any]:
    allowed = scale_types(fmt)
    dtype = allowed[0] if scale_dtype is None else np.dtype(scale_dtype)
    if dtype not in allowed:
        raise ValueError(f"scale_dtype: {dtype} for {fmt.name}, expected {names(allowed)}")
    return dtype


def _global_scale(x: Array, given: npt.ArrayLike | None, fmt: Format) -> npt.ArrayLike | None:
    """That of NVFP4 unless given: the largest block's scale is then the largest e4m3, 448."""
    if given is not None or not fmt.has_global_scale:
        return given
    low, high = find_range(x, Layout(x.shape, None, None))
    value = np.maximum(-low, high) / np.float32(fmt.max_value) / np.float32(448)
    return value if value > 0 else np.float32(1)


def quantize_target(
    out: QuantizedArray | None, fmt: Format, layout: Layout, scale_dtype: np.dtype[Any], zeros: Array | None
) -> QuantizedArray | None:
    """out, checked: of this format and layout, writeable."""
    if out is None:
        return None
    if not isinstance(out, QuantizedArray):
        raise TypeError(f"out: {type(out).__name__}, expected a QuantizedArray")
    if isinstance(out.scale, QuantizedArray) or (out._format, out._layout) != (fmt, layout):
        raise ValueError(
            f"out: {out!r}, expected {fmt.name} of shape {layout.shape} with scales of {layout.scale_shape}"
        )
    kinds = [None if zero is None else zero.dtype.kind == "f" for zero in (out.zero_point, zeros)]
    if out.scale.dtype != scale_dtype or kinds[0] != kinds[1]:
        zero = {None: "without", False: "with integer", True: "with float"}[kinds[1]]
        raise ValueError(f"out: {out!r}, expected {scale_dtype} scales, {zero} zero points")
    for name, array in (("codes", out.codes), ("scale", out.scale), ("zero_point", out.zero_point)):
        if array is not None and not array.flags.writeable:
            raise ValueError(f"out: {name} is a read-only array, expected a writeable one")
    return out


def _kernel_zeros(zeros: Array | None) -> Array | None:
    """As the compiled module takes them."""
    return zeros.astype(np.float32) if zeros is not None and zeros.dtype == np.float16 else zeros


def _given_zero_point(zero_point: npt.ArrayLike | None, symmetric: bool, fmt: Format, layout: Layout) -> Array | None:
    """One for each scale: a byte, or a float."""
    if zero_point is None:
        if not symmetric:
            raise ValueError("zero_point: None with symmetric=False and a scale, expected zero points")
        plain = fmt.signed or fmt.kind != "integer"
        return None if plain else np.full(layout.scale_shape, 1 << (fmt.bits - 1), np.uint8)
    array = np.asarray(zero_point)
    if fmt.kind != "integer":
        return check_zero_point(array, fmt, layout)
    if type(zero_point) is int and fmt.qmin <= zero_point <= fmt.qmax:
        array = array.astype(fmt.dtype)
    if type(zero_point) is float:
        array = array.astype(np.float32)
    may_be_packed = zero_points_are_packed(fmt, layout) and array.dtype == np.uint8
    if may_be_packed and (fmt.signed or array.shape != layout.scale_shape):  # one code in a byte is the same packed
        return unpack_rows(check_zero_point(array, fmt, layout), fmt.bits, layout.groups, fmt.signed)
    return check_zero_point_each(array, fmt, layout.scale_shape)


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
