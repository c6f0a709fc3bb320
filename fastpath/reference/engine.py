"""The engine in virtual time: commands, turns, and what can be read of it.

Takes the same calls as `fastpath.Engine`, whose stub says what each means. Statistics are plain
dictionaries with the names of `fastpath.stats`.
"""

from collections.abc import Callable, Iterable

from fastpath.events import CursorStarted, Event
from fastpath.handles import HandleTable
from fastpath.rate import RateConfig, RateKind
from fastpath.reference.cursor import Cursor, State, Viewer
from fastpath.reference.insert import claim_early, expire_early, forget_early, wake_cursors
from fastpath.reference.key_frame import ask_for_key_frames
from fastpath.reference.link import Address, Keys, Link
from fastpath.reference.pacing import open_pacer
from fastpath.reference.receive import receive_overlay
from fastpath.reference.repair import on_link_timer
from fastpath.reference.ring import AUDIO_CAPACITY, VIDEO_CAPACITY, Ring
from fastpath.reference.send import drain_link, send_message
from fastpath.reference.shed import shed_turn
from fastpath.reference.siphash import siphash24
from fastpath.reference.switch import (
    begin_cursor,
    join_stream,
    move_at_once,
    part_stream,
    queue_cursor,
    settle_switches,
    unqueue_cursor,
    want_switch,
)
from fastpath.reference.wire import LOW_32, Digest, PacketType
from fastpath.reference.worker import Settings, Stream, Worker

OVERLAY, INGEST, VIEWER = range(3)  # kinds of ports
VIDEO = 2  # of fastpath.Media
INDEX_MASK = (1 << HandleTable.INDEX_BITS) - 1

Datagram = tuple[int, Address, bytes]
"""Port handle, source or destination, UDP payload."""


class ReferenceEngine:
    """One worker. Commands wait for the next turn, which applies them in order, first of all."""

    def __init__(
        self,
        *,
        streams: int = 1024,
        cursors: int = 8192,
        node_links: int = 64,
        viewer_links: int = 1024,
        ports: int = 256,
        node_id: int = 0,
        digest: Digest = siphash24,
        **settings: int,
    ) -> None:
        """digest: SipHash-2-4; a faster one than this package's own may be given."""
        self._worker = Worker(Settings(**settings), digest, node_id)  # type: ignore[arg-type]  # bools too
        self._ports = HandleTable("ports", ports)
        self._node_links = HandleTable("node_links", node_links)
        self._viewer_links = HandleTable("viewer_links", viewer_links, node_links)
        self._streams = HandleTable("streams", streams)
        self._cursors = HandleTable("cursors", cursors)
        self._port_kinds: dict[int, int] = {}
        self._links_by_handle: dict[int, Link] = {}
        self._streams_by_handle: dict[int, Stream] = {}
        self._cursors_by_handle: dict[int, Cursor] = {}
        # Of each cursor when all commands are applied.
        self._places: dict[int, tuple[Stream, Link]] = {}
        self._commands: list[Callable[[int], None]] = []

    # -- ports and links

    def open_port(self, kind: int) -> int:
        port = self._ports.take()
        self._port_kinds[port] = kind
        return port

    def add_link(
        self,
        *,
        port: int,
        address: Address,
        peer_node: int,
        hello_key: bytes,
        rate_bps: int,
        rate_kind: RateKind | None = None,
        rate: RateConfig | None = None,
    ) -> int:
        handle = self._node_links.take()
        link = Link(handle, rate_bps, False, port, address, hello_key, peer_node)
        self._links_by_handle[handle] = link

        def apply(now_us: int) -> None:
            link.unchecked_seen = self._worker.overload.unchecked  # before it was there
            open_pacer(link, rate_kind, rate, now_us)
            self._worker.links.append(link)
            self._worker.links.sort(key=lambda k: k.handle & INDEX_MASK)

        self._commands.append(apply)
        return handle

    def add_viewer_link(
        self,
        *,
        rate_bps: int,
        cname: bytes = b"overlane-viewer0",
        rate_kind: RateKind | None = None,
        rate: RateConfig | None = None,
    ) -> int:
        link = Link(self._viewer_links.take(), rate_bps, True, cname=cname.decode())
        self._links_by_handle[link.handle] = link
        self._commands.append(lambda now_us: open_pacer(link, rate_kind, rate, now_us))
        return link.handle

    def remove_link(self, link: int) -> None:
        removed = self._links_by_handle.pop(link)
        (self._viewer_links if removed.is_viewer else self._node_links).give(link)
        self._forget_cursors(removed)
        self._commands.append(lambda _: self._remove_link(removed))

    def _remove_link(self, link: Link) -> None:
        link.is_open = False
        for cursor in list(link.cursors):
            self._remove_cursor(cursor)
        for stream in self._worker.streams:
            for place in ("upstream", "second_upstream", "awaited"):
                if getattr(stream, place) is link:
                    setattr(stream, place, None)
        forget_early(self._worker, link)
        self._worker.timers.cancel(link)
        if not link.is_viewer:
            self._worker.links.remove(link)

    def offer_keys(
        self,
        link: int,
        *,
        receive_key: bytes,
        send_key: bytes,
        send_now: bool,
        first_hop_seq: int = 1,
        peer_first_hop_seq: int = 1,
    ) -> None:
        known = self._links_by_handle[link]

        def apply(_now_us: int) -> None:
            keys = Keys(receive_key, send_key)
            if known.offer(keys, send_now, first_hop_seq, peer_first_hop_seq):
                self._worker.mark_ready(known)

        self._commands.append(apply)

    def send_hello(self, link: int, payload: bytes) -> None:
        self._send(link, PacketType.HELLO, payload)

    def send_control(self, link: int, payload: bytes) -> None:
        self._send(link, PacketType.CONTROL, payload)

    def _send(self, link: int, kind: PacketType, payload: bytes) -> None:
        known = self._links_by_handle[link]

        def apply(now_us: int) -> None:
            if not send_message(self._worker, known, kind, payload, now_us):
                self._worker.count("control_unsent")
            self._worker.mark_ready(known)

        self._commands.append(apply)

    def set_link_rate(self, link: int, rate_bps: int, start_bps: int = 0) -> None:
        known = self._links_by_handle[link]

        def apply(now_us: int) -> None:
            if known.pacer is None:
                known.set_rate(rate_bps)
            else:
                known.pacer.set_rate(known, rate_bps, start_bps, now_us)

        self._commands.append(apply)

    def set_needed_bps(self, link: int, bps: int) -> None:
        known = self._links_by_handle[link]

        def apply(now_us: int) -> None:
            if known.pacer is not None:
                known.pacer.set_needed(known, bps, now_us)

        self._commands.append(apply)

    # -- streams

    def add_stream(
        self,
        *,
        stream_id: int,
        media: int,
        first_stream_seq: int,
        upstream: int | None,
        clock_rate: int = 90_000,
        group: int = 0,
        deadline_us: int = 0,
    ) -> int:
        del group  # of an ingest's sender reports
        is_video = media == VIDEO
        ring = Ring(VIDEO_CAPACITY if is_video else AUDIO_CAPACITY, first_stream_seq)
        link = None if upstream is None else self._links_by_handle[upstream]
        handle = self._streams.take()
        stream = Stream(handle, stream_id, is_video, ring, link, clock_rate=clock_rate)
        stream.deadline_us = deadline_us or self._worker.settings.repair_deadline_us
        self._streams_by_handle[stream.handle] = stream

        def apply(now_us: int) -> None:
            self._worker.streams.insert(0, stream)
            stream.note_deadline()
            claim_early(self._worker, stream, now_us)

        self._commands.append(apply)
        return stream.handle

    def set_upstream(self, stream: int, upstream: int | None, *, second: int | None = None) -> None:
        known = self._streams_by_handle[stream]
        link, other = (
            None if handle is None else self._links_by_handle[handle]
            for handle in (upstream, second)
        )

        def apply(now_us: int) -> None:
            newest = link if other is None else other
            if newest is not None and not known.comes_from(newest):
                known.awaited = newest
            elif known.awaited is not newest:
                known.awaited = None
            known.upstream, known.second_upstream = link, other
            known.note_deadline()
            claim_early(self._worker, known, now_us)

        self._commands.append(apply)

    def remove_stream(self, stream: int) -> None:
        removed = self._streams_by_handle.pop(stream)
        self._streams.give(stream)
        self._forget_cursors(removed)

        def apply(_now_us: int) -> None:
            removed.is_open = False
            settle_switches(self._worker, removed)
            for cursor in list(removed.cursors):
                self._remove_cursor(cursor)
            for link in self._links_by_handle.values():
                for cursor in [c for c in link.cursors if c.switch_to is removed]:
                    self._remove_cursor(cursor)
            self._worker.streams.remove(removed)

        self._commands.append(apply)

    # -- subscribers

    def add_cursor(self, *, stream: int, link: int, start_seq: int | None = None) -> int:
        return self._add_cursor(stream, link, None, 0, start_seq)

    def mark_copy(self, cursor: int, is_copy: bool) -> None:
        marked = self._cursors_by_handle[cursor]

        def apply(_now_us: int) -> None:
            marked.is_copy = is_copy

        self._commands.append(apply)

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
        transport_cc_id: int = 0,
        delay_id: int = 0,
    ) -> int:
        viewer = Viewer(port, address, ssrc, rtcp_address, transport_cc_id, delay_id)
        cursor = self._add_cursor(stream, link, viewer, first_sequence_number)
        self._cursors_by_handle[cursor].payload_type = payload_type
        return cursor

    def _add_cursor(
        self,
        stream: int,
        link: int,
        viewer: Viewer | None,
        first: int,
        start_seq: int | None = None,
    ) -> int:
        handle = self._cursors.take()
        cursor = Cursor(
            handle, self._streams_by_handle[stream], self._links_by_handle[link], viewer, first
        )
        self._cursors_by_handle[handle] = cursor
        self._places[handle] = cursor.stream, cursor.link

        def apply(_now_us: int) -> None:
            cursor.link.cursors.append(cursor)
            join_stream(cursor, cursor.stream)
            self._begin(cursor, start_seq)
            if viewer is None:
                self._worker.post(CursorStarted(handle, cursor.start & LOW_32))

        self._commands.append(apply)
        return handle

    def move_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        moved, target = self._cursors_by_handle[cursor], self._streams_by_handle[stream]
        self._places[cursor] = target, moved.link

        self._commands.append(lambda _: move_at_once(self._worker, moved, target, payload_type))

    def switch_viewer_cursor(self, cursor: int, *, stream: int, payload_type: int) -> None:
        moved, target = self._cursors_by_handle[cursor], self._streams_by_handle[stream]
        self._places[cursor] = target, moved.link
        self._commands.append(lambda _: want_switch(self._worker, moved, target, payload_type))

    def _begin(self, cursor: Cursor, start_seq: int | None) -> None:
        """Stand where it is to begin, or can, and have its link look at it."""
        ring = cursor.stream.ring
        if start_seq is None or not cursor.begin_at(ring.extended(start_seq)):
            self._worker.count("start_not_held", start_seq is not None)
            begin_cursor(self._worker, cursor)
            return
        cursor.began_us = self._worker.turn_us
        queue_cursor(cursor)
        self._worker.mark_ready(cursor.link)

    def remove_cursor(self, cursor: int) -> None:
        removed = self._cursors_by_handle.pop(cursor)
        del self._places[cursor]
        self._cursors.give(cursor)
        self._commands.append(lambda _: self._remove_cursor(removed))

    def _remove_cursor(self, cursor: Cursor) -> None:
        cursor.state = State.REMOVED
        cursor.link.cursors.remove(cursor)
        unqueue_cursor(cursor)
        part_stream(cursor)
        cursor.spans.clear()

    def _forget_cursors(self, removed: Stream | Link) -> None:
        """The lowest index is taken again first."""
        gone = [handle for handle, place in self._places.items() if removed in place]
        for handle in sorted(gone, key=lambda h: h & INDEX_MASK, reverse=True):
            del self._cursors_by_handle[handle], self._places[handle]
            self._cursors.give(handle)

    # -- running

    def turn(
        self,
        now_us: int,
        datagrams: Iterable[Datagram] = (),
        *,
        arrived_us: int | None = None,
        spent_us: int = 0,
    ) -> list[Datagram]:
        """Commands, what arrived, timers, and what all that allows to be sent."""
        worker = self._worker
        worker.turn_us = now_us
        worker.arrived_us = now_us if arrived_us is None else arrived_us
        worker.overload.note(now_us - worker.arrived_us)
        worker.overload.busy_us += spent_us
        commands, self._commands = self._commands, []
        for command in commands:
            command(now_us)
        for port, source, datagram in datagrams:
            if self._port_kinds[port] == OVERLAY:
                worker.count(receive_overlay(worker, port, source, datagram, now_us))
        for link in worker.timers.pop(now_us):
            on_link_timer(worker, link, now_us)
        ask_for_key_frames(worker, now_us)
        wake_cursors(worker)
        for link in worker.ready:
            drain_link(worker, link, now_us)
        worker.ready.clear()
        expire_early(worker, now_us)
        shed_turn(worker, now_us)
        sent, worker.sent = worker.sent, []
        return sent

    def next_timer_us(self) -> int | None:
        times = self._worker.timers.next_us(), self._worker.overload.next_us()
        return min((time_us for time_us in times if time_us is not None), default=None)

    def events(self) -> list[Event]:
        found, self._worker.events = self._worker.events, []
        return found

    # -- counters

    def verdicts(self) -> dict[str, int]:
        """Those that are not 0."""
        return {name: number for name, number in self._worker.counters.items() if number}

    def link_stats(self, link: int) -> dict[str, int]:
        known = self._links_by_handle[link]
        names = (
            "is_up rtt_us sent_packets sent_bytes received_packets received_bytes lost reordered "
            "repaired voided gone given_up requests_sent resent resend_suppressed history_evicted "
            "repaired_late resend_refused resend_expired resent_twice target_bps pacing_bps"
        )
        return {name: getattr(known, name) for name in names.split()} | {
            "has_keys": known.send_key is not None,
            "holes_open": len(known.holes),
            "backlogged": known.backlog(),
            **({} if known.pacer is None else known.pacer.figures()),
        }

    def stream_stats(self, stream: int) -> dict[str, int]:
        known = self._streams_by_handle[stream]
        names = (
            "stream_id packets bytes duplicates late too_old gone restarts delay_us last_packet_us "
            "copies"
        )
        return {name: getattr(known, name) for name in names.split()} | {
            "covered_by_other_path": max(0, known.copies - known.copies_confirmed),
            "held_packets": len(known.ring.packets),
            "capacity": known.ring.capacity,
            "subscribers": len(known.cursors),
            "key_frames": known.ring.key_frames,
            "first_stream_seq": known.ring.tail & LOW_32,
            "next_stream_seq": known.ring.head & LOW_32,
            "first_lacking_seq": known.ring.lacking & LOW_32,
        }

    def cursor_stats(self, cursor: int) -> dict[str, int]:
        known = self._cursors_by_handle[cursor]
        names = "packets bytes late_packets lapped lag_us lag_bytes"
        return {name: getattr(known, name) for name in names.split()} | {
            "dropped_discardable": known.dropped[0],
            "dropped_predicted": known.dropped[1],
            "dropped_gop": known.dropped[2],
            "next_stream_seq": known.next & LOW_32,
            "lag_packets": max(0, known.stream.ring.head - known.next) & LOW_32,
        }
