"""How close quantize, dequantize, cast, pack and unpack come to the memory's limit, and to what else is installed.

    pip install '.[bench]'            the peers; torch is measured where it is installed
    python bench/memory.py            all of it: about 10 minutes
    python bench/memory.py --only 'pack|unpack' --no-peers
    python bench/memory.py --quick    small arrays, to see that everything runs: the numbers mean nothing

The limit of a case is a plain stream that reads and writes as many bytes, the better one of regular and non-temporal
stores, on the same number of threads, interleaved with the case (bench/limits.cpp). GB/s counts the float32 side, or
the unpacked side of bits. Results go to memory that has been touched before, unless a case says otherwise. More than
1.02 of the limit is a broken measurement and fails the run.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import limits
import ml_dtypes
import numpy as np
import peers
import worker

import lowbit as lb
from lowbit import _core

BROKEN = 1.02  # of the limit


@dataclass(frozen=True)
class Work:
    """A case made ready: run() reads and writes so many bytes, in so many passes over what it reads."""

    run: Callable[[], object]
    read: int
    written: int
    passes: int = 1
    part: int = 1  # of the rows, one in so many


@dataclass(frozen=True)
class Case:
    """name: also how bench/peers.py knows it. target: share of the limit, of issue 3."""

    name: str
    target: float | None
    build: Callable[[peers.Data], Work]


# ---- what is measured -----------------------------------------------------------------------------------------------


def nbytes(q: lb.QuantizedArray) -> int:
    """Of all arrays."""
    return sum(array.nbytes for array in (q.codes, q.scale, q.zero_point) if array is not None)


def quantize_given(format: str, keywords: dict[str, Any]) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        given, out = (lb.quantize(data.x, format, **keywords) for _ in range(2))
        fixed = keywords | {"scale": given.scale, "global_scale": given.global_scale}
        fixed.pop("scale_dtype", None)
        read = data.x.nbytes + given.scale.nbytes
        return Work(lambda: lb.quantize(data.x, format, **fixed, out=out), read, out.codes.nbytes)

    return build


def quantize_found(format: str, keywords: dict[str, Any], **work: int) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        x = data.part(work.get("part", 1))
        out = lb.quantize(x, format, **keywords)
        known = keywords if out.global_scale is None else keywords | {"global_scale": out.global_scale}
        return Work(lambda: lb.quantize(x, format, **known, out=out), x.nbytes, nbytes(out), **work)

    return build


def dequantize(format: str, keywords: dict[str, Any]) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        q, out = lb.quantize(data.x, format, **keywords), data.empty(np.float32)
        return Work(lambda: lb.dequantize(q, out=out), nbytes(q), out.nbytes)

    return build


def cast(dtype: Any) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        out = data.empty(dtype)
        return Work(lambda: lb.cast(data.x, dtype, out=out), data.x.nbytes, out.nbytes)

    return build


def cast_back(dtype: Any) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        small, out = lb.cast(data.x, dtype), data.empty(np.float32)
        return Work(lambda: lb.cast(small, np.float32, out=out), small.nbytes, out.nbytes)

    return build


def pack(bits: int) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        out = lb.pack_bits(data.codes, bits)
        return Work(lambda: lb.pack_bits(data.codes, bits, out=out), data.codes.nbytes, out.nbytes)

    return build


def unpack(bits: int, signed: bool) -> Callable[[peers.Data], Work]:
    def build(data: peers.Data) -> Work:
        count, packed = data.codes.shape[1], lb.pack_bits(data.codes, bits)
        out = lb.unpack_bits(packed, bits, count, signed)
        return Work(lambda: lb.unpack_bits(packed, bits, count, signed, out=out), packed.nbytes, out.nbytes)

    return build


def fresh(work: Callable[[peers.Data], Work], run: Callable[[peers.Data], object]) -> Callable[[peers.Data], Work]:
    """The same bytes into arrays that are made by the call."""

    def build(data: peers.Data) -> Work:
        sizes = work(data)
        return Work(lambda: run(data), sizes.read, sizes.written)

    return build


LAYOUTS: dict[str, dict[str, Any]] = {
    "tensor": {},
    "rows": {"axis": 0},
    "columns": {"axis": 1},
    "groups of 32": {"group_size": 32},
}
INT4 = {"group_size": 32, "scale_dtype": np.float16}
FLOATS = {"float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}
HALVES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
BLOCKS = ["nf4", "fp4", "mxfp8_e4m3", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4", "nvfp4"]
BLOCK_KEYWORDS = {"nf4": {"group_size": 64}, "fp4": {"group_size": 64}}


def cases() -> Iterator[Case]:
    """The targets of issue 3, in its order."""
    for layout, keywords in LAYOUTS.items():
        yield Case(f"quantize int8 {layout}", 0.85, quantize_given("int8", keywords))
    yield Case("quantize int4 groups of 32", 0.85, quantize_given("int4", INT4))
    for name in FLOATS:
        yield Case(f"quantize {name} tensor", 0.85, quantize_given(name, {}))
    for name, dtype in (FLOATS | HALVES).items():
        yield Case(f"cast {name}", 0.85, cast(dtype))

    yield Case("find int8 groups of 32", 0.80, quantize_found("int8", LAYOUTS["groups of 32"]))
    yield Case("find int4 groups of 32", 0.80, quantize_found("int4", INT4))
    yield Case("find uint4 groups of 32, asymmetric", 0.80, quantize_found("uint4", INT4 | {"symmetric": False}))
    yield Case("find int8 rows", 0.80, quantize_found("int8", LAYOUTS["rows"]))
    yield Case("find int8 tensor (two passes)", 0.80, quantize_found("int8", {}, passes=2))

    for layout, keywords in LAYOUTS.items():
        yield Case(f"dequantize int8 {layout}", 0.85, dequantize("int8", keywords))
    yield Case("dequantize int4 groups of 32", 0.85, dequantize("int4", INT4))
    for name in FLOATS:
        yield Case(f"dequantize {name} tensor", 0.85, dequantize(name, {}))
    for name, dtype in (FLOATS | HALVES).items():
        yield Case(f"cast back {name}", 0.85, cast_back(dtype))

    for bits in range(1, 9):
        yield Case(f"pack {bits} bits", 0.70, pack(bits))
    for bits in range(1, 9):
        yield Case(f"unpack {bits} bits", 0.70, unpack(bits, False))
        yield Case(f"unpack {bits} bits, signed", 0.70, unpack(bits, True))

    for name in BLOCKS:
        keywords = BLOCK_KEYWORDS.get(name, {})
        yield Case(f"encode {name}", 0.50, quantize_found(name, keywords))
        yield Case(f"decode {name}", 0.80, dequantize(name, keywords))

    # costs the search, not the memory
    yield Case("mse int4 groups of 32", None, quantize_found("int4", INT4 | {"calibrate": "mse"}, part=16))

    # what new memory costs: no target
    yield Case(
        "quantize int8 tensor, new arrays",
        None,
        fresh(quantize_given("int8", {}), lambda data: lb.quantize(data.x, "int8", scale=data.scale)),
    )
    yield Case(
        "cast back float8_e4m3fn, new array",
        None,
        fresh(
            cast_back(FLOATS["float8_e4m3fn"]),
            lambda data, small=None: lb.cast(data.int8.view(FLOATS["float8_e4m3fn"]), np.float32),
        ),
    )


# ---- measuring ------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What came out for one case: seconds of each round, by engine; engines that could not take part, and why."""

    case: Case
    side: int
    read: int
    written: int
    seconds: dict[str, list[float]]
    missing: dict[str, str]

    def median(self, engine: str) -> float:
        return statistics.median(self.seconds[engine])

    def rate(self, engine: str) -> float:
        return self.side / self.median(engine) / 1e9

    @property
    def limit(self) -> str:
        """The faster kind of stream."""
        return min((e for e in self.seconds if e.startswith("stream")), key=self.median)

    @property
    def share(self) -> float | None:
        return self.median(self.limit) / self.median("lowbit") if "lowbit" in self.seconds else None

    @property
    def is_broken(self) -> bool:
        return self.share is not None and self.share > BROKEN

    def others(self) -> list[str]:
        return [e for e in self.seconds if e != "lowbit" and not e.startswith("stream")]


def measure(
    case: Case, data: peers.Data, streams: limits.Streams, others: dict[str, worker.Worker], rounds: int
) -> Row:
    row = Row(case, data.x.nbytes, 0, 0, {}, {})
    engines: dict[str, Callable[[], float]] = {}
    try:
        work = case.build(data)
        work.run()
        engines["lowbit"] = lambda: timed(work.run)
        for kind in streams.kinds:
            engines[f"stream {kind}"] = lambda kind=kind: stream(streams, kind, work)
        row.side, row.read, row.written = data.x.nbytes // work.part, work.read * work.passes, work.written
    except (AttributeError, TypeError, ValueError) as error:
        row.missing["lowbit"] = worker.summary(error)
    for engine, other in others.items():
        if (engine, case.name) not in peers.PEERS:
            continue
        other.forget()
        reason = other.prepare(case.name, case.name)
        if reason is None:
            engines[engine] = lambda other=other: other.measure(case.name, worker.Turn())[0]
        else:
            row.missing[engine] = reason
    row.seconds = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, run in engines.items():
            row.seconds[engine].append(run())
    return row


def stream(streams: limits.Streams, kind: str, work: Work) -> float:
    """The limit: passes that only read, then the one that writes."""
    reading = sum(streams.seconds(kind, work.read, 0) for _ in range(work.passes - 1))
    return reading + streams.seconds(kind, work.read, work.written)


def timed(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


# ---- reporting ------------------------------------------------------------------------------------------------------


def line(row: Row) -> str:
    name = f"{row.case.name:38}"
    if row.share is None:
        return f"{name} missing: {row.missing['lowbit']}"
    target = "" if row.case.target is None else f"{row.case.target:.2f}"
    mark = " " if row.case.target is None else "+" if row.share >= row.case.target else "-"
    compared = "  ".join(f"{e} {row.rate(e):.2f} (×{row.median(e) / row.median('lowbit'):.1f})" for e in row.others())
    return (
        f"{name} {row.rate(row.limit):7.1f} {row.rate('lowbit'):7.1f} {row.share:6.2f} {target:>5} {mark}  {compared}"
    )


def as_json(row: Row) -> dict[str, Any]:
    return {
        "case": row.case.name,
        "target": row.case.target,
        "share": row.share,
        "read": row.read,
        "written": row.written,
        "medians": {engine: row.median(engine) for engine in row.seconds},
        "seconds": row.seconds,
        "missing": row.missing,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mib", type=int, default=128, help="of the float32 side")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="regular expression: cases to run")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--quick", action="store_true", help="1 MiB, 2 rounds, no check of the measurement")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.quick:
        options.mib, options.rounds = 1, 2

    columns = 4096
    data = peers.Data((options.mib << 20) // (4 * columns), columns, options.threads)
    lb.set_num_threads(options.threads)
    versions = {engine: peers.version(engine) for engine in peers.PACKAGES}
    machine = {
        "cpu": _core.cpu_description(),
        "isa": lb.current_isa(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "lowbit": lb.__version__,
    }
    print(*(f"{key}: {value}" for key, value in machine.items()), sep="\n")
    print("peers:", *(f"{engine} {found or 'not installed'}," for engine, found in versions.items()))
    print(f"{options.threads} threads, {options.mib} MiB of float32, medians of {options.rounds} rounds; GB/s")
    if machine["load"] > 0.5:
        print(f"something else is running, the load is {machine['load']:.1f}: expect noise")
    print()
    print(f"{'':38} {'limit':>7} {'lowbit':>7} {'share':>6} {'goal':>5}")

    found = [] if options.no_peers else [engine for engine, version in versions.items() if version]
    others = {engine: peers.worker_of(engine, data) for engine in found}
    chosen = [case for case in cases() if re.search(options.only, case.name)]
    side = data.x.nbytes
    streams = limits.Streams(2 * side, side, options.threads)
    rows = []
    try:
        for case in chosen:
            row = measure(case, data, streams, others, options.rounds)
            if row.is_broken and not options.quick:  # noise may have hit the limit alone: once more, for longer
                row.seconds.update(measure(case, data, streams, {}, 5 * options.rounds).seconds)
            rows.append(row)
            print(line(row), flush=True)
    finally:
        for other in others.values():
            other.close()

    for row in rows:
        for engine, reason in row.missing.items():
            if engine != "lowbit":
                print(f"not measured: {engine}, {row.case.name}: {reason}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(
                {"machine": machine, "peers": versions, "options": vars(options), "rows": [*map(as_json, rows)]}, file
            )
    broken = [row.case.name for row in rows if row.is_broken]
    if broken and not options.quick:
        print(f"broken measurement, above {BROKEN} of the limit: {', '.join(broken)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
