"""How long does a new viewer wait, and how far behind does it stay?

Viewers join a broadcast with a GoP of 2 s at random times, in virtual time: at a node where the
stream is (an earlier viewer watches it there), and at one that has to fetch it for each of them,
over one hop of 40 ms round trip. With the GoP cache, and without. First packet and first decodable
frame (a key frame that is whole) count from the viewer's request; the steady delay is the median of
its frames from 3 s on, of the viewer that stays furthest behind, beside that of the earlier viewer.
Where the stream was is checked: who is to fetch it may not find it there still.

JSON on stdout; fails if a bound is not kept with the cache. About half a minute.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from lab.scenario.model import Scenario
from lab.scenario.report import ViewerReport
from lab.virtual.run import VirtualOverlay

QUESTION = "How long does a new viewer wait, and how far behind does it stay?"
RTT_MS = 40.0
GOP_S = 2.0
STAY_S = 7.0
BEGIN_S = 6.0
APART_S = {"at the node": 0.3, "one hop away": 12.0}
"""The second: a stay, 2 s between requests at most, the 2 s that a stream lingers, and one more."""
BOUNDS = {
    "first packet after the round trip to the holder, ms": 20.0,
    "first decodable frame, 95 % of viewers, ms": 300.0,
    "steady delay beside an earlier viewer's, ms": 100.0,
}


@dataclass(frozen=True)
class Case:
    """Viewers of one kind."""

    where: str
    gop_cache: bool
    rtt_to_holder_ms: float
    joins: int
    found_at_the_node: int
    refused: int
    first_packet_ms: dict[str, float]
    first_frame_ms: dict[str, float]
    frames_damaged_or_missing: int
    steady_delay_ms: dict[str, float]
    earlier_delay_ms: float
    is_within_bounds: bool


def scenario(where: str, gop_cache: bool, joins: int, seed: int) -> Scenario:
    """Two nodes; `joins` viewers at the second one."""
    rng = Random(seed)
    apart_s = APART_S[where]
    viewers = []
    for n in range(joins):
        # Uniformly within its share of time, so that all phases of a GoP are met.
        join_s = BEGIN_S + n * apart_s + rng.random() * min(apart_s, GOP_S)
        viewer = {"name": f"v{n}", "stream": "show", "node": "edge", "join_s": round(join_s, 6)}
        viewers.append({**viewer, "leave_s": round(join_s + STAY_S, 6)})
    at = "edge" if where == "at the node" else "home"
    viewers.append({"name": "earlier", "stream": "show", "node": at, "join_s": 2.0})
    return Scenario.model_validate(
        {
            "name": "start-up",
            "seed": seed,
            "duration_s": BEGIN_S + joins * apart_s + STAY_S + 3,
            "nodes": [{"name": name, "gop_cache": gop_cache} for name in ("home", "edge")],
            "links": [{"a": "home", "b": "edge", "delay_ms": RTT_MS / 2}],
            "paths": [{"node": "edge", "stream": "show", "via": ["home"]}],
            "broadcasts": [{"name": "show", "node": "home", "gop_s": GOP_S}],
            "viewers": viewers,
        }
    )


def quantiles(values: list[float]) -> dict[str, float]:
    """Of what was measured; empty if nothing was."""
    if not values:
        return {}
    ordered = sorted(values)
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(q * len(ordered)))], 3) for name, q in places.items()}


def measure(where: str, gop_cache: bool, joins: int, seed: int) -> Case:
    """One kind of viewers."""
    report = VirtualOverlay(scenario(where, gop_cache, joins, seed)).run()
    viewers = [v for v in report.viewers if v.name != "earlier"]
    (earlier,) = (v for v in report.viewers if v.name == "earlier")
    packets = [v.first_packet_ms for v in viewers if v.first_packet_ms is not None]
    frames = [v.first_frame_ms for v in viewers if v.first_frame_ms is not None]
    rtt_ms = 0.0 if where == "at the node" else RTT_MS
    hop_ms = 0.0 if where == "at the node" else RTT_MS / 2
    steady = quantiles([ms - hop_ms for ms in _delays(viewers)])
    (earlier_ms,) = _delays([earlier])
    first = quantiles(packets)
    decodable = quantiles(frames)
    found_there = sum(v.is_cache_hit is True for v in viewers)
    broken = sum(v.frames_damaged + v.frames_missing for v in viewers)
    return Case(
        where,
        gop_cache,
        rtt_ms,
        joins,
        found_there,
        sum(v.refused is not None for v in viewers),
        first,
        decodable,
        broken,
        steady,
        round(earlier_ms, 3),
        len(packets) == len(frames) == len(_delays(viewers)) == joins
        and found_there == (joins if where == "at the node" else 0)
        and broken == 0
        and first["max"] <= rtt_ms + BOUNDS["first packet after the round trip to the holder, ms"]
        and decodable["p95"] <= BOUNDS["first decodable frame, 95 % of viewers, ms"]
        and steady["max"] - earlier_ms <= BOUNDS["steady delay beside an earlier viewer's, ms"],
    )


def _delays(viewers: list[ViewerReport]) -> list[float]:
    return [v.delay_ms.p50 for v in viewers if v.delay_ms.p50 is not None]


def main(
    joins: Annotated[int, typer.Option(help="Viewers of each kind.")] = 200,
    seed: Annotated[int, typer.Option(help="When they join.")] = 1,
) -> None:
    """How long does a new viewer wait, and how far behind does it stay?"""
    cases = [
        measure(where, gop_cache, joins, seed) for gop_cache in (True, False) for where in APART_S
    ]
    result = {
        "question": QUESTION,
        "bounds": BOUNDS,
        "environment": environment(),
        "gop_s": GOP_S,
        "cases": [asdict(case) for case in cases],
        "holds_with_cache": all(case.is_within_bounds for case in cases if case.gop_cache),
    }
    print(json.dumps(result, indent=1))  # noqa: T201  what it is for
    if not result["holds_with_cache"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
