"""Transport-wide feedback of a real player, against what really came to it (under 1 s)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rtp.packet import RtpPacket
from rtp.rtcp.compound import parse_compound
from rtp.rtcp.feedback import Feedback
from rtp.rtcp.transport_cc import read
from rtp.rtcp.transport_feedback import TransportFeedback, parse_transport_feedback
from tests.clients.wire import elements
from tests.support.recordings import DIRECTORY, Datagram, read_pcap

TRANSPORT_CC_ID = 5
PLAYER = 2  # as a port
RUN, ONE_BIT, TWO_BITS = "run", "vector of bits", "vector of pairs"
# The player notes a packet's time when its own thread gets it.
LATE_US = 25_000


EACH_FRAME, EACH_100_MS = "gst-each-frame", "gst-each-100-ms"


def recorded(name: str) -> list[Datagram]:
    return read_pcap((DIRECTORY / "feedback" / f"{name}.pcap").read_bytes())


def arrivals_of(datagrams: list[Datagram]) -> dict[int, int]:
    """When each number came, first of all."""
    found: dict[int, int] = {}
    for each in datagrams:
        if not each.is_rtcp:
            value = elements(RtpPacket.parse(each.data))[TRANSPORT_CC_ID]
            found.setdefault(int.from_bytes(value), each.time_us)
    return found


def packets_of(datagrams: list[Datagram]) -> list[tuple[int, bytes]]:
    """Feedback by itself, each with when it came."""
    return [
        (each.time_us, packet.serialise())
        for each in datagrams
        if each.source_port == PLAYER
        for packet in parse_compound(each.data)
        if (packet.packet_type, packet.count) == (205, 15)
    ]


def reports_of(datagrams: list[Datagram]) -> list[tuple[int, TransportFeedback]]:
    found = []
    for time_us, data in packets_of(datagrams):
        (packet,) = parse_compound(data)
        found.append((time_us, parse_transport_feedback(Feedback.parse(packet))))
    return found


def chunks_of(data: bytes) -> set[str]:
    """Kinds of chunks in a packet of feedback, 3.1.3 and 3.1.4."""
    left, at, kinds = int.from_bytes(data[14:16]), 20, set()
    while left > 0:
        word = int.from_bytes(data[at : at + 2])
        if not word & 0x8000:
            kinds.add(RUN)
            left -= word & 0x1FFF
        else:
            kinds.add(TWO_BITS if word & 0x4000 else ONE_BIT)
            left -= 7 if word & 0x4000 else 14
        at += 2
    return kinds


def overtaken(arrivals: dict[int, int]) -> set[int]:
    """Numbers that came after a greater one. GStreamer never says that these have arrived."""
    found, greatest = set(), 0
    for number in sorted(arrivals, key=lambda number: arrivals[number]):
        if number < greatest:
            found.add(number)
        greatest = max(greatest, number)
    return found


@pytest.mark.parametrize("name", [EACH_FRAME, EACH_100_MS])
def test_both_readers_understand_all_of_it(name: str) -> None:
    kinds: set[str] = set()
    reports = []
    for _, data in packets_of(recorded(name)):
        (packet,) = parse_compound(data)
        told = parse_transport_feedback(Feedback.parse(packet))
        assert read(data) == (
            told.sender_ssrc,
            told.media_ssrc,
            told.report,
            list(told.by_number().items()),
        )
        kinds |= chunks_of(data)
        reports.append(told.report)
    assert kinds == {RUN, ONE_BIT, TWO_BITS}
    # GStreamer 1.22 goes from 254 to 0.
    assert reports == [number % 255 for number in range(len(reports))]
    assert (len(reports) > 256) == (name == EACH_FRAME)


@pytest.mark.parametrize("name", [EACH_FRAME, EACH_100_MS])
def test_what_is_told_is_what_came(name: str) -> None:
    """Times are the player's, and steady against those of arrival."""
    datagrams = recorded(name)
    arrivals = arrivals_of(datagrams)
    in_order = arrivals.keys() - overtaken(arrivals)
    offsets = []
    lost = 0
    for time_us, report in reports_of(datagrams):
        for number, told_us in report.by_number().items():
            if told_us is not None:
                assert arrivals[number] <= time_us
                offsets.append(told_us - arrivals[number])
            else:
                assert number not in in_order
                lost += 1
    assert lost > 5
    assert len(offsets) > 0.98 * len(in_order)
    assert max(offsets) - min(offsets) < LATE_US


def test_what_it_leaves_out_between_two_reports_did_not_come() -> None:
    """So whoever counts only what is told as lost hears of too little."""
    datagrams = recorded(EACH_FRAME)
    arrivals = arrivals_of(datagrams)
    in_order = arrivals.keys() - overtaken(arrivals)
    left_out: list[int] = []
    for (_, before), (_, after) in pairwise(reports_of(datagrams)):
        end = before.base + len(before.arrivals_us)
        left_out += range(end, end + ((after.base - end) & 0xFFFF))
    assert len(left_out) > 10
    assert in_order.isdisjoint(left_out)
