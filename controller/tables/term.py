"""The brain's term: a number that rises with each of its starts, kept in a file.

Nodes refuse a term below the last one they followed, so it must not fall even if the file is lost:
it is at least the time in seconds, which is far above a count of starts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from control_client.files import read_bounded, write_private
from controller.tables.errors import TermError

HIGHEST_TERM = (1 << 53) - 1
_MAX_FILE_BYTES = 64


def next_term(path: Path, unix_time_s: int, above: int = 0) -> int:
    """The term of a start at this time, stored before it is used. Raises TermError.

    above: a term that nodes are known to have followed.
    """
    term = max(_stored(path), above, unix_time_s - 1, 0) + 1
    if term > HIGHEST_TERM:
        raise TermError(f"{os.fspath(path)}: term {term} is above {HIGHEST_TERM}")
    try:
        write_private(path, f"{term}\n".encode())
    except OSError as error:
        raise TermError(f"{os.fspath(path)} cannot be written: {error.strerror}") from None
    return term


def _stored(path: Path) -> int:
    try:
        data = read_bounded(path, _MAX_FILE_BYTES)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise TermError(f"{os.fspath(path)} cannot be read: {error.strerror}") from None
    if not re.fullmatch(rb"[0-9]{1,16}\n", data):
        text = "is no term; remove it, and the next term is made of the time"
        raise TermError(f"{os.fspath(path)} {text}")
    return int(data)
