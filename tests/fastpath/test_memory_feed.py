"""The feed from memory makes what a neighbour would send, and counts what the engine sends."""

from __future__ import annotations

import ctypes
import socket

import pytest

from bench.support.memory_node import MemoryCase, MemoryNode
from fastpath import Engine, Media, PortKind
from fastpath.events import LinkKeyed, LinkUp, StreamStarted
from fastpath.memory_feed import MemoryFeed
from fastpath.wire import parse, tag
from tests.support.chain import key
from tests.support.worker import udp_socket

HEADER_BYTES, LEG_BYTES = 24, 32
KEY, FRAME_START, FRAME_END, GOP_START = 16, 4, 2, 1


def refused(engine: Engine) -> dict[str, int]:
    """Counters that only something invalid or lost would raise."""
    expected = {"accepted", "sent_packets", "sent_batches", "ring_grown", "ring_growth_refused"}
    return {name: n for name, n in engine.verdicts().items() if n and name not in expected}


@pytest.mark.parametrize("fanout", [1, 3])
def test_every_packet_is_accepted_and_leaves_on_each_link(fanout: int) -> None:
    node = MemoryNode(
        MemoryCase(fanout=fanout, streams=5, sources=2, payload_bytes=200, burst=3, bursts_a_turn=4)
    )
    figures = node.run(100)
    assert figures.turns == 100
    assert figures.packets_in == 100 * 12
    assert figures.packets_out == figures.packets_in * fanout
    assert node.engine.verdicts()["accepted"] == figures.packets_in
    assert refused(node.engine) == {}
    assert node.engine.verdicts()["sent_packets"] == figures.packets_out + figures.others_out
    assert sum(figures.batch_packets.values()) == figures.batches
    assert figures.engine_ns > 0
    for stream in node.streams:
        assert node.engine.stream_stats(stream).packets == 240
    for link in node.incoming:
        assert node.engine.link_stats(link).lost == 0


def test_numbers_wrap() -> None:
    """hop_seq and stream_seq pass 2^32 in the middle, and no packet is refused or lost."""
    node = MemoryNode(
        MemoryCase(fanout=2, first_hop_seq=(1 << 32) - 500, first_stream_seq=(1 << 32) - 500)
    )
    figures = node.run(1000 // node.case.packets_a_turn + 1)
    assert figures.packets_in > 1000
    assert figures.packets_out == 2 * figures.packets_in
    assert node.engine.verdicts()["accepted"] == figures.packets_in
    assert refused(node.engine) == {}
    stats = node.engine.stream_stats(node.streams[0])
    assert stats.next_stream_seq == (figures.packets_in - 500) % (1 << 32)
    assert stats.restarts == 0


def test_batches_are_counted_by_size() -> None:
    node = MemoryNode(MemoryCase(burst=3, bursts_a_turn=1))
    figures = node.run(50)
    assert figures.batch_packets == {
        "1": 0, "2": 0, "3-4": 50, "5-8": 0, "9-16": 0, "17-32": 0, "33-64": 0,
    }  # fmt: skip
    again = node.run(10)
    assert again.batch_packets["3-4"] == again.batches == again.turns == 10


def test_the_engine_tells_and_virtual_time_moves() -> None:
    node = MemoryNode(MemoryCase(turn_us=5_000))
    began_us = node.feed.now_us
    node.feed.run(40)
    assert node.feed.now_us == began_us + 200_000
    events = node.engine.events()
    assert LinkKeyed(node.incoming[0]) in events
    assert LinkUp(node.incoming[0]) in events
    assert StreamStarted(node.streams[0]) in events
    # Probes: each 50 ms where nothing is sent, 20 ms after media at the latest.
    assert 8 <= node.feed.figures().others_out <= 20
    # A turn of its own between the feed's goes on from there.
    assert isinstance(node.engine.turn(node.feed.now_us + 1), list)


def test_in_real_time_the_clock_is_the_machines() -> None:
    node = MemoryNode(MemoryCase(turn_us=0))
    before_us = node.feed.now_us
    node.feed.run(100)
    first_us = node.feed.now_us
    node.feed.run(100)
    assert before_us < first_us < node.feed.now_us
    assert refused(node.engine) == {}


def datagrams_of(sink: socket.socket) -> list[bytes]:
    found = []
    sink.setblocking(False)
    while True:
        try:
            found.append(sink.recv(2048))
        except BlockingIOError:
            return found


def test_what_leaves_through_sockets_is_what_a_neighbour_expects() -> None:
    """Headers, marks and tags, parsed by the codec and not by the engine; 2^32 is passed."""
    first = (1 << 32) - 10
    stream_id, receive_key, send_key = 77, key("from"), key("to")
    with udp_socket() as sink, udp_socket() as out:
        engine = Engine(streams=2, cursors=2, node_links=2, viewer_links=1, ports=2)
        feed = MemoryFeed(
            engine,
            packet_bytes=300,
            burst=4,
            bursts_a_turn=1,
            bursts_a_gop=3,
            sends=True,
        )
        port = engine.open_port(PortKind.OVERLAY, out.detach())
        links = []
        for number, address in enumerate((("127.0.0.2", 9), sink.getsockname())):
            link = engine.add_link(
                port=port, address=address, peer_node=number, hello_key=key("h"), rate_bps=10**12
            )
            engine.offer_keys(
                link,
                receive_key=receive_key,
                send_key=send_key,
                send_now=True,
                first_hop_seq=first,
                peer_first_hop_seq=first,
            )
            links.append(link)
        stream = engine.add_stream(
            stream_id=stream_id, media=Media.VIDEO, first_stream_seq=first, upstream=links[0]
        )
        engine.add_cursor(stream=stream, link=links[1], start_seq=first)
        source = feed.add_source(
            port=port, address=("127.0.0.2", 9), key=receive_key, first_hop_seq=first
        )
        feed.add_stream(source=source, stream_id=stream_id, first_stream_seq=first)
        assert feed.run(6).packets_out == 24
        assert refused(engine) == {}
        marks, number, hop_seq = [], first, first
        for data in datagrams_of(sink):
            header = parse(data)
            assert isinstance(header, dict)
            if header["type"] != 0:
                hop_seq += 1
                continue
            payload = data[LEG_BYTES:]
            assert len(payload) == 300
            assert header["stream_id"] == stream_id
            assert header["stream_seq"] == number % (1 << 32)
            assert header["hop_seq"] == hop_seq % (1 << 32)
            expected = tag(data[:HEADER_BYTES], payload, send_key, hop_seq >> 32)
            assert int.from_bytes(data[HEADER_BYTES:LEG_BYTES]) == expected
            assert payload[0] == 0x80
            assert int.from_bytes(payload[2:4]) == number & 0xFFFF
            assert (payload[1] >> 7) == bool(header["marks"] & FRAME_END)
            marks.append(header["marks"])
            number += 1
            hop_seq += 1
        key_frame = [KEY | FRAME_START | GOP_START, KEY, KEY, KEY | FRAME_END]
        other = [FRAME_START, 0, 0, FRAME_END]
        assert marks == [*key_frame, *other, *other] * 2


def test_one_seed_gives_one_node() -> None:
    runs = [MemoryNode(MemoryCase(streams=3), seed=7) for _ in range(2)]
    counted = [node.run(20) for node in runs]
    assert runs[0].engine.verdicts() == runs[1].engine.verdicts()
    assert counted[0].batch_packets == counted[1].batch_packets


def test_bad_arguments_are_refused() -> None:
    engine = Engine(ports=1)
    with pytest.raises(ValueError, match="packet_bytes is 1437"):
        MemoryFeed(engine, packet_bytes=1437)
    with pytest.raises(ValueError, match="4096"):
        MemoryFeed(engine, burst=64, bursts_a_turn=65)
    with pytest.raises(ValueError, match="turn_us"):
        MemoryFeed(engine, turn_us=-1)
    feed = MemoryFeed(engine)
    with pytest.raises(ValueError, match="without streams"):
        feed.run(1)
    with pytest.raises(KeyError):
        feed.add_source(port=12345, address=("10.0.0.1", 1), key=bytes(16))
    port = engine.open_port(PortKind.OVERLAY)
    with pytest.raises(ValueError, match="16 bytes"):
        feed.add_source(port=port, address=("10.0.0.1", 1), key=b"short")
    with pytest.raises(IndexError, match="source 0"):
        feed.add_stream(source=0, stream_id=1)
    source = feed.add_source(port=port, address=("10.0.0.1", 1), key=bytes(16))
    feed.add_stream(source=source, stream_id=1)
    with pytest.raises(ValueError, match="turns"):
        feed.run(0)


def test_another_relay_gets_the_same_packets() -> None:
    """Two C functions in the engine's place: here Python's, which any ctypes callback is."""
    node = MemoryNode(MemoryCase(sources=2, streams=2, burst=3, bursts_a_turn=2, payload_bytes=100))
    taken: list[tuple[int, int]] = []
    turns: list[int] = []
    relay = ctypes.c_int(7)

    def take(context: int, data: int, size: int, segment_bytes: int) -> None:
        assert context == ctypes.addressof(relay)
        assert ctypes.string_at(data, 1) == b"\xc0"
        taken.append((size, segment_bytes))

    take_type = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32
    )
    send_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    native_take, native_send = take_type(take), send_type(turns.append)
    figures = node.feed.run_through(
        5,
        relay=ctypes.addressof(relay),
        take=ctypes.cast(native_take, ctypes.c_void_p).value or 0,
        send=ctypes.cast(native_send, ctypes.c_void_p).value or 0,
    )
    assert figures.packets_in == 30
    assert figures.packets_out == 0
    assert taken == [(3 * 132, 132)] * 10
    assert len(turns) == 5
    with pytest.raises(ValueError, match="address"):
        node.feed.run_through(1, relay=0, take=0, send=0)
