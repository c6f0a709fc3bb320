"""Reads a TOML file whole: its tables and where each key stands, or one problem with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from service.errors import ConfigError, Problem
from service.toml_places import lines_of_keys

MAX_FILE_BYTES = 1 << 20  # chosen: 5,000 streams take a third of it

Table: TypeAlias = dict[str, Any]


def read_text(file: Path, limit: int) -> str:
    """A text file of at most `limit` bytes. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem("", reason or "cannot be read", str(file))]) from None
    if len(data) > limit:
        raise ConfigError([Problem("", f"is larger than {limit} bytes: not the file?", str(file))])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = f"is not UTF-8 text: byte 0x{data[error.start]:02x}; save the file as UTF-8"
        raise ConfigError([Problem("", text, f"{file}:{line}")]) from None


def parse_toml(file: Path) -> tuple[Table, Mapping[str, int]]:
    """The file's tables, and the line of each key. Raises ConfigError."""
    text = read_text(file, MAX_FILE_BYTES)
    try:
        return tomllib.loads(text), lines_of_keys(text)
    except tomllib.TOMLDecodeError as error:
        # The position stands only in the message (Python 3.14 has it as attributes).
        message, line, column = re.fullmatch(
            r"(.*?)(?: \(at line (\d+), column (\d+)\)| \(at end of document\))?", str(error), re.S
        ).groups()  # type: ignore[union-attr]  # it matches any text
        end = text.rstrip().count("\n") + 1
        where = f"{file}:{line}:{column}" if line else f"{file}:{end}"
        raise ConfigError([Problem("", f"is not TOML: {message}", where)]) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 500 brackets
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            [Problem("", f"is not TOML for this program: {reason}", str(file))]
        ) from None
