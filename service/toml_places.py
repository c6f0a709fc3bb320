"""Where each key of a TOML document stands, since `tomllib` tells no lines.

Only for text that `tomllib` has accepted: it is walked, not judged. Source: TOML v1.0.0.
"""

import re
import tomllib
from collections.abc import Iterable

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\[\s\S]|[^\\])*?""""{0,2}'  # up to two quotes may stand before the closing three
    r"|'''[\s\S]*?''''{0,2}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
)
_SCALAR = re.compile(r"[^,\]}#\n]+")  # numbers, booleans, dates (which may hold a space)


def key_path(parts: Iterable[int | str]) -> str:
    """("neighbours", 0, "secret") as neighbours[0].secret."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def lines_of_keys(text: str) -> dict[str, int]:
    """The line (from 1) of each table, key and array item, by key path.

    A table that was opened more than once is where it was opened first.
    """
    return _Walk(text).lines


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._items: dict[str, int] = {}
        """How many tables each array of tables has so far."""
        table: tuple[int | str, ...] = ()
        while self._skip(_BLANK) < len(text):
            if text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        start = self._at
        return self._text[start : self._skip(pattern)]

    def _mark(self, path: tuple[int | str, ...]) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self.lines.setdefault(key_path(path), self._line)

    def _header(self) -> tuple[int | str, ...]:
        """[table] or [[array of tables]]; the path that its keys stand under."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        path: tuple[int | str, ...] = ()
        *parents, last = self._keys()
        for key in parents:
            path = self._newest((*path, key))
            self._mark(path)
        path = (*path, last)
        self._mark(path)
        if brackets == 2:
            name = key_path(path)
            self._items[name] = self._items.get(name, 0) + 1
            path = self._newest(path)
            self._mark(path)
        self._at += brackets
        return path

    def _newest(self, path: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Below the name of an array of tables stands its newest table."""
        count = self._items.get(key_path(path))
        return path if count is None else (*path, count - 1)

    def _pair(self, path: tuple[int | str, ...]) -> None:
        for key in self._keys():
            path = (*path, key)
            self._mark(path)
        self._at += 1  # =
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[str]:
        """A dotted key; stops behind it and its blanks."""
        keys = []
        while True:
            self._skip(_SPACE)
            bare = self._take(_BARE)
            keys.append(bare or tomllib.loads(f"x={self._take(_STRING)}")["x"])
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _value(self, path: tuple[int | str, ...]) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: tuple[int | str, ...]) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_BLANK)] != "]":
            self._mark((*path, index))
            self._value((*path, index))
            index += 1
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: tuple[int | str, ...]) -> None:
        self._at += 1
        while self._text[self._skip(_BLANK)] != "}":
            self._pair(path)
            if self._text[self._skip(_BLANK)] == ",":
                self._at += 1
        self._at += 1
