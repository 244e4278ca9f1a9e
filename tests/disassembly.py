"""Machine code as objdump prints it: functions, their innermost loops, and what those do to the stack (x86-64)."""

import re
import subprocess
from typing import NamedTuple

HEAD = re.compile(r"^[0-9a-f]+ <(.+)>:$")
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(?:\{\w+\}\s+)?(\S+)\s*([^#]*)")  # {vex} may stand before a name
TARGET = re.compile(r"^([0-9a-f]+)\b")
WIDE = re.compile(r"%(?:[yz]mm|k[0-7])")
VECTOR = re.compile(r"%[xyz]mm")


class Instruction(NamedTuple):
    """One line of objdump -d."""

    address: int
    name: str
    operands: str


def functions(path):
    """The functions of an object or a library, by mangled name."""
    listing = subprocess.run(["objdump", "-d", "-w", "--no-show-raw-insn", path], capture_output=True, check=True)
    found = {}
    for line in listing.stdout.decode().splitlines():
        if head := HEAD.match(line):
            code = found.setdefault(head[1], [])
        elif match := LINE.match(line):
            code.append(Instruction(int(match[1], 16), match[2], match[3].strip()))
    return found


def needs_avx(instruction):
    """Whether the instruction is one of AVX or later, whose mnemonics begin with v, or names a register of AVX-512."""
    return instruction.name.startswith("v") or bool(WIDE.search(instruction.operands))


def innermost_loops(code):
    """The loops without a loop inside: from the target of each jump back to the jump."""
    addresses = {i.address for i in code}
    loops = set()
    for i in code:
        target = TARGET.match(i.operands) if i.name.startswith("j") else None
        if target and int(target[1], 16) in addresses and int(target[1], 16) <= i.address:
            loops.add((int(target[1], 16), i.address))
    for begin, end in sorted(loops):
        if not any((b, e) != (begin, end) and begin <= b and e <= end for b, e in loops):
            yield [i for i in code if begin <= i.address <= end]


def stack_traffic(code, loop):
    """The instructions of a loop that move vectors to or from the stack of the function `code`."""
    framed = any(i.name == "mov" and i.operands == "%rsp,%rbp" for i in code)
    stack = re.compile(r"\(%r[sb]p" if framed else r"\(%rsp")
    return [i for i in loop if stack.search(i.operands) and VECTOR.search(i.operands)]
