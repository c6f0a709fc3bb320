"""Python's side of a worker: commands in, events out, counters, and the two ways to run it.

See engine.pyi for the meaning of each call. Python owns the index of everything it adds; the worker
owns the memory behind it.
"""

from enum import IntEnum
import time

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.unistd cimport close
from fastpath.address cimport address_from_python, address_t, address_to_python
from fastpath.age_heap cimport age_heap_close, age_heap_open
from fastpath.cursor cimport (
    CURSOR_PAUSED, DROP_DISCARDABLE, DROP_GOP, DROP_PREDICTED, START_AT_GOP, START_AT_KEY, START_LIVE, cursor_t,
)
from fastpath.footprint cimport table_bytes
from fastpath.histogram cimport HISTOGRAM_BUCKETS, histogram_t
from fastpath.late cimport late_pool_close, late_pool_open
from fastpath.link cimport link_close, link_send_key, link_t
from fastpath.mailbox cimport (
    ADD_CURSOR, ADD_LINK, ADD_STREAM, CLOSE_PORT, EVENT_CONTROL, EVENT_CURSOR_STARTED, EVENT_FALLBACK,
    EVENT_HELLO, EVENT_INGEST_SOURCE, EVENT_KEY_FRAME_WANTED, EVENT_LINK_DOWN, EVENT_LINK_KEYED, EVENT_LINK_MOVED,
    EVENT_LINK_UP, EVENT_STREAM_STARTED, EVENT_OVERLOAD, EVENT_UPSTREAM_FLOWS, EVENT_VIEWER_LAGS, EVENT_VIEWER_PAUSED, EVENT_VIEWER_SWITCHED, MAILBOX_MESSAGES, MESSAGE_BYTES, MARK_COPY, MOVE_CURSOR, OFFER_KEYS, OPEN_PORT, REMOVE_CURSOR, REMOVE_LINK,
    REMOVE_STREAM, SEND_CONTROL, SEND_HELLO, SET_INGEST, SET_LINK_RATE, SET_NEEDED, SET_UPSTREAM, SWITCH_CURSOR,
    mailbox_clear_bell, mailbox_close, mailbox_done, mailbox_first, mailbox_open, mailbox_post,
    mailbox_reserve, mailbox_ring, message_t,
)
from fastpath.overload cimport SHED_KINDS, overload_note, overload_open
from fastpath.receive cimport receive_datagram
from fastpath.pages cimport pages_give, pages_take
from fastpath.pacing cimport pacer_usage
from fastpath.rate.types cimport rate_config_t
from fastpath.ring cimport LARGEST_RING, ring_pool_close, ring_pool_open
from fastpath.shared_counter cimport read_counter
from fastpath.slab cimport slab_close, slab_open
from fastpath.spans cimport span_pool_close, span_pool_open
from fastpath.media_clock cimport ntp_of_us
from fastpath.socket_io cimport (
    FALLBACK_GRO, FALLBACK_GSO, FALLBACK_TIMESTAMPS, monotonic_us, realtime_us, socket_io_close, socket_io_open, socket_io_remove_port,
)
from fastpath.turn cimport begin_turn, end_turn, next_turn_us, run_on_sockets
from fastpath.virtual_io cimport outbox_close, outbox_open, outbox_t, outgoing_t, virtual_transmit
from fastpath.wheel cimport wheel_close, wheel_open
from fastpath.worker cimport (
    BATCH_SIZES, EARLY_PACKETS, FALLBACK_HUGE_PAGES, LEAST_RECENT_SETS, PARAMETER_SET_BYTES, RECENT_WAYS, datagram_t, early_t, new_event, port_t,
    resent_t, stream_t, worker_t,
)
from fastpath.verdict cimport SHED_DISCARDABLE, TRUNCATED
from fastpath.verdict import Verdict
from fastpath.events import (
    ControlReceived, CursorStarted, Fallback, HelloReceived, IngestSource, KeyFrameWanted, LinkDown,
    LinkKeyed, LinkMoved, LinkUp, OverloadBegan, OverloadEnded, StreamStarted, UpstreamFlows, ViewerLags, ViewerPaused,
    ViewerSwitched,
)
from fastpath.handles import Chains, EngineFullError, HandleTable
from fastpath.stats import CursorStats, DelayHistogram, LinkStats, MemoryStats, OverloadStats, StreamStats

cdef extern from *:
    """
    #define overlane_store_flag(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    """
    void overlane_store_flag(int32_t*, int32_t) nogil

cdef enum:
    INDEX_MASK = 0xFFFFF         # of a handle (fastpath/handles)
    LONGEST_DEADLINE_US = 60000000

_COUNTERS = [(v.name.lower(), v.value) for v in Verdict if v.name != "VERDICT_COUNT"]
_SHED = [name for name, value in _COUNTERS if SHED_DISCARDABLE <= value < SHED_DISCARDABLE + SHED_KINDS]
_FALLBACK_NAMES = {
    FALLBACK_GRO: "gro", FALLBACK_GSO: "gso", FALLBACK_TIMESTAMPS: "timestamps",
    FALLBACK_HUGE_PAGES: "huge_pages",
}


class PortKind(IntEnum):
    OVERLAY = 0
    INGEST = 1
    VIEWER = 2
    INGEST_RTCP = 3


class Media(IntEnum):
    AUDIO = 1
    VIDEO = 2


class Codec(IntEnum):
    OPUS = 1
    H264 = 2
    VP8 = 3
    H265 = 4
    VP9 = 5
    AV1 = 6


Address = tuple[str, int]
Datagram = tuple[int, tuple[str, int], bytes | memoryview]
Transmit = tuple[int, tuple[str, int], bytes]


cdef int put_rate(message_t* message, object kind, object rate) except -1:
    """The configuration of a link's controller into the command that adds the link; None: a fixed rate."""
    cdef rate_config_t config
    if kind is None:
        return 0
    memset(&config, 0, sizeof(config))
    config.kind = int(kind)
    config.profile = int(rate.profile)
    config.min_bps = rate.min_bps
    config.start_bps = rate.start_bps
    config.max_bps = message.number
    config.remote_cap_bps = rate.remote_cap_bps
    config.needed_bps = rate.needed_bps
    config.streams = 0
    config.is_node_link = message.flag == 0
    memcpy(message.payload, &config, sizeof(config))
    message.payload_bytes = sizeof(config)
    return 0


cdef int check_rate(object kind, object rate, int64_t rate_bps) except -1:
    if (kind is None) != (rate is None):
        raise ValueError("rate_kind and rate go together")
    if rate is not None and not (0 <= rate.min_bps <= rate_bps and 0 < rate.start_bps <= rate_bps):
        raise ValueError(f"{rate} does not suit a link of {rate_bps} bit/s")
    return 0


cdef object overload_event(const message_t* message):
    cdef uint64_t shed[SHED_KINDS]
    if message.flag:
        return OverloadBegan(message.number)
    memcpy(shed, message.payload, sizeof(shed))
    named = {name: shed[i] for i, name in enumerate(_SHED) if shed[i]}
    return OverloadEnded(message.number, message.tag, named)


@cython.final
cdef class Engine:  # its attributes are in engine.pxd
    def __cinit__(
        self,
        *,
        uint32_t node_id=0,
        int streams=1024,
        int cursors=8192,
        int node_links=64,
        int viewer_links=1024,
        int ports=256,
        size_t slab_bytes=134217728,
        bint repair=True,
        int64_t repair_scan_us=50000,
        bint repair_early=True,
        int64_t reorder_us=20000,
        int64_t repair_deadline_us=300000,
        int64_t probe_interval_us=50000,
        bint use_gro=True,
        bint use_gso=True,
        bint huge_pages=True,
        int64_t shed_age_us=5000,
        int64_t spin_us=0,
        bint use_timerfd=True,
        int64_t max_lag_us=500000,
        int64_t max_lag_bytes=524288,
        bint gop_cache=True,
        bint start_at_gop=False,
    ):
        for name, value, most in (
            ("streams", streams, 1 << 20), ("cursors", cursors, 1 << 20), ("node_links", node_links, 1 << 16),
            ("viewer_links", viewer_links, 1 << 19), ("ports", ports, 1 << 16),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{name} is {value}; it must be 1 to {most}")
        if slab_bytes < 1 << 16 or repair_scan_us < 1000 or probe_interval_us < 1000 or reorder_us < 0:
            raise ValueError("slab_bytes is below 65536, or an interval below 1000 us")
        if not 1000 <= repair_deadline_us <= LONGEST_DEADLINE_US:
            raise ValueError(f"repair_deadline_us is 1000 to {LONGEST_DEADLINE_US}")
        if not (shed_age_us == 0 or 1000 <= shed_age_us <= 1_000_000) or not 0 <= spin_us <= 1000:
            raise ValueError("shed_age_us is 0 or 1000 to 1000000, spin_us 0 to 1000")
        if not (max_lag_us == 0 or 50_000 <= max_lag_us <= 60_000_000) or not 16384 <= max_lag_bytes <= 1 << 30:
            raise ValueError("max_lag_us is 0 or 50000 to 60000000, max_lag_bytes 16384 to 2^30")
        self.worker = <worker_t*>calloc(1, sizeof(worker_t))
        if self.worker == NULL:
            raise MemoryError
        cdef worker_t* w = self.worker
        w.epoll = -1
        w.commands.eventfd = -1
        w.events.eventfd = -1
        w.port_count = ports
        w.link_count = node_links + viewer_links
        w.node_link_count = node_links
        w.node_id = node_id
        w.stream_count = streams
        w.cursor_count = cursors
        w.repair = repair
        w.repair_scan_us = repair_scan_us
        w.repair_early = repair_early
        w.reorder_us = reorder_us
        w.repair_deadline_us = repair_deadline_us
        w.probe_interval_us = probe_interval_us
        w.use_gro = use_gro
        w.use_gso = use_gso
        w.spin_us = spin_us
        w.use_timerfd = use_timerfd
        w.max_lag_us = max_lag_us
        w.max_lag_bytes = max_lag_bytes
        w.start_at = (START_AT_GOP if start_at_gop else START_AT_KEY) if gop_cache else START_LIVE
        overload_open(&w.overload, shed_age_us)
        w.batch.serial = 1
        self.allocate(slab_bytes, node_links, huge_pages)
        self.ports = HandleTable("ports", ports)
        self.node_links = HandleTable("node_links", node_links)
        self.viewer_links = HandleTable("viewer_links", viewer_links, node_links)
        self.streams = HandleTable("streams", streams)
        self.cursors = HandleTable("cursors", cursors)
        self.by_stream = Chains()
        self.by_link = Chains()
        self.stream_clocks = {}

    cdef int allocate(self, size_t slab_bytes, int node_links, bint huge_pages) except -1:
        """Everything the worker will ever use; untouched pages cost no memory."""
        cdef worker_t* w = self.worker
        cdef uint32_t buckets = 16
        cdef uint32_t peers = 16
        cdef uint32_t viewers = 16
        cdef int* refused = &w.huge_refused if huge_pages else NULL
        cdef uint32_t i
        while buckets < <uint32_t>w.stream_count * 2:
            buckets *= 2
        while peers < <uint32_t>node_links * 4:
            peers *= 2
        while viewers < <uint32_t>w.cursor_count:
            viewers *= 2
        w.ports = <port_t*>pages_take(w.port_count, sizeof(port_t), NULL)
        w.links = <link_t*>pages_take(w.link_count, sizeof(link_t), refused)
        w.streams = <stream_t*>pages_take(w.stream_count, sizeof(stream_t), refused)
        w.cursors = <cursor_t*>pages_take(w.cursor_count, sizeof(cursor_t), refused)
        w.early = <early_t*>calloc(EARLY_PACKETS, sizeof(early_t))
        w.delays = <histogram_t*>calloc(node_links + 1, sizeof(histogram_t))
        w.stream_buckets = <int32_t*>calloc(buckets, sizeof(int32_t))
        w.peer_table = <int32_t*>calloc(peers, sizeof(int32_t))
        w.viewer_ssrcs = <int32_t*>calloc(viewers, sizeof(int32_t))
        w.viewer_addresses = <int32_t*>calloc(viewers, sizeof(int32_t))
        w.recently_mask = (viewers // 4 if viewers // 4 > LEAST_RECENT_SETS else LEAST_RECENT_SETS) - 1
        w.recently = <resent_t*>pages_take((w.recently_mask + 1) * RECENT_WAYS, sizeof(resent_t), refused)
        w.ready_links = <int32_t*>calloc(2 * w.link_count, sizeof(int32_t))
        w.dirty_streams = <int32_t*>calloc(w.stream_count, sizeof(int32_t))
        if (
            w.ports == NULL or w.links == NULL or w.streams == NULL or w.cursors == NULL or w.early == NULL
            or w.stream_buckets == NULL or w.peer_table == NULL or w.ready_links == NULL or w.dirty_streams == NULL
            or w.viewer_ssrcs == NULL or w.viewer_addresses == NULL or w.delays == NULL or w.recently == NULL
        ):
            raise MemoryError
        w.stream_bucket_mask = buckets - 1
        w.peer_mask = peers - 1
        for i in range(buckets):
            w.stream_buckets[i] = -1
        for i in range(peers):
            w.peer_table[i] = -1
        w.viewer_mask = viewers - 1
        for i in range(viewers):
            w.viewer_ssrcs[i] = -1
            w.viewer_addresses[i] = -1
        for i in range(<uint32_t>w.port_count):
            w.ports[i].fd = -1
        if (
            slab_open(&w.slab, slab_bytes) < 0
            or ring_pool_open(&w.rings, <uint32_t>w.stream_count, refused) < 0
            or wheel_open(&w.wheel, w.link_count) < 0 or late_pool_open(&w.late, w.cursor_count, refused) < 0
            or span_pool_open(&w.spans, w.cursor_count, refused) < 0
            or age_heap_open(&w.oldest[0], w.stream_count) < 0 or age_heap_open(&w.oldest[1], w.stream_count) < 0
        ):
            raise MemoryError
        if w.huge_refused != 0:
            w.fallbacks |= FALLBACK_HUGE_PAGES
        if mailbox_open(&w.commands) < 0 or mailbox_open(&w.events) < 0:
            raise OSError("no memory or no eventfd for the engine's mailboxes")
        return 0

    def __dealloc__(self):
        cdef worker_t* w = self.worker
        cdef message_t* message
        cdef int32_t i
        if w == NULL:
            return
        message = mailbox_first(&w.commands)
        while message != NULL:
            if message.kind == OPEN_PORT and message.number >= 0:
                close(<int>message.number)  # given, but never taken up
            mailbox_done(&w.commands)
            message = mailbox_first(&w.commands)
        if w.ports != NULL:
            for i in range(w.port_count):
                socket_io_remove_port(w, i)
        if self.outbox == NULL:
            socket_io_close(w)
        outbox_close(self.outbox)
        if w.links != NULL:
            # Viewers' own no memory, but for pacers.
            for i in range(w.link_count if w.pacer_bytes > 0 else w.node_link_count):
                if w.links[i].is_used:
                    link_close(&w.links[i], &w.late)
        mailbox_close(&w.commands)
        mailbox_close(&w.events)
        slab_close(&w.slab)
        ring_pool_close(&w.rings)
        wheel_close(&w.wheel)
        late_pool_close(&w.late)
        span_pool_close(&w.spans)
        age_heap_close(&w.oldest[0])
        age_heap_close(&w.oldest[1])
        pages_give(w.recently)
        pages_give(w.ports)
        pages_give(w.links)
        pages_give(w.streams)
        pages_give(w.cursors)
        free(w.early)
        free(w.delays)
        free(w.stream_buckets)
        free(w.peer_table)
        free(w.viewer_ssrcs)
        free(w.viewer_addresses)
        free(w.ready_links)
        free(w.dirty_streams)
        free(w)

    # -- commands

    cdef message_t* command(self, uint32_t kind, int64_t handle) except NULL:
        """The next command, zeroed. Waits (at most 1 s) for a running worker when the box is full; in
        virtual time, where nobody else could, it has the worker apply what is in the box."""
        cdef message_t* message = mailbox_reserve(&self.worker.commands)
        cdef int waits = 0
        if message == NULL and self.outbox != NULL:
            begin_turn(self.worker, self.turned_us)
            message = mailbox_reserve(&self.worker.commands)
        while message == NULL:
            if not self.worker.is_running or waits == 1000:
                raise EngineFullError("commands", MAILBOX_MESSAGES)
            mailbox_ring(&self.worker.commands)
            time.sleep(0.001)
            waits += 1
            message = mailbox_reserve(&self.worker.commands)
        memset(message, 0, sizeof(message_t) - MESSAGE_BYTES)
        message.kind = kind
        message.handle = handle
        message.stream = -1
        message.link = -1
        message.port = -1
        return message

    cdef message_t* addition(self, uint32_t kind, table) except NULL:
        """A command that adds, with a new handle; where there is no room for it the handle goes back."""
        handle = table.take()
        try:
            return self.command(kind, handle)
        except EngineFullError:
            table.give(handle)
            raise

    cdef int post(self) except -1:
        mailbox_post(&self.worker.commands)
        mailbox_ring(&self.worker.commands)
        return 0

    def open_port(self, kind, int fd=-1, *, rtp_port=None):
        if (int(kind) == PortKind.INGEST_RTCP) != (rtp_port is not None):
            raise ValueError("an INGEST_RTCP port, and no other, belongs to an RTP port")
        if rtp_port is not None:
            self.ports.check(rtp_port)
        cdef message_t* message = self.addition(OPEN_PORT, self.ports)
        handle = message.handle
        message.kind_of = int(kind)
        message.number = fd
        message.port = -1 if rtp_port is None else rtp_port
        self.post()
        return handle

    def close_port(self, int64_t port):
        self.ports.check(port)
        self.command(CLOSE_PORT, port)
        self.post()
        self.ports.give(port)

    def add_link(self, *, int64_t port, address, int peer_node, bytes hello_key, int64_t rate_bps, rate_kind=None, rate=None):
        self.ports.check(port)
        if len(hello_key) != 16 or rate_bps <= 0:
            raise ValueError("hello_key must have 16 bytes and rate_bps be positive")
        check_rate(rate_kind, rate, rate_bps)
        cdef address_t peer
        address_from_python(address, &peer)
        cdef message_t* message = self.addition(ADD_LINK, self.node_links)
        handle = message.handle
        message.address = peer
        message.port = port
        message.tag = peer_node
        message.number = rate_bps
        memcpy(message.key_a, <const uint8_t*>hello_key, 16)
        put_rate(message, rate_kind, rate)
        self.post()
        return handle

    def offer_keys(
        self, int64_t link, *, bytes receive_key, bytes send_key, bint send_now, int64_t first_hop_seq=1,
        int64_t peer_first_hop_seq=1,
    ):
        self.node_links.check(link)
        if first_hop_seq < 1 or peer_first_hop_seq < 1:
            raise ValueError("hop_seq begins at 1 or later")
        if len(receive_key) != 16 or len(send_key) != 16:
            raise ValueError("keys must have 16 bytes")
        cdef message_t* message = self.command(OFFER_KEYS, link)
        memcpy(message.key_a, <const uint8_t*>receive_key, 16)
        memcpy(message.key_b, <const uint8_t*>send_key, 16)
        message.flag = send_now
        message.number = first_hop_seq
        message.stream = peer_first_hop_seq
        self.post()

    def send_hello(self, int64_t link, bytes payload):
        self.send_payload(SEND_HELLO, link, payload)

    def send_control(self, int64_t link, bytes payload):
        self.send_payload(SEND_CONTROL, link, payload)

    cdef int send_payload(self, uint32_t kind, int64_t link, bytes payload) except -1:
        self.node_links.check(link)
        if not 0 < len(payload) <= MESSAGE_BYTES:
            raise ValueError(f"a control payload has 1 to {MESSAGE_BYTES} bytes, not {len(payload)}")
        cdef message_t* message = self.command(kind, link)
        memcpy(message.payload, <const uint8_t*>payload, len(payload))
        message.payload_bytes = <uint32_t>len(payload)
        return self.post()

    def set_link_rate(self, int64_t link, int64_t rate_bps, int64_t start_bps=0):
        (self.node_links if link in self.node_links else self.viewer_links).check(link)
        if rate_bps <= 0:
            raise ValueError("rate_bps must be positive")
        if not 0 <= start_bps <= rate_bps:
            raise ValueError("start_bps is 0 to rate_bps")
        cdef message_t* message = self.command(SET_LINK_RATE, link)
        message.number = rate_bps
        message.stream = start_bps
        self.post()

    def set_needed_bps(self, int64_t link, int64_t bps):
        (self.node_links if link in self.node_links else self.viewer_links).check(link)
        if bps < 0:
            raise ValueError("bps is negative")
        cdef message_t* message = self.command(SET_NEEDED, link)
        message.number = bps
        self.post()

    def remove_link(self, int64_t link):
        table = self.node_links if link in self.node_links else self.viewer_links
        table.check(link)
        self.command(REMOVE_LINK, link)
        self.post()
        table.give(link)
        self.forget_cursors(self.by_link, link & INDEX_MASK)

    cdef int note_cursor(self, int64_t cursor, int64_t stream, int64_t link) except -1:
        self.by_stream.add(stream & INDEX_MASK, cursor & INDEX_MASK)
        self.by_link.add(link & INDEX_MASK, cursor & INDEX_MASK)
        return 0

    cdef int forget_cursor(self, int64_t cursor) except -1:
        self.cursors.give(cursor)
        self.by_stream.remove(cursor & INDEX_MASK)
        self.by_link.remove(cursor & INDEX_MASK)
        return 0

    cdef int forget_cursors(self, chains, int64_t place) except -1:
        """Those of a stream or link that goes; the lowest index is taken again first."""
        for index in sorted(chains.members(place), reverse=True):
            self.forget_cursor(self.cursors.handle_of(index))
        return 0

    def add_stream(
        self, *, uint32_t stream_id, media, uint32_t first_stream_seq, upstream, uint32_t clock_rate=90000,
        uint32_t group=0, int64_t deadline_us=0,
    ):
        if upstream is not None:
            self.node_links.check(upstream)
        if stream_id == 0:
            raise ValueError("stream_id 0 means no stream")
        if not 1 <= clock_rate <= 1_000_000:
            raise ValueError(f"clock_rate {clock_rate} is outside 1..1000000")
        if deadline_us != 0 and not 1000 <= deadline_us <= LONGEST_DEADLINE_US:
            raise ValueError(f"deadline_us is 0, or 1000 to {LONGEST_DEADLINE_US}")
        cdef message_t* message = self.addition(ADD_STREAM, self.streams)
        handle = message.handle
        message.number = stream_id
        message.kind_of = int(media)
        message.stream_seq = first_stream_seq
        message.clock_rate = clock_rate
        message.group = group
        message.deadline_us = <uint32_t>deadline_us
        message.link = -1 if upstream is None else upstream
        self.post()
        self.stream_clocks[handle] = (int(media), clock_rate)
        return handle

    def set_ingest(
        self, int64_t port, *, int64_t stream, codec, int payload_type, bytes parameter_sets=b"", rtcp_to=None,
        bint nack=False, int rtx_payload_type=0,
        int transport_cc_id=0,
        int dependency_id=0,
    ):
        cdef address_t target
        if not 0 <= transport_cc_id <= 14:
            raise ValueError(f"transport_cc_id {transport_cc_id} is outside 0..14 (RFC 8285 4.2)")
        self.ports.check(port)
        self.streams.check(stream)
        if not 0 <= payload_type < 128:
            raise ValueError(f"payload_type {payload_type} is outside 0..127")
        if not 0 <= rtx_payload_type < 128 or rtx_payload_type == payload_type:
            raise ValueError(f"rtx_payload_type {rtx_payload_type} is outside 0..127, or the payload_type")
        if not 0 <= dependency_id < 256:
            raise ValueError(f"dependency_id {dependency_id} is outside 0..255")
        if len(parameter_sets) > PARAMETER_SET_BYTES:
            raise ValueError(f"parameter sets of {len(parameter_sets)} bytes; {PARAMETER_SET_BYTES} fit")
        if rtcp_to is not None:
            address_from_python(rtcp_to, &target)
        cdef message_t* message = self.command(SET_INGEST, 0)
        if rtcp_to is not None:
            message.rtcp_address = target
        memcpy(message.payload, <const uint8_t*>parameter_sets, len(parameter_sets))
        message.payload_bytes = <uint32_t>len(parameter_sets)
        message.key_a[0] = <uint8_t>transport_cc_id
        message.port = port
        message.stream = stream
        message.kind_of = int(Codec(codec))
        message.payload_type = payload_type
        message.asks_again = nack
        message.rtx_payload_type = rtx_payload_type
        message.flag = dependency_id
        self.post()

    def set_upstream(self, int64_t stream, upstream, *, second=None):
        self.streams.check(stream)
        for link in (upstream, second):
            if link is not None:
                self.node_links.check(link)
        cdef message_t* message = self.command(SET_UPSTREAM, 0)
        message.stream = stream
        message.link = -1 if upstream is None else upstream
        message.port = -1 if second is None else second
        self.post()

    def remove_stream(self, int64_t stream):
        self.streams.check(stream)
        self.command(REMOVE_STREAM, stream)
        self.post()
        self.streams.give(stream)
        del self.stream_clocks[stream]
        self.forget_cursors(self.by_stream, stream & INDEX_MASK)

    def add_cursor(self, *, int64_t stream, int64_t link, start_seq=None):
        self.streams.check(stream)
        self.node_links.check(link)
        cdef uint32_t start = 0 if start_seq is None else start_seq
        cdef message_t* message = self.addition(ADD_CURSOR, self.cursors)
        handle = message.handle
        message.tag = start_seq is not None
        message.stream_seq = start
        message.stream = stream
        message.link = link
        self.post()
        self.note_cursor(handle, stream, link)
        return handle

    def mark_copy(self, int64_t cursor, bint is_copy):
        self.cursors.check(cursor)
        cdef message_t* message = self.command(MARK_COPY, cursor)
        message.flag = is_copy
        self.post()

    def add_viewer_link(self, *, int64_t rate_bps, bytes cname=b"overlane-viewer0", rate_kind=None, rate=None):
        if rate_bps <= 0 or len(cname) != 16:
            raise ValueError("rate_bps must be positive and cname have 16 bytes")
        check_rate(rate_kind, rate, rate_bps)
        cdef message_t* message = self.addition(ADD_LINK, self.viewer_links)
        handle = message.handle
        message.flag = True
        message.number = rate_bps
        memcpy(message.key_a, <const uint8_t*>cname, 16)
        put_rate(message, rate_kind, rate)
        self.post()
        return handle

    def add_viewer_cursor(
        self, *, int64_t stream, int64_t link, int64_t port, address, uint32_t ssrc, int payload_type,
        int first_sequence_number, rtcp_address=None, int rtx_payload_type=0, uint32_t rtx_ssrc=0,
        int rtx_first_sequence_number=0, int transport_cc_id=0, int delay_id=0,
    ):
        self.streams.check(stream)
        self.viewer_links.check(link)
        self.ports.check(port)
        if not 0 <= transport_cc_id <= 14 or not 0 <= delay_id <= 14 or 0 < transport_cc_id == delay_id:
            raise ValueError("ids of header extensions are 1 to 14 (RFC 8285 4.2), or 0, and not alike")
        if not 0 <= payload_type < 128 or not 0 <= first_sequence_number < 65536:
            raise ValueError("payload_type must be 0..127 and first_sequence_number 0..65535")
        if not 0 <= rtx_payload_type < 128 or not 0 <= rtx_first_sequence_number < 65536:
            raise ValueError("rtx_payload_type must be 0..127 and rtx_first_sequence_number 0..65535")
        if rtx_payload_type != 0 and rtx_ssrc == ssrc:
            raise ValueError("rtx_ssrc must differ from ssrc (RFC 4588 5.3)")
        cdef address_t viewer, rtcp
        address_from_python(address, &viewer)
        if rtcp_address is not None:
            address_from_python(rtcp_address, &rtcp)
        cdef message_t* message = self.addition(ADD_CURSOR, self.cursors)
        handle = message.handle
        message.address = viewer
        if rtcp_address is not None:
            message.rtcp_address = rtcp
        message.stream = stream
        message.link = link
        message.port = port
        message.ssrc = ssrc
        message.payload_type = payload_type
        message.sequence_number = first_sequence_number
        message.rtx_payload_type = rtx_payload_type
        message.rtx_ssrc = rtx_ssrc
        message.rtx_number = rtx_first_sequence_number
        message.key_a[0] = <uint8_t>transport_cc_id
        message.key_a[1] = <uint8_t>delay_id
        message.flag = True
        self.post()
        self.note_cursor(handle, stream, link)
        return handle

    def move_viewer_cursor(self, int64_t cursor, *, int64_t stream, int payload_type):
        self.change_stream(MOVE_CURSOR, cursor, stream, payload_type)

    def switch_viewer_cursor(self, int64_t cursor, *, int64_t stream, int payload_type):
        self.change_stream(SWITCH_CURSOR, cursor, stream, payload_type)

    cdef int change_stream(self, uint32_t kind, int64_t cursor, int64_t stream, int payload_type) except -1:
        cdef int32_t index = self.cursors.check(cursor)
        self.streams.check(stream)
        if not 0 <= payload_type < 128:
            raise ValueError(f"payload_type {payload_type} is outside 0..127")
        if self.by_link.chain_of(index) < self.worker.node_link_count:
            raise KeyError(f"cursor {cursor} is a node's")
        left = self.streams.handle_of(self.by_stream.chain_of(index))
        if self.stream_clocks[left] != self.stream_clocks[stream]:
            raise ValueError("a viewer moves between streams of one medium and clock rate")
        cdef message_t* message = self.command(kind, cursor)
        message.stream = stream
        message.payload_type = payload_type
        self.post()
        self.by_stream.remove(index)
        self.by_stream.add(stream & INDEX_MASK, index)
        return 0

    def remove_cursor(self, int64_t cursor):
        self.cursors.check(cursor)
        self.command(REMOVE_CURSOR, cursor)
        self.post()
        self.forget_cursor(cursor)

    # -- events

    def events(self):
        cdef message_t* message
        cdef list found = []
        mailbox_clear_bell(&self.worker.events)
        message = mailbox_first(&self.worker.events)
        while message != NULL:
            found.append(self.event_of(message))
            mailbox_done(&self.worker.events)
            message = mailbox_first(&self.worker.events)
        return found

    cdef object event_of(self, const message_t* message):
        cdef uint32_t kind = message.kind
        if kind == EVENT_CONTROL:
            return ControlReceived(message.handle, (<const uint8_t*>message.payload)[: message.payload_bytes])
        if kind == EVENT_HELLO:
            return HelloReceived(message.handle, (<const uint8_t*>message.payload)[: message.payload_bytes])
        if kind == EVENT_LINK_KEYED:
            return LinkKeyed(message.handle)
        if kind == EVENT_LINK_UP:
            return LinkUp(message.handle)
        if kind == EVENT_LINK_DOWN:
            return LinkDown(message.handle)
        if kind == EVENT_CURSOR_STARTED:
            return CursorStarted(message.handle, message.stream_seq)
        if kind == EVENT_STREAM_STARTED:
            return StreamStarted(message.handle)
        if kind == EVENT_KEY_FRAME_WANTED:
            return KeyFrameWanted(message.handle)
        if kind == EVENT_INGEST_SOURCE:
            return IngestSource(message.handle, message.ssrc, bool(message.flag))
        if kind == EVENT_VIEWER_PAUSED:
            return ViewerPaused(message.handle)
        if kind == EVENT_VIEWER_LAGS:
            return ViewerLags(message.handle, message.number, message.tag)
        if kind == EVENT_VIEWER_SWITCHED:
            return ViewerSwitched(message.handle, message.stream)
        if kind == EVENT_LINK_MOVED:
            return LinkMoved(message.handle, address_to_python(&message.address))
        if kind == EVENT_UPSTREAM_FLOWS:
            return UpstreamFlows(message.handle, message.number)
        if kind == EVENT_OVERLOAD:
            return overload_event(message)
        assert kind == EVENT_FALLBACK
        return Fallback(_FALLBACK_NAMES[message.kind_of], message.number)

    @property
    def event_fd(self):
        return self.worker.events.eventfd

    # -- running

    def run(self):
        if self.outbox != NULL or self.started:
            raise RuntimeError("an engine runs once, either in a thread or in virtual time")
        if socket_io_open(self.worker) < 0:
            raise OSError("no memory or no epoll for the engine's sockets")
        self.started = True
        self.tell_of_pages()
        # NTP time counts from 1900 (RFC 3550 4). Read once: a step of the wall clock changes no report.
        self.worker.ntp_offset = (<uint64_t>2208988800 << 32) + ntp_of_us(realtime_us() - monotonic_us())
        self.worker.is_running = True
        with nogil:
            run_on_sockets(self.worker)
        self.worker.is_running = False

    cdef int tell_of_pages(self) except -1:
        """The tables are there before anybody listens: what they lack is said when the worker starts."""
        cdef message_t* event
        if self.worker.fallbacks & FALLBACK_HUGE_PAGES:
            event = new_event(self.worker, EVENT_FALLBACK)
            if event != NULL:
                event.kind_of = FALLBACK_HUGE_PAGES
                event.number = self.worker.huge_refused
                mailbox_post(&self.worker.events)
        return 0

    @property
    def is_running(self):
        return bool(self.worker.is_running)

    def stop(self):
        cdef uint64_t one = 1
        overlane_store_flag(&self.worker.stop, 1)
        self.worker.commands.is_rung = True
        mailbox_ring(&self.worker.commands)

    cdef int go_virtual(self) except -1:
        """From now on what the worker sends is kept in the outbox."""
        if self.started:
            raise RuntimeError("the engine runs in a thread; turns are for virtual time")
        if self.outbox == NULL:
            self.outbox = outbox_open()
            if self.outbox == NULL:
                raise MemoryError
            self.worker.transmit_context = self.outbox
            self.worker.transmit = virtual_transmit
        return 0

    def turn(self, int64_t now_us, datagrams=(), *, arrived_us=None, int64_t spent_us=0):
        cdef datagram_t datagram
        cdef const uint8_t[::1] payload
        cdef int64_t port
        self.go_virtual()
        self.turned_us = now_us
        begin_turn(self.worker, now_us)
        datagram.arrival_us = now_us if arrived_us is None else arrived_us
        overload_note(&self.worker.overload, now_us - datagram.arrival_us)
        self.worker.overload.busy_us += spent_us
        for port, source, data in datagrams:
            datagram.port = self.ports.check(port)
            address_from_python(source, &datagram.source)
            datagram.size = <uint32_t>len(data)
            if datagram.size == 0:
                self.worker.counters[<int>TRUNCATED] += 1
                continue
            payload = data
            datagram.data = &payload[0]
            receive_datagram(self.worker, &datagram, now_us)
        end_turn(self.worker, now_us)
        return self.take_outgoing()

    cdef list take_outgoing(self):
        cdef list found = []
        cdef size_t i
        cdef outgoing_t* record
        for i in range(self.outbox.record_count):
            record = &self.outbox.records[i]
            found.append((
                (<int64_t>self.worker.ports[record.port].generation << 20) | record.port,
                address_to_python(&record.destination),
                self.outbox.bytes[record.start : record.start + record.size],
            ))
        self.outbox.record_count = 0
        self.outbox.byte_count = 0
        return found

    def next_timer_us(self):
        cdef int64_t due_us = next_turn_us(self.worker)
        return None if due_us < 0 else due_us

    # -- counters: aligned words that the worker writes; each is read whole, the set is not one moment

    def verdicts(self):
        cdef int place
        counted = {}
        for name, place in _COUNTERS:
            counted[name] = read_counter(&self.worker.counters[place])
        return counted

    def batch_sizes(self):
        return [self.worker.batch_sizes[i] for i in range(BATCH_SIZES)]

    def link_stats(self, int64_t link):
        table = self.node_links if link in self.node_links else self.viewer_links
        cdef link_t* l = &self.worker.links[table.check(link)]
        cdef int backlogged = 0
        cdef int i
        for i in range(2):
            backlogged += l.queues[i].first >= 0 or l.late[i].first >= 0
        return LinkStats(
            is_up=bool(l.is_up), has_keys=link_send_key(l) != NULL, rtt_us=l.rtt_us,
            sent_packets=l.sent_packets, sent_bytes=l.sent_bytes,
            received_packets=l.received_packets, received_bytes=l.received_bytes,
            holes_open=l.hole_count, lost=l.lost, reordered=l.reordered, repaired=l.repaired, voided=l.voided,
            gone=l.gone, given_up=l.given_up, requests_sent=l.requests_sent, resent=l.resent,
            resend_suppressed=l.resend_suppressed, history_evicted=l.history_evicted, backlogged=backlogged,
            repaired_late=0 if l.loss == NULL else l.loss.repaired_late, resend_refused=l.resend_refused,
            resend_expired=0 if l.loss == NULL else l.loss.resend_expired,
            resent_twice=0 if l.loss == NULL else l.loss.resent_twice,
            target_bps=l.target_bps, pacing_bps=l.pacing_bps,
            acked_bps=l.pacer.acked_bps if l.pacer != NULL else 0,
            feedback_loss=l.pacer.loss_millionths / 1e6 if l.pacer != NULL else 0.0,
            feedbacks=l.pacer.feedbacks if l.pacer != NULL else 0,
            usage=pacer_usage(l),
        )

    def stream_stats(self, int64_t stream):
        cdef stream_t* s = &self.worker.streams[self.streams.check(stream)]
        return StreamStats(
            stream_id=s.stream_id, packets=s.packets, bytes=s.bytes, duplicates=s.duplicates, late=s.late,
            too_old=s.too_old, gone=s.gone, restarts=s.restarts, held_packets=s.ring.held,
            capacity=s.ring.mask + 1, subscribers=s.subscribers, key_frames=s.ring.key_frames,
            first_stream_seq=s.ring.tail, next_stream_seq=s.ring.head, first_lacking_seq=s.ring.lacking, delay_us=s.delay_us,
            last_packet_us=s.last_packet_us, copies=s.copies,
            covered_by_other_path=s.copies - s.copies_confirmed if s.copies > s.copies_confirmed else 0,
        )

    def cursor_stats(self, int64_t cursor):
        cdef cursor_t* c = &self.worker.cursors[self.cursors.check(cursor)]
        cdef stream_t* s = &self.worker.streams[c.stream]
        cdef bint is_ahead = 0 < <int32_t>(c.next - s.ring.head) <= LARGEST_RING
        return CursorStats(
            packets=c.packets, bytes=c.bytes, next_stream_seq=c.next,
            lag_packets=0 if is_ahead else <uint32_t>(s.ring.head - c.next), late_packets=c.late_packets, lapped=c.lapped,
            is_paused=c.state == CURSOR_PAUSED, paused_times=c.paused_times, reports_sent=c.reports, reports_received=c.reports_received,
            rtt_us=c.rtt_us, fraction_lost=c.fraction_lost / 256.0, cumulative_lost=c.cumulative_lost,
            jitter_us=<int64_t>c.jitter * 1000000 // s.clock_rate if s.clock_rate else 0,
            nacked=c.nacked, resent=c.resent, keys_wanted=c.keys_wanted,
            first_sent_us=c.qoe.first_sent_us, first_frame_us=c.qoe.first_frame_us, newest_frame_us=c.qoe.newest_us,
            stalls=c.qoe.stalls, stalled_us=c.qoe.stalled_us,
            lag_us=c.lag_us, lag_bytes=c.lag_bytes, dropped_discardable=c.dropped[<int>DROP_DISCARDABLE],
            dropped_predicted=c.dropped[<int>DROP_PREDICTED], dropped_gop=c.dropped[<int>DROP_GOP],
        )

    def used(self, table):
        return len({"streams": self.streams, "cursors": self.cursors, "viewer_links": self.viewer_links}[table])

    def memory(self):
        cdef worker_t* w = self.worker
        return MemoryStats(
            streams=(len(self.streams), self.streams.limit),
            cursors=(len(self.cursors), self.cursors.limit),
            node_links=(len(self.node_links), self.node_links.limit),
            viewer_links=(len(self.viewer_links), self.viewer_links.limit),
            ports=(len(self.ports), self.ports.limit),
            small_blocks=(w.slab.small.count - w.slab.small.free_count, w.slab.small.count),
            large_blocks=(w.slab.large.count - w.slab.large.free_count, w.slab.large.count),
            held_early_packets=(w.early_held, EARLY_PACKETS),
            late_packets=(w.late.used, w.late.count),
            spans=(w.spans.used, w.spans.count),
            **table_bytes(w, len(self.node_links), len(self.viewer_links), len(self.streams), len(self.cursors)),
        )

    def delays(self, link=None):
        cdef worker_t* w = self.worker
        cdef histogram_t h = w.delays[w.node_link_count if link is None else self.node_links.check(link)]
        return DelayHistogram(tuple([h.buckets[i] for i in range(HISTOGRAM_BUCKETS)]), h.sum_us)

    def overload(self):
        cdef worker_t* w = self.worker
        return OverloadStats(step=w.overload.step, episodes=w.overload.episodes)

    def fallbacks(self):
        cdef worker_t* w = self.worker
        names = [name for bit, name in _FALLBACK_NAMES.items() if w.fallbacks & bit]
        if not w.use_gro and "gro" not in names:
            names.append("gro")
        if not w.use_gso and "gso" not in names:
            names.append("gso")
        return names
