"""calibrate="mse": bit for bit against lowbit.reference on every ISA, and what the search is worth."""

import functools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, MAX, TINY, assert_same, quantize_keywords, spread_floats

import lowbit as lb
from lowbit import reference as ref

E8M0, E4M3, BF16 = ml_dtypes.float8_e8m0fnu, ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16
LAYOUTS = [
    ((3, 75), {"group_size": 32}),
    ((3, 300), {"group_size": 150}),  # several rounds
    ((3, 75), {"axis": 0}),
    ((5, 40), {"axis": 1}),
    ((2, 3, 4, 9), {"axis": 1}),
    ((2, 3, 4, 9), {"axis": 2}),
    ((9, 70), {"block_shape": (4, 32)}),
    ((12, 30), {}),
    ((1,), {"group_size": -1}),
    ((), {}),
]


def search(x, format, convention, importance=None, scale_dtype=None, **layout):
    return lb.quantize(
        x,
        format,
        calibrate="mse",
        importance=importance,
        scale_dtype=scale_dtype,
        **quantize_keywords(convention),
        **layout,
    )


def rough(rng, shape):
    """Rows of very different magnitude, with what is not finite among them."""
    x = spread_floats(rng, shape)
    if x.ndim > 1:
        x *= np.ldexp(F32(1), rng.integers(-140, 100, (shape[0], *[1] * (x.ndim - 1))))
    where = rng.random(shape) < 0.05
    return np.where(where, rng.choice(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, TINY], F32), shape), x).astype(F32)


@functools.cache
def case(format, convention, index, scale_dtype=F32, weights=None, hard=False):
    """(x, importance, scale, zero point), computed once for all ISAs."""
    shape, layout = LAYOUTS[index]
    rng = np.random.default_rng(index)
    x = np.asarray(rough(rng, shape) if hard else spread_floats(rng, shape))
    importance = None
    if weights is not None:
        shape_of_weights = shape if weights == "each" else shape[-1:]
        importance = np.asarray((rng.random(shape_of_weights) * 1e-6).astype(F32))
        importance[rng.random(shape_of_weights) < 0.2] = 0
    scale, zero = ref.search_params(
        x, format, convention=convention, importance=importance, scale_dtype=scale_dtype, **layout
    )
    return x, importance, scale, zero


def check(format, convention, index, scale_dtype=F32, weights=None, hard=False):
    x, importance, scale, zero = case(format, convention, index, scale_dtype, weights, hard)
    layout = LAYOUTS[index][1]
    q = search(x, format, convention, importance, scale_dtype, **layout)
    what = f"{format} {convention} {layout} {np.dtype(scale_dtype)} {weights}"
    assert_same(np.asarray(q.scale).astype(F32), np.asarray(scale).astype(F32), what)
    if zero is None:
        assert q.zero_point is None
    else:
        assert_same(q.zero_points(), zero, what)


@pytest.mark.bug(1, 31)
@pytest.mark.parametrize("convention", ["signed_max", "full", "asymmetric"])
def test_equals_the_reference(isa, convention):
    for index in range(len(LAYOUTS)):
        check("int4", convention, index)
    for format in ("int8", "uint3", "int2", "uint1", "int1", "uint8", "ternary"):
        check(format, convention, 0)
        check(format, convention, 1)


@pytest.mark.bug(5, 13)
@pytest.mark.parametrize("convention", ["signed_max", "full", "asymmetric"])
def test_any_magnitude_and_not_finite(isa, convention):
    """Bug class 13: rows from subnormals to 2^100, NaN and infinities among them."""
    for index in range(8):
        check("int4", convention, index, hard=True)
        check("uint8", convention, index, hard=True)


@pytest.mark.parametrize("convention", ["signed_max", "asymmetric"])
def test_importance_equals_the_reference(isa, convention):
    for index in (0, 1, 2, 3, 5, 6, 7):
        check("int4", convention, index, weights="each")
        check("int3", convention, index, weights="last axis")


def test_formats_that_are_no_integers(isa):
    for format in ("nf4", "fp4", "float8_e4m3fn", "float8_e5m2fnuz", "float6_e3m2fn", "float4_e2m1fn"):
        check(format, "absmax", 0)
        check(format, "absmax", 3, weights="each")
    check("nf4", "absmax", 1)


@pytest.mark.parametrize("scale_dtype", [F16, BF16, E4M3, E8M0], ids=str)
def test_scale_types(isa, scale_dtype):
    for convention in ("full", "asymmetric", "signed_max"):
        if not (scale_dtype is E8M0 and convention == "signed_max"):
            check("int4", convention, 0, scale_dtype)
            check("int4", convention, 1, scale_dtype)


def test_block_formats(isa):
    x = spread_floats(np.random.default_rng(3), (3, 64))
    for format, group_size, scale_dtype in (("mxfp4", 32, E8M0), ("mxfp8_e4m3", 32, E8M0)):
        scale, _ = ref.search_params(x, format, group_size=group_size, convention="absmax", scale_dtype=scale_dtype)
        assert_same(lb.quantize(x, format, calibrate="mse").scale.view(np.uint8), scale.view(np.uint8))
    q = lb.quantize(x, "nvfp4", calibrate="mse")
    scale, _ = ref.search_params(
        x, "nvfp4", group_size=16, convention="absmax", scale_dtype=E4M3, global_scale=q.global_scale
    )
    assert_same(q.scale.view(np.uint8), scale.view(np.uint8))


@functools.cache
def long_case(convention):
    x = spread_floats(np.random.default_rng(4), (1500,))
    return x, *ref.search_params(x, "int4", convention=convention)


@pytest.mark.bug(2, 30)
@pytest.mark.parametrize("convention", ["signed_max", "asymmetric"])
def test_threads_share_a_long_parameter(isa, convention):
    """Six parts, the last one shorter: as one scale for all, and as a row among others."""
    x, scale, zero = long_case(convention)
    for threads in (1, 2, 3, 7):
        with lb.num_threads(threads):
            q = search(x, "int4", convention)
            rows = search(np.stack([x] * 5), "int4", convention, axis=0)
        assert_same(q.scale, scale, f"{threads} threads")
        assert_same(rows.scale, np.stack([scale] * 5), f"rows, {threads} threads")
        if zero is not None:
            assert_same(q.zero_point, zero)


# ---- what it is worth ----------------------------------------------------------------------------------------------


def error(x, q):
    return float(np.mean((q.dequantize().astype(np.float64) - x) ** 2))


@functools.cache
def normal():
    return np.random.default_rng(0).standard_normal((1024, 4096)).astype(F32)


@pytest.fixture
def best_isa():
    """Errors of millions of numbers need no slow instruction set: results are the same on all."""
    with lb.use_isa(lb.available_isas()[0]):
        yield


@pytest.mark.usefixtures("best_isa")
@pytest.mark.parametrize(
    ("format", "group_size", "signed", "asymmetric", "best_range"),
    [  # docs/numerics.md has the table; best_range: the best row of absmax quantizers
        ("int4", 32, 0.00654, 0.00589, 0.00652),
        ("int4", 128, 0.00932, 0.00903, 0.01011),
        ("int3", 128, 0.03451, 0.03450, 0.0432),
        ("int2", 128, 0.13192, 0.13191, 0.1798),
    ],
)
def test_normal_data(format, group_size, signed, asymmetric, best_range):
    x = normal()
    ranges = [error(x, lb.quantize(x, format, group_size=group_size, convention=c)) for c in ("full", "signed_max")]
    ranges.append(error(x, lb.quantize(x, format, group_size=group_size, symmetric=False)))
    assert min(ranges) == pytest.approx(best_range, rel=0.01)
    searched = error(x, lb.quantize(x, format, group_size=group_size, calibrate="mse"))
    assert searched == pytest.approx(signed, rel=0.005)
    assert searched < 0.9 * min(ranges[:2])
    with_zero = error(x, lb.quantize(x, format, group_size=group_size, calibrate="mse", symmetric=False))
    assert with_zero == pytest.approx(asymmetric, rel=0.005)
    assert with_zero < 0.91 * min(ranges)


@pytest.mark.usefixtures("best_isa")
@pytest.mark.parametrize(("format", "limit"), [("nf4", 0.00723), ("mxfp4", 0.01245), ("nvfp4", 0.00725)])
def test_normal_data_in_blocks(format, limit):
    x = normal()[:256]
    layout = {"group_size": 64} if format == "nf4" else {}
    assert error(x, lb.quantize(x, format, calibrate="mse", **layout)) < limit * 1.005


@pytest.mark.usefixtures("best_isa")
def test_whole_tensor_finds_the_best_step():
    """The grid -8 .. 7 with the step that suits a normal distribution: 0.011864."""
    x = normal()[:256]
    assert error(x, lb.quantize(x, "int4", calibrate="mse")) == pytest.approx(0.011864, rel=0.005)
    assert error(x, lb.quantize(x, "int8", calibrate="mse")) == pytest.approx(8.771e-5, rel=0.01)


DATA = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy": lambda rng, shape: rng.standard_t(2, shape),
    "positive": lambda rng, shape: np.maximum(rng.standard_normal(shape), 0),
    "outlier": lambda rng, shape: rng.standard_normal(shape) * np.where(rng.random(shape) < 0.01, 40, 1),
    "constant": lambda rng, shape: np.full(shape, 0.3),
    "two values": lambda rng, shape: rng.choice([-1.0, 0.75], shape),
    "offset": lambda rng, shape: rng.uniform(2, 3, shape),
}


@pytest.mark.parametrize("data", DATA)
def test_never_worse_than_the_range(data):
    """Its scale is among the candidates; 1e-5 for ties, where a reciprocal may take the other, and rounded sums."""
    x = DATA[data](np.random.default_rng(5), (40, 384)).astype(F32)
    mean_square = float((x.astype(np.float64) ** 2).mean())
    for format in ("int8", "int4", "uint4", "int2", "ternary"):
        for layout in ({"group_size": 32}, {"group_size": 128}, {"axis": 0}, {}):
            for convention in ("absmax", "signed_max", "asymmetric"):
                keywords = {**layout, **quantize_keywords(convention)}
                by_range = error(x, lb.quantize(x, format, **keywords))
                searched = error(x, lb.quantize(x, format, calibrate="mse", **keywords))
                assert searched <= by_range * (1 + 1e-5) + 1e-11 * mean_square, (format, keywords)


def test_exact_data_stay_exact():
    codes = np.random.default_rng(6).integers(-8, 8, (20, 32))
    codes[:, 0], codes[:, 1] = -8, 7
    for scale in (0.37, -0.37, 1e-20):
        x = (codes * F32(scale)).astype(F32)
        assert error(x, lb.quantize(x, "int4", group_size=32, calibrate="mse")) < 1e-11 * scale**2


def test_powers_of_two_change_only_the_scale():
    x = spread_floats(np.random.default_rng(7), (4, 64))
    q = lb.quantize(x, "int4", group_size=32, calibrate="mse", symmetric=False)
    for exponent in (-90, -3, 1, 100):
        other = lb.quantize(np.ldexp(x, exponent), "int4", group_size=32, calibrate="mse", symmetric=False)
        assert_same(other.codes, q.codes)
        assert_same(other.scale, np.ldexp(q.scale, exponent))


# ---- importance ----------------------------------------------------------------------------------------------------


def test_equal_importance_changes_nothing(isa):
    x = spread_floats(np.random.default_rng(8), (4, 70))
    plain = lb.quantize(x, "int4", group_size=32, calibrate="mse")
    for weight in (1.0, 2.0**-40, 2.0**100):
        weighted = lb.quantize(x, "int4", group_size=32, calibrate="mse", importance=np.full(70, weight, F32))
        assert_same(weighted.scale, plain.scale)
    none = lb.quantize(x, "int4", group_size=32, calibrate="mse", importance=np.zeros(70, F32))
    assert np.isfinite(none.scale).all()


def test_importance_of_columns_is_that_of_elements(isa):
    rng = np.random.default_rng(9)
    x, columns = spread_floats(rng, (3, 4, 70)), rng.random(70).astype(F32)
    for layout in ({"group_size": 32}, {"axis": 0}, {"axis": 1}, {"axis": 2}, {}):
        a = lb.quantize(x, "int4", calibrate="mse", importance=columns, **layout)
        every = np.broadcast_to(columns, x.shape)  # strides of 0 are an input as good as any
        assert_same(lb.quantize(x, "int4", calibrate="mse", importance=every, **layout).scale, a.scale)
        for dtype in (F16, BF16):
            half = columns.astype(dtype)
            b = lb.quantize(x, "int4", calibrate="mse", importance=half, **layout)
            wide = half.astype(F32)
            assert_same(b.scale, lb.quantize(x, "int4", calibrate="mse", importance=wide, **layout).scale)


def test_importance_lowers_the_weighted_error():
    rng = np.random.default_rng(10)
    x = normal()[:64]
    weights = rng.random(4096).astype(F32) ** 8

    def weighted(q):
        return float((weights * (q.dequantize().astype(np.float64) - x) ** 2).mean())

    for keywords in ({}, {"symmetric": False}):
        plain = lb.quantize(x, "int3", group_size=32, calibrate="mse", **keywords)
        minded = lb.quantize(x, "int3", group_size=32, calibrate="mse", importance=weights, **keywords)
        assert weighted(minded) < 0.9 * weighted(plain)
        assert error(x, minded) > error(x, plain)


# ---- the ends of the range -----------------------------------------------------------------------------------------


@pytest.mark.bug(13)
@pytest.mark.parametrize("convention", ["full", "signed_max", "asymmetric"])
def test_zeros_nothing_finite_one_element(isa, convention):
    rows = [0.0, -0.0, np.nan, np.inf, TINY, -1e-40, MAX, -MAX, 3.0]
    x = np.array([[v] * 5 for v in rows], F32)
    for format in ("int4", "uint8", "int2"):
        q = search(x, format, convention, group_size=5)
        scale, zero = ref.search_params(x, format, convention=convention, group_size=5)
        assert_same(q.scale, scale)
        assert zero is None or (q.zero_points() == zero).all()
        assert (q.scale[:4] == 1).all()
        assert (np.isfinite(q.scale) & (q.scale != 0)).all()
    q = search(np.array([2.5], F32), "int4", convention)
    assert q.dequantize() == pytest.approx(2.5, rel=1e-6)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_empty(shape):
    x = np.zeros(shape, F32)
    for keywords in ({}, {"axis": 0}, {"group_size": 3}, {"symmetric": False, "axis": 0}):
        same = lb.quantize(x, "int4", **keywords)
        q = lb.quantize(x, "int4", calibrate="mse", **keywords)
        assert_same(q.scale, same.scale)
        assert_same(q.codes, same.codes)
    lb.quantize(x, "int4", calibrate="mse", importance=np.ones(shape[-1:], F32))


@pytest.mark.bug(4, 19, 21)
def test_any_array(isa):
    base = spread_floats(np.random.default_rng(11), (8, 66))
    expected = lb.quantize(np.ascontiguousarray(base[::2, ::-1]), "int4", group_size=16, calibrate="mse")
    assert_same(lb.quantize(base[::2, ::-1], "int4", group_size=16, calibrate="mse").scale, expected.scale)
    fortran = np.asfortranarray(base[::2, ::-1])
    fortran.flags.writeable = False
    assert_same(lb.quantize(fortran, "int4", group_size=16, calibrate="mse").scale, expected.scale)
    raw = np.frombuffer(b"x" + base[::2, ::-1].tobytes(), F32, offset=1).reshape(4, 66)
    assert_same(lb.quantize(raw, "int4", group_size=16, calibrate="mse").scale, expected.scale)
    for dtype in (F16, BF16):
        half = base.astype(dtype)
        wide = lb.quantize(half.astype(F32), "int4", group_size=16, calibrate="mse")
        assert_same(lb.quantize(half, "int4", group_size=16, calibrate="mse").scale, wide.scale)


def test_out_and_double_quantization():
    x = spread_floats(np.random.default_rng(12), (4, 64))
    q = lb.quantize(x, "nf4", group_size=32, calibrate="mse")
    out = lb.quantize(x * 0, "nf4", group_size=32)
    assert lb.quantize(x, "nf4", group_size=32, calibrate="mse", out=out) is out
    assert_same(out.scale, q.scale)
    assert_same(out.codes, q.codes)
    nested = lb.quantize(x, "nf4", group_size=32, calibrate="mse", double_quantize=True)
    assert error(x, nested) < error(x, lb.quantize(x, "nf4", group_size=32))
    np.testing.assert_allclose(nested.decoded_scale(), q.scale, rtol=0.02)


@pytest.mark.bug(13)
def test_scale_beyond_float16_raises(isa):
    x = np.full((3, 64), 1.0, F32)
    x[1, 40] = 1e7
    for keywords in ({}, {"symmetric": False}, {"convention": "full"}):
        with pytest.raises(ValueError, match=r"scale: that of parameter 3 .*float16"):
            lb.quantize(x, "int4", group_size=32, calibrate="mse", scale_dtype=F16, **keywords)
        with pytest.raises(ValueError, match=r"scale: that of parameter 0 .*float16"):
            lb.quantize(np.full(100_000, 1e7, F32), "int4", calibrate="mse", scale_dtype=F16, **keywords)


def test_scale_below_float16_becomes_one(isa):
    q = lb.quantize(np.full((2, 8), 1e-12, F32), "int8", group_size=4, calibrate="mse", scale_dtype=F16)
    assert (q.scale == 1).all()
    assert not q.unpack().any()


def test_errors():
    x = np.ones((3, 8), F32)

    def quantize(**keywords):
        return lb.quantize(x, "int4", **{"calibrate": "mse", **keywords})

    with pytest.raises(ValueError, match=r"importance: shape \(3,\), expected \(3, 8\) or \(8,\)"):
        quantize(importance=np.ones(3, F32))
    with pytest.raises(TypeError, match=r"importance: dtype float64, expected float32.*astype"):
        quantize(importance=np.ones(8))
    for bad in (-1, np.nan, np.inf):
        weights = np.ones(8, F32)
        weights[3] = bad
        with pytest.raises(ValueError, match=r"importance: .* among the values, expected finite ones, at least 0"):
            quantize(importance=weights)
    with pytest.raises(ValueError, match="importance: given with calibrate='minmax', expected calibrate='mse'"):
        quantize(calibrate="minmax", importance=np.ones(8, F32))
    with pytest.raises(ValueError, match="calibrate: 'mse' with scale, expected 'minmax'"):
        quantize(scale=F32(1))
    with pytest.raises(ValueError, match="calibrate: 'MSE', expected 'minmax', 'percentile'"):
        quantize(calibrate="MSE")
    with pytest.raises(TypeError, match="calibrate: int, expected a string or an Observer"):
        quantize(calibrate=3)
    with pytest.raises(ValueError, match=r"signed_max with scale_type float8_e8m0fnu"):
        quantize(convention="signed_max", scale_dtype=E8M0)
    with pytest.raises(ValueError, match=r"convention: .* with symmetric=False"):
        quantize(convention="full", symmetric=False)
