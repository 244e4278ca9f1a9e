"""matmul with weights of every format and scale type, bit for bit against lowbit.reference on every ISA."""

import copy
import functools
import pickle

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, FORMATS, assert_same, assert_telling, random_codes, spread_floats

import lowbit as lb
from lowbit import reference as ref
from lowbit._formats import find_format
from lowbit.reference.formats import BLOCKS, FLOATS, TABLES

BF16, E8M0, E4M3 = ml_dtypes.bfloat16, ml_dtypes.float8_e8m0fnu, ml_dtypes.float8_e4m3fn
SCALE_DTYPES = [F32, F16, BF16, E8M0, E4M3]
NUMBERS = [*FLOATS, *TABLES, *BLOCKS]  # formats whose codes are no integers
ROWS = [1, 3, 8, 9, 33]


def computes(format):
    """What matmul can do with the format."""
    return ["int8", "float32"] if format in ref.INT8_STEPS or find_format(format).kind == "integer" else ["float32"]


def scale_dtypes(format):
    """Block formats have their own."""
    return SCALE_DTYPES if format not in BLOCKS else [np.dtype(getattr(ml_dtypes, BLOCKS[format][2])).type]


def scales(rng, shape, dtype):
    return np.asarray(rng.uniform(0.3, 1.5, shape)).astype(dtype)


def finite_codes(rng, format, shape):
    """Codes of numbers that are finite, as unsigned integers; every one of them occurs if there is room."""
    good = np.flatnonzero(np.isfinite(ref.numbers(format)))
    codes = good[rng.integers(0, len(good), shape)]
    if codes.size > len(good):
        codes.flat[: len(good)] = good
    return codes.astype(np.uint16 if find_format(format).bits == 16 else np.uint8)


def stored(codes, format):
    """Unpacked codes as a QuantizedArray has them."""
    known = find_format(format)
    return ref.pack_bits(codes, known.bits) if known.bits < 8 else codes.view(known.codes_dtype)


def decoded(codes, format):
    return codes if find_format(format).kind == "integer" else ref.decode(codes, format)


def expected(compute, x, codes, format, scale, zero=None, **keywords):
    """What docs/numerics.md says: codes as integers, scale and zero one for each row and group."""
    numbers, steps = decoded(codes, format), ref.INT8_STEPS.get(format)
    if compute == "float32":
        keywords.pop("act_group_size", None)
        return ref.matmul_float32(x, numbers, scale, zero, **keywords)
    if steps is not None:
        return ref.matmul_dynamic(x, ref.int8_numbers(numbers, steps), scale, zero, steps=steps, **keywords)
    return ref.matmul_dynamic(x, numbers, scale, zero, **keywords)


@functools.cache
def case(format, scale_dtype, global_scale):
    """(x of 33 rows, packed weights, expected result by compute): odd K and N; blocks divide K where they must."""
    seed = [len(format), SCALE_DTYPES.index(scale_dtype)]
    rng = np.random.default_rng([*seed, find_format(format).id])
    group_size = BLOCKS[format][1] if format in BLOCKS else (None, 7, 32, 64)[sum(seed) % 4]
    n, k = (19, 131) if format not in BLOCKS else (19, 5 * group_size)
    codes = finite_codes(rng, format, (n, k))
    layout = {"axis": 0} if group_size is None else {"group_size": group_size}
    scale = scales(rng, (n,) if group_size is None else (n, -(-k // group_size)), scale_dtype)
    if format == "nvfp4" and global_scale is None:
        global_scale = 1.0
    q = lb.QuantizedArray(
        stored(codes, format), scale, format=format, shape=(n, k), global_scale=global_scale, **layout
    )
    x = spread_floats(rng, (33, k))
    want = {c: expected(c, x, codes, format, scale, group_size=group_size, global_scale=global_scale)
            for c in computes(format)}  # fmt: skip
    return x, lb.pack_weights(q), want


@pytest.mark.bug(1, 8, 31)
@pytest.mark.parametrize("format", NUMBERS)
def test_every_format_and_scale_type(isa, format):
    for scale_dtype in scale_dtypes(format):
        for global_scale in (None, 0.3):
            x, packed, want = case(format, scale_dtype, global_scale)
            for compute, y in want.items():
                assert_telling(y)
                for m in ROWS:
                    got = lb.matmul(x[:m], packed, compute=compute)
                    assert_same(got, y[:m], f"{np.dtype(scale_dtype)} {global_scale} {compute} M={m}")


@pytest.mark.parametrize("format", ["nf4", "mxfp4", "float8_e4m3fn", "float6_e2m3fn", "float16"])
def test_segments_and_epilogue(isa, format):
    """K > 1024; bias and activation behind the product."""
    rng = np.random.default_rng(1)
    n, k, group_size = 9, 1088, 32
    codes = finite_codes(rng, format, (n, k))
    scale_dtype = scale_dtypes(format)[-1]
    scale, bias = scales(rng, (n, k // group_size), scale_dtype), rng.standard_normal(n).astype(F32)
    q = lb.QuantizedArray(stored(codes, format), scale, format=format, shape=(n, k), group_size=group_size)
    x, packed = spread_floats(rng, (9, k)), lb.pack_weights(q)
    for compute in computes(format):
        keywords = {"bias": bias, "activation": "gelu"}
        want = expected(compute, x, codes, format, scale, group_size=group_size, **keywords)
        for m in (2, 9):
            assert_same(lb.matmul(x[:m], packed, compute=compute, **keywords), want[:m], compute)
        if compute == "int8":
            for act in (-1, 8, 64):
                want = expected(compute, x, codes, format, scale, group_size=group_size, act_group_size=act)
                for m in (2, 9):
                    assert_same(lb.matmul(x[:m], packed, compute=compute, act_group_size=act), want[:m], f"{act}")


@pytest.mark.parametrize("scale_dtype", [BF16, E8M0, E4M3])
@pytest.mark.parametrize("format", [*FORMATS, "ternary"])
def test_integers_with_every_scale_type(isa, format, scale_dtype):
    rng = np.random.default_rng([find_format(format).id])
    for group_size, zeros in ((None, True), (32, True), (24, False)):
        n, k = 18, 131
        codes = random_codes(rng, format, (n, k))
        params = (n,) if group_size is None else (n, -(-k // group_size))
        scale = scales(rng, params, scale_dtype)
        zero = random_codes(rng, format, params) if zeros else None
        packed_zero = ref.pack_bits(zero, find_format(format).bits) if zeros and group_size else zero
        if zeros and find_format(format).bits == 8:
            packed_zero = zero
        layout = {"axis": 0} if group_size is None else {"group_size": group_size}
        q = lb.QuantizedArray(stored(codes, format), scale, packed_zero, format=format, shape=(n, k), **layout)
        x, packed = spread_floats(rng, (9, k)), lb.pack_weights(q)
        for compute in ("int8", "float32"):
            want = expected(compute, x, codes, format, scale, zero, group_size=group_size)
            for m in (1, 9):
                assert_same(lb.matmul(x[:m], packed, compute=compute), want[:m], f"{group_size} {compute} M={m}")


@pytest.mark.parametrize("format", FORMATS)
def test_float_zero_points(isa, format):
    """Zero points that are no codes: one for each row or group; activation groups of every kind."""
    rng = np.random.default_rng([find_format(format).id])
    for group_size, zero_dtype, acts in (
        (None, F32, (None, -1, 32)),
        (64, F16, (None, -1, 32, 128)),
        (24, F32, (None, 72)),
    ):
        n, k = 18, 160
        codes = random_codes(rng, format, (n, k))
        params = (n,) if group_size is None else (n, -(-k // group_size))
        scale = scales(rng, params, F16)
        zero = rng.uniform(*ref.code_range(format)[2:], params).astype(zero_dtype)
        layout = {"axis": 0} if group_size is None else {"group_size": group_size}
        q = lb.QuantizedArray(stored(codes, format), scale, zero, format=format, shape=(n, k), **layout)
        x, packed = spread_floats(rng, (12, k)), lb.pack_weights(q)
        assert_same(packed.unpack().zero_point, zero)
        for act in acts:
            want = expected("int8", x, codes, format, scale, zero, group_size=group_size, act_group_size=act)
            for m in (1, 8, 12):
                assert_same(lb.matmul(x[:m], packed, act_group_size=act), want[:m], f"{group_size} {act} M={m}")
        want = expected("float32", x, codes, format, scale, zero, group_size=group_size)
        for m in (1, 12):
            assert_same(lb.matmul(x[:m], packed, compute="float32"), want[:m], f"{group_size} M={m}")
        exact = x.astype(float) @ q.dequantize().astype(float).T
        assert np.linalg.norm(lb.matmul(x, packed) - exact) < 0.03 * np.linalg.norm(exact)


def test_float_zero_points_of_codes_are_zero_points(isa):
    """The same numbers as integers and as floats: the same weights, so with compute float32 the same bits."""
    rng = np.random.default_rng(3)
    codes, zero = random_codes(rng, "uint4", (17, 96)), random_codes(rng, "uint4", (17, 3))
    scale, x = scales(rng, (17, 3), F32), spread_floats(rng, (9, 96))
    keywords = {"format": "uint4", "shape": (17, 96), "group_size": 32}
    whole = lb.pack_weights(lb.QuantizedArray(ref.pack_bits(codes, 4), scale, ref.pack_bits(zero, 4), **keywords))
    floats = lb.pack_weights(lb.QuantizedArray(ref.pack_bits(codes, 4), scale, zero.astype(F32), **keywords))
    assert_same(lb.matmul(x, floats, compute="float32"), lb.matmul(x, whole, compute="float32"))
    np.testing.assert_allclose(lb.matmul(x, floats), lb.matmul(x, whole), rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("x_format", ["int8", "uint8"])
def test_quantized_x(isa, x_format):
    """8-bit activations with a table: integers as for any other weights."""
    rng = np.random.default_rng(4)
    n, k = 21, 77
    codes, scale = finite_codes(rng, "nf4", (n, k)), scales(rng, (n,), BF16)
    packed = lb.pack_weights(lb.QuantizedArray(stored(codes, "nf4"), scale, format="nf4", shape=(n, k), axis=0))
    q = lb.quantize(spread_floats(rng, (11, k)), x_format, axis=0, symmetric=x_format == "int8")
    steps = ref.INT8_STEPS["nf4"]
    want = ref.matmul_int8(
        q.codes, q.scale, ref.int8_numbers(decoded(codes, "nf4"), steps), scale, steps=steps, x_zero_point=q.zero_point
    )
    assert_same(lb.matmul(q, packed), want)
    first = lb.QuantizedArray(q.codes[:3], q.scale[:3], None if q.zero_point is None else q.zero_point[:3],
                              format=x_format, shape=(3, k), axis=0)  # fmt: skip
    assert_same(lb.matmul(first, packed), want[:3])


@pytest.mark.bug(5)
@pytest.mark.parametrize("format", ["float8_e5m2", "float8_e4m3fnuz", "float16"])
def test_codes_that_are_no_numbers_stay_in_their_column(isa, format):
    rng = np.random.default_rng(5)
    codes = finite_codes(rng, format, (18, 64))
    bad = np.flatnonzero(~np.isfinite(ref.numbers(format)))
    codes[3, :] = bad[rng.integers(0, len(bad), 64)]
    codes[17, 60] = bad[0]
    q = lb.QuantizedArray(stored(codes, format), F32(0.5), format=format, shape=(18, 64))
    x = spread_floats(rng, (5, 64))
    y = lb.matmul(x, lb.pack_weights(q))
    assert_same(y, ref.matmul_float32(x, ref.decode(codes, format), F32(0.5)))
    assert np.isfinite(np.delete(y, [3, 17], axis=1)).all()
    assert not np.isfinite(y[:, [3, 17]]).any()


# ---- blocks, nested scales, exact inverses ------------------------------------------------------------------------


def same_quantized(a, b):
    """Every part equal, bit for bit."""
    assert (a.format, a.shape, a.axis, a.group_size, a.block_shape, a.global_scale) == (
        b.format, b.shape, b.axis, b.group_size, b.block_shape, b.global_scale,
    )  # fmt: skip
    assert_same(a.codes.view(np.uint8), b.codes.view(np.uint8))
    assert isinstance(a.scale, lb.QuantizedArray) == isinstance(b.scale, lb.QuantizedArray)
    if isinstance(a.scale, lb.QuantizedArray):
        same_quantized(a.scale, b.scale)
    else:
        assert a.scale.dtype == b.scale.dtype
        assert a.scale.shape == b.scale.shape
        assert a.scale.tobytes() == b.scale.tobytes()
    assert (a.zero_point is None) == (b.zero_point is None)
    if a.zero_point is not None:
        assert_same(a.zero_point, b.zero_point)


@pytest.mark.parametrize("format", [*NUMBERS, *FORMATS, "ternary"])
def test_unpack_is_the_inverse(isa, format):
    """unpack(), copies and pickles: what was packed, for every kind of scale."""
    rng = np.random.default_rng(6)
    known = find_format(format)
    for n, k in ((1, 1), (17, 131), (33, 64), (5, 0), (0, 7)):
        if format in BLOCKS:
            k = -(-k // BLOCKS[format][1]) * BLOCKS[format][1]
        layouts = [{}] if format in BLOCKS else [{}, {"axis": 0}, {"group_size": 24}, {"block_shape": (3, 16)}]
        codes = random_codes(rng, format, (n, k)) if known.kind == "integer" else finite_codes(rng, format, (n, k))
        for number, layout in enumerate(layouts):
            q = lb.quantize(
                np.zeros((n, k), F32), format, symmetric=known.qmin < 0 or known.kind != "integer", **layout
            )
            dtype = scale_dtypes(format)[number % len(scale_dtypes(format))]
            scale = scales(rng, q.scale.shape, dtype)
            zero = q.zero_point
            if zero is not None and number % 2:
                zero = rng.standard_normal(q.scale.shape).astype(F16)
            global_scale = 0.5 if format == "nvfp4" or number == 2 else None
            q = lb.QuantizedArray(stored(codes, format), scale, zero, format=format, shape=(n, k),
                                  global_scale=global_scale, **layout)  # fmt: skip
            packed = lb.pack_weights(q)
            for again in (packed, copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
                assert again.shape == (k, n)
                same_quantized(again.unpack(), q)


@pytest.mark.parametrize("block_shape", [(128, 128), (5, 24), (1, 8), (100, 1000)])
def test_blocks(isa, block_shape):
    """A scale for each block of rows and columns, as checkpoints of fp8 have them."""
    rng = np.random.default_rng(7)
    n, k = 150, 300
    codes = finite_codes(rng, "float8_e4m3fn", (n, k))
    scale = scales(rng, (-(-n // block_shape[0]), -(-k // block_shape[1])), F32)
    q = lb.QuantizedArray(
        stored(codes, "float8_e4m3fn"), scale, format="float8_e4m3fn", shape=(n, k), block_shape=block_shape
    )
    packed = lb.pack_weights(q)
    same_quantized(packed.unpack(), q)
    x = spread_floats(rng, (3, k))
    each = np.repeat(scale, block_shape[0], axis=0)[:n]
    want = ref.matmul_float32(x, ref.decode(codes, "float8_e4m3fn"), each, group_size=block_shape[1])
    assert_same(lb.matmul(x, packed), want)


@pytest.mark.parametrize("format", ["nf4", "fp4", "int4"])
def test_nested_scales(isa, format):
    """Double quantization: packed with the scales it stands for, and unpacked as it was."""
    rng = np.random.default_rng(8)
    n, k = 33, 320
    w = rng.standard_normal((n, k)).astype(F32)
    plain = lb.quantize(w, format, group_size=64)
    nested = lb.quantize(plain.scale.ravel(), "uint8", group_size=256, symmetric=False)
    q = lb.QuantizedArray(plain.codes, nested, plain.zero_point, format=format, shape=(n, k), group_size=64)
    packed = lb.pack_weights(q)
    same_quantized(packed.unpack(), q)
    same_quantized(pickle.loads(pickle.dumps(packed)).unpack(), q)
    decoded_scale = nested.dequantize().reshape(n, 5)
    assert_same(q.decoded_scale(), decoded_scale)
    codes, x = q.unpack(), spread_floats(rng, (9, k))
    for compute in ("int8", "float32"):
        want = expected(compute, x, codes, format, decoded_scale, group_size=64)
        assert_same(lb.matmul(x, packed, compute=compute), want)


# ---- what is computed by default, how well, and what is refused ----------------------------------------------------


@pytest.mark.parametrize("format", [*NUMBERS, "int4", "uint3", "ternary"])
def test_default_compute(isa, format):
    """int8 where it multiplies the weights as they are, float32 where not."""
    rng = np.random.default_rng(9)
    w, x = rng.standard_normal((17, 64)).astype(F32), spread_floats(rng, (5, 64))
    packed = lb.pack_weights(lb.quantize(w, format))
    exact = find_format(format).kind == "integer" or format in ("float4_e2m1fn", "mxfp4", "nvfp4")
    assert_same(lb.matmul(x, packed), lb.matmul(x, packed, compute="int8" if exact else "float32"))
    assert_same(x @ packed, lb.matmul(x, packed))


@pytest.mark.parametrize(("format", "error"), [("nf4", 0.0049), ("fp4", 0.0035)])
def test_error_of_rounded_tables(format, error):
    """What docs/numerics.md states for compute int8: relative to the weights, N(0, 1) in groups of 64."""
    w = np.random.default_rng(10).standard_normal((4096, 64)).astype(F32)
    q = lb.quantize(w, format, group_size=64)
    steps = ref.INT8_STEPS[format]
    numbers = ref.decode(q.unpack(), format).astype(float)
    rounded = ref.int8_numbers(numbers, steps) / steps
    scale = q.scale.astype(float).repeat(64, axis=1)
    rms = np.sqrt(np.mean(((rounded - numbers) * scale) ** 2) / np.mean((numbers * scale) ** 2))
    assert rms == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("format", NUMBERS)
def test_the_whole_chain_is_close_to_float(isa, format):
    rng = np.random.default_rng(11)
    w, x = rng.standard_normal((48, 256)).astype(F32), rng.standard_normal((12, 256)).astype(F32)
    keywords = {} if format in BLOCKS else {"group_size": 64}
    q = lb.quantize(w, format, **keywords)
    decoded_w = q.dequantize().astype(float)
    for compute in computes(format):
        y = lb.matmul(x, lb.pack_weights(q), compute=compute)
        exact = x.astype(float) @ decoded_w.T
        limit = 2e-6 if compute == "float32" else 0.012
        assert np.linalg.norm(y - exact) < limit * np.linalg.norm(exact), compute


@pytest.mark.parametrize("format", [f for f in NUMBERS if f not in ref.INT8_STEPS])
def test_int8_is_refused_by_name(format):
    packed = lb.pack_weights(lb.quantize(np.ones((3, 32), F32), format))
    with pytest.raises(ValueError, match=rf"compute: 'int8' with {format} weights, expected 'float32'"):
        lb.matmul(np.ones((2, 32), F32), packed, compute="int8")
    with pytest.raises(ValueError, match=rf"x: a QuantizedArray with {format} weights.*dequantize"):
        lb.matmul(lb.quantize(np.ones((2, 32), F32), "int8"), packed)
    with pytest.raises(ValueError, match="act_group_size"):
        lb.matmul(np.ones((2, 32), F32), packed, act_group_size=-1)


def test_refused():
    w = np.ones((4, 32), F32)
    for format in ("nf4", "mxfp4", "float8_e4m3fn", "float16"):
        with pytest.raises(ValueError, match="int8 or uint8 weights"):
            lb.matmul_int(np.ones((2, 32), np.int8), lb.pack_weights(lb.quantize(w, format)))
    with pytest.raises(ValueError, match="axis=1"):
        lb.pack_weights(lb.quantize(w, "float8_e4m3fn", axis=1))
    with pytest.raises(ValueError, match=r"shape \(32,\), expected 2 dimensions"):
        lb.pack_weights(lb.quantize(w[0], "nf4"))
    with pytest.raises(TypeError, match="dtype float8_e4m3fn"):
        lb.pack_weights(w.astype(E4M3))
    zeros = lb.QuantizedArray(
        np.ones((4, 32), np.uint8), np.ones(4, F32), np.ones(4, F32), format="uint8", shape=(4, 32), axis=0
    )
    x = lb.quantize(np.ones((2, 32), F32), "uint8", symmetric=False)
    with pytest.raises(ValueError, match=r"x_zero_point: uint8 activations.*floats"):
        lb.matmul(x, lb.pack_weights(zeros))


def test_nbytes():
    """Within 6 % of the format's own, and both stated in full."""
    w = np.random.default_rng(12).standard_normal((256, 1024)).astype(F32)
    for format in (*NUMBERS, *FORMATS, "ternary"):
        q = lb.quantize(w, format) if format in BLOCKS else lb.quantize(w, format, group_size=128, scale_dtype=F16)
        assert q.nbytes <= lb.pack_weights(q).nbytes <= 1.06 * q.nbytes, format
    blocks = lb.quantize(w, "float8_e4m3fn", block_shape=(128, 128))
    assert lb.pack_weights(blocks).nbytes <= 1.06 * blocks.nbytes
