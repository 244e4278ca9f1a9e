"""QuantizedArray: codes with their scales and zero points."""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from . import _core
from ._bits import pack_rows, unpack_rows
from ._checks import FLOAT_TYPES, Array, contiguous, integer, names, output, store, typed
from ._formats import Format, find_format
from ._layout import Layout, make_layout
from ._runtime import context

SCALE_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


def check_scale(scale: Any, layout: Layout, *, positive: bool = False) -> Array:
    """scale as an array: dtype, shape, finite, not zero and, if asked, not negative."""
    array = np.asarray(scale, np.float32) if type(scale) in (float, int) else np.asarray(scale)
    typed("scale", array, SCALE_TYPES)
    if array.shape != layout.scale_shape:
        raise ValueError(f"scale: shape {array.shape}, expected {layout.scale_shape}")
    for bad, what in ((~np.isfinite(array), "finite"), (array == 0, "non-zero"), (positive & (array < 0), "positive")):
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(f"scale: {array[at]} at index {at}, expected every scale to be finite and {what}")
    return contiguous(array)


def zero_points_are_packed(format: Format, layout: Layout) -> bool:
    """Zero points of groups are as many as scales, so they are stored as densely as codes."""
    return layout.group_size is not None and format.bits < 8


def check_zero_point_bytes(zero_point: Array, format: Format, shape: tuple[int, ...]) -> Array:
    """Zero points of one byte each: dtype, shape and range."""
    typed("zero_point", zero_point, [format.dtype])
    if zero_point.shape != shape:
        raise ValueError(f"zero_point: shape {zero_point.shape}, expected {shape}")
    if zero_point.size and (zero_point.min() < format.qmin or zero_point.max() > format.qmax):
        raise ValueError(
            f"zero_point: {zero_point.min()} to {zero_point.max()}, "
            f"expected {format.qmin} to {format.qmax} for {format.name}"
        )
    return contiguous(zero_point)


def check_zero_point(zero_point: Any, format: Format, layout: Layout) -> Array:
    """zero_point as an array in its stored form: dtype, shape and range."""
    array = np.asarray(zero_point)
    shape = layout.scale_shape
    if not zero_points_are_packed(format, layout):
        return check_zero_point_bytes(array, format, shape)
    typed("zero_point", array, [np.dtype(np.uint8)])
    packed = (*shape[:-1], format.row_bytes(shape[-1]))
    if array.shape != packed:
        raise ValueError(
            f"zero_point: shape {array.shape}, expected {packed}: "
            f"{shape} packed to {format.bits} bits along the last axis"
        )
    return contiguous(array)


class QuantizedArray:
    """Integer codes, and the scales and zero points that give them meaning: ``x = (code - zero_point) * scale``.

    Usually made by ``lowbit.quantize``. Build one directly from codes that come from elsewhere. Arrays that are
    contiguous are kept, not copied; treat all attributes as read-only.

    Args:
        codes: as stored. 8 bits: int8 or uint8 of the array's shape. Below: uint8, packed along the last axis as
            ``pack_bits`` does, shape (..., ceil(last * bits / 8)).
        scale: float32 or float16; finite, not zero. Shape () for one scale, (shape[axis],) with axis,
            shape[:-1] + (ceil(last / group_size),) with group_size.
        zero_point: None for zero, else of the shape of scale, int8 for signed and uint8 for unsigned formats; with
            group_size below 8 bits: uint8, packed along its last axis to the bits of the format.
        format: name or dtype of a format, ``"int1"`` to ``"int8"`` and ``"uint1"`` to ``"uint8"``.
        shape: of the array that the codes stand for.
        axis: the axis with a scale for each index, or None. Excludes group_size.
        group_size: elements along the last axis that share a scale (the last group may be shorter), -1 for the whole
            last axis, or None.

    Raises:
        TypeError: a dtype is not one of the above.
        ValueError: a shape or value is not one of the above.

    Attributes:
        codes: as stored.
        scale: as stored.
        zero_point: as stored, or None.
        format: name of the format.
        shape: shape of the array that the codes stand for.
        axis: not negative, or None.
        group_size: at least 1, or None.

    Source: docs/numerics.md, "Formats" and "Quantize and dequantize".
    """

    __slots__ = ("_format", "_layout", "axis", "codes", "format", "group_size", "scale", "shape", "zero_point")
    __array_ufunc__: Final = None  # numpy's operators then give way to __rmatmul__
    __hash__ = None  # type: ignore[assignment]

    codes: Array
    scale: Array
    zero_point: Array | None
    format: str
    shape: tuple[int, ...]
    axis: int | None
    group_size: int | None

    def __init__(
        self,
        codes: npt.ArrayLike,
        scale: npt.ArrayLike,
        zero_point: npt.ArrayLike | None = None,
        *,
        format: npt.DTypeLike,
        shape: tuple[int, ...],
        axis: int | None = None,
        group_size: int | None = None,
    ) -> None:
        self._format = find_format(format)
        self._layout = make_layout(tuple(integer("shape", n, 0, 2**63 - 1) for n in shape), axis, group_size)
        array = typed("codes", np.asarray(codes), [self._format.codes_dtype])
        expected = codes_shape(self._format, self._layout)
        if array.shape != expected:
            raise ValueError(
                f"codes: shape {array.shape}, expected {expected} for {self._format.name} of shape {self._layout.shape}"
            )
        self.codes = contiguous(array)
        self.scale = check_scale(scale, self._layout)
        self.zero_point = None if zero_point is None else check_zero_point(zero_point, self._format, self._layout)
        self.format = self._format.name
        self.shape, self.axis, self.group_size = self._layout

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zero points."""
        return self.codes.nbytes + self.scale.nbytes + (0 if self.zero_point is None else self.zero_point.nbytes)

    @property
    def bits_per_weight(self) -> float:
        """8 * nbytes / size; NaN for an empty array."""
        return 8 * self.nbytes / self.size if self.size else math.nan

    def unpack(self) -> Array:
        """The codes, one per element: int8 for signed, uint8 for unsigned formats, of shape ``shape``.

        At 8 bits that is ``codes`` itself, not a copy.
        """
        if self._format.bits == 8:
            return self.codes
        codes = unpack_rows(self.codes, self._format.bits, self._layout.row_length, self._format.signed)
        return codes.reshape(self.shape)

    def zero_point_bytes(self) -> Array | None:
        """The zero points, one per scale: int8 for signed, uint8 for unsigned formats, of the shape of scale."""
        if self.zero_point is None or not zero_points_are_packed(self._format, self._layout):
            return self.zero_point
        return unpack_rows(self.zero_point, self._format.bits, self._layout.groups, self._format.signed)

    def dequantize(
        self, *, dtype: npt.DTypeLike = np.float32, rows: npt.ArrayLike | None = None, out: Array | None = None
    ) -> Array:
        """The floats that the codes stand for: ``(code - zero_point) * scale``, one rounding to float32.

        Args:
            dtype: float32, float16 or ml_dtypes.bfloat16; the 16-bit types round the float32 result once more.
            rows: integers of any shape, indices of the first axis: only these rows are decoded, as for an embedding.
                Negative ones count from the end. None: everything.
            out: array to write into: of this dtype, of the result's shape, C-contiguous, not overlapping the inputs.

        Returns:
            shape ``shape``, or ``rows.shape + shape[1:]``; out itself if given.

        Raises:
            TypeError: dtype, or the dtype of rows or out, is not one of the above.
            ValueError: rows are out of range or the array has fewer than 2 dimensions; out does not fit.
        """
        target = np.dtype(dtype)
        if target not in FLOAT_TYPES:
            raise TypeError(f"dtype: {target}, expected {names(FLOAT_TYPES)}")
        if rows is None:
            part, shape = self, self.shape
        else:
            indices = self._row_indices(rows)
            part, shape = self._take(indices.ravel()), indices.shape + self.shape[1:]
        if out is not None:
            inputs = {"codes": self.codes, "scale": self.scale, "zero_point": self.zero_point}
            output(out, shape, target, inputs)
            if not out.flags.c_contiguous:
                raise ValueError(f"out: strides {out.strides}, expected a C-contiguous array")
        direct = out is not None and target == np.float32
        floats = out if direct and out is not None else np.empty(shape, np.float32)
        if floats.size:
            _core.dequantize(
                context(),
                part._format.id,
                part._layout.runs,
                part.codes,
                part.scale,
                part.zero_point_bytes(),
                floats,
            )
        if target == np.float32:
            return floats
        return store(floats, np.empty(shape, target) if out is None else out)

    def _row_indices(self, rows: npt.ArrayLike) -> Array:
        if self.ndim < 2:
            raise ValueError(f"rows: given for an array of shape {self.shape}, expected at least 2 dimensions")
        indices, count = np.asarray(rows), self.shape[0]
        if indices.dtype.kind not in "iu":
            raise TypeError(f"rows: dtype {indices.dtype}, expected integers")
        if indices.size and not -count <= indices.min() <= indices.max() < count:
            raise ValueError(f"rows: from {indices.min()} to {indices.max()}, expected {-count} to {count - 1}")
        return indices

    def _take(self, rows: Array) -> QuantizedArray:
        per_row = self.group_size is not None or self.axis == 0
        return QuantizedArray(
            self.codes[rows],
            self.scale[rows] if per_row else self.scale,
            self.zero_point[rows] if per_row and self.zero_point is not None else self.zero_point,
            format=self.format,
            shape=(len(rows), *self.shape[1:]),
            axis=self.axis,
            group_size=self.group_size,
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("a QuantizedArray is not converted silently; call its dequantize()")

    def __matmul__(self, other: Any) -> Array:
        """``q @ w`` with 8-bit activations and PackedWeights."""
        from ._matmul import matmul  # imports this module

        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> NoReturn:
        raise TypeError("x @ q: q is a QuantizedArray; call pack_weights once, w = pack_weights(q), then x @ w")

    def __reduce__(self) -> tuple[Any, ...]:
        arrays = (self.codes, self.scale, self.zero_point)
        return _rebuild, (*arrays, self.format, self.shape, self.axis, self.group_size)

    def __repr__(self) -> str:
        where = f", axis={self.axis}" if self.axis is not None else ""
        where += f", group_size={self.group_size}" if self.group_size is not None else ""
        zero = "" if self.zero_point is None else ", zero points"
        return f"QuantizedArray({self.format}, shape={self.shape}{where}, {self.scale.dtype} scales{zero})"


def codes_shape(format: Format, layout: Layout) -> tuple[int, ...]:
    """Of codes as they are stored; packed codes of a 0-d array are one byte."""
    return layout.shape if format.bits == 8 else (*layout.shape[:-1], format.row_bytes(layout.row_length))


def stored_zero_point(zero_point: Array | None, format: Format, layout: Layout) -> Array | None:
    """One byte per scale to the stored form."""
    if zero_point is None or not zero_points_are_packed(format, layout):
        return zero_point
    return pack_rows(zero_point, format.bits)


def _rebuild(
    codes: Array,
    scale: Array,
    zero_point: Array | None,
    format: str,
    shape: tuple[int, ...],
    axis: int | None,
    group_size: int | None,
) -> QuantizedArray:
    return QuantizedArray(codes, scale, zero_point, format=format, shape=shape, axis=axis, group_size=group_size)
