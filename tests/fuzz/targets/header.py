"""The overlay header: native and twin agree, and what parses can be written again."""

from __future__ import annotations

from fastpath import wire
from tests.fuzz.targets import overlay_twin as twin
from tests.fuzz.targets.target import Target
from tests.support.chain import key
from tests.support.peer import header

KEY = key("tag")
LONGEST_TAGGED_HEADER = 64  # of wire.tag
LONGEST_TAGGED_PAYLOAD = 1440


def run(data: bytes) -> None:
    found = wire.parse(data)
    assert found == twin.parse(data)
    if isinstance(found, str):
        return
    end = found["header_bytes"]
    fields = {name: found[name] for name in found if name not in _DERIVED}
    written = header(kind=found["type"], version=12, rest=data[24:end], **fields)
    assert written == data[:end]
    payload = data[end + twin.TAG_BYTES :]
    if end <= LONGEST_TAGGED_HEADER and len(payload) <= LONGEST_TAGGED_PAYLOAD:
        high = found["send_ts"]  # any number will do
        assert wire.tag(written, payload, KEY, high).to_bytes(8) == twin.tag(
            written, payload, KEY, high
        )


_DERIVED = {"type", "repairs_hop_seq", "header_bytes"}


def seeds() -> list[bytes]:
    """Each type, each option of the header, and each verdict."""
    body = bytes(8) + bytes(range(40))
    plain = [header(kind=kind, flags=kind << 1 & 2) + body for kind in range(8)]
    optional = [
        header(flags=flags, count=count, left=left, rest=bytes(range(size))) + body
        for flags, count, left, size in (
            (0, 6, 6, 12),
            (1, 6, 2, 24),
            (32, 0, 0, 20),
            (4, 0, 0, 4),
            (63, 6, 0, 48),
            (0, 7, 7, 14),
            (0, 1, 2, 2),
        )
    ]
    return [*plain, *optional, header(version=11) + body, header(), b""]


TARGET = Target("header", run, seeds)
