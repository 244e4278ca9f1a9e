"""quantize and dequantize, bit for bit against lowbit.reference on every ISA."""

import functools

import ml_dtypes
import numpy as np
import pytest
from helpers import (
    CONVENTIONS,
    F16,
    F32,
    FORMATS,
    MAX,
    TINY,
    assert_same,
    assert_telling,
    hard_floats,
    quantize_keywords,
    random_codes,
    reference_quantize,
    spread_floats,
    unpacked_zero_point,
)

import lowbit as lb
from lowbit import reference as ref

GROUPS = [1, 2, 3, 8, 31, 32, 33, 128, -1]
# shape and where scales are: one, per axis (the last and middle ones too), per group with a shorter last group
LAYOUTS = [
    ((7, 67), None, None),
    ((7, 67), 0, None),
    ((7, 67), 1, None),
    ((3, 5, 37), 1, None),
    ((3, 5, 37), -1, None),
    ((3, 5, 37), 0, None),
    ((2, 3, 4, 9), 2, None),
    ((2, 3, 4, 9), 1, None),
    *[((5, 131), None, group) for group in GROUPS],
    ((2, 3, 40), None, 16),
    ((70,), None, 9),
    ((70,), 0, None),
    ((1, 1), None, 4),
]


def legal(format, convention):
    return not (format.endswith("int1") and convention in ("absmax", "no_clip"))


def check(q, codes, scale, zero, what):
    assert_same(q.scale, scale, f"{what}: scale")
    if zero is None:
        assert q.zero_point is None
    else:
        assert_same(unpacked_zero_point(q), zero, f"{what}: zero_point")
    assert_same(q.unpack(), codes, f"{what}: codes")


@functools.cache
def case(format, shape, axis, group_size, convention, scale_dtype, hard):
    """(x, expected codes, scale, zero point, dequantized), computed once for all ISAs."""
    rng = np.random.default_rng(len(shape) * 1000 + shape[-1])
    x = hard_floats(rng, shape) if hard and scale_dtype == F32 else spread_floats(rng, shape)
    if hard:
        where = rng.random(shape) < 0.05
        x[where] = np.array([np.nan, np.inf, -np.inf], F32)[rng.integers(0, 3, where.sum())]
    codes, scale, zero = reference_quantize(
        x, format, axis=axis, group_size=group_size, convention=convention, scale_dtype=scale_dtype
    )
    back = ref.dequantize(codes, scale, zero, axis=axis, group_size=group_size)
    return x, codes, scale, zero, back


@pytest.mark.bug(1, 5, 31)
@pytest.mark.parametrize("scale_dtype", [F32, F16], ids=["f32", "f16"])
@pytest.mark.parametrize("format", FORMATS)
def test_equals_the_reference(isa, format, scale_dtype):
    """Every format x layout x convention; the reference decides on scales, zero points, codes and values."""
    for index, (shape, axis, group_size) in enumerate(LAYOUTS):
        for convention in CONVENTIONS:
            if not legal(format, convention):
                continue
            hard = (index + len(convention)) % 2 == 1
            x, codes, scale, zero, back = case(format, shape, axis, group_size, convention, scale_dtype, hard)
            what = f"{shape} axis={axis} group_size={group_size} {convention} hard={hard}"
            q = lb.quantize(
                x,
                format,
                axis=axis,
                group_size=group_size,
                scale_dtype=scale_dtype,
                **quantize_keywords(convention),
            )
            check(q, codes, scale, zero, what)
            assert_same(q.dequantize(), back, f"{what}: dequantize")
            if not hard and format in ("int8", "uint8", "int4") and len(x) > 1 and convention != "no_clip":
                assert_telling(q.unpack() if zero is None else q.dequantize())


@pytest.mark.bug(1)
@pytest.mark.parametrize("axis_or_group", [None, "axis", 5])
def test_every_length(isa, axis_or_group):
    """Bug class 1: tails. 0 .. 4 vectors of 16 + 3, and around a longer run."""
    rng = np.random.default_rng(1)
    data = spread_floats(rng, (2, 300))
    keywords = {None: {}, "axis": {"axis": 1}, 5: {"group_size": 5}}[axis_or_group]
    for count in [*range(1, 68), 127, 128, 129, 255, 256, 257, 300]:
        x = np.ascontiguousarray(data[:, :count])
        for format, convention in (
            ("int8", "absmax"),
            ("uint8", "asymmetric"),
            ("int4", "full"),
            ("uint3", "asymmetric"),
        ):
            expected = reference_quantize(x, format, convention=convention, **keywords)
            q = lb.quantize(x, format, **keywords, **quantize_keywords(convention))
            check(q, *expected, f"{format} {count}")
            assert_same(q.dequantize(), ref.dequantize(*expected, **keywords), f"{format} {count}: dequantize")


def test_default_conventions(isa):
    x = spread_floats(np.random.default_rng(2), (4, 40))
    for format in FORMATS:
        bits = ref.code_range(format)[0]
        convention = {8: "absmax", 1: "signed_max"}.get(bits, "full")
        check(lb.quantize(x, format), *reference_quantize(x, format, convention=convention), format)


def test_one_bit_has_no_absmax_and_no_no_clip():
    for convention in ("absmax", "no_clip"):
        with pytest.raises(ValueError, match="convention"):
            lb.quantize(np.ones(3, F32), "int1", convention=convention)


@pytest.mark.bug(6)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_at_every_lane(isa, bad):
    """Bug class 6: min and max give different answers when NaN is their first or their second operand."""
    rng = np.random.default_rng(3)
    x = spread_floats(rng, (1, 70))
    for at in range(70):
        y = x.copy()
        y[0, at] = bad
        for keywords in ({}, {"axis": 0}, {"axis": 1}, {"group_size": 16}):
            for format, convention in (("int8", "absmax"), ("uint4", "asymmetric")):
                expected = reference_quantize(y, format, convention=convention, **keywords)
                check(
                    lb.quantize(y, format, **keywords, **quantize_keywords(convention)), *expected, f"{at} {keywords}"
                )


@pytest.mark.bug(6)
def test_all_not_finite(isa):
    for fill in ([np.nan], [np.inf], [-np.inf], [np.nan, np.inf, -np.inf]):
        x = np.resize(np.array(fill, F32), (3, 20))
        for format, convention in (("int8", "absmax"), ("uint8", "asymmetric"), ("int2", "signed_max")):
            expected = reference_quantize(x, format, convention=convention, group_size=6)
            assert (expected[1] == 1).all()
            check(lb.quantize(x, format, group_size=6, **quantize_keywords(convention)), *expected, f"{fill} {format}")


@pytest.mark.bug(7)
@pytest.mark.parametrize("scale", [1.0, 0.5, 3.0, 0.1, -2.0, 1e-3])
@pytest.mark.parametrize("format", FORMATS)
def test_ties(isa, format, scale):
    """Bug class 7: rounding. Every x.5 of the range and beyond, its two neighbours, and whole numbers."""
    half = np.arange(-300, 300, 0.5, dtype=F32) * F32(scale)
    x = np.concatenate([half, np.nextafter(half, F32(np.inf)), np.nextafter(half, F32(-np.inf)), -half])
    _, signed, qmin, qmax = ref.code_range(format)
    convention = {"convention": "signed_max"} if scale < 0 else {}
    for zero in {qmin, qmax, (qmin + qmax) // 2}:
        zero_point = np.array(zero, np.int8 if signed else np.uint8)
        q = lb.quantize(x, format, scale=F32(scale), zero_point=zero_point, **convention)
        expected = ref.quantize(x, format, F32(scale), zero_point)
        assert_same(q.unpack(), expected, f"zero point {zero}")
        assert expected.min() == qmin and expected.max() == qmax


@pytest.mark.bug(5, 13)
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint1"])
def test_extreme_values(isa, format):
    """Bug class 5: overflow to int. ±2^31 and its neighbours, ±max, ±inf and subnormals, times tiny and huge scales."""
    edge = F32(2.0**31)
    x = [
        0,
        TINY,
        1e-40,
        1e-38,
        1,
        126.5,
        127.5,
        128,
        254.5,
        255.5,
        3e9,
        edge,
        np.nextafter(edge, F32(0)),
        2.0**32,
        1e30,
    ]
    x = np.array([*x, MAX, np.inf, np.nan, 2.0**63, 2.0**24 + 1], F32)
    x = np.tile(np.concatenate([x, -x]), 3)
    _, signed, qmin, qmax = ref.code_range(format)
    for scale in (1, TINY, 1e-40, 1e-38, 1e-10, 1e10, 1e38, MAX):
        for zero in (qmin, qmax):
            zero_point = np.array(zero, np.int8 if signed else np.uint8)
            q = lb.quantize(x, format, scale=F32(scale), zero_point=zero_point)
            assert_same(q.unpack(), ref.quantize(x, format, F32(scale), zero_point), f"{scale} {zero}")
            assert_same(
                q.dequantize(), ref.dequantize(q.unpack(), F32(scale), zero_point), f"dequantize {scale} {zero}"
            )


@pytest.mark.bug(13)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint4", "int2"])
def test_zero_tiny_and_huge_groups(isa, format, convention):
    """Bug class 13: groups of zeros, of subnormals, of the largest numbers; hi - lo may overflow."""
    rows = [0.0, -0.0, TINY, -TINY, 1e-40, -1e-40, 1e-38, MAX, -MAX, MAX / 2, 1.0]
    x = np.array([[value * factor for factor in (1, 0.5, -0.25, 0, -0.0, 1, 0.75)] for value in rows], F32)
    x = np.concatenate([x, np.array([[MAX, -MAX, 1, 0, -1, 2, 3], [MAX, MAX, MAX, MAX, MAX, MAX, MAX]], F32)])
    expected = reference_quantize(x, format, group_size=7, convention=convention)
    q = lb.quantize(x, format, group_size=7, **quantize_keywords(convention))
    check(q, *expected, convention)
    assert_same(q.dequantize(), ref.dequantize(*expected, group_size=7))
    assert (q.scale != 0).all() and np.isfinite(q.scale).all()


@pytest.mark.bug(13)
@pytest.mark.parametrize("layout", [{}, {"axis": 0}, {"group_size": 4}])
@pytest.mark.parametrize("format", ["int8", "uint4"])
def test_scale_beyond_float16_raises(isa, format, layout):
    x = np.full((3, 8), 1e8, F32)
    with pytest.raises(ValueError, match=r"scale.*float16"):
        lb.quantize(x, format, scale_dtype=F16, **layout)
    assert lb.quantize(x, format, **layout).scale.dtype == F32


def test_scale_below_float16_becomes_one(isa):
    x = np.full((2, 8), 1e-12, F32)
    q = lb.quantize(x, "int8", group_size=4, scale_dtype=F16)
    assert (q.scale == 1).all() and not q.unpack().any()


@pytest.mark.bug(14)
def test_every_float16_scale(isa):
    """Bug class 14: conversions. All finite float16 values, widened; exact, so float64 is the judge."""
    scale = np.arange(1 << 16, dtype=np.uint16).view(F16)
    scale = scale[np.isfinite(scale) & (scale != 0)]
    codes = np.resize(np.array([1, -1, 127, -128], np.int8), len(scale))
    q = lb.QuantizedArray(codes, scale, format="int8", shape=scale.shape, group_size=1)
    assert_same(q.dequantize(), (codes.astype(np.float64) * scale.astype(np.float64)).astype(F32))


@pytest.mark.bug(14)
def test_scales_round_to_float16_as_numpy_does(isa):
    """Around every float16 that a scale can be: the midpoints and their neighbours, subnormals included."""
    positive = np.arange(1, 0x7BFF, 7, dtype=np.uint16).view(F16).astype(F32)
    middle = (positive + np.nextafter(positive.astype(F16), F16(np.inf)).astype(F32)) / 2
    target = np.concatenate([positive, middle, np.nextafter(middle, F32(0)), np.nextafter(middle, F32(np.inf))])
    x = (target * F32(127))[:, None]
    low, high = ref.value_range(x, group_size=-1)
    expected, _ = ref.choose_params("int8", "absmax", low, high, F16)
    assert_same(lb.quantize(x, "int8", group_size=-1, scale_dtype=F16).scale, expected)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS[:13:3], ids=str)
def test_given_scales_and_zero_points(isa, format, layout):
    shape, axis, group_size = layout
    rng = np.random.default_rng(5)
    x = hard_floats(rng, shape)
    params = ref.value_range(x, axis=axis, group_size=group_size)[0].shape
    zero = np.asarray(random_codes(rng, format, params))
    for scale_dtype in (F32, F16):
        scale = np.asarray(rng.uniform(0.01, 0.5, params)).astype(scale_dtype)
        q = lb.quantize(x, format, axis=axis, group_size=group_size, scale=scale, zero_point=zero, symmetric=False)
        expected = ref.quantize(x, format, scale, zero, axis=axis, group_size=group_size)
        check(q, expected, scale, zero, f"{scale_dtype}")
        assert_same(q.dequantize(), ref.dequantize(expected, scale, zero, axis=axis, group_size=group_size))


@pytest.mark.parametrize("dtype", [F16, ml_dtypes.bfloat16])
def test_16_bit_floats_are_widened(isa, dtype):
    x = spread_floats(np.random.default_rng(6), (5, 70)).astype(dtype)
    expected = reference_quantize(x.astype(F32), "int4", group_size=32, convention="full")
    q = lb.quantize(x, "int4", group_size=32)
    check(q, *expected, str(dtype))
    assert_same(
        q.dequantize(dtype=dtype).view(np.uint16),
        ref.dequantize(*expected, group_size=32).astype(dtype).view(np.uint16),
    )


@pytest.mark.bug(17)
@pytest.mark.parametrize("dtype", [F32, F16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("format", ["int8", "uint4", "int3"])
def test_out_is_filled_and_returned(isa, format, dtype):
    """Bug class 17: dirty buffers. out is NaN before."""
    x = spread_floats(np.random.default_rng(7), (5, 67))
    q = lb.quantize(x, format, group_size=32)
    out = np.full(x.shape, np.nan, dtype)
    assert q.dequantize(dtype=dtype, out=out) is out
    assert_same(out.view(f"u{out.itemsize}"), lb.dequantize(q, dtype=dtype).view(f"u{out.itemsize}"))
    assert not np.isnan(out.astype(F32)).any()


@pytest.mark.parametrize("layout", [{}, {"axis": 0}, {"axis": 1}, {"group_size": 7}], ids=str)
@pytest.mark.parametrize("format", ["int8", "uint4", "int3"])
def test_rows(isa, format, layout):
    x = spread_floats(np.random.default_rng(8), (9, 30))
    q = lb.quantize(x, format, symmetric=False, **layout)
    whole = q.dequantize()
    for rows in ([3], [8, 0, 0, -1], [[1, 2], [3, -9]], []):
        index = np.array(rows, np.int64)
        assert_same(q.dequantize(rows=index), whole[index], f"{rows}")


def test_round_trip_error_is_half_a_step(isa):
    """float64 bounds the error; nothing clips with absmax, no_clip and asymmetric."""
    x = spread_floats(np.random.default_rng(9), (16, 96))
    for format in ("int8", "int4", "uint5"):
        for convention in ("absmax", "no_clip", "asymmetric"):
            q = lb.quantize(x, format, group_size=24, **quantize_keywords(convention))
            step = np.repeat(np.abs(q.scale), 24, axis=1)
            limit = 1.0 if convention == "asymmetric" else 0.5  # the zero point is rounded as well
            error = np.abs(q.dequantize().astype(np.float64) - x)
            assert (error <= step * (limit + 1e-5)).all(), (format, convention)
