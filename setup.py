"""The native extensions and the directives they share; all else is in pyproject.toml.

OVERLANE_DEBUG=1 builds with bounds checks and the address and undefined-behaviour sanitizers.
OVERLANE_TSAN=1 builds with the thread sanitizer.
OVERLANE_COVERAGE=edges makes the extensions report each block they enter (tests/fuzz/edge_map.c),
OVERLANE_COVERAGE=lines lets gcov count the lines of each .pyx. The Makefile builds these in build/.
"""

import os
import re
from pathlib import Path

import cffi
from cffi.recompiler import make_c_source
from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
DEBUG = os.environ.get("OVERLANE_DEBUG") == "1"
TSAN = os.environ.get("OVERLANE_TSAN") == "1"
COVERAGE = os.environ.get("OVERLANE_COVERAGE", "")
if DEBUG and TSAN:
    raise SystemExit("OVERLANE_DEBUG and OVERLANE_TSAN: no process takes both sanitizers")
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
# A report of undefined behaviour ends the process, as one of the address sanitizer does.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OPTIMISE = ["-fno-omit-frame-pointer", "-g", "-O1"] if DEBUG or TSAN else ["-O3", "-g1"]
FLAGS = SANITIZE if DEBUG else ["-fsanitize=thread"] if TSAN else []
if COVERAGE == "edges":
    OPTIMISE.append("-fsanitize-coverage=trace-pc")
elif COVERAGE == "lines":
    OPTIMISE = ["-O0", "-g1"]
    FLAGS = [*FLAGS, "--coverage", "-fprofile-update=atomic"]
elif COVERAGE:
    raise SystemExit(f"OVERLANE_COVERAGE is {COVERAGE}; it must be edges or lines")
PARTS = ("debug" if DEBUG else "", "tsan" if TSAN else "", COVERAGE)
VARIANT = "".join(f"-{part}" for part in PARTS if part)


def extensions() -> list[Extension]:
    """One extension per .pyx; its name is its path."""
    sources = sorted(
        p.relative_to(ROOT) for d in ("rtp", "fastpath", "lab") for p in (ROOT / d).rglob("*.pyx")
    )
    return [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            include_dirs=["fastpath"],
            depends=["fastpath/siphash_lanes.h"],
            extra_compile_args=[*FLAGS, *OPTIMISE, "-Wno-unused-function"],
            extra_link_args=FLAGS,
        )
        for source in sources
    ]


def set_glue_apart(built: list[Extension]) -> list[Extension]:
    """What Cython adds behind a module's own functions would go on counting the module's lines."""
    head = re.compile(
        r"^(?=\w.*\b(?:__Pyx_|__pyx_pymod|__pyx_m_|__pyx_tp_|PyInit_)\w*\(.*\{$)", re.MULTILINE
    )
    for extension in built:
        for source in map(Path, extension.sources):
            text = source.read_text()
            if "cython_glue" not in text:
                source.write_text(head.sub('#line 1 "cython_glue"\n', text))
    return built


def bench_extension() -> Extension:
    """The C parts of the bench, for `overlane bench` on hosts without a compiler."""
    sources, glue = ROOT / "bench" / "native", f"build/cffi{VARIANT}/_native.c"
    builder = cffi.FFI()
    builder.cdef((sources / "native.h").read_text())
    Path(glue).parent.mkdir(parents=True, exist_ok=True)
    make_c_source(builder, "_native", '#include <stdint.h>\n#include "native.h"', glue)
    return Extension(
        "bench.support._native",
        [glue, *(str(path.relative_to(ROOT)) for path in sorted(sources.glob("*.c")))],
        include_dirs=[str(sources.relative_to(ROOT))],
        depends=[str(path.relative_to(ROOT)) for path in sorted(sources.glob("*.h"))],
        extra_compile_args=[*FLAGS, *OPTIMISE],
        extra_link_args=FLAGS,
    )


modules = cythonize(
    extensions(),
    compiler_directives=DIRECTIVES,
    nthreads=os.cpu_count() or 1,
    emit_linenums=COVERAGE == "lines",
    build_dir=f"build/cython{VARIANT}",
    annotate=True,  # tests/fastpath/test_hot_path reads which lines call Python
)
if COVERAGE == "lines":
    modules = set_glue_apart(modules)
setup(ext_modules=[*modules, bench_extension()])
