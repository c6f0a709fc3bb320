"""One direction of an emulated WAN path: when does a datagram arrive, if it does?

Input: datagrams (or only their sizes) and the time. Output: the same datagrams later, or never.
No I/O and no clock; the same seed, config and input give the same output. Stages, in order:

1. MTU. The size on the wire is the payload plus 28 bytes of IPv4 and UDP headers. Larger than
   `mtu_bytes` is dropped, as by a path with the "don't fragment" bit set: at 1,500 a payload of
   1,472 bytes passes. Loopback would let 65,507 pass, so the link has to say no.
2. Bottleneck, if `rate_bps` is set: bytes on the wire leave one after the other at that rate,
   behind a drop-tail queue. The backlog is kept as an exact integer, so rounding never adds up;
   only the departure of each datagram is rounded, up to the next microsecond.
3. Loss, after the bottleneck: a datagram lost on the path has used its time there.
4. Delay, plus jitter drawn evenly from 0..`jitter_us`.

Order rule: jitter never reorders. A datagram whose draw would let it overtake an earlier one waits
for it and arrives in the same microsecond, behind it; so under dense traffic jitter looks like a
delay near its upper end that comes in bursts, as behind a busy FIFO. The same holds when
`set_config` shortens the delay. Only `reorder` breaks order: that share of datagrams arrives
`reorder_extra_us` after its place, and those behind do not wait for it.

Each datagram takes three draws whatever its fate and the config. Luck thus belongs to the seed and
the datagram's number: two configs can be compared on equal luck.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from heapq import heappop, heappush

from lab.errors import ClockError, LinkConfigError

IPV4_UDP_HEADER_BYTES = 28  # RFC 791 3.1 (20, no options) and RFC 768 (8)
_MICROBITS_PER_BYTE = 8 * 1_000_000  # backlog unit: draining it takes rate_bps units per us


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """What one direction of a path does to datagrams. Raises LinkConfigError if out of range."""

    delay_us: int
    """Propagation time, the least that any datagram takes."""
    jitter_us: int = 0
    """Largest extra delay; each datagram draws evenly from 0 to this."""
    loss: float = 0.0
    """Share of datagrams lost, independently, 0 to 1."""
    reorder: float = 0.0
    """Share of datagrams held back, 0 to 1."""
    reorder_extra_us: int = 5_000
    """How long a held-back datagram is late; five packets at 1,000 packets/s (our choice)."""
    rate_bps: int | None = None
    """Bottleneck rate over bytes on the wire, headers included; None = no bottleneck."""
    queue_bytes: int = 262_144
    """Bytes on the wire that may wait at the bottleneck, the one being sent included. An idle
    bottleneck takes any datagram. Default is our choice: 210 ms at 10 Mbit/s."""
    mtu_bytes: int = 1_500
    """Largest IP packet."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, must not be negative"
            for name in ("delay_us", "jitter_us", "reorder_extra_us", "queue_bytes")
            if (value := getattr(self, name)) < 0
        ]
        problems += [
            f"{name} is {value}, must be from 0 to 1"
            for name in ("loss", "reorder")
            if not 0.0 <= (value := getattr(self, name)) <= 1.0
        ]
        if self.rate_bps is not None and self.rate_bps <= 0:
            problems.append(f"rate_bps is {self.rate_bps}, must be positive or None")
        if self.mtu_bytes < IPV4_UDP_HEADER_BYTES:
            problems.append(f"mtu_bytes is {self.mtu_bytes}, less than the headers")
        if problems:
            raise LinkConfigError("; ".join(problems))

    def with_cut(self) -> LinkConfig:
        """The same path with nothing getting through; what is already under way still arrives."""
        return replace(self, loss=1.0)


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Totals since the link was made; bytes are UDP payload."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    oversized: int = 0
    queue_dropped: int = 0
    reordered: int = 0
    """Delivered after one that was sent later (RFC 4737 3.3); part of `delivered`."""
    sent_bytes: int = 0
    delivered_bytes: int = 0

    @property
    def in_flight(self) -> int:
        """Datagrams that will still be delivered: queued or on the way."""
        return self.sent - self.delivered - self.lost - self.oversized - self.queue_dropped

    def __add__(self, other: LinkCounters) -> LinkCounters:
        return LinkCounters(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(LinkCounters))
        )


class LinkModel:
    """Fates and counters of one direction, without holding datagrams.

    The caller keeps what `admit` let through until its time and reports it with `on_delivered`.
    """

    __slots__ = (
        "_backlog",
        "_config",
        "_delivered",
        "_delivered_bytes",
        "_draw",
        "_highest_delivered",
        "_in_order_us",
        "_lost",
        "_now_us",
        "_oversized",
        "_queue_dropped",
        "_reordered",
        "_sent",
        "_sent_bytes",
    )

    def __init__(self, config: LinkConfig, rng: random.Random) -> None:
        """rng: owned by this link from now on; give each link its own."""
        self._config = config
        self._draw = rng.random
        self._now_us: int | None = None
        self._backlog = 0  # microbits not yet through the bottleneck at _now_us
        self._in_order_us = 0  # arrival of the latest datagram's place in order
        self._highest_delivered = -1
        self._sent = self._sent_bytes = 0
        self._delivered = self._delivered_bytes = self._reordered = 0
        self._lost = self._oversized = self._queue_dropped = 0

    @property
    def config(self) -> LinkConfig:
        return self._config

    def set_config(self, config: LinkConfig, now_us: int) -> None:
        """Change the path. What is under way keeps its fate and its time of arrival.

        Bytes waiting at the bottleneck stay there and drain at the new rate from now on, as seen by
        datagrams sent later.
        """
        self._advance(now_us)
        if config.rate_bps is None:
            self._backlog = 0
        self._config = config

    def admit(self, size_bytes: int, now_us: int) -> int | None:
        """Time of arrival of a payload of this size sent now, or None if it will not arrive.

        Raises ClockError if `now_us` is before an earlier call's.
        """
        config = self._config
        draw = self._draw
        lost, held_back, jitter = draw() < config.loss, draw() < config.reorder, draw()
        if now_us != self._now_us:
            self._advance(now_us)
        self._sent += 1
        self._sent_bytes += size_bytes
        wire_bytes = size_bytes + IPV4_UDP_HEADER_BYTES
        if wire_bytes > config.mtu_bytes:
            self._oversized += 1
            return None
        departure_us = now_us
        if config.rate_bps is not None:
            backlog = self._backlog + wire_bytes * _MICROBITS_PER_BYTE
            if self._backlog and backlog > config.queue_bytes * _MICROBITS_PER_BYTE:
                self._queue_dropped += 1
                return None
            self._backlog = backlog
            departure_us -= -backlog // config.rate_bps  # minus floor of minus = plus ceiling
        if lost:
            self._lost += 1
            return None
        arrival_us = departure_us + config.delay_us
        if config.jitter_us:
            arrival_us += int(jitter * (config.jitter_us + 1))
        if arrival_us > self._in_order_us:
            self._in_order_us = arrival_us
        else:
            arrival_us = self._in_order_us
        return arrival_us + config.reorder_extra_us if held_back else arrival_us

    def on_delivered(self, number: int, size_bytes: int) -> None:
        """An admitted datagram has arrived. number: any that grows with each `admit`."""
        self._delivered += 1
        self._delivered_bytes += size_bytes
        if number > self._highest_delivered:
            self._highest_delivered = number
        else:
            self._reordered += 1

    def counters(self) -> LinkCounters:
        return LinkCounters(
            sent=self._sent,
            delivered=self._delivered,
            lost=self._lost,
            oversized=self._oversized,
            queue_dropped=self._queue_dropped,
            reordered=self._reordered,
            sent_bytes=self._sent_bytes,
            delivered_bytes=self._delivered_bytes,
        )

    def _advance(self, now_us: int) -> None:
        """Move the clock, draining the bottleneck."""
        if self._now_us is not None:
            elapsed_us = now_us - self._now_us
            if elapsed_us < 0:
                raise ClockError(f"time went back from {self._now_us} to {now_us} us")
            if self._backlog:
                assert self._config.rate_bps is not None  # no bottleneck, no backlog
                self._backlog = max(0, self._backlog - elapsed_us * self._config.rate_bps)
        self._now_us = now_us


class EmulatedLink:
    """One direction of a path that keeps its datagrams until they arrive."""

    __slots__ = ("_heap", "_model", "_number")

    def __init__(self, config: LinkConfig, seed: int | str) -> None:
        """seed: decides every draw; equal seeds give equal links, in any process."""
        self._model = LinkModel(config, random.Random(seed))
        self._heap: list[tuple[int, int, bytes]] = []  # arrival, number (breaks ties), data
        self._number = 0

    @property
    def config(self) -> LinkConfig:
        return self._model.config

    def set_config(self, config: LinkConfig, now_us: int) -> None:
        """See `LinkModel.set_config`."""
        self._model.set_config(config, now_us)

    def send(self, data: bytes, now_us: int) -> None:
        """Put a UDP payload on the path. Raises ClockError if time went back."""
        arrival_us = self._model.admit(len(data), now_us)
        if arrival_us is not None:
            heappush(self._heap, (arrival_us, self._number, data))
            self._number += 1

    def next_timer_us(self) -> int | None:
        """When the next datagram arrives; None if nothing is under way."""
        return self._heap[0][0] if self._heap else None

    def receive(self, now_us: int) -> list[bytes]:
        """Take all that has arrived by now, by time of arrival, then in order of sending."""
        heap, on_delivered = self._heap, self._model.on_delivered
        arrived = []
        while heap and heap[0][0] <= now_us:
            _, number, data = heappop(heap)
            on_delivered(number, len(data))
            arrived.append(data)
        return arrived

    def counters(self) -> LinkCounters:
        return self._model.counters()
