"""Standard output and error of a command, which may be closed, full, or a pipe nobody reads.

Writing to them never raises, so that a lost line ends no broadcast. What went wrong with standard
output is told once, at the end, with the exit code.
"""

import io
import os
import select
import sys

from relay import descriptors

EXIT_FAILED = 1


class _Lenient(io.RawIOBase):
    """A descriptor that takes all, and remembers the first failure."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        view = memoryview(data)
        written = 0
        while self.failure is None and written < len(view):
            try:
                written += os.write(self._descriptor, view[written:])
            except BlockingIOError:  # somebody else made the pipe so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return len(view)


_output, _error = _Lenient(1), _Lenient(2)


def make_lenient() -> None:
    """For the whole process; before anything is opened."""
    descriptors.open_missing()
    sys.stdout = _text(_output, sys.stdout)
    sys.stderr = _text(_error, sys.stderr)


def can_write_now() -> bool:
    """Whether a line of progress would be taken at once: a reader that is stuck delays no media."""
    return bool(select.select([], [_output.fileno()], [], 0)[1])


def finish(status: int) -> int:
    """Flush, and say why output is incomplete. Returns the exit code: `status`, or 1 in its place
    if it was 0. A reader that left early (`| head -1`) is told nothing."""
    sys.stdout.flush()
    failure = _output.failure
    if failure is None:
        return status
    if not isinstance(failure, BrokenPipeError):
        sys.stderr.write(f"overlane: cannot write to standard output: {failure.strerror}\n")
        sys.stderr.flush()
    return status or EXIT_FAILED


def _text(raw: _Lenient, replaced: "io.TextIOBase | object") -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),  # type: ignore[type-var]  # typeshed wants more than is used
        encoding=getattr(replaced, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
