"""A worker in its own thread, on loopback sockets, far past its rate (about 4 s).

The second of two workers gets more video than it can send to a hundred viewers, and on the same
socket audio, probes and control messages.
"""

from __future__ import annotations

import socket
import time

import pytest

from fastpath import Codec, Media, PortKind
from fastpath.events import ControlReceived, LinkDown, OverloadBegan
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.worker import Pair, send_segments, udp_socket, wait_until

pytestmark = pytest.mark.integration

VIEWERS = 100
PACKET_BYTES = 1200
BURST = 50  # packets, one of them a key frame
BURSTS_A_STEP = 3
STEP_S, LOAD_S = 0.002, 1.5
AUDIO_STEPS = 10  # every 20 ms


def burst(first: int) -> bytes:
    packets = []
    for number in range(first, first + BURST):
        head = key_slice() if number == first else other_slice()
        body = head + bytes(PACKET_BYTES - 12 - len(head))
        packets.append(rtp(number, number * 3000, body, marker=True))
    return b"".join(packets)


class Loaded(Pair):
    """Video to many viewers whose packets nobody reads, audio to one who listens."""

    def __init__(self, nobody: socket.socket, listener: socket.socket) -> None:
        super().__init__()
        audio = {"stream_id": 0xA0D10, "media": Media.AUDIO, "first_stream_seq": 0xFFFFFFF0}
        first, second = self.first.engine, self.second.engine
        self.first_audio = first.add_stream(**audio, upstream=None, clock_rate=48_000)  # type: ignore[arg-type]
        self.second_audio = second.add_stream(**audio, upstream=self.up, clock_rate=48_000)  # type: ignore[arg-type]
        first.add_cursor(stream=self.first_audio, link=self.down)
        port, self.audio_ingest = self.first.open(PortKind.INGEST)
        first.set_ingest(port, stream=self.first_audio, codec=Codec.OPUS, payload_type=111)
        for _ in range(VIEWERS):
            self.add_viewer(nobody.getsockname())
        second.add_viewer_cursor(
            stream=self.second_audio,
            link=second.add_viewer_link(rate_bps=1_000_000),
            port=self.viewer_port,
            address=listener.getsockname(),
            ssrc=1,
            payload_type=111,
            first_sequence_number=65_530,
        )
        self.video_sent = self.audio_sent = self.controls_sent = 0
        self.longest_command_s = 0.0

    def load(self, sender: socket.socket) -> None:
        """Too much video, with a packet of audio, a control message and a command each 20 ms."""
        steps = 0
        bursts = [burst(first) for first in range(0, 65_536 - BURST, BURST)]
        end = time.monotonic() + LOAD_S
        while time.monotonic() < end:
            for _ in range(BURSTS_A_STEP):
                data = bursts[self.video_sent // BURST % len(bursts)]
                send_segments(sender, data, PACKET_BYTES, self.ingest)
                self.video_sent += BURST
            if steps % AUDIO_STEPS == 0:
                self.say(sender)
                self.command()
            steps += 1
            time.sleep(STEP_S)

    def say(self, sender: socket.socket) -> None:
        """One packet of audio, one control message."""
        number = 65_500 + self.audio_sent
        data = rtp(number, 960 * number, b"\xfc" + bytes(60), payload_type=111, ssrc=9)
        sender.sendto(data, self.audio_ingest)
        self.audio_sent += 1
        self.first.engine.send_control(self.down, b"hello")
        self.controls_sent += 1

    def command(self) -> None:
        """How long a running worker takes to apply one."""
        engine, start = self.second.engine, time.monotonic()
        cursor = engine.add_cursor(stream=self.second_audio, link=self.up)
        assert wait_until(lambda: any(getattr(e, "cursor", None) == cursor for e in self.news()))
        engine.remove_cursor(cursor)
        self.longest_command_s = max(self.longest_command_s, time.monotonic() - start)

    def news(self) -> list[object]:
        return list(self.second.take_events())

    def shed(self) -> dict[str, int]:
        verdicts = self.second.engine.verdicts().items()
        return {name: count for name, count in verdicts if name.startswith("shed_") and count}


def test_a_worker_far_past_its_rate_keeps_its_wits() -> None:
    with (
        udp_socket() as sender,
        udp_socket() as nobody,
        udp_socket() as listener,
        Loaded(nobody, listener) as pair,
    ):
        pair.load(sender)
        second = pair.second.engine
        assert any(isinstance(event, OverloadBegan) for event in pair.news())
        assert pair.shed().get("shed_video", 0) > 0

        # Audio is whole, and so is control; nobody took the link for dead.
        for _ in range(5):
            pair.say(sender)
            time.sleep(0.02)
        assert wait_until(lambda: second.stream_stats(pair.second_audio).packets == pair.audio_sent)
        assert "shed_audio" not in pair.shed()

        def controls() -> int:
            return sum(isinstance(event, ControlReceived) for event in pair.news())

        assert wait_until(lambda: controls() == pair.controls_sent)
        assert not any(isinstance(event, LinkDown) for event in pair.news())
        assert second.verdicts()["events_lost"] == 0
        assert pair.longest_command_s < 1.0

        # What came in was put into a ring or is counted as shed.
        def is_settled() -> bool:
            stats, counted = second.link_stats(pair.up), second.verdicts()
            media = counted["accepted"] + counted["accepted_late"] + sum(pair.shed().values())
            unchecked = sum(n for name, n in pair.shed().items() if "unchecked" in name)
            other = ("control_taken", "probe_taken", "feedback_taken", "hello_taken")
            return stats.received_packets + unchecked == media + sum(counted[n] for n in other)

        assert wait_until(is_settled)

        # A second later there is no trace of it.
        assert wait_until(lambda: second.overload().step == 0, 5)
        before = pair.shed()
        for first in range(0, 500, BURST):
            send_segments(sender, burst(first)[: 5 * PACKET_BYTES], PACKET_BYTES, pair.ingest)
            time.sleep(0.02)
        assert sum(pair.shed().values()) - sum(before.values()) <= 5
