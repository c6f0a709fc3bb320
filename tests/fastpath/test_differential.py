"""The native engine against its twin in plain Python, on random traffic (about 40 s in all).

Numbered scenarios are the same in every run; a further block is new each time. A failure names its
seed; `python -m tests.fastpath.differential SEED` replays it and shrinks it.
"""

from __future__ import annotations

import random
import struct
import sys
from collections import Counter

import pytest

from fastpath import Media, PortKind
from fastpath.reference.wire import Header, PacketType, tag
from fastpath.siphash import digest
from tests.fastpath.differential import run_seed
from tests.support.random_traffic import Traffic
from tests.support.twins import Datagram, MismatchError, Twins, shrink

BLOCKS, BLOCK_SEEDS = 30, 60
FRESH_BLOCKS = 5
FRESH_SEED = random.SystemRandom().getrandbits(40)
PEER = ("10.0.0.2", 7000)
KEY = b"key of the peer."
STREAM_ID = 0xC0FFEE
TOO_RARE = {
    "events_lost",
    "command_stale",
    "early_evicted",
    "late_queue_full",
    "late_pool_empty",
    "stranger_rate_limited",
    "no_block_left",
    "evicted_for_space",
}
NOT_FROM_LINKS = ("ingest", "send_would", "send_refused", "receive_", "viewer_")
NOT_AT_EASE = ("shed_", "socket_", "turns", "wake_ups", "spins", "empty_spins")


@pytest.mark.parametrize("block", range(BLOCKS))
def test_numbered_scenarios(block: int) -> None:
    for seed in range(block * BLOCK_SEEDS, (block + 1) * BLOCK_SEEDS):
        run_seed(seed)


@pytest.mark.parametrize("block", range(FRESH_BLOCKS))
def test_new_scenarios(block: int) -> None:
    sys.stdout.write(f"seeds from {FRESH_SEED}\n")
    for seed in range(block * BLOCK_SEEDS, (block + 1) * BLOCK_SEEDS):
        run_seed(FRESH_SEED + seed)


def test_the_scenarios_reach_every_verdict_of_a_link() -> None:
    reached: Counter[str] = Counter()
    for seed in range(250):
        traffic = Traffic(seed, digest)
        traffic.run(40)
        reached.update({name for name, n in traffic.twins.native.verdicts().items() if n})
    names = traffic.twins.native.verdicts().keys()
    elsewhere = (*NOT_FROM_LINKS, *NOT_AT_EASE)  # overload: test_differential_overload
    expected = {n for n in names if not n.startswith(elsewhere)} - TOO_RARE
    assert expected - reached.keys() == set()


def test_a_difference_is_found_and_shrunk() -> None:
    traffic = Traffic(1, lambda data, key: digest(data, key) ^ 1)  # native and twin now disagree
    with pytest.raises(MismatchError, match=r"native .*, twin"):
        traffic.run(40)
    settings, steps = traffic.twins.settings, traffic.twins.steps
    fewest = shrink(settings, steps, traffic.digest)
    assert len(fewest) <= 6 < len(steps)


class Bench:
    """One neighbour and one stream, for what is too long to come up at random."""

    def __init__(self) -> None:
        self.twins = Twins({"probe_interval_us": 50_000}, digest)
        self.now_us = 1_000_000
        self.port = self.twins.call("open_port", kind=PortKind.OVERLAY)
        self.link = self.twins.call(
            "add_link", port=self.port, address=PEER, peer_node=1, hello_key=KEY, rate_bps=10**9
        )
        self.twins.call("offer_keys", link=self.link, receive_key=KEY, send_key=KEY, send_now=True)
        self.hop_seq = 0

    def datagram(self, kind: PacketType, payload: bytes, **fields: int) -> Datagram:
        self.hop_seq += 1
        head = Header(kind, hop_limit=8, hop_seq=self.hop_seq, **fields).pack()
        data = head + tag(head, payload, KEY, self.hop_seq, digest) + payload
        return self.port, PEER, data

    def media(self, seq: int) -> Datagram:
        return self.datagram(
            PacketType.MEDIA, bytes([0x80]) * 20, stream_id=STREAM_ID, stream_seq=seq & 0xFFFFFFFF
        )

    def add_stream(self, first_seq: int) -> int:
        return self.twins.call(
            "add_stream",
            stream_id=STREAM_ID,
            media=Media.VIDEO,
            first_stream_seq=first_seq,
            upstream=self.link,
        )


def test_more_early_packets_than_are_held() -> None:
    bench = Bench()
    first = (1 << 32) - 600
    for batch in range(11):
        bench.twins.turn(bench.now_us, [bench.media(first + 100 * batch + i) for i in range(100)])
        bench.now_us += 10_000
    assert bench.twins.native.verdicts()["early_evicted"] == 1100 - 1024
    stream = bench.add_stream(first)
    bench.twins.turn(bench.now_us, [])
    assert bench.twins.native.stream_stats(stream).packets == 1024


def test_a_claimed_early_packet_keeps_its_place_until_older_ones_have_gone() -> None:
    bench = Bench()
    bench.add_stream(0)

    def unknown(packets: int) -> list[Datagram]:
        payload = bytes([0x80]) * 20
        return [bench.datagram(PacketType.MEDIA, payload, stream_id=7) for _ in range(packets)]

    jump = 1 << 20
    arriving = [*unknown(1), bench.media(0), bench.media(jump), *unknown(1022)]
    bench.twins.turn(bench.now_us, arriving)
    assert bench.twins.native.memory().held_early_packets == (1024, 1024)
    bench.twins.turn(bench.now_us, [bench.media(jump + 1), *unknown(1)])
    verdicts = bench.twins.native.verdicts()
    assert (verdicts["early_evicted"], verdicts["unknown_stream"]) == (1, 1)


def test_more_holes_than_one_request_names() -> None:
    bench = Bench()
    bench.hop_seq = 1
    for _ in range(140):  # each hole is an item of its own: 33 numbers lie between it and the next
        arrived = [bench.datagram(PacketType.PADDING, b"") for _ in range(33)]
        bench.hop_seq += 1
        bench.twins.turn(bench.now_us, arrived)
    assert bench.twins.native.link_stats(bench.link).holes_open == 139 + 1
    for _ in range(5):
        bench.now_us += 10_000
        bench.twins.turn(bench.now_us, [])
    assert bench.twins.native.link_stats(bench.link).requests_sent > 1


def test_more_sent_than_the_history_holds() -> None:
    bench = Bench()
    stream = bench.add_stream(0xFFFFFFFF)
    bench.twins.call("add_cursor", stream=stream, link=bench.link)
    request = b"\x01" + struct.pack(">II", 1, 0xFFFFFFFF)
    for turn in range(48):
        bench.now_us += 1_000
        numbers = range(180 * turn, 180 * (turn + 1))
        bench.twins.turn(bench.now_us, [bench.media(0xFFFFFFFF + number) for number in numbers])
        if turn == 0:
            bench.twins.turn(bench.now_us, [bench.datagram(PacketType.FEEDBACK, request)])
    stats = bench.twins.native.link_stats(bench.link)
    assert stats.history_evicted > 0
    assert stats.resent == 33
    bench.twins.turn(bench.now_us, [bench.datagram(PacketType.FEEDBACK, request)])
    assert bench.twins.native.link_stats(bench.link).resent == 33


def test_a_clock_is_told_at_once_if_it_is_half_a_second_off() -> None:
    bench = Bench()
    stream = bench.add_stream(0xFFFFFFFF)
    bench.twins.call("add_cursor", stream=stream, link=bench.link)
    timestamp, told = (1 << 32) - 50_000, []
    for number, off in enumerate((0, 44_999, 45_000, -44_999, -45_000, 0)):
        bench.now_us += 1_000
        timestamp += 90 + off
        clock = struct.pack(">BIIQ", 4, STREAM_ID, timestamp & 0xFFFFFFFF, 1 << 63)
        arriving = [bench.datagram(PacketType.FEEDBACK, clock), bench.media(0xFFFFFFFF + number)]
        sent, _events = bench.twins.turn(bench.now_us, arriving)
        told.append(any(data[0] & 15 == PacketType.FEEDBACK for _, _, data in sent))
    assert told == [True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("after_us", "verdict"), [(1_999_999, "peer_moved"), (2_000_000, "unknown_peer")]
)
def test_a_new_address_is_believed_for_two_seconds(after_us: int, verdict: str) -> None:
    bench = Bench()
    moved = "10.0.0.3", 7001
    head = Header(PacketType.HELLO, stream_id=1).pack()
    hello = head + tag(head, b"hello", KEY, 0, digest) + b"hello"
    bench.twins.turn(
        bench.now_us, [bench.datagram(PacketType.PADDING, b""), (bench.port, moved, hello)]
    )
    bench.now_us += after_us
    port, _peer, data = bench.datagram(PacketType.PADDING, b"")
    bench.twins.turn(bench.now_us, [(port, moved, data)])
    assert bench.twins.native.verdicts()[verdict] == 1


def test_more_asked_for_than_may_wait_to_leave() -> None:
    bench = Bench()
    stream = bench.add_stream(0xFFFFFFFF)
    bench.twins.call("add_cursor", stream=stream, link=bench.link)
    bench.twins.turn(bench.now_us, [bench.media(0xFFFFFFFF + i) for i in range(40)])
    request = b"\x01" + struct.pack(">II", 1, 0xFFFFFFFF) * 6
    arriving = [bench.datagram(PacketType.FEEDBACK, request) for _ in range(8)]
    bench.twins.turn(bench.now_us + 1_000, arriving)
    assert bench.twins.native.verdicts()["late_queue_full"] > 0


def test_more_hellos_from_strangers_than_are_looked_at() -> None:
    bench = Bench()
    head = Header(PacketType.HELLO, stream_id=99).pack()
    hello = head + tag(head, b"hello", KEY, 0, digest) + b"hello"
    bench.twins.turn(bench.now_us, [(bench.port, ("10.0.0.9", 7000), hello)] * 25)
    assert bench.twins.native.verdicts()["stranger_rate_limited"] == 25 - 20
