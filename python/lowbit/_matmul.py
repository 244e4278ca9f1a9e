"""matmul and matmul_int."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import (
    CODE_TYPES,
    FLOAT32,
    FLOAT_TYPES,
    MAX_SIDE,
    Array,
    choice,
    contiguous,
    floats,
    integer,
    matrix,
    names,
    output,
    to_float32,
    typed,
)
from ._formats import find_format, raw
from ._layout import make_layout
from ._quantize import quantize_target
from ._runtime import context
from .arrays import QuantizedArray
from .weights import PackedWeights, pack_weights

ACTIVATIONS = {"relu": _core.RELU, "gelu": _core.GELU, "gelu_tanh": _core.GELU_TANH, "silu": _core.SILU}
COMPUTES = {"int8": _core.COMPUTE_INT8, "int8x2": _core.COMPUTE_INT8X2, "float32": _core.COMPUTE_FLOAT32}
EIGHT_BITS = ("int8", "uint8")
INT32 = np.dtype(np.int32)


@overload
def matmul(
    x: npt.ArrayLike | QuantizedArray,
    w: PackedWeights,
    *,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    accumulate: bool = False,
    out: Array | None = None,
    dtype: npt.DTypeLike | None = None,
    out_format: None = None,
    out_scale: None = None,
    out_zero_point: None = None,
    compute: str | None = None,
    act_group_size: int | None = None,
) -> Array: ...


@overload
def matmul(
    x: npt.ArrayLike | QuantizedArray,
    w: PackedWeights,
    *,
    out_format: npt.DTypeLike,
    out_scale: npt.ArrayLike,
    out_zero_point: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    out: QuantizedArray | None = None,
    compute: str | None = None,
    act_group_size: int | None = None,
) -> QuantizedArray: ...


def matmul(
    x: npt.ArrayLike | QuantizedArray,
    w: PackedWeights,
    *,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    accumulate: bool = False,
    out: Array | QuantizedArray | None = None,
    dtype: npt.DTypeLike | None = None,
    out_format: npt.DTypeLike | None = None,
    out_scale: npt.ArrayLike | None = None,
    out_zero_point: npt.ArrayLike | None = None,
    compute: str | None = None,
    act_group_size: int | None = None,
) -> Array | QuantizedArray:
    """``activation(x @ w + bias) + residual`` with packed low-bit weights; also ``x @ w``.

    Args:
        x: float32, float16 or ml_dtypes.bfloat16, shape (..., K), any strides; or an int8 or uint8 QuantizedArray of
            that shape with one scale, scales of a leading axis, or groups.
        w: weights of shape (K, N).
        bias: shape (N,), one of the float types of x, or None.
        activation: None, "relu", "gelu" (with erf), "gelu_tanh" or "silu".
        residual: of the result's shape, one of the float types of x, added last; None: nothing. It may be out.
        accumulate: add to what is in out, which must be floats: the same as ``residual=out``.
        out: array to write into: of the result's shape and dtype, rows contiguous, not overlapping the inputs. With
            out_format a QuantizedArray of that format and shape with one float32 scale: it is overwritten.
        dtype: of a float result: float32, float16 or bfloat16. None: that of x, float32 for a QuantizedArray.
        out_format: "int8" or "uint8": the result is quantized with out_scale, without a float array in between.
        out_scale: with out_format, one positive float32 for the whole result.
        out_zero_point: with out_format, an integer that is a code of it. None: 0 for int8, 128 for uint8.
        compute: "int8": activations are quantized on the fly (symmetric, absmax / 127), sums are exact within a group;
            for integers and formats of 4 bits. nf4 and fp4 are rounded to int8 for it, by 0.5 and 0.3 % of the weights.
            "int8x2": the same with two int8 numbers for each activation: about 1/250 of the error that quantizing x
            makes, for twice the products. "float32": weights are decoded to float32. None: "int8" for integers and E2M1
            (float4_e2m1fn, mxfp4, nvfp4), which it multiplies as they are, else "float32".
        act_group_size: with compute "int8" and "int8x2", elements along K that share an activation scale: a divisor or
            a multiple of the weights' group; -1: whole rows, faster and less exact; None: the weights' own groups. A
            QuantizedArray x has its own.

    Returns:
        shape (..., N), of dtype. 16-bit floats are computed in float32 and the result is rounded once. With out_format
        the QuantizedArray ``quantize(y, out_format, scale=out_scale, zero_point=out_zero_point)``, y being the float32
        result. A row of x with NaN or infinity gives NaN with compute "int8" and "int8x2". The same bits on every
        instruction set, with any number of threads and of rows.

    Several products of the same x (queries, keys, values) can share its quantization. For finite x the results are
    those of float x with compute "int8", to the bit (but where the largest |x| of a group is below 2.3e-41)::

        xq = lb.quantize(x, "int8", group_size=g)  # g: the act_group_size; its None is wq.group_size, or -1
        q, k, v = xq @ wq, xq @ wk, xq @ wv

    Raises:
        TypeError: x, bias or residual is float64 or no float, w is not PackedWeights, out is of another dtype.
        ValueError: a shape, group size, scale or name that does not fit; out is read-only, overlaps x or bias, or
            overlaps residual without being it.

    Source: docs/numerics.md, "Matmul, compute ...", "Epilogue" and "Activation functions".
    """
    if isinstance(w, QuantizedArray):
        raise TypeError("w: a QuantizedArray, expected PackedWeights; call pack_weights once: w = pack_weights(q)")
    if not isinstance(w, PackedWeights):
        raise TypeError(f"w: {type(w).__name__}, expected PackedWeights; see pack_weights")
    if w.scale_dtype is None:
        raise ValueError(f"w: plain {w.format} codes without a scale, expected quantized weights; use matmul_int")
    k, n = w.shape
    operand = x if isinstance(x, QuantizedArray) else floats("x", x)
    shape = operand.shape
    rows = _rows("x", shape, k)
    act = 0 if activation is None else choice("activation", activation, ACTIVATIONS)
    mode = default_compute(w, operand) if compute is None else choice("compute", compute, COMPUTES)
    quantizes = mode != COMPUTES["float32"]
    if quantizes and not w._format.has_int8:
        if isinstance(operand, QuantizedArray):
            raise ValueError(
                f"x: a QuantizedArray with {w.format} weights, which have no compute 'int8'; expected x.dequantize()"
            )
        raise ValueError(f"compute: {compute!r} with {w.format} weights, expected 'float32' or None")
    bias_array = None if bias is None else floats("bias", bias)
    if bias_array is not None and bias_array.shape != (n,):
        raise ValueError(f"bias: shape {bias_array.shape}, expected ({n},)")
    group = 0
    if act_group_size is not None:
        group = integer("act_group_size", act_group_size, -1, 2**63 - 1)
        if group == 0:
            raise ValueError("act_group_size: 0, expected None, -1 (whole rows) or at least 1")
        if not quantizes or isinstance(operand, QuantizedArray):
            raise ValueError(
                f"act_group_size: {group}, expected None: it is for float x quantized on the fly with compute 'int8'"
                " or 'int8x2'"
            )
    given: Array = operand.codes if isinstance(operand, QuantizedArray) else operand
    x_scale: Array | None = None
    x_zero_point: Array | None = None
    if isinstance(operand, QuantizedArray):
        if mode != COMPUTES["int8"]:
            raise ValueError(f"compute: {compute!r} with a QuantizedArray x, expected 'int8' or None")
        x_scale, x_zero_point, group = activation_params(operand, rows)

    out_shape = (*shape[:-1], n)
    added = None if residual is None else floats("residual", residual)
    if added is not None and added.shape != out_shape:
        raise ValueError(f"residual: shape {added.shape}, expected {out_shape}")
    inputs = {"x": given, "bias": bias_array, "residual": added}
    if out_format is not None:
        if dtype is not None or accumulate:
            name = "dtype" if dtype is not None else "accumulate"
            raise ValueError(f"{name}: given with out_format={out_format!r}, expected one of the two")
        quantized = _quantized_output(out_format, out_scale, out_zero_point, out_shape, out, inputs)
        result = quantized.codes
        scale, zero = quantized.decoded_scale(), quantized.zero_point
        out_params = float(scale), 0 if zero is None else int(zero)
    else:
        for name, value in (("out_scale", out_scale), ("out_zero_point", out_zero_point)):
            if value is not None:
                raise ValueError(f"{name}: given without out_format, expected out_format='int8' or 'uint8' with it")
        result, added = _float_output(operand, out, dtype, out_shape, accumulate, inputs)
        out_params = 0.0, 0
    _core.matmul(
        context(),
        w._data,
        matrix(raw(given), rows, k),
        mode,
        group,
        x_scale,
        x_zero_point,
        None if bias_array is None else contiguous(to_float32(bias_array)),
        act,
        raw(result) if result.ndim == 2 else raw(result).reshape(rows, n),
        None if added is None else matrix(raw(added), rows, n),
        *out_params,
    )
    if out_format is None:
        return result
    if not isinstance(out, QuantizedArray):
        return quantized
    np.copyto(out.decoded_scale(), scale)
    if zero is not None and out.zero_point is not None:
        np.copyto(out.zero_point, zero)
    return out


def _float_output(
    x: Array | QuantizedArray,
    out: Any,
    dtype: npt.DTypeLike | None,
    shape: tuple[int, ...],
    accumulate: bool,
    inputs: dict[str, Array | None],
) -> tuple[Array, Array | None]:
    """Where a float result goes, and what is added to it."""
    wanted = FLOAT32 if isinstance(x, QuantizedArray) else x.dtype
    if dtype is not None:
        wanted = np.dtype(dtype)
        if wanted not in FLOAT_TYPES:
            raise TypeError(f"dtype: {wanted}, expected {names(FLOAT_TYPES)}")
    if isinstance(out, QuantizedArray):
        raise TypeError("out: a QuantizedArray without out_format, expected a numpy array")
    residual = inputs["residual"]
    if accumulate:
        if out is None:
            raise ValueError("out: None with accumulate=True, expected the array to add to")
        if residual is not None:
            raise ValueError("residual: given with accumulate=True, expected one of the two")
        return (output(out, shape, wanted, inputs),) * 2
    if out is None:
        return np.empty(shape, wanted), residual
    if residual is not None and _same_memory(out, residual):
        inputs = {name: array for name, array in inputs.items() if name != "residual"}
    return output(out, shape, wanted, inputs), residual


def _same_memory(a: Any, b: Array) -> bool:
    """Whether a is the very array b, or a view of all of it."""
    return isinstance(a, np.ndarray) and (a.__array_interface__["data"], a.strides, a.shape, a.dtype) == (
        b.__array_interface__["data"],
        b.strides,
        b.shape,
        b.dtype,
    )


def _quantized_output(
    format: npt.DTypeLike,
    scale: npt.ArrayLike | None,
    zero_point: npt.ArrayLike | None,
    shape: tuple[int, ...],
    out: Any,
    inputs: dict[str, Array | None],
) -> QuantizedArray:
    """Codes to be written, those of out or new ones, with their scale and zero point."""
    try:
        name = format if isinstance(format, str) else np.dtype(format).name
    except TypeError:
        raise TypeError(f"out_format: {format!r}, expected {names(map(repr, EIGHT_BITS))}") from None
    if name not in EIGHT_BITS:
        raise ValueError(f"out_format: {name!r}, expected {names(map(repr, EIGHT_BITS))}")
    fmt = find_format(name)
    if scale is None:
        raise ValueError(f"out_scale: None with out_format={fmt.name!r}, expected the scale of the result")
    with np.errstate(all="ignore"):
        plain = type(scale) in (float, int)
        value = np.asarray(scale, np.float32) if plain else to_float32(floats("out_scale", scale))
    if value.shape != ():
        raise ValueError(f"out_scale: shape {value.shape}, expected one number")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"out_scale: {scale}, expected a positive, finite float32")
    default = None if fmt.signed else 128
    if zero_point is not None:
        default = integer("out_zero_point", zero_point, fmt.qmin, fmt.qmax)
    zero = None if default is None else np.asarray(default, fmt.dtype)
    layout = make_layout(shape, None, None)
    target = quantize_target(out, fmt, layout, FLOAT32, zero)
    codes = np.empty(shape, fmt.dtype) if target is None else output(target.codes, shape, fmt.dtype, inputs)
    return QuantizedArray._trusted(codes, value, zero, None, fmt, layout)


def default_compute(w: PackedWeights, x: Array | QuantizedArray) -> int:
    """int8 for 8-bit x, which has no other; else what suits the weights' format."""
    return COMPUTES["int8"] if isinstance(x, QuantizedArray) else w._format.default_compute


def matmul_int(
    a: npt.ArrayLike,
    b: npt.ArrayLike | PackedWeights,
    *,
    a_zero_point: npt.ArrayLike = 0,
    b_zero_point: npt.ArrayLike = 0,
    accumulate: bool = False,
    out: Array | None = None,
) -> Array:
    """``(a - a_zero_point) @ (b - b_zero_point)`` of 8-bit codes in exact integers, modulo 2^32.

    Args:
        a: int8 or uint8, shape (..., K), any strides.
        b: int8 or uint8, shape (K, N), packed at each call; or ``pack_weights`` of an 8-bit (N, K) array, whose own
            scale and zero point are not used.
        a_zero_point: an integer, or integers of shape a.shape[:-1]; of any integer dtype, within int32.
        b_zero_point: an integer, or integers of shape (N,).
        accumulate: add to what is in out, modulo 2^32.
        out: int32 array to write into: of the result's shape, rows contiguous, not overlapping the inputs.

    Returns:
        int32, shape (..., N). Without zero points nothing wraps for K up to 131071 (int8 with int8), 65793 (uint8 with
        int8) or 33025 (uint8 with uint8).

    Raises:
        TypeError: a or b is not 8-bit, a zero point is not an integer, out is not int32.
        ValueError: a shape that does not fit, a zero point beyond int32, or out is read-only or overlaps an input.

    Source: docs/numerics.md, "Integer matmul".
    """
    left = typed("a", np.asarray(a), CODE_TYPES)
    if isinstance(b, PackedWeights):
        right = None
        if b.format not in EIGHT_BITS or (b.group_size is not None and b.group_size < b.shape[0]):
            raise ValueError(f"b: {b!r}, expected int8 or uint8 weights without groups")
        k, n = b.shape
    else:
        right = typed("b", np.asarray(b), CODE_TYPES)
        if right.ndim != 2:
            raise ValueError(f"b: shape {right.shape}, expected 2 dimensions, (K, N)")
        k, n = right.shape
    rows = _rows("a", left.shape, k)
    if max(k, n) > MAX_SIDE:
        raise ValueError(f"b: shape {(k, n)}, expected at most {MAX_SIDE} rows and columns")
    a_zero = _zero_points("a_zero_point", a_zero_point, left.shape[:-1])
    b_zero = _zero_points("b_zero_point", b_zero_point, (n,))
    shape = (*left.shape[:-1], n)
    if accumulate and out is None:
        raise ValueError("out: None with accumulate=True, expected the array to add to")
    result = np.empty(shape, np.int32) if out is None else output(out, shape, INT32, {"a": left, "b": right})
    packed = b if isinstance(b, PackedWeights) else pack_weights(np.asarray(b), transpose=True)
    _core.matmul_int(
        context(),
        packed._data,
        matrix(left, rows, k),
        a_zero,
        b_zero,
        result if result.ndim == 2 else result.reshape(rows, n),
        accumulate,
    )
    return result


def _rows(name: str, shape: tuple[int, ...], k: int) -> int:
    """Rows of x, whose last axis must be K; checked before anything is copied."""
    if not shape or shape[-1] != k:
        raise ValueError(f"{name}: shape {shape}, expected (..., {k}): K = {k}")
    rows = shape[0] if len(shape) == 2 else math.prod(shape[:-1])
    if rows > MAX_SIDE:
        raise ValueError(f"{name}: shape {shape} has {rows} rows, expected at most {MAX_SIDE}")
    return rows


def activation_params(x: QuantizedArray, rows: int) -> tuple[Array, Array | None, int]:
    """Scale, zero point and act_group_size of an 8-bit x, as lowbit_matmul_args has them."""
    if x.format not in EIGHT_BITS:
        raise ValueError(f"x: a QuantizedArray of {x.format}, expected int8 or uint8")
    scale, zero_point, group = x.decoded_scale(), x.zero_points(), -1
    if x.axis is not None:
        if x.axis == x.ndim - 1:
            raise ValueError(f"x: axis={x.axis}, one scale for each k, expected one scale, a leading axis or groups")
        where = [1] * (x.ndim - 1)
        where[x.axis] = -1
        scale = np.broadcast_to(scale.reshape(where), x.shape[:-1])
        zero_point = None if zero_point is None else np.broadcast_to(zero_point.reshape(where), x.shape[:-1])
    elif x.group_size is not None and x.group_size < x.shape[-1]:
        group = x.group_size
        if zero_point is not None:
            raise ValueError("x: zero points of groups, expected none, one, or one for each row")
    scale = np.ravel(scale).astype(np.float32)
    if scale.size == 0 and rows:
        scale = np.ones(1, np.float32)  # groups of no elements
    return scale, None if zero_point is None else np.ravel(zero_point).astype(np.int32), group


def _zero_points(name: str, value: Any, shape: tuple[int, ...]) -> Array | None:
    """value as int32, one or one for each index; None for a plain 0."""
    if type(value) is int and value == 0:  # the default: numpy's checks would take 3 us
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: dtype {array.dtype}, expected integers")
    if array.shape not in ((), shape):
        raise ValueError(f"{name}: shape {array.shape}, expected () or {shape}")
    limits = np.iinfo(np.int32)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise ValueError(f"{name}: {array.min()} to {array.max()}, expected int32: {limits.min} to {limits.max}")
    return array.astype(np.int32).reshape(-1) if array.any() else None
