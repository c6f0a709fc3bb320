"""Numbering across the wraps, markers, and the sender report."""

import random

from overlane.publish.track import Numbers, RtpTrack
from rtp.ntp import unix_us_from_ntp
from rtp.packet import RtpPacket
from rtp.rtcp.sender_report import parse_sender_reports


def _track() -> RtpTrack:
    return RtpTrack(96, 90_000, Numbers(ssrc=7, sequence_number=65_534, timestamp=2**32 - 1_000))


def test_sequence_number_and_time_wrap() -> None:
    track = _track()
    packets = [
        RtpPacket.parse(each) for each in track.packetise([b"a", b"b", b"c"], 3_000, marker=True)
    ]
    assert [packet.sequence_number for packet in packets] == [65_534, 65_535, 0]
    assert {packet.timestamp for packet in packets} == {2_000}
    assert [packet.marker for packet in packets] == [False, False, True]
    assert track.next_sequence_number == 1


def test_a_negative_media_time_is_a_time_before_the_first() -> None:
    assert _track().rtp_time(-312) == 2**32 - 1_312


def test_sender_report_counts_payload_and_maps_time() -> None:
    track = _track()
    track.packetise([b"abc", b"de"], 0, marker=True)
    (report,) = parse_sender_reports(track.sender_report(1_700_000_000_000_000, 2_000_000, "c"))
    assert (report.ssrc, report.packet_count, report.octet_count) == (7, 2, 5)
    assert report.rtp_timestamp == 180_000 - 1_000
    assert unix_us_from_ntp(report.ntp_timestamp) == 1_700_000_000_000_000


def test_the_same_seed_draws_the_same_numbers() -> None:
    assert Numbers.draw(random.Random(5)) == Numbers.draw(random.Random(5))
    assert Numbers.draw(random.Random(5)) != Numbers.draw(random.Random(6))
