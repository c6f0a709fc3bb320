"""The relays of others that the bench knows, by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.support.peer_coturn import Coturn
from bench.support.peer_rtpengine import Rtpengine
from bench.support.peers import Nginx, Peer
from bench.support.relays import Place

KINDS: dict[str, type[Peer]] = {kind.name: kind for kind in (Rtpengine, Coturn, Nginx)}


@dataclass(frozen=True)
class PeerMaker:
    """Starts the peer for a case; makes none for a case it cannot do."""

    kind: type[Peer]

    @property
    def name(self) -> str:
        return self.kind.name

    def __call__(self, place: Place) -> Peer | None:
        return self.kind(place) if self.kind.can_do(place.case) else None


def peers_named(names: Iterable[str]) -> list[PeerMaker]:
    """Each once. Raises BenchError, naming its package, if one is not installed."""
    kinds = [KINDS[name] for name in dict.fromkeys(names)]
    for kind in kinds:
        kind.check_installed()
    return [PeerMaker(kind) for kind in kinds]
