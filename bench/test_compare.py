"""bench/compare.py runs: every case on small matrices, with the engines that are installed."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")),
    reason="no C++ compiler: the limits cannot be measured",
)


def compare(tmp_path, *options):
    report = tmp_path / "compare.json"
    command = [sys.executable, str(HERE / "compare.py"), "--quick", "--json", str(report), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout, json.loads(report.read_text())


@needs_compiler
def test_every_case_runs(tmp_path):
    printed, report = compare(tmp_path)
    rows = report["rows"]
    assert len(rows) > 40
    failed = {row["case"]: row["missing"]["lowbit"] for row in rows if "lowbit" in row["missing"]}
    assert all("int8x2" in case for case in failed), failed
    measured = [row for row in rows if row["case"] not in failed]
    assert all(len(times) == 2 for row in measured for times in row["seconds"].values())
    assert all(row["errors"]["lowbit"] == 0 for row in measured if row["product"]["compute"] == "integer")
    assert all(row["errors"]["lowbit"] < 0.02 for row in measured)
    assert any("numpy" in row["seconds"] for row in rows)
    assert "wrong results: lowbit" not in printed


@needs_compiler
@pytest.mark.parametrize("options", [["--isa", "scalar"], ["--busy", "--only", "M = 8"]])
def test_other_reports_run(tmp_path, options):
    printed, report = compare(tmp_path, *options)
    assert report["rows"]
    assert "lowbit" in printed


@pytest.fixture
def intervals(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import intervals

    return intervals


def test_shares_ratios_and_goals(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import compare
    from product_cases import AHEAD, Case, Goal
    from products import Product

    product = Product("integer", 4, 8, 16)
    row = compare.Row(Case("case", product), 128)
    row.ops = {"lowbit": product.ops, "peer": product.ops, "odd": 2 * product.ops}
    row.seconds = {"lowbit": [2.0, 4.0, 2.0], "peer": [3.0, 3.0, 3.0], "odd": [8.0, 16.0, 8.0]}
    row.bounds = {"read": [1.0, 2.0, 1.0], "instruction": [0.5, 0.5, 0.5]}
    assert (row.bound, row.share, row.is_broken) == ("read", 0.5, False)
    assert row.ratio("peer") == compare.Interval(1.5, 0.75, 1.5)
    assert row.ratio("odd").median == 2.0  # for each operation
    assert row.others() == ["peer", "odd"]
    for goal, expected in [
        (Goal("share", 0.5), True),
        (Goal("share", 0.51), False),
        (AHEAD, False),  # the interval's lower bound is 0.75
        (Goal("ahead", against=("odd",)), True),
        (Goal("ratio", 1.5, ("peer", "odd")), True),
        (Goal("ratio", 1.6, ("peer", "odd")), False),
        (Goal("ratio", 1.5, ("peer", "absent")), None),
        (Goal("ratio", 1.6, ("peer", "absent")), False),
        (Goal("ratio", 1.0, ("absent",)), None),
    ]:
        assert row.reached(goal) is expected, goal
    row.bounds["read"] = [2.1, 4.2, 2.1]
    assert row.is_broken


def test_intervals_hold_the_median_in_95_of_100_runs(intervals):
    rng = random.Random(0)
    for n in (6, 7, 12, 15, 30):
        runs = [intervals.interval([rng.expovariate(1.0) for _ in range(n)]) for _ in range(4000)]
        held = sum(run.low <= 0.6931 <= run.high for run in runs) / len(runs)  # log 2: the exponential's median
        assert 0.94 <= held <= 0.99, n


def test_intervals_of_few_values_are_their_range(intervals):
    assert intervals.interval([3.0, 1.0, 2.0]) == intervals.Interval(2.0, 1.0, 3.0)
    assert intervals.interval([5.0]) == intervals.Interval(5.0, 5.0, 5.0)
