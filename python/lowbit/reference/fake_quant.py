"""Fake quantization and its gradients: docs/numerics.md, "Fake quantization"."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .formats import code_range
from .layout import group_count, group_length, spread
from .quantize import dequantize, quantize

f32 = np.float32
LANES = 16
SEGMENT = 4096


def fake_quantize(
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    format: str = "int8",
    axis: int | None = None,
    group_size: int | None = None,
) -> npt.NDArray[np.float32]:
    """Return float32 x quantized and dequantized; scale and zero_point (None: 0) as in quantize."""
    codes = quantize(x, format, scale, zero_point, axis=axis, group_size=group_size)
    return dequantize(codes, scale, zero_point, axis=axis, group_size=group_size)


def fake_quantize_gradient(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    format: str = "int8",
    axis: int | None = None,
    group_size: int | None = None,
    lsq_scale: bool = True,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return (grad_x, grad_scale, grad_zero_point), float32; the sums have the shape of scale."""
    _, _, qmin, qmax = code_range(format)
    grad, x, scale = np.asarray(grad, f32), np.asarray(x, f32), np.asarray(scale).astype(f32)
    zero = np.zeros(scale.shape, np.int32) if zero_point is None else np.asarray(zero_point).astype(np.int32)
    low = spread((qmin - zero).astype(f32), x.shape, axis, group_size)
    high = spread((qmax - zero).astype(f32), x.shape, axis, group_size)
    with np.errstate(all="ignore"):
        v = x / spread(scale, x.shape, axis, group_size)
        v = np.where(np.isnan(x), f32(0), v)
        rounded = np.rint(v)
        below, above = rounded < low, rounded > high
        clipped = below | above
        grad_x = np.where(clipped | np.isnan(x), f32(0), grad)
        inside = np.where(clipped, f32(0), rounded) - np.where(clipped, f32(0), v)
        scale_terms = grad * np.where(below, low, np.where(above, high, inside))
        zero_terms = np.where(clipped, grad, f32(0))

        scale_sum, count = _sums(scale_terms, axis, group_size)
        zero_sum, _ = _sums(zero_terms, axis, group_size)
        factor = 1.0 / np.sqrt(np.maximum(count, 1) * np.float64(qmax)) if lsq_scale else np.float64(1)
        grad_scale = np.asarray(scale_sum * factor).astype(f32)
        grad_zero = np.asarray((-scale.astype(np.float64)) * zero_sum * factor).astype(f32)
    return grad_x, grad_scale, np.where(count == 0, f32(0), grad_zero)


def _sums(terms: npt.NDArray[Any], axis: int | None, group_size: int | None) -> tuple[npt.NDArray[Any], Any]:
    """Return (sum, count) over the elements of each scale in row-major order; float64, of the scale's shape."""
    if axis is not None:
        scales = terms.shape[axis]
        count = terms.size // max(scales, 1)
        return _fixed_order_sum(np.moveaxis(terms, axis, 0).reshape(scales, count)), np.full(scales, np.float64(count))
    if group_size is None:
        return _fixed_order_sum(terms.reshape(1, -1))[0], np.float64(terms.size)
    length, group = terms.shape[-1], group_length(terms.shape[-1], group_size)
    groups = group_count(length, group_size)
    padded = np.zeros((*terms.shape[:-1], groups * group), f32)
    padded[..., :length] = terms
    count = np.broadcast_to(np.minimum(length - np.arange(groups) * group, group), (*terms.shape[:-1], groups))
    sums = _fixed_order_sum(padded.reshape(-1, group))
    return sums.reshape(count.shape), count.astype(np.float64)


def _fixed_order_sum(terms: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the sum of each row: segments in float32 over 16 lanes and a tree, then in order in double.

    Lanes start at +0, so that the zeros that fill up the last segment change nothing.
    """
    rows, count = terms.shape
    segments = -(-count // SEGMENT)
    padded = np.zeros((rows, segments * SEGMENT), f32)
    padded[:, :count] = terms
    steps = padded.reshape(rows, segments, SEGMENT // LANES, LANES)
    lanes = np.zeros((rows, segments, LANES), f32)
    for step in range(min(SEGMENT // LANES, -(-count // LANES))):
        lanes = lanes + steps[:, :, step]
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    total = np.zeros(rows, np.float64)
    for segment in range(segments):
        total = total + lanes[:, segment, 0]
    return total
