"""An input that is a story: records of a kind, a length and a body, one after the other.

Any bytes are one: a length beyond the end is cut, so that no mutation makes an input unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Record: TypeAlias = tuple[int, bytes]
"""Kind (0..255) and body (up to 65,535 bytes)."""

HEAD_BYTES = 3


def split(data: bytes, limit: int = 64) -> list[Record]:
    """The first `limit` records."""
    records: list[Record] = []
    at = 0
    while at < len(data) and len(records) < limit:
        start = at + HEAD_BYTES
        size = int.from_bytes(data[at + 1 : start])
        records.append((data[at], data[start : start + size]))
        at = start + size
    return records


def join(records: Sequence[Record]) -> bytes:
    """The input that splits into these."""
    return b"".join(bytes([kind]) + len(body).to_bytes(2) + body for kind, body in records)
