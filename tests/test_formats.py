"""Every number format through quantize and dequantize: bits against the reference, errors against the literature."""

import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same, hard_floats, raises, spread_floats

import lowbit as lb
from lowbit import reference as ref
from lowbit._formats import FORMATS, SCALE_TYPES, find_format
from lowbit.reference.formats import BLOCKS, FLOATS, TABLES

BF16, E8M0, E4M3 = ml_dtypes.bfloat16, ml_dtypes.float8_e8m0fnu, ml_dtypes.float8_e4m3fn
NEW = [*FLOATS, *TABLES, *BLOCKS, "ternary"]
LAYOUTS = [{}, {"axis": 0}, {"axis": 1}, {"group_size": 16}, {"group_size": 5}, {"block_shape": (3, 20)}]


def raw(a):
    """Codes and scales of types that numpy does not have, as integers."""
    return a if a.dtype.num < 256 and a.dtype != F16 else a.view(f"u{a.dtype.itemsize}")


def value_range(x, axis=None, group_size=None, block_shape=None):
    if block_shape is None:
        return ref.value_range(x, axis=axis, group_size=group_size)
    rows, columns = block_shape
    blocks = [[x[i : i + rows, j : j + columns] for j in range(0, x.shape[1], columns)]
              for i in range(0, x.shape[0], rows)]  # fmt: skip
    ranges = [[ref.value_range(b) for b in row] for row in blocks]
    return tuple(np.array([[r[i] for r in row] for row in ranges], F32) for i in (0, 1))


def layout_of(format, layout):
    return {"group_size": BLOCKS[format][1]} if format in BLOCKS else layout


def check(x, format, layout, scale_dtype=None, convention=None):
    """Codes, scales and values of lowbit are those of the reference, to the bit."""
    q = lb.quantize(x, format, **layout, scale_dtype=scale_dtype, convention=convention)
    where = layout_of(format, layout)
    dtype = np.dtype(BLOCKS[format][2] if format in BLOCKS else scale_dtype or F32)
    low, high = value_range(x, **where)
    scale, zero = ref.choose_params(format, convention or "absmax", low, high, dtype, q.global_scale or 1)
    if find_format(format).bits == 16 and convention is None:
        scale = np.ones_like(scale)
    codes = ref.quantize(x, format, scale, zero, **where, global_scale=q.global_scale or 1)
    assert_same(raw(q.scale), raw(scale), "scale")
    assert_same(raw(q.unpack()), codes, "codes")
    want = ref.dequantize(codes, scale, zero, format=format, **where, global_scale=q.global_scale or 1)
    assert_same(q.dequantize(), want, "values")
    given = lb.quantize(x, format, **layout, scale=q.scale, global_scale=q.global_scale)
    assert_same(raw(given.codes), raw(q.codes), "codes with given scales")
    return q


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("format", NEW)
def test_is_the_reference(isa, format, layout):
    rng = np.random.default_rng(0)
    if format in BLOCKS and layout:
        pytest.skip("block formats have their own groups")
    x = spread_floats(rng, (7, 96))
    q = check(x, format, layout, convention="absmax")
    assert np.count_nonzero(q.dequantize()) >= 10
    x[2, :40], x[3] = 0, np.nan
    x[4, ::7], x[5, 3], x[5, 40] = np.nan, np.inf, -np.inf
    check(x, format, layout)
    check(hard_floats(rng, (7, 96)) * F32(1e-4), format, layout, convention="absmax")


@pytest.mark.parametrize("scale_dtype", SCALE_TYPES, ids=str)
@pytest.mark.parametrize("format", ["int8", "int4", "uint3", "ternary", "float8_e4m3fn", "float4_e2m1fn", "nf4"])
def test_scale_types(isa, format, scale_dtype):
    x = spread_floats(np.random.default_rng(1), (5, 100))
    q = check(x, format, {"group_size": 32}, scale_dtype, "absmax")
    assert q.scale.dtype == scale_dtype
    assert q.nbytes == q.codes.nbytes + q.scale.size * scale_dtype.itemsize + (
        0 if q.zero_point is None else 8 * 5 // 8 * 2
    )


@pytest.mark.parametrize("scale_dtype", [F16, BF16, E8M0, E4M3])
def test_asymmetric_scale_types(isa, scale_dtype):
    x = spread_floats(np.random.default_rng(2), (5, 96)) + F32(1)
    q = lb.quantize(x, "uint4", group_size=32, symmetric=False, scale_dtype=scale_dtype)
    low, high = ref.value_range(x, group_size=32)
    scale, zero = ref.choose_params("uint4", "asymmetric", low, high, scale_dtype)
    assert_same(raw(q.scale), raw(scale))
    assert_same(q.zero_points(), zero)
    assert_same(q.unpack(), ref.quantize(x, "uint4", scale, zero, group_size=32))


def test_global_scale_of_any_format(isa):
    x = spread_floats(np.random.default_rng(3), (4, 64))
    q = lb.quantize(x, "int4", group_size=16, scale_dtype=E4M3, global_scale=0.01)
    low, high = ref.value_range(x, group_size=16)
    scale, _ = ref.choose_params("int4", "full", low, high, E4M3, F32(0.01))
    assert_same(raw(q.scale), raw(scale))
    codes = ref.quantize(x, "int4", scale, group_size=16, global_scale=F32(0.01))
    assert_same(q.unpack(), codes)
    assert_same(q.dequantize(), ref.dequantize(codes, scale, group_size=16, global_scale=F32(0.01)))


def test_float_zero_points(isa):
    rng = np.random.default_rng(4)
    x = spread_floats(rng, (6, 70))
    x[0, :3] = np.nan, np.inf, -np.inf
    for dtype in (F32, F16):
        scale = rng.uniform(0.1, 0.5, (6, 3)).astype(F32)
        zero = rng.uniform(0, 15, (6, 3)).astype(dtype)
        q = lb.quantize(x, "uint4", group_size=32, scale=scale, zero_point=zero, symmetric=False)
        codes = ref.quantize(x, "uint4", scale, zero, group_size=32)
        assert_same(q.unpack(), codes)
        assert q.zero_point.dtype == dtype
        assert_same(q.dequantize(), ref.dequantize(codes, scale, zero.astype(F32), group_size=32))
        assert_same(q.dequantize(rows=[5, 0, 5]), q.dequantize()[[5, 0, 5]])


@pytest.mark.parametrize("format", ["float8_e4m3fn", "int8", "int4"])
@pytest.mark.parametrize("shape", [(1, 1), (128, 128), (130, 257), (300, 64), (5, 300)])
def test_blocks_of_128(isa, threads, format, shape):
    x = spread_floats(np.random.default_rng(5), shape)
    q = check(x, format, {"block_shape": (128, 128)}, convention="absmax")
    assert q.scale.shape == tuple(-(-n // 128) for n in shape)
    rows = [0, shape[0] - 1, -1]
    assert_same(q.dequantize(rows=rows), q.dequantize()[rows])


def test_double_quantization(isa):
    x = spread_floats(np.random.default_rng(6), (128, 512))
    q = lb.quantize(x, "nf4", group_size=64, double_quantize=True)
    assert isinstance(q.scale, lb.QuantizedArray)
    assert q.scale.format == "uint8"
    assert q.bits_per_weight == 4 + 8 / 64 + (32 + 8) / (64 * 256)
    scale = q.decoded_scale()
    assert scale.shape == (128, 8)
    plain = lb.quantize(x, "nf4", group_size=64)
    assert np.abs(scale / plain.scale - 1).max() < 0.04
    codes = ref.quantize(x, "nf4", scale, group_size=64)
    assert_same(q.unpack(), codes)
    assert_same(q.dequantize(), ref.dequantize(codes, scale, format="nf4", group_size=64))
    assert_same(q.dequantize(rows=[3, 3]), q.dequantize()[[3, 3]])


@pytest.mark.parametrize("format", ["int8", "int4", "uint4", "float8_e5m2", "bfloat16", "nf4", "mxfp4", "nvfp4"])
def test_out(isa, format):
    x, y = (spread_floats(np.random.default_rng(seed), (6, 64)) for seed in (7, 8))
    layout = {} if format in BLOCKS else {"group_size": 16}
    q, want = lb.quantize(x, format, **layout), lb.quantize(y, format, **layout)
    codes = q.codes
    assert lb.quantize(y, format, **layout, out=q) is q
    assert q.codes is codes
    assert_same(raw(q.codes), raw(want.codes))
    assert_same(raw(q.scale), raw(want.scale))
    assert_same(q.dequantize(), want.dequantize())


def test_streamed_results(isa):
    """Results of more than 16 MiB go past the caches; the bits are those of the small ones."""
    x = np.tile(spread_floats(np.random.default_rng(9), (1, 4096)), (4200, 1))
    for format, layout in (("int8", {"axis": 0}), ("bfloat16", {}), ("int4", {"group_size": 32})):
        q = lb.quantize(x, format, **layout)
        one = lb.quantize(x[:1], format, **layout)
        assert (raw(q.codes) == raw(one.codes)).all()
        back = np.empty(x.size + 1, F32)[1:].reshape(x.shape)  # beside a line's start
        assert (q.dequantize(out=back) == one.dequantize()).all()


def test_extremes_of_scales():
    big = np.full((1, 32), 3e38, F32)
    for scale_dtype, format in itertools.product((F16, E4M3), ("int4", "float4_e2m1fn", "nf4")):
        with raises(ValueError, "scale", np.dtype(scale_dtype).name):
            lb.quantize(big, format, group_size=32, scale_dtype=scale_dtype)
    tiny = np.full((1, 32), 1e-44, F32)
    for format in ("mxfp4", "nvfp4", "nf4"):
        for x in (tiny, np.zeros_like(tiny), np.full_like(tiny, np.nan)):
            q = lb.quantize(x, format) if format in BLOCKS else lb.quantize(x, format, group_size=32)
            assert np.isfinite(q.scale.astype(F32)).all()
            assert np.isfinite(q.dequantize()).all()
    assert np.isnan(lb.quantize(np.full((1, 32), np.nan, F32), "mxfp8_e4m3").dequantize()).all()


def test_registry_and_shapes():
    names = {f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 9)} | {"ternary"}
    assert set(FORMATS) == names | set(FLOATS) | set(TABLES) | set(BLOCKS)
    x = spread_floats(np.random.default_rng(10), (4, 96))
    for format in NEW:
        q = lb.quantize(x, format)
        fmt = find_format(format)
        assert q.unpack().dtype == fmt.dtype
        assert q.unpack().shape == x.shape
        if fmt.kind == "float":
            assert ml_dtypes.finfo(fmt.dtype).bits == fmt.bits
            assert float(ml_dtypes.finfo(fmt.dtype).max) == fmt.max_value
            scales = q.decoded_scale().astype(F32) * (q.global_scale or F32(1))
            spread = np.repeat(scales, 96 // scales.shape[-1], axis=-1) if scales.ndim else scales
            assert_same(q.dequantize(), q.unpack().astype(F32) * spread)
        empty = lb.quantize(x[:0], format)
        assert empty.dequantize().shape == (0, 96)
        assert "format" not in repr(q)
        assert format in repr(q)
    for name, bits in (("mxfp4", 4.25), ("nvfp4", 4.5), ("mxfp6_e2m3", 6.25), ("mxfp8_e4m3", 8.25)):
        q = lb.quantize(np.ones((64, 512), F32), name)
        assert abs(q.bits_per_weight - bits) < 0.01
    assert lb.quantize(x, ml_dtypes.float8_e4m3fn).format == "float8_e4m3fn"


def test_nan_and_infinity():
    x = np.array([[np.nan, np.inf, -np.inf, 1.0] * 8], F32)
    for format in NEW:
        got = lb.quantize(x, format).dequantize()
        assert np.isfinite(got[0, 3])
        has_nan = (format in FLOATS and FLOATS[format].kind != "finite") or format.startswith("mxfp8")
        assert np.isnan(got[0, 0]) == has_nan
        if not has_nan:
            assert got[0, 0] == 0
        assert got[0, 1] > 0
        assert got[0, 2] < 0
        assert np.isfinite(got[0, 1:4]).all()


X = np.ones((4, 32), F32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lb.quantize(X[:, :31], "mxfp4"), ["shape", "31", "32"]),
        (lambda: lb.quantize(X[:, :24], "nvfp4"), ["24", "16"]),
        (lambda: lb.quantize(X, "mxfp4", group_size=16), ["group_size", "16", "32"]),
        (lambda: lb.quantize(X, "mxfp4", axis=0), ["group_size", "mxfp4"]),
        (lambda: lb.quantize(X, "mxfp4", scale_dtype=F32), ["scale_dtype", "float32", "float8_e8m0fnu"]),
        (lambda: lb.quantize(X, "nf4", symmetric=False), ["symmetric", "nf4"]),
        (lambda: lb.quantize(X, "nf4", convention="full"), ["convention", "full", "absmax"]),
        (lambda: lb.quantize(X, "nf4", scale=1.0, zero_point=1), ["zero_point", "nf4"]),
        (lambda: lb.quantize(X, "int8", block_shape=(0, 2)), ["block_shape", "0"]),
        (lambda: lb.quantize(X[0], "int8", block_shape=(2, 2)), ["block_shape", "2 dimensions"]),
        (lambda: lb.quantize(X, "int8", block_shape=(2, 2), axis=0), ["axis", "block_shape"]),
        (lambda: lb.quantize(X, "int4", global_scale=-1.0), ["global_scale", "-1"]),
        (lambda: lb.quantize(X, "int4", global_scale=np.nan), ["global_scale", "nan"]),
        (lambda: lb.quantize(X, "int4", convention="signed_max", scale_dtype=E8M0), ["signed_max", "e8m0"]),
        (lambda: lb.quantize(X, "int4", scale=1.0, double_quantize=True), ["double_quantize", "scale"]),
        (lambda: lb.quantize(X, "int4", out=lb.quantize(X, "int8")), ["out", "int8", "int4"]),
        (lambda: lb.quantize(X, "int4", out=lb.quantize(X, "int4", scale_dtype=F16)), ["out", "float32"]),
        (lambda: lb.quantize(X, "int4", out=lb.quantize(X[:2], "int4")), ["out", "(4, 32)"]),
        (lambda: lb.QuantizedArray(np.full((4, 8), 0xAA, np.uint8), 1.0, format="ternary", shape=(4, 32)),
         ["codes", "-2", "ternary"]),
        (lambda: lb.QuantizedArray(np.zeros((4, 16), np.uint8), np.ones((4, 2), E4M3), format="nvfp4", shape=(4, 32)),
         ["global_scale", "None", "nvfp4"]),
    ],
)  # fmt: skip
def test_refuses(call, words):
    with raises(ValueError, *words):
        call()


# ---- accuracy: facts/checkpoints-and-algorithms.md, N(0, 1) ---------------------------------------------------------


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(0).standard_normal((1024, 4096)).astype(F32)


def mean_squared_error(x, q):
    return float(np.mean((q.dequantize() - x) ** 2, dtype=np.float64))


ABSMAX = [
    ("int4", 32, (0.00944, 0.00901, 0.00740, 0.00653)),
    ("int4", 128, (0.01381, 0.01230, 0.01066, 0.01013)),
    ("int3", 128, (0.0752, 0.0565, 0.0432, 0.0465)),
    ("int2", 128, (0.589, 0.303, 0.180, 0.253)),
]


@pytest.mark.parametrize(("format", "group_size", "errors"), ABSMAX)
def test_absmax_table(normal, format, group_size, errors):
    for convention, expected in zip(("absmax", "full", "signed_max", None), errors, strict=True):
        keywords = {"convention": convention} if convention else {"symmetric": False}
        q = lb.quantize(normal, format, group_size=group_size, **keywords)
        assert mean_squared_error(normal, q) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("format", "keywords", "expected"),
    [
        ("nf4", {"group_size": 64}, 0.00848),
        ("nvfp4", {}, 0.00905),
        ("mxfp4", {}, 0.01323),
        ("float8_e4m3fn", {}, 7.0e-4),
        ("float8_e5m2", {}, 2.78e-3),
    ],
)
def test_float_table(normal, format, keywords, expected):
    assert mean_squared_error(normal, lb.quantize(normal, format, **keywords)) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("bits", "step", "expected"), [(2, 0.9965, 0.11885), (3, 0.5859, 0.03744), (4, 0.3352, 0.011543)]
)
def test_mid_rise_grid(normal, bits, step, expected):
    """Float zero points halfway between codes: the uniform mid-rise quantizer at its best step."""
    zero = (2**bits - 1) / 2
    q = lb.quantize(normal, f"uint{bits}", scale=step, zero_point=zero, symmetric=False)
    assert mean_squared_error(normal, q) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("bits", "expected"), [(2, 0.14943), (3, 0.040638), (4, 0.011864), (8, 8.771e-5)])
def test_integer_grid(normal, bits, expected):
    """The integer grid at its best step."""
    best = min(
        mean_squared_error(normal[:64], lb.quantize(normal[:64], f"int{bits}", scale=float(step)))
        for step in np.linspace(0.9, 1.1, 21) * {2: 1.224, 3: 0.65, 4: 0.352, 8: 0.0308}[bits]
    )
    assert best == pytest.approx(expected, rel=0.03)
