"""Memory: nothing is read or written beside the arrays given, wherever they lie."""

import ctypes
import math
import mmap
import os
import signal
import sys

import numpy as np
import pytest
from helpers import F16, F32, FORMATS, assert_same, quantized, random_codes, run_python, spread_floats

import lowbit as lb
from lowbit import _core
from lowbit import reference as ref
from lowbit._formats import TYPES, find_format
from lowbit._runtime import context

pytestmark = pytest.mark.bug(3)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect by ctypes is for Linux here")
PAGE, PROT_NONE = mmap.PAGESIZE, 0
ENDS = pytest.mark.parametrize("end", ["start", "end"])
LENGTHS = [*range(1, 36), 63, 64, 65, 127, 128, 130, 255, 257]


def guarded_empty(shape, dtype, end):
    """An array of 0xFF (NaN) flush against a page that may not be touched; the page at its other side is forbidden too.

    The array owns the mapping: both go together.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    inside = max(-(-size // PAGE), 1) * PAGE
    pages = mmap.mmap(-1, inside + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    for at in (address, address + PAGE + inside):
        assert mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), PROT_NONE) == 0, ctypes.get_errno()
    raw = np.frombuffer(pages, np.uint8, size, PAGE if end == "start" else PAGE + inside - size)
    raw[...] = 0xFF
    return raw.view(dtype).reshape(shape)


def guarded(array, end):
    """A copy of array beside a forbidden page."""
    array = np.asarray(array)
    copy = guarded_empty(array.shape, array.dtype, end)
    copy[...] = array
    return copy


@linux
def test_the_guard_guards():
    """Bug class 31: a guard that does not bite would let everything pass."""
    for end, index in (("end", "8"), ("start", "-1")):
        script = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
import ctypes, numpy as np, test_memory
a = test_memory.guarded(np.zeros(8, np.uint8), {end!r})
print(ctypes.string_at(a.ctypes.data, 8) == bytes(8), flush=True)
ctypes.string_at(a.ctypes.data + {index}, 1)
"""
        done = run_python("-c", script)
        assert done.stdout.strip() == "True"
        assert done.returncode == -signal.SIGSEGV


@linux
@ENDS
@pytest.mark.parametrize("bits", range(1, 9))
def test_bits(isa, end, bits):
    rng = np.random.default_rng(bits)
    for count in LENGTHS:
        codes = guarded(rng.integers(0, 1 << bits, (2, count), np.uint8), end)
        packed = guarded_empty((2, (count * bits + 7) // 8), np.uint8, end)
        _core.pack_bits(context(), bits, 2, count, codes, packed)
        assert_same(packed, ref.pack_bits(codes, bits), f"{count}")
        out = guarded_empty((2, count), np.uint8, end)
        _core.unpack_bits(context(), bits, False, 2, count, packed, out)
        assert_same(out, codes, f"{count}")


@linux
@ENDS
@pytest.mark.parametrize("format", ["int8", "uint8", "int4", "uint3", "int1"])
@pytest.mark.parametrize("scale_dtype", [F32, F16])
def test_quantize_and_dequantize(isa, end, format, scale_dtype):
    """Every buffer of every call lies beside a forbidden page, outputs too."""
    rng = np.random.default_rng(1)
    fmt = find_format(format)
    for length in LENGTHS:
        rows = 3
        x = guarded(spread_floats(rng, (rows, length)), end)
        for runs, params in (
            ((rows, length, length, rows, 1), ()),
            ((rows, length, length, 1, rows), (rows,)),
            ((rows, length, 1, 1, length), (length,)),
            ((rows, length, 5, 1, rows * -(-length // 5)), (rows, -(-length // 5))),
        ):
            low, high = guarded_empty(params, F32, end), guarded_empty(params, F32, end)
            _core.find_range(context(), runs, x, low, high)
            scale, zero = guarded_empty(params, scale_dtype, end), guarded_empty(params, fmt.dtype, end)
            stored = TYPES[scale.dtype], 0.0, scale, zero
            _core.choose_params(context(), fmt.id, _core.ASYMMETRIC, low, high, *stored)
            keywords = {(): {}, (rows,): {"axis": 0}, (length,): {"axis": 1}}.get(params, {"group_size": 5})
            if len(params) == 1 and rows == length:
                keywords = {"axis": 0 if runs[3] == 1 and runs[2] == length else 1}
            want_low, want_high = ref.value_range(x, **keywords)
            want_scale, want_zero = ref.choose_params(format, "asymmetric", want_low, want_high, scale_dtype)
            want = ref.quantize(x, format, want_scale, want_zero, **keywords)
            codes = guarded_empty((rows, fmt.row_bytes(length)), fmt.codes_dtype, end)
            finds = [False]
            if runs[4] == rows * -(-length // runs[2]):
                finds.append(True)
            for find in finds:
                if find:
                    scale[...], zero[...] = 1, 0
                codes[...] = -1 if fmt.dtype == codes.dtype == np.int8 else 255
                _core.quantize(context(), fmt.id, runs, x, _core.ASYMMETRIC, find, *stored, codes)
                what = f"{length} {runs} {find}"
                assert_same(low, want_low, what)
                assert_same(high, want_high, what)
                assert_same(scale, want_scale, what)
                assert_same(zero, want_zero, what)
                assert_same(codes, want if fmt.bits == 8 else ref.pack_bits(want, fmt.bits), what)
            out = guarded_empty((rows, length), F32, end)
            _core.dequantize(context(), fmt.id, runs, codes, *stored, out)
            assert_same(out, ref.dequantize(want, want_scale, want_zero, **keywords), f"{length} {runs}")


def guarded_weights(packed, end):
    """Its buffer beside a forbidden page; packed buffers are whole multiples of 64 bytes, so both ends are aligned."""
    data = packed._data
    assert data.nbytes % 64 == 0
    return guarded(data, end)


@linux
@ENDS
@pytest.mark.parametrize("compute", ["int8", "rows", "float32"])
@pytest.mark.parametrize("format", ["int8", "uint8", "int7", "uint6", "int5", "uint4", "int3", "uint2", "int1"])
def test_matmul(isa, end, format, compute):
    rng = np.random.default_rng(2)
    for k, n, group_size in ((1, 1, None), (31, 3, 8), (33, 17, 32), (64, 16, 64), (70, 33, 32), (131, 5, None)):
        codes = random_codes(rng, format, (n, k))
        params = (n,) if group_size is None else (n, -(-k // group_size))
        scale = rng.uniform(0.1, 1, params).astype(F16)
        zero = random_codes(rng, format, params)
        q = quantized(codes, scale, zero, format, axis=0 if group_size is None else None, group_size=group_size)
        q = lb.QuantizedArray(
            guarded(q.codes, end), guarded(q.scale, end), guarded(q.zero_point, end),
            format=format, shape=q.shape, axis=q.axis, group_size=q.group_size,
        )  # fmt: skip
        packed = lb.pack_weights(q)
        bias = guarded(rng.standard_normal(n).astype(F32), end)
        unpacked = guarded_empty(q.codes.shape, q.codes.dtype, end)
        data = guarded_weights(packed, end)
        new_scale, new_zero = guarded_empty(params, F16, end), guarded_empty(params, codes.dtype, end)
        _core.unpack_weights(context(), data, unpacked, new_scale, new_zero)
        assert_same(unpacked, q.codes)
        assert_same(new_scale, scale)
        assert_same(new_zero, zero)
        for m in (1, 2, 7, 9, 13):
            x = guarded(spread_floats(rng, (m, k)), end)
            out = guarded_empty((m, n), F32, end)
            mode = _core.COMPUTE_FLOAT32 if compute == "float32" else _core.COMPUTE_INT8
            act = -1 if compute == "rows" else 0
            _core.matmul(context(), data, x, mode, act, None, None, bias, _core.GELU, out)
            if compute == "float32":
                want = ref.matmul_float32(x, codes, scale, zero, group_size=group_size, bias=bias, activation="gelu")
            else:
                want = ref.matmul_dynamic(
                    x,
                    codes,
                    scale,
                    zero,
                    group_size=group_size,
                    act_group_size=act or None,
                    bias=bias,
                    activation="gelu",
                )
            assert_same(out, want, f"{m, k, n}")


@linux
@ENDS
@pytest.mark.parametrize("a_format", ["int8", "uint8"])
@pytest.mark.parametrize("b_format", ["int8", "uint8"])
def test_matmul_int(isa, end, a_format, b_format):
    rng = np.random.default_rng(3)
    for m, k, n in ((1, 1, 1), (2, 7, 15), (3, 33, 17), (7, 64, 16), (13, 130, 33), (49, 15, 3)):
        a, b = guarded(random_codes(rng, a_format, (m, k)), end), guarded(random_codes(rng, b_format, (n, k)), end)
        za, zb = guarded(rng.integers(-9, 9, m, np.int32), end), guarded(rng.integers(-9, 9, n, np.int32), end)
        data = guarded_weights(lb.pack_weights(b), end)
        out = guarded_empty((m, n), np.int32, end)
        _core.matmul_int(context(), data, a, za, zb, out)
        assert_same(out, ref.matmul_int(a, b.T, a_zero_point=za, b_zero_point=zb), f"{m, k, n}")


@linux
def test_strided_rows_end_at_the_page(isa):
    """The last row of a wider array has no bytes behind it."""
    rng = np.random.default_rng(4)
    packed = lb.pack_weights(lb.quantize(rng.standard_normal((5, 37)).astype(F32), "int4", group_size=16))
    base = guarded(spread_floats(rng, (6, 50)), "end")
    x = base[:, 13:]
    out = guarded_empty((6, 11), F32, "end")[:, 6:]
    for compute in ("int8", "float32"):
        lb.matmul(x, packed, out=out, compute=compute)
        assert_same(out, lb.matmul(x.copy(), packed, compute=compute))


# ---- alignment ---------------------------------------------------------------------------------------------------


def shifted(array, offset):
    """The same values `offset` bytes behind an address that is a multiple of 64."""
    array = np.asarray(array)
    buffer = np.zeros(array.nbytes + 128, np.uint8)
    begin = -buffer.ctypes.data % 64 + offset
    raw = np.frombuffer(buffer.data, np.uint8, array.nbytes, begin)
    raw[...] = np.frombuffer(array.tobytes(), np.uint8)
    return np.frombuffer(buffer.data, array.dtype, array.size, begin).reshape(array.shape)


@pytest.mark.bug(4)
@pytest.mark.parametrize("format", FORMATS)
def test_misaligned_inputs(isa, format):
    """Bug class 4: every offset 0..63, as np.frombuffer(offset=1) gives them, floats at odd addresses included."""
    rng = np.random.default_rng(5)
    x, w = spread_floats(rng, (3, 70)), spread_floats(rng, (19, 70))
    bias = spread_floats(rng, (19,))
    q = lb.quantize(w, format, group_size=32, symmetric=False, scale_dtype=F16)
    y, values = lb.matmul(x, lb.pack_weights(q), bias=bias), q.dequantize()
    codes = q.unpack()
    packed_bits = lb.pack_bits(codes, 5)
    for offset in range(64):
        again = lb.quantize(shifted(w, offset), format, group_size=32, symmetric=False, scale_dtype=F16)
        assert_same(again.codes, q.codes, f"{offset}")
        moved = lb.QuantizedArray(
            shifted(q.codes, offset),
            shifted(q.scale, offset),
            shifted(q.zero_point, offset),
            format=format,
            shape=q.shape,
            group_size=32,
        )
        assert_same(moved.dequantize(), values, f"{offset}")
        packed = lb.pack_weights(moved)
        assert_same(lb.matmul(shifted(x, offset), packed, bias=shifted(bias, offset)), y, f"{offset}")
        assert_same(lb.pack_bits(shifted(codes, offset), 5), packed_bits, f"{offset}")


@pytest.mark.bug(4)
def test_misaligned_codes_of_matmul_int(isa):
    rng = np.random.default_rng(6)
    a, b = random_codes(rng, "uint8", (9, 70)), random_codes(rng, "int8", (70, 19))
    want = ref.matmul_int(a, b)
    for offset in range(64):
        assert_same(lb.matmul_int(shifted(a, offset), shifted(b, offset)), want, f"{offset}")


@pytest.mark.bug(4)
def test_outputs_at_every_offset(isa):
    """Aligned to the element: written in place. Otherwise: refused, never written through a copy."""
    rng = np.random.default_rng(7)
    q = lb.quantize(spread_floats(rng, (19, 70)), "int4", group_size=32)
    packed, x = lb.pack_weights(q), spread_floats(rng, (3, 70))
    y, values = lb.matmul(x, packed), q.dequantize()
    for offset in range(64):
        out, back = shifted(np.zeros_like(y), offset), shifted(np.zeros_like(values), offset)
        if offset % 4 == 0:
            assert_same(lb.matmul(x, packed, out=out), y, f"{offset}")
            assert_same(q.dequantize(out=back), values, f"{offset}")
        else:
            with pytest.raises(ValueError, match=r"out: .*aligned"):
                lb.matmul(x, packed, out=out)
            with pytest.raises(ValueError, match=r"out: .*aligned"):
                q.dequantize(out=back)
            assert not out.any()


# ---- aliasing ----------------------------------------------------------------------------------------------------


@pytest.mark.bug(22)
@pytest.mark.parametrize("compute", ["int8", "float32"])
def test_out_over_x_at_every_shift(isa, compute):
    """Bug class 22: any shared byte raises; neighbours are fine."""
    rng = np.random.default_rng(8)
    packed = lb.pack_weights(lb.quantize(spread_floats(rng, (6, 6)), "int8", axis=0))
    values = spread_floats(rng, (4, 6))
    want = lb.matmul(values, packed, compute=compute)
    size = values.size
    for shift in range(-size - 2, size + 3):
        base = np.zeros(3 * size + 4, F32)
        at = size + 2
        x = base[at : at + size].reshape(4, 6)
        x[...] = values
        out = base[at + shift : at + shift + size].reshape(4, 6)
        if abs(shift) < size:
            with pytest.raises(ValueError, match="out: shares memory with x"):
                lb.matmul(x, packed, out=out, compute=compute)
            assert_same(x, values)
        else:
            assert_same(lb.matmul(x, packed, out=out, compute=compute), want, f"{shift}")


@pytest.mark.bug(22)
def test_out_over_other_inputs():
    rng = np.random.default_rng(9)
    packed = lb.pack_weights(lb.quantize(spread_floats(rng, (6, 6)), "int8", axis=0))
    out = np.zeros((4, 6), F32)
    x = spread_floats(rng, (4, 6))
    for row in range(4):
        with pytest.raises(ValueError, match="out: shares memory with bias"):
            lb.matmul(x, packed, bias=out[row], out=out)
    raw = np.zeros(24, np.int32)
    for shift in range(0, 72, 7):
        a = raw.view(np.uint8)[shift : shift + 24].reshape(4, 6)
        with pytest.raises(ValueError, match="out: shares memory with a"):
            lb.matmul_int(a, np.ones((6, 6), np.int8), out=raw.reshape(4, 6))
    codes = raw.view(np.int8)[:24].reshape(4, 6)
    q = lb.QuantizedArray(codes, F32(1), format="int8", shape=(4, 6))
    with pytest.raises(ValueError, match="out: shares memory with codes"):
        q.dequantize(out=raw.view(F32).reshape(4, 6))
    q = lb.QuantizedArray(np.zeros((4, 6), np.int8), out[:, 0] + 1, format="int8", shape=(4, 6), axis=0)
    out = np.ones((4, 6), F32)
    q = lb.QuantizedArray(np.zeros((4, 6), np.int8), out.reshape(-1)[3:7], format="int8", shape=(4, 6), axis=0)
    with pytest.raises(ValueError, match="out: shares memory with scale"):
        q.dequantize(out=out)


@pytest.mark.bug(22)
def test_interleaved_is_not_overlapping(isa):
    """x in the even columns, out in the odd ones: no byte is shared, though their extents are."""
    rng = np.random.default_rng(10)
    packed = lb.pack_weights(lb.quantize(spread_floats(rng, (6, 6)), "int8", axis=0))
    base = np.zeros((4, 2, 6), F32)
    x, out = base[:, 0], base[:, 1]
    x[...] = spread_floats(rng, (4, 6))
    assert_same(lb.matmul(x, packed, out=out), lb.matmul(x.copy(), packed))


@pytest.mark.bug(21)
def test_read_only_and_wrong_out_raise():
    """Bug class 21: nothing is written into a temporary that is thrown away."""
    packed = lb.pack_weights(lb.quantize(np.ones((6, 6), F32), "int8", axis=0))
    x = np.ones((4, 6), F32)
    out = np.zeros((4, 6), F32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: a read-only array"):
        lb.matmul(x, packed, out=out)
    q = lb.quantize(x, "int8")
    with pytest.raises(ValueError, match="out: a read-only array"):
        q.dequantize(out=out)
    codes = np.zeros((4, 6), np.int32)
    codes.flags.writeable = False
    with pytest.raises(ValueError, match="out: a read-only array"):
        lb.matmul_int(np.ones((4, 6), np.int8), np.ones((6, 6), np.int8), out=codes)
    for bad in (np.zeros((4, 6), np.float64), np.zeros((4, 6), np.int32), np.zeros((4, 6), ">f4"), [[0.0] * 6] * 4):
        with pytest.raises(TypeError, match="out: "):
            lb.matmul(x, packed, out=bad)
    for bad in (
        np.zeros((6, 4), F32),
        np.zeros((4, 12), F32)[:, ::2],
        np.zeros((6, 4), F32).T,
        np.zeros((1, 4, 6), F32),
    ):
        with pytest.raises(ValueError, match="out: "):
            lb.matmul(x, packed, out=bad)
        with pytest.raises(ValueError, match="out: "):
            q.dequantize(out=bad)


@pytest.mark.bug(17)
def test_dirty_memory(isa):
    """Bug class 17: freed memory full of 0xFF comes back as outputs and scratch; nothing of it shows."""
    rng = np.random.default_rng(11)
    w, x = spread_floats(rng, (33, 130)), spread_floats(rng, (9, 130))
    want = None
    for _ in range(3):
        for size in (200, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 20):
            dirt = [np.full(size, 0xFF, np.uint8) for _ in range(8)]
            del dirt
        q = lb.quantize(w, "int3", group_size=32)
        packed = lb.pack_weights(q)
        got = [q.codes, packed._data, packed.unpack().codes, q.dequantize()]
        got += [lb.matmul(x[:m], packed, compute=compute) for m in (1, 9) for compute in ("int8", "float32")]
        got.append(lb.matmul_int(packed.unpack().unpack(), np.ones((130, 3), np.int8)))
        if want is not None:
            for a, b in zip(got, want, strict=True):
                assert_same(a, b)
        want = got
