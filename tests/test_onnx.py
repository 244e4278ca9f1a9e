"""lowbit.onnx against the onnx package's node tests, ONNX Runtime and the formulas; codes compare exactly."""

import functools
import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest
from helpers import F16, F32, assert_same

import lowbit as lb
from lowbit import onnx as lo

BF16 = ml_dtypes.bfloat16
# operator -> (function, node tests in onnx 1.23)
OPERATORS = {
    "QuantizeLinear": (lo.quantize_linear, 13),
    "DequantizeLinear": (lo.dequantize_linear, 14),
    "DynamicQuantizeLinear": (lo.dynamic_quantize_linear, 3),
    "MatMulInteger": (lo.matmul_integer, 1),
    "QLinearMatMul": (lo.qlinear_matmul, 8),
    "ConvInteger": (lo.conv_integer, 2),
    "QLinearConv": (lo.qlinear_conv, 1),
    "Cast": (lo.cast, 60),
    "CastLike": (lo.cast_like, 56),
}


def bits_of(a):
    """The bytes, every NaN of a type alike."""
    a = np.asarray(a)
    if a.dtype.kind in "iub":
        return a
    bits = a.view(f"u{a.dtype.itemsize}")
    return np.where(np.isnan(a.astype(np.float64)), 0xFF, bits.astype(np.uint64))


def assert_bits(got, expected, what=""):
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), what
    different = bits_of(got) != bits_of(expected)
    assert not different.any(), f"{what}: {got[different]} , expected {expected[different]}"


# ---- the node tests of the onnx package ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node_cases():
    """name -> case, of those with one node or the expansion of DynamicQuantizeLinear."""
    loader = pytest.importorskip("onnx.backend.test.loader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow on purpose
        cases = loader.load_model_tests(kind="node")
    return {case.name: case for case in cases if case.model is not None}


def to_array(value):
    import onnx

    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def run_node(node, inputs):
    import onnx

    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for name, value in attributes.items():
        if name in ("to", "output_dtype", "precision"):
            attributes[name] = onnx.helper.tensor_dtype_to_np_dtype(value)
        elif isinstance(value, bytes):
            attributes[name] = value.decode()
    if "saturate" in attributes:
        attributes["saturate"] = attributes["saturate"] not in (0, "")
    function, _ = OPERATORS[node.op_type]
    given = [inputs[name] if name else None for name in node.input]
    if node.op_type == "Cast":
        attributes.setdefault("saturate", True)
    result = function(*given, **attributes)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("operator", OPERATORS)
def test_node_tests(node_cases, operator):
    """Every node test of the operator: types, shapes and bits, floats of 32 bits included."""
    cases = [
        case
        for case in node_cases.values()
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type == operator
        and not case.name.endswith("_expanded")
    ]
    assert len(cases) >= OPERATORS[operator][1]
    for case in cases:
        graph = case.model.graph
        for given, expected in case.data_sets:
            inputs = {value.name: to_array(array) for value, array in zip(graph.input, given, strict=True)}
            got = run_node(graph.node[0], inputs)
            for mine, wanted in zip(got, expected, strict=True):
                assert_bits(mine, to_array(wanted), case.name)


NUMPY = {
    "Identity": lambda x: x,
    "ReduceMin": lambda x: np.asarray(x.min()),
    "ReduceMax": lambda x: np.asarray(x.max()),
    "Min": np.minimum,
    "Max": np.maximum,
    "Sub": np.subtract,
    "Div": np.divide,
    "Clip": np.clip,
    "Round": np.rint,
}


def test_expanded_dynamic_quantize_linear(node_cases):
    """The operator's definition as a graph, with our QuantizeLinear and Cast in it."""
    import onnx

    names = [name for name in node_cases if name.startswith("test_dynamicquantizelinear") and "expanded" in name]
    assert len(names) == 3
    for name in names:
        graph = node_cases[name].model.graph
        ((given, expected),) = node_cases[name].data_sets
        values = {value.name: to_array(array) for value, array in zip(graph.input, given, strict=True)}
        for node in graph.node:
            if node.op_type == "Constant":
                results = (onnx.numpy_helper.to_array(node.attribute[0].t),)
            elif node.op_type in NUMPY:
                results = (NUMPY[node.op_type](*(values[i] for i in node.input)),)
            else:
                results = run_node(node, values)
            values.update(zip(node.output, results, strict=True))
        for value, wanted in zip(graph.output, expected, strict=True):
            assert_bits(values[value.name], to_array(wanted), name)


# ---- QuantizeLinear, DequantizeLinear -------------------------------------------------------------------------------

INTEGERS = [np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16)]
INTEGERS += [np.dtype(getattr(ml_dtypes, name)) for name in ("int2", "uint2", "int4", "uint4")]
SMALL_FLOATS = [np.dtype(getattr(ml_dtypes, name)) for name in (
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float6_e2m3fn", "float6_e3m2fn",
    "float4_e2m1fn",
)]  # fmt: skip
# shape, axis, block size
GRANULARITIES = [
    ((5, 6, 7), 1, None),
    ((5, 6, 7), 0, 0),
    ((5, 6, 7), 1, 0),
    ((5, 6, 7), -1, 0),
    ((5, 6, 7), 0, 2),
    ((5, 6, 7), 1, 3),
    ((5, 6, 7), 2, 2),
    ((5, 6, 7), -2, 4),
    ((5, 6, 7), 1, 2**40),
    ((9,), 1, 0),
    ((9,), 0, 4),
    ((), 1, None),
]


def scale_shape(shape, axis, block_size):
    if block_size is None:
        return ()
    if len(shape) == 1 and not block_size:
        axis = 0
    if block_size == 0:
        return (shape[axis],)
    axis %= len(shape)
    return tuple(-(-n // block_size) if i == axis else n for i, n in enumerate(shape))


def spread(values, shape, axis, block_size):
    """The definition: one for each element."""
    if block_size is None:
        return np.broadcast_to(values, shape)
    axis = axis % len(shape) if len(shape) > 1 or block_size else 0
    if block_size == 0:
        return np.broadcast_to(values.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)
    return np.repeat(values, min(block_size, shape[axis]), axis=axis).take(range(shape[axis]), axis=axis)


def limits(dtype):
    info = ml_dtypes.iinfo(dtype)
    return int(info.min), int(info.max)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_quantize_linear_integers(isa, dtype):
    low, high = limits(dtype)
    rng = np.random.default_rng(0)
    for shape, axis, block_size in GRANULARITIES:
        where = scale_shape(shape, axis, block_size)
        scale = ((rng.random(where) + 0.5) * 6 / (high - low)).astype(F32)
        zero = rng.integers(low, high, where, endpoint=True).astype(dtype)
        x = np.asarray(rng.standard_normal(shape) * 2, F32)
        if shape == (5, 6, 7):
            x[0, 0, :4] = np.nan, np.inf, -np.inf, 1e30
        each_scale, each_zero = (spread(np.asarray(v), shape, axis, block_size) for v in (scale, zero))
        keywords = {"axis": axis, "block_size": block_size or 0}
        for zeros, offset in ((zero, each_zero.astype(np.float64)), (None, 0.0)):
            exact = np.rint(x / each_scale).astype(np.float64) + offset
            expected = np.where(np.isnan(x), offset, np.clip(exact, low, high)).astype(np.int32).astype(dtype)
            got = lo.quantize_linear(x, scale, zeros, output_dtype=dtype, **keywords)
            assert_bits(got, expected, f"{dtype} {shape} {axis} {block_size}")
            back = lo.dequantize_linear(got, scale, zeros, **keywords)
            difference = got.astype(np.int64) - (0 if zeros is None else each_zero.astype(np.int64))
            assert_same(back, difference.astype(F32) * each_scale, f"{dtype} {shape} {axis} {block_size}")
        if shape == (5, 6, 7):
            assert {low, high} <= {int(v) for v in got.ravel()}


@pytest.mark.parametrize("dtype", SMALL_FLOATS, ids=str)
def test_quantize_linear_floats(isa, dtype):
    """Against ml_dtypes' conversion of x / scale, clipped where it saturates."""
    most = float(ml_dtypes.finfo(dtype).max)
    rng = np.random.default_rng(1)
    for shape, axis, block_size in GRANULARITIES:
        where = scale_shape(shape, axis, block_size)
        scale = np.asarray(rng.random(where) + 0.5, F32)
        each = spread(scale, shape, axis, block_size)
        x = np.asarray(rng.standard_normal(shape) * most, F32)
        keywords = {"axis": axis, "block_size": block_size or 0, "output_dtype": dtype}
        got = lo.quantize_linear(x, scale, **keywords)
        assert_bits(got, np.clip(x / each, -most, most).astype(dtype))
        zero = np.zeros(where, dtype)
        assert_bits(lo.quantize_linear(x, scale, zero, **keywords), got)
        assert_bits(lo.quantize_linear(x, scale, saturate=False, **keywords), (x / each).astype(dtype))
        one = np.ones(where, dtype)
        moved = np.clip(x / each + F32(1), -most, most).astype(dtype)
        assert_bits(lo.quantize_linear(x, scale, one, **keywords), moved)
        del keywords["output_dtype"]
        assert_same(lo.dequantize_linear(got, scale, **keywords), got.astype(F32) * each)
        assert_same(lo.dequantize_linear(got, scale, zero, **keywords), got.astype(F32) * each)
        assert_same(lo.dequantize_linear(got, scale, one, **keywords), (got.astype(F32) - F32(1)) * each)


def test_types_of_x_and_scale():
    """The type of the scale, or precision, decides in which type the quotient is rounded."""
    rng = np.random.default_rng(2)
    x32 = (rng.standard_normal(5000) * 40).astype(F32)
    for x_type, scale_type, precision in itertools.product(
        (F32, F16, BF16, np.int32), (F32, F16, BF16), (None, F32, F16, BF16)
    ):
        x, scale = x32.astype(x_type), np.asarray(0.37, scale_type)
        working = np.dtype(precision or scale_type)
        with np.errstate(all="ignore"):
            quotient = x.astype(F32).astype(working) / scale.astype(working)
        assert quotient.dtype == working
        expected = np.clip(np.rint(quotient.astype(F32)) + 3, 0, 255).astype(np.uint8)
        assert_bits(
            lo.quantize_linear(x, scale, np.uint8(3), precision=precision),
            expected,
            f"{x_type} {scale_type} {precision}",
        )
    power = np.asarray(0.25, ml_dtypes.float8_e8m0fnu)
    assert_bits(lo.quantize_linear(x32, power), lo.quantize_linear(x32, F32(0.25)))
    codes = lo.quantize_linear(x32, F32(0.25))
    for dtype in (F32, F16, BF16):
        got = lo.dequantize_linear(codes, power, output_dtype=dtype)
        assert_bits(got, (codes * F32(0.25)).astype(dtype))
        assert_bits(lo.dequantize_linear(codes, np.asarray(0.25, dtype)), got)
    integers = np.array([2**31 - 1, -(2**31), 2**24 + 1, 7], np.int32)
    assert_same(lo.dequantize_linear(integers, F32(0.5)), integers.astype(F32) * F32(0.5))


def test_negative_and_zero_scales():
    x = np.array([-3, -1, 0, 1, 3], F32)
    assert_bits(lo.quantize_linear(x, F32(-1), output_dtype=np.int8), np.array([3, 1, 0, -1, -3], np.int8))
    zero = np.array([0.5, 0.0], F32)
    codes = np.array([[2, 4], [3, 5]], np.int8)
    assert_same(lo.dequantize_linear(codes, zero), np.array([[1, 0], [1.5, 0]], F32))
    for bad in (0, np.nan, np.inf):
        for dtype in (np.int8, np.int16, ml_dtypes.float8_e4m3fn):
            for scale_type in (F32, F16):
                with pytest.raises(ValueError, match=r"^y_scale: NaN, infinity or 0"):
                    lo.quantize_linear(x, scale_type(bad), output_dtype=dtype)


# ---- DynamicQuantizeLinear -------------------------------------------------------------------------------------------


def onnxruntime_session(model):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_model(op_type, inputs, outputs, initializers=(), domain="", **attributes):
    """A model of one node; inputs and outputs: name -> (numpy dtype, shape)."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper

    def infos(values):
        return [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
            for name, (dtype, shape) in values.items()
        ]

    names = attributes.pop("input_names", None) or [*inputs, *(name for name, _ in initializers)]
    node = helper.make_node(op_type, names, [*outputs], domain=domain, **attributes)
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in initializers]
    graph = helper.make_graph([node], "one", infos(inputs), infos(outputs), constants)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


@pytest.mark.parametrize("kind", ["normal", "positive", "negative", "zeros", "one", "subnormal", "huge"])
def test_dynamic_quantize_linear_equals_onnxruntime(kind):
    rng = np.random.default_rng(3)
    x = {
        "normal": rng.standard_normal((37, 41)),
        "positive": rng.random(1000) + 1,
        "negative": -rng.random(1000) - 1,
        "zeros": np.zeros(33),
        "one": np.array([3.7]),
        "subnormal": rng.standard_normal(1000) * 1e-37,
        "huge": rng.standard_normal(1000) * 1e37,
    }[kind].astype(F32)
    outputs = {"y": (np.uint8, x.shape), "s": (F32, ()), "z": (np.uint8, ())}
    session = onnxruntime_session(onnx_model("DynamicQuantizeLinear", {"x": (F32, x.shape)}, outputs))
    for mine, theirs in zip(lo.dynamic_quantize_linear(x), session.run(None, {"x": x}), strict=True):
        assert_bits(mine, theirs)


# ---- MatMulInteger, QLinearMatMul ------------------------------------------------------------------------------------

MATMUL_SHAPES = [
    ((3, 70), (70, 5)),
    ((2, 3, 4, 20), (20, 6)),
    ((2, 3, 4, 20), (2, 3, 20, 6)),
    ((3, 4, 20), (2, 1, 20, 6)),
    ((20,), (20, 6)),
    ((4, 20), (20,)),
    ((20,), (20,)),
    ((2, 4, 20), (20,)),
    ((20,), (2, 20, 6)),
    ((0, 20), (20, 3)),
    ((2, 0), (0, 3)),
    ((0, 2, 5), (0, 5, 3)),
]


def codes(rng, dtype, shape):
    low, high = limits(dtype)
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("a_type", [np.int8, np.uint8])
@pytest.mark.parametrize("b_type", [np.int8, np.uint8])
def test_matmul_integer(isa, a_type, b_type):
    rng = np.random.default_rng(4)
    for a_shape, b_shape in MATMUL_SHAPES:
        a, b = codes(rng, a_type, a_shape), codes(rng, b_type, b_shape)
        m = 1 if len(a_shape) == 1 else a_shape[-2]
        n = 1 if len(b_shape) == 1 else b_shape[-1]
        rows, columns = (*a_shape[:-2], m, 1), (*b_shape[:-2], 1, n)
        for a_where, b_where in itertools.product(((), (1,), (m,), rows), ((), (1,), (n,), columns)):
            if (len(a_shape) == 1 and len(a_where) > 1) or (len(b_shape) == 1 and len(b_where) > 1):
                continue
            a_zero, b_zero = codes(rng, a_type, a_where), codes(rng, b_type, b_where)
            left = a.astype(np.int64) - (a_zero[:, np.newaxis] if a_where == (m,) and a.ndim > 1 else a_zero)
            right = b.astype(np.int64) - (b_zero if b.ndim > 1 or b_where == () else b_zero[0])
            expected = np.matmul(left, right).astype(np.int32)
            assert_bits(lo.matmul_integer(a, b, a_zero, b_zero), expected, f"{a_shape} {b_shape} {a_where} {b_where}")
        assert_bits(lo.matmul_integer(a, b), np.matmul(a.astype(np.int64), b.astype(np.int64)).astype(np.int32))


@pytest.mark.parametrize("y_type", [np.int8, np.uint8])
@pytest.mark.parametrize("scale_type", [F32, F16, BF16], ids=["f32", "f16", "bf16"])
def test_qlinear_matmul(y_type, scale_type):
    rng = np.random.default_rng(5)
    low, high = limits(y_type)
    for a_shape, b_shape in MATMUL_SHAPES[:5]:
        a, b = codes(rng, np.uint8, a_shape), codes(rng, np.int8, b_shape)
        m, n = 1 if len(a_shape) == 1 else a_shape[-2], b_shape[-1]
        for a_where, b_where, y_where in (((), (), ()), ((1,), (1,), (1,)), ((m,), (n,), ()), ((m,), (n,), (m,))):
            a_scale, b_scale = (np.asarray(rng.random(w) / 20 + 0.01, scale_type) for w in (a_where, b_where))
            y_scale = np.asarray(rng.random(y_where) + 0.5, scale_type)
            a_zero, b_zero, y_zero = (
                codes(rng, np.uint8, a_where),
                codes(rng, np.int8, b_where),
                codes(rng, y_type, y_where),
            )
            sums = lo.matmul_integer(a, b, a_zero, b_zero)
            column = [
                v.astype(F32)[:, np.newaxis] if v.shape == (m,) and v.size > 1 and len(a_shape) > 1 else v.astype(F32)
                for v in (a_scale, y_scale, y_zero)
            ]
            multiplier = (column[0] * b_scale.astype(F32)) / column[1]
            expected = np.clip(np.rint(sums.astype(F32) * multiplier).astype(np.float64) + column[2], low, high)
            got = lo.qlinear_matmul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)
            assert_bits(got, expected.astype(y_type).reshape(sums.shape))


def test_qlinear_matmul_equals_onnxruntime():
    rng = np.random.default_rng(6)
    for a_type, b_type in ((np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)):
        a, b = codes(rng, a_type, (13, 50)), codes(rng, b_type, (50, 9))
        given = {
            "a": a, "a_scale": F32(0.03), "a_zero": codes(rng, a_type, ()), "b": b, "b_scale": F32(0.02),
            "b_zero": codes(rng, b_type, ()), "y_scale": F32(4), "y_zero": codes(rng, a_type, ()),
        }  # fmt: skip
        inputs = {name: (value.dtype, value.shape) for name, value in given.items()}
        session = onnxruntime_session(onnx_model("QLinearMatMul", inputs, {"y": (a_type, (13, 9))}))
        (theirs,) = session.run(None, {name: np.asarray(value) for name, value in given.items()})
        assert_bits(lo.qlinear_matmul(*given.values()), theirs)
        assert len(np.unique(theirs)) > 20


# ---- convolutions ----------------------------------------------------------------------------------------------------


def naive_conv(x, w, group, strides, dilations, pads):
    """Of int64 arrays, padded with 0."""
    n = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
    reach = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    out = [(size - r) // s + 1 for size, r, s in zip(x.shape[2:], reach, strides, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *out), np.int64)
    channels, per_group = w.shape[1], w.shape[0] // group
    for m in range(w.shape[0]):
        part = x[:, m // per_group * channels : (m // per_group + 1) * channels]
        for at in np.ndindex(*out):
            place = tuple(slice(a * s, a * s + r, d) for a, s, r, d in zip(at, strides, reach, dilations, strict=True))
            y[(slice(None), m, *at)] = (part[(slice(None), slice(None), *place)] * w[m]).sum(
                axis=tuple(range(1, x.ndim))
            )
    return y


CONVOLUTIONS = [
    ((2, 3, 11), (4, 3, 3), {}),
    ((2, 4, 9, 10), (6, 2, 3, 2), {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((1, 3, 12, 12), (3, 1, 3, 3), {"group": 3, "dilations": [2, 3]}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"strides": [2, 2, 3], "kernel_shape": [2, 3, 2]}),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "attributes"), CONVOLUTIONS)
def test_conv_integer(x_shape, w_shape, attributes):
    rng = np.random.default_rng(7)
    n = len(x_shape) - 2
    geometry = {"group": 1, "strides": [1] * n, "dilations": [1] * n, "pads": [0] * (2 * n)} | attributes
    geometry.pop("kernel_shape", None)
    for x_type, w_type in ((np.uint8, np.int8), (np.int8, np.uint8)):
        x, w = codes(rng, x_type, x_shape), codes(rng, w_type, w_shape)
        for w_where in ((), (w_shape[0],)):
            x_zero, w_zero = codes(rng, x_type, ()), codes(rng, w_type, w_where)
            spread_zero = w_zero.astype(np.int64).reshape(-1, *[1] * (n + 1))
            expected = naive_conv(x.astype(np.int64) - int(x_zero), w.astype(np.int64) - spread_zero, **geometry)
            assert_bits(lo.conv_integer(x, w, x_zero, w_zero, **attributes), expected.astype(np.int32))
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            if "pads" in attributes:
                continue
            y = lo.conv_integer(x, w, auto_pad=mode, **attributes)
            if mode != "VALID":
                assert y.shape[2:] == tuple(-(-a // b) for a, b in zip(x_shape[2:], geometry["strides"], strict=True))


def test_qlinear_conv_equals_onnxruntime():
    rng = np.random.default_rng(8)
    x, w = codes(rng, np.uint8, (2, 4, 9, 10)), codes(rng, np.int8, (6, 2, 3, 3))
    for mode in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        attributes = {"group": 2, "strides": [2, 1], "auto_pad": mode}
        if mode == "NOTSET":
            attributes["pads"] = [1, 0, 2, 1]
        given = {
            "x": x, "x_scale": F32(0.03), "x_zero": np.uint8(120), "w": w,
            "w_scale": (rng.random(6) / 50 + 0.01).astype(F32), "w_zero": np.zeros(6, np.int8),
            "y_scale": F32(0.5), "y_zero": np.uint8(131), "b": rng.integers(-9000, 9000, 6).astype(np.int32),
        }  # fmt: skip
        mine = lo.qlinear_conv(*given.values(), **attributes)
        inputs = {name: (value.dtype, value.shape) for name, value in given.items()}
        session = onnxruntime_session(onnx_model("QLinearConv", inputs, {"y": (np.uint8, None)}, **attributes))
        (theirs,) = session.run(None, {name: np.asarray(value) for name, value in given.items()})
        assert_bits(mine, theirs)
        assert len(np.unique(theirs)) > 20


# ---- MatMulNBits -----------------------------------------------------------------------------------------------------


def nbits_case(rng, n, k, bits, block_size, zero):
    """(b, scales, zero points, the weights they stand for): packed here by shifts, nothing of lowbit's."""
    blocks = -(-k // block_size)
    values = rng.integers(0, 2**bits, (n, blocks * block_size)).astype(np.uint8)

    def pack(a):
        per_byte = 8 // bits
        padded = np.zeros((n, -(-a.shape[1] // per_byte) * per_byte), np.uint8)
        padded[:, : a.shape[1]] = a
        parts = padded.reshape(n, -1, per_byte).astype(np.int64) << (bits * np.arange(per_byte))
        return parts.sum(axis=-1).astype(np.uint8)

    scales = ((rng.random((n, blocks)) + 0.5) / 2**bits).astype(F32)
    zeros = {
        "none": np.full((n, blocks), 2 ** (bits - 1)),
        "packed": rng.integers(0, 2**bits, (n, blocks)),
        "float": rng.random((n, blocks)) * 2**bits,
    }[zero].astype(F32)
    given = {"none": None, "packed": pack(zeros.astype(np.uint8)), "float": zeros}[zero]
    wide = (np.repeat(a, block_size, axis=1)[:, :k].astype(np.float64) for a in (zeros, scales))
    return pack(values).reshape(n, blocks, -1), scales, given, (values[:, :k] - next(wide)) * next(wide)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("zero", ["none", "packed", "float"])
def test_matmul_nbits(isa, bits, zero):
    rng = np.random.default_rng(9)
    for n, k, block_size in ((5, 64, 32), (7, 100, 32), (16, 129, 16), (3, 33, 64), (4, 50, 128), (2, 270, 128)):
        b, scales, zeros, w = nbits_case(rng, n, k, bits, block_size, zero)
        decoded = lo.nbits_weights(b, scales, zeros, K=k, N=n, bits=bits, block_size=block_size).dequantize()
        np.testing.assert_allclose(decoded, w, rtol=2e-7, atol=0 if zero != "float" else 1e-5)
        bias = rng.standard_normal(n).astype(F32)
        for x in (rng.standard_normal((3, k)).astype(F32), rng.standard_normal((2, 2, k)).astype(F32)):
            exact = x @ w.T + bias
            for level, tolerance in ((0, 1e-5), (1, 1e-5), (4, 0.02)):
                y = lo.matmul_nbits(
                    x, b, scales, zeros, bias, K=k, N=n, bits=bits, block_size=block_size, accuracy_level=level
                )
                assert y.dtype == F32
                np.testing.assert_allclose(y, exact, rtol=0, atol=tolerance * np.abs(exact).max())
        flat = lo.matmul_nbits(
            x,
            b.ravel(),
            scales.ravel(),
            None if zeros is None else zeros.ravel(),
            K=k,
            N=n,
            bits=bits,
            block_size=block_size,
        )
        assert_same(flat, lo.matmul_nbits(x, b, scales, zeros, K=k, N=n, bits=bits, block_size=block_size))


@pytest.mark.parametrize("dtype", [F16, BF16])
def test_matmul_nbits_16_bit(dtype):
    rng = np.random.default_rng(10)
    b, scales, zeros, _ = nbits_case(rng, 6, 100, 4, 32, "packed")
    x = rng.standard_normal((3, 100)).astype(dtype)
    got = lo.matmul_nbits(x, b, scales.astype(dtype), zeros, K=100, N=6, block_size=32)
    wide = lo.matmul_nbits(x.astype(F32), b, scales.astype(dtype).astype(F32), zeros, K=100, N=6, block_size=32)
    assert_bits(got, wide.astype(dtype))


ORT_ZEROS = [(bits, zero) for bits in (2, 4, 8) for zero in ("none", "packed", "float")]
ORT_ZEROS.remove((8, "float"))  # onnxruntime 1.31 has no kernel for it


@pytest.mark.parametrize(("bits", "zero"), ORT_ZEROS)
@pytest.mark.parametrize("level", [0, 4])
def test_matmul_nbits_equals_onnxruntime(bits, zero, level):
    """To the tolerance that the order of sums leaves, or, at level 4, that of 8-bit activations."""
    rng = np.random.default_rng(11)
    for n, k, block_size in ((32, 128, 32), (17, 200, 64), (8, 70, 16)):
        b, scales, zeros, w = nbits_case(rng, n, k, bits, block_size, zero)
        x = rng.standard_normal((5, k)).astype(F32)
        constants = [("b", b), ("scales", scales), *([] if zeros is None else [("zeros", zeros)])]
        attributes = {"K": k, "N": n, "bits": bits, "block_size": block_size, "accuracy_level": level}
        model = onnx_model(
            "MatMulNBits", {"a": (F32, x.shape)}, {"y": (F32, (5, n))}, constants, "com.microsoft", **attributes
        )
        (theirs,) = onnxruntime_session(model).run(None, {"a": x})
        mine = lo.matmul_nbits(x, b, scales, zeros, **attributes)
        size = np.abs(x @ w.T).max()
        np.testing.assert_allclose(theirs, x @ w.T, rtol=0, atol=0.03 * size)  # the layout is ORT's
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=(1e-5 if level == 0 else 0.03) * size)


# ---- Cast ------------------------------------------------------------------------------------------------------------


@functools.cache
def numbers(dtype):
    """All finite values of a small type, ascending."""
    every = np.arange(2 ** (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}").view(dtype)
    with np.errstate(all="ignore"):
        values = every.astype(np.float64)
    return np.unique(values[np.isfinite(values)])


@functools.cache
def doubles():
    """Around the middle of every pair of neighbours of the small types, closer than float32 can tell."""
    values = []
    for dtype in (*SMALL_FLOATS, np.dtype(BF16), np.dtype(F16)):
        finite = numbers(dtype)
        middles = (finite[1:] + finite[:-1]) / 2
        values += [finite, middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)]
    return np.concatenate([*values, [np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, 0.0, -0.0]])


@pytest.mark.parametrize("dtype", [*SMALL_FLOATS, np.dtype(BF16), np.dtype(F16)], ids=str)
def test_doubles_are_rounded_once(dtype):
    """Found by bisection among all values of the type, in double."""
    x = doubles()
    grid = numbers(dtype)
    if dtype in (BF16, F16):
        x = x[np.abs(x) <= grid[-1]]
    got = lo.cast(x, dtype).astype(np.float64)
    finite = x[np.isfinite(x)]
    above = np.clip(np.searchsorted(grid, finite), 1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    nearest = np.minimum(np.abs(finite - low), np.abs(high - finite))
    clipped = np.clip(finite, grid[0], grid[-1])
    assert (np.abs(got[np.isfinite(x)] - clipped) <= np.where(clipped == finite, nearest, 0)).all()
    tie = (np.abs(finite - low) == np.abs(high - finite)) & (clipped == finite)
    chosen = got[np.isfinite(x)][tie].astype(dtype).view(f"u{dtype.itemsize}")
    assert tie.any()
    assert (chosen % 2 == 0).all()


def test_e8m0():
    """ONNX's table, both columns, and the exponents between."""
    to = ml_dtypes.float8_e8m0fnu
    x = np.array([0, np.nan, np.inf, 3e38, 1e-40, 2.0**-127, 1, 1.1, 1.5, 1.75, 2], F32)
    up = np.array([0, 255, 254, 254, 0, 0, 127, 128, 128, 128, 128], np.uint8)
    nearest = np.array([255, 255, 255, 255, 255, 0, 127, 127, 128, 128, 128], np.uint8)
    assert_bits(lo.cast(x, to).view(np.uint8), up)
    assert_bits(lo.cast(x, to, saturate=False, round_mode="nearest").view(np.uint8), nearest)
    assert_bits(lo.cast(x[6:], to, round_mode="down").view(np.uint8), np.array([127, 127, 127, 127, 128], np.uint8))
    assert_bits(lo.cast(x.astype(np.float64), to), lo.cast(x, to))


def test_integers():
    """Upper bits are lost; floats go towards 0."""
    x = np.array([-129, -8, -1, 0, 7, 8, 200, 300], np.int32)
    for dtype in (np.int8, np.uint8, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2):
        bits = int(np.dtype(dtype).name.lstrip("uint"))
        low, _ = limits(np.dtype(dtype))
        expected = ((x.astype(np.int64) - low) % 2**bits + low).astype(np.int8 if low else np.uint8)
        assert_bits(lo.cast(x, dtype).astype(expected.dtype), expected)
    assert_bits(lo.cast(np.array([1.9, -1.9], F32), np.int8), np.array([1, -1], np.int8))
    assert_bits(lo.cast(np.array([1.9, -1.9], BF16), np.int8), np.array([1, -1], np.int8))
    assert_bits(lo.cast(np.array([0, 2], np.int8), bool), np.array([False, True]))
    assert_bits(lo.cast(np.array([True, False]), ml_dtypes.float4_e2m1fn), np.array([1, 0], ml_dtypes.float4_e2m1fn))
    big = np.array([2**24 + 1, 2**40 + 1, 300, -7], np.int64)
    assert_bits(lo.cast(big, BF16), np.array([2.0**24, 2.0**40, 300, -7]).astype(BF16))


# ---- bad input -------------------------------------------------------------------------------------------------------

X = np.ones((4, 6), F32)
C8 = np.ones((4, 6), np.int8)
ONE = F32(1)
B = np.zeros((3, 2, 16), np.uint8)
S = np.ones((3, 2), F32)
NBITS = {"K": 60, "N": 3, "block_size": 32}
BAD = {
    "x float64": (lambda: lo.quantize_linear(X.astype(float), ONE), TypeError, "x: dtype float64"),
    "scale float64": (lambda: lo.quantize_linear(X, np.float64(1)), TypeError, "y_scale: dtype float64"),
    "scale shape": (
        lambda: lo.quantize_linear(X, np.ones(4, F32)),
        ValueError,
        r"y_scale: shape \(4,\) with axis=1, expected",
    ),
    "axis": (
        lambda: lo.quantize_linear(X, np.ones(4, F32), axis=2),
        ValueError,
        "axis: 2, expected an integer from -2 to 1",
    ),
    "block": (
        lambda: lo.quantize_linear(X, np.ones((4, 2), F32), block_size=2),
        ValueError,
        r"y_scale: .*expected \(4, 3\)",
    ),
    "no block": (
        lambda: lo.quantize_linear(X, np.ones((4, 2), F32)),
        ValueError,
        "y_scale: .*blocks need a block_size",
    ),
    "negative block": (lambda: lo.quantize_linear(X, ONE, block_size=-1), ValueError, "block_size: -1"),
    "scale for 0-d": (lambda: lo.quantize_linear(ONE, np.ones(2, F32)), ValueError, r"y_scale: shape \(2,\) for a 0-d"),
    "output_dtype": (
        lambda: lo.quantize_linear(X, ONE, output_dtype=np.int32),
        TypeError,
        "output_dtype: int32, expected int8",
    ),
    "two types": (
        lambda: lo.quantize_linear(X, ONE, np.int8(0), output_dtype=np.uint8),
        TypeError,
        "y_zero_point: dtype int8",
    ),
    "zero shape": (lambda: lo.quantize_linear(X, ONE, np.zeros(4, np.int8)), ValueError, r"y_zero_point: shape \(4,\)"),
    "precision": (lambda: lo.quantize_linear(X, ONE, precision=np.float64), TypeError, "precision: float64"),
    "x codes": (lambda: lo.dequantize_linear(X, ONE), TypeError, "x: dtype float32, expected int8"),
    "x_zero type": (
        lambda: lo.dequantize_linear(C8, ONE, np.uint8(0)),
        TypeError,
        "x_zero_point: dtype uint8, expected int8",
    ),
    "x_zero int32": (
        lambda: lo.dequantize_linear(C8.astype(np.int32), ONE, np.int32(1)),
        ValueError,
        "x_zero_point: not 0 with int32",
    ),
    "out type": (lambda: lo.dequantize_linear(C8, ONE, output_dtype=np.int8), TypeError, "output_dtype: int8"),
    "e8m0 out": (
        lambda: lo.dequantize_linear(C8, np.ones((), ml_dtypes.float8_e8m0fnu)),
        TypeError,
        "output_dtype: float8_e8m0fnu",
    ),
    "dynamic": (lambda: lo.dynamic_quantize_linear(X.astype(F16)), TypeError, "x: dtype float16, expected float32"),
    "dynamic overflow": (
        lambda: lo.dynamic_quantize_linear(np.full(3, np.nan, np.float64)),
        TypeError,
        "x: dtype float64",
    ),
    "matmul type": (lambda: lo.matmul_integer(X, C8), TypeError, "a: dtype float32, expected int8 or uint8"),
    "matmul 0-d": (lambda: lo.matmul_integer(np.int8(1), C8), ValueError, "a: a 0-d array"),
    "matmul K": (lambda: lo.matmul_integer(C8, C8), ValueError, r"b: shape \(4, 6\), expected K = 6"),
    "matmul batch": (
        lambda: lo.matmul_integer(np.ones((2, 4, 6), np.int8), np.ones((3, 6, 4), np.int8)),
        ValueError,
        "b: .*broadcast",
    ),
    "matmul zero": (
        lambda: lo.matmul_integer(C8, C8.T, np.zeros(6, np.int8)),
        ValueError,
        r"a_zero_point: shape \(6,\), expected",
    ),
    "matmul zero type": (lambda: lo.matmul_integer(C8, C8.T, np.uint8(1)), TypeError, "a_zero_point: dtype uint8"),
    "qmatmul scale": (
        lambda: lo.qlinear_matmul(C8, np.ones(3, F32), np.int8(0), C8.T, ONE, np.int8(0), ONE, np.int8(0)),
        ValueError,
        r"a_scale: shape \(3,\)",
    ),
    "qmatmul zero scale": (
        lambda: lo.qlinear_matmul(C8, ONE, np.int8(0), C8.T, ONE, np.int8(0), F32(0), np.int8(0)),
        ValueError,
        "y_scale: 0",
    ),
    "conv shapes": (lambda: lo.conv_integer(C8, C8), ValueError, "w: shape"),
    "conv group": (
        lambda: lo.conv_integer(np.ones((1, 4, 5), np.int8), np.ones((3, 2, 2), np.int8), group=2),
        ValueError,
        "group: 2",
    ),
    "conv pads": (
        lambda: lo.conv_integer(np.ones((1, 2, 5), np.int8), np.ones((3, 2, 2), np.int8), pads=[1]),
        ValueError,
        "pads: ",
    ),
    "conv auto_pad": (
        lambda: lo.conv_integer(np.ones((1, 2, 5), np.int8), np.ones((3, 2, 2), np.int8), auto_pad="same"),
        ValueError,
        "auto_pad: 'same'",
    ),
    "conv small": (
        lambda: lo.conv_integer(np.ones((1, 2, 2), np.int8), np.ones((3, 2, 4), np.int8)),
        ValueError,
        "x: .*at least",
    ),
    "nbits K": (
        lambda: lo.nbits_weights(B, S, K=65, N=3, block_size=32),
        ValueError,
        r"b: shape .*expected \(3, 3, 16\)",
    ),
    "nbits bits": (lambda: lo.nbits_weights(B, S, **NBITS, bits=3), ValueError, "bits: 3, expected 2, 4 or 8"),
    "nbits block": (
        lambda: lo.nbits_weights(B, S, K=60, N=3, block_size=24),
        ValueError,
        "block_size: 24, expected a power",
    ),
    "nbits scales": (
        lambda: lo.nbits_weights(B, S[:2], **NBITS),
        ValueError,
        r"scales: shape \(2, 2\), expected \(3, 2\)",
    ),
    "nbits zero": (
        lambda: lo.nbits_weights(B, S, np.zeros((3, 2), np.uint8), **NBITS),
        ValueError,
        r"zero_points: .*expected \(3, 1\)",
    ),
    "nbits level": (
        lambda: lo.matmul_nbits(X[:, :1].repeat(60, 1), B, S, **NBITS, accuracy_level=5),
        ValueError,
        "accuracy_level: 5",
    ),
    "nbits x": (lambda: lo.matmul_nbits(X, B, S, **NBITS), ValueError, "x: shape"),
    "cast to": (lambda: lo.cast(X, "U3"), TypeError, "to: <U3, expected"),
    "cast from": (lambda: lo.cast(np.array(["1"]), F32), TypeError, "x: dtype <U1"),
    "cast mode": (
        lambda: lo.cast(X, F16, round_mode="even"),
        ValueError,
        "round_mode: 'even', expected 'up', 'down' or",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, exception, message = BAD[name]
    with pytest.raises(exception, match=message):
        call()


def test_onnx_is_not_imported():
    from helpers import run_python

    assert run_python("-c", "import lowbit, sys; sys.exit('onnx' in sys.modules)").returncode == 0
    assert lb.onnx is lo
