"""Whole nodes with real engines in virtual time: what viewers get, and when, whatever breaks."""

from __future__ import annotations

import itertools
import struct

import pytest

from relay.edge.description import describe, describe_viewer
from relay.edge.plain_rtp import Viewer
from relay.errors import RefusalCode, Refused
from relay.events import (
    BroadcastChanged,
    NeighbourDown,
    NeighbourKeyed,
    NeighbourUp,
    TableFull,
    ViewerLeft,
    ViewerStarted,
    ViewerTurnedAway,
)
from relay.metrics import new_registry
from relay.node import Node
from relay.series import exposition
from relay.slowpath.broadcast import LINGER_US
from relay.slowpath.subscription_events import BroadcastState
from relay.status import node_status, viewer_status
from rtp.sdp import parse
from tests.relay.encoder import FRAME_US, Encoder
from tests.relay.overlay import (
    AUDIO_VIEWER,
    ONE_WAY_US,
    SMALL,
    VIEWER,
    Overlay,
    Running,
    config_of,
    demo_ingest,
)

TO_PRODUCER = [{"stream": "*", "via": ["b", "a"]}]


def line(overlay: Overlay) -> tuple[Running, Running, Running]:
    """a - b - c, with `demo` at a; keyed and quiet."""
    overlay.connect(1, 2)
    overlay.connect(2, 3)
    nodes = start_a(overlay), start_b(overlay), start_c(overlay)
    overlay.run_for(1_000_000)
    return nodes


def start_a(overlay: Overlay) -> Running:
    return overlay.start(config_of("a", 1, {"b": 2}, ingests=demo_ingest(1)))


def start_b(overlay: Overlay) -> Running:
    paths = [{"stream": "*", "via": ["a"]}]
    return overlay.start(config_of("b", 2, {"a": 1, "c": 3}, paths=paths))


def start_c(overlay: Overlay, **parts: object) -> Running:
    return overlay.start(config_of("c", 3, {"b": 2}, **{"paths": TO_PRODUCER, **parts}))


def watch(overlay: Overlay, running: Running) -> Viewer:
    addresses = {"video": VIEWER, "audio": AUDIO_VIEWER}
    return running.node.add_viewer("demo", addresses, overlay.now_us)


def video_numbers(overlay: Overlay) -> list[int]:
    return [int.from_bytes(data[2:4], "big") for _, to, data in overlay.received if to == VIEWER]


def assert_no_gap(numbers: list[int]) -> None:
    assert numbers
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))


def states(running: Running) -> list[str]:
    return [event.state for _, event in running.events if isinstance(event, BroadcastChanged)]


def quiet_engine(node: Node) -> bool:
    memory = node.engine.memory()
    return memory.cursors[0] == memory.streams[0] == memory.viewer_links[0] == 0


def test_nodes_key_each_other_within_three_one_way_delays() -> None:
    overlay = Overlay()
    start_us = overlay.now_us
    nodes = line(overlay)
    for running in nodes:
        kinds = [type(event) for _, event in running.events]
        links = len(running.node.neighbours)
        assert sorted(kinds, key=str) == [NeighbourKeyed] * links + [NeighbourUp] * links
        assert {time_us for time_us, _ in running.events} == {start_us + 3 * ONE_WAY_US}
        for neighbour in running.node.neighbours.values():
            assert neighbour.handshake.state == "keyed"
            assert running.engine.link_stats(neighbour.link).rtt_us == 2 * ONE_WAY_US


def test_a_viewer_two_hops_away_gets_every_packet() -> None:
    overlay = Overlay()
    _, b, c = line(overlay)
    encoder = Encoder(overlay, "a")
    encoder.run_for(20 * FRAME_US)
    asked_us = overlay.now_us
    viewer = watch(overlay, c)
    encoder.run_for(2_000_000)
    started = [time_us for time_us, event in c.events if isinstance(event, ViewerStarted)]
    assert started == [asked_us + 4 * ONE_WAY_US]  # two hops there, two hops back
    numbers = video_numbers(overlay)
    assert_no_gap(numbers)
    first = next(data for _, to, data in overlay.received if to == VIEWER)
    assert first[12] == 0x65, "a viewer starts at a key frame"
    assert len(numbers) >= encoder.frame - 2
    status = viewer_status(c.node, viewer)
    assert status["path"] == ["a", "b", "c"]
    assert status["state"] == "live"
    assert viewer.legs["video"].ssrc == int.from_bytes(first[8:12], "big")
    assert b.node.path_of("demo") == ("a", "b")


def test_viewers_share_one_subscription_and_a_relay_serves_its_own_from_it() -> None:
    overlay = Overlay()
    a, b, c = line(overlay)
    encoder = Encoder(overlay, "a")
    for running in (c, c, b):
        watch(overlay, running)
        encoder.run_for(200_000)
    assert c.node.counters["sent_subscribe"] == 1
    assert b.node.counters["sent_subscribe"] == 1
    assert a.engine.memory().cursors[0] == 2
    started = b.of(ViewerStarted)
    assert len(started) == 1


def test_everything_goes_after_the_last_viewer_does() -> None:
    overlay = Overlay()
    a, b, c = line(overlay)
    encoder = Encoder(overlay, "a")
    viewer = watch(overlay, c)
    encoder.run_for(1_000_000)
    c.node.remove_viewer(viewer, overlay.now_us)
    c.node.remove_viewer(viewer, overlay.now_us)
    encoder.run_for(2 * LINGER_US + 200_000)
    assert quiet_engine(c.node)
    assert quiet_engine(b.node)
    assert a.engine.memory().cursors[0] == 0
    assert states(c) == ["live", "removed"]
    heard = len(overlay.received)
    encoder.run_for(200_000)
    assert len(overlay.received) == heard


def test_a_viewer_that_is_not_refreshed_expires() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    encoder = Encoder(overlay, "a")
    start_us = overlay.now_us
    viewer = watch(overlay, c)
    encoder.run_for(10_000_000)
    c.node.refresh_viewer(viewer, overlay.now_us)
    encoder.run_for(16_000_000)
    left = [(time_us, event) for time_us, event in c.events if isinstance(event, ViewerLeft)]
    assert left == [(start_us + 25_000_000, ViewerLeft(viewer.id, "demo", expired=True))]
    assert c.node.find_viewer(viewer.id) is None


def test_a_cut_link_is_lost_and_found() -> None:
    overlay = Overlay()
    _, b, c = line(overlay)
    encoder = Encoder(overlay, "a")
    viewer = watch(overlay, c)
    encoder.run_for(2_000_000)
    cut_us = overlay.now_us
    overlay.cut(1, 2)
    encoder.run_for(1_000_000)
    assert viewer_status(c.node, viewer)["state"] == "lost"
    lost_us = [t for t, e in c.events if e == BroadcastChanged("demo", "lost")]
    assert len(lost_us) == 1
    assert lost_us[0] - cut_us < 4 * 50_000 + 2 * ONE_WAY_US
    assert b.of(NeighbourDown) == [NeighbourDown("a")]
    overlay.mend(1, 2)
    encoder.run_for(2_000_000)
    assert states(b) == states(c) == ["live", "lost", "live"]
    assert viewer_status(c.node, viewer)["state"] == "live"
    assert b.of(NeighbourKeyed) == [NeighbourKeyed("a", False), NeighbourKeyed("c", False)]
    heard = len(overlay.received)
    encoder.run_for(200_000)
    assert len(overlay.received) == heard + 20


def test_a_relay_that_restarts_is_asked_again() -> None:
    overlay = Overlay()
    a, _, c = line(overlay)
    encoder = Encoder(overlay, "a")
    watch(overlay, c)
    encoder.run_for(2_000_000)
    overlay.kill("b")
    encoder.run_for(100_000)
    restart_us = overlay.now_us
    b = start_b(overlay)
    encoder.run_for(1_000_000)
    assert NeighbourKeyed("b", restarted=True) in c.of(NeighbourKeyed)
    assert NeighbourKeyed("b", restarted=True) in a.of(NeighbourKeyed)
    assert c.node.state_of("demo") is BroadcastState.LIVE
    assert b.node.state_of("demo") is BroadcastState.LIVE
    back_us = [t for t, _, _ in overlay.received if t > restart_us + 4 * ONE_WAY_US]
    assert back_us[0] - restart_us < 20 * ONE_WAY_US
    heard = len(overlay.received)
    encoder.run_for(200_000)
    assert len(overlay.received) == heard + 20


def test_a_producer_that_restarts_gets_its_viewers_back_and_their_rtp_goes_on() -> None:
    overlay = Overlay()
    a, _, c = line(overlay)
    encoder = Encoder(overlay, "a")
    viewer = watch(overlay, c)
    encoder.run_for(2_000_000)
    before = {media: leg.ssrc for media, leg in viewer.legs.items()}
    a_streams = {stream.track.stream_id for stream in a.node.streams.all}
    overlay.kill("a")
    overlay.run_for(500_000)
    assert c.node.state_of("demo") is BroadcastState.LOST
    a = start_a(overlay)
    again = Encoder(overlay, "a", ssrc=0x77)
    again.run_for(2_000_000)
    assert c.node.state_of("demo") is BroadcastState.LIVE
    assert a_streams.isdisjoint(stream.track.stream_id for stream in c.node.streams.all)
    assert len(c.node.streams.all) == 2
    assert {media: leg.ssrc for media, leg in viewer.legs.items()} == before
    for to, media, clock_rate in ((VIEWER, "video", 90_000), (AUDIO_VIEWER, "audio", 48_000)):
        packets = [(t, data) for t, destination, data in overlay.received if destination == to]
        assert {data[8:12] for _, data in packets} == {before[media].to_bytes(4, "big")}
        numbers = [int.from_bytes(data[2:4], "big") for _, data in packets]
        assert numbers == [(numbers[0] + n) & 0xFFFF for n in range(len(numbers))]
        # The encoder's RTP time began anew; the viewer's went on by the time that passed.
        gap = next(i for i in range(1, len(packets)) if packets[i][0] - packets[i - 1][0] > 300_000)
        assert len(packets) - gap > 50
        (left_us, last), (back_us, first) = packets[gap - 1 : gap + 1]
        step = int.from_bytes(first[4:8], "big") - int.from_bytes(last[4:8], "big")
        assert step & 0xFFFFFFFF == (back_us - left_us) * clock_rate // 1_000_000
        if media == "video":
            assert first[12] == 0x65


def test_a_producer_that_stops_ends_the_stream_and_may_come_back() -> None:
    overlay = Overlay()
    a, _, c = line(overlay)
    encoder = Encoder(overlay, "a")
    viewer = watch(overlay, c)
    encoder.run_for(1_000_000)
    a.node.stop()
    overlay.run_for(100_000)
    assert viewer_status(c.node, viewer)["state"] == "ended"
    overlay.kill("a")
    overlay.run_for(1_000_000)
    start_a(overlay)
    Encoder(overlay, "a").run_for(6_000_000)
    assert viewer_status(c.node, viewer)["state"] == "live"


def test_a_consumer_that_dies_is_let_go() -> None:
    overlay = Overlay()
    a, b, c = line(overlay)
    watch(overlay, c)
    overlay.run_for(1_000_000)
    assert b.engine.memory().cursors[0] == 2
    overlay.kill("c")
    overlay.run_for(20_000_000)
    assert quiet_engine(b.node)
    assert a.engine.memory().cursors[0] == 0


def test_a_consumer_that_restarts_is_let_go_at_once() -> None:
    overlay = Overlay()
    _, b, c = line(overlay)
    watch(overlay, c)
    overlay.run_for(1_000_000)
    overlay.kill("c")
    start_c(overlay)
    overlay.run_for(500_000)
    assert b.engine.memory().cursors[0] == 0


def test_streams_that_do_not_exist() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    viewer = c.node.add_viewer("nothing", {"video": VIEWER}, overlay.now_us)
    overlay.run_for(1_000_000)
    text = "a has no stream called nothing"
    turned_away = [ViewerTurnedAway(viewer.id, RefusalCode.NO_SUCH_STREAM, text)]
    assert c.of(ViewerTurnedAway) == turned_away
    assert quiet_engine(c.node)


def test_a_node_that_is_out_of_reach() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    overlay.cut(2, 3)
    viewer = watch(overlay, c)
    start_us = overlay.now_us
    overlay.run_for(10_000_000)
    ((time_us, event),) = [(t, e) for t, e in c.events if isinstance(e, ViewerTurnedAway)]
    assert time_us == start_us + 4_500_000
    assert event == ViewerTurnedAway(viewer.id, RefusalCode.TIME_OUT, "b did not answer")


def test_a_loop_of_paths_is_refused() -> None:
    overlay = Overlay()
    overlay.connect(1, 2)
    overlay.connect(2, 3)
    overlay.connect(1, 3)
    start_a(overlay)
    b = overlay.start(
        config_of("b", 2, {"c": 3}, paths=[{"stream": "*", "via": ["c", "x"]}]),
    )
    c = overlay.start(
        config_of("c", 3, {"b": 2}, paths=[{"stream": "*", "via": ["b", "x"]}]),
    )
    overlay.run_for(1_000_000)
    for running in (b, c):
        running.node.add_viewer("demo", {"video": VIEWER}, overlay.now_us)
    overlay.run_for(1_000_000)
    codes = [e.code for r in (b, c) for _, e in r.events if isinstance(e, ViewerTurnedAway)]
    assert codes == [RefusalCode.LOOP] * 2


def test_full_tables_turn_viewers_away() -> None:
    overlay = Overlay()
    overlay.connect(1, 2)
    overlay.connect(2, 3)
    start_a(overlay)
    start_b(overlay)
    c = start_c(overlay, limits={**SMALL, "viewers": 2, "cursors": 3})
    overlay.run_for(1_000_000)
    watch(overlay, c)
    second = watch(overlay, c)
    with pytest.raises(Refused) as raised:
        watch(overlay, c)
    assert raised.value.code is RefusalCode.FULL
    overlay.run_for(1_000_000)
    text = "c: no more cursors, the limit is 3"
    assert c.of(ViewerTurnedAway) == [ViewerTurnedAway(second.id, RefusalCode.FULL, text)]
    assert c.of(TableFull) == [TableFull("viewers"), TableFull("cursors")]
    assert c.engine.memory().cursors[0] == 2


def test_no_room_for_streams_is_said_and_nothing_is_kept() -> None:
    overlay = Overlay()
    overlay.connect(1, 2)
    overlay.connect(2, 3)
    start_a(overlay)
    b = start_b(overlay)
    c = start_c(overlay, limits={**SMALL, "streams": 1})
    overlay.run_for(1_000_000)
    viewer = watch(overlay, c)
    overlay.run_for(1_000_000)
    text = "c: no more streams, the limit is 1"
    assert c.of(ViewerTurnedAway) == [ViewerTurnedAway(viewer.id, RefusalCode.FULL, text)]
    assert quiet_engine(c.node)
    overlay.run_for(3_000_000)
    assert quiet_engine(b.node)


def test_reports_of_both_tracks_share_a_clock_and_a_name() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    viewer = watch(overlay, c)
    Encoder(overlay, "a").run_for(3_500_000)
    by_port: dict[int, list[tuple[int, bytes]]] = {}
    for time_us, (_, port), data in overlay.reports:
        by_port.setdefault(port, []).append((time_us, data))
    assert set(by_port) == {VIEWER[1] + 1, AUDIO_VIEWER[1] + 1}
    first_us = min(time_us for time_us, _, _ in overlay.received)
    origins = []
    for port, clock_rate in ((VIEWER[1] + 1, 90_000), (AUDIO_VIEWER[1] + 1, 48_000)):
        reports = by_port[port]
        assert 3 <= len(reports) <= 5
        assert reports[0][0] - first_us < 200_000
        for _, data in reports:
            assert (data[1], data[29]) == (200, 202)
            assert viewer.cname.encode() in data
            ntp, timestamp = struct.unpack(">QI", data[8:20])
            origins.append(ntp / 2**32 - timestamp / clock_rate)
    # RTP time 0 was the same moment for both, by every report.
    assert max(origins) - min(origins) < 1e-4


def test_a_viewer_may_live_until_it_is_removed() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    addresses = {"video": VIEWER}
    kept = c.node.add_viewer("demo", addresses, overlay.now_us, rtcp="none", expiry_us=None)
    c.node.add_viewer("demo", addresses, overlay.now_us, rtcp="none", expiry_us=2_000_000)
    Encoder(overlay, "a").run_for(20_000_000)
    assert list(c.node.edge.viewers) == [kept]
    assert viewer_status(c.node, kept)["expires_s"] is None
    assert overlay.reports == []


def test_descriptions_for_players() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    viewer = watch(overlay, c)
    overlay.run_for(200_000)
    addresses = {"video": VIEWER, "audio": AUDIO_VIEWER}
    text = describe("demo", c.node.tracks_of("demo"), addresses, "mux")
    video, audio = parse(text).media
    assert (video.port, audio.port, video.address) == (VIEWER[1], AUDIO_VIEWER[1], VIEWER[0])
    assert (video.formats[0].codec, audio.formats[0].channels) == ("H264", 2)
    assert video.formats[0].fmtp == "packetization-mode=1"
    assert video.rtcp_mux
    assert video.ssrc is None
    video, audio = parse(describe_viewer(viewer)).media
    assert (video.ssrc, audio.ssrc) == tuple(leg.ssrc for leg in viewer.legs.values())
    assert video.cname == audio.cname == viewer.cname
    assert not video.rtcp_mux
    only_audio = describe("demo", c.node.tracks_of("demo"), {"audio": AUDIO_VIEWER}, "next")
    assert [medium.media for medium in parse(only_audio).media] == ["audio"]


def test_bad_requests() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    bad = [
        {"video": ("::1", 5000)},
        {"audio": ("10.0.9.9", 0)},
        {"video": ("10.0.9.9", 65_535)},
        {"video": ("10.0.9.9", 5_004), "audio": ("10.0.9.9", 5_005)},
    ]
    for addresses in bad:
        with pytest.raises(Refused) as raised:
            c.node.add_viewer("demo", addresses, overlay.now_us)
        assert raised.value.code is RefusalCode.BAD_REQUEST
    assert c.node.find_viewer("not hex") is None


@pytest.mark.parametrize("name", ["", "two words", "../x", "x" * 65, "x\n", "\N{SNOWMAN}"])
def test_a_name_that_no_message_can_carry_is_refused_at_once(name: str) -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    with pytest.raises(Refused, match="1 to 64 letters") as raised:
        c.node.add_viewer(name, {"video": VIEWER}, overlay.now_us)
    assert raised.value.code is RefusalCode.BAD_REQUEST
    assert not c.node.edge.viewers


def test_status_and_metrics_of_a_serving_node() -> None:
    overlay = Overlay()
    _, _, c = line(overlay)
    viewer = watch(overlay, c)
    Encoder(overlay, "a").run_for(1_000_000)
    status = node_status(c.node, 1_500_000)
    assert status["uptime_s"] == 1.5
    assert status["viewers"] == [viewer_status(c.node, viewer)]
    text = "".join(exposition(c.node, new_registry(c.node)))
    for sample in (
        'overlane_node{name="c",node_id="3"} 1.0',
        "overlane_viewers 1.0",
        'overlane_link_is_up{neighbour="b"} 1.0',
        'overlane_link_rtt_seconds{neighbour="b"} 0.04',
        'overlane_stream_packets_total{media="video",stream="demo"} ',
        'overlane_memory_used{table="viewer_links"} 1.0',
        'overlane_engine_total{what="accepted"} ',
        'overlane_control_total{what="sent_subscribe"} 1.0',
    ):
        assert sample in text, sample


def test_the_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        overlay = Overlay(seed=5)
        _, _, c = line(overlay)
        watch(overlay, c)
        Encoder(overlay, "a").run_for(500_000)
        runs.append((overlay.received, c.events))
    assert runs[0] == runs[1]
