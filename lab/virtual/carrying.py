"""What must hold of links, to viewers and between nodes: rates, repair, and memory at the end."""

from __future__ import annotations

from collections.abc import Iterator

from fastpath.stats import LinkStats
from lab.scenario.model import ChangeLink
from lab.scenario.topology import pair_of
from lab.virtual.node_host import NodeHost
from lab.virtual.run import VirtualOverlay

BURST_US = 250_000
"""What may leave at once beside the ceiling: credit of idle time, and audio, which waits for
nothing."""
RETURNED_US = 40_000_000
"""From the last viewer's leaving until nothing is kept for anyone, at most: 2 s for each of three
hops, and where an UNSUBSCRIBE is lost, the time that a subscription stands by itself. Nearly always
it is the former, and nobody waits for the rest."""


class Carrying:
    """Of one overlay."""

    def __init__(self, overlay: VirtualOverlay) -> None:
        self.overlay = overlay
        self._sent: dict[tuple[str, int, int], tuple[int, int]] = {}
        self._reordering = {pair for pair, link in overlay.links.items() if link.reorder}
        self._reordering |= {
            pair
            for event in overlay.scenario.events
            if isinstance(event, ChangeLink)
            and (pair := pair_of(event.a, event.b))
            and (
                event.rate_bps or event.delay_ms not in (None, overlay.links[pair].delay_us / 1_000)
            )
        }

    def check(self) -> dict[str, list[str]]:
        """Once a second. What does not hold, by invariant."""
        return {"budget": list(self._budget()), "requests": list(self._requests())}

    def unrepaired(self) -> tuple[int, int]:
        """Media that nodes miss of one another and of encoders, so far for good; and with what may
        still come."""
        missing = holes = 0
        for host in self.overlay.nodes.values():
            counted = (counts for counts, _ in host.link_counts().values())
            missing += sum(c["lost"] - c["repaired"] - c["voided"] for c in counted)
            if host.is_running:
                holes += sum(n.stats().holes_open for n in host.node.neighbours.values())
        for number, path in enumerate(self.overlay.access):
            if path.broadcast is not None:
                (_, lost, dropped), _ = self.overlay.world.access_counts(number)
                missing += lost + dropped
        return missing, missing + holes

    def _budget(self) -> Iterator[str]:
        """What controllers say, and what leaves."""
        sent: dict[tuple[str, int, int], tuple[int, int]] = {}
        for name, host in self.overlay.nodes.items():
            for link, what, ceiling_bps in self._links(host):
                stats = host.node.engine.link_stats(link)
                key = (name, host.starts, link)
                sent[key] = self.overlay.world.now_us, stats.sent_bytes
                if text := self._above(key, stats, ceiling_bps):
                    yield f"{name} to {what}: {text}"
        self._sent = sent

    def _links(self, host: NodeHost) -> Iterator[tuple[int, str, int]]:
        """With their ceilings."""
        if not host.is_running:
            return
        for neighbour in host.node.neighbours.values():
            yield neighbour.link, neighbour.name, neighbour.peer.rate_bps
        for watcher in self.overlay.audience.watchers:
            viewer = watcher.viewer
            if watcher.host is host and viewer is not None and viewer.link is not None:
                yield viewer.link, watcher.name, host.config.viewers.rate_bps

    def _above(self, key: tuple[str, int, int], stats: LinkStats, ceiling_bps: int) -> str:
        if stats.target_bps > ceiling_bps:
            return f"a target of {stats.target_bps} bit/s, the ceiling is {ceiling_bps}"
        now_us = self.overlay.world.now_us
        since_us, before = self._sent.get(key, (now_us, stats.sent_bytes))
        sent_bits = 8 * (stats.sent_bytes - before)
        if sent_bits > ceiling_bps * (now_us - since_us + BURST_US) // 1_000_000:
            lasts_us = now_us - since_us
            return f"{sent_bits} bits in {lasts_us} us, the ceiling is {ceiling_bps} bit/s"
        return ""

    def _requests(self) -> Iterator[str]:
        """A link misses what its own path lost, and nothing that was lost before it."""
        numbers = self.overlay.numbers
        for receiver, host in self.overlay.nodes.items():
            for sender, (counts, _) in host.link_counts().items():
                if not self._keeps_order(sender, receiver):
                    continue
                ends = numbers[sender], numbers[receiver]
                lost = sum(self.overlay.world.path_counts(*ends)[1:])
                missed = counts["lost"] - counts["voided"]
                if missed > lost:
                    yield f"{receiver} misses {missed} of {sender}, whose path lost {lost}"

    def _keeps_order(self, sender: str, receiver: str) -> bool:
        """Between processes of one worker that are still the first ones: what is overtaken, as by a
        change of delay or rate, is taken for lost, and what comes before keys are known, as of
        each two workers, is lost on no path."""
        hosts = [self.overlay.nodes[name] for name in (sender, receiver)]
        if any(host.starts > 1 or host.config.workers != 1 for host in hosts):
            return False
        pair = pair_of(sender, receiver)
        return pair not in self._reordering

    def kept(self) -> Iterator[str]:
        """After the last viewer has left: what an encoder sends, or has sent, is kept
        where it comes in, and nothing else anywhere."""
        for name, host in self.overlay.nodes.items():
            if not host.is_running:
                continue
            here = sum(
                len(broadcast.version_names) * (1 + broadcast.audio)
                for broadcast in self.overlay.scenario.broadcasts
                if name in self.overlay.scenario.hosts_of(broadcast)
            )
            memory = host.node.engine.memory()
            for table in ("cursors", "viewer_links", "spans", "late_packets"):
                if used := getattr(memory, table)[0]:
                    yield f"{name} keeps {used} {table} for nobody"
            if memory.streams[0] > here * len(host.node.engine):
                yield f"{name} keeps {memory.streams[0]} streams, its encoders send {here}"
