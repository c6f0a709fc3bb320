"""A scenario drawn from a seed: nodes, links, broadcasts, viewers, and a time of trouble.

Trouble lasts from TROUBLE_S to QUIET_S: cuts, bursts of loss, changed delays, killed nodes and
brain, narrow links, restarted, moved and paused encoders, viewers that join, leave, move and go on
with something else, access paths whose rate falls. All of it is mended by QUIET_S, so that
afterwards everyone has a path. What happens next is for `invariants` to judge. A fifth of the seeds
have trouble at the edges alone, where more can be asked. Links lose in bursts, reorder and copy;
any controller paces viewers and links; what is at the edges is in `random_edges`.
"""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

from lab.scenario.loader import scenario_of
from lab.scenario.model import Scenario
from lab.virtual.random_edges import access, doings, encode, flows, speak, uplinks

TROUBLE_S = 6.0
QUIET_S = 34.0
END_S = 56.0  # some seconds above what `invariants` allow for recovery
WIDE_BPS = 30_000_000  # of links that have a bottleneck: all that a scenario has
AT_EDGES = {"restart_encoder", "move_viewer", "leave", "join"}


def random_scenario(seed: int) -> Scenario:
    """The same for the same seed, everywhere."""
    rng = Random(f"scenario {seed}")
    names = [f"n{number}" for number in range(1, rng.randint(3, 6) + 1)]
    links = [
        {
            "a": a,
            "b": b,
            "delay_ms": round(rng.uniform(2, 90), 1),
            "jitter_ms": rng.choice([0.0, 1.0, 5.0]),
            "loss": rng.choice([0.0, 0.001, 0.01]),
        }
        for a, b in combinations(names, 2)
    ]
    broadcasts = [
        {
            "name": f"b{number}",
            "node": rng.choice(names),
            "start_s": round(rng.uniform(0.5, 3), 2),
            "bitrate_bps": rng.choice([200_000, 500_000]),
            "fps": 15,
            "gop_s": 1.0,
            "audio": rng.random() < 0.5,
        }
        for number in range(1, rng.randint(1, 2) + 1)
    ]
    viewers: list[dict[str, Any]] = [
        {
            "name": f"v{number}",
            "stream": rng.choice(broadcasts)["name"],
            "node": rng.choice(names),
            "join_s": round(rng.uniform(3, 20), 2),
        }
        for number in range(1, rng.randint(2, 5) + 1)
    ]
    brain = {"control_delay_ms": rng.choice([5, 20, 80]), "report_s": 5}
    trouble = _Trouble(rng, names, broadcasts, viewers, links).events()
    if Random(f"calm {seed}").random() < 0.2:
        trouble = [event for event in trouble if event["do"] in AT_EDGES]
    _roughen(seed, links)
    encode(seed, broadcasts)
    paths, falls = access(seed, viewers, TROUBLE_S, QUIET_S)
    speak(seed, viewers, paths)
    events = [*trouble, *falls, *_narrow(seed, links)]
    events += doings(seed, broadcasts, viewers, TROUBLE_S, QUIET_S)
    return scenario_of(
        {
            "name": f"random-{seed}",
            "seed": seed,
            "duration_s": END_S,
            "brain": brain,
            "nodes": _nodes(seed, names),
            "links": links,
            "broadcasts": broadcasts,
            "viewers": viewers,
            "access": [*paths, *uplinks(seed, broadcasts)],
            "flows": flows(seed, paths, TROUBLE_S, QUIET_S),
            "events": sorted(events, key=lambda event: float(event["at_s"])),
            **_control(seed, broadcasts),
        }
    )


def _nodes(seed: int, names: list[str]) -> list[dict[str, Any]]:
    """With one to three workers each, and a copy in another from the second viewer on. Draws of
    their own, so that the same seed is the same trouble for any of them."""
    rng = Random(f"workers {seed}")
    nodes: list[dict[str, Any]] = [
        {"name": name, "workers": rng.randint(1, 3), "viewers_per_worker": rng.choice([1, 500])}
        for name in names
    ]
    own = Random(f"caches {seed}")
    for node in nodes:
        node["gop_cache"] = own.random() < 0.85
    return nodes


def _roughen(seed: int, links: list[dict[str, Any]]) -> None:
    """What links do beside losing packets one by one."""
    rng = Random(f"links {seed}")
    for link in links:
        if rng.random() < 0.25:
            link["burst_loss"] = {
                "p_bad": rng.choice([0.0002, 0.001]),
                "p_good": rng.choice([0.1, 0.3]),
                "loss_bad": rng.choice([0.5, 1.0]),
            }
        if rng.random() < 0.25:
            link["reorder"] = rng.choice([0.001, 0.02])
            link["reorder_extra_ms"] = rng.choice([2.0, 15.0])
        if rng.random() < 0.2:
            link["duplicate"] = rng.choice([0.001, 0.02])


def _narrow(seed: int, links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some links have a bottleneck, and a time in which that is narrower than what they carry."""
    rng = Random(f"bottlenecks {seed}")
    events = []
    for link in links:
        if rng.random() < 0.2:
            link["rate_bps"] = WIDE_BPS
            link["queue_ms"] = rng.choice([50.0, 300.0])
            ends = {"do": "link", "a": link["a"], "b": link["b"]}
            at_s = round(rng.uniform(TROUBLE_S, QUIET_S - 6), 2)
            end_s = round(at_s + rng.uniform(0.5, 5), 2)
            narrow_bps = rng.choice([300_000, 1_000_000])
            events.append({"at_s": at_s, **ends, "rate_bps": narrow_bps})
            events.append({"at_s": end_s, **ends, "rate_bps": WIDE_BPS})
    return events


def _control(seed: int, broadcasts: list[dict[str, Any]]) -> dict[str, Any]:
    """Who says how fast, and when frames are left out. The lowest rate carries any one broadcast:
    from below NADA, which has no probes, may never come back, and GCC takes longer than `whole`
    allows on some paths that lose packets or reports."""
    rng = Random(f"rates {seed}")
    controller = rng.choice(["gcc", "gcc", "gcc", "nada", "nada", "loss_only", "fixed"])
    floor_bps = 100_000 + 3 * max(broadcast["bitrate_bps"] for broadcast in broadcasts) // 2
    max_lag_us = rng.choice([0, 300_000, 500_000, 500_000])
    viewers = {
        "controller": controller,
        "start_bps": rng.choice([floor_bps, 1_000_000, 4_000_000]),
        "min_bps": floor_bps,
    }
    node_links = {"controller": rng.choice(["fixed", "fixed", "gcc", "nada"])}
    rate = {"viewers": viewers, "node_links": node_links}
    return {"rate": rate, "dropping": {"max_lag_us": max_lag_us}}


def random_tables(seed: int) -> dict[str, dict[str, object]]:
    """Of every node's configuration, beside what the scenario says."""
    rng = Random(f"tables {seed}")
    return {
        "repair": {"early": rng.random() < 0.7},
        "viewers": {"rate_bps": rng.choice([1_500_000, 4_000_000, 20_000_000])},
    }


class _Trouble:
    """Draws events that are possible when they come, and mends what they broke."""

    def __init__(
        self,
        rng: Random,
        names: list[str],
        broadcasts: list[dict[str, Any]],
        viewers: list[dict[str, Any]],
        links: list[dict[str, Any]],
    ) -> None:
        self.rng = rng
        self.names = names
        self.broadcasts = broadcasts
        self.viewers = viewers
        self.links = links
        self.busy_until: dict[str, float] = {}
        self.made: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        kinds = [self._cut, self._cut, self._bad_link, self._kill, self._kill_brain]
        kinds += [self._restart_encoder, self._move_broadcast, self._move_viewer, self._absence]
        at_s = TROUBLE_S
        while (at_s := at_s + self.rng.expovariate(0.5)) < QUIET_S - 1:
            self.rng.choice(kinds)(round(at_s, 3))
        return sorted(self.made, key=lambda event: float(event["at_s"]))

    def _span(self, key: str, at_s: float, longest_s: float) -> float | None:
        """The end of something that lasts; None if it is going on already."""
        if self.busy_until.get(key, 0.0) >= at_s:
            return None
        end_s = round(min(at_s + self.rng.uniform(0.2, longest_s), QUIET_S), 3)
        self.busy_until[key] = end_s
        return end_s

    def _add(self, at_s: float, do: str, **keys: Any) -> None:
        self.made.append({"at_s": at_s, "do": do, **keys})

    def _cut(self, at_s: float) -> None:
        link = self.rng.choice(self.links)
        end_s = self._span(f"link {link['a']} {link['b']}", at_s, 12)
        if end_s is not None:
            self._add(at_s, "cut", a=link["a"], b=link["b"])
            self._add(end_s, "mend", a=link["a"], b=link["b"])

    def _bad_link(self, at_s: float) -> None:
        link = self.rng.choice(self.links)
        end_s = self._span(f"link {link['a']} {link['b']}", at_s, 8)
        if end_s is None:
            return
        ends = {"a": link["a"], "b": link["b"]}
        worse: dict[str, Any] = {"loss": round(self.rng.uniform(0.05, 0.4), 2)}
        if self.rng.random() < 0.5:
            worse = {"delay_ms": round(self.rng.uniform(1, 250), 1)}
        self._add(at_s, "link", **ends, **worse)
        self._add(end_s, "link", **ends, delay_ms=link["delay_ms"], loss=link["loss"])

    def _kill(self, at_s: float) -> None:
        name = self.rng.choice(self.names)
        end_s = self._span(f"node {name}", at_s, 10)
        if end_s is not None:
            self._add(at_s, "kill", node=name)
            self._add(end_s, "start", node=name)

    def _kill_brain(self, at_s: float) -> None:
        end_s = self._span("brain", at_s, 10)
        if end_s is not None:
            self._add(at_s, "kill_brain")
            self._add(end_s, "start_brain")

    def _restart_encoder(self, at_s: float) -> None:
        self._add(at_s, "restart_encoder", broadcast=self.rng.choice(self.broadcasts)["name"])

    def _move_broadcast(self, at_s: float) -> None:
        name = self.rng.choice(self.broadcasts)["name"]
        if self._span(f"move {name}", at_s, 15) is not None:
            self._add(at_s, "move_broadcast", broadcast=name, to=self.rng.choice(self.names))

    def _move_viewer(self, at_s: float) -> None:
        viewer = self.rng.choice(self.viewers)["name"]
        self._add(at_s, "move_viewer", viewer=viewer, to=self.rng.choice(self.names))

    def _absence(self, at_s: float) -> None:
        viewer = self.rng.choice(self.viewers)["name"]
        end_s = self._span(f"viewer {viewer}", at_s, 6)
        if end_s is not None:
            self._add(at_s, "leave", viewer=viewer)
            self._add(end_s, "join", viewer=viewer)
