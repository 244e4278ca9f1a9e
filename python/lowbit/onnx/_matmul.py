"""MatMulInteger and QLinearMatMul."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._checks import Array, names, typed
from .._matmul import matmul_int
from ._quantize import requantize
from ._types import BYTES, FLOATS, as_float32


def matmul_integer(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    a_zero_point: npt.ArrayLike | None = None,
    b_zero_point: npt.ArrayLike | None = None,
) -> Array:
    """ONNX MatMulInteger: ``(a - a_zero_point) @ (b - b_zero_point)``, exact modulo 2^32.

    Args:
        a: int8 or uint8, shape (..., M, K), or (K,).
        b: int8 or uint8, shape (..., K, N), or (K,); leading axes broadcast, as numpy.matmul has it.
        a_zero_point: of the type of a: one for all, shape () or (1,), or one for each row, shape (M,) or (..., M, 1).
            None: 0.
        b_zero_point: of the type of b: one for all, or one for each column, shape (N,) or (..., 1, N). None: 0.

    Returns:
        int32, of the shape of numpy.matmul.

    Raises:
        TypeError: a type that is none of these.
        ValueError: shapes that do not fit.

    Source: ONNX MatMulInteger-10.
    """
    left, right = typed("a", np.asarray(a), BYTES), typed("b", np.asarray(b), BYTES)
    for name, array in (("a", left), ("b", right)):
        if array.ndim == 0:
            raise ValueError(f"{name}: a 0-d array, expected at least 1 dimension")
    left_2d = left[np.newaxis] if left.ndim == 1 else left
    right_2d = right[:, np.newaxis] if right.ndim == 1 else right
    m, n = left_2d.shape[-2], right_2d.shape[-1]
    if left_2d.shape[-1] != right_2d.shape[-2]:
        raise ValueError(f"b: shape {right.shape}, expected K = {left.shape[-1]}, as a of shape {left.shape} has")
    try:
        batch = np.broadcast_shapes(left_2d.shape[:-2], right_2d.shape[:-2])
    except ValueError:
        raise ValueError(f"b: shape {right.shape}, expected leading axes that broadcast with {left.shape}") from None
    left_zero = _zero_points("a_zero_point", a_zero_point, left, -2, (*left_2d.shape[:-1], 1))[..., 0]
    right_zero = _zero_points("b_zero_point", b_zero_point, right, -1, (*right_2d.shape[:-2], 1, n))[..., 0, :]

    result = np.empty((*batch, m, n), np.int32)
    if right_2d.ndim == 2:  # one product for all
        matmul_int(left_2d, right_2d, a_zero_point=left_zero, b_zero_point=right_zero, out=result)
    else:
        operands = (left_2d, 2), (right_2d, 2), (left_zero, 1), (right_zero, 1)
        wide = [np.broadcast_to(array, (*batch, *array.shape[array.ndim - own :])) for array, own in operands]
        for at in np.ndindex(*batch):
            x, w, x_zero, w_zero = (array[at] for array in wide)
            matmul_int(x, w, a_zero_point=x_zero, b_zero_point=w_zero, out=result[at])
    if left.ndim == 1:
        result = result[..., 0, :]
    return result[..., 0] if right.ndim == 1 else result


def qlinear_matmul(
    a: npt.ArrayLike,
    a_scale: npt.ArrayLike,
    a_zero_point: npt.ArrayLike,
    b: npt.ArrayLike,
    b_scale: npt.ArrayLike,
    b_zero_point: npt.ArrayLike,
    y_scale: npt.ArrayLike,
    y_zero_point: npt.ArrayLike,
) -> Array:
    """ONNX QLinearMatMul: ``saturate(round_half_even(s * (a_scale * b_scale / y_scale)) + y_zero_point)``.

    s is what matmul_integer gives; scales are float32, each operation rounds once.

    Args:
        a: as in matmul_integer.
        a_scale: float32, float16 or ml_dtypes.bfloat16, of a shape that a_zero_point may have.
        a_zero_point: as in matmul_integer.
        b: as in matmul_integer.
        b_scale: of one of these types and a shape that b_zero_point may have.
        b_zero_point: as in matmul_integer.
        y_scale: of one of these types: one for all, or one for each row of the result, as for a.
        y_zero_point: int8 or uint8, which the result has; of the shape of y_scale.

    Returns:
        codes of the type of y_zero_point.

    Raises:
        TypeError: a type that is none of these. The float8 types of the specification are not among them.
        ValueError: shapes that do not fit, or a y_scale of 0.

    Source: ONNX QLinearMatMul-21.
    """
    sums = matmul_integer(a, b, a_zero_point, b_zero_point)
    left, right = np.asarray(a), np.asarray(b)
    zero = typed("y_zero_point", np.asarray(y_zero_point), BYTES)
    m = 1 if left.ndim == 1 else left.shape[-2]
    n = 1 if right.ndim == 1 else right.shape[-1]
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    rows, columns = (*batch, m, 1), (*batch, 1, n)
    of_y = as_float32(_spread("y_scale", _scale("y_scale", y_scale), -2, rows))
    if not of_y.all():
        raise ValueError("y_scale: 0, expected scales other than 0")
    with np.errstate(all="ignore"):
        of_a = as_float32(_spread("a_scale", _scale("a_scale", a_scale), -2, rows))
        of_b = as_float32(_spread("b_scale", _scale("b_scale", b_scale), -1, columns))
        multiplier = (of_a * of_b) / of_y
    zeros = _spread("y_zero_point", zero, -2, rows)
    return requantize(sums.reshape(*batch, m, n), multiplier, zeros, zero.dtype).reshape(sums.shape)


def _scale(name: str, scale: npt.ArrayLike) -> Array:
    return typed(name, np.asarray(scale), FLOATS)


def _spread(name: str, values: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """One for all, one for each index of axis, or of this shape; broadcastable to it."""
    if values.size == 1:
        return values.reshape((1,) * len(shape))
    if values.shape == (shape[axis],):
        where = [1] * len(shape)
        where[axis] = -1
        return values.reshape(where)
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        expected = names([(), (shape[axis],), shape])
        raise ValueError(f"{name}: shape {values.shape}, expected {expected}") from None


def _zero_points(name: str, value: npt.ArrayLike | None, codes: Array, axis: int, shape: tuple[int, ...]) -> Array:
    """As int32, of this shape."""
    if value is None:
        return np.zeros(shape, np.int32)
    values = typed(name, np.asarray(value), [codes.dtype]).astype(np.int32)
    return np.broadcast_to(_spread(name, values, axis, shape), shape)
