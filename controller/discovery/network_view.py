"""The view of nodes and links: LiveNet's Global Discovery, and how long its data may be believed.

Inputs: registrations, ends of control sessions, reports (an alarm is one), time. Outputs: events,
and `publish`: a snapshot whose version rises when something changed that matters for paths.

| without | for | then |
| --- | --- | --- |
| data on a link | `link_stale_us` (10 min) | a ping is asked for, again each `ping_retry_us` |
| a ping either | `link_forget_us` | the link is no more |
| reports of a node | `suspect_periods` periods | it is suspect: no relay, still an end |
| a control session | `session_grace_us` | the node is lost, with its links |

Source: LiveNet (SIGCOMM 2022) 4.2.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from controller.discovery.events import (
    LossReason,
    NodeLost,
    NodeRecovered,
    NodeSuspected,
    PingWanted,
    ViewEvent,
)
from controller.discovery.link_table import NEVER_US, LinkTable, SavedLinks
from controller.discovery.measurements import LinkMeasurement, NodeReport
from controller.discovery.snapshot import (
    NetworkChanges,
    NetworkSnapshot,
    Relevance,
    differences,
    empty_snapshot,
)
from controller.errors import InvalidSettingError

NO_SESSION = 0  # of a node that is known from before a restart


@dataclass(frozen=True, slots=True)
class DiscoveryConfig:
    """alarm_level: reached, a node or link is overloaded, until it is below clear_level."""

    report_period_us: int = 60_000_000  # LiveNet 4.2
    suspect_periods: int = 3
    session_grace_us: int = 30_000_000  # chosen: some reconnects with their longest back-off
    alarm_level: float = 0.8  # LiveNet 4.2
    clear_level: float = 0.75  # chosen: f of eq. 3 is 1.08 there, so nothing is drawn back by it
    link_stale_us: int = 600_000_000  # LiveNet 4.2
    link_forget_us: int = 1_200_000_000  # chosen: ten pings in a row unanswered or never sent
    ping_retry_us: int = 60_000_000
    link_sweep_us: int = 10_000_000  # chosen: how exact the ages of links are
    pings_per_sweep: int = 16  # chosen: of one node; a new node of 600 has measured all in 6 min
    relevance: Relevance = field(default_factory=Relevance)

    def __post_init__(self) -> None:
        if not 0.0 < self.clear_level <= self.alarm_level <= 1.0:
            raise InvalidSettingError("allowed is 0 < clear_level <= alarm_level <= 1")
        if self.link_forget_us <= self.link_stale_us:
            raise InvalidSettingError("link_forget_us must be more than link_stale_us")

    @property
    def suspect_us(self) -> int:
        return self.suspect_periods * self.report_period_us


@dataclass(slots=True)
class _Node:
    name: str
    session: int
    heard_us: int  # its registration or its last report
    session_ended_us: int | None = None
    load: float = 0.0
    is_overloaded: bool = False
    is_suspect: bool = False


class NetworkView:
    """Nodes have an index, in the order of registration; when one is lost later ones move up."""

    def __init__(self, config: DiscoveryConfig, *, start_us: int) -> None:
        self._config = config
        self._nodes: list[_Node] = []
        self._index: dict[str, int] = {}
        self._links = LinkTable()
        self._events: deque[ViewEvent] = deque()
        self._next_sweep_us = start_us + config.link_sweep_us
        self._published = empty_snapshot()
        self._is_changed = False
        self.reports_of_strangers = 0
        self.links_to_strangers = 0

    # Inputs.

    def on_registered(self, node: str, session: int, now_us: int) -> None:
        """A control session of this node begins, its first or a new one. session: 1 and more, tells
        it from the node's others; the newest counts."""
        if node in self._index:
            known = self._nodes[self._index[node]]
            known.session = session
            known.session_ended_us = None
            self._heard(known, now_us)
            return
        self._index[node] = len(self._nodes)
        self._nodes.append(_Node(node, session, heard_us=now_us))
        self._links.add_node()
        self._is_changed = True

    def on_session_ended(self, node: str, session: int, now_us: int) -> None:
        """Its control session broke. It may go on forwarding: it is lost only after the grace, and
        not at all if it has another session by now, whose beginning may be heard of first."""
        if node in self._index:
            known = self._nodes[self._index[node]]
            if known.session == session and known.session_ended_us is None:
                known.session_ended_us = now_us

    def on_left(self, node: str) -> None:
        """It says that it stops: lost at once."""
        if node in self._index:
            self._lose(node, LossReason.LEFT)

    def on_report(self, report: NodeReport, now_us: int) -> None:
        """What a node sends each period. Of a node that is not registered: counted, no effect."""
        if report.node not in self._index:
            self.reports_of_strangers += 1
            return
        node = self._nodes[self._index[report.node]]
        self._heard(node, now_us)
        self._set_load(node, report.load)
        self.on_links(report.node, report.links, now_us)

    def on_links(self, node: str, links: Iterable[LinkMeasurement], now_us: int) -> None:
        """Measurements alone, as after a ping. Of or to nodes not registered: counted."""
        if node not in self._index:
            self.reports_of_strangers += 1
            return
        sender = self._index[node]
        for link in links:
            receiver = self._index.get(link.peer)
            if receiver is None or receiver == sender:
                self.links_to_strangers += 1
                continue
            self._set_link(sender, receiver, link, now_us)

    def handle_timer(self, now_us: int) -> None:
        for node in list(self._nodes):
            lost_us = self._lost_us(node)
            if lost_us is not None and now_us >= lost_us:
                self._lose(node.name, LossReason.SESSION_ENDED)
            elif not node.is_suspect and now_us >= node.heard_us + self._config.suspect_us:
                node.is_suspect = True
                self._is_changed = True
                self._events.append(NodeSuspected(node.name))
        if now_us >= self._next_sweep_us:
            self._next_sweep_us = now_us + self._config.link_sweep_us
            self._links.forget_before(now_us - self._config.link_forget_us)
            self._is_changed = True  # `publish` finds out whether it mattered
            self._ask_for_pings(now_us)

    # Outputs.

    def next_timer_us(self) -> int:
        due = [self._next_sweep_us]
        for node in self._nodes:
            lost_us = self._lost_us(node)
            if lost_us is not None:
                due.append(lost_us)
            if not node.is_suspect:
                due.append(node.heard_us + self._config.suspect_us)
        return min(due)

    def next_event(self) -> ViewEvent | None:
        return self._events.popleft() if self._events else None

    @property
    def snapshot(self) -> NetworkSnapshot:
        """The last published one."""
        return self._published

    def publish(self) -> NetworkChanges | None:
        """Make `snapshot` the present state. None, and the same snapshot, if nothing relevant
        has changed since."""
        if not self._is_changed:
            return None
        self._is_changed = False
        settled, changes = differences(self._published, self._present(), self._config.relevance)
        if changes.is_empty:
            return None
        self._published = settled
        return changes

    @property
    def count(self) -> int:
        """Of nodes."""
        return len(self._nodes)

    def rtt_us(self, a: str, b: str) -> float:
        """As published; inf if there is no link."""
        index = self._published.index
        if a not in index or b not in index:
            return math.inf
        return float(self._published.rtt_us[index[a], index[b]])

    def is_known(self, a: str, b: str) -> bool:
        """Whether either end has ever said how the link between them is, and that is not forgotten:
        of a link that is not in the snapshot, whether it is down or only not measured yet."""
        first, second = self._index.get(a), self._index.get(b)
        if first is None or second is None:
            return False
        measured_us = self._links.measured_us
        return bool(max(measured_us[first, second], measured_us[second, first]) > NEVER_US)

    # What a restart keeps.

    def saved_links(self) -> SavedLinks:
        """All nodes and their links as they are now."""
        return self._links.saved(tuple(node.name for node in self._nodes))

    def restore(self, saved: SavedLinks, names: Collection[str], now_us: int, away_us: int) -> None:
        """Nodes and links of a saved state, into an empty view: those of `names`, which counts as
        their sessions having ended at away_us."""
        kept = [i for i, name in enumerate(saved.names) if name in names]
        for index in kept:
            name = saved.names[index]
            self._index[name] = len(self._nodes)
            self._nodes.append(_Node(name, NO_SESSION, now_us, session_ended_us=away_us))
            self._links.add_node()
        self._links.restore(saved, kept, now_us)
        self._is_changed = True

    # State.

    def _present(self) -> NetworkSnapshot:
        links = self._links.picture(self._config.suspect_us)
        return NetworkSnapshot(
            version=self._published.version + 1,
            names=tuple(node.name for node in self._nodes),
            rtt_us=links.rtt_us,
            loss=links.loss,
            utilisation=links.utilisation,
            link_overloaded=links.overloaded,
            node_load=np.array([node.load for node in self._nodes], np.float64),
            node_overloaded=np.array([node.is_overloaded for node in self._nodes], np.bool_),
            suspect=np.array([node.is_suspect for node in self._nodes], np.bool_),
        )

    def _heard(self, node: _Node, now_us: int) -> None:
        node.heard_us = now_us
        if node.is_suspect:
            node.is_suspect = False
            self._is_changed = True
            self._events.append(NodeRecovered(node.name))

    def _set_load(self, node: _Node, load: float) -> None:
        node.load = load
        node.is_overloaded = self._overload(load, node.is_overloaded)
        self._is_changed = True

    def _set_link(self, sender: int, receiver: int, link: LinkMeasurement, now_us: int) -> None:
        rtt_us = np.inf if link.rtt_us is None else link.rtt_us
        self._links.rtt_us[sender, receiver] = rtt_us
        self._links.loss[sender, receiver] = link.loss
        self._links.measured_us[sender, receiver] = now_us
        self._links.utilisation[sender, receiver] = link.utilisation
        was = bool(self._links.overloaded[sender, receiver])
        self._links.overloaded[sender, receiver] = self._overload(link.utilisation, was)
        self._is_changed = True

    def _overload(self, level: float, was: bool) -> bool:
        return level >= (self._config.clear_level if was else self._config.alarm_level)

    def _lost_us(self, node: _Node) -> int | None:
        if node.session_ended_us is None:
            return None
        return node.session_ended_us + self._config.session_grace_us

    def _lose(self, name: str, reason: LossReason) -> None:
        index = self._index[name]
        del self._nodes[index]
        self._index = {node.name: i for i, node in enumerate(self._nodes)}
        self._links.remove_node(index)
        self._is_changed = True
        self._events.append(NodeLost(name, reason))

    def _ask_for_pings(self, now_us: int) -> None:
        """Longest not asked first, so that all get their turn."""
        links = self._links
        wanted = links.measured_us <= now_us - self._config.link_stale_us
        wanted &= links.asked_us <= now_us - self._config.ping_retry_us
        np.fill_diagonal(wanted, False)
        away = [i for i, node in enumerate(self._nodes) if node.session_ended_us is not None]
        wanted[away, :] = False
        wanted[:, away] = False
        for sender in np.flatnonzero(wanted.any(axis=1)):
            peers = np.flatnonzero(wanted[sender])
            order = np.argsort(links.asked_us[sender, peers], kind="stable")
            chosen = peers[order[: self._config.pings_per_sweep]]
            links.asked_us[sender, chosen] = now_us
            names = tuple(self._nodes[peer].name for peer in chosen)
            self._events.append(PingWanted(self._nodes[sender].name, names))
