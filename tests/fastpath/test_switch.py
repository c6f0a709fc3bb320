"""A viewer that goes on with another stream where nobody can see it."""

from __future__ import annotations

import itertools

import pytest

from fastpath import Codec
from fastpath.events import ViewerSwitched
from tests.fastpath.test_move_cursor import FRAME_US, TICKS_OF_FRAME, Two, timestamp_of
from tests.support.edge import nack
from tests.support.encoder import number_of


class Pair(Two):
    """The first camera's key frames come with frames 0, 25, 50, the second's with 10, 35, 60."""

    def switch(self, to: int = 1) -> None:
        self.edge.engine.switch_viewer_cursor(
            self.viewer.cursor, stream=self.streams[to], payload_type=100 + to
        )
        self.edge.turn()

    def switched(self) -> list[int]:
        events = self.edge.events
        return [e.stream for e in events if isinstance(e, ViewerSwitched)]

    def shown(self) -> list[tuple[int, int]]:
        """Camera and frame of each packet."""
        return [(int(data[14:15]), int(data[16:22])) for data in self.media()]

    def check_seam(self) -> None:
        got = self.media()
        assert [number_of(data) for data in got] == [(65_530 + n) & 0xFFFF for n in range(len(got))]
        stamps = [timestamp_of(data) for data in got]
        steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
        assert set(steps) == {TICKS_OF_FRAME}


def test_it_goes_on_at_the_other_s_next_key_frame_and_misses_nothing() -> None:
    two = Pair()
    two.play(70)
    two.switch()
    two.play(40)
    two.check_seam()
    expected = [(0, n) for n in range(85)] + [(1, n) for n in range(85, 110)]
    assert two.shown() == expected
    assert [data[1] & 0x7F for data in two.media()] == [100] * 85 + [101] * 25
    assert two.switched() == [two.streams[1]]
    stats = two.edge.engine.cursor_stats(two.viewer.cursor)
    assert (stats.packets, stats.dropped_predicted, stats.lag_packets) == (110, 0, 0)


def test_there_and_back_again_and_what_was_sent_is_sent_again() -> None:
    two = Pair()
    two.play(70)
    two.switch()
    two.play(30)
    two.switch(0)
    two.play(60)
    two.check_seam()
    assert [camera for camera, _ in itertools.groupby(two.shown(), key=lambda f: f[0])] == [0, 1, 0]
    got = two.media()
    assert len(got) == 160
    sent = {number_of(data): data for data in got}
    for number in list(sent)[60:]:  # of three spans
        two.edge.view(two.viewer, nack(two.viewer.ssrc, number), after_us=100)
    assert {number_of(data): data for data in two.media()[160:]} == dict(list(sent.items())[60:])


def test_a_key_frame_that_has_just_come_will_do() -> None:
    two = Pair()
    two.play(88)  # 60 ms after the other's key frame
    two.switch()
    two.play(10)
    frames = two.shown()
    at = frames.index((1, 85))
    assert frames[at - 1] == (0, 87)
    stamps = [timestamp_of(data) for data in two.media()]
    steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
    # It is shown at once, and what follows in its own time: nothing goes back.
    assert steps[at - 1] == 1
    assert all(step == TICKS_OF_FRAME for n, step in enumerate(steps) if n != at - 1)


def test_a_frame_of_several_packets_is_finished_first() -> None:
    two = Pair()
    two.play(84)
    two.switch()
    edge, (first, second) = two.edge, two.sources
    parts = [
        first.packet(edge.now_us, payload=b"\x41\x9a" + b"0 000084"),
        first.packet(edge.now_us, payload=b"\x41\x48" + b"0 000084"),
    ]
    parts[0] = parts[0][:1] + bytes([parts[0][1] & 0x7F]) + parts[0][2:]  # no marker
    edge.encode(parts[0])
    edge.encode(second.packet(edge.now_us, payload=b"\x65\x88" + b"1 000084"), after_us=500)
    assert two.shown()[-1] == (0, 84)
    edge.encode(parts[1], after_us=500)
    assert [f for f in two.shown() if f[1] == 84] == [(0, 84), (0, 84), (1, 84)]


def test_a_packet_that_was_lost_does_not_hide_how_far_it_is() -> None:
    """The other's key frame is too old by then, whatever is missing just before the next frame."""
    two = Pair()
    two.play(95)
    two.switch()
    two.sources[0].packet(
        two.edge.now_us, payload=b"\x41\x9a" + b"0 000095"
    )  # on its way it is lost
    two.play(30)
    frames = two.shown()
    at = next(n for n, (camera, _) in enumerate(frames) if camera == 1)
    assert frames[at - 1 : at + 1] == [(0, 109), (1, 110)]


def test_nor_does_one_that_was_lost_before_what_is_left_out() -> None:
    """A frame that no other refers to: what was sent last is in the span of numbers before it."""
    two = Pair()
    two.play(95)
    two.switch()
    edge, source = two.edge, two.sources[0]
    edge.engine.set_link_rate(two.viewer.link, 600)  # half of the lag's limit for each packet
    source.packet(edge.now_us, payload=b"\x41\x9a" + b"0 000095")  # on its way it is lost
    edge.encode(source.packet(edge.now_us, payload=b"\x01\x9a" + b"0 000096"), after_us=FRAME_US)
    assert edge.engine.cursor_stats(two.viewer.cursor).dropped_discardable == 1
    edge.engine.set_link_rate(two.viewer.link, 1_000_000_000)
    two.play(30)
    frames = two.shown()
    at = next(n for n, (camera, _) in enumerate(frames) if camera == 1)
    assert frames[at] == (1, 110)
    assert [camera for camera, _ in frames[at:]] == [1] * (len(frames) - at)


def test_it_may_think_otherwise() -> None:
    two = Pair()
    two.play(70)
    two.switch()
    two.play(5)
    two.switch(0)
    assert two.switched() == [two.streams[0]]
    two.play(40)
    assert {camera for camera, _ in two.shown()} == {0}
    two.check_seam()


def test_the_stream_it_leaves_is_removed_first() -> None:
    two = Pair()
    two.play(70)
    two.switch()
    two.edge.engine.remove_stream(two.streams[0])
    two.edge.turn()
    assert two.switched() == [two.streams[1]]
    assert two.shown()[70] == (1, 60)  # at once, from the newest key frame on
    two.edge.engine.remove_stream(two.streams[1])
    two.edge.turn()
    assert two.edge.engine.memory().cursors[0] == 0


def test_the_stream_it_is_to_go_on_with_takes_it_along() -> None:
    two = Pair()
    two.play(70)
    two.switch()
    two.edge.engine.remove_stream(two.streams[1])
    two.edge.turn()
    with pytest.raises(KeyError):
        two.edge.engine.cursor_stats(two.viewer.cursor)
    assert two.edge.engine.stream_stats(two.streams[0]).subscribers == 0
    # Its place is another's now.
    again = two.edge.add_viewer(two.streams[0])
    two.edge.turn()
    assert two.edge.engine.cursor_stats(again.cursor).packets == 20


def test_audio_goes_at_once() -> None:
    two = Pair()
    edge = two.edge
    sounds = [edge.add_track(110 + n, Codec.OPUS, clock_rate=48_000) for n in range(2)]
    viewer = edge.add_viewer(sounds[0])
    edge.engine.switch_viewer_cursor(viewer.cursor, stream=sounds[1], payload_type=101)
    edge.turn()
    assert [e for e in edge.events if isinstance(e, ViewerSwitched)] == [
        ViewerSwitched(viewer.cursor, sounds[1])
    ]
