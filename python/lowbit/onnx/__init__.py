"""ONNX operators on numpy arrays, computed by lowbit's kernels; the package onnx is not needed.

Names, arguments and results are those of the ONNX specification (opset 25 and 28), and of ONNX Runtime for MatMulNBits.
Element types are numpy and ml_dtypes dtypes, not numbers of TensorProto.
"""

from ._cast import cast, cast_like
from ._conv import conv_integer, qlinear_conv
from ._matmul import matmul_integer, qlinear_matmul
from ._nbits import matmul_nbits, nbits_weights
from ._quantize import dequantize_linear, dynamic_quantize_linear, quantize_linear

__all__ = [
    "cast",
    "cast_like",
    "conv_integer",
    "dequantize_linear",
    "dynamic_quantize_linear",
    "matmul_integer",
    "matmul_nbits",
    "nbits_weights",
    "qlinear_conv",
    "qlinear_matmul",
    "quantize_linear",
]
