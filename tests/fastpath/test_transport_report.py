"""Transport-wide feedback to an encoder: what it numbered, as it arrived (about 1 s)."""

from __future__ import annotations

import pytest

from rtp.rtcp.feedback import Feedback
from rtp.rtcp.receiver_report import ReceiverReport
from rtp.rtcp.transport_feedback import TransportFeedback, parse_transport_feedback
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.edge import ENCODER, Edge

ID = 5


def numbered(n: int, transport_number: int, *, elements: bytes = b"") -> bytes:
    """An RTP packet with the number in its header extension, behind other elements."""
    packet = bytearray(rtp(n, 3000 * n, b""))
    packet[0] |= 0x10
    body = elements + bytes([ID << 4 | 1]) + (transport_number & 0xFFFF).to_bytes(2)
    body += bytes(-len(body) % 4)
    extension = b"\xbe\xde" + (len(body) // 4).to_bytes(2) + body
    return bytes(packet) + extension + (other_slice() if n else key_slice())


def told(edge: Edge) -> list[TransportFeedback]:
    """What the encoder heard; each compound begins with an RR."""
    found = []
    for _, packets in edge.to_encoder(ENCODER):
        ReceiverReport.parse(packets[0])
        found += [
            parse_transport_feedback(Feedback.parse(packet))
            for packet in packets
            if (packet.packet_type, packet.count) == (205, 15)
        ]
    return found


@pytest.mark.parametrize("first", [1, 65_500])
def test_each_number_is_told_once_with_its_arrival(first: int) -> None:
    """Across the wrap, with losses, and packets that come the other way round."""
    edge = Edge()
    edge.add_track(transport_cc_id=ID)
    arrivals: dict[int, int] = {}
    order = list(range(500))
    order[100], order[101] = order[101], order[100]
    for n in order:
        if n % 50 != 7:
            edge.encode(numbered(n, first + n), after_us=5_000)
            arrivals[n] = edge.now_us
    reports = told(edge)
    assert [report.report for report in reports] == list(range(len(reports)))
    assert 20 <= len(reports) <= 27  # each 100 ms of 2.5 s
    seen: dict[int, int | None] = {}
    for report in reports:
        for number, time_us in report.by_number().items():
            n = (number - first) & 0xFFFF
            assert n not in seen
            seen[n] = time_us
    assert sorted(seen) == list(range(max(seen) + 1))
    assert len(seen) > 470
    start_us = seen[0]
    assert start_us is not None
    for n, time_us in seen.items():
        if n in arrivals:
            assert time_us is not None
            assert abs(time_us - start_us - (arrivals[n] - arrivals[0])) <= 250
        else:
            assert time_us is None


def test_a_jump_tells_of_the_newest_alone() -> None:
    edge = Edge()
    edge.add_track(transport_cc_id=ID)
    edge.encode(numbered(0, 1), after_us=1_000)
    edge.encode(numbered(1, 20_001), after_us=1_000_000)
    (_, report) = told(edge)
    assert len(report.arrivals_us) == 400
    assert [at for at, time in enumerate(report.arrivals_us) if time is not None] == [399]
    assert (report.base + 399) & 0xFFFF == 20_001


@pytest.mark.parametrize(
    "elements",
    [b"", b"\x10a", b"\x00\x00\x22abc", bytes([0x3F]) + b"." * 16],
    ids=["alone", "behind one", "behind padding", "behind a long one"],
)
def test_the_number_is_found_among_other_elements(elements: bytes) -> None:
    edge = Edge()
    edge.add_track(transport_cc_id=ID)
    edge.encode(numbered(0, 77, elements=elements), after_us=1_000)
    (report,) = told(edge)
    assert report.base == 77


@pytest.mark.parametrize(
    "extension",
    [
        b"",
        b"\xbe\xde\x00\x00",
        b"\xbe\xde\x00\x01\x00\x00\x00\x51",  # beyond the end
        b"\xbe\xde\x00\x01\xf0\x51ab",  # id 15 ends reading
        b"\xbe\xde\x00\x01\x50a\x00\x00",  # one byte is no number
        b"\x10\x00\x00\x01\x05\x01a\x00",  # nor in the two-byte form
    ],
)
def test_without_a_number_nothing_is_told(extension: bytes) -> None:
    edge = Edge()
    stream = edge.add_track(transport_cc_id=ID)
    packet = bytearray(rtp(0, 0, b""))
    packet[0] |= 0x10 if extension else 0
    for n in range(3):
        edge.encode(bytes(packet) + extension + key_slice(), after_us=200_000 * n)
    assert told(edge) == []
    assert edge.engine.stream_stats(stream).packets == 1


@pytest.mark.parametrize("first", [1, 30_000, 60_000])
def test_an_encoder_that_starts_again_is_told_of_its_new_numbers(first: int) -> None:
    """They may be less than those of before: that does not make them late."""
    edge = Edge()
    edge.add_track(transport_cc_id=ID)
    for n in range(60):
        edge.encode(numbered(n, 29_900 + n), after_us=5_000)
    before = len(told(edge))
    edge.now_us += 2_000_000
    for n in range(60):
        packet = bytearray(numbered(n, first + n))
        packet[8:12] = b"anew"
        edge.encode(bytes(packet), after_us=5_000)
    reports = told(edge)[before:]
    assert reports[0].base == first
    seen = {number: t for report in reports for number, t in report.by_number().items()}
    assert len(seen) >= 40
    assert None not in seen.values()


def test_nobody_else_is_told() -> None:
    edge = Edge()
    edge.add_track()
    for n in range(100):
        edge.encode(numbered(n, n), after_us=5_000)
    assert told(edge) == []


def test_numbers_of_what_comes_again_as_rtx_are_told_too() -> None:
    """RFC 4588: an encoder numbers what it sends again as all else. Others' RTX is no news."""
    edge = Edge()
    edge.add_track(transport_cc_id=ID, nack=True, rtx_payload_type=97)
    for n in range(30):
        packet = numbered(n, 100 + n)
        if n == 20:
            again = bytearray(packet[:20] + packet[2:4] + packet[20:])
            again[1] = again[1] & 0x80 | 97
            again[8:12] = b"again"[:4]
            edge.encode(bytes(again), source=("10.9.9.9", 9), after_us=5_000)
            edge.encode(bytes(again), after_us=5_000)
        else:
            edge.encode(packet, after_us=5_000)
    seen = {number: t for report in told(edge) for number, t in report.by_number().items()}
    assert seen[120] is not None
    assert sorted(seen) == list(range(100, max(seen) + 1))
