"""What several test files share: data that reaches extremes, bit-exact comparison, the reference by Python names."""

import contextlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import lowbit as lb
from lowbit import reference as ref

F16, F32 = np.float16, np.float32
FORMATS = [f"{sign}int{bits}" for bits in range(1, 9) for sign in ("", "u")]
CONVENTIONS = ["absmax", "full", "signed_max", "no_clip", "asymmetric"]
MAX = np.finfo(F32).max
TINY = np.finfo(F32).smallest_subnormal


def bits_of(a):
    """The bytes as integers, every NaN alike: NaN payloads are the one thing docs/numerics.md leaves open."""
    a = np.asarray(a)
    if a.dtype.kind != "f":
        return a
    return np.where(np.isnan(a), a.dtype.type(np.nan), a).view(f"u{a.dtype.itemsize}")


def assert_same(got, expected, what=""):
    """Equal dtype, shape and bits."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype, f"{what}: dtype {got.dtype}, expected {expected.dtype}"
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    different = bits_of(got) != bits_of(expected)
    if different.any():
        at = tuple(int(i) for i in np.argwhere(different)[0])
        count = np.count_nonzero(different)
        raise AssertionError(f"{what}: {count} of {got.size} differ; at {at}: {got[at]!r}, expected {expected[at]!r}")


def raises(error, *words):
    """pytest.raises, and the message has all of these words."""
    return pytest.raises(error, match="".join(f"(?=.*{re.escape(str(word))})" for word in words))


def assert_telling(a):
    """Bug class 31: a result that is mostly zeros or NaN would hide errors."""
    a = np.asarray(a)
    assert np.count_nonzero(np.nan_to_num(a)) > 0.5 * a.size, f"{np.count_nonzero(a)} of {a.size} are not 0"


def hard_floats(rng, shape):
    """Normal values over many magnitudes, with zeros, subnormals and the largest numbers among them; all finite."""
    x = rng.standard_normal(shape).astype(F32)
    special = np.array([0.0, -0.0, TINY, -TINY, 1e-40, 0.5, -0.5, 1.5, 2.5, 127.5, -128.5, 1e30, -1e30], F32)
    chosen = rng.random(shape) < 0.1
    return np.where(chosen, special[rng.integers(0, len(special), shape)], x).astype(F32)


def spread_floats(rng, shape):
    """Normal values with an outlier here and there: both ends of a scale's range are reached, nothing overflows."""
    x = rng.standard_normal(shape).astype(F32)
    return np.where(rng.random(shape) < 0.02, x * F32(8), x).astype(F32)


def random_codes(rng, format, shape):
    """Uniform codes; the smallest and the largest are sure to occur where there is room for them."""
    _, signed, qmin, qmax = ref.code_range(format)
    codes = rng.integers(qmin, qmax + 1, shape).astype(np.int8 if signed else np.uint8)
    if codes.size > 1:
        codes.flat[0], codes.flat[-1] = qmin, qmax
    return codes


def quantized(codes, scale, zero_point, format, *, axis=None, group_size=None):
    """A QuantizedArray from unpacked codes and zero points, packed by the reference."""
    bits, *_ = ref.code_range(format)
    stored, zeros = codes, zero_point
    if bits < 8:
        stored = ref.pack_bits(codes, bits)
        if group_size is not None and zero_point is not None:
            zeros = ref.pack_bits(zero_point, bits)
    return lb.QuantizedArray(stored, scale, zeros, format=format, shape=codes.shape, axis=axis, group_size=group_size)


def unpacked_zero_point(q):
    """One per scale, by the reference; None where there is none."""
    bits, signed, *_ = ref.code_range(q.format)
    if q.zero_point is None or bits == 8 or q.group_size is None:
        return q.zero_point
    return ref.unpack_bits(q.zero_point, bits, q.scale.shape[-1], signed)


def reference_quantize(x, format, *, axis=None, group_size=None, convention="absmax", scale_dtype=F32):
    """(codes, scale, zero_point) as docs/numerics.md has them; convention may be "asymmetric"."""
    low, high = ref.value_range(x, axis=axis, group_size=group_size)
    scale, zero = ref.choose_params(format, convention, low, high, scale_dtype)
    return ref.quantize(x, format, scale, zero, axis=axis, group_size=group_size), scale, zero


def quantize_keywords(convention):
    """lb.quantize's arguments for a convention or "asymmetric"."""
    return {"symmetric": False} if convention == "asymmetric" else {"convention": convention}


@contextlib.contextmanager
def isa_and_threads(isa, threads):
    with lb.use_isa(isa), lb.num_threads(threads):
        yield


def run_python(*arguments, environment=None, timeout=120):
    """A Python process that must not hang; its completed process, with output as text."""
    changed = {name: str(value) for name, value in (environment or {}).items()}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=timeout, env={**os.environ, **changed}
    )


def run_script(script, **options):
    """The script's standard output; fails with its standard error where it does not end with status 0."""
    done = run_python("-c", script, **options)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
