"""What it costs each engine that another process spins on one of the cores: bench/compare.py --busy."""

from __future__ import annotations

import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import product_peers
from products import Product
from worker import Turn, die_with_parent

GAP = 100e-6  # seconds that a spinner was away: shorter ones are interrupts
LONG = 1e-3  # calls of at least so long have a goal for their 95th percentile, shorter ones for their longest
MEDIAN, P95, SLICES = 2.5, 10.0, 3  # goals: times the quiet median, twice; more than it by so many slices


def spin(cpu: int, seconds: float, pipe: Any) -> None:
    """Body of a process: uses a core without pause, and sends the gaps in which it did not have it."""
    die_with_parent()
    os.sched_setaffinity(0, {cpu})
    pipe.send(None)
    gaps, begin = [], time.perf_counter()
    before = begin
    while before - begin < seconds:
        now = time.perf_counter()
        if now - before > GAP:
            gaps.append(now - before)
        before = now
    pipe.send(gaps)


class Spinner:
    """Spins on a core from the beginning to the end of a with block, but at most so many seconds."""

    def __init__(self, cpu: int, seconds: float = 600) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=spin, args=(cpu, seconds, theirs), daemon=True)

    def __enter__(self) -> Spinner:
        self._process.start()
        self.pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def scheduler_slice(cpu: int, seconds: float) -> float:
    """How long each of two processes that want the same core has to wait for it: the median."""
    with Spinner(cpu, seconds) as one, Spinner(cpu, seconds):
        gaps = one.pipe.recv()
    return statistics.median(gaps) if gaps else 0.0


@dataclass(frozen=True)
class Result:
    """Seconds of calls."""

    engine: str
    case: str
    quiet: float
    busy: float
    p95: float
    longest: float

    def goals(self, slice: float) -> str:
        """What lowbit aims at, and whether it got there."""
        tests = {f"median ≤ {MEDIAN} ×": self.busy <= MEDIAN * self.quiet}
        if self.quiet >= LONG:
            tests[f"p95 ≤ {P95:.0f} ×"] = self.p95 <= P95 * self.quiet
        else:
            tests[f"longest ≤ quiet + {SLICES} slices"] = self.longest <= self.quiet + SLICES * slice
        return "  ".join(f"{text} {'+' if reached else '-'}" for text, reached in tests.items())


def cases(quick: bool) -> dict[str, Product]:
    side, large = (256, 16) if quick else (4096, 512)
    int8, int4 = Product("dynamic", large, side, side), Product("dynamic", large, side, side, "int4", 32)
    found = {}
    for m in (large, 8, 1):
        for name, product in ("int8 dynamic", int8), ("int4 g32", int4):
            found[f"{name}, M = {m}"] = Product(product.compute, m, side, side, product.format, product.group)
    return found


def measure_all(threads: int, only: str, quick: bool, say: Callable[..., None]) -> list[dict[str, Any]]:
    """Prints and returns what came out."""
    cpu = min(os.sched_getaffinity(0))
    slice = scheduler_slice(cpu, 0.2 if quick else 1.0)
    say(f"a scheduler slice: {1e3 * slice:.2f} ms (what a spinner waits for another one on its core)")
    say("", f"{'milliseconds':44} {'quiet':>8} {'busy':>8} {'times':>6} {'p95':>8} {'longest':>8}")
    chosen = {name: product for name, product in cases(quick).items() if re.search(only, name)}
    quiet_turn, busy_turn = (Turn(1, 0.01), Turn(1, 0.01)) if quick else (Turn(3, 0.3), Turn(3, 1.5))
    workers = {engine: product_peers.worker_of(engine, threads, None) for engine in product_peers.ENGINES}
    results = []
    try:
        for name, product in chosen.items():
            for engine, worker in workers.items():
                worker.forget()
                reason = worker.prepare(name, product)
                if reason is not None:
                    if not reason.startswith(product_peers.NotOfferedError.__name__):
                        say(f"{name:24} {engine:19} not measured: {reason}")
                    continue
                quiet = worker.measure(name, quiet_turn)
                with Spinner(cpu):
                    calls = sorted(worker.measure(name, busy_turn))
                p95 = calls[min(len(calls) - 1, round(0.95 * len(calls)))]
                result = Result(engine, name, statistics.median(quiet), statistics.median(calls), p95, calls[-1])
                results.append(result)
                goals = result.goals(slice) if engine == "lowbit" else ""
                times = [1e3 * t for t in (result.quiet, result.busy, result.p95, result.longest)]
                say(
                    f"{name:24} {engine:19} {times[0]:8.3f} {times[1]:8.3f} {times[1] / times[0]:5.1f}× "
                    f"{times[2]:8.3f} {times[3]:8.3f}  {goals}".rstrip()
                )
    finally:
        for worker in workers.values():
            worker.close()
    return [{"slice": slice, **asdict(result)} for result in results]
