"""What an operator is shown, and why each path was not taken."""

from controller.paths import Hop, UnknownStream, Verdict, explain
from tests.controller.networks import snapshot
from tests.controller.paths.brain import Brain

LINKS = {"AB": 10, "BC": 10, "AC": 60, "AD": 4, "DC": 4, "AX": 2, "XC": 2}


def shown(brain: Brain, consumer: str = "C") -> list[tuple[str, Verdict, tuple[str, ...]]]:
    found = explain(brain.decision, brain.paths, "show", consumer, 0)
    return [("".join(c.nodes), c.verdict, c.reasons) for c in found.candidates]


def test_chosen_backup_barred_and_dearer() -> None:
    network = snapshot("ABCDX", LINKS, overloaded="D")
    brain = Brain(network, last_resort="X")
    assert shown(brain) == [
        ("ABC", Verdict.CHOSEN, ("the cheapest",)),
        ("AC", Verdict.BACKUP, ("20.0 ms dearer than the chosen",)),
        ("ADC", Verdict.BARRED, ("D is overloaded",)),
    ]


def test_the_direct_link_is_always_there() -> None:
    links = {"AB": 2, "BF": 2, "AC": 4, "CF": 4, "AD": 6, "DF": 6, "AF": 90}
    network = snapshot("ABCDF", links)
    assert shown(Brain(network), "F")[-1] == (
        "AF",
        Verdict.DEARER,
        ("43.0 ms dearer than the chosen",),
    )
    del links["AF"]
    assert shown(Brain(snapshot("ABCDF", links)), "F")[-1] == (
        "AF",
        Verdict.BARRED,
        ("no link A -> F",),
    )


def test_each_hop_and_what_made_its_cost() -> None:
    network = snapshot(
        "AB", {"AB": 100}, loss={"AB": 0.1}, utilisation={"AB": 0.8}, load={"B": 0.3}
    )
    brain = Brain(network, hop_cost_us=5_000)
    chosen = explain(brain.decision, brain.paths, "show", "B", 0).candidates[0]
    assert chosen.hops == (Hop("A", "B", 100_000, 0.1, 0.8, 1.5, 87_500),)
    assert chosen.cost_us == 87_500


def test_no_link_has_no_cost() -> None:
    brain = Brain(snapshot("ABC", {"AB": 10, "BC": 10}))
    direct = explain(brain.decision, brain.paths, "show", "C", 0).candidates[-1]
    assert (direct.cost_us, direct.hops[0].cost_us, direct.hops[0].rtt_us) == (None, None, None)


def test_last_resort_and_overload_are_named() -> None:
    network = snapshot("ABCDX", LINKS, overloaded="D AC AB", suspect="B")
    assert shown(Brain(network, last_resort="X")) == [
        ("AXC", Verdict.CHOSEN, ("last resort: no ordinary path is left",)),
        ("ADC", Verdict.BARRED, ("D is overloaded",)),
        ("ABC", Verdict.BARRED, ("B has not reported for some time", "link A -> B is overloaded")),
        ("AC", Verdict.BARRED, ("link A -> C is overloaded",)),
    ]
    links = {link: rtt for link, rtt in LINKS.items() if "X" not in link}
    candidates = shown(Brain(snapshot("ABCD", links, overloaded="D AC AB")))
    assert candidates[0] == (
        "ADC",
        Verdict.CHOSEN,
        ("no ordinary path is left and no reserved node joins the two",),
    )


def test_age_version_and_answers_without_a_path() -> None:
    brain = Brain(snapshot("AB", {"AB": 10}, version=9))
    brain.decision.get_path("show", "B", 100)
    found = explain(brain.decision, brain.paths, "show", "B", 350)
    assert (found.version, found.age_us) == (9, 250)
    own = explain(brain.decision, brain.paths, "show", "A", 350)
    assert [(c.nodes, c.hops, c.cost_us) for c in own.candidates] == [(("A",), (), 0)]
    nothing = explain(brain.decision, brain.paths, "nothing", "A", 350)
    assert (nothing.answer, nothing.candidates) == (UnknownStream("nothing"), ())
