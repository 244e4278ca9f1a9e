"""Which instruction sets a test run must cover, told by the CPU's flags and not by lowbit's own detection."""

import os
import platform
from pathlib import Path

import lowbit as lb

X86 = {
    "avx2": {"avx", "avx2", "fma", "f16c"},
    "avxvnni": {"avx", "avx2", "fma", "f16c", "avx_vnni"},
    "avx512": {"avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx512vnni": {"avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
}
ARM = {"neon": {"asimd"}, "dotprod": {"asimd", "asimddp"}, "i8mm": {"asimd", "asimddp", "i8mm"}}


def promised_isas():
    """What this CPU's flags promise; None where nothing independent is known (not Linux)."""
    given = os.environ.get("LOWBIT_EXPECTED_ISAS")
    if given:
        return set(given.split(","))
    info = Path("/proc/cpuinfo")
    table = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}.get(platform.machine(), {})
    if not info.exists():
        return None
    lines = (line.split(":", 1) for line in info.read_text().splitlines() if line.startswith(("flags", "Features")))
    flags = set(next(lines, ("", ""))[1].split())
    return {"scalar"} | {name for name, needed in table.items() if needed <= flags}


def expected_isas():
    forced = os.environ.get("LOWBIT_ISA")
    return {forced} if forced else promised_isas() or set(lb.available_isas())
