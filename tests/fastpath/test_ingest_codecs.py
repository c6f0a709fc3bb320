"""What the producer says of packets of each codec: in order, late, after a loss, cut, described."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from fastpath import Codec
from relay.stream import CODECS
from rtp.packet import HeaderExtension, RtpPacket
from rtp.payload.marks import Marks
from tests.rtp.dependency import DISCARDABLE, NEEDED, describe, structure
from tests.rtp.encoders import CASES, encode
from tests.rtp.payload.test_discardable import NOTHING_DISCARDABLE, marks_of
from tests.support.edge import Edge, Leg
from tests.support.units import encoded, sent

KINDS = Marks.KEY | Marks.DISCARDABLE
FIRST_NUMBER = 65_500  # the encoder's numbers wrap
DEPENDENCY_ID = 5
cases = pytest.mark.parametrize("name", CASES)


def numbered(name: str, packet_bytes: int = 1_200) -> list[list[RtpPacket]]:
    """By access unit."""
    number = FIRST_NUMBER
    units: list[list[RtpPacket]] = []
    for unit in encode(name, packet_bytes=packet_bytes):
        units.append([])
        for packet in unit.packets:
            units[-1].append(replace(packet, sequence_number=number & 0xFFFF))
            number += 1
    return units


def legs_of(codec: Codec, packets: Iterable[RtpPacket], dependency_id: int = 0) -> list[Leg]:
    """In the order of the stream's numbers, which wrap too."""
    edge = Edge()
    stream = edge.add_track(96, codec, first_seq=0xFFFFFFF0, dependency_id=dependency_id)
    edge.add_neighbour(stream)
    for packet in packets:
        edge.encode(packet.serialise(), after_us=1_000)
    return sorted(edge.legs(), key=lambda leg: leg.stream_seq - 0xFFFFFFF0 & 0xFFFFFFFF)


def kinds(legs: Iterable[Leg]) -> list[Marks]:
    return [Marks(leg.marks) & KINDS for leg in legs]


@cases
def test_marks_of_a_stream_in_order(name: str) -> None:
    units, codec = numbered(name), CODECS[CASES[name].codec]
    legs = legs_of(codec, [packet for unit in units for packet in unit])
    expected = [marks & KINDS for unit in marks_of(name) for marks in unit]
    assert kinds(legs) == expected
    starts = [Marks.FRAME_START in Marks(leg.marks) for leg in legs]
    assert starts == [n == 0 for unit in units for n in range(len(unit))]
    gops = sum(Marks.GOP_START in Marks(leg.marks) for leg in legs)
    assert gops == sum(unit.is_key for unit in encode(name)) == 3


@cases
def test_a_late_packet_is_marked_with_care_and_disturbs_no_other(name: str) -> None:
    """Each 7th packet changes places with the next one."""
    packets = [packet for unit in numbered(name) for packet in unit]
    for n in range(3, len(packets) - 1, 7):
        packets[n], packets[n + 1] = packets[n + 1], packets[n]
    legs = legs_of(CODECS[CASES[name].codec], packets)
    expected = [marks & KINDS for unit in marks_of(name) for marks in unit]
    assert len(legs) == len(expected)
    for found, truth in zip(kinds(legs), expected, strict=True):
        assert Marks.DISCARDABLE not in found or Marks.DISCARDABLE in truth


@cases
def test_pieces_are_of_the_frame_that_they_are_cut_from(name: str) -> None:
    units, codec = numbered(name, 1_472), CASES[name].codec
    legs = legs_of(CODECS[codec], [packet for unit in units for packet in unit])
    pieces: dict[int, list[Leg]] = {}
    for leg in legs:
        pieces.setdefault(RtpPacket.parse(leg.rtp).timestamp, []).append(leg)
    assert len(legs) > sum(map(len, units)) + 20
    whole = zip(units, encode(name, packet_bytes=1_472), marks_of(name), strict=True)
    for unit, source, expected in whole:
        found = pieces[unit[0].timestamp]
        payloads = [RtpPacket.parse(leg.rtp).payload for leg in found]
        assert sent(codec, payloads) == encoded(codec, source.data)
        is_discardable = Marks.DISCARDABLE in expected[-1]
        assert {Marks.DISCARDABLE in kind for kind in kinds(found)} == {is_discardable}
        assert [Marks.FRAME_START in Marks(leg.marks) for leg in found] == [
            n == 0 for n in range(len(found))
        ]


def described(packet: RtpPacket, descriptor: bytes) -> RtpPacket:
    data = bytes([DEPENDENCY_ID, len(descriptor)]) + descriptor
    return replace(packet, extension=HeaderExtension(0x1000, data + bytes(-len(data) % 4)))


@pytest.mark.parametrize("packet_bytes", [1_200, 1_420])
def test_dependency_descriptors_go_before_the_headers_of_frames(packet_bytes: int) -> None:
    """VP9 that says of no frame that it can be left out; descriptors say it of each third."""
    name = "VP9 with layers, not resilient"
    assert name in NOTHING_DISCARDABLE
    packets, expected = [], []
    for number, unit in enumerate(numbered(name, packet_bytes)):
        is_key = encode(name)[number].is_key
        template = DISCARDABLE if number % 3 == 1 else NEEDED
        for place, packet in enumerate(unit):
            is_first = place == 0
            first = describe(0, number, structure()) if is_key else describe(template, number)
            rest = describe(0 if is_key else template, number, begins=False)
            packets.append(described(packet, first if is_first else rest))
        expected.append(Marks.KEY if is_key else [Marks.DISCARDABLE, Marks(0)][template == NEEDED])
    for dependency_id in (DEPENDENCY_ID, 0):
        legs = legs_of(Codec.VP9, packets, dependency_id=dependency_id)
        found: dict[int, set[Marks]] = {}
        for leg, kind in zip(legs, kinds(legs), strict=True):
            found.setdefault(RtpPacket.parse(leg.rtp).timestamp, set()).add(kind)
        if dependency_id:
            assert list(found.values()) == [{kind} for kind in expected]
            assert expected.count(Marks.DISCARDABLE) == 10
        else:
            assert not any(Marks.DISCARDABLE in kind for each in found.values() for kind in each)


def test_dependency_descriptors_may_say_that_a_frame_is_needed() -> None:
    name = "AV1 with a pyramid"
    units = numbered(name)
    assert any(Marks.DISCARDABLE in marks[-1] for marks in marks_of(name))
    packets = [
        described(packet, describe(*((0, n, structure()) if n == 0 else (NEEDED, n))))
        for n, unit in enumerate(units)
        for packet in unit
    ]
    legs = legs_of(Codec.AV1, packets, dependency_id=DEPENDENCY_ID)
    assert not any(Marks.DISCARDABLE in kind for kind in kinds(legs))


def test_a_restarted_encoder_is_a_stream_of_its_own() -> None:
    """What the first one's SPS said does not hold for the second's."""
    slices = [RtpPacket(96, n, 90 * n, 1, b"\x00\x01\x80slice", True) for n in range(1, 4)]
    sps = RtpPacket(96, 0, 0, 1, b"\x42\x01\x01\x60", True)
    edge = Edge()
    stream = edge.add_track(96, Codec.H265)
    edge.add_neighbour(stream)
    for packet in [sps, *slices]:
        edge.encode(packet.serialise(), after_us=20_000)
    for packet in slices:
        edge.encode(replace(packet, ssrc=2).serialise(), after_us=2_000_000)
    found = [Marks.DISCARDABLE in kind for kind in kinds(edge.legs())]
    assert found == [False, True, True, True, False, False, False]


def test_codecs_that_do_not_exist_are_refused() -> None:
    edge = Edge()
    stream = edge.add_track(96)
    for codec in (0, 7, 255):
        with pytest.raises(ValueError, match="is not a valid Codec"):
            edge.engine.set_ingest(edge.port, stream=stream, codec=codec, payload_type=97)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dependency_id 256 is outside"):
        edge.engine.set_ingest(
            edge.port, stream=stream, codec=Codec.AV1, payload_type=97, dependency_id=256
        )
