"""Sender reports: vectors, round trips, report blocks passed over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound
from rtp.rtcp.sender_report import SenderReport, parse_sender_reports, serialise_sender_report
from rtp.rtcp.source_description import parse_cnames

REPORT = SenderReport(
    ssrc=0x11223344,
    ntp_timestamp=0xE4A1B2C3_80000000,
    rtp_timestamp=0xFFFFFFF0,
    packet_count=1000,
    octet_count=1_200_000,
)
REPORT_BYTES = bytes.fromhex("80c80006 11223344 e4a1b2c380000000 fffffff0 000003e8 00124f80")

u32 = st.integers(0, 2**32 - 1)
reports = st.builds(SenderReport, u32, st.integers(0, 2**64 - 1), u32, u32, u32)


def test_vector() -> None:
    assert REPORT.build().serialise() == REPORT_BYTES
    assert parse_sender_reports(REPORT_BYTES) == [REPORT]


def test_compound_carries_the_cname() -> None:
    data = serialise_sender_report(REPORT, "overlane@host")
    sender_report, description = parse_compound(data)
    assert SenderReport.parse(sender_report) == REPORT
    assert parse_cnames(description) == {REPORT.ssrc: "overlane@host"}
    assert parse_sender_reports(data) == [REPORT]


@given(reports, st.integers(0, 31), st.integers(0, 3))
def test_blocks_and_profile_extensions_are_passed_over(
    report: SenderReport, blocks: int, extension_words: int
) -> None:
    body = report.build().body + bytes(24 * blocks + 4 * extension_words)
    assert parse_sender_reports(RtcpPacket(200, blocks, body).serialise()) == [report]


def test_other_packets_give_no_report() -> None:
    assert parse_sender_reports(bytes.fromhex("80c9000100000001")) == []


def test_fewer_blocks_than_counted_are_refused() -> None:
    body = REPORT.build().body + bytes(20)
    with pytest.raises(RtpParseError) as caught:
        SenderReport.parse(RtcpPacket(200, 1, body))
    assert caught.value.kind is ParseErrorKind.TOO_SHORT


def test_wrong_type_is_refused() -> None:
    with pytest.raises(RtpParseError) as caught:
        SenderReport.parse(RtcpPacket(201, 0, bytes(24)))
    assert caught.value.kind is ParseErrorKind.WRONG_PACKET_TYPE


def test_every_truncation_is_refused() -> None:
    for size in range(len(REPORT_BYTES)):
        with pytest.raises(RtpParseError):
            parse_sender_reports(REPORT_BYTES[:size])


def test_what_does_not_fit_is_our_own_error() -> None:
    with pytest.raises(RtpValueError):
        SenderReport(2**32, 0, 0, 0, 0).build()
