"""Nodes and brains as an operator runs them: `overlane relay` and `overlane controller`."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0


def overlane(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line, to its end."""
    command = [sys.executable, "-m", "overlane", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def running(command: str, config: Path, http_port: int) -> Iterator[None]:
    """A daemon that is ready. command: "relay" or "controller". http_port: its admin's or API's."""
    log = config.with_suffix(".log")
    with log.open("wb") as out:
        arguments = [sys.executable, "-m", "overlane", command, "--config", str(config)]
        process = subprocess.Popen(arguments, stderr=out)
    try:
        deadline_s = time.monotonic() + START_S
        while not _is_ready(http_port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
