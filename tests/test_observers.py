"""Observers: parts of data in any order give what the whole gives, in memory that does not grow."""

import functools
import itertools
import pickle
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, MAX, TINY, assert_same, run_script, spread_floats

import lowbit as lb
from lowbit import reference as ref

HISTOGRAMS = [{"method": method} for method in ("percentile", "mse", "entropy")]
OBSERVERS = [(lb.MinMaxObserver, {}), *[(lb.HistogramObserver, k) for k in HISTOGRAMS]]
IDS = ["min_max", "percentile", "mse", "entropy"]


def batches(seed=0, count=6, channels=5):
    """Of different shapes and magnitudes, with zeros and values that are not finite."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        x = spread_floats(rng, (3 + i, channels, 40)) * F32(2.0 ** rng.integers(-6, 7))
        x[rng.random(x.shape) < 0.02] = rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], F32))
        found.append(x)
    return found


def seen(make, parts):
    observer = make()
    for part in parts:
        observer.update(part)
    return observer


def assert_equal_state(a, b):
    """What they have counted, and what they make of it."""
    for x, y in zip(a.range(), b.range(), strict=True):
        assert_same(x, y)
    (scale_a, zero_a), (scale_b, zero_b) = a.params(), b.params()
    assert_same(scale_a, scale_b)
    assert (zero_a is None) == (zero_b is None)
    if zero_a is not None:
        assert_same(zero_a, zero_b)
    if isinstance(a, lb.HistogramObserver):
        assert_same(a.histogram.counts, b.histogram.counts)
        assert_same(a.histogram.exponents, b.histogram.exponents)


# ---- one stream, its parts, its permutations -----------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize(("kind", "keywords"), OBSERVERS, ids=IDS)
def test_merge_is_one_stream(kind, keywords, axis, symmetric):
    """merge(update(a), update(b)) == update(a + b), whatever the order."""

    def make():
        return kind("int8", axis=axis, symmetric=symmetric, **keywords)

    parts = batches()
    whole = seen(make, parts)
    at_once = seen(make, [np.concatenate(parts)])
    assert_equal_state(whole, at_once)
    for order in itertools.islice(itertools.permutations(parts), 0, 720, 180):
        assert_equal_state(seen(make, order), whole)
    merged = make()
    for first in range(0, 6, 2):
        merged.merge(seen(make, parts[first : first + 2]))
    merged.merge(make())  # has seen nothing
    assert_equal_state(merged, whole)


@functools.cache
def expected_on_scalar(kind, axis, keywords):
    observer = seen(lambda: kind("int4", axis=axis, **dict(keywords)), batches(1))
    return *observer.range(), observer.params()[0]


@pytest.mark.parametrize(("kind", "keywords"), OBSERVERS, ids=IDS)
def test_every_isa_and_thread_count(isa, threads, kind, keywords):
    axis = None if keywords.get("method") == "mse" else 1  # the scalar ISA searches 200 000 elements a second
    parts = batches(1)
    with lb.use_isa("scalar"), lb.num_threads(1):
        expected = expected_on_scalar(kind, axis, tuple(keywords.items()))
        with lb.use_isa(isa), lb.num_threads(threads):
            observer = seen(lambda: kind("int4", axis=axis, **keywords), parts)
            for x, y in zip((*observer.range(), observer.params()[0]), expected, strict=True):
                assert_same(x, y)


@pytest.mark.parametrize(("kind", "keywords"), [*OBSERVERS, (lb.MovingAverageObserver, {})], ids=[*IDS, "average"])
def test_pickle(kind, keywords):
    observer = seen(lambda: kind("uint4", axis=-2, symmetric=False, scale_dtype=F16, **keywords), batches(2))
    copy = pickle.loads(pickle.dumps(observer))
    assert repr(copy) == repr(observer)
    assert_equal_state(copy, observer)
    copy.merge(observer)
    copy.update(batches(3)[0])
    pickle.loads(pickle.dumps(kind("int8", **keywords))).update(np.ones(3, F32))


def test_observers_of_other_processes(tmp_path):
    """Each part in a process of its own; what they send back is merged."""
    script = """
import pickle, sys
import numpy as np
import lowbit as lb
observer = lb.HistogramObserver("int8", method="percentile", percentile=99)
observer.update(np.load(PATH)[PART::3])
sys.stdout.write(pickle.dumps(observer).hex())
"""
    x = spread_floats(np.random.default_rng(4), (30, 100))
    path = tmp_path / "x.npy"
    np.save(path, x)
    merged = lb.HistogramObserver("int8", method="percentile", percentile=99)
    for part in range(3):
        text = run_script(script.replace("PATH", repr(str(path))).replace("PART", str(part)))
        merged.merge(pickle.loads(bytes.fromhex(text)))
    assert_equal_state(merged, seen(lambda: lb.HistogramObserver("int8", percentile=99), [x]))


@pytest.mark.parametrize(("kind", "keywords"), [*OBSERVERS, (lb.MovingAverageObserver, {})], ids=[*IDS, "average"])
def test_memory_does_not_grow(kind, keywords):
    x = spread_floats(np.random.default_rng(5), (4, 20_000))
    observer = kind("int8", axis=0, **keywords)
    observer.update(x)
    size = len(pickle.dumps(observer))
    tracemalloc.start()
    try:
        for i in range(3):
            observer.update(x * F32(10.0**i))
        before = tracemalloc.get_traced_memory()[0]
        for i in range(20):
            observer.update(x * F32(2.0 ** (i % 7)))
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 4000
    assert len(pickle.dumps(observer)) <= size + 64


# ---- what each of them gives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", [None, "absmax", "signed_max", "asymmetric"])
@pytest.mark.parametrize("format", ["int8", "uint4", "int4", "int1", "float8_e4m3fn", "nf4", "ternary"])
def test_min_max_is_the_range(isa, format, convention):
    x = np.concatenate(batches(6))
    plain = format in ("float8_e4m3fn", "nf4")
    if (plain and convention in ("signed_max", "asymmetric")) or (format == "int1" and convention == "absmax"):
        return
    keywords = {"symmetric": False} if convention == "asymmetric" else {"convention": convention}
    for axis in (None, 0, 1, 2):
        observer = lb.MinMaxObserver(format, axis=axis, **keywords)
        observer.update(x)
        q = lb.quantize(x, format, axis=axis, **keywords)
        scale, zero = observer.params()
        assert_same(scale, q.scale)
        low, high = ref.value_range(x, axis=axis)
        assert_same(observer.range()[0], low)
        assert_same(observer.range()[1], high)
        observed = lb.quantize(x, format, axis=axis, calibrate=observer)
        assert_same(observed.codes, q.codes)
        given = lb.quantize(x, format, axis=axis, scale=scale, zero_point=zero, **keywords)
        assert_same(given.codes, q.codes)


def test_min_max_passes_over_updates_without_numbers():
    observer = lb.MinMaxObserver("int8", axis=1)
    observer.update(np.array([[5, np.nan, 0]], F32))
    observer.update(np.array([[np.nan, np.inf, -np.inf]], F32))
    observer.update(np.array([[6, np.nan, 0]], F32))
    low, high = observer.range()
    assert_same(low, np.array([5, 0, 0], F32))
    assert_same(high, np.array([6, 0, 0], F32))
    observer.update(np.zeros((0, 3), F32))
    assert_same(observer.range()[0], low)


def test_moving_average():
    observer = lb.MovingAverageObserver("int8", momentum=0.75)
    for low, high in ((-1, 2), (-3, 2), (-1, 10)):
        observer.update(np.array([low, 0, high], F32))
    observer.update(np.full(4, np.nan, F32))
    low, high = observer.range()
    assert low == pytest.approx(((-1 * 0.75 + -3 * 0.25) * 0.75) - 1 * 0.25)
    assert high == pytest.approx((2 * 0.75 + 2 * 0.25) * 0.75 + 10 * 0.25)
    other = lb.MovingAverageObserver("int8", momentum=0.75)
    other.update(np.array([-9, 1], F32))
    merged_low = (3 * low - 9) / 4
    observer.merge(other)
    assert observer.range()[0] == pytest.approx(merged_low)
    assert observer.range()[1] == pytest.approx((3 * high + 1) / 4)
    empty = lb.MovingAverageObserver("int8", momentum=0.75)
    empty.merge(observer)
    assert_same(empty.range()[0], observer.range()[0])


def test_moving_average_of_an_axis():
    observer = lb.MovingAverageObserver("int8", axis=1, momentum=0.5)
    observer.update(np.array([[1, np.nan, -4]], F32))
    observer.update(np.array([[3, 7, np.nan]], F32))
    low, high = observer.range()
    assert_same(low, np.array([2, 7, -4], F32))
    assert_same(high, np.array([2, 7, -4], F32))


@pytest.mark.parametrize("percentile", [99.99, 99, 90, 60, 100])
@pytest.mark.parametrize("symmetric", [True, False])
def test_percentile_is_within_a_bin(percentile, symmetric):
    rng = np.random.default_rng(7)
    for x in (rng.standard_normal(20_000), rng.standard_t(2, 3000), rng.uniform(1, 2, 500), -rng.random(100), [3.0]):
        x = np.asarray(x, F32)
        observer = lb.HistogramObserver("int8", percentile=percentile, symmetric=symmetric)
        for part in np.array_split(x, 7):
            observer.update(part)
        low, high = observer.range()
        bin_width = 2 * np.abs(x).max() / 2048
        share = percentile / 100
        wide = x.astype(np.float64)
        if symmetric:
            limit = np.quantile(np.abs(wide), share)
            assert abs(min(high, -low) - min(limit, wide.max(), -wide.min())) <= bin_width or wide.min() > 0
            assert abs(max(high, -low) - limit) <= bin_width
        else:
            assert abs(high - np.quantile(wide, share)) <= bin_width
            assert abs(low - np.quantile(wide, 1 - share)) <= bin_width
        if percentile == 100:
            assert (low, high) == (x.min(), x.max())


def test_bins_are_powers_of_two_and_hold_everything():
    observer = lb.HistogramObserver("int8", bins=128)
    histogram = observer.histogram
    for value, exponent in ((0.0, -126), (1e-30, -106), (0.999, -7), (1.0, -6), (127.9, 0), (128.0, 1), (MAX, 121)):
        observer.update(np.array([value, -value, np.nan], F32))
        assert histogram.exponents.tolist() == [exponent]
    assert histogram.counts.sum() == 14
    assert histogram.counts[0, [128 + 127, 0]].tolist() == [1, 1]


def test_mse_is_the_search_over_the_histogram():
    rng = np.random.default_rng(8)
    x = np.where(rng.random(40_000) < 1e-4, 60, 1) * rng.standard_normal(40_000)
    x = x.astype(F32)
    for format, symmetric in itertools.product(("int8", "int4", "int2", "uint4", "nf4"), (True, False)):
        if format == "nf4" and not symmetric:
            continue
        observer = lb.HistogramObserver(format, method="mse", symmetric=symmetric)
        for part in np.array_split(x, 9):
            observer.update(part)
        errors = [
            np.mean((lb.quantize(x, format, symmetric=symmetric, calibrate=c).dequantize().astype(float) - x) ** 2)
            for c in ("minmax", "mse", observer)
        ]
        assert errors[2] <= errors[1] * 1.02
        assert errors[2] < 0.96 * errors[0]
        low, high = observer.range()
        assert low < 0 < high


def test_mse_of_an_axis():
    parts = batches(9)
    observer = lb.HistogramObserver("int4", method="mse", axis=1)
    for part in parts:
        observer.update(part)
    scale, zero = observer.params()
    assert zero is None
    h = observer.histogram
    expected, _ = ref.search_params(h.middles(), "int4", axis=0, importance=h.counts.astype(F32))
    assert_same(scale, expected)
    assert (scale < 0).any() or (np.abs(scale) > 0).all()


def test_entropy_clips_what_is_rare():
    rng = np.random.default_rng(10)
    x = rng.standard_t(2, (3, 20_000)).astype(F32)
    observer = lb.HistogramObserver("int8", method="entropy", axis=0)
    for part in np.array_split(x, 4, axis=1):
        observer.update(part)
    _, high = observer.range()
    for row, limit, counts, exponent in zip(
        x, high, observer.histogram.absolute(), observer.histogram.exponents, strict=True
    ):
        assert limit < 0.5 * np.abs(row).max()
        used = np.flatnonzero(counts)[-1] + 1
        assert limit == min(np.ldexp(ref.entropy(counts[:used], 128), exponent), row.max())


def test_16_bit_floats(isa):
    x = spread_floats(np.random.default_rng(11), (2, 50))
    for dtype in (F16, ml_dtypes.bfloat16):
        half = x.astype(dtype)
        for kind, keywords in OBSERVERS:
            a, b = kind("int8", axis=0, **keywords), kind("int8", axis=0, **keywords)
            a.update(half)
            b.update(np.asfortranarray(half.astype(F32)))
            assert_equal_state(a, b)


@pytest.mark.bug(13)
@pytest.mark.parametrize(("kind", "keywords"), [*OBSERVERS, (lb.MovingAverageObserver, {})], ids=[*IDS, "average"])
def test_zeros_nothing_finite_extremes(kind, keywords):
    for symmetric in (True, False):
        for values in ([0.0], [-0.0, 0.0], [np.nan], [np.inf, -np.inf], [], [TINY], [-1e-40], [MAX / 2], [-MAX / 2]):
            observer = kind("int8", symmetric=symmetric, **keywords)
            observer.update(np.array(values, F32))
            scale, _ = observer.params()
            assert np.isfinite(scale)
            assert scale != 0
            if not np.isfinite(values).any() or not np.any(values):
                assert scale == 1
            low, high = observer.range()
            assert low <= high


# ---- errors --------------------------------------------------------------------------------------------------------


def test_constructor_errors():
    for kind in (lb.MinMaxObserver, lb.MovingAverageObserver, lb.HistogramObserver):
        with pytest.raises(ValueError, match="format: 'int9', expected"):
            kind("int9")
        with pytest.raises(ValueError, match="format: mxfp4, expected one without blocks"):
            kind("mxfp4")
        with pytest.raises(ValueError, match="symmetric: False for nf4, expected True"):
            kind("nf4", symmetric=False)
        with pytest.raises(ValueError, match="convention: 'full' with symmetric=False"):
            kind("int8", symmetric=False, convention="full")
        with pytest.raises(ValueError, match="convention: 'best', expected 'absmax'"):
            kind("int8", convention="best")
        with pytest.raises(ValueError, match="scale_dtype: int8, expected float32"):
            kind("int8", scale_dtype=np.int8)
        with pytest.raises(TypeError, match="axis: str, expected an integer"):
            kind("int8", axis="rows")
    for momentum in (-0.1, 1, 2, np.nan):
        with pytest.raises(ValueError, match=r"momentum: .*, expected a number, at least 0 and below 1"):
            lb.MovingAverageObserver("int8", momentum=momentum)
    with pytest.raises(TypeError, match="momentum: str"):
        lb.MovingAverageObserver("int8", momentum="0.9")
    with pytest.raises(ValueError, match="method: 'kl', expected 'percentile', 'mse' or 'entropy'"):
        lb.HistogramObserver("int8", method="kl")
    with pytest.raises(ValueError, match="method: 'entropy' for nf4"):
        lb.HistogramObserver("nf4", method="entropy")
    with pytest.raises(ValueError, match="percentile: 20"):
        lb.HistogramObserver("int8", percentile=20)
    with pytest.raises(ValueError, match="bins: 1000, expected a power of two from 128 to 2048"):
        lb.HistogramObserver("int8", bins=1000)
    with pytest.raises(ValueError, match="bins: 64, expected an integer from 128 to 2048"):
        lb.HistogramObserver("int8", bins=64)


def test_use_errors():
    x = np.ones((3, 4), F32)
    observer = lb.MinMaxObserver("int8", axis=1)
    for call in (observer.params, observer.range, lambda: lb.quantize(x, "int8", axis=1, calibrate=observer)):
        with pytest.raises(ValueError, match="MinMaxObserver: no data yet, expected an update first"):
            call()
    with pytest.raises(TypeError, match="x: dtype float64"):
        observer.update(x.astype(np.float64))
    with pytest.raises(ValueError, match="axis: 1, expected an integer from -1 to 0"):
        observer.update(x[0])
    observer.update(x)
    with pytest.raises(ValueError, match="x: 3 along axis 1, expected 4 as before"):
        observer.update(x.T)
    with pytest.raises(TypeError, match="other: HistogramObserver, expected a MinMaxObserver"):
        observer.merge(lb.HistogramObserver("int8", axis=1))
    with pytest.raises(ValueError, match=r"other: MinMaxObserver\('int4'.*, expected the settings of MinMaxObserver"):
        observer.merge(lb.MinMaxObserver("int4", axis=1))
    other = lb.MinMaxObserver("int8", axis=1)
    other.update(x.T)
    with pytest.raises(ValueError, match="other: 3 scales along the axis, expected 4"):
        observer.merge(other)
    with pytest.raises(ValueError, match="calibrate: an observer for int8, expected one for int4"):
        lb.quantize(x, "int4", axis=1, calibrate=observer)
    for layout in ({}, {"axis": 0}, {"group_size": 2}):
        with pytest.raises(ValueError, match="expected the same axis and no groups"):
            lb.quantize(x, "int8", calibrate=observer, **layout)
    with pytest.raises(ValueError, match="calibrate: 4 scales along the axis, expected 3"):
        lb.quantize(x.T, "int8", axis=1, calibrate=observer)
    with pytest.raises(ValueError, match="symmetric: False with a symmetric observer"):
        lb.quantize(x, "int8", axis=1, calibrate=observer, symmetric=False)
    with pytest.raises(ValueError, match="convention: 'full' with an observer's None"):
        lb.quantize(x, "int8", axis=1, calibrate=observer, convention="full")
    with pytest.raises(ValueError, match="scale_dtype: float16 with an observer's float32"):
        lb.quantize(x, "int8", axis=1, calibrate=observer, scale_dtype=F16)
    with pytest.raises(ValueError, match=r"importance: given with .*Observer"):
        lb.quantize(x, "int8", axis=1, calibrate=observer, importance=np.ones(4, F32))


@pytest.mark.bug(13)
@pytest.mark.parametrize(("kind", "keywords"), OBSERVERS, ids=IDS)
def test_scale_beyond_float16_raises(kind, keywords):
    observer = kind("int8", scale_dtype=F16, **keywords)
    observer.update(np.full(5, 1e8, F32))
    with pytest.raises(ValueError, match=r"scale: .*float16"):
        observer.params()


def test_the_observer_decides_on_symmetry_and_types():
    x = spread_floats(np.random.default_rng(12), (4, 60))
    observer = lb.MinMaxObserver("uint8", symmetric=False, scale_dtype=F16)
    observer.update(x)
    q = lb.quantize(x, "uint8", calibrate=observer)
    expected = lb.quantize(x, "uint8", symmetric=False, scale_dtype=F16)
    assert_same(q.scale, expected.scale)
    assert_same(q.zero_point, expected.zero_point)
    assert_same(q.codes, expected.codes)


# ---- outliers ------------------------------------------------------------------------------------------------------


def moments(x, sigma):
    """By the definitions, in float64."""
    x = x[np.isfinite(x)].astype(np.float64)
    d = x - x.mean()
    std = x.std()
    far = int((np.abs(d) > sigma * std).sum())
    return {
        "count": x.size,
        "mean": x.mean(),
        "std": std,
        "absmax": np.abs(x).max(),
        "max_over_rms": np.abs(x).max() / np.sqrt((x**2).mean()),
        "kurtosis": (d**4).mean() / std**4,
        "outliers": far,
        "share": far / x.size,
    }


def assert_close(found, expected, index=None, rtol=1e-9):
    for name, value in expected.items():
        got = getattr(found, name)
        np.testing.assert_allclose(got if index is None else got[index], value, rtol=rtol, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("sigma", [3.0, 6.0, 0.5])
def test_outlier_statistics(sigma):
    rng = np.random.default_rng(13)
    x = rng.standard_t(4, (5, 3000)).astype(F32) + F32(0.5)
    x[rng.random(x.shape) < 0.01] = np.nan
    x[0, 0], x[4, 1] = np.inf, -np.inf
    whole = lb.outlier_statistics(x, sigma=sigma)
    assert_close(whole, moments(x, sigma))
    assert isinstance(whole.count, int)
    assert isinstance(whole.kurtosis, float)
    for axis, rows in ((0, x), (1, x[:, :50].T), (-2, x)):
        found = lb.outlier_statistics(x[:, :50] if axis == 1 else x, axis=axis, sigma=sigma)
        assert found.count.shape == (len(rows),)
        for i, row in enumerate(rows):
            assert_close(found, moments(row, sigma), i, rtol=1e-8)


def test_outlier_statistics_of_many_parts():
    """More than the 2^20 elements of a part."""
    x = np.random.default_rng(14).standard_normal(2_500_000).astype(F32)
    found = lb.outlier_statistics(x, sigma=4)
    assert_close(found, moments(x, 4))
    assert found.kurtosis == pytest.approx(3, abs=0.02)
    assert found.share == pytest.approx(6.3e-5, rel=0.2)


def test_outlier_observer():
    rng = np.random.default_rng(15)
    x = rng.standard_t(5, (4, 40_000)).astype(F32)
    for axis in (None, 0):
        one, parts = lb.OutlierObserver(axis=axis, sigma=4), []
        one.update(x)
        for part in np.array_split(x, 5, axis=1):
            parts.append(lb.OutlierObserver(axis=axis, sigma=4))
            parts[-1].update(part)
        merged = lb.OutlierObserver(axis=axis, sigma=4)
        for part in parts:
            merged.merge(pickle.loads(pickle.dumps(part)))
        exact = lb.outlier_statistics(x, axis=axis, sigma=4)
        for observer in (one, merged):
            found = observer.statistics()
            for name in ("count", "mean", "std", "absmax", "max_over_rms", "kurtosis"):
                np.testing.assert_allclose(getattr(found, name), getattr(exact, name), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.outliers, exact.outliers, rtol=0.03, atol=3)
        assert_same(merged.histogram.counts, one.histogram.counts)
        assert repr(one) == f"OutlierObserver(axis={axis}, sigma=4.0, bins=2048)"


def test_outliers_of_nothing():
    for x in (np.zeros(0, F32), np.zeros(5, F32), np.full(5, np.nan, F32)):
        found = lb.outlier_statistics(x)
        assert (found.outliers, found.share, found.kurtosis, found.max_over_rms, found.std) == (0, 0, 0, 0, 0)
        observer = lb.OutlierObserver()
        observer.update(x)
        assert observer.statistics() == found


def test_outlier_errors():
    x = np.ones((3, 4), F32)
    for sigma in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"sigma: .*, expected a finite number above 0"):
            lb.outlier_statistics(x, sigma=sigma)
    with pytest.raises(TypeError, match="sigma: str"):
        lb.OutlierObserver(sigma="3")
    with pytest.raises(TypeError, match="x: dtype int64"):
        lb.outlier_statistics(np.ones(3, np.int64))
    with pytest.raises(ValueError, match="axis: 2, expected an integer from -2 to 1"):
        lb.outlier_statistics(x, axis=2)
    observer = lb.OutlierObserver(axis=0)
    with pytest.raises(ValueError, match="no data yet"):
        observer.statistics()
    observer.update(x)
    with pytest.raises(ValueError, match="x: 4 along axis 0, expected 3 as before"):
        observer.update(x.T)
    with pytest.raises(TypeError, match="other: MinMaxObserver, expected an OutlierObserver"):
        observer.merge(lb.MinMaxObserver("int8"))
    with pytest.raises(ValueError, match=r"other: OutlierObserver\(axis=None"):
        observer.merge(lb.OutlierObserver())
