"""One direction of an emulated WAN path: when does a datagram arrive, if it does?

Input: datagrams (or only their sizes) and the time. Output: the same datagrams later, or never.
No I/O and no clock; the same seed, config and input give the same output. Stages, in order:

1. MTU. The size on the wire is the payload plus 28 bytes of IPv4 and UDP headers. Larger than
   `mtu_bytes` is dropped, as by a path with the "don't fragment" bit set: at 1,500 a payload of
   1,472 bytes passes. Loopback would let 65,507 pass, so the link has to say no.
2. Bottleneck, if `rate_bps` or `rate_trace` is set: see `lab.bottleneck`.
3. Loss, after the bottleneck: a datagram lost on the path has used its time there. `loss` is
   independent; `burst_loss` has a state, which every datagram may change, whatever becomes of it.
4. Delay, plus jitter drawn evenly from 0..`jitter_us`.
5. Duplication: a share of what arrives does so again, `duplicate_extra_us` later.

Order rule: jitter never reorders. A datagram whose draw would let it overtake an earlier one waits
for it and arrives in the same microsecond, behind it; so under dense traffic jitter looks like a
delay near its upper end that comes in bursts, as behind a busy FIFO. The same holds when
`set_config` shortens the delay. Only `reorder` breaks order: that share of datagrams arrives
`reorder_extra_us` after its place, and those behind do not wait for it, nor for a second copy.

Each datagram takes six draws whatever its fate and the config: three of a first source (loss,
reordering, jitter), three of a second (the burst's state, its loss, duplication). Luck thus belongs
to the seed and the datagram's number: two configs can be compared on equal luck.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from heapq import heappop, heappush
from itertools import pairwise

from lab.bottleneck import Bottleneck, RateTrace
from lab.errors import ClockError, LinkConfigError

IPV4_UDP_HEADER_BYTES = 28  # RFC 791 3.1 (20, no options) and RFC 768 (8)


@dataclass(frozen=True, slots=True)
class BurstLoss:
    """Loss in bursts (Gilbert 1960, Elliott 1963): each datagram finds the path good or bad. Raises
    LinkConfigError if out of range."""

    p_bad: float
    """Chance that a datagram finds the path bad when the one before found it good."""
    p_good: float
    """Chance that it has become good again; a bad time lasts 1 / p_good datagrams on average."""
    loss_bad: float = 1.0
    """Share lost while it is bad."""
    loss_good: float = 0.0

    def __post_init__(self) -> None:
        problems = _outside(self, ("p_bad", "p_good", "loss_bad", "loss_good"))
        if problems:
            raise LinkConfigError("; ".join(problems))

    @property
    def mean_loss(self) -> float:
        """Share of all datagrams that is lost in the long run."""
        if self.p_bad + self.p_good == 0:
            return self.loss_good  # it never changes, and begins good
        bad = self.p_bad / (self.p_bad + self.p_good)
        return bad * self.loss_bad + (1 - bad) * self.loss_good


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """What one direction of a path does to datagrams. Raises LinkConfigError if out of range."""

    delay_us: int
    """Propagation time, the least that any datagram takes."""
    jitter_us: int = 0
    """Largest extra delay; each datagram draws evenly from 0 to this."""
    loss: float = 0.0
    """Share of datagrams lost, independently, 0 to 1."""
    burst_loss: BurstLoss | None = None
    """Loss in bursts, beside `loss`."""
    reorder: float = 0.0
    """Share of datagrams held back, 0 to 1."""
    reorder_extra_us: int = 5_000
    """How long a held-back datagram is late; five packets at 1,000 packets/s (our choice)."""
    duplicate: float = 0.0
    """Share of what arrives that does so twice, 0 to 1."""
    duplicate_extra_us: int = 1_000
    """How long after the first the second copy arrives (our choice)."""
    rate_bps: int | None = None
    """Bottleneck rate over bytes on the wire, headers included; None = no bottleneck."""
    rate_trace: RateTrace = ()
    """Instead of `rate_bps`, a rate that changes: (microseconds after `trace_origin_us`, rate_bps)
    in the order of time, the first at 0. The last one stays."""
    trace_origin_us: int = 0
    """When the trace begins; before that its first rate holds."""
    queue_bytes: int = 262_144
    """Bytes on the wire that may wait at the bottleneck, the one being sent included. An idle
    bottleneck takes any datagram. Default is our choice: 210 ms at 10 Mbit/s."""
    queue_us: int | None = None
    """Instead of `queue_bytes`: as many as the rate at that moment sends in this time."""
    mtu_bytes: int = 1_500
    """Largest IP packet."""

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value}, must not be negative"
            for name in (
                "delay_us",
                "jitter_us",
                "reorder_extra_us",
                "duplicate_extra_us",
                "queue_bytes",
                "queue_us",
            )
            if (value := getattr(self, name)) is not None and value < 0
        ]
        problems += _outside(self, ("loss", "reorder", "duplicate"))
        if self.rate_bps is not None and self.rate_bps <= 0:
            problems.append(f"rate_bps is {self.rate_bps}, must be positive or None")
        problems += self._problems_of_trace()
        if self.mtu_bytes < IPV4_UDP_HEADER_BYTES:
            problems.append(f"mtu_bytes is {self.mtu_bytes}, less than the headers")
        if problems:
            raise LinkConfigError("; ".join(problems))

    def _problems_of_trace(self) -> Iterator[str]:
        if not self.rate_trace:
            return
        times = [time_us for time_us, _ in self.rate_trace]
        if self.rate_bps is not None:
            yield "rate_bps and rate_trace exclude each other"
        if times[0] != 0:
            yield f"rate_trace begins at {times[0]} us, must begin at 0"
        if any(a >= b for a, b in pairwise(times)):
            yield "rate_trace: times must rise"
        if any(rate_bps <= 0 for _, rate_bps in self.rate_trace):
            yield "rate_trace: rates must be positive"

    @property
    def has_bottleneck(self) -> bool:
        return self.rate_bps is not None or bool(self.rate_trace)

    def with_trace_from(self, origin_us: int) -> LinkConfig:
        """The same path with its trace, if it has one, beginning at this time."""
        return replace(self, trace_origin_us=origin_us) if self.rate_trace else self

    def with_cut(self) -> LinkConfig:
        """The same path with nothing getting through; what is already under way still arrives."""
        return replace(self, loss=1.0)


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Totals since the link was made; bytes are UDP payload."""

    sent: int = 0
    delivered: int = 0
    """Copies included."""
    lost: int = 0
    oversized: int = 0
    queue_dropped: int = 0
    reordered: int = 0
    """Delivered after one that was sent later (RFC 4737 3.3); part of `delivered`. Second copies
    are not counted here."""
    duplicated: int = 0
    """Second copies that were, or will be, delivered."""
    sent_bytes: int = 0
    delivered_bytes: int = 0

    @property
    def in_flight(self) -> int:
        """Datagrams that will still be delivered: queued or on the way."""
        gone = self.delivered + self.lost + self.oversized + self.queue_dropped
        return self.sent + self.duplicated - gone

    def __add__(self, other: LinkCounters) -> LinkCounters:
        return LinkCounters(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(LinkCounters))
        )


class LinkModel:
    """Fates and counters of one direction, without holding datagrams.

    The caller keeps what `admit` let through until its time and reports it with `on_delivered`.
    """

    __slots__ = (
        "_bottleneck",
        "_config",
        "_delivered",
        "_delivered_bytes",
        "_draw",
        "_draw_more",
        "_duplicated",
        "_highest_delivered",
        "_in_order_us",
        "_is_bad",
        "_is_limited",
        "_lost",
        "_now_us",
        "_oversized",
        "_queue_dropped",
        "_reordered",
        "_sent",
        "_sent_bytes",
    )

    def __init__(self, config: LinkConfig, rng: random.Random, more: random.Random) -> None:
        """rng, more: the two sources of draws, owned by this link from now on; give each link its
        own."""
        self._draw, self._draw_more = rng.random, more.random
        self._bottleneck = Bottleneck()
        self._apply(config)
        self._is_bad = False
        self._now_us = -1
        self._in_order_us = 0  # arrival of the latest datagram's place in order
        self._highest_delivered = -1
        self._sent = self._sent_bytes = self._duplicated = 0
        self._delivered = self._delivered_bytes = self._reordered = 0
        self._lost = self._oversized = self._queue_dropped = 0

    @property
    def config(self) -> LinkConfig:
        return self._config

    def set_config(self, config: LinkConfig, now_us: int) -> None:
        """Change the path. What is under way keeps its fate and its time of arrival.

        Bytes waiting at the bottleneck stay there and drain at the new rate from now on, as seen by
        datagrams sent later. (What a `rate_trace` foresees is exact for all.)
        """
        self._move_to(now_us)
        self._bottleneck.advance(now_us)
        self._apply(config)

    def queue_us(self, now_us: int) -> int:
        """How long a datagram would wait now before it begins to leave."""
        self._move_to(now_us)
        self._bottleneck.advance(now_us)
        return self._bottleneck.wait_us()

    def admit(self, size_bytes: int, now_us: int) -> tuple[int, ...]:
        """Times of arrival of a payload of this size sent now: one, two if it is duplicated, none
        if it will not arrive.

        Raises ClockError if `now_us` is before an earlier call's.
        """
        config = self._config
        draw, draw_more = self._draw, self._draw_more
        lost, held_back, jitter = draw() < config.loss, draw() < config.reorder, draw()
        turn, burst_luck, is_twice = draw_more(), draw_more(), draw_more() < config.duplicate
        if (burst := config.burst_loss) is not None:
            self._is_bad = turn >= burst.p_good if self._is_bad else turn < burst.p_bad
            lost |= burst_luck < (burst.loss_bad if self._is_bad else burst.loss_good)
        if now_us != self._now_us:
            self._move_to(now_us)
        self._sent += 1
        self._sent_bytes += size_bytes
        wire_bytes = size_bytes + IPV4_UDP_HEADER_BYTES
        if wire_bytes > config.mtu_bytes:
            self._oversized += 1
            return ()
        arrival_us = now_us + config.delay_us
        if self._is_limited:
            self._bottleneck.advance(now_us)
            departure_us = self._bottleneck.take(wire_bytes)
            if departure_us is None:
                self._queue_dropped += 1
                return ()
            arrival_us += departure_us - now_us
        if lost:
            self._lost += 1
            return ()
        if config.jitter_us:
            arrival_us += int(jitter * (config.jitter_us + 1))
        if arrival_us > self._in_order_us:
            self._in_order_us = arrival_us
        else:
            arrival_us = self._in_order_us
        if held_back:
            arrival_us += config.reorder_extra_us
        if is_twice:
            self._duplicated += 1
            return (arrival_us, arrival_us + config.duplicate_extra_us)
        return (arrival_us,)

    def on_delivered(self, number: int, size_bytes: int, *, is_copy: bool = False) -> None:
        """An admitted datagram has arrived. number: any that grows with each `admit`. is_copy: it
        is the second time."""
        self._delivered += 1
        self._delivered_bytes += size_bytes
        if number > self._highest_delivered:
            self._highest_delivered = number
        elif not is_copy:
            self._reordered += 1

    def counters(self) -> LinkCounters:
        return LinkCounters(
            sent=self._sent,
            delivered=self._delivered,
            lost=self._lost,
            oversized=self._oversized,
            queue_dropped=self._queue_dropped,
            reordered=self._reordered,
            duplicated=self._duplicated,
            sent_bytes=self._sent_bytes,
            delivered_bytes=self._delivered_bytes,
        )

    def _move_to(self, now_us: int) -> None:
        if now_us < self._now_us:
            raise ClockError(f"time went back from {self._now_us} to {now_us} us")
        self._now_us = now_us

    def _apply(self, config: LinkConfig) -> None:
        self._config = config
        self._is_limited = config.has_bottleneck
        if config.burst_loss is None:
            self._is_bad = False
        rates = config.rate_trace
        if config.rate_bps is not None:
            rates = ((0, config.rate_bps),)
        self._bottleneck.configure(
            [(config.trace_origin_us + time_us, rate_bps) for time_us, rate_bps in rates],
            queue_bytes=config.queue_bytes,
            queue_us=config.queue_us,
        )


class EmulatedLink:
    """One direction of a path that keeps its datagrams until they arrive."""

    __slots__ = ("_heap", "_model", "_number")

    def __init__(self, config: LinkConfig, seed: int | str) -> None:
        """seed: decides every draw; equal seeds give equal links, in any process."""
        self._model = LinkModel(config, random.Random(seed), random.Random(f"{seed} more"))
        self._heap: list[tuple[int, int, bool, int, bytes]] = []  # arrival, number, is a copy, ...
        self._number = 0

    @property
    def config(self) -> LinkConfig:
        return self._model.config

    def set_config(self, config: LinkConfig, now_us: int) -> None:
        """See `LinkModel.set_config`."""
        self._model.set_config(config, now_us)

    def send(self, data: bytes, now_us: int, lane: int = 0) -> None:
        """Put a UDP payload on the path. lane: for the caller, comes out with it. Raises ClockError
        if time went back."""
        is_copy = False
        for arrival_us in self._model.admit(len(data), now_us):
            heappush(self._heap, (arrival_us, self._number, is_copy, lane, data))
            is_copy = True
        self._number += 1

    def next_timer_us(self) -> int | None:
        """When the next datagram arrives; None if nothing is under way."""
        return self._heap[0][0] if self._heap else None

    def receive(self, now_us: int) -> list[bytes]:
        """Take all that has arrived by now, by time of arrival, then in order of sending."""
        return [data for _, data in self.receive_lanes(now_us)]

    def receive_lanes(self, now_us: int) -> list[tuple[int, bytes]]:
        """As `receive`, each with its lane."""
        heap, on_delivered = self._heap, self._model.on_delivered
        arrived = []
        while heap and heap[0][0] <= now_us:
            _, number, is_copy, lane, data = heappop(heap)
            on_delivered(number, len(data), is_copy=is_copy)
            arrived.append((lane, data))
        return arrived

    def counters(self) -> LinkCounters:
        return self._model.counters()


def _outside(config: object, names: Iterable[str]) -> list[str]:
    """Shares that are none."""
    return [
        f"{name} is {value}, must be from 0 to 1"
        for name in names
        if not 0.0 <= (value := getattr(config, name)) <= 1.0
    ]
