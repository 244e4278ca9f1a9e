"""matmul_int: exact integers modulo 2^32 on every ISA."""

import functools
import itertools

import numpy as np
import pytest
from helpers import assert_same, assert_telling, random_codes

import lowbit as lb
from lowbit import reference as ref

I8, U8 = np.int8, np.uint8
PAIRS = list(itertools.product((I8, U8), repeat=2))
ROWS = [*range(1, 11), 47, 48, 49, 64]
# M, K, N: odd sides, sides around panels of 16 columns and steps of k, and long K
SHAPES = [
    *[
        (m, k, n)
        for m, k, n in zip(ROWS, itertools.cycle([1, 3, 33, 64, 65, 127, 300]), itertools.cycle([17, 5, 48, 16]))
    ],
    (1, 1, 1),
    (3, 5, 1),
    (2, 8, 15),
    (5, 31, 33),
    (4, 1030, 19),
    (13, 257, 65),
    (6, 16, 64),
    (7, 4, 130),
]


def name_of(pair):
    return "x".join(np.dtype(t).name for t in pair)


@functools.cache
def case(shape, pair):
    m, k, n = shape
    rng = np.random.default_rng(m * 1000 + k)
    a = random_codes(rng, np.dtype(pair[0]).name, (m, k))
    b = random_codes(rng, np.dtype(pair[1]).name, (k, n))
    return a, b, ref.matmul_int(a, b)


@pytest.mark.bug(1, 31)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_equals_the_reference(isa, pair):
    for shape in SHAPES:
        a, b, expected = case(shape, pair)
        assert_same(lb.matmul_int(a, b), expected, f"{shape}")
        if expected.size > 10:
            assert_telling(expected)


@pytest.mark.bug(1)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_every_k_and_n(isa, pair):
    """Bug class 1: tails, along K and along N."""
    rng = np.random.default_rng(1)
    a, b = random_codes(rng, np.dtype(pair[0]).name, (3, 140)), random_codes(rng, np.dtype(pair[1]).name, (140, 70))
    for k in range(141):
        assert_same(lb.matmul_int(a[:, :k], b[:k, :9]), ref.matmul_int(a[:, :k], b[:k, :9]), f"K={k}")
    for n in range(71):
        assert_same(lb.matmul_int(a[:, :37], b[:37, :n]), ref.matmul_int(a[:, :37], b[:37, :n]), f"N={n}")


@pytest.mark.bug(9, 10, 11)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_constant_extremes(isa, pair):
    """Bug classes 9 (255 x ±127 saturates 16-bit pairs), 10 (lanes overflow), 11 (-128 under sign tricks)."""
    for k in (1, 2, 4, 31, 64, 255, 256, 257, 1024, 2048, 4100):
        for a, b in itertools.product(extremes(pair[0]), extremes(pair[1])):
            got = lb.matmul_int(np.full((2, k), a, pair[0]), np.full((k, 17), b, pair[1]))
            assert (got == a * b * k).all(), (a, b, k, got[0, 0])


def extremes(dtype):
    return (-128, -127, -1, 127) if dtype == I8 else (0, 1, 128, 255)


@pytest.mark.bug(9, 10, 11)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_alternating_extremes(isa, pair):
    """Neighbouring products of the same and of opposite sign."""
    for pattern in ([0, 3], [0, 0, 3, 3], [3, 0, 0, 0], [0, 1, 2, 3]):
        a = np.resize(np.array(extremes(pair[0]))[pattern], (3, 520)).astype(pair[0])
        b = np.resize(np.array(extremes(pair[1]))[pattern], (19, 520)).T.astype(pair[1])
        for shift in range(4):
            assert_same(lb.matmul_int(a, np.roll(b, shift, 0)), ref.matmul_int(a, np.roll(b, shift, 0)), f"{pattern}")


@pytest.mark.bug(12)
@pytest.mark.parametrize(
    ("pair", "a", "b", "limit"),
    [
        ((I8, I8), -128, -128, 131071),
        ((U8, I8), 255, -128, 65793),
        ((I8, U8), -128, 255, 65793),
        ((U8, U8), 255, 255, 33025),
    ],
    ids=["s8s8", "u8s8", "s8u8", "u8u8"],
)
def test_int32_limit_of_k(isa, pair, a, b, limit):
    """Bug class 12: exact up to the K that docs/numerics.md states, modulo 2^32 one further."""
    for k in (limit, limit + 1):
        got = lb.matmul_int(np.full((1, k), a, pair[0]), np.full((k, 2), b, pair[1]))
        total = a * b * k
        assert (got == (total + 2**31) % 2**32 - 2**31).all()
        assert (-(2**31) <= total < 2**31) == (k == limit)


@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_zero_points(isa, pair):
    rng = np.random.default_rng(2)
    limits = np.iinfo(np.int32)
    for m, k, n in ((1, 33, 17), (9, 70, 5), (50, 129, 35)):
        a, b = random_codes(rng, np.dtype(pair[0]).name, (m, k)), random_codes(rng, np.dtype(pair[1]).name, (k, n))
        choices = [
            (int(np.iinfo(pair[0]).min), 0),
            (0, int(np.iinfo(pair[1]).max)),
            (128, 128),
            (rng.integers(-300, 300, m), 0),
            (3, rng.integers(-300, 300, n)),
            (random_codes(rng, np.dtype(pair[0]).name, m), random_codes(rng, np.dtype(pair[1]).name, n)),
            (rng.integers(limits.min, limits.max, m, np.int32), rng.integers(limits.min, limits.max, n, np.int32)),
            (limits.min, limits.min),
            (limits.max, limits.min),
        ]
        for za, zb in choices:
            got = lb.matmul_int(a, b, a_zero_point=za, b_zero_point=zb)
            assert_same(got, ref.matmul_int(a, b, a_zero_point=za, b_zero_point=zb), f"{m, k, n} {za} {zb}")


@pytest.mark.bug(30)
@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_a_row_does_not_depend_on_its_batch(isa, pair):
    rng = np.random.default_rng(3)
    a, b = random_codes(rng, np.dtype(pair[0]).name, (64, 77)), random_codes(rng, np.dtype(pair[1]).name, (77, 37))
    packed = lb.pack_weights(np.ascontiguousarray(b.T))
    whole = lb.matmul_int(a, packed)
    assert_same(whole, ref.matmul_int(a, b))
    for m in ROWS:
        assert_same(lb.matmul_int(a[:m], packed), whole[:m], f"M={m}")
        assert_same(lb.matmul_int(a[-m:], packed), whole[-m:], f"last M={m}")


@pytest.mark.parametrize("pair", PAIRS, ids=name_of)
def test_packed_array_and_leading_axes(isa, pair):
    rng = np.random.default_rng(4)
    a, b = random_codes(rng, np.dtype(pair[0]).name, (2, 3, 20)), random_codes(rng, np.dtype(pair[1]).name, (20, 7))
    zero = rng.integers(-9, 9, (2, 3))
    expected = ref.matmul_int(a.reshape(6, 20), b, a_zero_point=zero.reshape(6)).reshape(2, 3, 7)
    packed = lb.pack_weights(np.ascontiguousarray(b.T))
    assert packed.shape == (20, 7)
    assert_same(packed.unpack(), b.T)
    assert_same(lb.matmul_int(a, b, a_zero_point=zero), expected)
    assert_same(lb.matmul_int(a, packed, a_zero_point=zero), expected)
    assert_same(lb.matmul_int(a[0, 0], b), ref.matmul_int(a[0, :1], b)[0])


@pytest.mark.bug(17)
def test_out_is_filled_and_returned(isa):
    """Bug class 17: dirty buffers; columns beside a strided out stay as they were."""
    a, b, expected = case(SHAPES[10], PAIRS[0])
    base = np.full((len(a), expected.shape[1] + 9), -1, np.int32)
    out = base[:, 4 : 4 + expected.shape[1]]
    assert lb.matmul_int(a, b, out=out) is out
    assert_same(out, expected)
    assert (base[:, :4] == -1).all()
    assert (base[:, 4 + expected.shape[1] :] == -1).all()
