"""PackedWeights: the right-hand operand of matmul."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import CODE_TYPES, MAX_SIDE, Array, contiguous, typed
from ._formats import FORMATS, TYPES, find_format, raw
from ._layout import Layout
from ._runtime import context
from .arrays import QuantizedArray, codes_shape, stored_zero_point


class PackedWeights:
    """Weights in the order in which the kernels read them; made by ``pack_weights``.

    Immutable: safe to use from many threads, and its own copy. The packed form is the same for every instruction set.
    A pickle carries ``unpack()`` and packs again when it is loaded.

    Attributes:
        shape: (K, N), as the right-hand operand of ``x @ w``.
        format: name of the format of the codes.
        group_size: elements along K that share a scale, or None; of blocks: their columns.
        scale_dtype: dtype of the packed scales, float32 for quantized ones; None for plain codes without a scale, which
            only ``matmul_int`` takes.
        nbytes: bytes of the packed form: codes, scales and zero points.
    """

    __slots__ = (
        "_data",
        "_format",
        "_global_scale",
        "_layout",
        "_params",
        "_zero_dtype",
        "format",
        "group_size",
        "scale_dtype",
        "shape",
    )
    __array_ufunc__: Final = None  # numpy's x @ w then gives way to __rmatmul__

    shape: tuple[int, int]
    format: str
    group_size: int | None
    scale_dtype: np.dtype[Any] | None
    # scale and zero point as they were given, where what is packed is not they, value for value
    _params: tuple[Array | QuantizedArray, Array | None] | None

    def __init__(self, q: QuantizedArray | npt.ArrayLike, *, transpose: bool = False) -> None:
        scale: Array | None = None
        zero_point: Array | None = None
        self._params = None
        self._global_scale: np.float32 | None = None
        if isinstance(q, QuantizedArray):
            self._format, self._global_scale = q._format, q.global_scale
            self._layout = transposed(q._layout) if transpose else q._layout
            if q.axis == 1 and not transpose:
                raise ValueError(
                    "q: axis=1, one scale for each k, expected axis None or 0, a group_size or a block_shape: "
                    "such scales cannot leave the sum over k"
                )
        else:
            array = typed("q", np.asarray(q), CODE_TYPES)
            self._format = find_format(array.dtype)
            self._layout = Layout(array.shape[::-1] if transpose else array.shape, None, None)
        if len(self._layout.shape) != 2:
            shape, expected = (self._layout.shape[::-1], "(K, N)") if transpose else (self._layout.shape, "(N, K)")
            raise ValueError(f"q: shape {shape}, expected 2 dimensions, {expected}")
        n, k = self._layout.shape
        if max(n, k) > MAX_SIDE:
            raise ValueError(f"q: shape {self._layout.shape}, expected at most {MAX_SIDE} rows and columns")
        if isinstance(q, QuantizedArray):
            codes, given, given_zero = q.codes, q.decoded_scale(), q.zero_points()
            params = q.scale, q.zero_point
            if transpose and q.block_shape is not None:
                given = contiguous(given.T)
                given_zero = None if given_zero is None else contiguous(given_zero.T)
                params = given, given_zero
            scale, zero_point = per_row(given, self._layout, 1), None
            if given_zero is not None:
                zero_point = per_row(given_zero, self._layout, 0)
            if isinstance(q.scale, QuantizedArray) or scale.size != given.size:
                self._params = params
        else:
            codes = contiguous(array)
        self.shape = k, n
        self.format = self._format.name
        blocks = self._layout.block_shape
        self.group_size = self._layout.group_size if blocks is None else blocks[1]
        self.scale_dtype = None if scale is None else scale.dtype
        self._zero_dtype = None if zero_point is None else zero_point.dtype
        self._data = _core.pack_weights(
            context(),
            self._format.id,
            n,
            k,
            (self.group_size or 0) if self._layout.groups > 1 else 0,
            raw(codes),
            0 if scale is None else TYPES[scale.dtype],
            0.0 if self._global_scale is None else float(self._global_scale),
            None if scale is None else raw(scale),
            zero_point,
            transpose,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form."""
        return self._data.nbytes

    def tobytes(self) -> bytes:
        """The packed form, to be kept in a file: it says itself what it is, in which layout and version."""
        return self._data.tobytes()

    @classmethod
    def frombytes(cls, data: bytes | bytearray | memoryview | Array) -> PackedWeights:
        """Weights from what ``tobytes``, or C's ``lowbit_pack_weights``, made: a copy; nothing is packed again.

        Scales come back as they were packed: one for each row or group, quantized ones as float32.

        Args:
            data: bytes, or anything contiguous with the buffer protocol; what follows the weights is not looked at.

        Raises:
            TypeError: data has no buffer.
            ValueError: it does not begin with packed weights of this layout and version, or is too short for them.
        """
        w = cls.__new__(cls)
        w._data, id, n, k, group, scale_type, global_scale, zero_type = _core.load_packed(np.frombuffer(data, np.uint8))
        w._format = next(format for format in FORMATS.values() if format.id == id)
        dtypes = {number: dtype for dtype, number in TYPES.items()}
        w.scale_dtype = dtypes.get(scale_type)
        w._zero_dtype = None if zero_type == 0 else dtypes.get(zero_type, w._format.dtype)
        w._global_scale = np.float32(global_scale) if global_scale else None
        w.group_size = group or w._format.group_size
        per_row = 0 if w.group_size is None and w.scale_dtype is not None else None
        w._layout = Layout((n, k), per_row, w.group_size)
        w._params = None
        w.shape, w.format = (k, n), w._format.name
        return w

    def unpack(self) -> QuantizedArray | Array:
        """What was packed, exactly: a QuantizedArray of shape (N, K), or a plain int8 or uint8 array of that shape."""
        format, layout = self._format, self._layout
        shape = (layout.rows, max(layout.groups, 1))
        codes = np.empty(codes_shape(format, layout), format.codes_dtype)
        scale = None if self.scale_dtype is None else np.empty(shape, self.scale_dtype)
        zero_point = None if self._zero_dtype is None else np.empty(shape, self._zero_dtype)
        _core.unpack_weights(context(), self._data, raw(codes), None if scale is None else raw(scale), zero_point)
        if scale is None:
            return codes
        if self._params is not None:
            return QuantizedArray._trusted(codes, *self._params, self._global_scale, format, layout)
        scale = scale[:, : layout.groups].reshape(layout.scale_shape)
        if zero_point is not None:
            zero_point = stored_zero_point(zero_point[:, : layout.groups].reshape(layout.scale_shape), format, layout)
        return QuantizedArray._trusted(codes, scale, zero_point, self._global_scale, format, layout)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("PackedWeights are not converted silently; call unpack(), then dequantize()")

    def __rmatmul__(self, other: Any) -> Array:
        """``x @ w``: ``matmul(x, w)``."""
        from ._matmul import matmul  # imports this module

        return matmul(other, self)

    def __matmul__(self, other: Any) -> NoReturn:
        raise TypeError("w @ x: PackedWeights are the right-hand operand, expected x @ w")

    def __copy__(self) -> PackedWeights:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedWeights:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return pack_weights, (self.unpack(),)

    def __repr__(self) -> str:
        group = f", group_size={self.group_size}" if self.group_size is not None else ""
        return f"PackedWeights({self.format}, shape={self.shape}{group}, {self.nbytes} bytes)"


def per_row(values: Array, layout: Layout, empty: int) -> Array:
    """Scales or zero points of a matrix as one for each row and group; `empty` where rows have no elements."""
    rows, groups = layout.rows, layout.groups
    if layout.block_shape is not None:
        values = np.repeat(values, layout.block_shape[0], axis=0)[:rows]
    if groups == 0 or values.size != rows * groups:  # one for the tensor
        return np.full((rows, 1), values if values.size else empty, values.dtype)
    return contiguous(values)


def transposed(layout: Layout) -> Layout:
    """The layout of the transposed matrix, where there is one whose scales can leave the sum over k."""
    if layout.axis == 0:
        raise ValueError(
            "q: axis=0 with transpose=True, one scale for each k, expected axis None or 1, or a block_shape: "
            "such scales cannot leave the sum over k"
        )
    if layout.group_size is not None:
        raise ValueError(
            f"q: group_size={layout.group_size} with transpose=True, groups along N, expected axis None or 1, or a "
            "block_shape: groups run along the last axis, so quantize the transposed array, (N, K), instead"
        )
    blocks = layout.block_shape
    axis = None if layout.axis is None else 0
    return Layout(layout.shape[::-1], axis, None, None if blocks is None else (blocks[1], blocks[0]))


def pack_weights(q: QuantizedArray | npt.ArrayLike, *, transpose: bool = False) -> PackedWeights:
    """Pack weights once, to multiply with them often.

    Args:
        q: a QuantizedArray of any format, of shape (N, K) = (out, in), with one scale, one per row (axis=0), groups
            along K or blocks; or a plain int8 or uint8 array of that shape, without scales, for ``matmul_int``. Blocks
            get a scale for each row and group; quantized scales are packed as float32.
        transpose: True: q is of shape (K, N) = (in, out), with one scale, one per column (axis=1) or blocks; the result
            is that of packing the transposed array, which is not made.

    Returns:
        PackedWeights of shape (K, N).

    Raises:
        TypeError: a plain array that is not int8 or uint8.
        ValueError: not 2-d, one scale for each k (axis=1; with transpose axis=0 or groups), or more than 2^31 - 1 rows
            or columns.
    """
    if not isinstance(transpose, bool | np.bool_):
        raise TypeError(f"transpose: {type(transpose).__name__}, expected True or False")
    return PackedWeights(q, transpose=bool(transpose))
