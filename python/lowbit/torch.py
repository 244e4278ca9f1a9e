"""Fake quantization in PyTorch, on CPU tensors: a differentiable function and a module with learned scales.

from lowbit.torch import FakeQuantize, fake_quantize

Nothing else of lowbit imports this file, nor torch.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

try:
    import torch
except ImportError as error:
    raise ImportError("lowbit.torch needs PyTorch, which is not installed: pip install torch") from error

from . import fake_quant
from ._checks import Array
from ._formats import Format, find_format
from ._layout import Layout, make_layout
from ._quantize import quantize
from .arrays import QuantizedArray

__all__ = ["FakeQuantize", "fake_quantize"]

SMALLEST_SCALE = float(np.finfo(np.float32).eps)  # of a module's learned scales


def fake_quantize(
    x: torch.Tensor,
    scale: torch.Tensor,
    zero_point: torch.Tensor | None = None,
    *,
    format: npt.DTypeLike = "int8",
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    lsq_scale: bool = True,
) -> torch.Tensor:
    """``lowbit.fake_quantize`` of CPU tensors, with the gradients of ``lowbit.fake_quantize_gradient``.

    Args:
        x: float32, float16 or bfloat16, of any shape and strides; not copied where it is contiguous float32.
        scale: float32 or float16, finite and not zero, of the shape that ``lowbit.fake_quantize`` documents.
        zero_point: of the shape of scale. Integers are fixed; floats can be learned: they are rounded half to even and
            clipped to the codes of the format here, and get the gradient of the rounded ones. None: 0 for signed
            formats, 2^(bits-1) for unsigned ones.
        format: as in ``lowbit.fake_quantize``.
        axis: likewise.
        group_size: likewise.
        block_shape: likewise.
        lsq_scale: as in ``lowbit.fake_quantize_gradient``.

    Returns:
        shape and dtype of x.

    Raises:
        TypeError: an argument is no tensor, not on the CPU, or of another dtype.
        ValueError: a shape or value that does not fit.

    Source: docs/numerics.md, "Fake quantization".
    """
    keywords = {"format": format, "axis": axis, "group_size": group_size, "block_shape": block_shape}
    return _FakeQuantize.apply(x, scale, zero_point, keywords, lsq_scale)


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None,
        keywords: dict[str, Any],
        lsq_scale: bool,
    ) -> torch.Tensor:
        fmt = find_format(keywords["format"])
        if lsq_scale and fmt.kind == "integer" and fmt.qmax == 0:  # now, not in the backward pass
            raise ValueError(f"lsq_scale: True with {fmt.name}, whose largest code is 0, expected False")
        zeros = _codes("zero_point", zero_point, fmt)
        ctx.save_for_backward(x, scale)
        ctx.keywords = keywords | {"zero_point": zeros, "lsq_scale": lsq_scale}
        return _tensor(fake_quant.fake_quantize(_array("x", x), _array("scale", scale), zeros, **keywords))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        grads = fake_quant.fake_quantize_gradient(
            _array("grad", grad), _array("x", x), _array("scale", scale), **ctx.keywords
        )
        by_x, by_scale, by_zero = (
            _tensor(grad) if needed else None for grad, needed in zip(grads, ctx.needs_input_grad, strict=False)
        )
        return by_x, by_scale, by_zero, None, None


class FakeQuantize(torch.nn.Module):
    """Fake quantization with a learned scale (LSQ) and, if asked, a learned zero point.

    ``FakeQuantize.from_data(weight, format="int4", axis=0)`` starts from data; ``quantize`` gives the codes in the end.

    Args:
        scale: float32 tensor of the shape that ``lowbit.fake_quantize`` documents; positive.
        zero_point: integers of that shape, codes of the format. None: 0 for signed formats, 2^(bits-1) for unsigned.
        format: as in ``lowbit.fake_quantize``.
        axis: likewise.
        group_size: likewise.
        block_shape: likewise.
        learn_zero_point: make the zero point a parameter too; it is a float that is rounded in forward.
        lsq_scale: as in ``lowbit.fake_quantize_gradient``.

    Attributes:
        scale: parameter. ``forward`` first lifts it to 2^-23 where an optimizer has brought it below.
        zero_point: parameter with learn_zero_point, else a buffer.

    Raises:
        TypeError: scale is no float32 CPU tensor, or zero_point holds no integers.
        ValueError: a value or name that does not fit.
    """

    scale: torch.nn.Parameter
    zero_point: torch.Tensor

    def __init__(
        self,
        scale: torch.Tensor,
        zero_point: torch.Tensor | None = None,
        *,
        format: npt.DTypeLike = "int8",
        axis: int | None = None,
        group_size: int | None = None,
        block_shape: tuple[int, int] | None = None,
        learn_zero_point: bool = False,
        lsq_scale: bool = True,
    ) -> None:
        super().__init__()
        fmt = find_format(format)
        if fmt.kind != "integer":
            raise ValueError(f"format: {fmt.name}, expected a format of integers")
        values = _array("scale", scale)
        if values.dtype != np.float32:
            raise TypeError(f"scale: dtype {values.dtype}, expected float32")
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError("scale: a value that is not finite and positive, expected positive scales")
        if zero_point is None:
            zero_point = torch.full_like(scale, 0 if fmt.signed else 1 << (fmt.bits - 1), dtype=torch.int32)
        elif zero_point.is_floating_point():
            raise TypeError(f"zero_point: {zero_point.dtype}, expected integers")
        if zero_point.shape != scale.shape:
            raise ValueError(f"zero_point: shape {tuple(zero_point.shape)}, expected {tuple(scale.shape)}")
        _codes("zero_point", zero_point, fmt)
        self.format, self.lsq_scale = fmt.name, lsq_scale
        self.axis, self.group_size, self.block_shape = axis, group_size, block_shape
        self.scale = torch.nn.Parameter(scale.detach().clone())
        if learn_zero_point:
            self.zero_point = torch.nn.Parameter(zero_point.to(torch.float32))
        else:
            self.register_buffer("zero_point", zero_point.detach().clone())

    @classmethod
    def from_data(
        cls,
        x: torch.Tensor,
        zero_point: torch.Tensor | None = None,
        *,
        format: npt.DTypeLike = "int8",
        axis: int | None = None,
        group_size: int | None = None,
        block_shape: tuple[int, int] | None = None,
        **options: Any,
    ) -> FakeQuantize:
        """Start with LSQ's scale: ``2 * mean(abs(x)) / sqrt(qmax)`` of the elements that share it; 1 where all are 0.

        Args:
            x: float tensor on the CPU: the weights, or a batch of activations.
            zero_point: as of the class.
            format: likewise.
            axis: likewise.
            group_size: likewise.
            block_shape: likewise.
            **options: learn_zero_point and lsq_scale.

        Raises:
            TypeError: x is no float tensor on the CPU.
            ValueError: x is empty or not finite, or the format is int1, whose qmax is 0.
        """
        fmt = find_format(format)
        if fmt.qmax <= 0:
            raise ValueError(f"format: {fmt.name}, expected integers with positive codes")
        values = _array("x", x).astype(np.float64)
        if not values.size or not np.isfinite(values).all():
            raise ValueError(f"x: {'empty' if not values.size else 'not finite'}, expected finite values")
        layout = make_layout(values.shape, axis, group_size, block_shape)
        scale = 2 * _mean_magnitude(values, layout) / math.sqrt(fmt.qmax)
        where: dict[str, Any] = {"axis": axis, "group_size": group_size, "block_shape": block_shape}
        scale = np.asarray(np.where(scale == 0, 1, scale), np.float32)
        return cls(torch.from_numpy(scale), zero_point, format=format, **where, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """fake_quantize of x with the module's parameters."""
        # Through .data, as an earlier result may still wait for its backward pass with the scale it has saved.
        self.scale.data.clamp_(min=SMALLEST_SCALE)
        return fake_quantize(
            x,
            self.scale,
            self.zero_point,
            format=self.format,
            axis=self.axis,
            group_size=self.group_size,
            block_shape=self.block_shape,
            lsq_scale=self.lsq_scale,
        )

    def quantize(self, x: torch.Tensor) -> QuantizedArray:
        """The codes of x, with the module's scale and zero point: dequantized, they are what ``forward`` gives."""
        scale = np.maximum(_array("scale", self.scale), np.float32(SMALLEST_SCALE))
        zero_point = _codes("zero_point", self.zero_point, find_format(self.format))
        return quantize(
            _array("x", x),
            self.format,
            scale=scale,
            zero_point=zero_point,
            axis=self.axis,
            group_size=self.group_size,
            block_shape=self.block_shape,
        )

    def extra_repr(self) -> str:
        """For repr."""
        where = f", axis={self.axis}" if self.axis is not None else ""
        where += f", group_size={self.group_size}" if self.group_size is not None else ""
        where += f", block_shape={self.block_shape}" if self.block_shape is not None else ""
        learned = isinstance(self.zero_point, torch.nn.Parameter)
        return f"{self.format}{where}, {self.scale.numel()} scales{', learned zero points' if learned else ''}"


def _array(name: str, tensor: torch.Tensor) -> Array:
    """The tensor's memory as a numpy array."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name}: {type(tensor).__name__}, expected a torch.Tensor")
    if tensor.device.type != "cpu":
        raise TypeError(f"{name}: a tensor on {tensor.device}, expected one on the CPU")
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:  # numpy has no such type of its own
        bits: Array = tensor.view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy()
    return array


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _codes(name: str, zero_point: torch.Tensor | None, format: Format) -> Array | None:
    """Zero points as codes of the format: floats rounded and clipped, integers as they are."""
    if zero_point is None:
        return None
    array = _array(name, zero_point)
    if format.kind != "integer":
        raise ValueError(f"format: {format.name}, expected a format of integers")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: a value that is not finite, expected finite ones")
        return np.clip(np.rint(array), format.qmin, format.qmax).astype(format.dtype)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: dtype {array.dtype}, expected integers or floats")
    if array.size and (array.min() < format.qmin or array.max() > format.qmax):
        raise ValueError(
            f"{name}: {array.min()} to {array.max()}, expected {format.qmin} to {format.qmax} for {format.name}"
        )
    return array.astype(format.dtype)


def _mean_magnitude(x: npt.NDArray[np.float64], layout: Layout) -> Any:
    """Mean of |x| over the elements of each scale."""
    magnitude = np.abs(x)
    if layout.axis is not None:
        return magnitude.mean(axis=tuple(i for i in range(x.ndim) if i != layout.axis))
    if layout.group_size is None and layout.block_shape is None:
        return magnitude.mean()
    rows, columns = layout.block_shape or (1, layout.group_size or 1)
    sums, counts = magnitude, np.ones(x.shape)
    for axis, size in ((-1, columns), (-2, rows)):
        if size > 1:
            starts = np.arange(0, x.shape[axis], size)
            sums, counts = (np.add.reduceat(part, starts, axis=axis) for part in (sums, counts))
    return sums / counts
