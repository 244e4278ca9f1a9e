"""PackedWeights.tobytes and frombytes: packed weights in a file, for any CPU, and only of this layout and version."""

import mmap
import struct

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same, raises, spread_floats

import lowbit as lb

N, K = 37, 96
QUANTIZED = {
    "int8, rows": {"format": "int8", "axis": 0},
    "int8, one scale": {"format": "int8"},
    "uint8, zero points of rows": {"format": "uint8", "axis": 0, "symmetric": False},
    "int4, groups": {"format": "int4", "group_size": 32, "scale_dtype": F16},
    "int4, zero points of groups": {"format": "int4", "group_size": 40, "symmetric": False},
    "uint3, short last group": {"format": "uint3", "group_size": 25, "scale_dtype": ml_dtypes.bfloat16},
    "int2, zero points of rows": {"format": "int2", "axis": 0, "symmetric": False},
    "int4, HQQ": {"format": "int4", "group_size": 32, "symmetric": False, "calibrate": "hqq"},
    "ternary": {"format": "ternary", "calibrate": "absmean"},
    "nf4": {"format": "nf4", "group_size": 48},
    "mxfp4": {"format": "mxfp4"},
    "nvfp4": {"format": "nvfp4"},
    "float8": {"format": "float8_e4m3fn", "group_size": 32},
    "bfloat16": {"format": "bfloat16"},
}


@pytest.fixture
def w():
    return spread_floats(np.random.default_rng(3), (N, K))


@pytest.mark.parametrize("case", QUANTIZED)
def test_the_same_weights_come_back(case, w, isa):
    packed = lb.pack_weights(lb.quantize(w, **QUANTIZED[case]))
    data = packed.tobytes()
    assert len(data) == packed.nbytes
    again = lb.PackedWeights.frombytes(data)
    assert again.tobytes() == data
    for name in ("shape", "format", "group_size", "scale_dtype", "nbytes"):
        assert getattr(again, name) == getattr(packed, name), name
    x = spread_floats(np.random.default_rng(4), (3, K))
    assert_same(lb.matmul(x, again), lb.matmul(x, packed))
    assert_same(again.unpack().dequantize(), lb.quantize(w, **QUANTIZED[case]).dequantize())
    repacked = lb.pack_weights(again.unpack())
    assert repacked.tobytes() == data


def test_a_block_of_a_whole_row(w):
    """One group for each row has the group's size all the same where the format fixes it."""
    packed = lb.pack_weights(lb.quantize(w[:, :32], "mxfp4"))
    again = lb.PackedWeights.frombytes(packed.tobytes())
    assert again.group_size == packed.group_size == 32
    assert_same(again.unpack().dequantize(), packed.unpack().dequantize())


def test_plain_codes(w):
    codes = w.astype(np.int8)
    again = lb.PackedWeights.frombytes(lb.pack_weights(codes).tobytes())
    assert again.scale_dtype is None
    assert_same(again.unpack(), codes)
    a = codes[:2]
    assert_same(lb.matmul_int(a, again), lb.matmul_int(a, np.ascontiguousarray(codes.T)))


def test_double_quantized_scales_come_back_as_float32(w):
    q = lb.quantize(w, "nf4", group_size=32)
    nested = lb.QuantizedArray(
        q.codes,
        lb.quantize(q.scale.ravel(), "uint8", group_size=64, symmetric=False),
        format="nf4",
        shape=q.shape,
        group_size=32,
    )
    again = lb.PackedWeights.frombytes(lb.pack_weights(nested).tobytes()).unpack()
    assert_same(again.scale, nested.decoded_scale())


@pytest.mark.parametrize("shape", [(0, K), (N, 0), (0, 0), (1, 1)])
def test_edges(shape):
    packed = lb.pack_weights(lb.quantize(np.ones(shape, F32), "int4", group_size=32))
    again = lb.PackedWeights.frombytes(packed.tobytes())
    assert again.shape == shape[::-1]
    assert_same(lb.matmul(np.ones((2, shape[1]), F32), again), lb.matmul(np.ones((2, shape[1]), F32), packed))


def test_from_any_buffer_at_any_address(w, tmp_path):
    packed = lb.pack_weights(lb.quantize(w, "int8", axis=0))
    data = packed.tobytes()
    padded = b"..." + data + b"what follows"
    path = tmp_path / "weights"
    path.write_bytes(data)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        sources = [bytearray(data), memoryview(padded)[3:], np.frombuffer(data, np.uint8), np.frombuffer(data, ">f4")]
        for source in [*sources, mapped]:
            again = lb.PackedWeights.frombytes(source)
            assert again.tobytes() == data


def test_it_is_a_copy(w):
    data = bytearray(lb.pack_weights(lb.quantize(w, "int8", axis=0)).tobytes())
    again = lb.PackedWeights.frombytes(data)
    before = again.tobytes()
    data[:] = bytes(len(data))
    assert again.tobytes() == before


def test_foreign_bytes_are_refused(w):
    data = lb.pack_weights(lb.quantize(w, "int4", group_size=32)).tobytes()

    def put(form, value, at):
        return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]

    for wrong, *words in (
        (b"", "not packed weights"),
        (b"lowbit", "not packed weights"),
        (b"X" + data[1:], "not packed weights"),
        (put("<I", 9, 8), "layout 9"),
        (put("<I", 1, 12), "version 1", "this build reads"),
        (put("<q", N + 16, 32), "bytes given"),
        (put("<q", -1, 32), "n = -1"),
        (data[:64], "64"),
        (data[:-1], f"{len(data) - 1} bytes given"),
    ):
        with raises(ValueError, *words):
            lb.PackedWeights.frombytes(wrong)
    for wrong in (None, 5, "text"):
        with pytest.raises(TypeError):
            lb.PackedWeights.frombytes(wrong)
    with pytest.raises((ValueError, BufferError)):
        lb.PackedWeights.frombytes(memoryview(data)[::2])
