"""How many bytes a worker's state takes: of one stream, one viewer, one node link, and of all tables.

ARCHITECTURE.md states them ("Who owns which memory"); tests/fastpath/test_footprint.py compares.
"""

from libc.stdint cimport uint8_t
from fastpath.cursor cimport cursor_t
from fastpath.late cimport late_t
from fastpath.link cimport (
    ARRIVALS_KEPT, HISTORY_ENTRIES, MAX_HOLES, WINDOW_WORDS, history_t, hole_t, link_t, loss_t,
)
from fastpath.mailbox cimport MAILBOX_MESSAGES, message_t
from fastpath.pacer cimport TRANSPORT_HISTORY, pacer_t, transport_t
from fastpath.pages cimport LINE_BYTES
from fastpath.ring cimport RING_CLASSES, SMALLEST_RING, slot_t
from fastpath.slab cimport LARGE_BLOCK_BYTES, SMALL_BLOCK_BYTES
from fastpath.spans cimport span_t
from fastpath.wheel cimport wheel_entry_t
from fastpath.worker cimport EARLY_PACKETS, RECENT_WAYS, early_t, port_t, resent_t, stream_t

cdef enum:
    NODE_LINK_BYTES = (
        WINDOW_WORDS * 8 + MAX_HOLES * sizeof(hole_t) + HISTORY_ENTRIES * sizeof(history_t) + sizeof(loss_t)
        + ARRIVALS_KEPT * 4
    )


def state_bytes():
    """Of one of each, without what it shares with others. node_link: with its window, holes, history and
    times of arrival. viewer_pacer: with what it remembers of numbers to a viewer."""
    return {
        "stream": sizeof(stream_t),
        "smallest_ring": SMALLEST_RING * sizeof(slot_t),
        "cursor": sizeof(cursor_t),
        "link": sizeof(link_t),
        "node_link": sizeof(link_t) + NODE_LINK_BYTES,
        "late_packet": sizeof(late_t),
        "pacer": sizeof(pacer_t),
        "viewer_pacer": sizeof(pacer_t) + TRANSPORT_HISTORY * sizeof(transport_t),
        "span": sizeof(span_t),
    }


cdef size_t last_line(const void* structure, const void* end) noexcept nogil:
    """The line of what ends here."""
    return <size_t>(<const uint8_t*>end - <const uint8_t*>structure - 1) // LINE_BYTES


def lines():
    """In which cache line of its structure each field that a packet needs ends (from 0)."""
    cdef link_t link
    cdef cursor_t cursor
    cdef stream_t stream
    return {
        "link.charged_ns": last_line(&link, &link.charged_ns + 1),
        "link.keys": last_line(&link, &link.keys + 1),
        "link.address_bytes": last_line(&link, &link.address_bytes + 1),
        "link.hole_count": last_line(&link, &link.hole_count + 1),
        "cursor.bytes": last_line(&cursor, &cursor.bytes + 1),
        "cursor.reports": last_line(&cursor, &cursor.reports + 1),
        "stream.key_frames_before": last_line(&stream, &stream.key_frames_before + 1),
        "stream.ring.size_class": last_line(&stream, &stream.ring.size_class + 1),
        "stream.bytes": last_line(&stream, &stream.bytes + 1),
    }


cdef dict table_bytes(const worker_t* w, int node_links, int viewer_links, int streams, int cursors):
    """Table -> (used, laid out). Indexes and boxes are in use whole. Node links beyond these in use have
    no window, holes and history yet, but count: they may."""
    cdef size_t rings = 0
    cdef size_t rings_used = 0
    cdef size_t ring_bytes
    cdef int i
    for i in range(RING_CLASSES):
        ring_bytes = (<size_t>SMALLEST_RING << i) * sizeof(slot_t)
        rings += w.rings.count[i] * ring_bytes
        rings_used += (w.rings.count[i] - w.rings.free_count[i]) * ring_bytes
    cdef size_t blocks = <size_t>w.slab.small.count * SMALL_BLOCK_BYTES + <size_t>w.slab.large.count * LARGE_BLOCK_BYTES
    cdef size_t free_blocks = (
        <size_t>w.slab.small.free_count * SMALL_BLOCK_BYTES + <size_t>w.slab.large.free_count * LARGE_BLOCK_BYTES
    )
    cdef size_t boxes = (
        2 * MAILBOX_MESSAGES * sizeof(message_t) + EARLY_PACKETS * sizeof(early_t)
        + <size_t>w.port_count * sizeof(port_t) + sizeof(worker_t)
        # indexes: streams, their heaps, peers, viewers, what was resent, lists of work, timers, free blocks
        + (<size_t>w.stream_bucket_mask + 1) * 4 + <size_t>w.stream_count * 36
        + (<size_t>w.peer_mask + 1) * 4 + (<size_t>w.viewer_mask + 1) * 8
        + (<size_t>w.recently_mask + 1) * RECENT_WAYS * sizeof(resent_t)
        + <size_t>w.link_count * (8 + sizeof(wheel_entry_t)) + <size_t>w.link_count // 8
        + (<size_t>w.slab.small.count + w.slab.large.count) * 4
    )
    return {
        "stream_bytes": (streams * sizeof(stream_t) + rings_used, <size_t>w.stream_count * sizeof(stream_t) + rings),
        "cursor_bytes": (
            cursors * sizeof(cursor_t) + w.spans.used * sizeof(span_t),
            <size_t>w.cursor_count * sizeof(cursor_t) + <size_t>w.spans.count * sizeof(span_t),
        ),
        "link_bytes": (
            (node_links + viewer_links) * sizeof(link_t) + node_links * <size_t>NODE_LINK_BYTES + w.pacer_bytes,
            <size_t>w.link_count * sizeof(link_t) + <size_t>w.node_link_count * NODE_LINK_BYTES + w.pacer_bytes,
        ),
        "late_bytes": (w.late.used * sizeof(late_t), <size_t>w.late.count * sizeof(late_t)),
        "packet_bytes": (blocks - free_blocks, blocks),
        "index_bytes": (boxes, boxes),
    }
