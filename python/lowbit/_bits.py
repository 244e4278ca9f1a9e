"""Dense bit streams of small codes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import CODE_TYPES, Array, contiguous, integer, typed
from ._runtime import context


def pack_bits(codes: npt.ArrayLike, bits: int) -> npt.NDArray[np.uint8]:
    """Pack codes into a dense LSB-first bit stream along the last axis.

    Code i of a row occupies its bits ``i * bits`` to ``i * bits + bits - 1``; bit t of a row is bit ``t % 8`` of byte
    ``t // 8``. Each row starts on a byte; unused bits are 0. Definition: docs/numerics.md, "Formats".

    Args:
        codes: int8 or uint8, shape (..., count), at least 1-d. The low ``bits`` bits of each count.
        bits: 1 to 8.

    Returns:
        uint8, shape (..., ceil(count * bits / 8)).

    Raises:
        TypeError: codes are not int8 or uint8, or bits is not an integer.
        ValueError: codes are 0-d, or bits is out of range.
    """
    array = typed("codes", np.asarray(codes), CODE_TYPES)
    bits = integer("bits", bits, 1, 8)
    if array.ndim == 0:
        raise ValueError("codes: a 0-d array, expected at least 1 dimension")
    return pack_rows(array, bits)


def pack_rows(codes: Array, bits: int) -> npt.NDArray[np.uint8]:
    """pack_bits of checked arguments."""
    *leading, count = codes.shape
    packed = np.empty((*leading, (count * bits + 7) // 8), np.uint8)
    _core.pack_bits(context(), bits, math.prod(leading), count, contiguous(codes), packed)
    return packed


def unpack_bits(b: npt.ArrayLike, bits: int, count: int, signed: bool = False) -> Array:
    """The inverse of ``pack_bits``.

    Args:
        b: uint8, shape (..., ceil(count * bits / 8)), at least 1-d.
        bits: 1 to 8.
        count: codes in a row.
        signed: read the codes as two's complement.

    Returns:
        int8 if signed, else uint8; shape (..., count).

    Raises:
        TypeError: b is not uint8, or bits or count is not an integer.
        ValueError: bits is out of range, or the last axis of b does not fit count.
    """
    array = typed("b", np.asarray(b), CODE_TYPES[1:])
    bits = integer("bits", bits, 1, 8)
    count = integer("count", count, 0, 2**60)
    row_bytes = (count * bits + 7) // 8
    if array.ndim == 0 or array.shape[-1] != row_bytes:
        raise ValueError(
            f"b: shape {array.shape}, expected (..., {row_bytes}) for rows of {count} codes of {bits} bits"
        )
    return unpack_rows(array, bits, count, signed)


def unpack_rows(packed: Array, bits: int, count: int, signed: bool) -> Array:
    """unpack_bits of checked arguments."""
    leading = packed.shape[:-1]
    codes = np.empty((*leading, count), np.int8 if signed else np.uint8)
    _core.unpack_bits(context(), bits, signed, math.prod(leading), count, contiguous(packed), codes)
    return codes
