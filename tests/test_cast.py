"""cast: bit patterns against ml_dtypes, every float32 against the reference, stochastic rounding.

Bug classes 7 (rounding), 13 (zeros, subnormals, overflow), 14 (conversions, exhaustively).
"""

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same, raises

import lowbit as lb
from lowbit import reference as ref
from lowbit._formats import TYPES

BF16 = ml_dtypes.bfloat16
E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)
NARROW = [dtype for dtype in TYPES if dtype != np.dtype(F32)]
SIGNED = [dtype for dtype in NARROW if dtype != E8M0]
EIGHT_BITS = [dtype for dtype in SIGNED if dtype.itemsize == 1]
ids = pytest.mark.parametrize
# numpy on ARM warns of the signalling NaNs among all codes; on x86-64 it does not.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
SPECIAL = np.array([0, -0.0, 1e-45, -1e-45, 1e-38, 6e-8, 0.4999, 0.5, 1, 1.5, 6, 448, 449, 464, 465, 57344, 61440,
                    65504, 65519.99, 65520, 3.4e38, np.inf, -np.inf, np.nan, -np.nan], F32)  # fmt: skip


def codes_of(a):
    return a.view(f"u{a.dtype.itemsize}")


def every_code(dtype):
    bits = 8 if dtype == E8M0 else ml_dtypes.finfo(dtype).bits
    return np.arange(2**bits, dtype=f"u{dtype.itemsize}").view(dtype)


def telling_floats():
    """Every float16 and bfloat16, and float32 around every boundary between two of them."""
    halves = np.arange(2**16, dtype=np.uint16)
    x = np.concatenate([halves.view(F16).astype(F32), halves.view(BF16).astype(F32), SPECIAL])
    near = x.view(np.uint32)[:, None] + np.array([-1, 0, 1, 2**12, 2**15], np.int64)
    return near.astype(np.uint32).view(F32).ravel()


@pytest.mark.bug(14)
@ids("dtype", NARROW, ids=str)
def test_every_code_decodes_as_in_ml_dtypes(isa, dtype):
    codes = every_code(dtype)
    got = lb.cast(codes, F32)
    assert_same(got, codes.astype(F32))
    if dtype != np.dtype(F16):
        assert_same(got, ref.decode(codes_of(codes), dtype.name))


@pytest.mark.bug(14)
@ids("source", [F16, BF16])
@ids("dtype", NARROW, ids=str)
def test_every_16_bit_float_as_in_ml_dtypes(isa, dtype, source):
    x = np.arange(2**16, dtype=np.uint16).view(source)
    got = lb.cast(x, dtype, saturate=False)
    with np.errstate(all="ignore"):
        want = x.astype(F32).astype(dtype)
    if dtype == np.dtype(F16):  # numpy keeps a NaN's payload
        assert_same(got, want)
    else:
        assert (codes_of(got) == codes_of(want)).all()


@pytest.mark.bug(7, 13)
@ids("saturate", [True, False])
@ids("dtype", EIGHT_BITS, ids=str)
def test_boundaries(isa, dtype, saturate):
    x = telling_floats()
    got = codes_of(lb.cast(x, dtype, saturate=saturate))
    assert_same(got, ref.encode(x, dtype.name, saturate=saturate))
    assert len(np.unique(got)) >= 0.85 * 2 ** ml_dtypes.finfo(dtype).bits  # all but NaNs


@ids("dtype", [np.dtype(F16), np.dtype(BF16)], ids=str)
def test_boundaries_of_16_bits(isa, dtype):
    x = telling_floats()
    got = codes_of(lb.cast(x, dtype))
    assert_same(got, ref.encode(x, dtype.name, saturate=False))
    assert np.isinf(lb.cast(np.array([np.inf, 3.4e38], F32), F16)).all()


@ids("rounding", ["nearest_even", "up", "down"])
@ids("saturate", [True, False])
def test_powers_of_two(isa, rounding, saturate):
    x = telling_floats()
    got = codes_of(lb.cast(x, E8M0, rounding=rounding, saturate=saturate))
    assert_same(got, ref.encode_power(x, rounding, saturate=saturate))


@pytest.mark.bug(1, 4)
@ids("dtype", [np.dtype(BF16), np.dtype(ml_dtypes.float8_e4m3fn), np.dtype(ml_dtypes.float8_e5m2fnuz)], ids=str)
def test_every_length_and_alignment(isa, dtype):
    rng = np.random.default_rng(0)
    for n in range(70):
        for offset in (0, 1, 3):
            x = rng.standard_normal(n + offset).astype(F32)[offset:]
            narrow = lb.cast(x, dtype)
            assert_same(codes_of(narrow), ref.encode(x, dtype.name, saturate=dtype.itemsize == 1))
            assert_same(lb.cast(narrow, F32), narrow.astype(F32))


@ids("dtype", SIGNED, ids=str)
@ids("saturate", [True, False])
def test_stochastic_is_the_reference(isa, dtype, saturate):
    saturate &= dtype.itemsize == 1
    x = np.concatenate([np.random.default_rng(1).standard_normal(20_000).astype(F32) * F32(3), SPECIAL])
    for seed in (0, 2**64 - 1):
        got = codes_of(lb.cast(x, dtype, rounding="stochastic", seed=seed, saturate=saturate))
        assert_same(got, ref.encode_stochastic(x, dtype.name, seed, saturate=saturate))


def test_stochastic_keeps_the_mean(isa):
    for value in (1.03, -2.9, 0.0011, 300.5):  # 0.0011: a subnormal e4m3
        x = np.full(200_000, value, F32)
        y = lb.cast(x, ml_dtypes.float8_e4m3fn, rounding="stochastic", seed=7).astype(F32)
        assert len(np.unique(y)) == 2
        step = np.ptp(y)
        assert abs(y.mean(dtype=np.float64) - value) < 4 * step / np.sqrt(x.size)


def test_stochastic_does_not_depend_on_threads(isa):
    x = np.random.default_rng(2).standard_normal(300_000).astype(F32)
    results = []
    for threads in (1, 2, 5):
        with lb.num_threads(threads):
            results.append(codes_of(lb.cast(x, BF16, rounding="stochastic", seed=3)))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    other = codes_of(lb.cast(x, BF16, rounding="stochastic", seed=4))
    assert 0.1 < (results[0] != other).mean() < 0.6


def test_between_narrow_types(isa):
    x = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e5m2)
    assert_same(lb.cast(x, F16), x.astype(F16))
    assert_same(codes_of(lb.cast(x, ml_dtypes.float8_e4m3fn)), ref.encode(x.astype(F32), "float8_e4m3fn"))


def test_shapes_and_out(isa):
    x = np.arange(24, dtype=F32).reshape(2, 3, 4)
    for given in (x, x[:, ::2], x.T, x[:0], F32(3), np.asfortranarray(x)):
        got = lb.cast(given, BF16)
        assert got.shape == np.shape(given)
        assert_same(got.astype(F32), np.asarray(given))
    out = np.full((2, 3, 4), 7, BF16)
    assert lb.cast(x, BF16, out=out) is out
    assert_same(out.astype(F32), x)
    same = np.empty_like(x)
    assert lb.cast(x, F32, out=same) is same
    assert_same(same, x)


@ids(
    ("arguments", "error", "words"),
    [
        ({"x": np.zeros(3)}, TypeError, ["x: ", "float64", "float32"]),
        ({"x": np.zeros(3, np.int8)}, TypeError, ["x: ", "int8"]),
        ({"x": np.zeros(3, ">f4")}, TypeError, ["x: ", "byte order"]),
        ({"dtype": np.float64}, TypeError, ["dtype: ", "float64", "float16"]),
        ({"dtype": np.int8}, TypeError, ["dtype: ", "int8"]),
        ({"rounding": "floor"}, ValueError, ["rounding: ", "floor", "nearest_even"]),
        ({"rounding": "up"}, ValueError, ["rounding", "up", "nearest_even"]),
        ({"rounding": "stochastic"}, ValueError, ["seed: ", "None"]),
        ({"rounding": "stochastic", "seed": -1}, ValueError, ["seed: ", "-1"]),
        ({"rounding": "stochastic", "seed": 1.0}, TypeError, ["seed: ", "float"]),
        ({"seed": 1}, ValueError, ["seed: ", "stochastic"]),
        ({"rounding": "stochastic", "seed": 1, "dtype": E8M0}, ValueError, ["rounding", "stochastic", "e8m0"]),
        ({"out": np.zeros(3, F32)}, TypeError, ["out: ", "float32", "float8_e4m3fn"]),
        ({"out": np.zeros(4, ml_dtypes.float8_e4m3fn)}, ValueError, ["out: ", "(4,)", "(3,)"]),
        ({"out": np.zeros(6, ml_dtypes.float8_e4m3fn)[::2]}, ValueError, ["out: "]),
    ],
)
def test_refuses(arguments, error, words):
    with raises(error, *words):
        lb.cast(**{"x": np.zeros(3, F32), "dtype": ml_dtypes.float8_e4m3fn, **arguments})


@pytest.mark.slow
@pytest.mark.bug(14)
@ids("dtype", [*EIGHT_BITS, np.dtype(BF16), np.dtype(F16)], ids=str)
def test_every_float32(dtype):
    """All 2^32 against the reference's search in float64, on the best instruction set; minutes for each type."""
    saturate = dtype.itemsize == 1
    for start in range(0, 2**32, 2**24):
        x = np.arange(start, start + 2**24, dtype=np.uint64).astype(np.uint32).view(F32)
        with np.errstate(all="ignore"):
            want = ref.encode(x, dtype.name, saturate=saturate)
        assert (codes_of(lb.cast(x, dtype, saturate=saturate)) == want).all()
