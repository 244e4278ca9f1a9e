"""Histograms, entropy, means and half-quadratic quantization: docs/numerics.md, "Calibration"."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .floats import exp, fma
from .formats import FLOATS, code_range, decode, encode
from .parameters import finite_range, parameter_shape, parameters
from .sums import SEGMENT, add_segments, lane_sum, segments

f32 = np.float32
Floats = npt.NDArray[np.float32]


def log(x: npt.ArrayLike) -> Floats:
    """Return log x for float32 x >= 0 of any shape, float32; -inf at 0."""
    with np.errstate(all="ignore"):
        x = np.asarray(x, f32)
        tiny = x < f32(2.0**-126)
        y = np.where(tiny, x * f32(2.0**23), x)
        n = (y.view(np.int32) - np.int32(0x3F3504F3)) >> 23
        m = (y.view(np.int32) - (n << 23)).astype(np.int32).view(f32)
        whole = n.astype(f32) - np.where(tiny, f32(23), f32(0))
        s = (m - f32(1)) / (m + f32(1))
        z, twice = s * s, s + s
        p: Floats = np.full_like(z, 0.111111111)
        for c in (0.142857143, 0.2, 0.333333333):
            p = fma(p, z, f32(c))
        r = fma(twice * z, p, twice)
        r = fma(whole, f32(-2.12194440e-4), r)
        r = fma(whole, f32(0.693359375), r)
        r = np.where(x < f32(np.inf), r, x)
        return np.where(x < f32(2.0**-149), f32(-np.inf), r)


def absmean(
    x: npt.ArrayLike,
    *,
    axis: int | None = None,
    group_size: int | None = None,
    block_shape: tuple[int, int] | None = None,
) -> Floats:
    """Return the mean |x| of the finite elements of float32 x, 0 where there is none.

    Shape: that of a scale.
    """
    x = np.asarray(x, f32)
    where = (x.shape, axis, group_size, block_shape)
    mean = np.zeros(parameter_shape(*where), f32)
    for which, at in parameters(*where):
        elements = x.ravel()[at]
        finite = np.isfinite(elements)
        with np.errstate(over="ignore"):
            total = add_segments(lane_sum(segments(np.where(finite, np.abs(elements), f32(0)))))
        count = finite.sum(axis=1)
        mean.ravel()[which] = np.where(count > 0, total / np.maximum(count, 1), 0).astype(f32)
    return mean


def histogram(x: npt.ArrayLike, bins: int, inverse_width: float, *, absolute: bool) -> npt.NDArray[np.int64]:
    """Return the counts of the finite elements of float32 x in bins of width 1 / inverse_width.

    floor(|x| * inverse_width) where absolute, else floor(x * inverse_width) + bins / 2; what is outside of the bins
    counts in the nearest.
    """
    values = np.asarray(x, f32)
    values = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        t = np.clip((np.abs(values) if absolute else values) * f32(inverse_width), f32(-(2.0**21)), f32(2.0**21))
    index = np.floor(t).astype(np.int64) + (0 if absolute else bins // 2)
    return np.bincount(np.clip(index, 0, bins - 1), minlength=bins)


def entropy(counts: npt.ArrayLike, levels: int, first: int = 128) -> int:
    """Return how many bins of |x| to keep so that the Kullback-Leibler divergence is least.

    counts: one int64 for each bin. The kept bins, of which there are at least `first`, are quantized to `levels`
    levels, the rest is clipped into the last kept bin. Of several best ones the largest.
    """
    counts = np.asarray(counts, np.int64)
    bins, total = len(counts), int(counts.sum())
    best, least = bins, np.inf
    for kept in range(min(first, bins), bins + 1) if total else ():
        inside = int(counts[:kept].sum())
        if inside == 0:
            continue
        divergence = _divergence(counts, kept, levels, total, inside)
        if divergence <= least:
            best, least = kept, divergence
    return best


def _divergence(counts: npt.NDArray[np.int64], kept: int, levels: int, total: int, inside: int) -> float:
    observed = counts[:kept].copy()
    observed[-1] += total - inside
    edges = np.arange(levels + 1) * kept // levels
    before = np.concatenate([[0], np.cumsum(counts[:kept])])
    quantized = before[edges[1:]] - before[edges[:-1]]
    before = np.concatenate([[0], np.cumsum(observed)])
    count = before[edges[1:]] - before[edges[:-1]]
    before = np.concatenate([[0], np.cumsum(observed > 0)])
    filled = before[edges[1:]] - before[edges[:-1]]
    used = count > 0
    if (quantized[used] == 0).any():
        return np.inf
    own = cross = 0.0
    for value in observed.astype(np.float64) * _log(observed):
        own += value
    for value in count[used].astype(np.float64) * _log(quantized[used] / filled[used]):
        cross += value
    return (own - cross) / total - float(_log(total)) + float(_log(inside))


def _log(x: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """log x in written steps, so that it has the same bits everywhere; 0 for 0, which only 0 times is asked for."""
    x = np.asarray(x, np.float64)
    m, n = np.frexp(np.where(x > 0, x, 1.0))
    small = m < 0.70710678118654757
    m, n = np.where(small, m + m, m), np.where(small, n - 1, n)
    s = (m - 1) / (m + 1)
    z = s * s
    p = np.full_like(z, 1.0 / 21)
    for k in range(19, 0, -2):
        p = p * z + 1.0 / k
    return np.asarray(n * 0.69314718055994529 + (s + s) * p)


def hqq_params(
    x: npt.ArrayLike,
    format: str,
    *,
    group_size: int = -1,
    p: float = 0.7,
    beta: float = 10.0,
    kappa: float = 1.01,
    rounds: int = 20,
    scale_dtype: npt.DTypeLike = np.float32,
) -> tuple[npt.NDArray[Any], Floats]:
    """Return (scale, float32 zero_point) of half-quadratic quantization, for groups along the last axis of x.

    code = clip(round_half_even(x / scale + zero_point), qmin, qmax); x' = (code - zero_point) * scale.
    """
    x = np.asarray(x, f32)
    _, _, qmin, qmax = code_range(format)
    where = (x.shape, None, group_size, None)
    low, high = np.zeros(parameter_shape(*where), f32), np.zeros(parameter_shape(*where), f32)
    for which, at in parameters(*where):
        low.ravel()[which], high.ravel()[which] = finite_range(x.ravel()[at])
    steps = f32(qmax - qmin)
    with np.errstate(all="ignore"):
        span = high - low
        exact = np.where(np.isinf(span), high / steps - low / steps, span / steps)
        scale = _stored(exact, np.dtype(scale_dtype))
        if not np.isfinite(scale).all():
            raise ValueError(f"scale: {exact.max()} does not fit scale_dtype {np.dtype(scale_dtype)}")
        zero = f32(qmin) - low / scale
        for which, at in parameters(*where):
            zero.ravel()[which] = [
                _hqq_zero(x.ravel()[i], s, z, f32(qmin), f32(qmax), f32(p) - f32(1), f32(beta), f32(kappa), rounds)
                for i, s, z in zip(at, scale.ravel()[which], zero.ravel()[which], strict=True)
            ]
    return scale.astype(np.dtype(scale_dtype)), zero


def _hqq_zero(
    x: Floats,
    scale: np.float32,
    zero: np.float32,
    qmin: np.float32,
    qmax: np.float32,
    power: np.float32,
    beta: np.float32,
    kappa: np.float32,
    rounds: int,
) -> np.float32:
    best, least = zero, f32(np.inf)
    finite = np.isfinite(x)
    a = np.where(finite, x, f32(0))
    for _ in range(rounds):
        q = np.rint(np.clip(a / scale + zero, qmin, qmax))
        d = a - (q - zero) * scale
        shrunk = np.maximum(np.abs(d) - exp(power * log(np.abs(d))) / beta, f32(0))
        e = np.where(d < 0, -shrunk, shrunk)
        count = f32(finite.sum())
        error = _long_sum(np.where(finite, np.abs(d), f32(0))) / count
        if not error < least:
            break
        best, least = zero, error
        zero = _long_sum(np.where(finite, q - (a - e) / scale, f32(0))) / count
        beta = beta * kappa
    return best


def _long_sum(x: Floats) -> np.float32:
    """Sums of 1024 elements, added in order, all in float32."""
    total = f32(0)
    for first in range(0, len(x), 4 * SEGMENT):
        total = f32(total + lane_sum(x[first : first + 4 * SEGMENT]))
    return total


def _stored(scale: Floats, dtype: np.dtype[Any]) -> Floats:
    """Rounded to the type; 1 where that is 0."""
    scale = np.where(scale == 0, f32(1), scale)
    if dtype.name in FLOATS:
        scale = decode(encode(scale, dtype.name, saturate=False), dtype.name)
    return np.where(scale == 0, f32(1), scale)
