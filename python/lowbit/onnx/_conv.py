"""ConvInteger and QLinearConv: a matrix product with the windows of x."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .._checks import Array, choice, integer, typed
from .._matmul import matmul_int
from ._quantize import requantize
from ._types import BYTES, FLOATS, INT32, as_float32

AUTO_PADS = {"NOTSET": None, "SAME_UPPER": "upper", "SAME_LOWER": "lower", "VALID": "valid"}


def conv_integer(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    x_zero_point: npt.ArrayLike | None = None,
    w_zero_point: npt.ArrayLike | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """ONNX ConvInteger: the convolution of x - x_zero_point with w - w_zero_point, exact modulo 2^32.

    Args:
        x: int8 or uint8, shape (batch, C, D1, ..., Dn). Padding is x_zero_point.
        w: int8 or uint8, shape (M, C / group, k1, ..., kn).
        x_zero_point: of the type of x, shape () or (1,). None: 0.
        w_zero_point: of the type of w, shape (), (1,) or (M,). None: 0.
        auto_pad: "NOTSET" (pads), "SAME_UPPER", "SAME_LOWER" or "VALID".
        dilations: n integers. None: 1.
        group: groups of channels.
        kernel_shape: (k1, ..., kn), or None.
        pads: 2 n integers, all beginnings and then all ends. None: 0.
        strides: n integers. None: 1.

    Returns:
        int32, shape (batch, M, O1, ..., On).

    Raises:
        TypeError: a type that is none of these.
        ValueError: a shape or value that does not fit.

    Source: ONNX ConvInteger-10.
    """
    image, weights = typed("x", np.asarray(x), BYTES), typed("w", np.asarray(w), BYTES)
    n = image.ndim - 2
    if n < 1 or weights.ndim != image.ndim:
        raise ValueError(f"w: shape {weights.shape} for x of shape {image.shape}, expected (M, C / group, k1, ...)")
    group = integer("group", group, 1, 2**31 - 1)
    m, kernel = weights.shape[0], weights.shape[2:]
    if image.shape[1] != weights.shape[1] * group or m % group:
        raise ValueError(
            f"group: {group} for x of shape {image.shape} and w of shape {weights.shape}, "
            f"expected C = {weights.shape[1]} * group and a divisor of M"
        )
    if kernel_shape is not None and tuple(kernel_shape) != kernel:
        raise ValueError(f"kernel_shape: {tuple(kernel_shape)}, expected {kernel}, that of w")
    step, spread = _sizes("strides", strides, n), _sizes("dilations", dilations, n)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True)]
    x_zero = _one("x_zero_point", x_zero_point, image)
    padded = np.pad(
        image,
        [(0, 0), (0, 0), *_padding(auto_pad, pads, image.shape[2:], reach, step)],
        constant_values=x_zero,
    )
    if any(size < r for size, r in zip(padded.shape[2:], reach, strict=True)):
        raise ValueError(f"x: shape {image.shape}, expected at least {tuple(reach)} with padding")
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + n)))
    places = (slice(None), slice(None), *(slice(None, None, s) for s in step), *(slice(None, None, d) for d in spread))
    windows = windows[places]  # (batch, C, O1, ..., On, k1, ..., kn)
    batch, out = windows.shape[0], windows.shape[2 : 2 + n]
    order = (0, *range(2, 2 + n), 1, *range(2 + n, 2 + 2 * n))
    columns = windows.transpose(order).reshape(batch * math.prod(out), group, -1)
    rows = weights.reshape(group, m // group, -1)
    w_zero = _per_output("w_zero_point", w_zero_point, weights, m).reshape(group, m // group)

    result = np.empty((len(columns), group, m // group), np.int32)
    for g in range(group):
        result[:, g] = matmul_int(columns[:, g], rows[g].T, a_zero_point=x_zero, b_zero_point=w_zero[g])
    return np.ascontiguousarray(np.moveaxis(result.reshape(batch, *out, m), -1, 1))


def qlinear_conv(
    x: npt.ArrayLike,
    x_scale: npt.ArrayLike,
    x_zero_point: npt.ArrayLike,
    w: npt.ArrayLike,
    w_scale: npt.ArrayLike,
    w_zero_point: npt.ArrayLike,
    y_scale: npt.ArrayLike,
    y_zero_point: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Array:
    """ONNX QLinearConv: ``saturate(round_half_even(s * (x_scale * w_scale / y_scale)) + y_zero_point)``.

    s is what conv_integer gives, plus b; scales are float32, each operation rounds once.

    Args:
        x: as in conv_integer.
        x_scale: float32, one number.
        x_zero_point: as in conv_integer.
        w: as in conv_integer.
        w_scale: float32, shape (), (1,) or (M,).
        w_zero_point: as in conv_integer.
        y_scale: float32, one number, not 0.
        y_zero_point: int8 or uint8, which the result has; one number.
        b: int32, shape (M,), quantized with x_scale * w_scale, or None.
        auto_pad: as in conv_integer.
        dilations: likewise.
        group: likewise.
        kernel_shape: likewise.
        pads: likewise.
        strides: likewise.

    Returns:
        codes of the type of y_zero_point, of the shape of conv_integer.

    Raises:
        TypeError: a type that is none of these.
        ValueError: a shape or value that does not fit.

    Source: ONNX QLinearConv-10.
    """
    sums = conv_integer(
        x,
        w,
        x_zero_point,
        w_zero_point,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    m, trailing = sums.shape[1], (1,) * (sums.ndim - 2)
    if b is not None:
        bias = typed("b", np.asarray(b), [INT32])
        if bias.shape != (m,):
            raise ValueError(f"b: shape {bias.shape}, expected ({m},)")
        sums = sums + bias.reshape(m, *trailing)  # wraps, as the sums do
    zero = typed("y_zero_point", np.asarray(y_zero_point), BYTES)
    of_x, of_y = (_one_scale(name, s) for name, s in (("x_scale", x_scale), ("y_scale", y_scale)))
    if of_y == 0:
        raise ValueError("y_scale: 0, expected another number")
    of_w = typed("w_scale", np.asarray(w_scale), FLOATS)
    if of_w.size != 1 and of_w.shape != (m,):
        raise ValueError(f"w_scale: shape {of_w.shape}, expected () or ({m},)")
    with np.errstate(all="ignore"):
        multiplier = np.asarray((of_x * as_float32(of_w).reshape(-1, *trailing)) / of_y)
    if zero.size != 1:
        raise ValueError(f"y_zero_point: shape {zero.shape}, expected one number")
    return requantize(sums, multiplier, zero.reshape(()), zero.dtype)


def _sizes(name: str, values: Sequence[int] | None, n: int) -> list[int]:
    if values is None:
        return [1] * n
    if len(values) != n:
        raise ValueError(f"{name}: {tuple(values)}, expected {n} integers")
    return [integer(name, v, 1, 2**31 - 1) for v in values]


def _padding(
    auto_pad: str, pads: Sequence[int] | None, shape: tuple[int, ...], reach: list[int], step: list[int]
) -> list[tuple[int, int]]:
    """Before and after each axis."""
    n = len(shape)
    mode = choice("auto_pad", auto_pad, AUTO_PADS)
    if mode is None:
        given = [0] * (2 * n) if pads is None else [integer("pads", p, 0, 2**31 - 1) for p in pads]
        if len(given) != 2 * n:
            raise ValueError(f"pads: {tuple(given)}, expected {2 * n} integers")
        return list(zip(given[:n], given[n:], strict=True))
    if pads is not None:
        raise ValueError(f"pads: given with auto_pad={auto_pad!r}, expected None")
    if mode == "valid":
        return [(0, 0)] * n
    # so that there is an output for every `step` inputs, begun or whole
    total = [max(0, (-(-size // s) - 1) * s + r - size) for size, r, s in zip(shape, reach, step, strict=True)]
    return [(t // 2, t - t // 2) if mode == "upper" else (t - t // 2, t // 2) for t in total]


def _one(name: str, zero_point: npt.ArrayLike | None, codes: Array) -> int:
    if zero_point is None:
        return 0
    array = typed(name, np.asarray(zero_point), [codes.dtype])
    if array.size != 1:
        raise ValueError(f"{name}: shape {array.shape}, expected one number")
    return int(array.reshape(()))


def _per_output(name: str, zero_point: npt.ArrayLike | None, codes: Array, m: int) -> Array:
    if zero_point is None:
        return np.zeros(m, np.int32)
    array = typed(name, np.asarray(zero_point), [codes.dtype])
    if array.size != 1 and array.shape != (m,):
        raise ValueError(f"{name}: shape {array.shape}, expected () or ({m},)")
    return np.broadcast_to(array.ravel(), m).astype(np.int32)


def _one_scale(name: str, scale: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = typed(name, np.asarray(scale), FLOATS)
    if array.size != 1:
        raise ValueError(f"{name}: shape {array.shape}, expected one number")
    return as_float32(array).reshape(())
