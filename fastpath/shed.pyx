"""What an overloaded worker sheds: never control, feedback, probes or HELLO, and audio last.

Media is shed after its number was accepted on the link, so that nobody asks for it again, and before
it is copied and sent. Video goes by whole streams: few viewers lose all rather than all lose
some. A stream that is shed stays so until its next key frame, and begins and ends at frames, so
that nothing undecodable is sent behind what was dropped. Beyond all video, media is shed by its
header's class before the tag is checked; the numbers that are missing then are no holes.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from fastpath.link cimport REPLAY_WINDOW, WINDOW_WORDS, link_t
from fastpath.mailbox cimport EVENT_OVERLOAD, mailbox_post, message_t
from fastpath.overload cimport (
    OVERLOAD_BEGAN, OVERLOAD_ENDED, SHED_KINDS, STEP_ALL_VIDEO, STEP_AUDIO, STEP_DISCARDABLE, STEP_STREAMS,
    STEP_UNCHECKED, STEP_UNCHECKED_VIDEO, overload_cost, overload_t, overload_turn,
)
from fastpath.ring cimport LARGEST_RING, SMALLEST_RING
from fastpath.skip cimport skip_packets
from fastpath.verdict cimport (
    SHED_AUDIO, SHED_DISCARDABLE, SHED_REPAIR, SHED_UNCHECKED_AUDIO, SHED_UNCHECKED_VIDEO, SHED_UNTIL_KEY, SHED_VIDEO,
)
from fastpath.wire cimport CLASS_AUDIO
from fastpath.worker cimport (
    MEDIA_AUDIO, MEDIA_VIDEO, count, mark_dirty, new_event, shed_t, stream_t, want_key_frame, worker_t,
)
from rtp.payload.marks cimport MARK_DISCARDABLE, MARK_FRAME_START, MARK_GOP_START

cdef enum:
    SHED_CHOSEN = 1              # the whole stream
    SHED_AWAITING = 2            # no longer, but its key frame has not come
    SHED_RESUMED = 3             # it has; what was before it may still come late
    SHED_STATES = 3              # mask
    SHED_FRAME = 4               # the rest of a discardable frame
    REORDERED_PACKETS = 64       # chosen: how late a packet may come behind a key frame


cdef bint is_chosen(const worker_t* worker, const stream_t* stream) noexcept nogil:
    """The same streams as long as the step is; ids are random, but for their low bits."""
    return <int32_t>((stream.stream_id * 2654435769u) >> 28) < worker.overload.step - STEP_STREAMS + 1


cdef void note_shed(shed_t* shed, uint32_t seq) noexcept nogil:
    if <int32_t>(seq - shed.newest) > 0:
        shed.newest = seq


cdef void resume(worker_t* worker, int32_t index, uint32_t seq) noexcept nogil:
    """Go on at a key frame. What was shed confirms a step that is larger than any ring."""
    cdef stream_t* stream = &worker.streams[index]
    cdef shed_t* shed = &stream.shed
    if <int32_t>(seq - stream.ring.head) >= LARGEST_RING and seq - shed.newest <= SMALLEST_RING:
        stream.ring.has_jump = True
        stream.ring.jump_seq = shed.newest
    stream.shed_state = SHED_RESUMED
    shed.resumed = seq
    skip_packets(worker, index, shed.first, seq - shed.first, worker.turn_us)


cdef int shed_whole(worker_t* worker, int32_t index, uint32_t seq, uint8_t marks) noexcept nogil:
    """KEPT, or why the packet of a stream is shed that is, or was until a while ago."""
    cdef stream_t* stream = &worker.streams[index]
    cdef shed_t* shed = &stream.shed
    cdef uint8_t state = stream.shed_state & SHED_STATES
    if is_chosen(worker, stream) and (state == SHED_CHOSEN or state == SHED_AWAITING or marks & MARK_FRAME_START):
        if state != SHED_CHOSEN and state != SHED_AWAITING:
            shed.first = seq
            shed.newest = seq
        stream.shed_state = SHED_CHOSEN
        note_shed(shed, seq)
        return SHED_VIDEO
    if state == SHED_CHOSEN:
        stream.shed_state = SHED_AWAITING
        state = SHED_AWAITING
        want_key_frame(worker, index)
    if state == SHED_AWAITING:
        if marks & MARK_GOP_START and <int32_t>(seq - shed.newest) > 0:
            resume(worker, index, seq)
            return KEPT
        if marks & MARK_FRAME_START:
            mark_dirty(worker, index)  # asked for again if need be
        note_shed(shed, seq)
        return SHED_UNTIL_KEY
    if state == SHED_RESUMED:
        if <int32_t>(seq - shed.resumed) < 0 and <int32_t>(seq - shed.first) >= 0:
            return SHED_UNTIL_KEY
        if <int32_t>(seq - shed.resumed) > REORDERED_PACKETS:
            stream.shed_state = 0
    return KEPT


cdef int shed_media(
    worker_t* worker, int32_t stream_index, uint32_t stream_seq, uint8_t marks, int64_t arrival_us
) noexcept nogil:
    """KEPT, or the verdict that ends this packet."""
    cdef stream_t* stream = &worker.streams[stream_index]
    cdef overload_t* overload = &worker.overload
    cdef int verdict = KEPT
    cdef int64_t cost
    if stream.media == MEDIA_AUDIO:
        if overload.step >= STEP_AUDIO:
            verdict = SHED_AUDIO
    else:
        verdict = shed_whole(worker, stream_index, stream_seq, marks)
        if verdict == KEPT:
            if marks & MARK_FRAME_START:
                stream.shed_state &= ~SHED_FRAME
                if overload.step >= STEP_DISCARDABLE and marks & MARK_DISCARDABLE:
                    stream.shed_state |= SHED_FRAME
            if stream.shed_state & SHED_FRAME and marks & MARK_DISCARDABLE:
                verdict = SHED_DISCARDABLE
    cost = overload_cost(stream.subscribers)
    if verdict == KEPT:
        overload.work += cost
        return KEPT
    overload.work += 1
    if verdict == SHED_UNTIL_KEY:
        overload.awaited += cost - 1
    else:
        overload.saved += cost - 1
    stream.last_packet_us = arrival_us  # it has not fallen silent
    return verdict


cdef int shed_unchecked(worker_t* worker, uint8_t traffic_class) noexcept nogil:
    """KEPT, or the verdict of media that is not worth its check. From STEP_UNCHECKED_VIDEO on."""
    cdef bint is_audio = traffic_class == CLASS_AUDIO
    if worker.overload.step < (STEP_UNCHECKED if is_audio else STEP_UNCHECKED_VIDEO):
        return KEPT
    worker.overload.unchecked += 1
    worker.overload.work += 1
    return SHED_UNCHECKED_AUDIO if is_audio else SHED_UNCHECKED_VIDEO


cdef void forgive_unchecked(worker_t* worker, link_t* link, uint64_t hop_seq) noexcept nogil:
    """The first packet ahead on a link after something was shed unchecked: the numbers it skips may be
    that, so they are no holes (their packets are taken if they come yet), and nothing is asked for now."""
    cdef uint64_t at = link.highest + 1
    if hop_seq < at:
        return  # it is late, and skips none
    link.unchecked_seen = worker.overload.unchecked
    link.given_up += <uint64_t>link.hole_count
    link.lost += <uint64_t>link.hole_count
    link.hole_count = 0
    link.next_repair_us = -1
    if hop_seq - at >= REPLAY_WINDOW:
        memset(link.window, 0, WINDOW_WORDS * sizeof(uint64_t))
        at = hop_seq
    while at < hop_seq:
        link.window[(at & (REPLAY_WINDOW - 1)) >> 6] &= ~(<uint64_t>1 << (at & 63))
        at += 1
    link.highest = hop_seq - 1


cdef bint shed_answer(worker_t* worker, const stream_t* stream) noexcept nogil:
    """A packet asked for again is of a stream that is shed: it is gone, which needs one message a run."""
    if worker.overload.step == 0:
        return False
    if worker.overload.step < STEP_AUDIO if stream.media == MEDIA_AUDIO else not is_chosen(worker, stream):
        return False
    count(worker, SHED_REPAIR)
    return True


cdef void choose_all(worker_t* worker) noexcept nogil:
    """From now on packets may go unseen: each video stream waits for a key frame afterwards."""
    cdef int32_t i
    cdef stream_t* stream
    for i in range(worker.stream_count):
        stream = &worker.streams[i]
        if stream.is_used and stream.media == MEDIA_VIDEO and stream.has_started:
            if stream.shed_state & SHED_STATES != SHED_CHOSEN and stream.shed_state & SHED_STATES != SHED_AWAITING:
                stream.shed.first = stream.ring.head
                stream.shed.newest = stream.ring.head - 1
            stream.shed_state = SHED_CHOSEN


cdef void tell(worker_t* worker, bint has_begun, int64_t now_us) noexcept nogil:
    cdef overload_t* overload = &worker.overload
    cdef message_t* event
    cdef uint64_t shed[SHED_KINDS]
    cdef int i
    for i in range(SHED_KINDS):
        if has_begun:
            overload.before[i] = worker.counters[<int>SHED_DISCARDABLE + i]
        shed[i] = worker.counters[<int>SHED_DISCARDABLE + i] - overload.before[i]
    event = new_event(worker, EVENT_OVERLOAD)
    if event != NULL:
        event.flag = has_begun
        event.number = overload.age_us if has_begun else overload.zero_us - overload.began_us
        event.tag = <uint32_t>overload.highest_step
        event.payload_bytes = sizeof(shed)
        memcpy(event.payload, shed, sizeof(shed))
        mailbox_post(&worker.events)


cdef void shed_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    """At the end of a turn: shed more, less, or as before; say when it begins and when it is over."""
    cdef int32_t before = worker.overload.step
    cdef int change = overload_turn(&worker.overload, now_us)
    if worker.overload.step >= STEP_UNCHECKED_VIDEO > before:
        choose_all(worker)
    if change == OVERLOAD_BEGAN or change == OVERLOAD_ENDED:
        tell(worker, change == OVERLOAD_BEGAN, now_us)
