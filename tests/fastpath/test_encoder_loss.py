"""Packets that an encoder's path loses: asked for with NACK, taken as they were or as RTX."""

from __future__ import annotations

import pytest

from rtp.rtcp.feedback import Feedback, parse_nack
from tests.fastpath.test_rtx import STARTS
from tests.support.chain import rtp
from tests.support.edge import ENCODER, Edge, Viewer
from tests.support.encoder import Encoder, number_of

RTX_TYPE = 97
FRAME_US = 10_000


def listening(first_number: int = 65_530, **options: int) -> tuple[Edge, Viewer, Encoder]:
    """A track whose encoder is asked again, and a viewer whose numbers begin at 0."""
    edge = Edge()
    settings = {"nack": 1, "rtx_payload_type": RTX_TYPE} | options
    stream = edge.add_track(**settings)  # type: ignore[arg-type]
    encoder = Encoder()
    encoder.first_number = first_number
    return edge, edge.add_viewer(stream, first_number=0), encoder


def asked(edge: Edge) -> list[list[int]]:
    """Numbers in each NACK to the encoder."""
    found = [packet for _, packets in edge.to_encoder(ENCODER) for packet in packets]
    return [parse_nack(Feedback.parse(p)) for p in found if (p.packet_type, p.count) == (205, 1)]


def as_rtx(packet: bytes, number: int, ssrc: int = 0x5151) -> bytes:
    """RFC 4588 4."""
    return (
        packet[:1]
        + bytes([packet[1] & 0x80 | RTX_TYPE])
        + (number & 0xFFFF).to_bytes(2)
        + packet[4:8]
        + ssrc.to_bytes(4)
        + packet[2:4]
        + packet[12:]
    )


def viewed(edge: Edge, viewer: Viewer) -> list[int]:
    return [number_of(data) for data in edge.media(viewer)]


@pytest.mark.parametrize("first", STARTS)
@pytest.mark.parametrize("is_rtx", [True, False])
def test_what_is_lost_is_asked_for_and_taken_whatever_its_number(first: int, is_rtx: bool) -> None:
    edge, viewer, encoder = listening(first)
    packets = encoder.gop(20)
    lost = [5, 6, 12]
    for n, packet in enumerate(packets):
        if n not in lost:
            edge.encode(packet, after_us=FRAME_US)
    assert asked(edge) == [[(first + n) & 0xFFFF for n in (5, 6)], [(first + 12) & 0xFFFF]]
    for at, n in enumerate(lost):
        edge.encode(as_rtx(packets[n], 65_534 + at) if is_rtx else packets[n])
    assert sorted(viewed(edge, viewer)) == list(range(20))
    by_number = {number_of(data): data for data in edge.media(viewer)}
    assert [by_number[n][12:] for n in range(20)] == [packet[12:] for packet in packets]
    counted = edge.counted()
    assert counted["ingest_asked_again"] == 3
    assert counted.get("ingest_repaired", 0) == (3 if is_rtx else 0)
    assert counted["ingested"] == 20
    edge.encode(*encoder.other(), after_us=FRAME_US)
    assert len(asked(edge)) == 2


def test_a_request_is_repeated_when_its_answer_is_overdue_and_until_playout() -> None:
    edge, _, encoder = listening(deadline_us=400_000)
    packets = encoder.gop(60)
    for n, packet in enumerate(packets):
        if n != 10:
            edge.encode(packet, after_us=FRAME_US)
    # 150 ms apart, as no round trip is known; the third would be at 300 ms, a fourth at 450 ms.
    assert asked(edge) == [[(65_530 + 10) & 0xFFFF]] * 3


def test_the_second_request_is_made_by_the_measured_round_trip() -> None:
    edge, _, encoder = listening()
    packets = encoder.gop(30)
    for n, packet in enumerate(packets):
        if n == 9:
            edge.encode(as_rtx(packets[5], 1))  # 20 ms after it was asked for
        if n not in (5, 15):
            edge.encode(packet, after_us=FRAME_US)
    wanted = [[(65_530 + 5) & 0xFFFF]] + [[(65_530 + 15) & 0xFFFF]] * 5
    assert asked(edge) == wanted  # then every 30 ms


def test_who_is_not_to_be_asked_is_not() -> None:
    edge, viewer, encoder = listening(nack=0)
    packets = encoder.gop(20)
    edge.encode(*packets[:5], *packets[6:])
    assert asked(edge) == []
    assert len(viewed(edge, viewer)) == 19


def test_a_long_gap_is_asked_for_in_part() -> None:
    edge, _, encoder = listening()
    packets = encoder.gop(120)
    edge.encode(*packets[:10])
    edge.encode(packets[100], after_us=FRAME_US)
    (numbers,) = asked(edge)
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(36, 100)]


def test_rtx_that_says_nothing_or_comes_from_elsewhere_is_refused() -> None:
    edge, viewer, encoder = listening()
    packets = encoder.gop(10)
    edge.encode(as_rtx(packets[3], 1))  # of a track that has not begun
    edge.encode(*packets[:5], *packets[6:])
    shown = len(viewed(edge, viewer))
    edge.encode(as_rtx(packets[5], 2), source=("192.0.2.77", 4000))
    edge.encode(rtp(3, 0, b"\x00", payload_type=RTX_TYPE, ssrc=0x5151))
    assert edge.counted()["ingest_rtx_malformed"] == 3
    edge.encode(rtp(4, 0, b"", payload_type=RTX_TYPE, ssrc=0x5151))  # a probe
    assert edge.counted()["ingest_padding"] == 1
    edge.encode(as_rtx(packets[4], 5))
    assert edge.counted()["ingest_duplicate"] == 1
    assert len(viewed(edge, viewer)) == shown
    edge.encode(as_rtx(packets[5], 6))
    assert len(viewed(edge, viewer)) == shown + 1
