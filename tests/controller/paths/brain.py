"""The bases and the decision, put together by hand over a small network."""

from __future__ import annotations

from controller.discovery import NetworkSnapshot
from controller.paths import (
    Announced,
    Broadcast,
    PathAnswer,
    PathBase,
    PathConfig,
    PathDecision,
    Paths,
    SearchMode,
    StreamBase,
    StreamIds,
    Track,
)
from controller.routing import CostConfig

TRACKS = (Track("video", "video", "H264", 96, 90_000), Track("audio", "audio", "opus", 111, 48_000))


class Brain:
    """ "show" is produced at A. last_resort: one letter a node."""

    def __init__(
        self,
        network: NetworkSnapshot,
        *,
        last_resort: str = "",
        hop_cost_us: int = 0,
        mode: SearchMode = SearchMode.BOUNDED,
    ):
        cost = CostConfig(hop_cost_us=hop_cost_us)
        self.streams = StreamBase(StreamIds(0xFFFFFFFF))
        self.paths = PathBase(PathConfig(last_resort=frozenset(last_resort), cost=cost, mode=mode))
        self.paths.update(network)
        self.decision = PathDecision(self.streams, self.paths)
        self.show = self.produce("A", 1)

    def produce(self, producer: str, session: int, name: str = "show") -> Broadcast:
        answer = self.streams.announce(name, producer, session, TRACKS, 0)
        assert isinstance(answer, Announced)
        return answer.broadcast


def routes(answer: PathAnswer) -> list[str]:
    assert isinstance(answer, Paths)
    return ["".join(path.nodes) for path in answer.paths]
