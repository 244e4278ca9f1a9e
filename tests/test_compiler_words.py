"""What C++17 does not say stands in one header, csrc/compiler.hpp, which another compiler's words can be added to.

Statement expressions, case ranges, flexible arrays and designated initialisers, which have no word of their own, are
errors of -Wpedantic -Werror in CI's builds with g++ and clang.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# bench/limits.cpp measures single instructions, which it writes in assembly; the engine, which stands alone, asks which
# compiler it has.
EXEMPT = {ROOT / "csrc/compiler.hpp", ROOT / "bench/limits.cpp", ROOT / "examples/engine/die.h"}
SUFFIXES = {".c", ".h", ".cpp", ".hpp"}
FILES = sorted(
    path
    for room in ("csrc", "tests", "bench", "examples")
    for path in (ROOT / room).rglob("*")
    if path.suffix in SUFFIXES and path not in EXEMPT
)
WORDS = re.compile(
    r"__attribute__|__builtin_|__asm|\basm\s*\(|_Pragma|#\s*pragma\s+(?!once\b)|__restrict|__extension__|__typeof|"
    r"__int128|__label__|\bcase\s+\S+\s+\.\.\.\s"
)
# The public header stands alone: it says which names a shared library exports by itself, where the compiler is known.
PUBLIC = '#elif defined(__GNUC__)\n#define LOWBIT_API __attribute__((visibility("default")))\n'


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_compilers_are_spoken_to_in_one_header(path):
    text = path.read_text()
    if path.name == "lowbit.h":
        assert text.count(PUBLIC) == 1
        text = text.replace(PUBLIC, "")
    found = [line.strip() for line in text.splitlines() if WORDS.search(line)]
    assert not found, f"{path.name}: give it a name in csrc/compiler.hpp"


def test_that_header_has_words_to_find():
    assert len(WORDS.findall((ROOT / "csrc/compiler.hpp").read_text())) >= 10
    assert len(FILES) > 100
