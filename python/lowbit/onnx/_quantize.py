"""QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._cast import cast as cast_floats
from .._checks import Array, contiguous, names, typed
from .._quantize import quantize
from ..arrays import QuantizedArray
from ._types import (
    CODES,
    E8M0,
    FLOAT32,
    FLOATS,
    INT32,
    SHORTS,
    SMALL_FLOATS,
    as_float32,
    byte_codes,
    code_type,
    integer_range,
    is_signed,
)
from ._where import Where, find_where, reshape_params


def quantize_linear(
    x: npt.ArrayLike,
    y_scale: npt.ArrayLike,
    y_zero_point: npt.ArrayLike | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: npt.DTypeLike | None = None,
    precision: npt.DTypeLike | None = None,
    saturate: bool = True,
) -> Array:
    """ONNX QuantizeLinear: ``saturate(round_half_even(x / y_scale) + y_zero_point)``.

    Args:
        x: float32, float16, ml_dtypes.bfloat16 or int32, of any shape.
        y_scale: one of these types or ml_dtypes.float8_e8m0fnu; finite, not zero. Shape () or (1,) for the tensor,
            (x.shape[axis],) for the axis (any 1-d x: its only axis), or that of x with ceil(n / block_size) for n
            along axis.
        y_zero_point: of the shape of y_scale and the type of the result. None: 0.
        axis: of per-axis and blocked scales.
        block_size: 0 without blocks.
        output_dtype: int8, uint8, int16, uint16, ml_dtypes' int2, uint2, int4, uint4, float8_e4m3fn, float8_e4m3fnuz,
            float8_e5m2, float8_e5m2fnuz, float6_e2m3fn, float6_e3m2fn or float4_e2m1fn. None: that of y_zero_point,
            else uint8.
        precision: float32, float16 or bfloat16: x and y_scale are converted to it, and so is their quotient. None: the
            type of y_scale (float32 for int32 and float8_e8m0fnu).
        saturate: as of lowbit.onnx.cast, for 8-bit floats.

    Returns:
        codes of the shape of x. NaN gives the zero point, or NaN where the type has it; ONNX leaves it open.

    Raises:
        TypeError: a type that is none of these, or y_zero_point not of output_dtype.
        ValueError: a shape or value that does not fit.

    Source: ONNX QuantizeLinear-28.
    """
    array = typed("x", np.asarray(x), [*FLOATS, INT32])
    scale = typed("y_scale", np.asarray(y_scale), [*FLOATS, INT32, E8M0])
    zero = None if y_zero_point is None else typed("y_zero_point", np.asarray(y_zero_point), CODES)
    dtype = _result_type(output_dtype, zero)
    where = find_where("y_scale", scale, array.shape, axis, block_size)
    _check_zero_shape("y_zero_point", zero, scale)
    default = scale.dtype if scale.dtype in FLOATS else FLOAT32
    working = default if precision is None else np.dtype(precision)
    if working not in FLOATS:
        raise TypeError(f"precision: {working}, expected {names(FLOATS)}")

    factors = as_float32(scale)
    if not (np.isfinite(factors) & (factors != 0)).all():
        raise ValueError("y_scale: NaN, infinity or 0 among them, expected finite scales other than 0")
    by_kernel = dtype not in SHORTS and (dtype not in SMALL_FLOATS or (saturate and zero is None))
    if not by_kernel:
        return _quantize_by_numpy(array, scale, zero, where, dtype, working, saturate)
    if working == FLOAT32:
        values, scales = where.move(as_float32(array)), reshape_params(where, factors)
    else:
        values = where.move(_quotient(array, where.spread(scale, array.shape), working))
        scales = np.ones(reshape_params(where, scale).shape, np.float32)
    if dtype in SMALL_FLOATS:
        zeros = None
    else:
        given = np.zeros(scale.shape, dtype) if zero is None else zero
        zeros = None if zero is None and is_signed(dtype) else byte_codes(reshape_params(where, given))
    # convention: scales may be negative
    q = quantize(values, dtype, scale=scales, zero_point=zeros, convention="signed_max", **where.keywords)  # type: ignore[arg-type]
    return where.move_back(q.unpack()).astype(dtype, copy=False)


def dequantize_linear(
    x: npt.ArrayLike,
    x_scale: npt.ArrayLike,
    x_zero_point: npt.ArrayLike | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: npt.DTypeLike | None = None,
) -> Array:
    """ONNX DequantizeLinear: ``(x - x_zero_point) * x_scale``, in float32, rounded to the type of the result.

    Args:
        x: codes of one of the types of quantize_linear, or int32.
        x_scale: float32, float16, ml_dtypes.bfloat16 or ml_dtypes.float8_e8m0fnu, of a shape as in quantize_linear.
        x_zero_point: of the type of x and the shape of x_scale. None, and for int32: 0.
        axis: as in quantize_linear.
        block_size: likewise.
        output_dtype: float32, float16 or bfloat16. None: that of x_scale, if it is one of these.

    Returns:
        floats of the shape of x.

    Raises:
        TypeError: a type that is none of these.
        ValueError: a shape or value that does not fit.

    Source: ONNX DequantizeLinear-28.
    """
    codes = typed("x", np.asarray(x), [*CODES, INT32])
    scale = typed("x_scale", np.asarray(x_scale), [*FLOATS, E8M0])
    zero = None if x_zero_point is None else typed("x_zero_point", np.asarray(x_zero_point), [codes.dtype])
    where = find_where("x_scale", scale, codes.shape, axis, block_size)
    _check_zero_shape("x_zero_point", zero, scale)
    dtype = scale.dtype if output_dtype is None else np.dtype(output_dtype)
    if dtype not in FLOATS:
        raise TypeError(f"output_dtype: {dtype}, expected {names(FLOATS)}")
    if codes.dtype == INT32 and zero is not None and zero.any():
        raise ValueError("x_zero_point: not 0 with int32 codes, expected 0 or None")
    scales = as_float32(scale)
    if zero is not None and not as_float32(zero).any():
        zero = None
    is_float = codes.dtype in SMALL_FLOATS
    in_bytes = codes.dtype.name.startswith("float8") or not (is_float or codes.dtype in (*SHORTS, INT32))
    if in_bytes and not (is_float and zero is not None) and np.isfinite(scales).all() and scales.all():
        floats = _dequantize_by_kernel(codes, scales, zero, where)
    else:
        floats = _numbers(codes)
        if zero is not None:
            floats = floats - _numbers(where.spread(zero, codes.shape))
        with np.errstate(all="ignore"):
            floats = np.asarray(floats.astype(np.float32) * where.spread(scales, codes.shape))
    return floats if dtype == FLOAT32 else _round(floats, dtype)


def dynamic_quantize_linear(x: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """ONNX DynamicQuantizeLinear: x as uint8, with a scale and a zero point from its smallest and largest element.

    Args:
        x: float32, of any shape.

    Returns:
        y, uint8, of the shape of x; y_scale, float32, and y_zero_point, uint8, both 0-d. Where all elements are 0, ONNX
        divides by 0; the scale is then 1, as ONNX Runtime has it. NaN and infinities do not count as elements.

    Raises:
        TypeError: x is not float32.
        ValueError: the difference of the two elements overflows and so does y_scale.

    Source: ONNX DynamicQuantizeLinear-11.
    """
    q = quantize(typed("x", np.asarray(x), [FLOAT32]), "uint8", symmetric=False)
    zero_point = q.zero_point
    assert zero_point is not None
    return q.codes, q.decoded_scale(), zero_point


def requantize(sums: Array, multiplier: Array, zero_point: Array | None, dtype: np.dtype[Any]) -> Array:
    """``saturate(round_half_even(float32(sums) * multiplier) + zero_point)`` of int32 sums; multiplier broadcasts."""
    with np.errstate(all="ignore"):
        rounded = np.rint(sums.astype(np.float32) * multiplier).astype(np.float64)
    return _saturate(rounded, zero_point, dtype)


def _result_type(output_dtype: npt.DTypeLike | None, zero: Array | None) -> np.dtype[Any]:
    if output_dtype is None:
        return np.dtype(np.uint8) if zero is None else zero.dtype
    dtype = code_type("output_dtype", output_dtype)
    if zero is not None and zero.dtype != dtype:
        raise TypeError(f"y_zero_point: dtype {zero.dtype}, expected {dtype}, the output_dtype")
    return dtype


def _check_zero_shape(name: str, zero: Array | None, scale: Array) -> None:
    if zero is not None and zero.shape != scale.shape and not (zero.size == 1 and scale.size == 1):
        raise ValueError(f"{name}: shape {zero.shape}, expected {scale.shape}, that of the scale")


def _quotient(x: Array, scale: Array, working: np.dtype[Any]) -> Array:
    """x / scale in the working type, as float32; scale broadcasts.

    A quotient of two floats of at most 11 bits, rounded to 24 bits and then to 11, is rounded right: 24 >= 2 * 11 + 2.
    """
    with np.errstate(all="ignore"):
        values = (as_float32(part.astype(working)) for part in (x, scale))
        quotient = np.asarray(np.divide(*values), np.float32)
        return quotient if working == FLOAT32 else as_float32(quotient.astype(working))


def _quantize_by_numpy(
    x: Array,
    scale: Array,
    zero: Array | None,
    where: Where,
    dtype: np.dtype[Any],
    working: np.dtype[Any],
    saturate: bool,
) -> Array:
    """16-bit integers, floats that do not saturate, floats with a zero point."""
    quotient = _quotient(x, where.spread(scale, x.shape), working)
    zeros = None if zero is None else where.spread(zero, x.shape)
    if dtype in SHORTS:
        return _saturate(np.rint(quotient).astype(np.float64), zeros, dtype)
    if zeros is not None:
        with np.errstate(all="ignore"):
            quotient = quotient + as_float32(zeros)
    return cast_floats(quotient, dtype, saturate=saturate)


def _saturate(rounded: npt.NDArray[np.float64], zero_point: Array | None, dtype: np.dtype[Any]) -> Array:
    """Exact: doubles hold every int32 and the sum of two."""
    low, high = integer_range(dtype)
    offset = np.float64(0) if zero_point is None else zero_point.astype(np.float64)
    values = np.where(np.isnan(rounded), offset, np.clip(rounded + offset, low, high))
    return values.astype(np.int32).astype(dtype)


def _numbers(codes: Array) -> Array:
    """What codes stand for, exactly: integers as int64, floats as float32."""
    return cast_floats(codes, FLOAT32) if codes.dtype in SMALL_FLOATS else codes.astype(np.int64)


def _dequantize_by_kernel(codes: Array, scales: Array, zero: Array | None, where: Where) -> Array:
    """8-bit codes; narrower integers are 8-bit ones of the same values."""
    moved = where.move(codes)
    stored = contiguous(moved if codes.dtype in SMALL_FLOATS else byte_codes(moved))
    q = QuantizedArray(
        stored,
        contiguous(reshape_params(where, scales)),
        None if zero is None else contiguous(reshape_params(where, byte_codes(zero))),
        format=stored.dtype,
        shape=stored.shape,
        **where.keywords,  # type: ignore[arg-type]
    )
    return where.move_back(q.dequantize())


def _round(floats: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(all="ignore"):
        return floats.astype(dtype)
