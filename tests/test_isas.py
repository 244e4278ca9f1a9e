"""Instruction sets: what this CPU's flags promise is there, first is best, and a wrong name raises."""

import os
from pathlib import Path

import pytest
from helpers import run_python, run_script
from isas import promised_isas

import lowbit as lb

ORDER = ["avx512vnni", "avx512", "avxvnni", "avx2", "i8mm", "dotprod", "neon", "scalar"]


@pytest.mark.bug(27)
@pytest.mark.skipif(promised_isas() is None, reason="nothing but lowbit tells this system's CPU features")
def test_every_isa_that_the_cpu_promises_is_available():
    assert set(lb.available_isas()) == promised_isas()


@pytest.mark.bug(31)
def test_a_run_that_leaves_an_isa_out_fails():
    """The check at the end of a session, in conftest.py: all tests pass, and still it is no success."""
    file = Path(__file__).with_name("test_bits.py")
    for expected, status in ((",".join(lb.available_isas()), 0), ("scalar,vax", 1)):
        done = run_python(
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)),
            environment={"LOWBIT_EXPECTED_ISAS": expected, "LOWBIT_ISA": ""},
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert ("ERROR: test_bits.py ran nothing on vax" in done.stdout) == bool(status)


def test_best_first():
    assert list(lb.available_isas()) == [name for name in ORDER if name in lb.available_isas()]
    if not os.environ.get("LOWBIT_ISA"):
        assert lb.current_isa() == lb.available_isas()[0]


def test_use_isa_nests_and_is_undone(isa):
    with lb.use_isa("scalar"):
        assert lb.current_isa() == "scalar"
        with lb.use_isa(isa):
            assert lb.current_isa() == isa
        assert lb.current_isa() == "scalar"
        with pytest.raises(KeyError), lb.use_isa(isa):
            raise KeyError
        assert lb.current_isa() == "scalar"
    assert lb.current_isa() == isa


def test_environment_chooses(isa):
    assert run_script("import lowbit; print(lowbit.current_isa())", environment={"LOWBIT_ISA": isa}).strip() == isa


@pytest.mark.bug(27)
def test_an_isa_of_another_architecture_raises_with_the_list():
    for name in ("neon", "avx2"):
        if name not in lb.available_isas():
            with pytest.raises(ValueError, match=rf"isa: '{name}'.*available: .*scalar"), lb.use_isa(name):
                pass


@pytest.mark.parametrize("name", ["avx-2", "AVX2", "sse9"])
def test_misspelt_environment_raises_with_the_list(name):
    for call in ("lowbit.current_isa()", "lowbit.pack_bits(numpy.zeros(3, 'u1'), 4)"):
        done = run_python("-c", f"import lowbit, numpy; {call}", environment={"LOWBIT_ISA": name})
        assert done.returncode == 1
        assert f"ValueError: isa: '{name}' (from the environment variable LOWBIT_ISA)" in done.stderr
        assert "available: " in done.stderr
        assert "scalar" in done.stderr


@pytest.mark.bug(16)
def test_subnormals_survive_the_import_and_the_kernels(isa):
    """Bug class 16: flush-to-zero leaking from a library's start-up code."""
    script = f"""
import numpy as np, lowbit as lb
def alive():
    assert 5e-324 * 1.0 != 0 and np.float32(1e-45) * np.float32(1) != 0
    assert (np.full(64, 1e-40, np.float32) * np.float32(0.5) != 0).all()
    assert 1.0 + 2.0**-53 == 1.0 and -1.0 - 2.0**-53 == -1.0  # nearest, as it was
alive()
with lb.use_isa({isa!r}), lb.num_threads(2):
    w = lb.pack_weights(lb.quantize(np.ones((256, 256), np.float32), "int4", group_size=32))
    x = np.ones((64, 256), np.float32)
    lb.matmul(x, w, activation="gelu"), lb.matmul(x, w, compute="float32"), lb.quantize(x, "int8")
alive()
"""
    run_script(script)
