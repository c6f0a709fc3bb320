"""What a node measures for its brain: windows over the engine's counters.

Counters only rise, but begin anew with a link or a stream that is made anew, and packet numbers
wrap at 2^32. Times are an argument; how much CPU the process has used is read by a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from control_client.messages import MAX_STREAMS, LinkReport, NodeLoad, StreamReport
from fastpath.stats import LinkStats, StreamStats
from relay.node import Node
from relay.slowpath.broadcast import Broadcast
from relay.slowpath.subscription_events import BroadcastState

CpuReader = Callable[[], int]
"""Microseconds of CPU time that the process has used."""

SHORTEST_LOAD_US = 500_000  # chosen: half a sample; a start takes all of a core for some 10 ms
_MOST_PERMILLE = 10_000
_MOST_BPS = 10_000_000_000_000  # as the message allows
_U32 = 0xFFFFFFFF


def grown(before: int, now: int) -> int:
    """How much a counter has risen; one that is lower than before has begun anew."""
    return now - before if now >= before else now


@dataclass(frozen=True, slots=True)
class LinkMark:
    link: int
    sent_bytes: int = 0
    received_packets: int = 0
    lost: int = 0


class LinkMeter:
    """Links since the last `mark`."""

    def __init__(self, node: Node, now_us: int) -> None:
        self._node = node
        self.mark(now_us)

    def mark(self, now_us: int) -> None:
        """Begin a window."""
        self._since_us = now_us
        self._marks = {}
        for name, neighbour in self._node.neighbours.items():
            stats = neighbour.stats()
            self._marks[name] = LinkMark(
                neighbour.link, stats.sent_bytes, stats.received_packets, stats.lost
            )

    def read(self, now_us: int, names: Iterable[str] | None = None) -> list[LinkReport]:
        """Of all neighbours or of these. A link whose round trip was never measured is left out,
        unless it has been up and is down."""
        window_us = max(1, now_us - self._since_us)
        neighbours = self._node.neighbours
        found = []
        for name in neighbours if names is None else names:
            if (neighbour := neighbours.get(name)) is None:
                continue
            stats = neighbour.stats()
            is_known = stats.rtt_us > 0 or (stats.has_keys and not stats.is_up)
            if is_known:
                mark = self._marks.get(name)
                if mark is None or mark.link != neighbour.link:
                    mark = LinkMark(neighbour.link)
                found.append(link_report(name, mark, stats, neighbour.peer.rate_bps, window_us))
        return found


def link_report(
    name: str, mark: LinkMark, stats: LinkStats, capacity_bps: int, window_us: int
) -> LinkReport:
    rate_bps = min(grown(mark.sent_bytes, stats.sent_bytes) * 8_000_000 // window_us, _MOST_BPS)
    # Each number of the link either came or was lost; copies of lost packets have their own.
    lost = grown(mark.lost, stats.lost)
    numbers = grown(mark.received_packets, stats.received_packets) + lost
    return LinkReport(
        neighbour=name,
        is_up=stats.is_up,
        rtt_us=stats.rtt_us,
        loss_ppm=lost * 1_000_000 // numbers if numbers else 0,
        utilisation_permille=min(rate_bps * 1000 // capacity_bps, _MOST_PERMILLE),
        rate_bps=rate_bps,
    )


@dataclass(frozen=True, slots=True)
class HopCount:
    """Packets of streams on their last hop. numbers: what should have come."""

    numbers: int = 0
    received: int = 0
    repaired: int = 0

    @property
    def given_up(self) -> int:
        """Also those still being asked for, which the next window makes good."""
        return max(0, self.numbers - self.received)


def hop_count(before: StreamStats | None, now: StreamStats, first_stream_seq: int) -> HopCount:
    """before: None if the stream is new, and began at `first_stream_seq`. One that jumped counts
    what came."""
    received = grown(before.packets if before else 0, now.packets)
    repaired = grown(before.late if before else 0, now.late)
    if not now.packets or now.restarts != (before.restarts if before else 0):
        return HopCount(received, received, repaired)
    first = before.next_stream_seq if before and before.packets else first_stream_seq
    return HopCount((now.next_stream_seq - first) & _U32, received, repaired)


class StreamMeter:
    """Broadcasts since the last `read`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._marks: dict[int, StreamStats] = {}

    def read(self) -> list[StreamReport]:
        """Of every broadcast that is or was here; begins the next window."""
        marks: dict[int, StreamStats] = {}
        found = [
            self._read_one(broadcast, marks)
            for broadcast in self._node.subscriptions.broadcasts
            if broadcast.state not in (BroadcastState.ASKING, BroadcastState.STANDBY)
        ]
        self._marks = marks
        return found[:MAX_STREAMS]

    def _read_one(self, broadcast: Broadcast, marks: dict[int, StreamStats]) -> StreamReport:
        counts, delays_us = [], [0]
        for stream in self._node.streams.of(broadcast.name):
            stats = self._node.engine.stream_stats(stream.handle)
            before = self._marks.get(stream.handle)
            counts.append(hop_count(before, stats, stream.track.first_stream_seq))
            delays_us.append(stats.delay_us)
            marks[stream.handle] = stats
        repaired = sum(count.repaired for count in counts)
        given_up = sum(count.given_up for count in counts)
        path = self._node.path_of(broadcast.name)
        return StreamReport(
            broadcast=broadcast.name,
            upstream=path[-2] if len(path) > 1 else None,
            received_packets=sum(count.received for count in counts),
            lost_packets=repaired + given_up,
            repaired_packets=repaired,
            given_up_packets=given_up,
            delay_us=max(delays_us),
            viewers=len(broadcast.viewers),
            subscribers=len(broadcast.nodes),
        )


class LoadMeter:
    """The node as a whole, since the `read` before. Rates over less than SHORTEST_LOAD_US say
    nothing: the last ones stand, at first 0, and the window goes on."""

    def __init__(self, node: Node, read_cpu_us: CpuReader, now_us: int) -> None:
        self._node = node
        self._read_cpu_us = read_cpu_us
        self._since_us = now_us
        self._cpu_us = self._read_threads()
        self._sent: dict[int, int] = {}
        self._egress_bytes()  # what was sent before is of no window
        self._cpu_permille = self._egress_bps = 0

    def read(self, now_us: int) -> NodeLoad:
        """Of one core, as one thread forwards; of the thread that has most to do, if several do."""
        node = self._node
        window_us = now_us - self._since_us
        if window_us >= SHORTEST_LOAD_US:
            self._measure(window_us)
            self._since_us = now_us
        memory = node.engine.memory()
        each = [engine.memory() for engine in node.engine.engines]
        blocks = [pair for one in each for pair in (one.small_blocks, one.large_blocks)]
        return NodeLoad(
            cpu_permille=self._cpu_permille,
            memory_permille=max(used * 1000 // limit for used, limit in blocks),
            streams=memory.streams[0],
            viewers=len(node.edge.viewers),
            egress_bps=self._egress_bps,
        )

    def _measure(self, window_us: int) -> None:
        """Begins the next window."""
        before, self._cpu_us = self._cpu_us, self._read_threads()
        used_us = max(map(grown, before, self._cpu_us))
        self._cpu_permille = min(used_us * 1000 // window_us, _MOST_PERMILLE)
        self._egress_bps = min(self._egress_bytes() * 8_000_000 // window_us, _MOST_BPS)

    def _read_threads(self) -> list[int]:
        """Of the process, or of several workers and all else."""
        process_us = self._read_cpu_us()
        workers_us = self._node.engine.read_cpu_us()
        if len(workers_us) < 2:
            return [process_us]
        return [max(0, process_us - sum(workers_us)), *workers_us]

    def _egress_bytes(self) -> int:
        """To neighbours and viewers, as far as they are still there."""
        node, before = self._node, self._sent
        legs = [leg.cursor for viewer in node.edge.viewers for leg in viewer.legs.values()]
        # Handles of links and cursors may be equal numbers: cursors are kept below 0.
        sent = {each.link: each.stats().sent_bytes for each in node.neighbours.values()}
        sent |= {-cursor: node.engine.cursor_stats(cursor).bytes for cursor in legs}
        self._sent = sent
        return sum(grown(before.get(key, 0), value) for key, value in sent.items())
