"""The same encoder in onnxruntime, float32: an independent check of the numbers and a second yardstick for speed.

The package has no ONNX file, so the graph is written here. A run takes sentences of one length: no padding, no mask.
Needs `onnx` and `onnxruntime`, which the extra `examples` does not ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from minilm_encoder import HEADS, LAYERS, NORM_EPS, WIDTH, Floats, Model
from onnx import TensorProto, helper, numpy_helper

OPSET = 20  # the first with Gelu


class Graph:
    """Nodes and constants under construction."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def linear(self, x: str, layer: str) -> str:
        weight = self.constant(f"{layer}.weight", self.model.weight(layer).T)
        bias = self.constant(f"{layer}.bias", self.model.bias(layer))
        return self.add("Add", self.add("MatMul", x, weight), bias)

    def heads(self, x: str, layer: str, shape: str, perm: list[int]) -> str:
        return self.add("Transpose", self.add("Reshape", self.linear(x, layer), shape), perm=perm)

    def norm(self, x: str, name: str) -> str:
        parameters = (self.constant(f"{name}.{p}", self.model.tensors[f"{name}.{p}"]) for p in ("weight", "bias"))
        return self.add("LayerNormalization", x, *parameters, epsilon=NORM_EPS)


def build(model: Model) -> bytes:
    """The encoder as an ONNX model: embeddings (n, length, 384) -> unit vectors (n, 384)."""
    graph = Graph(model)
    split = graph.constant("split", np.array([0, 0, HEADS, WIDTH // HEADS]))
    merge = graph.constant("merge", np.array([0, 0, WIDTH]))
    scale = graph.constant("scale", np.array(1 / math.sqrt(WIDTH // HEADS), np.float32))
    axis = graph.constant("axis", np.array([1]))

    x = graph.norm("x", "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        q = graph.heads(x, f"{layer}.attention.self.query", split, [0, 2, 1, 3])
        k = graph.heads(x, f"{layer}.attention.self.key", split, [0, 2, 3, 1])
        v = graph.heads(x, f"{layer}.attention.self.value", split, [0, 2, 1, 3])
        weights = graph.add("Softmax", graph.add("Mul", graph.add("MatMul", q, k), scale), axis=-1)
        mixed = graph.add("MatMul", weights, v)
        mixed = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), merge)
        attended = graph.add("Add", graph.linear(mixed, f"{layer}.attention.output.dense"), x)
        x = graph.norm(attended, f"{layer}.attention.output.LayerNorm")
        h = graph.linear(graph.add("Gelu", graph.linear(x, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
        x = graph.norm(graph.add("Add", h, x), f"{layer}.output.LayerNorm")
    pooled = graph.add("ReduceMean", x, axis, keepdims=0)
    unit = graph.add("Div", pooled, graph.add("ReduceL2", pooled, axis, keepdims=1))

    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "length", WIDTH])]
    outputs = [helper.make_tensor_value_info(unit, TensorProto.FLOAT, ["n", WIDTH])]
    body = helper.make_graph(graph.nodes, "minilm", inputs, outputs, list(graph.constants.values()))
    opset = [helper.make_opsetid("", OPSET)]
    serialized: bytes = helper.make_model(body, opset_imports=opset, ir_version=9).SerializeToString()
    return serialized


def encoder(model: Model, threads: int) -> Callable[[Sequence[Sequence[int]]], Floats]:
    """A function that embeds sentences of any lengths, given as token ids."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(build(model), options, providers=["CPUExecutionProvider"])

    def encode(tokens: Sequence[Sequence[int]]) -> Floats:
        out = np.empty((len(tokens), WIDTH), np.float32)
        for length in set(map(len, tokens)):
            rows = [i for i, t in enumerate(tokens) if len(t) == length]
            x = model.embed([tokens[i] for i in rows]).reshape(len(rows), length, WIDTH)
            out[rows] = session.run(None, {"x": x})[0]
        return out

    return encode
