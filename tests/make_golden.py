"""Golden hashes: python tests/make_golden.py writes tests/golden.json from lowbit.reference, never from the kernels.

test_golden.py compares the kernels with them on every ISA and CPU; x86 and ARM see the same file. It changes only when
docs/numerics.md does.
"""

import functools
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("golden.json")
F16, F32 = np.float16, np.float32


class Source:
    """Random numbers that no numpy release changes: the raw 64-bit words of PCG64 are its one stable stream."""

    def __init__(self, seed):
        self.words = np.random.PCG64(seed)

    def bytes(self, count):
        return self.words.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]

    def codes(self, bits, signed, shape):
        low = self.bytes(int(np.prod(shape))).reshape(shape) >> (8 - bits)
        return (low.astype(np.int16) - (1 << (bits - 1))).astype(np.int8) if signed else low

    def floats(self, shape, exponents=6):
        """Exact in float32: 24-bit integers times powers of two; both signs."""
        count = int(np.prod(shape))
        raw = self.words.random_raw(count)
        mantissa = (raw >> np.uint64(40)).astype(np.int64) - (1 << 23)
        exponent = (raw % np.uint64(exponents)).astype(np.int64) - 23
        return np.ldexp(mantissa.astype(np.float64), exponent).astype(F32).reshape(shape)


def digest(*arrays):
    """SHA-256 of little-endian bytes; every NaN is the same NaN, and None leaves no trace."""
    hashed = hashlib.sha256()
    for array in arrays:
        if array is None:
            continue
        array = np.asarray(array)
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
            array = np.where(np.isnan(array), np.array(0x7FC00000, np.uint32).view(F32).astype(array.dtype), array)
        hashed.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
    return hashed.hexdigest()


@functools.cache
def cases():
    """name -> (kind, arguments): what both the reference and the kernels are given."""
    table = {}
    for seed, (a, b) in enumerate([("int8", "int8"), ("uint8", "int8"), ("int8", "uint8"), ("uint8", "uint8")]):
        source = Source(seed)
        table[f"matmul_int {a} {b}"] = (
            "matmul_int",
            {
                "a": source.codes(8, a == "int8", (9, 301)),
                "b": source.codes(8, b == "int8", (301, 35)),
                "a_zero_point": source.codes(8, True, 9).astype(np.int32),
                "b_zero_point": source.codes(8, True, 35).astype(np.int32),
            },
        )
    for seed, (format, group_size, convention, dtype) in enumerate(
        [
            ("int8", None, "absmax", F32),
            ("uint8", 32, "asymmetric", F32),
            ("int4", 32, "full", F16),
            ("uint4", 32, "asymmetric", F16),
            ("int3", 33, "signed_max", F32),
            ("int5", 7, "no_clip", F16),
            ("uint2", 64, "asymmetric", F32),
            ("int1", 16, "signed_max", F32),
            ("uint6", -1, "full", F32),
            ("int7", 100, "absmax", F16),
        ]
    ):
        x = Source(100 + seed).floats((7, 203), exponents=12)
        x[1, 5], x[2, 7], x[3, 9], x[4, 11] = np.nan, np.inf, -np.inf, F32(-0.0)
        arguments = {"x": x, "format": format, "group_size": group_size, "convention": convention, "scale_dtype": dtype}
        table[f"quantize {format} {group_size} {convention} {dtype.__name__}"] = ("quantize", arguments)
    seed = 200
    for format, group_size, dtype in [
        ("int8", None, F32),
        ("uint8", 32, F16),
        ("int4", 32, F16),
        ("uint4", 32, F16),
        ("uint4", 128, F32),
        ("int3", 64, F32),
        ("uint2", 32, F16),
        ("int1", 32, F32),
        ("uint5", 33, F32),
        ("int6", -1, F16),
        ("uint7", 96, F32),
    ]:
        for kind, act, activation in [
            ("int8", None, "gelu"),
            ("int8", -1, "silu"),
            ("float32", None, "gelu_tanh"),
        ]:
            for rows in (3, 13):
                seed += 1
                table[f"matmul {kind} {format} {group_size} {dtype.__name__} {act} {rows} rows"] = (
                    "matmul",
                    weights(seed, format, group_size, dtype)
                    | {
                        "x": activations(seed, rows),
                        "kind": kind,
                        "act_group_size": act,
                        "activation": activation,
                        "bias": Source(seed + 5000).floats(21),
                    },
                )
    for seed, (format, keywords) in enumerate(
        [("int8", {}), ("uint4", {"axis": 0}), ("int4", {"axis": 1}), ("int2", {"group_size": 100})]
    ):
        source = Source(300 + seed)
        x = source.floats((37, 311), exponents=6)
        x[1, 5], x[2, 7], x[3, 9], x[4, 11] = np.nan, np.inf, -np.inf, np.float32(-0.0)
        count = {"axis": x.shape[keywords.get("axis", 0)], "group_size": (37, 4)}.get(next(iter(keywords), ""), ())
        arguments = {
            "x": x,
            "grad": source.floats(x.shape, exponents=3),
            "scale": np.abs(source.floats(count, exponents=2)) + F32(2.0**-6),
            "zero_point": source.codes(int(format[-1]), format[0] == "i", count),
            "format": format,
        }
        table[f"fake_quantize {format} {keywords}"] = ("fake_quantize", arguments | keywords)
    for number, (format, group_size, act) in enumerate(
        [("int8", None, None), ("int4", 32, None), ("uint4", 32, -1), ("int3", 64, None), ("uint2", 32, -1)]
    ):
        for rows in (3, 13):
            seed = 400 + 2 * number + (rows > 3)
            table[f"matmul int8x2 {format} {group_size} {act} {rows} rows, residual"] = (
                "matmul",
                weights(seed, format, group_size, F32)
                | {
                    "x": activations(seed, rows),
                    "kind": "int8x2",
                    "act_group_size": act,
                    "activation": "gelu",
                    "bias": Source(seed + 5000).floats(21),
                    "residual": Source(seed + 6000).floats((rows, 21), exponents=12),
                },
            )
    return table


def activations(seed, rows):
    x = Source(seed + 9000).floats((rows, 1100), exponents=3)
    x[1, 3] = np.nan
    x[2] = 0
    return x


def weights(seed, format, group_size, dtype, n=21, k=1100):
    bits, signed = int(format[-1]), not format.startswith("u")
    source = Source(seed)
    params = (n,) if group_size is None else (n, 1 if group_size == -1 else -(-k // group_size))
    # Results are of the size of 1, where activation functions bend.
    scale = ((np.abs(source.floats(params, exponents=3)) + F32(2**-6)) * F32(2.0 ** -(bits + 6))).astype(dtype)
    return {
        "format": format,
        "codes": source.codes(bits, signed, (n, k)),
        "scale": scale,
        "zero_point": source.codes(bits, signed, params),
        "group_size": group_size,
    }


def reference_digest(kind, arguments):
    from lowbit import reference as ref

    given = dict(arguments)
    if kind == "matmul_int":
        return digest(ref.matmul_int(given.pop("a"), given.pop("b"), **given))
    if kind == "fake_quantize":
        grad = given.pop("grad")
        return digest(ref.fake_quantize(**given), *ref.fake_quantize_gradient(grad, **given))
    if kind == "quantize":
        x, format, group_size = given["x"], given["format"], given["group_size"]
        low, high = ref.value_range(x, group_size=group_size)
        scale, zero = ref.choose_params(format, given["convention"], low, high, given["scale_dtype"])
        codes = ref.quantize(x, format, scale, zero, group_size=group_size)
        return digest(codes, scale, zero, ref.dequantize(codes, scale, zero, group_size=group_size))
    functions = {"int8": ref.matmul_dynamic, "int8x2": ref.matmul_int8x2, "float32": ref.matmul_float32}
    function = functions[given["kind"]]
    keywords = {} if given["kind"] == "float32" else {"act_group_size": given["act_group_size"]}
    y = function(
        given["x"],
        given["codes"],
        given["scale"],
        given["zero_point"],
        group_size=given["group_size"],
        bias=given["bias"],
        activation=given["activation"],
        residual=given.get("residual"),
        **keywords,
    )
    return digest(y)


def main():
    hashes = {name: reference_digest(*case) for name, case in cases().items()}
    PATH.write_text(json.dumps(hashes, indent=1) + "\n")
    print(f"{len(hashes)} hashes in {PATH}")


if __name__ == "__main__":
    sys.exit(main())
