"""How many cores a process may keep busy: those it may run on, or its control group's quota.

A container with two cores' worth of time on a host of 64 sees all 64. Threads for each of them
would be stopped together, for most of each period, as soon as they are busy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_MOUNT = "sys/fs/cgroup"


def usable_cores(root: Path = Path("/")) -> int:
    """At least 1. root: where /proc and /sys are."""
    return max(1, min(len(os.sched_getaffinity(0)), *map(int, _quotas(root)), 1 << 16))


def _quotas(root: Path) -> Iterator[float]:
    """In cores, of all control groups that this process is in (cgroups(7))."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:  # version 2: each group above has a say, too
            here = PurePosixPath(path)
            for group in (here, *here.parents):
                yield from _quota(_read(_in(root / _MOUNT, group) / "cpu.max").split())
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", controllers):
                for group in (PurePosixPath(path), PurePosixPath("/")):
                    files = _in(root / _MOUNT / mount, group)
                    quota = _read(files / "cpu.cfs_quota_us")
                    yield from _quota([*quota.split(), *_read(files / "cpu.cfs_period_us").split()])


def _quota(words: list[str]) -> Iterator[float]:
    """Of "200000 100000", both in microseconds; none: "max", -1, or what cannot be read."""
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:
        yield int(words[0]) / int(words[1])


def _in(mount: Path, group: PurePosixPath) -> Path:
    """A process of another cgroup namespace sees paths that lead out of it: those have no files."""
    return mount.joinpath(*(part for part in group.parts if part not in ("/", "..")))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
