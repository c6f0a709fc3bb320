"""Files that are of use only when they are whole: written beside their place, then renamed."""

from pathlib import Path


def part_of(path: Path) -> Path:
    """Where to write what is to become `path`. A device or a pipe is written to directly."""
    if path.exists() and not path.is_file():
        return path
    whole = path.resolve()  # a link is kept, and what it leads to replaced
    return whole.with_name(f"{whole.name}.part")


def put_in_place(part: Path, path: Path) -> None:
    """The part is whole. Raises OSError."""
    if part != path:
        part.replace(path.resolve())


def write_whole(path: Path, data: bytes) -> None:
    """All of it or nothing. Raises OSError."""
    part = part_of(path)
    try:
        part.write_bytes(data)
        put_in_place(part, path)
    except OSError:
        if part != path:
            part.unlink(missing_ok=True)
        raise
