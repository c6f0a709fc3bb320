"""Past its rate: what does a worker deliver, how soon does it answer, when is it itself again?

One worker in its own thread gets video of several streams and audio on loopback sockets, for many
viewers whose packets nobody reads. First the rate is searched at which nothing is shed or dropped.
Then, for each share of it: a load of some seconds, in which commands are timed (an added cursor, to
its answer), and a calm at a third of the rate, in which the time to the last packet that is shed
is taken. JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import threading
import time
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.support.environment import environment
from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import CursorStarted

UDP_SEGMENT = 103  # linux/udp.h
PACKET_BYTES = 1200
FRAME_PACKETS = 10
GOP_FRAMES = 15
AUDIO_S, COMMAND_S, LOOK_S = 0.02, 0.02, 0.01
KEY = bytes(range(16))


class Frames:
    """One encoder's access units, each as one buffer of equal packets; numbers wrap."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.number, self.frame = 65_000, 0

    def next(self) -> bytes:
        kind = 0x65 if self.frame % GOP_FRAMES == 0 else 0x41
        timestamp = self.frame * 3000 & 0xFFFFFFFF
        packets = []
        for at in range(FRAME_PACKETS):
            marker = 0x80 if at == FRAME_PACKETS - 1 else 0
            head = struct.pack(
                ">BBHII", 0x80, marker | 96, self.number & 0xFFFF, timestamp, self.ssrc
            )
            slice_ = bytes((kind, 0x88 if at == 0 else 0x40))
            packets.append(head + slice_ + bytes(PACKET_BYTES - 14))
            self.number += 1
        self.frame += 1
        return b"".join(packets)


class Bench:
    def __init__(self, streams: int, viewers: int) -> None:
        self.engine = Engine(
            streams=streams + 1, cursors=(streams + 1) * viewers + 8, viewer_links=viewers, ports=64
        )
        self.open: list[socket.socket] = []
        self.sender = self._socket()
        sink = self._socket()
        self.sink = sink.getsockname()
        engine = self.engine
        viewer_port = engine.open_port(PortKind.VIEWER, self._socket().detach())
        overlay = engine.open_port(PortKind.OVERLAY, self._socket().detach())
        self.link = engine.add_link(
            port=overlay, address=self.sink, peer_node=2, hello_key=KEY, rate_bps=10**9
        )
        links = [engine.add_viewer_link(rate_bps=10**11) for _ in range(viewers)]
        self.videos = []
        for n in range(streams + 1):
            is_audio = n == streams
            stream = engine.add_stream(
                stream_id=(n + 1) * 2_654_435_761 & 0xFFFFFFFF,
                media=Media.AUDIO if is_audio else Media.VIDEO,
                first_stream_seq=(1 << 32) - 1000,
                upstream=None,
                clock_rate=48_000 if is_audio else 90_000,
            )
            ingest = self._socket()
            address = ingest.getsockname()
            codec, payload_type = (Codec.OPUS, 111) if is_audio else (Codec.H264, 96)
            port = engine.open_port(PortKind.INGEST, ingest.detach())
            engine.set_ingest(port, stream=stream, codec=codec, payload_type=payload_type)
            for at, link in enumerate(links):
                engine.add_viewer_cursor(
                    stream=stream,
                    link=link,
                    port=viewer_port,
                    address=self.sink,
                    ssrc=n * viewers + at + 1,
                    payload_type=payload_type,
                    first_sequence_number=0,
                )
            if is_audio:
                self.audio, self.audio_to = stream, address
            else:
                self.videos.append((Frames(n + 1), address))
        self.turns = cycle(self.videos)
        self.audio_sent = 0
        self.worker = threading.Thread(target=engine.run, daemon=True)
        self.worker.start()
        while not engine.is_running:
            time.sleep(0.01)

    def _socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.bind(("127.0.0.1", 0))
        self.open.append(made)
        return made

    def say(self) -> None:
        """A packet of audio."""
        number = 65_000 + self.audio_sent
        head = struct.pack(">BBHII", 0x80, 111, number & 0xFFFF, number * 960 & 0xFFFFFFFF, 0xA0D10)
        self.sender.sendto(head + b"\xfc" + bytes(80), self.audio_to)
        self.audio_sent += 1

    def run(self, seconds: float, pps: float, answers: list[float] | None = None) -> dict[str, Any]:
        """Send at a rate; what was sent, and when something was shed last."""
        control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", PACKET_BYTES))]
        began = time.perf_counter()
        sent, last_shed_s = 0, 0.0
        audio_s = command_s = look_s = 0.0
        shed = sum(self.shed().values())
        while (passed := time.perf_counter() - began) < seconds:
            if passed >= audio_s:
                audio_s += AUDIO_S
                self.say()
            if answers is not None and passed >= command_s:
                command_s += COMMAND_S
                answers.append(self.command())
            if passed >= look_s:
                look_s = passed + LOOK_S
                if (now := sum(self.shed().values())) != shed:
                    shed, last_shed_s = now, passed
            if sent < passed * pps:
                frames, to = next(self.turns)
                self.sender.sendmsg([frames.next()], control, 0, to)
                sent += FRAME_PACKETS
            else:
                time.sleep(0.0002)
        return {"video_sent": sent, "sent_pps": round(sent / seconds), "last_shed_s": last_shed_s}

    def command(self) -> float:
        """Seconds until an added cursor has begun."""
        began = time.perf_counter()
        cursor = self.engine.add_cursor(stream=self.audio, link=self.link)
        while time.perf_counter() - began < 5:
            for event in self.engine.events():
                if isinstance(event, CursorStarted) and event.cursor == cursor:
                    self.engine.remove_cursor(cursor)
                    return time.perf_counter() - began
            time.sleep(0.0001)
        raise TimeoutError("the worker has not answered for 5 s")

    def shed(self) -> dict[str, int]:
        return {n: c for n, c in self.engine.verdicts().items() if n.startswith("shed_")}

    def counted(self) -> dict[str, int]:
        names = "ingested", "socket_dropped", "sent_packets", "events_lost"
        verdicts = self.engine.verdicts()
        audio = self.engine.stream_stats(self.audio).packets
        return {name: verdicts[name] for name in names} | self.shed() | {"audio_ingested": audio}

    def close(self) -> None:
        self.engine.stop()
        self.worker.join(5)
        for opened in self.open:
            opened.close()


def capacity(bench: Bench, trial_s: float) -> float:
    """Packets a second in that nothing is shed or dropped of, to a tenth."""
    low, high, pps = 0.0, 0.0, 1_000.0
    while high == 0 or high > 1.1 * low:
        before = bench.counted()
        bench.run(trial_s, pps)
        time.sleep(1.5)
        after = bench.counted()
        lost = {n: after[n] - before[n] for n in after if n.startswith(("shed", "socket"))}
        if any(lost.values()):
            high = pps
        else:
            low = pps
        if pps > 400_000:
            return low
        pps = (low + high) / 2 if high else 2 * pps
        if high and high < 200:
            raise RuntimeError("nothing passes whole: is this host busy?")
    return low


def measure(bench: Bench, found: float, share: float, load_s: float) -> dict[str, Any]:
    before, audio = bench.counted(), bench.audio_sent
    answers: list[float] = []
    load = bench.run(load_s, found * share, answers)
    during = bench.counted()
    calm = bench.run(2.5, found / 3)
    answers.sort()
    made = {name: during[name] - before[name] for name in during}
    return {
        "share": share,
        "sent_pps": load["sent_pps"],
        "video_sent": load["video_sent"],
        "counted": {name: count for name, count in made.items() if count},
        "audio_sent": bench.audio_sent - audio,
        "audio_ingested": bench.counted()["audio_ingested"] - before["audio_ingested"],
        "command_ms": {
            "p50": round(answers[len(answers) // 2] * 1e3, 2),
            "max": round(answers[-1] * 1e3, 2),
        },
        "back_to_normal_s": round(calm["last_shed_s"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--viewers", type=int, default=50, help="of each stream")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load")
    parser.add_argument("--trial-seconds", type=float, default=1.0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.9, 1.5, 2.0, 4.0])
    arguments = parser.parse_args()
    bench = Bench(arguments.streams, arguments.viewers)
    found = capacity(bench, arguments.trial_seconds)
    report = {
        "environment": environment(),
        "streams": arguments.streams,
        "viewers_per_stream": arguments.viewers,
        "found_pps_in": round(found),
        "loads": [measure(bench, found, share, arguments.seconds) for share in arguments.shares],
    }
    bench.close()
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
