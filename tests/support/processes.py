"""What runs on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def processes_with(text: str) -> list[str]:
    """Command lines of running processes that mention `text`; this one's aside."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal() and int(directory.name) != os.getpid():
            try:
                arguments = (directory / "cmdline").read_bytes()
            except OSError:
                continue
            line = arguments.replace(b"\0", b" ").decode(errors="replace")
            if text in line:
                found.append(line)
    return found
