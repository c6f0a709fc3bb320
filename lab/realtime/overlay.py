"""The processes that make a run's overlay: links, brain, nodes. Up, down, and what they answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from lab.errors import LabError
from lab.node_config import overlane
from lab.processes import Child, Processes
from lab.realtime.files import RunFiles
from lab.realtime.links import LinkSet
from lab.scenario.model import Scenario
from lab.scenario.topology import access_paths, link_configs

READY_S = 60.0  # chosen: a dozen interpreters starting on two busy cores take about ten seconds
_POLL_S = 0.1
_ANSWER_S = 5.0
NOT_YET_US = 1 << 62  # when traces of rates begin, before it is known

BRAIN = "brain"  # name of its process; a node may be called so too, with a process "node brain"


class OverlayError(LabError):
    """The overlay did not come up."""


class ScenarioOverlay:
    """Use it as a context; it closes its HTTP session, `Processes` ends the processes."""

    def __init__(
        self, scenario: Scenario, directory: Path, processes: Processes, *, seed: int, repair: bool
    ) -> None:
        self.scenario = scenario
        self.processes = processes
        self.files = RunFiles(scenario, directory, repair=repair)
        links = link_configs(scenario)
        self.links = LinkSet(
            {pair: link.with_trace_from(NOT_YET_US) for pair, link in links.items()},
            seed,
            [path.with_traces_from(NOT_YET_US) for path in access_paths(scenario)],
        )
        self.node_children: dict[str, Child] = {}
        self.brain_child: Child | None = None
        self.brain_starts = 0
        self._starts: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        self.http = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()

    async def start(self) -> None:
        """Links, then brain and nodes at once; returns when media could flow anywhere: every link
        has keys and a round trip, and the brain knows it."""
        await self.links.start(self.processes)
        await self.links.open({name: node.address for name, node in self.files.nodes.items()})
        self.files.write(self.links)
        if self.scenario.brain is not None:
            await self.start_brain()
        await asyncio.gather(*(self.start_node(name) for name in self.files.nodes))
        await self.until_ready()

    async def begin_traces(self, origin_us: int) -> None:
        """Rates that change do so by a clock that begins now."""
        for (a, b), link in self.links.links.items():
            if link.config.rate_trace:
                await self.links.configure(a, b, link.config.with_trace_from(origin_us))
        for number, path in enumerate(self.links.accesses):
            if path.forward.rate_trace or path.back.rate_trace:
                await self.links.configure_access(number, path.with_traces_from(origin_us))

    async def start_node(self, name: str) -> None:
        """With its configuration, and what an earlier process of it has left on disk. Does not wait
        until it is ready."""
        self._starts[name] = self._starts.get(name, 0) + 1
        number = self._starts[name]
        label = f"node-{name}" if number == 1 else f"node-{name}-{number}"
        command = overlane("relay", "--config", self.files.nodes[name].config)
        self.node_children[name] = await self.processes.start(label, command)

    async def kill_node(self, name: str) -> None:
        """SIGKILL."""
        await self.node_children.pop(name).kill()

    async def start_brain(self) -> None:
        """Does not wait until it is ready."""
        self.brain_starts += 1
        label = BRAIN if self.brain_starts == 1 else f"{BRAIN}-{self.brain_starts}"
        command = overlane("controller", "--config", self.files.brain.config)
        self.brain_child = await self.processes.start(label, command)

    async def kill_brain(self) -> None:
        """SIGKILL."""
        assert self.brain_child is not None
        child, self.brain_child = self.brain_child, None
        await child.kill()

    def check_alive(self) -> None:
        """Raises ProcessError if anything ended that was not killed."""
        for child in self.node_children.values():
            child.check_alive()
        if self.brain_child is not None:
            self.brain_child.check_alive()

    async def until_ready(self, limit_s: float = READY_S) -> None:
        """Raises OverlayError, saying what is missing."""
        end = asyncio.get_running_loop().time() + limit_s
        while (missing := await self._missing()) is not None:
            if asyncio.get_running_loop().time() > end:
                raise OverlayError(f"not ready within {limit_s:.0f} s: {missing}")
            await asyncio.sleep(_POLL_S)

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """/status of each node that answers."""
        names = list(self.node_children)
        found = await asyncio.gather(*(self.get(self.files.nodes[n].url, "/status") for n in names))
        return {name: each for name, each in zip(names, found, strict=True) if each is not None}

    async def brain(self, path: str) -> Any:
        """What the brain's API answers; None if it is away or says no."""
        return await self.get(self.files.brain.url, path) if self.brain_child is not None else None

    async def get(self, url: str, path: str) -> Any:
        """JSON; None if there is no good answer."""
        try:
            async with self.http.get(f"{url}{path}") as response:
                return await response.json() if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _missing(self) -> str | None:
        """One line on what is not there yet."""
        self.check_alive()
        wanted = {node: 0 for node in self.files.nodes}
        for pair, link in self.links.links.items():
            for node in pair:
                wanted[node] += not link.is_cut
        statuses = await self.statuses()
        for name in self.node_children:
            if name not in statuses:
                return f"{name} does not answer"
            links = statuses[name]["neighbours"]
            ready = sum(each["is_up"] and each["rtt_us"] > 0 for each in links)
            if ready < wanted[name]:
                return f"{name} has {ready} of {wanted[name]} links"
        return await self._missing_at_brain() if self.scenario.brain is not None else None

    async def _missing_at_brain(self) -> str | None:
        """The brain computes paths of measured links only."""
        links = await self.brain("/links")
        if links is None:
            return "the brain does not answer"
        measured = {(each["sender"], each["receiver"]) for each in links if each["rtt_us"]}
        for (a, b), link in self.links.links.items():
            if not link.is_cut and not {(a, b), (b, a)} & measured:
                return f"the brain knows no round trip of {a} - {b}"
        return None
