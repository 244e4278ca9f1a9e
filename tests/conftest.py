"""The `isa` fixture runs a test on every instruction set of this CPU; a run that left one out fails.

Which ones to expect is read from /proc/cpuinfo, independent of lowbit's own detection. LOWBIT_ISA restricts the run to
one; LOWBIT_EXPECTED_ISAS (comma-separated) replaces what /proc/cpuinfo says, for emulators that show the host's.
"""

import collections
import os

import pytest
from isas import expected_isas

import lowbit as lb

ISAS = [name for name in lb.available_isas() if name == (os.environ.get("LOWBIT_ISA") or name)]
passed = collections.defaultdict(collections.Counter)  # file -> ISA -> tests that passed on it


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "bug(number, ...): bug classes of tests/test_bug_classes.py that the test looks for"
    )


def pytest_collection_modifyitems(items):
    """Tests of minutes run when asked for."""
    if os.environ.get("LOWBIT_SLOW") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: set LOWBIT_SLOW=1"))


@pytest.fixture(params=ISAS or ["none"])
def isa(request):
    """Name of the instruction set that the test runs on."""
    with lb.use_isa(request.param):
        assert lb.current_isa() == request.param  # the name that the kernel table itself carries
        yield request.param


@pytest.fixture(params=[1, 2, 3, 5, 8, 16])
def threads(request):
    """Number of threads that the test runs on."""
    with lb.num_threads(request.param):
        yield request.param


def isa_of(item):
    return getattr(getattr(item, "callspec", None), "params", {}).get("isa")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.passed and isa_of(item):
        passed[item.path.name][isa_of(item)] += 1


def incomplete(session):
    """Whether the user asked for some tests only, or the run ended early: then nothing can be said."""
    option = session.config.option
    chosen = option.keyword or option.markexpr or getattr(option, "lf", False) or option.collectonly
    return chosen or session.shouldstop or session.testsfailed or any("::" in name for name in session.config.args)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Every file that has tests for an ISA must have passed one on every expected ISA."""
    if exitstatus != pytest.ExitCode.OK or incomplete(session):
        return
    files = {item.path.name for item in session.items if isa_of(item)}
    missing = {name: sorted(expected_isas() - set(passed[name])) for name in sorted(files)}
    session.config.lowbit_missing = {name: isas for name, isas in missing.items() if isas}
    if session.config.lowbit_missing:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    total = sum(passed.values(), collections.Counter())
    counts = ", ".join(f"{name} {total[name]}" for name in lb.available_isas() if total[name])
    terminalreporter.write_line(f"lowbit: tests passed by ISA: {counts or 'none'}")
    for name, isas in getattr(config, "lowbit_missing", {}).items():
        terminalreporter.write_line(f"lowbit: ERROR: {name} ran nothing on {', '.join(isas)}", red=True)
