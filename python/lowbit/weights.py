"""PackedWeights: the right-hand operand of matmul."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from . import _core
from ._checks import CODE_TYPES, MAX_SIDE, Array, contiguous, typed
from ._formats import find_format
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
        group_size: elements along K that share a scale, or None.
        scale_dtype: float32 or float16; None for plain codes without a scale, which only ``matmul_int`` takes.
        nbytes: bytes of the packed form: codes, scales and zero points.
    """

    __slots__ = (
        "_data",
        "_has_zero_point",
        "_layout",
        "_tensor_params",
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

    def __init__(self, q: QuantizedArray | npt.ArrayLike) -> None:
        scale: Array | None = None
        zero_point: Array | None = None
        self._tensor_params: tuple[Array, Array | None] | None = None
        if isinstance(q, QuantizedArray):
            self._layout = Layout(q.shape, q.axis, q.group_size)
            if q.axis == 1:
                raise ValueError(
                    "q: axis=1, one scale for each k, expected axis None or 0, or a group_size: "
                    "such scales cannot leave the sum over k"
                )
            self.format = q.format
        else:
            array = typed("q", np.asarray(q), CODE_TYPES)
            self._layout = Layout(array.shape, None, None)
            self.format = find_format(array.dtype).name
        if len(self._layout.shape) != 2:
            raise ValueError(f"q: shape {self._layout.shape}, expected 2 dimensions, (N, K)")
        n, k = self._layout.shape
        if max(n, k) > MAX_SIDE:
            raise ValueError(f"q: shape {self._layout.shape}, expected at most {MAX_SIDE} rows and columns")
        if isinstance(q, QuantizedArray):
            codes, scale, zero_point = q.codes, q.scale, q.zero_points()
            if q.axis is None and q.group_size is None:
                self._tensor_params = scale, zero_point
            if scale.size != n * self._kernel_groups:  # one for the tensor, or none as K is 0
                scale = np.full((n, 1), scale if scale.size else 1, scale.dtype)
                if zero_point is not None:
                    zero_point = np.full((n, 1), zero_point if zero_point.size else 0, zero_point.dtype)
        else:
            codes = contiguous(array)
        self.shape = k, n
        self.group_size = self._layout.group_size
        self.scale_dtype = None if scale is None else scale.dtype
        self._has_zero_point = zero_point is not None
        group_size = self._layout.group_size if self._layout.groups > 1 else None
        self._data = _core.pack_weights(
            context(), find_format(self.format).id, n, k, group_size or 0, codes, scale, zero_point
        )

    @property
    def _kernel_groups(self) -> int:
        return max(self._layout.groups, 1)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed form."""
        return self._data.nbytes

    def unpack(self) -> QuantizedArray | Array:
        """What was packed, exactly: a QuantizedArray of shape (N, K), or a plain int8 or uint8 array of that shape."""
        format, layout = find_format(self.format), self._layout
        shape = (layout.rows, self._kernel_groups)
        codes = np.empty(codes_shape(format, layout), format.codes_dtype)
        scale = None if self.scale_dtype is None else np.empty(shape, self.scale_dtype)
        zero_point = np.empty(shape, format.dtype) if self._has_zero_point else None
        _core.unpack_weights(context(), self._data, codes, scale, zero_point)
        if scale is None:
            return codes
        if self._tensor_params is not None:
            scale, zero_point = self._tensor_params
        else:
            scale = scale[:, : layout.groups].reshape(layout.scale_shape)
            if zero_point is not None:
                zero_point = zero_point[:, : layout.groups].reshape(layout.scale_shape)
        return QuantizedArray(
            codes,
            scale,
            stored_zero_point(zero_point, format, layout),
            format=self.format,
            shape=layout.shape,
            axis=layout.axis,
            group_size=layout.group_size,
        )

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


def pack_weights(q: QuantizedArray | npt.ArrayLike) -> PackedWeights:
    """Pack weights once, to multiply with them often.

    Args:
        q: a QuantizedArray of shape (N, K) = (out, in) with one scale, one per row (axis=0) or groups along K; or a
            plain int8 or uint8 array of that shape, without scales, for ``matmul_int``.

    Returns:
        PackedWeights of shape (K, N).

    Raises:
        TypeError: a plain array that is not int8 or uint8.
        ValueError: not 2-d, one scale for each k (axis=1), or more than 2^31 - 1 rows or columns.
    """
    return PackedWeights(q)
