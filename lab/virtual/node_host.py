"""The host of a node: its process, which can be killed and started again, and its disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from control_client.messages import TableVersion
from control_client.session import Identity, NodeSession
from control_client.session_events import Connect, Disconnect
from control_client.table import HeldTable
from fastpath.stats import LinkStats
from lab.virtual.clock import Agenda, Luck
from lab.virtual.control_channel import BrainSide, ControlLink
from lab.virtual.world import World
from relay.config import NodeConfig
from relay.control.agent import ControlAgent
from relay.control.agent_events import StoreTable
from relay.events import NodeEvent
from relay.node import Node
from relay.workers import new_workers

_LINK_COUNTS = ("received_packets", "lost", "repaired", "voided", "gone", "given_up")


class NodeHost:
    """Made stopped. on_event: is shown each event of the node."""

    def __init__(
        self,
        number: int,
        config: NodeConfig,
        world: World,
        agenda: Agenda,
        luck: Luck,
        on_event: Callable[[NodeHost, NodeEvent], None],
    ) -> None:
        self.name = config.name
        self.number = number
        self.config = config
        self.starts = 0
        self.versions: list[TableVersion] = []
        """Of the tables put in force by its present process."""
        self.disk: HeldTable | None = None
        self._world = world
        self._agenda = agenda
        self._luck = luck
        self._on_event = on_event
        self._node: Node | None = None
        self._agent: ControlAgent | None = None
        self._session: NodeSession | None = None
        self._link: ControlLink | None = None
        self._brain: BrainSide | None = None
        self._delay_us = 0
        self._timer_us: int | None = None
        self._past: dict[str, Counter[str]] = {}

    def reach_brain(self, brain: BrainSide, delay_us: int) -> None:
        """From the next start on."""
        self._brain, self._delay_us = brain, delay_us

    @property
    def is_running(self) -> bool:
        return self._node is not None

    @property
    def node(self) -> Node:
        """While it runs."""
        assert self._node is not None
        return self._node

    def start(self) -> None:
        """A new process, with the table on the disk."""
        self.starts += 1
        self.versions = []
        now_us = self._agenda.now_us
        workers = new_workers(self.config)
        self._node = Node(self.config, workers, self._luck.source("node", self.name, self.starts))
        ports = self._node.start(now_us)
        for worker, engine in enumerate(workers.engines):
            self._world.add_host(self.number, engine, ports.overlays[worker], worker)
        if self._brain is not None:
            assert self.config.controller is not None
            assert self.config.controller.token is not None
            rng = self._luck.source("session", self.name, self.starts)
            boot_id = rng.getrandbits(63)
            identity = Identity(self.name, self.config.controller.token, boot_id, "virtual")
            self._session = NodeSession(identity, rng, now_us, self.disk)
            self._agent = ControlAgent(self._node, self._session, now_us)
        self.settle()

    def kill(self) -> None:
        """As kill -9 does."""
        for name, stats in self._link_stats():
            self._past.setdefault(name, Counter()).update(_counts(stats))
        self._world.remove_host(self.number)
        self._node = self._agent = self._session = None
        self._timer_us = None
        if self._link is not None:
            self._link.close_by_node("the node's host closed the connection")
            self._link = None

    # -- the channel

    def on_connected(self) -> None:
        if self._session is not None:
            self._session.on_connected(self._agenda.now_us)
            self.settle()

    def on_data(self, data: bytes) -> None:
        if self._session is not None:
            self._session.receive(data, self._agenda.now_us)
            self.settle()

    def on_closed(self, reason: str) -> None:
        self._link = None
        if self._session is not None:
            self._session.on_closed(reason, self._agenda.now_us)
            self.settle()

    # -- time

    @property
    def timer_us(self) -> int | None:
        """When `handle_timer` is due, as of the last `settle`."""
        return self._timer_us

    def handle_timer(self) -> None:
        now_us = self._agenda.now_us
        self.node.handle_timer(now_us)
        if self._agent is not None and self._session is not None:
            self._session.handle_timer(now_us)
            self._agent.handle_timer(now_us)
        self.settle()

    def settle(self) -> None:
        """After every input: let node, agent and session hear of one another."""
        now_us = self._agenda.now_us
        node = self.node
        node.handle_engine_events(now_us)
        while self._pass_on():
            node.handle_engine_events(now_us)
        times = [node.next_timer_us()]
        if self._agent is not None and self._session is not None:
            times += [self._agent.next_timer_us(), self._session.next_timer_us()]
        due = min((time_us for time_us in times if time_us is not None), default=None)
        self._timer_us = None if due is None else max(due, now_us + 1)
        self._world.wake(self.number)

    def _pass_on(self) -> bool:
        """Whether there was anything."""
        node, agent, session, now_us = self.node, self._agent, self._session, self._agenda.now_us
        is_news = False
        while (event := node.next_event()) is not None:
            is_news = True
            self._on_event(self, event)
            if agent is not None:
                agent.handle_node_event(event, now_us)
        if agent is None or session is None:
            return is_news
        while (told := session.next_event()) is not None:
            is_news = True
            match told:
                case Connect():
                    assert self._brain is not None
                    self._link = ControlLink(self, self._brain, self._agenda, self._delay_us)
                case Disconnect():
                    if self._link is not None:
                        self._link.close_by_node(told.text)
                        self._link = None
                    self._agenda.at(now_us, partial(self.on_closed, told.text))
                case _:
                    agent.handle_session_event(told, now_us)
        while (wish := agent.next_event()) is not None:
            is_news = True
            if isinstance(wish, StoreTable):
                self.disk = wish.held
                self.versions.append(wish.held.version)
                agent.on_stored(wish.held.version, None, now_us)
        while self._link is not None and (data := session.next_message()) is not None:
            is_news = True
            self._link.to_brain(data)
        return is_news

    # -- figures

    def link_counts(self) -> dict[str, tuple[Counter[str], int]]:
        """Of each neighbour: what came from it over all processes, and the last round trip."""
        found = {name: (Counter(counts), 0) for name, counts in self._past.items()}
        if self._node is not None:
            for name, stats in self._link_stats():
                counts, _ = found.get(name, (Counter(), 0))
                counts.update(_counts(stats))
                found[name] = (counts, stats.rtt_us)
        return found

    def _link_stats(self) -> Iterator[tuple[str, LinkStats]]:
        for name, neighbour in self.node.neighbours.items():
            yield name, neighbour.stats()


def _counts(stats: LinkStats) -> dict[str, int]:
    return {key: getattr(stats, key) for key in _LINK_COUNTS}
