"""docs/numerics.md as numpy code: the oracle that every kernel is tested against, bit for bit.

Written to be read, not to be fast. Arrays go in and come out plain and unpacked: codes are one int8 or uint8 each,
scales float32 or float16, results float32 or int32. numpy is all it needs.
"""

from .bits import pack_bits, unpack_bits
from .calibrate import absmean, entropy, histogram, hqq_params, log
from .fake_quant import fake_quantize, fake_quantize_gradient
from .floats import activation, exp, fma
from .formats import code_range, decode, encode, encode_power, encode_stochastic, numbers
from .grouped import matmul_grouped
from .matmul import (
    INT8_STEPS,
    int8_numbers,
    matmul_dynamic,
    matmul_float32,
    matmul_int,
    matmul_int8,
    matmul_int8x2,
    quantize_activations,
    quantize_activations_twice,
)
from .params import choose_params, value_range
from .quantize import dequantize, quantize
from .search import search_params

__all__ = [
    "INT8_STEPS",
    "absmean",
    "activation",
    "choose_params",
    "code_range",
    "decode",
    "dequantize",
    "encode",
    "encode_power",
    "encode_stochastic",
    "entropy",
    "exp",
    "fake_quantize",
    "fake_quantize_gradient",
    "fma",
    "histogram",
    "hqq_params",
    "int8_numbers",
    "log",
    "matmul_dynamic",
    "matmul_float32",
    "matmul_grouped",
    "matmul_int",
    "matmul_int8",
    "matmul_int8x2",
    "numbers",
    "pack_bits",
    "quantize",
    "quantize_activations",
    "quantize_activations_twice",
    "search_params",
    "unpack_bits",
    "value_range",
]
