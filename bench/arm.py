"""How many instructions and cycles the ARM tiles take for a multiplication, without an ARM machine.

    cmake --preset aarch64 -B build/aarch64 && cmake --build build/aarch64 --target lowbit_isa_objects
    python bench/arm.py build/aarch64

Reads the inner loops of the int8 tiles from the cross-built objects (objdump) and asks llvm-mca for their cycles on a
core that has the instructions: data in L1, no misprediction. Needs aarch64-linux-gnu-objdump and llvm-mca.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 100  # of a loop, that llvm-mca looks at
LINE = re.compile(r"^\s+([0-9a-f]+):\s+(\S+)\s*([^/]*)")


@dataclass(frozen=True)
class Core:
    """An ISA's multiply instruction, how many multiplications it is, and a core to ask about."""

    multiply: str
    multiplications: int
    cpu: str


CORES = {
    "neon": Core(r"smull2?", 8, "cortex-a53"),
    "dotprod": Core("sdot", 16, "neoverse-n1"),
    "i8mm": Core("smmla", 32, "neoverse-v1"),
}
TILES = {"codes_tile": "one scale for each row", "groups_tile": "groups"}


def functions(path: Path) -> dict[str, list[tuple[int, str, str]]]:
    """The (address, name, operands) of each function's instructions."""
    command = ["aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", str(path)]
    found: dict[str, list[tuple[int, str, str]]] = {}
    code: list[tuple[int, str, str]] = []
    for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        if line.endswith(">:"):
            code = found.setdefault(line.split("<", 1)[1], [])
        elif match := LINE.match(line):
            code.append((int(match[1], 16), match[2], match[3].split("<")[0].strip()))
    return found


def loops(code: list[tuple[int, str, str]]) -> list[list[tuple[int, str, str]]]:
    """From the target of each jump back to the jump."""
    found = []
    for address, name, operands in code:
        target = re.search(r"([0-9a-f]+)$", operands) if name.startswith(("b.", "cbnz", "cbz")) else None
        if target and code[0][0] <= int(target[1], 16) < address:
            found.append([line for line in code if int(target[1], 16) <= line[0] <= address])
    return found


def cycles(loop: list[tuple[int, str, str]], cpu: str) -> float:
    """Of one round, by llvm-mca. The jump goes to the next line: llvm-mca looks at a block."""
    lines = [f"{name} {operands}" for _, name, operands in loop[:-1]]
    mca = shutil.which("llvm-mca") or shutil.which("llvm-mca-19") or "llvm-mca"
    command = [mca, "-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+i8mm,+dotprod", f"-iterations={ROUNDS}"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    total = re.search(r"^Total Cycles:\s+(\d+)", done.stdout, re.MULTILINE)
    assert total is not None
    return int(total[1]) / ROUNDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of the cross build")
    build = parser.parse_args().build
    print("| ISA | tile | instructions for a multiplication | core | multiplications a cycle |\n|---|---|---|---|---|")
    for isa, core in CORES.items():
        objects = sorted(build.glob(f"**/lowbit_isa_{isa}.dir/**/{isa}.cpp.o"))
        if not objects:
            sys.exit(f"{build}: no object of {isa}, expected a cross build of isa_objects")
        code = functions(objects[0])
        for tile, meaning in TILES.items():
            best = None
            for loop in (loop for name, lines in code.items() if f"::{tile}<" in name for loop in loops(lines)):
                products = core.multiplications * sum(bool(re.fullmatch(core.multiply, name)) for _, name, _ in loop)
                if products and (best is None or len(loop) / products < len(best[0]) / best[1]):
                    best = loop, products
            assert best is not None
            loop, products = best
            rate = products / cycles(loop, core.cpu)
            print(f"| {isa} | {meaning} | {len(loop) / products:.3f} | {core.cpu} | {rate:.1f} |")


if __name__ == "__main__":
    main()
