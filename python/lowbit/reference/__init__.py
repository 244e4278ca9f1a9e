"""docs/numerics.md as numpy code: the oracle that every kernel is tested against, bit for bit.

Written to be read, not to be fast. Arrays go in and come out plain and unpacked: codes are one int8 or uint8 each,
scales float32 or float16, results float32 or int32. numpy is all it needs.
"""

from .bits import pack_bits, unpack_bits
from .calibrate import absmean, entropy, histogram, hqq_params, log
from .floats import activation, exp, fma
from .formats import code_range
from .matmul import matmul_dynamic, matmul_float32, matmul_int, matmul_int8, quantize_activations
from .params import choose_params, value_range
from .quantize import dequantize, quantize
from .search import search_params

__all__ = [
    "absmean",
    "activation",
    "choose_params",
    "code_range",
    "dequantize",
    "entropy",
    "exp",
    "fma",
    "histogram",
    "hqq_params",
    "log",
    "matmul_dynamic",
    "matmul_float32",
    "matmul_int",
    "matmul_int8",
    "pack_bits",
    "quantize",
    "quantize_activations",
    "search_params",
    "unpack_bits",
    "value_range",
]
