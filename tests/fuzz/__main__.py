"""Runs fuzz targets, each in a process of its own, and keeps what ends one.

`python -m tests.fuzz [TARGET ...] --seconds 60`: seconds for each target, all of them if none is
named. Finds gather in build/fuzz/TARGET/found, crashing inputs beside them as crash-NAME, with the
report as crash-NAME.txt. Exit status 1 if there was one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS
from tests.fuzz.worker import Current, name_of

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "fuzz"
CORPUS = Path(__file__).parent / "corpus"
MOST_CRASHES = 5


def compiler_file(name: str) -> str:
    """Where the C compiler keeps one of its libraries."""
    compiler = os.environ.get("CC", "cc")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, check=True)
    return found.stdout.decode().strip()


def environment() -> dict[str, str]:
    """For the instrumented process: its own extensions first, the sanitizers loaded before all."""
    return os.environ | {
        "PYTHONPATH": f"{BUILD / 'lib'}{os.pathsep}{ROOT}",
        "PYTHONSAFEPATH": "1",
        "PYTHONHASHSEED": "0",
        "LD_PRELOAD": f"{compiler_file('libasan.so')} {compiler_file('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def start(name: str, *action: str) -> subprocess.CompletedProcess[str]:
    """One process of worker.py to its end."""
    work = BUILD / name
    (work / "found").mkdir(parents=True, exist_ok=True)
    (CORPUS / name).mkdir(parents=True, exist_ok=True)
    folders = [str(work), str(CORPUS / name), str(BUILD / "edge_map.so")]
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worker", name, *folders, *action],
        env=environment(),
        cwd=BUILD,
        capture_output=True,
        text=True,
        check=False,
    )


def keep_crash(name: str, process: subprocess.CompletedProcess[str]) -> None:
    """Save the input that ran, and what was said about it."""
    data = Current.read(BUILD / name / "current")
    path = BUILD / name / f"crash-{name_of(data)}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(f"exit {process.returncode}\n{process.stderr}")
    last = process.stderr.strip().splitlines()[-1:] or [f"exit {process.returncode}"]
    for line in process.stderr.splitlines():
        if "ERROR: AddressSanitizer" in line or "runtime error" in line:
            last = [line]
    sys.stdout.write(f"{name}: {path.relative_to(ROOT)}: {last[0]}\n")


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Run a target for so long; how many inputs ended its process."""
    end = time.monotonic() + seconds
    crashes = 0
    while crashes < MOST_CRASHES:
        left = max(end - time.monotonic(), 0.0)
        process = start(name, "fuzz", f"{left}", f"{seed + crashes}")
        sys.stdout.write(process.stdout)
        sys.stdout.flush()
        if process.returncode == 0:
            break
        keep_crash(name, process)
        crashes += 1
    return crashes


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the mutations")
    parser.add_argument("--minimise", action="store_true", help="put the finds into the corpus")
    parser.add_argument("--replay", type=Path, help="run this one input and show what is said")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    crashes = 0
    for name in options.targets:
        if options.replay or options.minimise:
            action = ("replay", str(options.replay.resolve())) if options.replay else ("minimise",)
            process = start(name, *action)
            sys.stdout.write(process.stdout + process.stderr)
            crashes += process.returncode != 0
        else:
            crashes += fuzz(name, options.seconds, options.seed)
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
