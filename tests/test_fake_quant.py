"""fake_quantize and its gradients: bit for bit against lowbit.reference on every ISA, and what gradients must mean."""

import functools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, FORMATS, MAX, TINY, assert_same, assert_telling, hard_floats, isa_and_threads

import lowbit as lb
from lowbit import reference as ref

# shape and where scales are: every path of csrc/ops/fake_quantize.cpp, whole and ragged
LAYOUTS = [
    ((), None, None),
    ((1,), None, None),
    ((7, 67), None, None),
    ((130000,), None, None),
    ((7, 67), 0, None),
    ((3, 70001), 0, None),
    ((7, 67), 1, None),
    ((9000, 3), 1, None),
    ((70, 300), -1, None),
    ((3, 5, 37), 1, None),
    ((16, 6, 7, 7), 1, None),
    ((3, 2, 90, 91), 1, None),
    ((1200, 4, 5), 1, None),
    ((5, 131), None, 1),
    ((5, 131), None, 3),
    ((5, 128), None, 32),
    ((33, 100), None, 32),
    ((3, 9001), None, 4097),
    ((4, 5000), None, -1),
    ((70,), None, 9),
]


def scale_shape(shape, axis, group_size):
    if axis is not None:
        return (shape[axis],)
    if group_size is None:
        return ()
    return (*shape[:-1], -(-shape[-1] // (max(shape[-1], 1) if group_size == -1 else group_size)))


def params(rng, shape, axis, group_size, format, with_zero=True):
    """Scales around 1/20 of the range of a normal variable, some negative, and zero points of the format."""
    _, signed, qmin, qmax = ref.code_range(format)
    where = scale_shape(shape, axis, group_size)
    scale = ((rng.random(where) + 0.5) * 4 / (qmax - qmin)).astype(F32)
    scale = np.where(rng.random(where) < 0.1, -scale, scale).astype(F32)
    zero = rng.integers(qmin, qmax + 1, where).astype(np.int8 if signed else np.uint8)
    return scale, np.asarray(zero) if with_zero else None


@functools.cache
def case(format, index):
    """(keywords, x, grad, scale, zero point, expected result, expected gradients), computed once for all ISAs."""
    shape, axis, group_size = LAYOUTS[index]
    rng = np.random.default_rng(index)
    x = np.asarray(rng.standard_normal(shape), F32)
    if index % 3 == 0:
        x = hard_floats(rng, shape)
        odd = rng.random(shape) < 0.02
        x = np.where(odd, rng.choice(np.array([np.nan, np.inf, -np.inf, MAX, -MAX], F32), shape), x)
    grad = np.asarray(rng.standard_normal(shape), F32)
    signed = not format.startswith("u")
    scale, zero = params(rng, shape, axis, group_size, format, with_zero=not (signed and index % 2))
    keywords = {"format": format, "axis": axis, "group_size": group_size}
    factor = {"lsq_scale": format != "int1" and index % 4 != 0}
    y = ref.fake_quantize(x, scale, zero, **keywords)
    return (
        keywords,
        factor,
        x,
        grad,
        scale,
        zero,
        y,
        ref.fake_quantize_gradient(grad, x, scale, zero, **keywords, **factor),
    )


@pytest.mark.bug(1, 5, 31)
@pytest.mark.parametrize("format", FORMATS)
def test_equals_the_reference(isa, format):
    for index in range(FORMATS.index(format) % 2, len(LAYOUTS), 1 if format in ("int8", "uint4") else 2):
        keywords, factor, x, grad, scale, zero, y, gradients = case(format, index)
        what = f"{LAYOUTS[index]}"
        assert_same(lb.fake_quantize(x, scale, zero, **keywords), y, what)
        got = lb.fake_quantize_gradient(grad, x, scale, zero, **keywords, **factor)
        for name, mine, expected in zip(("grad_x", "grad_scale", "grad_zero_point"), got, gradients, strict=True):
            assert_same(mine, expected, f"{what}: {name}")
        if format == "int8" and index == 2:
            for result in (y, *got):
                assert_telling(result)


@pytest.mark.bug(2, 30)
@pytest.mark.parametrize("index", range(len(LAYOUTS)))
def test_any_number_of_threads(threads, index):
    """Bug class 30: the order of sums does not know of threads."""
    keywords, factor, x, grad, scale, zero, y, gradients = case("int8", index)
    assert_same(lb.fake_quantize(x, scale, zero, **keywords), y)
    for mine, expected in zip(
        lb.fake_quantize_gradient(grad, x, scale, zero, **keywords, **factor), gradients, strict=True
    ):
        assert_same(mine, expected)


def test_more_segments_than_a_round():
    """2^24 elements of one parameter are summed at once; the rest follows in order."""
    count = 2**24 + 5000
    x = np.tile(np.random.default_rng(0).standard_normal(4096 + 7).astype(F32), -(-count // 4103))[:count]
    grad = x[::-1]
    expected = ref.fake_quantize_gradient(grad, x, F32(0.01))
    with lb.num_threads(2):
        for mine, wanted in zip(lb.fake_quantize_gradient(grad, x, F32(0.01)), expected, strict=True):
            assert_same(mine, wanted)


def test_blocks_of_a_matrix(isa):
    """Each block is an array of its own, smaller at the edges."""
    rng = np.random.default_rng(9)
    x, grad = rng.standard_normal((2, 50, 70)).astype(F32)
    scale = (rng.random((4, 3)) / 50 + 0.01).astype(F32)
    zero = rng.integers(-20, 20, (4, 3)).astype(np.int8)
    y = lb.fake_quantize(x, scale, zero, block_shape=(16, 32))
    gradients = lb.fake_quantize_gradient(grad, x, scale, zero, block_shape=(16, 32))
    for i in range(4):
        for j in range(3):
            at = slice(16 * i, 16 * i + 16), slice(32 * j, 32 * j + 32)
            assert_same(y[at], ref.fake_quantize(x[at], scale[i, j], zero[i, j]))
            expected = ref.fake_quantize_gradient(grad[at], x[at], scale[i, j], zero[i, j])
            assert_same(gradients[0][at], expected[0])
            assert_same(gradients[1][i, j], expected[1])
            assert_same(gradients[2][i, j], expected[2])


def test_ternary():
    x = np.array([-3, -0.6, -0.4, 0.4, 0.6, 3], F32)
    assert_same(lb.fake_quantize(x, 1.0, format="ternary"), np.array([-1, -1, 0, 0, 1, 1], F32))
    grad_x, grad_scale, _ = lb.fake_quantize_gradient(np.ones_like(x), x, 1.0, format="ternary", lsq_scale=False)
    assert_same(grad_x, np.array([0, 1, 1, 1, 1, 0], F32))
    assert_same(grad_scale, F32(np.float64(np.rint(x[1:5]) - x[1:5]).sum().astype(F32)))


@pytest.mark.bug(1)
@pytest.mark.parametrize("group_size", [None, 1, 5, 16])
def test_every_length(isa, group_size):
    rng = np.random.default_rng(1)
    for count in [*range(1, 68), 127, 128, 129, 4095, 4096, 4097]:
        x, grad = rng.standard_normal((2, count)).astype(F32)
        scale, zero = params(rng, (count,), None, group_size, "uint4")
        keywords = {"format": "uint4", "group_size": group_size}
        assert_same(lb.fake_quantize(x, scale, zero, **keywords), ref.fake_quantize(x, scale, zero, **keywords))
        expected = ref.fake_quantize_gradient(grad, x, scale, zero, **keywords)
        for mine, wanted in zip(lb.fake_quantize_gradient(grad, x, scale, zero, **keywords), expected, strict=True):
            assert_same(mine, wanted, f"{count}")


@pytest.mark.parametrize("format", FORMATS)
def test_is_quantize_and_dequantize(isa, format):
    rng = np.random.default_rng(2)
    x = hard_floats(rng, (6, 70))
    for keywords in ({}, {"axis": 0}, {"axis": 1}, {"group_size": 16}):
        layout = scale_shape(x.shape, keywords.get("axis"), keywords.get("group_size"))
        scale = np.full(layout, 0.3, F32)
        for zero in (None, np.full(layout, 1 if format.startswith("u") else -1, format_dtype(format))):
            q = lb.quantize(x, format, scale=scale, zero_point=zero, **keywords)
            assert_same(lb.fake_quantize(x, scale, zero, format=format, **keywords), q.dequantize())


def format_dtype(format):
    return np.uint8 if format.startswith("u") else np.int8


@pytest.mark.bug(7)
def test_clipping_begins_where_codes_leave_the_range(isa):
    """Ties at both ends: 7.5 is rounded to 8 and clipped, 7.49 is 7; -8.5 is -8 and stays."""
    x = np.array([7.0, 7.49, 7.5, 8.0, -8.0, -8.49, -8.5, -8.51, -9.0, 6.5, 5.5, 0.0, -0.0], F32)
    inside = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], F32)
    grad = np.full_like(x, 2)
    for at in range(len(x)):  # one at a time, so that sums show each term
        grad_x, grad_scale, grad_zero = lb.fake_quantize_gradient(
            grad[at], x[at], F32(1), format="int4", lsq_scale=False
        )
        assert grad_x == 2 * inside[at]
        distance = np.rint(x[at]) - x[at] if inside[at] else (7 if x[at] > 0 else -8)
        assert grad_scale == F32(2) * F32(distance)
        assert grad_zero == (0 if inside[at] else -2)


@pytest.mark.bug(5)
def test_extreme_values(isa):
    x = np.array([np.nan, np.inf, -np.inf, MAX, -MAX, TINY, -TINY, 0], F32)
    for scale in (1.0, 1e-38, 1e38, TINY, MAX, -1.0):
        for format in ("int8", "uint8", "int2"):
            zero = np.full((), 3 if format == "uint8" else -1, format_dtype(format))
            expected = ref.fake_quantize(x, F32(scale), zero, format=format)
            assert_same(lb.fake_quantize(x, F32(scale), zero, format=format), expected)
            wanted = ref.fake_quantize_gradient(np.ones_like(x), x, F32(scale), zero, format=format)
            got = lb.fake_quantize_gradient(np.ones_like(x), x, F32(scale), zero, format=format)
            for mine, right in zip(got, wanted, strict=True):
                assert_same(mine, right)
    grad_x, grad_scale, _ = lb.fake_quantize_gradient(np.ones_like(x), x, F32(1))
    assert_same(grad_x, np.array([0, 0, 0, 0, 0, 1, 1, 1], F32))
    assert np.isfinite(grad_scale)


def test_a_bad_gradient_is_seen(isa):
    """NaN and infinity in grad reach the sums; where x is clipped they do not reach grad_x."""
    grad = np.array([np.nan, np.inf, 1], F32)
    grad_x, grad_scale, grad_zero = lb.fake_quantize_gradient(grad, np.array([0.3, 500, 0], F32), F32(1))
    assert_same(grad_x, np.array([np.nan, 0, 1], F32))
    assert np.isnan(grad_scale)
    assert grad_zero == -np.inf


@pytest.mark.parametrize("format", ["int8", "uint4", "int2"])
def test_gradients_against_their_meaning(format):
    """In double: clipped elements have the true derivatives of (q - z) * scale; inside, LSQ has (x' - x) / scale."""
    rng = np.random.default_rng(3)
    x, grad = rng.standard_normal((2, 8, 500)).astype(F32)
    _, _, qmin, qmax = ref.code_range(format)
    for axis in (None, 0):
        scale, zero = params(rng, x.shape, axis, None, format)
        scale = np.abs(scale)
        y = lb.fake_quantize(x, scale, zero, format=format, axis=axis)
        s, z = (np.float64(a if axis is None else a[:, None]) for a in (scale, zero))
        code = np.rint(x / F32(s)) + z
        clipped = (code < qmin) | (code > qmax)
        assert 0.01 < clipped.mean() < 0.9
        by_scale = np.where(clipped, y / s, (y - np.float64(x)) / s) * grad
        by_zero = np.where(clipped, -s, 0) * grad
        count = x.size if axis is None else x.shape[1]
        for lsq_scale in (False, True):
            factor = 1 / np.sqrt(count * qmax) if lsq_scale else 1
            grad_x, grad_scale, grad_zero = lb.fake_quantize_gradient(
                grad, x, scale, zero, format=format, axis=axis, lsq_scale=lsq_scale
            )
            reduced = None if axis is None else 1
            assert_same(grad_x, np.where(clipped, F32(0), grad))
            tolerance = 1e-5 * factor * np.abs(by_scale).sum(axis=reduced).max()
            np.testing.assert_allclose(grad_scale, factor * by_scale.sum(axis=reduced), rtol=0, atol=tolerance)
            tolerance = 1e-6 * factor * np.abs(by_zero).sum(axis=reduced).max()
            np.testing.assert_allclose(grad_zero, factor * by_zero.sum(axis=reduced), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [F16, ml_dtypes.bfloat16])
def test_16_bit_floats(dtype):
    """Computed in float32, rounded once; the type of x decides."""
    rng = np.random.default_rng(4)
    x, grad = (rng.standard_normal((5, 33)).astype(dtype) for _ in range(2))
    scale = np.full(5, 0.02, F16)
    y = lb.fake_quantize(x, scale, axis=0)
    assert y.dtype == dtype
    assert_same(y.astype(F32), ref.fake_quantize(x.astype(F32), scale, axis=0).astype(dtype).astype(F32))
    expected = ref.fake_quantize_gradient(grad.astype(F32), x.astype(F32), scale, axis=0)
    grad_x, grad_scale, grad_zero = lb.fake_quantize_gradient(grad, x, scale, axis=0)
    assert grad_x.dtype == dtype
    assert_same(grad_x.astype(F32), expected[0].astype(dtype).astype(F32))
    assert_same(grad_scale, expected[1])
    assert_same(grad_zero, expected[2])
    out = np.empty_like(x)
    assert lb.fake_quantize(x, scale, axis=0, out=out) is out
    assert_same(out.astype(F32), y.astype(F32))


@pytest.mark.bug(19)
def test_odd_arrays():
    """Strided, negative, Fortran order, broadcast, misaligned and read-only inputs give what their copies give."""
    rng = np.random.default_rng(5)
    base = rng.standard_normal((12, 40)).astype(F32)
    raw = np.zeros(base.nbytes + 1, np.uint8)
    misaligned = raw[1:].view(F32).reshape(base.shape)
    misaligned[...] = base
    frozen = base.copy()
    frozen.flags.writeable = False
    for x in (
        base[::2, ::3],
        base[::-1, ::-1],
        np.asfortranarray(base),
        base.T,
        misaligned,
        frozen,
        base[:1].repeat(3, 0),
    ):
        scale = np.full(x.shape[1], 0.1, F32)
        plain = np.array(x, order="C")
        assert_same(lb.fake_quantize(x, scale, axis=1), lb.fake_quantize(plain, scale, axis=1))
        got = lb.fake_quantize_gradient(x, x, scale, axis=1)
        for mine, expected in zip(got, lb.fake_quantize_gradient(plain, plain, scale, axis=1), strict=True):
            assert_same(mine, expected)
    wide = np.broadcast_to(F32(0.3), (3, 50))
    assert_same(lb.fake_quantize(wide, 0.25), np.full((3, 50), 0.25, F32))


@pytest.mark.bug(19)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3)])
def test_empty_arrays(shape):
    x = np.zeros(shape, F32)
    for axis, group_size in ((None, None), (0, None), (-1, None), (None, 2), (None, -1)):
        scale = np.ones(scale_shape(shape, axis, group_size), F32)
        keywords = {"axis": axis, "group_size": group_size}
        assert lb.fake_quantize(x, scale, **keywords).shape == shape
        grad_x, grad_scale, grad_zero = lb.fake_quantize_gradient(x, x, scale, **keywords)
        assert grad_x.shape == shape
        assert_same(grad_scale, np.zeros_like(scale))
        assert_same(grad_zero, np.zeros_like(scale))
        for mine, wanted in zip(
            (grad_x, grad_scale, grad_zero), ref.fake_quantize_gradient(x, x, scale, **keywords), strict=True
        ):
            assert_same(mine, wanted)


@pytest.mark.bug(17, 22)
def test_out(isa):
    """Written whole, whatever was there; refused where it overlaps x."""
    x = np.random.default_rng(6).standard_normal((9, 50)).astype(F32)
    out = np.full_like(x, np.nan)
    assert lb.fake_quantize(x, 0.1, out=out) is out
    assert_same(out, ref.fake_quantize(x, F32(0.1)))
    with pytest.raises(ValueError, match="out: shares memory with x"):
        lb.fake_quantize(x, 0.1, out=x)


X = np.ones((4, 6), F32)
ONE = F32(1)
CASES = {
    "float64": (lambda: lb.fake_quantize(X.astype(np.float64), ONE), TypeError, "x: dtype float64, expected float32"),
    "scale float64": (lambda: lb.fake_quantize(X, np.float64(1)), TypeError, "scale: dtype float64"),
    "scale shape": (
        lambda: lb.fake_quantize(X, np.ones(3, F32), axis=0),
        ValueError,
        r"scale: shape \(3,\), expected \(4,\)",
    ),
    "scale zero": (lambda: lb.fake_quantize(X, F32(0)), ValueError, "scale: 0.0 at index .*finite and non-zero"),
    "scale NaN": (lambda: lb.fake_quantize(X, F32(np.nan)), ValueError, "scale: nan at index .*finite"),
    "zero dtype": (lambda: lb.fake_quantize(X, ONE, np.int32(1)), TypeError, "zero_point: dtype int32, expected int8"),
    "zero range": (lambda: lb.fake_quantize(X, ONE, np.int8(9), format="int4"), ValueError, "zero_point: 9 .*int4"),
    "zero shape": (
        lambda: lb.fake_quantize(X, np.ones(4, F32), np.int8(1), axis=0),
        ValueError,
        r"zero_point: shape \(\)",
    ),
    "format": (lambda: lb.fake_quantize(X, ONE, format="int9"), ValueError, "format: 'int9', expected"),
    "not integers": (
        lambda: lb.fake_quantize(X, ONE, format="nf4"),
        ValueError,
        "format: nf4, expected a format of int",
    ),
    "float zero point": (
        lambda: lb.fake_quantize(X, ONE, F32(1)),
        TypeError,
        "zero_point: dtype float32, expected int8",
    ),
    "axis and group": (lambda: lb.fake_quantize(X, ONE, axis=0, group_size=2), ValueError, "axis: 0 together"),
    "out dtype": (lambda: lb.fake_quantize(X, ONE, out=np.empty((4, 6), F16)), TypeError, "out: dtype float16"),
    "out shape": (lambda: lb.fake_quantize(X, ONE, out=np.empty((6, 4), F32)), ValueError, "out: shape"),
    "out strides": (lambda: lb.fake_quantize(X, ONE, out=np.empty((4, 9), F32)[:, :6]), ValueError, "out: strides"),
    "grad dtype": (lambda: lb.fake_quantize_gradient(X.astype(int), X, ONE), TypeError, "grad: dtype int64"),
    "grad shape": (
        lambda: lb.fake_quantize_gradient(X[0], X, ONE),
        ValueError,
        r"grad: shape \(6,\), expected \(4, 6\)",
    ),
    "lsq_scale": (
        lambda: lb.fake_quantize_gradient(X, X, ONE, lsq_scale=1),
        TypeError,
        "lsq_scale: int, expected a bool",
    ),
    "lsq int1": (lambda: lb.fake_quantize_gradient(X, X, ONE, format="int1"), ValueError, "lsq_scale: True with int1"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    call, exception, message = CASES[name]
    with pytest.raises(exception, match=message):
        call()


def test_isas_agree_on_long_arrays():
    rng = np.random.default_rng(7)
    x, grad = rng.standard_normal((2, 300, 1000)).astype(F32)
    for keywords in ({}, {"axis": 0}, {"axis": 1}, {"group_size": 100}):
        scale = np.full(scale_shape(x.shape, keywords.get("axis"), keywords.get("group_size")), 0.02, F32)
        results = []
        for name in lb.available_isas():
            with isa_and_threads(name, 3):
                results.append(lb.fake_quantize_gradient(grad, x, scale, **keywords))
        for other in results[1:]:
            for mine, expected in zip(other, results[0], strict=True):
                assert_same(mine, expected)
