"""Receiver reports and report blocks: vectors, round trips, refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock, parse_report_blocks
from rtp.rtcp.sender_report import SenderReport

BLOCK = ReportBlock(
    ssrc=0xAABBCCDD,
    fraction_lost=0x40,
    cumulative_lost=-2,
    extended_highest_sequence_number=0x0001FFFF,
    interarrival_jitter=90,
    last_sr=0xB2C38000,
    delay_since_last_sr=0x00018000,
)
REPORT = ReceiverReport(0x11223344, (BLOCK,))
REPORT_BYTES = bytes.fromhex(
    "81c90007 11223344 aabbccdd 40fffffe 0001ffff 0000005a b2c38000 00018000"
)

u32 = st.integers(0, 2**32 - 1)
lost = st.integers(-(2**23), 2**23 - 1)
blocks = st.builds(ReportBlock, u32, st.integers(0, 255), lost, u32, u32, u32, u32)
reports = st.builds(ReceiverReport, u32, st.lists(blocks, max_size=31).map(tuple))


def test_vector() -> None:
    assert REPORT.build().serialise() == REPORT_BYTES
    assert ReceiverReport.parse(parse_compound(REPORT_BYTES)[0]) == REPORT


def test_report_on_nobody() -> None:
    assert ReceiverReport(1).build().serialise() == bytes.fromhex("80c9000100000001")


@given(reports, st.integers(0, 3))
def test_round_trip_and_profile_extensions(report: ReceiverReport, words: int) -> None:
    packet = report.build()
    longer = RtcpPacket(packet.packet_type, packet.count, packet.body + bytes(4 * words))
    assert ReceiverReport.parse(parse_compound(longer.serialise())[0]) == report
    assert tuple(parse_report_blocks(longer)) == report.blocks


@given(st.lists(blocks, max_size=31))
def test_blocks_of_a_sender_report(found: list[ReportBlock]) -> None:
    body = SenderReport(1, 2, 3, 4, 5).build().body + b"".join(b.serialise() for b in found)
    assert parse_report_blocks(RtcpPacket(200, len(found), body)) == found


def test_every_truncation_is_refused() -> None:
    body = REPORT.build().body
    for size in range(len(body)):
        with pytest.raises(RtpParseError) as caught:
            ReceiverReport.parse(RtcpPacket(201, 1, body[:size]))
        assert caught.value.kind is ParseErrorKind.TOO_SHORT


@pytest.mark.parametrize("packet_type", [200, 202, 206])
def test_wrong_type_is_refused(packet_type: int) -> None:
    with pytest.raises(RtpParseError) as caught:
        ReceiverReport.parse(RtcpPacket(packet_type, 0, bytes(28)))
    assert caught.value.kind is ParseErrorKind.WRONG_PACKET_TYPE


@pytest.mark.parametrize(
    "report",
    [
        ReceiverReport(2**32),
        ReceiverReport(1, (BLOCK,) * 32),
        ReceiverReport(1, (ReportBlock(1, 256, 0, 0, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, 2**23, 0, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, -(2**23) - 1, 0, 0, 0, 0),)),
        ReceiverReport(1, (ReportBlock(1, 0, 0, 2**32, 0, 0, 0),)),
    ],
)
def test_what_does_not_fit_is_our_own_error(report: ReceiverReport) -> None:
    with pytest.raises(RtpValueError):
        report.build()
