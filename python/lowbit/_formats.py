"""The number formats and element types of the compiled library, by name or dtype."""

from __future__ import annotations

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import Array, choice

KINDS = ("integer", "float", "table")
# Floats of at most 16 bits, and float32: dtype -> lowbit_type.
TYPES = {
    np.dtype(getattr(ml_dtypes, name, name)): number
    for name, number in _core.types().items()
    if name not in ("int8", "uint8")
}
SCALE_TYPES = tuple(
    np.dtype(dtype)
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e8m0fnu, ml_dtypes.float8_e4m3fn)
)
# The block formats' elements; every other float format is named as its dtype.
ELEMENTS = {
    "mxfp8_e4m3": ml_dtypes.float8_e4m3fn,
    "mxfp8_e5m2": ml_dtypes.float8_e5m2,
    "mxfp6_e2m3": ml_dtypes.float6_e2m3fn,
    "mxfp6_e3m2": ml_dtypes.float6_e3m2fn,
    "mxfp4": ml_dtypes.float4_e2m1fn,
    "nvfp4": ml_dtypes.float4_e2m1fn,
}


class Format(NamedTuple):
    """A number format: a row of csrc/formats."""

    name: str
    id: int  # of the C ABI
    bits: int  # of one code
    kind: str  # one of KINDS
    qmin: int  # integers: smallest and largest code
    qmax: int
    max_value: float  # the largest number that a code stands for
    group_size: int | None  # of block formats
    scale_dtype: np.dtype[Any] | None  # of block formats
    has_global_scale: bool
    has_int8: bool  # compute "int8" is defined: for integers, and for 4-bit numbers, by their int8 table
    default_compute: int  # int8 where that multiplies the numbers as they are, else float32

    @property
    def signed(self) -> bool:
        """Whether codes are two's complement."""
        return self.qmin < 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one unpacked code."""
        if self.kind == "float":
            return np.dtype(ELEMENTS.get(self.name) or getattr(ml_dtypes, self.name, self.name))
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def codes_dtype(self) -> np.dtype[Any]:
        """Of codes as they are stored: packed below 8 bits."""
        return self.dtype if self.bits >= 8 else np.dtype(np.uint8)

    def row_bytes(self, row_length: int) -> int:
        """Bytes of row_length codes as they are stored."""
        return (row_length * self.bits + 7) // 8


def _row(
    name: str,
    id: int,
    bits: int,
    kind: int,
    qmin: int,
    qmax: int,
    max_value: float,
    group_size: int,
    scale_type: int,
    *rest: Any,
) -> Format:
    scale_dtype = next((dtype for dtype, number in TYPES.items() if number == scale_type), None)
    return Format(name, id, bits, KINDS[kind], qmin, qmax, max_value, group_size or None, scale_dtype, *rest)


FORMATS = {row[0]: _row(*row) for row in _core.formats()}


def find_format(format: npt.DTypeLike) -> Format:
    """A format by its name, or by a numpy or ml_dtypes dtype of the same name."""
    return choice("format", format if isinstance(format, str) else np.dtype(format).name, FORMATS)


def raw(array: Array) -> Array:
    """The array as the compiled module takes it: types that numpy does not have as unsigned integers."""
    if array.dtype.num < 256:  # numpy's own
        return array
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))
