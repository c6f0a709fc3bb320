"""Encoders that send evenly for as long as a measurement takes, at a rate that may be changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from bench.support.case import Case
from bench.support.schedule import FRAME, Schedule
from bench.support.traffic import FIRST_STREAM_SEQ, Generator

TICK_NS = 1_000_000  # what is due within it is sent at once, and leaves the node a core


def steady(streams: int, pps: int) -> Schedule:
    """A second: each stream sends a packet each 1/pps, all evenly apart, and one key frame."""
    frames = np.zeros(streams * pps, FRAME)
    number = np.arange(len(frames))
    frames["due_ns"] = number * 1_000_000_000 // (streams * pps) // TICK_NS * TICK_NS
    frames["stream"] = number % streams
    frames["packets"] = 1
    frames["is_key"] = (number // streams + number % streams) % pps == 0
    return frames


class SteadyEncoders(threading.Thread):
    """All of them in one thread, ahead of others where it may; second by second, until `stop`. The
    n-th stream goes to the n-th port."""

    def __init__(self, ports: Sequence[int], pps: int, payload_bytes: int) -> None:
        super().__init__(name="encoders", daemon=True)
        case = Case(1, payload_bytes, "plain", kind="node", streams=len(ports))
        self._generator = Generator(case, bytes(16))
        self._generator._native.is_overlay = False  # an edge's case has one stream
        self._generator.spread(ports)
        self._streams = len(ports)
        self._schedule = steady(len(ports), pps)
        self._end = threading.Event()

    @property
    def sent(self) -> int:
        """Packets so far."""
        return sum(track.stream_seq - FIRST_STREAM_SEQ for track in self._generator._tracks)

    def set_pps(self, pps: int) -> None:
        """Of each stream, from the next second on."""
        self._schedule = steady(self._streams, pps)

    def run(self) -> None:
        while not self._end.is_set():
            self._generator.generate(self._schedule)

    def stop(self) -> None:
        """Once."""
        self._end.set()
        if self.ident is not None:
            self.join()
        self._generator.close()
