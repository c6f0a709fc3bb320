"""Viewers that go on with another broadcast or another bitrate: whole nodes in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from lab.pictures import TEXT, Pictures, in_order, piece_of, undecodable
from relay.edge.plain_rtp import Viewer
from relay.errors import RefusalCode, Refused
from relay.events import SwitchRefused, VersionChanged, ViewerSwitched, ViewerTurnedAway
from relay.viewer_moves import ViewerMoves
from tests.relay.overlay import AUDIO_VIEWER, SMALL, VIEWER, Overlay, Running, config_of

FRAME_US = 40_000
GOP = 25
VIDEO = {"kind": "video", "codec": "H264", "payload_type": 96, "clock_rate": 90_000}
AUDIO = {"kind": "audio", "codec": "opus", "payload_type": 111, "clock_rate": 48_000}
BITRATES = (1_600_000, 400_000)


def ingest(
    node_id: int, name: str, port: int, *, versions: bool = False, low_type: int = 96
) -> dict[str, Any]:
    host = f"10.0.0.{node_id}"
    tracks = [{**VIDEO, "listen": f"{host}:{port}"}, {**AUDIO, "listen": f"{host}:{port + 2}"}]
    if versions:
        tracks[0]["bitrate_bps"] = BITRATES[0]
        low = {"listen": f"{host}:{port + 4}", "version": 1, "bitrate_bps": BITRATES[1]}
        tracks.append({**VIDEO, **low, "payload_type": low_type})
    return {"name": name, "tracks": tracks}


class Stage:
    """a, where broadcasts start, and b, where viewers are. Each broadcast's frames say whose."""

    def __init__(
        self, *, versions: bool = False, low_type: int = 96, config: dict[str, Any] | None = None
    ) -> None:
        parts = {"limits": SMALL | {"ports": 16, "streams": 32}, **(config or {})}
        self.overlay = Overlay(seed=7)
        self.overlay.connect(1, 2)
        one = ingest(1, "one", 5_004, versions=versions, low_type=low_type)
        ingests = [one, ingest(1, "two", 5_014)]
        other = {**VIDEO, "codec": "VP8", "listen": "10.0.0.1:5024"}
        ingests.append({"name": "other-codec", "tracks": [other]})
        self.a = self.overlay.start(config_of("a", 1, {"b": 2}, ingests=ingests, **parts))
        paths = [{"stream": "*", "via": ["a"]}]
        self.b = self.overlay.start(config_of("b", 2, {"a": 1}, paths=paths, **parts))
        self.encoders = {
            name: Pictures(first_timestamp=n << 28, ssrc=n + 1, name=name.replace(".", "-"))
            for n, name in enumerate(("one", "two", "one.1"))
        }
        self.encoders["one.1"].payload_type = low_type
        self.frame = 0
        self.overlay.run_for(500_000)

    def play(self, duration_us: int, *, silent: tuple[str, ...] = ()) -> None:
        overlay = self.overlay
        end_us = overlay.now_us + duration_us
        while overlay.now_us < end_us:
            for name, pictures in self.encoders.items():
                port = self.a.node.ports.ingests.get((name, "video"))
                if port is None or name in silent:
                    continue
                place = {"one": 0, "two": 10, "one.1": 0}[name]
                kind = "K" if (self.frame - place) % GOP == 0 else "P"
                rate = BITRATES[1] if name == "one.1" else BITRATES[0]
                size = rate * FRAME_US // 8_000_000
                for packet in pictures.frame(
                    kind, size * (3 if kind == "K" else 1), overlay.now_us
                ):
                    self.a.due.append((port, ("10.0.8.8", 40_000), packet))
            for n, name in enumerate(("one", "two")):
                sound = bytes([0x80, 111]) + (self.frame & 0xFFFF).to_bytes(2)
                sound += (
                    (self.frame * 1_920).to_bytes(4) + (99 + n).to_bytes(4) + b"\x78" + bytes(60)
                )
                port = self.a.node.ports.ingests[name, "audio"]
                self.a.due.append((port, ("10.0.8.8", 40_001 + n), sound + name.encode()))
            self.frame += 1
            overlay.run_for(FRAME_US)

    def add_viewer(self, running: Running, stream: str = "one") -> Viewer:
        addresses = {"video": VIEWER, "audio": AUDIO_VIEWER}
        return running.node.add_viewer(stream, addresses, self.overlay.now_us, expiry_us=None)

    def media(self, address: tuple[str, int]) -> list[tuple[int, bytes]]:
        return [(at_us, data) for at_us, to, data in self.overlay.received if to == address]


def sender_of(stage: Stage, packet: bytes) -> str:
    """Whose packet it is."""
    name = packet[14 + TEXT :].split(b".", 1)[0].decode().replace("-", ".")
    assert name in stage.encoders
    return name


def check_seamless(stage: Stage) -> list[str]:
    """Numbers and time go on, no gap is longer than a frame, nothing undecodable; whose frames
    came, each run once."""
    got = [data for _, data in stage.media(VIEWER)]
    numbers = [int.from_bytes(data[2:4]) for data in got]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
    assert len({data[8:12] for data in got}) == 1
    stamps = [int.from_bytes(data[4:8]) for data in got]
    steps = [(b - a) & 0xFFFFFFFF for a, b in pairwise(stamps)]
    assert max(steps) <= 2 * 90_000 * FRAME_US // 1_000_000
    times = [at_us for at_us, _ in stage.media(VIEWER)]
    assert max(b - a for a, b in pairwise(times)) <= 2 * FRAME_US
    runs: list[tuple[str, list[bytes]]] = []
    for data in got:
        name = sender_of(stage, data)
        if not runs or runs[-1][0] != name:
            runs.append((name, []))
        runs[-1][1].append(data)
    for name, packets in runs:
        pieces = [piece_of(data) for data in packets]
        assert in_order(pieces)
        assert pieces[0].kind == "K"
        assert undecodable(pieces, stage.encoders[name].frames) == []
    return [name for name, _ in runs]


@pytest.mark.parametrize("at", ["a", "b"])
def test_a_viewer_switches_to_another_broadcast(at: str) -> None:
    stage = Stage()
    running = stage.a if at == "a" else stage.b
    viewer = stage.add_viewer(running)
    stage.play(2_300_000)
    running.node.switch_viewer(viewer, "two", stage.overlay.now_us)
    stage.play(3_000_000)
    assert check_seamless(stage) == ["one", "two"]
    assert running.of(ViewerSwitched) == [ViewerSwitched(viewer.id, "two", "one")]
    assert viewer.broadcast == "two"
    sounds = [data for _, data in stage.media(AUDIO_VIEWER)]
    assert [data[-3:] for data in sounds if data[-3:] == b"two"] != []
    numbers = [int.from_bytes(data[2:4]) for data in sounds]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
    last_one = max(n for n, data in enumerate(sounds) if data[-3:] == b"one")
    first_two = min(n for n, data in enumerate(sounds) if data[-3:] == b"two")
    assert first_two == last_one + 1
    # What it left is let go of.
    stage.play(3_000_000)
    if at == "b":
        assert running.node.state_of("one").value == "ended"
    assert running.node.subscriptions.find("two").viewers == {viewer.number: True}  # type: ignore[union-attr]
    running.node.switch_viewer(viewer, "one", stage.overlay.now_us)
    stage.play(3_000_000)
    assert check_seamless(stage) == ["one", "two", "one"]


def test_what_cannot_be_had_leaves_it_where_it_is() -> None:
    stage = Stage()
    viewer = stage.add_viewer(stage.b)
    stage.play(1_500_000)
    stage.b.node.switch_viewer(viewer, "three", stage.overlay.now_us)
    stage.play(1_000_000)
    (refused,) = stage.b.of(SwitchRefused)
    assert isinstance(refused, SwitchRefused)
    assert (refused.stream, refused.code) == ("three", RefusalCode.NO_SUCH_STREAM)
    assert (viewer.broadcast, viewer.next) == ("one", None)
    stage.b.node.switch_viewer(viewer, "other-codec", stage.overlay.now_us)
    stage.play(1_000_000)
    refused = stage.b.of(SwitchRefused)[-1]
    assert isinstance(refused, SwitchRefused)
    assert (refused.code, viewer.next) == (RefusalCode.UNSUPPORTED, None)
    assert check_seamless(stage) == ["one"]
    with pytest.raises(Refused, match="name"):
        stage.b.node.switch_viewer(viewer, "a/b", stage.overlay.now_us)
    waiting = stage.b.node.add_viewer("four", {"video": VIEWER}, stage.overlay.now_us)
    with pytest.raises(Refused, match="not sent anything yet"):
        stage.b.node.switch_viewer(waiting, "one", stage.overlay.now_us)


def test_it_may_change_its_mind_and_it_may_leave() -> None:
    stage = Stage()
    viewer = stage.add_viewer(stage.b)
    stage.play(1_800_000)
    stage.b.node.switch_viewer(viewer, "two", stage.overlay.now_us)
    stage.play(80_000)
    stage.b.node.switch_viewer(viewer, "one", stage.overlay.now_us)
    stage.play(3_000_000)
    assert check_seamless(stage) == ["one"]
    stage.b.node.switch_viewer(viewer, "two", stage.overlay.now_us)
    stage.play(80_000)
    stage.b.node.remove_viewer(viewer, stage.overlay.now_us)
    stage.play(3_000_000)
    assert stage.b.engine.memory().cursors[0] == 0
    assert not stage.b.node.subscriptions.broadcasts


def test_where_no_key_frame_comes_it_is_moved_in_the_end() -> None:
    """The other encoder has fallen silent: what is held of it is all there is."""
    stage = Stage()
    viewer = stage.add_viewer(stage.a)
    stage.play(1_500_000)
    stage.a.node.switch_viewer(viewer, "two", stage.overlay.now_us)
    stage.play(7_000_000, silent=("two",))
    assert viewer.broadcast == "two"
    names = [sender_of(stage, data) for _, data in stage.media(VIEWER)]
    assert names[-1] == "two"


def test_the_broadcast_that_it_leaves_ends_before_it_could() -> None:
    stage = Stage()
    viewer = stage.add_viewer(stage.b)
    other = stage.b.node.add_viewer("two", {}, stage.overlay.now_us, expiry_us=None)
    stage.play(1_500_000)
    stage.b.node.switch_viewer(viewer, "two", stage.overlay.now_us)
    stage.b.node.subscriptions.on_streams_refused("one", "no room")
    stage.b.node.handle_timer(stage.overlay.now_us)
    stage.play(2_000_000)
    assert viewer.broadcast == "two"
    assert stage.b.of(ViewerTurnedAway) == []
    assert sender_of(stage, stage.media(VIEWER)[-1][1]) == "two"
    assert other.broadcast == "two"


def set_rate(stage: Stage, viewer: Viewer, rate_bps: int) -> None:
    assert viewer.link is not None
    stage.b.node.engine.set_link_rate(viewer.link, rate_bps)


def test_a_slow_viewer_goes_down_a_version_and_comes_back() -> None:
    """Its link carries what is set: no controller has to find that out first."""
    stage = Stage(versions=True, config={"rate": {"viewers": {"controller": "fixed"}}})
    viewer = stage.add_viewer(stage.b)
    stage.play(3_000_000)
    assert stage.b.node.streams.of("one.1") == []  # nobody here needed it
    set_rate(stage, viewer, 800_000)
    stage.play(8_000_000)
    slow_until_us = stage.overlay.now_us
    changes = [(t, e) for t, e in stage.b.events if isinstance(e, VersionChanged)]
    assert [(e.version, e.bitrate_bps) for _, e in changes] == [(1, BITRATES[1])]
    assert viewer.version == 1
    assert viewer.wished_bps == round(1.15 * BITRATES[0])  # which its link is probed for
    assert [s.track.media for s in stage.b.node.streams.of("one.1")] == ["video"]
    set_rate(stage, viewer, 20_000_000)
    stage.play(5_000_000)
    back = [t for t, e in stage.b.events if isinstance(e, VersionChanged) and e.version == 0]
    assert len(back) == 1
    assert back[0] - slow_until_us <= 5_000_000
    assert viewer.wished_bps == 0
    got = [data for _, data in stage.media(VIEWER)]
    numbers = [int.from_bytes(data[2:4]) for data in got]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
    names = [sender_of(stage, data) for data in got]
    assert [a for a, b in pairwise([*names, ""]) if a != b] == ["one", "one.1", "one"]
    sounds = stage.media(AUDIO_VIEWER)
    heard = [int.from_bytes(data[2:4]) for _, data in sounds]
    assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(heard))
    stage.play(8_000_000)
    assert stage.b.node.streams.of("one.1") == []


def test_a_viewer_keeps_the_payload_type_that_it_was_told() -> None:
    """Its RTX is of that one as well (RFC 4588 8.1: apt)."""
    stage = Stage(versions=True, low_type=97, config={"rate": {"viewers": {"controller": "fixed"}}})
    viewer = stage.add_viewer(stage.b)
    stage.play(3_000_000)
    set_rate(stage, viewer, 800_000)
    stage.play(6_000_000)
    assert viewer.version == 1
    stage.play(1_000_000, silent=("one.1",))
    set_rate(stage, viewer, 20_000_000)
    stage.play(6_000_000)
    assert viewer.version == 0
    got = [data for _, data in stage.media(VIEWER)]
    assert {sender_of(stage, data) for data in got} == {"one", "one.1"}
    assert {data[1] & 0x7F for data in got} == {96}
    assert viewer.legs["video"].payload_type == 96


def test_a_version_that_ends_puts_its_viewers_back() -> None:
    stage = Stage(versions=True)
    viewer = stage.add_viewer(stage.b)
    stage.play(2_000_000)
    set_rate(stage, viewer, 800_000)
    stage.play(5_000_000)
    assert viewer.version == 1
    stage.b.node.subscriptions.on_streams_refused("one.1", "no room")
    stage.b.node.handle_timer(stage.overlay.now_us)
    set_rate(stage, viewer, 20_000_000)
    stage.play(2_000_000)
    assert viewer.version == 0
    assert sender_of(stage, stage.media(VIEWER)[-1][1]) == "one"
    stage.b.node.remove_viewer(viewer, stage.overlay.now_us)
    stage.play(3_000_000)
    assert stage.b.engine.memory().cursors[0] == 0


def on_its_way_back() -> tuple[Stage, Viewer]:
    """A viewer that is sent version 1, and waits for a key frame of version 0."""
    stage = Stage(versions=True, config={"rate": {"viewers": {"controller": "fixed"}}})
    viewer = stage.add_viewer(stage.b)
    stage.play(2_000_000)
    set_rate(stage, viewer, 800_000)
    stage.play(5_000_000)
    assert viewer.version == 1
    set_rate(stage, viewer, 20_000_000)
    for _ in range(200):
        stage.play(FRAME_US, silent=("one",))
        if viewer.next is not None and viewer.next.stream is not None:
            return stage, viewer
    raise AssertionError("it never went back")


def test_a_version_that_ends_on_its_viewers_way_back_moves_it_once() -> None:
    stage, viewer = on_its_way_back()
    stage.b.node.subscriptions.on_streams_refused("one.1", "no room")
    stage.b.node.handle_timer(stage.overlay.now_us)
    stage.play(8_000_000)
    assert (viewer.version, viewer.next) == (0, None)
    got = [data for _, data in stage.media(VIEWER)]
    last = max(n for n, data in enumerate(got) if sender_of(stage, data) == "one.1")
    assert {sender_of(stage, data) for data in got[last + 1 :]} == {"one"}
    assert in_order([piece_of(data) for data in got[last + 1 :]])
    stage.b.node.remove_viewer(viewer, stage.overlay.now_us)
    stage.play(3_000_000)
    assert stage.b.engine.memory().cursors[0] == 0
    assert not stage.b.node.subscriptions.broadcasts


def test_a_broadcast_that_ends_turns_away_who_is_on_its_way_back() -> None:
    stage, viewer = on_its_way_back()
    stage.b.node.subscriptions.on_streams_refused("one", "no room")
    stage.b.node.handle_timer(stage.overlay.now_us)
    stage.play(3_000_000)
    (away,) = stage.b.of(ViewerTurnedAway)
    assert isinstance(away, ViewerTurnedAway)
    assert away.viewer == viewer.id
    assert stage.b.engine.memory().cursors[0] == 0
    assert not stage.b.node.subscriptions.broadcasts


def test_many_who_lag_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(versions=True, config={"rate": {"viewers": {"controller": "fixed"}}})
    viewers = [stage.add_viewer(stage.b) for _ in range(5)]
    stage.play(2_000_000)
    monkeypatch.setattr("relay.viewer_moves.MOST_AT_ONCE", 2)
    looks: list[int] = []
    look = ViewerMoves._look

    def note(moves: ViewerMoves, number: int, now_us: int) -> None:
        looks.append(now_us)
        look(moves, number, now_us)

    monkeypatch.setattr(ViewerMoves, "_look", note)
    for viewer in viewers:
        set_rate(stage, viewer, 800_000)
    stage.play(6_000_000)
    assert [viewer.version for viewer in viewers] == [1] * 5
    assert max(looks.count(at_us) for at_us in looks) == 2


def test_versions_are_left_alone_if_so_configured() -> None:
    stage = Stage(versions=True, config={"versions": {"enabled": False}})
    viewer = stage.add_viewer(stage.b)
    stage.play(2_000_000)
    set_rate(stage, viewer, 800_000)
    stage.play(4_000_000)
    assert viewer.version == 0
