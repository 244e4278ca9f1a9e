"""Fake quantization for training: what quantization does to values, in floats, and the gradients of that."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import Array, contiguous, floats, output, store, to_float32
from ._formats import Format, find_format
from ._layout import Layout, make_layout
from ._quantize import _given_zero_point
from ._runtime import context
from .arrays import check_scale_form, check_scale_values, has_float_zeros


def fake_quantize(
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    format: npt.DTypeLike = "int8",
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    out: Array | None = None,
) -> Array:
    """Quantize and dequantize in one pass: ``(code - zero_point) * scale``.

    ``code = clip(round_half_even(x / scale) + zero_point, qmin, qmax)``: the same bits as
    ``dequantize(quantize(x, format, scale=scale, zero_point=zero_point, ...))``, but no codes are stored.

    Args:
        x: float32, float16 or ml_dtypes.bfloat16, of any shape and strides.
        scale: of the shape and dtype that QuantizedArray documents, finite and not zero. A Python float is a float32.
        zero_point: int8 for signed and uint8 for unsigned formats, of the shape of scale, codes of the format. None: 0
            for signed formats, 2^(bits-1) for unsigned ones.
        format: ``"int1"`` to ``"int8"``, ``"uint1"`` to ``"uint8"``, or a numpy or ml_dtypes dtype of such a name.
        axis: None, or the axis with a scale for each index.
        group_size: None, or elements along the last axis that share a scale; -1 for the whole last axis.
        block_shape: None, or (rows, columns) of the blocks of a matrix that share a scale. Of axis, group_size and
            block_shape at most one.
        out: array to write into: of the shape and dtype of x, C-contiguous, not overlapping the inputs.

    Returns:
        shape and dtype of x; 16-bit floats are computed in float32 and rounded once. NaN gives 0.

    Raises:
        TypeError: x is not one of these float types, or another argument has a wrong type.
        ValueError: a shape or value that does not fit, or out is read-only or overlaps an input.

    Source: docs/numerics.md, "Fake quantization".
    """
    array = floats("x", x)
    fmt, layout, scales, zeros = _params(array, scale, zero_point, format, axis, group_size, block_shape)
    if out is not None:
        output(out, array.shape, array.dtype, {"x": array, "scale": scales, "zero_point": zeros})
        if not out.flags.c_contiguous:
            raise ValueError(f"out: strides {out.strides}, expected a C-contiguous array")
    result = np.empty(array.shape, array.dtype) if out is None else out
    direct = result.dtype == np.float32
    values = result if direct else np.empty(array.shape, np.float32)
    if array.size:
        _core.fake_quantize(context(), fmt.id, layout.runs, contiguous(to_float32(array)), scales, zeros, values)
    return result if direct else store(values, result)


def fake_quantize_gradient(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    format: npt.DTypeLike = "int8",
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    lsq_scale: bool = True,
) -> tuple[Array, Array, Array]:
    """Gradients of fake_quantize by x, scale and zero_point.

    An element is clipped where its code before clipping, ``round_half_even(x / scale) + zero_point``, is outside
    [qmin, qmax]. The gradient by x is straight-through: grad, and 0 where clipped. That by scale is the sum of grad
    times ``round(x / scale) - x / scale``, or times ``qmin - zero_point`` or ``qmax - zero_point`` where clipped (LSQ).
    That by zero_point is -scale times the sum of grad where clipped.

    Args:
        grad: gradient of the loss by the result of fake_quantize: of the shape of x and one of its types.
        x: as given to fake_quantize.
        scale: likewise.
        zero_point: likewise.
        format: likewise.
        axis: likewise.
        group_size: likewise.
        block_shape: likewise.
        lsq_scale: multiply the gradients by scale and zero_point by 1 / sqrt(n * qmax), n the number of elements that
            share the scale, as LSQ does, so that one learning rate fits weights and scales. Not for int1 (qmax is 0).

    Returns:
        grad_x, of the shape and dtype of x; grad_scale and grad_zero_point, float32, of the shape of scale. A NaN in x
        gives 0 in grad_x and adds nothing to the others. Sums are taken in a fixed order: the same bits on every
        instruction set and with any number of threads.

    Raises:
        TypeError: grad or x is not one of the float types, or another argument has a wrong type.
        ValueError: a shape or value that does not fit, or lsq_scale with int1.

    Source: docs/numerics.md, "Fake quantization"; Esser et al., Learned Step Size Quantization, 2020.
    """
    array, upstream = floats("x", x), floats("grad", grad)
    if upstream.shape != array.shape:
        raise ValueError(f"grad: shape {upstream.shape}, expected {array.shape}, the shape of x")
    if not isinstance(lsq_scale, bool):
        raise TypeError(f"lsq_scale: {type(lsq_scale).__name__}, expected a bool")
    fmt, layout, scales, zeros = _params(array, scale, zero_point, format, axis, group_size, block_shape)
    if lsq_scale and fmt.qmax == 0:
        raise ValueError(f"lsq_scale: True with {fmt.name}, whose largest code is 0, expected False")
    grad_x = np.empty(array.shape, np.float32)
    grad_scale, grad_zero = np.zeros(layout.scale_shape, np.float32), np.zeros(layout.scale_shape, np.float32)
    if array.size:
        _core.fake_quantize_gradient(
            context(),
            fmt.id,
            layout.runs,
            contiguous(to_float32(upstream)),
            contiguous(to_float32(array)),
            scales,
            zeros,
            lsq_scale,
            grad_x,
            grad_scale,
            grad_zero,
        )
    return grad_x if array.dtype == np.float32 else store(grad_x, np.empty_like(array)), grad_scale, grad_zero


def _params(
    x: Array,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None,
    format: npt.DTypeLike,
    axis: int | None,
    group_size: int | None,
    block_shape: tuple[int, int] | None,
) -> tuple[Format, Layout, Array, Array | None]:
    """Format, layout, float32 scales and zero points of one byte each, checked."""
    fmt = find_format(format)
    if fmt.kind != "integer":
        raise ValueError(f"format: {fmt.name}, expected a format of integers")
    layout = make_layout(x.shape, axis, group_size, block_shape)
    scales = to_float32(check_scale_values(check_scale_form(scale, fmt, layout)))
    zeros = _given_zero_point(zero_point, True, fmt, layout)
    if zeros is not None and has_float_zeros(zeros):
        raise TypeError(f"zero_point: dtype {zeros.dtype}, expected {fmt.dtype}")
    return fmt, layout, scales, zeros
