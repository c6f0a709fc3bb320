"""The C parts (bench/native): a module that setup.py builds, in the tree and for a wheel."""

from __future__ import annotations

import functools
import importlib
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "bench" / "native"  # not there in an installed Overlane


class BenchError(Exception):
    """The measurement cannot be made; the text says why."""


@functools.cache
def native() -> Any:
    """The compiled module: `.lib` has the functions of native.h, `.ffi` makes their structs.

    Raises BenchError if it was not built, or before its sources changed: figures of yesterday's
    generator would pass for today's.
    """
    try:
        module = importlib.import_module("bench.support._native")
    except ImportError as error:
        raise BenchError(f"the native parts are not built ({error}): run make build") from None
    assert module.__file__ is not None
    built = Path(module.__file__).stat().st_mtime
    for source in SOURCES.glob("*.[ch]"):
        if source.stat().st_mtime > built:
            raise BenchError(f"{source.name} changed after it was built: run make build")
    return module


def check(result: int, what: str) -> int:
    """The result of a native call, or BenchError with the system's reason."""
    if result < 0:
        raise BenchError(f"{what}: {os.strerror(-result)}")
    return result
