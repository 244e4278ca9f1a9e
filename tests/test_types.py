"""Types: the package passes mypy --strict, and the stub of the compiled module says what is there."""

import importlib.util
from pathlib import Path

import pytest
from helpers import run_python

import lowbit

PACKAGE = Path(lowbit.__file__).parent
SOURCE = Path(__file__).parents[1] / "python" / "lowbit"
needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """numpy's annotations are read once."""
    return str(tmp_path_factory.mktemp("mypy_cache"))


@needs_mypy
@pytest.mark.skipif(not SOURCE.exists(), reason="the sources of the package are not beside the tests")
def test_package_is_strict(cache):
    done = run_python("-m", "mypy", "--strict", "--cache-dir", cache, str(SOURCE))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_mypy
def test_stub_agrees_with_the_module():
    """Names, arguments and defaults of lowbit._core."""
    done = run_python("-m", "mypy.stubtest", "lowbit._core", "--concise")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_mypy
def test_a_user_is_checked_against_the_annotations(tmp_path, cache):
    """py.typed is installed: right calls pass, wrong ones are found."""
    right = (
        "import numpy as np\nimport lowbit as lb\nq = lb.quantize(np.ones((2, 3), np.float32), 'int4', group_size=3)\n"
    )
    right += "w: lb.PackedWeights = lb.pack_weights(q)\ny = np.ones((1, 3), np.float32) @ w\n"
    wrong = right + "lb.matmul(y, w, activation=3)\nlb.quantize(y, 'int4', axis='rows')\n"
    for name, text, errors in (("right.py", right, 0), ("wrong.py", wrong, 2)):
        path = tmp_path / name
        path.write_text(text)
        done = run_python("-m", "mypy", "--strict", "--cache-dir", cache, str(path))
        assert done.stdout.count("error:") == errors, done.stdout + done.stderr


def test_py_typed_and_stub_are_installed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_core.pyi").exists()


def test_public_names_are_all_there_and_documented():
    for name in lowbit.__all__:
        assert hasattr(lowbit, name)
        if name != "__version__":
            assert getattr(lowbit, name).__doc__, name
