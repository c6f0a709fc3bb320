"""What comes all at once is handled some at a time: the event loop's owner goes on in between."""

from __future__ import annotations

import asyncio

from relay.admin import CHUNK_BYTES, in_steps
from relay.edge.plain_rtp import MOST_EXPIRED
from relay.events import BroadcastChanged, NeighbourDown, ViewerLeft
from relay.loop_watch import LoopWatch
from relay.slowpath.subscription import MOST_AT_ONCE
from relay.slowpath.upstream import REFRESH_US
from tests.relay.overlay import ONE_WAY_US, VIEWER, Overlay, Running, config_of

STREAMS = 80
MANY = {
    "streams": 128,
    "cursors": 512,
    "node_links": 4,
    "viewers": 256,
    "ports": 256,
    "slab_mib": 8,
}
S = 1_000_000


def overlay_of_many() -> tuple[Overlay, Running, Running]:
    """Node a has STREAMS broadcasts, b finds them there; no viewer yet."""
    overlay = Overlay()
    track = {"kind": "video", "codec": "H264", "payload_type": 96, "clock_rate": 90_000}
    ingests = [
        {"name": f"s{n}", "tracks": [{**track, "listen": f"10.0.0.1:{5_000 + 2 * n}"}]}
        for n in range(STREAMS)
    ]
    overlay.connect(1, 2)
    a = overlay.start(config_of("a", 1, {"b": 2}, ingests=ingests, limits=MANY))
    paths = [{"stream": "*", "via": ["a"]}]
    b = overlay.start(config_of("b", 2, {"a": 1}, paths=paths, limits=MANY))
    overlay.run_for(2 * S)
    return overlay, a, b


def watch_all(overlay: Overlay, b: Running) -> None:
    for n in range(STREAMS):
        b.node.add_viewer(f"s{n}", {"video": VIEWER}, overlay.now_us, rtcp="none", expiry_us=None)


def deliver(overlay: Overlay, sender: Running, receiver: Running) -> None:
    """All that the one has to say now is in the other's mailbox."""
    for _, destination, data in sender.engine.turn(overlay.now_us):
        overlay.network.send(sender.address, destination, data, overlay.now_us)
    overlay.now_us += ONE_WAY_US
    for source, _, data in overlay.network.receive(overlay.now_us):
        receiver.due.append((receiver.node.ports.overlay, source, data))
    due, receiver.due = receiver.due, []
    receiver.engine.turn(overlay.now_us, due)


def test_a_neighbour_that_says_much_at_once_does_not_hold_others_up() -> None:
    most = 7
    overlay, a, b = overlay_of_many()
    watch_all(overlay, b)
    deliver(overlay, b, a)
    heard, slices, is_more = 0, 0, True
    while is_more:
        is_more = a.node.handle_engine_events(overlay.now_us, most)
        slices += 1
        now_heard = a.node.counters["received_subscribe"]
        assert now_heard - heard <= most
        assert is_more or now_heard == STREAMS
        heard = now_heard
    assert slices > STREAMS // most
    overlay.run_for(S)
    assert all(b.node.state_of(f"s{n}").value == "live" for n in range(STREAMS))


def test_news_of_links_are_taken_one_at_a_time() -> None:
    """Each looks at all broadcasts."""
    overlay = Overlay()
    names = {f"n{n}": n for n in range(2, 6)}
    for number in names.values():
        overlay.connect(1, number)
    a = overlay.start(config_of("a", 1, names, limits=MANY))
    for name, number in names.items():
        overlay.start(config_of(name, number, {"a": 1}, limits=MANY))
    overlay.run_for(2 * S)
    for name in names:
        overlay.kill(name)
    overlay.now_us += S
    a.engine.turn(overlay.now_us)  # all of them are found to be down
    down = slices = 0
    while a.node.handle_engine_events(overlay.now_us, 16):
        slices += 1
        told = 0
        while (event := a.node.next_event()) is not None:
            told += isinstance(event, NeighbourDown)
        assert told <= 1
        down += told
    assert down == slices == len(names)


def test_broadcasts_that_a_link_brought_are_lost_some_at_a_time() -> None:
    overlay, _, b = overlay_of_many()
    watch_all(overlay, b)
    overlay.run_for(S)
    overlay.cut(1, 2)
    overlay.now_us += S
    b.engine.turn(overlay.now_us)
    assert not b.node.handle_engine_events(overlay.now_us)
    lost = [count_lost(b)]
    while (due_us := b.node.next_timer_us()) is not None and due_us <= overlay.now_us:
        b.node.handle_timer(overlay.now_us)
        lost.append(count_lost(b))
        assert len(lost) < STREAMS
    assert max(lost) == MOST_AT_ONCE
    assert sum(lost) == STREAMS
    overlay.mend(1, 2)
    overlay.run_for(5 * S)
    assert all(b.node.state_of(f"s{n}").value == "live" for n in range(STREAMS))


def count_lost(running: Running) -> int:
    """Broadcasts that were said to be lost since it was asked last."""
    lost = 0
    while (event := running.node.next_event()) is not None:
        lost += isinstance(event, BroadcastChanged) and event.state == "lost"
    return lost


def test_what_is_left_is_handled_without_another_word_of_the_engine() -> None:
    overlay, a, b = overlay_of_many()
    watch_all(overlay, b)
    deliver(overlay, b, a)
    assert a.node.handle_engine_events(overlay.now_us, 1)
    assert a.engine.events() == []  # all that came is the node's by now
    assert not a.node.handle_engine_events(overlay.now_us)
    assert a.node.counters["received_subscribe"] == STREAMS


def test_refreshes_that_are_due_together_are_sent_some_at_a_time() -> None:
    overlay, _, b = overlay_of_many()
    watch_all(overlay, b)
    overlay.run_for(S)
    node, now_us = b.node, overlay.now_us + REFRESH_US
    sent = before = node.counters["sent_subscribe"]
    slices = 0
    while (due_us := node.next_timer_us()) is not None and due_us <= now_us:
        node.handle_timer(now_us)
        slices += 1
        assert node.counters["sent_subscribe"] - sent <= MOST_AT_ONCE
        sent = node.counters["sent_subscribe"]
        assert slices < STREAMS
    assert sent - before == STREAMS
    assert slices >= STREAMS / MOST_AT_ONCE


def test_viewers_that_expire_together_leave_some_at_a_time() -> None:
    viewers = 2 * MOST_EXPIRED + 3
    overlay, a, _ = overlay_of_many()
    node = a.node
    for _ in range(viewers):
        node.add_viewer("s1", {"video": VIEWER}, overlay.now_us, rtcp="none", expiry_us=S)
    overlay.run_for(S // 2)
    now_us, left = overlay.now_us + S, []
    while node.edge.viewers:
        due_us = node.next_timer_us()
        assert due_us is not None
        assert due_us <= now_us
        node.handle_timer(now_us)
        gone = 0
        while (event := node.next_event()) is not None:
            gone += isinstance(event, ViewerLeft)
        assert gone <= MOST_EXPIRED
        left.append(gone)
    assert sum(left) == viewers
    assert len([gone for gone in left if gone]) == 3


def test_a_stall_is_told_from_the_loops_own_work() -> None:
    watch = LoopWatch()
    watch.note(late_us=30_000, worked_us=4_000)  # it waited for a core
    assert (watch.longest_us, watch.longest_busy_us) == (30_000, 4_000)
    watch.note(late_us=9_000, worked_us=15_000)  # some of that was before it was due
    assert (watch.longest_us, watch.longest_busy_us) == (30_000, 9_000)


def test_a_long_answer_leaves_in_chunks() -> None:
    pieces = [bytes([n % 256]) * 1_000 for n in range(500)]

    async def taken() -> list[bytes]:
        return [chunk async for chunk in in_steps(pieces)]

    chunks = asyncio.run(taken())
    assert b"".join(chunks) == b"".join(pieces)
    assert max(map(len, chunks)) < CHUNK_BYTES + 1_000
