"""The native extensions and the directives they share; all else is in pyproject.toml.

OVERLANE_DEBUG=1 builds with bounds checks and the address and undefined-behaviour sanitizers.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
DEBUG = os.environ.get("OVERLANE_DEBUG") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": False,
    "auto_pickle": False,
    "embedsignature": False,
}
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
COMPILE = SANITIZE if DEBUG else ["-O3", "-g1"]


def extensions() -> list[Extension]:
    """One extension per .pyx; its name is its path."""
    sources = sorted(
        p.relative_to(ROOT) for d in ("rtp", "fastpath") for p in (ROOT / d).rglob("*.pyx")
    )
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            extra_compile_args=[*COMPILE, "-Wno-unused-function"],
            extra_link_args=SANITIZE[:1] if DEBUG else [],
        )
        for source in sources
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        nthreads=os.cpu_count() or 1,
        build_dir="build/cython-debug" if DEBUG else "build/cython",
    )
)
