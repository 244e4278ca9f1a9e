"""Sums of floats in a fixed order: docs/numerics.md, "Sums"."""

import numpy as np
import numpy.typing as npt

f32 = np.float32
SEGMENT = 4096  # elements that are added in float32


def lane_sum(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sum over the last axis: element i to lane i % 16, ascending, then lanes 8, 4, 2 and 1 apart are added."""
    lanes = np.zeros((*x.shape[:-1], 16), f32)
    for i in range(0, x.shape[-1], 16):
        part = x[..., i : i + 16]
        lanes[..., : part.shape[-1]] += part
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def segments(x: npt.NDArray[np.float32], length: int = SEGMENT) -> npt.NDArray[np.float32]:
    """The last axis cut into segments: (..., segments, at most length), the last one filled up with 0."""
    length = min(length, x.shape[-1])
    count = -(-x.shape[-1] // length)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, count * length - x.shape[-1])]
    return np.pad(x, padding).reshape(*x.shape[:-1], count, length)


def add_segments(sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The segments' sums (axis 1), added in float64 and in order."""
    total = np.zeros((sums.shape[0], *sums.shape[2:]))
    for segment in range(sums.shape[1]):
        total = total + sums[:, segment]
    return total
