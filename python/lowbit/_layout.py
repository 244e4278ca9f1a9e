"""Which scale and zero point belong to which element."""

from __future__ import annotations

import math
from typing import NamedTuple

from ._checks import integer


class Layout(NamedTuple):
    """One scale for the whole array, per index of an axis, per group along the last axis, or per block of a matrix."""

    shape: tuple[int, ...]
    axis: int | None
    group_size: int | None
    block_shape: tuple[int, int] | None = None

    @property
    def row_length(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def groups(self) -> int:
        """Scales along the last axis."""
        length = self.group_size if self.block_shape is None else self.block_shape[1]
        return 1 if length is None else -(-self.row_length // length)

    @property
    def scale_shape(self) -> tuple[int, ...]:
        if self.group_size is not None:
            return (*self.shape[:-1], self.groups)
        if self.block_shape is not None:
            return -(-self.rows // self.block_shape[0]), self.groups
        return () if self.axis is None else (self.shape[self.axis],)

    @property
    def runs(self) -> tuple[int, int, int, int, int]:
        """lowbit_runs of an array that is not empty."""
        rows, length = self.rows, self.row_length
        if self.group_size is not None:
            return rows, length, self.group_size, 1, rows * self.groups
        if self.block_shape is not None:
            return rows, length, self.block_shape[1], self.block_shape[0], math.prod(self.scale_shape)
        if self.axis is None:
            return rows, length, length, rows, 1
        if self.axis == len(self.shape) - 1:
            return rows, length, 1, 1, length
        return rows, length, length, math.prod(self.shape[self.axis + 1 : -1]), self.shape[self.axis]

    @property
    def one_run_per_scale(self) -> bool:
        rows, length, run, rows_per_param, params = self.runs
        return params == rows * -(-length // run) and rows_per_param == 1


def make_layout(
    shape: tuple[int, ...], axis: int | None, group_size: int | None, block_shape: tuple[int, int] | None = None
) -> Layout:
    """Checked and normalized: axis >= 0, group_size >= 1."""
    given = {"axis": axis, "group_size": group_size, "block_shape": block_shape}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(
            f"{names[0]}: {given[names[0]]} together with {names[1]} {given[names[1]]}, expected one of them"
        )
    ndim = len(shape)
    if names and ndim == 0:
        raise ValueError(f"{names[0]}: {given[names[0]]} for a 0-d array, expected None")
    if axis is not None:
        axis = integer("axis", axis, -ndim, ndim - 1) % ndim
    if group_size is not None:
        if group_size == -1:
            group_size = max(shape[-1], 1)
        elif integer("group_size", group_size, -1, 2**63 - 1) < 1:
            raise ValueError(f"group_size: {group_size}, expected -1 (the whole last axis) or at least 1")
        group_size = int(group_size)
    if block_shape is not None:
        if ndim != 2:
            raise ValueError(f"block_shape: {block_shape} for an array of shape {shape}, expected 2 dimensions")
        if len(block_shape) != 2:
            raise ValueError(f"block_shape: {block_shape!r}, expected two integers, (rows, columns)")
        rows, columns = (integer("block_shape", size, 1, 2**63 - 1) for size in block_shape)
        block_shape = rows, columns
    return Layout(shape, axis, group_size, block_shape)
