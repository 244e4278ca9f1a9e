"""What a translation unit compiled with an ISA's flags includes.

An inline function of the standard library compiled with AVX-512 or dotprod flags is a weak symbol that may replace the
baseline's when linked, and then stop an older CPU (bug class 28). The headers allowed here define no functions but
intrinsics.
"""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parent.parent / "csrc"
SHIMS = sorted((CSRC / "isa").glob("*.cpp"))
ALLOWED = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}


def included(path, seen):
    """Names in <> that path and the headers it includes by "" ask for; seen collects those headers."""
    if path in seen:
        return set()
    seen.add(path)
    text = path.read_text()
    names = set(re.findall(r"^\s*#\s*include\s*<(.+?)>", text, re.MULTILINE))
    for header in re.findall(r'^\s*#\s*include\s*"(.+?)"', text, re.MULTILINE):
        names |= included((path.parent / header).resolve(), seen)
    return names


@pytest.mark.bug(28)
@pytest.mark.parametrize("shim", SHIMS, ids=lambda path: path.stem)
def test_only_intrinsics_and_integer_types_are_included(shim):
    seen = set()
    assert included(shim, seen) <= ALLOWED
    assert CSRC / "kernels.hpp" in seen, "the walk through the includes has lost its way"
