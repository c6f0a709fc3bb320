"""A whole brain with real sessions of nodes: they come, get their tables, announce and ask."""

from __future__ import annotations

from typing import Any

from control_client.session_events import PathsFound, StreamIdsGiven
from controller.tables.node_session import Intervals
from tests.controller.world import MS, S, World, broadcast

NAMES = ("lon", "nyc", "lax", "tyo")
RTT_MS = {
    "lon nyc": 71, "nyc lax": 69, "lon lax": 190, "lax tyo": 108, "nyc tyo": 210, "lon tyo": 320,
}  # fmt: skip


def world_with(names: tuple[str, ...] = NAMES, **changes: Any) -> World:
    """All are there and measured; lon produces "show"."""
    world = World(names, **changes)
    world.add(*names)
    world.run_for(S)
    world.mesh({pair: ms for pair, ms in RTT_MS.items() if set(pair.split()) <= set(names)})
    world.announce("lon", broadcast("show", 7, 8))
    world.run_for(S)
    return world


def test_nodes_get_tables_with_the_same_secrets_on_both_sides() -> None:
    world = World(NAMES)
    world.add(*NAMES)
    world.run_for(S)
    tables = {name: world.table(name) for name in NAMES}
    for name, table in tables.items():
        assert set(table.neighbours) == set(NAMES) - {name}
        for peer, entry in table.neighbours.items():
            assert entry.secret == tables[peer].neighbours[name].secret
            assert entry.address == world.nodes[peer].address
    secrets = {entry.secret for table in tables.values() for entry in table.neighbours.values()}
    assert len(secrets) == 6  # one a pair


def test_a_path_goes_the_other_way_round_than_media() -> None:
    world = world_with()
    assert world.got("lon", StreamIdsGiven) == [StreamIdsGiven("show", (7, 8))]
    world.ask("tyo", "show")
    world.run_for(S)
    (found,) = world.got("tyo", PathsFound)
    # Media goes lon, nyc, lax, tyo; SUBSCRIBE leaves tyo and ends at the producer.
    assert [path.via for path in found.paths] == [
        ("lax", "nyc", "lon"),
        ("nyc", "lon"),
        ("lax", "lon"),
    ]
    assert found.paths[0].cost_us == (71 + 69 + 108) * 500 + 3 * 5000


def test_a_round_that_falls_due_while_a_brain_waits_for_its_nodes_asks_for_no_timer() -> None:
    world = World(NAMES, intervals=Intervals(report_us=S))
    world.add(*NAMES)
    world.run_for(2 * S)
    world.kill("tyo")
    world.kill_brain()
    world.start_brain()
    assert world.brain is not None
    world.run_for(1_500 * MS)
    assert not world.brain.is_ready
    world.brain.handle_timer(world.now_us)
    assert world.brain.next_timer_us() > world.now_us
    world.run_for(3 * S)
    assert world.brain.is_ready
