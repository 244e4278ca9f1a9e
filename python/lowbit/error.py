"""How far quantized values are from the originals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._checks import FLOAT_TYPES, Array, typed
from .arrays import QuantizedArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHUNK = 1 << 20  # elements that are double at a time: 8 MB
FLOATS = (*FLOAT_TYPES, np.dtype(np.float64))
# Smallest mean squared error of a quantizer with 2^bits levels on a unit Gaussian: J. Max, 1960.
LLOYD_MAX = {1: 0.363380, 2: 0.117482, 3: 0.034548, 4: 0.009501}


@dataclass(frozen=True)
class QuantizationError:
    """What quantization_error found.

    Attributes:
        mse: mean of (x' - x)^2.
        sqnr_db: 10 log10(sum of x^2 / sum of (x' - x)^2), in decibels; inf where there is no error.
        max_error: largest |x' - x|.
        cosine: of the angle between x and x'; 1 where both are all zeros, 0 where one of them is.
        bits_per_weight: of the quantized form, scales and zero points included.
        elements: how many were compared.
        not_finite: how many were left out: NaN and infinities in x.
    """

    mse: float
    sqnr_db: float
    max_error: float
    cosine: float
    bits_per_weight: float
    elements: int
    not_finite: int


def quantization_error(x: npt.ArrayLike, q: QuantizedArray | npt.ArrayLike) -> QuantizationError:
    """Compare x with its quantized form, in double and a chunk at a time.

    NaN and infinities in x do not count, as they do not when scales are found; their number is reported. NaN or
    infinity in x' where x is finite is an error like any other: it makes the result NaN or infinite. With no elements
    to compare all four measures are NaN.

    Args:
        x: float32, float16, ml_dtypes.bfloat16 or float64, of any shape.
        q: a QuantizedArray of that shape in any format; or the values x' themselves, of one of these types.

    Raises:
        TypeError: x or q is no such array.
        ValueError: the shapes differ.
    """
    original = typed("x", np.asarray(x), FLOATS)
    values = q if isinstance(q, QuantizedArray) else typed("q", np.asarray(q), FLOATS)
    if values.shape != original.shape:
        raise ValueError(f"q: shape {values.shape}, expected {original.shape}, the shape of x")
    bits = values.bits_per_weight if isinstance(values, QuantizedArray) else 8.0 * values.itemsize
    elements = 0
    squares = error_squares = value_squares = products = 0.0
    largest = 0.0
    with np.errstate(all="ignore"):
        for a, b in _chunks(original, values):
            finite = np.isfinite(a)
            a, b = a[finite], b[finite]
            if not a.size:
                continue
            error = b - a
            elements += a.size
            squares += float(a @ a)
            value_squares += float(b @ b)
            products += float(a @ b)
            error_squares += float(error @ error)
            largest = float(np.maximum(largest, np.abs(error).max()))  # NaN stays
    left_out = original.size - elements
    if elements == 0:
        return QuantizationError(math.nan, math.nan, math.nan, math.nan, bits, 0, left_out)
    return QuantizationError(
        mse=error_squares / elements,
        sqnr_db=_decibels(squares, error_squares),
        max_error=largest,
        cosine=_cosine(squares, value_squares, products),
        bits_per_weight=bits,
        elements=elements,
        not_finite=left_out,
    )


def plot_rate_distortion(points: Mapping[str, QuantizationError], *, ax: Axes | None = None, marker: str = "o") -> Axes:
    """Plot bits per weight against the share of the signal that is lost, beside what is possible on a Gaussian.

    The lost share is 10^(-sqnr_db / 10): the mean squared error, where x has variance 1. The line is the rate-
    distortion bound 2^(-2R), below which no code can be; the crosses are the best scalar quantizers without scales
    (Lloyd-Max).

    Args:
        points: name -> what quantization_error found.
        ax: matplotlib axes to draw on; None makes a figure.
        marker: of the points.

    Returns:
        the axes; ``ax.figure.savefig(...)`` writes them.

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: points is no mapping to QuantizationErrors.
        ValueError: a point whose rate or distortion is not finite and positive.
    """
    if not _are_errors(points):
        raise TypeError(f"points: {type(points).__name__}, expected a mapping from names to QuantizationErrors")
    places = {name: (point.bits_per_weight, 10 ** (-point.sqnr_db / 10)) for name, point in points.items()}
    for name, place in places.items():
        if not all(0 < v < math.inf for v in place):
            raise ValueError(f"points: {name!r} has {points[name]}, expected a finite rate and a finite error above 0")
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot_rate_distortion needs matplotlib: pip install 'lowbit[plot]'") from error
    if ax is None:
        _, ax = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    most = max([*(rate for rate, _ in places.values()), *LLOYD_MAX])
    rates = np.linspace(0, most * 1.05, 200)
    ax.plot(rates, 4.0**-rates, color="0.4", linewidth=1, label="bound for a Gaussian, $2^{-2R}$")
    ax.plot([*LLOYD_MAX], [*LLOYD_MAX.values()], "x", color="0.4", label="Lloyd-Max")
    ax.set(yscale="log", xlabel="bits per weight", ylabel="mean squared error / mean square", xlim=(0, most * 1.2))
    lines = {name: ax.plot(*place, marker)[0] for name, place in places.items()}
    ax.autoscale_view()
    _label(ax, {name: (place, lines[name].get_color()) for name, place in places.items()})
    ax.grid(visible=True, which="both", alpha=0.2)
    ax.legend()
    return ax


def _label(ax: Axes, points: Mapping[str, tuple[tuple[float, float], str]]) -> None:
    """Names beside points, from the highest to the lowest, each clear of those before it."""
    near, line = 90.0, 11.0  # in points: how wide a name may be, and how high
    to_points = 72 / ax.figure.dpi
    placed: list[tuple[float, float]] = []
    for name, (place, color) in sorted(points.items(), key=lambda item: -item[1][0][1]):
        x, y = ax.transData.transform(place) * to_points
        lowest = min((other for at, other in placed if abs(at - x) < near and other - line < y), default=y + line)
        label = min(y, lowest - line)
        placed.append((x, label))
        ax.annotate(name, place, xytext=(6, label - y - 3), textcoords="offset points", fontsize=8, color=color)


def _are_errors(points: object) -> bool:
    return isinstance(points, Mapping) and all(isinstance(point, QuantizationError) for point in points.values())


def _chunks(x: Array, q: QuantizedArray | Array) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Pairs of flat pieces in double; rows of q are dequantized as they are needed."""
    step = max(1, CHUNK // max(1, x.size // max(1, len(x)))) if x.ndim > 1 else x.size
    for row in range(0, len(x) if x.ndim > 1 else min(1, x.size), max(1, step)):
        rows = slice(row, row + step) if x.ndim > 1 else ...
        originals, values = x[rows].reshape(-1), _values(q, rows).reshape(-1)
        for begin in range(0, originals.size, CHUNK):
            piece = slice(begin, begin + CHUNK)
            yield originals[piece].astype(np.float64), values[piece].astype(np.float64)


def _values(q: QuantizedArray | Array, rows: slice | EllipsisType) -> Array:
    if not isinstance(q, QuantizedArray):
        part: Array = q[rows]
        return part
    return q.dequantize(rows=np.arange(q.shape[0])[rows]) if isinstance(rows, slice) else q.dequantize()


def _decibels(squares: float, error_squares: float) -> float:
    if error_squares == 0:
        return math.inf
    if squares == 0:
        return math.nan if math.isnan(error_squares) else -math.inf
    return 10 * (math.log10(squares) - math.log10(error_squares))


def _cosine(squares: float, value_squares: float, products: float) -> float:
    if squares == 0 or value_squares == 0:
        return 1.0 if squares == value_squares else 0.0
    return float(np.clip(products / math.sqrt(squares) / math.sqrt(value_squares), -1, 1))  # NaN stays
