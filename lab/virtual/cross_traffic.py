"""The flows of a scenario's [[flows]], over the native paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from lab.flows.carrier import Admit, Carrier
from lab.flows.flow import CbrFlow, Flow
from lab.flows.tcp import WINDOWS, ShortTcpFlow, TcpFlow
from lab.scenario.model import CrossTraffic, Scenario
from lab.scenario.report import FlowReport
from lab.scenario.topology import flow_places
from lab.virtual.clock import Agenda, Luck
from lab.virtual.settings import START_US
from lab.virtual.world import World

_SHORT_BEGIN = 0.2  # share of short flows that begin with a transfer: two of ten, RFC 8867 5.7


@dataclass(frozen=True, slots=True)
class CarriedFlow:
    """One flow on its way."""

    name: str
    entry: CrossTraffic
    carrier: Carrier

    def report(self, duration_s: float) -> FlowReport:
        carrier, flow = self.carrier, self.carrier.flow
        bits = 8 * carrier.delivered_bytes
        return FlowReport(
            name=self.name,
            sent=carrier.sent,
            delivered=carrier.delivered,
            loss=1 - carrier.delivered / carrier.sent if carrier.sent else 0.0,
            rate_bps=bits / (end_s(self.entry, duration_s) - self.entry.start_s),
            transfers=flow.transfers if isinstance(flow, ShortTcpFlow) else 0,
        )


def open_flows(
    scenario: Scenario, world: World, numbers: Mapping[str, int], agenda: Agenda, luck: Luck
) -> list[CarriedFlow]:
    """Started with the agenda. numbers: of the nodes, as hosts of the world."""
    found: list[CarriedFlow] = []
    for name, entry, access in flow_places(scenario):
        number = len(found)
        begins = number % entry.count < round(_SHORT_BEGIN * entry.count)
        end_us = START_US + round(end_s(entry, scenario.duration_s) * 1_000_000)
        flow = _new_flow(name, entry, luck, end_us, begins=begins)
        ways = _link_ways(entry, world, numbers) if access is None else _access_ways(access, world)
        forward, back = ways[::-1] if entry.reverse else ways
        found.append(CarriedFlow(name, entry, Carrier(flow, agenda, forward, back)))
    return found


def end_s(entry: CrossTraffic, duration_s: float) -> float:
    """When it sends no more."""
    return duration_s if entry.end_s is None else min(entry.end_s, duration_s)


def _new_flow(name: str, entry: CrossTraffic, luck: Luck, end_us: int, *, begins: bool) -> Flow:
    start_us = START_US + round(entry.start_s * 1_000_000)
    window = WINDOWS[entry.window]
    if entry.kind == "tcp":
        return TcpFlow(window, start_us=start_us, end_us=end_us)
    if entry.kind == "short_tcp":
        rng = luck.source("flow", name)
        return ShortTcpFlow(rng, window, start_us=start_us, end_us=end_us, begins_silent=not begins)
    assert entry.rate_bps is not None  # the model sees to it
    return CbrFlow(entry.rate_bps, start_us=start_us, end_us=end_us)


def _link_ways(
    entry: CrossTraffic, world: World, numbers: Mapping[str, int]
) -> tuple[Admit, Admit]:
    assert entry.a is not None  # likewise
    assert entry.b is not None
    a, b = numbers[entry.a], numbers[entry.b]
    return partial(world.admit, a, b), partial(world.admit, b, a)


def _access_ways(access: int, world: World) -> tuple[Admit, Admit]:
    return partial(world.admit_access, access, True), partial(world.admit_access, access, False)
