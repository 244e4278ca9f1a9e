"""Dense bit streams: docs/numerics.md, "Formats"."""

from typing import Any

import numpy as np
import numpy.typing as npt


def pack_bits(codes: npt.ArrayLike, bits: int) -> npt.NDArray[np.uint8]:
    """Pack integer codes (..., L) into uint8 (..., ceil(L * bits / 8)), least significant bit first.

    The low `bits` bits of a code count. Each row starts on a byte; the bits past its end are 0.
    """
    codes = np.asarray(codes).astype(np.uint8)
    stream = (codes[..., None] >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    stream = stream.reshape(*codes.shape[:-1], codes.shape[-1] * bits)
    return np.packbits(stream, axis=-1, bitorder="little")


def unpack_bits(packed: npt.ArrayLike, bits: int, count: int, signed: bool = False) -> npt.NDArray[Any]:
    """Unpack uint8 (..., bytes) into codes (..., count): int8, two's complement, where signed, else uint8."""
    packed = np.asarray(packed, np.uint8)
    stream = np.unpackbits(packed, axis=-1, bitorder="little")[..., : count * bits]
    stream = stream.reshape(*packed.shape[:-1], count, bits)
    weights = 1 << np.arange(bits)
    if signed:
        weights[-1] = -weights[-1]
    codes: npt.NDArray[Any] = (stream * weights).sum(axis=-1)
    return codes.astype(np.int8 if signed else np.uint8)
