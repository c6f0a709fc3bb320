"""One neighbour: its links with our workers, and the handshake that keys them.

Nodes with several workers tell their ports when keys are new; until the peer has answered, or has
had time to, nothing is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from control_client.messages import Neighbour as TableEntry
from fastpath.stats import DelayHistogram, LinkStats
from relay.config import Neighbour as NeighbourConfig
from relay.handshake import Handshake, OfferKeys, PeerRestarted, SendHello
from relay.hkdf import Endpoint, hello_key
from relay.messages import WorkerPorts, encode
from relay.pairs import FIRST_PAIR, Pair, PairLink, PairLinks
from relay.slowpath.rate import LinkController
from relay.workers import Workers
from service.address import Address, parse_address

TELL_TIMES = 3
TELL_RETRY_US = 200_000  # chosen: the longest round trip between two nodes; doubling, 1.4 s in all


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a link is with. is_static: named by the node's own configuration."""

    name: str
    node_id: int
    address: Address
    secret: bytes = field(repr=False)
    rate_bps: int
    is_static: bool = False

    @classmethod
    def of_config(cls, config: NeighbourConfig) -> Peer:
        """One of [[neighbours]]."""
        return cls(
            config.name,
            config.node_id,
            config.endpoint,
            config.secret_bytes,
            config.rate_bps,
            is_static=True,
        )

    @classmethod
    def of_table(cls, entry: TableEntry) -> Peer:
        """One of a table's, whose address the message's own check has accepted."""
        return cls(
            entry.name, entry.node_id, parse_address(entry.address), entry.secret, entry.rate_bps
        )


class Neighbour:
    """Carries out what the handshake wants. Raises EngineFullError when made.

    ports: of this node's workers; reached: as neighbours reach them. moved_to: where the peer has
    come back at, if it proved to be elsewhere than its entry says. worker_ports: the peer's, empty
    until it has told them. is_aware: it knows ours, so that a broadcast may come to any worker here
    and go out from any. is_settling: that is to be found out first.
    is_blocked: in this session all has to go between the first workers. up_since_us: of their link.
    control: what paces a link of such a ceiling.
    """

    def __init__(
        self,
        peer: Peer,
        own_node_id: int,
        workers: Workers,
        ports: tuple[int, ...],
        reached: tuple[int, ...],
        rng: Random,
        now_us: int,
        control: Callable[[int], LinkController | None] = lambda _: None,
    ) -> None:
        self.peer = peer
        self.name = peer.name
        self.moved_to: Address | None = None
        self.worker_ports: tuple[int, ...] = ()
        self.is_aware = False
        self.is_blocked = False
        self.up_since_us: int | None = None
        self._workers = workers
        self._control = control
        self._reached = reached
        self.is_settling = len(workers) > 1
        self._told = 0
        self._tell_us: int | None = None
        self.link = workers.add_link(
            port=ports[0],
            address=peer.address,
            peer_node=peer.node_id,
            hello_key=hello_key(peer.secret),
            rate_bps=peer.rate_bps,
            controller=control(peer.rate_bps),
        )
        self.handshake = Handshake(
            own=Endpoint(own_node_id),
            peer=Endpoint(peer.node_id),
            secret=peer.secret,
            rng=rng,
            start_us=now_us,
        )
        self.pairs = PairLinks(workers, ports, peer.node_id, peer.secret, self.handshake, control)

    @property
    def address(self) -> Address:
        """Where its first worker is."""
        return self.moved_to or self.peer.address

    def stats(self) -> LinkStats:
        """Of the links of all pairs together."""
        return self.pairs.add_to(self._workers.link_stats(self.link))

    def delays(self) -> DelayHistogram:
        """How long media stayed here on its way to the neighbour, over all pairs."""
        return self.pairs.add_delays_to(self._workers.delays(self.link))

    # -- which workers there are

    def expect_session(self) -> None:
        """Keys are new, and what took a pair's link is about to leave it: nothing is asked of
        whoever is there now in words of the session before."""
        self.is_settling = len(self._workers) > 1

    def begin_session(self, now_us: int) -> None:
        """Keys are new: whoever is there now has heard nothing yet. What took a pair's link must
        have left it."""
        self.pairs.begin_session()
        self.worker_ports, self.is_aware, self._told = (), False, 0
        self.is_blocked = False
        self.is_settling = len(self._workers) > 1
        self._tell_us = now_us if self.is_settling else None

    def next_tell_us(self) -> int | None:
        """When `tell` is due."""
        return self._tell_us

    def tell(self, now_us: int) -> bool:
        """Say again which workers there are; True once the peer has been given time to answer:
        it knows of none."""
        if self._tell_us is None or now_us < self._tell_us:
            return False
        if self._told == TELL_TIMES:
            self._tell_us, self.is_settling = None, False
            return True
        self._say_ports()
        self._tell_us = now_us + (TELL_RETRY_US << self._told)
        self._told += 1
        return False

    def on_worker_ports(self, message: WorkerPorts) -> bool:
        """The peer's. True if it has just proved to know ours."""
        was_aware = self.is_aware
        self.worker_ports = message.ports
        if message.is_blocked or self.is_blocked:
            self.is_blocked, self.is_aware = True, False
            self._tell_us, self.is_settling = None, False
        elif message.heard:
            self.is_aware = True
            self._tell_us, self.is_settling = None, False
        else:
            self._say_ports()
        return self.is_aware and not was_aware

    def block(self) -> None:
        """Nothing comes between further workers: the first ones take it all."""
        self.is_blocked, self.is_aware = True, False
        for _ in range(2):  # broadcasts stand still until it arrives
            self._say_ports()

    def _say_ports(self) -> None:
        message = WorkerPorts(
            self._reached, heard=bool(self.worker_ports), is_blocked=self.is_blocked
        )
        self._workers.send_control(self.link, encode(message))

    # -- links between further workers

    def has_worker(self, worker: int) -> bool:
        """Whether it is known where that one of the peer's is."""
        return worker == 0 or worker < len(self.worker_ports)

    def use(self, pair: Pair, broadcast: str, now_us: int, heard: int = 0) -> PairLink | None:
        """The pair's link, for a broadcast; None for the first pair. Raises EngineFullError."""
        if pair == FIRST_PAIR:
            return None
        address = self._address_of(pair[1])
        return self.pairs.use(pair, broadcast, address, self.peer.rate_bps, now_us, heard)

    def listen(self, worker: int, now_us: int) -> None:
        """To all of the peer's workers, in one of ours. Raises EngineFullError."""
        for theirs in range(len(self.worker_ports)):
            if (pair := (worker, theirs)) != FIRST_PAIR:
                self.pairs.listen(pair, self._address_of(theirs), self.peer.rate_bps, now_us)

    def _address_of(self, worker: int) -> Address:
        host, port = self.address
        return host, self.worker_ports[worker] if worker else port

    def link_of(self, pair: Pair) -> int | None:
        """The engine's, if there is one."""
        if pair == FIRST_PAIR:
            return self.link
        found = self.pairs.find(pair)
        return found.link if found else None

    def close(self) -> None:
        """All links go, and whatever cursor is still on them."""
        self.pairs.close()
        self._workers.remove_link(self.link)

    # -- the entry and the handshake

    def can_become(self, peer: Peer) -> bool:
        """Whether this link serves the changed entry too: it is the same session of the same node,
        at the same place, or at the place that it has moved to by itself."""
        like_now = replace(self.peer, address=peer.address, rate_bps=peer.rate_bps)
        return like_now == peer and peer.address in (self.peer.address, self.moved_to)

    def become(self, peer: Peer) -> None:
        """Go on under an entry that `can_become` accepts."""
        if peer.rate_bps != self.peer.rate_bps:
            controller = self._control(peer.rate_bps)
            start_bps = controller.rate.start_bps if controller else 0
            self._workers.set_link_rate(self.link, peer.rate_bps, start_bps)
            self.pairs.set_rate(peer.rate_bps, start_bps)
        if peer.address != self.peer.address:
            self.moved_to = None
        self.peer = peer

    def carry_out(self) -> bool:
        """Hand the handshake's outputs to the engine. Returns whether the peer has restarted."""
        has_restarted = False
        while (event := self.handshake.next_event()) is not None:
            match event:
                case SendHello():
                    self._workers.send_hello(self.link, event.payload)
                case OfferKeys():
                    self._workers.offer_keys(
                        self.link,
                        receive_key=event.receive_key,
                        send_key=event.send_key,
                        send_now=event.send_now,
                    )
                case PeerRestarted():
                    has_restarted = True
        return has_restarted
