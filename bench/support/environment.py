"""What a figure depends on, for the report."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from bench.support.native import ROOT


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    """Of the tree we run from; an installed Overlane may lie in somebody else's repository."""
    if not (ROOT / ".git").exists():
        return ""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def environment() -> dict[str, object]:
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "overlane": version("overlane"),
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "is_modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "flags": sys.argv[1:],
        "compiler_flags": f"{sysconfig.get_config_var('CFLAGS')} -O3",
        "load_average": os.getloadavg()[0],
    }
