"""Micro-benchmarks of each kernel family: pytest bench --benchmark-enable. A normal test run calls each once."""

import ml_dtypes
import numpy as np
import pytest

import lowbit as lb

ROWS = [1, 32]
FORMATS = ["int8", "int4", "uint4", "int3", "int2"]
CODES = ["float8_e4m3fn", "float16", "mxfp4", "nvfp4", "nf4", "ternary"]  # one for each kind of coding


@pytest.fixture(scope="module")
def side(request):
    """Large enough to leave L2 when timed, small enough to cost nothing when only run."""
    return 256 if request.config.getoption("benchmark_disable", True) else 2048


@pytest.fixture(scope="module")
def matrix(side):
    return np.random.default_rng(0).standard_normal((side, side), np.float32)


def layout(format):
    """What users take: blocks have their own."""
    if format in ("int8", "float8_e4m3fn", "float16"):
        return {"axis": 0}
    if format in ("mxfp4", "nvfp4"):
        return {}
    return {"group_size": 64} if format == "nf4" else {"group_size": 32, "scale_dtype": np.float16}


@pytest.mark.parametrize("format", FORMATS + CODES)
def test_quantize(benchmark, matrix, format):
    assert benchmark(lb.quantize, matrix, format, **layout(format)).shape == matrix.shape


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_quantize_axis(benchmark, matrix, axis):
    assert benchmark(lb.quantize, matrix, "int8", axis=axis).shape == matrix.shape


@pytest.mark.parametrize("format", FORMATS)
def test_quantize_given(benchmark, matrix, format):
    q = lb.quantize(matrix, format, **layout(format))
    keywords = {name: value for name, value in layout(format).items() if name != "scale_dtype"}
    again = benchmark(lb.quantize, matrix, format, scale=q.scale, zero_point=q.zero_point, out=q, **keywords)
    assert again is q


@pytest.mark.parametrize("format", FORMATS + CODES)
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


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu])
@pytest.mark.parametrize("back", [False, True])
def test_cast(benchmark, matrix, dtype, back):
    x = np.abs(matrix)  # e8m0 has no sign
    small = lb.cast(x, dtype)
    out = np.empty_like(x) if back else small
    assert benchmark(lb.cast, small if back else x, out.dtype, out=out) is out


@pytest.mark.parametrize("calibrate", ["percentile", "mse", "entropy", "absmean"])
def test_calibrate(benchmark, matrix, calibrate):
    assert benchmark(lb.quantize, matrix[:64], "int8", axis=0, calibrate=calibrate).shape == matrix[:64].shape


@pytest.mark.parametrize("calibrate", ["mse", "hqq"])
def test_calibrate_groups(benchmark, matrix, calibrate):
    q = benchmark(lb.quantize, matrix[:64], "uint4", group_size=64, symmetric=False, calibrate=calibrate)
    assert q.shape == matrix[:64].shape


@pytest.mark.parametrize("kind", [lb.MinMaxObserver, lb.MovingAverageObserver, lb.HistogramObserver])
def test_observer(benchmark, matrix, kind):
    observer = kind("int8", axis=0)
    benchmark(observer.update, matrix)
    assert (observer.params()[0] > 0).all()


def test_outlier_statistics(benchmark, matrix):
    assert benchmark(lb.outlier_statistics, matrix).count == matrix.size


def test_fake_quantize(benchmark, matrix):
    q = lb.quantize(matrix, "int4", group_size=32)
    out = np.empty_like(matrix)
    assert benchmark(lb.fake_quantize, matrix, q.scale, format="int4", group_size=32, out=out) is out


def test_fake_quantize_gradient(benchmark, matrix):
    q = lb.quantize(matrix, "int4", group_size=32)
    gradients = benchmark(lb.fake_quantize_gradient, matrix, matrix, q.scale, format="int4", group_size=32)
    assert gradients[0].shape == matrix.shape


def test_quantization_error(benchmark, matrix):
    q = lb.quantize(matrix, "int4", group_size=32)
    assert benchmark(lb.quantization_error, matrix, q).sqnr_db > 15


@pytest.mark.parametrize("format", FORMATS + CODES)
def test_pack_weights(benchmark, matrix, format):
    q = lb.quantize(matrix, format, **layout(format))
    assert benchmark(lb.pack_weights, q).shape == matrix.shape


@pytest.mark.parametrize("format", FORMATS)
def test_unpack_weights(benchmark, matrix, format):
    w = lb.pack_weights(lb.quantize(matrix, format, **layout(format)))
    assert benchmark(w.unpack).shape == matrix.shape


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("format", CODES)
def test_matmul_codes(benchmark, matrix, format, rows):
    w = lb.pack_weights(lb.quantize(matrix, format, **layout(format)))
    out = np.empty((rows, len(matrix)), np.float32)
    assert benchmark(lb.matmul, matrix[:rows], w, out=out) is out


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("act_group_size", [None, -1])
def test_matmul_act_group_size(benchmark, matrix, act_group_size, rows):
    w = lb.pack_weights(lb.quantize(matrix, "int4", **layout("int4")))
    out = np.empty((rows, len(matrix)), np.float32)
    assert benchmark(lb.matmul, matrix[:rows], w, act_group_size=act_group_size, out=out) is out


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("format", ["int8", "uint8"])
def test_matmul_static(benchmark, matrix, format, rows):
    w = lb.pack_weights(lb.quantize(matrix, "int8", axis=0))
    x = lb.quantize(matrix[:rows], format, symmetric=format == "int8")
    assert benchmark(lb.matmul, x, w).shape == (rows, len(matrix))


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


def test_matmul_int_zero_points(benchmark, side):
    w = lb.pack_weights(np.ones((side, side), np.int8))
    y = benchmark(lb.matmul_int, np.ones((32, side), np.uint8), w, a_zero_point=2, b_zero_point=np.zeros(side, np.int8))
    assert (y == -side).all()
