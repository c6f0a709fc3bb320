"""Runs a scenario in virtual time: the same nodes, agents and brain as on sockets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lab.link import LinkConfig
from lab.scenario.expansion import expanded, stays
from lab.scenario.expectations import judge
from lab.scenario.feedback import speech_of
from lab.scenario.link_keys import ms_to_us
from lab.scenario.model import (
    CODECS,
    BrainEvent,
    Broadcast,
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
from lab.scenario.topology import (
    Pair,
    access_paths,
    changed,
    changed_access,
    is_meant,
    link_configs,
    pair_of,
)
from lab.virtual.adaptation import Adaptation
from lab.virtual.audience import Audience, Watcher
from lab.virtual.brain_host import BrainHost
from lab.virtual.clock import Agenda, Luck
from lab.virtual.cross_traffic import open_flows
from lab.virtual.node_host import NodeHost
from lab.virtual.settings import START_US, brain_settings, node_configs
from lab.virtual.targets import Targets
from lab.virtual.world import World
from relay import events as node_events

DRAIN_US = 1_500_000  # after the end, so that what was sent can arrive
GAP_MARGIN_US = 100_000  # beyond a frame's length, from which on a silence is listed
Load: TypeAlias = tuple[float, int, tuple[tuple[int, int], ...]]
"""As `World.access_load` tells it."""


@dataclass(slots=True)
class Happened:
    """An event that was carried out, and the switches that followed it."""

    event: Event
    at_us: int
    switches: list[str] = field(default_factory=list)


class VirtualOverlay:
    """A scenario on its way. `run_until` may be called in steps."""

    def __init__(
        self, scenario: Scenario, node_tables: Mapping[str, Mapping[str, object]] | None = None
    ) -> None:
        """node_tables: of every node's configuration, such as `repair`; in place of defaults."""
        self.scenario = scenario = expanded(scenario)
        self.luck = Luck(scenario.seed)
        self.agenda = Agenda(START_US)
        self.links = {
            pair: link.with_trace_from(START_US) for pair, link in link_configs(scenario).items()
        }
        self.access_loads: list[tuple[Load, Load]] = []
        """Of each of `access` at the scenario's end, forward and back."""
        self.access = [path.with_traces_from(START_US) for path in access_paths(scenario)]
        self.cut: set[Pair] = set()
        self.happened: list[Happened] = []
        self.numbers = {node.name: number for number, node in enumerate(scenario.nodes)}
        self.encoders = {b.name: number for number, b in enumerate(scenario.broadcasts)}
        """Of each broadcast's best version. The others' come after all of these."""
        self.encoders_of = _numbered(scenario.broadcasts)
        self.at_node = {b.name: b.node for b in scenario.broadcasts}
        """Where each encoder sends to."""
        entries = [(entry, name) for entry in scenario.viewers for name in entry.names]
        self.world = World(
            len(self.numbers),
            len(entries),
            sum(map(len, self.encoders_of.values())),
            workers=max(node.workers for node in scenario.nodes),
            accesses=len(self.access),
            start_us=START_US,
        )
        joined = set(self.links)
        self.nodes = {
            config.name: NodeHost(
                number, config, self.world, self.agenda, self.luck, self._on_node_event
            )
            for number, config in enumerate(
                node_configs(scenario, joined, self.luck, node_tables or {})
            )
        }
        self.brain: BrainHost | None = None
        broadcasts = {broadcast.name: broadcast for broadcast in scenario.broadcasts}
        watchers = [
            Watcher(name, number, entry, broadcasts[entry.stream])
            for number, (entry, name) in enumerate(entries)
        ]
        self.audience = Audience(watchers, self.world, self.agenda)
        for pair, link in self.links.items():
            self._apply(pair, link)
        for watcher in watchers:
            frame_us = 1_000_000 // watcher.broadcast.fps
            encoder = self.encoders[watcher.broadcast.name]
            codec = CODECS.index(watcher.broadcast.codec)
            self.world.set_viewer(watcher.number, encoder, frame_us + GAP_MARGIN_US, codec)
        self._open_access()
        self.flows = open_flows(self.scenario, self.world, self.numbers, self.agenda, self.luck)
        if scenario.brain is not None:
            settings = brain_settings(scenario, joined, self.luck)
            self.brain = BrainHost(settings, self.agenda, self.luck)
            self.brain.start()
            for host in self.nodes.values():
                host.reach_brain(self.brain, round(scenario.brain.control_delay_ms * 1_000))
        for host in self.nodes.values():
            host.start()
        self._plan()
        self.targets = Targets(
            self.audience,
            self.nodes.values,
            self.agenda,
            has_links=scenario.rate.node_links.controller != "fixed",
        )
        self.adaptations = [
            Adaptation(
                broadcast, self.encoders_of[broadcast.name], self.audience, self.world, self.agenda
            )
            for broadcast in scenario.broadcasts
            if broadcast.adaptive is not None
        ]

    @property
    def end_us(self) -> int:
        return START_US + round(self.scenario.duration_s * 1_000_000)

    def run(self) -> ScenarioReport:
        """To its end."""
        from lab.virtual.summary import report_of

        self.run_until(self.end_us)
        self.access_loads = [
            (self.world.access_load(number, True), self.world.access_load(number, False))
            for number in range(len(self.access))
        ]
        self.run_until(self.end_us + DRAIN_US)
        self.audience.end()
        report = report_of(self)
        fields = {name: getattr(report, name) for name in report.__struct_fields__}
        return ScenarioReport(**(fields | {"expectations": judge(self.scenario, report)}))

    def run_until(self, end_us: int) -> None:
        """Let everything happen that is due by then."""
        world, agenda = self.world, self.agenda
        while True:
            due_us = self._next_us()
            now_us = world.run(end_us if due_us is None else max(world.now_us, min(due_us, end_us)))
            agenda.now_us = now_us
            for number in world.told():
                self._host(number).settle()
            agenda.run_due()
            for host in self.nodes.values():
                if host.timer_us is not None and host.timer_us <= now_us:
                    host.handle_timer()
            if self.brain is not None:
                timer_us = self.brain.next_timer_us()
                if timer_us is not None and timer_us <= now_us:
                    self.brain.handle_timer()
            if now_us >= end_us and not world.told() and (self._next_us() or end_us + 1) > end_us:
                return

    def do(self, event: Event) -> None:
        """Carry out an event now."""
        self.happened.append(Happened(event, self.agenda.now_us))
        match event:
            case Cut():
                pair = pair_of(event.a, event.b)
                self.cut.add(pair)
                self._apply(pair, self.links[pair].with_cut())
            case Mend():
                pair = pair_of(event.a, event.b)
                self.cut.discard(pair)
                self._apply(pair, self.links[pair])
            case ChangeLink():
                pair = pair_of(event.a, event.b)
                self.links[pair] = changed(self.links[pair], event, self.agenda.now_us)
                link = self.links[pair]
                self._apply(pair, link.with_cut() if pair in self.cut else link)
            case ChangeAccess():
                for number, path in enumerate(self.access):
                    if is_meant(path, event):
                        path = changed_access(path, event, self.agenda.now_us)
                        self.access[number] = path
                        self.world.set_access(number, path.forward, path.back)
            case NodeEvent(do="kill"):
                self.nodes[event.node].kill()
                self.audience.on_killed(self.nodes[event.node])
            case NodeEvent():
                self.nodes[event.node].start()
                self._aim_all()
            case BrainEvent(do="kill_brain"):
                assert self.brain is not None
                self.brain.kill()
            case BrainEvent():
                assert self.brain is not None
                self.brain.start()
            case ViewerEvent(do="join"):
                for watcher in self.audience.of(event.viewer):
                    self.audience.join(watcher, self.nodes[watcher.entry.node])
            case ViewerEvent():
                for watcher in self.audience.of(event.viewer):
                    self.audience.leave(watcher)
            case MoveViewer():
                for watcher in self.audience.of(event.viewer):
                    self.audience.join(watcher, self.nodes[event.to])
            case SwitchViewer():
                (broadcast,) = (b for b in self.scenario.broadcasts if b.name == event.to)
                for watcher in self.audience.of(event.viewer):
                    self.audience.switch(watcher, broadcast, self.encoders[event.to])
            case MoveBroadcast():
                self.at_node[event.broadcast] = event.to
                self._aim_all()
                self._restart(event.broadcast)
            case RestartEncoder():
                self._restart(event.broadcast)
            case PauseEncoder(do="pause_encoder"):
                for number in self.encoders_of[event.broadcast]:
                    self.world.pause_encoder(number)
            case PauseEncoder():
                for number in self.encoders_of[event.broadcast]:
                    self.world.resume_encoder(number)

    # -- inside

    def _open_access(self) -> None:
        """Paths to viewers and from encoders, and what viewers say over them."""
        behind = {name for path in self.access for name in path.viewers}
        watchers = {watcher.name: watcher for watcher in self.audience.watchers}
        for number, path in enumerate(self.access):
            self.world.open_access(number, self.luck.bits("access", path.name))
            self.world.set_access(number, path.forward, path.back)
            for name in path.viewers:
                watcher = watchers[name]
                beyond_us = ms_to_us(watcher.entry.beyond_ms)
                self.world.put_viewer_behind(watcher.number, number, beyond_us)
            if path.broadcast is not None:
                for encoder in self.encoders_of[path.broadcast]:
                    self.world.put_encoder_behind(encoder, number)
        for watcher in watchers.values():
            watcher.speech = speech_of(watcher.entry, has_access=watcher.name in behind)
            self.world.let_ask_for_rtx(watcher.number, watcher.speech.rtx_payload_type or 0)
            if watcher.speech.feedback:
                seed = self.luck.bits("feedback", watcher.name)
                self.world.let_speak(watcher.number, watcher.speech.flags, seed)

    def _plan(self) -> None:
        for broadcast in self.scenario.broadcasts:
            self._start_encoder(broadcast)
        self._aim_all()
        for watcher, (_, join_s, leave_s) in zip(
            self.audience.watchers, stays(self.scenario), strict=True
        ):
            host = self.nodes[watcher.entry.node]
            if join_s is not None:
                self._at(join_s, lambda w=watcher, h=host: self.audience.join(w, h))  # type: ignore[misc]
            if leave_s is not None:
                self._at(leave_s, lambda w=watcher: self.audience.leave(w))  # type: ignore[misc]
        for event in sorted(self.scenario.events, key=lambda event: event.at_s):
            self._at(event.at_s, lambda event=event: self.do(event))  # type: ignore[misc]

    def _at(self, time_s: float, action: Callable[[], None]) -> None:
        self.agenda.at(START_US + round(time_s * 1_000_000), action)

    def _start_encoder(self, broadcast: Broadcast) -> None:
        end_us = self.end_us
        if broadcast.end_s is not None:
            end_us = min(end_us, START_US + round(broadcast.end_s * 1_000_000))
        for version, number in enumerate(self.encoders_of[broadcast.name]):
            self.world.start_encoder(
                number,
                seed=self.luck.bits("encoder", broadcast.version_names[version]),
                start_us=START_US + round(broadcast.start_s * 1_000_000),
                end_us=end_us,
                fps=broadcast.fps,
                gop_frames=max(1, round(broadcast.gop_s * broadcast.fps)),
                bitrate_bps=broadcast.bitrates[version],
                has_audio=broadcast.audio and version == 0,
                b_frames=broadcast.b_frames,
                broadcast=self.encoders[broadcast.name],
                version=version,
                codec=CODECS.index(broadcast.codec),
            )

    def _aim_all(self) -> None:
        for broadcast in self.scenario.broadcasts:
            self._aim(broadcast)

    def _aim(self, broadcast: Broadcast) -> None:
        """To the ports that its node has now."""
        host = self.nodes[self.at_node[broadcast.name]]
        numbers = self.encoders_of[broadcast.name]
        for name, number in zip(broadcast.version_names, numbers, strict=True):
            if host.is_running:
                ports = host.node.ports.ingests
                video, audio = ports[name, "video"], ports.get((name, "audio"), 0)
                self.world.aim_encoder(number, host.number, video, audio)
            else:
                self.world.aim_encoder(number, -1, 0, 0)

    def _restart(self, name: str) -> None:
        for number in self.encoders_of[name]:
            self.world.restart_encoder(number)

    def _apply(self, pair: Pair, link: LinkConfig) -> None:
        for source, target in (pair, pair[::-1]):
            seed = self.luck.bits("path", source, target)
            self.world.set_path(self.numbers[source], self.numbers[target], link, seed)

    def _next_us(self) -> int | None:
        times = [self.agenda.next_us(), *(host.timer_us for host in self.nodes.values())]
        if self.brain is not None:
            times.append(self.brain.next_timer_us())
        return min((time_us for time_us in times if time_us is not None), default=None)

    def _host(self, number: int) -> NodeHost:
        return self.nodes[self.scenario.nodes[number].name]

    def _on_node_event(self, host: NodeHost, event: node_events.NodeEvent) -> None:
        match event:
            case node_events.ViewerTurnedAway(viewer_id, _, text):
                self.audience.on_turned_away(host, viewer_id, text)
            case node_events.SwitchRefused(viewer_id, _, _, text):
                self.audience.on_switch_refused(host, viewer_id, text)
            case node_events.ViewerLeft(viewer_id, _, _):
                self.audience.on_turned_away(host, viewer_id, "it was let go")
            case node_events.UpstreamSwitched() if self.happened:
                text = (
                    f"{host.name}: {event.stream} from {event.before or 'itself'} to "
                    f"{event.after or 'itself'} ({event.reason}, {event.gap_us / 1_000:.0f} ms)"
                )
                self.happened[-1].switches.append(text)


def _numbered(broadcasts: Sequence[Broadcast]) -> dict[str, tuple[int, ...]]:
    """Of the encoders of each, by version. The best versions have the broadcasts' own numbers."""
    others = itertools.count(len(broadcasts))
    return {
        broadcast.name: (number, *itertools.islice(others, len(broadcast.bitrates) - 1))
        for number, broadcast in enumerate(broadcasts)
    }


def run_virtual(scenario: Scenario) -> ScenarioReport:
    """A whole scenario."""
    return VirtualOverlay(scenario).run()
