"""One neighbour: its link in the engine, and the handshake that keys it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from control_client.messages import Neighbour as TableEntry
from fastpath import Engine
from relay.config import Neighbour as NeighbourConfig
from relay.handshake import Handshake, OfferKeys, PeerRestarted, SendHello
from relay.hkdf import Endpoint, hello_key
from service.address import Address, parse_address


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

    moved_to: where the peer has come back at, if it proved to be elsewhere than its entry says.
    """

    def __init__(
        self, peer: Peer, own_node_id: int, engine: Engine, port: int, rng: Random, now_us: int
    ) -> None:
        self.peer = peer
        self.name = peer.name
        self.moved_to: Address | None = None
        self._engine = engine
        self.link = engine.add_link(
            port=port,
            address=peer.address,
            peer_node=peer.node_id,
            hello_key=hello_key(peer.secret),
            rate_bps=peer.rate_bps,
        )
        self.handshake = Handshake(
            own=Endpoint(own_node_id),
            peer=Endpoint(peer.node_id),
            secret=peer.secret,
            rng=rng,
            start_us=now_us,
        )

    def can_become(self, peer: Peer) -> bool:
        """Whether this link serves the changed entry too: it is the same session of the same node,
        at the same place, or at the place that it has moved to by itself."""
        like_now = replace(self.peer, address=peer.address, rate_bps=peer.rate_bps)
        return like_now == peer and peer.address in (self.peer.address, self.moved_to)

    def become(self, peer: Peer) -> None:
        """Go on under an entry that `can_become` accepts."""
        if peer.rate_bps != self.peer.rate_bps:
            self._engine.set_link_rate(self.link, peer.rate_bps)
        if peer.address != self.peer.address:
            self.moved_to = None
        self.peer = peer

    def carry_out(self) -> bool:
        """Hand the handshake's outputs to the engine. Returns whether the peer has restarted."""
        has_restarted = False
        while (event := self.handshake.next_event()) is not None:
            match event:
                case SendHello():
                    self._engine.send_hello(self.link, event.payload)
                case OfferKeys():
                    self._engine.offer_keys(
                        self.link,
                        receive_key=event.receive_key,
                        send_key=event.send_key,
                        send_now=event.send_now,
                    )
                case PeerRestarted():
                    has_restarted = True
        return has_restarted
