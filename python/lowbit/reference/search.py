"""Scales and zero points of least squared error: docs/numerics.md, "Calibration"."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .floats import fma
from .formats import FLOATS, TABLES, code_range, decode, element, encode, encode_power, numbers
from .parameters import finite_range, parameter_shape, parameters
from .params import choose_params
from .sums import add_segments, segments

f32 = np.float32
Floats = npt.NDArray[np.float32]

CANDIDATES = 64
GROUP = 128  # up to so many elements are searched in one round
SEGMENT = 256  # elements that are added in float32, one after the other
MAGIC = f32(12582912.0)  # 1.5 * 2^23: what is added to it gets rounded to an integer


class Candidates(NamedTuple):
    """(parameters, CANDIDATES) each."""

    scale: Floats  # in units of the search
    stored: Floats  # as stored
    low: Floats  # bounds of code - zero_point
    high: Floats


def search_params(
    x: npt.ArrayLike,
    format: str,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
    convention: str = "signed_max",
    importance: npt.ArrayLike | None = None,
    scale_dtype: npt.DTypeLike = np.float32,
    global_scale: float = 1.0,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return (scale, zero_point) that make the sum of importance * (x - x')^2 small.

    convention: "asymmetric"; "signed_max" lets scales be negative; any other: they are positive. importance: of the
    shape of x, or of its last axis. Shapes and errors: as choose_params.
    """
    x = np.asarray(x, f32)
    weights = None
    if importance is not None:
        given = np.asarray(importance, f32)
        most = given.max(initial=f32(0))
        weights = np.broadcast_to(given * _power(-_exponent(most)) if most > 0 else given, x.shape)
    where = (x.shape, axis, group_size, block_shape)
    low, high = np.zeros(parameter_shape(*where), f32), np.zeros(parameter_shape(*where), f32)
    for which, at in parameters(*where):
        low.ravel()[which], high.ravel()[which] = finite_range(x.ravel()[at])
    scale, zero = choose_params(format, convention, low, high, scale_dtype, global_scale)
    stored, zero = scale.astype(f32), None if zero is None else np.array(zero)  # 0-d: arrays, not numbers
    for which, at in parameters(*where):
        elements = x.ravel()[at]
        w = None if weights is None else weights.ravel()[at]
        found = _search(elements, w, low.ravel()[which], high.ravel()[which], stored.ravel()[which], format, convention,
                        np.dtype(scale_dtype), f32(global_scale))  # fmt: skip
        stored.ravel()[which] = found[0]
        if zero is not None and convention == "asymmetric":
            zero.ravel()[which] = found[1]
    return stored.astype(scale.dtype), zero


def _search(
    x: Floats,
    weights: Floats | None,
    low: Floats,
    high: Floats,
    start: Floats,
    format: str,
    convention: str,
    scale_dtype: np.dtype[Any],
    global_scale: np.float32,
) -> tuple[Floats, Floats]:
    """Of x (parameters, elements), with ranges and the stored scales that these give: (stored scale, zero point)."""
    most = np.maximum(np.abs(low), np.abs(high))
    exponent = _exponent(most)
    unit, per_unit = _power(exponent)[:, None], _power(-exponent)[:, None]
    asymmetric = convention == "asymmetric"
    qmin, qmax, largest = _code_bounds(format, asymmetric)
    with np.errstate(all="ignore"):
        elements = np.where(np.isfinite(x), x, f32(0)) * per_unit
        spare = start[:, None]
        ends = [np.minimum(low, f32(0))[:, None] * per_unit, np.maximum(high, f32(0))[:, None] * per_unit]
        if not asymmetric:
            ends = [np.zeros_like(per_unit), most[:, None] * per_unit / largest]

        def usable(wanted: Floats, other: Floats, other_stored: Floats) -> tuple[Floats, Floats]:
            stored = _round_scale(wanted * unit / global_scale, scale_dtype)
            real = stored * global_scale
            good = (np.abs(real) > 0) & (np.abs(real) < np.inf)
            return np.where(good, real * per_unit, other), np.where(good, stored, other_stored)

        for round_ in range(1 if x.shape[1] <= GROUP else 4 if asymmetric else 2):
            low_factor, high_factor = _factors(round_, x.shape[1], format, convention, scale_dtype)
            to: Floats = ends[1] * high_factor
            if asymmetric:
                from_: Floats = ends[0] * low_factor
                wanted: Floats = (to - from_) / (qmax - qmin)
                scale, stored = usable(wanted, spare * global_scale * per_unit, spare)
                zero = np.rint(np.clip(qmin - from_ / scale, qmin, qmax)) + f32(0)
                c = Candidates(scale, stored, qmin - zero, qmax - zero)
            else:
                scale, stored = usable(to, spare * global_scale * per_unit, spare)
                if round_ == 0:  # then no result is worse than the range's scale
                    scale[:, -1:], stored[:, -1:] = spare * global_scale * per_unit, spare
                c = Candidates(scale, stored, np.full_like(scale, qmin), np.full_like(scale, qmax))
            cross, square = _fit(elements, weights, c, format)
            c = Candidates(*usable(cross / square, c.scale, c.stored), c.low, c.high)
            best = _errors(elements, weights, c, format).argmin(axis=1)[:, None]
            chosen = Candidates(*(np.take_along_axis(part, best, axis=1) for part in c))
            ends = [chosen.low * chosen.scale, (chosen.high * chosen.scale) if asymmetric else chosen.scale]
    zero = qmin - chosen.low[:, 0]
    nothing = most == 0
    return np.where(nothing, start, chosen.stored[:, 0]), np.where(nothing, qmin, zero)


def _code_bounds(format: str, asymmetric: bool) -> tuple[np.float32, np.float32, np.float32]:
    """Bounds of the codes (symmetric: less the zero point), and the largest magnitude of what they stand for."""
    if element(format) in (*FLOATS, *TABLES):
        values = numbers(format)
        return f32(0), f32(0), f32(values[np.isfinite(values)].max())
    bits, signed, qmin, qmax = code_range(format)
    if not signed and not asymmetric:
        _, _, qmin, qmax = code_range(f"int{bits}")
    return f32(qmin), f32(qmax), f32(-qmin)


# ---- where candidates start ----------------------------------------------------------------------------------------


def _factors(
    round_: int, n: int, format: str, convention: str, scale_dtype: np.dtype[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Factors of both ends of a range, or of the largest magnitude (the second), for n elements: CANDIDATES each."""
    asymmetric = convention == "asymmetric"
    integers = element(format) not in (*FLOATS, *TABLES)
    powers = scale_dtype.name == "float8_e8m0fnu"
    qmin, qmax, _ = _code_bounds(format, asymmetric)
    steps = float(qmax - qmin) / 2 if asymmetric else float(-qmin)
    if powers:
        top, bottom = 2.0, 0.25
    elif not integers:
        top, bottom = 1.25, 0.5
    else:
        top = float(-qmin) / float(qmax) if qmax > 0 else 2.0
        bottom = max(0.3, 1 - (1 + n / (3 * steps)) / steps)

    if asymmetric:
        i = np.arange(8)
        if round_ > 0:
            f = 1 + (i - 3) * 4.0**-round_
        elif n > GROUP:
            f = 2.0**-i
        else:
            step = (1 - bottom) / 6
            f = 1 - i * step
            f[7] = 2.0 if powers else 1 + step
        return np.repeat(f, 8).astype(f32), np.tile(f, 8).astype(f32)

    none = np.zeros(CANDIDATES, f32)
    if round_ > 0:
        return none, (0.75 + np.arange(CANDIDATES) / 128).astype(f32)
    both = convention == "signed_max" and -qmin != qmax
    count = CANDIDATES // 2 if both else CANDIDATES
    i = np.arange(count)
    f = top - i * ((top - bottom) / (count - 1)) if n <= GROUP else top * _eighth_roots(2 * i if both else i)
    return none, (np.concatenate([f, -f]) if both else f).astype(f32)


def _eighth_roots(k: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """2^(-k / 8)."""
    roots = [
        1.0,
        0.91700404320467121,
        0.84089641525371461,
        0.77110541270397040,
        0.70710678118654757,
        0.64841977732550482,
        0.59460355750136051,
        0.54525386633262877,
    ]
    return np.asarray(np.ldexp(np.array(roots)[k % 8], -(k // 8)))


# ---- sums over elements --------------------------------------------------------------------------------------------


def _values(x: Floats, c: Candidates, format: str) -> Floats:
    """What the codes of x stand for, in units of the scale. x: (parameters, 1); c: (parameters, CANDIDATES)."""
    inverse = f32(1) / c.scale
    if element(format) in (*FLOATS, *TABLES):
        return decode(encode(x * inverse, format), format)
    return np.clip(fma(x, inverse, MAGIC), c.low + MAGIC, c.high + MAGIC) - MAGIC


def _fit(x: Floats, weights: Floats | None, c: Candidates, format: str) -> tuple[Floats, Floats]:
    """Sums of w x q and of w q^2 over the elements, in ascending order."""
    parts, w = segments(x, SEGMENT), None if weights is None else segments(weights, SEGMENT)
    cross = np.zeros((*parts.shape[:2], CANDIDATES), f32)
    square = np.zeros_like(cross)
    wide = Candidates(*(part[:, None, :] for part in c))
    for i in range(parts.shape[2]):
        at = parts[:, :, i, None]
        q = _values(at, wide, format)
        wq = q if w is None else w[:, :, i, None] * q
        cross, square = fma(at, wq, cross), fma(q, wq, square)
    return add_segments(cross).astype(f32), add_segments(square).astype(f32)


def _errors(x: Floats, weights: Floats | None, c: Candidates, format: str) -> Floats:
    """Sums of w (x - q scale)^2."""
    parts, w = segments(x, SEGMENT), None if weights is None else segments(weights, SEGMENT)
    error = np.zeros((*parts.shape[:2], CANDIDATES), f32)
    wide = Candidates(*(part[:, None, :] for part in c))
    for i in range(parts.shape[2]):
        at = parts[:, :, i, None]
        d = fma(_values(at, wide, format), -wide.scale, at)
        error = fma(d if w is None else w[:, :, i, None] * d, d, error)
    return add_segments(error).astype(f32)


# ---- scales --------------------------------------------------------------------------------------------------------


def _exponent(x: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """floor(log2 x), within [-126, 126]; 0 for 0."""
    _, exponent = np.frexp(np.asarray(x, f32))
    return np.where(np.asarray(x) > 0, np.clip(exponent - 1, -126, 126), 0).astype(np.int32)


def _power(exponent: npt.ArrayLike) -> Floats:
    return np.asarray(np.ldexp(f32(1), np.asarray(exponent)))


def _round_scale(x: Floats, dtype: np.dtype[Any]) -> Floats:
    """The nearest number of the type; infinite or NaN where x is too large, or not positive for float8_e8m0fnu."""
    if dtype.name == "float8_e8m0fnu":
        return decode(encode_power(x), dtype.name)
    if dtype.name in FLOATS:
        return decode(encode(x, dtype.name, saturate=False), dtype.name)
    return x
