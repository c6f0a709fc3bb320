"""Judges each packet and frame that a viewer is sent, in bounded memory.

A stay is from joining a node to leaving it. Expected of a stay are the frames from the first of
which anything came to the last that was due. Frames are judged in the order of decoding, each when
one comes that is 128 newer, or when the stay ends. A frame can be decoded if it is whole and all that
it needs could be, in the same version. What comes as RTX (RFC 4588) stands for the packet whose number
it names.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from lab.virtual.content cimport BROADCAST_MASK, CONTENT_BYTES, IS_FRESH, VERSION_SHIFT, content_read, content_t
from lab.virtual.payloads cimport content_place
from lab.virtual.pyramid cimport CODE_B, CODE_KEY, CODE_P, MAX_B_FRAMES, pyramid_of
from lab.virtual.viewer_feedback cimport feedback_join, feedback_on_packet, feedback_on_rtp
from rtp.big_endian cimport load_be16
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t

cdef enum:
    CATCHING_UP_US = 3000000     # lab/scenario/report.py
    ORDER_NUMBERS = 64 * ORDER_WORDS
    RTX_OSN_BYTES = 2            # RFC 4588 4: the original's number, before its payload


cdef viewer_t* viewer_open(uint32_t broadcast, int64_t gap_threshold_us) noexcept nogil:
    """NULL: no memory. To be closed."""
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
        viewer.place = -1
    return viewer


cdef void viewer_close(viewer_t* viewer) noexcept nogil:
    if viewer != NULL:
        free(viewer.feedback)
        free(viewer.packet_delays)
        free(viewer)


cdef void viewer_join(viewer_t* viewer, int64_t now_us) noexcept nogil:
    viewer.is_present = True
    viewer.stay += 1
    viewer.first_us = -1
    viewer.has_frames = False
    if viewer.next_broadcast:
        viewer.broadcast = viewer.next_broadcast
    viewer.past_broadcast = 0
    viewer.shift = viewer.past_shift = 0
    viewer.new_first = 0
    viewer.unused = 0
    viewer.version = -1
    viewer.has_gap = False
    viewer.is_explained = True  # whether it began with a key frame is for others to ask
    viewer.audio_broadcast = 0
    memset(viewer.decodable, 0, sizeof(viewer.decodable))
    memset(&viewer.video, 0, sizeof(order_t))
    memset(&viewer.audio, 0, sizeof(order_t))
    memset(&viewer.rtx, 0, sizeof(order_t))
    memset(viewer.frames, 0, sizeof(viewer.frames))
    viewer.place = -1
    if viewer.feedback != NULL:
        feedback_join(viewer.feedback)
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


cdef bint was_decodable(const viewer_t* viewer, uint32_t number, uint8_t version) noexcept nogil:
    return viewer.decodable[number % JUDGED_FRAMES] == version + 1


cdef bint has_what_it_needs(const viewer_t* viewer, const open_frame_t* frame) noexcept nogil:
    """What is older than this stay was not decoded in it."""
    cdef uint32_t b_frames, at, i
    cdef uint8_t needs
    if frame.code == CODE_KEY:
        return True
    if frame.code < CODE_B:
        return was_decodable(viewer, frame.number - (1 if frame.code == CODE_P else frame.code), frame.version)
    b_frames = (frame.code - CODE_B) >> 3
    at = (frame.code - CODE_B) & 7
    if b_frames > MAX_B_FRAMES or at >= b_frames:
        return False
    needs = pyramid_of(<int>b_frames).needs[at]
    for i in range(at + 1):
        if (needs >> i) & 1 and not was_decodable(viewer, frame.number - 1 - at + i, frame.version):
            return False
    return True


cdef void judge_next(viewer_t* viewer) noexcept nogil:
    """The frame `to_judge` will not get any further."""
    cdef open_frame_t* frame = &viewer.frames[viewer.to_judge % OPEN_FRAMES]
    cdef uint8_t* decodable = &viewer.decodable[viewer.to_judge % JUDGED_FRAMES]
    decodable[0] = 0
    if frame.is_used and frame.number == viewer.to_judge:
        if frame.is_duplicate:
            viewer.duplicate_frames += 1
        if frame.is_after_gap:
            viewer.is_explained = True
        if frame.is_bad or frame.got < frame.count:
            viewer.damaged += 1
        elif has_what_it_needs(viewer, frame):
            decodable[0] = frame.version + 1
            if frame.code == CODE_KEY:
                viewer.is_explained = False
        else:
            viewer.undecodable += 1
            if not viewer.is_explained and not frame.is_fresh:
                viewer.unexplained += 1
                viewer.unexplained_us = frame.sent_us
        frame.is_used = False
    viewer.to_judge += 1


cdef void note_unused(viewer_t* viewer) noexcept nogil:
    """Nothing more of what it was sent before the last switch counts."""
    if viewer.new_first > viewer.old_last + 1:
        viewer.unused += viewer.new_first - viewer.old_last - 1
    viewer.new_first = 0


cdef void go_on_with(viewer_t* viewer, const content_t* content, int64_t now_us) noexcept nogil:
    """The first packet of the other broadcast: its frames' numbers follow those of the old one, with room
    for some before this one that come later."""
    note_unused(viewer)
    viewer.past_broadcast = viewer.broadcast
    viewer.past_shift = viewer.shift
    viewer.broadcast = content.broadcast & BROADCAST_MASK
    viewer.shift = 0
    if viewer.has_frames:
        viewer.shift = <int64_t>viewer.highest_frame + 1 + SWITCH_MARGIN - <int64_t>content.number
        viewer.old_last = viewer.highest_frame
        viewer.new_first = <uint32_t>(content.number + viewer.shift)
    if viewer.switch_count < MAX_CHANGES:
        viewer.switches[viewer.switch_count].at_us = now_us
        viewer.switches[viewer.switch_count].broadcast = viewer.broadcast
        viewer.switch_count += 1


cdef void number_on(viewer_t* viewer, content_t* content) noexcept nogil:
    """From the encoder's number of a frame to this viewer's."""
    if content.broadcast & BROADCAST_MASK == viewer.broadcast:
        content.number = <uint32_t>(content.number + viewer.shift)
        if viewer.new_first and content.number < viewer.new_first:
            viewer.new_first = content.number
    else:
        content.number = <uint32_t>(content.number + viewer.past_shift)
        if viewer.new_first and content.number > viewer.old_last:
            viewer.old_last = content.number


cdef bint is_awaited(const viewer_t* viewer, uint32_t broadcast) noexcept nogil:
    cdef uint32_t i
    if broadcast == viewer.broadcast or (broadcast != 0 and broadcast == viewer.past_broadcast):
        return True
    for i in range(MAX_TOLD if viewer.told_count > MAX_TOLD else viewer.told_count):
        if viewer.told[i] == broadcast:
            return True
    return False


cdef bint is_of_next(const viewer_t* viewer, uint32_t broadcast, uint16_t number) noexcept nogil:
    """It has gone on with this broadcast, perhaps back to the one before: what is sent again of that is
    never the newest."""
    if broadcast == viewer.broadcast:
        return False
    return broadcast != viewer.past_broadcast or number == <uint16_t>viewer.video.highest


cdef void viewer_leave(viewer_t* viewer, int64_t last_due, int64_t now_us) noexcept nogil:
    """last_due: number of the last frame that should have come by now, -1: none. What is newer than
    that and not whole is not held against anyone."""
    cdef int64_t last
    cdef int32_t i
    cdef open_frame_t* frame
    if not viewer.is_present:
        return
    viewer.is_present = False
    if last_due >= 0:
        last_due += viewer.shift
    last = last_due
    note_unused(viewer)
    if viewer.has_frames:
        if last_due > <int64_t>viewer.highest_frame:
            end_silence(viewer, now_us)
        for i in range(OPEN_FRAMES):
            frame = &viewer.frames[i]
            if frame.is_used and frame.got == frame.count and <int64_t>frame.number > last:
                last = frame.number
        while <int64_t>viewer.to_judge <= last and viewer.to_judge <= viewer.highest_frame:
            judge_next(viewer)
        if last >= <int64_t>viewer.first_frame:
            viewer.expected += <uint64_t>(last - viewer.first_frame + 1) - viewer.unused
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


cdef bint take_original(viewer_t* viewer, const uint8_t* data, rtp_header_t* rtp) noexcept nogil:
    """Makes the header of an RTX packet that of the packet it stands for (RFC 4588 4), whose SSRC is the
    media's. False: it is padding, or of what came before anything this viewer knows of."""
    cdef const order_t* order = &viewer.video
    cdef uint16_t original
    cdef int64_t extended
    if rtp.payload_bytes < RTX_OSN_BYTES or not order.has_started:
        return False
    original = load_be16(data + rtp.header_bytes)
    extended = <int64_t>order.highest + <int16_t><uint16_t>(original - <uint32_t>(order.highest & 0xFFFF))
    if extended < <int64_t>order.first or extended <= <int64_t>order.highest - ORDER_NUMBERS:
        return False
    rtp.sequence_number = original
    rtp.ssrc = order.ssrc
    rtp.header_bytes += RTX_OSN_BYTES
    rtp.payload_bytes -= RTX_OSN_BYTES
    return True


cdef open_frame_t* open_frame(viewer_t* viewer, const content_t* content) noexcept nogil:
    """NULL: it has been judged."""
    cdef open_frame_t* frame = &viewer.frames[content.number % OPEN_FRAMES]
    if content.number < viewer.to_judge:
        return NULL
    while content.number >= viewer.to_judge + OPEN_FRAMES:
        judge_next(viewer)
    if frame.is_used:
        return frame
    memset(frame, 0, sizeof(open_frame_t))
    frame.is_used = True
    frame.number = content.number
    frame.count = <uint16_t>content.count
    frame.code = content.code
    frame.version = <uint8_t>(content.broadcast >> VERSION_SHIFT)
    frame.is_fresh = (content.broadcast & IS_FRESH) != 0
    frame.sent_us = content.sent_us
    return frame


cdef open_frame_t* begin_again(viewer_t* viewer, open_frame_t* frame, const content_t* content) noexcept nogil:
    """A change of version may show some pictures twice: the later one is what others refer to."""
    cdef bint is_again = frame.is_again or (frame.got == frame.count and not frame.is_bad)
    frame.is_used = False
    frame = open_frame(viewer, content)
    frame.is_again = is_again
    return frame


cdef void on_whole(viewer_t* viewer, const open_frame_t* frame, int64_t now_us) noexcept nogil:
    cdef int64_t delay_us = now_us - frame.sent_us
    cdef int64_t bucket = delay_us // 1000
    if viewer.least_delay_us < 0 or delay_us < viewer.least_delay_us:
        viewer.least_delay_us = delay_us
    if frame.code == CODE_KEY and viewer.first_intact_us < 0:
        viewer.first_intact_us = now_us
    viewer.of_version[frame.version if frame.version < MAX_VERSIONS else MAX_VERSIONS - 1] += 1
    if viewer.version != frame.version:
        if viewer.version >= 0 and viewer.change_count < MAX_CHANGES:
            viewer.changes[viewer.change_count].at_us = now_us
            viewer.changes[viewer.change_count].version = frame.version
            viewer.change_count += 1
        viewer.version = frame.version
    viewer.newest_us = now_us
    if frame.is_again:
        return
    viewer.whole += 1
    if now_us - viewer.first_us < CATCHING_UP_US:
        viewer.whole_early += 1
        return
    viewer.delays[bucket if bucket < DELAY_BUCKETS else DELAY_BUCKETS - 1] += 1


cdef void note_packet(viewer_t* viewer, int64_t delay_us) noexcept nogil:
    cdef int64_t bucket = delay_us // 1000
    if viewer.packet_delays != NULL:
        viewer.packet_delays[bucket if bucket < DELAY_BUCKETS else DELAY_BUCKETS - 1] += 1


cdef void receive_audio(viewer_t* viewer, const content_t* content, bint is_newest, bint is_next) noexcept nogil:
    """is_next: its number follows that of the newest before it."""
    if is_next and content.broadcast == viewer.audio_broadcast and content.number != viewer.audio_number + 1:
        viewer.audio_passed += 1
    if is_newest:
        viewer.audio_broadcast = content.broadcast
        viewer.audio_number = content.number


cdef void receive_video(
    viewer_t* viewer, const rtp_header_t* rtp, const content_t* content, bint is_sound, int64_t now_us
) noexcept nogil:
    cdef bint is_newest = rtp.sequence_number == <uint16_t>viewer.video.highest
    cdef open_frame_t* frame
    cdef uint64_t bit
    if not is_sound or content.count > 64 * SEEN_WORDS or (content.index + 1 == content.count) != rtp.marker:
        viewer.corrupt += 1  # nothing it says can be relied on; its frame lacks a packet
        return
    if not viewer.has_frames:
        viewer.has_frames = True
        viewer.first_frame = content.number
        viewer.highest_frame = content.number
        viewer.to_judge = content.number
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
    if content.broadcast >> VERSION_SHIFT != frame.version:
        if not is_newest:
            return  # it was sent again, and is of before the change
        frame = begin_again(viewer, frame, content)
    if viewer.has_gap:
        frame.is_after_gap = True
        viewer.has_gap = False
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
    cdef bint is_new, is_again, is_next
    cdef order_t* order = &viewer.video if is_video else &viewer.audio
    cdef uint64_t breaks = viewer.breaks
    cdef uint64_t before
    cdef uint32_t at, end
    if not viewer.is_present:
        return
    if parse_rtp_header(data, size, &rtp) != RTP_HEADER_OK:
        viewer.corrupt += 1
        return
    if viewer.feedback != NULL:
        feedback_on_packet(viewer.feedback, data, size, now_us)
    if viewer.first_us < 0:
        viewer.first_us = now_us
    if viewer.first_packet_us < 0:
        viewer.first_packet_us = now_us
    viewer.packets += 1
    viewer.bytes += size
    is_again = is_video and viewer.rtx_payload_type != 0 and rtp.payload_type == viewer.rtx_payload_type
    if is_again:
        viewer.rtx_packets += 1
        if rtp.ssrc == viewer.video.ssrc:
            viewer.corrupt += 1
            return
        if not in_order(viewer, &viewer.rtx, &rtp):
            viewer.duplicates += 1
            return
        if not take_original(viewer, data, &rtp):
            return
    before = order.highest
    is_next = order.has_started
    is_new = in_order(viewer, order, &rtp)
    is_next = is_next and viewer.breaks == breaks and order.highest == before + 1
    if is_video and before > 0 and (viewer.breaks != breaks or order.highest != before + 1):
        viewer.has_gap = True  # or it fills one, where others may still be missing
    if is_again:
        viewer.rtx_repaired += is_new
    elif not is_new:
        viewer.duplicates += 1
    if not is_new:
        return
    if viewer.feedback != NULL:
        feedback_on_rtp(viewer.feedback, is_video, is_again, &rtp, now_us)
    end = rtp.payload_bytes
    at = content_place(viewer.codec, data + rtp.header_bytes, rtp.payload_bytes, &end) if is_video else 1
    if at == 0 or end > rtp.payload_bytes or at + CONTENT_BYTES > end:
        viewer.corrupt += 1
        return
    is_new = content_read(data + rtp.header_bytes + at, end - at, &content)
    if not is_awaited(viewer, content.broadcast & BROADCAST_MASK):
        viewer.corrupt += 1
    elif is_video:
        if is_of_next(viewer, content.broadcast & BROADCAST_MASK, rtp.sequence_number):
            go_on_with(viewer, &content, now_us)
        number_on(viewer, &content)
        receive_video(viewer, &rtp, &content, is_new, now_us)
    else:
        viewer.audio_packets += 1
        viewer.corrupt += 0 if is_new else 1
        if is_new:
            receive_audio(viewer, &content, order.highest != before, is_next)
