"""When a stream that flows moves, and when it stays."""

from __future__ import annotations

import pytest

from controller.errors import InvalidSettingError
from controller.paths import ActivePath, Keep, Move, OverlayPath, RehomeConfig, Rehoming
from controller.paths.rehome import KeepReason, MoveReason
from tests.controller.networks import snapshot
from tests.controller.paths.brain import Brain

MINUTE = 60_000_000
NOW = 10 * MINUTE
LINKS = {"AB": 20, "BC": 20, "AC": 60, "AD": 30, "DC": 30, "AX": 2, "XC": 2}


def rehoming(brain: Brain, **settings: float) -> Rehoming:
    config = RehomeConfig(**settings)  # type: ignore[arg-type]  # by name
    return Rehoming(config, brain.decision, brain.paths)


def active(nodes: str, since_us: int = 0) -> ActivePath:
    return ActivePath("show", tuple(nodes), since_us)


def advise(brain: Brain, nodes: str, since_us: int = 0, now_us: int = NOW) -> object:
    advice = rehoming(brain).advise(active(nodes, since_us), now_us)
    return advice.reason


def test_a_move_says_where_to_and_what_it_gains() -> None:
    brain = Brain(snapshot("ABCDX", LINKS), last_resort="X")
    assert rehoming(brain).advise(active("AC"), NOW) == Move(
        active("AC"),
        OverlayPath(("A", "B", "C"), (10_000, 10_000)),
        MoveReason.CHEAPER,
        10_000,
    )
    assert rehoming(brain).advise(active("ABC"), NOW) == Keep(active("ABC"), KeepReason.BEST)


@pytest.mark.parametrize(
    ("direct_ms", "reason"),
    [
        (49.998, KeepReason.BELOW_MARGIN),  # 24,999 us: gains 4,999 of the 5,000
        (50, MoveReason.CHEAPER),
        (40, KeepReason.BEST),  # the same cost: nothing to gain
        (30, KeepReason.BEST),
    ],
)
def test_the_absolute_margin(direct_ms: float, reason: object) -> None:
    brain = Brain(snapshot("ABC", {"AB": 20, "BC": 20, "AC": direct_ms}))
    assert advise(brain, "AC") == reason


@pytest.mark.parametrize(
    ("direct_ms", "reason"),
    [(400, KeepReason.BELOW_MARGIN), (400.002, MoveReason.CHEAPER)],
)
def test_the_relative_margin(direct_ms: float, reason: object) -> None:
    """190 ms instead of 200 are 5 %, not more."""
    brain = Brain(snapshot("ABC", {"AB": 190, "BC": 190, "AC": direct_ms}))
    assert advise(brain, "AC") == reason


def test_a_path_is_left_alone_for_a_minute() -> None:
    brain = Brain(snapshot("ABC", {"AB": 20, "BC": 20, "AC": 60}))
    assert advise(brain, "AC", since_us=NOW - MINUTE + 1) == KeepReason.TAKEN_RECENTLY
    assert advise(brain, "AC", since_us=NOW - MINUTE) == MoveReason.CHEAPER


def test_a_broken_path_moves_at_once_to_whatever_there_is() -> None:
    brain = Brain(snapshot("ABCX", {"AB": 20, "AC": 60, "AX": 20, "XC": 20}), last_resort="X")
    broken = rehoming(brain).advise(active("ABC", NOW), NOW)
    assert isinstance(broken, Move)
    assert (broken.reason, broken.path.nodes, broken.gain_us) == (
        MoveReason.BROKEN,
        ("A", "C"),
        None,
    )
    assert advise(brain, "AQC", NOW) == MoveReason.BROKEN  # a node that is gone
    brain.paths.update(snapshot("ABCX", {"AB": 20, "AX": 20, "XC": 20}, version=2))
    broken = rehoming(brain).advise(active("ABC", NOW), NOW)
    assert isinstance(broken, Move)
    assert broken.path.nodes == ("A", "X", "C")


def test_overload_moves_by_its_cost_and_never_to_the_last_resort() -> None:
    brain = Brain(snapshot("ABCDX", LINKS, load={"B": 0.9}, overloaded="B"), last_resort="X")
    # Both links of B cost 1.99 times as much: 39.7 ms against the direct 30.
    move = rehoming(brain).advise(active("ABC"), NOW)
    assert isinstance(move, Move)
    assert (move.reason, move.path.nodes) == (MoveReason.CHEAPER, ("A", "C"))
    only = {link: rtt for link, rtt in LINKS.items() if link not in ("AC", "AD", "DC")}
    network = snapshot("ABCDX", only, version=2, load={"B": 0.9}, overloaded="B")
    brain.paths.update(network)
    assert advise(brain, "ABC") == KeepReason.NO_OTHER


def test_reserved_nodes_are_left_as_soon_as_may_be() -> None:
    brain = Brain(snapshot("ABCDX", LINKS), last_resort="X")
    move = rehoming(brain).advise(active("AXC"), NOW)
    assert isinstance(move, Move)
    assert (move.reason, move.gain_us) == (MoveReason.LAST_RESORT, 2_000 - 20_000)
    assert advise(brain, "AXC", NOW) == KeepReason.TAKEN_RECENTLY


def test_a_long_chain_is_just_a_dear_path() -> None:
    brain = Brain(snapshot("ABCDE", {"AB": 20, "BC": 20, "CD": 20, "DE": 20, "AE": 40}))
    move = rehoming(brain).advise(active("ABCDE"), NOW)
    assert isinstance(move, Move)
    assert (move.path.nodes, move.gain_us) == (("A", "E"), 20_000)


def test_after_a_broadcaster_moved_the_way_to_the_old_producer_counts() -> None:
    brain = Brain(snapshot("ABC", {"AB": 20, "BC": 20, "AC": 24}))
    brain.produce("C", 2)
    # B is fed A -> B, and A by the new producer C: 12 + 10 ms against 10.
    move = rehoming(brain).advise(active("AB"), NOW)
    assert isinstance(move, Move)
    assert (move.path.nodes, move.gain_us) == (("C", "B"), 12_000)
    assert advise(brain, "A") == KeepReason.BEST  # A itself: C -> A


def test_without_stream_or_consumer_there_is_no_other() -> None:
    brain = Brain(snapshot("ABC", {"AB": 20, "BC": 20, "AC": 60}))
    assert advise(brain, "ABQ") == KeepReason.NO_OTHER
    brain.streams.end("show", "A", 1)
    assert advise(brain, "AC") == KeepReason.NO_OTHER


def test_a_round_moves_those_that_gain_most_and_all_that_are_broken() -> None:
    links = {"AB": 2, "BC": 2, "BD": 2, "BE": 2, "AC": 100, "AD": 300, "AE": 200}
    brain = Brain(snapshot("ABCDE", links))
    actives = [active(nodes) for nodes in ("AC", "AD", "AQC", "AB", "AE", "AQE")]
    reasons = [a.reason for a in rehoming(brain, max_moves=2).round(actives, NOW)]
    assert reasons == [
        KeepReason.NEXT_ROUND,
        MoveReason.CHEAPER,
        MoveReason.BROKEN,
        KeepReason.BEST,
        MoveReason.CHEAPER,
        MoveReason.BROKEN,
    ]


def test_settings_out_of_range() -> None:
    for settings in ({"min_gain_fraction": 1.0}, {"min_gain_us": -1}):
        with pytest.raises(InvalidSettingError):
            RehomeConfig(**settings)
