"""What the comparison of the native engine with its twin has found, each as a short case."""

import struct

from fastpath import Codec, Engine, Media, PortKind
from rtp.payload.marks import Marks
from tests.support.chain import ENCODER, STREAM_ID, key, key_slice, rtp
from tests.support.edge import Edge, nack
from tests.support.peer import FEEDBACK, PROBE, PeerBench, header, seal

GONE = 3
OTHER_PEER = ("10.0.0.3", 7000)


def probe(number: int, tag_key: bytes) -> bytes:
    """An authentic probe under a key of one's own choice."""
    return seal(header(kind=PROBE, hop_seq=number), struct.pack(">QQI", 1, 0, 0), tag_key)


def hop_seq_of(data: bytes) -> int:
    return int.from_bytes(data[16:20])


def stream_seq_of(data: bytes) -> int:
    return int.from_bytes(data[12:16])


def test_a_viewer_is_not_delayed_by_the_far_deadline_of_another() -> None:
    engine = Engine(streams=4, cursors=4, node_links=1, viewer_links=4, ports=4, slab_bytes=1 << 20)
    ingest, viewers = engine.open_port(PortKind.INGEST), engine.open_port(PortKind.VIEWER)
    stream = engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=0xFFFFFFFF, upstream=None
    )
    engine.set_ingest(ingest, stream=stream, codec=Codec.H264, payload_type=96)
    for port, rate_bps in ((6000, 1_000_000), (6001, 2_000)):
        engine.add_viewer_cursor(
            stream=stream,
            link=engine.add_viewer_link(rate_bps=rate_bps),
            port=viewers,
            address=("192.0.2.9", port),
            ssrc=port,
            payload_type=111,
            first_sequence_number=65_535,
        )
    now_us = 1_000_000
    engine.turn(now_us)
    packets = [rtp(65_534 + i, 3000, key_slice(bytes(1198))) for i in range(8)]
    engine.turn(now_us, [(ingest, ENCODER, packet) for packet in packets])
    # The slow one's next packet may leave after 4.8 s; the fast one's after 10 ms.
    due_us = engine.next_timer_us()
    assert due_us is not None
    assert due_us <= now_us + 10_000


def test_gone_may_begin_long_before_the_ring() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(200))
    first = (100 - 2_000) & 0xFFFFFFFF
    gone = bytes([GONE]) + struct.pack(">IIII", STREAM_ID, first, 2_000, 0)
    bench.turn(bench.packet(gone, kind=FEEDBACK))
    assert bench.engine.stream_stats(bench.stream).gone == len(range(2, 100))


def test_a_ring_grows_for_young_packets_before_a_hole() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(2), bench.media(4))
    bench.turn(bench.media(1027))  # would push out 1, 2 and the hole 3
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.capacity, stats.held_packets) == (2048, 4)


def test_early_packets_of_a_removed_link_are_not_taken_for_its_successors() -> None:
    bench = PeerBench(with_stream=False)
    bench.turn(bench.media(1))
    bench.engine.remove_link(bench.link)
    bench.turn()
    assert bench.engine.memory().held_early_packets[0] == 0
    assert bench.counted()["unknown_stream"] == 1
    link = bench.engine.add_link(
        port=bench.port, address=OTHER_PEER, peer_node=3, hello_key=key("h"), rate_bps=10**6
    )
    stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=link
    )
    bench.turn()
    assert link & 0xFFFFF == bench.link & 0xFFFFF
    assert bench.engine.stream_stats(stream).packets == 0


def test_an_early_packet_held_twice_is_let_go_after_its_second() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(1_000_000))
    bench.now_us += 600_000
    bench.turn(bench.media(100_000), bench.media(100_001))  # a confirmed jump: both are tried again
    assert bench.engine.memory().held_early_packets[0] == 1
    bench.now_us += 400_000
    bench.turn()
    assert bench.engine.memory().held_early_packets[0] == 0


def test_new_keys_do_not_drop_what_a_cursor_owes() -> None:
    bench = PeerBench()
    link = bench.engine.add_link(
        port=bench.port, address=OTHER_PEER, peer_node=3, hello_key=key("h"), rate_bps=40_000
    )
    bench.engine.offer_keys(link, receive_key=key("in"), send_key=key("out"), send_now=True)
    bench.engine.add_cursor(stream=bench.stream, link=link)
    sent = bench.turn(bench.media(1))
    for seq, after_us in ((3, 500_000), (2, 20_000)):
        bench.now_us += after_us
        sent += bench.turn(bench.media(seq))
    assert [stream_seq_of(data) for data in sent if data[0] & 15 == 0] == [1, 3]
    bench.engine.turn(bench.now_us, [(bench.port, OTHER_PEER, probe(1, key("in")))])
    later = [data for _, data in bench.wait(500_000)]
    assert [stream_seq_of(data) for data in later if data[0] & 15 == 0] == [2]


def test_a_sending_key_never_sends_a_number_twice() -> None:
    bench = PeerBench()
    numbers = [hop_seq_of(data) for _, data in bench.wait(200_000)]
    bench.turn(bench.probe())
    bench.engine.offer_keys(
        bench.link, receive_key=key("new"), send_key=bench.send_key, send_now=False
    )
    bench.turn(probe(1, key("new")))
    numbers += [hop_seq_of(data) for _, data in bench.wait(200_000)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_numbers_of_an_abandoned_key_are_forgotten() -> None:
    bench = PeerBench()
    bench.wait(100_000)
    bench.engine.offer_keys(bench.link, receive_key=key("r"), send_key=key("s"), send_now=True)
    assert [hop_seq_of(data) for _, data in bench.wait(100_000)][:1] == [1]
    assert bench.engine.link_stats(bench.link).history_evicted == 0


def test_a_viewer_that_moved_gets_what_waited_under_the_number_it_was_to_have() -> None:
    bench = PeerBench()
    viewers = bench.engine.open_port(PortKind.VIEWER)
    cursor = bench.engine.add_viewer_cursor(
        stream=bench.stream,
        link=bench.engine.add_viewer_link(rate_bps=8_000),
        port=viewers,
        address=("192.0.2.9", 6000),
        ssrc=1,
        payload_type=100,
        first_sequence_number=65_535,
    )
    other = bench.engine.add_stream(
        stream_id=STREAM_ID + 1, media=Media.VIDEO, first_stream_seq=1, upstream=bench.link
    )
    key_frame = int(Marks.GOP_START | Marks.FRAME_START | Marks.FRAME_END | Marks.KEY)
    bench.turn(bench.media(1, marks=key_frame), bench.media(3))
    bench.turn(bench.media(1, marks=key_frame, stream_id=STREAM_ID + 1))
    bench.wait(500_000)  # both have left
    sent = bench.turn(bench.media(4))  # uses up the budget,
    sent += bench.turn(bench.media(2))  # so that this waits
    bench.engine.move_viewer_cursor(cursor, stream=other, payload_type=101)
    sent += [data for _, data in bench.wait(1_000_000)]
    shown = [data for data in sent if data[0] >> 6 == 2]
    assert [data[1] & 127 for data in shown] == [100, 100, 101]  # 4, 2, and a key frame
    assert [int.from_bytes(data[2:4]) for data in shown] == [2, 0, 3]
    assert bench.engine.cursor_stats(cursor).late_packets == 1


def test_a_viewers_time_goes_on_from_its_last_packet_though_the_encoder_began_anew() -> None:
    edge = Edge()
    streams = [edge.add_track(96), edge.add_track(97)]
    viewer = edge.add_viewer(streams[0])
    edge.encode(rtp(1, 1 << 31, key_slice()), rtp(1, 77, key_slice(), payload_type=97, ssrc=7))
    edge.now_us += 1_000_000
    edge.encode(
        rtp(2, 1 << 30, key_slice())
    )  # RTP time begins at random: here behind what was sent
    edge.engine.move_viewer_cursor(viewer.cursor, stream=streams[1], payload_type=97)
    edge.now_us += 1_000_000
    edge.turn()
    stamps = [int.from_bytes(data[4:8]) for data in edge.media(viewer)]
    assert stamps == [1 << 31, 1 << 30, (1 << 30) + 90_000]


def test_the_newest_packet_sent_again_does_not_hold_a_viewers_time_back() -> None:
    edge = Edge()
    streams = [edge.add_track(96), edge.add_track(97)]
    viewer = edge.add_viewer(streams[0])
    edge.encode(rtp(1, 0xFFFFFFFF, key_slice()), rtp(1, 77, key_slice(), payload_type=97, ssrc=7))
    edge.view(viewer, nack(viewer.ssrc, 65_530), after_us=900_000)
    edge.engine.move_viewer_cursor(viewer.cursor, stream=streams[1], payload_type=97)
    edge.turn(after_us=100_000)
    stamps = [int.from_bytes(data[4:8]) for data in edge.media(viewer)]
    assert stamps == [0xFFFFFFFF, 0xFFFFFFFF, 90_000 - 1]


def test_an_early_packets_place_that_was_claimed_is_no_loss_when_it_is_used_again() -> None:
    bench = PeerBench()
    other = STREAM_ID + 1
    bench.turn(bench.media(1), bench.media(1_000_000))  # a jump: held first
    for _ in range(11):
        bench.turn(*(bench.media(seq, stream_id=other) for seq in range(93)))
    assert bench.engine.memory().held_early_packets == (1024, 1024)
    bench.turn(bench.media(1_000_001), bench.media(93, stream_id=other))  # the jump is confirmed
    assert bench.engine.memory().held_early_packets == (1024, 1024)
    assert "early_evicted" not in bench.counted()
