"""Counters of a worker as Python reads them: plain values, copied at the moment of the call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkStats:
    """One pair of ports. Loss is counted by `hop_seq` alone, so it is this link's own.

    lost = repaired + voided + gone + given_up, and 0 for what was only late (`reordered`). Of what
    was given up, `repaired_late` came after its playout; `repaired` is what came in time. Of what
    was asked for here: `resend_suppressed` a second time within a round trip, `resend_refused`
    beyond a quarter of what is sent, `resend_expired` after its playout; `resent_twice`: for both
    requests of a round trip, as the link loses much.

    From `target_bps` on, what rate control says of what is sent: what media may take, at what pace
    it leaves, what arrived in the last second, which share (of 1) did not, reports of it in all,
    and what the delay's trend says of the path (0 normal, 1 overused, 2 underused). With a fixed
    rate, that and zeros.
    """

    is_up: bool
    has_keys: bool
    rtt_us: int
    sent_packets: int
    sent_bytes: int
    received_packets: int
    received_bytes: int
    holes_open: int
    lost: int
    reordered: int
    repaired: int
    voided: int
    gone: int
    given_up: int
    requests_sent: int
    resent: int
    resend_suppressed: int
    history_evicted: int
    backlogged: int
    repaired_late: int
    resend_refused: int
    resend_expired: int
    resent_twice: int
    target_bps: int
    pacing_bps: int
    acked_bps: int
    feedback_loss: float
    feedbacks: int
    usage: int


@dataclass(frozen=True, slots=True)
class StreamStats:
    """One ring. `delay_us`: smoothed accumulated delay of the header field, at receipt.

    `first_lacking_seq`: the lowest packet not here that another upstream might still have: the
    head, or the first hole of the last one to two seconds. It may lag a little behind. `copies`:
    packets that came first as a second path's copy; `covered_by_other_path`: of these, those that
    the first path did not bring, or only when asked again. It counts what is still on its way, and
    so may fall by a few.
    """

    stream_id: int
    packets: int
    bytes: int
    duplicates: int
    late: int
    too_old: int
    gone: int
    restarts: int
    held_packets: int
    capacity: int
    subscribers: int
    key_frames: int
    first_stream_seq: int
    next_stream_seq: int
    first_lacking_seq: int
    delay_us: int
    last_packet_us: int
    copies: int
    covered_by_other_path: int


@dataclass(frozen=True, slots=True)
class CursorStats:
    """One subscriber's place in a ring. `late_packets`: recovered after it had passed them.

    From `is_paused` on, of viewers only: what their host and their RTCP say (RFC 3550 6.4; loss as
    a fraction of 1). `reports_sent`: sender reports; to a node, clock messages. From
    `first_sent_us` on, what its player makes of what leaves here (fastpath/view_qoe): when its
    first packet, its first whole frame and the start of its newest one left, 0 for never; how
    often, and how long, a player with a buffer of 300 ms stalled. `lag_us`: how long the next
    packet had waited when the cursor was last looked at, 0 where none waits; `lag_bytes`: with
    those behind it. `dropped_...`: packets left out, as fastpath/drop says.
    """

    packets: int
    bytes: int
    next_stream_seq: int
    lag_packets: int
    late_packets: int
    lapped: int
    is_paused: bool
    paused_times: int
    reports_sent: int
    reports_received: int
    rtt_us: int
    fraction_lost: float
    cumulative_lost: int
    jitter_us: int
    nacked: int
    resent: int
    keys_wanted: int
    first_sent_us: int
    first_frame_us: int
    newest_frame_us: int
    stalls: int
    stalled_us: int
    lag_us: int
    lag_bytes: int
    dropped_discardable: int
    dropped_predicted: int
    dropped_gop: int


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """Used and limit of everything that is allocated at start.

    The limits of `..._bytes` are all the memory that the engine takes for its state: streams with
    their rings, cursors, links, what waits to leave late, packets; indexes and mailboxes, in use
    whole. What was never used is laid out only: the system gives it no pages.
    """

    streams: tuple[int, int]
    cursors: tuple[int, int]
    node_links: tuple[int, int]
    viewer_links: tuple[int, int]
    ports: tuple[int, int]
    small_blocks: tuple[int, int]
    large_blocks: tuple[int, int]
    held_early_packets: tuple[int, int]
    late_packets: tuple[int, int]
    spans: tuple[int, int]
    stream_bytes: tuple[int, int]
    cursor_bytes: tuple[int, int]
    link_bytes: tuple[int, int]
    late_bytes: tuple[int, int]
    packet_bytes: tuple[int, int]
    index_bytes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class OverloadStats:
    """How much is shed now (fastpath/overload): steps of 20, 0 for nothing. episodes: how often it
    has begun."""

    step: int
    episodes: int


@dataclass(frozen=True, slots=True)
class DelayHistogram:
    """Packets by delay. buckets[0]: below 1 us; [i]: from 2^(i-1) to below 2^i us; the last one:
    all from 2^20 us (1.05 s) on."""

    buckets: tuple[int, ...]
    sum_us: int

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def __add__(self, other: DelayHistogram) -> DelayHistogram:
        """Of the packets of both."""
        buckets = zip(self.buckets, other.buckets, strict=True)
        return DelayHistogram(tuple(a + b for a, b in buckets), self.sum_us + other.sum_us)

    def quantile_us(self, quantile: float) -> int | None:
        """Within the bucket that holds it, by proportion; None while there are no packets. What is
        in the last bucket is told as its lower end."""
        left = quantile * self.count
        for index, packets in enumerate(self.buckets):
            if packets and left <= packets:
                low = 1 << index >> 1
                is_last = index == len(self.buckets) - 1
                return low if is_last else round(low + left / packets * ((1 << index) - low))
            left -= packets
        return None
