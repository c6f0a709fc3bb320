"""Paths from outside: asked for once, tried in order, held in reserve, changed while it flows."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from relay.errors import RefusalCode
from relay.events import BroadcastChanged, PathsWanted, UpstreamSwitched, ViewerTurnedAway
from relay.slowpath.broadcast import LINGER_US, Broadcast
from relay.slowpath.path_wish import ANSWER_BY_US
from relay.slowpath.subscription_events import BroadcastState
from tests.relay.encoder import FRAME_US, Encoder
from tests.relay.overlay import AUDIO_VIEWER, VIEWER, demo_ingest
from tests.relay.routed_overlay import LIMITS, Routed, watched

DIAMOND = {"ab": 10_000, "bc": 10_000, "ad": 15_000, "cd": 15_000}
BOTH = (("b", "a"), ("d", "a"))


def diamond(seed: int = 1) -> Routed:
    """a - b - c and a - d - c, with `demo` at a."""
    overlay = Routed(seed)
    overlay.join(DIAMOND)
    overlay.paths["c"] = BOTH
    return overlay


def broadcast_at(overlay: Routed, name: str) -> Broadcast | None:
    return overlay.nodes[name].node.subscriptions.find("demo")


def route(overlay: Routed, name: str) -> tuple[str | None, str | None]:
    """The upstream and the standby."""
    broadcast = broadcast_at(overlay, name)
    if broadcast is None:
        return None, None
    upstream, standby = broadcast.upstream, broadcast.standby
    return upstream.peer if upstream else None, standby.peer if standby else None


def streams_of(overlay: Routed, name: str) -> int:
    return overlay.nodes[name].engine.memory().streams[0]


def test_a_thousand_viewers_at_once_make_one_question() -> None:
    overlay = Routed(answer_us=100_000)
    overlay.join({"ab": 10_000})
    config = overlay.config("b", {"ab": 0}, limits={**LIMITS, "viewers": 1000, "cursors": 2100})
    overlay.start(config)
    overlay.paths["b"] = (("a",),)
    encoder = Encoder(overlay, "a")
    encoder.run_for(400_000)
    node, asked_us = overlay.nodes["b"].node, overlay.now_us
    viewers = [node.add_viewer("demo", {"video": VIEWER}, overlay.now_us) for _ in range(1000)]
    overlay.run_for(119_999)
    assert [name for _, name in overlay.wanted] == ["b"]
    assert not any(viewer.legs for viewer in viewers)
    overlay.run_for(1)  # the answer, and a round trip
    assert all(viewer.legs for viewer in viewers)
    encoder.run_for(FRAME_US)
    firsts = [time_us for time_us, to, _ in overlay.received if to == VIEWER]
    assert firsts[0] <= asked_us + 100_000 + 20_000 + 20_000
    assert len(overlay.nodes["a"].node.subscriptions.find("demo").nodes) == 1  # type: ignore[union-attr]


def test_no_answer_is_said_after_a_while() -> None:
    overlay = Routed(answer_us=60_000_000)
    overlay.join({"ab": 10_000})
    overlay.run_for(500_000)
    joined_us = overlay.now_us
    viewer = overlay.watch("b")
    overlay.run_for(10_000_000)
    ((at_us, event),) = [
        (t, e) for t, e in overlay.nodes["b"].events if isinstance(e, ViewerTurnedAway)
    ]
    assert isinstance(event, ViewerTurnedAway)
    assert at_us == joined_us + ANSWER_BY_US
    assert event.viewer == viewer.id
    assert event.code is RefusalCode.TIME_OUT
    assert "no path to demo was told within 4.5 s" in event.text


def test_no_path_is_passed_on() -> None:
    overlay = Routed()
    overlay.join({"ab": 10_000})
    overlay.run_for(500_000)
    overlay.watch("b")
    overlay.run_for(1_000_000)
    (event,) = overlay.nodes["b"].of(ViewerTurnedAway)
    assert isinstance(event, ViewerTurnedAway)
    assert (event.code, event.text) == (RefusalCode.NO_PATH, "there is none")


def test_the_next_path_is_tried_when_the_first_is_refused_or_silent() -> None:
    for is_dead in (False, True):
        overlay = diamond()
        overlay.run_for(500_000)
        if is_dead:
            overlay.kill("b")
        else:
            overlay.paths["c"] = (("b", "x"), ("d", "a"))  # x is no neighbour of b
        encoder = Encoder(overlay, "a")
        viewer = overlay.watch("c")
        encoder.run_for(2_000_000)
        assert not overlay.nodes["c"].of(ViewerTurnedAway)
        assert viewer.legs
        assert route(overlay, "c")[0] == "d"


def test_a_pushed_path_needs_no_question_and_a_configured_one_comes_first() -> None:
    overlay = diamond()
    overlay.nodes["c"].node.set_pushed_paths({"demo": BOTH[1:]})
    _, viewer = watched(overlay, settle_us=200_000)
    assert viewer.legs
    assert route(overlay, "c")[0] == "d"
    assert len(overlay.wanted) == 1  # for the second way
    overlay = diamond()
    paths = [{"stream": "demo", "via": ["b", "a"]}]
    overlay.start(overlay.config("c", DIAMOND, paths=paths))
    overlay.nodes["c"].node.set_pushed_paths({"demo": BOTH[1:]})
    watched(overlay, settle_us=200_000)
    assert route(overlay, "c")[0] == "b"


def test_a_standby_carries_nothing_until_it_is_used() -> None:
    overlay = diamond()
    encoder, _ = watched(overlay)
    assert route(overlay, "c") == ("b", "d")
    paused = broadcast_at(overlay, "d")
    assert paused is not None
    assert paused.is_paused
    assert paused.upstream is not None
    assert paused.upstream.ancestors == ("a",)
    assert streams_of(overlay, "d") == 0
    assert route(overlay, "b") == ("a", None)  # a relay keeps none
    assert overlay.nodes["a"].engine.memory().cursors[0] == 2  # those towards b
    encoder.run_for(20_000_000)  # refreshed
    assert route(overlay, "c") == ("b", "d")
    assert broadcast_at(overlay, "d") is paused
    assert len(overlay.wanted) == 1


def test_a_paused_relay_serves_who_comes_there_and_pauses_again() -> None:
    overlay = diamond()
    encoder, _ = watched(overlay)
    viewer = overlay.watch("d")
    encoder.run_for(200_000)
    assert viewer.legs
    assert not [name for _, name in overlay.wanted if name == "d"][1:]
    assert overlay.missing(viewer) == set()
    overlay.nodes["d"].node.remove_viewer(viewer, overlay.now_us)
    encoder.run_for(LINGER_US + 500_000)
    paused = broadcast_at(overlay, "d")
    assert paused is not None
    assert paused.is_paused
    assert streams_of(overlay, "d") == 0
    assert route(overlay, "c") == ("b", "d")


def test_everything_goes_when_the_viewer_does() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    overlay.nodes["c"].node.remove_viewer(viewer, overlay.now_us)
    encoder.run_for(3 * LINGER_US)
    for name in "bcd":
        assert broadcast_at(overlay, name) is None
        assert streams_of(overlay, name) == 0
    assert not broadcast_at(overlay, "a").nodes  # type: ignore[union-attr]


def test_a_killed_relay_is_gone_around_and_a_killed_node_s_viewers_come_elsewhere() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    killed_us = overlay.now_us
    overlay.kill("b")
    encoder.run_for(1_000_000)
    gap_us, _ = overlay.longest_gap(viewer, killed_us)
    assert gap_us <= 200_000 + 2 * (15_000 + 15_000)
    assert overlay.missing(viewer) == set()
    overlay.kill("c")  # the viewer asks another node
    overlay.paths["d"] = (("a",),)
    again = overlay.watch("d")
    encoder.run_for(1_000_000)
    assert overlay.missing(again) == set()
    assert len(overlay.video(again)) >= 45


def test_who_gets_it_from_a_node_that_switches_stays_there() -> None:
    overlay = Routed()
    overlay.join({**DIAMOND, "ce": 20_000, "de": 30_000})
    overlay.paths = {"c": BOTH, "e": (("c", "b", "a"), ("d", "a"))}
    encoder, _ = watched(overlay)
    viewer = overlay.watch("e")
    encoder.run_for(1_000_000)
    assert route(overlay, "e") == ("c", "d")
    cut_us = overlay.now_us
    overlay.cut_link("bc")
    encoder.run_for(1_000_000)
    assert route(overlay, "e") == ("c", "d")
    assert overlay.nodes["e"].node.path_of("demo") == ("a", "d", "c", "e")
    assert overlay.longest_gap(viewer, cut_us)[0] <= 200_000 + 2 * (15_000 + 15_000)
    assert overlay.missing(viewer) == set()


def test_both_paths_lost_and_one_mended() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    overlay.cut_link("bc")
    overlay.cut_link("cd")
    encoder.run_for(3_000_000)
    node = overlay.nodes["c"].node
    assert node.state_of("demo") is BroadcastState.LOST
    asked = len(overlay.wanted)
    assert 2 <= asked <= 6
    mended_us = overlay.now_us
    overlay.mend_link("bc")
    encoder.run_for(2_000_000)
    times = [time_us for time_us, _ in overlay.video(viewer) if time_us > mended_us]
    assert times[0] - mended_us < 1_500_000
    assert node.tracks_of("demo")
    assert route(overlay, "c")[0] == "b"
    overlay.mend_link("cd")
    encoder.run_for(3_000_000)
    assert route(overlay, "c") == ("b", "d")


def test_a_standby_that_has_become_a_loop_is_dropped() -> None:
    """d stands by for c, and then gets the stream by way of c itself."""
    overlay = diamond()
    overlay.paths["d"] = (("a",), ("c", "b", "a"))
    encoder, _ = watched(overlay)
    overlay.watch("d")
    encoder.run_for(500_000)
    assert route(overlay, "c") == ("b", "d")
    assert route(overlay, "d") == ("a", "c")
    wanted = len(overlay.wanted)
    overlay.cut_link("ad")
    encoder.run_for(1_000_000)
    assert route(overlay, "d")[0] == "c"
    assert route(overlay, "c") == ("b", None)
    encoder.run_for(10_000_000)
    assert "c" in [name for _, name in overlay.wanted[wanted:]]
    assert len(overlay.wanted) - wanted <= 8


def test_two_that_stand_by_for_each_other_and_lose_the_producer_at_once() -> None:
    overlay = Routed()
    overlay.join({"ab": 20_000, "ac": 20_000, "bc": 5_000})
    overlay.paths = {"b": (("a",), ("c", "a")), "c": (("a",), ("b", "a"))}
    encoder, one = watched(overlay, "b")
    other = overlay.watch("c")
    encoder.run_for(1_000_000)
    assert route(overlay, "b") == ("a", "c")
    assert route(overlay, "c") == ("a", "b")
    overlay.cut_link("ab")
    overlay.cut_link("ac")
    encoder.run_for(3_000_000)
    for name in "bc":
        broadcast = broadcast_at(overlay, name)
        assert broadcast is not None
        assert broadcast.state is BroadcastState.LOST
    overlay.mend_link("ac")
    mended_us = overlay.now_us
    encoder.run_for(3_000_000)
    for viewer in (one, other):
        times = [time_us for time_us, _ in overlay.video(viewer) if time_us > mended_us]
        assert times
        assert times[0] - mended_us < 2_500_000
        overlay.missing(viewer)
    assert route(overlay, "c")[0] == "a"
    assert route(overlay, "b")[0] == "c"


def test_rehome_makes_before_it_breaks_and_back() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    for paths, before, after in ((BOTH[::-1], "b", "d"), (BOTH, "d", "b")):
        began_us = overlay.now_us
        overlay.nodes["c"].node.rehome("demo", paths, began_us)
        encoder.run_for(1_000_000)
        assert route(overlay, "c") == (after, before)
        gap_us, _ = overlay.longest_gap(viewer, began_us)
        assert gap_us <= 2 * FRAME_US + 10_000
        switch = overlay.switches("c")[-1]
        assert (switch.reason, switch.before, switch.after) == ("better_path", before, after)
    assert overlay.missing(viewer) == set()
    assert [e.state for e in overlay.nodes["c"].of(BroadcastChanged)] == ["live"]  # type: ignore[union-attr]


def test_a_rehome_that_does_not_work_leaves_all_as_it_was() -> None:
    overlay = diamond()
    overlay.cut_link("ad")
    overlay.paths["c"] = BOTH[:1]
    encoder, viewer = watched(overlay)
    began_us = overlay.now_us
    overlay.nodes["c"].node.rehome("demo", BOTH[::-1], began_us)
    encoder.run_for(1_000_000)
    broadcast = broadcast_at(overlay, "c")
    assert broadcast is not None
    assert broadcast.successor is not None
    encoder.run_for(6_000_000)
    assert route(overlay, "c")[0] == "b"
    assert not overlay.switches("c")
    gap_us, _ = overlay.longest_gap(viewer, began_us)
    assert gap_us <= 2 * FRAME_US
    assert overlay.missing(viewer) == set()


def test_the_broadcaster_moves_and_comes_back() -> None:
    overlay = diamond()
    overlay.start(overlay.config("c", DIAMOND, ingests=demo_ingest(3)))
    overlay.paths["b"] = (("a",),)
    encoder, viewer = watched(overlay, "b")
    local = overlay.watch("a")
    encoder.run_for(500_000)
    a, c = overlay.nodes["a"].node, overlay.nodes["c"].node
    elsewhere = Encoder(overlay, "c", ssrc=0x777)
    c.reclaim("demo", c.new_tracks("demo"), overlay.now_us)
    elsewhere.run_for(100_000)
    moved_us = overlay.now_us
    a.rehome("demo", (("b", "c"), ("d", "c")), overlay.now_us)
    elsewhere.run_for(1_500_000)
    assert broadcast_at(overlay, "a").ancestors[0] == "c"  # type: ignore[union-attr]
    assert overlay.longest_gap(local, moved_us)[0] < 500_000
    assert overlay.nodes["a"].of(UpstreamSwitched)
    back_us = overlay.now_us
    a.reclaim("demo", a.new_tracks("demo"), overlay.now_us)
    c.rehome("demo", (("b", "a"), ("d", "a")), overlay.now_us)
    encoder = Encoder(overlay, "a", ssrc=0x888)
    encoder.run_for(1_500_000)
    assert broadcast_at(overlay, "a").is_local  # type: ignore[union-attr]
    assert broadcast_at(overlay, "c").ancestors[0] == "a"  # type: ignore[union-attr]
    for watching in (viewer, local):
        assert overlay.longest_gap(watching, back_us)[0] < 600_000
        assert overlay.missing(watching) == set()


def test_streams_come_back_to_repeat_nothing() -> None:
    """Two nodes that each call themselves the producer, as after a move that no brain has seen."""
    overlay = Routed()
    overlay.join({"ac": 10_000, "cd": 10_000})
    overlay.start(overlay.config("d", {"cd": 0}, ingests=demo_ingest(4)))
    overlay.paths["c"] = (("a",),)
    a, c = overlay.nodes["a"].node, overlay.nodes["c"].node
    near_wrap = [replace(track, first_stream_seq=2**32 - 20) for track in a.new_tracks("demo")]
    a.reclaim("demo", tuple(near_wrap), overlay.now_us)
    encoder, viewer = watched(overlay)
    elsewhere = Encoder(overlay, "d", ssrc=0x777)
    elsewhere.frame = 10_000
    elsewhere.run_for(500_000)
    for sender, path in ((elsewhere, ("d",)), (encoder, ("a",)), (elsewhere, ("d",))):
        c.rehome("demo", (path,), overlay.now_us)
        sender.run_for(1_200_000)
        assert route(overlay, "c")[0] == path[0]
    for to, least in ((VIEWER, 150), (AUDIO_VIEWER, 150)):
        contents = [data[12:] for _, address, data in overlay.received if address == to]
        assert len(contents) > least
        assert len(set(contents)) == len(contents), "a packet came twice"
    assert overlay.missing(viewer) == set()


def test_a_path_that_loses_too_much_is_left() -> None:
    overlay = Routed()
    overlay.join({"ab": 10_000, "ad": 15_000, "cd": 15_000})
    overlay.join({"bc": 10_000}, loss=0.15)
    for name in "abcd":
        overlay.start(overlay.config(name, DIAMOND, repair={"enabled": name != "c"}))
    overlay.paths["c"] = BOTH
    encoder, _ = watched(overlay, settle_us=8_000_000)
    assert [s.reason for s in overlay.switches("c")][:1] == ["loss"]
    assert route(overlay, "c")[0] == "d"
    encoder.run_for(5_000_000)
    assert route(overlay, "c")[0] == "d"  # and not left at once


def test_a_removed_neighbour_is_as_good_as_lost() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    node = overlay.nodes["c"].node
    node.subscriptions.remove_neighbour("b", overlay.now_us)
    encoder.run_for(500_000)
    assert route(overlay, "c") == ("d", None)
    assert overlay.missing(viewer) == set()
    node.subscriptions.add_neighbour("b")
    encoder.run_for(10_000_000)
    assert route(overlay, "c") == ("d", "b")


def test_questions_for_a_second_path_become_rarer() -> None:
    overlay = Routed()
    overlay.join({"ab": 10_000})
    overlay.paths["b"] = (("a",),)
    watched(overlay, "b", settle_us=0)
    overlay.run_for(60_000_000)
    times = [time_us for time_us, _ in overlay.wanted]
    steps = [b - a for a, b in pairwise(times)]
    assert 3 <= len(times) <= 6
    assert steps == sorted(steps)
    assert overlay.nodes["b"].of(PathsWanted)
