"""Bad input: the exception's type, and a message that names the argument, what was given and what was expected."""

import re

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, run_python

import lowbit as lb

I8, U8 = np.int8, np.uint8
W = np.linspace(-1, 1, 4 * 6, dtype=F32).reshape(4, 6)
Q = lb.quantize(W, "int8", axis=0)
Q4 = lb.quantize(W, "int4", group_size=4)
PACKED = lb.pack_weights(Q)  # (6, 4)
PACKED4 = lb.pack_weights(Q4)
CODES = lb.pack_weights(Q.codes)
X = np.ones((2, 6), F32)
A, B = np.ones((2, 6), I8), np.ones((6, 4), I8)
BIG = 2**31
ONE = np.ones((), F32)


def wide(dtype, *shape):
    """An array of any size that takes one element: bug class 18."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def read_only(array):
    array.flags.writeable = False
    return array


def scaled(scale, **keywords):
    return lb.quantize(X, "int8", scale=scale, **keywords)


def made(codes=A, scale=ONE, zero_point=None, *, format="int8", shape=(2, 6), **keywords):
    return lb.QuantizedArray(codes, scale, zero_point, format=format, shape=shape, **keywords)


# (call, exception, what the message says: argument, given, expected)
CASES = {
    # ---- dtype
    "quantize float64": (
        lambda: lb.quantize(X.astype(np.float64), "int8"),
        TypeError,
        ["x: ", "float64", "float32", "astype"],
    ),
    "quantize int32": (lambda: lb.quantize(X.astype(np.int32), "int8"), TypeError, ["x: ", "int32", "float32"]),
    "quantize complex": (
        lambda: lb.quantize(X.astype(np.complex64), "int8"),
        TypeError,
        ["x: ", "complex64", "float32"],
    ),
    "quantize strings": (lambda: lb.quantize(["a"], "int8"), TypeError, ["x: ", "<U1", "float32"]),
    "quantize objects": (lambda: lb.quantize(np.array([None]), "int8"), TypeError, ["x: ", "object", "float32"]),
    "quantize float8": (
        lambda: lb.quantize(X.astype(ml_dtypes.float8_e4m3fn), "int8"),
        TypeError,
        ["x: ", "float8_e4m3fn"],
    ),
    "matmul float64": (
        lambda: lb.matmul(X.astype(np.float64), PACKED),
        TypeError,
        ["x: ", "float64", "astype(np.float32)"],
    ),
    "matmul float64 operator": (
        lambda: X.astype(np.float64) @ PACKED,
        TypeError,
        ["x: ", "float64", "astype(np.float32)"],
    ),
    "matmul codes": (lambda: lb.matmul(A, PACKED), TypeError, ["x: ", "int8", "float32"]),
    "matmul bias float64": (lambda: lb.matmul(X, PACKED, bias=np.ones(4)), TypeError, ["bias: ", "float64", "float32"]),
    "matmul array as w": (lambda: lb.matmul(X, W.T), TypeError, ["w: ", "ndarray", "PackedWeights"]),
    "matmul QuantizedArray as w": (lambda: lb.matmul(X, Q), TypeError, ["w: ", "QuantizedArray", "pack_weights"]),
    "x @ q": (lambda: X @ Q, TypeError, ["QuantizedArray", "pack_weights"]),
    "w @ x": (lambda: PACKED @ X, TypeError, ["right-hand", "x @ w"]),
    "asarray of q": (lambda: np.asarray(Q), TypeError, ["QuantizedArray", "dequantize"]),
    "asarray of w": (lambda: np.asarray(PACKED), TypeError, ["PackedWeights", "unpack"]),
    "matmul_int float a": (lambda: lb.matmul_int(X, B), TypeError, ["a: ", "float32", "int8 or uint8"]),
    "matmul_int int16 b": (lambda: lb.matmul_int(A, B.astype(np.int16)), TypeError, ["b: ", "int16", "int8 or uint8"]),
    "matmul_int float zero": (
        lambda: lb.matmul_int(A, B, a_zero_point=0.5),
        TypeError,
        ["a_zero_point: ", "float64", "integers"],
    ),
    "matmul_int bool zero": (
        lambda: lb.matmul_int(A, B, b_zero_point=True),
        TypeError,
        ["b_zero_point: ", "bool", "integers"],
    ),
    "pack_weights float": (lambda: lb.pack_weights(W), TypeError, ["q: ", "float32", "int8 or uint8"]),
    "pack_bits int32": (
        lambda: lb.pack_bits(np.zeros(3, np.int32), 4),
        TypeError,
        ["codes: ", "int32", "int8 or uint8"],
    ),
    "unpack_bits int8": (lambda: lb.unpack_bits(np.zeros(3, I8), 4, 6), TypeError, ["b: ", "int8", "uint8"]),
    "pack_bits float bits": (lambda: lb.pack_bits(A, 4.0), TypeError, ["bits: ", "float", "integer"]),
    "unpack_bits float count": (lambda: lb.unpack_bits(A.view(U8), 8, 6.0), TypeError, ["count: ", "float", "integer"]),
    "quantize float axis": (lambda: lb.quantize(X, "int8", axis=0.0), TypeError, ["axis: ", "float", "integer"]),
    "quantize float group": (
        lambda: lb.quantize(X, "int8", group_size=2.0),
        TypeError,
        ["group_size: ", "float", "integer"],
    ),
    "scale float64": (lambda: scaled(np.float64(1)), TypeError, ["scale: ", "float64", "float32, float16"]),
    "zero point dtype": (lambda: scaled(F32(1), zero_point=np.int32(1)), TypeError, ["zero_point: ", "int32", "int8"]),
    "codes dtype": (lambda: made(A.view(U8)), TypeError, ["codes: ", "uint8", "int8"]),
    "dequantize array": (lambda: lb.dequantize(A), TypeError, ["q: ", "ndarray", "QuantizedArray"]),
    "dequantize dtype": (lambda: Q.dequantize(dtype=np.float64), TypeError, ["dtype: ", "float64", "float32"]),
    "dequantize float rows": (lambda: Q.dequantize(rows=[0.5]), TypeError, ["rows: ", "float64", "integers"]),
    "format of a wrong type": (
        lambda: lb.quantize(X, "int8", calibrate=3),
        TypeError,
        ["calibrate: ", "int", "Observer"],
    ),
    "activation of a wrong type": (
        lambda: lb.matmul(X, PACKED, activation=max),
        TypeError,
        ["activation: ", "string", "'relu'"],
    ),
    "isa of a wrong type": (lambda: lb.use_isa(3).__enter__(), TypeError, ["name: ", "int", "string", "scalar"]),
    "threads of a wrong type": (lambda: lb.set_num_threads(2.0), TypeError, ["n: ", "float", "integer"]),
    # ---- names
    "unknown format": (lambda: lb.quantize(X, "int9"), ValueError, ["format: ", "'int9'", "'int4'", "'uint8'"]),
    "unknown format dtype": (lambda: lb.quantize(X, np.float32), ValueError, ["format: ", "'float32'", "'int8'"]),
    "misspelt format": (lambda: made(format="Int8"), ValueError, ["format: ", "'Int8'", "'int8'"]),
    "unknown convention": (
        lambda: lb.quantize(X, "int8", convention="max"),
        ValueError,
        ["convention: ", "'max'", "'absmax'"],
    ),
    "unknown calibration": (
        lambda: lb.quantize(X, "int8", calibrate="best"),
        ValueError,
        ["calibrate: ", "'best'", "'minmax'"],
    ),
    "unknown activation": (
        lambda: lb.matmul(X, PACKED, activation="tanh"),
        ValueError,
        ["activation: ", "'tanh'", "'gelu'"],
    ),
    "unknown compute": (
        lambda: lb.matmul(X, PACKED, compute="int4"),
        ValueError,
        ["compute: ", "'int4'", "'int8'", "'float32'"],
    ),
    "unknown isa": (lambda: lb.use_isa("avx-2").__enter__(), ValueError, ["isa: ", "'avx-2'", "available: ", "scalar"]),
    # ---- shapes
    "K does not fit": (lambda: lb.matmul(np.ones((2, 7), F32), PACKED), ValueError, ["x: ", "(2, 7)", "(..., 6)"]),
    "K does not fit a vector": (lambda: np.ones(5, F32) @ PACKED, ValueError, ["x: ", "(5,)", "(..., 6)"]),
    "K does not fit quantized x": (
        lambda: lb.matmul(made(), lb.pack_weights(lb.quantize(W[:, :5], "int8"))),
        ValueError,
        ["x: ", "(2, 6)", "(..., 5)"],
    ),
    "K does not fit matmul_int": (lambda: lb.matmul_int(A, B[:5]), ValueError, ["a: ", "(2, 6)", "(..., 5)"]),
    "0-d x": (lambda: lb.matmul(F32(1), PACKED), ValueError, ["x: ", "()", "(..., 6)"]),
    "0-d a": (lambda: lb.matmul_int(I8(1), B), ValueError, ["a: ", "()", "(..., 6)"]),
    "0-d b": (lambda: lb.matmul_int(A, I8(1)), ValueError, ["b: ", "()", "(K, N)"]),
    "3-d b": (lambda: lb.matmul_int(A, B[None]), ValueError, ["b: ", "(1, 6, 4)", "(K, N)"]),
    "0-d codes": (lambda: lb.pack_bits(U8(1), 4), ValueError, ["codes: ", "0-d", "1 dimension"]),
    "0-d bits": (lambda: lb.unpack_bits(U8(1), 4, 1), ValueError, ["b: ", "()", "(..., 1)"]),
    "0-d with axis": (lambda: lb.quantize(F32(1), "int8", axis=0), ValueError, ["axis: ", "0-d", "None"]),
    "0-d with group": (lambda: lb.quantize(F32(1), "int8", group_size=1), ValueError, ["group_size: ", "0-d", "None"]),
    "0-d weights": (lambda: lb.pack_weights(lb.quantize(F32(1), "int8")), ValueError, ["q: ", "()", "(N, K)"]),
    "1-d weights": (lambda: lb.pack_weights(A[0]), ValueError, ["q: ", "(6,)", "(N, K)"]),
    "3-d weights": (lambda: lb.pack_weights(lb.quantize(X[None], "int8")), ValueError, ["q: ", "(1, 2, 6)", "(N, K)"]),
    "weights with a scale for each k": (
        lambda: lb.pack_weights(lb.quantize(W, "int8", axis=1)),
        ValueError,
        ["q: ", "axis=1", "axis None or 0"],
    ),
    "plain codes in matmul": (lambda: lb.matmul(X, CODES), ValueError, ["w: ", "int8", "matmul_int"]),
    "4-bit weights in matmul_int": (lambda: lb.matmul_int(A, PACKED4), ValueError, ["b: ", "int4", "int8 or uint8"]),
    "bias shape": (lambda: lb.matmul(X, PACKED, bias=np.ones(5, F32)), ValueError, ["bias: ", "(5,)", "(4,)"]),
    "0-d bias": (lambda: lb.matmul(X, PACKED, bias=F32(1)), ValueError, ["bias: ", "()", "(4,)"]),
    "a_zero_point shape": (
        lambda: lb.matmul_int(A, B, a_zero_point=[1, 2, 3]),
        ValueError,
        ["a_zero_point: ", "(3,)", "(2,)"],
    ),
    "b_zero_point shape": (
        lambda: lb.matmul_int(A, B, b_zero_point=[1, 2]),
        ValueError,
        ["b_zero_point: ", "(2,)", "(4,)"],
    ),
    "a_zero_point range": (
        lambda: lb.matmul_int(A, B, a_zero_point=2**31),
        ValueError,
        ["a_zero_point: ", "2147483648", "int32"],
    ),
    "axis range": (lambda: lb.quantize(X, "int8", axis=2), ValueError, ["axis: ", "2", "-2 to 1"]),
    "axis and group": (
        lambda: lb.quantize(X, "int8", axis=0, group_size=2),
        ValueError,
        ["axis: ", "group_size", "one of them"],
    ),
    "group_size 0": (lambda: lb.quantize(X, "int8", group_size=0), ValueError, ["group_size: ", "0", "at least 1"]),
    "group_size -2": (lambda: lb.quantize(X, "int8", group_size=-2), ValueError, ["group_size: ", "-2"]),
    "bits 0": (lambda: lb.pack_bits(A, 0), ValueError, ["bits: ", "0", "1 to 8"]),
    "bits 9": (lambda: lb.unpack_bits(A.view(U8), 9, 1), ValueError, ["bits: ", "9", "1 to 8"]),
    "count": (lambda: lb.unpack_bits(A.view(U8), 4, 13), ValueError, ["b: ", "(2, 6)", "(..., 7)", "13"]),
    "negative count": (lambda: lb.unpack_bits(A.view(U8), 4, -1), ValueError, ["count: ", "-1"]),
    "codes shape": (lambda: made(A[:1]), ValueError, ["codes: ", "(1, 6)", "(2, 6)"]),
    "packed codes shape": (lambda: made(A.view(U8), format="int4"), ValueError, ["codes: ", "(2, 6)", "(2, 3)"]),
    "scale shape": (lambda: made(scale=np.ones(3, F32), axis=0), ValueError, ["scale: ", "(3,)", "(2,)"]),
    "group scale shape": (
        lambda: made(scale=np.ones((2, 1), F32), group_size=4),
        ValueError,
        ["scale: ", "(2, 1)", "(2, 2)"],
    ),
    "zero_point shape": (lambda: made(zero_point=np.zeros(2, I8)), ValueError, ["zero_point: ", "(2,)", "()"]),
    "zero_point range": (
        lambda: lb.quantize(X, "uint4", scale=F32(1), zero_point=U8(16)),
        ValueError,
        ["zero_point: ", "16", "0 to 15"],
    ),
    "zero_point alone": (lambda: lb.quantize(X, "uint4", zero_point=U8(1)), ValueError, ["zero_point: ", "scale"]),
    "rows range": (lambda: Q.dequantize(rows=[4]), ValueError, ["rows: ", "4", "-4 to 3"]),
    "rows of a vector": (
        lambda: lb.quantize(X[0], "int8").dequantize(rows=[0]),
        ValueError,
        ["rows: ", "(6,)", "2 dimensions"],
    ),
    "act_group_size 0": (lambda: lb.matmul(X, PACKED4, act_group_size=0), ValueError, ["act_group_size: ", "0"]),
    "act_group_size -2": (lambda: lb.matmul(X, PACKED4, act_group_size=-2), ValueError, ["act_group_size: ", "-2"]),
    "act_group_size does not fit": (
        lambda: lb.matmul(
            np.ones((2, 96), F32),
            lb.pack_weights(lb.quantize(np.ones((3, 96), F32), "int4", group_size=32)),
            act_group_size=48,
        ),
        ValueError,
        ["act_group_size: ", "32", "48"],
    ),
    "act_group_size of float32": (
        lambda: lb.matmul(X, PACKED4, compute="float32", act_group_size=4),
        ValueError,
        ["act_group_size: ", "4", "None"],
    ),
    "4-bit x": (lambda: lb.matmul(lb.quantize(X, "int4"), PACKED), ValueError, ["x: ", "int4", "int8 or uint8"]),
    "x with a scale for each k": (
        lambda: lb.matmul(lb.quantize(X, "int8", axis=1), PACKED),
        ValueError,
        ["x: ", "axis=1", "leading axis"],
    ),
    "x with zero points of groups": (
        lambda: lb.matmul(lb.quantize(X, "uint8", group_size=2, symmetric=False), PACKED),
        ValueError,
        ["x: ", "zero points"],
    ),
    "quantized x and float32": (
        lambda: lb.matmul(made(), PACKED, compute="float32"),
        ValueError,
        ["compute: ", "'float32'", "'int8'"],
    ),
    "groups too long for int32": (
        lambda: lb.matmul(
            np.ones((1, 70000), F32), lb.pack_weights(lb.quantize(np.ones((1, 70000), F32), "int8", axis=0))
        ),
        ValueError,
        ["act_group_size: ", "70000", "65536"],
    ),
    "spin below 0": (
        lambda: lb.set_num_threads(1, spin_microseconds=-1),
        ValueError,
        ["spin_microseconds: ", "-1", "0 to 1000000"],
    ),
    "threads 0": (lambda: lb.set_num_threads(0), ValueError, ["n: ", "0", "1 to 1024"]),
    "threads -1": (lambda: lb.num_threads(-1).__enter__(), ValueError, ["n: ", "-1", "1 to 1024"]),
    "threads 1025": (lambda: lb.num_threads(1025).__enter__(), ValueError, ["n: ", "1025", "1 to 1024"]),
    # ---- scales
    **{
        f"scale {value}": (lambda value=value: scaled(F32(value)), ValueError, ["scale: ", f"{F32(value)}", word])
        for value, word in (
            (0.0, "non-zero"),
            (-0.0, "non-zero"),
            (np.nan, "finite"),
            (np.inf, "finite"),
            (-np.inf, "finite"),
        )
    },
    **{
        f"QuantizedArray scale {value}": (
            lambda value=value: made(scale=np.array([1, value], F16), axis=0),
            ValueError,
            ["scale: ", "index (1,)", word],
        )
        for value, word in ((0.0, "non-zero"), (np.nan, "finite"), (np.inf, "finite"))
    },
    "negative scale": (lambda: scaled(F32(-1)), ValueError, ["scale: ", "-1.0", "positive"]),
    "negative scale among others": (
        lambda: scaled(np.array([1, -2], F32), axis=0, convention="absmax"),
        ValueError,
        ["scale: ", "-2.0", "index (1,)", "positive"],
    ),
    "scale and scale_dtype": (
        lambda: scaled(F32(1), scale_dtype=F16),
        ValueError,
        ["scale_dtype: ", "float16", "float32"],
    ),
    "scale_dtype": (
        lambda: lb.quantize(X, "int8", scale_dtype=np.int32),
        ValueError,
        ["scale_dtype: ", "int32", "float32, float16"],
    ),
    "scale without zero point": (lambda: scaled(F32(1), symmetric=False), ValueError, ["zero_point: ", "None"]),
    "convention of asymmetric": (
        lambda: lb.quantize(X, "int8", symmetric=False, convention="full"),
        ValueError,
        ["convention: ", "'full'", "None"],
    ),
    "scale overflows": (lambda: lb.quantize(X * F32(3e38), "int8", scale_dtype=F16), ValueError, ["scale", "float16"]),
    # ---- out
    "out list": (lambda: lb.matmul(X, PACKED, out=[0]), TypeError, ["out: ", "list", "numpy array"]),
    "out dtype": (lambda: lb.matmul(X, PACKED, out=np.zeros((2, 4))), TypeError, ["out: ", "float64", "float32"]),
    "out shape": (lambda: lb.matmul(X, PACKED, out=np.zeros((4, 2), F32)), ValueError, ["out: ", "(4, 2)", "(2, 4)"]),
    "out read-only": (
        lambda: lb.matmul(X, PACKED, out=read_only(np.zeros((2, 4), F32))),
        ValueError,
        ["out: ", "read-only", "writeable"],
    ),
    "out broadcast": (lambda: lb.matmul(X, PACKED, out=wide(F32, 2, 4)), ValueError, ["out: ", "writeable"]),
    "out strided": (
        lambda: lb.matmul(X, PACKED, out=np.zeros((2, 8), F32)[:, ::2]),
        ValueError,
        ["out: ", "strides (32, 8)", "contiguous"],
    ),
    "out big-endian": (
        lambda: lb.matmul(X, PACKED, out=np.zeros((2, 4), ">f4")),
        TypeError,
        ["out: ", ">f4", "native byte order"],
    ),
    "out overlapping": (
        lambda: (lambda x: lb.matmul(x, PACKED, out=x[:, 1:5]))(X.copy()),
        ValueError,
        ["out: ", "shares memory", "x"],
    ),
    "dequantize out dtype": (lambda: Q.dequantize(out=np.zeros((4, 6))), TypeError, ["out: ", "float64", "float32"]),
    "dequantize out shape": (lambda: Q.dequantize(out=np.zeros(24, F32)), ValueError, ["out: ", "(24,)", "(4, 6)"]),
    "dequantize out strided": (
        lambda: Q.dequantize(out=np.zeros((4, 9), F32)[:, :6]),
        ValueError,
        ["out: ", "strides", "C-contiguous"],
    ),
    "out_format": (
        lambda: lb.matmul(X, PACKED, out_format="int16", out_scale=1.0),
        ValueError,
        ["out_format: ", "'int16'", "'int8' or 'uint8'"],
    ),
    "out_format without out_scale": (
        lambda: lb.matmul(X, PACKED, out_format="int8"),
        ValueError,
        ["out_scale: ", "None", "int8"],
    ),
    "residual float64": (
        lambda: lb.matmul(X, PACKED, residual=np.ones((2, 4))),
        TypeError,
        ["residual: ", "float64", "float32"],
    ),
    "residual shape": (
        lambda: lb.matmul(X, PACKED, residual=np.ones(4, F32)),
        ValueError,
        ["residual: ", "(4,)", "(2, 4)"],
    ),
    "accumulate without out": (
        lambda: lb.matmul(X, PACKED, accumulate=True),
        ValueError,
        ["out: ", "None", "accumulate=True"],
    ),
    "matmul_int out": (
        lambda: lb.matmul_int(A, B, out=np.zeros((2, 4), np.int64)),
        TypeError,
        ["out: ", "int64", "int32"],
    ),
    # ---- byte order
    "big-endian x": (lambda: lb.matmul(X.astype(">f4"), PACKED), TypeError, ["x: ", ">f4", "native byte order"]),
    "big-endian quantize": (
        lambda: lb.quantize(X.astype(">f4"), "int8"),
        TypeError,
        ["x: ", ">f4", "native byte order"],
    ),
    "big-endian half": (lambda: lb.quantize(X.astype(">f2"), "int8"), TypeError, ["x: ", ">f2", "native byte order"]),
    "big-endian bias": (
        lambda: lb.matmul(X, PACKED, bias=np.ones(4, ">f4")),
        TypeError,
        ["bias: ", ">f4", "native byte order"],
    ),
    "big-endian scale": (lambda: scaled(np.array(1, ">f4")), TypeError, ["scale: ", ">f4", "native byte order"]),
    # ---- sizes beyond 2^31, at no cost
    "2^31 rows of x": (lambda: lb.matmul(wide(F32, BIG, 6), PACKED), ValueError, ["x: ", "2147483648", "2147483647"]),
    "2^57 rows of x": (lambda: lb.matmul(wide(F32, 2**26, BIG, 6), PACKED), ValueError, ["x: ", "2147483647"]),
    "2^31 columns of x": (lambda: lb.matmul(wide(F32, 1, BIG), PACKED), ValueError, ["x: ", "2147483648", "(..., 6)"]),
    "2^31 rows of a": (lambda: lb.matmul_int(wide(I8, BIG, 6), B), ValueError, ["a: ", "2147483648", "2147483647"]),
    "2^31 columns of b": (lambda: lb.matmul_int(A, wide(I8, 6, BIG)), ValueError, ["b: ", "2147483648", "2147483647"]),
    "2^31 rows of b": (
        lambda: lb.matmul_int(wide(I8, 1, BIG), wide(I8, BIG, 1)),
        ValueError,
        ["b: ", "2147483648", "2147483647"],
    ),
    "2^31 rows of weights": (
        lambda: lb.pack_weights(wide(I8, BIG, 6)),
        ValueError,
        ["q: ", "2147483648", "2147483647"],
    ),
    "2^31 columns of weights": (
        lambda: lb.pack_weights(wide(U8, 6, BIG)),
        ValueError,
        ["q: ", "2147483648", "2147483647"],
    ),
    "2^62 bytes of weights": (lambda: lb.pack_weights(wide(U8, BIG - 1, BIG - 1)), (ValueError, MemoryError), []),
    "2^60 floats": (lambda: lb.quantize(wide(F32, 2**30, 2**30), "int8"), (ValueError, MemoryError), []),
    "2^60 codes": (lambda: lb.pack_bits(wide(U8, 2**30, 2**30), 4), (ValueError, MemoryError), []),
    "2^60 bits": (lambda: lb.unpack_bits(wide(U8, 2**30, 2**30), 1, 2**33), (ValueError, MemoryError), []),
    "count beyond 2^60": (lambda: lb.unpack_bits(A.view(U8), 8, 2**61), ValueError, ["count: ", "2305843009213693952"]),
    "shape beyond 2^63": (lambda: made(shape=(2**63, 6)), ValueError, ["shape: ", "9223372036854775808"]),
    "negative shape": (lambda: made(shape=(-2, 6)), ValueError, ["shape: ", "-2"]),
    "group_size beyond 2^63": (
        lambda: lb.quantize(X, "int8", group_size=2**63),
        ValueError,
        ["group_size: ", "9223372036854775808"],
    ),
}


@pytest.mark.bug(18, 20, 21)
@pytest.mark.parametrize("name", CASES)
def test_bad_input(name):
    call, exception, said = CASES[name]
    with pytest.raises(exception) as caught:
        call()
    assert type(caught.value) in (TypeError, ValueError) or isinstance(caught.value, MemoryError)
    for part in said:
        assert part in str(caught.value), f"{part!r} is missing in: {caught.value}"


def test_messages_begin_with_the_argument():
    """One form for all: "name: given, expected"."""
    for name, (_, _, said) in CASES.items():
        if said and said[0].endswith(": "):
            with pytest.raises((TypeError, ValueError)) as caught:
                CASES[name][0]()
            assert re.match(rf"^{said[0]}", str(caught.value)), f"{name}: {caught.value}"


def test_lowbit_isa_misspelt():
    done = run_python("-c", "import lowbit; lowbit.current_isa()", environment={"LOWBIT_ISA": "avx-2"})
    assert done.returncode == 1
    assert "ValueError: isa: 'avx-2' (from the environment variable LOWBIT_ISA)" in done.stderr
    assert "available: " in done.stderr


@pytest.mark.parametrize("value", ["0", "-1", "two", "1025", "3.5"])
def test_lowbit_num_threads_misspelt(value):
    done = run_python("-c", "import lowbit; lowbit.get_num_threads()", environment={"LOWBIT_NUM_THREADS": value})
    assert done.returncode == 1
    assert "ValueError: environment variable LOWBIT_NUM_THREADS" in done.stderr
    assert value in done.stderr


@pytest.mark.bug(18)
def test_groups_larger_than_the_row_are_the_row():
    for group_size in (7, 2**31, 2**62):
        q = lb.quantize(X, "int8", group_size=group_size)
        assert q.scale.shape == (2, 1)
        assert (q.dequantize() == lb.quantize(X, "int8", group_size=-1).dequantize()).all()


@pytest.mark.bug(19)
@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (2, 0, 3), (0, 0)])
@pytest.mark.parametrize("format", ["int8", "uint4", "int3"])
def test_empty_arrays(shape, format):
    """Empty is legal wherever a shape is."""
    x = np.zeros(shape, F32)
    for keywords in ({}, {"axis": 0}, {"axis": -1}, {"group_size": 2}, {"group_size": -1}):
        for symmetric in (True, False):
            q = lb.quantize(x, format, symmetric=symmetric, **keywords)
            assert q.shape == shape
            assert q.size == 0
            assert q.dequantize().shape == shape
            assert q.unpack().shape == shape
    assert lb.pack_bits(np.zeros(shape, U8), 3).shape == (*shape[:-1], (shape[-1] * 3 + 7) // 8)


@pytest.mark.bug(19)
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint1"])
def test_0_d_arrays(format):
    q = lb.quantize(F32(0.7), format, symmetric=False)
    assert q.shape == ()
    assert q.dequantize().shape == ()
    assert abs(float(q.dequantize()) - 0.7) < 0.01 if format != "uint1" else True


def test_nothing_is_written_on_failure():
    """out stays as it was where the arguments are refused."""
    out = np.full((2, 4), 7, F32)
    for call in (
        lambda: lb.matmul(X[:, :5], PACKED, out=out),
        lambda: lb.matmul(X, PACKED, out=out, bias=np.ones(3, F32)),
        lambda: lb.matmul(X, PACKED, out=out, activation="tanh"),
        lambda: lb.matmul(X, PACKED, out=out, residual=np.ones((4, 2), F32)),
        lambda: lb.matmul(X, PACKED4, out=out, accumulate=True, act_group_size=3),
        lambda: lb.matmul_int(A, B[:5], out=out.view(np.int32), accumulate=True),
    ):
        with pytest.raises(ValueError, match=r"x: |bias: |activation: |residual: |act_group_size: |a: "):
            call()
    assert (out == 7).all()
