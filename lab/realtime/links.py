"""The emulated links of a run, by pair of nodes, and the access paths of its viewers and encoders;
they run in a process of their own."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from lab.errors import LabError
from lab.link import LinkConfig
from lab.processes import Child, Processes
from lab.realtime.link_messages import (
    AccessSpec,
    Aim,
    Answer,
    Change,
    ChangeAccess,
    Changed,
    Count,
    Counted,
    LinkSpec,
    Open,
    Opened,
    Request,
)
from lab.scenario.topology import AccessPath, Pair, pair_of
from lab.udp_link import DirectionCounters
from lab.udp_socket import Address

AnswerT = TypeVar("AnswerT", Opened, Changed, Counted)

_ANSWER_S = 10.0  # chosen: an interpreter's start on a busy machine
MEDIA = ("video", "audio")  # a lane each, for each viewer or encoder behind an access path


class LinkProcessError(LabError):
    """The process of the links does not do what it is told."""


@dataclass(slots=True)
class LabLink:
    """A link between two nodes, alike in both directions."""

    config: LinkConfig
    facing: dict[str, Address] = field(default_factory=dict)
    """By node: where it sends what is for the other."""
    is_cut: bool = False


class LinkSet:
    """All links of a run. All but `start` needs the process, which it starts."""

    def __init__(
        self, configs: Mapping[Pair, LinkConfig], seed: int, accesses: Sequence[AccessPath] = ()
    ) -> None:
        self.links = {pair: LabLink(config) for pair, config in configs.items()}
        self.accesses = list(accesses)
        self._lanes: list[list[Address]] = []
        self.seed = seed
        self._index = {pair: index for index, pair in enumerate(self.links)}
        self._child: Child | None = None
        self._turn = asyncio.Lock()

    async def start(self, processes: Processes) -> None:
        """Only the process, so that its start may overlap with others'."""
        command = [sys.executable, "-m", "lab.realtime.link_process"]
        self._child = await processes.start("links", command, is_spoken_to=True)

    async def open(self, addresses: Mapping[str, Address]) -> None:
        """addresses: of every node's overlay socket."""
        specs = [
            LinkSpec(
                a=addresses[a],
                b=addresses[b],
                config=link.config,
                seed=random.Random(f"{self.seed} link {a} {b}").getrandbits(32),
            )
            for (a, b), link in self.links.items()
        ]
        accesses = [
            AccessSpec(
                forward=path.forward,
                back=path.back,
                lanes=len(MEDIA) * len(path.behind),
                seed=random.Random(f"{self.seed} access {path.name}").getrandbits(32),
            )
            for path in self.accesses
        ]
        opened = await self._ask(Open(specs, accesses), Opened)
        self._lanes = opened.lanes
        for ((a, b), link), facing in zip(self.links.items(), opened.facing, strict=True):
            link.facing = dict(zip((a, b), facing, strict=True))

    def between(self, a: str, b: str) -> LabLink:
        """Raises KeyError if the two are not joined."""
        return self.links[pair_of(a, b)]

    async def cut(self, a: str, b: str) -> int:
        """Nothing more gets on it, from the returned time on; what is under way arrives."""
        self.between(a, b).is_cut = True
        return await self._apply(a, b)

    async def mend(self, a: str, b: str) -> int:
        """As it was configured last."""
        self.between(a, b).is_cut = False
        return await self._apply(a, b)

    async def configure(self, a: str, b: str, config: LinkConfig) -> int:
        """A link that is cut stays so until it is mended."""
        self.between(a, b).config = config
        return await self._apply(a, b)

    async def reach(self, behind: str, media: str, receiver: Address) -> Address:
        """Where media for this address must be sent by the node of a viewer, or by an encoder.
        behind: as in `AccessPath.behind`. The address itself for who is behind no access path."""
        for number, path in enumerate(self.accesses):
            if behind in path.behind:
                lane = len(MEDIA) * path.behind.index(behind) + MEDIA.index(media)
                await self._ask(Aim(number, lane, receiver), Changed)
                return self._lanes[number][lane]
        return receiver

    async def configure_access(self, number: int, path: AccessPath) -> int:
        """By its place in `accesses`, from the returned time on."""
        self.accesses[number] = path
        return (await self._ask(ChangeAccess(number, path.forward, path.back), Changed)).at_us

    async def counters(self) -> dict[tuple[str, str], DirectionCounters]:
        """By (sender, receiver)."""
        counted = await self._ask(Count(), Counted)
        found = {}
        for (a, b), both in zip(self.links, counted.links, strict=True):
            found[a, b], found[b, a] = both.a_to_b, both.b_to_a
        return found

    async def cpu_us(self) -> int:
        """Processor time that the links have taken."""
        return (await self._ask(Count(), Counted)).cpu_us

    async def _apply(self, a: str, b: str) -> int:
        link = self.between(a, b)
        config = link.config.with_cut() if link.is_cut else link.config
        return (await self._ask(Change(self._index[pair_of(a, b)], config), Changed)).at_us

    async def _ask(self, request: Request, kind: type[AnswerT]) -> AnswerT:
        assert self._child is not None
        self._child.check_alive()
        pipe_in, pipe_out = self._child.process.stdin, self._child.process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        async with self._turn:
            try:
                pipe_in.write(msgspec.json.encode(request) + b"\n")
                line = await asyncio.wait_for(pipe_out.readline(), _ANSWER_S)
                answer: Answer = msgspec.json.decode(line, type=Answer)
            except (TimeoutError, OSError, msgspec.MsgspecError) as error:
                raise LinkProcessError(
                    f"the links do not answer ({error or 'too slow'}): {self._child.last_words()}"
                ) from None
        assert isinstance(answer, kind)
        return answer
