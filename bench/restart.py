"""A node is killed and started again, at any moment of a broadcast: what does a viewer lose?

Producer, middle and consumer run as processes, joined by emulated links with delay and loss; an
encoder publishes, and a viewer at the consumer notes each packet. The middle node is killed
(SIGKILL) at random moments and started again at once with the same configuration; then it is
stopped for five seconds; then the producer, the consumer and two nodes at once are killed.

All that nodes send is recorded. After each restart of the middle node, recorded packets of earlier
sessions are replayed, from the right addresses, to it and to its neighbours: each must be refused.
From every second restart on, old HELLOs and old first packets are replayed while it starts, too.
At the end no (key, hop_seq) may have been used twice. Prints JSON; fails if a bound is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.host import host
from lab.capture import Seen
from lab.errors import LabError
from lab.flow_viewer import FlowViewer
from lab.link import LinkConfig
from lab.overlay import LabNode
from lab.stage import STREAM, Stage, stage, until
from lab.timer_fd import now_us
from lab.udp_link import Direction

QUESTION = "How long does a viewer see nothing when a node restarts, and is any replay accepted?"
BOUND_US = 2_000_000  # from the start of the new process until media flows again
PRODUCER, MIDDLE, CONSUMER = range(3)
LINK = LinkConfig(delay_us=20_000, jitter_us=1_000, loss=0.005)
DIRECTIONS: tuple[Direction, Direction] = ("ab", "ba")
FLOWS_US = 100_000  # chosen: at 30 frames/s, three frames without a packet is no flow
SETTLE_S = 1.5  # chosen: a refresh and a repair; what is under way has arrived by then
REPLAYS_PER_S = 4_000  # chosen: light beside the broadcast on two cores
START_HELLOS = 20  # replayed to each side while a node starts
REFUSALS = ("bad_tag", "before_window", "replayed", "no_keys", "wrong_epoch")
HELLOS = ("hello_taken", "hello_rate_limited")


@dataclass
class Replays:
    """Of earlier sessions, to one node. refused: by verdict, exactly as many as were sent."""

    to: str
    packets: int
    hellos: int
    refused: dict[str, int]
    hellos_seen: int
    keys_changed: bool
    all_refused: bool


@dataclass
class Event:
    """One disturbance, and what it cost the viewer. Frames are those sent until the next one."""

    what: str
    at_s: float
    old_hellos_at_start: bool = False
    from_kill_ms: float | None = None
    from_start_ms: float | None = None
    until_nodes_run_ms: float | None = None
    """Of from_start_ms: interpreters and imports."""
    without_video_ms: float = 0
    frames: int = 0
    frames_lost: int = 0
    frames_late: int = 0
    frames_damaged: int = 0
    replays: list[Replays] = field(default_factory=list)
    kept: bool = False


class Run:
    def __init__(self, here: Stage, viewer: FlowViewer, seed: int) -> None:
        self.stage = here
        self.viewer = viewer
        self.captures = here.captures
        self.rng = random.Random(seed)
        self.events: list[Event] = []
        self.began_us = now_us()
        self.times_us: list[int] = []

    async def restart(self, what: str, nodes: list[int], *, old_hellos: bool, replays: int) -> None:
        """Kill, start again at once, wait for the flow, replay."""
        await self._quiet_then_random()
        event = self._begin(what)
        event.old_hellos_at_start = old_hellos
        chosen = [self.stage.nodes[index] for index in nodes]
        killed_us = now_us()
        await self.stage.overlay.kill(*chosen)
        started_us = now_us()
        await asyncio.gather(*(self.stage.overlay.start_again(node) for node in chosen))
        noise = asyncio.create_task(self._replay_at_start(killed_us)) if old_hellos else None
        gap_end_us = await self._flowing(killed_us)
        if noise is not None:
            await noise
        event.from_kill_ms = (gap_end_us - killed_us) / 1000
        event.from_start_ms = (gap_end_us - started_us) / 1000
        event.without_video_ms = self.viewer.longest_gap(killed_us, now_us()).length_us / 1000
        event.until_nodes_run_ms = (max(map(_running_us, chosen)) - started_us) / 1000
        await asyncio.sleep(SETTLE_S)
        if replays:
            event.replays = await self._replay(killed_us, replays)
        event.kept = gap_end_us - started_us <= BOUND_US and all(
            each.all_refused for each in event.replays
        )
        self._say(event)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP and SIGCONT of the middle node."""
        await self._quiet_then_random()
        event = self._begin(f"middle stopped for {seconds:g} s")
        process = self.stage.nodes[MIDDLE].process.process
        process.send_signal(signal.SIGSTOP)
        stopped_us = now_us()
        await asyncio.sleep(seconds)
        continued_us = now_us()
        process.send_signal(signal.SIGCONT)
        gap_end_us = await self._flowing(continued_us)
        event.from_start_ms = (gap_end_us - continued_us) / 1000
        event.without_video_ms = self.viewer.longest_gap(stopped_us, now_us()).length_us / 1000
        await asyncio.sleep(SETTLE_S)
        event.kept = gap_end_us - continued_us <= BOUND_US
        self._say(event)

    def judge(self) -> None:
        """Give each event the frames sent from then until the next one."""
        manifest = self.stage.manifest()
        ends_us = [*self.times_us[1:], now_us()]
        for event, from_us, to_us in zip(self.events, self.times_us, ends_us, strict=True):
            # A little before: what was under way at the kill may be lost.
            found = self.viewer.judge(manifest, from_us - 200_000, to_us - 200_000)
            event.frames = found.expected
            event.frames_lost = found.incomplete
            event.frames_late = found.late
            event.frames_damaged = found.damaged

    def _begin(self, what: str) -> Event:
        event = Event(what, round((now_us() - self.began_us) / 1_000_000, 2))
        self.events.append(event)
        self.times_us.append(now_us())
        return event

    def _say(self, event: Event) -> None:
        found = f"{event.from_start_ms:.0f} ms" if event.from_start_ms is not None else "?"
        sys.stderr.write(f"{event.at_s:7.1f} s  {event.what}: media after {found}\n")

    async def _quiet_then_random(self) -> None:
        """Any moment of a GoP, of a probe interval, of a refresh."""
        await asyncio.sleep(self.rng.uniform(0.5, 3.0))

    async def _flowing(self, killed_us: int) -> int:
        """When video came again after a gap that spans the kill, to stay for half a second."""

        def resumed() -> int | None:
            gap = self.viewer.longest_gap(killed_us, now_us())
            newest_us = self.viewer.arrivals[-1].time_us
            is_over = gap.to_us <= newest_us and gap.length_us > FLOWS_US
            return gap.to_us if is_over and newest_us - gap.to_us > 500_000 else None

        await until(lambda: resumed() is not None, 30, "video flows again")
        found = resumed()
        assert found is not None
        return found

    async def _replay_at_start(self, killed_us: int) -> None:
        """While the handshake runs: old HELLOs and the first packets of the old session."""
        for turn in range(START_HELLOS):
            for index, capture in enumerate(self.captures):
                for direction in DIRECTIONS:
                    hellos, old = capture.before(direction, killed_us)
                    for one in (*hellos[turn % len(hellos) :][:1], *old[4 * turn : 4 * turn + 4]):
                        self.stage.overlay.links[index].inject(direction, one.data)
            await asyncio.sleep(1.5 / START_HELLOS)

    async def _replay(self, killed_us: int, count: int) -> list[Replays]:
        """To the middle node from both sides, and to each neighbour from its side."""
        found = []
        ways: list[tuple[LabNode, list[tuple[Direction, int]]]] = [
            (self.stage.nodes[MIDDLE], [("ab", 0), ("ba", 1)]),
            (self.stage.nodes[PRODUCER], [("ba", 0)]),
            (self.stage.nodes[CONSUMER], [("ab", 1)]),
        ]
        for node, sources in ways:
            chosen = [
                (index, one)
                for direction, index in sources
                for one in self._old(index, direction, killed_us, count // len(sources))
            ]
            found.append(await self._replay_to(node, chosen))
        return found

    def _old(self, index: int, direction: Direction, killed_us: int, count: int) -> list[Seen]:
        """All HELLOs, and others of all earlier sessions, in the order in which they were sent."""
        hellos, others = self.captures[index].before(direction, killed_us)
        first, rest = others[: count // 10], others[count // 10 :]
        picked = self.rng.sample(rest, min(len(rest), count - len(first)))
        return sorted(first + picked + hellos[-50:], key=lambda seen: seen.time_us)

    async def _replay_to(self, node: LabNode, chosen: list[tuple[int, Seen]]) -> Replays:
        keyed = _keyed(node)
        before = await self.stage.verdicts(node)
        hellos_before = sum(capture.hellos_sent for capture in self.captures)
        packets = hellos = 0
        for place, (index, one) in enumerate(chosen):
            if self.stage.overlay.links[index].inject(one.direction, one.data):
                packets += not one.is_hello
                hellos += one.is_hello
            if place % 20 == 19:
                await asyncio.sleep(20 / REPLAYS_PER_S)
        await asyncio.sleep(0.5)
        after = await self.stage.verdicts(node)
        sent_hellos = sum(c.hellos_sent for c in self.captures) - hellos_before
        refused = {name: after[name] - before[name] for name in REFUSALS}
        seen_hellos = sum(after[name] - before[name] for name in HELLOS)
        keys_changed = _keyed(node) != keyed
        return Replays(
            to=node.name,
            packets=packets,
            hellos=hellos,
            refused={name: number for name, number in refused.items() if number},
            hellos_seen=seen_hellos,
            keys_changed=keys_changed,
            all_refused=sum(refused.values()) == packets
            and hellos <= seen_hellos <= hellos + sent_hellos
            and not keys_changed,
        )


def _keyed(node: LabNode) -> int:
    """How often a link of this process took new keys."""
    return node.process.err.read_text().count('"neighbour_keyed"')


def _running_us(node: LabNode) -> int:
    """When this process said that it had started, by our clock."""
    for line in node.process.err.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "node_started":
            said = datetime.fromisoformat(event["timestamp"]).timestamp()
            return now_us() - round((time.time() - said) * 1_000_000)
    raise LabError(f"{node.name} has not said that it started")


async def bench(restarts: int, replays: int, seed: int, directory: Path) -> dict[str, object]:
    async with stage(directory, LINK, seed) as here:
        await here.publish(seed)
        async with FlowViewer(here.nodes[CONSUMER].url, STREAM) as viewer:
            await until(lambda: len(viewer.arrivals) > 100, 30, "the first video")
            run = Run(here, viewer, seed)
            for number in range(restarts):
                await run.restart(
                    "middle killed", [MIDDLE], old_hellos=number % 2 == 1, replays=replays
                )
            middle_ssrcs = len({each.ssrc for each in viewer.arrivals})
            middle_missing = viewer.missing()
            await run.freeze(5.0)
            for what, nodes in (
                ("producer killed", [PRODUCER]),
                ("consumer killed", [CONSUMER]),
                ("producer and middle killed", [PRODUCER, MIDDLE]),
                ("middle and consumer killed", [MIDDLE, CONSUMER]),
            ):
                await run.restart(what, nodes, old_hellos=False, replays=0)
            await asyncio.sleep(1)
            run.judge()
            subscriptions = viewer.subscriptions
        await here.stop_encoder()
        nonces = here.audit()
    of_middle = [event for event in run.events if event.what == "middle killed"]
    return {
        "question": QUESTION,
        "host": host(),
        "seed": seed,
        "link": asdict(LINK),
        "bound_ms": BOUND_US / 1000,
        "worst_from_start_ms": max((e.from_start_ms or 0 for e in of_middle), default=None),
        "worst_from_kill_ms": max((e.from_kill_ms or 0 for e in of_middle), default=None),
        "viewer": {
            "ssrcs_while_its_node_lived": middle_ssrcs,
            "sequence_numbers_missing": middle_missing,
            "subscriptions": subscriptions,
        },
        "replayed": sum(r.packets + r.hellos for e in run.events for r in e.replays),
        "replays_accepted": sum(
            r.packets - sum(r.refused.values()) for e in run.events for r in e.replays
        ),
        "nonces": asdict(nonces),
        "kept": all(event.kept for event in run.events)
        and nonces.repeated == 0
        and nonces.unverified == 0,
        "events": [asdict(event) for event in run.events],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--replays", type=int, default=4000, help="to each node, per restart")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="keep logs and configurations here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        found = uvloop.run(bench(options.restarts, options.replays, options.seed, directory))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
