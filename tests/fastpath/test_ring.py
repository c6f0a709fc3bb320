"""What a ring keeps, drops and grows to; the producer's numbering; the early store; the slab."""

from __future__ import annotations

import random

import pytest

from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import IngestSource, KeyFrameWanted, StreamStarted
from fastpath.stats import StreamStats
from lab.link import LinkConfig
from rtp.payload.marks import Marks
from tests.support.chain import STREAM_ID, Chain, key_slice, other_slice, rtp
from tests.support.encoder import Encoder, index_of, number_of
from tests.support.peer import PeerBench

GOP_START = Marks.GOP_START | Marks.KEY | Marks.FRAME_START
EARLY_AGE_US = 1_000_000
EARLY_PACKETS = 1_024
ENCODER = ("192.0.2.1", 4000)
VIEWER = ("192.0.2.9", 6000)


class Producer:
    """One engine with an ingest port and a viewer that is never short of budget."""

    def __init__(self, *, codec: Codec = Codec.H264, first_seq: int = 1, **options: object) -> None:
        sizes: dict[str, object] = {
            "streams": 8,
            "cursors": 8,
            "node_links": 1,
            "viewer_links": 4,
            "ports": 4,
            "slab_bytes": 16 << 20,
        }
        self.engine = Engine(**(sizes | options))  # type: ignore[arg-type]
        self.now_us = 1_000_000
        media = Media.VIDEO if codec == Codec.H264 else Media.AUDIO
        self.stream = self.engine.add_stream(
            stream_id=STREAM_ID, media=media, first_stream_seq=first_seq, upstream=None
        )
        self.port = self.engine.open_port(PortKind.INGEST)
        self.engine.set_ingest(self.port, stream=self.stream, codec=codec, payload_type=96)
        self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        self.link = self.engine.add_viewer_link(rate_bps=10_000_000_000)
        self.cursor = self.engine.add_viewer_cursor(
            stream=self.stream,
            link=self.link,
            port=self.viewer_port,
            address=VIEWER,
            ssrc=0xABCD,
            payload_type=100,
            first_sequence_number=65_530,
        )
        self.viewed: list[bytes] = []
        self.events: list[object] = []

    def encode(self, *packets: bytes, after_us: int = 0) -> None:
        self.now_us += after_us
        out = self.engine.turn(self.now_us, [(self.port, ENCODER, data) for data in packets])
        self.viewed += [data for _, destination, data in out if destination == VIEWER]
        self.events += self.engine.events()

    def counted(self) -> dict[str, int]:
        return {name: n for name, n in self.engine.verdicts().items() if n}

    def stats(self) -> StreamStats:
        return self.engine.stream_stats(self.stream)

    def blocks(self) -> int:
        memory = self.engine.memory()
        return memory.small_blocks[0] + memory.large_blocks[0]


# -- growth


def test_a_ring_grows_while_its_packets_are_young_and_asks_for_a_key_frame_at_its_limit() -> None:
    producer, encoder = Producer(), Encoder(size=60)
    capacities = []
    for packet in encoder.gop(4_096):
        producer.encode(packet, after_us=100)
        capacities.append(producer.stats().capacity)
    assert [capacities.index(n) for n in (1_024, 2_048, 4_096)] == [0, 1_024, 2_048]
    assert producer.counted()["ring_grown"] == 2
    assert KeyFrameWanted(producer.stream) not in producer.events
    assert producer.stats().held_packets == 4_096
    producer.encode(*encoder.other())
    assert producer.events.count(KeyFrameWanted(producer.stream)) == 1
    assert producer.counted()["ring_growth_refused"] == 1
    assert producer.stats().held_packets == 4_096
    assert (producer.stats().first_stream_seq, producer.stats().next_stream_seq) == (2, 4_098)
    # It grew under the viewer's feet, who missed nothing.
    assert [index_of(data) for data in producer.viewed] == list(range(4_097))


def test_a_ring_whose_packets_are_old_stays_small() -> None:
    producer, encoder = Producer(), Encoder(size=60)
    for _ in range(40):
        producer.encode(*encoder.gop(100), after_us=300_000)
    assert producer.stats().capacity == 1_024
    assert producer.stats().held_packets == 1_024
    assert "ring_grown" not in producer.counted()
    assert KeyFrameWanted(producer.stream) not in producer.events


def test_all_rings_may_grow_only_as_far_as_the_pools_go() -> None:
    """4 of the 4,096 size are laid out; the fifth stream stays at 2,048 and loses its oldest."""
    engine = Engine(
        streams=8, cursors=1, node_links=1, viewer_links=1, ports=8, slab_bytes=32 << 20
    )
    ports, streams = [], []
    for n in range(5):
        stream = engine.add_stream(
            stream_id=n + 1, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        port = engine.open_port(PortKind.INGEST)
        engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96)
        ports.append(port)
        streams.append(stream)
    encoders = [Encoder(size=60) for _ in range(5)]
    for port, encoder in zip(ports, encoders, strict=True):
        engine.turn(1_000_000, [(port, ENCODER, data) for data in encoder.gop(3_000)])
    stats = [engine.stream_stats(stream) for stream in streams]
    assert sorted(s.capacity for s in stats) == [2_048] + [4_096] * 4
    assert sorted(s.held_packets for s in stats) == [2_048] + [3_000] * 4
    assert engine.verdicts()["ring_growth_refused"] == 3_000 - 2_048
    for stream in streams:
        engine.remove_stream(stream)
    engine.turn(1_000_000)
    memory = engine.memory()
    assert (memory.small_blocks[0], memory.large_blocks[0]) == (0, 0)


# -- jumps


def test_a_far_jump_is_believed_when_a_second_packet_agrees() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(2))
    bench.turn(bench.media(10_000))
    assert bench.counted()["jump_unconfirmed"] == 1
    assert bench.engine.stream_stats(bench.stream).next_stream_seq == 3
    bench.turn(bench.media(10_001))
    stats = bench.engine.stream_stats(bench.stream)
    # The packet that announced the jump was kept: nobody would have sent it again.
    assert (stats.restarts, stats.held_packets, stats.late) == (1, 2, 1)
    assert (stats.first_stream_seq, stats.next_stream_seq) == (10_000, 10_002)
    assert sum(bench.engine.memory().small_blocks[:1]) == 2
    assert bench.engine.memory().held_early_packets[0] == 0
    # What was before is too old now.
    bench.turn(bench.media(3))
    assert bench.counted()["too_old_for_ring"] == 1


def test_a_single_stray_packet_does_not_restart_a_ring() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1))
    for n in range(2, 10):
        bench.turn(bench.media(1_000_000 * n), bench.media(n))
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.restarts, stats.packets, stats.next_stream_seq) == (0, 9, 10)
    assert bench.counted()["jump_unconfirmed"] == 8


def test_strays_that_do_not_agree_confirm_nothing() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1))
    bench.turn(*[bench.media(n) for n in (1_000_000, 2_000_000, 3_000_000, 2_999_999)])
    assert bench.counted()["jump_unconfirmed"] == 4
    assert bench.engine.stream_stats(bench.stream).next_stream_seq == 2


def test_a_near_jump_leaves_holes_that_can_be_filled() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(900))
    bench.turn(bench.media(450))
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.packets, stats.late, stats.restarts, stats.capacity) == (3, 1, 0, 1_024)


def test_a_jump_over_the_whole_ring_keeps_what_still_fits() -> None:
    bench = PeerBench()
    bench.now_us += 1
    bench.turn(*[bench.media(n) for n in range(1, 101)])
    bench.now_us += 10_000_000
    bench.turn(bench.media(3_000))
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.held_packets, stats.first_stream_seq) == (1, 3_000 - 1_023)
    assert bench.engine.memory().small_blocks[0] == 1
    bench.turn(bench.media(3_000 - 1_023))
    assert bench.engine.stream_stats(bench.stream).held_packets == 2


# -- early packets


def test_packets_before_their_stream_are_held_and_taken() -> None:
    bench = PeerBench(with_stream=False)
    bench.turn(*[bench.media(n) for n in (1, 2, 4)])
    assert bench.counted()["held_early"] == 3
    assert bench.engine.memory().held_early_packets[0] == 3
    stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=bench.link
    )
    bench.turn()
    stats = bench.engine.stream_stats(stream)
    assert (stats.packets, stats.next_stream_seq) == (3, 5)
    assert StreamStarted(stream) in bench.events
    bench.engine.remove_stream(stream)
    bench.now_us += EARLY_AGE_US
    bench.turn()
    assert bench.engine.memory().small_blocks[0] == 0
    assert bench.engine.memory().held_early_packets[0] == 0
    assert "unknown_stream" not in bench.counted()


def test_early_packets_nobody_claims_leave_after_a_second() -> None:
    bench = PeerBench(with_stream=False)
    bench.turn(bench.media(1))
    bench.now_us += EARLY_AGE_US // 2
    bench.turn(bench.media(2))
    bench.now_us += EARLY_AGE_US // 2
    bench.turn()
    assert bench.counted()["unknown_stream"] == 1
    assert bench.engine.memory().held_early_packets[0] == 1
    stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=bench.link
    )
    bench.turn()
    assert bench.engine.stream_stats(stream).packets == 1


def test_early_packets_of_another_link_are_not_taken() -> None:
    bench = PeerBench(with_stream=False)
    bench.turn(bench.media(1))
    stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=None
    )
    bench.turn()
    assert bench.engine.stream_stats(stream).packets == 0
    bench.engine.set_upstream(stream, bench.link)
    bench.turn()
    assert bench.engine.stream_stats(stream).packets == 1


def test_the_early_store_is_bounded_oldest_out_first() -> None:
    bench = PeerBench(with_stream=False)
    for n in range(EARLY_PACKETS + 10):
        bench.turn(bench.media(n + 1))
    assert bench.counted()["early_evicted"] == 10
    assert bench.engine.memory().held_early_packets == (EARLY_PACKETS, EARLY_PACKETS)
    assert bench.engine.memory().small_blocks[0] == EARLY_PACKETS
    stream = bench.engine.add_stream(
        stream_id=STREAM_ID, media=Media.VIDEO, first_stream_seq=1, upstream=bench.link
    )
    bench.turn()
    stats = bench.engine.stream_stats(stream)
    assert (stats.packets, stats.next_stream_seq) == (EARLY_PACKETS, EARLY_PACKETS + 11)


# -- the producer


def test_a_restarted_encoder_goes_on_in_the_same_numbers() -> None:
    producer, old, new = Producer(), Encoder(), Encoder(first_number=7, ssrc=0x5678)
    producer.encode(*old.gop(5))
    producer.encode(*new.key(), after_us=300_000)
    assert producer.counted()["ingest_other_ssrc"] == 1  # one packet could be a stray
    producer.encode(*new.gop(4), after_us=20_000)
    assert producer.stats().next_stream_seq == 1 + 5 + 4
    assert [index_of(data) for data in producer.viewed] == [0, 1, 2, 3, 4, 1, 2, 3, 4]
    numbers = [number_of(data) for data in producer.viewed]
    assert numbers == [(65_530 + n) & 0xFFFF for n in range(9)]
    assert {data[8:12] for data in producer.viewed} == {(0xABCD).to_bytes(4)}
    assert [e for e in producer.events if isinstance(e, IngestSource)] == [
        IngestSource(producer.stream, 0x1234, False),
        IngestSource(producer.stream, 0x5678, True),
    ]


def test_a_second_encoder_does_not_take_over_from_one_that_sends() -> None:
    producer, old, new = Producer(), Encoder(), Encoder(ssrc=0x5678)
    for n in range(20):
        producer.encode(*old.gop(1), after_us=10_000)
        producer.encode(*new.gop(1), after_us=10_000)
        assert producer.counted()["ingest_other_ssrc"] == n + 1
    assert len(producer.viewed) == 20


def test_padding_only_packets_are_renumbered_over() -> None:
    producer, encoder = Producer(), Encoder(first_number=65_533)
    sent = encoder.gop(12)
    padded = []
    number = 65_533
    padding = 0
    for at, packet in enumerate(sent):
        if at in (2, 3, 7):
            body = bytearray(rtp(number, 0, bytes(9) + b"\x0a"))
            body[0] |= 0x20
            padded.append(bytes(body))
            number += 1
            padding += 1
        padded.append(packet[:2] + (number & 0xFFFF).to_bytes(2) + packet[4:])
        number += 1
    producer.encode(*padded)
    assert producer.counted()["ingest_padding"] == padding == 3
    assert producer.stats().next_stream_seq == 13
    assert [index_of(data) for data in producer.viewed] == list(range(12))
    assert [number_of(data) for data in producer.viewed] == [
        (65_530 + n) & 0xFFFF for n in range(12)
    ]


def test_loss_and_order_before_the_producer_stay_visible() -> None:
    producer, encoder = Producer(), Encoder(first_number=65_534)
    packets = encoder.gop(6)
    producer.encode(packets[0], packets[1], packets[4])
    producer.encode(packets[3], packets[4])
    producer.encode(packets[5])
    assert producer.counted()["ingest_duplicate"] == 1
    order = [(index_of(data), (number_of(data) - 65_530) & 0xFFFF) for data in producer.viewed]
    assert order == [(0, 0), (1, 1), (4, 4), (3, 3), (5, 5)]


def test_a_far_jump_of_the_encoder_goes_on_at_the_head() -> None:
    producer, encoder = Producer(), Encoder(first_number=100)
    producer.encode(*encoder.gop(3))
    encoder.first_number = 40_000
    producer.encode(*encoder.gop(3))
    assert producer.counted()["jump_unconfirmed"] == 1
    assert producer.stats().next_stream_seq == 1 + 3 + 2


@pytest.mark.parametrize(
    ("verdict", "data"),
    [
        ("ingest_rtcp_malformed", bytes([0x80, 200, 0, 2]) + bytes(4)),
        ("ingest_rtcp_unknown", bytes([0x80, 203, 0, 0])),
        ("ingest_malformed", bytes(12)),
        ("ingest_malformed", b"\x80\x60\0"),
        ("ingest_malformed", rtp(1, 1, b"\x18")),  # an aggregate without a NAL unit
        ("ingest_payload_type", rtp(1, 1, key_slice(), payload_type=97)),
    ],
)
def test_what_an_encoder_must_not_send(verdict: str, data: bytes) -> None:
    producer = Producer()
    producer.encode(data)
    assert producer.counted() == {verdict: 1}
    assert (producer.stats().packets, producer.blocks(), producer.viewed) == (0, 0, [])


def test_what_cannot_be_split_is_refused() -> None:
    producer = Producer(codec=Codec.OPUS)
    producer.encode(rtp(1, 1, bytes(1_437 - 12)))
    assert producer.counted() == {"ingest_oversized": 1}
    assert (producer.stats().packets, producer.blocks(), producer.viewed) == (0, 0, [])


def test_the_largest_packet_of_an_encoder_passes() -> None:
    producer = Producer()
    data = rtp(1, 1, key_slice(bytes(1_436 - 14)))
    producer.encode(data)
    assert len(data) == 1_436
    assert producer.viewed[0][12:] == data[12:]


def test_an_unassigned_port_takes_nothing() -> None:
    producer = Producer()
    producer.engine.remove_stream(producer.stream)
    producer.encode(*Encoder().key())
    assert producer.counted() == {"ingest_unassigned": 1}


def test_marks_are_those_of_the_codec() -> None:
    producer = Producer()
    producer.encode(rtp(1, 1, key_slice()), rtp(2, 1, b"\x65\x48", marker=True))
    assert producer.stats().key_frames == 1
    producer.encode(rtp(3, 2, other_slice(), marker=True))
    assert producer.stats().key_frames == 1
    producer.encode(rtp(4, 3, b"\x67\x42"), rtp(5, 3, key_slice(), marker=True))
    assert producer.stats().key_frames == 2


# -- the slab


def test_a_full_slab_evicts_the_oldest_gop_and_never_exceeds() -> None:
    producer, encoder = Producer(slab_bytes=256 << 10), Encoder(size=1_000)
    limit = producer.engine.memory().large_blocks[1]
    assert limit == 96
    for _ in range(20):
        for packet in encoder.gop(15):
            producer.encode(packet, after_us=1_000)
            used = producer.engine.memory().large_blocks[0]
            assert used == producer.stats().held_packets <= limit
            # The oldest held is a key frame's first packet: GoPs go whole.
            assert (producer.stats().first_stream_seq - 1) % 15 == 0
    assert producer.counted()["evicted_for_space"] == 300 - producer.stats().held_packets
    assert "no_block_left" not in producer.counted()
    assert [index_of(data) for data in producer.viewed] == list(range(300))
    producer.engine.remove_stream(producer.stream)
    producer.encode()
    assert producer.blocks() == 0


def test_small_packets_may_use_large_blocks_when_theirs_are_out() -> None:
    producer, encoder = Producer(slab_bytes=64 << 10), Encoder(size=60)
    memory = producer.engine.memory()
    assert (memory.small_blocks[1], memory.large_blocks[1]) == (64, 24)
    producer.encode(*encoder.gop(88))
    memory = producer.engine.memory()
    assert (memory.small_blocks[0], memory.large_blocks[0]) == (64, 24)
    assert "evicted_for_space" not in producer.counted()
    producer.encode(*encoder.other())
    assert producer.counted()["evicted_for_space"] == 44  # no second GoP: the older half


def test_eviction_that_takes_the_only_key_frame_asks_for_one() -> None:
    producer, encoder = Producer(slab_bytes=64 << 10), Encoder(size=1_000)
    producer.encode(*encoder.gop(24))
    assert KeyFrameWanted(producer.stream) not in producer.events
    producer.encode(*encoder.other())
    assert producer.events.count(KeyFrameWanted(producer.stream)) == 1


def test_the_stream_with_the_oldest_packet_gives_way() -> None:
    chain = Chain([], slab_bytes=256 << 10)
    engine = chain.nodes[0].engine
    other = engine.add_stream(stream_id=9, media=Media.VIDEO, first_stream_seq=1, upstream=None)
    port = engine.open_port(PortKind.INGEST)
    engine.set_ingest(port, stream=other, codec=Codec.H264, payload_type=96)
    first, second = Encoder(size=1_000), Encoder(size=1_000)
    chain.encode(*first.gop(48))
    chain.run(1_000)
    engine.turn(chain.now_us, [(port, ENCODER, data) for data in second.gop(48)])
    assert engine.memory().large_blocks[0] == 96
    engine.turn(chain.now_us, [(port, ENCODER, data) for data in second.gop(1)])
    assert engine.stream_stats(chain.nodes[0].stream).held_packets == 24
    assert engine.stream_stats(other).held_packets == 49


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed {seed}")
def test_blocks_are_accounted_for_whatever_comes(seed: int) -> None:
    """Random order, repeats, jumps, sizes and a small slab: used blocks are the held packets."""
    draw = random.Random(seed)
    bench = PeerBench(slab_bytes=256 << 10)
    at = 1
    for _ in range(3_000):
        at += draw.choices([1, 2, 5, -3, -40, 300, 5_000], [100, 5, 3, 3, 1, 0.5, 0.3])[0]
        at = max(at, 1)
        mark = GOP_START if draw.random() < 0.05 else 0
        size = draw.choice([20, 150, 1_000])
        payload = rtp(at, at, other_slice(bytes(size)))
        bench.now_us += draw.randrange(5_000)
        bench.turn(bench.packet(payload, stream_seq=at, marks=mark))
        memory, stats = bench.engine.memory(), bench.engine.stream_stats(bench.stream)
        used = memory.small_blocks[0] + memory.large_blocks[0]
        assert used == stats.held_packets + memory.held_early_packets[0]
        assert memory.large_blocks[0] <= memory.large_blocks[1]
        assert stats.held_packets <= stats.capacity
        assert 0 <= (stats.next_stream_seq - stats.first_stream_seq) & 0xFFFFFFFF <= stats.capacity
    assert bench.counted()["evicted_for_space"] > 0
    assert stats.restarts > 0
    bench.engine.remove_stream(bench.stream)
    bench.turn()
    memory = bench.engine.memory()
    assert (memory.small_blocks[0], memory.large_blocks[0]) == (0, 0)


def test_a_ring_grows_for_a_long_gop_of_old_packets() -> None:
    """4 ms apart, the first of 1,500 packets are past retention, but the GoP begins with them."""
    producer, encoder = Producer(), Encoder(size=60)
    for packet in encoder.gop(1_500):
        producer.encode(packet, after_us=4_000)
    assert producer.stats().capacity == 2_048
    assert producer.stats().first_stream_seq == 1
    assert KeyFrameWanted(producer.stream) not in producer.events


def test_a_packet_from_before_a_padding_comes_after_it() -> None:
    producer, encoder = Producer(), Encoder(first_number=65_534)
    first, late, last = encoder.gop(3)
    padding = bytearray(rtp(65_536, 0, bytes(9) + b"\x0a"))
    padding[0] |= 0x20
    last = last[:2] + (65_537 & 0xFFFF).to_bytes(2) + last[4:]
    producer.encode(first, bytes(padding), last)
    producer.encode(late)
    order = [(index_of(data), (number_of(data) - 65_530) & 0xFFFF) for data in producer.viewed]
    assert order == [(0, 0), (2, 2), (1, 1)]
    assert producer.stats().next_stream_seq == 4


@pytest.mark.parametrize("hops", [1, 2, 4])
def test_an_outage_longer_than_the_ring_costs_no_more_on_later_hops(hops: int) -> None:
    """After a jump every node goes on at the same key frame, from its first packet on."""
    chain, encoder = Chain([LinkConfig(delay_us=5_000)] * hops), Encoder(size=100)
    chain.add_viewer()
    chain.run(300_000)
    first, second = chain.nodes[0].address, chain.nodes[1].address

    def broadcast(groups: int) -> None:
        for _ in range(groups):
            for packet in encoder.gop(50):
                chain.encode(packet)
                chain.run(1_000)

    broadcast(4)
    chain.drop = lambda source, destination, _: {source, destination} == {first, second}
    broadcast(90)
    before = len(chain.viewer_packets)
    chain.drop = lambda *_: False
    broadcast(8)
    chain.run(500_000)
    assert len(chain.viewer_packets) - before >= 7 * 50


def test_a_full_slab_of_audio_still_takes_every_video_packet() -> None:
    """Audio's small blocks are no use to video: its own oldest GoP gives way."""
    bench = PeerBench(streams=64, slab_bytes=512 << 10)
    audio = range(5_000, 5_008)
    for stream_id in audio:
        bench.engine.add_stream(
            stream_id=stream_id, media=Media.AUDIO, first_stream_seq=1, upstream=bench.link
        )
    for n in range(1, 601):
        bench.now_us += 20_000
        quiet = rtp(n, n, bytes(80))
        bench.turn(*(bench.packet(quiet, stream_id=i, stream_seq=n) for i in audio))
        marks = GOP_START if n % 50 == 1 else 0
        bench.turn(bench.packet(rtp(n, n, other_slice(bytes(1_200))), stream_seq=n, marks=marks))
    assert "no_block_left" not in bench.counted()
    assert bench.engine.stream_stats(bench.stream).packets == 600
