"""What must hold at each step of any scenario, whatever happens to nodes, links and brain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from control_client.messages import TableVersion
from lab.scenario.topology import pair_of
from lab.virtual.audience import Watcher
from lab.virtual.carrying import RETURNED_US, Carrying
from lab.virtual.node_host import NodeHost
from lab.virtual.run import VirtualOverlay
from lab.virtual.settings import START_US
from lab.virtual.watching import Watching
from relay.edge.plain_rtp import Viewer
from relay.slowpath.broadcast import Broadcast
from relay.slowpath.subscription_events import BroadcastState

STEP_US = 100_000
SELDOM = 10  # steps: what is looked at once a second
LOOP_BOUND_US = 2_000_000
"""After it formed. Nodes that all lost a broadcast may ask each other in a ring; who asks answers
nobody, until the first gives up after `NEXT_PATH_US` (1.5 s). Then each OK names the nodes before
it, which goes round within the one-way delays, and whoever finds itself named leaves."""
RECOVERY_BOUND_US = 18_000_000
"""After the last event: 10 s until a node looks for the brain again, 3 s in which a started brain
waits for its nodes, and 5 s until a node without its encoder asks where the broadcast is. Where the
data plane can mend by itself it is far quicker."""
MAX_HOPS = 3  # of the brain's paths


@dataclass(frozen=True, slots=True)
class Violation:
    """at_s: of the scenario."""

    invariant: str
    at_s: float
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at_s:.1f} s: {self.text}"


class Invariants:
    """Of one overlay. `check` after each step; the first violation of each kind counts."""

    def __init__(self, overlay: VirtualOverlay) -> None:
        self.overlay = overlay
        self.checks = 0
        self._version_names = {b.name: b.version_names for b in overlay.scenario.broadcasts}
        self._loop_since_us: dict[tuple[str, frozenset[str]], int] = {}
        self._versions: dict[str, TableVersion] = {}
        self._uncovered_since_us: dict[tuple[str, str], int] = {}
        self._carrying = Carrying(overlay)
        self._watching = Watching(overlay, self._carrying, RECOVERY_BOUND_US)

    def check(self) -> Iterator[Violation]:
        """Everything that does not hold now."""
        self.checks += 1
        found: dict[str, Iterable[str]] = {
            "no-loop": self._loops(),
            "memory": self._memory(),
            "packets": self._packets(),
            "recovery": self._recovery(),
            "versions": self._table_versions(),
            "copies": self._copies(),
            "views": self._views(),
        }
        if self.checks % SELDOM == 0:
            found |= self._carrying.check() | self._watching.check()
        return self._violations(found)

    def check_end(self) -> Iterator[Violation]:
        """Everything that does not hold when the last viewer leaves, and in `RETURNED_US` after
        that; the overlay runs on as long as something is kept."""
        overlay = self.overlay
        for watcher in overlay.audience.watchers:
            overlay.audience.leave(watcher)
        yield from self._violations({"decodable": self._watching.undecodable()})
        latest_us = overlay.world.now_us + RETURNED_US
        while any(self._carrying.kept()) and overlay.world.now_us < latest_us:
            overlay.run_until(overlay.world.now_us + SELDOM * STEP_US)
        yield from self._violations({"returned": self._carrying.kept()})

    def _violations(self, found: Mapping[str, Iterable[str]]) -> Iterator[Violation]:
        at_s = (self.overlay.world.now_us - START_US) / 1_000_000
        for invariant, texts in found.items():
            for text in texts:
                yield Violation(invariant, at_s, text)

    def _loops(self) -> Iterator[str]:
        """Following the upstreams in use ends at one that has none, whether they deliver or not.
        In use: the neighbour holds the subscription. One that was refused is only a hope."""
        now_us = self.overlay.world.now_us
        loops: dict[tuple[str, frozenset[str]], int] = {}
        for stream in self.overlay.encoders:
            upstream = self._upstreams(stream)
            for start in upstream:
                seen: list[str] = []
                name: str | None = start
                while name is not None and name not in seen:
                    seen.append(name)
                    name = upstream.get(name)
                if name is not None:
                    key = (stream, frozenset(seen[seen.index(name) :]))
                    loops[key] = self._loop_since_us.get(key, now_us)
        self._loop_since_us = loops
        for (stream, names), since_us in loops.items():
            if now_us - since_us > LOOP_BOUND_US:
                yield f"{stream} goes round {', '.join(sorted(names))}"

    def _last_event_us(self) -> int:
        return max((event.at_us for event in self.overlay.happened), default=START_US)

    def _upstreams(self, stream: str) -> dict[str, str]:
        found = {}
        for name, host in self.overlay.nodes.items():
            broadcast = host.node.subscriptions.find(stream) if host.is_running else None
            if broadcast is None or broadcast.is_local or broadcast.upstream is None:
                continue
            peer = broadcast.upstream.peer
            is_used = broadcast.state in (BroadcastState.LIVE, BroadcastState.LOST)
            if is_used and self._holds(peer, stream, name):
                found[name] = peer
        return found

    def _holds(self, name: str, stream: str, subscriber: str) -> bool:
        host = self.overlay.nodes[name]
        broadcast = host.node.subscriptions.find(stream) if host.is_running else None
        return broadcast is not None and subscriber in broadcast.nodes

    def _memory(self) -> Iterator[str]:
        """What is kept is for someone: leaks show long before a limit."""
        streams = sum(len(b.version_names) for b in self.overlay.scenario.broadcasts)
        nodes = len(self.overlay.nodes)
        for name, host in self.overlay.nodes.items():
            if not host.is_running:
                continue
            memory = host.node.engine.memory()
            for table in ("streams", "cursors", "node_links", "viewer_links", "ports"):
                used, limit = getattr(memory, table)
                if used > limit:
                    yield f"{name}: {used} {table}, the limit is {limit}"
            here = [w for w in self.overlay.audience.watchers if w.host is host and w.viewer]
            if memory.viewer_links[0] > len(here):
                yield f"{name}: {memory.viewer_links[0]} viewers' links for {len(here)} viewers"
            if len(host.node.subscriptions.broadcasts) > streams:
                yield f"{name}: {len(host.node.subscriptions.broadcasts)} broadcasts of {streams}"
            if len(host.node.neighbours) > nodes - 1:
                yield f"{name}: {len(host.node.neighbours)} neighbours of {nodes - 1}"
            # Two tracks, each as it is and as it will be when it is replaced, in each worker.
            workers = len(host.node.engine)
            if memory.streams[0] > 4 * streams * workers:
                yield f"{name}: {memory.streams[0]} streams of {streams} broadcasts"
            others = nodes + workers - 1
            if memory.cursors[0] > 4 * streams * others + 2 * len(here):
                yield f"{name}: {memory.cursors[0]} cursors"

    def _packets(self) -> Iterator[str]:
        """Who asks for packets again may get one twice that was only late."""
        for watcher in self.overlay.audience.watchers:
            duplicates, corrupt = self.overlay.world.faults(watcher.number)
            if "nack" in watcher.speech.feedback:
                duplicates = 0
            if duplicates or corrupt:
                yield f"{watcher.name} got {duplicates} duplicate and {corrupt} corrupt packets"

    def _recovery(self) -> Iterator[str]:
        overlay = self.overlay
        now_us = overlay.world.now_us
        last_us = self._last_event_us()
        for watcher in overlay.audience.watchers:
            if watcher.host is None or watcher.joined_us is None or not self._has_path(watcher):
                continue
            encoder_us = START_US + round(watcher.broadcast.start_s * 1_000_000)
            since_us = max(
                last_us,
                watcher.joined_us,
                encoder_us,
                overlay.world.newest_frame_us(watcher.number),
            )
            if now_us - since_us > RECOVERY_BOUND_US and now_us < overlay.end_us:
                state = watcher.refused or "it waits"
                lasts_s = (now_us - since_us) / 1_000_000
                text = f"{watcher.name} at {watcher.host.name} sees nothing of"
                yield f"{text} {watcher.broadcast.name} for {lasts_s:.1f} s ({state})"

    def _has_path(self, watcher: Watcher) -> bool:
        """Over nodes that run and links that are not cut; and there is a brain to tell it."""
        overlay = self.overlay
        source = overlay.at_node[watcher.broadcast.name]
        assert watcher.host is not None
        if overlay.brain is not None and not overlay.brain.is_running:
            return False
        up = {name for name, host in overlay.nodes.items() if host.is_running}
        reached = {source} & up
        for _ in range(MAX_HOPS):
            reached |= {
                name
                for name in up
                for other in reached
                if (pair := pair_of(name, other)) in overlay.links and pair not in overlay.cut
            }
        return watcher.host.name in reached

    def _copies(self) -> Iterator[str]:
        """They flow for premium viewers, and for nobody else. Who knows another way has them."""
        now_us = self.overlay.world.now_us
        uncovered: dict[tuple[str, str], int] = {}
        for name, host in self.overlay.nodes.items():
            if not host.is_running:
                continue
            here = [w for w in self.overlay.audience.watchers if w.host is host and w.viewer]
            for broadcast in host.node.subscriptions.broadcasts:
                wanted = sum(
                    w.viewer is not None and self._watches(w.viewer, broadcast.name)
                    for w in here
                    if w.entry.premium
                )
                if len(broadcast.premium) > wanted:
                    count = len(broadcast.premium)
                    yield f"{name}: {count} premium viewers of {broadcast.name}, {wanted} watch"
                if broadcast.copies is not None and not broadcast.premium:
                    yield f"{name}: copies of {broadcast.name} for nobody"
                if self._could_have_copies(host, broadcast):
                    key = (name, broadcast.name)
                    uncovered[key] = self._uncovered_since_us.get(key, now_us)
        self._uncovered_since_us = uncovered
        for (name, stream), since_us in uncovered.items():
            if now_us - max(since_us, self._last_event_us()) > RECOVERY_BOUND_US:
                yield f"{name}: no copies of {stream}, though there is another way"

    def _watches(self, viewer: Viewer, name: str) -> bool:
        """Any version of it, or is about to."""
        names = {viewer.broadcast} | ({viewer.next.broadcast} if viewer.next else set())
        return any(name in self._version_names[each] for each in names)

    def _could_have_copies(self, host: NodeHost, broadcast: Broadcast) -> bool:
        """It flows to premium viewers, there is a usable path over another node, and no copies."""
        way, copies = broadcast.upstream, broadcast.copies
        if not broadcast.premium or broadcast.is_local or way is None or way.is_paused:
            return False
        if way.state is not BroadcastState.LIVE or broadcast.successor is not None:
            return False
        if copies is not None and copies.state is BroadcastState.LIVE:
            return False
        up = {n.name for n in host.node.neighbours.values() if n.stats().is_up}
        others = {path[0] for path in broadcast.paths} - {way.peer} - broadcast.avoided
        return bool(others & up)

    def _views(self) -> Iterator[str]:
        """What is told of views is of those there are."""
        for name, host in self.overlay.nodes.items():
            if not host.is_running:
                continue
            qoe, viewers = host.node.qoe, len(host.node.edge.viewers)
            if len(qoe.present) != viewers:
                yield f"{name}: {len(qoe.present)} views of {viewers} viewers"
            if not qoe.stalled <= qoe.begun <= qoe.views or qoe.fast + qoe.slow > qoe.views:
                yield f"{name}: of {qoe.views} views {qoe.begun} begun, {qoe.stalled} stalled"

    def _table_versions(self) -> Iterator[str]:
        """Of what is stored, over restarts; a version is a term and a number in it."""
        for name, host in self.overlay.nodes.items():
            if host.disk is None:
                continue
            before, now = self._versions.get(name), host.disk.version
            self._versions[name] = now
            if before is not None and (now.term, now.version) < (before.term, before.version):
                yield f"{name} went from {before} back to {now}"
