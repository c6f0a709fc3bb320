"""A media flow under a rate controller: encoder, pacer, path, feedback.

The encoder makes 30 frames a second of about the target rate, with noise; the pacer sends packets
at the controller's pacing rate and probes when it wants them; the receiver reports each 100 ms what
has arrived, and the loss of what was overtaken. A report that is lost is contained in the next one.
A flow with receiver reports alone has one each second, with the share that was lost since the last.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field, replace

from bench.support.flow_network import Bottleneck, Timeline
from fastpath.rate import Controller, PacketResult, Probe

PACKET_BYTES = 1200
FRAME_US = 33_333
TICK_US = 25_000
REPORT_BYTES = 80
FEEDBACK_US = 100_000  # RFC 8698's DELTA; TWCC's first interval
NOISE = 0.1  # of a frame's size: RFC 8593's Laplace model has this scale
ACCESS_BPS = 1e9  # of the host's own link: a probe's packets leave no closer
RECEIVER_REPORT_US = 1_000_000


@dataclass(slots=True)
class Sent:
    sent_us: int
    size: int
    probe: int
    arrival_us: int = -1  # at the receiver, our clock; -1: lost
    wait_us: int = 0
    is_media: bool = True


@dataclass(slots=True)
class Record:
    """What a flow did. Points are (us, value)."""

    sent: list[tuple[int, int]] = field(default_factory=list)  # bytes
    arrived: list[tuple[int, int]] = field(default_factory=list)  # media bytes
    waits: list[tuple[int, int]] = field(default_factory=list)  # in the queue
    targets: list[tuple[int, int]] = field(default_factory=list)  # bit/s
    lost: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Path:
    """There through a bottleneck, back through another one or none. Delays are one-way. jitter_us:
    the most that is added on the way there, without reordering (RFC 8868 4.5: a Gaussian of six
    standard deviations)."""

    forward: Bottleneck
    delay_us: int = 50_000
    back: Bottleneck | None = None
    jitter_us: int = 0
    clock_offset_us: int = 1_234_567_890  # of the receiver


class MediaFlow:
    """source_bps: what the encoder makes whatever the target; None: it follows the target."""

    def __init__(
        self,
        timeline: Timeline,
        controller: Controller,
        path: Path,
        *,
        start_us: int = 0,
        pauses: tuple[tuple[int, int], ...] = (),
        source_bps: int | None = None,
        feedback_us: int = FEEDBACK_US,
        sends_probes: bool = True,
        has_packet_feedback: bool = True,
        seed: int = 1,
    ) -> None:
        self.record = Record()
        self.controller = controller
        self.clock_offset_us = path.clock_offset_us
        self._timeline = timeline
        self._path = path
        self._pauses = pauses
        self._source_bps = source_bps
        self._feedback_us = feedback_us
        self._sends_probes = sends_probes
        self._has_packet_feedback = has_packet_feedback
        self._reported_us = start_us
        self._lost_of = [0, 0]  # since the last receiver report: lost, of so many
        self._random = random.Random(seed)
        self._jitter = random.Random(~seed)
        self._arrival_us = 0
        self._queue: deque[int] = deque()
        self._free_us = 0.0
        self._is_sending = False
        self._is_probing = False
        self._flight: deque[Sent] = deque()
        timeline.at(start_us, self._on_frame)
        timeline.at(start_us, self._on_tick)
        timeline.at(start_us + feedback_us, self._on_report_due)

    def move(self, delay_us: int) -> None:
        """What is sent from now on takes another time there and back."""
        self._path = replace(self._path, delay_us=delay_us)

    # The sender

    def _is_paused(self) -> bool:
        return any(begin <= self._timeline.now_us < end for begin, end in self._pauses)

    def _on_frame(self) -> None:
        self._timeline.at(self._timeline.now_us + FRAME_US, self._on_frame)
        if self._is_paused():
            return
        bps = self._source_bps or self.controller.target_bps
        noise = NOISE * (self._random.expovariate(1) - self._random.expovariate(1))
        size = max(int(bps * FRAME_US / 8e6 * max(1 + noise, 0.1)), 100)
        packets = -(-size // PACKET_BYTES)
        self._queue.extend([size // packets] * packets)
        self._go_on()

    def _go_on(self) -> None:
        if self._queue and not self._is_sending and not self._is_probing:
            self._is_sending = True
            self._timeline.at(max(self._timeline.now_us, round(self._free_us)), self._on_pace)

    def _on_pace(self) -> None:
        self._is_sending = False
        if not self._queue or self._is_probing:
            return
        size = self._queue.popleft()
        self._send(size, 0, True)
        now = max(self._free_us, float(self._timeline.now_us))
        self._free_us = now + size * 8e6 / max(self.controller.pacing_bps, 1)
        self._go_on()

    def _send(self, size: int, probe: int, is_media: bool) -> None:
        now_us = self._timeline.now_us
        packet = Sent(now_us, size, probe, is_media=is_media)
        through = self._path.forward.send(now_us, size)
        if through is None:
            self.record.lost.append(now_us)
        else:
            jitter_us = self._path.jitter_us
            late_us = min(max(self._jitter.gauss(jitter_us / 2, jitter_us / 6), 0), jitter_us)
            arrival_us = through[0] + self._path.delay_us + round(late_us)
            packet.arrival_us = self._arrival_us = max(arrival_us, self._arrival_us)
            packet.wait_us = through[1]
        self._flight.append(packet)
        self.record.sent.append((now_us, size))
        self.controller.on_sent(size, now_us)

    def _on_tick(self) -> None:
        now_us = self._timeline.now_us
        self._timeline.at(now_us + TICK_US, self._on_tick)
        self.controller.on_tick(now_us)
        self.record.targets.append((now_us, self.controller.target_bps))
        if self._sends_probes and not self._is_paused():
            probe = None if self._is_probing else self.controller.take_probe(now_us)
            if probe:
                self._is_probing = True
                self._on_probe(probe, probe.packets, probe.size)

    def _on_probe(self, probe: Probe, packets: int, size: int) -> None:
        """What waits goes first and is part of the probe; padding fills the rest."""
        if packets <= 0 and size <= 0:
            self._is_probing = False
            self._go_on()
            return
        is_media = bool(self._queue)
        sent = self._queue.popleft() if is_media else PACKET_BYTES
        self._send(sent, probe.cluster, is_media)
        gap_us = sent * 8e6 / min(probe.bps, ACCESS_BPS)
        self._timeline.at(
            self._timeline.now_us + max(round(gap_us), 1),
            lambda: self._on_probe(probe, packets - 1, size - sent),
        )

    # The receiver

    def _on_report_due(self) -> None:
        now_us = self._timeline.now_us
        self._timeline.at(now_us + self._feedback_us, self._on_report_due)
        newest = -1
        for i, packet in enumerate(self._flight):
            if packet.arrival_us > now_us:
                break
            if packet.arrival_us >= 0:
                newest = i
        if newest < 0:
            return
        back_us = now_us
        if self._path.back is not None:
            through = self._path.back.send(now_us, REPORT_BYTES)
            if through is None:
                return
            back_us = through[0]
        told = [self._flight.popleft() for _ in range(newest + 1)]
        self._timeline.at(back_us + self._path.delay_us, lambda: self._on_report(told, now_us))

    def _on_report(self, told: list[Sent], made_us: int) -> None:
        now_us = self._timeline.now_us
        results = []
        for packet in told:
            if packet.arrival_us < 0:
                results.append(PacketResult(packet.sent_us, -1, packet.size, packet.probe))
                continue
            arrival_us = packet.arrival_us + self.clock_offset_us
            results.append(PacketResult(packet.sent_us, arrival_us, packet.size, packet.probe))
            self.record.waits.append((packet.arrival_us, packet.wait_us))
            if packet.is_media:
                self.record.arrived.append((packet.arrival_us, packet.size))
        newest = told[-1]
        rtt_us = now_us - newest.sent_us - (made_us - newest.arrival_us)
        if self._has_packet_feedback:
            self.controller.on_feedback(results, rtt_us, now_us)
            return
        self._lost_of[0] += sum(packet.arrival_us < 0 for packet in told)
        self._lost_of[1] += len(told)
        if now_us - self._reported_us >= RECEIVER_REPORT_US:
            lost, packets = self._lost_of
            self._reported_us, self._lost_of = now_us, [0, 0]
            fraction = lost * 256 // packets
            self.controller.on_receiver_report(fraction, packets, rtt_us, 0, now_us)
