"""How each engine does a matrix product of bench/products.py: weights packed before, results into touched memory."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import products
from products import Product
from worker import Run, Worker

import lowbit as lb

ENGINES: dict[str, Callable[[Product, int], Run]] = {}
PACKAGES = {
    "lowbit": "lowbit",
    "numpy": "numpy",
    "fbgemm": "torch",
    "onednn": "torch",
    "int4pack": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "bitsandbytes": "bitsandbytes",
}


class NotOfferedError(Exception):
    """The engine has nothing for this product: no failure, and nothing to be reported."""


def engine(name: str) -> Callable[[Any], Any]:
    """Registers how an engine makes a product ready: of it and the number of threads, a function to be timed."""

    def register(build: Any) -> Any:
        ENGINES[name] = build
        return build

    return register


def in_turn(runs: Sequence[Run]) -> Run:
    """All of them, one after the other; returns what the last one does."""
    if len(runs) == 1:
        return runs[0]

    def run() -> Any:
        for one in runs:
            result = one()
        return result

    return run


def each(product: Product) -> list[lb.QuantizedArray]:
    return [products.weights(product, index) for index in range(product.matrices)]


def row_scale(q: lb.QuantizedArray) -> np.ndarray:
    """float32, (N, 1) or (N, groups)."""
    return q.scale.astype(np.float32).reshape(q.shape[0], -1)


# ---- lowbit ---------------------------------------------------------------------------------------------------------


@engine("lowbit")
def _(product: Product, threads: int) -> Run:
    lb.set_num_threads(threads)
    if product.compute == "integer":
        a, b = products.integers(product)
        w, out = lb.pack_weights(b), products.empty(product, np.int32)
        return lambda: lb.matmul_int(a, w, out=out)
    packed = [lb.pack_weights(q) for q in each(product)]
    result = products.empty(product)
    if product.compute == "static":
        codes = products.codes(product)
        return in_turn([lambda w=w: lb.matmul(codes, w, out=result) for w in packed])
    x = products.activations(product)
    compute = {"dynamic": "int8"}.get(product.compute, product.compute)
    keywords = {"act_group_size": product.act_group} if product.compute == "dynamic" else {}
    if product.compute == "int8x2":
        keywords = {"act_group_size": product.act_group}
    return in_turn([lambda w=w: lb.matmul(x, w, compute=compute, out=result, **keywords) for w in packed])


# ---- numpy ----------------------------------------------------------------------------------------------------------


@engine("numpy")
def _(product: Product, threads: int) -> Run:
    """float32 and BLAS."""
    if product.matrices > 1 or product.compute == "int8x2":
        raise NotOfferedError
    if product.compute == "integer":
        x, w = (array.astype(np.float32) for array in products.integers(product))
    else:
        x, w = products.activations(product), lb.dequantize(products.weights(product))
        if product.compute == "static":
            x = lb.dequantize(products.codes(product))
    out = products.empty(product)
    return lambda: np.matmul(x, w.T, out=out)


# ---- torch ----------------------------------------------------------------------------------------------------------


def torch_with(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")  # deprecated in 2.13
    return torch


def dynamic_linear(torch: Any, product: Product, name: str) -> Run:
    """What torch.nn.quantized.dynamic.Linear calls; x quantized to uint8 with one scale."""
    torch.backends.quantized.engine = name
    q = products.weights(product)
    codes, scale = torch.from_numpy(q.unpack()), torch.from_numpy(row_scale(q)[:, 0]).double()
    zeros = torch.zeros(product.n, dtype=torch.long)
    w = torch._make_per_channel_quantized_tensor(codes, scale, zeros, 0)
    packed = torch.ops.quantized.linear_prepack(w, None)
    x, linear = torch.from_numpy(products.activations(product)), torch.ops.quantized.linear_dynamic

    def run() -> Any:  # takes no out=
        return linear(x, packed).numpy()

    return run


@engine("fbgemm")
def _(product: Product, threads: int) -> Run:
    if product.compute != "dynamic" or product.group is not None:
        raise NotOfferedError
    return dynamic_linear(torch_with(threads), product, "fbgemm")


@engine("onednn")
def _(product: Product, threads: int) -> Run:
    """torch's quantized linear layers, dynamic and static, and torch._int_mm."""
    if product.group is not None or product.compute not in ("integer", "static", "dynamic"):
        raise NotOfferedError
    torch = torch_with(threads)
    if product.compute == "dynamic":
        return dynamic_linear(torch, product, "onednn")
    if product.compute == "integer":
        a, b = (torch.from_numpy(array) for array in products.integers(product))
        out = torch.from_numpy(products.empty(product, np.int32))
        bt = b.t()  # as x @ weight.T; a copy in the order (K, N) is not faster
        return lambda: torch._int_mm(a, bt, out=out).numpy()
    q, x = products.weights(product), products.codes(product)
    w = torch.ops.onednn.qlinear_prepack(torch.from_numpy(q.codes), [product.m, product.k])
    scale, zeros = torch.from_numpy(row_scale(q)[:, 0].copy()), torch.zeros(product.n, dtype=torch.int8)
    unsigned = torch.from_numpy(x.codes.view(np.uint8) ^ np.uint8(128))
    linear, x_scale = torch.ops.onednn.qlinear_pointwise, float(x.scale)
    tail = (w, scale, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    return lambda: linear(unsigned, x_scale, 128, *tail).numpy()  # takes no out=


@engine("int4pack")
def _(product: Product, threads: int) -> Run:
    """torch's int4 weights; x, scales and results are bfloat16, its fast kernel (float32: 0.24 GOPS)."""
    if product.format != "int4" or product.compute not in ("dynamic", "float32") or product.matrices > 1:
        raise NotOfferedError
    torch = torch_with(threads)
    q = products.weights(product)
    codes = torch.from_numpy(q.unpack().astype(np.int32) + 8)
    w = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    scale = torch.from_numpy(np.ascontiguousarray(row_scale(q).T))
    scales = torch.stack([scale, torch.zeros_like(scale)], -1).bfloat16().contiguous()
    x = torch.from_numpy(products.activations(product)).bfloat16()
    linear = torch.ops.aten._weight_int4pack_mm_for_cpu
    bfloat16 = ml_dtypes.bfloat16
    return lambda: linear(x, w, product.group, scales).view(torch.uint16).numpy().view(bfloat16)  # takes no out=


# ---- onnxruntime ----------------------------------------------------------------------------------------------------


def session_run(
    threads: int, nodes: list[Any], x: np.ndarray, outs: list[np.ndarray], constants: dict[str, np.ndarray]
) -> Run:
    """A model from x to y0, y1 …, which are written to outs."""
    import onnxruntime
    from onnx import helper, numpy_helper

    def info(name: str, array: np.ndarray) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    results = [info(f"y{i}", out) for i, out in enumerate(outs)]
    graph = helper.make_graph(nodes, "product", [info("x", x)], results, initializers)
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for i, out in enumerate(outs):
        binding.bind_output(f"y{i}", "cpu", 0, out.dtype, out.shape, out.ctypes.data)

    def run() -> Any:
        session.run_with_iobinding(binding)
        return outs[-1]

    run.keep = x  # type: ignore[attr-defined]
    return run


@engine("onnxruntime")
def _(product: Product, threads: int) -> Run:
    """Groups: MatMulNBits, all matrices in one model. Else MatMulInteger (to float), DynamicQuantizeMatMul."""
    from onnx import helper

    def node(name: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(name, inputs, [output], domain="com.microsoft", **attributes)

    outs = [products.empty(product) for _ in range(product.matrices)]
    if product.compute == "integer":
        a, b = products.integers(product)
        x = a.view(np.uint8) ^ np.uint8(128)  # ten times as fast as int8, and as exact
        nodes = [helper.make_node("MatMulInteger", ["x", "w", "z"], ["y0"])]
        constants = {"w": np.ascontiguousarray(b.T), "z": np.array(128, np.uint8)}
        return session_run(threads, nodes, x, [products.empty(product, np.int32)], constants)
    q = products.weights(product)
    if product.group is None:
        if product.compute not in ("static", "dynamic"):
            raise NotOfferedError
        constants = {"w": np.ascontiguousarray(q.codes.T), "s": row_scale(q)[:, 0].copy()}
        constants["wz"] = np.zeros(product.n, np.int8)
        if product.compute == "dynamic":
            nodes = [node("DynamicQuantizeMatMul", ["x", "w", "s", "wz"], "y0")]
            return session_run(threads, nodes, products.activations(product), outs, constants)
        codes = products.codes(product)
        constants |= {"xs": codes.scale.reshape(()), "xz": np.array(128, np.uint8)}
        nodes = [node("MatMulIntegerToFloat", ["x", "w", "xs", "s", "xz", "wz"], "y0")]
        return session_run(threads, nodes, codes.codes.view(np.uint8) ^ np.uint8(128), outs, constants)

    if product.compute not in ("dynamic", "float32") or product.bits not in (2, 4, 8):
        raise NotOfferedError
    bits, groups = product.bits, product.k // product.group
    constants, nodes = {}, []
    for i, q in enumerate(each(product)):
        offset = 1 << (bits - 1) if product.symmetric else 0
        unsigned = (q.unpack().astype(np.int16) + offset).astype(np.uint8)
        constants[f"w{i}"] = lb.pack_bits(unsigned, bits).reshape(product.n, groups, product.group * bits // 8)
        constants[f"s{i}"] = row_scale(q).reshape(-1)
        inputs = ["x", f"w{i}", f"s{i}"]
        zeros = q.zero_points()
        if zeros is not None and not product.symmetric:
            constants[f"z{i}"] = lb.pack_bits(zeros.astype(np.uint8).reshape(product.n, groups), bits)
            inputs.append(f"z{i}")
        attributes = {"K": product.k, "N": product.n, "bits": bits, "block_size": product.group}
        level = 0 if product.compute == "float32" else 4
        nodes.append(node("MatMulNBits", inputs, f"y{i}", accuracy_level=level, **attributes))
    return session_run(threads, nodes, products.activations(product), outs, constants)


# ---- openvino -------------------------------------------------------------------------------------------------------


@engine("openvino")
def _(product: Product, threads: int) -> Run:
    """Compressed weights, x quantized on the fly in groups of the same size; all matrices in one model."""
    if product.compute != "dynamic" or product.bits not in (4, 8):
        raise NotOfferedError
    import openvino
    from openvino import opset13 as op

    groups = 1 if product.group is None else product.k // product.group
    x = op.parameter([product.m, product.k], np.float32)
    results = []
    for q in each(product):
        shape = openvino.Shape([product.n, groups, product.k // groups])
        kind = ("i" if product.symmetric else "u") + str(product.bits)
        codes = openvino.Tensor(
            q.codes.view(np.uint8 if product.bits < 8 else q.codes.dtype).reshape(-1),
            shape,
            getattr(openvino.Type, kind),
        )
        w = op.convert(openvino.op.Constant(codes), "f16")
        zeros = q.zero_points()
        if zeros is not None and not product.symmetric:
            w = op.subtract(w, op.constant(zeros.astype(np.float16).reshape(product.n, groups, 1)))
        w = op.multiply(w, op.constant(row_scale(q).astype(np.float16).reshape(product.n, groups, 1)))
        w = op.convert(op.reshape(w, op.constant(np.array([product.n, product.k])), False), "f32")
        results.append(op.matmul(x, w, False, True))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": product.k if product.group is None else product.group,
    }
    request = openvino.Core().compile_model(openvino.Model(results, [x]), "CPU", settings).create_infer_request()
    given, outs = products.activations(product), [products.empty(product) for _ in results]
    request.set_input_tensor(openvino.Tensor(given, shared_memory=True))
    for i, out in enumerate(outs):
        request.set_output_tensor(i, openvino.Tensor(out, shared_memory=True))

    def run() -> Any:
        request.infer()
        return outs[-1]

    run.keep = given  # type: ignore[attr-defined]
    return run


# ---- bitsandbytes ---------------------------------------------------------------------------------------------------


@engine("bitsandbytes")
def _(product: Product, threads: int) -> Run:
    """nf4 in groups of 64, of the same float weights."""
    if product.format != "int4" or product.m > 8 or product.matrices > 1 or product.compute == "int8x2":
        raise NotOfferedError
    torch = torch_with(threads)
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(product.k, product.n, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    weight = torch.from_numpy(lb.dequantize(products.weights(product)))
    layer.weight = bitsandbytes.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    layer = layer.to("cpu").eval()
    x = torch.from_numpy(products.activations(product))
    with torch.no_grad():
        layer(x)

    def run() -> Any:
        with torch.no_grad():
            return layer(x).numpy()

    return run


# ---- processes ------------------------------------------------------------------------------------------------------

# Of lowbit's instruction sets: what limits oneDNN likewise.
ONEDNN_ISAS = {"avx2": "AVX2", "avxvnni": "AVX2_VNNI", "avx512": "AVX512_CORE", "avx512vnni": "AVX512_CORE_VNNI"}


def build(name: str, threads: int, product: Product) -> Run:
    """In the engine's own process."""
    return ENGINES[name](product, threads)


def worker_of(name: str, threads: int, isa: str | None) -> Worker:
    """Prepares products. isa: of lowbit, None: the best; oneDNN is limited to what it has too."""
    environment = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    if isa is not None:
        environment["LOWBIT_ISA"] = isa
        environment["ONEDNN_MAX_CPU_ISA"] = ONEDNN_ISAS.get(isa, "DEFAULT")
    return Worker(functools.partial(build, name, threads), environment)
