"""Where cursors begin, how they are paced, and where they go on when the ring has lapped them."""

from __future__ import annotations

import pytest

from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import CursorStarted, KeyFrameWanted
from lab.link import LinkConfig
from rtp.constants import RTCP_PAYLOAD_FEEDBACK
from rtp.rtcp.compound import parse_compound
from tests.support.chain import VIEWER, Chain, rtp
from tests.support.encoder import Encoder, index_of, is_key, number_of
from tests.support.faults import Faults, media_to

HOP = LinkConfig(delay_us=5_000)
ENCODER = ("192.0.2.1", 4000)


def numbers(chain: Chain) -> list[int]:
    """RTP sequence numbers at the viewer, from its first one (65,530) on."""
    return [(number_of(data) - 65_530) & 0xFFFF for _, data in chain.viewer_packets]


def viewed(chain: Chain) -> list[int]:
    return [index_of(data) for _, data in chain.viewer_packets]


def play(chain: Chain, packets: list[bytes], interval_us: int) -> None:
    for packet in packets:
        chain.encode(packet)
        chain.run(interval_us)


# -- where a viewer begins


def test_a_viewer_on_an_empty_ring_waits_for_a_key_frame() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    chain.add_viewer()
    play(chain, encoder.other() + encoder.other(), 10_000)
    assert chain.viewer_packets == []
    play(chain, encoder.gop(3), 10_000)
    assert viewed(chain) == [2, 3, 4]
    assert numbers(chain) == [0, 1, 2]


def test_a_stream_that_begins_within_a_gop_is_asked_for_a_key_frame() -> None:
    """As after a restart of its producer: the viewer came before the first packet did."""
    chain = Chain([])
    chain.add_viewer()
    chain.run(1_000)
    encoder = Encoder()
    engine = chain.nodes[0].engine
    sent = []
    for packet in encoder.other() + encoder.other():
        sent += engine.turn(chain.now_us, [(chain.ingest, ENCODER, packet)])
    asked = [packet for _, to, data in sent if to == ENCODER for packet in parse_compound(data)]
    assert [p.count for p in asked if p.packet_type == RTCP_PAYLOAD_FEEDBACK] == [1]  # one PLI


def test_a_viewer_of_a_ring_without_key_frame_waits_for_the_next() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    play(chain, encoder.other() + encoder.other(), 10_000)
    chain.add_viewer()
    play(chain, encoder.other(), 10_000)
    assert chain.viewer_packets == []
    play(chain, encoder.gop(2), 10_000)
    assert (viewed(chain), numbers(chain)) == ([3, 4], [0, 1])


def test_a_viewer_that_joins_within_a_gop_begins_with_its_key_frame() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    play(chain, encoder.gop(10) + encoder.gop(7), 10_000)
    chain.add_viewer()
    chain.run(20_000)
    assert viewed(chain) == list(range(10, 17))
    assert numbers(chain) == list(range(7))
    assert is_key(chain.viewer_packets[0][1])
    assert KeyFrameWanted(chain.nodes[1].stream) not in chain.nodes[1].events


def test_a_key_frame_with_a_hole_gives_way_to_the_newest_complete_one() -> None:
    chain = Chain([HOP], repair=False)
    faults, encoder = Faults(chain), Encoder()
    chain.run(100_000)
    play(chain, encoder.key(3) + encoder.other() + encoder.key(3) + encoder.other(), 10_000)
    faults.lose(media_to(1, 10))  # the middle of the key frame of 9, 10, 11
    play(chain, encoder.key(3) + encoder.other(), 10_000)
    chain.add_viewer()
    chain.run(20_000)
    assert len(faults.lost) == 1
    assert viewed(chain) == [4, 5, 6, 7, 8, 10, 11]


def test_a_key_frame_still_arriving_is_begun_with() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    key_frame = encoder.key(4)
    play(chain, key_frame[:2], 10_000)
    chain.add_viewer()
    chain.run(1_000)
    assert viewed(chain) == [0, 1]
    play(chain, key_frame[2:], 10_000)
    assert viewed(chain) == [0, 1, 2, 3]


def test_fast_start_keeps_the_viewer_s_budget() -> None:
    """A 2 Mbit/s viewer gets 60 cached packets no faster than its rate, credit and one packet."""
    chain, encoder = Chain([HOP]), Encoder(size=1_000)
    chain.run(100_000)
    play(chain, encoder.gop(60), 1_000)
    chain.run(20_000)
    start_us = chain.now_us
    chain.add_viewer(rate_bps=2_000_000)
    chain.run(400_000)
    assert viewed(chain) == list(range(60))
    assert is_key(chain.viewer_packets[0][1])
    assert chain.viewer_packets[0][0] == start_us
    total = 0
    for time_us, data in chain.viewer_packets:
        assert 8 * total <= 2 * (time_us - start_us + 5_000)
        total += len(data)
    # And no slower: the timer's grain costs less than 2 ms in all.
    assert chain.viewer_packets[-1][0] - start_us <= 8 * total // 2 - 5_000 + 2_000


# -- being left behind


def test_a_lapped_viewer_goes_on_at_a_key_frame_without_a_gap_in_its_numbers() -> None:
    """200 kbit/s for a stream of 1.7 Mbit/s whose GoPs are 1 s long, and nothing is dropped."""
    chain, encoder = Chain([HOP], max_lag_us=0), Encoder(size=1_000)
    chain.run(100_000)
    cursor = chain.add_viewer(rate_bps=200_000)
    for _ in range(25):
        play(chain, encoder.gop(200), 5_000)
    stats = chain.nodes[1].engine.cursor_stats(cursor)
    assert stats.lapped >= 2
    got = viewed(chain)
    leaps = [at for at in range(1, len(got)) if got[at] != got[at - 1] + 1]
    assert len(leaps) == stats.lapped
    assert all(is_key(chain.viewer_packets[at][1]) for at in leaps)
    assert all(got[at] > got[at - 1] for at in leaps)
    assert numbers(chain) == [n & 0xFFFF for n in range(len(got))]
    assert stats.packets == len(got)
    # Memory stays within the ring however slow the viewer is.
    node = chain.nodes[1]
    held = node.engine.stream_stats(node.stream).held_packets
    assert node.engine.memory().large_blocks[0] == held <= 4_096


def test_a_slow_viewer_holds_up_nobody_else() -> None:
    chain, encoder = Chain([HOP], max_lag_us=0), Encoder(size=1_000)
    chain.run(100_000)
    slow = chain.add_viewer(rate_bps=100_000)
    fast = chain.add_viewer(rate_bps=100_000_000)
    play(chain, encoder.gop(300), 5_000)
    engine = chain.nodes[1].engine
    assert engine.cursor_stats(fast).packets == 300
    assert engine.cursor_stats(fast).lag_packets == 0
    assert engine.cursor_stats(slow).packets < 30
    assert engine.cursor_stats(slow).lag_packets > 250


def test_a_lapped_cursor_without_a_key_frame_asks_for_one() -> None:
    chain, encoder = Chain([HOP], slab_bytes=64 << 10), Encoder(size=1_000)
    chain.run(100_000)
    chain.add_viewer(rate_bps=100_000)
    play(chain, encoder.gop(60), 5_000)
    assert KeyFrameWanted(chain.nodes[1].stream) in chain.nodes[1].events
    before = len(chain.viewer_packets)
    chain.run(500_000)
    assert len(chain.viewer_packets) == before
    play(chain, encoder.gop(2), 5_000)
    chain.run(500_000)
    assert viewed(chain)[before:] == [60, 61]
    assert numbers(chain) == list(range(before + 2))


def test_a_ring_that_restarts_takes_its_viewers_along() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    chain.add_viewer()
    play(chain, encoder.gop(5), 10_000)
    # Node 0 begins again, far away: another engine with the same keys would too.
    node = chain.nodes[0]
    node.engine.remove_stream(node.stream)
    node.stream = node.engine.add_stream(
        stream_id=0xC0FFEE, media=Media.VIDEO, first_stream_seq=1_000_000, upstream=None
    )
    node.engine.add_cursor(stream=node.stream, link=node.links["down"])
    node.engine.set_ingest(chain.ingest, stream=node.stream, codec=Codec.H264, payload_type=96)
    play(chain, encoder.other() + encoder.gop(3), 10_000)
    chain.run(50_000)
    restarted = chain.nodes[1].engine.stream_stats(chain.nodes[1].stream)
    assert restarted.restarts == 1
    assert viewed(chain) == [0, 1, 2, 3, 4, 6, 7, 8]
    assert numbers(chain) == list(range(8))


# -- nodes


def test_a_node_that_joins_late_begins_at_the_newest_key_frame() -> None:
    chain, encoder = Chain([HOP], subscribe=False), Encoder()
    chain.run(100_000)
    play(chain, encoder.gop(10) + encoder.gop(6), 10_000)
    node = chain.nodes[0]
    cursor = node.engine.add_cursor(stream=node.stream, link=node.links["down"])
    chain.add_viewer()
    play(chain, encoder.other() + encoder.gop(2), 10_000)
    assert CursorStarted(cursor, 11) in node.events
    assert viewed(chain) == [*range(10, 19)]
    assert numbers(chain) == list(range(9))
    stats = chain.nodes[1].engine.stream_stats(chain.nodes[1].stream)
    assert stats.packets == 9
    up = chain.nodes[1].engine.link_stats(chain.nodes[1].links["up"])
    assert (up.lost, up.requests_sent) == (0, 0)  # what was never sent is no loss


@pytest.mark.parametrize("first_seq", [1, 500, 0xFFFFFFFF])
def test_a_node_on_an_empty_ring_gets_it_from_its_first_packet(first_seq: int) -> None:
    chain, encoder = Chain([HOP, HOP], first_seq=first_seq), Encoder()
    chain.run(100_000)
    started = [e for e in chain.nodes[0].events if isinstance(e, CursorStarted)]
    assert [e.first_stream_seq for e in started] == [first_seq]
    play(chain, encoder.other() + encoder.other(), 10_000)
    chain.run(50_000)
    stats = chain.nodes[2].engine.stream_stats(chain.nodes[2].stream)
    assert (stats.packets, stats.first_stream_seq) == (2, first_seq)


def test_a_removed_cursor_gets_no_more() -> None:
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    cursor = chain.add_viewer()
    play(chain, encoder.gop(5), 10_000)
    chain.nodes[1].engine.remove_cursor(cursor)
    play(chain, encoder.gop(5), 10_000)
    assert viewed(chain) == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError):
        chain.nodes[1].engine.cursor_stats(cursor)
    assert chain.nodes[1].engine.memory().cursors[0] == 0
    assert chain.nodes[1].engine.stream_stats(chain.nodes[1].stream).subscribers == 0


# -- order of classes


def opus(number: int) -> bytes:
    return rtp(number, 960 * number, b"\x78" + bytes(120), payload_type=111, ssrc=0x99)


def test_audio_leaves_at_once_though_video_waits() -> None:
    """On one viewer leg of 1 Mbit/s with video queued for seconds."""
    engine = Engine(streams=2, cursors=2, node_links=1, viewer_links=1, ports=4, slab_bytes=8 << 20)
    link = engine.add_viewer_link(rate_bps=1_000_000)
    port = engine.open_port(PortKind.VIEWER)
    ingest = {}
    for media, codec, payload_type in (
        (Media.VIDEO, Codec.H264, 96),
        (Media.AUDIO, Codec.OPUS, 111),
    ):
        stream = engine.add_stream(
            stream_id=int(media), media=media, first_stream_seq=1, upstream=None
        )
        ingest[media] = engine.open_port(PortKind.INGEST)
        engine.set_ingest(ingest[media], stream=stream, codec=codec, payload_type=payload_type)
        engine.add_viewer_cursor(
            stream=stream,
            link=link,
            port=port,
            address=VIEWER,
            ssrc=int(media),
            payload_type=100 + media,
            first_sequence_number=0,
        )
    start_us = 1_000_000
    encoder = Encoder(size=1_000)
    engine.turn(start_us, [(ingest[Media.VIDEO], ENCODER, p) for p in encoder.gop(300)])
    waits: list[int] = []
    video = 0
    for number in range(50):
        came_us = now_us = start_us + 20_000 * (number + 1)
        out = engine.turn(now_us, [(ingest[Media.AUDIO], ENCODER, opus(number))])
        while True:
            kinds = [data[1] & 127 for _, _, data in out]
            video += kinds.count(100 + Media.VIDEO)
            if 100 + Media.AUDIO in kinds:
                assert kinds[0] == 100 + Media.AUDIO  # all waiting video stands behind it
                waits.append(now_us - came_us)
            due_us = engine.next_timer_us()
            if due_us is None or due_us >= came_us + 20_000:
                break
            now_us = due_us
            out = engine.turn(now_us)
    assert len(waits) == 50
    assert max(waits) == 0
    assert 50 < video < 200  # which it is charged to: 1 Mbit/s of both
    assert video > 50


def test_two_cursors_of_a_stream_on_one_link_send_whole_packets_each() -> None:
    """The header stands in the slot: two copies of a packet in one batch would share it."""
    chain, encoder = Chain([HOP]), Encoder()
    chain.run(100_000)
    node = chain.nodes[0]
    node.engine.add_cursor(stream=node.stream, link=node.links["down"])
    chain.encode(*encoder.gop(5))
    chain.run(50_000)
    counted = chain.nodes[1].engine.verdicts()
    assert (counted["accepted"], counted["duplicate_packet"]) == (5, 5)
    assert (counted["replayed"], counted["bad_tag"]) == (0, 0)
    assert chain.nodes[1].engine.link_stats(chain.nodes[1].links["up"]).holes_open == 0
