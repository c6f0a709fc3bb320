"""One neighbour: its link in the engine, and the handshake that keys it."""

from __future__ import annotations

from random import Random

from fastpath import Engine
from relay.config import Neighbour as NeighbourConfig
from relay.handshake import Handshake, OfferKeys, PeerRestarted, SendHello
from relay.hkdf import Endpoint, hello_key


class Neighbour:
    """Carries out what the handshake wants. Raises EngineFullError when made."""

    def __init__(
        self,
        config: NeighbourConfig,
        own_node_id: int,
        engine: Engine,
        port: int,
        rng: Random,
        now_us: int,
    ) -> None:
        self.config = config
        self.name = config.name
        self._engine = engine
        self.link = engine.add_link(
            port=port,
            address=config.endpoint,
            peer_node=config.node_id,
            hello_key=hello_key(config.secret_bytes),
            rate_bps=config.rate_bps,
        )
        self.handshake = Handshake(
            own=Endpoint(own_node_id),
            peer=Endpoint(config.node_id),
            secret=config.secret_bytes,
            rng=rng,
            start_us=now_us,
        )

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
