"""What outlasts a restart of the brain, as bytes: a line that says what it is, SHA-256, msgpack.

Times are those of the brain's clock, which goes on over restarts. The checksum finds damage, not
forgery: whoever can write the file can also write the checksum.
"""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

import msgspec

from control_client.messages import Capacity
from controller.discovery import SavedLinks
from controller.errors import ControllerError

_MAGIC = b"overlane brain 1\n"
_ANY_MAGIC = b"overlane brain "
_DIGEST_BYTES = 32

SavedSession: TypeAlias = tuple[str, str, int]


class StateError(ControllerError):
    """Bytes that are no state of this version: damaged, cut, or another file."""


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class SavedNode(_Struct, frozen=True):
    """is_connected: when this was saved."""

    name: str
    address: str
    capacity: Capacity
    admin_url: str
    software: str
    boot_id: int
    seen_us: int
    is_connected: bool


class SavedTrack(_Struct, frozen=True):
    stream_id: int
    name: str
    media: Literal["video", "audio"]
    codec: str
    payload_type: int
    clock_rate: int
    fmtp: str = ""


class SavedBroadcast(_Struct, frozen=True):
    name: str
    producer: str
    session: int
    since_us: int
    tracks: tuple[SavedTrack, ...]


class SavedState(_Struct, frozen=True):
    """retired: sessions that are over. views: weight and its time; campaigns: start and end."""

    saved_us: int
    nodes: tuple[SavedNode, ...]
    links: SavedLinks
    broadcasts: tuple[SavedBroadcast, ...]
    next_stream_id: int
    retired: tuple[SavedSession, ...]
    views: dict[str, tuple[float, int]]
    campaigns: dict[str, tuple[int, int]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SavedState)


def pack(state: SavedState) -> bytes:
    """For a file."""
    body = _encoder.encode(state)
    return _MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes) -> SavedState:
    """Raises StateError."""
    if not data.startswith(_MAGIC):
        if data.startswith(_ANY_MAGIC):
            raise StateError("is of another version of this program")
        raise StateError("is no state of a brain")
    head = len(_MAGIC) + _DIGEST_BYTES
    body = data[head:]
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        raise StateError("is damaged: its checksum does not fit")
    try:
        state = _decoder.decode(body)
        _check(state.links)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = "".join(c if c.isprintable() else "?" for c in str(error))
        raise StateError(f"cannot be read: {text[:200]}") from None
    return state


def _check(links: SavedLinks) -> None:
    squares = len(links.names) ** 2
    sizes = (
        (links.rtt_us, 4),
        (links.loss, 4),
        (links.utilisation, 4),
        (links.overloaded, 1),
        (links.measured_us, 8),
    )
    if len(set(links.names)) < len(links.names) or any(
        len(data) != size * squares for data, size in sizes
    ):
        raise StateError("is damaged: its links do not fit its nodes")
