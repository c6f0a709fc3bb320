"""A key frame is asked for hop by hop; each node merges what its subscribers want.

Who wants one: a viewer's PLI or FIR, a node downstream, a ring that lost the start of its newest
GoP, a cursor that found no key frame to go on at. While one is on its way, nobody asks again.
"""

from libc.stdint cimport int32_t, int64_t
from fastpath.cursor cimport NOBODY
from fastpath.encoder_rtcp cimport send_picture_loss
from fastpath.feedback cimport KEY_WANTED_BYTES, MESSAGE_KEY_WANTED
from fastpath.send cimport message_payload, send_message
from fastpath.wire cimport TYPE_FEEDBACK
from fastpath.worker cimport MEDIA_VIDEO, stream_t, worker_t
from rtp.big_endian cimport store_be32

cdef enum:
    SHORTEST_INTERVAL_US = 500000  # chosen: longer than a key frame takes to come over eight hops


cdef void ask(worker_t* worker, stream_t* stream, int64_t now_us) noexcept nogil:
    if stream.keys_asked > 0 and now_us - stream.key_asked_us < SHORTEST_INTERVAL_US:
        return
    stream.key_asked_us = now_us
    stream.keys_asked += 1
    if stream.upstream != NOBODY:
        message_payload(worker)[0] = MESSAGE_KEY_WANTED
        store_be32(message_payload(worker) + 1, stream.stream_id)
        send_message(worker, stream.upstream, TYPE_FEEDBACK, KEY_WANTED_BYTES, now_us)
    elif stream.ingest_port != NOBODY:
        send_picture_loss(worker, stream.ingest_port, stream.ingest_track)


cdef void ask_for_key_frames(worker_t* worker, int64_t now_us) noexcept nogil:
    """Once per turn, among the streams that something happened to."""
    cdef int32_t i
    cdef stream_t* stream
    for i in range(worker.dirty_count):
        stream = &worker.streams[worker.dirty_streams[i]]
        if not stream.is_used or stream.media != MEDIA_VIDEO or stream.ring.key_frames != stream.key_frames_before:
            stream.wants_key = False
        elif stream.wants_key:
            ask(worker, stream, now_us)
