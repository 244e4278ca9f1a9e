"""What bench/compare.py measures, and what is aimed at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from products import Product

COLD = 24  # different matrices in turn: more than any cache holds


@dataclass(frozen=True)
class Goal:
    """What is aimed at, by kind.

    "share": of the limit. "ratio": so many times as fast as each of `against`, in the median. "ahead": of each of
    `against` (of every peer, if there is none), with the lower bound of the interval. "error": a fraction of theirs.
    """

    kind: str
    value: float = 1.0
    against: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "share":
            return f"share ≥ {self.value:.2f}"
        others = ", ".join(self.against)
        if self.kind == "ahead":
            return f"ahead of {others or 'all'}"
        if self.kind == "error":
            return f"error ≤ {self.value:.2f} of {others}"
        return f"≥ {self.value:.2f} × {others}"


@dataclass(frozen=True)
class Contender:
    """An engine, not always at the product of the case; threads: None: those of the run."""

    engine: str
    product: Product
    threads: int | None = None


@dataclass(frozen=True)
class Case:
    name: str
    product: Product
    goals: tuple[Goal, ...] = ()
    peers: bool = True  # every engine that has this product
    others: dict[str, Contender] = field(default_factory=dict)  # compared by time for each operation


def share(value: float) -> Goal:
    return Goal("share", value)


def times(value: float, *against: str) -> Goal:
    return Goal("ratio", value, against)


AHEAD = Goal("ahead")
INT8_PEERS = Goal("ahead", against=("fbgemm", "onednn", "onnxruntime", "openvino"))
INT4_PEERS = ("int4pack", "onnxruntime", "openvino", "bitsandbytes")


def cases(quick: bool = False) -> Iterator[Case]:
    """The targets of issue 4, in its order. quick: small ones instead."""
    side = 256 if quick else 4096
    large, middle = (16, 12) if quick else (512, 64)

    def product(compute: str, m: int, format: str = "int8", group: int | None = None, **more: int | None) -> Product:
        return Product(compute, m, side, side, format, group, **more)  # type: ignore[arg-type]

    # 8 bits
    for compute, name in ("integer", "int8 to int32"), ("static", "int8 to float32"):
        yield Case(f"{name}, M = {large}", product(compute, large), (share(0.90), AHEAD))
        for m in (middle, 8):
            yield Case(f"{name}, M = {m}", product(compute, m), (AHEAD,))
    for m in (large, middle, 8, 1):
        yield Case(f"int8 dynamic, M = {m}", product("dynamic", m), (INT8_PEERS,))

    # 4 bits
    int4 = product("dynamic", large, "int4", 32)
    by_groups = replace(int4, act_group=None)
    ort_openvino = (times(2.5, "onnxruntime"), times(1.4, "openvino"))
    yield Case(f"int4 g32, x by rows, M = {large}", int4, (share(0.75), *ort_openvino))
    yield Case(f"int4 g32, x by groups, M = {large}", by_groups, (share(0.66),))
    yield Case(f"int4 g32, x by rows, M = {middle}", replace(int4, m=middle), (share(0.70),))
    yield Case(f"int4 g128, x by rows, M = {large}", replace(int4, group=128))
    yield Case(f"int4 g128, x by rows, M = {middle}", replace(int4, m=middle, group=128), (share(0.80),))
    for bits in (2, 3, 5, 6, 8):
        yield Case(f"int{bits} g32, x by rows, M = {large}", replace(int4, format=f"int{bits}"), (share(0.70),))
    symmetric = {"symmetric": Contender("lowbit", int4)}
    asymmetric = replace(int4, format="uint4")
    yield Case(f"uint4 g32 asymmetric, M = {large}", asymmetric, (times(0.95, "symmetric"),), others=symmetric)
    yield Case("int4 g32, x by groups, M = 8", replace(by_groups, m=8), (times(1.5, *INT4_PEERS),))
    yield Case("int4 g32, x by groups, M = 1", replace(by_groups, m=1), (AHEAD,))

    # one row, weights from memory
    for bits in (2, 3, 4, 8):
        cold = product("dynamic", 1, f"int{bits}", 32, act_group=None, matrices=COLD)
        goals = (share(0.85), times(1.3, "onnxruntime")) if bits != 3 else (share(0.85),)
        yield Case(f"int{bits} g32, x by groups, M = 1, cold", cold, goals)

    # other ways to compute
    float32 = product("float32", large, "int4", 32)
    yield Case(f"int4 g32, float32, M = {large}", float32, (share(0.85), times(3, "onnxruntime")))
    yield Case("int4 g32, float32, M = 1, cold", replace(float32, m=1, matrices=COLD), (times(3, "onnxruntime"),))
    int8 = {"compute int8": Contender("lowbit", int4)}
    goals = (share(0.38), Goal("error", 1 / 50, ("compute int8",)))
    yield Case(f"int4 g32, int8x2, M = {large}", replace(int4, compute="int8x2"), goals, others=int8)

    # small layers
    for m in (128, 1):
        for compute, name in ("dynamic", "int8 dynamic"), ("integer", "int8 to int32"):
            yield Case(f"{name}, {m} × 384 × 1536", Product(compute, m, 1536, 384), (AHEAD,))

    # what should cost nothing
    sizes = {"int8 to int32": product("integer", large), "int4 g32": int4, "int4 g32, float32": float32}
    for name, even in sizes.items():
        alone = {"one thread": Contender("lowbit", even, threads=1)}
        yield Case(f"{name}, two threads for one", even, (times(1.85, "one thread"),), peers=False, others=alone)
    for name, even in sizes.items():
        for by in (-1, 1):
            odd = replace(even, m=even.m + by, n=even.n + by, k=even.k + by)
            what = f"{name}, {odd.m} × {odd.k} × {odd.n}"
            yield Case(what, odd, (times(1 / 1.1, "even"),), peers=False, others={"even": Contender("lowbit", even)})


# Of lowbit's 8-bit product: share of what its instruction allows.
ISA_SHARES = {"avx2": 0.80, "avxvnni": 0.85}


def isa_cases(isa: str, quick: bool = False) -> Iterator[Case]:
    """Of one instruction set, beside oneDNN limited to it (the other engines cannot be)."""
    side, m = (256, 16) if quick else (4096, 512)
    goals = (share(ISA_SHARES[isa]),) if isa in ISA_SHARES else ()
    ahead = Goal("ahead", against=("onednn",))
    int8 = Product("dynamic", m, side, side)
    others = {"onednn": Contender("onednn", int8)}
    for compute, name in ("integer", "int8 to int32"), ("static", "int8 to float32"), ("dynamic", "int8 dynamic"):
        same = replace(int8, compute=compute)
        named = {"onednn": Contender("onednn", same)}
        yield Case(f"{name}, M = {m}", same, (*goals, ahead), peers=False, others=named)
    int4 = replace(int8, format="int4", group=32)
    others |= {"int8": Contender("lowbit", int8)}
    faster = (Goal("ahead", against=("int8",)),) if isa == "avx2" else ()
    yield Case(f"int4 g32, x by rows, M = {m}", int4, (*faster, ahead), peers=False, others=others)
