"""The engines that bench/memory.py compares lowbit with, each in a process of its own (bench/worker.py)."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from worker import Run, Worker


@dataclass(frozen=True)
class Data:
    """What is measured on: normally distributed floats, or random codes."""

    rows: int
    columns: int
    threads: int

    @cached_property
    def x(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.rows, self.columns), np.float32)

    @cached_property
    def codes(self) -> np.ndarray:
        """As many bytes as x."""
        return np.random.default_rng(1).integers(0, 256, (self.rows, 4 * self.columns), np.uint8)

    @cached_property
    def int8(self) -> np.ndarray:
        return np.rint(self.x * np.float32(31)).clip(-128, 127).astype(np.int8)

    scale = 1 / 31  # of int8

    def part(self, one_in: int) -> np.ndarray:
        """The first rows of x."""
        return self.x[: max(1, self.rows // one_in)]

    def empty(self, dtype: Any) -> np.ndarray:
        """Of the shape of x, its pages touched."""
        return np.ones((self.rows, self.columns), np.uint8).astype(dtype)


PEERS: dict[tuple[str, str], Callable[[Data], Run]] = {}
PACKAGES = {
    "numpy": "numpy",
    "ml_dtypes": "ml_dtypes",
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "bitsandbytes": "bitsandbytes",
    "gguf": "gguf",
    "faiss": "faiss-cpu",
}


def peer(engine: str, *cases: str) -> Callable[[Any], Any]:
    """Registers how an engine does some cases: given the data (and the case, if several), a function to be timed."""

    def register(build: Any) -> Any:
        for case in cases:
            PEERS[engine, case] = (lambda data, case=case: build(data, case)) if len(cases) > 1 else build
        return build

    return register


# ---- numpy ----------------------------------------------------------------------------------------------------------


@peer("numpy", "quantize int8 tensor")
def _(data: Data) -> Run:
    out, scale = data.empty(np.int8), np.float32(data.scale)
    return lambda: np.copyto(out, np.clip(np.rint(data.x / scale), -128, 127), casting="unsafe")


@peer("numpy", "dequantize int8 tensor")
def _(data: Data) -> Run:
    codes, out, scale = data.int8, data.empty(np.float32), np.float32(data.scale)
    return lambda: np.multiply(codes, scale, out=out)


@peer("numpy", "cast float16")
def _(data: Data) -> Run:
    out = data.empty(np.float16)
    return lambda: np.copyto(out, data.x, casting="same_kind")


@peer("numpy", "cast back float16")
def _(data: Data) -> Run:
    half, out = data.x.astype(np.float16), data.empty(np.float32)
    return lambda: np.copyto(out, half)


@peer("numpy", "pack 1 bits")
def _(data: Data) -> Run:
    codes = data.codes & 1
    return lambda: np.packbits(codes, axis=-1, bitorder="little")


@peer("numpy", "unpack 1 bits")
def _(data: Data) -> Run:
    packed = np.packbits(data.codes & 1, axis=-1, bitorder="little")
    return lambda: np.unpackbits(packed, axis=-1, bitorder="little")


@peer("numpy", "pack 4 bits")
def _(data: Data) -> Run:
    codes, out = data.codes & 15, np.ones((data.rows, 2 * data.columns), np.uint8)

    def run() -> None:
        np.left_shift(codes[:, 1::2], 4, out=out)
        np.bitwise_or(out, codes[:, ::2], out=out)

    return run


@peer("numpy", "unpack 4 bits")
def _(data: Data) -> Run:
    packed, out = data.codes[:, : 2 * data.columns].copy(), data.codes.copy()

    def run() -> None:
        np.bitwise_and(packed, 15, out=out[:, ::2])
        np.right_shift(packed, 4, out=out[:, 1::2])

    return run


@peer("numpy", "mse int4 groups of 32")
def _(data: Data) -> Run:
    """The scale with the smallest squared error of 64, all groups of a slice at once."""
    x = data.part(16).reshape(-1, 32)
    shrink = np.linspace(0.4, 1.0, 64, dtype=np.float32)

    def run() -> None:
        for part in np.array_split(x, max(1, x.size >> 16)):  # what stays in the second-level cache
            widest = np.abs(part).max(axis=1, keepdims=True) / np.float32(7.5)
            best, error = widest.copy(), np.full(widest.shape, np.inf, np.float32)
            for factor in shrink:
                scale = widest * factor
                difference = np.clip(np.rint(part / scale), -8, 7) * scale - part
                e = np.einsum("ij,ij->i", difference, difference)[:, None]
                better = e < error
                error[better], best[better] = e[better], scale[better]
            np.clip(np.rint(part / best), -8, 7).astype(np.int8)

    return run


# ---- ml_dtypes ------------------------------------------------------------------------------------------------------

SMALL = {name: getattr(ml_dtypes, name) for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}


@peer("ml_dtypes", *(f"cast {name}" for name in SMALL))
def _(data: Data, case: str) -> Run:
    out = data.empty(SMALL[case.split()[-1]])
    return lambda: np.copyto(out, data.x, casting="unsafe")


@peer("ml_dtypes", *(f"cast back {name}" for name in SMALL))
def _(data: Data, case: str) -> Run:
    small, out = data.x.astype(SMALL[case.split()[-1]]), data.empty(np.float32)
    return lambda: np.copyto(out, small)


# ---- torch ----------------------------------------------------------------------------------------------------------


def torch_on(data: Data) -> Any:
    import torch

    torch.set_num_threads(data.threads)
    warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")  # deprecated in 2.13
    return torch


CASTS = ("float16", *SMALL)


@peer("torch", *(f"cast {name}" for name in CASTS))
def _(data: Data, case: str) -> Run:
    torch = torch_on(data)
    x = torch.from_numpy(data.x)
    out = torch.ones_like(x).to(getattr(torch, case.split()[-1]))
    return lambda: out.copy_(x)


@peer("torch", *(f"cast back {name}" for name in CASTS))
def _(data: Data, case: str) -> Run:
    torch = torch_on(data)
    small = torch.from_numpy(data.x).to(getattr(torch, case.split()[-1]))
    out = torch.from_numpy(data.empty(np.float32))
    return lambda: out.copy_(small)


@peer("torch", "quantize int8 tensor", "dequantize int8 tensor", "quantize int8 rows", "dequantize int8 rows")
def _(data: Data, case: str) -> Run:
    torch = torch_on(data)
    x = torch.from_numpy(data.x)
    if case.endswith("tensor"):
        quantize = lambda: torch.quantize_per_tensor(x, data.scale, 0, torch.qint8)  # noqa: E731
    else:
        scales, zeros = torch.full((data.rows,), data.scale), torch.zeros(data.rows, dtype=torch.long)
        quantize = lambda: torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8)  # noqa: E731
    if case.startswith("quantize"):
        return quantize
    q = quantize()
    return q.dequantize


# ---- onnxruntime ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """Memory of an ONNX type: "INT4" is two to a byte."""

    type: str
    memory: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.memory.shape
        return rows, columns * (2 if self.type == "INT4" else 1)


def onnx_run(data: Data, operator: str, x: Tensor, y: Tensor, constants: dict[str, Any], **attributes: Any) -> Run:
    """One operator from x and constants to y."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    types = [getattr(TensorProto, tensor.type) for tensor in (x, y)]
    node = helper.make_node(operator, ["x", *constants], ["y"], **attributes)
    ends = [helper.make_tensor_value_info(n, t, x.shape) for n, t in zip("xy", types, strict=True)]
    graph = helper.make_graph(
        [node], "graph", ends[:1], ends[1:], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = data.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, types[0], x.shape, x.memory.ctypes.data)
    binding.bind_output("y", "cpu", 0, types[1], y.shape, y.memory.ctypes.data)
    return lambda keep=(x, y): session.run_with_iobinding(binding)  # type: ignore[misc]


LAYOUTS = ["int8 tensor", "int8 rows", "int8 columns", "int8 groups of 32", "int4 groups of 32"]


@peer("onnxruntime", *(f"{verb} {layout}" for verb in ("quantize", "dequantize") for layout in LAYOUTS))
def _(data: Data, case: str) -> Run:
    verb, bits, layout = case.split(" ", 2)
    shape, attributes = {
        "tensor": ((), {}),
        "rows": ((data.rows,), {"axis": 0}),
        "columns": ((data.columns,), {"axis": 1}),
        "groups of 32": ((data.rows, data.columns // 32), {"axis": 1, "block_size": 32}),
    }[layout]
    scale = np.full(shape, data.scale, np.float32)
    codes = Tensor("INT8", data.int8) if bits == "int8" else Tensor("INT4", data.codes[:, : data.columns // 2].copy())
    if verb == "dequantize":
        return onnx_run(
            data, "DequantizeLinear", codes, Tensor("FLOAT", data.empty(np.float32)), {"s": scale}, **attributes
        )
    zero = np.zeros(shape, np.int8 if bits == "int8" else ml_dtypes.int4)  # says which type is wanted
    return onnx_run(data, "QuantizeLinear", Tensor("FLOAT", data.x), codes, {"s": scale, "z": zero}, **attributes)


ONNX_NAMES = {
    "float16": "FLOAT16",
    "bfloat16": "BFLOAT16",
    "float8_e4m3fn": "FLOAT8E4M3FN",
    "float8_e5m2": "FLOAT8E5M2",
}


@peer("onnxruntime", *(f"{verb} {name}" for verb in ("cast", "cast back") for name in CASTS))
def _(data: Data, case: str) -> Run:
    from onnx import TensorProto

    name = case.split()[-1]
    small = Tensor(ONNX_NAMES[name], data.x.astype(SMALL.get(name, np.float16)))
    x, y = Tensor("FLOAT", data.x), small
    if case.startswith("cast back"):
        x, y = small, Tensor("FLOAT", data.empty(np.float32))
    return onnx_run(data, "Cast", x, y, {}, to=int(TensorProto.DataType.Value(y.type)))


# ---- bitsandbytes ---------------------------------------------------------------------------------------------------


@peer("bitsandbytes", "encode nf4", "encode fp4", "decode nf4", "decode fp4")
def _(data: Data, case: str) -> Run:
    torch = torch_on(data)
    from bitsandbytes import functional

    x = torch.from_numpy(data.x)
    kind = case.split()[-1]
    if case.startswith("encode"):
        return lambda: functional.quantize_4bit(x, blocksize=64, quant_type=kind)
    codes, state = functional.quantize_4bit(x, blocksize=64, quant_type=kind)
    return lambda: functional.dequantize_4bit(codes, state)  # out= is not there on the CPU


# ---- gguf -----------------------------------------------------------------------------------------------------------

BLOCKS = {"int4 groups of 32": "Q4_0", "int8 groups of 32": "Q8_0", "mxfp4": "MXFP4", "nvfp4": "NVFP4"}


@peer("gguf", "find int4 groups of 32", "find int8 groups of 32", "encode mxfp4")
def _(data: Data, case: str) -> Run:
    import gguf

    kind = gguf.GGMLQuantizationType[BLOCKS[case.split(" ", 1)[1]]]
    return lambda: gguf.quants.quantize(data.x, kind)


@peer("gguf", "dequantize int4 groups of 32", "dequantize int8 groups of 32", "decode mxfp4")
def _(data: Data, case: str) -> Run:
    import gguf

    kind = gguf.GGMLQuantizationType[BLOCKS[case.split(" ", 1)[1]]]
    blocks = gguf.quants.quantize(data.x, kind)
    return lambda: gguf.quants.dequantize(blocks, kind)


# ---- faiss ----------------------------------------------------------------------------------------------------------


@peer("faiss", "quantize int8 columns", "dequantize int8 columns")
def _(data: Data, case: str) -> Run:
    """SQ8: 8-bit codes with a range for each column."""
    import faiss

    faiss.omp_set_num_threads(data.threads)
    index = faiss.IndexScalarQuantizer(data.columns, faiss.ScalarQuantizer.QT_8bit)
    index.train(data.x[:1024])
    codes = np.ones((data.rows, index.sa_code_size()), np.uint8)
    if case.startswith("quantize"):
        return lambda: index.sa_encode(data.x, codes)
    index.sa_encode(data.x, codes)
    out = data.empty(np.float32)
    return lambda: index.sa_decode(codes, out)


# ---- processes ------------------------------------------------------------------------------------------------------


def build(engine: str, data: Data, case: str) -> Run:
    """In the engine's own process."""
    importlib.import_module(engine)
    return PEERS[engine, case](data)


def worker_of(engine: str, data: Data) -> Worker:
    """Prepares cases by name."""
    return Worker(functools.partial(build, engine, data), {"OMP_NUM_THREADS": str(data.threads)})


def version(engine: str) -> str | None:
    """Of the installed package, or None."""
    try:
        return importlib.metadata.version(PACKAGES[engine])
    except importlib.metadata.PackageNotFoundError:
        return None
