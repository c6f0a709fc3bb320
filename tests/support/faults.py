"""Faults on a chain's wires, chosen packet by packet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fastpath.stats import LinkStats
from tests.support.chain import Chain

Address = tuple[str, int]
MEDIA, FEEDBACK, PROBE = 0, 1, 2
REQUEST, VOID, GONE = 1, 2, 3
REPAIR = 4


@dataclass(frozen=True)
class Leg:
    """One overlay datagram on its way from one node to the next."""

    time_us: int
    source: int
    destination: int
    data: bytes

    @property
    def kind(self) -> int:
        return self.data[0] & 15

    @property
    def stream_seq(self) -> int:
        return int.from_bytes(self.data[12:16])

    @property
    def hop_seq(self) -> int:
        return int.from_bytes(self.data[16:20])

    @property
    def is_repair(self) -> bool:
        return self.kind == MEDIA and bool(self.data[1] & REPAIR)

    @property
    def is_request(self) -> bool:
        return self.kind == FEEDBACK and self.data[32] == REQUEST

    @property
    def is_void(self) -> bool:
        return self.kind == FEEDBACK and self.data[32] == VOID

    @property
    def is_gone(self) -> bool:
        return self.kind == FEEDBACK and self.data[32] == GONE


@dataclass
class Faults:
    """Watches all wires of a chain; loses the legs that a rule names, each as often as it says."""

    chain: Chain
    legs: list[Leg] = field(default_factory=list)
    lost: list[Leg] = field(default_factory=list)
    late: list[Leg] = field(default_factory=list)
    _rules: list[tuple[Callable[[Leg], bool], list[int], bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chain.drop = self._drop

    def lose(self, rule: Callable[[Leg], bool], times: int = 1) -> None:
        """Lose the next legs to which the rule applies."""
        self._rules.append((rule, [times], False))

    def hold(self, rule: Callable[[Leg], bool]) -> None:
        """Keep the next leg to which the rule applies until `release`."""
        self._rules.append((rule, [1], True))

    def release(self) -> None:
        """Put what was held on its way, behind everything sent since."""
        for leg in self.late:
            self.again(leg)
        self.late.clear()

    def again(self, leg: Leg) -> None:
        """The same datagram once more, now."""
        nodes = self.chain.nodes
        self.chain.network.send(
            nodes[leg.source].address, nodes[leg.destination].address, leg.data, self.chain.now_us
        )

    def _drop(self, source: Address, destination: Address, data: bytes) -> bool:
        first = self.chain.nodes[0].address[1]
        leg = Leg(self.chain.now_us, source[1] - first, destination[1] - first, data)
        self.legs.append(leg)
        for rule, left, is_kept in self._rules:
            if left[0] and rule(leg):
                left[0] -= 1
                (self.late if is_kept else self.lost).append(leg)
                return True
        return False


def media_to(destination: int, stream_seq: int) -> Callable[[Leg], bool]:
    """The media packet `stream_seq` on the hop into that node, first copy or not."""
    return lambda leg: (
        leg.kind == MEDIA and leg.destination == destination and leg.stream_seq == stream_seq
    )


def up(chain: Chain, node: int) -> LinkStats:
    """The link that node receives the stream on."""
    return chain.nodes[node].engine.link_stats(chain.nodes[node].links["up"])


def down(chain: Chain, node: int) -> LinkStats:
    """The link that node sends the stream on."""
    return chain.nodes[node].engine.link_stats(chain.nodes[node].links["down"])
