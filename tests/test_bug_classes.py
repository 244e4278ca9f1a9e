"""The bug classes of SIMD quantization kernels, and the tests that look for each: complete, and each of them real.

A Python test names its classes with @pytest.mark.bug(7), a C++ test in a comment: "bug class 7".
"""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# number: (class, where the main proof is; "file: word" for C++, "file::test" for Python)
CLASSES = {
    1: ("tails", "test_quantize.py::test_every_length"),
    2: ("tails of threads", "test_threads.py::test_odd_shapes_with_any_number_of_threads"),
    3: ("reads and writes past the end", "test_memory.py::test_matmul"),
    4: ("misaligned pointers", "test_memory.py::test_misaligned_inputs"),
    5: ("NaN, infinity and overflow to int", "test_quantize.py::test_extreme_values"),
    6: ("order of min's and max's operands with NaN", "test_quantize.py::test_not_finite_at_every_lane"),
    7: ("rounding of ties", "test_quantize.py::test_ties"),
    8: ("contraction to fused multiply-add", "test_golden.py::test_kernels"),
    9: ("saturation of 16-bit pairs", "test_matmul_int.py::test_constant_extremes"),
    10: ("overflow of a lane's sum", "test_matmul.py::test_extreme_codes"),
    11: ("-128 under sign tricks", "test_matmul.py::test_extreme_codes_of_x"),
    12: ("the limit of int32 sums", "test_matmul_int.py::test_int32_limit_of_k"),
    13: ("zero, subnormal and huge scales", "test_quantize.py::test_zero_tiny_and_huge_groups"),
    14: ("conversion of 16-bit floats", "test_quantize.py::test_every_float16_scale"),
    15: ("order of nibbles", "test_bits.py::test_golden_bytes"),
    16: ("flush-to-zero", "test_isas.py::test_subnormals_survive_the_import_and_the_kernels"),
    17: ("dirty buffers", "test_memory.py::test_dirty_memory"),
    18: ("sizes beyond 2^31", "test_errors.py::test_bad_input"),
    19: ("odd arrays", "test_layouts.py::test_quantize_and_dequantize"),
    20: ("byte order", "test_layouts.py::test_byte_order"),
    21: ("read-only out, converted temporaries", "test_memory.py::test_read_only_and_wrong_out_raise"),
    22: ("aliasing", "test_memory.py::test_out_over_x_at_every_shift"),
    23: ("fork after the pool has started", "test_threads.py::test_fork_after_the_pool_has_started"),
    24: ("exit with a busy pool", "test_threads.py::test_exit_with_a_busy_pool"),
    25: ("mutation while the GIL is released", "test_threads.py::test_mutation_while_the_gil_is_released"),
    26: ("free-threaded Python", "test_threads.py::test_concurrent_callers"),
    27: ("a missing ISA", "test_build.py::test_older_cpus_import_it_and_get_right_results"),
    28: (
        "inline code that leaks between ISAs",
        "test_build.py::test_an_isa_object_has_one_global_symbol_and_no_weak_one",
    ),
    29: ("state that the OS does not save", "cpp/test_dispatch.cpp: the_operating_system_must_save_the_registers"),
    30: ("results that depend on threads", "test_threads.py::test_same_bytes_with_any_number_of_threads"),
    31: ("kind test data", "test_matmul.py::test_the_sweep_reaches_everything"),
}


def named_classes():
    """Numbers that tests name: marks in Python, "bug class 7" or "bug classes 2, 26 and 30" in text."""
    found = set()
    for path in [*TESTS.glob("test_*.py"), *TESTS.glob("cpp/*.cpp")]:
        if path.name == Path(__file__).name:
            continue
        text = path.read_text(encoding="utf-8")
        lists = re.findall(r"mark\.bug\(([\d, ]+)\)", text)
        lists += re.findall(r"bug class(?:es)? (\d+(?:(?:, | and |, and )\d+)*)", text, re.IGNORECASE)
        found |= {int(number) for numbers in lists for number in re.findall(r"\d+", numbers)}
    return found


def test_all_classes_are_in_the_table_and_named_by_tests():
    assert list(CLASSES) == list(range(1, 32))
    assert named_classes() >= set(CLASSES)


@pytest.mark.parametrize("number", CLASSES)
def test_the_proof_exists(number):
    _, where = CLASSES[number]
    if ": " in where:
        name, word = where.split(": ")
        assert word in (TESTS / name).read_text(encoding="utf-8")
        return
    name, test = where.split("::")
    tree = ast.parse((TESTS / name).read_text(encoding="utf-8"))
    assert test in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
