"""Which scale and zero point an element uses: one for the array, one per index of an axis, one per group."""

from typing import Any

import numpy as np
import numpy.typing as npt


def group_length(length: int, group_size: int | None) -> int:
    """Elements in a full group along an axis of `length`; None and -1 mean the whole of it."""
    if group_size is None or group_size == -1:
        return max(length, 1)
    if group_size < 1:
        raise ValueError(f"group_size: got {group_size}, expected -1 or at least 1")
    return group_size


def group_count(length: int, group_size: int | None) -> int:
    """Number of groups along an axis of `length`; the last may be shorter."""
    return -(-length // group_length(length, group_size))


def spread(
    values: npt.ArrayLike,
    shape: tuple[int, ...],
    axis: int | None,
    group_size: int | None,
    block_shape: tuple[int, int] | None = None,
) -> npt.NDArray[Any]:
    """Return values, broadcastable to an array of `shape` so that each element meets its own.

    values: () where nothing else is given, (shape[axis],) with axis, shape[:-1] + (ceil(shape[-1] / group_size),) with
    group_size, (ceil(N / rows), ceil(K / columns)) with block_shape. ValueError for any other shape.
    """
    values = np.asarray(values)
    if sum(x is not None for x in (axis, group_size, block_shape)) > 1:
        raise ValueError(
            f"axis, group_size and block_shape exclude each other, got axis={axis}, group_size={group_size}, "
            f"block_shape={block_shape}"
        )
    expected: tuple[int, ...] = ()
    if axis is not None:
        expected = (shape[axis],)
    elif group_size is not None:
        expected = (*shape[:-1], group_count(shape[-1], group_size))
    elif block_shape is not None:
        expected = tuple(group_count(n, size) for n, size in zip(shape, block_shape, strict=True))
    if values.shape != expected:
        raise ValueError(f"scale or zero_point: got shape {values.shape}, expected {expected}")
    if axis is not None:
        trailing = len(shape) - 1 - axis % len(shape)
        return values.reshape(len(values), *[1] * trailing)
    if group_size is not None:
        return np.repeat(values, group_length(shape[-1], group_size), axis=-1)[..., : shape[-1]]
    if block_shape is not None:
        rows, columns = block_shape
        return np.repeat(np.repeat(values, rows, axis=0), columns, axis=1)[: shape[0], : shape[1]]
    return values
