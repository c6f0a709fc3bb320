"""Sender reports to viewers, the clock message to nodes: both leave just before a media packet of
their cursor, so that an idle stream needs no timer, and a report is there before the first frame.
"""

from fastpath.reference.cursor import Cursor, Viewer
from fastpath.reference.media_clock import CLOCK, MediaClock
from fastpath.reference.wire import LOW_32, SMALLEST_RTP_BYTES
from fastpath.reference.worker import Stream
from rtp.rtcp.sender_report import SenderReport, serialise_sender_report

INTERVAL_US = 1_000_000
FIRST_CLOCKS = 10  # the stream may not be known yet when the first ones arrive
FIRST_INTERVAL_US = 100_000


def viewer_report(cursor: Cursor, viewer: Viewer, clock: MediaClock, now_us: int) -> bytes:
    """SR and SDES (RFC 3550 6.1), in the viewer's own RTP time. The octet count leaves RTP's fixed
    headers out (6.4.1)."""
    timestamp, ntp = clock.read(cursor.stream.clock_rate, now_us)
    octets = cursor.bytes - SMALLEST_RTP_BYTES * cursor.packets
    shown = (timestamp + cursor.timestamp_offset) & LOW_32
    report = SenderReport(viewer.ssrc, ntp, shown, cursor.packets & LOW_32, octets & LOW_32)
    return serialise_sender_report(report, cursor.link.cname)


def clock_message(stream: Stream, clock: MediaClock, now_us: int) -> bytes:
    return bytes([CLOCK]) + clock.pack(stream.stream_id, stream.clock_rate, now_us)


def next_report_us(cursor: Cursor, now_us: int) -> int:
    is_early = cursor.viewer is None and cursor.reports < FIRST_CLOCKS
    return now_us + (FIRST_INTERVAL_US if is_early else INTERVAL_US)


def report_soon(stream: Stream) -> None:
    """The clock is known now, or is another: all who follow hear of it before the next packet."""
    for cursor in stream.cursors:
        cursor.next_report_us = 0
