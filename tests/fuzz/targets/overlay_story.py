"""The records of an overlay story, and stories to begin with: losses and repairs, routes, keys."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum

from rtp.rtcp.feedback import build_fir, build_nack, build_pli
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock
from tests.fuzz import records
from tests.fuzz.targets import overlay_twin as twin
from tests.support.chain import STREAM_ID, key_slice, other_slice, rtp
from tests.support.peer import header, items, media_payload

TAG = bytes(8)


class Kind(IntEnum):
    """What a record's body is."""

    NEXT_NUMBER = 0  # a neighbour's packet, tagged, with the next hop_seq
    NEAR = 1  # the same; first byte: how far from the next hop_seq
    AS_IT_IS = 2  # the same, with the hop_seq it has
    FROM_NEXT = 3  # as NEAR, from the neighbour downstream
    WAIT = 4  # two bytes: units of 100 us
    RTP = 5  # the encoder's packet
    HELLO = 6  # tagged with the HELLO key
    COMMAND = 7  # a stream comes, goes, or gets a cursor
    REKEYED = 8  # new keys are offered, and the packet is tagged with them
    RAW = 9  # a neighbour's datagram with the tag it has
    STRANGE = 10  # the same from a stranger
    INBOUND = 11  # a datagram from the viewer
    STRANGE_HELLO = 12  # as HELLO, from another address
    MOVED = 13  # as NEXT_NUMBER, from that address


def packet(payload: bytes, **fields: int) -> bytes:
    """A datagram whose number and tag the record's kind will put in."""
    rest = fields.pop("repairs", 0)
    flags = fields.pop("flags", 0) | (twin.REPAIR if rest else 0)
    return header(flags=flags, rest=rest.to_bytes(4) if rest else b"", **fields) + TAG + payload


def media(number: int, size: int = 60, **fields: int) -> bytes:
    fields.setdefault("marks", 0)
    return packet(media_payload(number, size), kind=twin.MEDIA, stream_seq=number, **fields)


def probe() -> bytes:
    return packet(struct.pack(">QQI", 900_000, 1_000_000, 10), kind=twin.PROBE)


def feedback(kind: int, body: bytes) -> bytes:
    return packet(bytes([kind]) + body, kind=twin.FEEDBACK)


def viewer_reports() -> list[bytes]:
    """What the viewer of SSRC 7 says: a report, a NACK across the wrap, PLI, FIR; another SSRC."""
    block = ReportBlock(7, 10, -1, 65_531, 90, 1, 2)
    return [
        packet.serialise()
        for packet in (
            ReceiverReport(1, (block,)).build(),
            build_nack(1, 7, [65_530, 65_531, 65_535, 0]).build(),
            build_pli(1, 7).build(),
            build_fir(1, [(7, 1)]).build(),
            build_pli(1, 8).build(),
        )
    ]


def seeds() -> list[bytes]:
    """Each type of packet, a loss and its repair from both sides, jumps, routes, keys."""
    key_frame = (Kind.NEXT_NUMBER, media(1, marks=1 | 2 | 4 | 16))
    frames = [(Kind.NEXT_NUMBER, media(n, marks=2 | 4)) for n in range(2, 5)]
    step = struct.Struct(">b")
    encoder = [
        (Kind.RTP, rtp(65_534 + n, 3000 * n, key_slice() if n == 0 else other_slice(bytes(20 * n))))
        for n in range(4)
    ]
    probes = [(Kind.NEXT_NUMBER, probe()), (Kind.NEAR, step.pack(0) + probe())]
    bitmap = struct.pack(">II", 1, 0xFFFFFFFF)
    stories: list[Sequence[records.Record]] = [
        [key_frame, *frames, (Kind.WAIT, b"\x03\xe8")],
        [*probes, (Kind.FROM_NEXT, step.pack(0) + probe()), (Kind.WAIT, b"\xff\xff")],
        [
            key_frame,
            (Kind.NEAR, step.pack(3) + media(5)),
            (Kind.WAIT, b"\x03\xe8"),
            (Kind.WAIT, b"\x27\x10"),
            (Kind.NEAR, step.pack(-2) + media(3)),
            (Kind.NEXT_NUMBER, media(4, repairs=3)),
            (Kind.NEXT_NUMBER, feedback(2, items(2, 4))),
            (Kind.WAIT, b"\x27\x10"),
        ],
        [
            key_frame,
            *frames,
            (Kind.FROM_NEXT, step.pack(0) + feedback(1, items(1, 2, 9))),
            (Kind.WAIT, b"\x01\x00"),
            (Kind.FROM_NEXT, step.pack(0) + feedback(1, bitmap)),
        ],
        [*encoder, (Kind.NEXT_NUMBER, feedback(1, bitmap + items(0, 0x80000000)))],
        [
            key_frame,
            (Kind.NEAR, step.pack(8) + media(40)),
            (Kind.NEXT_NUMBER, feedback(3, struct.pack(">IIII", STREAM_ID, 2, 30, 2))),
        ],
        [key_frame, (Kind.NEXT_NUMBER, media(90_000)), (Kind.NEXT_NUMBER, media(90_001)), *frames],
        [(Kind.NEXT_NUMBER, media(n, stream_id=77)) for n in (5, 6, 8)]
        + [(Kind.COMMAND, b"\0\0\0\0\x4d"), (Kind.WAIT, b"\xff\xff")],
        [(Kind.NEXT_NUMBER, media(1, stream_id=78)), (Kind.WAIT, b"\xff\xff")],
        [
            (Kind.NEXT_NUMBER, packet(b"control", kind=twin.CONTROL)),
            (Kind.NEXT_NUMBER, packet(bytes(1400), kind=3)),
            (Kind.NEXT_NUMBER, packet(b"pad", kind=twin.PADDING)),
            (Kind.NEXT_NUMBER, packet(b"d", kind=twin.DATAGRAM)),
        ],
        [(Kind.HELLO, packet(bytes(range(32)), kind=twin.HELLO, hop_seq=0))] * 12,
        [(Kind.NEXT_NUMBER, media(1, 1424 - n)) for n in (0, 2, 3)],
        [
            (Kind.NEXT_NUMBER, packet(b"", kind=twin.MEDIA)),
            (Kind.NEXT_NUMBER, feedback(9, bytes(8))),
        ],
        [(Kind.NEXT_NUMBER, media(1, hop_limit=n, stream_id=STREAM_ID)) for n in (0, 1, 2)],
        [
            (
                Kind.NEXT_NUMBER,
                header(flags=1 | 32, count=3, left=2, rest=bytes(32)) + TAG + media_payload(),
            )
        ],
        [(Kind.NEXT_NUMBER, media(2, flags=twin.SEALED)), (Kind.FROM_NEXT, b"\0" + media(2))],
        [key_frame, (Kind.REKEYED, media(2, hop_seq=1)), (Kind.NEXT_NUMBER, media(3)), *probes],
        [
            (Kind.RAW, media(1)),
            (Kind.AS_IT_IS, media(1, epoch=1)),
            (Kind.STRANGE, media(1)),
            (Kind.INBOUND, b"rtcp"),
            (Kind.RAW, b""),
            (Kind.AS_IT_IS, media(1)),
            (Kind.AS_IT_IS, media(1)),
        ],
        [
            (Kind.COMMAND, b"\x60\0\0\0\0"),
            key_frame,
            (Kind.COMMAND, b"\xff\0\0\0\0"),
            (Kind.COMMAND, b"\0\0\0\0\1"),
        ],
        [(Kind.NEXT_NUMBER, media(n, 1300)) for n in range(1, 60)],
        [
            (Kind.STRANGE_HELLO, packet(bytes(range(32)), kind=twin.HELLO, stream_id=2)),
            (Kind.MOVED, probe()),
            (Kind.MOVED, media(1)),
            key_frame,
        ],
        [
            (Kind.NEXT_NUMBER, feedback(4, struct.pack(">IIQ", STREAM_ID, 3000, 1 << 63))),
            key_frame,
            (Kind.WAIT, b"\x4e\x20"),
            *frames,
            *((Kind.INBOUND, data) for data in viewer_reports()),
            (Kind.FROM_NEXT, step.pack(0) + feedback(5, STREAM_ID.to_bytes(4))),
        ],
        [
            (Kind.AS_IT_IS, media(1, hop_seq=0x7FFFFFF0)),
            (Kind.AS_IT_IS, media(2, hop_seq=0xFFFFFFF0)),
        ]
        + [(Kind.NEAR, step.pack(n % 3) + media(n + 3)) for n in range(12)]
        + [(Kind.NEXT_NUMBER, feedback(2, items(0xFFFFFFFF))), (Kind.WAIT, b"\x27\x10")],
    ]
    return [records.join(story) for story in stories]
