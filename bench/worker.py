"""Processes that measure one engine each, and are stopped while others run.

A process that only sleeps between measurements is not enough: the threads of OpenMP and onnxruntime spin for a while
after each call and would take the cores from whoever is measured next.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

Run = Callable[[], Any]
Build = Callable[[Any], Run]

PATIENCE = 90  # seconds for an answer


@dataclass(frozen=True)
class Turn:
    """How often a worker calls when it is its turn: untimed first, then until the calls took so long together."""

    untimed: int = 0
    seconds: float = 0.0  # 0: one call

    def take(self, run: Run) -> list[float]:
        """Seconds of each call."""
        for _ in range(self.untimed):
            run()
        times: list[float] = []
        total = 0.0
        while not times or total < self.seconds:
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
            total += times[-1]
        return times


def die_with_parent() -> None:
    """A stopped process would not notice that nobody is left to wake it."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))


def serve(build: Build, pipe: Connection) -> None:
    """Body of a process: takes (verb, arguments), answers (result, None) or (None, reason)."""
    die_with_parent()
    runs: dict[Hashable, Run] = {}

    def prepare(key: Hashable, what: Any) -> None:
        runs[key] = build(what)
        runs[key]()

    verbs: dict[str, Callable[..., Any]] = {
        "prepare": prepare,
        "measure": lambda key, turn: turn.take(runs[key]),
        "result": lambda key: runs[key](),
        "forget": runs.clear,
    }
    while True:
        try:
            verb, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((verbs[verb](*arguments), None))
        except Exception as error:  # whatever a peer raises is what the report has to say about it
            pipe.send((None, summary(error)))


class WorkerError(RuntimeError):
    """What an engine raised, or that its process ended."""


class Worker:
    """One engine in its process, which starts with the first thing it prepares."""

    def __init__(self, build: Build, environment: Mapping[str, str]) -> None:
        """build: makes a function to be timed of what prepare is given. environment: for libraries as they load."""
        self._build, self._environment = build, dict(environment)
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def prepare(self, key: Hashable, what: Any) -> str | None:
        """Gets ready and runs once; why it cannot, or None."""
        if self._process is None:
            self._start()
        try:
            self._ask("prepare", key, what)
        except WorkerError as error:
            return str(error)
        return None

    def measure(self, key: Hashable, turn: Turn) -> list[float]:
        """Seconds of each timed call."""
        times: list[float] = self._ask("measure", key, turn)
        return times

    def result(self, key: Hashable) -> Any:
        """What one run returns."""
        return self._ask("result", key)

    def forget(self) -> None:
        """Frees all that was prepared."""
        if self._process is not None:
            self._ask("forget")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        before = dict(os.environ)
        os.environ.update(self._environment)
        try:
            self._process = context.Process(target=serve, args=(self._build, theirs), daemon=True)
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()

    def _ask(self, verb: str, *arguments: Any) -> Any:
        assert self._process is not None and self._process.pid is not None and self._pipe is not None
        try:
            os.kill(self._process.pid, signal.SIGCONT)
            self._pipe.send((verb, arguments))
            if not self._pipe.poll(PATIENCE):
                self.close()
                raise WorkerError(f"no answer in {PATIENCE} s")
            answer, reason = self._pipe.recv()
            os.kill(self._process.pid, signal.SIGSTOP)
        except (EOFError, BrokenPipeError, ConnectionResetError, ProcessLookupError):
            self._process.join()
            code = self._process.exitcode
            self._process = None
            raise WorkerError(f"its process ended with {code}") from None
        if reason is not None:
            raise WorkerError(reason)
        return answer


def summary(error: Exception) -> str:
    """For one line of a report."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return text if len(text) < 100 else f"{text[:100]} …"
