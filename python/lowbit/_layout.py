"""Which scale and zero point belong to which element."""

from __future__ import annotations

import math
from typing import NamedTuple

from ._checks import integer


class Layout(NamedTuple):
    """One scale for the whole array, one per index of an axis, or one per group along the last axis."""

    shape: tuple[int, ...]
    axis: int | None
    group_size: int | None

    @property
    def row_length(self) -> int:
        return self.shape[-1] if self.shape else 1

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def groups(self) -> int:
        """Scales along the last axis."""
        return 1 if self.group_size is None else -(-self.row_length // self.group_size)

    @property
    def scale_shape(self) -> tuple[int, ...]:
        if self.group_size is not None:
            return (*self.shape[:-1], self.groups)
        return () if self.axis is None else (self.shape[self.axis],)

    @property
    def runs(self) -> tuple[int, int, int, int, int]:
        """lowbit_runs of an array that is not empty."""
        rows, length = self.rows, self.row_length
        if self.group_size is not None:
            return rows, length, self.group_size, 1, rows * self.groups
        if self.axis is None:
            return rows, length, length, rows, 1
        if self.axis == len(self.shape) - 1:
            return rows, length, 1, 1, length
        return rows, length, length, math.prod(self.shape[self.axis + 1 : -1]), self.shape[self.axis]

    @property
    def one_run_per_scale(self) -> bool:
        rows, length, run, _, params = self.runs
        return params == rows * -(-length // run)


def make_layout(shape: tuple[int, ...], axis: int | None, group_size: int | None) -> Layout:
    """Checked and normalized: axis >= 0, group_size >= 1."""
    if axis is not None and group_size is not None:
        raise ValueError(f"axis: {axis} together with group_size {group_size}, expected at most one of them")
    ndim = len(shape)
    if axis is not None:
        if ndim == 0:
            raise ValueError(f"axis: {axis} for a 0-d array, expected None")
        axis = integer("axis", axis, -ndim, ndim - 1) % ndim
    if group_size is not None:
        if ndim == 0:
            raise ValueError(f"group_size: {group_size} for a 0-d array, expected None")
        if group_size == -1:
            group_size = max(shape[-1], 1)
        elif integer("group_size", group_size, -1, 2**63 - 1) < 1:
            raise ValueError(f"group_size: {group_size}, expected -1 (the whole last axis) or at least 1")
        group_size = int(group_size)
    return Layout(shape, axis, group_size)
