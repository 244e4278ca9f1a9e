"""Matrix products: docs/numerics.md, from "Activations quantized inside matmul" to 'Matmul, compute "float32"'.

Weights are unpacked codes (N, K) = (out, in): integers or, where codes are no integers, the numbers they stand for.
Their scale and zero_point are (), (N,) or (N, ceil(K / group_size)): floats of a type for scales, times global_scale;
integers or, as zero points that are no codes, floats. zero_point=None is 0.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .floats import activation as apply_activation
from .floats import fma
from .layout import group_count, group_length

f32 = np.float32
SEGMENT = 1024  # elements of K that are summed one after the other before sums are added to each other
MAX_KERNEL_GROUP = 65536  # 65536 * 255 * 128 < 2^31
INT8_STEPS = {"float4_e2m1fn": 2, "mxfp4": 2, "nvfp4": 2, "nf4": 124, "fp4": 120}


def matmul_int(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    a_zero_point: npt.ArrayLike = 0,
    b_zero_point: npt.ArrayLike = 0,
    out: npt.ArrayLike = 0,
) -> npt.NDArray[np.int32]:
    """Return out + (a - a_zero_point) @ (b - b_zero_point) modulo 2^32, read as int32 (M, N).

    a: int8 or uint8 (M, K); b: likewise (K, N). a_zero_point: () or (M,); b_zero_point: () or (N,). out: what is
    accumulated to, int32 () or (M, N).
    """
    a = np.asarray(a).astype(np.int64) - np.asarray(a_zero_point).astype(np.int64).reshape(-1, 1)
    b = np.asarray(b).astype(np.int64) - np.asarray(b_zero_point).astype(np.int64).reshape(1, -1)
    # int64 wraps modulo 2^64, of which 2^32 is a divisor.
    return (a @ b + np.asarray(out).astype(np.int64)).astype(np.uint32).view(np.int32)


def int8_numbers(numbers: npt.ArrayLike, steps: int) -> npt.NDArray[np.int8]:
    """Return what compute "int8" multiplies for a format's 4-bit numbers (float32): round(numbers * steps)."""
    return np.asarray(np.rint(np.asarray(numbers).astype(f32) * f32(steps)).astype(np.int8))


def quantize_activations(
    x: npt.ArrayLike, group: int | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize float32 x (M, K) in groups along K (None and -1: the whole row), symmetrically to -127 .. 127.

    Return (codes int8 (M, K), scales float32 (M, ceil(K / group))). A scale is NaN where its group holds NaN or inf.
    """
    x = np.asarray(x, f32)
    rows, k = x.shape
    size = group_length(k, group)
    codes = np.zeros((rows, k), np.int8)
    scales = np.zeros((rows, group_count(k, group)), f32)
    with np.errstate(all="ignore"):
        for g in range(scales.shape[1]):
            part = x[:, g * size : (g + 1) * size]
            largest = np.abs(part).max(axis=1)  # NaN where there is one
            scale = largest / f32(127)
            good = np.isfinite(largest) & (scale != 0)
            code = np.clip(np.rint(part / scale[:, None]), f32(-127), f32(127))
            codes[:, g * size : (g + 1) * size] = np.where(good[:, None], code, f32(0)).astype(np.int8)
            scales[:, g] = np.where(np.isfinite(largest), scale, f32(np.nan))
    return codes, scales


def quantize_activations_twice(
    x: npt.ArrayLike, group: int | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return codes and scales of quantize_activations, then those of what the codes leave of x: compute "int8x2"."""
    x = np.asarray(x, f32)
    size = group_length(x.shape[1], group)
    codes, scales = quantize_activations(x, group)
    rest = np.zeros_like(codes)
    with np.errstate(all="ignore"):
        for g in range(scales.shape[1]):
            part = slice(g * size, (g + 1) * size)
            scale = scales[:, g, None]
            t = np.clip(x[:, part] / scale, f32(-127), f32(127))
            steps = np.rint((t - codes[:, part].astype(f32)) * f32(254))
            rest[:, part] = np.where(scale > 0, steps, f32(0)).astype(np.int8)
        return codes, scales, rest, scales / f32(254)


def matmul_int8(
    x_codes: npt.ArrayLike,
    x_scale: npt.ArrayLike,
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    group_size: int | None = None,
    act_group_size: int | None = None,
    x_zero_point: npt.ArrayLike | None = None,
    global_scale: float | None = None,
    steps: int = 1,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float32]:
    """Return activation(x @ W^T + bias) + residual, float32 (M, N), from 8-bit x and integer sums: compute "int8".

    x_codes: int8 or uint8 (M, K). x_scale: () or (M,), or (M, ceil(K / act_group_size)), float32. x_zero_point: () or
    (M,). codes: integers; of 4-bit formats that are none int8_numbers, and their steps. act_group_size: None for the
    weights' groups, -1 for whole rows, else a divisor or a multiple of group_size; not looked at where x_scale is () or
    (M,). bias: (N,) float32. residual: (M, N) float32.
    ValueError where neither group divides the other, and for groups of more than 65536 elements.
    """
    a = np.asarray(x_codes).astype(np.int64)
    w = np.asarray(codes).astype(np.int64)
    (rows, k), n = a.shape, w.shape[0]
    weight_group = group_length(k, group_size)
    act_group = group_length(k, group_size if act_group_size is None else act_group_size)
    x_scale = np.asarray(x_scale, f32)
    if x_scale.ndim < 2:
        act_group = group_length(k, -1)
        x_scale = x_scale.reshape(-1, 1)
    a_scale = np.broadcast_to(x_scale, (rows, group_count(k, act_group)))
    w_scale = _per_group(_scaled(scale, global_scale, steps), n, group_count(k, group_size))
    w_zero = _per_group(np.asarray(0 if zero_point is None else zero_point), n, group_count(k, group_size))
    has_float_zeros = w_zero.dtype.kind == "f"
    float_zeros = w_zero.astype(f32)
    if has_float_zeros:
        w_zero = np.zeros(w_zero.shape, np.int64)
    if x_zero_point is not None:
        a = a - np.asarray(x_zero_point).astype(np.int64).reshape(-1, 1)

    group = min(weight_group, act_group)
    larger = max(weight_group, act_group)
    if larger % group != 0 and larger < k:
        raise ValueError(f"act_group_size: got {act_group}, expected a divisor or a multiple of {weight_group}")
    if min(group, k) > MAX_KERNEL_GROUP:
        raise ValueError(f"group_size: got {min(group, k)} elements in a group, expected at most {MAX_KERNEL_GROUP}")
    several_scales = a_scale.shape[1] > 1
    segment = max(1, SEGMENT // group)

    y = np.zeros((rows, n), f32)
    acc = y
    count = group_count(k, group)
    with np.errstate(all="ignore"):
        for g in range(count):
            begin, end = g * group, min((g + 1) * group, k)
            weight_index, act_index = begin // weight_group, begin // act_group
            sums = a[:, begin:end] @ (w[:, begin:end] - w_zero[:, weight_index, None]).T
            factor = w_scale[None, :, weight_index]
            if several_scales:
                factor = factor * a_scale[:, act_index, None]
            # Codes of x with a zero point and codes of W with one can pass 2^31: modulo 2^32, as matmul_int.
            acc = fma(sums.astype(np.uint32).view(np.int32).astype(f32), factor, acc)
            if (g + 1) % segment == 0 or g + 1 == count:
                y = acc if g < segment else y + acc
                acc = np.zeros_like(y)
        # Float zero points: as many further segments, of up to SEGMENT groups each.
        for g in range(count if has_float_zeros else 0):
            begin, end = g * group, min((g + 1) * group, k)
            weight_index, act_index = begin // weight_group, begin // act_group
            total = a[:, begin:end].sum(axis=1).astype(f32)[:, None]
            if several_scales:
                total = total * a_scale[:, act_index, None]
            factor = -(float_zeros[:, weight_index] * w_scale[:, weight_index])
            acc = fma(total, factor, acc)
            if (g + 1) % SEGMENT == 0 or g + 1 == count:
                y = y + acc
                acc = np.zeros_like(y)
        if a_scale.shape[1] == 1:
            y = y * a_scale
    return _finish(y, bias, activation, residual)


def matmul_dynamic(
    x: npt.ArrayLike,
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    group_size: int | None = None,
    act_group_size: int | None = None,
    global_scale: float | None = None,
    steps: int = 1,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float32]:
    """Return matmul_int8 of float32 x (M, K), quantized in groups of act_group_size (None: the weights' groups)."""
    act_group = group_size if act_group_size is None else act_group_size
    x_codes, x_scale = quantize_activations(x, act_group)
    return matmul_int8(
        x_codes,
        x_scale,
        codes,
        scale,
        zero_point,
        group_size=group_size,
        act_group_size=-1 if act_group is None else act_group,
        global_scale=global_scale,
        steps=steps,
        bias=bias,
        activation=activation,
        residual=residual,
    )


def matmul_int8x2(
    x: npt.ArrayLike,
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    group_size: int | None = None,
    act_group_size: int | None = None,
    global_scale: float | None = None,
    steps: int = 1,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float32]:
    """Return matmul_dynamic with two int8 numbers for each activation: the sum of two products of codes."""
    act_group = group_size if act_group_size is None else act_group_size
    terms = quantize_activations_twice(x, act_group)
    first, second = (
        matmul_int8(
            x_codes,
            x_scale,
            codes,
            scale,
            zero_point,
            group_size=group_size,
            act_group_size=-1 if act_group is None else act_group,
            global_scale=global_scale,
            steps=steps,
        )
        for x_codes, x_scale in (terms[:2], terms[2:])
    )
    with np.errstate(all="ignore"):
        y = first + second
    return _finish(y, bias, activation, residual)


def matmul_float32(
    x: npt.ArrayLike,
    codes: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike | None = None,
    *,
    group_size: int | None = None,
    global_scale: float | None = None,
    bias: npt.ArrayLike | None = None,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float32]:
    """Return activation(x @ W^T + bias) + residual, float32 (M, N), with W decoded to float32: compute "float32"."""
    x = np.asarray(x, f32)
    numbers = np.asarray(codes).astype(f32)
    n, k = numbers.shape
    group = group_length(k, group_size)
    groups = group_count(k, group_size)
    scales = _per_group(_scaled(scale, global_scale), n, groups)
    zeros = _per_group(np.asarray(0 if zero_point is None else zero_point), n, groups).astype(f32)
    index = np.arange(k) // group
    with np.errstate(all="ignore"):
        w = (numbers - zeros[:, index]) * scales[:, index]  # of integers, the difference is exact
        y = np.zeros((x.shape[0], n), f32)
        for begin in range(0, k, SEGMENT):
            acc = np.zeros_like(y)
            for i in range(begin, min(begin + SEGMENT, k)):
                acc = fma(x[:, i, None], w[None, :, i], acc)
            y = acc if begin == 0 else y + acc
    return _finish(y, bias, activation, residual)


def _scaled(scale: npt.ArrayLike, global_scale: float | None, steps: int = 1) -> npt.NDArray[np.float32]:
    """Return scale as float32, times global_scale / steps."""
    unit = f32(1 if global_scale is None else global_scale) / f32(steps)
    with np.errstate(all="ignore"):
        return np.asarray(np.asarray(scale).astype(f32) * unit)


def _per_group(values: npt.NDArray[Any], n: int, groups: int) -> npt.NDArray[Any]:
    if values.ndim == 1:
        values = values[:, None]
    return np.broadcast_to(values, (n, groups))


def _finish(
    y: npt.NDArray[np.float32],
    bias: npt.ArrayLike | None,
    activation: str | None,
    residual: npt.ArrayLike | None,
) -> npt.NDArray[np.float32]:
    with np.errstate(all="ignore"):
        if bias is not None:
            y = y + np.asarray(bias, f32)
        y = apply_activation(y, activation)
        return y if residual is None else y + np.asarray(residual, f32)
