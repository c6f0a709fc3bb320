"""The last good table on disk."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path as File

import msgspec
import pytest

from control_client.codec import encode
from control_client.errors import TableFileError
from control_client.messages import TableVersion
from control_client.table import HeldTable, NodeTable
from control_client.table_store import MAX_FILE_BYTES, TableStore
from tests.support.control_channel import neighbour
from tests.support.disk import file_size_limit

HELD = HeldTable(TableVersion(7, 3), NodeTable.of([neighbour(1), neighbour(2)]))
LATER = HeldTable(TableVersion(7, 4), NodeTable.of([neighbour(2)]))


@pytest.fixture
def path(tmp_path: File) -> File:
    path = tmp_path / "table"
    TableStore(path, "tokyo").save(HELD)
    return path


def refusal(path: File, node: str = "tokyo") -> str:
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(TableFileError) as caught:
        TableStore(path, node).load()
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before
    return str(caught.value).removeprefix(f"{path} ")


def test_what_was_saved_is_loaded(path: File) -> None:
    store = TableStore(path, "tokyo")
    assert store.load() == HELD
    store.save(LATER)
    assert store.load() == LATER
    assert os.listdir(path.parent) == ["table"]


def test_none_yet(tmp_path: File) -> None:
    assert TableStore(tmp_path / "table", "tokyo").load() is None


def test_only_the_owner_reads_it(path: File) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    (path.parent / ".table.part").write_bytes(b"left by a process that was killed")
    (path.parent / ".table.part").chmod(0o644)
    old_umask = os.umask(0)
    try:
        TableStore(path, "tokyo").save(LATER)
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["table"]


def test_each_damaged_byte_is_found(path: File) -> None:
    data = path.read_bytes()
    for n in range(len(data)):
        path.write_bytes(data[:n] + bytes((data[n] ^ 1,)) + data[n + 1 :])
        with pytest.raises(TableFileError):
            TableStore(path, "tokyo").load()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(TableFileError):
            TableStore(path, "tokyo").load()
    path.write_bytes(data)
    assert TableStore(path, "tokyo").load() == HELD


def test_the_reasons(path: File, tmp_path: File) -> None:
    assert refusal(path, "paris") == "belongs to node tokyo, not paris"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"?")
    assert refusal(path) == "is damaged: its checksum does not match"
    path.write_bytes(b"[relay]\nname = 'tokyo'\n")
    assert refusal(path) == "is not a table that this version of overlane wrote"
    path.write_bytes(data + bytes(MAX_FILE_BYTES))
    assert refusal(path) == f"is larger than any table ({MAX_FILE_BYTES} bytes)"
    assert refusal(tmp_path) == "cannot be read: Is a directory"


def store_of(path: File, message: bytes) -> None:
    """A file that is whole, but holds something else."""
    body = msgspec.msgpack.encode({"node": "tokyo", "message": message})
    path.write_bytes(b"overlane table 1\n" + hashlib.sha256(body).digest() + body)


def test_a_whole_file_with_something_else(path: File) -> None:
    store_of(path, msgspec.msgpack.encode((2, {"type": "table"})))
    assert refusal(path) == (
        "was written by another version: control schema 2 is newer than what is spoken here (1)"
    )
    change = LATER.table.change_from(HELD.table, HELD.version, LATER.version)
    store_of(path, encode(change))
    assert refusal(path) == "holds no table: it is a change, or another message"
    store_of(path, b"x")
    assert refusal(path).startswith("holds no table: not a control message")


def test_a_full_disk_keeps_what_is_there_and_says_so(path: File) -> None:
    with file_size_limit(64), pytest.raises(TableFileError) as caught:
        TableStore(path, "tokyo").save(LATER)
    assert str(caught.value) == (
        f"{path} cannot be written: File too large; the table is in force, but is lost if the node "
        "restarts"
    )
    assert TableStore(path, "tokyo").load() == HELD
    assert os.listdir(path.parent) == ["table"]


def test_a_missing_directory(tmp_path: File) -> None:
    with pytest.raises(TableFileError, match="cannot be written: No such file or directory"):
        TableStore(tmp_path / "none" / "table", "tokyo").save(HELD)
