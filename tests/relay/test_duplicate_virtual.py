"""Premium viewers: what one path loses comes by the other, at once, until they go."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from fastpath.stats import StreamStats
from relay.edge.plain_rtp import Viewer
from relay.events import CopiesChanged
from relay.slowpath.routes import Paths
from tests.relay.encoder import FRAME_US, Encoder
from tests.relay.overlay import AUDIO_VIEWER, VIEWER
from tests.relay.routed_overlay import Routed
from tests.relay.test_viewer_moves_virtual import Stage

PATHS: Paths = (("b", "a"), ("d", "a"))
DELAYS = {"ab": 20_000, "bc": 10_000, "ad": 30_000, "cd": 25_000}
DIFFERENCE_US = 25_000  # between the two ways
TURN_US = 3_000  # chosen: of pacing and of nodes
WAYS = (("a", "d", "c"), True)


def start(
    seed: int = 1,
    *,
    is_premium: bool = True,
    paths: Paths = PATHS,
    delays: dict[str, int] | None = None,
    **link: float,
) -> tuple[Routed, Encoder, Viewer]:
    """An encoder at a, and a viewer at c whose node has had time to find its paths."""
    overlay = Routed(seed)
    overlay.join(delays or DELAYS, **link)
    overlay.paths["c"] = paths
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    viewer = overlay.watch("c", is_premium=is_premium)
    encoder.run_for(1_500_000)
    return overlay, encoder, viewer


def video_at(overlay: Routed, name: str) -> StreamStats:
    running = overlay.nodes[name]
    (stream,) = (s for s in running.node.streams.of("demo") if s.track.media == "video")
    return running.engine.stream_stats(stream.handle)


def told_copies(overlay: Routed) -> list[tuple[tuple[str, ...], bool]]:
    found = overlay.nodes["c"].of(CopiesChanged)
    return [(event.path, event.is_disjoint) for event in found if isinstance(event, CopiesChanged)]


def frames_since(overlay: Routed, viewer: Viewer, since_us: int) -> list[tuple[int, int]]:
    return [(at_us, number) for at_us, number in overlay.video(viewer) if at_us >= since_us]


def longest_wait_us(overlay: Routed, viewer: Viewer, since_us: int) -> int:
    """Between the arrivals of a frame and of the next one (a frame is a packet here)."""
    arrivals = sorted((n, at_us) for at_us, n in frames_since(overlay, viewer, since_us))
    return max(b - a for (_, a), (_, b) in pairwise(arrivals))


def test_everything_comes_twice_and_is_sent_once() -> None:
    overlay, encoder, viewer = start()
    before = video_at(overlay, "c")
    encoder.run_for(2_000_000)
    after = video_at(overlay, "c")
    assert after.duplicates - before.duplicates in range(98, 103)
    assert (after.copies, after.covered_by_other_path) == (0, 0)  # the first way is the faster
    assert overlay.missing(viewer) == set()
    assert told_copies(overlay) == [WAYS]
    broadcast = overlay.nodes["d"].node.subscriptions.find("demo")
    assert broadcast is not None
    assert broadcast.nodes["c"].is_copy


@pytest.mark.parametrize("cut", ["bc", "ab", "cd", "ad"])
def test_a_cut_of_either_way_leaves_no_gap(cut: str) -> None:
    """Not even one of the 170 ms after which it is noticed, nor of a switch."""
    overlay, encoder, viewer = start(jitter_us=2_000)
    encoder.run_for(7_000)
    cut_us = overlay.now_us
    overlay.cut_link(cut)
    encoder.run_for(1_500_000)
    assert overlay.missing(viewer) == set()
    assert longest_wait_us(overlay, viewer, cut_us) <= FRAME_US + DIFFERENCE_US + 4_000 + TURN_US
    if cut in ("bc", "ab"):
        (switch,) = overlay.switches("c")
        assert (switch.before, switch.after, switch.gap_us) == ("b", "d", 0)
        covered = video_at(overlay, "c").covered_by_other_path
        assert covered >= 170_000 // FRAME_US - 1, covered
    overlay.mend_link(cut)
    encoder.run_for(8_000_000)  # until c asks for paths again
    assert video_at(overlay, "c").duplicates > 0
    now_us = overlay.now_us
    for name in ("b", "d"):  # whichever it is, the other one is there
        overlay.cut_link("bc" if name == "b" else "cd")
        encoder.run_for(20_000)
        overlay.mend_link("bc" if name == "b" else "cd")
        encoder.run_for(600_000)
    assert longest_wait_us(overlay, viewer, now_us) <= FRAME_US + DIFFERENCE_US + 4_000 + TURN_US


def late_share(*, is_premium: bool) -> float:
    """Of the frames, those that come later than over the slower way, with 5 % lost on each link;
    all of them must come at last."""
    late, frames = 0, 0
    for seed in range(3):
        overlay, encoder, viewer = start(seed, is_premium=is_premium, loss=0.05)
        since_us = overlay.now_us
        encoder.run_for(6_000_000)
        overlay.run_for(1_000_000)
        assert overlay.missing(viewer) == set(), f"seed {seed}"
        found = frames_since(overlay, viewer, since_us)
        first = min(at_us - n * FRAME_US for at_us, n in found)
        # As frames are numbered one by one, what is constant between them is the soonest delay.
        waits = [at_us - n * FRAME_US - first for at_us, n in found]
        late += sum(wait_us > DIFFERENCE_US + TURN_US for wait_us in waits)
        frames += len(found)
    return late / frames


def test_losses_of_both_ways_rarely_meet() -> None:
    """Over two links of 5 % some 10 % of frames wait for repair, half of them, of the longer link,
    for longer than the other way takes; over two such ways some 1 %."""
    alone, covered = late_share(is_premium=False), late_share(is_premium=True)
    assert 0.035 < alone < 0.08, alone
    assert covered < 0.02, (covered, alone)


def test_copies_end_with_the_last_premium_viewer() -> None:
    overlay, encoder, viewer = start(is_premium=False)
    node = overlay.nodes["c"].node
    assert told_copies(overlay) == []
    assert video_at(overlay, "c").duplicates == 0
    first = overlay.watch("c", is_premium=True)
    second = overlay.watch("c", is_premium=True)
    encoder.run_for(500_000)
    assert told_copies(overlay) == [WAYS]
    node.remove_viewer(first, overlay.now_us)
    encoder.run_for(500_000)
    assert told_copies(overlay) == [WAYS]
    node.remove_viewer(second, overlay.now_us)
    encoder.run_for(500_000)
    assert told_copies(overlay) == [WAYS, ((), False)]
    before = video_at(overlay, "c").duplicates
    encoder.run_for(2_500_000)  # d lingers
    assert video_at(overlay, "c").duplicates == before
    assert overlay.nodes["a"].engine.memory().cursors[0] == 2  # for b alone
    broadcast = node.subscriptions.find("demo")
    assert broadcast is not None
    assert broadcast.standby is not None
    assert broadcast.standby.is_paused
    assert overlay.missing(viewer) == set()
    node.remove_viewer(viewer, overlay.now_us)
    encoder.run_for(9_000_000)
    for name in "bcd":
        assert overlay.nodes[name].engine.memory().cursors[0] == 0, name


def test_the_path_that_shares_least_is_taken_and_it_is_said_if_it_shares() -> None:
    delays = DELAYS | {"de": 5_000, "be": 5_000, "ce": 5_000}
    overlay, _, _ = start(paths=(("b", "a"), ("e", "b", "a"), ("d", "a")), delays=delays)
    assert told_copies(overlay) == [WAYS]
    overlay, encoder, viewer = start(paths=(("b", "a"), ("e", "b", "a")), delays=delays)
    assert told_copies(overlay) == [(("a", "b", "e", "c"), False)]
    overlay.cut_link("bc")
    encoder.run_for(1_000_000)
    assert overlay.missing(viewer) == set()
    overlay, _, _ = start(paths=(("b", "a"),))
    assert told_copies(overlay) == []


def test_a_configured_stream_is_premium_for_all() -> None:
    overlay = Routed()
    overlay.join(DELAYS)
    config = overlay.config("c", DELAYS, viewers={"premium_streams": ["demo"]})
    overlay.start(config)
    overlay.paths["c"] = PATHS
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    overlay.watch("c")
    encoder.run_for(1_500_000)
    assert told_copies(overlay) == [WAYS]


def test_a_switch_changes_whether_a_stream_is_premium() -> None:
    """Only the stream that is configured so is, whichever a viewer began with."""
    config = {"viewers": {"premium_streams": ["two"]}}
    for begins, ends, by_request in (
        ("one", "two", False),
        ("two", "one", False),
        ("one", "two", True),
    ):
        stage = Stage(config=config)
        node = stage.b.node
        addresses = {"video": VIEWER, "audio": AUDIO_VIEWER}
        viewer = node.add_viewer(
            begins, addresses, stage.overlay.now_us, expiry_us=None, is_premium=by_request
        )
        stage.play(1_500_000)
        before = node.subscriptions.find(begins)
        assert before is not None
        assert bool(before.premium) == viewer.is_premium == (begins == "two" or by_request)
        node.switch_viewer(viewer, ends, stage.overlay.now_us)
        stage.play(3_000_000)
        assert viewer.broadcast == ends
        after = node.subscriptions.find(ends)
        assert after is not None
        assert bool(after.premium) == viewer.is_premium == (ends == "two" or by_request)


def test_rehoming_over_copies_and_past_them_misses_nothing() -> None:
    delays = DELAYS | {"ae": 5_000, "ce": 8_000}
    overlay, encoder, viewer = start(delays=delays)
    node = overlay.nodes["c"].node
    rng = Random(5)
    orders = [(("b", "a"), ("d", "a")), (("d", "a"), ("b", "a")), (("e", "a"), ("d", "a"))]
    since_us = overlay.now_us
    for _ in range(12):
        order = rng.choice(orders)
        node.rehome("demo", order, overlay.now_us)
        encoder.run_for(400_000)
        broadcast = node.subscriptions.find("demo")
        assert broadcast is not None
        assert broadcast.upstream is not None
        assert (broadcast.upstream.peer, broadcast.successor) == (order[0][0], None)
    assert overlay.missing(viewer) == set()
    assert longest_wait_us(overlay, viewer, since_us) <= FRAME_US + 55_000 + TURN_US
    assert told_copies(overlay)[-1][0] != ()


def test_two_nodes_that_send_each_other_copies_do_not_live_on_them() -> None:
    """c gets it over b, d over e, and each the other's copies. When both lose their first way,
    neither has anything; when one does, it lives on the other."""
    overlay = Routed()
    overlay.join({"ab": 20_000, "bc": 10_000, "ae": 20_000, "de": 10_000, "cd": 5_000})
    overlay.paths["c"] = (("b", "a"), ("d", "e", "a"))
    overlay.paths["d"] = (("e", "a"), ("c", "b", "a"))
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    viewers = [overlay.watch(name, is_premium=True) for name in "cd"]
    encoder.run_for(1_500_000)
    cut_us = overlay.now_us
    overlay.cut_link("ab")
    encoder.run_for(2_000_000)
    for viewer in viewers:
        assert overlay.missing(viewer) == set()
        assert longest_wait_us(overlay, viewer, cut_us) <= FRAME_US + 10_000 + TURN_US
    overlay.cut_link("ae")
    encoder.run_for(3_000_000)
    for name in "cd":
        assert overlay.nodes[name].node.state_of("demo").value == "lost", name
    overlay.mend_link("ab")
    encoder.run_for(9_000_000)
    newest = encoder.frame
    for viewer, name in zip(viewers, "cd", strict=True):
        assert overlay.video(viewer)[-1][0] > overlay.now_us - 200_000, (name, newest)
