"""matmul_grouped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import FLOAT32, MAX_SIDE, Array, choice, contiguous, floats, integer, matrix, output, to_float32
from ._formats import raw
from ._matmul import ACTIVATIONS, COMPUTES, activation_params, default_compute
from ._runtime import context
from .arrays import QuantizedArray
from .weights import PackedWeights


def matmul_grouped(
    x: npt.ArrayLike | QuantizedArray,
    weights: Sequence[PackedWeights],
    rows: npt.ArrayLike,
    *,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    out: Array | None = None,
    compute: str | None = None,
    act_group_size: int | None = None,
) -> Array:
    """Many products in one call, ``activation(x_e @ weights[e] + bias[e])``: experts, or the heads of attention.

    x_e are consecutive rows of x, ``rows[e]`` of them. The bits are those of ``matmul`` called for each e, but the
    threads share out all of the work at once, so that experts with a few rows each keep all of them busy.

    Args:
        x: as in ``matmul``, of shape (T, K): float32, float16 or bfloat16, or an 8-bit QuantizedArray.
        weights: E PackedWeights of one shape, (K, N); formats may differ, and one may stand there more than once.
        rows: E integers, at least 0, whose sum is T.
        bias: shape (E, N), one of the float types of x, or None.
        activation: as in ``matmul``.
        out: as in ``matmul``: shape (T, N).
        compute: as in ``matmul``; None: for each of the weights what ``matmul`` would take.
        act_group_size: as in ``matmul``, for all weights.

    Returns:
        shape (T, N), of the dtype of x; float32 for a QuantizedArray.

    Raises:
        TypeError: x or bias is float64 or no float, weights hold something else, rows are no integers, out is of
            another dtype.
        ValueError: no weights, shapes that differ, rows that do not add up to T, and what ``matmul`` refuses.

    Source: docs/numerics.md, "Matmul, compute ...".
    """
    experts = _experts(weights)
    k, n = experts[0].shape
    operand = x if isinstance(x, QuantizedArray) else floats("x", x)
    if len(operand.shape) != 2 or operand.shape[1] != k:
        raise ValueError(f"x: shape {operand.shape}, expected (T, {k}): K = {k}")
    total = operand.shape[0]
    if total > MAX_SIDE:
        raise ValueError(f"x: shape {operand.shape}, expected at most {MAX_SIDE} rows")
    counts = _row_counts(rows, len(experts), total)
    act = 0 if activation is None else choice("activation", activation, ACTIVATIONS)
    given = None if compute is None else choice("compute", compute, COMPUTES)
    modes = [default_compute(w, operand) if given is None else given for w in experts]
    group = 0 if act_group_size is None else integer("act_group_size", act_group_size, -1, 2**63 - 1)
    if act_group_size is not None and (group == 0 or isinstance(operand, QuantizedArray)):
        raise ValueError(
            f"act_group_size: {group}, expected None, -1 (whole rows) or at least 1; None with a QuantizedArray x"
        )
    for i, (w, mode) in enumerate(zip(experts, modes, strict=True)):
        where = f"{w.format} weights (weights[{i}])"
        if isinstance(operand, QuantizedArray) and not (mode == COMPUTES["int8"] and w._format.has_int8):
            raise ValueError(f"x: a QuantizedArray with compute {compute!r} and {where}, expected x.dequantize()")
        if mode != COMPUTES["float32"] and not w._format.has_int8:
            raise ValueError(f"compute: {compute!r} with {where}, expected 'float32' or None")
        if mode == COMPUTES["float32"] and act_group_size is not None:
            raise ValueError(f"act_group_size: {group} with {where} and compute 'float32', expected None")
    bias_array = None if bias is None else floats("bias", bias)
    if bias_array is not None and bias_array.shape != (len(experts), n):
        raise ValueError(f"bias: shape {bias_array.shape}, expected ({len(experts)}, {n})")

    dtype = FLOAT32 if isinstance(operand, QuantizedArray) else operand.dtype
    data: Array = operand.codes if isinstance(operand, QuantizedArray) else operand
    if out is not None:
        output(out, (total, n), dtype, {"x": data, "bias": bias_array})
    x_scale: Array | None = None
    x_zero_point: Array | None = None
    if isinstance(operand, QuantizedArray):
        x_scale, x_zero_point, group = activation_params(operand, total)
    result = out if out is not None else np.empty((total, n), dtype)
    _core.matmul_grouped(
        context(),
        [w._data for w in experts],
        matrix(raw(data), total, k),
        counts,
        modes,
        group,
        x_scale,
        x_zero_point,
        None if bias_array is None else contiguous(to_float32(bias_array)),
        act,
        raw(result),
    )
    return result


def _experts(weights: Sequence[PackedWeights]) -> list[PackedWeights]:
    """weights, checked: packed, with scales, all of one shape."""
    if isinstance(weights, PackedWeights | QuantizedArray | np.ndarray):
        raise TypeError(f"weights: {type(weights).__name__}, expected a sequence of PackedWeights")
    experts = list(weights)
    if not experts:
        raise ValueError("weights: none, expected at least one PackedWeights")
    for i, w in enumerate(experts):
        if not isinstance(w, PackedWeights):
            raise TypeError(f"weights[{i}]: {type(w).__name__}, expected PackedWeights; see pack_weights")
        if w.scale_dtype is None:
            raise ValueError(f"weights[{i}]: plain {w.format} codes without a scale, expected quantized weights")
        if w.shape != experts[0].shape:
            raise ValueError(f"weights[{i}]: shape {w.shape}, expected that of weights[0], {experts[0].shape}")
    return experts


def _row_counts(rows: npt.ArrayLike, experts: int, total: int) -> list[int]:
    array = np.asarray(rows)
    if array.dtype.kind not in "iu":
        raise TypeError(f"rows: dtype {array.dtype}, expected integers")
    if array.shape != (experts,):
        raise ValueError(f"rows: shape {array.shape}, expected ({experts},), a number for each of the weights")
    counts: list[int] = array.tolist()
    if min(counts) < 0:
        raise ValueError(f"rows: {min(counts)} at {counts.index(min(counts))}, expected at least 0")
    if sum(counts) != total:
        raise ValueError(f"rows: a sum of {sum(counts)}, expected the {total} rows of x")
    return counts
