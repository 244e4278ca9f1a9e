"""Dense bit streams of small codes."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import CODE_TYPES, Array, contiguous, contiguous_output, integer, typed
from ._runtime import context


def pack_bits(codes: npt.ArrayLike, bits: int, *, out: Array | None = None) -> npt.NDArray[np.uint8]:
    """Pack codes into a dense LSB-first bit stream along the last axis.

    Code i of a row occupies its bits ``i * bits`` to ``i * bits + bits - 1``; bit t of a row is bit ``t % 8`` of byte
    ``t // 8``. Each row starts on a byte; unused bits are 0. Definition: docs/numerics.md, "Formats".

    Args:
        codes: int8 or uint8, shape (..., count), at least 1-d. The low ``bits`` bits of each count.
        bits: 1 to 8.
        out: C-contiguous array for the result, apart from codes. Without it, a large result costs more in page faults
            than in packing.

    Returns:
        uint8, shape (..., ceil(count * bits / 8)); out where given.

    Raises:
        TypeError: codes are not int8 or uint8, bits is not an integer, or out is not an array of uint8.
        ValueError: codes are 0-d, bits is out of range, or out has another shape, is not C-contiguous, is read-only or
            shares memory with codes.
    """
    array = typed("codes", np.asarray(codes), CODE_TYPES)
    bits = integer("bits", bits, 1, 8)
    if array.ndim == 0:
        raise ValueError("codes: a 0-d array, expected at least 1 dimension")
    if out is not None:
        contiguous_output(out, _packed_shape(array, bits), CODE_TYPES[1], {"codes": array})
    return pack_rows(array, bits, out)


def pack_rows(codes: Array, bits: int, out: Array | None = None) -> npt.NDArray[np.uint8]:
    """pack_bits of checked arguments."""
    *leading, count = codes.shape
    packed = np.empty(_packed_shape(codes, bits), np.uint8) if out is None else out
    _core.pack_bits(context(), bits, math.prod(leading), count, contiguous(codes), packed)
    return packed


def _packed_shape(codes: Array, bits: int) -> tuple[int, ...]:
    return *codes.shape[:-1], (codes.shape[-1] * bits + 7) // 8


def unpack_bits(b: npt.ArrayLike, bits: int, count: int, signed: bool = False, *, out: Array | None = None) -> Array:
    """The inverse of ``pack_bits``.

    Args:
        b: uint8, shape (..., ceil(count * bits / 8)), at least 1-d.
        bits: 1 to 8.
        count: codes in a row.
        signed: read the codes as two's complement.
        out: C-contiguous array for the result, apart from b.

    Returns:
        int8 if signed, else uint8; shape (..., count); out where given.

    Raises:
        TypeError: b is not uint8, bits or count is not an integer, or out is not an array of the result's dtype.
        ValueError: bits is out of range, the last axis of b does not fit count, or out has another shape, is not
            C-contiguous, is read-only or shares memory with b.
    """
    array = typed("b", np.asarray(b), CODE_TYPES[1:])
    bits = integer("bits", bits, 1, 8)
    count = integer("count", count, 0, 2**60)
    row_bytes = (count * bits + 7) // 8
    if array.ndim == 0 or array.shape[-1] != row_bytes:
        raise ValueError(
            f"b: shape {array.shape}, expected (..., {row_bytes}) for rows of {count} codes of {bits} bits"
        )
    if out is not None:
        contiguous_output(out, (*array.shape[:-1], count), CODE_TYPES[0 if signed else 1], {"b": array})
    return unpack_rows(array, bits, count, signed, out)


def unpack_rows(packed: Array, bits: int, count: int, signed: bool, out: Array | None = None) -> Array:
    """unpack_bits of checked arguments."""
    leading = packed.shape[:-1]
    codes = np.empty((*leading, count), np.int8 if signed else np.uint8) if out is None else out
    _core.unpack_bits(context(), bits, signed, math.prod(leading), count, contiguous(packed), codes)
    return codes
