"""What streams, viewers and links cost in memory: as stated, capped, and given back."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import deque
from pathlib import Path
from random import Random

import pytest

from fastpath import Engine, EngineFullError, Media, PortKind
from fastpath.footprint import lines, state_bytes
from tests.fastpath.scale import FIRST_NUMBER, Crowd, resident_bytes

ROOT = Path(__file__).parents[2]
STREAMS, VIEWERS = 10_000, 100_000
IS_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
LINE_BYTES = 64
VIEWER_LATE_ENTRIES = 256


def test_the_stated_sizes_are_the_real_ones() -> None:
    """ARCHITECTURE.md, "Who owns which memory": a line for each, in bytes."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    stated = {
        name: int(number.replace(",", ""))
        for name, number in re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.MULTILINE)
    }
    assert stated == state_bytes()


def test_structures_fill_whole_lines_and_what_a_packet_needs_comes_first() -> None:
    sizes = state_bytes()
    assert [sizes[name] % LINE_BYTES for name in ("stream", "cursor", "link")] == [0, 0, 0]
    assert lines() == {
        "link.charged_ns": 0,
        "link.keys": 1,
        "link.address_bytes": 2,
        "link.hole_count": 3,
        "cursor.bytes": 0,
        "cursor.reports": 1,
        "stream.key_frames_before": 0,
        "stream.ring.size_class": 1,
        "stream.bytes": 2,
    }


def test_ten_thousand_streams_to_a_hundred_thousand_viewers() -> None:
    """All get every packet, under their own numbers; their memory is what is stated."""
    before_open = resident_bytes()
    crowd = Crowd(streams=STREAMS, viewers=VIEWERS, slab_bytes=32 << 20)
    assert resident_bytes() - before_open < 32 << 20 or IS_SANITIZED  # most is laid out only
    engine = crowd.engine
    streams = [crowd.add_stream(number) for number in range(STREAMS)]
    crowd.turn()
    before = resident_bytes()
    viewers = [crowd.add_viewer(streams[n % STREAMS], n) for n in range(VIEWERS)]
    crowd.turn()
    sizes = state_bytes()
    grown = (resident_bytes() - before) / VIEWERS
    # And what Python keeps of them: two handles here, some 50 bytes in the engine.
    assert grown < 2 * (sizes["cursor"] + sizes["link"]) or IS_SANITIZED
    memory = engine.memory()
    assert memory.cursors == memory.viewer_links == (VIEWERS, VIEWERS)
    assert memory.cursor_bytes[0] == VIEWERS * sizes["cursor"]
    assert memory.cursor_bytes[1] == sum(
        (VIEWERS * sizes["cursor"], memory.spans[1] * sizes["span"])
    )
    assert memory.link_bytes[0] == VIEWERS * sizes["link"] + sizes["node_link"]
    for index in range(2):
        packets = [crowd.packet(number, index) for number in range(STREAMS)]
        numbers = {
            data[2:4]
            for at in range(0, STREAMS, 500)
            for data in crowd.turn(packets[at : at + 500])
        }
        assert numbers == {((FIRST_NUMBER + index) & 0xFFFF).to_bytes(2)}
    for _, cursor in viewers[:: VIEWERS // 997]:
        stats = engine.cursor_stats(cursor)
        assert (stats.packets, stats.lag_packets, stats.lapped) == (2, 0, 0)
    counted = engine.verdicts()
    assert counted["accepted"] == 2 * STREAMS
    assert counted["sent_packets"] >= 2 * VIEWERS
    assert (counted["command_stale"], counted["events_lost"], counted["no_block_left"]) == (0, 0, 0)
    assert engine.memory().late_packets[0] == 0
    for stream in streams:
        engine.remove_stream(stream)
    for link, _ in viewers:
        engine.remove_link(link)
    crowd.turn()
    _expect_nothing_used(engine)


def _expect_nothing_used(engine: Engine) -> None:
    used = {name: used for name, (used, _) in dataclasses.asdict(engine.memory()).items()}
    sizes = state_bytes()
    left = {name: number for name, number in used.items() if number}
    assert left.pop("link_bytes") == sizes["node_link"]
    assert left == {"ports": 2, "node_links": 1, "index_bytes": engine.memory().index_bytes[1]}


def test_a_full_table_refuses_and_all_stays_as_it_was() -> None:
    crowd = Crowd(streams=2, viewers=3)
    engine = crowd.engine
    streams = [crowd.add_stream(number) for number in range(2)]
    viewers = [crowd.add_viewer(streams[0], number) for number in range(3)]
    crowd.turn([crowd.packet(0, 0)])
    memory, counted = engine.memory(), engine.verdicts()
    with pytest.raises(EngineFullError, match=r"streams is full \(2\)"):
        crowd.add_stream(7)
    with pytest.raises(EngineFullError, match=r"viewer_links is full \(3\)"):
        crowd.add_viewer(streams[0], 9)
    with pytest.raises(EngineFullError, match=r"cursors is full \(3\)"):
        engine.add_cursor(stream=streams[0], link=crowd.up)
    with pytest.raises(EngineFullError, match=r"node_links is full \(1\)"):
        engine.add_link(
            port=crowd.port, address=("10.0.0.3", 7), peer_node=3, hello_key=bytes(16), rate_bps=1
        )
    with pytest.raises(EngineFullError, match=r"ports is full \(2\)"):
        engine.open_port(PortKind.VIEWER)
    assert crowd.turn() == []
    assert (engine.memory(), engine.verdicts()) == (memory, counted)
    # Forwarding goes on, and one that leaves makes room for one.
    assert len(crowd.turn([crowd.packet(0, 1)])) == 3
    engine.remove_link(viewers[1][0])
    crowd.add_viewer(streams[0], 10)
    assert len(crowd.turn([crowd.packet(0, 2)])) == 4  # to the newcomer also what came before


def test_an_exhausted_pool_of_late_packets_is_counted_and_harms_nothing_else() -> None:
    """Recovered packets for viewers whose links are too slow to take them."""
    viewers = 64
    crowd = Crowd(streams=1, viewers=viewers, slab_bytes=8 << 20)
    engine = crowd.engine
    stream = crowd.add_stream(0)
    slow = [crowd.add_viewer(stream, number, rate_bps=100_000_000) for number in range(viewers)]
    crowd.turn([crowd.packet(0, 0, hop_seq=1)])
    # The last packet is the first to come: all before it are holes that cursors pass.
    holes = range(1, 1 + VIEWER_LATE_ENTRIES)
    crowd.turn([crowd.packet(0, len(holes) + 1, hop_seq=len(holes) + 2)], after_us=100_000)
    for link, _ in slow:
        engine.set_link_rate(link, 1_000)
    crowd.turn([crowd.packet(0, len(holes) + 2, size=1_300, hop_seq=len(holes) + 3)])
    pool = engine.memory().late_packets[1]
    assert pool < viewers * len(holes)
    crowd.turn([crowd.packet(0, at, hop_seq=at + 1) for at in holes])
    used, limit = engine.memory().late_packets
    assert used == limit == pool
    counted = engine.verdicts()
    assert counted["late_pool_empty"] == viewers * len(holes) - pool
    assert counted["late_queue_full"] == 0
    assert counted["accepted_late"] == len(holes)
    # Media goes on as soon as budgets allow; what waited leaves, and the places are free again.
    for link, _ in slow:
        engine.set_link_rate(link, 1_000_000_000)
    sent = 0
    for _ in range(20):
        sent += len(crowd.turn(after_us=1_000_000))
    assert sent == pool
    assert engine.memory().late_packets[0] == 0
    assert len(crowd.turn([crowd.packet(0, len(holes) + 3, hop_seq=len(holes) + 4)])) == viewers


def test_links_and_streams_that_go_give_back_what_waited() -> None:
    crowd = Crowd(streams=1, viewers=8)
    engine = crowd.engine
    for _ in range(20):
        stream = crowd.add_stream(0)
        links = [crowd.add_viewer(stream, number, rate_bps=100_000)[0] for number in range(8)]
        first = crowd.hop_seq
        crowd.hop_seq += 5
        crowd.turn([crowd.packet(0, 0, hop_seq=first + 1, size=1_300)], after_us=1_000_000)
        crowd.turn([crowd.packet(0, 4, hop_seq=first + 5)], after_us=200_000)
        crowd.turn([crowd.packet(0, 5, size=1_300)], after_us=200_000)
        crowd.turn([crowd.packet(0, at, hop_seq=first + 1 + at) for at in (1, 2, 3)])
        assert engine.memory().late_packets[0] > 0
        for link in links:
            engine.remove_link(link)
        crowd.turn()
        assert engine.memory().late_packets[0] == 0
        engine.remove_stream(stream)
        crowd.turn()
    _expect_nothing_used(engine)


@pytest.mark.parametrize("seed", range(3), ids=lambda seed: f"seed {seed}")
def test_of_many_streams_the_one_with_the_oldest_packet_gives_way(seed: int) -> None:
    """Each packet begins a GoP, so that one at a time leaves: always the oldest of all."""
    rng = Random(seed)
    most = 60
    crowd = Crowd(streams=most, viewers=1, slab_bytes=1 << 18)
    engine = crowd.engine
    blocks = engine.memory().large_blocks[1]
    held: dict[int, deque[int]] = {}
    handles: dict[int, int] = {}
    sent: dict[int, int] = {}
    evicted = 0
    for step in range(4_000):
        if len(handles) < most and rng.random() < 0.1:
            number = rng.choice([n for n in range(most) if n not in handles])
            handles[number], held[number], sent[number] = crowd.add_stream(number), deque(), 0
        elif handles and rng.random() < 0.04:
            number = rng.choice(list(handles))
            engine.remove_stream(handles.pop(number))
            del held[number]
        if not handles:
            continue
        number = rng.choice(list(handles)[: 1 + rng.randrange(len(handles))])
        if sum(map(len, held.values())) == blocks:
            min((packets for packets in held.values() if packets), key=lambda p: p[0]).popleft()
            evicted += 1
        crowd.turn([crowd.packet(number, sent[number])], after_us=rng.randrange(1, 40_000))
        sent[number] += 1
        held[number].append(step)
        found = {n: engine.stream_stats(handle).held_packets for n, handle in handles.items()}
        assert found == {n: len(packets) for n, packets in held.items()}, f"seed {seed}"
    assert engine.verdicts()["evicted_for_space"] == evicted > 500


def test_audio_of_small_packets_is_no_help_for_a_large_one() -> None:
    crowd = Crowd(streams=2, viewers=1, slab_bytes=1 << 18)
    engine = crowd.engine
    audio, video = crowd.add_stream(0, Media.AUDIO), crowd.add_stream(1)
    for at in range(20):
        crowd.turn([crowd.packet(0, at, size=50)])
    for at in range(300):
        crowd.turn([crowd.packet(1, at, size=1_000)])
    assert engine.stream_stats(audio).held_packets == 20
    assert engine.stream_stats(video).held_packets == engine.memory().large_blocks[1]


def test_huge_pages_change_nothing_but_where_tables_lie() -> None:
    sizes = {"streams": 4_096, "cursors": 65_536, "slab_bytes": 16 << 20}
    with_pages, without = Engine(**sizes), Engine(**sizes, huge_pages=False)  # type: ignore[arg-type]
    assert with_pages.memory() == without.memory()
    assert "huge_pages" not in without.fallbacks()
