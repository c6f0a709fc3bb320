"""Plain-Python twin of the overlay header and its tag, after the layout in ARCHITECTURE.md."""

from __future__ import annotations

import struct

from fastpath.siphash import digest

FIXED = struct.Struct(">BBBBBBHIIII")
TAG_BYTES = 8
WIDE_IDS, SEALED, REPAIR, DESTINATION = 1, 2, 4, 32
MEDIA, FEEDBACK, PROBE, CONTROL, DATAGRAM, PADDING, HELLO = range(7)
HOP_SEQ = slice(16, 20)


def parse(data: bytes) -> dict[str, int] | str:
    """What `fastpath.wire.parse` returns."""
    if len(data) < FIXED.size + TAG_BYTES:
        return "TRUNCATED"
    first, flags, route, hop_limit, marks, epoch, *numbers = FIXED.unpack_from(data)
    if first >> 4 != 12:
        return "WRONG_VERSION"
    if first & 15 > HELLO:
        return "UNKNOWN_TYPE"
    left, count = route >> 4, route & 15
    if count > 6 or left > count:
        return "MALFORMED"
    end = FIXED.size + count * (4 if flags & WIDE_IDS else 2)
    end += 20 * bool(flags & DESTINATION) + 4 * bool(flags & REPAIR)
    if len(data) < end + TAG_BYTES:
        return "TRUNCATED"
    names = ("delay", "stream_id", "stream_seq", "hop_seq", "send_ts")
    return {
        "type": first & 15,
        "flags": flags,
        "left": left,
        "count": count,
        "hop_limit": hop_limit,
        "traffic_class": marks >> 5,
        "marks": marks & 31,
        "epoch": epoch,
        **dict(zip(names, numbers, strict=True)),
        "repairs_hop_seq": int.from_bytes(data[end - 4 : end]) if flags & REPAIR else 0,
        "header_bytes": end,
    }


def tag(head: bytes, payload: bytes, key: bytes, high: int = 0) -> bytes:
    """The tag of a packet, for headers of any length."""
    covered = payload
    if head[0] & 15 in (MEDIA, DATAGRAM):
        covered = payload[-16:] if head[1] & SEALED else payload[:16]
    return digest(head + struct.pack(">II", high, len(payload)) + covered, key).to_bytes(8)


def sealed(data: bytes, key: bytes, high: int = 0) -> bytes:
    """The same datagram with a tag that fits, if it has a header at all."""
    found = parse(data)
    if isinstance(found, str):
        return data
    head, payload = data[: found["header_bytes"]], data[found["header_bytes"] + TAG_BYTES :]
    return head + tag(head, payload, key, high) + payload


def is_authentic(data: bytes, key: bytes, high: int = 0) -> bool:
    """Whether the tag fits."""
    return sealed(data, key, high) == data and not isinstance(parse(data), str)
