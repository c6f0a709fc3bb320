"""Who is let in, and what the others are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_client.codec import MAX_HELLO_BYTES, decode_from_brain, encode
from control_client.liveness import DEAD_AFTER_US, OPENING_US
from control_client.messages import (
    Hello,
    Inventory,
    Refusal,
    RehomeAdvice,
    TableVersion,
    Welcome,
)
from control_client.messages import Path as Way
from control_client.outbox import MAX_MESSAGES
from control_client.tokens import token_hash
from controller.tables.node_session import (
    CloseConnection,
    NodeJoined,
    NodeLeft,
    NodeSessionState,
    NodeTurnedAway,
    ReplacesConnection,
)
from controller.tables.registry import KnownNode, NodeRegistry
from tests.support.control_channel import CAPACITY, Brain, known, token_of

INVENTORY = Inventory("192.0.2.1:7000", CAPACITY)


def hello(
    node: str = "tokyo",
    *,
    token: str | None = None,
    boot_id: int = 7,
    schemas: tuple[int, int] = (1, 1),
) -> Hello:
    return Hello(*schemas, node, token or token_of(node), boot_id)


def enter(brain: Brain, message: Hello, now_us: int = 0) -> int:
    """A connection that says Hello and, if it may, its inventory."""
    number = brain.accept(now_us, f"198.51.100.{len(brain.sessions) + 1}:40000")
    session = brain.sessions[number]
    session.receive(encode(message), now_us)
    brain.handle(now_us)
    session.receive(encode(INVENTORY), now_us)
    brain.handle(now_us)
    return number


def heard(brain: Brain, number: int) -> list[object]:
    """What that node got."""
    messages: list[object] = []
    while (data := brain.sessions[number].next_message()) is not None:
        messages.append(decode_from_brain(data))
    return messages


def test_a_known_node_is_let_in() -> None:
    brain = Brain(("paris", "tokyo"), term=4)
    number = enter(brain, hello())
    assert heard(brain, number) == [Welcome(4, 101, 5_000_000, 15_000_000, 60_000_000, 800)]
    assert brain.events == [NodeJoined(known("paris", "tokyo")[1], hello(), INVENTORY)]
    assert brain.registry.connected == {"tokyo": number}


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (hello("osaka"), "unknown_node", "no node osaka is known here; add it, or mend its name"),
        (hello(token="wrong"), "bad_token", "the token is not the one of tokyo"),
        (hello(token=token_of("paris")), "bad_token", "the token is not the one of tokyo"),
        (
            hello(schemas=(2, 3)),
            "schema_too_new",
            "tokyo speaks control schemas 2 to 3, this brain 1 to 1: upgrade the brain",
        ),
        (
            hello(boot_id=8),
            "name_taken",
            "tokyo is connected already, from 198.51.100.1:40000",
        ),
    ],
)
def test_who_is_not_let_in_is_told_why_and_nothing_changes(
    message: Hello, code: str, text: str
) -> None:
    brain = Brain(("paris", "tokyo"))
    first = enter(brain, hello())
    heard(brain, first)
    brain.events.clear()
    second = enter(brain, message)
    assert heard(brain, second) == [Refusal(code, text)]
    turned_away = NodeTurnedAway(message.node, "198.51.100.2:40000", code, text)
    assert brain.events == [turned_away, CloseConnection(1008, text)]
    assert brain.registry.connected == {"tokyo": first}
    assert heard(brain, first) == []
    assert brain.sessions[first].state is NodeSessionState.JOINED


def test_a_restarted_node_waits_until_its_old_connection_is_given_up() -> None:
    brain = Brain()
    enter(brain, hello())
    second = enter(brain, hello(boot_id=8), 1_000_000)
    assert brain.sessions[second].state is NodeSessionState.CLOSED
    brain.handle_timer(DEAD_AFTER_US)
    third = enter(brain, hello(boot_id=8), DEAD_AFTER_US)
    assert brain.registry.connected == {"tokyo": third}


def test_a_new_connection_of_the_same_start_replaces_the_old_one() -> None:
    brain = Brain()
    first = enter(brain, hello())
    heard(brain, first)
    second = enter(brain, hello(), 1_000_000)
    assert brain.registry.connected == {"tokyo": second}
    (refusal,) = heard(brain, first)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "replaced"
    kinds = [type(event) for event in brain.events]
    assert kinds == [
        NodeJoined,
        ReplacesConnection,
        NodeTurnedAway,
        NodeLeft,
        CloseConnection,
        NodeJoined,
    ]
    left = brain.events[3]
    assert isinstance(left, NodeLeft)
    assert left.was_replaced
    # That its end is noticed later takes nothing from the new one.
    brain.sessions[first].on_closed("reset")
    brain.handle(2_000_000)
    assert brain.registry.connected == {"tokyo": second}
    assert brain.distribution.status("tokyo") is None


def test_a_stranger_may_not_say_much_nor_be_silent() -> None:
    brain = Brain()
    number = brain.accept(0)
    brain.sessions[number].receive(bytes(MAX_HELLO_BYTES + 1), 0)
    (refusal,) = heard(brain, number)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "too_large"
    brain.handle(0)
    assert brain.closed[number].close_code == 1009
    silent = brain.accept(0)
    brain.handle_timer(OPENING_US - 1)
    assert brain.sessions[silent].state is NodeSessionState.OPENING
    brain.handle_timer(OPENING_US)
    assert brain.sessions[silent].state is NodeSessionState.CLOSED
    (refusal,) = heard(brain, silent)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.text) == ("time_out", "nothing for 10 s")


def test_a_node_without_inventory_is_given_up_and_its_name_free() -> None:
    brain = Brain()
    number = brain.accept(0)
    brain.sessions[number].receive(encode(hello()), 1_000_000)
    assert brain.registry.connected == {"tokyo": number}
    brain.handle_timer(1_000_000 + OPENING_US)
    assert brain.registry.connected == {}
    assert not any(isinstance(event, NodeLeft) for event in brain.events)


def test_a_node_that_followed_a_later_brain_is_refused() -> None:
    brain = Brain(term=3)
    number = brain.accept(0)
    session = brain.sessions[number]
    session.receive(encode(hello()), 0)
    ahead = Inventory("192.0.2.1:7000", CAPACITY, table=TableVersion(4, 1))
    session.receive(encode(ahead), 0)
    brain.handle(0)
    text = "tokyo has table 4.1, this brain's term is 3"
    assert heard(brain, number)[1:] == [Refusal("term_behind", text)]
    assert not any(isinstance(event, NodeJoined) for event in brain.events)


def test_a_list_of_nodes_that_changes_names_whom_it_no_longer_allows() -> None:
    brain = Brain(("paris", "tokyo", "london"))
    numbers = [enter(brain, hello(name)) for name in ("paris", "tokyo", "london")]
    paris, tokyo, _ = known("paris", "tokyo", "london")
    changed = replace(tokyo, token_hash=token_hash("another"))
    paris = replace(paris, generation=2)  # that is for its links, not for its connection
    assert sorted(brain.registry.set_nodes([paris, changed])) == numbers[1:]
    assert brain.registry.set_nodes([paris, changed]) == []


def test_sending_to_a_node_that_does_not_read_ends() -> None:
    brain = Brain()
    number = enter(brain, hello())
    advice = RehomeAdvice("demo", (Way(("a",), 1),))
    session = brain.sessions[number]
    heard(brain, number)
    for _ in range(MAX_MESSAGES):
        assert session.send(advice, 0)
    assert not session.send(advice, 0)
    (refusal,) = heard(brain, number)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "overloaded"
    assert not session.send(advice, 0)


def test_a_node_known_by_name_only_has_its_own_token() -> None:
    """No token at all fits a node whose hash is empty or made up."""
    registry = NodeRegistry([KnownNode("tokyo", 1, "0" * 64)])
    for token in ("", "0" * 64, token_of("tokyo")):
        assert isinstance(registry.admit(Hello(1, 1, "tokyo", token or "-", 0), 1, "x"), Refusal)
