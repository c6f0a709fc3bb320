"""RTCP of one datagram: native and twin agree packet by packet; what was read can be written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import astuple
from typing import TypeVar

from rtp.errors import RtpParseError
from rtp.rtcp import walk
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.feedback import Feedback, build_nack, parse_fir, parse_nack
from rtp.rtcp.receiver_report import ReceiverReport, parse_report_blocks
from rtp.rtcp.sender_report import SenderReport, parse_sender_reports, serialise_sender_report
from rtp.rtcp.source_description import parse_cnames
from tests.fuzz.targets.exact import exact
from tests.fuzz.targets.target import Target

T = TypeVar("T")
SR, RR, SDES = 200, 201, 202


def run(data: bytes) -> None:
    packets = _refused_or(lambda: parse_compound(data), len(data))
    view = exact(data)
    found, is_end = walk.packets(view)
    assert walk.is_whole(view) == (packets is not None)
    assert is_end == (packets is not None or not data)
    for packet in found:
        _check_packet(RtcpPacket(*packet))
    if packets is None:
        return
    assert [RtcpPacket(*packet) for packet in found] == packets
    assert parse_compound(serialise_compound(packets)) == packets
    reports = _refused_or(lambda: parse_sender_reports(data), len(data))
    assert reports is None or len(reports) == sum(p.packet_type == SR for p in packets)


def _refused_or(read: Callable[[], T], size: int) -> T | None:
    """What a reader gives; None if it refuses, with a place within the input."""
    try:
        return read()
    except RtpParseError as error:
        offset = error.offset
    assert 0 <= offset <= size
    return None


def _check_packet(packet: RtcpPacket) -> None:
    """Each reader, native and not, on one packet alone."""
    size = len(packet.body)
    if size % 4:
        return  # padding within a word was taken off; it cannot stand alone
    alone = exact(packet.serialise())
    report = _refused_or(lambda: SenderReport.parse(packet), size)
    assert walk.sender_report(alone) == (report and astuple(report))
    assert report is None or report.build().body == packet.body[:24]
    blocks = _refused_or(lambda: parse_report_blocks(packet), size) or []
    assert walk.block_count(alone) == len(blocks)
    assert [walk.block_at(alone, n) for n in range(len(blocks))] == [astuple(b) for b in blocks]
    assert walk.block_at(alone, len(blocks)) is walk.block_at(alone, -1) is None
    if packet.packet_type == RR:
        receiver = _refused_or(lambda: ReceiverReport.parse(packet), size)
        assert receiver is None or packet.body.startswith(receiver.build().body)
    if packet.packet_type == SDES:
        cnames = _refused_or(lambda: parse_cnames(packet), size)
        assert cnames is None or len(cnames) <= packet.count
    feedback = _refused_or(lambda: Feedback.parse(packet), size)
    expected = feedback and (feedback.sender_ssrc, feedback.media_ssrc, feedback.fci)
    assert walk.feedback(alone) == expected
    if feedback is not None:
        assert feedback.build() == packet
        _check_feedback(feedback, size)


def _check_feedback(feedback: Feedback, size: int) -> None:
    _refused_or(lambda: parse_fir(feedback), size)
    numbers = _refused_or(lambda: parse_nack(feedback), size)
    if numbers and max(numbers) - min(numbers) < 1 << 15:
        again = build_nack(feedback.sender_ssrc, feedback.media_ssrc, numbers)
        assert set(parse_nack(again)) == set(numbers)
        assert len(again.fci) <= len(feedback.fci)


def seeds() -> list[bytes]:
    """SR with SDES, RR, BYE, APP, NACK, transport-wide feedback, PLI, FIR, REMB; padded."""
    report = SenderReport(0x1234, 0x89ABCDEF_01234567, 0xFFFFFFFF, 10, 1000)
    block = struct.pack(">IIIIII", 1, 0x01FFFFFD, 65536, 20, 0x01234567, 65536)
    rr = RtcpPacket(RR, 1, b"\0\0\0\1" + block)
    sr = RtcpPacket(SR, 2, report.build().body + block * 2)
    two = b"\0\0\0\1\0\0\0\2"
    feedback = [
        build_nack(1, 2, [65_534, 65_535, 0, 1, 40]).build(),
        RtcpPacket(205, 15, two + bytes.fromhex("0001000a 00000100 200a0000 04040404 04040404")),
        RtcpPacket(206, 1, two),
        RtcpPacket(206, 4, two + b"\0\0\0\1\7\0\0\0"),
        RtcpPacket(206, 15, two[:4] + bytes(4) + b"REMB\1\x12\x34\x56\0\0\0\1"),
        RtcpPacket(203, 1, two[:4] + b"\3bye"),
        RtcpPacket(204, 0, two[:4] + b"NAMEdata"),
    ]
    sdes = RtcpPacket(SDES, 2, b"\0\0\0\1\1\4a@bc\0\0" + b"\0\0\0\2\2\1x\1\1y\0\0")
    compounds = [[rr], [sr], [rr, sdes], [sr, sdes], *[[rr, packet] for packet in feedback]]
    made = [serialise_compound(packets) for packets in compounds]
    padded = b"\xa0\xc9\0\2\0\0\0\1\0\0\0\4"
    return [
        serialise_sender_report(report, "a@b"),
        *made,
        made[0] + padded,
        made[-1] + b"\x80",
        b"",
    ]


TARGET = Target("rtcp", run, seeds, traced=("rtp.rtcp",), most_bytes=600)
