"""The number formats of the compiled library, by name or dtype."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import choice


class Format(NamedTuple):
    """A format of integer codes."""

    name: str
    id: int  # of the C ABI
    bits: int
    qmin: int
    qmax: int

    @property
    def signed(self) -> bool:
        return self.qmin < 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one unpacked code."""
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def codes_dtype(self) -> np.dtype[Any]:
        """Of codes as they are stored: packed below 8 bits."""
        return self.dtype if self.bits == 8 else np.dtype(np.uint8)

    def row_bytes(self, row_length: int) -> int:
        """Bytes of row_length codes as they are stored."""
        return (row_length * self.bits + 7) // 8


FORMATS = {row[0]: Format(*row) for row in _core.formats()}


def find_format(format: npt.DTypeLike) -> Format:
    """A format by its name, or by a numpy or ml_dtypes dtype of the same name."""
    return choice("format", format if isinstance(format, str) else np.dtype(format).name, FORMATS)
