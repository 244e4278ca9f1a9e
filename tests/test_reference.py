"""The reference against facts that do not come from it: rationals, float64, hand-computed bytes, published errors.

The only rounding taken from numpy here is float64's; `round32` rounds an exact rational to float32 on its own.
"""

import ast
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lowbit import reference as ref

F32 = np.float32
MAX = np.finfo(F32).max
TINY = np.finfo(F32).smallest_subnormal
FORMATS = [f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 9)]
SPECIAL = np.array([0, TINY, 3 * TINY, np.finfo(F32).tiny, 1e-20, 1, 1 + 2**-23, 1.5, 3e10, 2**96, MAX, np.inf], F32)
SPECIAL = np.concatenate([SPECIAL, -SPECIAL, [np.nan]]).astype(F32)


def same(a, b):
    """Equal bit for bit, NaNs being all alike."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    bits = f"u{a.dtype.itemsize}"
    return bool(np.all((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))))


def round32(value):
    """The float32 nearest to an exact rational, ties to even."""
    value = Fraction(value if isinstance(value, Fraction | int) else float(value))
    if value == 0:
        return F32(0)
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - 23, -149)
    rounded = round(magnitude / unit) * unit  # Fraction.__round__ is half to even
    result = F32(np.inf) if rounded >= 2**128 else F32(float(rounded))
    return -result if value < 0 else result


def exact_fma(a, b, c):
    return round32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))


@pytest.fixture(autouse=True)
def no_escaping_floating_point_errors():
    with np.errstate(all="raise"):
        yield


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(0).standard_normal((1 << 12, 256)).astype(F32)


def random_floats(rng, count, low=-149, high=127):
    """Both signs, full 24-bit mantissas and short ones, over the exponents given, subnormals included."""
    mantissa = rng.integers(1, 1 << 24, count) >> rng.integers(0, 24, count)
    exponent = rng.integers(low, high - 23, count)
    return np.ldexp((mantissa * rng.choice([-1, 1], count)).astype(np.float64), exponent).astype(F32)


def test_imports_numpy_and_the_standard_library_only():
    allowed = {"collections.abc", "math", "numpy", "numpy.typing", "typing", "re"}
    for path in Path(ref.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module in allowed, path


# ---- formats and bits ------------------------------------------------------------------------------------------


def test_code_range():
    assert ref.code_range("int1") == (1, True, -1, 0)
    assert ref.code_range("int4") == (4, True, -8, 7)
    assert ref.code_range("int8") == (8, True, -128, 127)
    assert ref.code_range("uint1") == (1, False, 0, 1)
    assert ref.code_range("uint3") == (3, False, 0, 7)
    assert ref.code_range("uint8") == (8, False, 0, 255)
    for name in ("int0", "int9", "uint16", "float8", " int4", "int4\n", ""):
        with pytest.raises(ValueError, match="format"):
            ref.code_range(name)


def test_pack_bits_golden_bytes():
    assert ref.pack_bits(np.array([1, -2, 3], np.int8), 4).tolist() == [0xE1, 0x03]
    assert ref.pack_bits(np.arange(8, dtype=np.uint8), 3).tolist() == [0b10001000, 0b11000110, 0b11111010]
    assert ref.pack_bits(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1], np.uint8), 1).tolist() == [1, 1]
    assert ref.pack_bits(np.array([-1, 0, -2, 1], np.int8), 2).tolist() == [0b01100011]
    assert ref.pack_bits(np.array([31, 0, 31], np.uint8), 5).tolist() == [0x1F, 0x7C]
    assert ref.pack_bits(np.array([-128, 127, -1], np.int8), 8).tolist() == [0x80, 0x7F, 0xFF]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 31])
def test_pack_bits_is_a_little_endian_integer(bits, count):
    rng = np.random.default_rng(bits * 100 + count)
    codes = rng.integers(0, 1 << bits, (2, 3, count), np.uint8)
    packed = ref.pack_bits(codes, bits)
    assert packed.dtype == np.uint8 and packed.shape == (2, 3, (count * bits + 7) // 8)
    for row, stream in zip(codes.reshape(6, -1), packed.reshape(6, -1), strict=True):
        assert int.from_bytes(stream.tobytes(), "little") == sum(int(c) << (i * bits) for i, c in enumerate(row))
    unsigned = ref.unpack_bits(packed, bits, count)
    assert unsigned.dtype == np.uint8 and np.array_equal(unsigned, codes)
    signed = ref.unpack_bits(packed, bits, count, signed=True)
    assert signed.dtype == np.int8
    assert np.array_equal(signed, np.where(codes >= 1 << (bits - 1), codes.astype(int) - (1 << bits), codes))
    assert np.array_equal(ref.pack_bits(signed, bits), packed)


# ---- float32 building blocks -----------------------------------------------------------------------------------


def test_fma_is_one_rounding_of_the_exact_result():
    rng = np.random.default_rng(1)
    count = 3000
    a, b, c = random_floats(rng, count), random_floats(rng, count), random_floats(rng, count)
    # Addends near the product, where cancellation and ties happen, and products near the subnormals.
    with np.errstate(all="ignore"):
        near = (a.astype(float) * b * rng.choice([-1.0, 1.0, -0.5, 2**-24, 2**-25, 1 + 2**-20], count)).astype(F32)
    low_a, low_b = random_floats(rng, count, -100, -40), random_floats(rng, count, -100, -40)
    low_c = random_floats(rng, count, -149, -110)
    for x, y, z in ((a, b, c), (a, b, near), (low_a, low_b, low_c)):
        keep = np.isfinite(z)
        got = ref.fma(x, y, z)
        assert got.dtype == F32
        want = np.array([exact_fma(*v) for v in zip(x[keep], y[keep], z[keep], strict=True)], F32)
        assert np.array_equal(got[keep], want)


def test_fma_where_rounding_twice_is_wrong():
    # The product is 1 + 2^-11 + 2^-24, a tie that only the addend decides; double cannot hold their sum.
    a = F32(1 + 2**-12)
    assert ref.fma(a, a, F32(0)) == 1 + 2**-11
    assert ref.fma(a, a, F32(2**-60)) == 1 + 2**-11 + 2**-23
    assert ref.fma(a, a, F32(-(2**-60))) == 1 + 2**-11
    odd = F32(1 + 2**-23)  # times 1.5 it is 1.5 + 2^-23 + 2^-24, a tie above an odd float
    assert ref.fma(odd, F32(1.5), F32(0)) == 1.5 + 2**-22
    assert ref.fma(odd, F32(1.5), F32(-(2**-60))) == 1.5 + 2**-23
    assert ref.fma(F32(2**-75), F32(2**-75), F32(0)) == 0  # half the smallest: a tie to even
    assert ref.fma(F32(1.5 * 2**-75), F32(2**-75), F32(0)) == TINY
    assert ref.fma(MAX, F32(1), F32(2**103)) == np.inf
    assert ref.fma(MAX, F32(1), np.nextafter(F32(2**103), F32(0))) == MAX


def test_fma_special_values_and_signs_of_zero():
    a, b, c = np.meshgrid(SPECIAL, SPECIAL, SPECIAL, indexing="ij")
    got = ref.fma(a, b, c)
    with np.errstate(all="ignore"):
        plain = a.astype(np.float64) * b + c
    special = ~np.isfinite(plain) | (plain == 0)
    assert special.sum() > 1000
    assert same(got[special], plain[special].astype(F32))
    finite = np.argwhere(~special)[::7]
    for index in map(tuple, finite):
        assert got[index] == exact_fma(a[index], b[index], c[index])


def test_fma_broadcasts():
    a, b = np.ones((3, 1), F32), np.ones((1, 4), F32)
    assert ref.fma(a, b, F32(2)).shape == (3, 4)
    assert ref.fma(F32(2), np.full(3, 1 + 2**-23, F32), F32(-2)).tolist() == [2**-22] * 3
    assert ref.fma(1, 2, 3).shape == ()


def test_exp_is_within_an_ulp():
    x = np.linspace(-87.3, 88.7, 60001).astype(F32)
    want = np.array([math.exp(v) for v in x.tolist()])
    assert np.max(np.abs(ref.exp(x) - want) / want) < 1.0 * 2**-23
    assert ref.exp(F32(0)) == 1 and ref.exp(F32(-0.0)) == 1
    low = np.linspace(-104, -87.4, 2001).astype(F32)
    want = np.array([math.exp(v) for v in low.tolist()])
    assert np.max(np.abs(ref.exp(low) - want)) <= TINY
    assert ref.exp(np.array([-104, -1e30, -np.inf], F32)).tolist() == [0, 0, 0]
    assert ref.exp(np.array([88.73, 89, 1e30, np.inf], F32)).tolist() == [np.inf] * 4
    assert np.isfinite(ref.exp(F32(88.72)))
    assert np.isnan(ref.exp(F32(np.nan)))
    assert np.all(np.diff(ref.exp(np.linspace(-1, 1, 4001).astype(F32))) >= 0)


def test_activations_against_float64():
    x = np.linspace(-14, 14, 40001).astype(F32)
    exact = x.astype(float).tolist()
    gelu = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in exact])
    tanh = np.array([0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in exact])
    silu = np.array([v / (1 + math.exp(-v)) for v in exact])
    for name, want, absolute, relative, low in (
        ("gelu", gelu, 5e-7, 6e-7, -4),
        ("gelu", gelu, 5e-7, 6e-6, -14),  # x * x rounded: relative errors grow as x^2 / 2
        ("gelu_tanh", tanh, 6e-7, 9e-7, -3),
        ("silu", silu, 2e-6, 2e-7, -14),
    ):
        error = np.abs(ref.activation(x, name) - want)
        part = (x >= low) & (np.abs(want) > 1e-37)
        assert error.max() < absolute, name
        assert np.max(error[part] / np.abs(want[part])) < relative, name
    assert same(ref.activation(x, None), x)
    assert same(ref.activation(x, "relu"), np.where(x < 0, F32(0), x))


def test_activations_of_special_values():
    nan = np.nan
    x = np.array([np.inf, -np.inf, -200, 1e30, -1e30, nan], F32)
    for name, want in (
        ("relu", [np.inf, 0, 0, 1e30, 0, nan]),
        ("silu", [np.inf, nan, -0.0, 1e30, -0.0, nan]),
        ("gelu_tanh", [np.inf, nan, -0.0, 1e30, -0.0, nan]),
        ("gelu", [nan, nan, -0.0, 1e30, -0.0, nan]),
    ):
        assert same(ref.activation(x, name), np.array(want, F32)), name
    assert math.copysign(1, ref.activation(F32(-0.0), "relu")) == -1
    with pytest.raises(ValueError, match="activation"):
        ref.activation(x, "swish")


# ---- ranges and parameters -------------------------------------------------------------------------------------


def test_value_range():
    x = np.array([[3, -1, np.nan, np.inf], [-np.inf, -0.0, -2, 5], [np.nan, np.inf, np.nan, -np.inf]], F32)
    low, high = ref.value_range(x)
    assert low.shape == () and low == -2 and high == 5
    low, high = ref.value_range(x, axis=0)
    assert low.tolist() == [-1, -2, 0] and high.tolist() == [3, 5, 0]
    low, high = ref.value_range(x, axis=-1)
    assert low.tolist() == [3, -1, -2, 5] and high.tolist() == [3, 0, -2, 5]
    assert np.signbit(high).tolist() == [False, False, True, False]  # the 0 is +0
    low, high = ref.value_range(x, group_size=3)
    assert low.tolist() == [[-1, 0], [-2, 5], [0, 0]] and high.tolist() == [[3, 0], [0, 5], [0, 0]]
    assert low.dtype == high.dtype == F32
    for bound in ref.value_range(np.full((2, 2), -0.0, F32), axis=0):
        assert same(bound, np.zeros(2, F32))
    assert ref.value_range(np.zeros((0, 5), F32))[0] == 0
    assert ref.value_range(np.zeros((0, 5), F32), axis=1)[0].tolist() == [0] * 5
    assert ref.value_range(np.zeros((2, 0), F32), group_size=4)[0].shape == (2, 0)
    assert ref.value_range(np.zeros((2, 3, 5), F32), group_size=2)[0].shape == (2, 3, 3)


def test_choose_params_by_hand():
    def params(*arguments):
        scale, zero = ref.choose_params(*arguments)
        return scale.item(), None if zero is None else zero.item()

    assert params("int4", "absmax", -14, 7) == (2, None)
    assert params("int4", "full", -15, 7) == (2, None)
    assert params("int4", "signed_max", -16, 7) == (2, None)
    assert params("int4", "signed_max", -7, 16) == (-2, None)
    assert params("int4", "signed_max", -8, 8) == (-1, None)
    assert params("int4", "no_clip", -16, 7) == (2, None)
    assert params("int4", "no_clip", -8, 21) == (3, None)
    assert params("uint4", "full", -15, 7) == (2, 8)
    assert params("uint8", "absmax", -127, 3) == (1, 128)
    assert params("int8", "asymmetric", -64, 191) == (1, -64)
    assert params("uint8", "asymmetric", -64, 191) == (1, 64)
    assert params("uint4", "asymmetric", 5, 30) == (2, 0)
    assert params("uint4", "asymmetric", -30, -5) == (2, 15)
    assert params("uint2", "asymmetric", -1.5, 1.5) == (1, 2)  # 0 + 1.5 rounds to even
    assert params("int1", "full", -3, 1) == (6, None)
    assert params("int1", "signed_max", -3, 1) == (3, None)
    for format in FORMATS:
        scale, zero = ref.choose_params(format, "asymmetric", 0, 0)
        assert scale == 1 and zero == ref.code_range(format)[2]
        assert ref.choose_params(format, "signed_max", 0, 0)[0] == 1
    for convention in ("absmax", "no_clip"):
        for format in ("int1", "uint1"):
            with pytest.raises(ValueError, match="one bit"):
                ref.choose_params(format, convention, -1, 1)
    with pytest.raises(ValueError, match="convention"):
        ref.choose_params("int4", "minmax", -1, 1)


def test_choose_params_dynamic_quantize_linear():
    """The example of ONNX DynamicQuantizeLinear."""
    x = np.array([0, 2, -3, -2.5, 1.34, 0.5], F32)
    scale, zero = ref.choose_params("uint8", "asymmetric", *ref.value_range(x))
    assert scale == F32(0.0196078438) and zero == 153 and zero.dtype == np.uint8
    assert ref.quantize(x, "uint8", scale, zero).tolist() == [153, 255, 0, 26, 221, 179]


def test_choose_params_extremes():
    half = np.float16
    scale, zero = ref.choose_params("uint8", "asymmetric", -MAX, MAX)
    assert np.isfinite(scale) and zero == 128
    assert scale == round32(round32(Fraction(float(MAX)) / 255) * 2)
    scale, _ = ref.choose_params("int8", "absmax", -MAX, MAX)
    assert scale == round32(Fraction(float(MAX)) / 127)
    assert ref.choose_params("int8", "absmax", 0, TINY)[0] == 1  # the quotient is 0
    assert ref.choose_params("int4", "absmax", 0, 1e-7, half)[0] == half(1)
    assert ref.choose_params("int4", "absmax", 0, 65504 * 7, half)[0] == half(65504)
    for arguments in (
        ("int4", "absmax", 0, 65520 * 7, half),
        ("int1", "full", -MAX, 0),
        ("uint1", "asymmetric", -MAX, MAX),
    ):
        with pytest.raises(ValueError, match="scale"):
            ref.choose_params(*arguments)
    low, high = np.array([[-1, -2], [0, -5]], F32), np.array([[3, 0], [0, 4]], F32)
    scale, zero = ref.choose_params("int8", "asymmetric", low, high, half)
    assert scale.dtype == half and zero.dtype == np.int8 and scale.shape == zero.shape == (2, 2)


# ---- quantize and dequantize -----------------------------------------------------------------------------------


def test_quantize_rounds_half_to_even():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.5, -128.5, -129], F32)
    assert ref.quantize(x, "int8", 1).tolist() == [0, 2, 2, 0, -2, -2, 126, 127, -128, -128]
    below = np.nextafter(x[:3], F32(0))
    assert ref.quantize(below, "int8", 1).tolist() == [0, 1, 2]
    # The zero point is added after rounding.
    assert ref.quantize(np.array([0.5, 1.5], F32), "uint8", 1, 1).tolist() == [1, 3]


def test_quantize_linear_example():
    """The example of ONNX QuantizeLinear."""
    x = np.array([0, 2, 3, 1000, -254, -1000], F32)
    assert ref.quantize(x, "uint8", F32(2), np.uint8(128)).tolist() == [128, 129, 130, 255, 1, 0]


def test_quantize_divides():
    rng = np.random.default_rng(2)
    codes = rng.integers(-127, 127, 20000)
    scale = F32(0.1)
    x = ((codes + 0.5) * float(scale)).astype(F32)
    x = np.where(rng.integers(0, 2, len(x)), x, np.nextafter(x, F32(0)))
    got = ref.quantize(x, "int8", scale)
    for value, code in zip(x[:3000], got[:3000], strict=True):
        assert code == round(Fraction(float(round32(Fraction(float(value)) / Fraction(float(scale))))))
    assert np.any(got != np.clip(np.rint(x * (F32(1) / scale)), -128, 127))


@pytest.mark.parametrize("format", FORMATS)
def test_quantize_special_values(format):
    _, signed, qmin, qmax = ref.code_range(format)
    zero = qmax if signed else 1
    x = np.array([np.nan, np.inf, -np.inf, MAX, -MAX, 3e9, -3e9, 0, -0.0], F32)
    want = [zero, qmax, qmin, qmax, qmin, qmax, qmin, zero, zero]
    for scale in (1e-3, 1e-38, 1):
        got = ref.quantize(x, format, F32(scale), zero)
        assert got.dtype == (np.int8 if signed else np.uint8) and got.tolist() == want
    assert ref.quantize(x[:3], format, F32(-1)).tolist() == [0, qmin, qmax]


def test_parameters_meet_their_elements():
    x = np.arange(2 * 3 * 5, dtype=F32).reshape(2, 3, 5)
    for axis in range(-3, 3):
        scale = np.arange(1, x.shape[axis] + 1).astype(F32)
        got = ref.quantize(x, "uint8", scale, axis=axis)
        for index in np.ndindex(x.shape):
            assert got[index] == round(x[index].item() / (index[axis] + 1))
        back = ref.dequantize(got, scale, axis=axis)
        assert back[1, 2, 4] == got[1, 2, 4] * scale[(1, 2, 4)[axis]]
    scale = np.arange(1, 2 * 3 * 3 + 1).astype(np.float16).reshape(2, 3, 3)
    zero = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    got = ref.quantize(x, "uint8", scale, zero, group_size=2)
    back = ref.dequantize(got, scale, zero, group_size=2)
    for index in np.ndindex(x.shape):
        s, z = scale[index[0], index[1], index[2] // 2].item(), zero[index[0], index[1], index[2] // 2].item()
        assert got[index] == round(x[index].item() / s) + z
        assert back[index] == (got[index].item() - z) * s
    for values, keywords in (((3,), {}), ((2,), {"axis": 1}), ((2, 3, 2), {"group_size": 2}), ((1,), {"axis": 0})):
        with pytest.raises(ValueError, match="shape"):
            ref.quantize(x, "int8", np.ones(values, F32), **keywords)
    with pytest.raises(ValueError, match="exclude"):
        ref.dequantize(x, np.ones(2, F32), axis=0, group_size=2)


def test_dequantize_is_one_rounding():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, 500).astype(np.uint8)
    scale = random_floats(rng, 500)
    zero = rng.integers(0, 256, 500).astype(np.uint8)
    got = ref.dequantize(codes, scale, zero, axis=0)
    want = [round32((int(c) - int(z)) * Fraction(float(s))) for c, z, s in zip(codes, zero, scale, strict=True)]
    assert got.dtype == F32 and np.array_equal(got, np.array(want, F32))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("convention", ["asymmetric", "absmax", "full", "signed_max", "no_clip"])
def test_round_trip_error_is_bounded_by_the_step(format, convention, normal):
    bits = ref.code_range(format)[0]
    if bits == 1 and convention != "asymmetric":
        return  # refused, or with one value beside 0
    x = normal[:64]
    low, high = ref.value_range(x, group_size=33)
    scale, zero = ref.choose_params(format, convention, low, high)
    codes = ref.quantize(x, format, scale, zero, group_size=33)
    error = np.abs(ref.dequantize(codes, scale, zero, group_size=33) - x.astype(float))
    step = np.repeat(np.abs(scale.astype(float)), 33, axis=1)[:, : x.shape[1]]
    # full and signed_max clip one end by at most half a step and one step; a rounded zero point by half a step.
    reach = {"asymmetric": 1.0, "absmax": 0.5, "full": 0.5, "signed_max": 1.0, "no_clip": 0.5}[convention]
    assert np.all(error <= step * reach * (1 + 1e-4))
    assert codes.min() == ref.code_range(format)[2] or convention == "absmax"
    assert codes.max() == ref.code_range(format)[3]


@pytest.mark.parametrize(
    ("format", "group", "errors"),
    [
        ("int4", 32, {"absmax": 0.00944, "full": 0.00901, "signed_max": 0.00740, "asymmetric": 0.00653}),
        ("int4", 128, {"absmax": 0.01381, "full": 0.01230, "signed_max": 0.01066, "asymmetric": 0.01013}),
        ("int3", 128, {"absmax": 0.0752, "full": 0.0565, "signed_max": 0.0432, "asymmetric": 0.0465}),
        ("int2", 128, {"absmax": 0.589, "full": 0.303, "signed_max": 0.180, "asymmetric": 0.253}),
    ],
)
def test_mean_squared_errors_of_groups(format, group, errors, normal):
    """Known mean squared errors on N(0, 1), for both signs of format."""
    low, high = ref.value_range(normal, group_size=group)
    for convention, want in errors.items():
        for name in (format, "u" + format):
            scale, zero = ref.choose_params(name, convention, low, high)
            codes = ref.quantize(normal, name, scale, zero, group_size=group)
            error = ref.dequantize(codes, scale, zero, group_size=group) - normal.astype(float)
            assert np.mean(error**2) == pytest.approx(want, rel=0.01), (name, convention)


@pytest.mark.parametrize(("format", "step", "want"), [("int2", 0.9957, 0.14943), ("int8", None, 8.771e-5)])
def test_mean_squared_error_of_one_grid(format, step, want, normal):
    """The best single step on an integer grid that reaches the known minimum, and none that beats it."""
    steps = [step] if step else []
    steps += np.geomspace(0.02, 1.5, 60).tolist()
    errors = [np.mean((ref.dequantize(ref.quantize(normal, format, F32(s)), F32(s)) - normal) ** 2) for s in steps]
    assert min(errors) == pytest.approx(want, rel=0.02)


# ---- integer products ------------------------------------------------------------------------------------------


def test_matmul_int_is_exact():
    rng = np.random.default_rng(4)
    kinds = [np.int8, np.uint8]
    for a_type in kinds:
        for b_type in kinds:
            a = rng.integers(np.iinfo(a_type).min, np.iinfo(a_type).max + 1, (3, 37)).astype(a_type)
            b = rng.integers(np.iinfo(b_type).min, np.iinfo(b_type).max + 1, (37, 5)).astype(b_type)
            for za, zb in ((0, 0), (7, -9), (np.array([1, -128, 255]), np.arange(5) - 2)):
                rows = np.broadcast_to(za, 3).astype(object)[:, None]
                want = (a.astype(object) - rows) @ (b.astype(object) - np.asarray(zb).astype(object))
                got = ref.matmul_int(a, b, a_zero_point=za, b_zero_point=zb)
                assert got.dtype == np.int32 and np.array_equal(got, want)
    assert ref.matmul_int(np.zeros((2, 0), np.int8), np.zeros((0, 3), np.int8)).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(("a", "b", "k"), [(-128, -128, 131071), (255, -128, 65793), (255, 255, 33025)])
def test_matmul_int_wraps_past_the_documented_length(a, b, k):
    kind = {True: np.uint8, False: np.int8}
    for length, wraps in ((k, False), (k + 1, True)):
        left, right = np.full((1, length), a, kind[a > 0]), np.full((length, 1), b, kind[b > 0])
        exact = a * b * length
        got = int(ref.matmul_int(left, right)[0, 0])
        assert (got - exact) % 2**32 == 0
        assert (got != exact) == (wraps and not -(2**31) <= exact < 2**31)
        assert wraps == (not -(2**31) <= exact < 2**31)


# ---- quantized activations -------------------------------------------------------------------------------------


def test_quantize_activations_by_hand():
    x = np.array([[127, -63.5, 0.5, 1.5, 0, 254, -255], [0, 0, 0, 0, TINY, 0, 0]], F32)
    codes, scales = ref.quantize_activations(x, 4)
    assert codes.dtype == np.int8 and scales.dtype == F32
    assert scales.tolist() == [[1, F32(255) / F32(127)], [0, 0]]
    assert codes.tolist() == [[127, -64, 0, 2, 0, 127, -127], [0] * 7]
    for whole in (None, -1, 7, 100):
        assert ref.quantize_activations(x, whole)[1].shape == (2, 1)
    codes, scales = ref.quantize_activations(np.array([[64 * float(TINY), -float(TINY)]], F32))
    assert scales == TINY and codes.tolist() == [[64, -1]]  # 64 / 127 rounds up to the smallest number
    assert ref.quantize_activations(np.zeros((3, 0), F32), 4)[1].shape == (3, 0)


def test_quantize_activations_poisons_groups_with_nan_or_inf():
    for bad in (np.nan, np.inf, -np.inf):
        x = np.ones((2, 8), F32)
        x[0, 5] = bad
        codes, scales = ref.quantize_activations(x, 4)
        assert np.isnan(scales).tolist() == [[False, True], [False, False]]
        assert codes.tolist() == [[127] * 4 + [0] * 4, [127] * 8]
        w = np.ones((3, 8), np.int8)
        for group in (4, -1):
            for name in (None, "relu", "gelu", "gelu_tanh", "silu"):
                y = ref.matmul_dynamic(x, w, np.ones((3, 2), F32), group_size=4, act_group_size=group, activation=name)
                assert np.isnan(y[0]).all() and np.isfinite(y[1]).all()


# ---- matrix products against exact rationals -------------------------------------------------------------------


def rational_matmul_int8(x, x_scale, w, w_scale, w_zero, group, weight_group, act_group, bias):
    """Steps 1 to 5 with integers, Fractions and round32; x_scale and w_scale are (rows, groups)."""
    (m, k), n = x.shape, w.shape[0]
    out = np.zeros((m, n), F32)
    per_segment = max(1, 1024 // group)
    for i, j in np.ndindex(m, n):
        segments = []
        for g in range(-(-k // group)):
            span = range(g * group, min(k, (g + 1) * group))
            wg, ag = g * group // weight_group, g * group // act_group
            total = sum((int(w[j, p]) - int(w_zero[j, wg])) * int(x[i, p]) for p in span)
            factor = w_scale[j, wg]
            if x_scale.shape[1] > 1:
                factor = round32(Fraction(float(factor)) * Fraction(float(x_scale[i, ag])))
            if g % per_segment == 0:
                segments.append(F32(0))
            segments[-1] = exact_fma(round32(total), factor, segments[-1])
        y = segments[0]
        for acc in segments[1:]:
            y = round32(Fraction(float(y)) + Fraction(float(acc)))
        if x_scale.shape[1] == 1:
            y = round32(Fraction(float(y)) * Fraction(float(x_scale[i, 0])))
        out[i, j] = round32(Fraction(float(y)) + Fraction(float(bias[j])))
    return out


@pytest.mark.parametrize(
    ("k", "weight_group", "act_group", "group"),
    [
        (96, 32, None, 32),
        (100, 32, None, 32),
        (100, 32, 16, 16),
        (100, 32, 64, 32),
        (100, 32, -1, 32),
        (100, None, None, 100),
        (100, None, 48, 48),
        (100, 128, 48, 48),
        (100, 128, 200, 128),
        (1200, 5, None, 5),  # 204 groups to a segment
        (2300, 1100, None, 1100),  # longer than a segment
        (2100, 700, -1, 700),
    ],
)
def test_matmul_int8_against_rationals(k, weight_group, act_group, group):
    rng = np.random.default_rng(k)
    m, n = 2, 3
    x = rng.standard_normal((m, k)).astype(F32)
    w = rng.integers(0, 16, (n, k)).astype(np.uint8)
    wg = weight_group or k
    w_scale = rng.uniform(0.01, 0.02, (n, -(-k // wg))).astype(np.float16)
    w_zero = rng.integers(0, 16, w_scale.shape).astype(np.uint8)
    bias = rng.standard_normal(n).astype(F32)
    actual = {None: wg, -1: k}.get(act_group, act_group)
    codes, x_scale = ref.quantize_activations(x, actual)
    want = rational_matmul_int8(codes, x_scale, w, w_scale, w_zero, group, wg, actual, bias)
    keywords = {"group_size": weight_group, "act_group_size": act_group, "bias": bias}
    assert same(ref.matmul_dynamic(x, w, w_scale, w_zero, **keywords), want)
    assert same(ref.matmul_int8(codes, x_scale, w, w_scale, w_zero, **keywords), want)
    exact = x.astype(float) @ ref.dequantize(w, w_scale, w_zero, group_size=wg).astype(float).T + bias
    assert np.abs(want - exact).max() < 0.01 * np.abs(exact).max() + 0.05


def test_matmul_int8_of_8_bit_activations():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (3, 50)).astype(np.uint8)
    w = rng.integers(-128, 128, (4, 50)).astype(np.int8)
    scale, x_zero = rng.uniform(0.01, 0.1, 4).astype(F32), np.array([128, 0, 255])
    exact = (x.astype(int) - x_zero[:, None]) @ w.astype(int).T
    want = (exact.astype(F32) * scale) * F32(0.03)
    assert same(ref.matmul_int8(x, F32(0.03), w, scale, x_zero_point=x_zero), want)
    assert same(ref.matmul_int8(x, np.full(3, 0.03, F32), w, scale, x_zero_point=x_zero), want)
    assert same(ref.matmul_int8(x, np.full((3, 1), 0.03, F32), w, scale, x_zero_point=x_zero), want)
    one = ref.matmul_int8(x, F32(1), w, F32(0.5), activation="relu")
    assert same(one, np.maximum(x.astype(int) @ w.astype(int).T * 0.5, 0).astype(F32))


@pytest.mark.parametrize("k", [1, 33, 1024, 1025, 2100])
def test_matmul_float32_against_rationals(k):
    rng = np.random.default_rng(k)
    x = rng.standard_normal((1, k)).astype(F32)
    w = rng.integers(-8, 8, (2, k)).astype(np.int8)
    scale = rng.uniform(0.01, 0.1, (2, -(-k // 32))).astype(np.float16)
    zero = rng.integers(-8, 8, scale.shape).astype(np.int8)
    bias = rng.standard_normal(2).astype(F32)
    decoded = ref.dequantize(w, scale, zero, group_size=32)
    want = np.zeros((1, 2), F32)
    for j in range(2):
        segments = []
        for begin in range(0, k, 1024):
            acc = F32(0)
            for p in range(begin, min(k, begin + 1024)):
                acc = exact_fma(x[0, p], decoded[j, p], acc)
            segments.append(acc)
        y = segments[0]
        for acc in segments[1:]:
            y = round32(Fraction(float(y)) + Fraction(float(acc)))
        want[0, j] = round32(Fraction(float(y)) + Fraction(float(bias[j])))
    assert same(ref.matmul_float32(x, w, scale, zero, group_size=32, bias=bias), want)


def test_matmul_float32_keeps_a_negative_zero():
    """The first segment is y, not added to 0: -1e-60 rounds to -0."""
    y = ref.matmul_float32(F32([[-1e-30]]), np.ones((1, 1), np.int8), F32(1e-30))
    assert same(y, np.full((1, 1), -0.0, F32))


def test_matmul_errors_against_float64():
    """Both modes at a realistic size: compute "float32" is as exact as float32, "int8" costs about 1 %."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((8, 512)).astype(F32)
    weights = rng.standard_normal((16, 512)).astype(F32)
    scale, zero = ref.choose_params("int4", "asymmetric", *ref.value_range(weights, group_size=32), np.float16)
    codes = ref.quantize(weights, "int4", scale, zero, group_size=32)
    exact = x.astype(float) @ ref.dequantize(codes, scale, zero, group_size=32).astype(float).T
    size = np.sqrt(np.mean(exact**2))

    def relative(y):
        return np.sqrt(np.mean((y - exact) ** 2)) / size

    assert relative(ref.matmul_float32(x, codes, scale, zero, group_size=32)) < 1e-6
    grouped = relative(ref.matmul_dynamic(x, codes, scale, zero, group_size=32))
    whole = relative(ref.matmul_dynamic(x, codes, scale, zero, group_size=32, act_group_size=-1))
    assert 1e-4 < grouped < whole < 0.012


def test_a_row_does_not_depend_on_its_batch():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((5, 130)).astype(F32)
    w = rng.integers(-8, 8, (3, 130)).astype(np.int8)
    scale = rng.uniform(0.1, 1, (3, 5)).astype(F32)
    for matmul in (ref.matmul_dynamic, ref.matmul_float32):
        whole = matmul(x, w, scale, group_size=32, activation="gelu")
        for i in range(5):
            assert same(matmul(x[i : i + 1], w, scale, group_size=32, activation="gelu"), whole[i : i + 1])


def test_matmul_of_nothing():
    bias = np.array([1, -2, 3], F32)
    x, w = np.zeros((2, 0), F32), np.zeros((3, 0), np.int8)
    for matmul in (ref.matmul_dynamic, ref.matmul_float32):
        assert matmul(x, w, np.ones(3, F32)[:, None][:, :0], group_size=4, bias=bias).tolist() == [[1, -2, 3]] * 2
        assert matmul(x, w, F32(1), bias=bias, activation="relu").tolist() == [[1, 0, 3]] * 2
        assert matmul(np.zeros((0, 4), F32), np.zeros((3, 4), np.int8), F32(1)).shape == (0, 3)
        assert matmul(np.zeros((2, 4), F32), np.zeros((0, 4), np.int8), F32(1)).shape == (2, 0)


def test_matmul_refuses_groups_that_do_not_fit():
    x, w = np.zeros((1, 100), F32), np.zeros((1, 100), np.int8)
    with pytest.raises(ValueError, match="act_group_size"):
        ref.matmul_dynamic(x, w, np.ones((1, 4), F32), group_size=32, act_group_size=48)
    with pytest.raises(ValueError, match="group_size"):
        ref.matmul_dynamic(x, w, np.ones((1, 4), F32), group_size=0)
    with pytest.raises(ValueError, match="65536"):
        ref.matmul_dynamic(np.zeros((1, 65537), F32), np.zeros((1, 65537), np.int8), F32(1))
