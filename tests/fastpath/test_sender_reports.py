"""Clocks from an encoder to its viewers, and what the encoder is told of its packets."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from fastpath import Codec, Engine, Media, PortKind
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.receiver_report import ReceiverReport
from rtp.rtcp.sender_report import SenderReport
from rtp.rtcp.source_description import parse_cnames
from rtp.sequence import difference
from tests.support.chain import key, key_slice, rtp
from tests.support.clocks import NTP_SECOND, Source, us_of
from tests.support.edge import (
    ENCODER,
    ENCODER_RTCP,
    Edge,
    Viewer,
    block_in,
    pli,
    plis_in,
    sender_report,
)

FRAME_US = 20_000
JITTER_US = 30_000
TICK_US = 21  # of 48 kHz, the coarser of the two
EXACT_US = 2.0
OPUS = b"\xf8sound"


@dataclass
class Lips:
    """A camera and a microphone of one encoder, whose packets come up to JITTER_US late."""

    edge: Edge = field(default_factory=Edge)
    video: Source = field(default_factory=lambda: Source(0x10, 96, 90_000, (1 << 32) - 200_000))
    audio: Source = field(default_factory=lambda: Source(0x20, 111, 48_000, (1 << 32) - 90_000))
    group: int = 7
    seed: int = 5
    eyes: Viewer = field(init=False)
    ears: Viewer = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        edge = self.edge
        self.streams = (
            edge.add_track(96, group=self.group),
            edge.add_track(111, Codec.OPUS, clock_rate=48_000, group=self.group),
        )
        self.eyes = edge.add_viewer(self.streams[0], cname=b"one viewer's 016")
        self.ears = edge.add_viewer(self.streams[1], link=self.eyes.link)

    def play(self, duration_us: int, *, video: bool = True, audio: bool = True) -> None:
        """Both tracks for so long."""
        end_us = self.edge.now_us + duration_us
        while self.edge.now_us < end_us:
            captured_us = self.edge.now_us
            waits = sorted(
                (self.random.randrange(2_000, JITTER_US), track)
                for track, wanted in ((0, video), (1, audio))
                if wanted
            )
            spent = 0
            for wait_us, track in waits:
                source = (self.video, self.audio)[track]
                payload = OPUS if track else None
                packet = source.packet(captured_us, payload=payload)
                self.edge.encode(packet, after_us=wait_us - spent)
                spent = wait_us
            self.edge.now_us = captured_us + max(FRAME_US, spent)

    def report(self, *sources: Source, on_rtp_port: bool = False) -> None:
        edge = self.edge
        port, source = (edge.port, ENCODER) if on_rtp_port else (edge.rtcp_port, ENCODER_RTCP)
        for each in sources:
            edge.encode(each.report(edge.now_us), port=port, source=source)

    def shifts(self, since_us: int = 0) -> tuple[list[float], list[float]]:
        """By track, of the reports to the viewer since then."""
        video, audio = (
            [source.shift_us(report) for t, report in self.edge.reports(viewer) if t >= since_us]
            for source, viewer in ((self.video, self.eyes), (self.audio, self.ears))
        )
        assert video
        assert audio
        return video, audio

    def apart_us(self, since_us: int = 0) -> float:
        """The most by which a report of one track and one of the other disagree."""
        video, audio = self.shifts(since_us)
        return max(abs(v - a) for v in video for a in audio)

    def assert_steady(self) -> None:
        """Every report's NTP time is this node's, which never steps."""
        for viewer in (self.eyes, self.ears):
            for time_us, report in self.edge.reports(viewer):
                assert -TICK_US <= us_of(report.ntp_timestamp) - time_us <= 0.001


@pytest.mark.parametrize("on_rtp_port", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_viewers_see_the_encoders_relation_of_its_tracks(on_rtp_port: bool, is_first: bool) -> None:
    """Across the wraps of NTP (3 s in) and of both RTP clocks (about 2 s in)."""
    lips = Lips()
    if not is_first:
        lips.play(1_500_000)
    lips.report(lips.video, lips.audio, on_rtp_port=on_rtp_port)
    if is_first:
        assert lips.edge.counted() == {"ingest_rtcp_unknown": 2}  # kept for when they begin
    since_us = lips.edge.now_us
    for _ in range(3):
        lips.play(2_000_000)
        lips.report(lips.video, lips.audio, on_rtp_port=on_rtp_port)
    # The very first report of a track may come before the other is there, by its arrival.
    assert lips.apart_us(since_us + 50_000) <= EXACT_US
    lips.assert_steady()
    assert len(lips.edge.reports(lips.eyes)) >= 6


def test_without_any_report_arrivals_tell_and_jitter_is_the_error() -> None:
    lips = Lips()
    lips.play(6_000_000)
    assert lips.apart_us() <= JITTER_US
    assert lips.apart_us(3_000_000) <= JITTER_US / 4  # the packets that came soonest count
    lips.assert_steady()


def test_an_encoder_whose_time_stood_still_is_followed() -> None:
    """Suspended for a minute and without reports: both its RTP clocks are a minute behind then."""
    lips = Lips()
    lips.play(2_000_000)
    pause = 60_000_000
    lips.edge.now_us += pause
    for source in (lips.video, lips.audio):
        source.timestamp -= source.ticks(pause)
    lips.play(500_000)
    back_us = lips.edge.now_us
    lips.play(3_000_000)
    assert lips.apart_us(back_us) <= JITTER_US
    for viewer, source in ((lips.eyes, lips.video), (lips.ears, lips.audio)):
        for time_us, report in lips.edge.reports(viewer):
            if time_us > back_us:
                due = source.timestamp + source.ticks(time_us)
                behind = (due - report.rtp_timestamp) & 0xFFFFFFFF
                assert behind * 1_000_000 // source.rate <= JITTER_US


def test_no_track_follows_the_encoder_before_all_can() -> None:
    lips = Lips()
    lips.play(500_000)
    lips.report(lips.video)
    lips.play(5_000_000)
    assert lips.apart_us() <= JITTER_US
    lips.report(lips.audio)
    taken_us = lips.edge.now_us
    lips.play(3_000_000)
    lips.report(lips.video, lips.audio)
    lips.play(1_500_000)
    assert lips.apart_us(taken_us) <= EXACT_US
    lips.assert_steady()


def test_a_track_that_begins_later_joins_the_clock_of_the_first() -> None:
    lips = Lips()
    lips.report(lips.audio)
    lips.play(2_500_000, video=False)
    lips.play(200_000)
    lips.report(lips.video)
    taken_us = lips.edge.now_us
    lips.play(2_500_000)
    assert lips.apart_us(taken_us) <= EXACT_US
    lips.assert_steady()


def test_tracks_of_two_encoders_with_different_clocks_each_follow_their_own() -> None:
    lips = Lips()
    lips.audio.ntp += 10 * NTP_SECOND
    for _ in range(4):
        lips.play(1_200_000)
        lips.report(lips.video, lips.audio)
    video, audio = lips.shifts(3_000_000)
    assert max(abs(v - a - 10_000_000) for v in video for a in audio) <= JITTER_US
    assert max(video) - min(video) <= EXACT_US  # by its reports, not by arrivals
    assert max(audio) - min(audio) <= EXACT_US
    lips.assert_steady()


def test_an_encoder_whose_clock_is_set_is_followed() -> None:
    lips = Lips()
    for _ in range(2):
        lips.play(1_200_000)
        lips.report(lips.video, lips.audio)
    lips.video.ntp += 3_600 * NTP_SECOND
    lips.audio.ntp += 3_600 * NTP_SECOND
    lips.report(lips.video)
    lips.play(2_000_000)  # the other track's report is still of the old time
    lips.video.ntp -= 3_600 * NTP_SECOND
    lips.audio.ntp -= 3_600 * NTP_SECOND
    video, audio = lips.shifts(lips.edge.now_us - 2_000_000)
    assert max(abs(v - a) for v in video for a in audio) <= JITTER_US
    lips.video.ntp += 3_600 * NTP_SECOND
    lips.audio.ntp += 3_600 * NTP_SECOND
    lips.report(lips.audio)
    taken_us = lips.edge.now_us
    lips.play(2_000_000)
    assert lips.apart_us(taken_us) <= EXACT_US
    lips.assert_steady()


def test_a_broadcast_of_its_own_waits_for_no_other() -> None:
    """Group 0 is no group: a stream whose encoder never reports holds up nobody."""
    lips = Lips(group=0)
    lips.play(1_000_000)
    lips.report(lips.video)
    taken_us = lips.edge.now_us
    lips.play(4_000_000)
    video, _ = lips.shifts(taken_us)
    assert max(video) - min(video) <= 0.001  # by its reports, not by arrivals


def test_a_report_without_wall_clock_time_says_nothing_but_where_rtcp_goes() -> None:
    lips = Lips()
    lips.play(100_000)
    lips.edge.encode(
        sender_report(lips.video.ssrc, 0, 12_345), port=lips.edge.rtcp_port, source=ENCODER_RTCP
    )
    lips.play(2_500_000)
    assert lips.apart_us() <= JITTER_US
    blocks = [block for _, packets in lips.edge.to_encoder() if (block := block_in(packets))]
    assert len(blocks) == 2
    assert {(block.last_sr, block.delay_since_last_sr) for block in blocks} == {(0, 0)}


def test_a_restarted_encoders_clock_is_told_before_its_first_packet() -> None:
    lips = Lips()
    for _ in range(2):
        lips.play(1_200_000)
        lips.report(lips.video, lips.audio)
    lips.edge.now_us += 1_100_000
    before = len(lips.edge.reports(lips.eyes))
    lips.edge.sent.clear()
    lips.video = Source(0x11, 96, 90_000, 777_000_000)
    lips.edge.encode(lips.video.packet(lips.edge.now_us))
    assert before >= 2
    assert [to for _, _, to, _ in lips.edge.sent] == [lips.eyes.rtcp, lips.eyes.address]
    lips.edge.now_us += 10_000
    lips.video = Source(0x12, 96, 90_000, 999_000_000)
    for _ in range(2):  # at once again, within the second
        lips.edge.encode(lips.video.packet(lips.edge.now_us + 300_000), after_us=300_000)
    _, report = lips.edge.reports(lips.eyes)[-1]
    assert len(lips.edge.reports(lips.eyes)) == 2
    # Its RTP time began anew; the stream's went on, and the report is about that.
    last = int.from_bytes(lips.edge.media(lips.eyes)[-1][4:8], "big")
    assert abs(difference(report.rtp_timestamp, last, 32)) * 1_000_000 // 90_000 < JITTER_US


# -- what a sender report says


def test_reports_come_first_each_second_and_count_what_was_sent() -> None:
    lips = Lips()
    lips.play(3_500_000)
    edge = lips.edge
    for viewer in (lips.eyes, lips.ears):
        own = [(t, to, data) for t, _, to, data in edge.sent if to in (viewer.rtcp, viewer.address)]
        assert own[0][1] == viewer.rtcp
        packets = octets = 0
        times = []
        for time_us, to, data in own:
            if to == viewer.address:
                packets += 1
                octets += len(data) - 12
                assert int.from_bytes(data[8:12]) == viewer.ssrc
                continue
            (report,) = [r for t, r in edge.reports(viewer) if t == time_us]
            assert (report.packet_count, report.octet_count) == (packets, octets)
            assert report.ssrc == viewer.ssrc
            times.append(time_us)
        assert len(times) == 4
        gaps = [b - a for a, b in itertools.pairwise(times)]
        assert all(1_000_000 <= gap < 1_000_000 + 2 * JITTER_US for gap in gaps)
        assert edge.engine.cursor_stats(viewer.cursor).reports_sent == 4
    assert edge.cnames(lips.eyes) == edge.cnames(lips.ears) == {"one viewer's 016"}


def test_a_viewer_without_an_rtcp_address_is_sent_no_report() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), has_rtcp=False)
    for n in range(65_500, 65_600):
        edge.encode(rtp(n, 3_000 * n, key_slice()), after_us=33_333)
    assert {to for _, _, to, _ in edge.sent} == {viewer.address}
    assert edge.engine.cursor_stats(viewer.cursor).reports_sent == 0


# -- over several nodes


class Line:
    """Three engines, each with another clock; what one sends arrives at once."""

    OFFSETS_US = (0, 86_400_000_000, 5_000)

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.engines = [
            Engine(node_id=n + 1, streams=4, cursors=8, node_links=2, viewer_links=4, ports=4)
            for n in range(3)
        ]
        self.ports = [engine.open_port(PortKind.OVERLAY) for engine in self.engines]
        self.sent: list[tuple[tuple[str, int], bytes]] = []
        self.lose_clocks = 0
        links = {}
        for here, there in ((0, 1), (1, 0), (1, 2), (2, 1)):
            links[here, there] = self.engines[here].add_link(
                port=self.ports[here],
                address=self.address(there),
                peer_node=there + 1,
                hello_key=key("hello"),
                rate_bps=1_000_000_000,
            )
            self.engines[here].offer_keys(
                links[here, there],
                receive_key=key(f"{there}{here}"),
                send_key=key(f"{here}{there}"),
                send_now=True,
            )
        self.streams = [
            [
                engine.add_stream(
                    stream_id=5 + track,
                    media=(Media.VIDEO, Media.AUDIO)[track],
                    first_stream_seq=1,
                    upstream=links[n, n - 1] if n else None,
                    clock_rate=(90_000, 48_000)[track],
                    group=3,
                )
                for track in range(2)
            ]
            for n, engine in enumerate(self.engines)
        ]
        for n in range(2):
            for stream in self.streams[n]:
                self.engines[n].add_cursor(stream=stream, link=links[n, n + 1])
        self.ingest = self.engines[0].open_port(PortKind.INGEST)
        for stream, codec, payload_type in zip(
            self.streams[0], (Codec.H264, Codec.OPUS), (96, 111), strict=True
        ):
            self.engines[0].set_ingest(
                self.ingest, stream=stream, codec=codec, payload_type=payload_type
            )
        last = self.engines[2]
        port = last.open_port(PortKind.VIEWER)
        link = last.add_viewer_link(rate_bps=1_000_000_000)
        self.viewers = [
            last.add_viewer_cursor(
                stream=stream,
                link=link,
                port=port,
                address=("198.51.100.1", 6000 + 2 * track),
                ssrc=0xAB + track,
                payload_type=100,
                first_sequence_number=65_535,
                rtcp_address=("198.51.100.1", 6001 + 2 * track),
            )
            for track, stream in enumerate(self.streams[2])
        ]
        self.pump([])

    @staticmethod
    def address(node: int) -> tuple[str, int]:
        return ("10.0.0.1", 7_000 + node)

    def pump(self, packets: list[bytes]) -> None:
        waiting = [(0, self.ingest, ENCODER, packet) for packet in packets]
        waiting += [(n, -1, ENCODER, b"") for n in range(3)]
        while waiting:
            following = []
            for node in range(3):
                mine = [(p, s, d) for n, p, s, d in waiting if n == node and p >= 0]
                if not any(n == node for n, *_ in waiting):
                    continue
                out = self.engines[node].turn(self.now_us + self.OFFSETS_US[node], mine)
                for _, to, data in out:
                    if to[0] != "10.0.0.1":
                        self.sent.append((to, data))
                    elif self.lose_clocks and data[0] & 15 == 1 and data[32] == 4:
                        self.lose_clocks -= 1
                    else:
                        there = to[1] - 7_000
                        following.append((there, self.ports[there], self.address(node), data))
            waiting = following


@pytest.mark.parametrize("lost", [0, 5])
def test_two_hops_and_three_clocks_later_the_tracks_still_agree(lost: int) -> None:
    line = Line()
    line.lose_clocks = lost
    video = Source(0x10, 96, 90_000, (1 << 32) - 200_000)
    audio = Source(0x20, 111, 48_000, (1 << 32) - 90_000)
    line.pump([video.report(line.now_us), audio.report(line.now_us)])
    for n in range(450):
        line.now_us += 20_011
        line.pump([video.packet(line.now_us), audio.packet(line.now_us, payload=OPUS)])
        if n % 50 == 0:
            line.pump([video.report(line.now_us), audio.report(line.now_us)])
    reports = [
        [
            SenderReport.parse(parse_compound(data)[0])
            for to, data in line.sent
            if to[1] == 6_001 + 2 * track
        ]
        for track in range(2)
    ]
    assert min(len(each) for each in reports) >= 8
    shifts = [
        [source.shift_us(report) for report in each][1:]
        for source, each in zip((video, audio), reports, strict=True)
    ]
    assert max(abs(v - a) for v in shifts[0] for a in shifts[1]) <= EXACT_US
    if not lost:
        for track in range(2):
            own = [to[1] for to, _ in line.sent if to[1] in (6_000 + 2 * track, 6_001 + 2 * track)]
            assert own[0] == 6_001 + 2 * track  # the clock travels ahead of the first packet


# -- what the encoder is told


class Receiver:
    """RFC 3550 A.1, A.3 and A.8 as they stand there, in exact numbers."""

    def __init__(self) -> None:
        self.first = self.highest = -1
        self.received = self.expected_before = self.received_before = 0
        self.jitter = 0.0
        self.transit: float | None = None

    def take(self, number: int, timestamp: int, arrival_us: int) -> None:
        if self.first < 0:
            self.first = self.highest = number
        self.highest = max(self.highest, number)
        self.received += 1
        transit = arrival_us * 90_000 / 1_000_000 - timestamp
        if self.transit is not None:
            self.jitter += (abs(transit - self.transit) - self.jitter) / 16
        self.transit = transit

    def report(self) -> tuple[int, int, int, float]:
        """fraction lost, cumulative lost, extended highest, jitter; a new interval begins."""
        expected = self.highest - self.first + 1
        of_interval = expected - self.expected_before
        lost = of_interval - (self.received - self.received_before)
        self.expected_before, self.received_before = expected, self.received
        fraction = 0 if of_interval == 0 or lost <= 0 else min((lost << 8) // of_interval, 255)
        return fraction, expected - self.received, self.highest, self.jitter


def test_reception_reports_follow_the_rfc() -> None:
    """Loss, reordering, duplicates and jitter, once a second; sequence numbers wrap."""
    seed = 11
    rng = random.Random(seed)
    edge = Edge()
    edge.add_track()
    video = Source(0x10, 96, 90_000, (1 << 32) - 90_000)
    edge.encode(video.report(edge.now_us), port=edge.rtcp_port, source=ENCODER_RTCP)
    reported_us = edge.now_us
    told = video.ntp + video.ticks(edge.now_us) * NTP_SECOND // 90_000
    arrivals = []
    for n in range(600):
        captured_us = edge.now_us + 10_000 * n
        loss = 0.4 if 200 <= n < 300 else 0.02
        if rng.random() >= loss:
            packet = rtp(65_400 + n, video.timestamp + video.ticks(captured_us), key_slice())
            packet = packet[:8] + video.ssrc.to_bytes(4) + packet[12:]
            for _ in range(2 if rng.random() < 0.05 else 1):
                arrivals.append((captured_us + rng.randrange(25_000), n, captured_us, packet))
    receiver = Receiver()
    compared = 0
    for arrival_us, n, captured_us, packet in sorted(arrivals):
        edge.sent.clear()
        edge.now_us = arrival_us
        edge.encode(packet)
        if receiver.first < 0 or 65_400 + n >= receiver.first:  # others are of before it began
            receiver.take(65_400 + n, video.timestamp + video.ticks(captured_us), arrival_us)
        for _, packets in edge.to_encoder():
            block = block_in(packets)
            assert block is not None
            assert block.ssrc == video.ssrc
            fraction, lost, highest, jitter = receiver.report()
            assert block.fraction_lost == fraction
            assert block.cumulative_lost == lost
            assert block.extended_highest_sequence_number == highest
            assert abs(block.interarrival_jitter - jitter) < 4  # kept in whole microseconds
            assert block.last_sr == told >> 16 & 0xFFFFFFFF
            delay = (arrival_us - reported_us) * 65_536 // 1_000_000
            assert block.delay_since_last_sr == delay
            assert packets[0].body[:4] in parse_cnames_of(packets)
            compared += 1
    assert compared >= 6
    assert receiver.highest > 65_536


def parse_cnames_of(packets: list[RtcpPacket]) -> set[bytes]:
    """The SSRCs that the compound names."""
    return {ssrc.to_bytes(4) for ssrc in parse_cnames(packets[1])}


def test_all_lost_but_one_is_the_largest_fraction_and_does_not_wrap() -> None:
    edge = Edge()
    edge.add_track()
    edge.encode(Source(0x1234, 96, 90_000, 0).report(0), port=edge.rtcp_port, source=ENCODER_RTCP)
    edge.encode(rtp(65_000, 0, key_slice()))
    edge.encode(rtp(65_000 + 2_000, 0, key_slice()), after_us=1_000_000)
    fractions = [
        block.fraction_lost for _, packets in edge.to_encoder() if (block := block_in(packets))
    ]
    assert fractions == [0, 255]


def test_the_newest_of_the_early_reports_counts() -> None:
    edge = Edge()
    edge.add_track()
    source = Source(0x10, 96, 90_000, 5)
    for _ in range(5):  # more than are kept
        edge.encode(source.report(edge.now_us), port=edge.rtcp_port, source=ENCODER_RTCP)
        edge.now_us += 1_000_000
    edge.encode(source.packet(edge.now_us))
    ((_, packets),) = edge.to_encoder()
    block = block_in(packets)
    assert block is not None
    assert block.delay_since_last_sr == 65_536


def test_rtcp_to_an_encoder_goes_where_it_is_configured_or_came_from() -> None:
    for to, rtcp_from, expected in (
        (("192.0.2.1", 9_999), ENCODER_RTCP, ("192.0.2.1", 9_999)),
        (("192.0.2.1", 9_999), None, ("192.0.2.1", 9_999)),
        (None, ENCODER_RTCP, ENCODER_RTCP),
        (None, None, None),
    ):
        edge = Edge()
        stream = edge.add_track(rtcp_to=to)
        viewer = edge.add_viewer(stream)
        source = Source(0x10, 96, 90_000, 5)
        if rtcp_from is not None:
            edge.encode(source.report(edge.now_us), port=edge.rtcp_port, source=rtcp_from)
        edge.encode(source.packet(edge.now_us))
        reports = [(port, to) for _, port, to, _ in edge.sent if to[0] == "192.0.2.1"]
        port = edge.rtcp_port if rtcp_from is not None else edge.port
        assert reports == ([(port, expected)] if expected else [])
        # A PLI goes in any case: without RTCP of it, back to where its RTP came from.
        edge.view(viewer, pli(viewer.ssrc))
        (packets,) = [p for _, p in edge.to_encoder(expected or ENCODER) if plis_in(p)]
        assert plis_in(packets)[0].media_ssrc == 0x10
        assert block_in(packets) is None


MALFORMED = [
    b"\x80",
    b"\x80\xc8\x00\x06",
    b"\x80\xc8\xff\xff" + bytes(24),
    b"\x40\xc8\x00\x06" + bytes(24),
    sender_report(0x10, 1 << 40, 5)[:-1],
    sender_report(0x10, 1 << 40, 5) + b"\0",
    sender_report(0x10, 1 << 40, 5) + b"\x81\xc9\x00\x09",
]


@pytest.mark.parametrize("data", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_rtcp_is_counted_and_changes_nothing(data: bytes) -> None:
    edges = []
    for is_bad in (False, True):
        lips = Lips()
        lips.play(1_200_000)
        lips.report(lips.video, lips.audio)
        if is_bad:
            lips.edge.encode(data, port=lips.edge.rtcp_port, source=("203.0.113.9", 9))
            assert lips.edge.counted()["ingest_rtcp_malformed"] == 1
            lips.edge.view(lips.eyes, data)
            assert lips.edge.counted()["viewer_malformed"] == 1
        lips.play(2_500_000)
        edges.append(lips.edge)
    assert edges[0].sent == edges[1].sent


def test_a_report_from_another_host_is_nobodys() -> None:
    lips = Lips()
    lips.play(500_000)
    before = lips.edge.reports(lips.eyes)[-1]
    forged = lips.video.report(lips.edge.now_us, ntp=1 << 40)
    lips.edge.sent.clear()
    lips.edge.encode(forged, port=lips.edge.rtcp_port, source=("203.0.113.9", 53))
    assert lips.edge.counted()["ingest_rtcp_unknown"] == 1
    lips.play(3_000_000)
    assert all(to[0] != "203.0.113.9" for _, _, to, _ in lips.edge.sent)
    assert lips.edge.reports(lips.eyes)[-1][0] > before[0]
    lips.assert_steady()


def test_rtcp_of_nobody_here_is_counted_and_answered_to_nobody() -> None:
    lips = Lips()
    lips.play(100_000)
    edge = lips.edge
    stranger = ("203.0.113.9", 9)
    edge.encode(sender_report(0x99, 1 << 40, 5), port=edge.rtcp_port, source=stranger)
    edge.encode(
        serialise_compound([ReceiverReport(0x10).build()]), port=edge.rtcp_port, source=stranger
    )
    assert edge.counted()["ingest_rtcp_unknown"] == 2
    lips.play(1_500_000)
    assert edge.to_encoder(stranger) == edge.to_encoder() == edge.to_encoder(ENCODER) == []
