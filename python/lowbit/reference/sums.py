"""Sums of floats in a fixed order: docs/numerics.md, "Sums"."""

import numpy as np
import numpy.typing as npt

f32 = np.float32
SEGMENT = 256  # elements that are added in float32
PIECES = 32  # at most; of the segments' sums, in float64


def lane_sum(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The sum over the last axis: element i to lane i % 16, ascending, then lanes 8, 4, 2 and 1 apart are added."""
    lanes = np.zeros((*x.shape[:-1], 16), f32)
    for i in range(0, x.shape[-1], 16):
        part = x[..., i : i + 16]
        lanes[..., : part.shape[-1]] += part
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def segments(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The last axis cut into segments: (..., segments, SEGMENT), the last one filled up with zeros."""
    count = -(-x.shape[-1] // SEGMENT)
    padding = [(0, 0)] * (x.ndim - 1) + [(0, count * SEGMENT - x.shape[-1])]
    return np.pad(x, padding).reshape(*x.shape[:-1], count, SEGMENT)


def add_segments(sums: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The segments' sums (axis 1) added in float64: pieces of neighbouring segments, then the pieces."""
    count = sums.shape[1]
    per_piece = -(-count // PIECES)
    total = np.zeros((sums.shape[0], *sums.shape[2:]))
    for first in range(0, count, per_piece):
        piece = np.zeros_like(total)
        for segment in range(first, min(count, first + per_piece)):
            piece = piece + sums[:, segment]
        total = total + piece
    return total
