"""float32 building blocks: docs/numerics.md, "Activation functions" and "fma without the instruction"."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
f32 = np.float32

LOG2_E = f32(1.44269504)
LN2_HIGH = f32(0.693359375)  # 9 bits, so that n * LN2_HIGH is exact for every n that occurs
LN2_LOW = f32(-2.12194440e-4)
EXP = [1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1]
GELU = [
    -0.029147522523999214,
    0.14397913217544556,
    -0.2557288408279419,
    0.15918979048728943,
    -0.02311977744102478,
    0.10551181435585022,
    0.11983201652765274,
    0.13986197113990784,
    0.13962140679359436,
]


def fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """Return a * b + c, rounded once to float32. The float32 arguments broadcast.

    The product is exact in double (24 + 24 bits). Rounding the sum to odd keeps, in its last bit, whether anything
    was lost, so that rounding it again to float32 is right: 53 >= 2 * 24 + 2 bits.
    """
    with np.errstate(all="ignore"):
        factor, other, addend = (np.asarray(v, f32).astype(np.float64) for v in (a, b, c))
        product = factor * other
        total = np.asarray(product + addend)
        # TwoSum: total + error is exactly product + addend; NaN where total is not finite.
        part = total - product
        error = (product - (total - part)) + (addend - part)
        inexact = (error < 0) | (error > 0)
        # As integers, doubles of one sign are ordered by magnitude: step back if total is too large, then make it odd.
        bits = total.view(np.int64)
        odd = (bits - ((error < 0) != (total < 0))) | 1
        return np.asarray(np.where(inexact, odd, bits).view(np.float64).astype(f32))


def exp(x: npt.ArrayLike) -> Floats:
    """Return e^x for float32 x of any shape, float32; 0 and inf where that under- and overflows."""
    with np.errstate(all="ignore"):
        x = np.asarray(x, f32)
        x = np.where(x < f32(-104), f32(-104), x)
        x = np.where(f32(89) < x, f32(89), x)
        n = np.rint(x * LOG2_E)
        r = fma(n, -LN2_HIGH, x)
        r = fma(n, -LN2_LOW, r)
        p: Floats = np.full_like(r, 1.9875691500e-4)
        for c in EXP:
            p = fma(p, r, f32(c))
        p = fma(p, r * r, r)
        p = p + f32(1)
        # 2^n in two factors, both normal; only the last product can round.
        whole = np.where(np.isnan(n), f32(0), n).astype(np.int32)
        half = whole >> 1
        return np.asarray((p * np.ldexp(f32(1), half)) * np.ldexp(f32(1), whole - half))


def _relu(x: Floats) -> Floats:
    return np.where(x < 0, f32(0), x)


def _silu(x: Floats) -> Floats:
    return x / (f32(1) + exp(-x))


def _gelu_tanh(x: Floats) -> Floats:
    u = x * fma(x * x, f32(0.0713548162726), f32(1.5957691216))
    return x / (f32(1) + exp(-u))


def _gelu(x: Floats) -> Floats:
    a = np.abs(x)
    t = f32(1) / fma(a, f32(0.35), f32(1))
    p = np.full_like(t, GELU[0])
    for c in GELU[1:]:
        p = fma(p, t, f32(c))
    h = (exp((x * x) * f32(-0.5)) * t) * p
    return np.where(x < 0, x * h, fma(-x, h, x))


_FUNCTIONS = {"relu": _relu, "silu": _silu, "gelu_tanh": _gelu_tanh, "gelu": _gelu}


def activation(x: npt.ArrayLike, name: str | None) -> Floats:
    """Apply None (identity), "relu", "gelu", "gelu_tanh" or "silu" to float32 x of any shape."""
    x = np.asarray(x, f32)
    if name is None:
        return x
    if name not in _FUNCTIONS:
        raise ValueError(f"activation: got {name!r}, expected None, {', '.join(map(repr, _FUNCTIONS))}")
    with np.errstate(all="ignore"):
        return np.asarray(_FUNCTIONS[name](x))
