"""From reports to answers: the view, the paths and the decision, as the brain wires them."""

from __future__ import annotations

import numpy as np

from controller.discovery import (
    DiscoveryConfig,
    LinkMeasurement,
    NetworkView,
    NodeReport,
)
from controller.paths import (
    Announced,
    PathAnswer,
    PathBase,
    PathConfig,
    PathDecision,
    PathKind,
    Paths,
    StreamBase,
    StreamIds,
    Track,
    UnknownConsumer,
    UnknownProducer,
)

S = 1_000_000
RTT_MS = {
    ("lon", "nyc"): 71, ("nyc", "lax"): 69, ("lon", "lax"): 190, ("lax", "tyo"): 108,
    ("nyc", "tyo"): 210, ("lon", "tyo"): 320, ("ixp", "lon"): 60, ("ixp", "nyc"): 70,
    ("ixp", "lax"): 90, ("ixp", "tyo"): 150,
}  # fmt: skip
NODES = ("lon", "nyc", "lax", "tyo", "ixp")


class Brain:
    """The ixp is the reserved node; london produces "show"."""

    def __init__(self) -> None:
        self.view = NetworkView(DiscoveryConfig(), start_us=0)
        self.streams = StreamBase(StreamIds(1))
        self.paths = PathBase(PathConfig(last_resort=frozenset({"ixp"})))
        self.decision = PathDecision(self.streams, self.paths)
        self.now_us = 0
        for node in NODES:
            self.view.on_registered(node, 1, 0)
        self.report_all()
        tracks = (Track("video", "video", "H264", 96, 90_000),)
        assert isinstance(self.streams.announce("show", "lon", 1, tracks, 0), Announced)

    def report_all(self, **cpu: float) -> None:
        for node in NODES:
            links = tuple(
                LinkMeasurement(b if a == node else a, ms * 1000)
                for (a, b), ms in RTT_MS.items()
                if node in (a, b)
            )
            self.view.on_report(NodeReport(node, cpu.get(node, 0.1), 0, 0, 9, links), self.now_us)
        self.follow()

    def follow(self) -> None:
        self.view.handle_timer(self.now_us)
        if self.view.publish() is not None:
            self.paths.update(self.view.snapshot)

    def ask(self, consumer: str) -> PathAnswer:
        return self.decision.get_path("show", consumer, self.now_us)

    def best(self, consumer: str) -> tuple[str, ...]:
        answer = self.ask(consumer)
        assert isinstance(answer, Paths)
        return answer.paths[0].nodes


def test_an_alarm_turns_paths_away_and_its_end_brings_them_back() -> None:
    brain = Brain()
    assert brain.best("tyo") == ("lon", "nyc", "lax", "tyo")
    version = brain.paths.version
    brain.view.on_report(NodeReport("lax", 0.85, 0, 0, 9), 1)
    brain.follow()
    assert brain.best("tyo") == ("lon", "nyc", "tyo")
    assert brain.best("lax") == ("lon", "nyc", "lax")  # an end may be overloaded
    assert brain.paths.version == version + 1
    for sender in ("nyc", "lon"):
        full = LinkMeasurement("tyo", RTT_MS[sender, "tyo"] * 1000, utilisation=0.9)
        brain.view.on_links(sender, [full], 2)
    brain.follow()
    answer = brain.ask("tyo")
    assert isinstance(answer, Paths)
    assert (answer.kind, answer.paths[0].nodes) == (PathKind.LAST_RESORT, ("lon", "ixp", "tyo"))
    brain.report_all()
    assert brain.best("tyo") == ("lon", "nyc", "lax", "tyo")


def test_reports_that_say_nothing_new_cost_no_search() -> None:
    brain = Brain()
    brain.best("tyo")
    searches, version = brain.paths.searches, brain.paths.version
    for minute in range(1, 9):
        brain.now_us = minute * 60 * S
        brain.report_all(nyc=0.1 + 0.05 * minute)
        assert brain.best("tyo") == ("lon", "nyc", "lax", "tyo")
    assert (brain.paths.searches, brain.paths.version) == (searches, version)


def test_a_silent_node_relays_no_more_and_a_lost_one_is_unknown() -> None:
    brain = Brain()
    brain.now_us = 180 * S
    for node in NODES:
        if node != "lax":
            brain.view.on_report(NodeReport(node, 0, 0, 0, 9), brain.now_us)
    brain.follow()
    assert brain.best("tyo") == ("lon", "nyc", "tyo")
    assert brain.best("lax") == ("lon", "nyc", "lax")
    brain.view.on_session_ended("lax", 1, brain.now_us)
    brain.now_us += 30 * S
    brain.follow()
    assert brain.ask("lax") == UnknownConsumer("lax")
    brain.view.on_left("lon")
    brain.follow()
    assert brain.ask("tyo") == UnknownProducer("show", "lon")


def test_the_same_inputs_give_the_same_answers() -> None:
    def run() -> list[PathAnswer]:
        rng = np.random.default_rng(3)
        brain = Brain()
        answers = []
        for step in range(60):
            brain.now_us = step * S
            sender, receiver = (NODES[i] for i in rng.choice(len(NODES), 2, replace=False))
            link = LinkMeasurement(receiver, int(rng.integers(10_000, 300_000)))
            brain.view.on_links(sender, [link], brain.now_us)
            load = NodeReport(sender, float(rng.random()), 0, 0, 9)
            brain.view.on_report(load, brain.now_us)
            brain.follow()
            answers += [brain.ask(node) for node in NODES]
        return answers

    first = run()
    assert first == run()
    assert len({answer for answer in first if isinstance(answer, Paths)}) > 50
