"""Recordings of real clients through the parsers, and through engines in virtual time.

What went in and what must come out is judged by the digests of the client's own encoder.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import pytest

from lab.link import LinkConfig
from rtp.constants import NAL_AUD, NAL_SEI, NAL_TYPE_MASK
from rtp.packet import RtpPacket
from rtp.payload import av1, h264, h265, rtp_header, vp8, vp9
from rtp.payload.h264_packets import assemble, split_stap_a
from rtp.payload.marks import Marks
from rtp.rtcp.sender_report import SenderReport, parse_sender_reports
from rtp.sequence import SequenceUnwrapper
from tests.support.recorded_chain import CLOCK_RATES, RecordedChain, Wraps, parameter_sets_of
from tests.support.recordings import Track, digest, load, names
from tests.support.units import hevc_nals_of
from tests.support.units import sent as sent_unit

VIDEO = [(name, t) for name in names() for t in load(name).tracks if t.codec != "opus"]
H264 = [(name, t) for name in names() for t in load(name).tracks if t.codec == "H264"]
h264_tracks = pytest.mark.parametrize(("name", "track"), H264, ids=[name for name, _ in H264])
MAX_RTP_BYTES = 1_436  # what a link carries whole
LOSSY = [LinkConfig(delay_us=20_000, jitter_us=2_000, loss=0.05)] * 2


def parsed(packets: Iterable[bytes]) -> list[RtpPacket]:
    """In order of their sequence numbers."""
    unwrapper = SequenceUnwrapper()
    found = [RtpPacket.parse(packet) for packet in packets]
    return sorted(found, key=lambda packet: unwrapper.unwrap(packet.sequence_number))


def access_units(packets: Iterable[bytes]) -> list[list[RtpPacket]]:
    """Neighbours with one timestamp."""
    groups = itertools.groupby(parsed(packets), key=lambda packet: packet.timestamp)
    return [list(group) for _, group in groups]


def nals_of(unit: Iterable[RtpPacket]) -> list[bytes]:
    return assemble(packet.payload for packet in unit)


def encoded(codec: str, unit: list[RtpPacket]) -> bytes:
    """What the recordings have the digest of."""
    return sent_unit(codec, [packet.payload for packet in unit])


def marker_of(codec: str) -> Callable[[bytes, int, bool], int | None]:
    """Of a track of its own."""
    if codec in ("H264", "VP8"):
        return h264.marks if codec == "H264" else vp8.marks
    if codec == "H265":
        return h265.Marker().marks
    return vp9.Marker().marks if codec == "VP9" else av1.Marker().marks


def seconds_between(first: SenderReport, second: SenderReport, rates: tuple[int, int]) -> float:
    """How much later RTP time 0 was in the second report's track than in the first's, by NTP."""
    begins = [
        report.ntp_timestamp / (1 << 32) - signed(report.rtp_timestamp) / rate
        for report, rate in zip((first, second), rates, strict=True)
    ]
    return begins[1] - begins[0]


def signed(timestamp: int) -> int:
    """The recordings are renumbered to wrap in their middle: 0 is there."""
    return timestamp - (1 << 32) if timestamp >> 31 else timestamp


@pytest.mark.parametrize("name", names())
def test_every_datagram_is_known_as_rtp_or_rtcp(name: str) -> None:
    recording = load(name)
    types = {(track.port, track.payload_type) for track in recording.tracks}

    for datagram in recording.datagrams:
        assert rtp_header.looks_like_rtcp(datagram.data) == datagram.is_rtcp
        if datagram.is_rtcp:
            parse_sender_reports(datagram.data)
        else:
            packet = RtpPacket.parse(datagram.data)
            fields = rtp_header.parse(datagram.data)
            assert isinstance(fields, tuple)
            assert (packet.payload_type, packet.marker) == fields[:2]
            assert (datagram.port, packet.payload_type) in types


@pytest.mark.parametrize("name", names())
def test_the_packets_hold_what_the_encoder_made(name: str) -> None:
    for track in load(name).tracks:
        units = access_units(datagram.data for datagram in load(name).rtp(track))
        found = [digest(encoded(track.codec, unit)) for unit in units]
        expected = [unit.digest for unit in track.units]
        if track.codec == "opus":
            # GStreamer's pipeline may end before its last 20 ms of sound are sent.
            assert len(expected) - len(found) <= 1
            expected = expected[: len(found)]
        assert found == expected


@pytest.mark.parametrize(("name", "track"), VIDEO, ids=[name for name, _ in VIDEO])
@pytest.mark.parametrize("is_order_known", [True, False])
def test_marks_agree_with_the_encoder(name: str, track: Track, is_order_known: bool) -> None:
    units = access_units(datagram.data for datagram in load(name).rtp(track))
    marks_of = marker_of(track.codec)
    if configured := parameter_sets_of(load(name), track):
        assert marks_of(configured, -1, False) is not None

    for unit, truth in zip(units, track.units, strict=True):
        found = []
        for place, packet in enumerate(unit):
            begins = int(place == 0) if is_order_known else -1
            marks = marks_of(packet.payload, begins, packet.marker)
            assert marks is not None
            found.append(Marks(marks))
        if is_order_known or track.codec != "AV1":  # whose packets do not tell
            assert found[0] & Marks.FRAME_START
        assert [bool(m & Marks.FRAME_END) for m in found] == [False] * (len(unit) - 1) + [True]
        assert any(m & Marks.KEY for m in found) == truth.is_key
        # A delimiter in a packet of its own has no kind, and is not dropped with its slices.
        is_discardable = bool(found[-1] & Marks.DISCARDABLE)
        if track.codec == "AV1":  # where a frame that only shows another is needed by nobody else
            assert not (is_discardable and truth.is_reference)
        else:
            assert is_discardable == (not truth.is_reference)
        if is_order_known or track.codec not in ("H264", "H265"):
            assert not any(m & Marks.FRAME_START for m in found[1:])
        if truth.is_reference:
            assert not any(m & Marks.DISCARDABLE for m in found)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("links", [[], LOSSY], ids=["one node", "two lossy links"])
def test_engines_carry_every_frame(name: str, links: list[LinkConfig]) -> None:
    played = RecordedChain(load(name), links, seed=7).play()

    for each in played:
        assert max(map(len, each.packets)) <= MAX_RTP_BYTES
        sent = {unit[0].timestamp: unit for unit in access_units(each.sent)}
        came = {unit[0].timestamp: unit for unit in access_units(each.packets)}
        assert list(came) == list(sent)
        for timestamp, unit in sent.items():
            assert came[timestamp][-1].marker == unit[-1].marker
            found = encoded(each.track.codec, came[timestamp])
            assert found == encoded(each.track.codec, unit)


def test_engines_put_configured_parameter_sets_before_key_frames_of_h265() -> None:
    recording = load("ffmpeg-h265-copy")
    (track,) = recording.tracks
    configured = parameter_sets_of(recording, track)
    (played,) = RecordedChain(recording, [], seed=1).play()
    came = access_units(played.packets)

    assert len(configured) > 60
    assert sum(truth.is_key for truth in track.units) == 3
    for unit, truth in zip(came, track.units, strict=True):
        payloads = [packet.payload for packet in unit]
        assert (configured in payloads) == truth.is_key
        if truth.is_key:
            assert payloads[0] == configured
            assert hevc_kinds(payloads)[:3] == [32, 33, 34]


def hevc_kinds(payloads: list[bytes]) -> list[int]:
    return [nal[0] >> 1 for nal in hevc_nals_of(payloads)]


@h264_tracks
def test_engines_leave_nal_units_as_they_are_and_add_parameter_sets(
    name: str, track: Track
) -> None:
    recording = load(name)
    played = next(
        each for each in RecordedChain(recording, [], seed=1).play() if each.track == track
    )
    configured = parameter_sets_of(recording, track)
    sent, came = access_units(played.sent), access_units(played.packets)

    for unit, kept, truth in zip(sent, came, track.units, strict=True):
        expected = nals_of(unit)
        if unit is sent[0] and unit[0].payload[0] & NAL_TYPE_MASK in (NAL_AUD, NAL_SEI):
            expected = expected[1:]  # a viewer starts at the first packet that has key content
        if truth.is_key and configured:
            expected = split_stap_a(configured) + expected
        assert nals_of(kept) == expected


@pytest.mark.parametrize(
    ("name", "links"),
    [
        ("ffmpeg-h264-opus", []),
        ("gst-bundle", []),
        ("gst-rtcp-mux", []),
        # The others end before the next clock message, should the first one be lost.
        ("ffmpeg-h264-opus", LOSSY),
    ],
)
def test_viewers_get_the_clock_of_the_encoder(name: str, links: list[LinkConfig]) -> None:
    recording = load(name)
    chain = RecordedChain(recording, links, seed=3)
    played = chain.play()
    rates = tuple(CLOCK_RATES[each.track.codec] for each in played)
    wraps = Wraps(recording)
    own: dict[int, SenderReport] = {}
    for datagram in recording.rtcp():
        if datagram.time_us < recording.datagrams[-1].time_us - 100_000:
            own |= {r.ssrc: r for r in parse_sender_reports(wraps.rtcp(datagram.data))}
    first, second = (own[RtpPacket.parse(each.sent[0]).ssrc] for each in played)
    expected = seconds_between(first, second, (rates[0], rates[1]))

    found = seconds_between(played[0].reports[-1], played[1].reports[-1], (rates[0], rates[1]))

    assert all(len(each.reports) >= 3 for each in played)
    assert found == pytest.approx(expected, abs=0.001)
