"""matmul, compute "int8x2": bit for bit against lowbit.reference on every ISA, and 50 times as exact as "int8"."""

import functools
import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, TINY, assert_same, assert_telling, hard_floats, quantized, random_codes, spread_floats

import lowbit as lb
from lowbit import reference as ref

BF16 = ml_dtypes.bfloat16
ROWS = [1, 2, 3, 4, 5, 8, 23, 24, 25, 49]  # rows of x: 8 prepared rows, a chunk of 48 of them, and tails
INTEGERS = ["int8", "uint8", "int7", "uint6", "int5", "int4", "uint4", "uint3", "int2", "int1"]
NUMBERS = ["float4_e2m1fn", "nf4", "fp4", "mxfp4", "nvfp4"]
SHAPES = [(70, 33, None), (131, 17, 32), (200, 66, 64), (97, 16, -1), (96, 5, 8)]  # K, N, group size


def reference(x, q, **keywords):
    """By what is in a QuantizedArray W."""
    codes, steps = q.unpack(), ref.INT8_STEPS.get(q.format, 1)
    if q.format in ref.INT8_STEPS:
        codes = ref.int8_numbers(ref.decode(codes.view(np.uint8), q.format), steps)
    if q.global_scale is not None:
        keywords["global_scale"] = q.global_scale
    return ref.matmul_int8x2(
        x, codes, q.decoded_scale(), q.zero_points(), group_size=q.group_size, steps=steps, **keywords
    )


@functools.cache
def case(format, k, n, group_size, zeros):
    """(x, QuantizedArray, PackedWeights). zeros: None, "codes" or "floats"."""
    rng = np.random.default_rng([k, n])
    layout = {"axis": 0} if group_size is None else {"group_size": group_size}
    if format in INTEGERS:
        _, _, qmin, qmax = ref.code_range(format)
        params = (n,) if group_size is None else (n, -(-k // (k if group_size == -1 else group_size)))
        codes, scale = random_codes(rng, format, (n, k)), (rng.uniform(0.5, 1.5, params) / (qmax - qmin)).astype(F16)
        zero = random_codes(rng, format, params) if zeros == "codes" else None
        if zeros == "floats":
            zero = rng.uniform(qmin, qmax, params).astype(F32)
            stored = ref.pack_bits(codes, ref.code_range(format)[0]) if ref.code_range(format)[0] < 8 else codes
            q = lb.QuantizedArray(stored, scale, zero, format=format, shape=(n, k), **layout)
        else:
            q = quantized(codes, scale, zero, format, **layout)
    else:
        q = lb.quantize(rng.standard_normal((n, k)).astype(F32), format, **layout)
    return spread_floats(rng, (max(ROWS), k)), q, lb.pack_weights(q)


def act_groups(group_size):
    return [None, -1] if group_size in (None, -1) else [None, -1, 2 * group_size]


@pytest.mark.bug(1, 2, 8, 31)
@pytest.mark.parametrize(
    ("format", "zeros"), [("ternary", None), *itertools.product(INTEGERS, [None, "codes", "floats"])]
)
def test_integers(isa, format, zeros):
    for number, (k, n, group_size) in enumerate(SHAPES):
        x, _, packed = case(format, k, n, group_size, zeros)
        for act in act_groups(group_size):
            want = wanted(format, k, n, group_size, zeros, act)
            assert_telling(want)
            for m in ROWS[number % 2 :: 2]:
                got = lb.matmul(x[:m], packed, compute="int8x2", act_group_size=act)
                assert_same(got, want[:m], f"{k, n, group_size} act={act} M={m}")


@functools.cache
def wanted(format, k, n, group_size, zeros, act):
    x, q, _ = case(format, k, n, group_size, zeros)
    return reference(x, q, act_group_size=act)


@pytest.mark.parametrize("format", NUMBERS)
def test_numbers_of_4_bits(isa, format):
    group_size = {"mxfp4": 32, "nvfp4": 16}.get(format, 32)
    x, q, packed = case(format, 128, 35, group_size, None)
    for act in (None, -1, 64):
        want = reference(x, q, act_group_size=act)
        for m in (1, 4, 5, 30):
            assert_same(lb.matmul(x[:m], packed, compute="int8x2", act_group_size=act), want[:m], f"{act} {m}")


def test_divisors_of_the_weights_group(isa):
    x, q, packed = case("int4", 256, 19, 128, "codes")
    for act in (8, 32, 64):
        want = reference(x, q, act_group_size=act)
        for m in (2, 30):
            assert_same(lb.matmul(x[:m], packed, compute="int8x2", act_group_size=act), want[:m])


@pytest.mark.parametrize("zeros", ["codes", "floats"])
def test_segments_and_epilogue(isa, zeros):
    """K beyond 1024: each term has its own segments; they meet before the bias."""
    for k, group_size in ((1025, 32), (2100, 100), (2100, None)):
        x, q, packed = case("uint4", k, 17, group_size, zeros)
        rng = np.random.default_rng(1)
        bias, r = rng.standard_normal(17).astype(F32), hard_floats(rng, (9, 17))
        keywords = {"bias": bias, "activation": "gelu", "residual": r}
        want = reference(x[:9], q, **keywords)
        assert_same(lb.matmul(x[:9], packed, compute="int8x2", **keywords), want, f"{k} {group_size}")


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_16_bit_floats(isa, dtype):
    for m in (1, 9):
        x, q, packed = case("int4", 131, 17, 32, "codes")
        x = x[:m].astype(dtype)
        want = reference(x.astype(F32), q).astype(dtype)
        assert_same(lb.matmul(x, packed, compute="int8x2").view(np.uint16), want.view(np.uint16))


# ---- how exact ---------------------------------------------------------------------------------------------------


def normal(rng, shape):
    return rng.standard_normal(shape).astype(F32)


def outliers(rng, shape):
    """Columns 100 times as large as the others, as activations of language models have them."""
    x = normal(rng, shape)
    x[:, :: shape[1] // 4] *= 100
    return x


@pytest.mark.parametrize("act", [None, -1])
@pytest.mark.parametrize("draw", [normal, outliers])
@pytest.mark.parametrize(
    ("format", "group_size"), [("int4", 32), ("uint4", 128), ("int8", None), ("nf4", 64), ("int2", 32)]
)
def test_a_fiftieth_of_the_error_of_int8(isa, format, group_size, draw, act):
    """Against the float64 product with the weights that compute "int8" multiplies; every row for itself."""
    rng = np.random.default_rng(3)
    layout = {"axis": 0} if group_size is None else {"group_size": group_size}
    q = lb.quantize(rng.standard_normal((64, 1024)).astype(F32), format, symmetric=format[0] != "u", **layout)
    packed, x = lb.pack_weights(q), draw(rng, (16, 1024))
    w = q.dequantize().astype(np.float64)
    if format == "nf4":  # rounded to steps of 1/124
        numbers = ref.int8_numbers(ref.decode(q.unpack(), format), 124).astype(np.float64) / 124
        w = numbers * np.repeat(q.scale.astype(np.float64), group_size, axis=1)
    exact = x.astype(np.float64) @ w.T
    error = {c: lb.matmul(x, packed, compute=c, act_group_size=act) - exact for c in ("int8", "int8x2")}
    size = {c: np.sqrt((e**2).mean(axis=1)) for c, e in error.items()}
    assert (size["int8x2"] * 50 <= size["int8"]).all(), size["int8"] / size["int8x2"]
    assert np.abs(error["int8x2"]).max() * 50 <= np.abs(error["int8"]).max()


def test_two_terms_are_15_bits():
    """What the two terms leave of x is at most half of scale / 254, and a rounding."""
    x = spread_floats(np.random.default_rng(5), (9, 300))
    first, scale, second, second_scale = ref.quantize_activations_twice(x, 32)
    assert np.abs(first).max() == 127
    assert np.abs(second).max() == 127
    index = np.arange(300) // 32
    back = first * scale.astype(np.float64)[:, index] + second * second_scale.astype(np.float64)[:, index]
    assert (np.abs(back - x) <= scale[:, index] / 254 * 0.51).all()
    assert_same(first, ref.quantize_activations(x, 32)[0])


# ---- extremes ----------------------------------------------------------------------------------------------------


@pytest.mark.bug(5, 6)
@pytest.mark.parametrize("act", [None, -1])
def test_not_finite_gives_a_nan_row_and_only_that(isa, act):
    x, _, packed = case("int4", 131, 17, 32, "codes")
    for m in (3, 9, 30):
        clean = lb.matmul(x[:m], packed, compute="int8x2", act_group_size=act)
        for at in (0, 15, 16, 63, 128, 130):
            for value in (np.nan, np.inf, -np.inf):
                bad = x[:m].copy()
                bad[m // 2, at] = value
                y = lb.matmul(bad, packed, compute="int8x2", act_group_size=act)
                assert np.isnan(y[m // 2]).all(), (m, at, value)
                others = np.arange(m) != m // 2
                assert_same(y[others], clean[others], f"{m} {at} {value}")


@pytest.mark.bug(13)
@pytest.mark.parametrize("act", [None, -1])
def test_zero_subnormal_and_huge_rows(isa, act):
    """Scales that underflow, one or both; quotients past 127, where the scale is subnormal; the largest numbers."""
    x, q, packed = case("uint4", 200, 66, 64, "codes")
    x = x[:12].copy()
    for row, factor in enumerate([0, -0.0, TINY, 64 * TINY, 190 * TINY, 1e-42, 1e-40, 1e-38, 1e-30, 1e30, 3e38, 1]):
        x[row] = (x[row] / F32(np.abs(x[row]).max())) * F32(factor)
    for rows in (slice(None), slice(0, 4), slice(8, 12)):
        want = reference(x[rows], q, act_group_size=act)
        assert_same(lb.matmul(x[rows], packed, compute="int8x2", act_group_size=act), want)


@pytest.mark.bug(7)
def test_ties_of_both_terms(isa):
    """Bug class 7: the largest of a row is 127, so that quotients are the values: every half, every half of a 254th."""
    half = np.arange(-127, 127, 0.5, dtype=F32)
    fine = np.arange(-254, 254, dtype=F32) / F32(508) + F32(3)
    rows = [half, np.nextafter(half, F32(np.inf)), np.nextafter(half, F32(-np.inf)), fine]
    x = np.stack([*rows, np.nextafter(fine, F32(np.inf)), np.nextafter(fine, F32(-np.inf))])
    x[:, 0] = 127
    k = x.shape[1]
    q = lb.QuantizedArray(np.eye(k, dtype=np.int8), np.ones(k, F32), format="int8", shape=(k, k), axis=0)
    y = lb.matmul(x, lb.pack_weights(q), compute="int8x2")
    assert_same(y, reference(x, q))
    assert np.abs(y - x).max() <= 0.5 / 254 + 1e-5


@pytest.mark.bug(9, 10, 11)
def test_extreme_codes(isa):
    """Both terms at ±127 against weights at their ends, K long."""
    k = 1500
    x = np.full((9, k), 126.5, F32)
    x[:, 0] = 127
    x[4:] = -x[4:]
    for format, code in (("int8", -128), ("int8", 127), ("uint8", 255), ("int4", -8), ("uint4", 15)):
        codes = np.full((17, k), code, np.int8 if format[0] == "i" else np.uint8)
        q = quantized(codes, np.full(17, 0.01, F32), None, format, axis=0)
        packed = lb.pack_weights(q)
        for m in (1, 9):
            assert_same(lb.matmul(x[:m], packed, compute="int8x2"), reference(x[:m], q), f"{format} {code} {m}")


@pytest.mark.bug(19)
def test_shapes(isa):
    x, _, packed = case("int4", 131, 17, 32, "codes")
    flat = lb.matmul(x[:12], packed, compute="int8x2")
    assert_same(lb.matmul(x[:12].reshape(2, 3, 2, 131), packed, compute="int8x2"), flat.reshape(2, 3, 2, 17))
    assert_same(lb.matmul(x[4], packed, compute="int8x2"), flat[4])
    assert lb.matmul(x[:0], packed, compute="int8x2").shape == (0, 17)
    bias = np.array([1, -2, 3], F32)
    for layout in ({"axis": 0}, {"group_size": 8}, {}):
        empty = lb.pack_weights(lb.quantize(np.zeros((3, 0), F32), "int4", **layout))
        got = lb.matmul(np.zeros((2, 0), F32), empty, bias=bias, compute="int8x2")
        assert_same(got, np.stack([bias, bias]))
        assert_same(ref.matmul_int8x2(np.zeros((2, 0)), np.zeros((3, 0), int), np.ones(3), bias=bias), got)


@pytest.mark.bug(2, 30)
def test_threads_and_batches_change_nothing(isa):
    x, _, packed = case("int4", 200, 66, 64, "floats")
    x = np.concatenate([x] * 5)
    want = lb.matmul(x, packed, compute="int8x2")
    for threads in (1, 2, 5):
        with lb.num_threads(threads):
            assert_same(lb.matmul(x, packed, compute="int8x2"), want)
    for m in ROWS:
        assert_same(lb.matmul(x[-m:], packed, compute="int8x2"), want[-m:])


# ---- errors ------------------------------------------------------------------------------------------------------


def test_formats_without_int8_are_refused():
    w = lb.pack_weights(lb.quantize(np.ones((3, 32), F32), "float8_e4m3fn", axis=0))
    with pytest.raises(ValueError, match=r"compute: 'int8x2' with float8_e4m3fn weights, expected 'float32'"):
        lb.matmul(np.ones((2, 32), F32), w, compute="int8x2")


def test_quantized_x_is_refused():
    w = lb.pack_weights(lb.quantize(np.ones((3, 32), F32), "int8", axis=0))
    with pytest.raises(ValueError, match=r"compute: 'int8x2' with a QuantizedArray x, expected 'int8' or None"):
        lb.matmul(lb.quantize(np.ones((2, 32), F32), "int8"), w, compute="int8x2")
