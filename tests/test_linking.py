"""Programs in C and C++ built against the installed package alone; tests/install is what a user writes.

A test whose tool (a compiler, cmake, pkg-config, nm) is missing is skipped and says so.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import run_python, run_script

import lowbit as lb
from lowbit import _core
from lowbit.__main__ import main

USER = Path(__file__).parent / "install"
FOLDERS = {
    "--include-dir": lb.get_include,
    "--lib-dir": lb.get_lib_dir,
    "--cmake-dir": lb.get_cmake_dir,
    "--pkg-config-dir": lb.get_pkgconfig_dir,
}
SAYS = f"lowbit {_core.version()}\n"
LIMIT = 6 << 20  # bytes of a library, which is not stripped

posix = pytest.mark.skipif(os.name != "posix", reason="command lines of Unix compilers")


def tool(*names):
    """Path of the first of these programs, of this environment or of the system."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    pytest.skip(f"{' or '.join(names)} is not installed: nothing is known about what it would build")


def run(*command, **environment):
    """Standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=os.environ | environment)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def compiler(language):
    return (
        tool(os.environ.get("CC") or "cc", "gcc", "clang")
        if language == "c"
        else tool(os.environ.get("CXX") or "c++", "g++", "clang++")
    )


@pytest.mark.parametrize("flag", FOLDERS)
def test_the_command_line_prints_the_folder(flag, capsys):
    assert main([flag]) == 0
    assert capsys.readouterr().out == f"{FOLDERS[flag]()}\n"


def test_the_folders_hold_what_they_promise():
    done = run_python("-m", "lowbit", *FOLDERS)
    assert done.stderr == ""
    include, lib, cmake, pkg_config = map(Path, done.stdout.splitlines())
    assert (include / "lowbit" / "lowbit.h").is_file()
    assert len(list(lib.glob("*lowbit*"))) >= 2
    assert (cmake / "lowbitConfig.cmake").is_file()
    assert (pkg_config / "lowbit.pc").is_file()


def test_a_package_without_the_library_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(_core, "__file__", str(tmp_path / "_core.so"))
    for folder in FOLDERS.values():
        with pytest.raises(FileNotFoundError, match="not there; this lowbit was built without its C library"):
            folder()


def test_scikit_build_core_is_told_where_to_look():
    (entry,) = importlib.metadata.entry_points(group="cmake.root", name="lowbit")
    assert entry.load() is lb


# ---- programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("languages", ["C", "CXX", "C;CXX"])
def test_find_package(languages, tmp_path):
    """lowbit_ROOT, which scikit-build-core sets, and lowbit_DIR; without C++ in the project nothing needs it."""
    cmake, ninja = tool("cmake"), tool("ninja", "make")
    compilers = [f"-DCMAKE_{name}_COMPILER={compiler(name.lower())}" for name in languages.split(";")]
    where = (
        f"-Dlowbit_DIR={lb.get_cmake_dir()}" if languages == "C" else f"-Dlowbit_ROOT={Path(lb.get_lib_dir()).parent}"
    )
    generator = ["-G", "Ninja" if "ninja" in Path(ninja).name else "Unix Makefiles", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    run(cmake, *generator, "-S", USER, "-B", tmp_path, f"-DLANGUAGES={languages}", where, *compilers)
    run(cmake, "--build", tmp_path)
    programs = sorted(path for path in tmp_path.glob("user_*") if path.is_file())
    assert len(programs) == len(languages.split(";"))
    for program in programs:
        assert run(program) == SAYS


@posix
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_pkg_config(language, tmp_path):
    pkg_config, program = tool("pkg-config", "pkgconf"), tmp_path / "program"
    path = {"PKG_CONFIG_PATH": lb.get_pkgconfig_dir()}
    assert run(pkg_config, "--modversion", "lowbit", **path) == f"{_core.version()}\n"
    flags = run(pkg_config, "--cflags", "--libs", "lowbit", **path).split()
    run(compiler(language), USER / f"main.{language}", *flags, "-o", program)
    assert run(program) == SAYS


@posix
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_compiler_and_nothing_else(language, tmp_path):
    """As in docs/linking.md, in a shell that asks the package; the header is C99 and C++ without a warning."""
    standard = "c99" if language == "c" else "c++11"
    command = (
        f"{compiler(language)} -std={standard} -Wall -Wextra -Wpedantic -Werror {USER / 'main.'}{language} "
        '-I"$($PYTHON -m lowbit --include-dir)" -L"$($PYTHON -m lowbit --lib-dir)" -llowbit -lm -o program && ./program'
    )
    assert run("sh", "-c", f"cd {tmp_path} && {command}", PYTHON=sys.executable) == SAYS


# ---- the libraries --------------------------------------------------------------------------------------------------


def shared_library():
    """Path of the shared library in the package."""
    pattern = {"Windows": "lowbit.dll", "Darwin": "liblowbit.*.dylib"}.get(platform.system(), "liblowbit.so.*")
    (path,) = Path(lb.get_lib_dir()).glob(pattern)
    return path


def test_the_shared_library_serves_ctypes():
    """In a process without lowbit's Python module."""
    script = f"""
import ctypes, sys
library = ctypes.CDLL({str(shared_library())!r})
library.lowbit_version.restype = ctypes.c_char_p
print("lowbit", library.lowbit_version().decode())
assert "lowbit" not in sys.modules
"""
    assert run_script(script) == SAYS


@posix
def test_the_static_library_needs_the_c_library_alone():
    """No C++ runtime, no threads, no Python: what a C program would have to be linked with."""
    symbols = run(tool("nm"), "-P", Path(lb.get_lib_dir()) / "liblowbit.a").splitlines()
    kinds = {}
    for name, kind, *_ in (line.split() for line in symbols if len(line.split()) > 1):
        kinds.setdefault(name.removeprefix("_") if platform.system() == "Darwin" else name, set()).add(kind)
    assert "T" in kinds["lowbit_matmul"]
    needed = {name for name, found in kinds.items() if found <= {"U", "v", "w"}}
    assert {"memcpy", "getenv"} <= needed
    other = {
        name for name in needed if name.startswith(("_Z", "__cxa", "__gxx", "_Unwind", "Py", "_Py", "pthread", "omp"))
    }
    assert other == set()


def test_the_libraries_are_small():
    static = Path(lb.get_lib_dir()) / ("lowbit.lib" if os.name == "nt" else "liblowbit.a")
    sizes = {path.name: path.stat().st_size for path in (static, shared_library())}
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
