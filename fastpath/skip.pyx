"""SKIP: an overloaded node has left out whole frames, and says so before it goes on at a key frame.

    SKIP  8, stream_id u32, first stream_seq u32, count u32

What it did not send has no hop_seq, so nobody asks for it on the link; but its numbers would be lacked
in rings downstream, and gaps to viewers, who would ask for it in vain. Said when a stream that was shed
goes on, and when a node's cursor was lapped. It is not repeated: the cost of its loss is that gap.
Of a stream that comes over two paths it is not believed: the other may bring what one has left out.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.cursor cimport NOBODY
from fastpath.feedback cimport MESSAGE_SKIP
from fastpath.ring cimport ring_note_lacking, ring_skip
from fastpath.send cimport message_payload, send_message
from fastpath.verdict cimport SKIPPED_UPSTREAM
from fastpath.wire cimport TYPE_FEEDBACK
from fastpath.worker cimport comes_from, count_many, find_stream, mark_dirty, stream_t, want_lost_gop, worker_t
from rtp.big_endian cimport load_be32, store_be32


cdef void say_skip(
    worker_t* worker, int32_t link_index, uint32_t stream_id, uint32_t first, uint32_t number, int64_t now_us
) noexcept nogil:
    cdef uint8_t* message = message_payload(worker)
    message[0] = MESSAGE_SKIP
    store_be32(message + 1, stream_id)
    store_be32(message + 5, first)
    store_be32(message + 9, number)
    send_message(worker, link_index, TYPE_FEEDBACK, SKIP_BYTES, now_us)


cdef void skip_packets(
    worker_t* worker, int32_t index, uint32_t first, uint32_t number, int64_t now_us
) noexcept nogil:
    """They will not come: nobody here lacks them, and the nodes that follow the stream are told."""
    cdef stream_t* stream = &worker.streams[index]
    cdef uint64_t overwritten = stream.ring.gop_overwritten
    cdef uint32_t skipped = ring_skip(&stream.ring, &worker.rings, &worker.slab, first, number, now_us)
    cdef int32_t at = stream.first_cursor
    if skipped == 0:
        return
    count_many(worker, SKIPPED_UPSTREAM, skipped)
    ring_note_lacking(&stream.ring, now_us)
    want_lost_gop(worker, index, overwritten)
    mark_dirty(worker, index)
    while at >= 0:
        if not worker.cursors[at].is_viewer:
            say_skip(worker, worker.cursors[at].link, stream.stream_id, first, number, now_us)
        at = worker.cursors[at].next_of_stream


cdef void on_skip(worker_t* worker, int32_t link_index, const uint8_t* payload, int64_t now_us) noexcept nogil:
    cdef stream_t* stream = find_stream(worker, load_be32(payload + 1))
    if stream == NULL or stream.second_upstream != NOBODY or not comes_from(stream, link_index):
        return
    skip_packets(worker, <int32_t>(stream - worker.streams), load_be32(payload + 5), load_be32(payload + 9), now_us)
