"""Integer code formats: docs/numerics.md, "Formats"."""

import re


def code_range(format: str) -> tuple[int, bool, int, int]:
    """Return (bits, signed, qmin, qmax) of "int1" .. "int8", "uint1" .. "uint8"; ValueError for any other name."""
    match = re.fullmatch(r"(u?)int([1-8])", format)
    if match is None:
        raise ValueError(f"format: got {format!r}, expected int1 .. int8 or uint1 .. uint8")
    bits = int(match[2])
    if match[1]:
        return bits, False, 0, 2**bits - 1
    return bits, True, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
