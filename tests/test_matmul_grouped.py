"""matmul_grouped: the bits of a loop over matmul, and of lowbit.reference, on every ISA with any number of threads."""

import functools

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same, assert_telling, quantized, raises, random_codes, spread_floats

import lowbit as lb
from lowbit import reference as ref

BF16 = ml_dtypes.bfloat16
K, N = 160, 37
ROWS = [3, 0, 1, 12, 1, 0, 60, 2]  # none, gemv, unpacked, more than a chunk of rows


@functools.cache
def experts():
    """(format, codes, scale, zero point, group, packed) of as many formats as there are numbers of rows."""
    rng = np.random.default_rng(1)
    made = []
    for format, group in zip(
        ("int4", "uint4", "int8", "int3", "uint2", "int4", "uint8", "int5"),
        (32, 16, 0, 32, 80, 160, 0, 40),
        strict=True,
    ):
        codes = random_codes(rng, format, (N, K))
        params = (N, -(-K // group)) if group else (N,)
        scale = rng.uniform(0.01, 0.1, params).astype(F16 if len(made) % 2 else F32)
        zero = random_codes(rng, format, params) if format.startswith("u") else None
        q = quantized(codes, scale, zero, format, axis=None if group else 0, group_size=group or None)
        made.append((codes, scale, zero, group or None, lb.pack_weights(q)))
    return made


def packed():
    return [e[-1] for e in experts()]


@functools.cache
def data():
    rng = np.random.default_rng(2)
    return spread_floats(rng, (sum(ROWS), K)), rng.standard_normal((len(ROWS), N)).astype(F32)


def loop(x, weights, rows, bias=None, **keywords):
    """matmul for each, one below the other."""
    ends = np.cumsum(rows)
    return np.concatenate(
        [
            lb.matmul(x[end - m : end], w, bias=None if bias is None else bias[i], **keywords)
            for i, (w, m, end) in enumerate(zip(weights, rows, ends, strict=True))
        ]
    )


@functools.cache
def expected(compute, activation, act):
    x, bias = data()

    def product(i):
        codes, scale, zero, group, _ = experts()[i]
        keywords = {"group_size": group, "bias": bias[i], "activation": activation}
        if compute == "float32":
            return lambda part: ref.matmul_float32(part, codes, scale, zero, **keywords)
        return lambda part: ref.matmul_dynamic(part, codes, scale, zero, act_group_size=act, **keywords)

    return ref.matmul_grouped(x, [product(i) for i in range(len(ROWS))], ROWS)


@pytest.mark.bug(1, 2, 30)
@pytest.mark.parametrize(
    ("compute", "activation", "act"), [("int8", "silu", None), ("int8", None, -1), ("float32", "gelu", None)]
)
def test_is_the_reference(isa, compute, activation, act):
    x, bias = data()
    want = expected(compute, activation, act)
    assert_telling(want)
    for threads in (1, 2, 3, 7, 16):
        with lb.num_threads(threads):
            got = lb.matmul_grouped(
                x, packed(), ROWS, bias=bias, activation=activation, compute=compute, act_group_size=act
            )
            assert_same(got, want, f"{threads} threads")


@pytest.mark.bug(2)
@pytest.mark.parametrize("dtype", [F32, F16, BF16])
def test_is_the_loop(isa, threads, dtype):
    """Formats whose default compute differs, one of the weights twice."""
    x, bias = data()
    x, bias = x.astype(dtype), bias.astype(dtype)
    w = np.random.default_rng(3).standard_normal((N, K)).astype(F32)
    more = [lb.pack_weights(lb.quantize(w, name, group_size=32)) for name in ("nf4", "mxfp4", "mxfp8_e4m3")]
    weights = [*packed()[:4], *more, packed()[0]]
    assert_same(lb.matmul_grouped(x, weights, ROWS, bias=bias), loop(x, weights, ROWS, bias))


@pytest.mark.bug(2)
def test_many_experts_with_few_rows(isa, threads):
    """Work enough for several threads only if the experts are taken together."""
    rng = np.random.default_rng(4)
    w = [
        lb.pack_weights(lb.quantize(rng.standard_normal((256, 512)).astype(F32), "int4", group_size=32)) for _ in "1234"
    ]
    weights = w * 16
    rows = rng.integers(0, 4, len(weights))
    x = spread_floats(rng, (int(rows.sum()), 512))
    assert_same(lb.matmul_grouped(x, weights, rows), loop(x, weights, rows))


@pytest.mark.parametrize(("format", "symmetric"), [("int8", True), ("uint8", False)])
def test_of_8_bit_rows(isa, format, symmetric):
    """One scale, one for each row, groups; zero points where weights allow them."""
    x, _ = data()
    rows = packed()[2], packed()[6], packed()[2]
    counts = [40, 0, len(x) - 40]
    ends = np.cumsum(counts)
    for layout in ({}, {"axis": 0}, {"group_size": 32}):
        if "group_size" in layout and not symmetric:
            continue
        q = lb.quantize(x, format, symmetric=symmetric, **layout)
        weights = rows if "group_size" not in layout else [packed()[0]] * 3
        parts = []
        for w, m, end in zip(weights, counts, ends, strict=True):
            each = slice(end - m, end)
            params = [v if v is None or v.ndim == 0 else v[each] for v in (q.scale, q.zero_point)]
            part = lb.QuantizedArray(q.codes[each], *params, format=format, shape=(m, K), **layout)
            parts.append(lb.matmul(part, w))
        assert_same(lb.matmul_grouped(q, weights, counts), np.concatenate(parts), str(layout))


def test_nan_and_infinity_stay_in_their_rows(isa):
    x = data()[0].copy()
    x[2, 5], x[7, 0] = np.nan, np.inf
    got = lb.matmul_grouped(x, packed(), ROWS)
    assert_same(got, loop(x, packed(), ROWS))
    assert np.isnan(got[[2, 7]]).all()
    assert np.isfinite(np.delete(got, [2, 7], axis=0)).all()


@pytest.mark.bug(17, 19)
def test_out_and_odd_arrays(isa):
    x, bias = data()
    want = lb.matmul_grouped(x, packed(), ROWS, bias=bias)
    wide = np.full((len(x), N + 5), np.nan, F32)
    out = wide[:, 2 : N + 2]
    assert lb.matmul_grouped(x, packed(), ROWS, bias=bias, out=out) is out
    assert_same(out, want)
    assert np.isnan(wide[:, :2]).all() and np.isnan(wide[:, N + 2 :]).all()
    strided = np.repeat(x, 2, axis=1)[:, ::2]
    frozen = np.asfortranarray(x)
    frozen.flags.writeable = False
    bytes_ = np.zeros(x.nbytes + 1, np.uint8)
    misaligned = bytes_[1:].view(F32).reshape(x.shape)
    misaligned[...] = x
    for odd in (strided, frozen, misaligned, x[::-1][::-1]):
        assert_same(lb.matmul_grouped(odd, packed(), np.array(ROWS, np.uint8), bias=bias[:, ::-1][:, ::-1]), want)


def test_nothing_to_do(isa):
    assert_same(lb.matmul_grouped(np.zeros((0, K), F32), packed(), [0] * len(ROWS)), np.zeros((0, N), F32))
    empty = lb.pack_weights(lb.quantize(np.zeros((3, 0), F32), "int8", axis=0))
    got = lb.matmul_grouped(np.zeros((4, 0), F32), [empty, empty], [1, 3], bias=np.array([[1, 2, 3], [4, 5, 6]], F32))
    assert_same(got, np.array([[1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6]], F32))
    none = lb.pack_weights(lb.quantize(np.zeros((0, 8), F32), "int8"))
    assert_same(lb.matmul_grouped(np.ones((2, 8), F32), [none], [2]), np.zeros((2, 0), F32))


X = np.ones((4, 8), F32)
W = lb.pack_weights(lb.quantize(np.ones((5, 8), F32), "int8", axis=0))
OTHER = lb.pack_weights(lb.quantize(np.ones((6, 8), F32), "int8", axis=0))
FLOATS = lb.pack_weights(lb.quantize(np.ones((5, 8), F32), "float8_e4m3fn", axis=0))
ERRORS = {
    "x float64": (lambda: lb.matmul_grouped(X.astype("f8"), [W], [4]), TypeError, ["x: ", "float64", "float32"]),
    "x shape": (lambda: lb.matmul_grouped(X[:, :7], [W], [4]), ValueError, ["x: ", "(4, 7)", "(T, 8)"]),
    "x 3-d": (lambda: lb.matmul_grouped(X[None], [W], [4]), ValueError, ["x: ", "(1, 4, 8)", "(T, 8)"]),
    "no sequence": (lambda: lb.matmul_grouped(X, W, [4]), TypeError, ["weights: ", "PackedWeights", "sequence"]),
    "no weights": (lambda: lb.matmul_grouped(X, [], []), ValueError, ["weights: ", "at least one"]),
    "an array": (lambda: lb.matmul_grouped(X, [W, X], [4, 0]), TypeError, ["weights[1]: ", "ndarray", "PackedWeights"]),
    "another shape": (
        lambda: lb.matmul_grouped(X, [W, OTHER], [4, 0]),
        ValueError,
        ["weights[1]: ", "(8, 6)", "(8, 5)"],
    ),
    "plain codes": (
        lambda: lb.matmul_grouped(X, [lb.pack_weights(np.ones((5, 8), np.int8))], [4]),
        ValueError,
        ["weights[0]: ", "int8", "without a scale"],
    ),
    "rows float": (lambda: lb.matmul_grouped(X, [W], [4.0]), TypeError, ["rows: ", "float64", "integers"]),
    "rows shape": (lambda: lb.matmul_grouped(X, [W], [2, 2]), ValueError, ["rows: ", "(2,)", "(1,)"]),
    "rows negative": (lambda: lb.matmul_grouped(X, [W, W], [5, -1]), ValueError, ["rows: ", "-1", "at least 0"]),
    "rows sum": (lambda: lb.matmul_grouped(X, [W, W], [2, 1]), ValueError, ["rows: ", "3", "the 4 rows of x"]),
    "bias shape": (
        lambda: lb.matmul_grouped(X, [W, W], [2, 2], bias=np.ones(5, F32)),
        ValueError,
        ["bias: ", "(5,)", "(2, 5)"],
    ),
    "bias float64": (
        lambda: lb.matmul_grouped(X, [W], [4], bias=np.ones((1, 5))),
        TypeError,
        ["bias: ", "float64", "float32"],
    ),
    "out shape": (
        lambda: lb.matmul_grouped(X, [W], [4], out=np.empty((4, 6), F32)),
        ValueError,
        ["out: ", "(4, 6)", "(4, 5)"],
    ),
    "out dtype": (
        lambda: lb.matmul_grouped(X, [W], [4], out=np.empty((4, 5), F16)),
        TypeError,
        ["out: ", "float16", "float32"],
    ),
    "compute": (lambda: lb.matmul_grouped(X, [W], [4], compute="int4"), ValueError, ["compute: ", "'int4'", "'int8'"]),
    "compute int8": (
        lambda: lb.matmul_grouped(X, [W, FLOATS], [2, 2], compute="int8"),
        ValueError,
        ["compute: ", "float8_e4m3fn", "weights[1]", "'float32'"],
    ),
    "act_group_size": (
        lambda: lb.matmul_grouped(X, [W, FLOATS], [2, 2], act_group_size=-1),
        ValueError,
        ["act_group_size: ", "-1", "float8_e4m3fn", "weights[1]"],
    ),
    "act_group_size 0": (
        lambda: lb.matmul_grouped(X, [W], [4], act_group_size=0),
        ValueError,
        ["act_group_size: ", "0", "at least 1"],
    ),
    "act_group_size that does not fit": (
        lambda: lb.matmul_grouped(X, [W, W], [2, 2], act_group_size=3),
        ValueError,
        ["args[0]: act_group_size: ", "3"],
    ),
    "quantized x": (
        lambda: lb.matmul_grouped(lb.quantize(X, "int8"), [W, FLOATS], [2, 2]),
        ValueError,
        ["float8_e4m3fn", "weights[1]"],
    ),
    "4-bit x": (
        lambda: lb.matmul_grouped(lb.quantize(X, "int4"), [W], [4]),
        ValueError,
        ["x: ", "int4", "int8 or uint8"],
    ),
    "activation": (
        lambda: lb.matmul_grouped(X, [W], [4], activation="tanh"),
        ValueError,
        ["activation: ", "'tanh'", "'relu'"],
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    call, error, words = ERRORS[case]
    with raises(error, *words):
        call()


@pytest.mark.bug(21, 22)
def test_out_that_overlaps_or_is_read_only():
    square = lb.pack_weights(lb.quantize(np.eye(8, dtype=F32), "int8", axis=0))
    x = np.ones((4, 8), F32)
    with raises(ValueError, "out: ", "shares memory with x"):
        lb.matmul_grouped(x, [square], [4], out=x)
    out = np.empty((4, 8), F32)
    out.flags.writeable = False
    with raises(ValueError, "out: ", "read-only"):
        lb.matmul_grouped(x, [square], [4], out=out)
