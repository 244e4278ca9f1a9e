"""The elements of each parameter (scale, range, mean): in which order they are taken."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .layout import group_count, group_length

Indices = npt.NDArray[np.int64]


def parameter_shape(
    shape: tuple[int, ...],
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
) -> tuple[int, ...]:
    """Of an array with one value for each parameter of an array of `shape`."""
    if axis is not None:
        return (shape[axis],)
    if group_size is not None:
        return (*shape[:-1], group_count(shape[-1], group_size))
    if block_shape is not None:
        return tuple(group_count(n, size) for n, size in zip(shape, block_shape, strict=True))
    return ()


def parameters(
    shape: tuple[int, ...],
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
) -> Iterator[tuple[Indices, Indices]]:
    """Yield (which, elements): flat indices of parameters with equally many elements, and, (parameters, n), of theirs.

    Elements of a parameter are in the order in which they stand in the array. Nothing for an empty array.
    """
    if math.prod(shape) == 0:
        return
    index = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    count = math.prod(parameter_shape(shape, axis, group_size, block_shape))
    which = np.arange(count, dtype=np.int64)
    if axis is not None:
        yield which, np.moveaxis(index, axis, 0).reshape(count, -1)
    elif group_size is not None:
        group = min(group_length(shape[-1], group_size), shape[-1])
        groups, whole = group_count(shape[-1], group_size), shape[-1] // group
        which = which.reshape(*shape[:-1], groups)
        yield which[..., :whole].ravel(), index[..., : whole * group].reshape(-1, group)
        if whole < groups:
            yield which[..., whole:].ravel(), index[..., whole * group :].reshape(-1, shape[-1] - whole * group)
    elif block_shape is not None:
        rows, columns = block_shape
        starts = [(i, j) for i in range(0, shape[0], rows) for j in range(0, shape[1], columns)]
        for k, (i, j) in enumerate(starts):
            yield which[k : k + 1], index[i : i + rows, j : j + columns].reshape(1, -1)
    else:
        yield which, index.reshape(1, -1)


def finite_range(x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(smallest, largest) finite element of each row; 0 and 0 where there is none."""
    finite = np.isfinite(x)
    low = np.where(finite, x, np.float32(np.inf)).min(axis=1)
    high = np.where(finite, x, np.float32(-np.inf)).max(axis=1)
    none = ~finite.any(axis=1)
    return np.where(none, np.float32(0), low) + np.float32(0), np.where(none, np.float32(0), high) + np.float32(0)
