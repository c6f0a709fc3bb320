"""Files with secrets: there, readable, the owner's alone, and what they should be."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from control_client.errors import TableFileError
from control_client.files import read_bounded
from control_client.table import HeldTable
from control_client.table_store import TableStore
from control_client.tokens import is_token
from overlane.doctor.check import Check, ok, problem, warning

MAX_TOKEN_FILE_BYTES = 4096
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class PrivateFile:
    """key: of the configuration that names it. kind: what is looked for in it."""

    key: str
    path: Path
    kind: Literal["secret", "token", "key", "configuration", "state"]


def check_files(files: Iterable[PrivateFile]) -> list[Check]:
    """One check for each."""
    return [_check_file(each) for each in files]


def why_unreadable(path: Path) -> tuple[str, str] | None:
    """What keeps this user from reading a regular file, and the mend; None if nothing does.

    A pipe or a device is not opened: that could wait for ever.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return f"{path} is no regular file", "name a file"
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return f"{path} is not there", "make it, or correct the name"
    except PermissionError:
        user = _own_name()
        return f"{path} cannot be read by {user}", f"chown {user} {path}, or run this as its owner"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}", "see what is wrong with the disk"


def _own_name() -> str:
    """As chown takes it: the name, or the number of a user without one."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def mode_problem(what: str, path: Path) -> Check | None:
    """A file that others than its owner may read or write."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        found = f"{path} has mode {mode:04o}: others may read it"
        return problem(what, found, f"chmod 600 {path}; if others had access, make a new one")
    return None


def _check_file(file: PrivateFile) -> Check:
    what = file.key
    if (reason := why_unreadable(file.path)) is not None:
        return problem(what, *reason)
    if (exposed := mode_problem(what, file.path)) is not None:
        return exposed
    if file.kind == "token" and not _is_token_file(file.path):
        mend = f"make one with: overlane token node NAME --out {file.path.parent}"
        return problem(what, f"{file.path} holds no token", mend)
    mode = stat.S_IMODE(file.path.stat().st_mode)
    return ok(what, f"{file.path}, mode {mode:04o}")


def _is_token_file(path: Path) -> bool:
    data = read_bounded(path, MAX_TOKEN_FILE_BYTES)
    return is_token(data.decode(errors="replace").strip())


def read_table(path: Path, node: str) -> tuple[HeldTable | None, Check]:
    """A node's last good table, and what there is to say about it."""
    what = "stored table"
    if not path.exists():
        directory = path.parent
        if not os.access(directory, os.W_OK):
            found = f"there is none, and {directory} cannot be written"
            return None, problem(what, found, f"make {directory} writable, or set table_file")
        return None, ok(what, f"{path}: none yet; the brain gives one")
    if (reason := why_unreadable(path)) is not None:
        return None, problem(what, *reason)
    if (exposed := mode_problem(what, path)) is not None:
        return None, exposed
    try:
        held = TableStore(path, node).load()
    except TableFileError as error:
        mend = "delete it: the brain gives a new one"
        return None, warning(what, str(error), mend)
    if held is None:  # it went away meanwhile
        return None, ok(what, f"{path}: none yet; the brain gives one")
    count = len(held.table.neighbours)
    return held, ok(what, f"version {held.version}, {count} neighbours, {path}")


def check_directory(key: str, path: Path) -> Check:
    """Where a brain keeps its state and keys."""
    if not path.exists():
        parent = path.parent
        if os.access(parent, os.W_OK):
            return ok(key, f"{path}: made at the first start")
        return problem(key, f"{path} is not there, and cannot be made", f"make it: mkdir -p {path}")
    if not path.is_dir():
        return problem(key, f"{path} is no directory", f"move it, or give {key} another name")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return problem(key, f"{path} cannot be written", f"chown it to the brain's user: {path}")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & stat.S_IWOTH:
        return problem(key, f"{path} has mode {mode:04o}: all may write", f"chmod 700 {path}")
    if mode & OTHERS:
        return warning(key, f"{path} has mode {mode:04o}: others may look", f"chmod 700 {path}")
    return ok(key, f"{path}, mode {mode:04o}")
