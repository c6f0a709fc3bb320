"""Copies of broadcasts in further workers of this node: for more viewers than one worker serves,
and for neighbours that only hear the first worker.

A copy is a stream like any other whose upstream is the home worker: an internal link joins the two,
over loopback, under keys drawn here, with repair as between nodes. What happens to the way upstream
concerns the home alone. A copy of a stream that flows begins where its cursor in the home does,
which only the home knows; one of a stream that begins here begins with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random

from fastpath import EngineFullError
from relay.hkdf import KEY_BYTES
from relay.stream import Stream, StreamRegistry
from relay.workers import Workers
from service.address import Address

INTERNAL_RATE_BPS = 100_000_000_000  # as good as none: the kernel copies at some 10 Gbit/s
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Replicas:
    """Engine errors pass through."""

    def __init__(
        self, workers: Workers, registry: StreamRegistry, node_id: int, rng: Random
    ) -> None:
        self._workers = workers
        self._registry = registry
        self._node_id = node_id
        self._rng = rng
        self._ports: tuple[int, ...] = ()
        self._endpoints: tuple[Address, ...] = ()
        self._links: dict[tuple[int, int], int] = {}  # (in this worker, towards that one)
        # By stream id and worker: the home's cursor, and the home.
        self._feeds: dict[tuple[int, int], tuple[int, int]] = {}
        self._making: dict[int, tuple[Stream, int]] = {}  # by cursor

    def start(self, ports: tuple[int, ...], endpoints: Sequence[Address]) -> None:
        """The workers' overlay ports, and where they are bound."""
        self._ports = ports
        self._endpoints = tuple((_LOOPBACK.get(host, host), port) for host, port in endpoints)

    @property
    def broadcasts(self) -> set[str]:
        """All that have copies, finished or in the making."""
        found = (self._registry.by_id(stream_id) for stream_id, _ in self._feeds)
        return {stream.broadcast for stream in found if stream is not None}

    def workers_of(self, broadcast: str) -> set[int]:
        """Where it has copies, finished or in the making, of any of its tracks."""
        return {
            worker
            for stream in self._registry.of(broadcast)
            for worker in range(len(self._workers))
            if (stream.track.stream_id, worker) in self._feeds
        }

    def is_making(self, broadcast: str, worker: int) -> bool:
        """Whether a copy of any of its tracks has been begun there, but is not finished."""
        return any(
            stream.broadcast == broadcast and worker == there
            for stream, there in self._making.values()
        )

    def is_ready(self, broadcast: str, worker: int) -> bool:
        """Whether viewers can be served there: every track has a ring."""
        streams = self._registry.of(broadcast)
        return bool(streams) and all(worker in stream.handles for stream in streams)

    def add(self, broadcast: str, worker: int) -> None:
        """Begin to copy it there, where none of it is yet, from a key frame on; all or nothing."""
        try:
            for stream in self._registry.of(broadcast):
                self.add_one(stream, worker)
        except EngineFullError:
            self.remove(broadcast, worker)
            raise

    def add_one(self, stream: Stream, worker: int, start_seq: int | None = None) -> None:
        """Begin to copy one of its streams; `on_cursor_started` finishes that. start_seq: where it
        is to begin, if that is still held."""
        feed = stream.track.stream_id, worker
        if worker != stream.home and feed not in self._feeds:
            link = self._join(worker, stream.home)
            cursor = self._workers.add_cursor(stream=stream.handle, link=link, start_seq=start_seq)
            self._feeds[feed] = cursor, stream.home
            self._making[cursor] = stream, worker

    def copied_by(self, cursor: int) -> Stream | None:
        """The stream that a home's cursor makes a copy of; None if it is for another purpose."""
        found = self._making.get(cursor)
        return found[0] if found else None

    def on_cursor_started(self, cursor: int, first_stream_seq: int) -> None:
        """Finish the copy; one that there is no room for is not begun any more. What was sent till
        now was early, and may be more than a worker holds: it is sent again."""
        stream, worker = self._making.pop(cursor)
        link, upstream = self._links[stream.home, worker], self._links[worker, stream.home]
        self._starve(stream, worker)
        try:
            self._registry.add_copy(stream, worker, upstream, first_stream_seq)
            self._feed(stream, worker, link, first_stream_seq)
        except EngineFullError:
            if worker in stream.handles:
                self._registry.remove_copy(stream, worker)
            self.part_unused()
            raise

    def follow(self, stream: Stream, workers: Collection[int]) -> None:
        """Copy a stream that has just been made, from its first packet."""
        for worker in sorted(workers):
            if worker != stream.home:
                first = stream.track.first_stream_seq
                link = self._join(worker, stream.home)
                self._registry.add_copy(stream, worker, self._links[worker, stream.home], first)
                self._feed(stream, worker, link, first)

    def remove(self, broadcast: str, worker: int) -> None:
        """Its viewers there have left."""
        for stream in self._registry.of(broadcast):
            self._starve(stream, worker)
            if worker != stream.home and worker in stream.handles:
                self._registry.remove_copy(stream, worker)
        self.part_unused()

    def forget(self, stream: Stream) -> None:
        """It is about to be removed everywhere."""
        for worker in range(len(self._workers)):
            self._starve(stream, worker)

    def move_home(self, broadcast: str, home: int) -> None:
        """What was a copy, or a new ring, is fed from upstream from now on; the old home and all
        copies go on behind it where they are. The caller sets the upstream."""
        for stream in self._registry.of(broadcast):
            if stream.home == home:
                continue
            self._starve(stream, home)
            if home not in stream.handles:
                first = self._workers.stream_stats(stream.handle).first_lacking_seq
                self._registry.add_copy(stream, home, None, first)
            self._registry.set_home(stream, home)
            for worker in range(len(self._workers)):
                if worker != home:
                    self._starve(stream, worker)
                if worker != home and (handle := stream.handles.get(worker)) is not None:
                    link = self._join(worker, home)
                    self._workers.set_upstream(handle, self._links[worker, home])
                    first = self._workers.stream_stats(handle).first_lacking_seq
                    self._feed(stream, worker, link, first)
        self.part_unused()

    def part_unused(self) -> None:
        """Remove the links of workers that share no broadcast any more."""
        fed = {frozenset((home, worker)) for (_, worker), (_, home) in self._feeds.items()}
        for here, there in [pair for pair in self._links if frozenset(pair) not in fed]:
            self._workers.remove_link(self._links.pop((here, there)))

    # -- inside

    def _feed(self, stream: Stream, worker: int, link: int, start_seq: int) -> None:
        cursor = self._workers.add_cursor(stream=stream.handle, link=link, start_seq=start_seq)
        self._feeds[stream.track.stream_id, worker] = cursor, stream.home

    def _starve(self, stream: Stream, worker: int) -> None:
        feed = self._feeds.pop((stream.track.stream_id, worker), None)
        if feed is not None:
            self._making.pop(feed[0], None)
            self._workers.remove_cursor(feed[0])

    def _join(self, worker: int, home: int) -> int:
        """The home's link towards the worker; made with its other end if there is none."""
        if (home, worker) not in self._links:
            keys = [self._rng.randbytes(KEY_BYTES) for _ in range(3)]
            for here, there in ((worker, home), (home, worker)):  # who receives is there first
                link = self._links[here, there] = self._workers.add_link(
                    port=self._ports[here],
                    address=self._endpoints[there],
                    peer_node=self._node_id,
                    hello_key=keys[2],
                    rate_bps=INTERNAL_RATE_BPS,
                )
                receive, send = (keys[0], keys[1]) if here < there else (keys[1], keys[0])
                self._workers.offer_keys(link, receive_key=receive, send_key=send, send_now=True)
        return self._links[home, worker]
