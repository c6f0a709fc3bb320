"""ARRIVALS: what a link's controller hears of its packets, and what it never hears (about 3 s)."""

from __future__ import annotations

import struct

import pytest

from fastpath.rate import RateConfig, RateKind
from fastpath.stats import LinkStats
from lab.link import LinkConfig
from tests.support.chain import Chain, key_slice, other_slice, rtp
from tests.support.faults import FEEDBACK, MEDIA, Faults, Leg
from tests.support.peer import OVERHEAD_BYTES, PADDING, PROBE, PeerBench

ARRIVALS = 6
HOP = LinkConfig(delay_us=20_000)
FIXED = {"rate_kind": RateKind.FIXED, "rate": RateConfig(start_bps=100_000_000)}
WRAP = 1 << 32
WISH = b"\x01"


def is_report(leg: Leg) -> bool:
    return leg.kind == FEEDBACK and leg.data[OVERHEAD_BYTES] == ARRIVALS


def send(chain: Chain, packets: int, *, gap_us: int = 2_000) -> None:
    for n in range(packets):
        body = f"{n:06}".encode().ljust(1000, b".")
        chain.encode(rtp(n, 3000 * n, other_slice(body) if n else key_slice(body)))
        chain.run(gap_us)
    chain.run(300_000)


def down(chain: Chain) -> LinkStats:
    return chain.nodes[0].engine.link_stats(chain.nodes[0].links["down"])


@pytest.mark.parametrize("first_hop_seq", [1, WRAP - 200, 3 * WRAP - 100])
def test_every_packet_is_told_of(first_hop_seq: int) -> None:
    """Also across the wrap of hop_seq. What arrives in a second is what was sent in it."""
    chain = Chain([HOP], link_options=FIXED, first_hop_seq=first_hop_seq)
    chain.run(200_000)
    send(chain, 1500)
    stats = down(chain)
    assert stats.feedback_loss == 0
    assert stats.lost == 0
    expected_bps = 500 * (1000 + 12 + 2 + 32) * 8
    assert stats.acked_bps == pytest.approx(expected_bps, rel=0.25)  # it ends within a second
    assert 50 <= stats.feedbacks <= 80  # 50 ms, for 3 s


def test_loss_is_counted_by_hop_seq_though_it_is_repaired() -> None:
    chain = Chain([HOP], link_options=FIXED)
    faults = Faults(chain)
    chain.run(200_000)
    faults.lose(
        lambda leg: leg.kind == MEDIA and leg.stream_seq % 10 == 5 and not leg.is_repair, 60
    )
    send(chain, 600)
    stats = down(chain)
    assert len(faults.lost) == 60
    assert chain.nodes[1].engine.link_stats(chain.nodes[1].links["up"]).repaired == 60
    assert stats.feedback_loss == pytest.approx(0.09, abs=0.02)  # 60 of 600 and their repairs


@pytest.mark.parametrize("every", [2, 3])
def test_a_lost_report_harms_nothing(every: int) -> None:
    chain = Chain([HOP], link_options=FIXED)
    faults = Faults(chain)
    chain.run(200_000)
    seen = 0

    def each(leg: Leg) -> bool:
        nonlocal seen
        seen += is_report(leg)
        return is_report(leg) and seen % every == 0

    faults.lose(each, 1000)
    send(chain, 1000)
    assert len(faults.lost) >= 40 // every - 3
    bytes_told = down(chain).acked_bps
    assert bytes_told == pytest.approx(500 * 1046 * 8, rel=0.3)
    assert down(chain).feedback_loss == 0


def test_reports_do_not_answer_each_other() -> None:
    """Both ends want to know. Without media nothing is told, though probes go each 50 ms."""
    chain = Chain([HOP], link_options=FIXED)
    faults = Faults(chain)
    chain.run(1_000_000)
    assert not any(is_report(leg) for leg in faults.legs)
    send(chain, 10)
    told = sum(is_report(leg) for leg in faults.legs)
    assert 1 <= told <= 3
    chain.run(1_000_000)
    assert sum(is_report(leg) for leg in faults.legs) == told


def test_a_link_of_a_fixed_rate_wants_no_reports() -> None:
    chain = Chain([HOP])
    faults = Faults(chain)
    chain.run(200_000)
    send(chain, 200)
    assert not any(is_report(leg) for leg in faults.legs)
    assert down(chain).feedbacks == 0


def test_a_report_byte_by_byte() -> None:
    """Two numbers missing, one late, steps short, long and back."""
    bench = PeerBench()
    bench.turn(bench.packet(struct.pack(">QQI", 7, 0, 0) + WISH, kind=PROBE))
    base = bench.hop_seq + 1
    start_us = bench.now_us + 63 & ~63
    arrivals = [(1, 0), (2, 64), (4, 64 + 128), (6, 64 + 128 + 64 * 300), (5, 64 + 128 + 64 * 301)]
    for number, offset_us in arrivals:
        bench.now_us = start_us + offset_us
        bench.hop_seq = base + number - 2
        bench.turn(bench.packet(b"", kind=PADDING))
    bench.hop_seq = base + 5
    reports = [
        data[OVERHEAD_BYTES:]
        for _, data in bench.wait(60_000)
        if data[0] & 15 == FEEDBACK and data[OVERHEAD_BYTES] == ARRIVALS
    ]
    steps = bytes([65, 66, 0, 67]) + b"\xff" + (301).to_bytes(2) + bytes([64])
    head = struct.pack(">BIHQ", ARRIVALS, base, 0, start_us // 64)
    assert reports == [head + steps]


def test_many_numbers_are_told_in_several_reports_that_fit() -> None:
    """In one turn, each twice, none of them larger than a datagram."""
    bench = PeerBench()
    bench.turn(bench.packet(struct.pack(">QQI", 7, 0, 0) + WISH, kind=PROBE))
    base = bench.hop_seq + 1
    bench.turn(*[bench.packet(b"", kind=PADDING) for _ in range(1800)])
    told: dict[int, int] = {}
    for _, data in bench.wait(60_000):
        payload = data[OVERHEAD_BYTES:]
        if data[0] & 15 != FEEDBACK or payload[0] != ARRIVALS:
            continue
        assert len(data) <= 1432
        first = int.from_bytes(payload[1:5])
        assert set(payload[15:]) == {65}
        for at in range(len(payload) - 15):
            told[first + at] = told.get(first + at, 0) + 1
    assert sorted(told) == list(range(base, base + 1800))
    assert max(told.values()) == 2


def test_a_neighbours_nonsense_changes_nothing() -> None:
    bench = PeerBench()
    for body in (b"", bytes(13), struct.pack(">IHQ", 99, 0, 1) + b"A" * 9, b"\xff" * 400):
        bench.turn(bench.packet(bytes([ARRIVALS]) + body, kind=FEEDBACK))
    counted = bench.engine.verdicts()
    assert counted["malformed"] == 2
    assert counted["feedback_taken"] == 2
    assert bench.engine.link_stats(bench.link).feedbacks == 0
