"""TCP over an emulated bottleneck: use, fairness, back-off, and the shape of short transfers."""

from __future__ import annotations

import random

import pytest

from lab.flows.carrier import Carrier
from lab.flows.flow import SEGMENT_BYTES, CbrFlow, Flow
from lab.flows.tcp import WINDOWS, ShortTcpFlow, TcpFlow
from lab.flows.window import CUBIC_BETA, CubicWindow, RenoWindow
from lab.link import LinkConfig, LinkModel
from lab.virtual.clock import Agenda

SECOND_US = 1_000_000
BACK = LinkConfig(20_000)


class Path:
    """Flows over one bottleneck there, and one path back without."""

    def __init__(self, forward: LinkConfig, seed: int = 1) -> None:
        self.clock = Agenda(0)
        self.forward, self.back = (
            LinkModel(config, random.Random(f"{seed} {name}"), random.Random(f"{seed} {name} more"))
            for config, name in ((forward, "there"), (BACK, "back"))
        )

    def carry(self, flow: Flow) -> Carrier:
        return Carrier(flow, self.clock, self.forward.admit, self.back.admit)

    def run(self, until_us: int) -> None:
        while (due_us := self.clock.next_us()) is not None and due_us <= until_us:
            self.clock.now_us = due_us
            self.clock.run_due()


def narrow(rate_bps: int = 2_000_000, **parts: float) -> LinkConfig:
    return LinkConfig(20_000, rate_bps=rate_bps, queue_us=300_000, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", sorted(WINDOWS))
def test_a_long_flow_fills_its_bottleneck(window: str) -> None:
    path = Path(narrow())
    flow = TcpFlow(WINDOWS[window], start_us=0)
    carrier = path.carry(flow)
    path.run(30 * SECOND_US)
    assert 8 * (carrier.delivered * (SEGMENT_BYTES + 28)) / 30 > 0.95 * 2_000_000
    counters = path.forward.counters()
    assert counters.queue_dropped > 0  # it is told of the queue's end by nothing else
    assert counters.queue_dropped < 0.04 * counters.sent  # most of it at the end of slow start
    assert flow.timeouts == 0
    not_yet = counters.queue_dropped - flow.retransmitted
    assert 0 <= not_yet <= flow.window_segments


@pytest.mark.parametrize("window", sorted(WINDOWS))
def test_two_flows_share(window: str) -> None:
    path = Path(narrow(4_000_000))
    first = path.carry(TcpFlow(WINDOWS[window], start_us=0))
    second = path.carry(TcpFlow(WINDOWS[window], start_us=10 * SECOND_US))
    path.run(40 * SECOND_US)
    before = first.delivered, second.delivered
    path.run(100 * SECOND_US)
    rates = [first.delivered - before[0], second.delivered - before[1]]
    assert sum(rates) ** 2 / (2 * sum(rate**2 for rate in rates)) > 0.9  # Jain


def test_random_loss_costs_rate() -> None:
    """Reno's rate goes with one over the square root of the loss (Mathis et al. 1997)."""
    rates = []
    for loss in (0.002, 0.008, 0.032):
        path = Path(LinkConfig(20_000, rate_bps=10**9, loss=loss), seed=3)
        carrier = path.carry(TcpFlow(RenoWindow, start_us=0))
        path.run(40 * SECOND_US)
        rates.append(carrier.delivered)
    assert 1.5 < rates[0] / rates[1] < 2.7
    assert 1.5 < rates[1] / rates[2] < 2.7


def test_the_first_window_and_slow_start() -> None:
    """Ten segments, then twice as many each round trip of 40 ms."""
    path = Path(LinkConfig(20_000))
    flow = TcpFlow(start_us=5)
    carrier = path.carry(flow)
    path.run(5)
    assert carrier.sent == 10
    path.run(40_005)
    assert carrier.sent == 30
    path.run(80_005)
    assert carrier.sent == 70


def test_nothing_is_lost_for_good() -> None:
    """Every segment of a transfer arrives, whatever the path does to it."""
    for seed in range(5):
        config = narrow(loss=0.05, reorder=0.1, duplicate=0.1)
        path = Path(config, seed)
        flow = TcpFlow(start_us=0, segments=300)
        carrier = path.carry(flow)
        path.run(120 * SECOND_US)
        assert flow.is_done, f"seed {seed}"
        assert carrier.delivered >= 300
        assert path.clock.next_us() is None or path.clock.next_us() > 0  # type: ignore[operator]
        assert carrier.sent == 300 + flow.retransmitted


def test_a_cut_path_is_tried_ever_more_rarely() -> None:
    path = Path(narrow())
    flow = TcpFlow(start_us=0)
    carrier = path.carry(flow)
    path.run(100_000)
    path.forward.set_config(narrow().with_cut(), 100_000)
    sent = carrier.sent
    path.run(20 * SECOND_US)
    assert 4 <= flow.timeouts <= 8
    assert flow.window_segments == 1.0
    assert carrier.sent > sent
    path.forward.set_config(narrow(), 20 * SECOND_US)
    path.run(60 * SECOND_US)
    assert flow.window_segments > 20


def test_cubic_comes_back_to_where_it_was() -> None:
    """RFC 9438: K seconds after a loss the window is where the loss was."""
    window = CubicWindow()
    window.segments = 400.0
    window.on_loss()
    assert window.segments == pytest.approx(400 * CUBIC_BETA)
    k_us = round(((400 - 280) / 0.4) ** (1 / 3) * 1e6)
    now_us = 0
    while now_us < k_us:
        for _ in range(int(window.segments)):
            window.on_ack(100_000, now_us)
        now_us += 100_000
    assert window.segments == pytest.approx(400, rel=0.05)
    window.on_timeout()
    assert window.segments == 1.0


def test_short_flows_are_as_long_and_as_far_apart_as_said() -> None:
    """RFC 8867 5.7: 100 kB to 1 MB, 10 s between them on average."""
    path = Path(LinkConfig(5_000, rate_bps=100_000_000, queue_us=300_000))
    rng = random.Random(5)
    flows = [
        ShortTcpFlow(random.Random(rng.random()), start_us=0, begins_silent=n > 1)
        for n in range(10)
    ]
    carriers = [path.carry(flow) for flow in flows]
    path.run(50_000)
    assert sum(carrier.sent > 0 for carrier in carriers) == 2
    path.run(120 * SECOND_US)
    transfers = sum(flow.transfers for flow in flows)
    assert 80 < transfers < 160  # ten flows, each 10 s and a transfer of at most some hundred ms
    mean = sum(carrier.delivered_bytes for carrier in carriers) / transfers
    assert mean == pytest.approx(550_000, rel=0.15)


def test_a_flow_ends_when_it_is_told_to() -> None:
    path = Path(narrow())
    carriers = [
        path.carry(TcpFlow(start_us=0, end_us=SECOND_US)),
        path.carry(CbrFlow(500_000, start_us=0, end_us=SECOND_US)),
    ]
    path.run(SECOND_US)
    sent = [carrier.sent for carrier in carriers]
    path.run(10 * SECOND_US)
    assert [carrier.sent for carrier in carriers] == sent
    assert path.clock.next_us() is None


def test_a_constant_rate_is_one() -> None:
    path = Path(LinkConfig(1_000))
    carrier = path.carry(CbrFlow(784_000, start_us=7))
    path.run(100 * SECOND_US)
    assert carrier.sent == pytest.approx(784_000 * 100 / (8 * 1_500), abs=1)
    assert path.back.counters().sent == 0


def test_a_seed_gives_the_same_flows() -> None:
    def sent(seed: int) -> list[int]:
        path = Path(narrow(loss=0.01), seed)
        rng = random.Random(seed)
        flows = [ShortTcpFlow(random.Random(rng.random()), start_us=0) for _ in range(3)]
        carriers = [path.carry(flow) for flow in (*flows, TcpFlow(start_us=0))]
        path.run(30 * SECOND_US)
        return [carrier.sent for carrier in carriers]

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)
