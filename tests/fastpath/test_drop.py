"""A viewer whose link is too slow: what it is not sent, in which order, and what it never sees."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from fastpath import Codec, Engine
from fastpath.events import StreamStarted, ViewerLags
from lab.pictures import Pictures, in_order, piece_of, undecodable, whole_frames
from tests.support.chain import rtp
from tests.support.edge import ENCODER, Edge, Viewer, nack
from tests.support.encoder import number_of

FRAME_US = 33_333
LIMIT_US = 500_000
AUDIO_US = 20_000


@dataclass
class Show:
    """A broadcast with b frames, sent to viewers of which one may become slow."""

    bps: int = 3_000_000
    gop: int = 30
    pattern: str = "bP"  # after a key frame, again and again
    first_seq: int = (1 << 32) - 500
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.edge = Edge(slab_bytes=32 << 20, **self.options)
        self.stream = self.edge.add_track(first_seq=self.first_seq)
        self.audio = self.edge.add_track(111, Codec.OPUS, clock_rate=48_000)
        self.pictures = Pictures()
        self.audio_sent = 0
        self.worst_us = 0
        self.worst_bytes = 0
        self.viewers: list[Viewer] = []

    def add_viewer(self, rate_bps: int) -> Viewer:
        viewer = self.edge.add_viewer(self.stream, rate_bps=rate_bps)
        self.viewers.append(viewer)
        return viewer

    def add_audio(self, viewer: Viewer) -> Viewer:
        return self.edge.add_viewer(self.audio, link=viewer.link)

    def set_rate(self, viewer: Viewer, rate_bps: int) -> None:
        self.edge.engine.set_link_rate(viewer.link, rate_bps)

    def sizes(self, kind: str) -> int:
        """Bytes: b frames half of a P frame, a key frame six."""
        each = self.bps * FRAME_US // 8_000_000
        return {"K": 5 * each, "P": each, "b": each // 2}[kind]

    def play(self, frames: int) -> None:
        """With audio in between; looks at the slow viewer's queue after every turn."""
        edge = self.edge
        for _ in range(frames):
            number = len(self.pictures.frames)
            kind = "K" if number % self.gop == 0 else self.pattern[number % len(self.pattern)]
            edge.encode(*self.pictures.frame(kind, self.sizes(kind), edge.now_us))
            self.look()
            end_us = edge.now_us + FRAME_US
            while (due_us := edge.engine.next_timer_us()) is not None and due_us <= end_us:
                edge.now_us = max(edge.now_us, due_us)
                edge.turn()
                self.look()
            if edge.now_us // AUDIO_US != end_us // AUDIO_US:
                sound = rtp(self.audio_sent, 960 * self.audio_sent, b"\x78" + bytes(80))
                sound = sound[:1] + bytes([111]) + sound[2:]
                edge.now_us = end_us
                edge.encode(sound)
                self.audio_sent += 1
            edge.now_us = end_us

    def look(self) -> None:
        for viewer in self.viewers:
            stats = self.edge.engine.cursor_stats(viewer.cursor)
            self.worst_us = max(self.worst_us, stats.lag_us)
            self.worst_bytes = max(self.worst_bytes, stats.lag_bytes)

    def check(self, viewer: Viewer) -> None:
        """Numbers without a gap, packets in order, nothing that cannot be decoded."""
        got = self.edge.media(viewer)
        numbers = [number_of(data) for data in got]
        assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(got))]
        pieces = [piece_of(data) for data in got]
        assert in_order(pieces)
        assert undecodable(pieces, self.pictures.frames) == []


def test_a_fast_viewer_is_sent_everything() -> None:
    show = Show()
    viewer = show.add_viewer(20_000_000)
    show.play(120)
    assert len(show.edge.media(viewer)) == show.pictures.numbers
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert (stats.dropped_discardable, stats.dropped_predicted, stats.dropped_gop) == (0, 0, 0)
    assert not any("dropped" in name for name in show.edge.counted())
    assert show.edge.engine.memory().spans[0] == 0


def test_b_frames_go_first_and_alone_if_that_is_enough() -> None:
    """They are a third of it: without them 2.3 Mbit/s become 1.5."""
    show = Show(gop=600)
    viewer = show.add_viewer(20_000_000)
    show.play(60)
    show.set_rate(viewer, 1_900_000)
    show.play(400)
    show.check(viewer)
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert stats.dropped_discardable > 50
    assert (stats.dropped_predicted, stats.dropped_gop) == (0, 0)
    whole = whole_frames(piece_of(data) for data in show.edge.media(viewer))
    missing = {show.pictures.frames[n] for n in range(450) if n not in whole}
    assert missing == {"b"}
    assert show.worst_us <= LIMIT_US
    # Counted packet by packet.
    lacked = show.pictures.numbers - len(show.edge.media(viewer)) - stats.lag_packets
    assert lacked == stats.dropped_discardable
    assert show.edge.counted()["dropped_discardable"] == stats.dropped_discardable


def test_then_p_frames_up_to_the_next_key_frame() -> None:
    show = Show()
    viewer = show.add_viewer(20_000_000)
    show.play(45)
    show.set_rate(viewer, 1_400_000)
    show.play(300)
    show.check(viewer)
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert stats.dropped_predicted > stats.dropped_discardable > 0
    assert stats.dropped_gop == 0
    assert show.worst_us <= LIMIT_US
    # What is cut off is always the end of a GoP.
    whole = whole_frames(piece_of(data) for data in show.edge.media(viewer))
    kinds = show.pictures.frames
    for start in range(60, 300, 30):
        sent = [n in whole for n in range(start, start + 30) if kinds[n] != "b"]
        assert sent == sorted(sent, reverse=True)
        assert sent[0]  # every key frame: 62 kB take 0.35 s of each second
        assert not sent[-1]


def test_then_whole_gops() -> None:
    """A key frame takes 0.8 s: those that would have to wait for another are left out."""
    show = Show(bps=2_500_000, gop=15)
    viewer = show.add_viewer(20_000_000)
    show.play(45)
    show.set_rate(viewer, 500_000)
    show.play(300)
    show.check(viewer)
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert stats.dropped_gop > 0
    # A key frame alone in the queue is finished, however long that takes: up to twice the limit.
    assert show.worst_us <= 2 * LIMIT_US
    before = len(show.edge.media(viewer))
    show.set_rate(viewer, 20_000_000)
    show.play(60)
    show.check(viewer)
    assert show.edge.engine.cursor_stats(viewer.cursor).lag_us == 0
    whole = whole_frames(piece_of(data) for data in show.edge.media(viewer)[before:])
    assert set(range(370, 405)) <= whole


def test_a_frame_that_is_begun_is_finished_or_ends_its_gop() -> None:
    show = Show(gop=300)
    viewer = show.add_viewer(20_000_000)
    show.play(31)
    show.set_rate(viewer, 40_000)  # in a frame, a packet of which now takes 0.2 s
    show.play(260)
    pieces = [piece_of(data) for data in show.edge.media(viewer)]
    whole = whole_frames(pieces)
    cut = sorted({piece.frame for piece in pieces} - whole)
    assert len(cut) <= 1
    for frame in cut:
        assert max(piece.frame for piece in pieces if piece.frame < 300) == frame
    numbers = [number_of(data) for data in show.edge.media(viewer)]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))


def test_audio_is_never_dropped_and_never_late() -> None:
    show = Show()
    viewer = show.add_viewer(20_000_000)
    audio = show.add_audio(viewer)
    show.play(60)
    show.set_rate(viewer, 700_000)
    show.play(300)
    show.set_rate(viewer, 20_000_000)
    show.play(10)
    assert len(show.edge.media(audio)) == show.audio_sent
    numbers = [number_of(data) for data in show.edge.media(audio)]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(numbers))]
    show.check(viewer)


def test_many_bytes_are_too_much_even_where_time_is_not() -> None:
    """128 KiB are 200 ms at this rate."""
    show = Show(bps=8_000_000, gop=1_000, options={"max_lag_bytes": 131_072})
    viewer = show.add_viewer(200_000_000)
    show.play(10)
    show.set_rate(viewer, 5_000_000)
    show.play(120)
    show.check(viewer)
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert stats.dropped_discardable > 0
    assert show.worst_us < LIMIT_US // 2
    assert show.worst_bytes <= 131_072


def test_without_a_limit_nothing_is_dropped_until_the_ring_laps() -> None:
    show = Show(options={"max_lag_us": 0})
    viewer = show.add_viewer(20_000_000)
    show.play(30)
    show.set_rate(viewer, 1_000_000)
    show.play(60)
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    assert (stats.dropped_discardable, stats.dropped_predicted, stats.dropped_gop) == (0, 0, 0)
    assert stats.lag_packets > 300
    assert not any(isinstance(event, ViewerLags) for event in show.edge.events)


def test_what_was_sent_before_a_drop_is_sent_again_under_its_number() -> None:
    show = Show(gop=60)
    viewer = show.add_viewer(20_000_000)
    show.play(45)
    show.set_rate(viewer, 1_900_000)
    show.play(100)
    show.set_rate(viewer, 20_000_000)
    show.play(2)
    edge = show.edge
    assert edge.engine.memory().spans[0] > 5
    got = edge.media(viewer)
    recent = {number_of(data): data for data in got[-150:]}
    for number in recent:
        edge.view(viewer, nack(viewer.ssrc, number), after_us=1_000)
    again = edge.media(viewer)[len(got) :]
    assert {number_of(data): data for data in again} == recent
    assert len(again) == len(recent)
    # A number that was not used yet, and one of too long ago.
    edge.view(viewer, nack(viewer.ssrc, number_of(got[-1]) + 1), nack(viewer.ssrc, 65_530))
    assert edge.counted()["viewer_nack_too_old"] == 2
    edge.engine.remove_link(viewer.link)
    edge.turn()
    assert edge.engine.memory().spans[0] == 0


def test_python_hears_of_it_at_most_four_times_a_second() -> None:
    show = Show()
    viewer = show.add_viewer(20_000_000)
    show.play(45)
    assert not any(isinstance(event, ViewerLags) for event in show.edge.events)
    show.set_rate(viewer, 1_000_000)
    show.play(60)
    told = [event for event in show.edge.events if isinstance(event, ViewerLags)]
    assert 4 <= len(told) <= 8
    assert {event.cursor for event in told} == {viewer.cursor}
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    total = stats.dropped_discardable + stats.dropped_predicted + stats.dropped_gop
    assert 0 < sum(event.dropped for event in told) <= total
    show.set_rate(viewer, 20_000_000)
    show.play(60)
    before = len(show.edge.events)
    show.play(60)
    assert not any(isinstance(event, ViewerLags) for event in show.edge.events[before:])


def test_many_that_lag_leave_room_for_what_is_said_once() -> None:
    """Nobody takes what the engine says for a while: a stream's start is not lost over it."""
    edge = Edge(cursors=3_000, viewer_links=3_000, slab_bytes=32 << 20)
    stream, another = edge.add_track(), edge.add_track(97)
    for n in range(2_500):
        host = f"10.1.{n // 250}.{n % 250 + 1}"
        edge.add_viewer(stream, rate_bps=100_000, has_rtcp=False, host=host)
        edge.turn()
    key = b"\x65\x88" + bytes(998)
    for n in range(30):
        edge.now_us += 20_000
        packet = rtp(n, 1800 * n, key, marker=True)
        edge.engine.turn(edge.now_us, [(edge.port, ENCODER, packet)])
    edge.engine.turn(edge.now_us, [(edge.port, ENCODER, rtp(1, 0, key, payload_type=97))])
    events = edge.engine.events()
    assert sum(isinstance(event, ViewerLags) for event in events) > 1_000
    assert StreamStarted(another) in events


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_rates_nothing_undecodable_is_sent(seed: int) -> None:
    rng = random.Random(seed)
    show = Show(
        bps=rng.choice((300_000, 1_500_000, 6_000_000)),
        gop=rng.choice((10, 30, 75)),
        pattern=rng.choice(("P", "bP", "bbP")),
        first_seq=(1 << 32) - rng.randrange(2_000),
        options={"max_lag_bytes": rng.choice((32_768, 524_288))},
    )
    viewer = show.add_viewer(20_000_000)
    audio = show.add_audio(viewer)
    for _ in range(8):
        show.set_rate(viewer, rng.choice((20_000_000, show.bps, show.bps // 2, show.bps // 5)))
        show.play(rng.randrange(1, 60))
    show.set_rate(viewer, 20_000_000)
    show.play(80)
    got = show.edge.media(viewer)
    pieces = [piece_of(data) for data in got]
    numbers = [number_of(data) for data in got]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(len(got))]
    assert in_order(pieces)
    # A frame that was cut off is the only one of which its packets may have been sent in vain.
    cut = {piece.frame for piece in pieces} - whole_frames(pieces)
    kinds = show.pictures.frames
    assert all(n not in undecodable(pieces, kinds) for n in {p.frame for p in pieces} - cut)
    assert len(show.edge.media(audio)) == show.audio_sent
    stats = show.edge.engine.cursor_stats(viewer.cursor)
    dropped = stats.dropped_discardable + stats.dropped_predicted + stats.dropped_gop
    assert dropped == show.pictures.numbers - len(got)
    assert stats.lag_us == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [({"max_lag_us": 1}, "max_lag_us"), ({"max_lag_bytes": 1}, "max_lag_bytes")],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Engine(**options)  # type: ignore[arg-type]


def test_who_goes_on_with_what_its_link_cannot_carry_does_not_lag_by_more_than_the_limit() -> None:
    """As after a probe that told more than there is: nobody waits for 2 s of a picture."""
    show = Show(gop=60)
    edge = show.edge
    other = edge.add_track(97, first_seq=7)
    viewer = edge.add_viewer(other, rate_bps=1_000_000)
    show.viewers.append(viewer)
    edge.encode(*Pictures(payload_type=97, ssrc=0x4321).frame("K", 900, edge.now_us))
    show.play(30)
    edge.engine.switch_viewer_cursor(viewer.cursor, stream=show.stream, payload_type=100)
    show.play(150)
    assert LIMIT_US * 3 // 4 < show.worst_us <= LIMIT_US + FRAME_US
    pieces = [piece_of(data) for data in edge.media(viewer)[1:]]
    assert len(pieces) > 50
    assert undecodable(pieces, show.pictures.frames) == []
