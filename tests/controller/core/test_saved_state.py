"""The brain's state as bytes: whole or refused, whatever has happened to them."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from controller.core.saved_state import SavedState, StateError, pack, unpack
from tests.controller.world import S, World, broadcast


@pytest.fixture(scope="module")
def state() -> bytes:
    world = World(("a", "b", "c"))
    world.add("a", "b", "c")
    world.run_for(S)
    world.mesh({"a b": 10, "b c": 20})
    world.announce("a", broadcast("show", 7, 8))
    world.run_for(70 * S)
    assert world.saved is not None
    return world.saved


def test_a_round_trip(state: bytes) -> None:
    saved = unpack(state)
    assert [node.name for node in saved.nodes] == ["a", "b", "c"]
    assert [track.stream_id for track in saved.broadcasts[0].tracks] == [7, 8]
    assert pack(saved) == state


def test_no_damage_gets_through(state: bytes) -> None:
    rng = Random(1)
    for _ in range(2_000):
        data = bytearray(state)
        match rng.randrange(3):
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:
                del data[rng.randrange(len(data)) :]
            case _:
                data += rng.randbytes(rng.randrange(1, 9))
        with pytest.raises(StateError):
            unpack(bytes(data))


def test_contents_that_do_not_fit_are_refused_although_the_checksum_does(state: bytes) -> None:
    saved = unpack(state)

    def with_links(**changes: object) -> SavedState:
        links = msgspec.structs.replace(saved.links, **changes)
        return msgspec.structs.replace(saved, links=links)

    for bad in (
        with_links(rtt_us=saved.links.rtt_us[:-4]),
        with_links(names=("a", "b", "b")),
        with_links(measured_us=b""),
        msgspec.structs.replace(saved, nodes=5),
    ):
        with pytest.raises(StateError):
            unpack(pack(bad))
