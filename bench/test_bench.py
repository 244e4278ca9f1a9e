"""Micro-benchmarks of each kernel family: pytest bench --benchmark-enable. A normal test run calls each once."""

import numpy as np
import pytest

import lowbit as lb

ROWS = [1, 32]
FORMATS = ["int8", "int4", "uint4", "int3", "int2"]


@pytest.fixture(scope="module")
def side(request):
    """Large enough to leave L2 when timed, small enough to cost nothing when only run."""
    return 256 if request.config.getoption("benchmark_disable", True) else 2048


@pytest.fixture(scope="module")
def matrix(side):
    return np.random.default_rng(0).standard_normal((side, side), np.float32)


def layout(format):
    return {"axis": 0} if format == "int8" else {"group_size": 32, "scale_dtype": np.float16}


@pytest.mark.parametrize("format", FORMATS)
def test_quantize(benchmark, matrix, format):
    assert benchmark(lb.quantize, matrix, format, **layout(format)).shape == matrix.shape


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantize_axis(benchmark, matrix, axis):
    assert benchmark(lb.quantize, matrix, "int8", axis=axis).shape == matrix.shape


@pytest.mark.parametrize("format", FORMATS)
def test_dequantize(benchmark, matrix, format):
    q = lb.quantize(matrix, format, **layout(format))
    out = np.empty_like(matrix)
    assert benchmark(q.dequantize, out=out) is out


@pytest.mark.parametrize("bits", range(1, 9))
def test_pack_bits(benchmark, side, bits):
    codes = np.zeros((side, side), np.uint8)
    assert benchmark(lb.pack_bits, codes, bits).shape == (side, side * bits // 8)


@pytest.mark.parametrize("bits", range(1, 9))
def test_unpack_bits(benchmark, side, bits):
    packed = np.zeros((side, side * bits // 8), np.uint8)
    assert benchmark(lb.unpack_bits, packed, bits, side).shape == (side, side)


@pytest.mark.parametrize("format", FORMATS)
def test_pack_weights(benchmark, matrix, format):
    q = lb.quantize(matrix, format, **layout(format))
    assert benchmark(lb.pack_weights, q).shape == matrix.shape


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("compute", ["int8", "float32"])
@pytest.mark.parametrize("format", FORMATS)
def test_matmul(benchmark, matrix, format, compute, rows):
    w = lb.pack_weights(lb.quantize(matrix, format, **layout(format)))
    out = np.empty((rows, len(matrix)), np.float32)
    assert benchmark(lb.matmul, matrix[:rows], w, compute=compute, out=out) is out


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
def test_epilogue(benchmark, matrix, activation):
    w = lb.pack_weights(lb.quantize(matrix[:, :32], "int8", axis=0))
    y = benchmark(lb.matmul, matrix[:64, :32], w, bias=matrix[0], activation=activation)
    assert y.shape == (64, len(matrix))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_matmul_int(benchmark, side, dtype, rows):
    w = lb.pack_weights(np.ones((side, side), np.int8))
    y = benchmark(lb.matmul_int, np.ones((rows, side), dtype), w)
    assert (y == side).all()
