"""The Python surface: what is accepted, what is refused and how, shapes, out=, operators, copies; not numerics."""

import copy
import math
import os
import pickle
import subprocess
import sys
import threading

import ml_dtypes
import numpy as np
import pytest
from helpers import raises

import lowbit as lb
from lowbit import _core

FORMATS = [f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 9)]
HUGE = 2**31 + 1  # rows of zero stride: a size without the memory


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def huge(columns, dtype=np.float32):
    return np.broadcast_to(np.zeros((), dtype), (HUGE, columns))


def assert_same(a, b):
    """Two QuantizedArrays hold the same bytes and say the same of them."""
    assert (a.format, a.shape, a.axis, a.group_size) == (b.format, b.shape, b.axis, b.group_size)
    for name in ("codes", "scale", "zero_point"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes(), name


# ---- quantize ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("where", "scale_shape"),
    [({}, ()), ({"axis": 0}, (6,)), ({"axis": -1}, (70,)), ({"group_size": 32}, (6, 3)), ({"group_size": -1}, (6, 1))],
)
def test_shapes_and_dtypes(format, symmetric, where, scale_shape):
    bits, signed = int(format[-1]), format[0] == "i"
    convention = "signed_max" if symmetric and bits == 1 else None  # "full" makes every code of one bit 0
    q = lb.quantize(random(6, 70), format, symmetric=symmetric, convention=convention, **where)
    assert (q.format, q.shape, q.ndim, q.size) == (format, (6, 70), 2, 420)
    assert q.codes.dtype == (np.int8 if bits == 8 and signed else np.uint8)
    assert q.codes.shape == (6, math.ceil(70 * bits / 8))
    assert q.scale.dtype == np.float32 and q.scale.shape == scale_shape
    if symmetric and signed:
        assert q.zero_point is None
    elif "group_size" in where and bits < 8:
        assert q.zero_point.dtype == np.uint8
        assert q.zero_point.shape == (6, math.ceil(scale_shape[-1] * bits / 8))
    else:
        assert q.zero_point.dtype == (np.int8 if signed else np.uint8) and q.zero_point.shape == scale_shape
    if symmetric and not signed:
        assert (q.zero_points() == 2 ** (bits - 1)).all() and q.zero_points().shape == scale_shape
    codes = q.unpack()
    assert codes.dtype == (np.int8 if signed else np.uint8) and codes.shape == (6, 70)
    assert codes.min() >= (-(2 ** (bits - 1)) if signed else 0)
    assert codes.max() > codes.min(), "the test data is too kind"
    assert q.dequantize().shape == (6, 70)
    arrays = [q.codes, q.scale] + ([] if q.zero_point is None else [q.zero_point])
    assert q.nbytes == sum(a.nbytes for a in arrays) and q.bits_per_weight == 8 * q.nbytes / 420
    assert_same(lb.pack_weights(q).unpack(), q) if where != {"axis": -1} else None


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 9), (0,), (0, 5), (5, 0), (3, 0, 4)])
@pytest.mark.parametrize("format", ["int8", "uint8", "int3", "uint4"])
def test_any_number_of_dimensions(shape, format):
    x = random(*shape) if shape else np.float32(-1.5)
    q = lb.quantize(x, format)
    assert q.shape == shape and q.scale.shape == ()
    y = q.dequantize()
    assert y.shape == shape and y.dtype == np.float32
    assert np.abs(y - x).max(initial=0) <= q.scale
    for axis in range(-len(shape), len(shape)):
        q = lb.quantize(x, format, axis=axis)
        assert q.axis == axis % len(shape) and q.scale.shape == (shape[axis],)
        along = q.scale.reshape([-1 if i == q.axis else 1 for i in range(len(shape))])
        assert (np.abs(q.dequantize() - x) <= along).all()
    if shape:
        for group_size in (1, 2, 100, -1):
            q = lb.quantize(x, format, group_size=group_size)
            size = group_size if group_size > 0 else max(shape[-1], 1)
            assert q.group_size == size and q.scale.shape == (*shape[:-1], -(-shape[-1] // size))
            assert q.dequantize().shape == shape
    else:
        assert math.isclose(q.bits_per_weight, 8 * q.nbytes)


def test_empty_array_has_scale_one():
    q = lb.quantize(np.zeros((0, 4), np.float32), "int8")
    assert q.scale == 1 and math.isnan(q.bits_per_weight)


@pytest.mark.parametrize("format", ["int8", "uint4"])
@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"axis": 1}, {"group_size": 4}])
def test_strides_do_not_matter(format, where):
    x = random(12, 20)
    expected = lb.quantize(x, format, **where)
    wide = np.zeros((24, 60), np.float32)
    wide[::2, ::3] = x
    bytes_ = np.concatenate([np.zeros(1, np.uint8), x.reshape(-1).view(np.uint8)])
    misaligned = np.frombuffer(bytes_.tobytes(), np.float32, offset=1).reshape(12, 20)
    for same in (np.asfortranarray(x), wide[::2, ::3], x[::-1, ::-1].copy()[::-1, ::-1], misaligned):
        assert_same(lb.quantize(same, format, **where), expected)
    x.flags.writeable = False
    assert_same(lb.quantize(x, format, **where), expected)


def test_other_float_types_and_format_dtypes():
    x = random(4, 64)
    for dtype in (np.float16, ml_dtypes.bfloat16):
        narrow = x.astype(dtype)
        assert_same(lb.quantize(narrow, "int8", axis=0), lb.quantize(narrow.astype(np.float32), "int8", axis=0))
    for dtype in (np.int8, "uint8", ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2, np.dtype("u1")):
        assert lb.quantize(x, dtype).format == np.dtype(dtype).name
    assert lb.quantize(x, "int4", scale_dtype=np.float16, group_size=16).scale.dtype == np.float16


@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint4", "uint3"])
@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"axis": 1}, {"group_size": 16}, {"group_size": -1}])
def test_given_parameters_give_the_same_codes(format, where):
    x = random(6, 40)
    for symmetric in (True, False):
        q = lb.quantize(x, format, symmetric=symmetric, **where)
        given = {"scale": q.scale, "symmetric": symmetric}
        if not symmetric:
            for zero_point in (q.zero_point, q.zero_points()):
                assert_same(lb.quantize(x, format, zero_point=zero_point, **given, **where), q)
        else:
            assert_same(lb.quantize(x, format, **given, **where), q)


def test_python_numbers_as_parameters():
    q = lb.quantize(random(5), "uint8", scale=0.25, zero_point=3)
    assert q.scale.dtype == np.float32 and q.scale == 0.25
    assert q.zero_point.dtype == np.uint8 and q.zero_point == 3


def test_default_conventions():
    x = random(3, 50)
    assert_same(lb.quantize(x, "int8"), lb.quantize(x, "int8", convention="absmax"))
    assert_same(lb.quantize(x, "int4"), lb.quantize(x, "int4", convention="full"))


X = random(4, 32)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": X.astype(np.float64)}, TypeError, ["x:", "float64", "float32", ".astype(np.float32)"]),
        ({"x": X.astype(np.int32)}, TypeError, ["x:", "int32", "float32"]),
        ({"x": X.astype(">f4")}, TypeError, ["x:", ">f4", "byte order"]),
        ({"x": X.astype(np.complex64)}, TypeError, ["x:", "complex64"]),
        ({"x": "text"}, TypeError, ["x:"]),
        ({"format": "int9"}, ValueError, ["format:", "int9", "int8", "uint1"]),
        ({"format": np.float32}, ValueError, ["format:", "float32", "int8"]),
        ({"axis": 2}, ValueError, ["axis:", "2", "-2", "1"]),
        ({"axis": 1.0}, TypeError, ["axis:", "float"]),
        ({"axis": 0, "group_size": 8}, ValueError, ["axis:", "group_size"]),
        ({"group_size": 0}, ValueError, ["group_size:", "0", "-1"]),
        ({"group_size": -2}, ValueError, ["group_size:", "-2"]),
        ({"group_size": 8.0}, TypeError, ["group_size:", "float"]),
        ({"x": np.float32(1), "group_size": 8}, ValueError, ["group_size:", "0-d"]),
        ({"x": np.float32(1), "axis": 0}, ValueError, ["axis:", "0-d"]),
        ({"convention": "half"}, ValueError, ["convention:", "half", "absmax", "no_clip"]),
        ({"convention": "full", "symmetric": False}, ValueError, ["convention:", "symmetric=False"]),
        ({"convention": "absmax", "format": "int1"}, ValueError, ["convention"]),
        ({"calibrate": "median"}, ValueError, ["calibrate:", "median", "minmax"]),
        ({"scale_dtype": np.float64}, ValueError, ["scale_dtype:", "float64", "float16"]),
        ({"scale_dtype": ml_dtypes.float8_e5m2}, ValueError, ["scale_dtype:", "float8_e5m2", "bfloat16"]),
        ({"scale": np.float32(0)}, ValueError, ["scale:", "0.0", "non-zero"]),
        ({"scale": np.float32("nan")}, ValueError, ["scale:", "nan", "finite"]),
        ({"scale": np.float32("inf")}, ValueError, ["scale:", "inf", "finite"]),
        ({"scale": np.float32(-1)}, ValueError, ["scale:", "-1.0", "positive"]),
        ({"scale": np.float64(1)}, TypeError, ["scale:", "float64", "float16"]),
        ({"scale": np.ones(4, ">f4"), "axis": 0}, TypeError, ["scale:", ">f4", "byte order"]),
        ({"scale": np.ones(5, np.float32), "axis": 0}, ValueError, ["scale:", "(5,)", "(4,)"]),
        ({"scale": 1.0, "scale_dtype": np.float16}, ValueError, ["scale_dtype:", "float16", "float32"]),
        ({"scale": 1.0, "symmetric": False}, ValueError, ["zero_point:", "symmetric=False"]),
        ({"zero_point": 1}, ValueError, ["zero_point:", "scale"]),
        ({"scale": 1.0, "zero_point": np.uint8(1)}, TypeError, ["zero_point:", "uint8", "int8"]),
        ({"scale": 1.0, "zero_point": np.ones(3, np.int8)}, ValueError, ["zero_point:", "(3,)", "()"]),
        ({"scale": 1.0, "zero_point": np.int8(8), "format": "int4"}, ValueError, ["zero_point:", "8", "-8", "7"]),
    ],
)
def test_quantize_refuses(arguments, error, words):
    with raises(error, *words):
        lb.quantize(**{"x": X, "format": "int8"} | arguments)


def test_scale_overflow_is_an_error():
    with raises(ValueError, "scale", "float16"):
        lb.quantize(np.full((2, 4), 3e38, np.float32), "int4", axis=0, scale_dtype=np.float16)


def test_signed_max_may_be_negative():
    x = np.asarray([[1, 2, 3, 8]], np.float32)
    q = lb.quantize(x, "int4", group_size=4, convention="signed_max")
    assert q.scale == -1
    assert_same(lb.quantize(x, "int4", group_size=4, convention="signed_max", scale=q.scale), q)


# ---- dequantize ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"axis": -1}, {"group_size": 8}])
@pytest.mark.parametrize("format", ["int8", "uint4", "int3"])
@pytest.mark.parametrize("shape", [(7, 20), (7, 3, 20)])
def test_rows(shape, where, format):
    q = lb.quantize(random(*shape), format, symmetric=False, **where)
    x = lb.dequantize(q)
    for rows in (3, [0], [6, -7, 2, 2], [[1, 2], [3, 4]], np.zeros((0,), np.int64), np.uint8([1])):
        y = lb.dequantize(q, rows=rows)
        assert y.tobytes() == x[rows].tobytes() and y.shape == x[rows].shape


@pytest.mark.parametrize("where", [{"axis": 0}, {"group_size": 8}, {"block_shape": (4, 16)}])
@pytest.mark.parametrize("format", ["int8", "nf4"])
def test_rows_of_quantized_scales(format, where, monkeypatch):
    """An embedding's: only the scales of the rows are decoded."""
    q = lb.quantize(random(700, 40), format, double_quantize=True, **where)
    x = lb.dequantize(q)
    monkeypatch.setattr(lb.QuantizedArray, "decoded_scale", only_small(lb.QuantizedArray.decoded_scale))
    for rows in ([0], [699, -1, 350, 350], [[1, 2], [3, 4]], np.zeros((0,), np.int64)):
        y = lb.dequantize(q, rows=rows)
        assert y.tobytes() == x[rows].tobytes() and y.shape == x[rows].shape


def only_small(decoded_scale):
    """decoded_scale, refused where it would decode scales of the whole."""

    def checked(self):
        assert not isinstance(self.scale, lb.QuantizedArray)
        return decoded_scale(self)

    return checked


def test_dequantize_dtypes_and_out():
    q = lb.quantize(random(6, 40) * 1e5, "int8", axis=0)
    x = q.dequantize()
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        with np.errstate(over="ignore"):
            expected = x.astype(dtype)
        out = np.full((6, 40), np.nan, dtype)
        assert lb.dequantize(q, dtype=dtype).tobytes() == expected.tobytes()
        assert lb.dequantize(q, dtype=dtype, out=out) is out
        assert out.tobytes() == expected.tobytes()


def test_dequantize_refuses():
    q = lb.quantize(X, "int8")
    with raises(TypeError, "dtype:", "float64", "float16"):
        q.dequantize(dtype=np.float64)
    with raises(ValueError, "rows:", "4", "-4", "3"):
        q.dequantize(rows=[0, 4])
    with raises(TypeError, "rows:", "float64"):
        q.dequantize(rows=[0.0])
    with raises(ValueError, "rows:", "2 dimensions"):
        lb.quantize(X[0], "int8").dequantize(rows=[0])
    with raises(TypeError, "q:", "ndarray", "QuantizedArray"):
        lb.dequantize(X)
    for out, error, words in bad_outputs((4, 32)):
        with raises(error, "out:", *words):
            q.dequantize(out=out)
    with raises(ValueError, "out:", "strides"):
        q.dequantize(out=np.zeros((4, 64), np.float32)[:, :32])
    both = np.zeros(4 * 32 * 5, np.uint8)
    q = lb.QuantizedArray(both[:128].view(np.int8).reshape(4, 32), 1.0, format="int8", shape=(4, 32))
    with raises(ValueError, "out:", "codes"):
        q.dequantize(out=both[: 4 * 128].view(np.float32).reshape(4, 32))


def bad_outputs(shape):
    """(out, error, words of the message) for a float32 result of this shape."""
    good = np.zeros(shape, np.float32)
    read_only = good.copy()
    read_only.flags.writeable = False
    yield good.tolist(), TypeError, ["list", "numpy array"]
    yield good.astype(np.float64), TypeError, ["float64", "float32"]
    yield good.astype(">f4"), TypeError, [">f4", "byte order"]
    yield good[:-1], ValueError, [shape, good[:-1].shape]
    yield read_only, ValueError, ["read-only", "writeable"]
    yield np.zeros((shape[0], 2 * shape[1]), np.float32)[:, ::2], ValueError, ["strides"]
    yield np.asfortranarray(good), ValueError, ["strides"]
    yield np.lib.stride_tricks.as_strided(good, shape, (0, 4)), ValueError, ["strides"]
    yield np.zeros(good.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(shape), ValueError, ["aligned"]


# ---- QuantizedArray ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"codes": np.zeros((4, 7), np.uint8)}, ValueError, ["codes:", "(4, 7)", "(4, 8)", "int4"]),
        ({"codes": np.zeros((4, 8), np.int8)}, TypeError, ["codes:", "int8", "uint8"]),
        ({"scale": np.zeros((4, 2), np.float32)}, ValueError, ["scale:", "0.0"]),
        ({"scale": np.ones((4, 3), np.float32)}, ValueError, ["scale:", "(4, 3)", "(4, 2)"]),
        ({"scale": np.ones((4, 2), np.int32)}, TypeError, ["scale:", "int32"]),
        ({"zero_point": np.zeros((4, 2), np.uint8)}, ValueError, ["zero_point:", "(4, 2)", "(4, 1)", "packed"]),
        ({"zero_point": np.zeros((4, 1), np.int8)}, TypeError, ["zero_point:", "int8", "uint8"]),
        ({"format": "nibble"}, ValueError, ["format:", "nibble", "int4"]),
        ({"shape": (4, -1)}, ValueError, ["shape:", "-1"]),
        ({"shape": (4, 2**62, 4)}, ValueError, ["codes:"]),
    ],
)
def test_quantized_array_refuses(arguments, error, words):
    good = {
        "codes": np.zeros((4, 8), np.uint8),
        "scale": np.ones((4, 2), np.float32),
        "zero_point": np.zeros((4, 1), np.uint8),
        "format": "int4",
        "shape": (4, 16),
        "group_size": 8,
    }
    lb.QuantizedArray(**good)
    with raises(error, *words):
        lb.QuantizedArray(**good | arguments)


def test_quantized_array_is_never_an_ordinary_array():
    q = lb.quantize(X, "int4", group_size=8)
    for use in (np.asarray, np.sum, lambda q: np.add(q, 1), lambda q: X + q, lb.pack_weights(q).__matmul__):
        with pytest.raises(TypeError):
            use(q)
    with raises(TypeError, "dequantize()"):
        np.asarray(q)
    for left in (X, lb.quantize(X, "int8")):
        with raises(TypeError, "pack_weights", "once"):
            left @ q
    with raises(TypeError, "pack_weights", "once"):
        lb.matmul(X, q)


@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"group_size": 12}])
@pytest.mark.parametrize("format", ["int8", "uint3"])
def test_copies_and_pickles(format, where):
    q = lb.quantize(X, format, symmetric=False, **where)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert_same(pickle.loads(pickle.dumps(q, protocol)), q)
    assert_same(copy.deepcopy(q), q)
    assert_same(copy.copy(q), q)
    assert copy.deepcopy(q).codes is not q.codes
    assert q.format in repr(q) and str(q.shape) in repr(q)

    w = lb.pack_weights(q)
    assert copy.copy(w) is w and copy.deepcopy(w) is w
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(w, protocol))
        assert (again.shape, again.format, again.group_size) == (w.shape, w.format, w.group_size)
        assert_same(again.unpack(), q)
        assert (X @ again).tobytes() == (X @ w).tobytes()
    assert w.format in repr(w) and str(w.shape) in repr(w)


# ---- bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("shape", [(0,), (1,), (13,), (3, 0), (0, 3), (2, 3, 17)])
def test_bits_round_trip(bits, shape):
    codes = np.random.default_rng(bits).integers(0, 2**bits, shape, np.uint8)
    packed = lb.pack_bits(codes, bits)
    assert packed.dtype == np.uint8 and packed.shape == (*shape[:-1], -(-shape[-1] * bits // 8))
    assert (lb.unpack_bits(packed, bits, shape[-1]) == codes).all()
    signed = lb.unpack_bits(packed, bits, shape[-1], signed=True)
    assert signed.dtype == np.int8
    assert (lb.pack_bits(signed, bits) == packed).all()
    assert (lb.pack_bits(np.asfortranarray(codes), bits) == packed).all()


def test_bits_refuse():
    with raises(TypeError, "codes:", "int64"):
        lb.pack_bits([1, 2], 4)
    with raises(ValueError, "codes:", "0-d"):
        lb.pack_bits(np.uint8(1), 4)
    for bits in (0, 9):
        with raises(ValueError, "bits:", bits):
            lb.pack_bits(np.zeros(3, np.uint8), bits)
    with raises(TypeError, "bits:", "float"):
        lb.pack_bits(np.zeros(3, np.uint8), 4.0)
    with raises(ValueError, "b:", "(3,)", "(..., 2)"):
        lb.unpack_bits(np.zeros(3, np.uint8), 4, 4)
    with raises(ValueError, "count:", "-1"):
        lb.unpack_bits(np.zeros(3, np.uint8), 4, -1)
    with raises(TypeError, "b:", "int8"):
        lb.unpack_bits(np.zeros(3, np.int8), 4, 6)


# ---- pack_weights and matmul ---------------------------------------------------------------------------------------


def weights(format="int4", n=8, k=32, **where):
    return lb.pack_weights(lb.quantize(random(n, k, seed=1), format, **(where or {"group_size": 16})))


def test_packed_weights():
    w = weights()
    assert w.shape == (32, 8) and w.format == "int4" and w.group_size == 16 and w.scale_dtype == np.float32
    codes = np.random.default_rng(0).integers(-128, 128, (5, 9), np.int8)
    for plain in (codes, codes.view(np.uint8), np.asfortranarray(codes)):
        w = lb.pack_weights(plain)
        assert w.shape == (9, 5) and w.scale_dtype is None
        assert w.unpack().dtype == plain.dtype and (w.unpack() == plain).all()
    with raises(ValueError, "w:", "matmul_int"):
        lb.matmul(random(2, 9), w)
    with raises(TypeError, "unpack()"):
        np.asarray(w)
    big = lb.quantize(random(512, 512), "int4", group_size=32, symmetric=False, scale_dtype=np.float16)
    assert lb.pack_weights(big).nbytes <= 1.06 * big.nbytes


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("where", [{}, {"axis": 0}, {"group_size": 2}, {"group_size": -1}])
def test_empty_weights(shape, where):
    q = lb.quantize(np.zeros(shape, np.float32), "uint4", **where)
    w = lb.pack_weights(q)
    assert_same(w.unpack(), q)
    n, k = shape
    for compute in ("int8", "float32"):
        y = lb.matmul(np.ones((3, k), np.float32), w, bias=np.full(n, 2, np.float32), compute=compute)
        assert y.shape == (3, n) and (y == 2).all()


def test_pack_weights_refuses():
    with raises(ValueError, "q:", "axis=1", "axis None or 0", "sum over k"):
        lb.pack_weights(lb.quantize(X, "int8", axis=1))
    with raises(ValueError, "q:", "(32,)", "(N, K)"):
        lb.pack_weights(lb.quantize(X[0], "int8"))
    with raises(TypeError, "q:", "float32", "int8"):
        lb.pack_weights(X)
    with raises(ValueError, "q:", HUGE, 2**31 - 1):
        lb.pack_weights(huge(1, np.int8))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(32,), (1, 32), (5, 32), (2, 3, 32), (0, 32), (2, 0, 32)])
@pytest.mark.parametrize("compute", [None, "int8", "float32"])
def test_matmul_shapes_and_dtypes(shape, dtype, compute):
    w = weights()
    x = random(*shape).astype(dtype)
    y = lb.matmul(x, w, compute=compute)
    assert y.shape == (*shape[:-1], 8) and y.dtype == dtype
    near = x.astype(np.float32) @ w.unpack().dequantize().T
    assert np.abs(y.astype(np.float32) - near).max(initial=0) <= 0.02 * np.abs(near).max(initial=1)
    wide = lb.matmul(x.astype(np.float32), w, compute=compute)
    assert y.tobytes() == wide.astype(dtype).tobytes()
    if compute is None:
        assert (x @ w).tobytes() == y.tobytes()
    out = np.full(y.shape, np.nan, dtype)
    assert lb.matmul(x, w, compute=compute, out=out) is out
    assert out.tobytes() == y.tobytes()


def test_matmul_strides():
    w = weights()
    x = random(6, 32)
    expected = x @ w
    wide = np.zeros((12, 96), np.float32)
    wide[::2, ::3] = x
    padded = np.zeros((6, 100), np.float32)
    padded[:, 4:36] = x
    for same in (np.asfortranarray(x), wide[::2, ::3], padded[:, 4:36], x[::-1, ::-1].copy()[::-1, ::-1]):
        assert (same @ w).tobytes() == expected.tobytes()
    assert (np.broadcast_to(x[0], (4, 32)) @ w).tobytes() == np.tile(expected[0], (4, 1)).tobytes()
    out = padded[:, 60:68]
    assert lb.matmul(padded[:, 4:36], w, out=out) is out
    assert (out == expected).all() and (padded[:, :4] == 0).all() and (padded[:, 68:] == 0).all()


def test_matmul_of_quantized_activations():
    for where in ({}, {"axis": 0}, {"group_size": 16}, {"group_size": -1}):
        q = lb.quantize(random(5, 32), "int8", **where)
        y = q @ weights()
        assert y.dtype == np.float32 and y.shape == (5, 8)
        near = q.dequantize() @ weights().unpack().dequantize().T
        assert np.abs(y - near).max() <= 1e-5 * np.abs(near).max()
    per_row = weights("int8", axis=0)
    for where in ({}, {"axis": 0}, {"axis": 1}, {"group_size": -1}):
        q = lb.quantize(random(2, 3, 32), "uint8", symmetric=False, **where)
        y = lb.matmul(q, per_row)
        near = q.dequantize() @ per_row.unpack().dequantize().T
        assert y.shape == (2, 3, 8) and np.abs(y - near).max() <= 1e-5 * np.abs(near).max()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": X.astype(np.float64)}, TypeError, ["x:", "float64", ".astype(np.float32)"]),
        ({"x": X.astype(np.int8)}, TypeError, ["x:", "int8", "float32"]),
        ({"x": X.astype(">f4")}, TypeError, ["x:", ">f4", "byte order"]),
        ({"x": X[:, :31]}, ValueError, ["x:", "(4, 31)", "K = 32"]),
        ({"x": np.float32(1)}, ValueError, ["x:", "()", "K = 32"]),
        ({"x": huge(32)}, ValueError, ["x:", HUGE, 2**31 - 1]),
        ({"x": lb.quantize(X, "int4")}, ValueError, ["x:", "int4", "int8"]),
        ({"x": lb.quantize(X, "int8", axis=1)}, ValueError, ["x:", "axis=1"]),
        ({"x": lb.quantize(X, "int8"), "compute": "float32"}, ValueError, ["compute:", "float32"]),
        ({"x": lb.quantize(X, "int8"), "act_group_size": 16}, ValueError, ["act_group_size:", "16"]),
        ({"x": lb.quantize(X, "int8", group_size=16, symmetric=False)}, ValueError, ["x:", "zero points"]),
        ({"w": X}, TypeError, ["w:", "ndarray", "PackedWeights"]),
        ({"bias": np.zeros(9, np.float32)}, ValueError, ["bias:", "(9,)", "(8,)"]),
        ({"bias": np.zeros(8)}, TypeError, ["bias:", "float64"]),
        ({"activation": "tanh"}, ValueError, ["activation:", "tanh", "relu", "silu"]),
        ({"compute": "int4"}, ValueError, ["compute:", "int4", "int8", "int8x2", "float32"]),
        ({"compute": 8}, TypeError, ["compute:", "int"]),
        ({"act_group_size": 0}, ValueError, ["act_group_size:", "0", "-1"]),
        ({"act_group_size": 12}, ValueError, ["act_group_size", "12", "16"]),
        ({"act_group_size": 16, "compute": "float32"}, ValueError, ["act_group_size:", "16"]),
    ],
)
def test_matmul_refuses(arguments, error, words):
    with raises(error, *words):
        lb.matmul(**{"x": X, "w": weights()} | arguments)


def test_matmul_refuses_outputs():
    w = weights()
    for out, error, words in bad_outputs((4, 8)):
        with raises(error, "out:", *words):
            lb.matmul(X, w, out=out)
    memory = np.zeros(1000, np.float32)
    x = memory[:128].reshape(4, 32)
    for start in (0, 1, 127):
        with raises(ValueError, "out:", "x"):
            lb.matmul(x, w, out=memory[start : start + 32].reshape(4, 8))
    lb.matmul(x, w, out=memory[128:160].reshape(4, 8))
    with raises(ValueError, "out:", "bias"):
        lb.matmul(X, w, bias=memory[7:15], out=memory[:32].reshape(4, 8))
    with raises(TypeError, "out:", "float32", "float16"):
        lb.matmul(X.astype(np.float16), w, out=np.zeros((4, 8), np.float32))


@pytest.mark.parametrize("a_type", [np.int8, np.uint8])
@pytest.mark.parametrize("b_type", [np.int8, np.uint8])
@pytest.mark.parametrize("shape", [(19,), (6, 19), (2, 3, 19), (0, 19)])
def test_matmul_int(a_type, b_type, shape):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, shape, np.uint8).view(a_type)
    b = rng.integers(0, 256, (19, 7), np.uint8).view(b_type)
    a_zero, b_zero = rng.integers(-9, 9, shape[:-1]), rng.integers(-9, 9, 7)
    for za, zb in ((0, 0), (3, -4), (a_zero, b_zero)):
        expected = (a.astype(np.int64) - np.asarray(za)[..., None]) @ (b.astype(np.int64) - zb)
        for right in (b, lb.pack_weights(b.T)):
            y = lb.matmul_int(a, right, a_zero_point=za, b_zero_point=zb)
            assert y.dtype == np.int32 and y.shape == expected.shape and (y == expected).all()
    out = np.full(expected.shape, -1, np.int32)
    assert lb.matmul_int(a, b, out=out) is out
    assert (out == a.astype(np.int64) @ b.astype(np.int64)).all()


A, B = np.ones((4, 6), np.int8), np.ones((6, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"a": A.astype(np.int32)}, TypeError, ["a:", "int32", "int8"]),
        ({"b": B.astype(np.float32)}, TypeError, ["b:", "float32", "int8"]),
        ({"b": B[0]}, ValueError, ["b:", "(3,)", "(K, N)"]),
        ({"b": B[:5]}, ValueError, ["a:", "(4, 6)", "K = 5"]),
        ({"a": huge(6, np.int8)}, ValueError, ["a:", HUGE, 2**31 - 1]),
        ({"b": huge(6, np.int8).T}, ValueError, ["b:", HUGE, 2**31 - 1]),
        ({"a_zero_point": 0.5}, TypeError, ["a_zero_point:", "float64"]),
        ({"a_zero_point": [1, 2]}, ValueError, ["a_zero_point:", "(2,)", "(4,)"]),
        ({"b_zero_point": [1, 2]}, ValueError, ["b_zero_point:", "(2,)", "(3,)"]),
        ({"b_zero_point": 2**31}, ValueError, ["b_zero_point:", 2**31, 2**31 - 1]),
        ({"out": np.zeros((4, 3), np.int64)}, TypeError, ["out:", "int64", "int32"]),
        ({"out": np.zeros((3, 4), np.int32)}, ValueError, ["out:", "(3, 4)", "(4, 3)"]),
        ({"b": weights("int4", k=6, axis=0)}, ValueError, ["b:", "int4", "int8"]),
        ({"b": weights("int8", k=6, group_size=2)}, ValueError, ["b:", "group_size", "2"]),
    ],
)
def test_matmul_int_refuses(arguments, error, words):
    with raises(error, *words):
        lb.matmul_int(**{"a": A, "b": B} | arguments)


# ---- instruction sets and threads ----------------------------------------------------------------------------------


def test_isas():
    isas = lb.available_isas()
    assert isas[-1] == "scalar" and len(set(isas)) == len(isas) and set(isas) <= set(_core.built_isas())
    before = lb.current_isa()
    seen = []
    for isa in isas:
        with lb.use_isa(isa):
            assert lb.current_isa() == isa
            other = threading.Thread(target=lambda: seen.append(lb.current_isa()))
            other.start()
            other.join()
        assert lb.current_isa() == before
    assert set(seen) == {before}, "use_isa leaked into another thread"
    with raises(ValueError, "avx3", *isas), lb.use_isa("avx3"):
        pass
    with raises(TypeError, "name:", "NoneType"), lb.use_isa(None):
        pass


def test_environment_isa():
    code = "import lowbit as lb; print(lb.current_isa())"
    for isa in lb.available_isas():
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment(LOWBIT_ISA=isa), capture_output=True, text=True
        )
        assert run.stdout.strip() == isa
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment(LOWBIT_ISA="avx3"), capture_output=True, text=True
    )
    assert run.returncode == 1 and "ValueError" in run.stderr and "avx3" in run.stderr and "scalar" in run.stderr


def environment(**changes):
    return {**os.environ, **changes}


def test_threads():
    before = lb.get_num_threads()
    assert before >= 1
    with lb.num_threads(3):
        assert lb.get_num_threads() == 3
        with lb.num_threads(1):
            assert lb.get_num_threads() == 1
        assert lb.get_num_threads() == 3
    assert lb.get_num_threads() == before
    try:
        lb.set_num_threads(5)
        seen = []
        other = threading.Thread(target=lambda: seen.append(lb.get_num_threads()))
        other.start()
        other.join()
        assert seen == [5]
    finally:
        lb.set_num_threads(before)
    for bad, error in ((0, ValueError), (-1, ValueError), (10**6, ValueError), (1.5, TypeError), ("2", TypeError)):
        with raises(error, "n:"):
            lb.set_num_threads(bad)
        with raises(error, "n:"), lb.num_threads(bad):
            pass


# ---- the compiled module checks for itself -------------------------------------------------------------------------


def test_core_checks_arrays():
    context = _core.Context(None, 1)
    codes, packed = np.zeros(8, np.uint8), np.zeros(4, np.uint8)
    for arguments, error, words in (
        ((4, 1, 9, codes, packed), ValueError, ["codes", "8", "9"]),
        ((4, 1, 7, codes, packed), ValueError, ["codes", "8", "7"]),
        ((4, 1, 8, codes[::-1], packed), ValueError, ["codes", "contiguous"]),
        ((4, 1, 8, codes.astype(np.int16), packed), TypeError, ["codes", "int16"]),
        ((4, -1, 8, codes, packed), ValueError, ["-1"]),
        ((4, 2**62, 8, codes, packed), ValueError, [2**62]),
        ((0, 1, 8, codes, packed), ValueError, ["bits"]),
    ):
        with raises(error, *words):
            _core.pack_bits(context, *arguments)
    packed.flags.writeable = False
    with raises(ValueError, "packed", "read-only"):
        _core.pack_bits(context, 4, 1, 8, codes, packed)
    with raises(ValueError, "threads"):
        _core.Context(None, 0)
    data = weights()._data
    assert data.ctypes.data % 64 == 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        data.flags.writeable = True
    forged = np.zeros(data.size + 64, np.uint8)
    forged = forged[-forged.ctypes.data % 64 :][: data.size]
    with pytest.raises(ValueError, match="weights"):
        _core.matmul(context, forged, X, 0, 0, None, None, None, 0, np.zeros((4, 8), np.float32))


# ---- python -m lowbit ----------------------------------------------------------------------------------------------


def test_command_line():
    def run(*arguments):
        return subprocess.run([sys.executable, "-m", "lowbit", *arguments], capture_output=True, text=True, check=True)

    assert "info" in run().stdout and "demo" in run().stdout
    info = run("info").stdout
    for word in (lb.__version__, np.__version__, lb.available_isas()[0], "threads", "platform"):
        assert word in info
    table = run("demo", "--size", "64").stdout
    for word in ("float32", "int8", "int4", "GB/s", "GOPS", "error"):
        assert word in table


def test_version():
    assert lb.__version__ == _core.version()
