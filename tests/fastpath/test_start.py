"""Where a viewer or a node that comes late begins, and how soon it is at the head."""

from __future__ import annotations

import pytest

from fastpath.events import KeyFrameWanted
from lab.link import LinkConfig
from tests.support.chain import Chain
from tests.support.edge import ENCODER, Edge, Viewer, plis_in
from tests.support.encoder import Encoder, index_of, number_of

FRAME_US = 40_000
HOP = LinkConfig(10_000)


class Stage:
    """An encoder of 25 frames/s at one engine."""

    def __init__(self, size: int = 1_000, **options: object) -> None:
        self.edge = Edge(**options)
        self.stream = self.edge.add_track()
        self.encoder = Encoder(size=size)

    def play(self, packets: list[bytes]) -> None:
        for packet in packets:
            self.edge.encode(packet)
            self.edge.wait(FRAME_US)

    def shown(self, viewer: Viewer) -> list[int]:
        got = self.edge.media(viewer)
        assert [number_of(data) for data in got] == [(65_530 + n) & 0xFFFF for n in range(len(got))]
        return [index_of(data) for data in got]

    def asked(self) -> int:
        return sum(len(plis_in(packets)) for _, packets in self.edge.to_encoder(ENCODER))


def test_with_the_cache_it_begins_at_the_newest_key_frame_and_asks_for_none() -> None:
    stage = Stage()
    stage.play(stage.encoder.gop(50) + stage.encoder.gop(20))
    viewer = stage.edge.add_viewer(stage.stream)
    stage.edge.turn()
    assert stage.shown(viewer) == list(range(50, 70))  # at once
    stage.play(stage.encoder.other() + stage.encoder.other())
    assert stage.shown(viewer) == list(range(50, 72))
    assert stage.asked() == 0
    assert not any(isinstance(event, KeyFrameWanted) for event in stage.edge.events)


def test_with_a_whole_gop_it_begins_one_earlier() -> None:
    stage = Stage(start_at_gop=True)
    stage.play(stage.encoder.gop(10))
    viewer = stage.edge.add_viewer(stage.stream)
    stage.edge.turn()
    assert stage.shown(viewer) == list(range(10))  # there is none before
    stage.play(stage.encoder.gop(10) + stage.encoder.gop(5))
    viewer = stage.edge.add_viewer(stage.stream)
    stage.edge.turn()
    assert stage.shown(viewer) == list(range(10, 25))
    assert stage.asked() == 0


def test_without_the_cache_it_waits_for_the_next_key_frame() -> None:
    stage = Stage(gop_cache=False)
    stage.play(stage.encoder.gop(20))
    viewer = stage.edge.add_viewer(stage.stream)
    stage.play([packet for _ in range(5) for packet in stage.encoder.other()])
    assert stage.shown(viewer) == []
    stage.play(stage.encoder.gop(5))
    assert stage.shown(viewer) == list(range(25, 30))
    assert stage.asked() == 0


def test_without_the_cache_a_node_begins_at_the_head() -> None:
    chain, encoder = Chain([HOP], subscribe=False, gop_cache=False), Encoder()
    chain.run(100_000)
    chain.encode(*encoder.gop(10))
    node = chain.nodes[0]
    node.engine.add_cursor(stream=node.stream, link=node.links["down"])
    chain.run(20_000)
    chain.encode(*encoder.other(), *encoder.other())
    chain.run(50_000)
    assert chain.nodes[1].engine.stream_stats(chain.nodes[1].stream).packets == 2


@pytest.mark.parametrize("phase", [5, 45])
def test_on_a_link_little_faster_than_the_stream_it_catches_up_within_a_gop(phase: int) -> None:
    """200 kbit/s over 240: what was here before may wait longer than the limit, and nothing is
    dropped before the next key frame is here. Then the viewer goes on there."""
    stage = Stage(max_lag_us=100_000)
    stage.play(stage.encoder.gop(50))
    stage.play(stage.encoder.gop(phase))
    viewer = stage.edge.add_viewer(stage.stream, rate_bps=240_000)
    stage.play([packet for _ in range(49 - phase) for packet in stage.encoder.other()])
    stage.play(stage.encoder.gop(50))
    shown = stage.shown(viewer)
    missing = [n for n in range(50, 149) if n not in shown]
    if phase == 5:
        assert missing == []
    else:
        assert missing  # 45 frames would take 1.5 s
        assert missing == list(range(missing[0], 99))  # up to the key frame, and no more
    assert shown[-1] == 148
    stats = stage.edge.engine.cursor_stats(viewer.cursor)
    assert (stats.lag_us, stats.dropped_gop) == (0, 0)


def test_at_twice_the_rate_everything_is_sent_however_long_that_takes() -> None:
    stage = Stage(max_lag_us=50_000)
    stage.play(stage.encoder.gop(40))
    viewer = stage.edge.add_viewer(stage.stream, rate_bps=420_000)
    stage.play([packet for _ in range(60) for packet in stage.encoder.other()])
    assert stage.shown(viewer) == list(range(100))
