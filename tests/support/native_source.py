"""Where the native functions of a Cython source begin and end, and the C made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

SIGNATURE = re.compile(
    r"^cdef\b[^\n:=]*?\b(\w+)\((?:[^()]|\([^()]*\))*\)\s*noexcept nogil:", re.MULTILINE
)


@dataclass(frozen=True)
class NativeFunction:
    name: str
    first_line: int
    last_line: int


def native_functions(text: str) -> list[NativeFunction]:
    """Functions defined `noexcept nogil`, with the first and the last line of the body."""
    lines = text.splitlines()
    found = []
    for match in SIGNATURE.finditer(text):
        first = text.count("\n", 0, match.end()) + 1
        last = first
        for number in range(first + 1, len(lines) + 1):
            line = lines[number - 1]
            if line.strip() and not line.startswith((" ", ")")):
                break
            last = number if line.strip() else last
        found.append(NativeFunction(match[1], first + 1, last))
    return found


def c_name(module: str, function: str) -> str:
    """fastpath.link, link_accept -> __pyx_f_8fastpath_4link_link_accept."""
    return "__pyx_f_" + "".join(f"{len(part)}{part}_" for part in module.split(".")) + function


def c_body(generated: str, name: str) -> str | None:
    """The definition of this function in a C file by Cython, without comments; None: not there."""
    if f"{name}(" not in generated:
        return None
    start = re.search(
        rf"^static [^;{{}}\n]*\b{re.escape(name)}\([^;{{}}]*\{{$", generated, re.MULTILINE
    )
    if start is None:
        return None
    end = generated.index("\n}\n", start.end())
    return re.sub(r"/\*.*?\*/", "", generated[start.end() : end], flags=re.DOTALL)


def python_calls(body: str) -> set[str]:
    """Names of Python's or Cython's runtime in a C function."""
    return set(re.findall(r"\b(?:_?Py[A-Z_]\w*|__Pyx_\w+)", body)) - {"Py_ssize_t"}  # an integer
