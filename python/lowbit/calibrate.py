"""Observers: what scales and zero points need to know about data that comes in parts, in memory that does not grow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from ._calibration import (
    BINS,
    CONVENTIONS,
    FIRST_KEPT,
    Fill,
    Parameters,
    check_percentile,
    clipped,
    entropy_levels,
    find_range,
    search_fill,
)
from ._checks import Array, choice, contiguous, floats, integer, names, to_float32
from ._formats import SCALE_TYPES, Format, find_format
from ._layout import Layout, make_layout
from ._runtime import context

f32 = np.float32
TINY = np.finfo(f32).smallest_subnormal
LEAST_EXPONENT = -126  # of a bin's width, so that its inverse is a float32


class Observer(ABC):
    """Sees data part by part and gives the scale and zero point for all of it.

    ``lowbit.quantize(x, format, axis=axis, calibrate=observer)`` uses them. Observers pickle; those of parts of the
    data, in other processes, can be merged.

    Args:
        format: name or dtype of a format; not a block format.
        axis: None for one scale, else one for each index of this axis of the arrays to come.
        symmetric: no zero point (2^(bits-1) for unsigned formats), as in ``lowbit.quantize``.
        convention: how a symmetric scale follows from the range, as in ``lowbit.quantize``.
        scale_dtype: of the scales: float32 (None), float16, bfloat16, float8_e8m0fnu or float8_e4m3fn.

    Raises:
        TypeError: an argument has a wrong type.
        ValueError: an unknown name, or arguments that exclude each other.
    """

    def __init__(
        self,
        format: npt.DTypeLike,
        *,
        axis: int | None = None,
        symmetric: bool = True,
        convention: str | None = None,
        scale_dtype: npt.DTypeLike | None = None,
    ) -> None:
        self._format = find_format(format)
        if self._format.group_size is not None:
            raise ValueError(f"format: {self._format.name}, expected one without blocks")
        if self._format.kind != "integer" and not symmetric:
            raise ValueError(f"symmetric: False for {self._format.name}, expected True: only integers have zero points")
        if convention is not None and not symmetric:
            raise ValueError(f"convention: {convention!r} with symmetric=False, expected None")
        if convention is not None:
            choice("convention", convention, CONVENTIONS)
        self.format = self._format.name
        self.axis = None if axis is None else integer("axis", axis, -(2**31), 2**31)
        self.symmetric = bool(symmetric)
        self.convention = convention
        self.scale_dtype = np.dtype(SCALE_TYPES[0] if scale_dtype is None else scale_dtype)
        if self.scale_dtype not in SCALE_TYPES:
            raise ValueError(f"scale_dtype: {self.scale_dtype}, expected {names(SCALE_TYPES)}")
        self._shape: tuple[int, ...] | None = None  # of the scale; None before the first update

    # ---- what users call

    def update(self, x: npt.ArrayLike) -> None:
        """Take x into account: float32, float16 or bfloat16, of any shape that has the axis.

        Raises:
            TypeError: x is not one of these float types.
            ValueError: the axis is not there, or has another length than before.
        """
        array, layout = self._checked(x)
        self._update(array, layout)
        self._shape = layout.scale_shape

    def merge(self, other: Observer) -> None:
        """Take into account what other has seen; other stays as it is.

        Raises:
            TypeError: other is not an observer of the same class.
            ValueError: its settings, or the length of its axis, are different.
        """
        if type(other) is not type(self):
            raise TypeError(f"other: {type(other).__name__}, expected a {type(self).__name__}")
        if self._settings() != other._settings():
            raise ValueError(f"other: {other!r}, expected the settings of {self!r}")
        if other._shape is None:
            return
        if self._shape is not None and self._shape != other._shape:
            raise ValueError(f"other: {other._shape[0]} scales along the axis, expected {self._shape[0]}")
        self._merge(other)
        self._shape = other._shape

    def range(self) -> tuple[Array, Array]:
        """(low, high) that codes are to cover, float32, of the shape of the scale; 0 and 0 where no element is finite.

        Raises:
            ValueError: there was no update.
        """
        self._expect_data()
        return self._range()

    def params(self) -> tuple[Array, Array | None]:
        """(scale, zero_point) for ``lowbit.quantize(x, format, axis=axis, scale=scale, zero_point=zero_point)``.

        scale: of scale_dtype, () or (shape[axis],). zero_point: int8 or uint8 of the same shape, None where it is 0.

        Raises:
            ValueError: there was no update, or a scale does not fit scale_dtype.
        """
        self._expect_data()
        assert self._shape is not None
        has_zero = self._format.kind == "integer" and not (self.symmetric and self._format.signed)
        rule = CONVENTIONS[self._convention()] if self.symmetric else _core.ASYMMETRIC
        scale = np.empty(self._shape, self.scale_dtype)
        zero_point = np.empty(self._shape, self._format.dtype) if has_zero else None
        layout = Layout((*self._shape, 1), 0 if self._shape else None, None)
        self._fill(Parameters(self._format, layout, rule, None, scale, zero_point))
        return scale, zero_point

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if name != "format")
        return f"{type(self).__name__}({self.format!r}, {given})"

    # ---- what lowbit.quantize calls

    def fill_for(self, format: Format, layout: Layout) -> Fill:
        """params(), if they are those of an array of this layout, as a method of lowbit.quantize."""
        if format != self._format:
            raise ValueError(f"calibrate: an observer for {self.format}, expected one for {format.name}")
        axis = None if self.axis is None else self.axis % max(len(layout.shape), 1)
        if layout.group_size is not None or layout.block_shape is not None or axis != layout.axis:
            raise ValueError(f"calibrate: {self!r} for {layout}, expected the same axis and no groups")
        params = self.params()
        if params[0].shape != layout.scale_shape:
            raise ValueError(f"calibrate: {params[0].size} scales along the axis, expected {layout.scale_shape[0]}")

        def fill(_: Array, to: Parameters) -> None:
            to.scale[...] = params[0]
            if to.zero_point is not None:
                to.zero_point[...] = params[1]

        return fill

    def settings_for(
        self, symmetric: bool, convention: str | None, scale_dtype: npt.DTypeLike | None
    ) -> tuple[bool, str | None, np.dtype[Any]]:
        """Its own, if none of the given ones says otherwise."""
        if not symmetric and self.symmetric:
            raise ValueError("symmetric: False with a symmetric observer, expected symmetric=True")
        if convention not in (None, self.convention):
            raise ValueError(f"convention: {convention!r} with an observer's {self.convention!r}, expected None")
        if scale_dtype is not None and np.dtype(scale_dtype) != self.scale_dtype:
            raise ValueError(
                f"scale_dtype: {np.dtype(scale_dtype)} with an observer's {self.scale_dtype}, expected None"
            )
        return self.symmetric, self._convention() if self.symmetric else None, self.scale_dtype

    # ---- what kinds of observers differ in

    @abstractmethod
    def _update(self, x: Array, layout: Layout) -> None:
        """X: float32, contiguous, perhaps empty."""

    @abstractmethod
    def _merge(self, other: Any) -> None:
        """Other has seen data."""

    @abstractmethod
    def _range(self) -> tuple[Array, Array]: ...

    def _fill(self, to: Parameters) -> None:
        to.choose(*self._range())

    def _settings(self) -> dict[str, Any]:
        names = ("format", "axis", "symmetric", "convention", "scale_dtype")
        return {name: getattr(self, name) for name in names}

    def _convention(self) -> str:
        if self.convention is not None:
            return self.convention
        if self._format.kind != "integer" or self._format.bits == 8 or self._format.name == "ternary":
            return "absmax"
        return "signed_max" if self._format.bits == 1 else "full"

    # ---- checks

    def _checked(self, x: npt.ArrayLike) -> tuple[Array, Layout]:
        array = floats("x", x)
        layout = make_layout(array.shape, self.axis, None)
        if self._shape is not None and layout.scale_shape != self._shape:
            raise ValueError(f"x: {layout.scale_shape[0]} along axis {self.axis}, expected {self._shape[0]} as before")
        return contiguous(to_float32(array)), layout

    def _expect_data(self) -> None:
        if self._shape is None:
            raise ValueError(f"{type(self).__name__}: no data yet, expected an update first")


class MinMaxObserver(Observer):
    """An Observer of the smallest and largest finite element; its arguments are Observer's."""

    _low: Array
    _high: Array

    def _update(self, x: Array, layout: Layout) -> None:
        self._widen(*_finite_ends(x, layout))

    def _merge(self, other: MinMaxObserver) -> None:
        self._widen(other._low, other._high)

    def _widen(self, low: Array, high: Array) -> None:
        new = self._shape is None
        self._low = low if new else np.minimum(self._low, low)
        self._high = high if new else np.maximum(self._high, high)

    def _range(self) -> tuple[Array, Array]:
        return _ends_or_zero(self._low, self._high)


class MovingAverageObserver(Observer):
    """An Observer of the exponential moving average of each update's smallest and largest finite element.

    The first update counts whole, each further one ``average = momentum * average + (1 - momentum) * new``, in float32.
    Updates without a finite element are passed over. merge gives the mean of both averages, weighted by the number of
    updates: there is no telling what one average over both streams would have been.

    Args:
        format: as all arguments but momentum: those of Observer.
        momentum: what remains of the average at each update: at least 0, below 1.
        axis: see format.
        symmetric: see format.
        convention: see format.
        scale_dtype: see format.
    """

    _low: Array
    _high: Array
    _updates: Array  # with a finite element

    def __init__(
        self,
        format: npt.DTypeLike,
        *,
        momentum: float = 0.9,
        axis: int | None = None,
        symmetric: bool = True,
        convention: str | None = None,
        scale_dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__(format, axis=axis, symmetric=symmetric, convention=convention, scale_dtype=scale_dtype)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float, np.floating)):
            raise TypeError(f"momentum: {type(momentum).__name__}, expected a number, at least 0 and below 1")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: {momentum}, expected a number, at least 0 and below 1")
        self.momentum = float(momentum)

    def _update(self, x: Array, layout: Layout) -> None:
        low, high = _finite_ends(x, layout)
        if self._shape is None:
            self._low, self._high, self._updates = low, high, np.zeros(low.shape, np.int64)
        some, first = low <= high, self._updates == 0
        kept, added = f32(self.momentum), f32(1) - f32(self.momentum)
        with np.errstate(invalid="ignore"):
            for name, new in (("_low", low), ("_high", high)):
                old = getattr(self, name)
                setattr(self, name, np.where(some, np.where(first, new, kept * old + added * new), old))
        self._updates = self._updates + some

    def _merge(self, other: MovingAverageObserver) -> None:
        if self._shape is None:
            self._low, self._high, self._updates = other._low, other._high, other._updates
            return
        total = self._updates + other._updates
        with np.errstate(invalid="ignore"):
            for name in ("_low", "_high"):
                own, others = (np.where(o._updates > 0, getattr(o, name), 0).astype(np.float64) for o in (self, other))
                mean = (own * self._updates + others * other._updates) / np.maximum(total, 1)
                setattr(self, name, np.where(total > 0, mean, getattr(self, name)).astype(f32))
        self._updates = total

    def _range(self) -> tuple[Array, Array]:
        return _ends_or_zero(self._low, self._high)

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "momentum": self.momentum}


class HistogramObserver(Observer):
    """An Observer of how values are distributed, in 2 * bins counts for each scale.

    Bins are as wide as the power of two that lets ``bins`` of them hold the largest |x| so far; when it grows,
    neighbours are added up. So the counts do not depend on the order of updates and merges, only on the data. The
    smallest and the largest finite element are known exactly.

    Args:
        format: as all arguments that are not named here: those of Observer.
        method: how the range follows from the counts. "percentile": without the outermost values, to within a bin.
            "mse": least squared error, each value taken as the middle of its bin. "entropy": the least change of the
            distribution (integers).
        percentile: above 50, at most 100: of |x| if symmetric, else both ends lose 100 - percentile.
        bins: of |x|: a power of two from 128 to 2048. A bin is at most 2 / bins of the largest |x|.
        axis: see format.
        symmetric: see format.
        convention: see format; None with method="mse" below 8 bits: scales may be negative.
        scale_dtype: see format.
    """

    def __init__(
        self,
        format: npt.DTypeLike,
        *,
        method: str = "percentile",
        percentile: float = 99.99,
        bins: int = BINS,
        axis: int | None = None,
        symmetric: bool = True,
        convention: str | None = None,
        scale_dtype: npt.DTypeLike | None = None,
    ) -> None:
        super().__init__(format, axis=axis, symmetric=symmetric, convention=convention, scale_dtype=scale_dtype)
        self.method = choice("method", method, {name: name for name in ("percentile", "mse", "entropy")})
        if method == "entropy" and self._format.kind != "integer":
            raise ValueError(f"method: 'entropy' for {self.format}, expected a format of integers")
        check_percentile(percentile)
        self.percentile = float(percentile)
        self.histogram = Histogram(bins)

    def _update(self, x: Array, layout: Layout) -> None:
        self.histogram.update(x, layout)

    def _merge(self, other: HistogramObserver) -> None:
        self.histogram.merge(other.histogram)

    def _range(self) -> tuple[Array, Array]:
        h = self.histogram
        if self.method == "mse":
            return self._covered(*self.params())
        share, shape = self.percentile / 100, self._shape or ()
        if self.method == "entropy":
            limit = h.entropy_limits(entropy_levels(self._format))
            low, high = clipped(_ends_or_zero(h.low, h.high), limit)
        elif self.symmetric:
            low, high = clipped(_ends_or_zero(h.low, h.high), h.quantile(share, absolute=True))
        else:
            low, high = h.quantile(1 - share), h.quantile(share)
        return low.reshape(shape), high.reshape(shape)

    def _fill(self, to: Parameters) -> None:
        if self.method != "mse":
            return super()._fill(to)
        middles, counts = self.histogram.middles(), self.histogram.counts
        layout = Layout(middles.shape, 0, None) if to.scale.ndim else Layout(middles.shape, None, None)
        search_fill(counts.astype(f32))(middles, to._replace(layout=layout))
        return None

    def _covered(self, scale: Array, zero_point: Array | None) -> tuple[Array, Array]:
        """The numbers that the first and the last code stand for."""
        size = scale.astype(f32)
        if self._format.kind != "integer":
            return -size * f32(self._format.max_value), size * f32(self._format.max_value)
        zero = f32(0) if zero_point is None else zero_point.astype(f32)
        ends = (f32(self._format.qmin) - zero) * size, (f32(self._format.qmax) - zero) * size
        return np.minimum(*ends), np.maximum(*ends)

    def _convention(self) -> str:
        if self.convention is None and self.method == "mse":
            negative = self.scale_dtype.name != "float8_e8m0fnu" and self.format != "ternary"
            if self._format.kind == "integer" and self._format.bits < 8 and negative:
                return "signed_max"
        return super()._convention()

    def _settings(self) -> dict[str, Any]:
        own = {"method": self.method, "percentile": self.percentile, "bins": self.histogram.bins}
        return {**super()._settings(), **own}


class Histogram:
    """Counts of values in bins around 0, a row for each scale: what HistogramObserver and OutlierObserver keep.

    Attributes:
        bins: on either side of 0, a power of two.
        counts: int64, (scales, 2 * bins): bin i holds floor(x / 2^exponent) = i - bins.
        exponents: int32, (scales,).
        low: float32, (scales,), the smallest finite element, infinity where there is none.
        high: the largest, likewise.
    """

    def __init__(self, bins: int) -> None:
        self.bins = integer("bins", bins, FIRST_KEPT, BINS)
        if self.bins & (self.bins - 1):
            raise ValueError(f"bins: {bins}, expected a power of two from {FIRST_KEPT} to {BINS}")
        self.counts: Array = np.zeros((0, 2 * self.bins), np.int64)
        self.exponents: Array = np.zeros(0, np.int32)
        self.low: Array = np.zeros(0, f32)
        self.high: Array = np.zeros(0, f32)

    def update(self, x: Array, layout: Layout) -> None:
        """X: float32, contiguous; its layout always has the same number of scales."""
        low, high = (ends.reshape(-1) for ends in _finite_ends(x, layout))
        most = np.where(low <= high, np.maximum(-low, high), f32(0))
        _, exponents = np.frexp(np.maximum(most, TINY))
        needed = np.maximum(exponents - self.bins.bit_length() + 1, LEAST_EXPONENT).astype(np.int32)
        self._make_room(needed, low, high)
        if x.size:
            inverse = np.ldexp(f32(1), -self.exponents)
            _core.histogram(context(), layout.runs, x, 2 * self.bins, False, inverse, self.counts)

    def merge(self, other: Histogram) -> None:
        """Other: of as many bins and scales, unless this one is empty."""
        self._make_room(other.exponents, other.low, other.high)
        self.counts += _folded(other.counts, self.exponents - other.exponents)

    def _make_room(self, exponents: Array, low: Array, high: Array) -> None:
        """Bins at least this wide, and the range with them."""
        if len(self.exponents) != len(exponents):
            self.counts = np.zeros((len(exponents), 2 * self.bins), np.int64)
            self.exponents, self.low, self.high = exponents.copy(), low, high
            return
        wider = np.maximum(self.exponents, exponents)
        self.counts = _folded(self.counts, wider - self.exponents)
        self.exponents, self.low, self.high = wider, np.minimum(self.low, low), np.maximum(self.high, high)

    def absolute(self) -> Array:
        """Counts of |x|, (scales, bins)."""
        return self.counts[:, self.bins :] + self.counts[:, self.bins - 1 :: -1]

    def middles(self) -> Array:
        """float32, as counts: the middle of each bin that is not empty, else 0; within the smallest and largest."""
        middle = np.ldexp((np.arange(2 * self.bins) - self.bins + 0.5)[None, :], self.exponents[:, None])
        inside = np.clip(middle, self.low[:, None], self.high[:, None])
        return np.where(self.counts > 0, inside, 0).astype(f32)

    def quantile(self, share: float, *, absolute: bool = False) -> Array:
        """float32, (scales,): as numpy's, each of the two order statistics being the middle of its bin.

        The first and the last are exact. 0 where nothing was counted.
        """
        counts = self.absolute() if absolute else self.counts
        first = 0 if absolute else -self.bins
        low, high = _ends_or_zero(self.low, self.high)
        ends = (np.zeros_like(high), np.maximum(-low, high)) if absolute else (low, high)
        total = counts.sum(axis=1)
        position = np.maximum(total - 1, 0) * share
        below = np.floor(position).astype(np.int64)
        cumulated = np.cumsum(counts, axis=1)
        pair = []
        for rank in (below, np.minimum(below + 1, np.maximum(total - 1, 0))):
            index = (cumulated <= rank[:, None]).sum(axis=1)
            middle = np.clip(np.ldexp(index + first + 0.5, self.exponents), *ends)
            if not absolute:
                middle = np.where(rank == 0, ends[0], middle)
            pair.append(np.where(rank == total - 1, ends[1], middle))
        return np.where(total > 0, pair[0] + (pair[1] - pair[0]) * (position - below), 0).astype(f32)

    def entropy_limits(self, levels: int) -> Array:
        """float32, (scales,): where to clip |x|."""
        limit = np.zeros(len(self.counts))
        for i, counts in enumerate(self.absolute()):
            used = np.flatnonzero(counts)
            if len(used):
                kept = np.empty(1, np.int64)
                part = np.ascontiguousarray(counts[: used[-1] + 1])
                _core.entropy(context(), part, len(part), levels, FIRST_KEPT, kept)
                limit[i] = math.ldexp(float(kept[0]), int(self.exponents[i]))
        return limit.astype(f32)


def _folded(counts: Array, shift: Array) -> Array:
    """Counts in bins 2^shift times as wide."""
    bins = counts.shape[1] // 2
    result = counts.copy()
    for amount in np.unique(shift[shift > 0]):
        rows = shift == amount
        width = min(1 << min(int(amount), 30), bins)
        folded = counts[rows].reshape(rows.sum(), -1, width).sum(axis=2)
        half = folded.shape[1] // 2
        result[rows] = 0
        result[rows, bins - half : bins + half] = folded
    return result


def _finite_ends(x: Array, layout: Layout) -> tuple[Array, Array]:
    """The range of each scale's finite elements; infinity and -infinity where there is none, so that ranges merge."""
    low, high = find_range(x, layout)
    doubtful = (low == 0) & (high == 0)
    if doubtful.any():
        others = tuple(i for i in range(x.ndim) if i != layout.axis)
        none = doubtful & ~np.isfinite(x).any(axis=others)
        low, high = np.where(none, f32(np.inf), low), np.where(none, f32(-np.inf), high)
    return low, high


def _ends_or_zero(low: Array, high: Array) -> tuple[Array, Array]:
    """What no finite element has left is 0."""
    none = low > high
    return np.where(none, f32(0), low), np.where(none, f32(0), high)


# ---- outliers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutlierStatistics:
    """How far values lie out. Numbers, or arrays with one for each index of the axis.

    Attributes:
        count: finite elements.
        mean: of them.
        std: their standard deviation.
        absmax: the largest |x|.
        max_over_rms: absmax / the root of the mean square; 0 where all are 0.
        kurtosis: fourth central moment / std^4: 3 for a normal distribution; 0 where std is 0.
        outliers: elements further than sigma * std from the mean.
        share: outliers / count.
    """

    count: Any
    mean: Any
    std: Any
    absmax: Any
    max_over_rms: Any
    kurtosis: Any
    outliers: Any
    share: Any


class OutlierObserver:
    """Outlier statistics of data that comes in parts; ``lowbit.outlier_statistics`` has the definitions.

    Moments are exact but for rounding (float64); outliers are counted in whole bins of a histogram, by the middle of
    the bin. Picklable and mergeable.

    Args:
        axis: None for all of the data, else statistics for each index of this axis.
        sigma: beyond how many standard deviations from the mean a value is an outlier; above 0.
        bins: of |x|: a power of two from 128 to 2048.
    """

    def __init__(self, *, axis: int | None = None, sigma: float = 6.0, bins: int = BINS) -> None:
        self.axis = None if axis is None else integer("axis", axis, -(2**31), 2**31)
        self.sigma = check_sigma(sigma)
        self.histogram = Histogram(bins)
        self._moments: Moments | None = None
        self._shape: tuple[int, ...] = ()

    def update(self, x: npt.ArrayLike) -> None:
        """Take x into account: float32, float16 or bfloat16, of any shape that has the axis."""
        array = floats("x", x)
        layout = make_layout(array.shape, self.axis, None)
        if self._moments is not None and layout.scale_shape != self._shape:
            raise ValueError(f"x: {layout.scale_shape[0]} along axis {self.axis}, expected {self._shape[0]} as before")
        array = contiguous(to_float32(array))
        moments = find_moments(array, layout)
        self._moments = moments if self._moments is None else self._moments.with_other(moments)
        self.histogram.update(array, layout)
        self._shape = layout.scale_shape

    def merge(self, other: OutlierObserver) -> None:
        """Take into account what other has seen; other stays as it is."""
        if not isinstance(other, OutlierObserver):
            raise TypeError(f"other: {type(other).__name__}, expected an OutlierObserver")
        if (self.axis, self.sigma, self.histogram.bins) != (other.axis, other.sigma, other.histogram.bins):
            raise ValueError(f"other: {other!r}, expected the settings of {self!r}")
        if other._moments is None:
            return
        if self._moments is not None and self._shape != other._shape:
            raise ValueError(f"other: {other._shape[0]} along the axis, expected {self._shape[0]}")
        self._moments = other._moments if self._moments is None else self._moments.with_other(other._moments)
        self.histogram.merge(other.histogram)
        self._shape = other._shape

    def statistics(self) -> OutlierStatistics:
        """Of all updates; ValueError before the first."""
        if self._moments is None:
            raise ValueError("OutlierObserver: no data yet, expected an update first")
        h, m = self.histogram, self._moments
        far = np.abs(h.middles() - m.mean[:, None]) > self.sigma * m.std()[:, None]
        return m.statistics((far * h.counts).sum(axis=1), self._shape)

    def __repr__(self) -> str:
        return f"OutlierObserver(axis={self.axis}, sigma={self.sigma}, bins={self.histogram.bins})"


def outlier_statistics(x: npt.ArrayLike, *, axis: int | None = None, sigma: float = 6.0) -> OutlierStatistics:
    """How far the values of x lie out: counts, moments, and how many are beyond sigma standard deviations.

    Args:
        x: float32, float16 or bfloat16, of any shape and strides. NaN and infinities do not count.
        axis: None for all of x, else statistics for each index of this axis.
        sigma: beyond how many standard deviations from the mean a value is an outlier; above 0.

    Returns:
        OutlierStatistics: Python numbers, or arrays of shape (x.shape[axis],): int64 counts, else float64. Sums are
        float64, of parts of 2^20 elements at most.

    Raises:
        TypeError: x is not one of these float types, or an argument has a wrong type.
        ValueError: the axis is not there, or sigma is not above 0.
    """
    array = floats("x", x)
    layout = make_layout(array.shape, axis, None)
    sigma = check_sigma(sigma)
    array = contiguous(to_float32(array))
    moments = find_moments(array, layout)
    far = np.zeros(len(moments.count), np.int64)
    limit = sigma * moments.std()
    for part in _chunks(array, layout):
        finite = np.isfinite(part)
        away = np.abs(np.where(finite, part, 0).astype(np.float64) - moments.mean[:, None])
        far += (finite & (away > limit[:, None])).sum(axis=1)
    return moments.statistics(far, layout.scale_shape)


def check_sigma(sigma: Any) -> float:
    """Checked."""
    if isinstance(sigma, bool) or not isinstance(sigma, (int, float, np.floating)):
        raise TypeError(f"sigma: {type(sigma).__name__}, expected a number above 0")
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma: {sigma}, expected a finite number above 0")
    return float(sigma)


@dataclass(frozen=True)
class Moments:
    """float64 arrays, one value for each row: central sums of the 2nd, 3rd and 4th power."""

    count: Array  # int64
    mean: Array
    second: Array
    third: Array
    fourth: Array
    absmax: Array

    def with_other(self, other: Moments) -> Moments:
        """Those of both together (Pébay, Sandia report 2008-6212)."""
        n1, n2 = self.count.astype(np.float64), other.count.astype(np.float64)
        n = np.maximum(n1 + n2, 1)
        d = other.mean - self.mean
        second = self.second + other.second + d**2 * n1 * n2 / n
        third = (
            self.third
            + other.third
            + d**3 * n1 * n2 * (n1 - n2) / n**2
            + 3 * d * (n1 * other.second - n2 * self.second) / n
        )
        fourth = (
            self.fourth
            + other.fourth
            + d**4 * n1 * n2 * (n1**2 - n1 * n2 + n2**2) / n**3
            + 6 * d**2 * (n1**2 * other.second + n2**2 * self.second) / n**2
            + 4 * d * (n1 * other.third - n2 * self.third) / n
        )
        return Moments(
            self.count + other.count,
            self.mean + d * n2 / n,
            second,
            third,
            fourth,
            np.maximum(self.absmax, other.absmax),
        )

    def std(self) -> Array:
        """Of the whole population: divided by the count."""
        return np.sqrt(self.second / np.maximum(self.count, 1))

    def statistics(self, outliers: Array, shape: tuple[int, ...]) -> OutlierStatistics:
        """With the number of outliers; arrays of this shape, or numbers for ()."""
        n = np.maximum(self.count, 1)
        std = self.std()
        rms = np.sqrt(self.second / n + self.mean**2)
        with np.errstate(all="ignore"):
            ratio = np.where(rms > 0, self.absmax / rms, 0)
            kurtosis = np.where(std > 0, self.fourth / n / (self.second / n) ** 2, 0)
        parts = (self.count, self.mean, std, self.absmax, ratio, kurtosis, outliers, outliers / n)
        return OutlierStatistics(*(part if shape else part[0].item() for part in parts))


def find_moments(x: Array, layout: Layout) -> Moments:
    """Of the finite elements of float32 x, a row for each scale."""
    rows = math.prod(layout.scale_shape)
    none = np.zeros(rows)
    total = Moments(np.zeros(rows, np.int64), none, none, none, none, none)
    for part in _chunks(x, layout):
        finite = np.isfinite(part)
        count = finite.sum(axis=1)
        values = np.where(finite, part, 0).astype(np.float64)
        mean = values.sum(axis=1) / np.maximum(count, 1)
        d = np.where(finite, values - mean[:, None], 0)
        square = d * d
        sums = (square.sum(axis=1), (square * d).sum(axis=1), (square * square).sum(axis=1))
        total = total.with_other(Moments(count, mean, *sums, np.abs(values).max(axis=1)))
    return total


def _chunks(x: Array, layout: Layout) -> list[Array]:
    """x as (scales, elements), in views of at most 2^20 elements, or one for each scale."""
    if not x.size:
        return []
    scales = math.prod(layout.scale_shape)
    rows = x.reshape(1, -1) if layout.axis is None else np.moveaxis(x, layout.axis, 0).reshape(scales, -1)
    step = max(1, (1 << 20) // scales)
    return [rows[:, i : i + step] for i in range(0, rows.shape[1], step)]
