"""Engine.batch_sizes: how many packets each system call would send, in classes of powers of two."""

from __future__ import annotations

import pytest

from fastpath import Codec, Engine, Media, PortKind
from tests.support.encoder import Encoder

ENCODER, VIEWER = ("192.0.2.1", 4000), ("192.0.2.9", 5000)


def engine_with_viewer() -> tuple[Engine, int]:
    engine = Engine(streams=1, cursors=1, node_links=1, viewer_links=1, ports=2, slab_bytes=1 << 20)
    stream = engine.add_stream(stream_id=1, media=Media.VIDEO, first_stream_seq=1, upstream=None)
    ingest = engine.open_port(PortKind.INGEST)
    engine.set_ingest(ingest, stream=stream, codec=Codec.H264, payload_type=96)
    engine.add_viewer_cursor(
        stream=stream,
        link=engine.add_viewer_link(rate_bps=10**12),
        port=engine.open_port(PortKind.VIEWER),
        address=VIEWER,
        ssrc=1,
        payload_type=96,
        first_sequence_number=65_530,
    )
    engine.turn(0)
    return engine, ingest


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        (1, [1, 0, 0, 0, 0, 0, 0]),
        (2, [0, 1, 0, 0, 0, 0, 0]),
        (3, [0, 0, 1, 0, 0, 0, 0]),
        (4, [0, 0, 1, 0, 0, 0, 0]),
        (5, [0, 0, 0, 1, 0, 0, 0]),
        (9, [0, 0, 0, 0, 1, 0, 0]),
        (16, [0, 0, 0, 0, 1, 0, 0]),
        (17, [0, 0, 0, 0, 0, 1, 0]),
        (33, [0, 0, 0, 0, 0, 0, 1]),
        (64, [0, 0, 0, 0, 0, 0, 1]),
        (67, [0, 0, 1, 0, 0, 0, 1]),
    ],
)
def test_a_turn_of_so_many_packets(packets: int, expected: list[int]) -> None:
    engine, ingest = engine_with_viewer()
    encoder = Encoder()
    encoder.size = 60
    sent = engine.turn(1_000, [(ingest, ENCODER, data) for data in encoder.gop(packets)])
    assert len([to for _, to, _ in sent if to == VIEWER]) == packets
    assert engine.batch_sizes() == expected
    assert sum(expected) == engine.verdicts()["sent_batches"]
