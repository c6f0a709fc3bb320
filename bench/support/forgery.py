"""Packets that a node must refuse: mutated copies of real ones, replays, inventions.

None of them is authentic and new: a copy is made only of a packet that was delivered, and what is
changed is either under the tag or in a packet whose number was seen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

from fastpath.wire import PacketType

COVERED_BYTES = 24 + 8 + 16  # header, tag, and what the tag covers of media's payload
HEADER_FIELDS = {  # offset and size in the overlay header
    "version and type": (0, 1),
    "flags": (1, 1),
    "segments": (2, 1),
    "hop limit": (3, 1),
    "class and marks": (4, 1),
    "epoch": (5, 1),
    "delay": (6, 2),
    "stream_id": (8, 4),
    "stream_seq": (12, 4),
    "hop_seq": (16, 4),
    "send_ts": (20, 4),
}
RTP_VERSION = 0x80


def bit_flip(rng: Random, real: bytes) -> bytes:
    """One to three bits under the tag."""
    changed = bytearray(real)
    for place in rng.sample(range(8 * min(len(real), COVERED_BYTES)), rng.randint(1, 3)):
        changed[place // 8] ^= 1 << (place % 8)
    return bytes(changed)


def payload_flip(rng: Random, real: bytes) -> bytes:
    """A bit anywhere: beyond the tag it is refused as the replay that it is."""
    changed = bytearray(real)
    place = rng.randrange(8 * len(real))
    changed[place // 8] ^= 1 << (place % 8)
    return bytes(changed)


def truncation(rng: Random, real: bytes) -> bytes:
    return real[: rng.randrange(len(real))]


def extension(rng: Random, real: bytes) -> bytes:
    return real + rng.randbytes(rng.randint(1, 1500))


def header_field(rng: Random, real: bytes) -> bytes:
    """Another value in one field."""
    at, size = rng.choice(list(HEADER_FIELDS.values()))
    old = real[at : at + size]
    new = rng.randbytes(size)
    while new == old:
        new = rng.randbytes(size)
    return real[:at] + new + real[at + size :]


def replay(_rng: Random, real: bytes) -> bytes:
    return real


def noise(rng: Random, _real: bytes) -> bytes:
    return rng.randbytes(rng.randint(0, 1500))


def hello(rng: Random, _real: bytes) -> bytes:
    """A HELLO of a node id that may exist, under no key."""
    head = struct.pack(
        ">BBBBBBHIIII", 0xC0 | PacketType.TYPE_HELLO, 0, 0, 8, 0, 0, 0, rng.randint(1, 4), 0, 0, 0
    )
    return head + rng.randbytes(8 + 32)


Forge = Callable[[Random, bytes], bytes]
OVERLAY: Sequence[Forge] = (
    bit_flip,
    payload_flip,
    truncation,
    extension,
    header_field,
    replay,
    noise,
    hello,
)


def rtp_of_another_type(rng: Random) -> bytes:
    """Payload types that no track has (96 and 111 are taken)."""
    number, timestamp, ssrc = rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32)
    body = rng.randbytes(rng.randint(1, 1200))
    return struct.pack(">BBHII", RTP_VERSION, rng.randint(97, 110), number, timestamp, ssrc) + body


def rtp_of_another_source(rng: Random, payload_type: int) -> bytes:
    number, timestamp, ssrc = rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32)
    body = rng.choice((b"\x65\x88", b"\x41\x9a")) + rng.randbytes(rng.randint(1, 1200))
    return struct.pack(">BBHII", RTP_VERSION, payload_type, number, timestamp, ssrc) + body


def rtcp_of_a_stranger(rng: Random) -> bytes:
    """A well-formed receiver report, NACK or PLI that names sources nobody has."""
    kind, words = rng.choice(((201, 7), (205, 3), (206, 2)))
    second = 1 if kind != 205 else rng.choice((1, 15))
    head = struct.pack(">BBH", RTP_VERSION | second, kind, words)
    return head + rng.randbytes(4 * words)
