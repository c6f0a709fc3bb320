"""Nodes that get nothing, and whose way out is not the next on their list: all find it."""

from __future__ import annotations

from relay.edge.plain_rtp import Viewer
from relay.messages import Ok, UpstreamLost, decode
from relay.slowpath.broadcast import LINGER_US
from relay.slowpath.subscription_events import BroadcastState
from relay.slowpath.upstream import LOST_RETRY_US, REFRESH_US
from service.address import Address
from tests.relay.encoder import Encoder
from tests.relay.overlay import AUDIO_VIEWER, address_of, demo_ingest
from tests.relay.routed_overlay import Routed, watched
from tests.relay.test_paths_virtual import BOTH, DIAMOND, broadcast_at, diamond, route, streams_of


def first_after(overlay: Routed, viewer: Viewer, since_us: int) -> int:
    """How long after that moment the viewer's next video packet came."""
    times = [time_us for time_us, _ in overlay.video(viewer) if time_us > since_us]
    assert times, "nothing came any more"
    return times[0] - since_us


def lose(overlay: Routed, kind: type, sender: int, receiver: int) -> list[int]:
    """From now on, messages of this kind between two nodes are lost; they are counted."""
    lost: list[int] = []
    send = overlay.network.send

    def send_or_lose(src: Address, dst: Address, data: bytes, now_us: int) -> None:
        ends = address_of(sender), address_of(receiver)
        is_control = data[0] & 0xF == 3 and (src, dst) == ends
        if is_control and isinstance(decode(data[32:]), kind):
            lost.append(now_us)
        else:
            send(src, dst, data, now_us)

    overlay.network.send = send_or_lose  # type: ignore[method-assign]
    return lost


def test_both_copies_of_the_notice_are_lost() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    lost = lose(overlay, UpstreamLost, 2, 3)
    cut_us = overlay.now_us
    overlay.cut_link("ab")
    encoder.run_for(REFRESH_US + 1_000_000)
    assert len(lost) == 2
    assert first_after(overlay, viewer, cut_us + 100_000) <= REFRESH_US + 200_000
    assert route(overlay, "c")[0] == "d"
    assert overlay.missing(viewer) == set()


def test_a_node_that_asks_one_who_gets_nothing_asks_another() -> None:
    overlay = Routed()
    overlay.join({**DIAMOND, "be": 10_000})
    overlay.paths = {"c": BOTH, "e": (("b", "a"),)}
    encoder, _ = watched(overlay, "e")
    overlay.cut_link("ab")
    encoder.run_for(500_000)
    joined_us = overlay.now_us
    viewer = overlay.watch("c")
    encoder.run_for(1_000_000)
    assert first_after(overlay, viewer, joined_us + 150_000) <= 100_000
    assert route(overlay, "c")[0] == "d"


def test_a_better_way_through_the_only_neighbour() -> None:
    """c has no link but that with b, which has lost the producer and keeps no other way itself."""
    overlay = Routed()
    overlay.join({"ab": 10_000, "bc": 10_000, "ad": 10_000, "bd": 10_000})
    overlay.paths["c"] = (("b", "a"),)
    encoder, viewer = watched(overlay)
    overlay.paths["c"] = (("b", "d", "a"), ("b", "a"))
    cut_us = overlay.now_us
    overlay.cut_link("ab")
    encoder.run_for(3_000_000)
    assert first_after(overlay, viewer, cut_us + 100_000) <= 2_000_000
    assert overlay.nodes["c"].node.path_of("demo") == ("a", "d", "b", "c")
    assert overlay.missing(viewer) == set()


def four_in_a_ring() -> Routed:
    """Each beside the producer, and each with the next as its second way."""
    overlay = Routed()
    ring = {"bc": 5_000, "cd": 5_000, "de": 5_000, "be": 5_000}
    overlay.join({**ring, **{"a" + name: 20_000 for name in "bcde"}})
    overlay.paths = {one: (("a",), (other, "a")) for one, other in zip("bcde", "cdeb", strict=True)}
    return overlay


def test_four_that_stand_by_in_a_ring_and_lose_the_producer_at_once() -> None:
    overlay = four_in_a_ring()
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    viewers = [overlay.watch(name) for name in "bcde"]
    encoder.run_for(2_000_000)
    assert [route(overlay, name) for name in "bcde"] == [("a", n) for n in "cdeb"]
    for name in "bcde":
        overlay.cut_link("a" + name)
    encoder.run_for(5_000_000)
    assert {overlay.nodes[n].node.state_of("demo") for n in "bcde"} == {BroadcastState.LOST}
    overlay.mend_link("ac")
    mended_us = overlay.now_us
    encoder.run_for(4_000_000)
    for viewer in viewers:  # one after the other
        assert first_after(overlay, viewer, mended_us) <= 3 * LOST_RETRY_US + 300_000
    for name in "bcde":
        assert name not in overlay.nodes[name].node.path_of("demo")[:-1]


def test_a_producer_says_goodbye_and_the_broadcast_goes_on_at_another() -> None:
    """By advice, and without: an ended one is asked for now and then while somebody waits."""
    for is_advised in (True, False):
        links = {**DIAMOND, "be": 10_000, "de": 20_000}
        overlay = Routed()
        overlay.join(links)
        overlay.start(overlay.config("e", links, ingests=demo_ingest(5)))
        overlay.paths["c"] = BOTH
        _, viewer = watched(overlay)
        overlay.nodes["a"].node.stop()
        overlay.run_for(1_000)
        overlay.kill("a")
        overlay.paths.clear()
        overlay.run_for(1_000_000)
        assert overlay.nodes["c"].node.state_of("demo") is BroadcastState.ENDED
        encoder = Encoder(overlay, "e", ssrc=0x777)
        began_us = overlay.now_us
        overlay.paths["c"] = (("b", "e"), ("d", "e"))
        if is_advised:
            overlay.nodes["c"].node.rehome("demo", overlay.paths["c"], began_us)
        encoder.run_for(500_000 if is_advised else 16_000_000)
        assert first_after(overlay, viewer, began_us) <= (100_000 if is_advised else 15_000_000)
        assert overlay.nodes["c"].node.path_of("demo")[0] == "e"


def test_what_has_moved_away_and_nobody_wants_is_let_go() -> None:
    overlay = diamond()
    overlay.start(overlay.config("c", DIAMOND, ingests=demo_ingest(3)))
    Encoder(overlay, "a").run_for(600_000)
    a, c = overlay.nodes["a"].node, overlay.nodes["c"].node
    c.reclaim("demo", c.new_tracks("demo"), overlay.now_us)
    a.rehome("demo", (("b", "c"), ("d", "c")), overlay.now_us)
    encoder = Encoder(overlay, "c", ssrc=0x777)
    encoder.run_for(LINGER_US + 3_000_000)
    assert broadcast_at(overlay, "a") is None
    assert [streams_of(overlay, name) for name in "abd"] == [0, 0, 0]
    a.reclaim("demo", a.new_tracks("demo"), overlay.now_us)  # and it can come back
    viewer = overlay.watch("a")
    Encoder(overlay, "a", ssrc=0x888).run_for(500_000)
    assert len(overlay.video(viewer)) >= 20


def test_a_broadcast_moves_to_behind_those_who_get_it_from_here() -> None:
    """Each of them waits for the node that waits for them, until it says that it has nothing."""
    overlay = diamond()
    overlay.start(overlay.config("c", DIAMOND, ingests=demo_ingest(3)))
    overlay.paths = {"b": (("a",),), "d": (("a",),)}
    _, at_b = watched(overlay, "b")
    at_d, at_a = overlay.watch("d"), overlay.watch("a")
    overlay.run_for(20_000_000)
    overlay.paths = {"b": (("c",), ("a", "d", "c")), "d": (("a", "b", "c"), ("c",))}
    c = overlay.nodes["c"].node
    c.reclaim("demo", c.new_tracks("demo"), overlay.now_us)
    began_us = overlay.now_us
    overlay.nodes["a"].node.rehome("demo", (("b", "c"), ("d", "c")), began_us)
    Encoder(overlay, "c", ssrc=0x777).run_for(3_000_000)
    for viewer in (at_a, at_b, at_d):
        assert first_after(overlay, viewer, began_us) <= 2_500_000
    assert overlay.nodes["a"].node.path_of("demo")[0] == "c"


def test_a_better_way_that_delivers_takes_over_before_its_answer_is_here() -> None:
    overlay = diamond()
    encoder, viewer = watched(overlay)
    lost = lose(overlay, Ok, 4, 3)
    overlay.nodes["c"].node.rehome("demo", BOTH[::-1], overlay.now_us)
    encoder.run_for(100_000)
    overlay.cut_link("bc")
    encoder.run_for(1_000_000)
    assert lost
    (switch,) = overlay.switches("c")
    assert (switch.reason, switch.before, switch.after) == ("link_down", "b", "d")
    assert switch.gap_us <= 40_000
    assert overlay.missing(viewer) == set()


def test_a_standby_knows_of_other_tracks_first() -> None:
    """Of two tracks one is replaced, and c hears of that over its second way alone."""
    overlay = diamond()
    encoder, viewer = watched(overlay)
    lost = lose(overlay, Ok, 2, 3)
    a = overlay.nodes["a"].node
    kept, other = a.tracks_of("demo")[0], a.new_tracks("demo")[1]
    a.reclaim("demo", (kept, other), overlay.now_us)
    encoder.run_for(200_000)
    assert lost
    standby = broadcast_at(overlay, "c").standby  # type: ignore[union-attr]
    assert standby is not None
    assert [track.stream_id for track in standby.tracks] == [kept.stream_id, other.stream_id]
    cut_us = overlay.now_us
    overlay.cut_link("bc")
    encoder.run_for(1_000_000)
    assert first_after(overlay, viewer, cut_us + 100_000) <= 200_000
    newest_us = max(time_us for time_us, to, _ in overlay.received if to == AUDIO_VIEWER)
    assert newest_us >= overlay.now_us - 50_000
    assert overlay.missing(viewer) == set()
