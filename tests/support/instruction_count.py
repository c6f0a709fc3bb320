"""How many instructions the engine executes in turns fed from memory: exact, the same each time.

No hardware counter and no tool is needed: a child runs the feed, and its parent sets a breakpoint
where the engine's part of a turn begins (ptrace(2)), goes on one instruction at a time until that
function returns, and counts. About 50,000 instructions a second, so a few dozen packets will do.
For x86-64 alone: it knows the breakpoint instruction and where the registers stand.

    python -m tests.support.instruction_count '{"fanout": 1}' 3      prints JSON
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.support.memory_node import MemoryCase, MemoryNode

ROOT = Path(__file__).parents[2]
TRACEME, PEEKTEXT, PEEKUSER, POKETEXT, POKEUSER, CONT, SINGLESTEP = 0, 1, 3, 4, 6, 7, 9
RIP, RSP = 8 * 16, 8 * 19  # in struct user, <sys/user.h>
INT3 = 0xCC
WORD = (1 << 64) - 1
STOPPED_BY_TRAP = signal.SIGTRAP << 8 | 0x7F
UNSEEN = 77  # exit status: it cannot be done here

# memcpy of one kind on every machine (glibc.cpu.hwcaps): the widest has up to 60 instructions
# fewer for 1,200 bytes.
SAME_LIBRARY = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW"


class CannotCountError(Exception):
    """The text says what is missing."""


@dataclass(frozen=True)
class InstructionCount:
    instructions: int
    packets_in: int
    packets_out: int
    turns: int

    @property
    def per_packet_out(self) -> float:
        return self.instructions / self.packets_out


def count_instructions(case: MemoryCase, turns: int = 1) -> InstructionCount:
    """In `turns` turns of the engine after a warm-up. Raises CannotCountError."""
    if platform.machine() != "x86_64":
        raise CannotCountError(f"written for x86-64, and this is {platform.machine()}")
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asdict(case)), str(turns)],
        cwd=ROOT,
        env=os.environ | {"GLIBC_TUNABLES": SAME_LIBRARY},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == UNSEEN:
        raise CannotCountError(done.stderr.strip())
    if done.returncode != 0:
        raise RuntimeError(f"the count failed ({done.returncode}): {done.stderr}")
    return InstructionCount(**json.loads(done.stdout))


class Tracee:
    """A stopped child of ours that has asked to be traced."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        libc = ctypes.PyDLL(None, use_errno=True)
        self._ptrace = libc.ptrace
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_ulong, ctypes.c_ulong]
        self._ptrace.restype = ctypes.c_long

    def ask(self, request: int, address: int = 0, data: int = 0) -> int:
        """A word read, or 0."""
        ctypes.set_errno(0)
        value = self._ptrace(request, self.pid, address, data)
        if value == -1 and ctypes.get_errno() != 0:
            raise OSError(ctypes.get_errno(), f"ptrace request {request}")
        return int(value) & WORD

    def go_on(self, request: int) -> int:
        """Continue or make one step; how the child stopped or ended, as waitpid says it."""
        self.ask(request)
        return os.waitpid(self.pid, 0)[1]

    def count_call(self, address: int) -> int:
        """Run on to this function; instructions from its first one to its return."""
        original = self.ask(PEEKTEXT, address)
        self.ask(POKETEXT, address, original & ~0xFF | INT3)
        if self.go_on(CONT) != STOPPED_BY_TRAP or self.ask(PEEKUSER, RIP) != address + 1:
            raise RuntimeError("the child did not come to the function")
        self.ask(POKETEXT, address, original)
        self.ask(POKEUSER, RIP, address)
        stack = self.ask(PEEKUSER, RSP)
        caller = self.ask(PEEKTEXT, stack)
        at, counted = address, 0
        while True:
            if self.go_on(SINGLESTEP) != STOPPED_BY_TRAP:
                raise RuntimeError("a signal came while counting")
            before, at = at, self.ask(PEEKUSER, RIP)
            counted += at != before  # a repeated string instruction stops after each round
            if at == caller and self.ask(PEEKUSER, RSP) > stack:
                return counted


def _run_child(node: MemoryNode, turns: int) -> None:
    libc = ctypes.PyDLL(None, use_errno=True)
    if libc.ptrace(TRACEME, 0, 0, 0) != 0:
        os._exit(UNSEEN)
    os.kill(os.getpid(), signal.SIGSTOP)
    node.feed.run(turns)
    os._exit(0)


def _count(case: MemoryCase, turns: int) -> InstructionCount:
    node = MemoryNode(case)
    node.warm_up()
    before = node.feed.figures()
    pid = os.fork()
    if pid == 0:
        _run_child(node, turns)
    try:
        if not os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
            raise CannotCountError("ptrace is not allowed here, even of an own child")
        tracee = Tracee(pid)
        steps = sum(tracee.count_call(node.feed.engine_turn_address) for _ in range(turns))
        if tracee.go_on(CONT) != 0:
            raise RuntimeError("the child did not end as it should")
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        raise CannotCountError(f"ptrace is not allowed here: {error}") from error
    # The same turns in this process say what they were.
    figures = node.feed.run(turns) - before
    return InstructionCount(steps, figures.packets_in, figures.packets_out, turns)


def main() -> int:
    """See the module."""
    case, turns = MemoryCase(**json.loads(sys.argv[1])), int(sys.argv[2])
    try:
        counted = _count(case, turns)
    except CannotCountError as reason:
        sys.stderr.write(f"{reason}\n")
        return UNSEEN
    sys.stdout.write(json.dumps(asdict(counted)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
