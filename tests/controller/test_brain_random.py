"""A brain, its nodes and random trouble: what must hold whatever happens.

Tables only go forward and no link is lost, the brain's own restarts included; every question is
answered once; and when all is quiet every node has the table that the brain wants it to have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations, pairwise
from random import Random

import pytest

from control_client.messages import FromBrain
from control_client.session_events import PathNotFound, PathsFound
from tests.controller.world import MS, S, World, broadcast

NAMES = ("a", "b", "c", "d", "e", "f")
STREAMS = ("s", "t", "u")
STEPS = 60


class Trouble:
    """One random step after the other, from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World(NAMES, seed=seed, last_resort=frozenset({"f"}))
        self.world.add(*NAMES)
        self.world.run_for(2 * S)
        pairs = [" ".join(pair) for pair in combinations(NAMES, 2)]
        self.world.mesh({pair: self.rng.randrange(5, 200) for pair in pairs})
        self.world.run_for(2 * S)
        self.asked: Counter[str] = Counter()
        self.away: set[str] = set()
        self.next_id = 1

    def node(self) -> str:
        return self.rng.choice([name for name in NAMES if name not in self.away] or ["a"])

    def step(self) -> None:
        steps: list[Callable[[], None]] = [
            self.link, self.link, self.alarm, self.announce, self.end, self.ask, self.ask,
            self.subscribe, self.subscribe, self.cut, self.restart, self.kill, self.brain,
        ]  # fmt: skip
        self.rng.choice(steps)()
        self.world.run_for(self.rng.choice((0, 5 * MS, 300 * MS, 3 * S, 20 * S)))

    def link(self) -> None:
        a, b = self.rng.sample(NAMES, 2)
        us = None if self.rng.random() < 0.4 else self.rng.randrange(1, 300) * MS
        self.world.links[frozenset((a, b))] = us
        for name in (a, b):
            self.world.report(name, is_alarm=us is None)

    def alarm(self) -> None:
        self.world.report(self.node(), is_alarm=True, cpu=self.rng.choice((100, 850, 990)))

    def announce(self) -> None:
        ids = (self.next_id, self.next_id + 1) if self.rng.random() < 0.8 else ()
        self.next_id += 2
        self.world.announce(self.node(), broadcast(self.rng.choice(STREAMS), *ids))

    def end(self) -> None:
        name, stream = self.node(), self.rng.choice(STREAMS)
        node = self.world.nodes[name]
        node.streams = tuple(s for s in node.streams if s.broadcast != stream)
        self.world.say(name, lambda node: node.session.end(stream, self.world.now_us))

    def ask(self) -> None:
        name = self.node()
        self.asked[name] += 1
        self.world.ask(name, self.rng.choice(STREAMS))

    def subscribe(self) -> None:
        name = self.node()
        others = [other for other in NAMES if other != name]
        path = self.rng.sample(others, self.rng.randrange(1, 4))
        viewers = self.rng.choice((0, 1, 150))
        self.world.subscribe(name, self.rng.choice(STREAMS), *path, viewers=viewers)

    def cut(self) -> None:
        self.world.cut(self.node())

    def restart(self) -> None:
        self.world.restart(self.node())

    def kill(self) -> None:
        if self.away and self.rng.random() < 0.7:
            name = self.away.pop()
            self.world.restart(name)
        else:
            self.away.add(name := self.node())
            self.world.kill(name)

    def brain(self) -> None:
        self.world.kill_brain()
        self.world.run_for(self.rng.choice((0, S, 40 * S)))
        self.world.start_brain()

    def finish(self) -> None:
        for name in sorted(self.away):
            self.world.restart(name)
        self.world.run_for(100 * S)


def run(seed: int) -> Trouble:
    trouble = Trouble(seed)
    for _ in range(STEPS):
        trouble.step()
        world = trouble.world
        assert not world.lost_links.total()
        for node in world.nodes.values():
            assert all(old < new for old, new in pairwise(node.applied)), node.name
    trouble.finish()
    return trouble


@pytest.mark.parametrize("seed", range(25))
def test_what_must_hold(seed: int) -> None:
    trouble = run(seed)
    world = trouble.world
    assert world.brain is not None
    for node in world.brain.nodes():
        assert node.is_connected, node
        assert node.table.is_current, node
        assert node.table.is_stored, node
        table = world.table(node.name)
        assert set(table.neighbours) == set(NAMES) - {node.name}
        for peer, entry in table.neighbours.items():
            assert entry.secret == world.table(peer).neighbours[node.name].secret
    for name in NAMES:
        answered = len(world.got(name, PathsFound)) + len(world.got(name, PathNotFound))
        # One that is asked while another waits shares its answer; a restart forgets them.
        assert answered <= trouble.asked[name]
        assert not list(world.nodes[name].session._requests)
    for stream in world.brain.streams():
        assert stream.producer in NAMES
    ids = [t.stream_id for s in world.brain.streams() for t in s.tracks]
    assert len(set(ids)) == len(ids)


def test_the_same_seed_says_the_same() -> None:
    def said(seed: int) -> list[tuple[str, FromBrain]]:
        return run(seed).world.to_nodes

    first = said(3)
    assert first == said(3)
    assert len(first) > 200
