"""How quantize finds scales and zero points where the range of the data is not all there is to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import Array, contiguous, floats, names, to_float32
from ._formats import TYPES, Format, raw
from ._layout import Layout
from ._runtime import context

f32 = np.float32
CALIBRATIONS = ("minmax", "percentile", "mse", "entropy", "absmean", "hqq")
CONVENTIONS = {
    "absmax": _core.ABSMAX,
    "full": _core.FULL,
    "signed_max": _core.SIGNED_MAX,
    "no_clip": _core.NO_CLIP,
}
BINS = 2048  # of |x|
FIRST_KEPT = 128  # the fewest bins that entropy keeps
HQQ = 0.7, 10.0, 1.01, 20  # p, beta, kappa, rounds: those of its authors


class Parameters(NamedTuple):
    """What scales and zero points are to be, and where they go."""

    format: Format
    layout: Layout
    rule: int  # of the C ABI: a convention
    global_scale: np.float32 | None
    scale: Array  # out
    zero_point: Array | None  # out: one for each scale, unpacked; None: 0

    @property
    def common(self) -> tuple[int, float, Array]:
        """scale_type, global_scale and scale as the compiled module takes them."""
        return TYPES[self.scale.dtype], 0.0 if self.global_scale is None else float(self.global_scale), raw(self.scale)

    def choose(self, low: Array, high: Array) -> None:
        """From ranges, of the shape of scale."""
        _core.choose_params(
            context(), self.format.id, self.rule, np.asarray(low), np.asarray(high), *self.common, self.zero_point
        )


def find_range(x: Array, layout: Layout) -> tuple[Array, Array]:
    """(minimum, maximum) of the finite elements of contiguous float32 x for each parameter; 0 and 0 where none is."""
    low, high = np.zeros(layout.scale_shape, f32), np.zeros(layout.scale_shape, f32)
    if x.size:
        _core.find_range(context(), layout.runs, x, low, high)
    return low, high


# ---- methods: each fills Parameters from contiguous float32 x -------------------------------------------------------

Fill = Callable[[Array, Parameters], None]


def make_fill(
    calibrate: Any, fmt: Format, layout: Layout, symmetric: bool, importance: Any, percentile: float
) -> Fill | None:
    """The method, which is no observer, its arguments checked; None for "minmax"."""
    if not isinstance(calibrate, str):
        raise TypeError(f"calibrate: {type(calibrate).__name__}, expected a string or an Observer")
    if calibrate not in CALIBRATIONS:
        raise ValueError(f"calibrate: {calibrate!r}, expected {names(map(repr, CALIBRATIONS))}")
    if calibrate in ("entropy", "hqq") and fmt.kind != "integer":
        raise ValueError(f"calibrate: {calibrate!r} for {fmt.name}, expected a format of integers")
    if calibrate == "absmean" and not symmetric:
        raise ValueError("calibrate: 'absmean' with symmetric=False, expected symmetric=True: it finds no zero points")
    if calibrate == "hqq" and symmetric:
        raise ValueError("calibrate: 'hqq' with symmetric=True, expected symmetric=False: it finds zero points")
    if calibrate == "percentile":
        return _percentile(check_percentile(percentile), symmetric)
    if calibrate == "mse":
        return search_fill(None if importance is None else check_importance(importance, layout.shape))
    return {"minmax": None, "entropy": _entropy, "absmean": _absmean, "hqq": _hqq}[calibrate]


def check_percentile(percentile: Any) -> float:
    """As a share of 1."""
    if isinstance(percentile, bool) or not isinstance(percentile, (int, float, np.floating)):
        raise TypeError(f"percentile: {type(percentile).__name__}, expected a number above 50, at most 100")
    if not 50 < percentile <= 100:
        raise ValueError(f"percentile: {percentile}, expected a number above 50, at most 100")
    return float(percentile) / 100


def check_importance(importance: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """float32, contiguous."""
    array = floats("importance", importance)
    if array.shape not in (shape, shape[-1:]):
        raise ValueError(f"importance: shape {array.shape}, expected {shape} or {shape[-1:]}")
    array = contiguous(to_float32(array))
    bad = ~((array >= 0) & (array < np.inf))
    if bad.any():
        raise ValueError(f"importance: {array[bad][0]} among the values, expected finite ones, at least 0")
    return array


def search_fill(importance: Array | None) -> Fill:
    def fill(x: Array, to: Parameters) -> None:
        if not x.size:
            return to.choose(*find_range(x, to.layout))
        _core.search_params(context(), to.format.id, to.layout.runs, x, importance, to.rule, *to.common, to.zero_point)

    return fill


def _absmean(x: Array, to: Parameters) -> None:
    mean = np.zeros(to.layout.scale_shape, f32)
    if x.size:
        _core.absmean(context(), to.layout.runs, x, mean)
    if to.global_scale is not None:
        mean /= to.global_scale
    store_scale(mean, to.scale)
    if to.zero_point is not None:
        to.zero_point[...] = 1 << (to.format.bits - 1)


def store_scale(scale: Array, out: Array) -> None:
    """Round float32 scales to the type of out; 0 becomes 1."""
    with np.errstate(all="ignore"):
        out[...] = np.where(scale == 0, f32(1), scale)
        out[...] = np.where(out == 0, f32(1), out.astype(f32))
    if not np.isfinite(out).all():
        raise ValueError(f"scale: {scale.max()} does not fit scale_dtype {out.dtype}, expected data of smaller range")


def _hqq(x: Array, to: Parameters) -> None:
    layout = to.layout
    if layout.block_shape is not None or (layout.axis is not None and math.prod(layout.shape[: layout.axis]) != 1):
        raise ValueError(
            "calibrate: 'hqq' with scales along an inner axis or for blocks, expected group_size or axis=0"
        )
    assert to.zero_point is not None
    if not x.size:
        to.scale[...], to.zero_point[...] = 1, 0
        return
    zero = np.empty(layout.scale_shape, f32)
    scale_type, _, scale = to.common
    _core.hqq_params(context(), to.format.id, layout.runs, x, HQQ, scale_type, scale, zero)
    with np.errstate(over="ignore"):
        to.zero_point[...] = zero
    if not np.isfinite(to.zero_point).all():
        raise ValueError(
            f"zero_point: {np.abs(zero).max()} does not fit {to.zero_point.dtype}, expected float32 scales"
        )


def clipped(ends: tuple[Array, Array], limit: Array) -> tuple[Array, Array]:
    """(low, high) within [-limit, limit]."""
    return np.clip(ends[0], -limit, limit), np.clip(ends[1], -limit, limit)


# ---- percentiles ----------------------------------------------------------------------------------------------------


def _percentile(share: float, symmetric: bool) -> Fill:
    def fill(x: Array, to: Parameters) -> None:
        low, high = find_range(x, to.layout)
        for which, rows in _rows(x, to.layout):
            if symmetric:
                (limit,) = quantiles(np.abs(rows), (share,))
                ends = clipped((low.reshape(-1)[which], high.reshape(-1)[which]), limit)
            else:
                least, most = quantiles(rows, (1 - share, share))
                ends = least, most
            low.reshape(-1)[which], high.reshape(-1)[which] = ends
        to.choose(low, high)

    return fill


def _rows(x: Array, layout: Layout) -> Iterator[tuple[Any, Array]]:
    """(which, rows): flat indices of scales, and a row with the elements of each of them."""
    if not x.size:
        return
    which = np.arange(math.prod(layout.scale_shape)).reshape(layout.scale_shape)
    if layout.axis is not None:
        yield which, np.moveaxis(x, layout.axis, 0).reshape(len(which), -1)
    elif layout.block_shape is not None:
        rows, columns = layout.block_shape
        for i, j in np.ndindex(*which.shape):
            yield which[i, j : j + 1], x[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns].reshape(1, -1)
    elif layout.group_size is not None:
        group = min(layout.group_size, layout.row_length)
        whole = layout.row_length // group
        yield which[..., :whole].ravel(), x[..., : whole * group].reshape(-1, group)
        if whole < layout.groups:
            yield which[..., whole:].ravel(), x[..., whole * group :].reshape(-1, layout.row_length - whole * group)
    else:
        yield which.reshape(1), x.reshape(1, -1)


def quantiles(rows: Array, shares: tuple[float, ...]) -> tuple[Array, ...]:
    """The quantile of the finite elements of each row for each share, float32; 0 where there is none.

    numpy's default: between the order statistics around (n - 1) * share, linearly, in float64.
    """
    count = np.isfinite(rows).sum(axis=1)
    length = rows.shape[1]
    position = [(np.maximum(count, 1) - 1) * share for share in shares]
    below = [np.floor(p).astype(np.int64) for p in position]
    if (count == length).all():
        places = {int(k) for b in below for k in (b[0], min(b[0] + 1, length - 1))}
        ordered = np.partition(rows, sorted(places), axis=1)
    else:
        ordered = np.sort(np.where(np.isfinite(rows), rows, f32(np.inf)), axis=1)
        ordered[count == 0] = 0
    result = []
    for p, b in zip(position, below, strict=True):
        at = np.stack([b, np.minimum(b + 1, np.maximum(count, 1) - 1)], axis=1)
        pair = np.take_along_axis(ordered, at, axis=1).astype(np.float64)
        result.append((pair[:, 0] + (pair[:, 1] - pair[:, 0]) * (p - b)).astype(f32))
    return tuple(result)


# ---- entropy --------------------------------------------------------------------------------------------------------


def entropy_levels(fmt: Format) -> int:
    """Magnitudes that codes distinguish: 128 for 8 bits."""
    return fmt.qmax + 1 if fmt.signed else 1 << (fmt.bits - 1)


def _entropy(x: Array, to: Parameters) -> None:
    low, high = find_range(x, to.layout)
    if x.size:
        most = np.maximum(-low, high)
        limit = np.empty_like(most)
        for which, part, layout in _blocks(x, to.layout):
            limit.reshape(-1)[which] = _entropy_limits(part, layout, most.reshape(-1)[which], to.format)
        low, high = clipped((low, high), limit)
    to.choose(low, high)


def _entropy_limits(x: Array, layout: Layout, most: Array, fmt: Format) -> Array:
    counts, kept = np.zeros((len(most), BINS), np.int64), np.empty(len(most), np.int64)
    with np.errstate(all="ignore"):
        inverse = np.where(most > 0, np.minimum(f32(BINS) / most, np.finfo(f32).max), f32(1))
    _core.histogram(context(), layout.runs, x, BINS, True, inverse, counts)
    _core.entropy(context(), counts, BINS, entropy_levels(fmt), FIRST_KEPT, kept)
    return np.asarray(most.astype(np.float64) * kept / BINS).astype(f32)


def _blocks(x: Array, layout: Layout) -> Iterator[tuple[slice, Array, Layout]]:
    """Parts of x with few enough scales for a histogram each (16 KB): their flat indices, the part, its layout."""
    most = 1024
    count = math.prod(layout.scale_shape)
    if count <= most or not layout.one_run_per_scale:
        yield slice(0, count), x, layout
        return
    rows, group = x.reshape(-1, layout.row_length), layout.group_size or layout.row_length
    groups = count // len(rows)
    step = max(1, most // groups)
    for i in range(0, len(rows), step):
        for j in range(0, groups, most):
            part = rows[i : i + step, j * group : (j + most) * group]
            first = i * groups + j
            here = Layout(part.shape, None, group)
            yield slice(first, first + len(part) * here.groups), part, here
