"""GetPath: every kind of answer, one look-up for all who wait, and what it never says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from controller.paths import (
    Decision,
    NoPath,
    OverlayPath,
    PathKind,
    Paths,
    SearchMode,
    UnknownConsumer,
    UnknownProducer,
    UnknownStream,
)
from tests.controller.networks import snapshot
from tests.controller.paths.brain import Brain, routes

LINKS = {"AB": 10, "BC": 10, "AC": 40, "AX": 30, "XC": 30, "BX": 30}


def test_paths_best_first_by_name_or_stream_id() -> None:
    brain = Brain(snapshot("ABCX", LINKS, version=7), last_resort="X")
    answer = brain.decision.get_path("show", "C", 0)
    assert answer == Paths(
        broadcast="show",
        producer="A",
        consumer="C",
        paths=(OverlayPath(("A", "B", "C"), (5_000, 5_000)), OverlayPath(("A", "C"), (20_000,))),
        kind=PathKind.ORDINARY,
        version=7,
    )
    for stream_id in brain.show.stream_ids:
        assert brain.decision.get_path(stream_id, "C", 0) == answer


def test_the_producer_itself_gets_the_path_of_no_hop() -> None:
    brain = Brain(snapshot("ABCX", LINKS, overloaded="A"))
    answer = brain.decision.get_path("show", "A", 0)
    assert isinstance(answer, Paths)
    assert answer.paths == (OverlayPath(("A",), ()),)
    assert (answer.paths[0].hops, answer.paths[0].cost_us) == (0, 0)
    assert answer.kind is PathKind.ORDINARY


def test_what_is_not_known_is_said() -> None:
    brain = Brain(snapshot("ABC", {"AB": 10}))
    brain.produce("Z", 1, "elsewhere")
    decision = brain.decision
    assert decision.get_path("nothing", "B", 0) == UnknownStream("nothing")
    assert decision.get_path(12345, "B", 0) == UnknownStream(12345)
    assert decision.get_path("show", "Q", 0) == UnknownConsumer("Q")
    assert decision.get_path("elsewhere", "B", 0) == UnknownProducer("elsewhere", "Z")
    assert decision.get_path("show", "C", 0) == NoPath("show", "A", "C")
    brain.streams.end("show", "A", 1)
    assert decision.get_path("show", "B", 0) == UnknownStream("show")


def test_reserved_nodes_only_when_nothing_else_is_left() -> None:
    brain = Brain(snapshot("ABCX", LINKS, overloaded="B"), last_resort="X")
    answer = brain.decision.get_path("show", "C", 0)
    assert routes(answer) == ["AC"]
    brain.paths.update(snapshot("ABCX", LINKS, version=2, overloaded="B AC"))
    answer = brain.decision.get_path("show", "C", 0)
    assert routes(answer) == ["AXC"]
    assert isinstance(answer, Paths)
    assert answer.kind is PathKind.LAST_RESORT
    brain.paths.update(snapshot("ABCX", LINKS, version=3))
    assert routes(brain.decision.get_path("show", "C", 0)) == ["ABC", "AC"]


def test_overloaded_paths_when_not_even_reserved_nodes_help() -> None:
    brain = Brain(snapshot("ABC", {"AB": 10, "BC": 10}, overloaded="B"))
    answer = brain.decision.get_path("show", "C", 0)
    assert routes(answer) == ["ABC"]
    assert isinstance(answer, Paths)
    assert answer.kind is PathKind.OVERLOADED


def test_filtering_afterwards_may_leave_nothing_and_too_long_stays_too_long() -> None:
    chain = {"AB": 2, "BC": 2, "CD": 2, "DE": 2}
    filtering = Brain(snapshot("ABCDE", chain), mode=SearchMode.FILTER_AFTER)
    assert routes(filtering.decision.get_path("show", "D", 0)) == ["ABCD"]
    assert filtering.decision.get_path("show", "E", 0) == NoPath("show", "A", "E")
    filtering.paths.update(snapshot("ABCDE", chain, version=2, overloaded="B"))
    answer = filtering.decision.get_path("show", "D", 0)
    assert routes(answer) == ["ABCD"]
    assert isinstance(answer, Paths)
    assert answer.kind is PathKind.OVERLOADED


def test_requests_that_wait_together_are_answered_by_one_look_up() -> None:
    brain = Brain(snapshot("ABCX", LINKS))
    asked: list[tuple[int, str | int, str]] = [
        (1, "show", "C"),
        (2, "show", "B"),
        (3, brain.show.stream_ids[0], "C"),
        (4, "nothing", "C"),
        (5, brain.show.stream_ids[1], "C"),
        (6, "nothing", "C"),
    ]
    for ticket, stream, consumer in asked:
        brain.decision.request(ticket, stream, consumer)
    get = brain.decision.get_path
    assert brain.decision.decide(0) == (
        Decision((1, 3, 5), get("show", "C", 0)),
        Decision((2,), get("show", "B", 0)),
        Decision((4, 6), UnknownStream("nothing")),
    )
    assert brain.decision.requests == 6
    assert brain.decision.lookups == 2 + 2
    assert brain.paths.searches == 1
    assert brain.decision.decide(0) == ()


def test_a_popular_stream_is_answered_for_all_nodes() -> None:
    brain = Brain(snapshot("ABCX", LINKS))
    answers = list(brain.decision.to_all_nodes("show", 0))
    assert answers == [brain.decision.get_path("show", consumer, 0) for consumer in "ABCX"]
    assert brain.paths.searches == 1
    assert list(brain.decision.to_all_nodes("nothing", 0)) == []


@pytest.mark.parametrize("seed", range(15))
def test_what_no_answer_ever_is(seed: int) -> None:
    """Paths are simple and short; overloaded only if flagged; never none while a reserved node
    joins all."""
    rng = np.random.default_rng(seed)
    names = "ABCDEFGH"
    for version in range(1, 12):
        links = {
            a + b: float(rng.integers(2, 60)) for a in names for b in names if a < b
            and (b == "H" or rng.random() < 0.5)
        }  # fmt: skip
        busy = [node for node in names if rng.random() < 0.4]
        busy += [link for link in links if rng.random() < 0.4]
        network = snapshot(names, links, version=version, overloaded=" ".join(busy))
        brain = Brain(network, last_resort="H")
        for consumer in names:
            answer = brain.decision.get_path("show", consumer, version)
            assert isinstance(answer, Paths), f"seed {seed}"
            assert 1 <= len(answer.paths) <= 3
            for path in answer.paths:
                assert path.nodes[0] == "A"
                assert path.nodes[-1] == consumer
                assert len(set(path.nodes)) == len(path.nodes) <= 4
                if answer.kind is PathKind.ORDINARY:
                    assert not set(path.nodes[1:-1]) & {*busy, "H"}
                    assert not {a + b for a, b in pairwise(path.nodes)} & set(busy)
                elif answer.kind is PathKind.LAST_RESORT:
                    assert path.nodes[1:-1] == ("H",)
