"""A viewer that goes on with another stream: numbers, RTP time and reports join without a seam."""

from __future__ import annotations

import itertools

import pytest

from fastpath import Codec
from tests.support.clocks import Source, us_of
from tests.support.edge import ENCODER, ENCODER_RTCP, Edge, Viewer, nack, plis_in
from tests.support.encoder import number_of

FRAME_US = 20_000
TICKS_OF_FRAME = 1_800
KEY_EVERY = 25


def timestamp_of(packet: bytes) -> int:
    return int.from_bytes(packet[4:8])


class Two:
    """Two cameras under two payload types, a viewer of the first; clocks are about to wrap."""

    def __init__(self, *, rate_bps: int = 10_000_000_000) -> None:
        self.edge = Edge()
        self.sources = [
            Source(0x10, 96, 90_000, (1 << 32) - 150_000),
            Source(0x20, 97, 90_000, 1 << 31, ntp=1 << 60),
        ]
        self.streams = [self.edge.add_track(96, group=1), self.edge.add_track(97, group=2)]
        self.viewer: Viewer = self.edge.add_viewer(self.streams[0], rate_bps=rate_bps)
        self.frames = 0

    def play(self, frames: int, *, key_every: int = KEY_EVERY) -> None:
        for _ in range(frames):
            packets = []
            for n, source in enumerate(self.sources):
                is_key = self.frames % key_every == 10 * n
                text = (b"\x65\x88" if is_key else b"\x41\x9a") + b"%d %06d" % (n, self.frames)
                packets.append(source.packet(self.edge.now_us, payload=text))
            self.edge.encode(*packets)
            self.edge.now_us += FRAME_US
            self.frames += 1

    def move(self, to: int = 1) -> None:
        self.edge.engine.move_viewer_cursor(
            self.viewer.cursor, stream=self.streams[to], payload_type=101
        )
        self.edge.turn()

    def media(self) -> list[bytes]:
        return self.edge.media(self.viewer)


def test_number_ssrc_and_time_go_on_at_the_newest_key_frame() -> None:
    two = Two()
    two.play(70)
    before = len(two.media())
    two.move()
    two.play(40)
    got = two.media()
    assert [number_of(data) for data in got] == [(65_530 + n) & 0xFFFF for n in range(len(got))]
    assert {data[8:12] for data in got} == {two.viewer.ssrc.to_bytes(4)}
    assert {data[1] & 0x7F for data in got[:before]} == {100}
    assert {data[1] & 0x7F for data in got[before:]} == {101}
    assert got[before][12:] == b"\x65\x881 %06d" % 60  # the whole GoP, at once
    assert [data[16:] for data in got[before:]] == [b"%06d" % n for n in range(60, 110)]
    stamps = [timestamp_of(data) for data in got]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
    # The key frame comes FRAME_US after the last one, and is stamped so.
    assert steps == [TICKS_OF_FRAME] * (len(got) - 1)


def test_where_no_key_frame_is_held_it_waits_and_asks_for_one() -> None:
    two = Two()
    two.play(5)
    before = len(two.media())
    two.edge.sent.clear()
    two.move()
    two.play(20, key_every=1_000)  # the second camera's key frame comes with its frame 10
    got = two.media()
    asked = [packets for _, packets in two.edge.to_encoder(ENCODER) if plis_in(packets)]
    assert [plis_in(packets)[0].media_ssrc for packets in asked] == [0x20]
    assert before == 5
    assert got[0][12:] == b"\x65\x881 000010"
    assert number_of(got[0]) == 65_535
    # 5 frames were waited for: RTP time has gone on meanwhile.
    last = (two.sources[0].timestamp + two.sources[0].ticks(1_000_000 + 4 * FRAME_US)) & 0xFFFFFFFF
    assert (timestamp_of(got[0]) - last) & 0xFFFFFFFF == 6 * TICKS_OF_FRAME


def test_reports_say_the_new_streams_time_under_the_viewers_stamps_from_the_first_on() -> None:
    two = Two()
    for source in two.sources:
        two.edge.encode(
            source.report(two.edge.now_us), port=two.edge.rtcp_port, source=ENCODER_RTCP
        )
    two.play(70)
    two.move()
    two.play(120)
    moved_us = 1_000_000 + 70 * FRAME_US
    reports = [(t, report) for t, report in two.edge.reports(two.viewer) if t >= moved_us]
    assert reports[0][0] == moved_us  # at once
    assert len(reports) == 3
    sent = {data[16:]: timestamp_of(data) for data in two.media() if data[1] & 0x7F == 101}
    for time_us, report in reports:
        # When frame 60 of the second camera was taken, by this node's clock.
        captured_us = 1_000_000 + 60 * FRAME_US
        ticks = (report.rtp_timestamp - sent[b"000060"] + (1 << 31)) % (1 << 32) - (1 << 31)
        said_us = us_of(report.ntp_timestamp) - ticks * 1_000_000 / 90_000
        assert abs(said_us - captured_us) <= 12  # a tick; and 1 us of rounding
        assert abs(us_of(report.ntp_timestamp) - time_us) <= 12


def test_repeated_packets_just_before_the_move_do_not_turn_time_back() -> None:
    two = Two()
    two.play(70)
    edge, viewer = two.edge, two.viewer
    old = [number_of(data) for data in two.media()][5:9]
    edge.view(viewer, nack(viewer.ssrc, *old))
    two.move()
    two.play(5)
    got = two.media()
    newest = timestamp_of(got[69])
    assert [number_of(data) for data in got[70:74]] == old
    first = next(data for data in got if data[1] & 0x7F == 101)
    assert (timestamp_of(first) - newest) & 0xFFFFFFFF == TICKS_OF_FRAME


def test_what_waited_for_the_budget_under_old_numbers_is_sent_under_these() -> None:
    two = Two(rate_bps=400_000)
    two.play(70)
    two.edge.wait(100_000)
    edge, viewer = two.edge, two.viewer
    assert len(two.media()) == 70
    first = {number_of(data): data for data in two.media()}
    numbers = list(first)
    for at in range(0, 70, 10):  # more than the budget lets go at once
        edge.view(viewer, nack(viewer.ssrc, *numbers[at : at + 10]))
    two.move()
    edge.wait(200_000)
    two.play(20)
    edge.wait(200_000)
    seen: dict[int, bytes] = {}
    for data in two.media():
        assert seen.setdefault(number_of(data), data) == data
    fresh = [number_of(data) for data in two.media() if data[1] & 0x7F == 101]
    assert len(two.media()) - 70 - len(fresh) == 70
    assert fresh == [(65_530 + 70 + n) & 0xFFFF for n in range(len(fresh))]


def test_numbers_of_before_the_move_are_sent_again_as_they_were() -> None:
    two = Two()
    two.play(70)
    two.move()
    two.play(5)
    count = len(two.media())
    numbers = [number_of(data) for data in two.media()]
    two.edge.view(two.viewer, nack(two.viewer.ssrc, numbers[60], numbers[69]))
    assert two.media()[count:] == [two.media()[60], two.media()[69]]
    two.edge.view(two.viewer, nack(two.viewer.ssrc, numbers[70], numbers[count - 1]))
    assert two.media()[count + 2 :] == [two.media()[70], two.media()[count - 1]]
    two.edge.engine.remove_stream(two.streams[0])
    two.edge.view(two.viewer, nack(two.viewer.ssrc, numbers[61]), after_us=100_000)
    assert len(two.media()) == count + 4


def test_the_old_stream_may_go_and_the_cursor_stays() -> None:
    two = Two()
    two.play(70)
    engine = two.edge.engine
    two.move()
    engine.remove_stream(two.streams[0])
    two.play(10)
    assert engine.cursor_stats(two.viewer.cursor).packets == len(two.media()) == 70 + 20
    assert engine.stream_stats(two.streams[1]).subscribers == 1
    engine.remove_stream(two.streams[1])  # with it goes the cursor
    with pytest.raises(KeyError):
        engine.cursor_stats(two.viewer.cursor)
    two.edge.turn()
    assert engine.memory().cursors[0] == 0


def test_there_and_back_again_at_once() -> None:
    two = Two()
    two.play(70)
    two.move()
    two.play(1)
    two.move(0)
    two.play(30)
    two.move(0)  # to where it is
    two.play(30)
    got = two.media()
    assert [number_of(data) for data in got] == [(65_530 + n) & 0xFFFF for n in range(len(got))]
    stamps = [timestamp_of(data) for data in got]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
    assert max(steps) <= TICKS_OF_FRAME


def test_a_viewer_that_moves_before_its_first_packet_keeps_the_encoders_time() -> None:
    two = Two()
    two.move()
    two.play(15)
    first = two.media()[0]
    assert number_of(first) == 65_530
    expected = two.sources[1].timestamp + two.sources[1].ticks(1_000_000 + 10 * FRAME_US)
    assert timestamp_of(first) == expected & 0xFFFFFFFF


def test_only_viewers_move_and_only_to_what_has_the_same_clock_and_medium() -> None:
    two = Two()
    edge, engine = two.edge, two.edge.engine
    audio = edge.add_track(111, Codec.OPUS, clock_rate=48_000)
    fast = edge.add_track(98, clock_rate=180_000)
    for other in (audio, fast):
        with pytest.raises(ValueError, match="clock rate"):
            engine.move_viewer_cursor(two.viewer.cursor, stream=other, payload_type=1)
    link = edge.add_neighbour()
    node_cursor = engine.add_cursor(stream=two.streams[0], link=link)
    with pytest.raises(KeyError):
        engine.move_viewer_cursor(node_cursor, stream=two.streams[1], payload_type=1)
    with pytest.raises(ValueError, match="payload_type"):
        engine.move_viewer_cursor(two.viewer.cursor, stream=two.streams[1], payload_type=128)
    two.play(3)
    assert len(two.media()) == 3
