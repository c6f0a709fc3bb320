"""A node's last good table on disk, so that it forwards after a restart while the brain is away.

The file: a line that says what it is, SHA-256 of the rest, the rest: a msgpack map of the node's
name and the table's message. It holds adjacency secrets. The checksum finds damage; whoever can
write the file can also write the checksum, and could as well change the node's configuration.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import msgspec

from control_client.codec import MAX_MESSAGE_BYTES, decode_from_brain, encode
from control_client.errors import (
    ControlMessageError,
    SchemaVersionError,
    TableError,
    TableFileError,
)
from control_client.files import read_bounded, write_private
from control_client.messages import NodeName, Table
from control_client.table import HeldTable, NodeTable

_MAGIC = b"overlane table 1\n"
_DIGEST_BYTES = 32
_OVERHEAD_BYTES = 1024  # the magic, the digest, the map around the message
MAX_FILE_BYTES = MAX_MESSAGE_BYTES + _OVERHEAD_BYTES


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: NodeName
    message: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


class TableStore:
    """One node's file. Blocking: the shell calls it in a thread, one call at a time."""

    def __init__(self, path: Path, node: str) -> None:
        self._path = path
        self._node = node

    def load(self) -> HeldTable | None:
        """None: there is none yet. Raises TableFileError if there is one that is no use."""
        try:
            data = read_bounded(self._path, MAX_FILE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise self._error(f"is larger than any table ({MAX_FILE_BYTES} bytes)")
        digest_end = len(_MAGIC) + _DIGEST_BYTES
        if not data.startswith(_MAGIC):
            raise self._error("is not a table that this version of overlane wrote")
        body = data[digest_end:]
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : digest_end]:
            raise self._error("is damaged: its checksum does not match")
        try:
            return self._parse(body)
        except SchemaVersionError as error:
            raise self._error(f"was written by another version: {error}") from None
        except (msgspec.DecodeError, ControlMessageError, TableError) as error:
            raise self._error(f"holds no table: {error}") from None

    def save(self, held: HeldTable) -> None:
        """Replaces the file as a whole. Raises TableFileError; the file is then as it was."""
        message = encode(held.table.as_message(held.version))
        body = _encoder.encode(_Stored(self._node, message))
        try:
            write_private(self._path, _MAGIC + hashlib.sha256(body).digest() + body)
        except OSError as error:
            text = f"cannot be written: {error.strerror}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                text += "; the table is in force, but is lost if the node restarts"
            raise self._error(text) from None

    def _parse(self, body: bytes) -> HeldTable:
        stored = _decoder.decode(body)
        if stored.node != self._node:
            raise self._error(f"belongs to node {stored.node}, not {self._node}")
        message = decode_from_brain(stored.message)
        if not isinstance(message, Table) or message.base is not None:
            raise TableError("it is a change, or another message")
        return HeldTable(message.version, NodeTable().apply(message))

    def _error(self, text: str) -> TableFileError:
        return TableFileError(f"{os.fspath(self._path)} {text}")
