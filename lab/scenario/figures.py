"""A report's numbers by dotted name: `viewers.far.delay_ms.p99`, `hops.london>tokyo.lost`.

Events are named by their place in the order of time, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from lab.scenario.model import Scenario
from lab.scenario.report import (
    AccessReport,
    BrainReport,
    Delay,
    EventReport,
    FlowReport,
    HopReport,
    PathLoad,
    ScenarioReport,
    ViewerReport,
)
from lab.scenario.topology import access_paths, flow_places

Figures: TypeAlias = dict[str, float | None]
_NAMES = ("name", "sender", "receiver", "stream", "node", "at_s")


def figures_of(report: ScenarioReport) -> Figures:
    """Every number of a report; None where there was nothing to measure."""
    found: Figures = {"datagrams": report.datagrams}
    for viewer in report.viewers:
        found |= _numbers(f"viewers.{viewer.name}", viewer)
        found[f"viewers.{viewer.name}.path_nodes"] = len(viewer.path)
        found[f"viewers.{viewer.name}.version_changes"] = len(viewer.version_changes)
        found[f"viewers.{viewer.name}.stream_changes"] = len(viewer.stream_changes)
        last = viewer.version_changes[-1] if viewer.version_changes else None
        found[f"viewers.{viewer.name}.last_version"] = last.version if last else None
        found[f"viewers.{viewer.name}.last_version_s"] = last.at_s if last else None
        found[f"viewers.{viewer.name}.longest_event_gap_ms"] = max(
            (gap.gap_ms for gap in viewer.gaps), default=0.0
        )
    for hop in report.hops:
        found |= _numbers(f"hops.{hop.name}", hop)
    for access in report.access:
        found |= _numbers(f"access.{access.name}", access)
    for flow in report.flows:
        found |= _numbers(f"flows.{flow.name}", flow)
    found |= _numbers("qoe", report.qoe)
    if report.brain is not None:
        found |= _numbers("brain", report.brain)
    for index, event in enumerate(report.events):
        found |= _numbers(f"events.{index}", event)
    return found


def possible_figures(scenario: Scenario) -> Figures:
    """The names that a report of this scenario may have, without values."""
    nodes = [node.name for node in scenario.nodes]
    empty = ScenarioReport(
        name=scenario.name,
        mode="virtual",
        seed=scenario.seed,
        duration_s=scenario.duration_s,
        viewers=[
            ViewerReport(
                name=name,
                stream=entry.stream,
                node=entry.node,
                path=[],
                joined_s=None,
                delay_ms=Delay(),
            )
            for entry in scenario.viewers
            for name in entry.names
        ],
        hops=[HopReport(sender=a, receiver=b, packets=0) for a in nodes for b in nodes if a != b],
        access=[
            AccessReport(name=path.short_name, forward=PathLoad(), back=PathLoad())
            for path in access_paths(scenario)
        ],
        flows=[FlowReport(name=name) for name, _, _ in flow_places(scenario)],
        brain=BrainReport() if scenario.brain is not None else None,
        events=[EventReport(at_s=event.at_s, do=event.do, what="") for event in scenario.events],
    )
    return dict.fromkeys(figures_of(empty))


def _numbers(prefix: str, value: msgspec.Struct) -> Figures:
    return _of_table(prefix, msgspec.to_builtins(value))


def _of_table(prefix: str, table: Mapping[str, Any]) -> Figures:
    found: Figures = {}
    for key, value in table.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            found |= _of_table(name, value)
        elif key not in _NAMES and not isinstance(value, str | list):
            found[name] = None if value is None else float(value)
    return found
