"""The C parts (bench/native), compiled by cffi on first use and kept under build/bench.

The module's name carries a digest of the sources and flags, so a change is compiled and an
unchanged one is not.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import cffi

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "bench" / "native"
CACHE = ROOT / "build" / "bench"
COMPILE_FLAGS = ["-O3", "-Wall"]  # -O3 as the engine's own (setup.py)


class BenchError(Exception):
    """The measurement cannot be made; the text says why."""


def _digest() -> str:
    found = hashlib.sha256(f"{COMPILE_FLAGS} {platform.python_version()}".encode())
    for path in sorted(SOURCES.iterdir()):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _compile(name: str) -> Path:
    """Built beside its place and moved there, so that two runs at once cannot meet half of it."""
    builder = cffi.FFI()
    builder.cdef((SOURCES / "native.h").read_text())
    builder.set_source(
        name,
        '#include <stdint.h>\n#include "native.h"',
        sources=[str(path) for path in sorted(SOURCES.glob("*.c"))],
        include_dirs=[str(SOURCES)],
        extra_compile_args=COMPILE_FLAGS,
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        built = Path(builder.compile(tmpdir=folder))
        return built.replace(CACHE / built.name)


@functools.cache
def native() -> Any:
    """The compiled module: `.lib` has the functions of native.h, `.ffi` makes their structs."""
    name = f"_bench_{_digest()}"
    built = next(CACHE.glob(f"{name}.*.so"), None) or _compile(name)
    spec = importlib.util.spec_from_file_location(name, built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(result: int, what: str) -> int:
    """The result of a native call, or BenchError with the system's reason."""
    if result < 0:
        raise BenchError(f"{what}: {os.strerror(-result)}")
    return result
