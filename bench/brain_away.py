"""The brain is killed (SIGKILL) and stays away: what do viewers lose, and how does it come back?

Real processes: four cities with the measured round trips, one broadcast whose path the brain chose,
a viewer that was there before, others that join meanwhile at nodes where the stream is, one that
joins where it is not once the brain is back. Links lose nothing unless told to, so that every frame
that is missing has another reason. Prints JSON; fails if a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.host import host
from lab.realtime.run import Run, RunOptions
from lab.realtime.scene import Scene
from lab.scenario.loader import scenario_of
from lab.scenario.model import BrainEvent, Event, Scenario
from lab.scenario.report import ScenarioReport
from lab.timer_fd import now_us
from overlane.play.verdict import Verdict

QUESTION = "What does a viewer lose while the brain is away, and how soon is all back after it?"
CITIES = {"lisbon": "Lisbon", "singapore": "Singapore", "london": "London", "sydney": "Sydney"}
STREAM = "live"
KILL_S = 12.0
AFTER_S = 45.0  # a node connects again within 10 s, or 30 s after a refusal
LAST_JOIN_S = 38.0
STATE_BACK_S = 2.0  # from the start of the new process
POLL_S = 0.1
SEEN_S = 1.0  # chosen: frames sent so late before a window's end could not have arrived in it


@dataclass
class Frames:
    """Of the viewer that was there all the time."""

    expected: int
    intact: int
    late: int
    damaged_or_missing: int

    @classmethod
    def of(cls, verdict: Verdict) -> Frames:
        lost = verdict.incomplete + verdict.damaged
        return cls(verdict.expected, verdict.intact, verdict.late, lost)


@dataclass
class Observations:
    """versions: of each node's table, in the order seen, each once. Times are seconds since the
    brain's new process was started."""

    versions: dict[str, list[str]] = field(default_factory=dict)
    api_answers_s: float | None = None
    state_back_s: float | None = None
    all_registered_s: float | None = None
    tables_current_s: float | None = None


class Watch:
    """Kills, starts, and looks at what nodes and brain say of themselves."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.seen = Observations()
        self.killed_us = self.started_us = 0
        self.streams_before: object = None
        self.task: asyncio.Task[None] | None = None

    async def kill(self, run: Run) -> Event | None:
        self.run = run
        self.streams_before = _essence(await run.overlay.brain("/streams"))
        self.task = asyncio.create_task(self._watch(run))
        self.killed_us = now_us()
        return BrainEvent(at_s=run.elapsed_s, do="kill_brain")

    async def start(self, run: Run) -> Event | None:
        self.started_us = now_us()
        return BrainEvent(at_s=run.elapsed_s, do="start_brain")

    async def stop(self, _run: Run) -> Event | None:
        if self.task is not None:
            self.task.cancel()
        return None

    async def _watch(self, run: Run) -> None:
        while True:
            for node, status in (await run.overlay.statuses()).items():
                self._note_version(node, status)
            if self.started_us:
                await self._note_return(run)
            await asyncio.sleep(POLL_S if self.started_us else 5 * POLL_S)

    def _note_version(self, node: str, status: dict[str, Any]) -> None:
        table = status["controller"]["table"]
        version = table["version"] if table else "0.0"
        versions = self.seen.versions.setdefault(node, [])
        if not versions or versions[-1] != version:
            versions.append(version)

    async def _note_return(self, run: Run) -> None:
        seen, at_s = self.seen, (now_us() - self.started_us) / 1e6
        nodes, streams = await asyncio.gather(
            run.overlay.brain("/nodes"), run.overlay.brain("/streams")
        )
        if nodes is None or streams is None:
            return
        if seen.api_answers_s is None:
            seen.api_answers_s = at_s
        if seen.state_back_s is None and _essence(streams) == self.streams_before:
            seen.state_back_s = at_s
        if seen.all_registered_s is None and all(node["is_connected"] for node in nodes):
            seen.all_registered_s = at_s
        if seen.tables_current_s is None and all(node["table"]["is_current"] for node in nodes):
            seen.tables_current_s = at_s


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _essence(streams: Any) -> object:
    """What must survive: broadcasts, producers, ids."""
    return [
        (stream["name"], stream["producer"], [track["stream_id"] for track in stream["tracks"]])
        for stream in streams or []
    ]


def scenario(away_s: float, loss: float, seed: int) -> Scenario:
    end_s = KILL_S + away_s
    viewers = {
        "there-before": ("sydney", 3.0),
        "joins-at-consumer": ("sydney", KILL_S + 0.3 * away_s),
        "joins-at-relay": ("singapore", KILL_S + 0.5 * away_s),
        "joins-late-at-consumer": ("sydney", KILL_S + 0.9 * away_s),
        "joins-after": ("london", end_s + LAST_JOIN_S),
    }
    return scenario_of(
        {
            "name": "brain-away",
            "seed": seed,
            "duration_s": end_s + AFTER_S,
            "brain": {"report_s": 2.0},
            "nodes": [{"name": name, "city": city} for name, city in CITIES.items()],
            "mesh": {"jitter_ms": 1.0, "loss": loss},
            "broadcasts": [{"name": STREAM, "node": "lisbon", "start_s": 0.0}],
            "viewers": [
                {"name": name, "stream": STREAM, "node": node, "join_s": join_s}
                for name, (node, join_s) in viewers.items()
            ],
        }
    )


async def bench(away_s: float, loss: float, seed: int, directory: Path) -> dict[str, object]:
    watch = Watch()
    options = RunOptions(
        directory=directory,
        chosen=(
            (KILL_S, watch.kill),
            (KILL_S + away_s, watch.start),
            (KILL_S + away_s + AFTER_S - 1.0, watch.stop),
        ),
    )
    report = await Run.carry_out(scenario(away_s, loss, seed), options, _show)
    return _result(report, watch, loss, seed, away_s)


def _result(
    report: ScenarioReport, watch: Watch, loss: float, seed: int, away_s: float
) -> dict[str, object]:
    run, seen = watch.run, watch.seen
    assert run is not None
    (manifest,) = run.encoders[STREAM].manifests()
    there = run.viewers["there-before"].stays[0]
    late_us = round(SEEN_S * 1e6)
    windows = {
        "before": (0, watch.killed_us),
        "away": (watch.killed_us, watch.started_us),
        "after": (watch.started_us, there.until_us - late_us),
    }
    frames = {
        name: Frames.of(there.judge(manifest, from_us, to_us))
        for name, (from_us, to_us) in windows.items()
    }
    went_back = [node for node, each in seen.versions.items() if each != sorted(each, key=_order)]
    joined = [viewer for viewer in report.viewers if viewer.name.startswith("joins")]
    kept = {
        "no_frame_lost_while_away": frames["away"].intact == frames["away"].expected > 0,
        "who_joined_was_served": all(
            v.frames_expected > 0 and v.frames_intact == v.frames_expected for v in joined
        ),
        "state_back_in_2_s": seen.state_back_s is not None and seen.state_back_s <= STATE_BACK_S,
        "all_nodes_came_back": seen.all_registered_s is not None,
        "no_table_went_back": not went_back,
    }
    return {
        "question": QUESTION,
        "host": host(),
        "seed": seed,
        "loss": loss,
        "away_s": away_s,
        "kept": all(kept.values()),
        "bounds": kept,
        "frames": {name: asdict(each) for name, each in frames.items()},
        "joined": [
            {
                "viewer": viewer.name,
                "node": viewer.node,
                "path": viewer.path,
                "first_frame_ms": viewer.first_frame_ms,
                "frames_expected": viewer.frames_expected,
                "frames_intact": viewer.frames_intact,
            }
            for viewer in joined
        ],
        "back": asdict(seen),
        "tables_that_went_back": went_back,
        "brain": msgspec.to_builtins(report.brain),
    }


def _show(scene: Scene) -> None:
    """Nothing: the result is JSON."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the brain is away")
    parser.add_argument("--loss", type=float, default=0.0, help="on every link")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep logs and configurations here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        found = uvloop.run(bench(options.seconds, options.loss, options.seed, directory))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
