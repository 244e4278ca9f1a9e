"""matmul and matmul_int."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import (
    CODE_TYPES,
    FLOAT32,
    MAX_SIDE,
    Array,
    choice,
    contiguous,
    floats,
    integer,
    matrix,
    output,
    store,
    to_float32,
    typed,
)
from ._runtime import context
from .arrays import QuantizedArray
from .weights import PackedWeights, has_int8, pack_weights

ACTIVATIONS = {"relu": _core.RELU, "gelu": _core.GELU, "gelu_tanh": _core.GELU_TANH, "silu": _core.SILU}
COMPUTES = {"int8": _core.COMPUTE_INT8, "float32": _core.COMPUTE_FLOAT32}
EIGHT_BITS = ("int8", "uint8")
INT32 = np.dtype(np.int32)


def matmul(
    x: npt.ArrayLike | QuantizedArray,
    w: PackedWeights,
    *,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    out: Array | None = None,
    compute: str | None = None,
    act_group_size: int | None = None,
) -> Array:
    """``activation(x @ w + bias)`` with packed low-bit weights; also ``x @ w``.

    Args:
        x: float32, float16 or ml_dtypes.bfloat16, shape (..., K), any strides; or an int8 or uint8 QuantizedArray of
            that shape with one scale, scales of a leading axis, or groups.
        w: weights of shape (K, N).
        bias: shape (N,), one of the float types of x, or None.
        activation: None, "relu", "gelu" (with erf), "gelu_tanh" or "silu".
        out: array to write into: of the result's shape and dtype, rows contiguous, not overlapping the inputs.
        compute: "int8": activations are quantized on the fly (symmetric, absmax / 127), sums are exact within a group;
            for integers and formats of 4 bits. nf4 and fp4 are rounded to int8 for it, by 0.5 and 0.3 % of the weights.
            "float32": weights are decoded to float32. None: "int8" for integers and E2M1 (float4_e2m1fn, mxfp4,
            nvfp4), which it multiplies as they are, else "float32".
        act_group_size: with compute "int8", elements along K that share an activation scale: a divisor or a multiple
            of the weights' group; -1: whole rows, faster and less exact; None: the weights' own groups. A
            QuantizedArray x has its own.

    Returns:
        shape (..., N), of the dtype of x; float32 for a QuantizedArray. 16-bit floats are computed in float32 and the
        result is rounded once. A row of x with NaN or infinity gives NaN with compute "int8". The same bits on every
        instruction set, with any number of threads and of rows.

    Raises:
        TypeError: x or bias is float64 or no float, w is not PackedWeights, out is of another dtype.
        ValueError: a shape, group size or name that does not fit, or out is read-only or overlaps an input.

    Source: docs/numerics.md, "Matmul, compute ..." and "Activation functions".
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
    if mode == COMPUTES["int8"] and not has_int8(w._format):
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
        if mode != COMPUTES["int8"] or isinstance(operand, QuantizedArray):
            raise ValueError(
                f"act_group_size: {group}, expected None: it is for float x quantized on the fly with compute 'int8'"
            )

    dtype = FLOAT32 if isinstance(operand, QuantizedArray) else operand.dtype
    given: Array = operand.codes if isinstance(operand, QuantizedArray) else operand
    x_scale: Array | None = None
    x_zero_point: Array | None = None
    if out is not None:
        output(out, (*shape[:-1], n), dtype, {"x": given, "bias": bias_array})
    if isinstance(operand, QuantizedArray):
        if mode != COMPUTES["int8"]:
            raise ValueError(f"compute: {compute!r} with a QuantizedArray x, expected 'int8' or None")
        x_scale, x_zero_point, group = _activation_params(operand, rows)
    result = out if out is not None else np.empty((*shape[:-1], n), dtype)
    floats32 = result if dtype == FLOAT32 else np.empty(result.shape, np.float32)
    _core.matmul(
        context(),
        w._data,
        matrix(given if isinstance(operand, QuantizedArray) else to_float32(given), rows, k),
        mode,
        group,
        x_scale,
        x_zero_point,
        None if bias_array is None else contiguous(to_float32(bias_array)),
        act,
        floats32 if floats32.ndim == 2 else floats32.reshape(rows, n),
    )
    return result if dtype == FLOAT32 else store(floats32, result)


def default_compute(w: PackedWeights, x: Array | QuantizedArray) -> int:
    """int8 for 8-bit x, which has no other; else where it multiplies the weights as they are."""
    exact = has_int8(w._format) and w._format.kind != "table"
    return COMPUTES["int8" if exact or isinstance(x, QuantizedArray) else "float32"]


def matmul_int(
    a: npt.ArrayLike,
    b: npt.ArrayLike | PackedWeights,
    *,
    a_zero_point: npt.ArrayLike = 0,
    b_zero_point: npt.ArrayLike = 0,
    out: Array | None = None,
) -> Array:
    """``(a - a_zero_point) @ (b - b_zero_point)`` of 8-bit codes in exact integers, modulo 2^32.

    Args:
        a: int8 or uint8, shape (..., K), any strides.
        b: int8 or uint8, shape (K, N), packed at each call; or ``pack_weights`` of an 8-bit (N, K) array, whose own
            scale and zero point are not used.
        a_zero_point: an integer, or integers of shape a.shape[:-1]; of any integer dtype, within int32.
        b_zero_point: an integer, or integers of shape (N,).
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
    result = np.empty(shape, np.int32) if out is None else output(out, shape, INT32, {"a": left, "b": right})
    packed = b if isinstance(b, PackedWeights) else pack_weights(np.asarray(b), transpose=True)
    _core.matmul_int(
        context(),
        packed._data,
        matrix(left, rows, k),
        a_zero,
        b_zero,
        result if result.ndim == 2 else result.reshape(rows, n),
    )
    return result


def _rows(name: str, shape: tuple[int, ...], k: int) -> int:
    """Rows of x, whose last axis must be K; checked before anything is copied."""
    if not shape or shape[-1] != k:
        raise ValueError(f"{name}: shape {shape}, expected (..., {k}): K = {k}")
    rows = math.prod(shape[:-1])
    if rows > MAX_SIDE:
        raise ValueError(f"{name}: shape {shape} has {rows} rows, expected at most {MAX_SIDE}")
    return rows


def _activation_params(x: QuantizedArray, rows: int) -> tuple[Array, Array | None, int]:
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
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: dtype {array.dtype}, expected integers")
    if array.shape not in ((), shape):
        raise ValueError(f"{name}: shape {array.shape}, expected () or {shape}")
    limits = np.iinfo(np.int32)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise ValueError(f"{name}: {array.min()} to {array.max()}, expected int32: {limits.min} to {limits.max}")
    return array.astype(np.int32).reshape(-1) if array.any() else None
