"""EmulatedLink: exact times, exact queue, statistics with a fixed seed, and conservation."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ClockError, LinkConfigError
from lab.link import (
    IPV4_UDP_HEADER_BYTES,
    BurstLoss,
    EmulatedLink,
    LinkConfig,
    LinkCounters,
    LinkModel,
)

configs = st.builds(
    LinkConfig,
    delay_us=st.integers(0, 200_000),
    jitter_us=st.integers(0, 50_000),
    loss=st.sampled_from([0.0, 0.1, 1.0]),
    burst_loss=st.none() | st.builds(BurstLoss, st.floats(0, 1), st.floats(0, 1)),
    duplicate=st.sampled_from([0.0, 0.3]),
    reorder=st.sampled_from([0.0, 0.2]),
    reorder_extra_us=st.integers(0, 20_000),
    rate_bps=st.none() | st.integers(1_000, 10**10),
    queue_bytes=st.integers(0, 20_000),
    mtu_bytes=st.integers(500, 1_500),
)
traffic = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 1_600)), max_size=80)
"""Gap before the datagram in microseconds, and its size."""


def drain(link: EmulatedLink) -> list[tuple[int, bytes]]:
    """All that is under way, each with its time of arrival."""
    arrived = []
    while (time_us := link.next_timer_us()) is not None:
        assert link.receive(time_us - 1) == []
        arrived += [(time_us, data) for data in link.receive(time_us)]
    return arrived


def run(link: EmulatedLink, gaps_and_sizes: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    now_us = 0
    for number, (gap_us, size_bytes) in enumerate(gaps_and_sizes):
        now_us += gap_us
        link.send(number.to_bytes(4, "big") + bytes(size_bytes), now_us)
    return drain(link)


def test_delay_is_exact() -> None:
    link = EmulatedLink(LinkConfig(delay_us=35_500), seed=1)
    link.send(b"one", 1_000)
    link.send(b"two", 1_000)
    link.send(b"three", 1_007)
    assert link.next_timer_us() == 36_500
    assert link.receive(36_499) == []
    assert link.receive(36_500) == [b"one", b"two"]
    assert link.next_timer_us() == 36_507
    assert link.receive(99_999) == [b"three"]
    assert link.next_timer_us() is None


@given(configs, traffic, st.integers(0, 2**32))
def test_nothing_appears_or_vanishes(
    config: LinkConfig, gaps_and_sizes: list[tuple[int, int]], seed: int
) -> None:
    link = EmulatedLink(config, seed)
    now_us = taken = 0
    for gap_us, size_bytes in gaps_and_sizes:
        now_us += gap_us
        link.send(bytes(size_bytes), now_us)
        taken += len(link.receive(now_us))
        counters = link.counters()
        assert counters.delivered == taken
        assert counters.in_flight >= 0
    expected = link.counters().in_flight
    assert len(drain(link)) == expected
    counters = link.counters()
    assert counters.sent == len(gaps_and_sizes)
    assert counters.sent + counters.duplicated == (
        counters.delivered + counters.lost + counters.oversized + counters.queue_dropped
    )
    assert counters.in_flight == 0
    assert counters.sent_bytes == sum(size for _, size in gaps_and_sizes)


@given(configs, traffic, st.integers(0, 2**32))
def test_same_seed_and_input_give_the_same_output(
    config: LinkConfig, gaps_and_sizes: list[tuple[int, int]], seed: int
) -> None:
    first, second = EmulatedLink(config, seed), EmulatedLink(config, seed)
    assert run(first, gaps_and_sizes) == run(second, gaps_and_sizes)
    assert first.counters() == second.counters()


@given(configs, traffic, st.integers(0, 2**32))
def test_jitter_alone_keeps_order_and_bounds(
    config: LinkConfig, gaps_and_sizes: list[tuple[int, int]], seed: int
) -> None:
    config = replace(config, reorder=0.0, duplicate=0.0, rate_bps=None, loss=0.0, burst_loss=None)
    link = EmulatedLink(config, seed)
    arrived = run(link, gaps_and_sizes)
    assert [data for _, data in arrived] == sorted(data for _, data in arrived)
    assert link.counters().reordered == 0
    sent_us, now_us = [], 0
    for gap_us, _ in gaps_and_sizes:
        now_us += gap_us
        sent_us.append(now_us)
    for arrival_us, data in arrived:
        taken_us = arrival_us - sent_us[int.from_bytes(data[:4], "big")]
        assert config.delay_us <= taken_us <= config.delay_us + config.jitter_us


@given(
    traffic,
    st.integers(1_000, 10**10),
    st.integers(0, 20_000),
)
def test_bottleneck_matches_exact_arithmetic(
    gaps_and_sizes: list[tuple[int, int]], rate_bps: int, queue_bytes: int
) -> None:
    """Against a queue in rational numbers: the same drops, and departures rounded up."""
    config = LinkConfig(0, rate_bps=rate_bps, queue_bytes=queue_bytes, mtu_bytes=9_000)
    model = LinkModel(config, random.Random(0), random.Random(1))
    free_at_us, now_us = Fraction(0), 0
    for gap_us, size_bytes in gaps_and_sizes:
        now_us += gap_us
        wire_bytes = size_bytes + IPV4_UDP_HEADER_BYTES
        waiting_bytes = max(Fraction(0), free_at_us - now_us) * rate_bps / 8_000_000
        arrivals_us = model.admit(size_bytes, now_us)
        if waiting_bytes and waiting_bytes + wire_bytes > queue_bytes:
            assert arrivals_us == ()
            continue
        free_at_us = max(free_at_us, Fraction(now_us)) + Fraction(wire_bytes * 8_000_000, rate_bps)
        assert arrivals_us == (-(-free_at_us.numerator // free_at_us.denominator),)


def test_bottleneck_times_and_drop_tail() -> None:
    # 1,000 bytes on the wire at 8 Mbit/s take 1,000 us; three fit the queue, the fourth does not.
    config = LinkConfig(delay_us=10_000, rate_bps=8_000_000, queue_bytes=3_000)
    link = EmulatedLink(config, seed=0)
    for name in b"abcd":
        link.send(bytes([name]) * 972, 0)
    assert link.counters().queue_dropped == 1
    link.send(b"e" * 972, 999)  # the first is not out yet
    assert link.counters().queue_dropped == 2
    link.send(b"f" * 972, 1_000)
    arrived = [(time_us, data[:1]) for time_us, data in drain(link)]
    assert arrived == [(11_000, b"a"), (12_000, b"b"), (13_000, b"c"), (14_000, b"f")]


def test_an_idle_bottleneck_takes_any_datagram() -> None:
    link = EmulatedLink(LinkConfig(0, rate_bps=1_000_000, queue_bytes=0), seed=0)
    link.send(bytes(97), 0)  # 125 bytes on the wire: 1,000 us
    link.send(bytes(97), 999)
    link.send(bytes(97), 1_000)
    assert [time_us for time_us, _ in drain(link)] == [1_000, 2_000]
    assert link.counters().queue_dropped == 1


def test_rounding_does_not_add_up() -> None:
    # 28 bytes at 1 Gbit/s take 0.224 us; 1,000 of them 224 us, not 1,000.
    link = EmulatedLink(LinkConfig(0, rate_bps=10**9), seed=0)
    for _ in range(1_000):
        link.send(b"", 0)
    assert drain(link)[-1][0] == 224


def test_mtu_counts_headers() -> None:
    link = EmulatedLink(LinkConfig(delay_us=0), seed=0)
    link.send(bytes(1_472), 0)
    link.send(bytes(1_473), 0)
    assert len(link.receive(0)) == 1
    assert link.counters() == LinkCounters(
        sent=2, delivered=1, oversized=1, sent_bytes=2_945, delivered_bytes=1_472
    )


@pytest.mark.parametrize("loss", [0.01, 0.034, 0.5])
def test_loss_ratio(loss: float) -> None:
    total = 100_000
    link = EmulatedLink(LinkConfig(delay_us=0, loss=loss), seed=20_261_121)
    for _ in range(total):
        link.send(b"x", 0)
    four_sigma = 4 * (loss * (1 - loss) / total) ** 0.5
    assert abs(link.counters().lost / total - loss) < four_sigma


def test_jitter_is_even_over_its_range() -> None:
    model = LinkModel(LinkConfig(delay_us=5, jitter_us=4), random.Random(7), random.Random(8))
    # Far enough apart that none waits for another.
    extra = [sum(model.admit(1, n * 10)) - n * 10 - 5 for n in range(50_000)]
    for value in range(5):
        assert abs(extra.count(value) / 50_000 - 0.2) < 4 * (0.16 / 50_000) ** 0.5


def test_reorder_holds_back_and_counts() -> None:
    seed = next(  # the first of three datagrams drawn to be late, the others not
        s for s in range(1_000) if [d < 0.5 for d in _reorder_draws(s)] == [True, False, False]
    )
    link = EmulatedLink(LinkConfig(1_000, reorder=0.5, reorder_extra_us=150), seed)
    for number, name in enumerate((b"a", b"b", b"c")):
        link.send(name, number * 100)
    assert drain(link) == [(1_100, b"b"), (1_150, b"a"), (1_200, b"c")]
    assert link.counters().reordered == 1


def _reorder_draws(seed: int) -> list[float]:
    rng = random.Random(seed)
    return [[rng.random() for _ in range(3)][1] for _ in range(3)]


def test_luck_does_not_depend_on_the_config() -> None:
    """The same datagrams are lost whether or not there is jitter."""
    plain = EmulatedLink(LinkConfig(0, loss=0.3), seed=5)
    shaken = EmulatedLink(LinkConfig(9, jitter_us=9, loss=0.3, rate_bps=10**9), seed=5)
    names = [[d[:4] for _, d in run(link, [(1, 10)] * 200)] for link in (plain, shaken)]
    assert names[0] == names[1]
    assert 0 < len(names[0]) < 200


def test_cut_and_mend_at_run_time() -> None:
    config = LinkConfig(delay_us=1_000)
    link = EmulatedLink(config, seed=0)
    link.send(b"under way", 0)
    link.set_config(config.with_cut(), 500)
    link.send(b"lost", 600)
    link.set_config(config, 700)
    link.send(b"after", 800)
    assert drain(link) == [(1_000, b"under way"), (1_800, b"after")]
    assert link.counters().lost == 1


def test_shorter_delay_does_not_overtake() -> None:
    link = EmulatedLink(LinkConfig(delay_us=1_000), seed=0)
    link.send(b"slow", 0)
    link.set_config(LinkConfig(delay_us=100), 10)
    link.send(b"waits", 10)
    link.send(b"free", 950)
    assert drain(link) == [(1_000, b"slow"), (1_000, b"waits"), (1_050, b"free")]


def test_backlog_drains_at_the_new_rate() -> None:
    config = LinkConfig(0, rate_bps=8_000_000)
    link = EmulatedLink(config, seed=0)
    link.send(bytes(1_972 // 2 - 14), 0)  # 1,000 bytes on the wire: 1,000 us
    link.set_config(replace(config, rate_bps=4_000_000), 500)  # 500 bytes left: 1,000 us more
    link.send(bytes(472), 500)  # 500 bytes: 1,000 us behind them
    link.set_config(replace(config, rate_bps=None), 600)
    link.send(b"", 3_000)
    assert [time_us for time_us, _ in drain(link)] == [1_000, 2_500, 3_000]


def test_time_must_not_go_back() -> None:
    link = EmulatedLink(LinkConfig(delay_us=0), seed=0)
    link.send(b"", 10)
    with pytest.raises(ClockError):
        link.send(b"", 9)


def test_bad_config_lists_every_problem() -> None:
    with pytest.raises(LinkConfigError) as caught:
        LinkConfig(delay_us=-1, loss=1.5, reorder=float("nan"), rate_bps=0, mtu_bytes=27)
    for name in ("delay_us", "loss", "reorder", "rate_bps", "mtu_bytes"):
        assert name in str(caught.value)
