"""Any array layout: the same as for a contiguous copy, or an error that names the argument. By hypothesis."""

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same, reference_quantize
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lowbit as lb

pytestmark = pytest.mark.bug(19)
quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the ISA is the same for all examples
)


@st.composite
def steps(draw, length):
    """A slice of an axis that leaves something or nothing, forwards or backwards."""
    step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
    start = draw(st.integers(0, min(2, length)))
    return slice(start, None, step) if step > 0 else slice(None, None, step)


@st.composite
def views(draw, dtype, ndim=None, low=-8, high=8):
    """An array of a dtype, of 0 to 4 axes: sliced, reversed, transposed, broadcast, misaligned, Fortran or empty."""
    shape = tuple(draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 17, 33]), min_size=ndim or 0, max_size=ndim or 3)))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * 3 if np.dtype(dtype).kind == "f" else rng.integers(low, high, shape)
    array = np.asarray(values).astype(dtype, order=draw(st.sampled_from("CF")))
    if array.ndim:
        array = array[tuple(draw(steps(n)) for n in array.shape)]
        array = array.transpose(draw(st.permutations(range(array.ndim))))
        if draw(st.booleans()):
            axis = draw(st.integers(0, array.ndim - 1))
            if array.shape[axis]:  # all indices of one axis in one place: a stride of zero
                array = np.broadcast_to(np.take(array, [0], axis), array.shape)
    if draw(st.integers(0, 3)) == 0 and array.size:
        buffer = np.zeros(array.nbytes + 1, np.uint8)
        moved = np.frombuffer(buffer.data, dtype, array.size, 1).reshape(array.shape)
        moved[...] = array
        array = moved
    return array


def plain(array):
    return array.copy(order="C")


def scales_of(draw, array):
    """Keywords that say where scales are."""
    choices = [{}]
    if array.ndim:
        choices += [{"group_size": draw(st.sampled_from([1, 2, 3, 8, 33, -1]))}]
        choices += [{"axis": draw(st.integers(-array.ndim, array.ndim - 1))}]
    return draw(st.sampled_from(choices))


@quickly
@given(st.data())
def test_quantize_and_dequantize(isa, data):
    x = data.draw(views(data.draw(st.sampled_from([F32, F16]))))
    format = data.draw(st.sampled_from(["int8", "uint8", "int4", "uint3", "int1"]))
    keywords = scales_of(data.draw, x)
    q = lb.quantize(x, format, symmetric=False, **keywords)
    again = lb.quantize(plain(x), format, symmetric=False, **keywords)
    codes, scale, _ = reference_quantize(plain(x).astype(F32), format, convention="asymmetric", **keywords)
    assert_same(q.codes, again.codes)
    assert_same(q.unpack(), codes)
    assert_same(q.scale, scale)
    assert q.shape == x.shape
    values = q.dequantize()
    assert values.shape == x.shape
    out = np.full(x.shape, np.nan, F32)
    assert_same(q.dequantize(out=out), values)


@quickly
@given(st.data())
def test_quantized_array_from_any_layout(isa, data):
    """Codes, scales and zero points as views."""
    codes = data.draw(views(np.int8))
    scale = np.full((*codes.shape[:-1], -(-codes.shape[-1] // 3)) if codes.ndim else (), 0.5, F32)
    keywords = {"format": "int8", "shape": codes.shape, "group_size": 3 if codes.ndim else None}
    noise = np.random.default_rng(0).integers(-9, 9, (*scale.shape, 2)).astype(np.int8)
    spaced = np.stack([scale + np.abs(noise[..., 0]), scale], axis=-1)
    q = lb.QuantizedArray(codes, spaced[..., 0], noise[..., 1], **keywords)
    want = lb.QuantizedArray(plain(codes), plain(spaced[..., 0]), plain(noise[..., 1]), **keywords)
    assert_same(q.dequantize(), want.dequantize())
    assert_same(q.unpack(), codes)


@quickly
@given(st.data())
def test_pack_bits(isa, data):
    bits = data.draw(st.integers(1, 8))
    codes = data.draw(views(data.draw(st.sampled_from([np.int8, np.uint8])), low=0, high=1 << min(bits, 7)))
    if codes.ndim == 0:
        with pytest.raises(ValueError, match="codes: a 0-d array"):
            lb.pack_bits(codes, bits)
        return
    packed = lb.pack_bits(codes, bits)
    assert_same(packed, lb.pack_bits(plain(codes), bits))
    backwards = packed[..., ::-1][..., ::-1] if data.draw(st.booleans()) else np.asfortranarray(packed)
    assert_same(
        lb.unpack_bits(backwards, bits, codes.shape[-1], True), lb.unpack_bits(packed, bits, codes.shape[-1], True)
    )


@quickly
@given(st.data())
def test_matmul(isa, data):
    x = data.draw(views(data.draw(st.sampled_from([F32, F16]))))
    k = x.shape[-1] if x.ndim else 3
    n = data.draw(st.sampled_from([0, 1, 5, 17]))
    rng = np.random.default_rng(1)
    packed = lb.pack_weights(lb.quantize(rng.standard_normal((n, k)).astype(F32), "int4", group_size=8))
    if x.ndim == 0:
        with pytest.raises(ValueError, match=r"x: shape \(\), expected"):
            lb.matmul(x, packed)
        return
    bias = rng.standard_normal(2 * n + 1).astype(x.dtype)[1::2][::-1]
    for compute in ("int8", "float32"):
        y = lb.matmul(x, packed, bias=bias, compute=compute)
        assert y.shape == (*x.shape[:-1], n)
        assert y.dtype == x.dtype
        assert_same(y, lb.matmul(plain(x), packed, bias=plain(bias), compute=compute))


@quickly
@given(st.data())
def test_quantized_x(isa, data):
    x = data.draw(views(F32))
    if x.ndim == 0:
        return
    rng = np.random.default_rng(2)
    packed = lb.pack_weights(lb.quantize(rng.standard_normal((5, x.shape[-1])).astype(F32), "int8", axis=0))
    keywords = data.draw(st.sampled_from([{}, *({"axis": axis} for axis in range(x.ndim - 1))]))
    q = lb.quantize(x, "uint8", symmetric=False, **keywords)
    y = lb.matmul(q, packed)
    assert y.shape == (*x.shape[:-1], 5)
    assert_same(y, lb.matmul(lb.quantize(plain(x), "uint8", symmetric=False, **keywords), packed))


@quickly
@given(st.data())
def test_matmul_int(isa, data):
    a = data.draw(views(data.draw(st.sampled_from([np.int8, np.uint8])), low=0))
    k = a.shape[-1] if a.ndim else 3
    b = np.random.default_rng(3).integers(-128, 128, (4 * k, 7)).astype(np.int8)[::4][::-1, ::2]
    if a.ndim == 0:
        with pytest.raises(ValueError, match=r"a: shape \(\), expected"):
            lb.matmul_int(a, b)
        return
    zero = np.broadcast_to(np.int16(3), a.shape[:-1])
    y = lb.matmul_int(a, b, a_zero_point=zero)
    assert y.shape == (*a.shape[:-1], 4)
    assert_same(y, lb.matmul_int(plain(a), plain(b), a_zero_point=plain(zero)))
    assert (y == (a.astype(np.int64) - 3) @ b.astype(np.int64)).all()


@quickly
@given(st.data())
def test_weights_in_any_layout(isa, data):
    w = data.draw(views(np.int8, ndim=2))
    assert_same(lb.pack_weights(w).unpack(), plain(w))


@quickly
@given(st.data())
def test_weights_of_floats_in_any_layout(isa, data):
    """Codes and scales of types that numpy does not have, as views."""
    codes = data.draw(views(np.uint8, ndim=2, low=0, high=120)).view(ml_dtypes.float8_e4m3fn)
    n, k = codes.shape
    spaced = np.random.default_rng(6).uniform(0.5, 2, (2 * n, 2 * -(-k // 3))).astype(ml_dtypes.bfloat16)
    scale = spaced[::-2, 1::2]
    keywords = {"format": "float8_e4m3fn", "shape": (n, k), "group_size": 3}
    packed = lb.pack_weights(lb.QuantizedArray(codes, scale, **keywords))
    want = lb.pack_weights(lb.QuantizedArray(plain(codes), plain(scale), **keywords))
    x = np.random.default_rng(7).standard_normal((2, k)).astype(F32)
    assert_same(packed.unpack().codes.view(np.uint8), plain(codes).view(np.uint8))
    assert_same(packed.unpack().scale.view(np.uint16), plain(scale).view(np.uint16))
    assert_same(lb.matmul(x, packed), lb.matmul(x, want))


@quickly
@given(st.data())
def test_out_in_any_layout(isa, data):
    """Written in place and right, or refused; never half of each."""
    base = data.draw(views(F32, ndim=2))
    base = base if base.flags.writeable else plain(base)
    m, n = base.shape
    rng = np.random.default_rng(4)
    x = rng.standard_normal((m, 9)).astype(F32)
    packed = lb.pack_weights(lb.quantize(rng.standard_normal((n, 9)).astype(F32), "int8", axis=0))
    before = plain(base)
    refusal = refused(lambda: lb.matmul(x, packed, out=base))
    if refusal is None:
        assert_same(base, lb.matmul(x, packed))
    else:
        assert refusal.startswith("out: strides")
        assert not (base.flags.c_contiguous and base.flags.aligned)
        assert_same(base, before)


def refused(call):
    """The message of the ValueError, or None."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.bug(20)
@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_order(isa, order):
    """Bug class 20: the other byte order is refused by name; this one is right, however it is spelt."""
    x = np.random.default_rng(5).standard_normal((3, 9)).astype(F32)
    packed = lb.pack_weights(lb.quantize(x, "int8", axis=0))
    swapped = x.astype(x.dtype.newbyteorder(order))
    if swapped.dtype.isnative:
        assert_same(lb.matmul(swapped, packed), lb.matmul(x, packed))
        assert_same(lb.quantize(swapped, "int4").codes, lb.quantize(x, "int4").codes)
    else:
        for call in (lambda: lb.matmul(swapped, packed), lambda: lb.quantize(swapped, "int4")):
            with pytest.raises(TypeError, match=r"x: dtype .* is not in native byte order"):
                call()
