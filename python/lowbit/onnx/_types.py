"""Element types of the operators."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from .._checks import Array, contiguous, names

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT32 = np.dtype(np.int32)
FLOATS = (FLOAT32, np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)
# Codes that are floats themselves.
SMALL_FLOATS = tuple(
    np.dtype(getattr(ml_dtypes, name))
    for name in (
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float6_e2m3fn",
        "float6_e3m2fn",
        "float4_e2m1fn",
    )
)
SMALL_INTEGERS = tuple(np.dtype(getattr(ml_dtypes, name)) for name in ("int2", "uint2", "int4", "uint4"))
BYTES = (np.dtype(np.int8), np.dtype(np.uint8))
SHORTS = (np.dtype(np.int16), np.dtype(np.uint16))
CODES = (*BYTES, *SHORTS, *SMALL_INTEGERS, *SMALL_FLOATS)


def code_type(name: str, dtype: npt.DTypeLike) -> np.dtype[Any]:
    """dtype, one of CODES."""
    found = np.dtype(dtype)
    if found not in CODES:
        raise TypeError(f"{name}: {found}, expected {names(CODES)}")
    return found


def is_signed(dtype: np.dtype[Any]) -> bool:
    """Of integer codes, whether there are negative ones."""
    return not dtype.name.startswith("u")


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Smallest and largest code of integers."""
    bits = int(dtype.name.lstrip("uint"))
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed(dtype) else (0, (1 << bits) - 1)


def byte_codes(codes: Array) -> Array:
    """Integer codes of at most 8 bits as int8 or uint8."""
    return codes if codes.dtype in BYTES else codes.astype(np.int8 if is_signed(codes.dtype) else np.uint8)


def as_float32(x: Array) -> Array:
    """Rounded once where float32 does not hold it; a signalling NaN is data, not an event."""
    with np.errstate(all="ignore"):
        return contiguous(x).astype(np.float32, copy=False)
