"""Handles of what Python adds to an engine: never given twice, cheap to give back."""

from __future__ import annotations

import random
import sys
import tracemalloc
from types import FrameType

import pytest

from fastpath import Engine, EngineFullError, Media, PortKind
from fastpath.handles import Chains, HandleTable


def test_a_handle_is_never_given_twice_and_an_index_at_most_once_at_a_time() -> None:
    seed = 11
    rng = random.Random(seed)
    table = HandleTable("things", 50, 7)
    held: list[int] = []
    seen: set[int] = set()
    for _ in range(5_000):
        if held and (rng.random() < 0.45 or len(held) == 50):
            gone = held.pop(rng.randrange(len(held)))
            table.give(gone)
            assert gone not in table, seed
        else:
            handle = table.take()
            assert handle not in seen, seed
            seen.add(handle)
            held.append(handle)
        assert len(table) == len(held)
        indexes = [table.check(handle) for handle in held]
        assert len(set(indexes)) == len(indexes)
        assert all(7 <= index < 57 for index in indexes)


def test_what_is_not_in_use_is_refused() -> None:
    table = HandleTable("things", 2, 5)
    first, second = table.take(), table.take()
    with pytest.raises(EngineFullError, match=r"table of things is full \(2\)"):
        table.take()
    table.give(first)
    other = 1 << 20 | 4  # an index below the table's
    for handle in (first, other, 1 << 20 | 9, -1, 0, second + (1 << 20)):
        assert handle not in table
        with pytest.raises(KeyError):
            table.check(handle)
        with pytest.raises(KeyError):
            table.give(handle)
    again = table.take()
    assert again & 0xFFFFF == first & 0xFFFFF
    assert (again >> 20, table.check(again)) == (2, 5)


def test_members_leave_their_chains_in_any_order() -> None:
    rng = random.Random(3)
    chains = Chains()
    places: dict[int, int] = {}
    for _ in range(4_000):
        member = rng.randrange(60)
        if member in places:
            assert chains.chain_of(member) == places[member]
            chains.remove(member)
            del places[member]
        else:
            places[member] = rng.randrange(6)
            chains.add(places[member], member)
        for chain in range(8):
            expected = sorted(m for m, place in places.items() if place == chain)
            assert sorted(chains.members(chain)) == expected


def full_engine(streams: int, each: int) -> tuple[Engine, list[int]]:
    """Streams with so many viewers' cursors each, all on one link."""
    engine = Engine(
        streams=streams,
        cursors=streams * each,
        node_links=1,
        viewer_links=1,
        ports=1,
        slab_bytes=1 << 16,
    )
    port = engine.open_port(PortKind.VIEWER)
    link = engine.add_viewer_link(rate_bps=1_000_000)
    engine.turn(0)
    found = []
    for number in range(streams):
        stream = engine.add_stream(
            stream_id=number + 1, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        found.append(stream)
        for viewer in range(each):
            engine.add_viewer_cursor(
                stream=stream,
                link=link,
                port=port,
                address=("10.0.0.1", 1024 + viewer),
                ssrc=viewer,
                payload_type=96,
                first_sequence_number=65_535,
            )
    engine.turn(1)
    return engine, found


def lines_to_remove(streams: int, each: int) -> int:
    """Python steps that taking one stream out of so many takes."""
    engine, found = full_engine(streams, each)
    steps = 0

    def trace(frame: FrameType, event: str, _argument: object) -> object:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        engine.remove_stream(found[streams // 2])
    finally:
        sys.settrace(None)
    assert engine.memory().cursors[0] == (streams - 1) * each
    return steps


def test_removing_a_stream_looks_at_its_own_cursors_only() -> None:
    few = lines_to_remove(streams=10, each=4)
    assert few > 100
    assert lines_to_remove(streams=1_000, each=4) == few


def test_a_hundred_thousand_handles_take_little_memory() -> None:
    tracemalloc.start()
    try:
        cursors, by_stream, by_link = HandleTable("cursors", 100_000), Chains(), Chains()
        for number in range(100_000):
            index = cursors.check(cursors.take())
            by_stream.add(number % 10_000, index)
            by_link.add(number, index)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 100_000 * 64
