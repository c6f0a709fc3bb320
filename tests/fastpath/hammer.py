"""Mailboxes and counters under load from both sides: the program that `make tsan` runs.

    python -m tests.fastpath.hammer --seconds 20      prints JSON

Two workers forward video over loopback while one thread of Python adds and removes viewers, streams
and links as fast as the mailbox takes it, and another reads every counter there is and the events.
On a build with the thread sanitizer (OVERLANE_TSAN=1) each unordered access is reported. Without it
the counters' own order is checked all the same: none ever falls.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter

from fastpath import Media
from tests.support.chain import key, key_slice, other_slice, rtp
from tests.support.worker import Pair, Worker, send_segments, udp_socket

PACKET_BYTES = 300
BURST = 16
RISING = ("packets", "bytes", "sent_packets", "sent_bytes", "received_packets", "received_bytes")
KEPT = 20  # viewers and streams that are there at once


class Hammer:
    """Everything stops when `stop` is set or one of the threads fails."""

    def __init__(self, pair: Pair, seed: int) -> None:
        self.counted: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self.stop = threading.Event()
        self._pair = pair
        self._rng = random.Random(seed)
        self._viewer = pair.add_viewer(("127.0.0.1", 9))

    def _send(self) -> None:
        """RTP in bursts; a key frame each 64."""
        with udp_socket() as sender:
            number = 0
            while not self.stop.is_set():
                packets = []
                for _ in range(BURST):
                    head = key_slice() if number % 64 == 0 else other_slice()
                    payload = head.ljust(PACKET_BYTES - 12, b".")
                    packets.append(rtp(number, number * 3000, payload, marker=True))
                    number += 1
                send_segments(sender, b"".join(packets), PACKET_BYTES, self._pair.ingest)
                self.counted["sent"] += BURST
                time.sleep(0.001)

    def _command(self) -> None:
        """What is added is removed again, the oldest first."""
        engine = self._pair.second.engine
        port, _ = self._pair.second.open(0)  # type: ignore[arg-type]  # an overlay port
        viewers: list[int] = []
        streams: list[int] = []
        links: list[int] = []
        while not self.stop.is_set():
            choice = self._rng.randrange(3)
            self.counted["commands"] += 2
            if choice == 0:
                link = engine.add_viewer_link(rate_bps=10**9)
                viewers.append(link)
                engine.add_viewer_cursor(
                    stream=self._pair.second_stream,
                    link=link,
                    port=self._pair.viewer_port,
                    address=("127.0.0.1", self._rng.randrange(20_000, 60_000)),
                    ssrc=self._rng.getrandbits(32),
                    payload_type=100,
                    first_sequence_number=65_530,
                )
                if len(viewers) > KEPT:
                    engine.remove_link(viewers.pop(0))
            elif choice == 1:
                stream_id = self._rng.getrandbits(31) | 1
                streams.append(
                    engine.add_stream(
                        stream_id=stream_id,
                        media=Media.AUDIO,
                        first_stream_seq=1,
                        upstream=self._pair.up,
                    )
                )
                if len(streams) > 4:
                    engine.remove_stream(streams.pop(0))
            else:
                links.append(
                    engine.add_link(
                        port=port,
                        address=("127.0.0.1", self._rng.randrange(1024, 60_000)),
                        peer_node=7,
                        hello_key=key("other"),
                        rate_bps=10**9,
                    )
                )
                engine.send_hello(links[-1], b"nobody is there")
                if len(links) > 2:
                    engine.remove_link(links.pop(0))
            engine.send_control(self._pair.up, b"control")
            time.sleep(0.0002)

    def _read(self, worker: Worker, link: int, stream: int, cursor: int | None) -> None:
        """Every counter of one worker, again and again."""
        engine, before = worker.engine, Counter[str]()
        while not self.stop.is_set():
            now = Counter(engine.verdicts())
            parts = [engine.link_stats(link), engine.stream_stats(stream)]
            if cursor is not None:
                parts.append(engine.cursor_stats(cursor))
            for number, part in enumerate(parts):
                for name in RISING:
                    if hasattr(part, name):
                        now[f"{number} {name}"] = getattr(part, name)
            for name, value in now.items():
                assert value >= before[name], f"{name} fell from {before[name]} to {value}"
            before = now
            engine.memory()
            engine.fallbacks()
            self.counted["events"] += len(engine.events())
            self.counted["reads"] += 1

    def run(self, seconds: float) -> None:
        """All threads for that long. Raises what one of them raised."""
        pair = self._pair
        jobs = [
            threading.Thread(target=self._guard, args=job)
            for job in (
                (self._send,),
                (self._command,),
                (self._read, pair.first, pair.down, pair.first_stream, None),
                (self._read, pair.second, pair.up, pair.second_stream, self._viewer),
            )
        ]
        for job in jobs:
            job.start()
        self.stop.wait(seconds)
        self.stop.set()
        for job in jobs:
            job.join()
        if self.failures:
            raise self.failures[0]

    def _guard(self, job: object, *arguments: object) -> None:
        try:
            job(*arguments)  # type: ignore[operator]
        except BaseException as failure:  # noqa: BLE001  # raised again by run()
            self.failures.append(failure)
            self.stop.set()


def hammer(seconds: float, seed: int) -> dict[str, int]:
    """Figures of one run."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)  # readers never sleep, and nobody is to wait 5 ms for them
    try:
        with Pair() as pair:
            made = Hammer(pair, seed)
            made.run(seconds)
            forwarded = pair.second.engine.verdicts()["accepted"]
    finally:
        sys.setswitchinterval(before)
    return {"seed": seed, "forwarded": forwarded} | made.counted


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Mailboxes and counters from several threads.")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    sys.stdout.write(json.dumps(hammer(options.seconds, options.seed)) + "\n")


if __name__ == "__main__":
    main()
