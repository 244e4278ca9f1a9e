"""QuantizedArray: codes with their scales and zero points."""

from __future__ import annotations

import math
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from . import _core
from ._bits import pack_rows, unpack_rows
from ._checks import FLOAT_TYPES, Array, contiguous, integer, names, output, store, typed
from ._formats import SCALE_TYPES, TYPES, Format, find_format, raw
from ._layout import Layout, make_layout
from ._runtime import context

FLOAT_ZERO_TYPES = (np.dtype(np.float32), np.dtype(np.float16))


def scale_types(format: Format) -> tuple[np.dtype[Any], ...]:
    """The dtypes that scales of the format may have."""
    return SCALE_TYPES if format.scale_dtype is None else (format.scale_dtype,)


def check_scale_form(scale: Any, format: Format, layout: Layout) -> Array:
    """scale as an array: dtype and shape."""
    array = np.asarray(scale, np.float32) if type(scale) in (float, int) else np.asarray(scale)
    typed("scale", array, scale_types(format))
    if array.shape != layout.scale_shape:
        raise ValueError(f"scale: shape {array.shape}, expected {layout.scale_shape}")
    return contiguous(array)


def check_scale_values(scale: Array, *, positive: bool = False) -> Array:
    """Finite, not zero and, if asked, not negative."""
    values = scale.astype(np.float32, copy=False)
    for bad, what in (
        (~np.isfinite(values), "finite"),
        (values == 0, "non-zero"),
        (positive & (values < 0), "positive"),
    ):
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            raise ValueError(f"scale: {values[at]} at index {at}, expected every scale to be finite and {what}")
    return scale


def check_global_scale(global_scale: Any, format: Format) -> np.float32 | None:
    """A positive, finite float32, or None."""
    if global_scale is None:
        if format.has_global_scale:
            raise ValueError(f"global_scale: None for {format.name}, expected a positive float")
        return None
    value = np.asarray(global_scale, np.float32)
    if value.shape != ():
        raise ValueError(f"global_scale: shape {value.shape}, expected one number")
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"global_scale: {value}, expected a positive, finite float32")
    return np.float32(value)


def has_float_zeros(zero_point: Array) -> bool:
    """Whether zero points are floats, which need not be codes."""
    return zero_point.dtype.kind == "f"


def zero_points_are_packed(format: Format, layout: Layout) -> bool:
    """Integer zero points of groups are as many as scales, so they are stored as densely as codes."""
    return layout.group_size is not None and format.bits < 8


def check_zero_point_each(zero_point: Array, format: Format, shape: tuple[int, ...]) -> Array:
    """Zero points, one for each scale and not packed: dtype, shape and range."""
    typed("zero_point", zero_point, [format.dtype, *FLOAT_ZERO_TYPES])
    if zero_point.shape != shape:
        raise ValueError(f"zero_point: shape {zero_point.shape}, expected {shape}")
    if has_float_zeros(zero_point):
        if not np.isfinite(zero_point).all():
            raise ValueError("zero_point: NaN or infinity, expected finite numbers")
    elif zero_point.size and (zero_point.min() < format.qmin or zero_point.max() > format.qmax):
        raise ValueError(
            f"zero_point: {zero_point.min()} to {zero_point.max()}, "
            f"expected {format.qmin} to {format.qmax} for {format.name}"
        )
    return contiguous(zero_point)


def check_zero_point(zero_point: Any, format: Format, layout: Layout) -> Array:
    """zero_point as an array in its stored form: dtype, shape and range."""
    array = np.asarray(zero_point)
    if format.kind != "integer":
        raise ValueError(f"zero_point: given for {format.name}, expected None")
    shape = layout.scale_shape
    if has_float_zeros(array) or not zero_points_are_packed(format, layout):
        return check_zero_point_each(array, format, shape)
    typed("zero_point", array, [np.dtype(np.uint8), *FLOAT_ZERO_TYPES])
    packed = (*shape[:-1], format.row_bytes(shape[-1]))
    if array.shape != packed:
        raise ValueError(
            f"zero_point: shape {array.shape}, expected {packed}: "
            f"{shape} packed to {format.bits} bits along the last axis"
        )
    return contiguous(array)


def check_block(format: Format, layout: Layout) -> None:
    """A block format has its own group size, and rows are whole blocks."""
    if format.group_size is None:
        return
    if layout.group_size != format.group_size:
        raise ValueError(f"group_size: {layout.group_size} for {format.name}, expected {format.group_size}")
    if layout.row_length % format.group_size != 0:
        raise ValueError(
            f"shape: {layout.shape} for {format.name}, expected a last axis that blocks of {format.group_size} divide"
        )


def check_codes(codes: Array, format: Format, layout: Layout) -> Array:
    """codes as they are stored: dtype, shape, and values where not all bits are codes."""
    typed("codes", codes, [format.codes_dtype])
    expected = codes_shape(format, layout)
    if codes.shape != expected:
        raise ValueError(f"codes: shape {codes.shape}, expected {expected} for {format.name} of shape {layout.shape}")
    if format.name == "ternary" and (codes & 0xAA & ~(codes << 1)).any():  # the code 10, -2
        raise ValueError("codes: -2 among them, expected -1, 0 and 1 for ternary")
    return contiguous(codes)


class QuantizedArray:
    """Codes of few bits, and the scales and zero points that give them meaning.

    Integers: ``x = (code - zero_point) * scale``. Floats and tables: ``x = number(code) * scale``. With a global scale,
    scale is first multiplied by it.

    Usually made by ``lowbit.quantize``. Build one directly from codes that come from elsewhere. Arrays that are
    contiguous are kept, not copied; treat all attributes as read-only.

    Args:
        codes: as stored. 8 bits: int8, uint8 or the ml_dtypes float of the array's shape; 16 bits: float16 or
            bfloat16. Below: uint8, packed along the last axis as ``pack_bits`` does: (..., ceil(last * bits / 8)).
        scale: float32, float16, or ml_dtypes' bfloat16, float8_e8m0fnu or float8_e4m3fn; finite, not zero. Shape ()
            for one scale, (shape[axis],) with axis, shape[:-1] + (ceil(last / group_size),) with group_size,
            (ceil(N / rows), ceil(K / columns)) with block_shape. Or a QuantizedArray of these scales, flattened
            (double quantization).
        zero_point: None for zero, else of the shape of scale, int8 for signed and uint8 for unsigned formats; with
            group_size below 8 bits: uint8, packed along its last axis to the bits of the format. Or float32 or float16
            of the shape of scale: zero points that are no codes (HQQ).
        format: name or dtype of a format; docs/formats.md lists them.
        shape: of the array that the codes stand for.
        axis: the axis with a scale for each index, or None.
        group_size: elements along the last axis that share a scale (the last group may be shorter), -1 for the whole
            last axis, or None. Block formats have their own, and only whole blocks.
        block_shape: (rows, columns) of the blocks of a matrix that share a scale, or None.
        global_scale: a positive float32 that all scales are multiples of, or None.

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
        block_shape: a tuple of two, or None.
        global_scale: numpy.float32, or None.

    Source: docs/numerics.md, "Formats" and "Quantize and dequantize".
    """

    __slots__ = (
        "_format",
        "_layout",
        "axis",
        "block_shape",
        "codes",
        "format",
        "global_scale",
        "group_size",
        "scale",
        "shape",
        "zero_point",
    )
    __array_ufunc__: Final = None  # numpy's operators then give way to __rmatmul__
    __hash__ = None  # type: ignore[assignment]

    codes: Array
    scale: Array | QuantizedArray
    zero_point: Array | None
    format: str
    shape: tuple[int, ...]
    axis: int | None
    group_size: int | None
    block_shape: tuple[int, int] | None
    global_scale: np.float32 | None

    def __init__(
        self,
        codes: npt.ArrayLike,
        scale: npt.ArrayLike | QuantizedArray,
        zero_point: npt.ArrayLike | None = None,
        *,
        format: npt.DTypeLike,
        shape: tuple[int, ...],
        axis: int | None = None,
        group_size: int | None = None,
        block_shape: tuple[int, int] | None = None,
        global_scale: npt.ArrayLike | None = None,
    ) -> None:
        fmt = find_format(format)
        sizes = tuple(integer("shape", n, 0, 2**63 - 1) for n in shape)
        default = fmt.group_size if axis is None and block_shape is None else None
        layout = make_layout(sizes, axis, default if group_size is None else group_size, block_shape)
        check_block(fmt, layout)
        checked = check_codes(np.asarray(codes), fmt, layout)
        scales: Array | QuantizedArray
        if isinstance(scale, QuantizedArray):
            if fmt.scale_dtype is not None or scale.shape != (math.prod(layout.scale_shape),):
                raise ValueError(
                    f"scale: a QuantizedArray of shape {scale.shape}, expected "
                    + (f"{fmt.scale_dtype}" if fmt.scale_dtype else f"({math.prod(layout.scale_shape)},)")
                )
            scales = scale
        else:
            scales = check_scale_values(check_scale_form(scale, fmt, layout))
        self._fill(
            checked,
            scales,
            None if zero_point is None else check_zero_point(zero_point, fmt, layout),
            check_global_scale(global_scale, fmt),
            fmt,
            layout,
        )

    def _fill(
        self,
        codes: Array,
        scale: Array | QuantizedArray,
        zero_point: Array | None,
        global_scale: np.float32 | None,
        format: Format,
        layout: Layout,
    ) -> None:
        self.codes, self.scale, self.zero_point, self.global_scale = codes, scale, zero_point, global_scale
        self._format, self._layout = format, layout
        self.format = format.name
        self.shape, self.axis, self.group_size, self.block_shape = layout

    @classmethod
    def _trusted(cls, *parts: Any) -> QuantizedArray:
        """From arrays in their stored form that need no checks; the arguments of _fill."""
        q = cls.__new__(cls)
        q._fill(*parts)
        return q

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
        parts = (self.codes, self.scale, self.zero_point, self.global_scale)
        return sum(part.nbytes for part in parts if part is not None)

    @property
    def bits_per_weight(self) -> float:
        """8 * nbytes / size; NaN for an empty array."""
        return 8 * self.nbytes / self.size if self.size else math.nan

    def unpack(self) -> Array:
        """The codes, one per element, of shape ``shape``: int8 or uint8; ml_dtypes floats for float formats.

        At 8 and 16 bits that is ``codes`` itself, not a copy. The codes of tables are uint8, 0 to 15.
        """
        if self._format.bits >= 8:
            return self.codes
        codes = unpack_rows(self.codes, self._format.bits, self._layout.row_length, self._format.signed)
        return codes.reshape(self.shape).view(self._format.dtype)

    def zero_points(self) -> Array | None:
        """The zero points, one per scale and of its shape: int8, uint8, float32 or float16; None without."""
        zero_point = self.zero_point
        if zero_point is None or has_float_zeros(zero_point) or not zero_points_are_packed(self._format, self._layout):
            return zero_point
        return unpack_rows(zero_point, self._format.bits, self._layout.groups, self._format.signed)

    def decoded_scale(self) -> Array:
        """The scales as an array, without the global scale: ``scale``, decoded to float32 if it is quantized."""
        if isinstance(self.scale, QuantizedArray):
            return self.scale.dequantize().reshape(self._layout.scale_shape)
        return self.scale

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
            scale = self.scale.codes if isinstance(self.scale, QuantizedArray) else self.scale
            inputs = {"codes": self.codes, "scale": scale, "zero_point": self.zero_point}
            output(out, shape, target, inputs)
            if not out.flags.c_contiguous:
                raise ValueError(f"out: strides {out.strides}, expected a C-contiguous array")
        direct = out is not None and target == np.float32
        floats = out if direct and out is not None else np.empty(shape, np.float32)
        if floats.size:
            part._decode(floats)
        if target == np.float32:
            return floats
        return store(floats, np.empty(shape, target) if out is None else out)

    def _decode(self, out: Array) -> None:
        """All of it into float32 out, C-contiguous."""
        scale, zero_point = self.decoded_scale(), self.zero_points()
        if zero_point is not None and zero_point.dtype == np.float16:
            zero_point = zero_point.astype(np.float32)
        _core.dequantize(
            context(),
            self._format.id,
            self._layout.runs,
            raw(self.codes),
            TYPES[scale.dtype],
            0.0 if self.global_scale is None else float(self.global_scale),
            raw(scale),
            zero_point,
            out,
        )

    def _row_indices(self, rows: npt.ArrayLike) -> Array:
        if self.ndim < 2:
            raise ValueError(f"rows: given for an array of shape {self.shape}, expected at least 2 dimensions")
        indices, count = np.asarray(rows), self.shape[0]
        if indices.dtype.kind not in "iu":
            raise TypeError(f"rows: dtype {indices.dtype}, expected integers")
        if indices.size and not -count <= indices.min() <= indices.max() < count:
            raise ValueError(f"rows: from {indices.min()} to {indices.max()}, expected {-count} to {count - 1}")
        return indices % max(count, 1)

    def _take(self, rows: Array) -> QuantizedArray:
        """The given rows; blocks become groups."""
        layout = self._layout._replace(shape=(len(rows), *self.shape[1:]))
        of_scale = rows
        if self.block_shape is not None:
            of_scale = rows // self.block_shape[0]
            layout = layout._replace(block_shape=None, group_size=self.block_shape[1])
        per_row = layout.group_size is not None or self.axis == 0
        zero_point = self.zero_point
        return QuantizedArray._trusted(
            self.codes[rows],
            self._scales_of(of_scale) if per_row else self.decoded_scale(),
            zero_point[of_scale] if per_row and zero_point is not None else zero_point,
            self.global_scale,
            self._format,
            layout,
        )

    def _scales_of(self, rows: Array) -> Array:
        """decoded_scale()[rows]; of quantized scales, flattened in groups, only these are decoded."""
        nested, shape = self.scale, self._layout.scale_shape
        if (
            not isinstance(nested, QuantizedArray)
            or nested.ndim != 1
            or nested.group_size is None
            or nested._format.bits != 8
        ):
            return self.decoded_scale()[rows]
        each = math.prod(shape[1:])
        index = (rows[:, None] * each + np.arange(each)).ravel()
        group = index // nested.group_size
        zero_point = nested.zero_points()
        part = QuantizedArray._trusted(
            nested.codes.ravel()[index],
            nested.decoded_scale().ravel()[group],
            None if zero_point is None else zero_point.ravel()[group],
            nested.global_scale,
            nested._format,
            Layout((len(index),), 0, None),
        )
        return part.dequantize().reshape(len(rows), *shape[1:])

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("a QuantizedArray is not converted silently; call its dequantize()")

    def __matmul__(self, other: Any) -> Array:
        """``q @ w`` with 8-bit activations and PackedWeights."""
        from ._matmul import matmul  # imports this module

        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> NoReturn:
        raise TypeError("x @ q: q is a QuantizedArray; call pack_weights once, w = pack_weights(q), then x @ w")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.codes, self.scale, self.zero_point, self.format, tuple(self._layout), self.global_scale)

    def __repr__(self) -> str:
        where = "".join(
            f", {name}={value}"
            for name, value in zip(Layout._fields[1:], self._layout[1:], strict=True)
            if value is not None and value != self._format.group_size
        )
        if self.global_scale is not None:
            where += f", global_scale={self.global_scale}"
        kind = f"{self.scale.format}" if isinstance(self.scale, QuantizedArray) else f"{self.scale.dtype}"
        zero = "" if self.zero_point is None else ", zero points"
        return f"QuantizedArray({self.format}, shape={self.shape}{where}, {kind} scales{zero})"


def codes_shape(format: Format, layout: Layout) -> tuple[int, ...]:
    """Of codes as they are stored; packed codes of a 0-d array are one byte."""
    return layout.shape if format.bits >= 8 else (*layout.shape[:-1], format.row_bytes(layout.row_length))


def stored_zero_point(zero_point: Array | None, format: Format, layout: Layout) -> Array | None:
    """One byte per scale to the stored form."""
    if zero_point is None or has_float_zeros(zero_point) or not zero_points_are_packed(format, layout):
        return zero_point
    return pack_rows(zero_point, format.bits)


def _rebuild(
    codes: Array,
    scale: Array | QuantizedArray,
    zero_point: Array | None,
    format: str,
    layout: tuple[Any, ...],
    global_scale: np.float32 | None,
) -> QuantizedArray:
    keywords = dict(zip(Layout._fields, layout, strict=True))
    return QuantizedArray(codes, scale, zero_point, format=format, global_scale=global_scale, **keywords)
