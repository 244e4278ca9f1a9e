"""What goes into and comes out of matmul beside x and W: residuals, accumulation, 16-bit floats, 8-bit results, shared
8-bit activations. Bit for bit against lowbit.reference on every ISA.
"""

import functools
import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import (
    F16,
    F32,
    MAX,
    TINY,
    assert_same,
    assert_telling,
    bits_of,
    hard_floats,
    quantized,
    raises,
    random_codes,
    spread_floats,
)

import lowbit as lb
from lowbit import reference as ref

BF16 = ml_dtypes.bfloat16
FLOATS = [F32, F16, BF16]
COMPUTES = ["int8", "int8x2", "float32"]
# format, group size, M, K, N: each path of a product (one group; several, few rows; several, many rows), with tails
CASES = [
    ("int8", None, 3, 70, 33),
    ("int8", 32, 9, 100, 17),
    ("uint8", None, 50, 64, 70),
    ("int4", None, 2, 131, 65),
    ("int4", 32, 1, 96, 64),
    ("int4", 32, 49, 131, 35),
    ("uint4", 64, 5, 1100, 16),
    ("uint3", 32, 13, 70, 66),
]
SPECIAL = np.array([0.0, -0.0, TINY, -TINY, 1e-40, MAX, -MAX, 1e30, np.inf, -np.inf, np.nan], F32)


@functools.cache
def case(format, group_size, m, k, n):
    """(x, packed, bias, the reference's weights and group size)."""
    rng = np.random.default_rng([m, k, n])
    _, _, qmin, qmax = ref.code_range(format)
    params = (n,) if group_size is None else (n, -(-k // group_size))
    codes, zero = random_codes(rng, format, (n, k)), random_codes(rng, format, params)
    scale = (rng.uniform(0.5, 1.5, params) / (qmax - qmin)).astype(F32)
    q = quantized(codes, scale, zero, format, axis=0 if group_size is None else None, group_size=group_size)
    bias = rng.standard_normal(n).astype(F32)
    return spread_floats(rng, (m, k)), lb.pack_weights(q), bias, (codes, scale, zero), group_size


def reference(compute, x, weights, group_size, **keywords):
    functions = {"int8": ref.matmul_dynamic, "int8x2": ref.matmul_int8x2, "float32": ref.matmul_float32}
    return functions[compute](x, *weights, group_size=group_size, **keywords)


@functools.cache
def product(case_number, compute, activation):
    """x @ w + bias, activated, by the reference."""
    x, _, bias, weights, group_size = case(*CASES[case_number])
    return reference(compute, x, weights, group_size, bias=bias, activation=activation)


def added_to(shape, dtype, seed=0):
    """A residual with every extreme in it."""
    r = hard_floats(np.random.default_rng([seed, *shape]), shape)
    r.flat[: len(SPECIAL)] = SPECIAL[: r.size]
    with np.errstate(all="ignore"):
        return r.astype(dtype)


def add(y, r, dtype):
    """One float32 sum, rounded once to dtype."""
    with np.errstate(all="ignore"):
        return (y + r.astype(F32)).astype(dtype)


def same(got, want, what=""):
    """assert_same, of bfloat16 too."""
    assert got.dtype == want.dtype, what
    if want.dtype == BF16:
        got, want = got.astype(F32), want.astype(F32)
    assert_same(got, want, what)


# ---- residual, accumulate ----------------------------------------------------------------------------------------


@pytest.mark.bug(5, 31)
@pytest.mark.parametrize("compute", COMPUTES)
def test_residual_is_added_last(isa, compute):
    for number, activation in zip(range(len(CASES)), itertools.cycle([None, "silu", "relu"])):
        x, packed, bias, weights, group_size = case(*CASES[number])
        y = product(number, compute, activation)
        r = added_to(y.shape, F32)
        want = reference(compute, x, weights, group_size, bias=bias, activation=activation, residual=r)
        assert_same(want, add(y, r, F32))
        if activation != "relu":
            assert_telling(y)
        got = lb.matmul(x, packed, bias=bias, activation=activation, residual=r, compute=compute)
        assert_same(got, want, f"{CASES[number]}")


@pytest.mark.bug(22)
@pytest.mark.parametrize("compute", COMPUTES)
def test_accumulate_is_the_residual_out(isa, compute):
    for number in range(len(CASES)):
        x, packed, bias, *_ = case(*CASES[number])
        y = product(number, compute, "gelu")
        r = added_to(y.shape, F32)
        want = add(y, r, F32)
        keywords = {"bias": bias, "activation": "gelu", "compute": compute}
        out = r.copy()
        assert lb.matmul(x, packed, accumulate=True, out=out, **keywords) is out
        assert_same(out, want, "accumulate")
        base = np.full((y.shape[0], y.shape[1] + 9), 7, F32)  # rows apart: what is between them stays
        out = base[:, 4:-5]
        out[...] = r
        assert lb.matmul(x, packed, residual=out, out=out, **keywords) is out
        assert_same(out, want, "residual is out")
        assert (base[:, :4] == 7).all()
        assert (base[:, -5:] == 7).all()
        assert_same(lb.matmul(x, packed, residual=base[:, 4:-5], out=np.empty_like(r), **keywords), add(y, want, F32))


def test_a_view_of_all_of_out_may_be_the_residual(isa):
    x, packed, *_ = case(*CASES[5])
    y = lb.matmul(x, packed)
    out = y.copy()
    assert_same(lb.matmul(x, packed, residual=out[:], out=out), y + y)


def test_residuals_of_any_layout_and_shape(isa):
    """Strided, transposed, read-only, misaligned, of more or of fewer dimensions."""
    x, packed, *_ = case(*CASES[3])
    y = lb.matmul(x, packed)
    r = added_to(y.shape, F32)
    want = add(y, r, F32)
    wide = np.zeros((*y.shape, 2), F32)
    wide[..., 1] = r
    misaligned = np.frombuffer(b"\0" + r.tobytes(), np.uint8)[1:].view(F32).reshape(r.shape)
    frozen = r.copy()
    frozen.flags.writeable = False
    for layout in (wide[..., 1], np.asfortranarray(r), r[::-1][::-1], misaligned, frozen, r.tolist()):
        given = np.asarray(layout, F32)
        assert_same(lb.matmul(x, packed, residual=given), want)
    assert_same(lb.matmul(x[0], packed, residual=r[0]), want[0])
    shape = (1, 2, y.shape[1])
    assert_same(lb.matmul(x.reshape(1, 2, -1), packed, residual=r.reshape(shape)), want.reshape(shape))
    out = r.reshape(shape).copy()
    assert_same(lb.matmul(x.reshape(1, 2, -1), packed, accumulate=True, out=out), want.reshape(shape))
    out = r[0].copy()
    assert_same(lb.matmul(x[0], packed, accumulate=True, out=out), want[0])
    assert lb.matmul(x[:0], packed, residual=r[:0]).shape == (0, y.shape[1])


@pytest.mark.parametrize("threads_", [1, 3])
@pytest.mark.parametrize("compute", COMPUTES)
def test_large_products_on_threads(isa, compute, threads_):
    """Several blocks of rows and columns, each with its own residual."""
    rng = np.random.default_rng(8)
    w = lb.pack_weights(lb.quantize(rng.standard_normal((200, 260)).astype(F32), "int4", group_size=32))
    x = rng.standard_normal((230, 260)).astype(BF16)
    r = added_to((230, 200), BF16)
    y = np.concatenate([lb.matmul(x[i : i + 1].astype(F32), w, compute=compute) for i in range(230)])
    with lb.num_threads(threads_):
        same(lb.matmul(x, w, residual=r, compute=compute), add(y, r, BF16))


@pytest.mark.bug(12)
@pytest.mark.parametrize("b_zero", [0, 3])
def test_matmul_int_accumulates_modulo_2_32(isa, b_zero):
    rng = np.random.default_rng(4)
    for m, k, n in ((1, 1, 1), (3, 33, 17), (50, 64, 70), (9, 0, 5)):
        a, b = random_codes(rng, "uint8", (m, k)), random_codes(rng, "int8", (k, n))
        start = rng.integers(-(2**31), 2**31, (m, n)).astype(np.int32)
        start.flat[0] = 2**31 - 1
        want = ref.matmul_int(a, b, a_zero_point=7, b_zero_point=b_zero, out=start)
        assert_same(want, start + ref.matmul_int(a, b, a_zero_point=7, b_zero_point=b_zero))
        base = np.full((m, n + 3), -1, np.int32)
        out = base[:, 1:-2]
        out[...] = start
        packed = lb.pack_weights(np.ascontiguousarray(b.T))
        for right in (b, packed):
            out[...] = start
            assert lb.matmul_int(a, right, a_zero_point=7, b_zero_point=b_zero, accumulate=True, out=out) is out
            assert_same(out, want, f"{m, k, n}")
        assert (base[:, [0, -1, -2]] == -1).all()


# ---- 16-bit floats -----------------------------------------------------------------------------------------------


@pytest.mark.bug(5, 14)
@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize("compute", COMPUTES)
def test_16_bit_floats_are_converted_once_each_way(isa, compute, dtype):
    """x decoded, residual decoded, the result rounded: as if the arrays had been converted before and after."""
    for number in range(len(CASES)):
        x, packed, bias, weights, group_size = case(*CASES[number])
        x, bias = x.astype(dtype), bias.astype(dtype)
        y = reference(compute, x.astype(F32), weights, group_size, bias=bias.astype(F32), activation="silu")
        keywords = {"bias": bias, "activation": "silu", "compute": compute}
        with np.errstate(all="ignore"):
            same(lb.matmul(x, packed, **keywords), y.astype(dtype), f"{CASES[number]}")
        for other in FLOATS:
            r = added_to(y.shape, other)
            same(lb.matmul(x, packed, residual=r, **keywords), add(y, r, dtype), f"{CASES[number]} {other}")
            same(lb.matmul(x, packed, residual=r, dtype=other, **keywords), add(y, r, other), f"to {other}")
        out = added_to(y.shape, dtype)
        want = add(y, out, dtype)
        assert lb.matmul(x, packed, accumulate=True, out=out, **keywords) is out
        same(out, want, "accumulate")


@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize("compute", COMPUTES)
def test_every_16_bit_number_goes_in_and_out(isa, compute, dtype):
    """Bug class 14: all 2^16 codes as x through weights of 1, and as residuals of 0."""
    every = np.arange(2**16, dtype=np.uint16).view(dtype).reshape(-1, 1)
    one = lb.pack_weights(
        lb.QuantizedArray(np.ones((1, 1), np.int8), np.ones(1, F32), format="int8", shape=(1, 1), axis=0)
    )
    with np.errstate(all="ignore"):
        wide = every.astype(F32)
        want = reference(compute, wide, (np.ones((1, 1), np.int8), np.ones(1, F32)), None)
        same(lb.matmul(every, one, compute=compute), want.astype(dtype))
        assert_same(lb.matmul(every, one, compute=compute, dtype=F32), want)
        zero = np.zeros_like(every)
        same(lb.matmul(zero, one, compute=compute, residual=every), add(np.zeros_like(wide), every, dtype))


def test_rounding_of_results_to_16_bits(isa):
    """Bug class 7: every tie and overflow, from float32 residuals."""
    half = np.arange(2**16, dtype=np.uint16)
    for dtype, shift in ((BF16, 16), (F16, 13)):
        whole = half.view(dtype).astype(F32)
        bits = whole.view(np.uint32)
        step = np.uint32(2 ** (shift - 1))
        r = np.stack(
            [at.view(F32) for tie in (bits, bits + step) for at in (tie - np.uint32(1), tie, tie + np.uint32(1))]
        )
        packed = lb.pack_weights(lb.quantize(np.zeros((len(half), 1), F32), "int8", axis=0))
        got = lb.matmul(np.zeros((len(r), 1), dtype), packed, residual=r)
        same(got, add(np.zeros_like(r), r, dtype))


def test_dtype_of_the_result(isa):
    x, packed, *_ = case(*CASES[5])
    y = lb.matmul(x, packed)
    for dtype in FLOATS:
        same(lb.matmul(x, packed, dtype=dtype), y.astype(dtype))
        out = np.zeros(y.shape, dtype)
        assert lb.matmul(x, packed, dtype=dtype, out=out) is out
        same(out, y.astype(dtype))
        q = lb.quantize(x, "int8", group_size=32)
        same(lb.matmul(q, packed, dtype=dtype), y.astype(dtype))


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_16_bit_x_of_any_layout(isa, dtype):
    x, packed, *_ = case(*CASES[5])
    x = x.astype(dtype)
    want = lb.matmul(x, packed)
    wide = np.zeros((*x.shape, 2), dtype)
    wide[..., 1] = x
    padded = np.zeros((x.shape[0], x.shape[1] + 3), dtype)
    padded[:, 2:-1] = x
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(dtype).reshape(x.shape)
    for layout in (wide[..., 1], padded[:, 2:-1], np.asfortranarray(x), misaligned):
        same(lb.matmul(layout, packed), want)
    same(lb.matmul(x[7], packed), want[7])
    out = np.zeros((want.shape[0], want.shape[1] + 1), dtype)
    same(lb.matmul(x, packed, out=out[:, 1:]), want)
    assert (out[:, 0] == 0).all()


# ---- 8-bit results -----------------------------------------------------------------------------------------------


@pytest.mark.bug(5, 7)
@pytest.mark.parametrize("format", ["int8", "uint8"])
@pytest.mark.parametrize("compute", COMPUTES)
def test_quantized_results(isa, compute, format):
    """The codes of quantize(matmul(...)): both ends are reached, residuals with NaN and infinities included."""
    for number, zero_point in zip(range(len(CASES)), itertools.cycle([None, 0, 5, 127])):
        x, packed, bias, *_ = case(*CASES[number])
        y = product(number, compute, "gelu")
        r = added_to(y.shape, F32)
        keywords = {"bias": bias, "activation": "gelu", "compute": compute}
        for residual in (None, r):
            whole = y if residual is None else add(y, r, F32)
            scale = F32(np.abs(y).max() / 300)
            expected = ref.quantize(
                whole, format, scale, 128 if zero_point is None and format == "uint8" else zero_point
            )
            got = lb.matmul(
                x, packed, residual=residual, out_format=format, out_scale=scale, out_zero_point=zero_point, **keywords
            )
            assert_same(got.codes, expected, f"{CASES[number]} {zero_point}")
            chain = lb.quantize(
                lb.matmul(x, packed, residual=residual, **keywords), format, scale=scale, zero_point=zero_point
            )
            assert_same(got.codes, chain.codes)
            assert_same(got.scale, chain.scale)
            assert (got.zero_point is None) == (chain.zero_point is None)
            assert_same(got.dequantize(), chain.dequantize())
            assert (got.format, got.shape, got.axis, got.group_size) == (format, y.shape, None, None)
            if residual is None and expected.size > 1000:
                assert len(np.unique(expected)) > 30
                assert expected.max() == np.iinfo(expected.dtype).max


def test_ties_of_quantized_results(isa):
    """Bug class 7: every x.5 and its neighbours, from residuals."""
    half = np.arange(-140, 140, 0.5, dtype=F32)
    r = np.stack([half, np.nextafter(half, F32(np.inf)), np.nextafter(half, F32(-np.inf))])
    packed = lb.pack_weights(lb.quantize(np.zeros((len(half), 1), F32), "int8", axis=0))
    for scale in (1.0, 0.25, 3.0, 1e-40, 1e38):
        for format, zero in (("int8", -3), ("uint8", 100)):
            got = lb.matmul(
                np.zeros((3, 1), F32), packed, residual=r, out_format=format, out_scale=scale, out_zero_point=zero
            )
            assert_same(got.codes, ref.quantize(r, format, F32(scale), zero))


def test_quantized_result_of_16_bit_x_is_not_rounded_in_between(isa):
    x, packed, bias, *_ = case(*CASES[5])
    for dtype in (F16, BF16):
        low = x.astype(dtype)
        y = lb.matmul(low.astype(F32), packed, bias=bias)
        got = lb.matmul(low, packed, bias=bias, out_format="int8", out_scale=0.01)
        assert_same(got.codes, lb.quantize(y, "int8", scale=0.01).codes)


def test_quantized_out_is_reused(isa):
    x, packed, *_ = case(*CASES[5])
    first = lb.matmul(x, packed, out_format="uint8", out_scale=0.05, out_zero_point=100)
    again = lb.matmul(-x, packed, out_format="uint8", out_scale=0.1, out_zero_point=128)
    codes = first.codes
    got = lb.matmul(-x, packed, out_format="uint8", out_scale=0.1, out_zero_point=128, out=first)
    assert got is first
    assert got.codes is codes
    assert_same(codes, again.codes)
    assert_same(got.scale, again.scale)
    assert_same(got.zero_point, again.zero_point)


def test_a_chain_of_8_bit_layers(isa):
    """What comes out quantized goes in as x."""
    x, packed, *_ = case("int8", None, 7, 96, 96)
    hidden = lb.matmul(x, packed, activation="relu", out_format="uint8", out_scale=0.5, out_zero_point=0)
    want = lb.matmul(lb.QuantizedArray(hidden.codes, F32(0.5), np.uint8(0), format="uint8", shape=hidden.shape), packed)
    assert_same(hidden @ packed, want)
    assert_telling(want)


def test_nothing_is_written_where_quantized_out_is_refused():
    x, packed, *_ = case(*CASES[5])
    out = lb.matmul(x, packed, out_format="int8", out_scale=0.5)
    before = out.codes.copy(), out.scale.copy()
    with raises(ValueError, "act_group_size"):
        lb.matmul(x, packed, act_group_size=24, out_format="int8", out_scale=0.25, out=out)
    assert_same(out.codes, before[0])
    assert_same(out.scale, before[1])


# ---- one quantized x for several products ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_x_quantized_once_gives_the_same_bits(isa, dtype):
    """quantize(x, "int8") in rows or groups is what compute "int8" does by itself; groups of zeros included."""
    rng = np.random.default_rng(11)
    for format, group_size, act in (
        ("int4", 32, None),
        ("int4", 32, -1),
        ("int4", 32, 64),
        ("uint4", 64, 32),
        ("int8", None, None),
        ("uint3", 32, None),
    ):
        for m in (1, 9, 50):
            x = spread_floats(rng, (m, 160)).astype(dtype)
            x[:, 32:64] = 0
            x[:, 64:96] *= np.asarray(1e-3, dtype)
            x[m // 2] = 0
            group = act or group_size or -1
            xq = lb.quantize(x, "int8", group_size=group)
            for n in (17, 64, 70):  # queries, keys, values
                keywords = {"symmetric": format[0] == "i"}
                layout = {"axis": 0} if group_size is None else {"group_size": group_size}
                w = rng.standard_normal((n, 160)).astype(F32)
                packed = lb.pack_weights(lb.quantize(w, format, **layout, **keywords))
                want = lb.matmul(x, packed, compute="int8", act_group_size=act)
                same(lb.matmul(xq, packed, dtype=dtype), want, f"{format} {group_size} {act}")
    if dtype == F32:
        for factor in (1e30, 1e-30, 1e-37):  # groups of 1e-3 as much among them: 2.3e-41 is the end, docs/numerics.md
            y = x * F32(factor)
            assert_same(lb.quantize(y, "int8", group_size=group) @ packed, lb.matmul(y, packed, act_group_size=act))
        rows = lb.quantize(x, "int8", axis=0)  # of a matrix, the same as groups of whole rows
        assert_same(rows @ packed, lb.matmul(x, packed, act_group_size=-1))
        batch = x.reshape(5, 10, 160)
        got = lb.quantize(batch, "int8", group_size=-1) @ packed
        assert_same(got, lb.matmul(batch, packed, act_group_size=-1))


# ---- errors ------------------------------------------------------------------------------------------------------

X = np.ones((2, 6), F32)
W = lb.pack_weights(lb.quantize(np.ones((4, 6), F32), "int8", axis=0))
OUT = np.zeros((2, 4), F32)
SHARED = np.zeros((4, 4), F32)
CODES = lb.matmul(X, W, out_format="int8", out_scale=1.0)
REFUSED = {
    "residual dtype": ({"residual": OUT.astype(np.float64)}, TypeError, ["residual: ", "float64", "float32"]),
    "residual of codes": ({"residual": OUT.astype(np.int8)}, TypeError, ["residual: ", "int8", "float32"]),
    "residual big-endian": ({"residual": OUT.astype(">f4")}, TypeError, ["residual: ", "native byte order"]),
    "residual shape": ({"residual": OUT.T}, ValueError, ["residual: ", "(4, 2)", "(2, 4)"]),
    "residual is not broadcast": ({"residual": OUT[0]}, ValueError, ["residual: ", "(4,)", "(2, 4)"]),
    "residual overlaps": ({"residual": SHARED[1:3], "out": SHARED[:2]}, ValueError, ["out: ", "memory", "residual"]),
    "residual of another type": (
        {"residual": SHARED[:2], "out": SHARED.view(F16)[:2, :4], "dtype": F16},
        ValueError,
        ["out: ", "memory", "residual"],
    ),
    "accumulate without out": ({"accumulate": True}, ValueError, ["out: ", "None", "accumulate=True"]),
    "accumulate and residual": (
        {"accumulate": True, "out": OUT.copy(), "residual": OUT},
        ValueError,
        ["residual: ", "accumulate=True", "one of the two"],
    ),
    "accumulate codes": (
        {"accumulate": True, "out_format": "int8", "out_scale": 1.0},
        ValueError,
        ["accumulate: ", "out_format='int8'"],
    ),
    "dtype": ({"dtype": np.float64}, TypeError, ["dtype: ", "float64", "float32"]),
    "dtype of codes": ({"dtype": F16, "out_format": "int8", "out_scale": 1.0}, ValueError, ["dtype: ", "out_format"]),
    "dtype and out": ({"dtype": F16, "out": OUT}, TypeError, ["out: ", "float32", "float16"]),
    "out_format": (
        {"out_format": "int4", "out_scale": 1.0},
        ValueError,
        ["out_format: ", "'int4'", "'int8' or 'uint8'"],
    ),
    "out_format unknown": ({"out_format": "int9", "out_scale": 1.0}, ValueError, ["out_format: ", "'int9'", "'int8'"]),
    "out_format of no type": (
        {"out_format": 8, "out_scale": 1.0},
        TypeError,
        ["out_format: ", "8", "'int8' or 'uint8'"],
    ),
    "no out_scale": ({"out_format": "int8"}, ValueError, ["out_scale: ", "None", "int8"]),
    "out_scale alone": ({"out_scale": 1.0}, ValueError, ["out_scale: ", "out_format"]),
    "out_zero_point alone": ({"out_zero_point": 1}, ValueError, ["out_zero_point: ", "out_format"]),
    "out_scale float64": (
        {"out_format": "int8", "out_scale": np.float64(1)},
        TypeError,
        ["out_scale: ", "float64", "float32"],
    ),
    "out_scale of rows": (
        {"out_format": "int8", "out_scale": np.ones(2, F32)},
        ValueError,
        ["out_scale: ", "(2,)", "one number"],
    ),
    **{
        f"out_scale {value}": (
            {"out_format": "int8", "out_scale": value},
            ValueError,
            ["out_scale: ", f"{value}", "positive"],
        )
        for value in (0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-60)
    },
    "out_zero_point range": (
        {"out_format": "int8", "out_scale": 1.0, "out_zero_point": 128},
        ValueError,
        ["out_zero_point: ", "128", "-128 to 127"],
    ),
    "out_zero_point float": (
        {"out_format": "int8", "out_scale": 1.0, "out_zero_point": 0.5},
        TypeError,
        ["out_zero_point: ", "float", "integer"],
    ),
    "array for codes": (
        {"out_format": "int8", "out_scale": 1.0, "out": OUT},
        TypeError,
        ["out: ", "ndarray", "QuantizedArray"],
    ),
    "out of other codes": (
        {"out_format": "uint8", "out_scale": 1.0, "out": CODES},
        ValueError,
        ["out: ", "int8", "uint8"],
    ),
    "out of codes for floats": ({"out": CODES}, TypeError, ["out: ", "QuantizedArray", "out_format"]),
    "compute": ({"compute": "int8x3"}, ValueError, ["compute: ", "'int8x3'", "'int8x2'"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    keywords, error, words = REFUSED[name]
    with raises(error, *words):
        lb.matmul(X, W, **keywords)


def test_codes_refused_as_their_own_residual():
    """x and the result's codes in one buffer."""
    memory = np.ones(96, np.int8)
    w = lb.pack_weights(np.ones((4, 4), np.int8))
    with raises(ValueError, "out: ", "memory", "a"):
        lb.matmul_int(memory[:8].reshape(2, 4), w, out=memory[:32].view(np.int32).reshape(2, 4))
    x = lb.QuantizedArray(memory[:12].reshape(2, 6), F32(1), format="int8", shape=(2, 6))
    out = lb.QuantizedArray(memory[8:16].reshape(2, 4), F32(1), format="int8", shape=(2, 4))
    with raises(ValueError, "out: ", "memory", "x"):
        lb.matmul(x, W, out_format="int8", out_scale=1.0, out=out)


def test_matmul_int_accumulate_without_out():
    with raises(ValueError, "out: ", "None", "accumulate=True"):
        lb.matmul_int(np.ones((2, 3), np.int8), np.ones((3, 4), np.int8), accumulate=True)


def test_results_are_telling():
    """Bug class 31: the residuals hold what they say."""
    r = added_to((5, 40), F32)
    assert set(bits_of(SPECIAL)) <= set(bits_of(r).ravel())
