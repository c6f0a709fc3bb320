"""The demo: a real broadcast over eight cities, whose paths the brain chooses, watched far away.

Lisbon and seven cities around the globe, with the measured round trips between all of them and 1 %
loss on every link. Half-way a link that carries the broadcast to the farthest viewer is cut; which
one that is, is read from the node. The nodes go over to the paths they hold in reserve.

These cities because the straight line is not the quickest there: by the round trips measured
Sydney, Seattle and Bogota are reached soonest through London.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.demo_report import DemoReport, Reroute, ViewerReport, demo_hop, first_frame_p95, is_whole
from lab.errors import LabError
from lab.realtime.encoders import Source
from lab.realtime.run import Run, RunOptions, Show
from lab.scenario.loader import scenario_of
from lab.scenario.model import Cut, Event, Scenario
from lab.scenario.report import ScenarioReport

CITIES = (
    "Lisbon", "London", "Frankfurt", "New York", "Seattle", "Bogota", "Hong Kong", "Sydney",
)  # fmt: skip
STREAM = "demo"
PRODUCER = "lisbon"
FAR = "sydney"
LATE = "london"
JOIN_S = {"sydney": 2.5, "seattle": 2.7, "hong-kong": 2.9}
LATE_SHARE, CUT_SHARE = 0.4, 0.55  # of the broadcast's length
JITTER_MS = 1.0  # chosen: a long-haul path with little load
REPORT_S = 2.0  # chosen: the brain sees what happens soon; a real one is told each minute


class DemoError(LabError):
    """The demo could not be carried out (which is not: frames were lost)."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """source: a media file instead of the pattern; `copy_video` sends its H.264 as it is."""

    directory: Path
    seconds: float = 45.0
    loss: float = 0.01
    seed: int = 1
    repair: bool = True
    source: Path | None = None
    copy_video: bool = False


async def run_demo(options: DemoOptions, show: Show) -> DemoReport:
    """Raises LabError if a part does not come up or ends early."""
    cut = _CutOfTheFarPath()
    scenario = demo_scenario(options)
    run = RunOptions(
        directory=options.directory,
        repair=options.repair,
        pictures=True,
        source=Source(options.source, options.copy_video),
        chosen=((CUT_SHARE * options.seconds, cut.choose),),
    )
    found = await Run.carry_out(scenario, run, show)
    if cut.run is None or cut.event is None:
        raise DemoError("the far viewer had no path to be cut")
    return _report(options, found, cut.run, cut)


def demo_scenario(options: DemoOptions) -> Scenario:
    """Without the cut, which is found when its time has come."""
    late_s = max(max(JOIN_S.values()) + 0.5, LATE_SHARE * options.seconds)
    document: dict[str, Any] = {
        "name": "eight-cities",
        "seed": options.seed,
        "duration_s": options.seconds,
        "brain": {"report_s": REPORT_S},
        "nodes": [{"name": node_name(city), "city": city} for city in CITIES],
        "mesh": {"jitter_ms": JITTER_MS, "loss": options.loss},
        "broadcasts": [
            {"name": STREAM, "node": PRODUCER, "start_s": 0.0, "bitrate_bps": 1_500_000}
        ],
        "viewers": [
            {"name": node, "stream": STREAM, "node": node, "join_s": join_s}
            for node, join_s in (JOIN_S | {LATE: late_s}).items()
        ],
    }
    return scenario_of(document)


def node_name(city: str) -> str:
    return city.lower().replace(" ", "-")


class _CutOfTheFarPath:
    """Finds the link to cut, and keeps what was so before."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.event: Cut | None = None
        self.paths: dict[str, list[str]] = {}

    async def choose(self, run: Run) -> Event | None:
        """The first link of the farthest viewer's path that others lie behind as well: the cut that
        most depends on."""
        self.run = run
        await run.observer.look()
        self.paths = {name: list(run.observer.path_of(STREAM, name)) for name in run.viewers}
        far = self.paths[FAR]
        if len(far) < 2:
            return None
        a, b = next(itertools.pairwise(far))
        self.event = Cut(at_s=run.elapsed_s, do="cut", a=a, b=b)
        return self.event


def _report(
    options: DemoOptions, found: ScenarioReport, run: Run, cut: _CutOfTheFarPath
) -> DemoReport:
    assert cut.event is not None
    ended_us = run.began_us + round(found.duration_s * 1e6)
    used = {hop for path in cut.paths.values() for hop in itertools.pairwise(path)}
    used |= {hop for viewer in found.viewers for hop in itertools.pairwise(viewer.path)}
    hops = [demo_hop(hop) for hop in found.hops if (hop.sender, hop.receiver) in used]
    viewers = [
        ViewerReport(
            name=viewer.name,
            node=viewer.node,
            path=viewer.path,
            path_before=cut.paths[viewer.name],
            joined_s=viewer.joined_s or 0.0,
            frames_expected=viewer.frames_expected,
            frames_intact=viewer.frames_intact,
            frames_late=viewer.frames_late,
            intact_ratio=viewer.intact_ratio or 0.0,
            first_frame_ms=viewer.first_frame_ms,
            reroute_gap_ms=run.viewers[viewer.name].gap_ms(run.done[0].at_us, ended_us),
            delay_ms=viewer.delay_ms,
            audio_packets=viewer.audio_packets,
            audio_missing=viewer.audio_missing,
            frames_decoded=decoded.frames_decoded if decoded else 0,
            decode_errors=decoded.decode_errors if decoded else 0,
            picture=str(decoded.picture) if decoded and decoded.picture else None,
        )
        for viewer in found.viewers
        for decoded in [run.viewers[viewer.name].stays[-1].decoded]
    ]
    sent = [report for encoder in run.encoders.values() for report in encoder.reports()]
    event = found.events[0]
    return DemoReport(
        is_whole=is_whole(viewers),
        repair=options.repair,
        seconds=options.seconds,
        seed=options.seed,
        frames_sent=sum(each.frames for each in sent),
        packets_sent=sum(each.packets_sent for each in sent),
        packets_lost_on_links=sum(hop.lost for hop in hops),
        packets_repaired=sum(hop.repaired for hop in hops),
        packets_gone=sum(hop.gone for hop in hops),
        packets_given_up=sum(hop.given_up for hop in hops),
        first_frame_ms={"p95": first_frame_p95(viewers)},
        reroute=Reroute(
            at_s=event.at_s,
            cut=[cut.event.a, cut.event.b],
            gap_ms=max((v.reroute_gap_ms for v in viewers if v.reroute_gap_ms), default=None),
            switches=event.switches,
        ),
        hops=hops,
        viewers=viewers,
        brain=found.brain,
        fallbacks=run.observer.fallbacks,
        directory=str(options.directory),
    )
