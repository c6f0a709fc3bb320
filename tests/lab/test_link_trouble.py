"""Bursts of loss, second copies and rates that change: statistics with a fixed seed, exact
times.
"""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LinkConfigError
from lab.link import IPV4_UDP_HEADER_BYTES, BurstLoss, EmulatedLink, LinkConfig, LinkModel

SEED = 20_261_121


def model(config: LinkConfig, seed: int = SEED) -> LinkModel:
    return LinkModel(config, random.Random(seed), random.Random(f"{seed} more"))


def fates(config: LinkConfig, count: int) -> list[bool]:
    """Of datagrams, one each 10 us: whether it arrives."""
    link = model(config)
    return [bool(link.admit(100, 10 * number)) for number in range(count)]


@pytest.mark.parametrize(
    "burst",
    [
        BurstLoss(0.0025, 0.25),  # 1 % in bursts of four
        BurstLoss(0.01, 0.1, loss_bad=0.5),
        BurstLoss(0.02, 0.5, loss_bad=0.9, loss_good=0.01),
    ],
)
def test_bursts_lose_their_share(burst: BurstLoss) -> None:
    count = 200_000
    lost = fates(LinkConfig(0, burst_loss=burst), count).count(False) / count
    # Draws of a chain with memory: its variance is that of independent ones times this at most.
    memory = 1 + 2 / (burst.p_bad + burst.p_good)
    share = burst.mean_loss
    assert abs(lost - share) < 4 * (share * (1 - share) * memory / count) ** 0.5


def test_bursts_have_the_mean_length_of_a_bad_time() -> None:
    """All lost while bad: lengths are geometric, with mean and deviation of about 1 / p_good."""
    arrived = fates(LinkConfig(0, burst_loss=BurstLoss(0.0025, 0.25)), 400_000)
    lengths = [len(list(run)) for is_here, run in groupby(arrived) if not is_here]
    assert len(lengths) > 800
    assert abs(sum(lengths) / len(lengths) - 4) < 4 * 4 / len(lengths) ** 0.5
    assert max(lengths) > 12
    # Independent loss of the same share has hardly any neighbours.
    apart = fates(LinkConfig(0, loss=0.01), 400_000)
    runs = [len(list(run)) for is_here, run in groupby(apart) if not is_here]
    assert sum(runs) / len(runs) < 1.05


def test_a_burst_is_a_matter_of_seed_and_number() -> None:
    """Neither other loss nor a bottleneck moves it."""
    burst = BurstLoss(0.05, 0.3)
    plain = fates(LinkConfig(0, burst_loss=burst), 2_000)
    busy = LinkConfig(5, burst_loss=burst, rate_bps=10**9, jitter_us=3, duplicate=0.5, reorder=0.5)
    assert fates(busy, 2_000) == plain
    worse = fates(LinkConfig(0, burst_loss=burst, loss=0.2), 2_000)
    assert all(a or not b for a, b in zip(plain, worse, strict=True))
    assert worse != plain


def test_a_path_without_bursts_is_good_again() -> None:
    link = model(LinkConfig(0, burst_loss=BurstLoss(1, 0)))
    assert link.admit(1, 0) == ()
    link.set_config(LinkConfig(0), 1)
    link.set_config(LinkConfig(0, burst_loss=BurstLoss(0, 0)), 2)
    assert link.admit(1, 2) == (2,)


def test_second_copies_come_late_and_hold_up_nobody() -> None:
    config = LinkConfig(1_000, duplicate=1.0, duplicate_extra_us=300)
    link = EmulatedLink(config, SEED)
    link.send(b"a", 0)
    link.send(b"b", 100)
    assert link.receive(1_299) == [b"a", b"b"]
    assert link.receive(1_300) == [b"a"]
    assert link.counters().in_flight == 1
    assert link.receive(1_400) == [b"b"]
    counters = link.counters()
    assert (counters.sent, counters.duplicated, counters.delivered) == (2, 2, 4)
    assert (counters.reordered, counters.in_flight) == (0, 0)


def test_the_share_of_second_copies() -> None:
    link = model(LinkConfig(0, duplicate=0.1))
    twice = sum(len(link.admit(1, number)) == 2 for number in range(50_000))
    assert abs(twice / 50_000 - 0.1) < 4 * (0.09 / 50_000) ** 0.5


traces = st.lists(st.tuples(st.integers(1, 40_000), st.integers(1_000, 10**9)), max_size=6).map(
    lambda steps: tuple(
        (sum(gap for gap, _ in steps[:number]), rate) for number, (_, rate) in enumerate(steps)
    )
)
"""Steps of a rate with the time since the one before; the first at 0."""


def departure_us(free_us: Fraction, bits: int, trace: tuple[tuple[int, int], ...]) -> Fraction:
    """When so many bits have left that begin at this time, in rational numbers."""
    left = Fraction(bits)
    for number, (_, rate_bps) in enumerate(trace):
        end_us = trace[number + 1][0] if number + 1 < len(trace) else None
        if end_us is not None and end_us <= free_us:
            continue
        can = None if end_us is None else (end_us - free_us) * rate_bps / 1_000_000
        if can is None or can >= left:
            return free_us + left * 1_000_000 / rate_bps
        left -= can
        assert end_us is not None
        free_us = Fraction(end_us)
    raise AssertionError


@given(
    traces.filter(bool),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 1_400)), max_size=60),
    st.integers(0, 100_000),
)
def test_a_trace_is_exact_for_what_waits_when_the_rate_changes(
    trace: tuple[tuple[int, int], ...], traffic: list[tuple[int, int]], origin_us: int
) -> None:
    """Against a queue in rational numbers."""
    config = LinkConfig(0, rate_trace=trace, trace_origin_us=origin_us, queue_bytes=10**9)
    link = model(config)
    absolute = tuple((origin_us + at_us if at_us else 0, rate) for at_us, rate in trace)
    free_us, now_us = Fraction(0), 0
    for gap_us, size_bytes in traffic:
        now_us += gap_us
        bits = 8 * (size_bytes + IPV4_UDP_HEADER_BYTES)
        free_us = departure_us(max(free_us, Fraction(now_us)), bits, absolute)
        assert link.admit(size_bytes, now_us) == (-(-free_us.numerator // free_us.denominator),)


def test_a_queue_in_time_is_what_the_rate_of_the_moment_sends() -> None:
    # 1,000 bytes on the wire take 1 ms at 8 Mbit/s, 8 ms at 1 Mbit/s.
    trace = ((0, 8_000_000), (10_000, 1_000_000))
    link = model(LinkConfig(0, rate_trace=trace, queue_us=4_000))
    assert [len(link.admit(972, 0)) for _ in range(6)] == [1, 1, 1, 1, 0, 0]
    assert link.queue_us(0) == 4_000
    assert link.queue_us(3_500) == 500
    # At the lower rate one is more than 4 ms; an idle bottleneck takes it all the same.
    assert [link.admit(972, 20_000) for _ in range(2)] == [(28_000,), ()]


def test_a_trace_that_has_not_begun_has_its_first_rate() -> None:
    config = LinkConfig(0, rate_trace=((0, 8_000_000), (1_000, 1_000_000)))
    link = model(config.with_trace_from(1 << 60))
    assert link.admit(972, 5_000_000) == (5_001_000,)
    assert LinkConfig(0, rate_bps=5).with_trace_from(7) == LinkConfig(0, rate_bps=5)


def test_bad_configs_list_every_problem() -> None:
    with pytest.raises(LinkConfigError) as caught:
        LinkConfig(0, duplicate=2, queue_us=-1, rate_bps=5, rate_trace=((1, 5), (1, 0)))
    for text in (
        "duplicate",
        "queue_us",
        "exclude",
        "begin at 0",
        "rise",
        "rates must be positive",
    ):
        assert text in str(caught.value)
    with pytest.raises(LinkConfigError, match="p_good is nan"):
        BurstLoss(0.5, float("nan"))
    with pytest.raises(LinkConfigError):
        replace(LinkConfig(0), duplicate_extra_us=-1)
