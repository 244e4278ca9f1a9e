"""calibrate="percentile", "entropy", "absmean" and "hqq": against lowbit.reference and against numpy."""

import functools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, FORMATS, MAX, TINY, assert_same, hard_floats, quantize_keywords, spread_floats

import lowbit as lb
from lowbit import _core
from lowbit import reference as ref
from lowbit._runtime import context
from lowbit.reference.parameters import parameters as reference_parameters

LAYOUTS = [
    ((5, 75), {"group_size": 32}),
    ((5, 75), {"axis": 0}),
    ((5, 75), {"axis": 1}),
    ((2, 3, 4, 9), {"axis": 1}),
    ((9, 70), {"block_shape": (4, 32)}),
    ((12, 30), {}),
    ((), {}),
]


def parameters(x, layout):
    """(parameter's index, its elements) of every parameter."""
    found = {}
    for which, at in reference_parameters(x.shape, **layout):
        for index, elements in zip(which, at, strict=True):
            found[int(index)] = x.ravel()[elements]
    return sorted(found.items())


# ---- percentile ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convention", ["absmax", "signed_max", "asymmetric"])
@pytest.mark.parametrize("percentile", [99.99, 90, 51, 100])
@pytest.mark.parametrize("finite", [True, False])
def test_percentile_is_numpys_quantile(percentile, convention, finite):
    for shape, layout in LAYOUTS:
        x = np.asarray(spread_floats(np.random.default_rng(1), shape))
        if not finite:
            x = np.where(np.random.default_rng(2).random(shape) < 0.2, F32(np.nan), x)
            x = np.asarray(np.where(np.random.default_rng(3).random(shape) < 0.1, F32(np.inf), x))
        q = lb.quantize(
            x, "uint8", calibrate="percentile", percentile=percentile, **quantize_keywords(convention), **layout
        )
        low, high = np.zeros(q.scale.size, F32), np.zeros(q.scale.size, F32)
        for i, values in parameters(x, layout):
            wide = values[np.isfinite(values)].astype(np.float64)
            if not wide.size:
                continue
            share = percentile / 100
            if convention == "asymmetric":
                low[i], high[i] = np.quantile(wide, 1 - share), np.quantile(wide, share)
            else:
                limit = np.quantile(np.abs(wide), share)
                low[i], high[i] = max(wide.min(), -limit), min(wide.max(), limit)
        scale, zero = ref.choose_params("uint8", convention, low.reshape(q.scale.shape), high.reshape(q.scale.shape))
        np.testing.assert_allclose(q.scale, scale, rtol=2e-6)
        assert (np.abs(q.zero_points().astype(int) - zero) <= 1).all()


def test_percentile_of_all_is_the_range():
    x = spread_floats(np.random.default_rng(4), (7, 200))
    for layout in ({}, {"axis": 0}, {"axis": 1}, {"group_size": 64}):
        for format in ("int8", "uint4", "float8_e4m3fn"):
            a = lb.quantize(x, format, calibrate="percentile", percentile=100, **layout)
            assert_same(a.scale, lb.quantize(x, format, **layout).scale)


def test_percentile_is_the_same_on_all_threads_and_isas(isa, threads):
    x = spread_floats(np.random.default_rng(5), (6, 500))
    with lb.use_isa("scalar"), lb.num_threads(1):
        expected = lb.quantize(x, "int4", group_size=100, calibrate="percentile", percentile=97)
    q = lb.quantize(x, "int4", group_size=100, calibrate="percentile", percentile=97)
    assert_same(q.scale, expected.scale)
    assert_same(q.codes, expected.codes)


# ---- absmean -------------------------------------------------------------------------------------------------------


@functools.cache
def absmean_case(index, hard):
    shape, layout = LAYOUTS[index]
    rng = np.random.default_rng(index)
    x = np.asarray((hard_floats if hard else spread_floats)(rng, shape))
    if hard:
        x = np.asarray(np.where(rng.random(shape) < 0.1, rng.choice(np.array([np.nan, -np.inf], F32), shape), x))
    return x, ref.absmean(x, **layout)


@pytest.mark.bug(1)
@pytest.mark.parametrize("hard", [False, True])
def test_absmean_equals_the_reference(isa, hard):
    for index, (_, layout) in enumerate(LAYOUTS):
        x, mean = absmean_case(index, hard)
        q = lb.quantize(x, "ternary", calibrate="absmean", **layout)
        assert_same(q.scale, np.where(mean == 0, F32(1), mean))
        finite = np.where(np.isfinite(x), np.abs(x.astype(np.float64)), np.nan)
        if not layout and finite.ndim:
            assert mean == pytest.approx(np.nanmean(finite), rel=1e-6)


@functools.cache
def long_absmean():
    x = spread_floats(np.random.default_rng(6), (70_001,))
    return x, ref.absmean(x)


@pytest.mark.bug(30)
def test_absmean_of_many_segments(isa, threads):
    x, mean = long_absmean()
    assert_same(lb.quantize(x, "ternary", calibrate="absmean").scale, mean)
    assert_same(lb.quantize(np.stack([x, -x]), "int8", axis=0, calibrate="absmean").scale, np.stack([mean, mean]))


def test_absmean_is_bitnets():
    """b1.58: codes clip(round(w / mean |w|), -1, 1)."""
    w = spread_floats(np.random.default_rng(7), (16, 64))
    q = lb.quantize(w, "ternary", calibrate="absmean")
    assert (q.unpack() == np.clip(np.rint(w / q.scale), -1, 1)).all()
    half = lb.quantize(w, "uint4", calibrate="absmean", scale_dtype=F16)
    assert half.scale == q.scale.astype(F16)
    assert half.zero_points() == 8


def test_absmean_zeros_and_overflow():
    assert lb.quantize(np.zeros(5, F32), "ternary", calibrate="absmean").scale == 1
    assert lb.quantize(np.full(5, np.nan, F32), "ternary", calibrate="absmean").scale == 1
    with pytest.raises(ValueError, match=r"scale: .* does not fit scale_dtype float16"):
        lb.quantize(np.full(5, 1e6, F32), "ternary", calibrate="absmean", scale_dtype=F16)
    with pytest.raises(ValueError, match="calibrate: 'absmean' with symmetric=False"):
        lb.quantize(np.ones(5, F32), "int4", calibrate="absmean", symmetric=False)


# ---- histogram and entropy -----------------------------------------------------------------------------------------


@pytest.mark.bug(1, 5)
@pytest.mark.parametrize("absolute", [True, False])
def test_histogram_equals_the_reference(isa, absolute):
    rng = np.random.default_rng(8)
    for n in [*range(70), 300, 5000]:
        x = np.concatenate([spread_floats(rng, n), [np.nan, np.inf, -np.inf, MAX, -MAX, TINY, -TINY, 0.0, -0.0, 1.0]])
        x = x.astype(F32)
        for bins, inverse in ((64, 8.0), (4096, 300.7), (2, 1e-30), (16, 1e30)):
            counts = np.full((1, bins), 5, np.int64)
            _core.histogram(context(), (1, x.size, x.size, 1, 1), x, bins, absolute, np.array([inverse], F32), counts)
            assert_same(counts[0] - 5, ref.histogram(x, bins, inverse, absolute=absolute))


@pytest.mark.bug(30)
def test_histogram_of_layouts_and_threads(isa, threads):
    rng = np.random.default_rng(9)
    for shape, runs in (
        ((6, 50), (6, 50, 16, 1, 24)),
        ((6, 50), (6, 50, 1, 1, 50)),
        ((6, 50), (6, 50, 50, 2, 3)),
        ((2, 300_000), (2, 300_000, 300_000, 2, 1)),
        ((2, 300_000), (2, 300_000, 300_000, 1, 2)),
    ):
        x = spread_floats(rng, shape)
        rows, length, run, rows_per_param, params = runs
        inverse = rng.uniform(5, 20, params).astype(F32)
        counts = np.zeros((params, 256), np.int64)
        _core.histogram(context(), runs, x, 256, False, inverse, counts)
        per_row = -(-length // run)
        expected = np.zeros_like(counts)
        for row in range(rows):
            for j in range(per_row):
                p = (row // rows_per_param * per_row + j) % params
                part = x[row, j * run : (j + 1) * run]
                expected[p] += ref.histogram(part, 256, inverse[p], absolute=False)
        assert_same(counts, expected, str(runs))


def entropy(counts, levels, first=128):
    kept = np.empty(1, np.int64)
    _core.entropy(context(), np.ascontiguousarray(counts, np.int64), len(counts), levels, first, kept)
    return int(kept[0])


def test_entropy_equals_the_reference():
    rng = np.random.default_rng(10)
    for bins in (128, 300, 512):
        for make in (rng.standard_normal, lambda n: rng.standard_t(3, n), lambda n: rng.uniform(-1, 1, n)):
            x = np.abs(make(3000))
            counts = np.histogram(x, bins, (0, x.max()))[0]
            for levels, first in ((128, 128), (8, 20), (2, 1), (1, 7), (200, 10)):
                assert entropy(counts, levels, first) == ref.entropy(counts, levels, first), (bins, levels, first)


def test_entropy_of_odd_counts():
    for counts in (np.zeros(64), np.eye(64)[0], np.eye(64)[63], np.ones(64), np.arange(64) % 2, np.full(64, 2**46)):
        for levels, first in ((16, 16), (128, 128), (1, 1)):
            assert entropy(counts, levels, first) == ref.entropy(counts, levels, first)
    assert entropy(np.zeros(64), 16, 16) == 64


def test_entropy_is_the_divergence_that_scipy_would_give():
    """The formula, by the book: probabilities, q spread over the non-empty bins of its level, KL divergence."""
    rng = np.random.default_rng(11)
    x = np.abs(rng.standard_t(3, 5000))
    counts = np.histogram(x, 256, (0, x.max()))[0]
    levels, best, least = 16, None, np.inf
    for kept in range(16, 257):
        p = counts[:kept].astype(float)
        p[-1] += counts[kept:].sum()
        q = np.zeros(kept)
        for level in range(levels):
            at = slice(level * kept // levels, (level + 1) * kept // levels)
            filled = p[at] > 0
            if filled.any():
                q[at] = np.where(filled, counts[at].sum() / filled.sum(), 0)
        p, q = p / p.sum(), q / q.sum()
        if (q[p > 0] == 0).any():
            continue
        divergence = float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())
        if divergence <= least + 1e-15:
            best, least = kept, divergence
    assert entropy(counts, levels, 16) == best


def test_entropy_clips_heavy_tails(isa):
    rng = np.random.default_rng(12)
    x = rng.standard_t(2, (4, 4000)).astype(F32)
    for layout in ({"axis": 0}, {}, {"group_size": 2000}):
        q = lb.quantize(x, "int8", calibrate="entropy", **layout)
        whole = lb.quantize(x, "int8", **layout)
        assert (q.scale < 0.7 * whole.scale).all()
        for i, values in parameters(x, layout):
            most = np.abs(values).max()
            inverse = F32(2048) / most
            kept = ref.entropy(ref.histogram(values, 2048, inverse, absolute=True), 128)
            limit = F32(np.float64(most) * kept / 2048)
            assert q.scale.ravel()[i] == max(-max(values.min(), -limit), min(values.max(), limit)) / F32(127)


def test_entropy_of_many_groups_is_that_of_each():
    """More groups than histograms are held at a time."""
    x = spread_floats(np.random.default_rng(13), (3, 1100))
    q = lb.quantize(x, "int4", group_size=2, calibrate="entropy")
    for j in (0, 511, 512, 549):
        one = lb.quantize(x[1, 2 * j : 2 * j + 2], "int4", calibrate="entropy")
        assert q.scale[1, j] == one.scale


def test_entropy_zeros_nothing_finite_tiny():
    for value in (0.0, np.nan, np.inf):
        assert lb.quantize(np.full(9, value, F32), "int8", calibrate="entropy").scale == 1
    for value in (TINY, 1e-38, MAX):
        q = lb.quantize(np.full(9, value, F32), "int8", calibrate="entropy", symmetric=False)
        assert np.isfinite(q.scale)
        assert q.scale != 0
    with pytest.raises(ValueError, match="calibrate: 'entropy' for nf4, expected a format of integers"):
        lb.quantize(np.ones(9, F32), "nf4", calibrate="entropy")


# ---- hqq -----------------------------------------------------------------------------------------------------------


@pytest.mark.bug(14)
def test_log_is_log():
    rng = np.random.default_rng(14)
    x = np.exp(rng.uniform(-103, 88, 100_000)).astype(F32)
    x = np.concatenate([x, np.nextafter(F32(1), [F32(0), F32(2)]), [TINY, 1e-40, MAX, 0.70710677, 0.7071068]]).astype(
        F32
    )
    exact = np.log(x.astype(np.float64))
    np.testing.assert_allclose(ref.log(x), exact, rtol=2e-7, atol=0)
    assert ref.log(F32(1)) == 0
    assert_same(ref.log(np.array([0, np.inf, np.nan], F32)), np.array([-np.inf, np.inf, np.nan], F32))


@functools.cache
def hqq_case(format, group_size, kind, scale_dtype=F32):
    rng = np.random.default_rng(15)
    x = spread_floats(rng, (5, 150))
    if kind == "small":
        x *= F32(0.02)
    if kind == "hard":
        x[0, 1], x[1, :64], x[3], x[4, :64] = np.nan, 0.5, x[3] * F32(1e30), np.inf
        x[2] = 0
    return x, *ref.hqq_params(x, format, group_size=group_size, scale_dtype=scale_dtype)


@pytest.mark.bug(1, 13)
@pytest.mark.parametrize("kind", ["normal", "small", "hard"])
def test_hqq_equals_the_reference(isa, kind):
    for format in ("int4", "uint4", "uint3", "int8", "uint2", "int1"):
        for group_size in (64, 150, *([1, 3] if format == "uint4" else [])):
            x, scale, zero = hqq_case(format, group_size, kind)
            q = lb.quantize(x, format, group_size=group_size, symmetric=False, calibrate="hqq")
            assert_same(q.scale, scale, f"{format} {group_size}")
            assert_same(q.zero_point, zero, f"{format} {group_size}")


def test_hqq_codes_follow_float_zero_points(isa):
    x, scale, zero = hqq_case("uint4", 64, "normal")
    q = lb.quantize(x, "uint4", group_size=64, symmetric=False, calibrate="hqq")
    s, z = (np.repeat(v, 64, axis=1)[:, :150] for v in (scale, zero))
    codes = np.clip(np.rint(x / s + z), 0, 15)
    assert (q.unpack() == codes).all()
    assert_same(q.dequantize(), ((codes.astype(F32) - z) * s).astype(F32))


def test_hqq_rows_tensors_and_float16():
    x, scale, zero = hqq_case("uint4", 150, "normal")
    rows = lb.quantize(x, "uint4", axis=0, symmetric=False, calibrate="hqq")
    assert_same(rows.scale, scale[:, 0])
    assert_same(rows.zero_point, zero[:, 0])
    whole = lb.quantize(x[0], "uint4", symmetric=False, calibrate="hqq")
    assert_same(whole.scale, scale[0, 0][()])
    half = lb.quantize(x, "uint4", group_size=64, symmetric=False, calibrate="hqq", scale_dtype=F16)
    _, scale, zero = hqq_case("uint4", 64, "normal", F16)
    assert_same(half.scale, scale)
    assert_same(half.zero_point, zero.astype(F16))


def test_hqq_of_a_long_run(isa):
    x = spread_floats(np.random.default_rng(16), (1, 9000))
    scale, zero = ref.hqq_params(x, "uint4")
    q = lb.quantize(x, "uint4", group_size=-1, symmetric=False, calibrate="hqq")
    assert_same(q.scale, scale)
    assert_same(q.zero_point, zero)


def test_hqq_lowers_the_mean_error():
    """What it minimises is nearer to |d|^0.7 than to d^2."""
    w = np.random.default_rng(17).standard_normal((256, 1024)).astype(F32)
    range_only = lb.quantize(w, "uint3", group_size=64, symmetric=False)
    hqq = lb.quantize(w, "uint3", group_size=64, symmetric=False, calibrate="hqq")

    def mean(q):
        return float(np.abs(q.dequantize() - w).mean())

    assert mean(hqq) < 0.97 * mean(range_only)


def test_hqq_constant_groups_are_exact(isa):
    for value in (0.0, 0.5, -3.0, 1e30, 1e-30):
        x = np.full((1, 40), value, F32)
        q = lb.quantize(x, "uint4", group_size=40, symmetric=False, calibrate="hqq")
        assert_same(q.dequantize(), x)


def test_hqq_errors():
    x = np.ones((4, 6, 8), F32)

    def hqq(format="uint4", **keywords):
        return lb.quantize(x, format, calibrate="hqq", **{"symmetric": False, **keywords})

    with pytest.raises(ValueError, match="calibrate: 'hqq' with symmetric=True, expected symmetric=False"):
        hqq(symmetric=True)
    with pytest.raises(ValueError, match="calibrate: 'hqq' for nf4"):
        hqq("nf4")
    for axis in (1, 2):
        with pytest.raises(ValueError, match="calibrate: 'hqq' with scales along an inner axis"):
            hqq(axis=axis)
    with pytest.raises(ValueError, match="expected a type with a fraction"):
        hqq(scale_dtype=ml_dtypes.float8_e8m0fnu)
    with pytest.raises(ValueError, match="scale: that of parameter 0 does not fit scale_type float16"):
        lb.quantize(np.array([0, 1e7], F32), "uint4", symmetric=False, calibrate="hqq", scale_dtype=F16)
    with pytest.raises(ValueError, match=r"zero_point: .* does not fit float16"):
        lb.quantize(np.full(4, 1e6, F32), "uint4", symmetric=False, calibrate="hqq", scale_dtype=F16)
    assert hqq(axis=0).zero_point.dtype == F32


# ---- all of them ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy", "absmean", "hqq"])
def test_every_format_and_layout_round_trips(method):
    x = spread_floats(np.random.default_rng(18), (4, 6, 40))
    for format in FORMATS:
        for layout in ({}, {"axis": 0}, {"axis": 1}, {"axis": -1}, {"group_size": 16}, {"group_size": -1}):
            if method == "hqq" and layout.get("axis") in (1, -1):
                continue
            q = lb.quantize(x, format, calibrate=method, symmetric=method != "hqq", **layout)
            assert q.dequantize().shape == x.shape
            assert np.isfinite(q.scale).all()
            assert (q.scale != 0).all()


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy", "absmean", "hqq"])
def test_empty(method):
    for shape in ((0,), (3, 0), (0, 3)):
        q = lb.quantize(np.zeros(shape, F32), "int4", group_size=2, calibrate=method, symmetric=method != "hqq")
        assert q.dequantize().shape == shape


def test_errors():
    x = np.ones(5, F32)
    for percentile in (50, 0, -1, 100.1, np.nan):
        with pytest.raises(ValueError, match=r"percentile: .*, expected a number above 50, at most 100"):
            lb.quantize(x, "int8", calibrate="percentile", percentile=percentile)
    with pytest.raises(TypeError, match="percentile: str, expected a number"):
        lb.quantize(x, "int8", calibrate="percentile", percentile="99")
    with pytest.raises(ValueError, match="calibrate: 'median', expected 'minmax', 'percentile', 'mse'"):
        lb.quantize(x, "int8", calibrate="median")


def test_16_bit_formats_have_scales_only_where_asked():
    x = spread_floats(np.random.default_rng(19), (3, 40))
    assert lb.quantize(x, "float16").scale == 1
    assert lb.quantize(x, "float16", calibrate="percentile").scale != 1
