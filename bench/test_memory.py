"""bench/memory.py runs: every case on small arrays, with the peers that are installed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("memory.py")


@pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")),
    reason="no C++ compiler: the limits cannot be measured",
)
def test_every_case_runs(tmp_path):
    report = tmp_path / "memory.json"
    command = [sys.executable, str(SCRIPT), "--quick", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    rows = json.loads(report.read_text())["rows"]
    assert len(rows) > 50
    assert [(row["case"], row["missing"]["lowbit"]) for row in rows if "lowbit" in row["missing"]] == []
    assert any("numpy" in row["medians"] for row in rows)
