"""Which instruction set and how many threads a call uses."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import ContextVar

from . import _core
from ._checks import integer

_isa: ContextVar[str | None] = ContextVar("lowbit_isa", default=None)
_threads: ContextVar[int | None] = ContextVar("lowbit_threads", default=None)
_process_threads: int | None = None


@functools.cache
def _default_threads() -> int:
    """Read once: it looks into the environment, the CPU affinity and the cgroup."""
    return _core.default_threads()


@functools.cache
def _context(isa: str | None, threads: int) -> _core.Context:
    """Kept: making one takes as long as a product of a few thousand numbers."""
    return _core.Context(isa, threads)


def context() -> _core.Context:
    """The context of one call, from what is set now. LOWBIT_ISA is read once."""
    return _context(_isa.get(), get_num_threads())


def available_isas() -> tuple[str, ...]:
    """Names of the instruction sets that this CPU, operating system and build can run, best first."""
    return _core.available_isas()


def current_isa() -> str:
    """Name of the instruction set that calls use here and now.

    That of the innermost ``use_isa``, else of the environment variable ``LOWBIT_ISA`` as the first call found it, else
    the best available.

    Raises:
        ValueError: ``LOWBIT_ISA`` names one that is not available.
    """
    return context().isa


@contextlib.contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Use one instruction set inside a ``with`` block; results do not depend on it, only speed.

    Context-local: other threads and other asyncio tasks are not affected.

    Raises:
        TypeError: name is not a string.
        ValueError: the instruction set is unknown or not available; the message lists those that are.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: {type(name).__name__}, expected a string, one of {', '.join(available_isas())}")
    token = _isa.set(_core.Context(name, 1).isa)
    try:
        yield
    finally:
        _isa.reset(token)


def set_num_threads(n: int, *, spin_microseconds: int | None = None) -> None:
    """Set the number of threads of all later calls in this process; results do not depend on it.

    Args:
        n: 1 to 1024. The default is ``LOWBIT_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the CPUs this process may
            use.
        spin_microseconds: how long an idle worker looks for the next call before it sleeps, 0 to 1000000. 100 at
            first: calls in a row then find their workers awake; 0 leaves the cores to others at once. None: as it is.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: an argument is out of range.
    """
    global _process_threads
    threads = integer("n", n, 1, _core.MAX_THREADS)
    if spin_microseconds is not None:
        _core.set_spin_microseconds(integer("spin_microseconds", spin_microseconds, 0, 1_000_000))
    _process_threads = threads


def get_num_threads() -> int:
    """Number of threads that calls use here and now: of the innermost ``num_threads``, else ``set_num_threads``."""
    return _threads.get() or _process_threads or _default_threads()


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Use n threads (1 to 1024) inside a ``with`` block.

    Context-local: other threads and other asyncio tasks are not affected.

    Raises:
        TypeError: n is not an integer.
        ValueError: n is out of range.
    """
    token = _threads.set(integer("n", n, 1, _core.MAX_THREADS))
    try:
        yield
    finally:
        _threads.reset(token)
