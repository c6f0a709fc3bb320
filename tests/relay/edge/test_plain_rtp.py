"""Viewers whose broadcast changes what it consists of."""

from __future__ import annotations

from random import Random

from fastpath import Engine, PortKind
from relay.edge.plain_rtp import PlainRtpEdge
from relay.messages import Track
from relay.stream import StreamRegistry
from relay.workers import Workers

VIDEO = Track(
    stream_id=1,
    media="video",
    codec="VP8",
    payload_type=96,
    clock_rate=90_000,
    first_stream_seq=0,
)
AUDIO = Track(
    stream_id=2,
    media="audio",
    codec="opus",
    payload_type=97,
    clock_rate=48_000,
    first_stream_seq=0,
)


def test_a_viewer_whose_only_track_went_gets_it_when_it_comes_back() -> None:
    engine = Engine(streams=4, cursors=4, viewer_links=4, ports=2, slab_bytes=1 << 20)
    workers = Workers([engine])
    streams = StreamRegistry(workers)
    edge = PlainRtpEdge(workers, [workers.open_port(PortKind.VIEWER)], 10**8, 10**7, Random(1))
    addresses = {"video": ("192.0.2.9", 6000)}
    viewer = edge.add("demo", addresses, 0)
    waiting = edge.add("demo", addresses, 0)
    video = streams.add("demo", VIDEO, None)
    edge.start(viewer, [video])
    assert list(viewer.legs) == ["video"]
    audio = streams.add("demo", AUDIO, None)
    edge.move("demo", [audio])
    streams.remove(video)
    assert not viewer.legs
    back = streams.add("demo", VIDEO, None)
    edge.move("demo", [audio, back])
    assert viewer.legs["video"].stream is back
    assert waiting.link is None
    assert not waiting.legs
