"""Where the native functions of a Cython source begin and end."""

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
