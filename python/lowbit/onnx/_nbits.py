"""MatMulNBits of ONNX Runtime: a matrix product with weights of 2, 4 or 8 bits in blocks along K."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._checks import FLOAT_TYPES, Array, contiguous, floats, integer, names, to_float32, typed
from .._formats import find_format
from .._matmul import matmul
from ..arrays import QuantizedArray
from ..weights import pack_weights

BITS = (2, 4, 8)
COMPUTE = {0: "float32", 1: "float32", 2: "float32", 3: "float32", 4: "int8"}


def matmul_nbits(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    scales: npt.ArrayLike,
    zero_points: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
    accuracy_level: int = 0,
) -> Array:
    """ONNX Runtime's MatMulNBits: ``a @ W.T + bias``, W of shape (N, K) as nbits_weights reads it.

    Packs the weights at each call; to use them more than once, ``w = pack_weights(nbits_weights(...))`` and
    ``lowbit.matmul(a, w, bias=bias, compute=...)``.

    Args:
        a: float32, float16 or ml_dtypes.bfloat16, shape (..., K).
        b: as in nbits_weights.
        scales: likewise.
        zero_points: likewise.
        bias: shape (N,), of one of the types of a, or None.
        K: as in nbits_weights.
        N: likewise.
        bits: likewise.
        block_size: likewise.
        accuracy_level: 4: a is quantized to int8 in the same blocks (compute="int8"); 0 to 3, which allow float32,
            float32, float16 and bfloat16: all computed in float32.

    Returns:
        shape (..., N), of the type of a.

    Raises:
        TypeError: a type that is none of these.
        ValueError: a shape or value that does not fit.

    Source: ONNX Runtime's contrib operators, MatMulNBits-1.
    """
    x = floats("a", a)
    compute = COMPUTE[integer("accuracy_level", accuracy_level, 0, 4)]
    q = nbits_weights(b, scales, zero_points, K=K, N=N, bits=bits, block_size=block_size)
    return matmul(x, pack_weights(q), bias=bias, compute=compute)


def nbits_weights(
    b: npt.ArrayLike,
    scales: npt.ArrayLike,
    zero_points: npt.ArrayLike | None = None,
    *,
    K: int,
    N: int,
    bits: int = 4,
    block_size: int,
) -> QuantizedArray:
    """The weights of MatMulNBits as a QuantizedArray of shape (N, K): ``(code - zero_point) * scale``.

    The codes are bit streams already; only the padding of the last block is cut off.

    Args:
        b: uint8, shape (N, ceil(K / block_size), block_size * bits / 8); codes along K, the first in the low bits.
        scales: float32, float16 or ml_dtypes.bfloat16, shape (N, ceil(K / block_size)), or flat.
        zero_points: uint8, shape (N, ceil(ceil(K / block_size) * bits / 8)), packed like codes; or of the type and
            shape of scales; or flat. None: 2^(bits-1).
        K: columns of W.
        N: rows of W.
        bits: 2, 4 or 8.
        block_size: a power of two, at least 16.

    Raises:
        TypeError: a type that is none of these.
        ValueError: a shape or value that does not fit.

    Source: ONNX Runtime's contrib operators, MatMulNBits-1.
    """
    k, n = integer("K", K, 1, 2**31 - 1), integer("N", N, 1, 2**31 - 1)
    if integer("bits", bits, 2, 8) not in BITS:
        raise ValueError(f"bits: {bits}, expected {names(BITS)}")
    if integer("block_size", block_size, 16, 2**31 - 1) & (block_size - 1):
        raise ValueError(f"block_size: {block_size}, expected a power of two")
    blocks = -(-k // block_size)
    codes = _shaped("b", b, [np.dtype(np.uint8)], (n, blocks, block_size * bits // 8))
    scale = _shaped("scales", scales, FLOAT_TYPES, (n, blocks))
    format = find_format(f"uint{bits}")
    return QuantizedArray(
        _cut(codes.reshape(n, -1), k, bits),
        scale,
        _zero_points(zero_points, scale, bits),
        format=format.name,
        shape=(n, k),
        group_size=block_size,
    )


def _shaped(
    name: str, value: npt.ArrayLike, allowed: list[np.dtype] | tuple[np.dtype, ...], shape: tuple[int, ...]
) -> Array:
    array = typed(name, np.asarray(value), allowed)
    if array.shape not in (shape, (int(np.prod(shape)),)):
        raise ValueError(f"{name}: shape {array.shape}, expected {shape}")
    return array.reshape(shape)


def _cut(stream: Array, count: int, bits: int) -> Array:
    """The first count codes of each row, the bits behind them 0."""
    cut = contiguous(stream[:, : (count * bits + 7) // 8])
    used = count * bits % 8
    if used:
        cut = cut.copy()
        cut[:, -1] &= (1 << used) - 1
    return cut


def _zero_points(zero_points: npt.ArrayLike | None, scale: Array, bits: int) -> Array:
    """As QuantizedArray stores them."""
    n, blocks = scale.shape
    packed = (n, (blocks * bits + 7) // 8)
    if zero_points is None:
        pattern = sum(1 << (bits - 1 + at) for at in range(0, 8, bits))  # 2^(bits-1) in every code of a byte
        return _cut(np.full(packed, pattern, np.uint8), blocks, bits)
    array = np.asarray(zero_points)
    if array.dtype == np.uint8:
        return _cut(_shaped("zero_points", array, [array.dtype], packed), blocks, bits)
    return to_float32(_shaped("zero_points", array, FLOAT_TYPES, (n, blocks)))
