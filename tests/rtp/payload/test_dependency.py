"""Dependency descriptors: templates, own indications, frames in several packets, the twin."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload import dependency, reference_dependency
from tests.rtp.dependency import DISCARDABLE, NEEDED, TEMPLATES, describe, structure
from tests.rtp.guarded_page import GuardedPage

GUARDED = GuardedPage()
ID = 4
SEED = 8_285


def packet(descriptor: bytes, *, extension_id: int = ID, is_long: bool = False) -> bytes:
    """With padding and another element before it."""
    head = bytes([extension_id, len(descriptor)])
    profile, other = 0x1000, b"\x09\x01x\x00"
    if not is_long:
        head, profile, other = (
            bytes([extension_id << 4 | len(descriptor) - 1]),
            0xBEDE,
            b"\x90x\x00",
        )
    data = other + head + descriptor
    data += bytes(-len(data) % 4)
    return RtpPacket(96, 7, 90, 1, b"media", extension=HeaderExtension(profile, data)).serialise()


def read(*packets: bytes, extension_id: int = ID) -> list[bool | None]:
    native, twin = dependency.Reader(), reference_dependency.Reader()
    found = [native.read(GUARDED.place(each), extension_id) for each in packets]
    assert found == [twin.read(each, extension_id) for each in packets]
    return found


@pytest.mark.parametrize("is_long", [False, True])
def test_a_frame_is_as_its_template(is_long: bool) -> None:
    key = packet(describe(0, 0, structure()), is_long=True)
    others = [packet(describe(n, n), is_long=is_long) for n in range(len(TEMPLATES))]
    assert read(key, *others) == [False, *map(is_discardable, TEMPLATES)]


def is_discardable(indications: str) -> bool:
    return set(indications) <= {"-", "D"}


def test_templates_begin_at_any_number() -> None:
    key = packet(describe(62, 0, structure(first=62)), is_long=True)
    assert read(key, packet(describe(0, 1)), packet(describe(1, 2)), packet(describe(5, 3))) == [
        False,
        is_discardable(TEMPLATES[2]),
        is_discardable(TEMPLATES[3]),
        None,
    ]


def test_own_indications_go_before_those_of_the_template() -> None:
    key = packet(describe(0, 0, structure()), is_long=True)
    own = [packet(describe(0, n, own=each)) for n, each in enumerate(("DD", "-D", "DS", "RR"))]
    assert read(key, *own) == [False, True, True, False, False]
    active = packet(describe(0, 9, own="DD", active="01"))
    assert read(key, active) == [False, True]


def test_the_rest_of_a_frame_goes_by_its_first_packet() -> None:
    key = packet(describe(0, 0, structure()), is_long=True)
    begun = packet(describe(0, 1, own="DD"))
    rest = packet(describe(0, 1, begins=False))
    other = packet(describe(0, 2, begins=False))
    assert read(key, begun, rest, other, rest) == [False, True, True, None, True]
    assert read(key, rest) == [False, None]


def test_without_a_structure_nothing_is_known() -> None:
    assert read(packet(describe(0, 1))) == [None]
    key = packet(describe(0, 0, structure()), is_long=True)
    broken = packet(describe(0, 0, structure())[:6])
    assert read(key, broken, packet(describe(3, 1))) == [False, None, None]


def test_packets_without_a_descriptor() -> None:
    key = packet(describe(0, 0, structure()), is_long=True)
    bare = RtpPacket(96, 7, 90, 1, b"media").serialise()
    other_form = RtpPacket(96, 7, 90, 1, b"", extension=HeaderExtension(7, bytes(4))).serialise()
    assert read(bare, other_form, b"", key[:11]) == [None] * 4
    assert read(key, extension_id=5) == [None]
    short = packet(describe(0, 1)[:2])
    ended = RtpPacket(
        96, 7, 90, 1, b"", extension=HeaderExtension(0xBEDE, b"\xf0\x42\0\0")
    ).serialise()
    assert read(short, ended) == [None] * 2


def test_a_structure_with_everything() -> None:
    key = packet(describe(0, 0, structure(chains=2, resolutions=True)), is_long=True)
    assert read(key, packet(describe(len(TEMPLATES) - 1, 1)))[0] is False
    cut = describe(0, 0, structure(chains=2, resolutions=True))
    for size in range(1, len(cut)):
        assert read(packet(cut[:size], is_long=True)) in ([None], [False])


def test_random_stories_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    seeds = [
        *(describe(0, 0, structure(first=n, chains=n, resolutions=n > 1)) for n in range(3)),
        *(describe(n, n) for n in range(len(TEMPLATES))),
        *(describe(0, 3, own="DD"), describe(0, 3, begins=False)),
    ]
    for _ in range(1_500):
        packets = []
        for _ in range(6):
            descriptor = bytearray(rng.choice(seeds))
            if rng.random() < 0.4:
                descriptor[rng.randrange(len(descriptor))] ^= 1 << rng.randrange(8)
            if rng.random() < 0.1:
                del descriptor[rng.randint(1, len(descriptor)) :]
            whole = bytearray(packet(bytes(descriptor), is_long=len(descriptor) > 16))
            if rng.random() < 0.3:
                whole[rng.randrange(12, len(whole))] = rng.choice((0, 0xFF, rng.randrange(256)))
            packets.append(bytes(whole))
        read(*packets)


@given(st.sampled_from([0xBEDE, 0x1000, 0x1003]), st.lists(st.binary(max_size=40), max_size=4))
def test_any_extension_agrees_with_the_twin(profile: int, bodies: list[bytes]) -> None:
    packets = []
    for body in bodies:
        padded = body + bytes(-len(body) % 4)
        head = struct.pack(">HH", profile, len(padded) // 4)
        packets.append(b"\x90\x60" + bytes(10) + head + padded + b"media")
    read(*packets, extension_id=ID)


def test_the_vectors_hold_both_kinds() -> None:
    assert not is_discardable(TEMPLATES[NEEDED])
    assert is_discardable(TEMPLATES[DISCARDABLE])
