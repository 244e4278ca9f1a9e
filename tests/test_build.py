"""What the build promises: which symbols and instructions stand where, older CPUs, and what an import does.

Tools: cmake and a compiler, nm, objdump, qemu-x86_64. A test whose tool is missing is skipped and says so.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import disassembly
import pytest

import lowbit as lb
from lowbit import _core

ROOT = Path(__file__).parents[1]
ISAS = _core.built_isas()
SIMD = [name for name in ISAS if name != "scalar"]
MODULE = Path(_core.__file__)

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86-64 code")


def tool(name):
    """Path of a program, of this environment or of the system."""
    path = shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))
    if path is None:
        pytest.skip(f"{name} is not installed: nothing is known about what it would check")
    return path


def run(*command, **options):
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def isa_objects(tmp_path_factory):
    """Object file of each ISA, compiled by CMake with the release flags (about 40 s on 2 cores)."""
    cmake, build = tool("cmake"), tmp_path_factory.mktemp("isa")
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler: nothing is known about the symbols of ISA objects")
    ninja = shutil.which("ninja", path=sysconfig.get_path("scripts")) or shutil.which("ninja")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(cmake, *generator, "-S", ROOT, "-B", build, "-DCMAKE_BUILD_TYPE=Release")
    run(cmake, "--build", build, "--target", "lowbit_isa_objects", "--parallel", "2")
    return dict(line.split(" ", 1) for line in (build / "isa_objects.txt").read_text().splitlines())


@pytest.mark.bug(28)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ISAS)
def test_an_isa_object_has_one_global_symbol_and_no_weak_one(isa_objects, name):
    """An inline function compiled with an ISA's flags could replace the baseline's at link time."""
    symbols = [line.split() for line in run(tool("nm"), "--format=posix", isa_objects[name]).splitlines()]
    assert {s for s, kind, *_ in symbols if kind in "WVwvu"} == set()
    table = f"kernels_{name}"
    assert [s for s, kind, *_ in symbols if kind.isupper() and kind != "U"] == [f"_ZN6lowbit{len(table)}{table}E"]
    assert {s for s, kind, *_ in symbols if kind == "U"} <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}


# ---- instructions ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def code():
    """Functions of the installed extension, by mangled name."""
    tool("objdump")
    found = disassembly.functions(MODULE)
    if not any(belongs_to(name, "scalar") for name in found):
        pytest.skip(f"{MODULE.name} has been stripped: its functions have no names")
    return found


def belongs_to(function, isa):
    """Whether a mangled name lies in the namespace lowbit::<isa>."""
    return f"N6lowbit{len(isa)}{isa}" in function


@x86
@pytest.mark.bug(27)
def test_only_isa_code_uses_wide_registers(code):
    elsewhere = [f for f in code if not any(belongs_to(f, isa) for isa in SIMD)]
    assert len(elsewhere) > 100
    assert [f for f in elsewhere if any(map(disassembly.needs_avx, code[f]))] == []
    for isa in SIMD:
        wide = [f for f in code if belongs_to(f, isa) and any("mm" in i.operands for i in code[f])]
        assert len(wide) > 10
    narrow = [f for f in code if belongs_to(f, "avx2") or belongs_to(f, "avxvnni")]
    assert [f for f in narrow if any("%zmm" in i.operands for i in code[f])] == []


PRODUCTS = {"codes": "vpdpbusd|vpmaddwd", "groups": "vpdpbusd|vpmaddwd", "float": "vfmadd"}


@x86
@pytest.mark.parametrize("kernel", PRODUCTS)
@pytest.mark.parametrize("isa", SIMD)
def test_hot_loops_keep_their_sums_in_registers(code, isa, kernel):
    """A register tile that is unrolled too far, or has a row too many, lives on the stack at half the speed."""
    # gemm_<kernel> and the tiles it did not inline; of gemm_groups those from bytes
    names = re.compile(f"gemm_{kernel}|{kernel}_tileI" + (r"\w*5CodesILi8E" if kernel == "groups" else ""))
    # 16 registers do not hold the table, scales and zero points of gemv_float's two vectors beside its few sums
    spared = "packed_float_tile" if isa in ("avx2", "avxvnni") else "nothing is"
    loops = [
        (function, loop)
        for function in code
        if belongs_to(function, isa) and names.search(function) and spared not in function
        for loop in disassembly.innermost_loops(code[function])
        if any(re.match(PRODUCTS[kernel], i.name) for i in loop)
    ]
    assert loops, "no hot loop found: the kernels have other names or other instructions now"
    spilled = {f: traffic for f, loop in loops if (traffic := disassembly.stack_traffic(code[f], loop))}
    assert spilled == {}


# ---- older CPUs -----------------------------------------------------------------------------------------------------

SMALL_RUN = """
import numpy as np
import lowbit as lb
from lowbit import reference as ref

assert lb.current_isa() == ISA, lb.current_isa()
assert "avx512" not in lb.available_isas()
rng = np.random.default_rng(0)
x = rng.standard_normal((5, 96), np.float32)
w = rng.standard_normal((33, 96), np.float32)

for format, group in [("int8", None), ("int4", 32), ("uint3", 32)]:
    where = {"axis": 0} if group is None else {"group_size": group}
    q = lb.quantize(w, format, **where)
    decoded = lb.dequantize(q)
    assert abs(decoded - w).max() < 0.9
    y = lb.matmul(x, lb.pack_weights(q), compute="float32")
    scale = q.scale.reshape(33, -1)
    zero = None if q.zero_point is None else np.full(scale.shape, 1 << (int(format[-1]) - 1), np.uint8)
    expected = ref.matmul_float32(x, q.unpack(), scale, zero, group_size=group)
    assert (y.view(np.uint32) == expected.view(np.uint32)).all(), format
    exact = x.astype(float) @ decoded.astype(float).T
    assert abs(lb.matmul(x, lb.pack_weights(q)) - exact).max() < 0.5

a = rng.integers(-128, 128, (3, 200)).astype(np.int8)
b = rng.integers(-128, 128, (200, 17)).astype(np.int8)
assert (lb.matmul_int(a, b) == a.astype(int) @ b.astype(int)).all()
print("right")
"""


@x86
@pytest.mark.bug(27)
@pytest.mark.parametrize(("cpu", "isa"), [("Nehalem", "scalar"), ("Haswell", "avx2")])
def test_older_cpus_import_it_and_get_right_results(cpu, isa):
    emulator = tool("qemu-x86_64")
    environment = os.environ | {"OPENBLAS_CORETYPE": cpu, "OPENBLAS_NUM_THREADS": "1", "LOWBIT_NUM_THREADS": "2"}
    environment.pop("LOWBIT_ISA", None)
    script = f"ISA = {isa!r}\n{SMALL_RUN}"
    assert run(emulator, "-cpu", cpu, sys.executable, "-c", script, env=environment) == "right\n"


# ---- what an import does --------------------------------------------------------------------------------------------


@pytest.mark.bug(16)
def test_the_floating_point_environment_is_left_alone():
    script = """
import ctypes
import numpy as np

modes = ctypes.CDLL(None)
before = modes.fegetround()
import lowbit as lb
x = np.ones((64, 256), np.float32)
lb.matmul(x, lb.pack_weights(lb.quantize(x, "int4", group_size=32)))
assert modes.fegetround() == before
assert float("5e-324") * float("1.0") != 0
assert np.float32(1e-45) * np.float32(1.0) != 0
"""
    run(sys.executable, "-c", script)


def test_importing_it_imports_nothing_heavy():
    script = """
import sys
import numpy, ml_dtypes

before = set(sys.modules)
import lowbit
print(*sorted(set(sys.modules) - before))
"""
    added = {name.split(".")[0] for name in run(sys.executable, "-c", script).split()}
    assert added - sys.stdlib_module_names == {"lowbit", "numpy"}  # numpy.typing
    assert added & {"argparse", "asyncio", "multiprocessing", "subprocess", "unittest"} == set()


def test_versions_agree():
    assert lb.__version__ == _core.version()
