"""The number formats: docs/numerics.md, "Formats" and "Floats of at most 16 bits"."""

import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[Any]


def code_range(format: str) -> tuple[int, bool, int, int]:
    """Return (bits, signed, qmin, qmax) of "int1" .. "int8", "uint1" .. "uint8", "ternary"; ValueError for others."""
    if format == "ternary":
        return 2, True, -1, 1
    match = re.fullmatch(r"(u?)int([1-8])", format)
    if match is None:
        raise ValueError(f"format: got {format!r}, expected int1 .. int8, uint1 .. uint8 or ternary")
    bits = int(match[2])
    if match[1]:
        return bits, False, 0, 2**bits - 1
    return bits, True, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


class FloatFormat(NamedTuple):
    """A float of at most 16 bits: sign, exponent, mantissa, from the highest bit down."""

    bits: int
    mantissa: int
    bias: int
    kind: str  # "ieee": infinities and NaNs; "fn": NaN is all ones; "finite": neither; "fnuz": NaN is -0's code


FLOATS = {
    "float16": FloatFormat(16, 10, 15, "ieee"),
    "bfloat16": FloatFormat(16, 7, 127, "ieee"),
    "float8_e4m3fn": FloatFormat(8, 3, 7, "fn"),
    "float8_e5m2": FloatFormat(8, 2, 15, "ieee"),
    "float8_e4m3fnuz": FloatFormat(8, 3, 8, "fnuz"),
    "float8_e5m2fnuz": FloatFormat(8, 2, 16, "fnuz"),
    "float8_e4m3": FloatFormat(8, 3, 7, "ieee"),
    "float8_e3m4": FloatFormat(8, 4, 3, "ieee"),
    "float8_e4m3b11fnuz": FloatFormat(8, 3, 11, "fnuz"),
    "float6_e2m3fn": FloatFormat(6, 3, 1, "finite"),
    "float6_e3m2fn": FloatFormat(6, 2, 3, "finite"),
    "float4_e2m1fn": FloatFormat(4, 1, 1, "finite"),
}
# Block formats: element, group_size, type of the scales, whether they are multiples of a global scale.
BLOCKS = {
    "mxfp8_e4m3": ("float8_e4m3fn", 32, "float8_e8m0fnu", False),
    "mxfp8_e5m2": ("float8_e5m2", 32, "float8_e8m0fnu", False),
    "mxfp6_e2m3": ("float6_e2m3fn", 32, "float8_e8m0fnu", False),
    "mxfp6_e3m2": ("float6_e3m2fn", 32, "float8_e8m0fnu", False),
    "mxfp4": ("float4_e2m1fn", 32, "float8_e8m0fnu", False),
    "nvfp4": ("float4_e2m1fn", 16, "float8_e4m3fn", True),
}
TABLES = {
    # QLoRA (arXiv:2305.14314), appendix E
    "nf4": [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    # bitsandbytes: sign, then 3 bits
    "fp4": [s * v for s in (1, -1) for v in (0.0, 0.005208333333, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25)],
}


def element(format: str) -> str:
    """The format of one code: that of a block format's elements, else the format itself."""
    return BLOCKS[format][0] if format in BLOCKS else format


def numbers(format: str) -> npt.NDArray[np.float64]:
    """What each code of a float or table format stands for, exactly, by code; float8_e8m0fnu too."""
    name = element(format)
    if name in TABLES:
        return np.array(TABLES[name], np.float32).astype(np.float64)
    if name == "float8_e8m0fnu":
        return np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan)
    bits, mantissa, bias, kind = FLOATS[name]
    code = np.arange(2 ** (bits - 1))
    exponent, fraction = code >> mantissa, code & (2**mantissa - 1)
    normal = np.ldexp(1 + fraction / 2**mantissa, exponent - bias)
    values = np.where(exponent == 0, np.ldexp(fraction / 2**mantissa, 1 - bias), normal)
    if kind == "ieee":
        top = exponent == exponent.max()
        values = np.where(top, np.where(fraction == 0, np.inf, np.nan), values)
    if kind == "fn":
        values[-1] = np.nan
    values = np.concatenate([values, -values])
    if kind == "fnuz":
        values[2 ** (bits - 1)] = np.nan
    return values


def decode(codes: npt.ArrayLike, format: str) -> npt.NDArray[np.float32]:
    """The numbers of unsigned integer codes, float32, which holds them exactly."""
    return numbers(format).astype(np.float32)[np.asarray(codes).astype(np.int64)]


def encode(x: npt.ArrayLike, format: str, *, saturate: bool = True) -> Codes:
    """The code of the number nearest to float32 x, ties to the even code: uint8, or uint16 for 16 bits.

    saturate: as in lowbit.cast. Tables: ties to the lower number, and they always saturate.
    """
    name = element(format)
    with np.errstate(all="ignore"):  # a signalling NaN is data, not an event
        x = np.asarray(x, np.float32).astype(np.float64)
    if name in TABLES:
        return _encode_table(x, name)
    bits, _, _, kind = FLOATS[name]
    sign_bit = 2 ** (bits - 1)
    values = numbers(name)[:sign_bit]
    values = values[np.isfinite(values)]  # ascending: the magnitude's codes are their indices
    most = len(values) - 1
    overflow = most if kind == "finite" else sign_bit if kind == "fnuz" else most + 1  # infinity, or NaN
    nan = {"fn": sign_bit - 1, "ieee": _quiet_nan(name), "finite": sign_bit, "fnuz": sign_bit}[kind]

    step = values[-1] - values[-2]
    midpoints = np.append((values[:-1] + values[1:]) / 2, values[-1] + step / 2)
    magnitude = np.abs(x)
    if saturate:
        magnitude = np.minimum(magnitude, values[-1])
    code: Codes = np.searchsorted(midpoints, magnitude, side="left")  # the lower neighbour at a tie
    tie = midpoints[np.minimum(code, most)] == magnitude
    code = np.where(tie & (code % 2 == 1), code + 1, code)
    code = np.where(code > most, overflow, code)
    sign = np.where(np.signbit(x), sign_bit, 0)
    if kind == "fnuz":
        code = np.where(code == 0, 0, code | sign)
        code = np.where(np.isnan(x), nan, code)
    else:
        code = np.where(np.isnan(x), nan, code) ^ sign
    return code.astype(np.uint16 if bits == 16 else np.uint8)


def _quiet_nan(name: str) -> int:
    bits, mantissa, _, _ = FLOATS[name]
    return int(2 ** (bits - 1) - 2**mantissa + 2 ** (mantissa - 1))


def _encode_table(x: npt.NDArray[np.float64], name: str) -> Codes:
    values = numbers(name)
    order = [int(c) for c in np.argsort(values, kind="stable") if not (values[c] == 0 and np.signbit(values[c]))]
    ascending = values[order]
    thresholds = ((ascending[:-1] + ascending[1:]) / 2).astype(np.float32).astype(np.float64)
    code = np.array(order)[np.searchsorted(thresholds, x, side="left")]
    return np.where(np.isnan(x), order[int(np.argmin(np.abs(ascending)))], code).astype(np.uint8)


def encode_power(x: npt.ArrayLike, rounding: str = "nearest_even", *, saturate: bool = False) -> Codes:
    """float8_e8m0fnu codes of float32 x: the nearest power of two (a tie goes up), or the next one "up" or "down".

    255 (NaN) where x is not positive, or past 2^127 without saturate. Below 2^-126, as ml_dtypes has it, up wherever
    x is above 2^-127, except "down".
    """
    with np.errstate(all="ignore"):
        x = np.asarray(x, np.float32).astype(np.float64)
        y = np.minimum(x, 2.0**127) if saturate else x
        _, exponent = np.frexp(y)
        below = np.ldexp(1.0, exponent - 1)  # the power of two at or below y
        up = {"nearest_even": y >= 1.5 * below, "up": y > below, "down": np.zeros(y.shape, bool)}[rounding]
        code = exponent - 1 + up + 127
        if rounding != "down":
            code = np.where((y < 2.0**-126) & (y > 2.0**-127), 1, code)
        code = np.where(np.isfinite(y), np.clip(code, 0, 255), 255)
    return np.where(x > 0, code, 255).astype(np.uint8)


def encode_stochastic(x: npt.ArrayLike, format: str, seed: int, *, saturate: bool = True) -> Codes:
    """Codes of one of the two neighbours of each element of 1-d float32 x: docs/numerics.md, "Stochastic rounding"."""
    bits, mantissa, bias, _ = FLOATS[element(format)]
    x = np.asarray(x, np.float32)
    draw = _draws(seed, x.size)
    values = numbers(format)[: 2 ** (bits - 1)]
    largest = values[np.isfinite(values)][-1]
    magnitude = np.abs(x)
    if saturate:
        magnitude = np.minimum(magnitude, np.float32(largest))
    shift = np.uint32(23 - mantissa)
    pattern = magnitude.view(np.uint32)
    code = ((pattern + (draw >> (np.uint32(32) - shift))) >> shift).astype(np.int64) - ((127 - bias) << mantissa)
    if bias < 127:
        least = np.float32(2.0 ** (1 - bias))
        steps = np.rint(np.minimum(magnitude, least) * np.float32(2.0 ** (12 + mantissa - 1 + bias)))
        steps = np.where(np.isnan(steps), 0, steps).astype(np.int64)
        code = np.where(magnitude < least, (steps + (draw >> np.uint32(20))) >> 12, code)
    # what is past the largest number, and signs, are those of nearest rounding
    back = np.where(code < np.isfinite(values).sum(), values[np.clip(code, 0, len(values) - 1)], np.inf)
    back = np.where(np.isnan(x), np.nan, np.where(np.isnan(back), np.inf, back))
    with np.errstate(all="ignore"):
        return encode(np.copysign(back, x).astype(np.float32), format, saturate=saturate)


def _draws(seed: int, count: int) -> npt.NDArray[np.uint32]:
    """The 32 bits of each index below 2^32."""

    def mix(h: int) -> int:
        mask = 2**64 - 1
        h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & mask
        h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & mask
        return int((h ^ (h >> 33)) >> 32)

    h = np.arange(count, dtype=np.uint32) ^ np.uint32(mix(seed ^ mix(0)))
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))
