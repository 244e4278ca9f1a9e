"""quantization_error against its formulas, and the plot of rate and distortion."""

import math

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, FORMATS

import lowbit as lb
from lowbit.error import CHUNK, LLOYD_MAX


def formulas(x, y):
    """mse, sqnr_db, max_error, cosine in double."""
    x, y = np.float64(x).ravel(), np.float64(y).ravel()
    error = y - x
    cosine = x @ y / np.sqrt((x @ x) * (y @ y))
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10((x @ x) / (error @ error))
    return np.mean(error**2), decibels, np.abs(error).max(), cosine


def measures(e):
    return e.mse, e.sqnr_db, e.max_error, e.cosine


@pytest.mark.parametrize("format", [*FORMATS[2:], "nf4", "mxfp4", "nvfp4", "float8_e4m3fn", "ternary"])
def test_every_kind_of_format(format):
    x = np.random.default_rng(0).standard_normal((20, 64)).astype(F32)
    q = lb.quantize(x, format)
    e = lb.quantization_error(x, q)
    np.testing.assert_allclose(measures(e), formulas(x, q.dequantize()), rtol=1e-12)
    assert e.bits_per_weight == q.bits_per_weight
    assert (e.elements, e.not_finite) == (x.size, 0)
    assert measures(lb.quantization_error(x, q.dequantize())) == measures(e)


LAYOUTS = [
    ((50, 60), {}),
    ((50, 60), {"axis": 0}),
    ((50, 60), {"axis": 1}),
    ((50, 60), {"group_size": 16}),
    ((50, 60), {"block_shape": (16, 32)}),
    ((4, 5, 60), {"axis": 1}),
    ((4, 5, 60), {"axis": -1}),
    ((4, 5, 60), {"group_size": 16}),
    ((70,), {"group_size": 16}),
    ((70,), {"axis": 0}),
    ((), {}),
    ((3 * CHUNK + 5,), {}),
    ((3, CHUNK + 5), {"axis": 0}),
    ((CHUNK // 2 + 3, 3), {"axis": 0}),
]


@pytest.mark.parametrize(("shape", "keywords"), LAYOUTS)
def test_every_layout(shape, keywords):
    x = np.asarray(np.random.default_rng(1).standard_normal(shape), F32)
    q = lb.quantize(x, "int8", **keywords)
    np.testing.assert_allclose(measures(lb.quantization_error(x, q)), formulas(x, q.dequantize()), rtol=1e-9)


def test_types_and_strides():
    x = np.random.default_rng(2).standard_normal((40, 30))
    for dtype, bits in ((np.float64, 64), (F32, 32), (F16, 16), (ml_dtypes.bfloat16, 16)):
        y = x.astype(dtype)
        e = lb.quantization_error(x[::2, ::-1], y[::2, ::-1])
        assert e.bits_per_weight == bits
        if dtype != np.float64:
            np.testing.assert_allclose(measures(e), formulas(x[::2], y[::2].astype(np.float64)), rtol=1e-9)
    q = lb.quantize(x.astype(F16), "int8")
    np.testing.assert_allclose(
        measures(lb.quantization_error(x.astype(F16), q)), formulas(x.astype(F16), q.dequantize()), rtol=1e-9
    )


def test_known_numbers():
    e = lb.quantization_error(np.array([3.0, 4.0]), np.array([3.0, 3.0]))
    assert measures(e) == (0.5, pytest.approx(10 * math.log10(25)), 1.0, pytest.approx(21 / math.sqrt(25 * 18)))
    same = lb.quantization_error(np.array([3.0, 4.0]), np.array([3.0, 4.0]))
    assert (same.mse, same.sqnr_db, same.max_error, same.cosine) == (0, math.inf, 0, 1)
    zeros = np.zeros(4, F32)
    assert measures(lb.quantization_error(zeros, zeros)) == (0, math.inf, 0, 1)
    assert measures(lb.quantization_error(zeros, zeros + 1)) == (1, -math.inf, 1, 0)
    assert measures(lb.quantization_error(zeros + 1, zeros)) == (1, 0, 1, 0)
    assert lb.quantization_error(np.float64([1]), np.float64([-1])).cosine == -1


@pytest.mark.bug(5)
def test_what_is_not_finite():
    x = np.array([1, np.nan, 2, np.inf, -np.inf, 4], F32)
    q = lb.quantize(x, "int4")
    e = lb.quantization_error(x, q)
    kept = np.isfinite(x)
    np.testing.assert_allclose(measures(e), formulas(x[kept], q.dequantize()[kept]), rtol=1e-12)
    assert (e.elements, e.not_finite) == (3, 3)
    none = lb.quantization_error(np.full((3, 4), np.nan, F32), np.zeros((3, 4), F32))
    assert all(math.isnan(v) for v in measures(none))
    assert (none.elements, none.not_finite) == (0, 12)
    for shape in ((0,), (0, 3), (3, 0)):
        empty = lb.quantization_error(np.zeros(shape, F32), np.zeros(shape, F32))
        assert all(math.isnan(v) for v in measures(empty))
        assert empty.elements == 0
    bad = lb.quantization_error(np.ones(3, F32), np.array([1, np.nan, 1], F32))
    assert all(math.isnan(v) for v in measures(bad))
    long = np.ones(2 * CHUNK, F32)
    long[0] = np.nan
    assert math.isnan(lb.quantization_error(np.ones_like(long), long).max_error)
    infinite = lb.quantization_error(np.ones(3, F32), np.array([1, np.inf, 1], F32))
    assert (infinite.mse, infinite.sqnr_db, infinite.max_error) == (math.inf, -math.inf, math.inf)


def test_huge_and_tiny_values():
    big, small = np.full(5, 3e38, F32), np.full(5, 1e-44, F32)
    assert lb.quantization_error(big, big / 2).sqnr_db == pytest.approx(20 * math.log10(2))
    assert lb.quantization_error(small, big).sqnr_db == pytest.approx(20 * math.log10(float(small[0]) / float(big[0])))


def test_bad_input():
    x = np.ones((2, 3), F32)
    with pytest.raises(TypeError, match="x: dtype int64"):
        lb.quantization_error(x.astype(int), x)
    with pytest.raises(TypeError, match="q: dtype int8"):
        lb.quantization_error(x, x.astype(np.int8))
    with pytest.raises(ValueError, match=r"q: shape \(3, 2\), expected \(2, 3\)"):
        lb.quantization_error(x, x.T)
    with pytest.raises(AttributeError):
        lb.quantization_error(x, x).mse = 3  # frozen
    with pytest.raises(TypeError, match="points: list, expected a mapping"):
        lb.plot_rate_distortion([1])
    exact = lb.quantization_error(x, x)
    with pytest.raises(ValueError, match=r"points: 'exact' has .*error above 0"):
        lb.plot_rate_distortion({"exact": exact})


def test_lloyd_max_table():
    """Lloyd's iteration on a Gaussian: levels are the means of their cells, edges the middles between levels."""
    for bits, expected in LLOYD_MAX.items():
        levels = np.linspace(-2, 2, 2**bits)
        for _ in range(3000):
            edges = np.array([-np.inf, *(levels[1:] + levels[:-1]) / 2, np.inf])
            density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
            share = np.diff([0.5 * (1 + math.erf(e / math.sqrt(2))) for e in edges])
            levels = -np.diff(density) / share
        assert 1 - np.sum(share * levels**2) == pytest.approx(expected, rel=2e-5)


def test_plot(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    x = np.random.default_rng(3).standard_normal((256, 1024)).astype(F32)
    points = {
        f"{name} {keywords}": lb.quantization_error(x, lb.quantize(x, name, **keywords))
        for name, keywords in [
            ("int4", {"group_size": 32}),
            ("int8", {"axis": 0}),
            ("nf4", {"group_size": 64}),
            ("mxfp4", {}),
        ]
    }
    ax = lb.plot_rate_distortion(points)
    assert ax.get_yscale() == "log"
    drawn = {(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines if len(line.get_xdata()) == 1}
    assert drawn == {(e.bits_per_weight, 10 ** (-e.sqnr_db / 10)) for e in points.values()}
    assert {text.get_text() for text in ax.texts} == set(points)
    bound = ax.lines[0]
    np.testing.assert_allclose(bound.get_ydata(), 2.0 ** (-2 * bound.get_xdata()))
    assert all(y > 4**-rate for rate, y in drawn)  # nothing beats the bound
    ax.figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    _, own = pyplot.subplots()
    assert lb.plot_rate_distortion({}, ax=own) is own
    pyplot.close("all")
