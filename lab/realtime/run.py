"""A scenario from the first process to the report.

Time 0 is the moment when the overlay is ready. Everything of the file happens on one time line, in
the order of time; a step that takes long (an encoder that is restarted) does not hold up the next.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from lab.errors import LabError
from lab.processes import Processes
from lab.realtime.encoders import Encoder, Source
from lab.realtime.journal import Journal
from lab.realtime.observer import Observer
from lab.realtime.overlay import ScenarioOverlay
from lab.realtime.scene import Scene, Watching
from lab.realtime.summary import Done, Finished, scenario_report
from lab.realtime.talk import Wishes
from lab.realtime.viewers import LabViewer
from lab.scenario.expansion import expanded, for_real_time, stays
from lab.scenario.feedback import speech_of
from lab.scenario.model import (
    BrainEvent,
    ChangeAccess,
    ChangeLink,
    Cut,
    Event,
    Mend,
    MoveBroadcast,
    MoveViewer,
    NodeEvent,
    PauseEncoder,
    RestartEncoder,
    Scenario,
    SwitchViewer,
    ViewerEvent,
)
from lab.scenario.report import ScenarioReport
from lab.scenario.topology import changed, changed_access, is_meant, viewer_behind
from lab.scenario.words import describe
from lab.timer_fd import now_us
from overlane.play.errors import PlayError

LOOK_S = 0.5  # how often nodes and brain are asked; each answer takes a node about 2 ms
_TICK_S = 0.1
_GAP_VIEW_US = 20_000_000
_TAIL_S = 1.0  # chosen: the longest path's delay and a repair, for the last frames

Show: TypeAlias = Callable[[Scene], None]
Choose: TypeAlias = Callable[["Run"], Awaitable[Event | None]]
"""Makes an event when its time has come, of what is so then; None: there is nothing to do."""


class RunError(LabError):
    """The run could not be carried out (which is not: an expectation failed)."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """directory: for configurations, logs and pictures. repair: whether nodes ask for lost packets
    again. pictures: whether each viewer decodes, and keeps the last frame as a PNG. chosen: events
    beside the file's, made when their time (s) has come."""

    directory: Path
    repair: bool = True
    pictures: bool = False
    source: Source = field(default_factory=Source)
    chosen: tuple[tuple[float, Choose], ...] = ()


@dataclass(order=True, slots=True)
class _Step:
    at_s: float
    number: int  # of the same time, the first in the file goes first
    do: Callable[[], Coroutine[Any, Any, None]] = field(compare=False)


async def run_scenario(scenario: Scenario, options: RunOptions, show: Show) -> ScenarioReport:
    """Raises LabError if a part does not come up, or ends when nothing told it to."""
    if problems := _for_virtual_time_only(scenario):
        raise RunError(f"for virtual time only: {'; '.join(problems)}")
    return await Run.carry_out(expanded(for_real_time(scenario)), options, show)


def _for_virtual_time_only(scenario: Scenario) -> list[str]:
    """What this scenario asks for that real processes do not do."""
    found = []
    if any(node.workers > 1 for node in scenario.nodes):
        found.append("nodes with several workers (links join one port each)")
    if not all(node.gop_cache for node in scenario.nodes):
        found.append("nodes without a GoP cache")
    versions = {broadcast.name for broadcast in scenario.broadcasts if broadcast.versions}
    if versions & {access.broadcast for access in scenario.access}:
        found.append("versions of a broadcast behind an access path (it has a lane for one)")
    if any(broadcast.codec != "H264" for broadcast in scenario.broadcasts):
        found.append("codecs other than H264")
    if any(broadcast.b_frames for broadcast in scenario.broadcasts):
        found.append("b_frames (the encoder makes none)")
    if any(broadcast.adaptive for broadcast in scenario.broadcasts):
        found.append("adaptive encoders")
    if any(viewer.beyond_ms for viewer in scenario.viewers):
        found.append("beyond_ms of viewers")
    if scenario.flows:
        found.append("flows")
    return found


class Run:
    """One run."""

    def __init__(
        self, scenario: Scenario, options: RunOptions, show: Show, overlay: ScenarioOverlay
    ) -> None:
        self.scenario = scenario
        self.options = options
        self.overlay = overlay
        self.done: list[Done] = []
        self.began_us = now_us()
        self.observer = Observer(overlay, Journal(options.directory), self.began_us)
        behind = {name for path in overlay.links.accesses for name in path.viewers}
        has_audio = {broadcast.name: broadcast.audio for broadcast in scenario.broadcasts}
        self.viewers = {
            name: LabViewer(
                name,
                entry,
                overlay.files,
                audio=has_audio[entry.stream],
                reach=partial(overlay.links.reach, viewer_behind(name)),
                picture=options.directory / f"{name}.png" if options.pictures else None,
                wishes=Wishes(
                    speech_of(entry, has_access=name in behind),
                    entry.premium,
                    random.Random(f"{scenario.seed} feedback {name}").getrandbits(64),
                ),
            )
            for entry in scenario.viewers
            for name in entry.names
        }
        self.encoders = {
            broadcast.name: Encoder(broadcast, overlay, scenario.seed + index, options.source)
            for index, broadcast in enumerate(scenario.broadcasts)
        }
        self._ended_us: int | None = None
        self._show = show
        self._steps: list[_Step] = []
        self._numbers = itertools.count()
        self._under_way: set[asyncio.Task[None]] = set()

    @classmethod
    async def carry_out(cls, scenario: Scenario, options: RunOptions, show: Show) -> ScenarioReport:
        """From nothing to the report; nothing outlives the call."""
        _make_directory(options.directory)
        with _as_run_error():
            async with Processes(options.directory) as processes:
                overlay = ScenarioOverlay(
                    scenario,
                    options.directory,
                    processes,
                    seed=scenario.seed,
                    repair=options.repair,
                )
                show(Scene(scenario.name, _starting(scenario), 0.0, scenario.duration_s))
                async with overlay:
                    await overlay.start()
                    run = cls(scenario, options, show, overlay)
                    try:
                        return await run._through()
                    finally:
                        await run._end()

    @property
    def elapsed_s(self) -> float:
        return (now_us() - self.began_us) / 1_000_000

    async def perform(self, event: Event) -> None:
        """Make it happen now."""
        at_us = now_us()
        match event:
            case Cut():
                at_us = await self.overlay.links.cut(event.a, event.b)
            case Mend():
                at_us = await self.overlay.links.mend(event.a, event.b)
            case ChangeLink():
                config = self.overlay.links.between(event.a, event.b).config
                config = changed(config, event, at_us)
                at_us = await self.overlay.links.configure(event.a, event.b, config)
            case ChangeAccess():
                for number, path in enumerate(self.overlay.links.accesses):
                    if is_meant(path, event):
                        path = changed_access(path, event, at_us)
                        await self.overlay.links.configure_access(number, path)
            case NodeEvent(do="kill"):
                await self.overlay.kill_node(event.node)
            case NodeEvent():
                await self.overlay.start_node(event.node)
            case BrainEvent(do="kill_brain"):
                await self.overlay.kill_brain()
            case BrainEvent():
                await self.overlay.start_brain()
            case ViewerEvent(do="join"):
                await asyncio.gather(*(viewer.join() for viewer in self._of(event.viewer)))
            case ViewerEvent():
                await asyncio.gather(*(viewer.leave() for viewer in self._of(event.viewer)))
            case MoveViewer():
                await asyncio.gather(*(viewer.move(event.to) for viewer in self._of(event.viewer)))
            case SwitchViewer():
                for viewer in self._of(event.viewer):
                    self._spawn(self._switch(viewer, event.to))
            case MoveBroadcast():
                self._spawn(self.encoders[event.broadcast].move(event.to))
            case PauseEncoder(do="pause_encoder"):
                self._spawn(self.encoders[event.broadcast].stop())
            case PauseEncoder():
                self._spawn(self.encoders[event.broadcast].start())
            case RestartEncoder():
                self._spawn(self.encoders[event.broadcast].restart())
        self.done.append(Done(at_us, event))
        is_harm = event.do in ("cut", "kill", "kill_brain")
        self.observer.say(describe(event), "bad" if is_harm else "plain", at_us)

    async def _switch(self, viewer: LabViewer, stream: str) -> None:
        """A node that has none says so; that is a finding, not an end of the run."""
        try:
            await viewer.switch(stream)
        except PlayError as error:
            self.observer.say(f"{viewer.name} does not switch: {error}", "bad")

    def _of(self, entry: str) -> list[LabViewer]:
        return [self.viewers[name] for name in self.scenario.viewer_entry(entry).names]

    async def _through(self) -> ScenarioReport:
        await self.overlay.begin_traces(self.began_us)
        self._plan()
        next_look_s = 0.0
        looking: asyncio.Task[None] | None = None
        while (elapsed_s := self.elapsed_s) < self.scenario.duration_s:
            while self._steps and self._steps[0].at_s <= elapsed_s:
                await heapq.heappop(self._steps).do()
            self._check()
            if elapsed_s >= next_look_s and (looking is None or looking.done()):
                next_look_s = elapsed_s + LOOK_S
                looking = self._spawn(self._look())
            next_s = self._steps[0].at_s if self._steps else elapsed_s + _TICK_S
            await asyncio.sleep(max(0.0, min(next_s - self.elapsed_s, _TICK_S)))
        return await self._finish()

    async def _look(self) -> None:
        await self.observer.look()
        self._show(self.scene("on the air"))

    async def _finish(self) -> ScenarioReport:
        self._ended_us = ended_us = now_us()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await asyncio.gather(*(encoder.stop() for encoder in self.encoders.values()))
        await asyncio.sleep(_TAIL_S)
        await self.observer.look()
        self._check()
        self._show(self.scene("the last frames"))
        await self._end()
        return scenario_report(
            Finished(
                scenario=self.scenario,
                began_us=self.began_us,
                ended_us=ended_us,
                done=self.done,
                viewers=list(self.viewers.values()),
                encoders=self.encoders,
                observer=self.observer,
                delays_us={p: link.config.delay_us for p, link in self.overlay.links.links.items()},
                brain_starts=self.overlay.brain_starts,
            )
        )

    async def _end(self) -> None:
        """Viewers leave; steps that still run are given up."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await asyncio.gather(*(viewer.leave() for viewer in self.viewers.values()))

    def _plan(self) -> None:
        for broadcast in self.scenario.broadcasts:
            encoder = self.encoders[broadcast.name]
            self._at(broadcast.start_s, encoder.start)
            if broadcast.end_s is not None:
                self._at(broadcast.end_s, encoder.stop)
        for name, join_s, leave_s in stays(self.scenario):
            if join_s is not None:
                self._at(join_s, self.viewers[name].join)
            if leave_s is not None:
                self._at(leave_s, self.viewers[name].leave)
        for event in self.scenario.events:
            self._at(event.at_s, partial(self.perform, event))
        for at_s, choose in self.options.chosen:
            self._at(at_s, partial(self._choose, choose))

    def _at(self, at_s: float, do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        heapq.heappush(self._steps, _Step(at_s, next(self._numbers), do))

    async def _choose(self, choose: Choose) -> None:
        event = await choose(self)
        if event is not None:
            await self.perform(event)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._under_way.add(task)
        return task

    def _check(self) -> None:
        """Raises LabError if anything ended that was not told to."""
        self.overlay.check_alive()
        for encoder in self.encoders.values():
            encoder.check()
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            task.result()

    def scene(self, step: str) -> Scene:
        """As of the last look."""
        observer, links = self.observer, self.overlay.links.links
        return Scene(
            title=self.scenario.name,
            step=step,
            elapsed_s=min(self.elapsed_s, self.scenario.duration_s),
            duration_s=self.scenario.duration_s,
            nodes=tuple(self.overlay.files.nodes),
            down=tuple(n for n in self.overlay.files.nodes if n not in self.overlay.node_children),
            cut=tuple(pair for pair, link in links.items() if link.is_cut),
            brain=observer.brain_scene(),
            streams=observer.streams(),
            hops=observer.hops(),
            viewers=tuple(self._watching(viewer) for viewer in self.viewers.values()),
            moments=tuple(observer.moments),
        )

    def _gaps_from_us(self) -> int:
        """Since when a view shows silences: since the last event, if that is not long ago."""
        last_us = self.done[-1].at_us if self.done else self.began_us
        return max(last_us, now_us() - _GAP_VIEW_US)

    def _watching(self, viewer: LabViewer) -> Watching:
        path = viewer.stays[-1].path if viewer.stays else []
        return Watching(
            name=viewer.name,
            stream=viewer.stream,
            node=viewer.node,
            is_here=viewer.is_here,
            frames=viewer.frames,
            first_frame_ms=viewer.first_frame_ms,
            gap_ms=viewer.gap_ms(self._gaps_from_us(), self._ended_us or now_us()),
            path=tuple(path),
            refusal=viewer.stays[-1].refusal if viewer.stays else None,
        )


@contextmanager
def _as_run_error() -> Iterator[None]:
    """What the machine refuses, as one line."""
    try:
        yield
    except OSError as error:
        what = error.filename or "the run"
        raise RunError(f"{what}: {error.strerror or error}") from None


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink()
    except OSError as error:
        raise RunError(f"cannot write to {directory}: {error.strerror}") from None


def _starting(scenario: Scenario) -> str:
    brain = "the brain and " if scenario.brain is not None else ""
    return f"starting {brain}{len(scenario.nodes)} nodes"
