"""The workers of a node under one set of handles: an Engine each, and nothing shared between them.

A handle carries its worker in the bits above the engine's own, so those of worker 0 are the
engine's. Every call goes to the worker that its handles name; events come with such handles. The
node's limits hold for all workers together. Same calls, arguments and errors as `fastpath.Engine`.
"""

from __future__ import annotations

import dataclasses
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any, Literal, TypeAlias

from fastpath import Codec, Engine, EngineFullError, Media, PortKind
from fastpath import events as engine_events
from fastpath.stats import (
    CursorStats,
    DelayHistogram,
    LinkStats,
    MemoryStats,
    OverloadStats,
    StreamStats,
)
from relay.config import NodeConfig
from relay.errors import WorkerError
from relay.slowpath.rate import LinkController
from service.address import Address

Table: TypeAlias = Literal["streams", "cursors", "viewer_links"]

WORKER_SHIFT = 52  # fastpath/handles.py: 20 bits of index, 32 of generation
_MASK = (1 << WORKER_SHIFT) - 1
_HANDLES = frozenset({"link", "stream", "cursor"})  # names of fields in fastpath/events.py
LINKS_PER_NEIGHBOUR = 4
"""Chosen: of a worker, where neighbours have several; only those in use take memory."""


def worker_of(handle: int) -> int:
    """Which worker a handle belongs to."""
    return handle >> WORKER_SHIFT


class Workers:
    """limits: of all workers together, by table; one that is not named is as each engine's.
    read_cpu_us: the CPU time that each worker's thread has used; nothing where they have none."""

    def __init__(self, engines: Sequence[Engine], limits: dict[str, int] | None = None) -> None:
        self.engines = tuple(engines)
        self.read_cpu_us: Callable[[], list[int]] = list
        self._limits = limits or {}

    def __len__(self) -> int:
        return len(self.engines)

    def _at(self, handle: int) -> tuple[Engine, int]:
        worker = handle >> WORKER_SHIFT
        if not 0 <= worker < len(self.engines):
            raise KeyError(f"{handle} is no handle of these workers")
        return self.engines[worker], handle & _MASK

    def _together(self, first: int, *others: int) -> tuple[Engine, int]:
        """As `_at`, of handles that only one and the same worker can bring together."""
        if any(worker_of(other) != worker_of(first) for other in others):
            raise KeyError(f"{others} are not of worker {worker_of(first)}, as {first} is")
        return self._at(first)

    def _check_room(self, table: Table) -> None:
        limit = self._limits.get(table)
        if limit is None or len(self.engines) == 1:
            return
        if sum(engine.used(table) for engine in self.engines) >= limit:
            raise EngineFullError(table, limit)

    # -- ports and links

    def open_port(
        self, kind: PortKind, fd: int = -1, *, rtp_port: int | None = None, worker: int = 0
    ) -> int:
        """rtp_port: of an INGEST_RTCP port; both are one worker's."""
        if rtp_port is not None:
            worker = worker_of(rtp_port)
        own = None if rtp_port is None else rtp_port & _MASK
        return worker << WORKER_SHIFT | self.engines[worker].open_port(kind, fd, rtp_port=own)

    def add_link(
        self,
        *,
        port: int,
        address: Address,
        peer_node: int,
        hello_key: bytes,
        rate_bps: int,
        controller: LinkController | None = None,
    ) -> int:
        """In the worker that the port belongs to."""
        engine, own = self._at(port)
        kind, rate = controller or (None, None)
        return worker_of(port) << WORKER_SHIFT | engine.add_link(
            port=own,
            address=address,
            peer_node=peer_node,
            hello_key=hello_key,
            rate_bps=rate_bps,
            rate_kind=kind,
            rate=rate,
        )

    def offer_keys(self, link: int, *, receive_key: bytes, send_key: bytes, send_now: bool) -> None:
        engine, own = self._at(link)
        engine.offer_keys(own, receive_key=receive_key, send_key=send_key, send_now=send_now)

    def send_hello(self, link: int, payload: bytes) -> None:
        engine, own = self._at(link)
        engine.send_hello(own, payload)

    def send_control(self, link: int, payload: bytes) -> None:
        engine, own = self._at(link)
        engine.send_control(own, payload)

    def set_link_rate(self, link: int, rate_bps: int, start_bps: int = 0) -> None:
        engine, own = self._at(link)
        engine.set_link_rate(own, rate_bps, start_bps)

    def set_needed_bps(self, link: int, bps: int) -> None:
        engine, own = self._at(link)
        engine.set_needed_bps(own, bps)

    def remove_link(self, link: int) -> None:
        engine, own = self._at(link)
        engine.remove_link(own)

    # -- streams

    def add_stream(
        self,
        *,
        stream_id: int,
        media: Media,
        first_stream_seq: int,
        upstream: int | None,
        clock_rate: int = 90_000,
        group: int = 0,
        deadline_us: int = 0,
        worker: int = 0,
    ) -> int:
        """worker: of an ingest; with an upstream, it is the one of that link."""
        self._check_room("streams")
        worker = worker if upstream is None else worker_of(upstream)
        return worker << WORKER_SHIFT | self.engines[worker].add_stream(
            stream_id=stream_id,
            media=media,
            first_stream_seq=first_stream_seq,
            upstream=None if upstream is None else upstream & _MASK,
            clock_rate=clock_rate,
            group=group,
            deadline_us=deadline_us,
        )

    def set_ingest(
        self,
        port: int,
        *,
        stream: int,
        codec: Codec,
        payload_type: int,
        parameter_sets: bytes = b"",
        rtcp_to: Address | None = None,
        nack: bool = False,
        rtx_payload_type: int = 0,
        transport_cc_id: int = 0,
        dependency_id: int = 0,
    ) -> None:
        engine, own = self._together(port, stream)
        engine.set_ingest(
            own,
            stream=stream & _MASK,
            codec=codec,
            payload_type=payload_type,
            parameter_sets=parameter_sets,
            rtcp_to=rtcp_to,
            nack=nack,
            rtx_payload_type=rtx_payload_type,
            transport_cc_id=transport_cc_id,
            dependency_id=dependency_id,
        )

    def set_upstream(self, stream: int, upstream: int | None, *, second: int | None = None) -> None:
        links = [link for link in (upstream, second) if link is not None]
        engine, own = self._together(stream, *links)
        engine.set_upstream(
            own,
            None if upstream is None else upstream & _MASK,
            second=None if second is None else second & _MASK,
        )

    def remove_stream(self, stream: int) -> None:
        engine, own = self._at(stream)
        engine.remove_stream(own)

    # -- subscribers

    def add_cursor(self, *, stream: int, link: int, start_seq: int | None = None) -> int:
        self._check_room("cursors")
        engine, own = self._together(stream, link)
        cursor = engine.add_cursor(stream=own, link=link & _MASK, start_seq=start_seq)
        return worker_of(stream) << WORKER_SHIFT | cursor

    def mark_copy(self, cursor: int, is_copy: bool) -> None:
        engine, own = self._at(cursor)
        engine.mark_copy(own, is_copy)

    def add_viewer_link(
        self,
        *,
        rate_bps: int,
        cname: bytes = b"overlane-viewer0",
        controller: LinkController | None = None,
        worker: int = 0,
    ) -> int:
        self._check_room("viewer_links")
        kind, rate = controller or (None, None)
        link = self.engines[worker].add_viewer_link(
            rate_bps=rate_bps, cname=cname, rate_kind=kind, rate=rate
        )
        return worker << WORKER_SHIFT | link

    def add_viewer_cursor(
        self,
        *,
        stream: int,
        link: int,
        port: int,
        address: Address,
        ssrc: int,
        payload_type: int,
        first_sequence_number: int,
        rtcp_address: Address | None = None,
        rtx_payload_type: int = 0,
        rtx_ssrc: int = 0,
        rtx_first_sequence_number: int = 0,
        transport_cc_id: int = 0,
        delay_id: int = 0,
    ) -> int:
        self._check_room("cursors")
        engine, own = self._together(stream, link, port)
        cursor = engine.add_viewer_cursor(
            stream=own,
            link=link & _MASK,
            port=port & _MASK,
            address=address,
            ssrc=ssrc,
            payload_type=payload_type,
            first_sequence_number=first_sequence_number,
            rtcp_address=rtcp_address,
            rtx_payload_type=rtx_payload_type,
            rtx_ssrc=rtx_ssrc,
            rtx_first_sequence_number=rtx_first_sequence_number,
            transport_cc_id=transport_cc_id,
            delay_id=delay_id,
        )
        return worker_of(stream) << WORKER_SHIFT | cursor

    def move_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        engine, own = self._together(cursor, stream)
        engine.move_viewer_cursor(own, stream=stream & _MASK, payload_type=payload_type)

    def switch_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        engine, own = self._together(cursor, stream)
        engine.switch_viewer_cursor(own, stream=stream & _MASK, payload_type=payload_type)

    def remove_cursor(self, cursor: int) -> None:
        engine, own = self._at(cursor)
        engine.remove_cursor(own)

    # -- what comes back

    def events(self) -> list[engine_events.Event]:
        """Of all workers, those of each in their order."""
        found = list(self.engines[0].events())
        for worker, engine in enumerate(self.engines[1:], 1):
            found += (_tagged(event, worker) for event in engine.events())
        return found

    def verdicts(self) -> dict[str, int]:
        """The sums; see `engines` for each worker's own."""
        counts: Counter[str] = Counter()
        for engine in self.engines:
            counts.update(engine.verdicts())
        return dict(counts)

    def link_stats(self, link: int) -> LinkStats:
        engine, own = self._at(link)
        return engine.link_stats(own)

    def stream_stats(self, stream: int) -> StreamStats:
        engine, own = self._at(stream)
        return engine.stream_stats(own)

    def cursor_stats(self, cursor: int) -> CursorStats:
        engine, own = self._at(cursor)
        return engine.cursor_stats(own)

    def delays(self, link: int | None = None) -> DelayHistogram:
        """Of one link, or of all viewers of all workers."""
        if link is None:
            return reduce(operator.add, (engine.delays() for engine in self.engines))
        engine, own = self._at(link)
        return engine.delays(own)

    def overload(self) -> OverloadStats:
        """The step of the worker that sheds most, and how often any has begun."""
        each = [engine.overload() for engine in self.engines]
        return OverloadStats(
            step=max(stats.step for stats in each), episodes=sum(stats.episodes for stats in each)
        )

    def memory(self) -> MemoryStats:
        """Used and limit of all workers together."""
        each = [engine.memory() for engine in self.engines]
        if len(each) == 1:
            return each[0]
        sums = {
            field.name: _sum(getattr(memory, field.name) for memory in each)
            for field in dataclasses.fields(MemoryStats)
        }
        for table, limit in self._limits.items():
            sums[table] = (sums[table][0], limit)
        return MemoryStats(**sums)

    def fallbacks(self) -> list[str]:
        """Features that any worker does without."""
        return list(dict.fromkeys(name for engine in self.engines for name in engine.fallbacks()))


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    return reduce(lambda a, b: (operator.add(a[0], b[0]), operator.add(a[1], b[1])), pairs)


def _tagged(event: engine_events.Event, worker: int) -> engine_events.Event:
    """With the worker in its handles, those of links, streams and cursors."""
    names = [field.name for field in dataclasses.fields(event) if field.name in _HANDLES]
    if not names:
        return event
    handles: dict[str, Any] = {
        name: worker << WORKER_SHIFT | getattr(event, name) for name in names
    }
    return dataclasses.replace(event, **handles)


def new_engine(config: NodeConfig) -> Engine:
    """One worker of the configured sizes; everything it will ever use is allocated here.

    The slab is shared out. Each worker's tables have room for all of the node's entries, as what
    is not used takes no memory: so no table is full in one worker before it is full in the node.
    """
    limits, repair, count = config.limits, config.repair, config.worker_count
    return Engine(
        node_id=config.node_id,
        streams=limits.streams,
        cursors=limits.cursors,
        node_links=min(LINKS_PER_NEIGHBOUR * limits.node_links + count, 65_536),
        viewer_links=limits.viewers,
        ports=limits.ports,
        slab_bytes=(limits.slab_mib << 20) // count,
        repair=repair.enabled,
        repair_scan_us=repair.scan_interval_us,
        repair_early=repair.early,
        reorder_us=repair.reorder_us,
        repair_deadline_us=repair.deadline_us,
        use_gro=config.kernel.use_gro,
        use_gso=config.kernel.use_gso,
        huge_pages=config.kernel.huge_pages,
        shed_age_us=config.overload.shed_age_us,
        spin_us=config.kernel.spin_us,
        max_lag_us=config.dropping.max_lag_us,
        max_lag_bytes=config.dropping.max_lag_bytes,
        gop_cache=config.gop_cache.enabled,
        start_at_gop=config.gop_cache.start == "gop",
    )


def new_workers(config: NodeConfig) -> Workers:
    """All of a node's. Raises MemoryError, and WorkerError if the system gives no descriptors."""
    limits = config.limits
    try:
        engines = [new_engine(config) for _ in range(config.worker_count)]
    except OSError as error:
        text = f"workers: {error}; is there a limit of open files (ulimit -n)?"
        raise WorkerError(text) from None
    return Workers(
        engines,
        {
            "streams": limits.streams,
            "cursors": limits.cursors,
            "viewer_links": limits.viewers,
            "ports": limits.ports,
        },
    )
