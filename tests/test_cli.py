"""python -m lowbit: help, info, demo."""

import numpy as np
import pytest
from helpers import run_python, run_script

import lowbit as lb
from lowbit import _demo
from lowbit.__main__ import main


def test_help_is_the_default():
    done = run_python("-m", "lowbit")
    assert done.returncode == 0
    for word in ("info", "demo", "usage: python -m lowbit"):
        assert word in done.stdout


def test_info():
    done = run_python("-m", "lowbit", "info")
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(None, 1) for line in done.stdout.replace("isas ", "isas_").splitlines())
    assert rows["lowbit"] == lb.__version__
    assert rows["numpy"] == np.__version__
    assert rows["isas_available"].split(", ") == list(lb.available_isas())
    assert rows["isa"] == lb.current_isa()
    assert rows["cpu"]
    assert int(rows["threads"]) >= 1


def test_info_loads_no_demo():
    """Instant: its time is the import's."""
    script = "import sys; from lowbit.__main__ import main; main(['info']); assert 'lowbit._demo' not in sys.modules"
    assert "isas available" in run_script(script)


def test_demo(monkeypatch, capsys):
    monkeypatch.setattr(_demo, "SECONDS", 0)  # three repetitions of each line
    assert main(["demo", "--size", "96"]) == 0
    out = capsys.readouterr().out
    for word in ("float32 (numpy)", "compute int8", "compute float32", "GB/s", "GOPS", "speed-up", "error"):
        assert word in out
    errors = [float(line.split()[-1]) for line in out.splitlines() if line.startswith(("int8", "int4"))]
    assert len(errors) == 6
    assert all(0 < error < 0.2 for error in errors)


@pytest.mark.parametrize("arguments", [["sing"], ["demo", "--size", "0"], ["demo", "--size", "x"], ["info", "more"]])
def test_misuse_is_status_2_with_a_message(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[-1] in capsys.readouterr().err
