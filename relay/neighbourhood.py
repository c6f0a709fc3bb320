"""The neighbours of a node, as they come and go: configured ones stay, those of a table change.

In: what the engine says of links, and whole lists of neighbours. Out: the engine's links, and what
the subscriptions have to know. A list that cannot be had is refused before anything has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TypeAlias

from control_client.errors import TableRefusalCode
from control_client.messages import Neighbour as TableEntry
from fastpath import events as engine_events
from relay import events
from relay.config import NodeConfig
from relay.errors import RelayError
from relay.lanes import Lanes
from relay.neighbour import Neighbour, Peer
from relay.slowpath.rate import node_link_controller
from relay.slowpath.subscription import SubscriptionTable
from relay.workers import Workers
from service.address import format_address, ip_of, parse_address

LinkEvent: TypeAlias = (
    engine_events.HelloReceived
    | engine_events.LinkKeyed
    | engine_events.LinkUp
    | engine_events.LinkDown
    | engine_events.LinkMoved
)


class NeighboursRefusedError(RelayError):
    """A list of neighbours that this node cannot have; those it has are as before."""

    def __init__(self, code: TableRefusalCode, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Changes:
    """What leads from the neighbours there are to those of a list. again: link anew."""

    removed: tuple[Neighbour, ...]
    kept: tuple[tuple[Neighbour, Peer], ...]
    again: tuple[tuple[Neighbour, Peer], ...]
    added: tuple[Peer, ...]


class Neighbourhood:
    """Owns the engine's links with nodes."""

    def __init__(
        self, config: NodeConfig, workers: Workers, subscriptions: SubscriptionTable, rng: Random
    ) -> None:
        self.by_name: dict[str, Neighbour] = {}
        self._by_link: dict[int, Neighbour] = {}
        self._config = config
        self._workers = workers
        self._ports: tuple[int, ...] = ()
        self._subscriptions = subscriptions
        self._rng = rng
        self._begun: list[tuple[Neighbour, bool]] = []

    def start(self, ports: tuple[int, ...], now_us: int) -> None:
        """Link with the configured ones. ports: the workers', of the overlay. Raises
        EngineFullError."""
        self._ports = ports
        for config in self._config.neighbours:
            self._link(Peer.of_config(config), now_us)

    def of_link(self, link: int) -> Neighbour | None:
        """None if it was removed meanwhile, or joins further workers: nothing is said on those."""
        return self._by_link.get(link)

    def next_timer_us(self) -> int | None:
        """When `handle_timer` is due."""
        times = (
            time_us
            for neighbour in self.by_name.values()
            for time_us in (
                neighbour.handshake.next_timer_us(),
                neighbour.next_tell_us(),
                neighbour.pairs.next_timer_us(),
            )
        )
        return min((time_us for time_us in times if time_us is not None), default=None)

    def handle_timer(self, now_us: int) -> None:
        """HELLO again, and whatever else is to be said again."""
        for neighbour in self.by_name.values():
            neighbour.handshake.handle_timer(now_us)
            neighbour.carry_out()
            if neighbour.tell(now_us):
                self._subscriptions.on_link_up(neighbour.name, now_us)

    def renew(self, lanes: Lanes, now_us: int) -> None:
        """Once what the last engine event has led to is carried out: the links of further workers
        that its session or its address was for."""
        while self._begun:
            neighbour, is_session = self._begun.pop()
            if self.by_name.get(neighbour.name) is not neighbour:
                continue
            lanes.forget_peer(neighbour.name)
            if is_session:
                neighbour.begin_session(now_us)
                neighbour.tell(now_us)
            else:
                neighbour.pairs.close()

    # -- lists of neighbours

    def plan(self, entries: Iterable[TableEntry]) -> Changes:
        """What a list asks for; nothing is changed. Raises NeighboursRefusedError.

        Static neighbours win: an entry of the same name is passed over.
        """
        static = {n.name: n.peer for n in self.by_name.values() if n.peer.is_static}
        wanted = {e.name: Peer.of_table(e) for e in entries if e.name not in static}
        for fault in self._faults(static, wanted):
            raise NeighboursRefusedError(TableRefusalCode.INVALID, fault)
        limit = self._config.limits.node_links
        if len(static) + len(wanted) > limit:
            text = (
                f"{len(wanted)} neighbours and {len(static)} configured ones: {self._config.name} "
                f"has room for {limit}; raise limits.node_links"
            )
            raise NeighboursRefusedError(TableRefusalCode.NO_ROOM, text)
        now = {n.name: n for n in self.by_name.values() if not n.peer.is_static}
        stays = [(now[name], peer) for name, peer in wanted.items() if name in now]
        return Changes(
            removed=tuple(n for name, n in now.items() if name not in wanted),
            kept=tuple((n, peer) for n, peer in stays if n.can_become(peer)),
            again=tuple((n, peer) for n, peer in stays if not n.can_become(peer)),
            added=tuple(peer for name, peer in wanted.items() if name not in now),
        )

    def remove(self, neighbour: Neighbour, now_us: int) -> None:
        """Tell the subscriptions; the caller carries out what they want, then calls `unlink`."""
        self._subscriptions.remove_neighbour(neighbour.name, now_us)

    def unlink(self, neighbour: Neighbour) -> None:
        """Its link goes, and whatever cursor is still on it."""
        del self.by_name[neighbour.name]
        del self._by_link[neighbour.link]
        neighbour.close()

    def add(self, peer: Peer, now_us: int) -> None:
        """A new link. Raises EngineFullError."""
        self._link(peer, now_us)
        self._subscriptions.add_neighbour(peer.name)

    def _link(self, peer: Peer, now_us: int) -> None:
        config = self._config
        added = Neighbour(
            peer,
            config.node_id,
            self._workers,
            self._ports,
            config.reached_ports,
            self._rng,
            now_us,
            partial(node_link_controller, config.rate.node_links),
        )
        self.by_name[peer.name] = self._by_link[added.link] = added

    def _faults(self, static: dict[str, Peer], wanted: dict[str, Peer]) -> Iterator[str]:
        config = self._config
        own = config.endpoint, parse_address(config.advertised_as or config.listen)
        ids = {config.node_id: f"{config.name}, this node itself"}
        ids |= {peer.node_id: f"{peer.name}, a configured neighbour" for peer in static.values()}
        addresses = {peer.address: peer.name for peer in static.values()}
        for name, peer in wanted.items():
            if name == config.name:
                yield f"neighbours: {name} is this node itself"
            if peer.node_id in ids:
                yield f"neighbours: {name} has id {peer.node_id}, that of {ids[peer.node_id]}"
            if peer.address in addresses:
                where = format_address(peer.address)
                yield f"neighbours: {name} is at {where}, where {addresses[peer.address]} is"
            if peer.address in own:
                yield f"neighbours: {name} is at {format_address(peer.address)}, this node's own"
            if (fault := self._address_fault(peer)) is not None:
                yield f"neighbours: {name} is at {format_address(peer.address)}, {fault}"

    def _address_fault(self, peer: Peer) -> str | None:
        config, ip = self._config, ip_of(peer.address)
        own = ip_of(parse_address(config.advertised_as or config.listen))
        if ip.version != ip_of(config.endpoint).version:
            return f"IPv{ip.version}, but this node listens at {config.listen}"
        if ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255":
            return "which is no host"
        if ip.is_loopback and not own.is_loopback:
            return f"which is this host alone, but this node is reached at {own}"
        return None

    # -- what the engine says

    def on_engine_event(self, event: LinkEvent, now_us: int) -> events.NodeEvent | None:
        """What the node has to report of it. A link that was removed says nothing any more."""
        neighbour = self._by_link.get(event.link)
        if neighbour is None:
            if isinstance(event, engine_events.LinkDown | engine_events.LinkUp):
                self._on_pair(event, now_us)
            return None
        name, handshake = neighbour.name, neighbour.handshake
        match event:
            case engine_events.HelloReceived():
                handshake.on_hello(event.payload, now_us)
                neighbour.carry_out()
            case engine_events.LinkKeyed():
                handshake.on_keyed()
                has_restarted = neighbour.carry_out()
                self._begun.append((neighbour, True))
                neighbour.expect_session()
                if has_restarted:
                    self._subscriptions.on_peer_restarted(name, now_us)
                else:
                    self._subscriptions.on_link_up(name, now_us)
                return events.NeighbourKeyed(name, has_restarted)
            case engine_events.LinkUp():
                neighbour.up_since_us = now_us
                handshake.on_link_up()
                self._subscriptions.on_link_up(name, now_us)
                return events.NeighbourUp(name)
            case engine_events.LinkDown():
                neighbour.up_since_us = None
                handshake.on_link_down(now_us)
                handshake.handle_timer(now_us)
                neighbour.carry_out()
                self._subscriptions.on_link_down(name, now_us)
                return events.NeighbourDown(name)
            case engine_events.LinkMoved():
                if event.address[0] != neighbour.address[0] and [*neighbour.pairs]:
                    # What took them is asked for again, from there.
                    self._subscriptions.on_peer_restarted(name, now_us)
                    self._begun.append((neighbour, False))
                neighbour.moved_to = event.address
                return events.NeighbourMoved(name, format_address(event.address))
        return None

    def _on_pair(self, event: engine_events.LinkDown | engine_events.LinkUp, now_us: int) -> None:
        """Of a link between further workers. What comes that way is lost, and nothing else."""
        is_down = isinstance(event, engine_events.LinkDown)
        for neighbour in self.by_name.values():
            pair = neighbour.pairs.pair_of(event.link)
            found = neighbour.pairs.find(pair) if pair else None
            if pair is None or found is None:
                continue
            neighbour.pairs.on_silence(pair, now_us if is_down else None)
            if is_down:
                names = sorted(found.users)
                self._subscriptions.on_way_down(neighbour.name, names, now_us)
