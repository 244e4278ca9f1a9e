"""Matrix products beside the machine's limits and every engine that is installed.

    pip install '.[bench]'            the peers; torch is measured where it is installed
    python bench/compare.py           all of it: about 10 minutes
    python bench/compare.py --only 'int4 g32' --rounds 7
    python bench/compare.py --isa avx2          lowbit with that instruction set, oneDNN limited to it
    python bench/compare.py --busy              what a busy core costs each engine
    python bench/compare.py --quick             small ones, to see that everything runs: the numbers mean nothing
    python bench/compare.py --docs docs/performance.md --plot docs/roofline.png      as the documentation was made

Every engine has a process of its own, which is stopped while others run (bench/worker.py), the same data, weights
packed beforehand, results into touched memory where its interface allows. In each round every engine has a turn: one
call that is not timed, then calls for 20 ms, of which the median counts. Ratios are those of turns in the same round;
printed are their medians and, in brackets, 95 % intervals (bench/intervals.py).

The limit of a row is the slower of two things measured in the same round: its multiplications at the peak of the
instruction (registers only), and for M ≤ 8 reading its weights, as many bytes as the format has. A share of more than
1.02 is a broken measurement and fails the run. "+" and "-" say whether a goal was reached, "?" that it could not be
told.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import busy
import limits
import numpy as np
import product_peers
import products
from intervals import FEWEST, Interval, interval
from product_cases import Case, Contender, Goal, cases, isa_cases
from worker import Turn, Worker, WorkerError

import lowbit as lb
from lowbit import _core

BROKEN = 1.02  # of the limit
PACKED = 1.06  # goal: of PackedWeights.nbytes / QuantizedArray.nbytes
WRONG = 0.2  # relative error (root mean squares) that quantized activations do not explain
FEW_ROWS = 8  # up to which reading the weights may be the limit
REFUSED = product_peers.NotOfferedError.__name__

# What limits products of int8 codes on each of lowbit's instruction sets, and float32; below 8 bits, AVX2 may add
# products of bytes in 16 bits.
INT8_PEAKS = {
    "avx512vnni": "vpdpbusd zmm",
    "avx512": "vpmaddwd zmm",
    "avxvnni": "vpdpbusd ymm",
    "avx2": "vpmaddwd ymm",
    "i8mm": "smmla",
    "dotprod": "sdot",
    "neon": "smull sadalp",
}
FEW_BITS_PEAKS = {"avx512": "vpmaddubsw zmm", "avx2": "vpmaddubsw ymm"}
FLOAT_PEAKS = {
    "avx512vnni": "fma zmm",
    "avx512": "fma zmm",
    "avxvnni": "fma ymm",
    "avx2": "fma ymm",
    "i8mm": "fmla",
    "dotprod": "fmla",
    "neon": "fmla",
}


@dataclass(frozen=True)
class Setting:
    threads: int
    isa: str | None  # given, for lowbit and oneDNN
    rounds: int
    turn: Turn

    @property
    def lowbit_isa(self) -> str:
        return self.isa or lb.current_isa()

    def peak_of(self, product: products.Product) -> str | None:
        """The instruction that limits it; None: the portable code, which has no limit worth naming."""
        if product.compute == "float32":
            return FLOAT_PEAKS.get(self.lowbit_isa)
        peaks = INT8_PEAKS | FEW_BITS_PEAKS if product.bits <= 4 else INT8_PEAKS
        return peaks.get(self.lowbit_isa)


class Workers:
    """One for each engine and number of threads, started when first asked for."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._workers: dict[tuple[str, int], Worker] = {}

    def of(self, contender: Contender) -> Worker:
        key = contender.engine, contender.threads or self._setting.threads
        if key not in self._workers:
            self._workers[key] = product_peers.worker_of(*key, self._setting.isa)
        return self._workers[key]

    def forget(self) -> None:
        for worker in self._workers.values():
            worker.forget()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


# ---- measuring ------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What came out for one case. Seconds are for one matrix, in each round, by label; the limit is one of them."""

    case: Case
    nbytes: int
    bounds: dict[str, list[float]] = field(default_factory=dict)  # seconds that each kind of limit asks for
    seconds: dict[str, list[float]] = field(default_factory=dict)
    ops: dict[str, int] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def median(self, label: str) -> float:
        return statistics.median(self.seconds[label])

    def rate(self, label: str) -> float:
        """GOPS, or GB/s of weights where reading them is the limit."""
        return self.amount(label) / self.median(label) / 1e9

    def amount(self, label: str) -> int:
        return self.nbytes if self.bound == "read" else self.ops[label]

    @property
    def bound(self) -> str | None:
        """Which limit is the slower one."""
        return max(self.bounds, key=lambda name: statistics.median(self.bounds[name]), default=None)

    @property
    def limit(self) -> float | None:
        """GOPS or GB/s."""
        return self.bound and self.amount("lowbit") / statistics.median(self.bounds[self.bound]) / 1e9

    @property
    def share(self) -> float | None:
        if self.bound is None or "lowbit" not in self.seconds:
            return None
        pairs = zip(self.bounds[self.bound], self.seconds["lowbit"], strict=True)
        return statistics.median(limit / time for limit, time in pairs)

    @property
    def is_broken(self) -> bool:
        return self.share is not None and self.share > BROKEN

    def ratio(self, label: str) -> Interval:
        """How many times as fast lowbit is, for each operation."""
        scale = self.ops["lowbit"] / self.ops[label]
        pairs = zip(self.seconds[label], self.seconds["lowbit"], strict=True)
        return interval([scale * other / own for other, own in pairs])

    def others(self) -> list[str]:
        """Fastest first."""
        return sorted((label for label in self.seconds if label != "lowbit"), key=lambda e: self.ratio(e).median)

    def reached(self, goal: Goal) -> bool | None:
        """None: it cannot be told."""
        if goal.kind == "share":
            return None if self.share is None else self.share >= goal.value
        wanted = goal.against or self.others()
        measured = [label for label in wanted if label in self.seconds]
        if "lowbit" not in self.seconds or not measured:
            return None
        if goal.kind == "error":
            reached = all(self.errors["lowbit"] <= goal.value * self.errors[label] for label in measured)
        else:
            ratios = [self.ratio(label) for label in measured]
            reached = all((r.low if goal.kind == "ahead" else r.median) >= goal.value for r in ratios)
        return None if reached and len(measured) < len(wanted) else reached  # somebody is missing


def contenders(case: Case) -> dict[str, Contender]:
    """By label; lowbit first."""
    engines = product_peers.ENGINES if case.peers else ["lowbit"]
    return {engine: Contender(engine, case.product) for engine in engines} | case.others


def measure(case: Case, setting: Setting, workers: Workers, rounds: int) -> Row:
    row = Row(case, products.nbytes(case.product))
    workers.forget()
    ready: dict[str, tuple[Worker, Contender]] = {}
    for label, contender in contenders(case).items():
        worker = workers.of(contender)
        reason = worker.prepare(label, contender.product)
        if reason is None:
            row.errors[label] = error(worker.result(label), contender.product)
            row.seconds[label], row.ops[label] = [], contender.product.ops
            ready[label] = worker, contender
        elif not reason.startswith(REFUSED):
            row.missing[label] = reason
    row.ops.setdefault("lowbit", case.product.ops)

    peak, reads = setting.peak_of(case.product), None
    if peak is not None and peak in limits.peak_names():
        row.bounds[peak] = []
    if case.product.m <= FEW_ROWS:
        reads = limits.Reads(row.nbytes, case.product.matrices, setting.threads)
        row.bounds["read"] = []

    labels = list(ready)
    for turn in range(rounds):
        begin = turn % max(1, len(labels))
        for label in labels[begin:] + labels[:begin]:  # every engine after each other in turn
            if label not in ready:
                continue
            worker, contender = ready[label]
            try:
                calls = worker.measure(label, setting.turn)
            except WorkerError as reason:
                row.missing[label] = f"in round {turn + 1}: {reason}"
                del ready[label], row.seconds[label]
                continue
            row.seconds[label].append(statistics.median(calls) / contender.product.matrices)
        for name, bound in row.bounds.items():
            if reads is not None and name == "read":
                bound.append(reads.seconds() / case.product.matrices)
            else:
                bound.append(case.product.ops / limits.peak(name, setting.threads))
    return row


def error(result: Any, product: products.Product) -> float:
    """Of the first rows: root mean square of the difference from the exact ones, relative to theirs."""
    expected = products.exact(product)
    got = np.asarray(result, np.float64)[: len(expected)]
    return float(np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()))


# ---- reporting ------------------------------------------------------------------------------------------------------

MARKS = {True: "+", False: "-", None: "?"}


def number(rate: float) -> str:
    """With three digits, or all before the point."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def lines(row: Row) -> list[str]:
    """Two of the report: limit, lowbit, share and goals; and, if there are others, those."""
    if "lowbit" not in row.seconds:
        return [f"{row.case.name:40} missing: {row.missing['lowbit']}"]
    limit = f"{number(row.limit):>6}" if row.limit is not None else " " * 6
    share = f"{row.share:5.2f}" if row.share is not None else " " * 5
    unit = "GB/s" if row.bound == "read" else "GOPS"
    goals = "  ".join(f"{goal} {MARKS[row.reached(goal)]}" for goal in row.case.goals)
    first = f"{row.case.name:40} {limit} {number(row.rate('lowbit')):>6} {unit} {share}  {goals}".rstrip()
    compared = []
    for label in row.others():
        ratio = row.ratio(label)
        compared.append(f"{label} {number(row.rate(label))} ×{ratio.median:.2f} [{ratio.low:.2f} {ratio.high:.2f}]")
    return [first] + (["    " + "  ".join(compared)] if compared else [])


def inexact(row: Row) -> list[str]:
    """Engines whose results are wrong, and by how much."""
    found = []
    for label, size in row.errors.items():
        if size > (0 if row.case.product.compute == "integer" else WRONG):
            found.append(f"wrong results: {label}, {row.case.name}: relative error {size:.2g}")
    return found


def packed_sizes(side: int) -> str:
    """How much larger packed weights are than the format's own bytes."""
    sizes = {}
    for format, group in [("int8", None), *((f"int{bits}", 32) for bits in (2, 3, 4, 5, 6, 8)), ("uint4", 32)]:
        q = products.weights(products.Product("dynamic", 1, side, side, format, group))
        sizes[format if group is None else f"{format} g32"] = lb.pack_weights(q).nbytes / q.nbytes
    mark = MARKS[max(sizes.values()) <= PACKED]
    each = ", ".join(f"{name} {size:.3f}" for name, size in sizes.items())
    return f"PackedWeights.nbytes / QuantizedArray.nbytes ≤ {PACKED} {mark}: {each}"


def as_json(row: Row) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "product": asdict(row.case.product),
        "nbytes": row.nbytes,
        "bound": row.bound,
        "share": row.share,
        "goals": {str(goal): row.reached(goal) for goal in row.case.goals},
        "bounds": row.bounds,
        "seconds": row.seconds,
        "peers": [label for label, contender in contenders(row.case).items() if contender.engine != "lowbit"],
        "ops": row.ops,
        "ratios": {label: asdict(row.ratio(label)) for label in row.others()} if "lowbit" in row.seconds else {},
        "errors": row.errors,
        "missing": row.missing,
    }


def versions() -> dict[str, str | None]:
    """Of the packages that the engines come in."""
    found: dict[str, str | None] = {}
    for package in sorted(set(product_peers.PACKAGES.values())):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


class Report:
    """What is printed, kept for the documentation."""

    BEGIN, END = "<!-- bench/compare.py{} -->", "<!-- end -->"

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, *text: str) -> None:
        for one in text:
            print(one, flush=True)
            self._lines.append(one)

    def write(self, file: Path, which: str) -> None:
        """Replaces what stands between the marks that this kind of run has in the document."""
        begin, text = self.BEGIN.format(which), file.read_text()
        if text.count(begin) != 1:
            raise ValueError(f"{file}: {text.count(begin)} lines {begin!r}, expected one")
        head, rest = text.split(begin)
        tail = rest[rest.index(self.END) :]
        block = "\n".join(self._lines)
        file.write_text(f"{head}{begin}\n\n```\n{block}\n```\n\n{tail}")


def measure_all(chosen: Sequence[Case], setting: Setting, report: Report, strict: bool) -> tuple[list[Row], bool]:
    """Rows, and whether all of them can be believed. strict: what is above its limit is measured again, for longer."""
    workers, rows = Workers(setting), []
    try:
        for case in chosen:
            row = measure(case, setting, workers, setting.rounds)
            if row.is_broken and strict:  # noise may have hit the limit alone
                row = measure(case, setting, workers, 3 * setting.rounds)
            rows.append(row)
            report.add(*lines(row))
    finally:
        workers.close()
    report.add("")
    reached = [row.reached(goal) for row in rows for goal in row.case.goals]
    report.add(f"goals: {reached.count(True)} reached, {reached.count(False)} not, {reached.count(None)} unknown")
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        report.add(*inexact(row))
        for label, reason in row.missing.items():
            reasons.setdefault((label, reason), []).append(row.case.name)
    for (label, reason), where in reasons.items():
        report.add(f"not measured: {label}, {where[0] if len(where) == 1 else f'{len(where)} cases'}: {reason}")
    broken = [row.case.name for row in rows if row.is_broken]
    if broken and strict:
        report.add(f"broken measurement, above {BROKEN} of the limit: {', '.join(broken)}")
    return rows, not (broken and strict)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help=f"fewer than {FEWEST}: no 95 %% interval")
    parser.add_argument("--only", default="", help="regular expression: cases to run")
    parser.add_argument("--isa", choices=lb.available_isas(), help="of lowbit, and oneDNN limited to it")
    parser.add_argument("--busy", action="store_true", help="with another process spinning on one core")
    parser.add_argument("--quick", action="store_true", help="small sizes, 2 rounds, no check of the measurement")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", help="a roofline; needs the extra plot")
    parser.add_argument("--docs", metavar="FILE", type=Path, help="put what is printed where the marks are")
    parser.add_argument("--label", help="of the marks: what else is different, such as the compiler of lowbit")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 2
    setting = Setting(options.threads, options.isa, options.rounds, Turn(1, 0.0 if options.quick else 0.02))

    begin = time.monotonic()
    report, peaks = Report(), {name: limits.peak(name, options.threads) for name in limits.peak_names()}
    machine = {
        "cpu": _core.cpu_description(),
        "isa": setting.lowbit_isa,
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "huge pages": huge_pages(),
    }
    packages = versions()
    report.add(*(f"{key}: {value}" for key, value in machine.items()))
    report.add(", ".join(f"{package} {found or 'not installed'}" for package, found in packages.items()))
    report.add("peaks, GOPS: " + ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in peaks.items()))
    absent = {*INT8_PEAKS.values(), *FLOAT_PEAKS.values(), "vdpbf16ps zmm"} - set(peaks)
    report.add(f"instructions that this CPU does not have: {', '.join(sorted(absent))}")
    report.add(f"{options.threads} threads, medians of {options.rounds} rounds")
    if machine["load"] > 0.5:
        report.add(f"something else is running, the load is {machine['load']:.1f}: shares and ratios mean little")

    rows: list[Row] = []
    believed = True
    if options.busy:
        results = busy.measure_all(options.threads, options.only, options.quick, report.add)
    else:
        report.add(packed_sizes(256 if options.quick else 4096))
        report.add("", f"{'':40} {'limit':>6} {'lowbit':>6} {'':4} share  goals")
        every = cases(options.quick) if options.isa is None else isa_cases(options.isa, options.quick)
        chosen = [case for case in every if re.search(options.only, case.name)]
        rows, believed = measure_all(chosen, setting, report, strict=not options.quick)
        results = [as_json(row) for row in rows]

    report.add(f"took {(time.monotonic() - begin) / 60:.0f} minutes")

    written = {"machine": machine, "packages": packages, "peaks": peaks, "options": vars(options), "rows": results}
    if options.json:
        Path(options.json).write_text(json.dumps(written, default=str))
    if options.plot:
        import roofline

        roofline.plot(written, options.plot)
    if options.docs and believed:
        kind = " --busy" if options.busy else f" --isa {options.isa}" if options.isa else ""
        report.write(options.docs, kind + (f" --label {options.label}" if options.label else ""))
    return 0 if believed else 1


def huge_pages() -> str:
    """Linux' setting: with "madvise" numpy asks for them for arrays of 4 MiB and more."""
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.read_text().strip() if setting.exists() else "unknown"


if __name__ == "__main__":
    sys.exit(main())
