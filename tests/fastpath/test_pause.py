"""Viewers whose host refuses their packets, on real sockets: who pauses, and who goes on."""

from __future__ import annotations

import socket
import time

import pytest

from fastpath import Codec, Media, PortKind
from fastpath.events import ViewerPaused
from fastpath.stats import CursorStats
from rtp.rtcp.receiver_report import ReportBlock
from tests.support.edge import receiver_report
from tests.support.encoder import Encoder, index_of, is_key, number_of
from tests.support.worker import Worker, wait_until

pytestmark = pytest.mark.integration

FIRST_NUMBER = 65_530
FIRST_PAUSE_S = 1.0
HOSTS = ["127.0.0.1", "::1"]


def bound(host: str, port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    made.settimeout(5.0)
    return made


class Stage:
    """A running worker between one encoder and viewers at one host."""

    def __init__(self, host: str = "127.0.0.1", *, use_gso: bool = True) -> None:
        self.host = host
        self.worker = Worker(use_gso=use_gso)
        self.engine = self.worker.engine
        self.sender = bound("127.0.0.1")
        port, self.ingest = self.worker.open(PortKind.INGEST)
        self.streams = []
        for n in range(2):
            stream = self.engine.add_stream(
                stream_id=n + 1, media=Media.VIDEO, first_stream_seq=1, upstream=None
            )
            self.engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96 + n)
            self.streams.append(stream)
        viewers = bound(host)
        self.port_number = int(viewers.getsockname()[1])
        self.viewer_port = self.engine.open_port(PortKind.VIEWER, viewers.detach())
        self.encoder = Encoder()
        self.ssrcs: dict[int, int] = {}

    def add_viewer(self, port: int, *, rtcp: int | None = None, stream: int = 0) -> int:
        ssrc = 0x5000 + len(self.ssrcs)
        cursor = self.engine.add_viewer_cursor(
            stream=self.streams[stream],
            link=self.engine.add_viewer_link(rate_bps=10_000_000_000),
            port=self.viewer_port,
            address=(self.host, port),
            ssrc=ssrc,
            payload_type=100,
            first_sequence_number=FIRST_NUMBER,
            rtcp_address=None if rtcp is None else (self.host, rtcp),
        )
        self.ssrcs[cursor] = ssrc
        return cursor

    def open_viewer(self, port: int = 0) -> socket.socket:
        return bound(self.host, port)

    def closed_port(self) -> int:
        """One where nobody listens."""
        with self.open_viewer() as made:
            return int(made.getsockname()[1])

    def send(self, packets: list[bytes]) -> None:
        for packet in packets:
            self.sender.sendto(packet, self.ingest)

    def say_hello(self, viewer: socket.socket, cursor: int) -> None:
        """An RR from the viewer's host."""
        block = ReportBlock(self.ssrcs[cursor], 0, 0, 0, 0, 0, 0)
        viewer.sendto(receiver_report(block), (self.host, self.port_number))

    def stats(self, cursor: int) -> CursorStats:
        return self.engine.cursor_stats(cursor)

    def is_paused(self, cursor: int) -> bool:
        return self.stats(cursor).is_paused

    def pauses(self) -> list[int]:
        return [e.cursor for e in self.worker.take_events() if isinstance(e, ViewerPaused)]

    def __enter__(self) -> Stage:
        self.worker.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.worker.__exit__(None, None, None)
        self.sender.close()


def take(viewer: socket.socket, count: int) -> list[bytes]:
    got: list[bytes] = []
    try:
        while len(got) < count:
            got.append(viewer.recv(2048))
    except TimeoutError:
        pass
    return got


@pytest.mark.parametrize("use_gso", [True, False])
@pytest.mark.parametrize("host", HOSTS)
def test_one_pauses_and_the_others_lose_not_one_packet(host: str, use_gso: bool) -> None:
    with Stage(host, use_gso=use_gso) as stage:
        viewers = [stage.open_viewer() for _ in range(3)]
        nobodies = []
        for viewer in viewers:  # before and behind each one who listens stands one who does not
            nobodies.append(stage.add_viewer(stage.closed_port()))
            stage.add_viewer(int(viewer.getsockname()[1]))
        nobodies.append(stage.add_viewer(stage.closed_port()))
        got: list[list[bytes]] = [[] for _ in viewers]
        for _ in range(20):
            stage.send(stage.encoder.gop(10))
            for at, viewer in enumerate(viewers):
                got[at] += take(viewer, 10)
        for each in got:
            assert [index_of(data) for data in each] == list(range(200))
            assert [number_of(data) for data in each] == [
                (FIRST_NUMBER + n) & 0xFFFF for n in range(200)
            ]
        assert wait_until(lambda: all(stage.is_paused(cursor) for cursor in nobodies))
        assert wait_until(lambda: len(stage.pauses()) == len(nobodies))
        assert sorted(stage.pauses()) == sorted(nobodies)
        counted = stage.engine.verdicts()
        assert counted["send_refused"] == counted["send_would_block"] == 0
        assert counted["viewer_paused"] == len(nobodies)
        for cursor in nobodies:
            assert stage.stats(cursor).packets < 200
        for viewer in viewers:
            viewer.close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_report_ends_the_pause_at_a_key_frame_without_a_gap_in_numbers(host: str) -> None:
    with Stage(host) as stage:
        port = stage.closed_port()
        cursor = stage.add_viewer(port)
        stage.send(stage.encoder.gop(5))
        assert wait_until(lambda: stage.is_paused(cursor))
        sent = stage.stats(cursor).packets
        stage.send(stage.encoder.gop(5) + stage.encoder.gop(3))
        assert wait_until(lambda: stage.engine.stream_stats(stage.streams[0]).packets == 13)
        assert stage.stats(cursor).packets == sent
        with stage.open_viewer(port) as viewer:
            stage.say_hello(viewer, cursor)
            got = take(viewer, 3)
            stage.send(stage.encoder.other() + stage.encoder.gop(2))
            got += take(viewer, 3)
            assert is_key(got[0])
            assert [index_of(data) for data in got] == list(range(10, 16))
            assert [number_of(data) for data in got] == [
                (FIRST_NUMBER + sent + n) & 0xFFFF for n in range(6)
            ]
        assert stage.stats(cursor).paused_times == 1


def test_it_tries_again_by_itself_later_each_time_and_says_so_once() -> None:
    with Stage() as stage:
        port = stage.closed_port()
        cursor = stage.add_viewer(port)
        stage.send(stage.encoder.gop(3))
        start = time.monotonic()
        assert wait_until(lambda: stage.stats(cursor).paused_times == 1)
        sent = stage.stats(cursor).packets
        # A packet each: refused again after the first pause, which it ends by itself.
        assert wait_until(lambda: stage.stats(cursor).paused_times == 2)
        assert time.monotonic() - start >= FIRST_PAUSE_S
        assert stage.stats(cursor).packets > sent
        assert stage.pauses() == [cursor]
        sent = stage.stats(cursor).packets
        with stage.open_viewer(port) as viewer:
            got = take(viewer, 3)  # after twice the time
            assert time.monotonic() - start >= 3 * FIRST_PAUSE_S
            assert is_key(got[0])
            assert [number_of(data) for data in got] == [
                (FIRST_NUMBER + sent + n) & 0xFFFF for n in range(3)
            ]


def test_a_closed_rtcp_port_pauses_nobody() -> None:
    with Stage() as stage, stage.open_viewer() as viewer:
        cursor = stage.add_viewer(int(viewer.getsockname()[1]), rtcp=stage.closed_port())
        got: list[bytes] = []
        for _ in range(5):
            stage.send(stage.encoder.gop(10))
            got += take(viewer, 10)
        assert [index_of(data) for data in got] == list(range(50))
        stats = stage.stats(cursor)
        assert (stats.is_paused, stats.paused_times, stats.reports_sent) == (False, 0, 1)


def test_all_cursors_to_one_address_pause_and_no_other_of_that_host() -> None:
    with Stage() as stage, stage.open_viewer() as viewer:
        port = stage.closed_port()
        refused = [stage.add_viewer(port), stage.add_viewer(port)]
        kept = stage.add_viewer(int(viewer.getsockname()[1]))
        stage.send(stage.encoder.gop(4))
        assert wait_until(lambda: all(stage.is_paused(cursor) for cursor in refused))
        assert len(take(viewer, 4)) == 4
        assert not stage.is_paused(kept)


def test_a_paused_viewer_may_move_and_be_removed() -> None:
    with Stage() as stage:
        port, other = stage.closed_port(), stage.closed_port()
        cursor, removed = stage.add_viewer(port), stage.add_viewer(other)
        stage.send(stage.encoder.gop(3))
        assert wait_until(lambda: stage.is_paused(cursor) and stage.is_paused(removed))
        sent = stage.stats(cursor).packets
        stage.engine.remove_cursor(removed)
        second = Encoder(ssrc=0x77)
        stage.engine.move_viewer_cursor(cursor, stream=stage.streams[1], payload_type=101)
        for packet in second.gop(3):
            stage.send([packet[:1] + bytes([packet[1] & 0x80 | 97]) + packet[2:]])
        assert wait_until(lambda: stage.engine.stream_stats(stage.streams[1]).packets == 3)
        stage.engine.remove_stream(stage.streams[0])
        assert stage.is_paused(cursor)
        with stage.open_viewer(port) as viewer:
            stage.say_hello(viewer, cursor)
            got = take(viewer, 3)
            assert [data[12:] for data in got] == [second.sent[n][12:] for n in range(3)]
            assert [number_of(data) for data in got] == [
                (FIRST_NUMBER + sent + n) & 0xFFFF for n in range(3)
            ]
            assert {data[1] & 0x7F for data in got} == {101}
        assert not stage.is_paused(cursor)


def test_what_it_is_to_go_on_with_does_not_end_a_pause() -> None:
    with Stage() as stage:
        cursor = stage.add_viewer(stage.closed_port())
        stage.engine.switch_viewer_cursor(cursor, stream=stage.streams[1], payload_type=100)
        stage.send(stage.encoder.gop(3))
        assert wait_until(lambda: stage.is_paused(cursor))
        start = time.monotonic()
        other = [data[:1] + bytes([data[1] & 0x80 | 97]) + data[2:] for data in Encoder().gop(3)]
        stage.send(other)
        assert wait_until(lambda: stage.engine.stream_stats(stage.streams[1]).packets == 3)
        stage.send(stage.encoder.other())  # a turn later
        assert wait_until(lambda: stage.engine.stream_stats(stage.streams[0]).packets == 4)
        paused_times = stage.stats(cursor).paused_times
        if time.monotonic() - start < 0.8 * FIRST_PAUSE_S:  # else it may have ended by itself
            assert paused_times == 1
            assert stage.is_paused(cursor)
        assert wait_until(lambda: stage.stats(cursor).paused_times > 1)
