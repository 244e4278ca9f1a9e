"""The C ABI on paper: header, symbol list, layout assertions and documentation name the same things.

That the library exports the list, and that the assertions hold, is for the C++ tests (tests/cpp).
"""

import re
from pathlib import Path

import pytest

from lowbit import _core

ROOT = Path(__file__).parents[1]
HEADER = (ROOT / "csrc/include/lowbit/lowbit.h").read_text()
CODE = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
LAYOUT = (ROOT / "tests/cpp/abi_layout.c").read_text()
DOCS = (ROOT / "docs/c-api.md").read_text()

FUNCTIONS = re.findall(r"LOWBIT_API [^;(]*?(lowbit_\w+)\(", CODE)
STRUCTS = {
    name: [
        re.sub(r"\[.*", "", word.split()[-1].lstrip("*"))
        for line in body.split(";")
        for word in line.split(",")
        if line.strip()
    ]
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", CODE, re.DOTALL)
}
VALUES = re.findall(r"(LOWBIT_\w+) = \d+", CODE) + re.findall(r"#define (LOWBIT_\w+) \(\(lowbit_format\)\d+\)", CODE)


def test_the_header_has_been_understood():
    assert len(FUNCTIONS) > 30
    assert len(set(FUNCTIONS)) == len(FUNCTIONS) == HEADER.count("\nLOWBIT_API ")
    assert len(STRUCTS) == HEADER.count("typedef struct ") > 10
    assert STRUCTS["lowbit_runs"] == ["rows", "row_length", "run", "rows_per_param", "params"]
    assert len(VALUES) > 60


def test_the_symbol_list_is_the_headers():
    assert (ROOT / "csrc/lowbit.symbols").read_text().split() == sorted(FUNCTIONS)


def test_every_function_has_a_heading():
    headings = re.findall(r"^### (lowbit_\w+)$", DOCS, re.MULTILINE)
    assert sorted(headings) == sorted(FUNCTIONS)
    for name, text in re.findall(r"^### (lowbit_\w+)\n\n(.*?)\n\n", DOCS, re.MULTILINE | re.DOTALL):
        assert re.match(rf"`[^`]*\b{name}\(", text), f"{name}: its text begins with the call"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_documented_calls_have_the_headers_arguments(name):
    parameters = re.search(rf"\b{name}\((.*?)\);", CODE, re.DOTALL)[1]
    expected = [word.split()[-1].lstrip("*") for word in parameters.split(",") if word.strip() != "void"]
    text = re.search(rf"^### {name}\n\n`[^`]*\b{name}\(([^`]*)\)`", DOCS, re.MULTILINE)[1]
    assert [word.split()[-1].lstrip("*") for word in text.split(",") if word.strip() != "void"] == expected


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_is_documented_and_its_place_asserted(name):
    assert f"SIZE({name}, " in LAYOUT
    assert re.findall(rf"FIELD\({name}, (\w+), ", LAYOUT) == STRUCTS[name]
    if name.endswith(("_args", "_options", "_info")):
        missing = [field for field in STRUCTS[name] if not re.search(rf"`[^`]*\b{field}\b[^`]*`", DOCS)]
        assert missing == []


def test_every_value_is_asserted():
    assert [value for value in VALUES if f"VALUE({value}, " not in LAYOUT] == []


def test_the_headers_version_is_the_librarys():
    parts = [re.search(rf"#define LOWBIT_VERSION_{part} (\d+)", CODE)[1] for part in ("MAJOR", "MINOR", "PATCH")]
    assert ".".join(parts) == _core.version()
