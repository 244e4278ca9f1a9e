"""Which scale belongs to which element: QuantizeLinear's granularities in lowbit's terms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._checks import Array, integer


class Where(NamedTuple):
    """Scales for the tensor, per index of an axis, or per block along one.

    lowbit's groups run along the last axis, so that axis is moved there and back.
    """

    axis: int | None  # of per-axis scales
    moved: int | None  # of blocked ones
    block_size: int

    @property
    def keywords(self) -> dict[str, int | None]:
        """For lowbit.quantize and QuantizedArray."""
        return {"axis": self.axis, "group_size": None if self.moved is None else self.block_size}

    def move(self, array: Array) -> Array:
        """The blocked axis last."""
        return array if self.moved is None else np.moveaxis(array, self.moved, -1)

    def move_back(self, array: Array) -> Array:
        """The inverse of move."""
        return array if self.moved is None else np.ascontiguousarray(np.moveaxis(array, -1, self.moved))

    def spread(self, array: Array, shape: tuple[int, ...]) -> Array:
        """Scales or zero points so that they broadcast with the tensor, its blocked axis where it was."""
        if self.axis is not None:
            return array.reshape([-1 if i == self.axis else 1 for i in range(len(shape))])
        if self.moved is None:
            return array.reshape(())
        repeated = np.repeat(array, min(self.block_size, max(1, shape[self.moved])), axis=self.moved)
        return repeated[tuple(slice(n) for n in shape)]


def find_where(name: str, scale: Array, shape: tuple[int, ...], axis: int, block_size: int) -> Where:
    """The granularity that a scale of this shape has; a single number is for the tensor."""
    block_size = integer("block_size", block_size, 0, 2**63 - 1)
    if scale.shape in ((), (1,)) and (block_size == 0 or not shape):
        return Where(None, None, 0)
    if not shape:
        raise ValueError(f"{name}: shape {scale.shape} for a 0-d tensor, expected one number")
    if len(shape) == 1 and block_size == 0:
        axis = 0  # the only one there is
    axis = integer("axis", axis, -len(shape), len(shape) - 1) % len(shape)
    if block_size == 0:
        if scale.shape != (shape[axis],):
            raise ValueError(
                f"{name}: shape {scale.shape} with axis={axis}, expected () or ({shape[axis]},); "
                f"blocks need a block_size"
            )
        return Where(axis, None, 0)
    blocks = tuple(-(-n // block_size) if i == axis else n for i, n in enumerate(shape))
    if scale.shape != blocks:
        raise ValueError(f"{name}: shape {scale.shape} with axis={axis}, block_size={block_size}, expected {blocks}")
    return Where(None, axis, block_size)


def reshape_params(where: Where, params: Array) -> Array:
    """Scales or zero points as lowbit has them: () for the tensor, blocks along the last axis."""
    if where.axis is None and where.moved is None:
        return params.reshape(())
    return where.move(params)
