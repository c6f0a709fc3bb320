"""Judges each packet and frame that a viewer is sent, in bounded memory.

A stay is from joining a node to leaving it. Expected of a stay are the frames from the first of
which anything came to the last that was due. A frame is judged when it is whole, when newer ones
push it out, or when the stay ends.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memset
from lab.virtual.content cimport CONTENT_BYTES, content_read, content_t
from rtp.big_endian cimport load_be16
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    CATCHING_UP_US = 3000000     # lab/scenario/report.py
    ORDER_NUMBERS = 64 * ORDER_WORDS


cdef viewer_t* viewer_open(uint32_t broadcast, int64_t gap_threshold_us) noexcept nogil:
    """NULL: no memory. To be freed by the caller."""
    cdef viewer_t* viewer = <viewer_t*>calloc(1, sizeof(viewer_t))
    if viewer != NULL:
        viewer.broadcast = broadcast
        viewer.gap_threshold_us = gap_threshold_us
        viewer.joined_us = -1
        viewer.first_us = -1
        viewer.first_packet_us = -1
        viewer.first_intact_us = -1
        viewer.least_delay_us = -1
        viewer.newest_us = -1
    return viewer


cdef void viewer_join(viewer_t* viewer, int64_t now_us) noexcept nogil:
    viewer.is_present = True
    viewer.first_us = -1
    viewer.has_frames = False
    viewer.judged = 0
    memset(&viewer.video, 0, sizeof(order_t))
    memset(&viewer.audio, 0, sizeof(order_t))
    memset(viewer.frames, 0, sizeof(viewer.frames))
    if viewer.joined_us < 0:
        viewer.joined_us = now_us


cdef void end_silence(viewer_t* viewer, int64_t now_us) noexcept nogil:
    cdef int64_t gap_us = now_us - viewer.last_video_us
    if gap_us > viewer.longest_gap_us:
        viewer.longest_gap_us = gap_us
    if gap_us > viewer.gap_threshold_us and viewer.gap_count < MAX_GAPS:
        viewer.gaps[viewer.gap_count].start_us = viewer.last_video_us
        viewer.gaps[viewer.gap_count].end_us = now_us
        viewer.gap_count += 1


cdef void judge(viewer_t* viewer, open_frame_t* frame) noexcept nogil:
    """It will not get any further."""
    if frame.is_duplicate:
        viewer.duplicate_frames += 1
    if frame.is_bad or frame.got < frame.count:
        viewer.damaged += 1
    viewer.judged += 1
    frame.is_used = False


cdef void viewer_leave(viewer_t* viewer, int64_t last_due, int64_t now_us) noexcept nogil:
    """last_due: number of the last frame that should have come by now, -1: none. What is newer than
    that and not whole is not held against anyone."""
    cdef int64_t last = last_due
    cdef int32_t i
    cdef open_frame_t* frame
    if not viewer.is_present:
        return
    viewer.is_present = False
    if viewer.has_frames:
        if last_due > <int64_t>viewer.highest_frame:
            end_silence(viewer, now_us)
        for i in range(OPEN_FRAMES):
            frame = &viewer.frames[i]
            if frame.is_used and frame.got == frame.count and <int64_t>frame.number > last:
                last = frame.number
        for i in range(OPEN_FRAMES):
            frame = &viewer.frames[i]
            if frame.is_used and <int64_t>frame.number <= last:
                judge(viewer, frame)
        if last >= <int64_t>viewer.first_frame:
            viewer.expected += <uint64_t>(last - viewer.first_frame + 1)
    viewer.video_missing += missing(&viewer.video)
    viewer.audio_missing += missing(&viewer.audio)


cdef uint64_t missing(const order_t* order) noexcept nogil:
    return order.highest - order.first + 1 - order.received if order.has_started else 0


cdef bint in_order(viewer_t* viewer, order_t* order, const rtp_header_t* rtp) noexcept nogil:
    """Notes a sequence number; False: it came before."""
    cdef uint64_t extended
    cdef int64_t ahead
    cdef uint64_t bit, word
    if order.has_started and order.ssrc != rtp.ssrc:
        viewer.breaks += 1
        order.has_started = False
    if not order.has_started:
        memset(order, 0, sizeof(order_t))
        order.has_started = True
        order.ssrc = rtp.ssrc
        order.first = <uint64_t>rtp.sequence_number + 65536
        order.highest = order.first - 1
    ahead = <int64_t><int32_t><uint32_t>((rtp.sequence_number - <uint32_t>(order.highest & 0xFFFF)) & 0xFFFF)
    if ahead >= 32768:
        ahead -= 65536
    if ahead > ORDER_NUMBERS or ahead <= -ORDER_NUMBERS:
        viewer.breaks += 1
        order.has_started = False
        return in_order(viewer, order, rtp)
    extended = order.highest + ahead
    if extended < order.first:
        viewer.breaks += 1  # what stands before the first one was never announced
        return True
    while order.highest < extended:
        order.highest += 1
        word = (order.highest >> 6) & (ORDER_WORDS - 1)
        order.seen[word] &= ~(<uint64_t>1 << (order.highest & 63))
    word = (extended >> 6) & (ORDER_WORDS - 1)
    bit = <uint64_t>1 << (extended & 63)
    if order.seen[word] & bit:
        return False
    order.seen[word] |= bit
    order.received += 1
    return True


cdef uint32_t content_place(const uint8_t* payload, uint32_t size) noexcept nogil:
    """Where a video packet's content begins; 0: nowhere. See `encoder`."""
    cdef uint8_t kind
    cdef uint32_t at = 1
    cdef uint32_t nal
    if size < 4:
        return 0
    kind = payload[0] & 0x1F
    if kind == 28:
        return 4 if payload[1] & 0x80 else 2
    if kind != 24:
        return 3
    while at + 3 <= size:
        nal = load_be16(payload + at)
        if payload[at + 2] & 0x1F == 6:
            return at + 2 + 19
        at += 2 + nal
    return 0


cdef open_frame_t* open_frame(viewer_t* viewer, const content_t* content) noexcept nogil:
    """NULL: it is older than what is kept."""
    cdef open_frame_t* frame = &viewer.frames[content.number % OPEN_FRAMES]
    if frame.is_used and frame.number == content.number:
        return frame
    if frame.is_used:
        if frame.number > content.number:
            return NULL
        judge(viewer, frame)
    memset(frame, 0, sizeof(open_frame_t))
    frame.is_used = True
    frame.number = content.number
    frame.count = <uint16_t>content.count
    frame.is_key = content.is_key
    frame.sent_us = content.sent_us
    return frame


cdef void on_whole(viewer_t* viewer, const open_frame_t* frame, int64_t now_us) noexcept nogil:
    cdef int64_t delay_us = now_us - frame.sent_us
    cdef int64_t bucket = delay_us // 1000
    if viewer.least_delay_us < 0 or delay_us < viewer.least_delay_us:
        viewer.least_delay_us = delay_us
    if frame.is_key and viewer.first_intact_us < 0:
        viewer.first_intact_us = now_us
    viewer.newest_us = now_us
    viewer.whole += 1
    if now_us - viewer.first_us < CATCHING_UP_US:
        viewer.whole_early += 1
        return
    viewer.delays[bucket if bucket < DELAY_BUCKETS else DELAY_BUCKETS - 1] += 1


cdef void note_packet(viewer_t* viewer, int64_t delay_us) noexcept nogil:
    cdef int64_t bucket = delay_us // 1000
    if viewer.packet_delays != NULL:
        viewer.packet_delays[bucket if bucket < DELAY_BUCKETS else DELAY_BUCKETS - 1] += 1


cdef void receive_video(viewer_t* viewer, const rtp_header_t* rtp, const content_t* content, bint is_sound, int64_t now_us) noexcept nogil:
    cdef open_frame_t* frame
    cdef uint64_t bit
    if not is_sound or content.count > 64 * SEEN_WORDS or (content.index + 1 == content.count) != rtp.marker:
        viewer.corrupt += 1  # nothing it says can be relied on; its frame lacks a packet
        return
    if not viewer.has_frames:
        viewer.has_frames = True
        viewer.first_frame = content.number
        viewer.highest_frame = content.number
    else:
        end_silence(viewer, now_us)
    viewer.last_video_us = now_us
    if content.number < viewer.first_frame:
        return
    if content.number > viewer.highest_frame:
        viewer.highest_frame = content.number
    frame = open_frame(viewer, content)
    if frame == NULL:
        return
    if content.count != frame.count:
        frame.is_bad = True
        viewer.corrupt += 1
        return
    bit = <uint64_t>1 << (content.index & 63)
    if frame.seen[content.index >> 6] & bit:
        frame.is_duplicate = True
        viewer.duplicates += 1
        return
    note_packet(viewer, now_us - content.sent_us)
    frame.seen[content.index >> 6] |= bit
    frame.got += 1
    if frame.got == frame.count and not frame.is_bad:
        on_whole(viewer, frame, now_us)


cdef void viewer_receive(viewer_t* viewer, bint is_video, const uint8_t* data, uint32_t size, int64_t now_us) noexcept nogil:
    cdef rtp_header_t rtp
    cdef content_t content
    cdef bint is_new
    cdef uint32_t at
    if not viewer.is_present:
        return
    if parse_rtp_header(data, size, &rtp) != RTP_HEADER_OK:
        viewer.corrupt += 1
        return
    if viewer.first_us < 0:
        viewer.first_us = now_us
    if viewer.first_packet_us < 0:
        viewer.first_packet_us = now_us
    viewer.packets += 1
    is_new = in_order(viewer, &viewer.video if is_video else &viewer.audio, &rtp)
    if not is_new:
        viewer.duplicates += 1
        return
    at = content_place(data + rtp.header_bytes, rtp.payload_bytes) if is_video else 1
    if at == 0 or at + CONTENT_BYTES > rtp.payload_bytes:
        viewer.corrupt += 1
        return
    # The byte behind an SEI's content ends its NAL; what fills a slice belongs to the content.
    size = rtp.payload_bytes - at
    if is_video and data[rtp.header_bytes] & 0x1F == 24:
        size = CONTENT_BYTES
    is_new = content_read(data + rtp.header_bytes + at, size, &content)
    if content.broadcast != viewer.broadcast:
        viewer.corrupt += 1
    elif is_video:
        receive_video(viewer, &rtp, &content, is_new, now_us)
    else:
        viewer.audio_packets += 1
        viewer.corrupt += 0 if is_new else 1
