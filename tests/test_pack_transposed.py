"""pack_weights(q, transpose=True): (K, N) packs to the very bytes of the transposed array."""

import numpy as np
import pytest
from helpers import F16, F32, FORMATS, assert_same, raises, random_codes, spread_floats

import lowbit as lb

FLOATS = ["ternary", "nf4", "fp4", "float4_e2m1fn", "float6_e3m2fn", "float8_e4m3fn", "float16", "bfloat16"]
SHAPES = [(1, 1), (3, 17), (17, 3), (64, 33), (131, 40), (40, 131), (0, 5), (5, 0)]  # K, N


def assert_equal(got, expected, what):
    """Packed bytes, and all that is known about them."""
    assert_same(got._data, expected._data, what)
    assert repr(got) == repr(expected)
    assert (got.scale_dtype, got.group_size) == (expected.scale_dtype, expected.group_size)
    a, b = got.unpack(), expected.unpack()
    if isinstance(b, np.ndarray):
        return assert_same(a, b, what)
    assert repr(a) == repr(b)
    for name in ("codes", "scale", "zero_point"):
        values = getattr(a, name), getattr(b, name)
        if values[1] is None:
            assert values[0] is None
        else:
            assert_same(*(np.ravel(v).view(np.uint8) for v in values), f"{what} {name}")


@pytest.mark.bug(1, 15)
@pytest.mark.parametrize("format", [*FORMATS, *FLOATS])
def test_is_the_transposed_array(format, threads):
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        x = spread_floats(rng, shape)
        for keywords, turned in (
            ({}, {}),
            ({"axis": 1}, {"axis": 0}),
            ({"block_shape": (7, 4)}, {"block_shape": (4, 7)}),
            ({"block_shape": (32, 16)}, {"block_shape": (16, 32)}),
        ):
            if 0 in shape and "block_shape" in keywords:
                continue
            both = {"symmetric": not format.startswith("uint")}
            if format not in ("float16", "bfloat16"):
                both["scale_dtype"] = F16 if shape[0] % 2 else F32
            got = lb.pack_weights(lb.quantize(x, format, **keywords, **both), transpose=True)
            expected = lb.pack_weights(lb.quantize(x.T, format, **turned, **both))
            assert_equal(got, expected, f"{format} {shape} {keywords}")


@pytest.mark.bug(4, 19)
@pytest.mark.parametrize("format", ["int8", "uint8"])
def test_plain_codes(format):
    rng = np.random.default_rng(1)
    for shape in SHAPES:
        codes = random_codes(rng, format, shape)
        expected = lb.pack_weights(codes.T.copy())
        frozen = codes.copy()
        frozen.flags.writeable = False
        for odd in (codes, frozen, np.asfortranarray(codes), np.repeat(codes, 2, axis=1)[:, ::2], codes[::-1][::-1]):
            assert_equal(lb.pack_weights(odd, transpose=True), expected, f"{shape}")


def test_float_zero_points_and_quantized_scales():
    rng = np.random.default_rng(2)
    x = spread_floats(rng, (96, 40))
    params = {"scale": rng.uniform(0.1, 1, 40).astype(F32), "zero_point": rng.uniform(0, 15, 40).astype(F32)}
    got, expected = (
        lb.pack_weights(lb.quantize(w, "uint4", axis=axis, symmetric=False, **params), transpose=axis == 1)
        for w, axis in ((x, 1), (x.T, 0))
    )
    assert_equal(got, expected, "float zero points")
    q = lb.quantize(x, "nf4", axis=1, double_quantize=True)
    turned = lb.quantize(x.T, "nf4", axis=0, double_quantize=True)
    got, expected = lb.pack_weights(q, transpose=True), lb.pack_weights(turned)
    assert_same(got._data, expected._data)
    assert_same(got.unpack().dequantize(), q.dequantize().T)


def test_product(isa):
    rng = np.random.default_rng(3)
    w, x = spread_floats(rng, (200, 70)), spread_floats(rng, (9, 200))
    q = lb.quantize(w, "int4", axis=1)
    assert_same(
        lb.matmul(x, lb.pack_weights(q, transpose=True)),
        lb.matmul(x, lb.pack_weights(lb.quantize(w.T, "int4", axis=0))),
    )
    a, b = random_codes(rng, "uint8", (9, 200)), random_codes(rng, "int8", (200, 70))
    assert_same(lb.matmul_int(a, lb.pack_weights(b, transpose=True)), lb.matmul_int(a, b))


def test_a_copy_and_a_pickle_are_the_same():
    import copy
    import pickle

    w = lb.pack_weights(lb.quantize(np.ones((8, 5), F32), "int4", axis=1), transpose=True)
    for again in (copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert_equal(again, w, "")


X = np.ones((6, 8), F32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lb.pack_weights(lb.quantize(X, "int8", axis=0), transpose=True), ValueError, ["axis=0", "each k"]),
        (
            lambda: lb.pack_weights(lb.quantize(X, "int4", group_size=4), transpose=True),
            ValueError,
            ["group_size=4", "groups along N", "(N, K)"],
        ),
        (
            lambda: lb.pack_weights(lb.quantize(X, "int4", group_size=-1), transpose=True),
            ValueError,
            ["group_size=8", "groups along N"],
        ),
        (
            lambda: lb.pack_weights(lb.quantize(np.ones((4, 32), F32), "mxfp4"), transpose=True),
            ValueError,
            ["group_size=32", "groups along N"],
        ),
        (lambda: lb.pack_weights(lb.quantize(X, "int8", axis=1)), ValueError, ["axis=1", "each k"]),
        (lambda: lb.pack_weights(np.ones((2, 3, 4), np.int8), transpose=True), ValueError, ["(2, 3, 4)", "(K, N)"]),
        (lambda: lb.pack_weights(X, transpose=True), TypeError, ["q: ", "float32", "int8 or uint8"]),
        (lambda: lb.pack_weights(np.ones((2, 3), np.int8), transpose="yes"), TypeError, ["transpose: ", "str"]),
    ],
)
def test_errors(call, error, words):
    with raises(error, *words):
        call()
