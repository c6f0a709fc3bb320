"""Nodes with several workers: broadcasts spread over them, and what breaks mends as with one.

Whole nodes over emulated links in virtual time; viewers check every packet that they get.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fastpath.events import CursorStarted, Event
from fastpath.stats import MemoryStats
from lab.scenario.loader import load_scenario, scenario_of
from lab.virtual.run import VirtualOverlay
from relay.node import Node

SHIPPED = sorted((Path(__file__).parents[2] / "lab" / "scenarios").glob("*.toml"))
SCENARIOS = [
    file
    for file in SHIPPED
    if not file.stem.startswith("rfc8867-")
    and file.stem not in ("node-link", "application-limited")
]
"""Those that are left out measure rate control, of one node or one link."""
SECOND_US = 1_000_000


def broadcast(number: int, node: str, bitrate_bps: int = 500_000) -> dict[str, Any]:
    times = {"start_s": 0.1, "bitrate_bps": bitrate_bps, "fps": 15, "gop_s": 1.0}
    return {"name": f"b{number}", "node": node, **times}


def chain(
    workers: Sequence[int],
    *,
    broadcasts: int = 4,
    viewers: int = 4,
    viewers_per_worker: int = 500,
    between_s: float = 0.01,
    loss: float = 0.0,
    bitrate_bps: int = 500_000,
    **changes: Any,
) -> VirtualOverlay:
    """A producer, relays and a consumer n0, n1, ... of so many workers; all viewers at the end."""
    names = [f"n{number}" for number in range(len(workers))]
    *before, last = names
    document: dict[str, Any] = {
        "name": "workers",
        "duration_s": 12.0,
        "nodes": [
            {"name": name, "workers": count, "viewers_per_worker": viewers_per_worker}
            for name, count in zip(names, workers, strict=True)
        ],
        "links": [{"a": a, "b": b, "delay_ms": 20, "loss": loss} for a, b in pairwise(names)],
        "paths": [
            {"node": last, "stream": f"b{k}", "via": before[::-1]} for k in range(broadcasts)
        ],
        "broadcasts": [broadcast(k, "n0", bitrate_bps) for k in range(broadcasts)],
        "viewers": [
            {
                "name": f"v{k}",
                "stream": f"b{k % broadcasts}",
                "node": last,
                "join_s": 3 + k * between_s,
            }
            for k in range(viewers)
        ],
    }
    return VirtualOverlay(scenario_of(document | changes))


def run(overlay: VirtualOverlay, seconds: float) -> None:
    overlay.run_until(overlay.world.now_us + round(seconds * SECOND_US))


def homes(node: Node) -> set[int]:
    return {stream.home for stream in node.streams.all}


def served(overlay: VirtualOverlay) -> dict[int, int]:
    """How many viewers each worker of the last node has."""
    node = [*overlay.nodes.values()][-1].node
    found = dict.fromkeys(range(len(node.engine)), 0)
    for viewer in node.edge.viewers:
        found[viewer.worker] += bool(viewer.legs)
    return found


def check_viewers(overlay: VirtualOverlay, *, least: int = 100) -> None:
    """To the end: every frame came, none twice."""
    overlay.run()
    for watcher in overlay.audience.watchers:
        figures = overlay.world.viewer(watcher.number)
        assert figures.expected >= least, watcher.name
        assert (figures.whole, figures.damaged) == (figures.expected, 0), watcher.name
        assert (figures.duplicates, figures.corrupt) == (0, 0), watcher.name
        assert (figures.video_missing, figures.audio_missing) == (0, 0), watcher.name


def knows_no_workers(node: Node) -> None:
    """It takes messages as a node does that was made before there were workers."""
    take = node._on_control

    def read(link: int, payload: bytes, now_us: int) -> None:
        message = msgspec.msgpack.decode(payload)
        if message["type"] == "workers":
            node.counters["control_malformed"] += 1
            return
        for key in ("worker", "source", "generation", "to"):
            message.pop(key, None)
        take(link, msgspec.msgpack.encode(message), now_us)

    node._on_control = read  # type: ignore[method-assign]


@pytest.mark.parametrize("workers", [(2, 3, 2), (1, 3, 1), (3, 1, 3), (1, 1), (3, 3)], ids=str)
def test_broadcasts_are_spread_and_repaired_on_each_link(workers: tuple[int, ...]) -> None:
    overlay = chain(workers, loss=0.02)
    check_viewers(overlay)
    for count, host in zip(workers, overlay.nodes.values(), strict=True):
        node = host.node
        assert homes(node) == set(range(count))
        assert node.counters["control_malformed"] == 0
        for engine in node.engine.engines:
            assert engine.verdicts()["command_stale"] == 0
        for neighbour in node.neighbours.values():
            first, all_pairs = node.engine.link_stats(neighbour.link), neighbour.stats()
            assert bool([*neighbour.pairs]) == (max(workers) > 1)
            assert (all_pairs.lost > first.lost) == (max(workers) > 1)
            made_good = all_pairs.repaired + all_pairs.voided + all_pairs.gone
            assert (made_good + all_pairs.holes_open, all_pairs.given_up) == (all_pairs.lost, 0)


@pytest.mark.parametrize("controller", ["fixed", "gcc"])
def test_a_fixed_rate_is_that_of_all_pairs_and_those_found_out_add_up(controller: str) -> None:
    overlay = chain((3, 3), rate={"node_links": {"controller": controller}})
    run(overlay, 6)
    (neighbour,) = overlay.nodes["n0"].node.neighbours.values()
    pairs = len([*neighbour.pairs])
    assert pairs >= 2
    first = overlay.nodes["n0"].node.engine.link_stats(neighbour.link)
    shown = neighbour.stats()
    assert (shown.target_bps > first.target_bps) == (controller == "gcc")
    if controller == "fixed":
        assert shown.target_bps == shown.pacing_bps == neighbour.peer.rate_bps


@pytest.mark.parametrize("workers", [(2, 3, 2), (1, 3, 1), (3, 1, 3)], ids=str)
def test_viewers_start_as_soon_as_with_one_worker(workers: tuple[int, ...]) -> None:
    """All of a neighbour's workers are listened to until it has said which one sends."""
    started = []
    for counts in ((1,) * len(workers), workers):
        overlay = chain(counts)
        check_viewers(overlay)
        figures = [overlay.world.viewer(w.number) for w in overlay.audience.watchers]
        started.append([each.first_intact_us - each.joined_us for each in figures])
    alone, spread = started
    assert all(b <= a + 2_000 for a, b in zip(alone, spread, strict=True))


def test_nodes_with_one_worker_each_say_nothing_of_workers() -> None:
    overlay = chain((1, 1, 1))
    check_viewers(overlay)
    for host in overlay.nodes.values():
        assert host.node.counters["received_workerports"] == 0
        assert all(not neighbour.worker_ports for neighbour in host.node.neighbours.values())


def test_a_broadcast_with_many_viewers_is_copied_to_further_workers_as_long_as_needed() -> None:
    overlay = chain((1, 3), broadcasts=1, viewers=9, viewers_per_worker=2, between_s=0.2)
    run(overlay, 6)
    node = overlay.nodes["n1"].node
    assert served(overlay) == {0: 3, 1: 3, 2: 3}
    assert all(sorted(stream.handles) == [0, 1, 2] for stream in node.streams.all)
    viewers = sorted(overlay.audience.watchers, key=lambda watcher: watcher.name)
    for watcher in viewers:
        if watcher.viewer is not None and watcher.viewer.worker == 1:
            overlay.audience.leave(watcher)
    run(overlay, 0.1)
    assert all(sorted(stream.handles) == [0, 2] for stream in node.streams.all)
    assert node.engine.engines[1].memory().streams[0] == 0
    assert node.engine.engines[1].memory().node_links[0] == 0
    check_viewers(overlay, least=25)
    for watcher in viewers:
        overlay.audience.leave(watcher)
    overlay.run_until(overlay.world.now_us + 20 * SECOND_US)
    for engine in node.engine.engines:
        memory = engine.memory()
        assert (memory.streams[0], memory.cursors[0], memory.viewer_links[0]) == (0, 0, 0)
    assert [engine.memory().node_links[0] for engine in node.engine.engines] == [1, 0, 0]


def test_the_copy_of_a_version_goes_with_the_last_viewer_that_was_sent_it_there() -> None:
    """Two viewers in two workers go down a version, of which one worker has a copy."""
    said = ["reports", "nack", "transport_cc"]
    document: dict[str, Any] = {
        "name": "versions",
        "duration_s": 20.0,
        "nodes": [{"name": "n0"}, {"name": "n1", "workers": 2, "viewers_per_worker": 1}],
        "links": [{"a": "n0", "b": "n1", "delay_ms": 20}],
        "paths": [{"node": "n1", "stream": "b", "via": ["n0"]}],
        "broadcasts": [{"name": "b", "node": "n0", "versions": [1_500_000, 300_000]}],
        "viewers": [
            {"name": f"v{k}", "stream": "b", "node": "n1", "join_s": 2.0 + k / 2, "feedback": said}
            for k in range(2)
        ],
        "access": [{"viewers": "v*", "rate_trace": [[0, 4_000_000], [6, 600_000]]}],
    }
    overlay = VirtualOverlay(scenario_of(document))
    run(overlay, 15)
    node = overlay.nodes["n1"].node
    (version,) = node.streams.of("b.1")
    assert sorted(version.handles) == [0, 1]
    assert all(viewer.version == 1 for viewer in node.edge.viewers)
    (copied,) = (
        each
        for each in overlay.audience.watchers
        if each.viewer is not None and each.viewer.worker != version.home
    )
    overlay.audience.leave(copied)
    run(overlay, 0.1)
    assert [*version.handles] == [version.home]


def test_a_viewer_of_a_further_worker_switches_once() -> None:
    """What the engine says of its stream is understood: else it is moved again, 5 s later."""
    document: dict[str, Any] = {
        "name": "switch",
        "duration_s": 16.0,
        "nodes": [{"name": "n0", "workers": 2, "viewers_per_worker": 1}],
        "broadcasts": [broadcast(0, "n0"), broadcast(1, "n0")],
        "viewers": [
            {"name": f"v{k}", "stream": "b0", "node": "n0", "join_s": 3.0 + k / 10}
            for k in range(2)
        ],
        "events": [
            {"at_s": 6.0, "do": "switch_viewer", "viewer": f"v{k}", "to": "b1"} for k in range(2)
        ],
    }
    overlay = VirtualOverlay(scenario_of(document))
    check_viewers(overlay)
    assert {viewer.worker for viewer in overlay.nodes["n0"].node.edge.viewers} == {0, 1}
    for watcher in overlay.audience.watchers:
        assert len(overlay.world.viewer(watcher.number).switches) == 1


@pytest.mark.parametrize("killed", ["n0", "n1", "n2"])
def test_a_killed_node_comes_back_with_all_its_workers(killed: str) -> None:
    events = [
        {"at_s": 5.0, "do": "kill", "node": killed},
        {"at_s": 6.0, "do": "start", "node": killed},
    ]
    overlay = chain((2, 3, 2), viewers=8, viewers_per_worker=1, duration_s=20.0, events=events)
    run(overlay, 12)
    for watcher in overlay.audience.watchers:
        newest_us = overlay.world.newest_frame_us(watcher.number)
        assert overlay.world.now_us - newest_us < SECOND_US, watcher.name
        assert overlay.world.faults(watcher.number) == (0, 0)
    assert [homes(host.node) for host in overlay.nodes.values()] == [{0, 1}, {0, 1, 2}, {0, 1}]


@pytest.mark.parametrize("killed", ["n0", "n1"])
@pytest.mark.parametrize("workers", [(2, 3, 2), (2, 2, 2)], ids=str)
def test_a_restarted_node_is_asked_once_it_is_known_which_workers_it_has(
    workers: tuple[int, ...], killed: str
) -> None:
    """Not in words of the session before, which would stand until the next refresh."""
    events = [
        {"at_s": 5.0, "do": "kill", "node": killed},
        {"at_s": 6.0, "do": "start", "node": killed},
    ]
    overlay = chain(workers, duration_s=20.0, events=events)
    run(overlay, 9)
    for watcher in overlay.audience.watchers:
        newest_us = overlay.world.newest_frame_us(watcher.number)
        assert overlay.world.now_us - newest_us < SECOND_US, watcher.name


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
@pytest.mark.parametrize(("workers", "viewers_per_worker"), [(2, 500), (3, 1)])
def test_switches_and_moves_are_as_with_one_worker(
    file: Path, workers: int, viewers_per_worker: int
) -> None:
    """What the shipped scenarios expect; with copies from the second viewer on, too."""
    scenario = load_scenario(file)
    changes = {"workers": workers, "viewers_per_worker": viewers_per_worker}
    nodes = tuple(node.model_copy(update=changes) for node in scenario.nodes)
    duration_s = min(scenario.duration_s, 120.0)
    scenario = scenario.model_copy(update={"nodes": nodes, "duration_s": duration_s})
    report = VirtualOverlay(scenario).run()
    assert report.is_as_expected, [one for one in report.expectations if not one.held]


@pytest.mark.parametrize("old", [0, 1, 2])
@pytest.mark.parametrize("workers", [(2, 3, 2), (3, 2, 3)], ids=str)
def test_a_node_that_knows_no_workers_is_heard_and_served_by_the_first(
    workers: tuple[int, ...], old: int
) -> None:
    counts = [1 if number == old else count for number, count in enumerate(workers)]
    overlay = chain(counts, loss=0.01, viewers_per_worker=1)
    knows_no_workers(overlay.nodes[f"n{old}"].node)
    check_viewers(overlay)
    for host in overlay.nodes.values():
        for neighbour in host.node.neighbours.values():
            if f"n{old}" in (host.name, neighbour.name):
                assert not [*neighbour.pairs]


def test_a_switch_to_a_node_that_knows_no_workers_moves_the_home() -> None:
    """Producer a, consumer c; b knows workers, d does not, and c can only hear it in worker 0."""
    names = ("a", "b", "d", "c")
    links = [("a", "b", 10), ("b", "c", 10), ("a", "d", 25), ("d", "c", 25)]
    document: dict[str, Any] = dict(
        name="diamond",
        duration_s=22.0,
        brain={"control_delay_ms": 5, "report_s": 5},
        nodes=[
            {"name": name, "workers": 1 if name == "d" else 3, "viewers_per_worker": 1}
            for name in names
        ],
        links=[{"a": a, "b": b, "delay_ms": delay_ms} for a, b, delay_ms in links],
        broadcasts=[broadcast(k, "a") for k in range(3)],
        viewers=[
            {"name": f"v{k}", "stream": f"b{k % 3}", "node": "c", "join_s": 8 + k / 10}
            for k in range(6)
        ],
        events=[{"at_s": 13.0, "do": "cut", "a": "b", "b": "c"}],
    )
    overlay = VirtualOverlay(scenario_of(document))
    knows_no_workers(overlay.nodes["d"].node)
    run(overlay, 12.5)
    node = overlay.nodes["c"].node
    assert homes(node) == {0, 1, 2}
    assert upstreams(node) == {"b"}
    run(overlay, 2)
    assert homes(node) == {0}
    assert upstreams(node) == {"d"}
    assert set(served(overlay).values()) == {2}
    check_viewers(overlay)


def upstreams(node: Node) -> set[str]:
    ways = (each.upstream for each in node.subscriptions.broadcasts)
    return {way.peer for way in ways if way is not None}


@pytest.mark.parametrize("workers", [(2, 3), (1, 2), (2, 1)], ids=str)
def test_a_link_that_nothing_takes_goes_and_is_made_anew_under_other_keys(
    workers: tuple[int, ...],
) -> None:
    events = [{"at_s": 5.0, "do": "leave", "viewer": f"v{k}"} for k in range(4)]
    events += [{"at_s": 30.0, "do": "join", "viewer": f"v{k}"} for k in range(4)]
    overlay = chain(workers, duration_s=40.0, events=events, loss=0.01)
    nodes = [host.node for host in overlay.nodes.values()]
    neighbours = [next(iter(node.neighbours.values())) for node in nodes]

    def generations() -> list[int]:
        links = [neighbour.pairs.find(pair) for neighbour in neighbours for pair in neighbour.pairs]
        return [link.generation for link in links if link is not None and link.users]

    run(overlay, 4.9)
    assert set(generations()) == {1}
    lost = [neighbour.stats().lost for neighbour in neighbours]
    run(overlay, 24)
    assert not generations()
    assert [memory.node_links[0] for memory in memories(nodes)] == [
        int(worker == 0) for count in workers for worker in range(count)
    ]
    assert all(now.stats().lost >= before for now, before in zip(neighbours, lost, strict=True))
    run(overlay, 6)
    assert set(generations()) == {2}
    for node in nodes:
        assert node.engine.verdicts()["replayed"] == node.engine.verdicts()["bad_tag"] == 0
    check_viewers(overlay)


@pytest.mark.parametrize("workers", [(2, 2), (3, 1), (1, 3), (2, 3, 2)], ids=str)
def test_where_only_first_ports_are_open_they_take_it_all(workers: tuple[int, ...]) -> None:
    """Further workers' ports are told, but a firewall lets nothing through to them."""
    overlay = chain(workers, duration_s=16.0)
    for number, host in enumerate(overlay.nodes.values()):
        for neighbour in host.node.neighbours.values():
            assert not neighbour.is_blocked
            # What would go to a port after the first goes where nobody is.
            neighbour._reached = (7000, 7900, 7901)[: workers[number]]
    run(overlay, 13)
    for watcher in overlay.audience.watchers:
        newest_us = overlay.world.newest_frame_us(watcher.number)
        assert overlay.world.now_us - newest_us < SECOND_US, watcher.name
        assert overlay.world.faults(watcher.number) == (0, 0)
    for host in overlay.nodes.values():
        for neighbour in host.node.neighbours.values():
            assert neighbour.is_blocked
            assert not [*neighbour.pairs]


def memories(nodes: Sequence[Node]) -> list[MemoryStats]:
    return [engine.memory() for node in nodes for engine in node.engine.engines]


@pytest.mark.parametrize("blocked", ["n0", "n1"])
def test_a_neighbour_that_has_not_heard_of_closed_ports_is_told_again(blocked: str) -> None:
    """Both words of it are lost."""
    overlay = chain((2, 2), duration_s=16.0)
    run(overlay, 1)
    (neighbour,) = overlay.nodes[blocked].node.neighbours.values()
    assert neighbour.is_aware
    neighbour.is_blocked, neighbour.is_aware = True, False
    run(overlay, 4)
    for watcher in overlay.audience.watchers:
        newest_us = overlay.world.newest_frame_us(watcher.number)
        assert overlay.world.now_us - newest_us < SECOND_US, watcher.name
    for host in overlay.nodes.values():
        (neighbour,) = host.node.neighbours.values()
        assert neighbour.is_blocked


def test_viewers_of_a_broadcast_that_is_about_to_move_are_served_where_it_is() -> None:
    overlay = chain((2, 1), broadcasts=2, viewers=1)
    knows_no_workers(overlay.nodes["n1"].node)
    run(overlay, 4)
    node = overlay.nodes["n0"].node
    assert {stream.home for stream in node.streams.of("b1")} == {1}
    now_us = overlay.world.now_us
    node.rehome("b1", (("n1",),), now_us)  # heard by the first worker alone; it has no such stream
    viewer = node.add_viewer("b1", {"video": ("10.200.0.1", 6004)}, now_us)
    assert viewer.worker == 1
    assert set(viewer.legs) == {"video"}


def test_a_copy_that_there_is_no_room_for_leaves_nothing_behind() -> None:
    overlay = chain((1, 3), broadcasts=1, viewers=6, viewers_per_worker=1, between_s=0.5)
    node = overlay.nodes["n1"].node
    run(overlay, 1)
    node.engine._limits["streams"] = 3  # the second track of the copy is one too many
    run(overlay, 3.3)
    assert served(overlay) == {0: 3, 1: 0, 2: 0}
    for engine in node.engine.engines[1:]:
        assert (engine.memory().streams[0], engine.memory().node_links[0]) == (0, 0)
    assert node.engine.engines[0].memory().node_links[0] == 1
    node.engine._limits["streams"] = 16
    check_viewers(overlay, least=50)
    assert min(served(overlay).values()) > 0


def test_a_neighbour_that_there_is_no_copy_for_is_refused() -> None:
    """It only hears the first worker, and there is no room for the broadcast there."""
    overlay = chain((1, 2, 1), broadcasts=2, viewers=2, between_s=1.0)
    knows_no_workers(overlay.nodes["n2"].node)
    run(overlay, 1)
    overlay.nodes["n1"].node.engine._limits["streams"] = 4
    run(overlay, 5)
    counters = overlay.nodes["n2"].node.counters
    assert counters["received_error"] >= 1
    for engine in overlay.nodes["n1"].node.engine.engines:
        assert engine.memory().node_links[0] <= 2


def test_a_link_that_still_has_cursors_is_not_taken_for_unused() -> None:
    """The home has moved, and the neighbour has not asked again since."""
    overlay = chain((1, 2, 2), broadcasts=2, viewers=2, duration_s=30.0)
    run(overlay, 5)
    relay, consumer = overlay.nodes["n1"].node, overlay.nodes["n2"].node
    (moved,) = (b for b in ("b0", "b1") if relay.streams.of(b)[0].home == 1)
    for broadcast in consumer.subscriptions.broadcasts:
        for way in broadcast.subscriptions:
            way._ask_at_us += 9 * SECOND_US  # refreshes are lost
    relay._spread._move_home(moved, 0, overlay.world.now_us)
    overlay.nodes["n1"].settle()
    run(overlay, 9)
    cursors = relay._carried.cursors
    for stream in relay.streams.of(moved):
        cursor = cursors.of("n2", stream.track.stream_id)
        assert cursor is not None
        relay.engine.cursor_stats(cursor)  # or it is gone in the worker: KeyError


def test_a_copy_begins_whole_however_late_its_first_packet_is_told() -> None:
    """More comes meanwhile than a worker holds of streams that it does not know."""
    overlay = chain((1, 2), broadcasts=1, viewers=1, viewers_per_worker=1, bitrate_bps=16_000_000)
    workers = overlay.nodes["n1"].node.engine
    take, held = workers.events, list[Event]()

    def without_cursors() -> list[Event]:
        found = take()
        held.extend(event for event in found if isinstance(event, CursorStarted))
        return [event for event in found if not isinstance(event, CursorStarted)]

    workers.events = without_cursors  # type: ignore[method-assign]
    run(overlay, 4.2)
    assert held
    assert workers.verdicts()["early_evicted"] > 0
    workers.events = lambda: [held.pop(0)] if held else take()  # type: ignore[method-assign]
    overlay.nodes["n1"].settle()
    run(overlay, 0.1)
    for stream in overlay.nodes["n1"].node.streams.all:
        home, copy = (workers.stream_stats(stream.handles[worker]) for worker in (0, 1))
        assert home.next_stream_seq - copy.next_stream_seq < 100  # under way
        assert copy.held_packets == copy.next_stream_seq - copy.first_stream_seq > 0
