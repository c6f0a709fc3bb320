"""Runs a scenario in virtual time: the same nodes, agents and brain as on sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lab.link import LinkConfig
from lab.scenario.expectations import judge
from lab.scenario.model import (
    BrainEvent,
    Broadcast,
    ChangeLink,
    Cut,
    Event,
    Mend,
    MoveBroadcast,
    MoveViewer,
    NodeEvent,
    RestartEncoder,
    Scenario,
    ViewerEvent,
)
from lab.scenario.report import ScenarioReport
from lab.scenario.topology import Pair, changed, link_configs, pair_of
from lab.virtual.audience import Audience, Watcher
from lab.virtual.brain_host import BrainHost
from lab.virtual.clock import Agenda, Luck
from lab.virtual.node_host import NodeHost
from lab.virtual.settings import brain_settings, node_configs
from lab.virtual.world import World
from relay import events as node_events

START_US = 1_000_000  # of the clock; nothing may depend on it
DRAIN_US = 1_500_000  # after the end, so that what was sent can arrive
GAP_MARGIN_US = 100_000  # beyond a frame's length, from which on a silence is listed


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
        self.scenario = scenario
        self.luck = Luck(scenario.seed)
        self.agenda = Agenda(START_US)
        self.links = link_configs(scenario)
        self.cut: set[Pair] = set()
        self.happened: list[Happened] = []
        self.numbers = {node.name: number for number, node in enumerate(scenario.nodes)}
        self.encoders = {b.name: number for number, b in enumerate(scenario.broadcasts)}
        self.at_node = {b.name: b.node for b in scenario.broadcasts}
        """Where each encoder sends to."""
        entries = [(entry, name) for entry in scenario.viewers for name in entry.names]
        self.world = World(
            len(self.numbers),
            len(entries),
            len(self.encoders),
            workers=max(node.workers for node in scenario.nodes),
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
            self.world.set_viewer(watcher.number, encoder, frame_us + GAP_MARGIN_US)
        if scenario.brain is not None:
            settings = brain_settings(scenario, joined, self.luck)
            self.brain = BrainHost(settings, self.agenda, self.luck)
            self.brain.start()
            for host in self.nodes.values():
                host.reach_brain(self.brain, round(scenario.brain.control_delay_ms * 1_000))
        for host in self.nodes.values():
            host.start()
        self._plan()

    @property
    def end_us(self) -> int:
        return START_US + round(self.scenario.duration_s * 1_000_000)

    def run(self) -> ScenarioReport:
        """To its end."""
        from lab.virtual.summary import report_of

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
                self.links[pair] = changed(self.links[pair], event)
                link = self.links[pair]
                self._apply(pair, link.with_cut() if pair in self.cut else link)
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
            case MoveBroadcast():
                self.at_node[event.broadcast] = event.to
                self._aim(event.broadcast)
                self.world.restart_encoder(self.encoders[event.broadcast])
            case RestartEncoder():
                self.world.restart_encoder(self.encoders[event.broadcast])

    # -- inside

    def _plan(self) -> None:
        for broadcast in self.scenario.broadcasts:
            self._start_encoder(broadcast)
        self._aim_all()
        for watcher in self.audience.watchers:
            entry = watcher.entry
            host = self.nodes[entry.node]
            if entry.join_s is not None:
                self._at(entry.join_s, lambda w=watcher, h=host: self.audience.join(w, h))  # type: ignore[misc]
            if entry.leave_s is not None:
                self._at(entry.leave_s, lambda w=watcher: self.audience.leave(w))  # type: ignore[misc]
        for event in sorted(self.scenario.events, key=lambda event: event.at_s):
            self._at(event.at_s, lambda event=event: self.do(event))  # type: ignore[misc]

    def _at(self, time_s: float, action: Callable[[], None]) -> None:
        self.agenda.at(START_US + round(time_s * 1_000_000), action)

    def _start_encoder(self, broadcast: Broadcast) -> None:
        end_us = self.end_us
        if broadcast.end_s is not None:
            end_us = min(end_us, START_US + round(broadcast.end_s * 1_000_000))
        self.world.start_encoder(
            self.encoders[broadcast.name],
            seed=self.luck.bits("encoder", broadcast.name),
            start_us=START_US + round(broadcast.start_s * 1_000_000),
            end_us=end_us,
            fps=broadcast.fps,
            gop_frames=max(1, round(broadcast.gop_s * broadcast.fps)),
            bitrate_bps=broadcast.bitrate_bps,
            has_audio=broadcast.audio,
        )

    def _aim_all(self) -> None:
        for name in self.encoders:
            self._aim(name)

    def _aim(self, name: str) -> None:
        """To the ports that its node has now."""
        host = self.nodes[self.at_node[name]]
        if host.is_running:
            ports = host.node.ports.ingests
            video, audio = ports[name, "video"], ports.get((name, "audio"), 0)
            self.world.aim_encoder(self.encoders[name], host.number, video, audio)
        else:
            self.world.aim_encoder(self.encoders[name], -1, 0, 0)

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
            case node_events.ViewerLeft(viewer_id, _, _):
                self.audience.on_turned_away(host, viewer_id, "it was let go")
            case node_events.UpstreamSwitched() if self.happened:
                text = (
                    f"{host.name}: {event.stream} from {event.before or 'itself'} to "
                    f"{event.after or 'itself'} ({event.reason}, {event.gap_us / 1_000:.0f} ms)"
                )
                self.happened[-1].switches.append(text)


def run_virtual(scenario: Scenario) -> ScenarioReport:
    """A whole scenario."""
    return VirtualOverlay(scenario).run()
