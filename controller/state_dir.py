"""The brain's directory: its lock, master key, term and saved state."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from control_client.files import read_bounded, write_private
from controller.errors import ControllerError
from controller.tables.adjacency_secrets import MASTER_KEY_BYTES
from controller.tables.term import next_term

MAX_STATE_BYTES = 1 << 30  # chosen: fifty times what 600 nodes take


class StateDirError(ControllerError):
    """The directory or a file in it cannot be used: the brain must not start."""


class StateDir:
    """Locked for as long as this lives. Raises StateDirError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state_file = path / "state.msgpack"
        self._key_file = path / "master.key"
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._error(path, "cannot be used", error) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StateDirError(f"{path}: another brain runs with this state_dir") from None

    def close(self) -> None:
        """Another brain may have it."""
        os.close(self._lock)

    def next_term(self, unix_time_s: int) -> int:
        """This start's. Raises TermError."""
        return next_term(self.path / "term", unix_time_s)

    def master_key(self) -> bytes:
        """Made at the first start; what all adjacency secrets come from."""
        try:
            key = read_bounded(self._key_file, MASTER_KEY_BYTES)
        except FileNotFoundError:
            return self._new_key()
        except OSError as error:
            raise self._error(self._key_file, "cannot be read", error) from None
        if len(key) != MASTER_KEY_BYTES:
            text = f"is no master key: {MASTER_KEY_BYTES} bytes are expected; restore it"
            raise StateDirError(f"{self._key_file} {text}")
        return key

    def load(self) -> bytes | None:
        """The saved state; None at the first start."""
        try:
            return read_bounded(self._state_file, MAX_STATE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(self._state_file, "cannot be read", error) from None

    def save(self, state: bytes) -> None:
        """Whole or not at all, on disk when this returns. Raises OSError."""
        write_private(self._state_file, state)

    def set_aside(self) -> Path:
        """A state that cannot be used is kept for whoever wants to know why. Raises OSError."""
        aside = self._state_file.with_suffix(".unusable")
        return self._state_file.replace(aside)

    def _new_key(self) -> bytes:
        if self._state_file.exists():
            text = "is missing, and state.msgpack is there: restore the key, or remove the state"
            raise StateDirError(f"{self._key_file} {text} as well to key all links anew")
        key = secrets.token_bytes(MASTER_KEY_BYTES)
        try:
            write_private(self._key_file, key)
        except OSError as error:
            raise self._error(self._key_file, "cannot be written", error) from None
        return key

    def _error(self, file: Path, what: str, error: OSError) -> StateDirError:
        return StateDirError(f"{file} {what}: {error.strerror}")
