"""matmul, bit for bit against lowbit.reference on every ISA: formats x groups x M, N, K x both kinds of compute."""

import functools
import itertools

import ml_dtypes
import numpy as np
import pytest
from helpers import (
    F16,
    F32,
    FORMATS,
    assert_same,
    assert_telling,
    hard_floats,
    quantized,
    random_codes,
    spread_floats,
)

import lowbit as lb
from lowbit import reference as ref

ROWS = [*range(1, 11), 47, 48, 49, 64]
ACTIVATIONS = [None, "relu", "gelu", "gelu_tanh", "silu"]
GROUPS = [None, 1, 3, 8, 24, 32, 33, 64, 128, -1]  # None: one scale per row of W


def step_of(format):
    """Activation groups below the weights' are multiples of this: the k that a code layout takes at once."""
    bits = ref.code_range(format)[0]
    return 8 if bits in (4, 8) else 32 if bits % 2 else 16


@functools.cache
def weights(format, n, k, group_size, scale_dtype, has_zero, seed=0):
    """(codes, scale, zero_point, PackedWeights) of random codes; group_size=None: one scale for each row."""
    rng = np.random.default_rng([seed, n, k])
    _, _, qmin, qmax = ref.code_range(format)
    codes = random_codes(rng, format, (n, k))
    groups = 1 if group_size in (None, -1) else -(-k // group_size)
    params = (n,) if group_size is None else (n, groups)
    scale = (rng.uniform(0.5, 1.5, params) / (qmax - qmin) * rng.choice([1, 1, 1, -1], params)).astype(scale_dtype)
    zero = random_codes(rng, format, params) if has_zero else None
    axis = 0 if group_size is None else None
    q = quantized(codes, scale, zero, format, axis=axis, group_size=group_size)
    return codes, scale, zero, lb.pack_weights(q)


@functools.cache
def activations(m, k, seed=0):
    return spread_floats(np.random.default_rng([seed, m, k]), (m, k))


def act_groups(group_size, k, format):
    """None, whole rows, and, where they exist, a divisor and two multiples of the weights' group."""
    yield None
    yield -1
    step = step_of(format)
    if group_size is None or group_size == -1:
        yield from (g for g in (32, 64) if g < k and k % g == 0)
        return
    yield 2 * group_size
    yield 3 * group_size
    yield from (g for g in (8, 16, 32, 64) if g < group_size and group_size % g == 0 and g % step == 0)


def sweep():
    """Every format with every group; the other choices go round, each at its own pace."""
    sides = itertools.cycle([1, 5, 16, 17, 33, 47, 65])
    lengths = itertools.cycle([96, 131, 64, 257, 33, 200, 8, 1])
    dtypes, zeros = itertools.cycle([F32, F16, F16]), itertools.cycle([False, True])
    epilogues = itertools.cycle(itertools.product([False, True], ACTIVATIONS))
    for (i, format), (j, group_size) in itertools.product(enumerate(FORMATS), enumerate(GROUPS)):
        m = ROWS[(11 * i + j) % len(ROWS)]  # 11 and 14 have no common divisor: each group meets each M
        yield format, group_size, m, next(sides), next(lengths), next(dtypes), next(zeros), next(epilogues)
        if group_size == -1:
            next(zeros)  # so that a group meets both


@functools.cache
def expected_dynamic(*args):
    return expected(ref.matmul_dynamic, *args)


@functools.cache
def expected_float32(*args):
    return expected(ref.matmul_float32, *args)


def expected(function, format, n, k, group_size, scale_dtype, has_zero, m, has_bias, activation, *act):
    codes, scale, zero, _ = weights(format, n, k, group_size, scale_dtype, has_zero)
    keywords = {"act_group_size": act[0]} if act else {}
    bias = bias_of(n) if has_bias else None
    return function(
        activations(m, k), codes, scale, zero, group_size=group_size, bias=bias, activation=activation, **keywords
    )


def bias_of(n):
    return np.random.default_rng(n).standard_normal(n).astype(F32)


@pytest.mark.bug(1, 8, 31)
@pytest.mark.parametrize("format", FORMATS)
def test_compute_int8(isa, format):
    for _, group_size, m, n, k, scale_dtype, has_zero, (has_bias, activation) in (c for c in sweep() if c[0] == format):
        *_, packed = weights(format, n, k, group_size, scale_dtype, has_zero)
        bias = bias_of(n) if has_bias else None
        for act in act_groups(group_size, k, format):
            want = expected_dynamic(format, n, k, group_size, scale_dtype, has_zero, m, has_bias, activation, act)
            got = lb.matmul(activations(m, k), packed, bias=bias, activation=activation, act_group_size=act)
            what = f"M={m} K={k} N={n} group={group_size} act={act} {scale_dtype.__name__} zero={has_zero} {activation}"
            assert_same(got, want, what)
            if k > 30 and activation != "relu" and n * m > 50:
                assert_telling(want)


@pytest.mark.bug(1, 8, 31)
@pytest.mark.parametrize("format", FORMATS)
def test_compute_float32(isa, format):
    for _, group_size, m, n, k, scale_dtype, has_zero, (has_bias, activation) in (c for c in sweep() if c[0] == format):
        *_, packed = weights(format, n, k, group_size, scale_dtype, has_zero)
        want = expected_float32(format, n, k, group_size, scale_dtype, has_zero, m, has_bias, activation)
        bias = bias_of(n) if has_bias else None
        got = lb.matmul(activations(m, k), packed, bias=bias, activation=activation, compute="float32")
        assert_same(got, want, f"M={m} K={k} N={n} group={group_size} {scale_dtype.__name__} zero={has_zero}")


def test_the_sweep_reaches_everything():
    """Bug class 31: a sweep whose cycles run in step covers less than it seems to."""
    cases = list(sweep())
    assert {c[2] for c in cases} == set(ROWS)
    for format in FORMATS:
        mine = [c for c in cases if c[0] == format]
        assert {c[6] for c in mine} == {False, True}
        assert min(c[2] for c in mine) <= 8 < max(c[2] for c in mine)  # both the path for few rows and the other
        assert {c[5] for c in mine} == {F16, F32}
    assert {c[7] for c in cases} == set(itertools.product([False, True], ACTIVATIONS))
    for format, *_ in cases:
        codes, *_ = weights(format, 17, 96, 32, F32, False)
        assert (codes.min(), codes.max()) == ref.code_range(format)[2:]


@pytest.mark.parametrize("compute", ["int8", "float32"])
@pytest.mark.parametrize(
    ("format", "group_size"), [("int4", 32), ("uint4", 128), ("int8", None), ("uint8", 48), ("int3", 100)]
)
def test_segments(isa, format, group_size, compute):
    """K > 1024: sums of segments of 1024 (of whole groups below that with compute int8) are added in order."""
    for k in (1023, 1024, 1025, 2100):
        m, n = (3, 9) if k < 2000 else (9, 17)
        *_, packed = weights(format, n, k, group_size, F16, True)
        if compute == "float32":
            want = expected_float32(format, n, k, group_size, F16, True, m, True, None)
            assert_same(lb.matmul(activations(m, k), packed, bias=bias_of(n), compute=compute), want, f"K={k}")
            continue
        for act in (None, -1):
            want = expected_dynamic(format, n, k, group_size, F16, True, m, True, None, act)
            got = lb.matmul(activations(m, k), packed, bias=bias_of(n), act_group_size=act)
            assert_same(got, want, f"K={k} act={act}")


@pytest.mark.bug(2, 30)
@pytest.mark.parametrize("compute", ["int8", "rows", "float32"])
@pytest.mark.parametrize(
    "format", ["int8", "uint8", "int4", "uint4", "int2", "uint3", "int5", "uint6", "int7", "uint1"]
)
def test_a_row_does_not_depend_on_its_batch(isa, format, compute):
    n, k, group_size = 37, 133, 32
    *_, packed = weights(format, n, k, group_size, F16, True)
    keywords = {"compute": "float32"} if compute == "float32" else {"act_group_size": -1 if compute == "rows" else None}
    x = activations(64, k)
    whole = lb.matmul(x, packed, activation="silu", **keywords)
    for m in ROWS:
        assert_same(lb.matmul(x[:m], packed, activation="silu", **keywords), whole[:m], f"M={m}")
        assert_same(lb.matmul(x[-m:], packed, activation="silu", **keywords), whole[-m:], f"last M={m}")


@pytest.mark.parametrize("n", [16, 33, 64, 112])  # whole panels, which tiles finish themselves; and a tail
@pytest.mark.parametrize("format", ["int1", "int2", "uint2", "int3", "int4", "uint4", "int6", "int8", "uint8"])
def test_rows_past_every_limit(isa, format, n):
    """Rows of every path and register tile, as they are alone; what lies between rows of a strided out stays."""
    k, rows = 1130, 133  # a second segment; 16 groups that are prepared together, and some that are not
    x, bias = activations(rows, k), spread_floats(np.random.default_rng(n), n)
    for group_size, has_zero in itertools.product((None, 32), {False, format.startswith("u")}):
        *_, packed = weights(format, n, k, group_size, F16, has_zero)
        for act in {None, -1} if group_size else {None}:
            alone = np.concatenate([lb.matmul(row[None], packed, bias=bias, act_group_size=act) for row in x])
            assert_telling(alone)
            for m in (2, 5, 17, 49, rows):
                wide = np.full((m, n + 32), 7, F32)
                lb.matmul(x[:m], packed, bias=bias, act_group_size=act, out=wide[:, 16 : 16 + n])
                assert_same(wide[:, 16 : 16 + n], alone[:m])
                assert (wide[:, :16] == 7).all() and (wide[:, 16 + n :] == 7).all()


@pytest.mark.parametrize("scale_dtype", [F32, F16])
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint3"])
def test_one_scale_for_the_tensor(isa, format, scale_dtype):
    rng = np.random.default_rng(1)
    _, signed, *_ = ref.code_range(format)
    codes = random_codes(rng, format, (19, 50))
    scale = np.array(0.03, scale_dtype)
    zero = np.array(1, np.int8 if signed else np.uint8)
    packed = lb.pack_weights(quantized(codes, scale, zero, format))
    x = activations(12, 50)
    assert_same(lb.matmul(x, packed), ref.matmul_dynamic(x, codes, scale, zero))
    assert_same(lb.matmul(x, packed, compute="float32"), ref.matmul_float32(x, codes, scale, zero))
    assert_same(packed.unpack().scale, scale)


# ---- 8-bit x -----------------------------------------------------------------------------------------------------


def given(rng, format, shape, layout, has_zero):
    """An 8-bit QuantizedArray for x, with its parts."""
    codes = random_codes(rng, format, shape)
    axis, group_size = layout
    params = {(None, None): (), (0, None): (shape[0],)}.get(layout)
    if params is None:
        params = (shape[0], -(-shape[1] // group_size))
    scale = np.asarray(rng.uniform(0.01, 0.1, params)).astype(F32)
    zero = np.asarray(random_codes(rng, format, params)) if has_zero else None
    return quantized(codes, scale, zero, format, axis=axis, group_size=group_size), codes, scale, zero


@pytest.mark.bug(9, 11)
@pytest.mark.parametrize("layout", [(None, None), (0, None)], ids=["tensor", "row"])
@pytest.mark.parametrize("has_zero", [False, True])
@pytest.mark.parametrize("x_format", ["int8", "uint8"])
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint4", "int3", "uint2"])
def test_quantized_x_with_whole_rows(isa, format, x_format, has_zero, layout):
    """Static and shared activation quantization, zero points on both sides: one scale for each row of W."""
    rng = np.random.default_rng(2)
    for m, k, n in ((1, 33, 17), (8, 70, 5), (9, 131, 33), (49, 64, 20)):
        x, x_codes, x_scale, x_zero = given(rng, x_format, (m, k), layout, has_zero)
        codes, scale, zero, packed = weights(format, n, k, None, F16, has_zero)
        bias = bias_of(n)
        want = ref.matmul_int8(
            x_codes, x_scale, codes, scale, zero, x_zero_point=x_zero, bias=bias, activation="gelu", act_group_size=-1
        )
        assert_same(lb.matmul(x, packed, bias=bias, activation="gelu"), want, f"{m, k, n}")
        assert_same(x @ packed, ref.matmul_int8(x_codes, x_scale, codes, scale, zero, x_zero_point=x_zero))


@pytest.mark.parametrize("layout", [(None, None), (0, None), (None, 32), (None, 64), (None, 16)], ids=str)
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint4", "uint2"])
def test_quantized_x_with_groups(isa, format, layout):
    """Groups of W, of x, of both: the smaller is the kernel's."""
    rng = np.random.default_rng(3)
    for group_size in (32, None):
        for m, k, n in ((1, 96, 17), (8, 130, 5), (9, 131, 33)):
            if (
                layout[1]
                and layout[1] < (group_size or k)
                and (layout[1] % step_of(format) or (group_size or 0) % layout[1])
            ):
                continue
            if group_size is None and layout[1] and k % layout[1]:
                continue
            x, x_codes, x_scale, _ = given(rng, "int8", (m, k), layout, False)
            codes, scale, zero, packed = weights(format, n, k, group_size, F32, True)
            want = ref.matmul_int8(
                x_codes, x_scale, codes, scale, zero, group_size=group_size, act_group_size=layout[1] or -1
            )
            assert_same(lb.matmul(x, packed), want, f"{m, k, n} group={group_size}")


def test_dynamic_is_quantize_then_multiply(isa):
    """What matmul does to float x is what ref.quantize_activations does."""
    x = activations(6, 96)
    _, _, _, packed = weights("int4", 17, 96, 32, F32, True)
    x_codes, x_scale = ref.quantize_activations(x, 32)
    q = lb.QuantizedArray(x_codes, x_scale, format="int8", shape=x.shape, group_size=32)
    assert_same(lb.matmul(x, packed), lb.matmul(q, packed))


# ---- extremes ----------------------------------------------------------------------------------------------------


@pytest.mark.bug(9, 10, 11)
@pytest.mark.parametrize("format", FORMATS)
def test_extreme_codes(isa, format):
    """Worst same-sign sums: every code at one end, x at ±its largest, zero points at the other end; K long."""
    _, signed, qmin, qmax = ref.code_range(format)
    dtype = np.int8 if signed else np.uint8
    n, k = 17, 1500
    for code, zero in ((qmin, None), (qmax, None), (qmin, qmax), (qmax, qmin)):
        codes = np.full((n, k), code, dtype)
        for group_size in (None, 32, 500):
            params = (n,) if group_size is None else (n, -(-k // group_size))
            scale = np.full(params, 0.01, F32)
            zeros = None if zero is None else np.full(params, zero, dtype)
            q = quantized(codes, scale, zeros, format, axis=0 if group_size is None else None, group_size=group_size)
            packed = lb.pack_weights(q)
            for m, value in ((1, 3.0), (9, -3.0)):
                x = np.full((m, k), value, F32)
                for act in (None, -1):
                    want = ref.matmul_dynamic(x, codes, scale, zeros, group_size=group_size, act_group_size=act)
                    assert_same(lb.matmul(x, packed, act_group_size=act), want, f"{code} {zero} {group_size} {m} {act}")


@pytest.mark.bug(9, 11)
@pytest.mark.parametrize(("x_format", "x_code"), [("int8", -128), ("int8", 127), ("uint8", 255), ("uint8", 0)])
@pytest.mark.parametrize(
    ("format", "code"), [("int8", -128), ("int8", 127), ("uint8", 255), ("int4", -8), ("uint4", 15)]
)
def test_extreme_codes_of_x(isa, format, code, x_format, x_code):
    k, n = 1030, 17
    x_codes = np.full((9, k), x_code, np.dtype(x_format))
    codes = np.full((n, k), code, np.int8 if format[0] == "i" else np.uint8)
    scale = np.full(n, 0.5, F32)
    packed = lb.pack_weights(quantized(codes, scale, None, format, axis=0))
    for m in (1, 9):
        x = lb.QuantizedArray(x_codes[:m], F32(0.25), format=x_format, shape=(m, k))
        assert_same(lb.matmul(x, packed), ref.matmul_int8(x_codes[:m], F32(0.25), codes, scale))


@pytest.mark.bug(5, 6)
@pytest.mark.parametrize("act", [None, -1])
@pytest.mark.parametrize("format", ["int8", "int4", "uint3"])
def test_not_finite_in_a_row_gives_a_nan_row_and_only_that(isa, format, act):
    """Bug class 6: at every position of a vector and of a tail."""
    # 600: 16 groups that are prepared together, and some that are not
    for k, (m, bad_row) in itertools.product((77, 600), ((1, 0), (5, 3), (11, 10))):
        *_, packed = weights(format, 19, k, 32, F16, True)
        clean = lb.matmul(activations(m, k), packed, act_group_size=act, activation="relu")
        others = np.arange(m) != bad_row
        for at in range(0, k, 1 if m == 5 and k == 77 else 19):
            for value in (np.nan, np.inf, -np.inf):
                x = activations(m, k).copy()
                x[bad_row, at] = value
                y = lb.matmul(x, packed, act_group_size=act, activation="relu")
                assert np.isnan(y[bad_row]).all(), (m, at, value)
                assert_same(y[others], clean[others], f"{m} {at} {value}")


@pytest.mark.bug(5, 6)
@pytest.mark.parametrize("format", ["int8", "int4"])
def test_not_finite_with_compute_float32(isa, format):
    codes, scale, zero, packed = weights(format, 19, 40, 8, F32, True)
    x = activations(6, 40).copy()
    x[1, 3], x[2, 5], x[3, 7], x[4, 39] = np.nan, np.inf, -np.inf, 3e38
    want = ref.matmul_float32(x, codes, scale, zero, group_size=8)
    assert_same(lb.matmul(x, packed, compute="float32"), want)
    assert np.isnan(want[1]).all()
    assert np.isfinite(want[[0, 5]]).all()


@pytest.mark.bug(13)
@pytest.mark.parametrize("act", [None, -1])
def test_zero_subnormal_and_huge_rows(isa, act):
    """Bug class 13: rows of zeros, of subnormals, of numbers whose 127th part is 0, of the largest numbers."""
    x = activations(9, 96).copy()
    for row, factor in enumerate([0, -0.0, 1e-40, 1e-44, 1e-38, 1e-30, 1e30, 4e37, 1]):
        x[row] = (x[row] / F32(np.abs(x[row]).max())) * F32(factor)
    x[3] = np.where(x[3] == 0, F32(1e-45), x[3])
    for scale_dtype in (F32, F16):
        codes, scale, zero, packed = weights("int4", 17, 96, 32, scale_dtype, True)
        for rows in (slice(None), slice(0, 5), slice(5, 9)):
            want = ref.matmul_dynamic(x[rows], codes, scale, zero, group_size=32, act_group_size=act)
            assert_same(lb.matmul(x[rows], packed, act_group_size=act), want)
            want = ref.matmul_float32(x[rows], codes, scale, zero, group_size=32)
            assert_same(lb.matmul(x[rows], packed, compute="float32"), want)


@pytest.mark.bug(7)
def test_ties_of_activations(isa):
    """Bug class 7: with the largest of a row at 127, codes are the values themselves: every x.5 and its neighbours."""
    half = np.arange(-127, 127, 0.5, dtype=F32)
    x = np.stack([half, np.nextafter(half, F32(np.inf)), np.nextafter(half, F32(-np.inf))])
    x[:, 0] = 127
    k = x.shape[1]
    w = np.eye(k, dtype=np.int8)
    packed = lb.pack_weights(lb.QuantizedArray(w, np.ones(k, F32), format="int8", shape=w.shape, axis=0))
    y = lb.matmul(x, packed)
    assert_same(y, ref.matmul_dynamic(x, w, np.ones(k, F32)))
    assert y[0, 2] == np.rint(half[2])


def test_huge_and_tiny_weight_scales(isa):
    rng = np.random.default_rng(4)
    codes = random_codes(rng, "int4", (17, 96))
    scale = np.geomspace(1e-42, 3e38, 17 * 3).reshape(17, 3).astype(F32)
    packed = lb.pack_weights(quantized(codes, scale, None, "int4", group_size=32))
    for m in (3, 10):
        x = activations(m, 96)
        assert_same(lb.matmul(x, packed), ref.matmul_dynamic(x, codes, scale, group_size=32))
        assert_same(lb.matmul(x, packed, compute="float32"), ref.matmul_float32(x, codes, scale, group_size=32))


# ---- epilogue, types, shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_functions_of_any_value(isa, activation):
    """x @ 0 + bias: the bias is the argument, over all magnitudes, NaN and infinities included."""
    rng = np.random.default_rng(5)
    bias = np.concatenate([np.linspace(-15, 15, 600, dtype=F32), hard_floats(rng, 200)])
    bias = np.concatenate([bias, np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 88, -88, 104, -105, 3e38, -3e38], F32)])
    n = len(bias)
    w = np.zeros((n, 3), np.int8)
    packed = lb.pack_weights(lb.QuantizedArray(w, np.ones(n, F32), format="int8", shape=w.shape, axis=0))
    want = ref.activation(bias, activation)[None]
    for compute in ("int8", "float32"):
        got = lb.matmul(np.ones((1, 3), F32), packed, bias=bias, activation=activation, compute=compute)
        zero = bias == 0  # +0 + -0 is +0
        assert_same(got[:, ~zero], want[:, ~zero])


@pytest.mark.parametrize("dtype", [F16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("compute", ["int8", "float32"])
def test_16_bit_floats(isa, dtype, compute):
    codes, scale, zero, packed = weights("int4", 33, 70, 32, F16, True)
    x, bias = activations(5, 70).astype(dtype), bias_of(33).astype(dtype)
    function = ref.matmul_dynamic if compute == "int8" else ref.matmul_float32
    want = function(x.astype(F32), codes, scale, zero, group_size=32, bias=bias.astype(F32), activation="silu")
    got = lb.matmul(x, packed, bias=bias, activation="silu", compute=compute)
    assert got.dtype == dtype
    assert_same(got.view(np.uint16), want.astype(dtype).view(np.uint16))


@pytest.mark.bug(19)
@pytest.mark.parametrize("compute", ["int8", "float32"])
def test_shapes_of_x(isa, compute):
    _, _, _, packed = weights("int4", 17, 70, 32, F16, False)
    x = activations(12, 70)
    flat = lb.matmul(x, packed, compute=compute)
    assert_same(lb.matmul(x.reshape(2, 3, 2, 70), packed, compute=compute), flat.reshape(2, 3, 2, 17))
    assert_same(lb.matmul(x[4], packed, compute=compute), flat[4])
    assert lb.matmul(x[:0], packed, compute=compute).shape == (0, 17)
    assert lb.matmul(np.zeros((3, 0, 70), F32), packed, compute=compute).shape == (3, 0, 17)
    if compute == "int8":
        assert_same(x @ packed, flat)


@pytest.mark.bug(19)
@pytest.mark.parametrize("compute", ["int8", "float32"])
@pytest.mark.parametrize(("format", "layout"), [("int8", {"axis": 0}), ("int4", {"group_size": 8}), ("int4", {})])
def test_no_k_and_no_n(isa, format, layout, compute):
    bias = np.array([1, -2, 3], F32)
    empty = lb.pack_weights(lb.quantize(np.zeros((3, 0), F32), format, **layout))
    got = lb.matmul(np.zeros((2, 0), F32), empty, bias=bias, activation="relu", compute=compute)
    assert_same(got, np.array([[1, 0, 3]] * 2, F32))
    assert_same(lb.matmul(np.zeros((2, 0), F32), empty, compute=compute), np.zeros((2, 3), F32))
    narrow = lb.pack_weights(lb.quantize(np.zeros((0, 5), F32), format, **layout))
    assert lb.matmul(np.ones((2, 5), F32), narrow, compute=compute).shape == (2, 0)


@pytest.mark.bug(17)
@pytest.mark.parametrize("dtype", [F32, F16])
@pytest.mark.parametrize("compute", ["int8", "float32"])
def test_out_is_filled_and_returned(isa, compute, dtype):
    """Bug class 17: dirty buffers; what lies beside a strided out stays as it was."""
    _, _, _, packed = weights("int4", 35, 70, 32, F16, True)
    for m in (3, 20):
        x = activations(m, 70).astype(dtype)
        want = lb.matmul(x, packed, compute=compute)
        base = np.full((m, 50), np.nan, dtype)
        out = base[:, 7:42]
        assert lb.matmul(x, packed, compute=compute, out=out) is out
        assert_same(out, want)
        assert np.isnan(base[:, :7]).all()
        assert np.isnan(base[:, 42:]).all()


def test_quantize_pack_multiply_is_close_to_float(isa):
    """The whole chain against float64: the error is what the bits allow, and no more."""
    rng = np.random.default_rng(6)
    w, x = rng.standard_normal((64, 256)).astype(F32), rng.standard_normal((16, 256)).astype(F32)
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    for format, limit in (
        ("int8", 0.012),
        ("int6", 0.03),
        ("int4", 0.12),
        ("uint4", 0.12),
        ("int3", 0.25),
        ("int2", 0.6),
    ):
        packed = lb.pack_weights(lb.quantize(w, format, group_size=32, symmetric=format[0] == "i"))
        for compute in ("int8", "float32"):
            y = lb.matmul(x, packed, compute=compute)
            assert np.linalg.norm(y - exact) / np.linalg.norm(exact) < limit, (format, compute)


@pytest.mark.parametrize("format", FORMATS)
def test_pack_weights_round_trip(isa, format):
    """unpack() gives back what was packed, exactly."""
    for n, k, group_size, has_zero in (
        (1, 1, None, True),
        (17, 131, 32, True),
        (33, 70, None, False),
        (16, 64, 7, True),
    ):
        codes, scale, zero, packed = weights(format, n, k, group_size, F16, has_zero)
        q = packed.unpack()
        assert_same(q.unpack(), codes)
        assert_same(q.scale, scale)
        assert (q.zero_point is None) == (zero is None)
        assert_same(lb.pack_weights(q).unpack().codes, q.codes)
        assert packed.shape == (k, n)
