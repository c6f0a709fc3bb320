"""Small files with secrets: whole or as they were, durable, and for their owner's eyes only."""

import os
from contextlib import suppress
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """All of it or nothing, mode 0600, on disk when this returns. Raises OSError."""
    directory = path.parent
    part = directory / f".{path.name}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        part.unlink(missing_ok=True)  # of a process that was killed; its mode is not ours
        with open(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_directory(directory)


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """At most one byte more than the limit, which tells that there is more. Raises OSError."""
    with path.open("rb") as file:
        return file.read(limit_bytes + 1)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
