"""Child processes of a lab: started with their output in files, ended for certain.

A child gets SIGTERM when the lab ends and SIGKILL if it does not obey; the kernel sends it SIGKILL
if the lab itself is killed (prctl PR_SET_PDEATHSIG), so nothing outlives a run.
"""

import asyncio
import ctypes
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.errors import LabError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LITTLE_BYTES = 1 << 16  # less than what one run writes
_PIPE_LINE_BYTES = 16 << 20  # longest line of a child that is spoken to; far above what is said
_STOP_S = 5.0  # chosen: a node's clean end takes well under a second
_LIBC = ctypes.CDLL(None, use_errno=True)


class ProcessError(LabError):
    """A child ended when it should not have, or with an error."""


class Child:
    """One running child; its standard output and error go to files beside each other."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, out: Path, err: Path
    ) -> None:
        self.name = name
        self.process = process
        self.out = out
        self.err = err

    def check_alive(self) -> None:
        """Raises ProcessError with the child's last words if it has ended."""
        if self.process.returncode is not None:
            raise ProcessError(
                f"{self.name} ended with {self.process.returncode}: {self.last_words()}"
            )

    def last_words(self) -> str:
        lines = self.err.read_text(errors="replace").strip().splitlines()
        if lines:
            return " | ".join(lines[-3:])
        directory = self.err.parent
        is_full = shutil.disk_usage(directory).free < _LITTLE_BYTES
        return "it said nothing" + (f"; no space is left in {directory}" if is_full else "")

    async def finished(self, timeout_s: float) -> int:
        """Its exit status. Raises ProcessError if it takes longer."""
        try:
            return await asyncio.wait_for(self.process.wait(), timeout_s)
        except TimeoutError:
            raise ProcessError(f"{self.name} did not end within {timeout_s:.0f} s") from None

    async def kill(self) -> None:
        """SIGKILL: no goodbye to anybody. Returns when it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL; its exit status."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), _STOP_S)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        assert self.process.returncode is not None
        return self.process.returncode


class Processes:
    """All children of one run; leaving the context ends those that still run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children: list[Child] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(child.stop() for child in self.children))

    async def start(
        self, name: str, command: Sequence[str], *, is_spoken_to: bool = False
    ) -> Child:
        """is_spoken_to: its standard input and output are pipes of `child.process`."""
        out, err = self.directory / f"{name}.out", self.directory / f"{name}.err"
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE if is_spoken_to else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if is_spoken_to else out_file,
                stderr=err_file,
                start_new_session=True,
                preexec_fn=_DieWith(os.getpid()),
                limit=_PIPE_LINE_BYTES,
            )
        child = Child(name, process, out, err)
        self.children.append(child)
        return child


class _DieWith:
    """Runs in the child before its program: be killed when the parent is."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def __call__(self) -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
