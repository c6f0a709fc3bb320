"""The bench's C parts against the engine's own code: what they make is valid, byte for byte."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.support.case import LEG_BYTES, Case
from bench.support.native import native
from bench.support.network import udp_socket
from bench.support.schedule import encoders, saturated
from bench.support.traffic import FIRST_STREAM_ID, FIRST_STREAM_SEQ, Generator
from fastpath import siphash, wire

RECEIVE_KEY, SEND_KEY = bytes(range(16)), bytes(range(100, 116))
RING_SLOTS = 256
HEADER_BYTES = 24
UNTIL_S = 5.0


def test_siphash_is_the_engines() -> None:
    seed = random.randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    draws = random.Random(seed)
    for _ in range(200):
        data, key = draws.randbytes(48), draws.randbytes(16)
        assert native().lib.bench_siphash_48(data, key) == siphash.digest(data, key)


def generated(case: Case, schedule: Any) -> list[bytes]:
    """What the generator sends, datagram by datagram; each frame is taken before the next comes."""
    packets = []
    with udp_socket() as receiver:
        receiver.settimeout(UNTIL_S)
        generator = Generator(case, RECEIVE_KEY)
        generator.connect(receiver.getsockname())
        for number in range(len(schedule)):
            frame = schedule[number : number + 1].copy()
            frame["due_ns"] = 0
            generator.generate(frame)
            packets += [receiver.recv(2048) for _ in range(int(frame["packets"][0]))]
        generator.close()
    return packets


def check_overlay(packet: bytes, key: bytes, *, hop_seq: int, hop_limit: int) -> dict[str, int]:
    """A valid media packet of the wire format; its header."""
    header = wire.parse(packet)
    assert isinstance(header, dict), header
    assert header["type"] == wire.PacketType.TYPE_MEDIA
    assert (header["hop_seq"], header["hop_limit"]) == (hop_seq, hop_limit)
    tag = int.from_bytes(packet[HEADER_BYTES:LEG_BYTES])
    assert tag == wire.tag(packet[:HEADER_BYTES], packet[LEG_BYTES:], key)
    return header


def test_the_generator_sends_what_a_node_accepts() -> None:
    case = Case(1, 200, "plain", streams=3, pacing="frames", links=1)
    schedule = encoders(3, 0.05, speed=400.0)
    packets = generated(case, schedule)
    next_seq = dict.fromkeys(range(FIRST_STREAM_ID, FIRST_STREAM_ID + 3), FIRST_STREAM_SEQ)
    for number, packet in enumerate(packets, 1):
        assert len(packet) == case.datagram_bytes
        header = check_overlay(packet, RECEIVE_KEY, hop_seq=number, hop_limit=8)
        stream = header["stream_id"]
        assert header["stream_seq"] == next_seq[stream]
        assert int.from_bytes(packet[LEG_BYTES + 2 : LEG_BYTES + 4]) == next_seq[stream] & 0xFFFF
        next_seq[stream] += 1
    assert max(next_seq.values()) > 1 << 16  # the RTP numbers wrapped
    assert len({packet[-8:] for packet in packets}) == len(schedule)  # a time stamp a frame


@pytest.fixture
def route() -> Iterator[Any]:
    """Four links in two groups; stream 0 and 2 belong to the first."""
    ffi = native().ffi
    receivers = [udp_socket(gro=True) for _ in range(4)]
    for one in receivers:
        one.settimeout(UNTIL_S)
    out = udp_socket()
    ports = ffi.new("uint16_t[]", [one.getsockname()[1] for one in receivers])
    made = ffi.new(
        "struct route *",
        {
            "in_fd": -1,
            "out_fd": out.fileno(),
            "is_overlay": True,
            "ports": ports,
            "links": 4,
            "fanout": 2,
            "streams": 3,
            "first_stream_id": FIRST_STREAM_ID,
        },
    )
    yield made, receivers
    for one in (*receivers, out):
        one.close()


@contextmanager
def opened(route: Any) -> Iterator[Any]:
    ffi, lib = native().ffi, native().lib
    plus = lib.loop_plus_open(route, RING_SLOTS, RECEIVE_KEY, SEND_KEY)
    assert plus != ffi.NULL
    try:
        yield plus
    finally:
        lib.loop_plus_close(plus)


def counts(plus: Any) -> dict[str, int]:
    found = native().lib.loop_plus_counts(plus)
    return {
        name: getattr(found, name)
        for name in ("taken", "bad_tag", "replayed", "refused")
        if getattr(found, name)
    }


def received(receiver: socket.socket, packets: int, packet_bytes: int) -> list[bytes]:
    """So many have come, joined as they were sent, and no more."""
    data = b""
    while len(data) < packets * packet_bytes:
        data += receiver.recv(1 << 16)
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(1 << 16)
    return [data[at : at + packet_bytes] for at in range(0, len(data), packet_bytes)]


def test_loop_plus_sends_valid_packets_to_the_links_of_their_stream(
    route: tuple[Any, list[socket.socket]],
) -> None:
    native_route, receivers = route
    case = Case(2, 200, "plain", streams=3, pacing="frames", links=4)
    packets = generated(case, encoders(3, 0.005, speed=400.0))
    assert len(packets) > RING_SLOTS  # its ring wraps
    lib = native().lib
    with opened(native_route) as plus:
        for first in range(0, len(packets), 5):
            chunk = b"".join(packets[first : first + 5])
            lib.loop_plus_take(plus, chunk, len(chunk), case.datagram_bytes)
            lib.loop_plus_send(plus)
        assert counts(plus) == {"taken": len(packets)}
    for link, receiver in enumerate(receivers):
        mine = [
            packet
            for packet in packets
            if (int.from_bytes(packet[8:12]) - FIRST_STREAM_ID) % 2 == link // 2
        ]
        for number, (before, after) in enumerate(
            zip(mine, received(receiver, len(mine), case.datagram_bytes), strict=True), 1
        ):
            check_overlay(after, SEND_KEY, hop_seq=number, hop_limit=7)
            assert after[LEG_BYTES:] == before[LEG_BYTES:]
            assert after[4:6] == before[4:6]  # class, marks, epoch
            assert after[8:16] == before[8:16]  # stream and its number
    sent = native_route.sent
    assert sent.packets == 2 * len(packets)
    assert sent.refused_packets == 0
    assert sum(sent.batch_sizes) == sent.batches < sent.packets


def test_loop_plus_takes_a_buffer_larger_than_its_ring(
    route: tuple[Any, list[socket.socket]],
) -> None:
    native_route, receivers = route
    case = Case(1, 40, "plain")
    packets = generated(case, saturated(40, 1e5))
    data = b"".join(packets)
    assert len(packets) > 2 * RING_SLOTS
    with opened(native_route) as plus:
        native().lib.loop_plus_take(plus, data, len(data), case.datagram_bytes)
        native().lib.loop_plus_send(plus)
        assert counts(plus) == {"taken": len(packets)}
    for number, packet in enumerate(received(receivers[0], len(packets), case.datagram_bytes), 1):
        check_overlay(packet, SEND_KEY, hop_seq=number, hop_limit=7)


def test_at_the_edge_loop_plus_gives_each_viewer_its_own_numbers(
    route: tuple[Any, list[socket.socket]],
) -> None:
    native_route, receivers = route
    native_route.is_overlay = False
    native_route.links, native_route.streams = 2, 1
    case = Case(2, 100, "plain", kind="edge")
    packets = generated(case, saturated(40, 1e5))
    assert len(packets) > 2 * RING_SLOTS
    assert int.from_bytes(packets[-1][2:4]) < FIRST_STREAM_SEQ  # they wrapped
    lib = native().lib
    with opened(native_route) as plus:
        for first in range(0, len(packets), 16):
            chunk = b"".join(packets[first : first + 16])
            lib.loop_plus_take(plus, chunk, len(chunk), case.datagram_bytes)
            lib.loop_plus_send(plus)
        again = packets[-1]
        stranger = again[:8] + bytes(4) + again[12:]
        for packet in (again, stranger, b"\x40" + again[1:], again[:11]):
            lib.loop_plus_take(plus, packet, len(packet), len(packet))
        assert counts(plus) == {"taken": len(packets), "replayed": 1, "refused": 3}
    for viewer in (0, 1):
        seen = received(receivers[viewer], len(packets), case.datagram_bytes)
        for before, after in zip(packets, seen, strict=True):
            assert (after[:2], after[12:]) == (before[:2], before[12:])
            assert int.from_bytes(after[8:12]) == viewer + 1
            for field, step in ((slice(2, 4), 1_000), (slice(4, 8), 90_000)):
                bits = 8 * (field.stop - field.start)
                moved = int.from_bytes(after[field]) - int.from_bytes(before[field])
                assert moved % (1 << bits) == viewer * step % (1 << bits)


def damaged(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :]


def test_loop_plus_refuses_what_a_relay_must(route: tuple[Any, list[socket.socket]]) -> None:
    native_route, _ = route
    native_route.out_fd = -1
    case = Case(1, 200, "plain")
    good = generated(case, saturated(2, 1e5, burst_packets=2))
    with opened(native_route) as plus:

        def take(packet: bytes) -> None:
            native().lib.loop_plus_take(plus, packet, len(packet), len(packet))

        take(good[2])
        take(good[2])
        for at in (4, 8, 12, 16, 20, HEADER_BYTES, LEG_BYTES, LEG_BYTES + 15):
            take(damaged(good[3], at))
        assert counts(plus)["taken"] == 1
        assert counts(plus)["replayed"] == 1
        assert counts(plus)["bad_tag"] == 8
        for packet in (damaged(good[3], 0), damaged(good[3], 1), good[3][:40], b"\x80"):
            take(packet)
        assert counts(plus)["refused"] == 4
        take(damaged(good[3], len(good[3]) - 1))  # no tag covers a media packet's end
        take(good[0])  # late, and not seen before
        assert counts(plus)["taken"] == 3
        native().lib.loop_plus_send(plus)
        assert native_route.sent.packets == 6


@pytest.mark.parametrize("slots", [0, 100, 384])
def test_loop_plus_refuses_a_ring_it_cannot_index(
    route: tuple[Any, list[socket.socket]], slots: int
) -> None:
    made = native().lib.loop_plus_open(route[0], slots, RECEIVE_KEY, SEND_KEY)
    assert made == native().ffi.NULL
