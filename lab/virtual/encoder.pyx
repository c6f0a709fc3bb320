"""What an encoder sends: per frame one burst of RTP packets of at most 1,200 bytes.

A key frame is a STAP-A of SPS, PPS and an SEI message (RFC 6184 5.7.1), then an IDR slice in FU-A
fragments (5.8); another frame is one P or B slice, in one packet or in fragments. Nothing decodes it:
behind a slice's first bytes stands `content`, by which a viewer judges each packet. A key frame has
four times the bytes of a P frame, a B frame 0.7 times if it is referenced and else 0.4 (chosen);
sizes vary by 20 % either way. Frames are sent in the order of decoding, one each frame's time, with
the time stamps of their display. Audio is a packet of 20 ms (RFC 7587).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy
from lab.virtual.content cimport CONTENT_BYTES, VERSION_SHIFT, content_t, content_write
from lab.virtual.draws cimport draw_bits, draw_unit
from lab.virtual.pyramid cimport CODE_B, CODE_KEY, CODE_P, pyramid_of, pyramid_t
from rtp.big_endian cimport store_be16, store_be32
from rtp.rtcp.walk cimport PSFB_PLI, RTCP_PSFB, feedback_t, read_feedback, rtcp_is_whole, rtcp_next, rtcp_packet_t

cdef enum:
    RTP_BYTES = 12
    FRAGMENT_BYTES = 1186        # 1,200 - RTP header - FU indicator and header
    SLICE_BYTES = 2              # of the slice header, before the content
    LEAST_BYTES = 64             # of a fragment
    SEI_HEAD_BYTES = 19          # NAL header, payload type, size, UUID
    AUDIO_BYTES = 160            # 64 kbit/s
    KEY_TENTHS = 40              # sizes of frames, a P frame's being 10
    P_TENTHS = 10
    REFERENCED_B_TENTHS = 7
    B_TENTHS = 4

cdef extern from *:
    """
    /* SPS of constrained baseline, 1280x720, and its PPS. */
    static const unsigned char overlane_lab_sps[] = {0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x40};
    static const unsigned char overlane_lab_pps[] = {0x68, 0xce, 0x3c, 0x80};
    """
    const uint8_t overlane_lab_sps[10]
    const uint8_t overlane_lab_pps[4]

cdef enum:
    SPS_BYTES = 10
    PPS_BYTES = 4


cdef void new_track(draws_t* draws, rtp_track_t* track) noexcept nogil:
    track.ssrc = <uint32_t>draw_bits(draws) | 1
    track.timestamp = <uint32_t>draw_bits(draws)
    track.sequence_number = <uint16_t>draw_bits(draws)


cdef void encoder_restart(encoder_t* encoder) noexcept nogil:
    """New SSRCs, sequence numbers and time stamps; the next frame is a key frame."""
    new_track(&encoder.draws, &encoder.video)
    new_track(&encoder.draws, &encoder.audio)
    encoder.until_key = 0
    encoder.group_left = 0


cdef uint64_t group_tenths(uint32_t b_frames) noexcept nogil:
    """Of a P frame and the B frames before it."""
    cdef const pyramid_t* pyramid = pyramid_of(<int>b_frames)
    cdef uint64_t tenths = P_TENTHS
    cdef uint32_t i
    for i in range(b_frames):
        tenths += REFERENCED_B_TENTHS if pyramid.is_reference[i] else B_TENTHS
    return tenths


cdef void encoder_set_bitrate(encoder_t* encoder, uint32_t bitrate_bps) noexcept nogil:
    """Of video, on average over a group of pictures."""
    cdef uint32_t whole = (encoder.gop_frames - 1) // (encoder.b_frames + 1)
    cdef uint32_t rest = (encoder.gop_frames - 1) % (encoder.b_frames + 1)
    cdef uint64_t tenths = KEY_TENTHS + whole * group_tenths(encoder.b_frames)
    if rest > 0:
        tenths += group_tenths(rest - 1)
    encoder.mean_bytes = <uint32_t>(
        <uint64_t>bitrate_bps * encoder.gop_frames * P_TENTHS // (8 * <uint64_t>encoder.fps * tenths)
    )
    encoder.key_bytes = encoder.mean_bytes * KEY_TENTHS // P_TENTHS


cdef void encoder_on_rtcp(encoder_t* encoder, const uint8_t* data, uint32_t size) noexcept nogil:
    """What its node says: a picture loss indication makes the next frame a key frame (RFC 4585 6.3.1)."""
    cdef rtcp_packet_t packet
    cdef feedback_t feedback
    cdef size_t at = 0
    if not rtcp_is_whole(data, size):
        return
    while rtcp_next(data, size, &at, &packet) == 1:
        if packet.packet_type == RTCP_PSFB and packet.count == PSFB_PLI and read_feedback(&packet, &feedback):
            if feedback.media_ssrc == encoder.video.ssrc:
                encoder.keys_asked += 1
                encoder.until_key = 0


cdef void encoder_resume(encoder_t* encoder, int64_t now_us) noexcept nogil:
    """After a pause: frames are counted on, RTP time has gone on, and a key frame is next."""
    cdef int64_t paused_us = now_us - encoder.paused_us
    encoder.is_paused = False
    encoder.start_us += paused_us
    encoder.video.timestamp += <uint32_t>(paused_us * 90000 // 1000000)
    encoder.audio.timestamp += <uint32_t>(paused_us * 48000 // 1000000)
    encoder.until_key = 0
    encoder.group_left = 0


cdef int64_t encoder_frame_us(const encoder_t* encoder, uint32_t frame) noexcept nogil:
    """When a frame is sent: no rounding adds up."""
    return encoder.start_us + <int64_t>frame * 1000000 // encoder.fps


cdef int64_t encoder_audio_us(const encoder_t* encoder, uint32_t packet) noexcept nogil:
    return encoder.start_us + <int64_t>packet * AUDIO_PACKET_US


cdef void choose_kind(encoder_t* encoder) noexcept nogil:
    """Key frame, P frame or one of the B frames before it."""
    cdef uint32_t at
    encoder.is_key = encoder.until_key == 0
    encoder.is_discardable = False
    encoder.shown = encoder.frame
    if encoder.is_key:
        encoder.code = CODE_KEY
        encoder.group_left = 0
        encoder.anchor = encoder.frame
    elif encoder.group_left == 0:
        encoder.group_b_frames = encoder.b_frames if encoder.b_frames < encoder.until_key else encoder.until_key - 1
        encoder.group_left = encoder.group_b_frames
        encoder.shown += encoder.group_b_frames
        encoder.code = CODE_P if encoder.frame - encoder.anchor == 1 else encoder.frame - encoder.anchor
        encoder.anchor = encoder.frame
    else:
        at = encoder.frame - encoder.anchor - 1
        encoder.code = CODE_B + 8 * encoder.group_b_frames + at
        encoder.shown = encoder.anchor + pyramid_of(<int>encoder.group_b_frames).place[at]
        encoder.is_discardable = not pyramid_of(<int>encoder.group_b_frames).is_reference[at]
        encoder.group_left -= 1


cdef uint32_t size_of_kind(const encoder_t* encoder) noexcept nogil:
    if encoder.is_key:
        return encoder.key_bytes
    if encoder.code < CODE_B:
        return encoder.mean_bytes
    return encoder.mean_bytes * (B_TENTHS if encoder.is_discardable else REFERENCED_B_TENTHS) // P_TENTHS


cdef void encoder_begin_frame(encoder_t* encoder) noexcept nogil:
    """Decides on the next frame; `frame` moves on when its last packet has been made."""
    choose_kind(encoder)
    encoder.frame_bytes = <uint32_t>(<double>size_of_kind(encoder) * (0.8 + 0.4 * draw_unit(&encoder.draws)))
    if encoder.frame_bytes < LEAST_BYTES:
        encoder.frame_bytes = LEAST_BYTES
    encoder.packet_count = (encoder.frame_bytes + FRAGMENT_BYTES - 1) // FRAGMENT_BYTES
    if encoder.packet_count > MAX_FRAME_PACKETS - 1:
        encoder.packet_count = MAX_FRAME_PACKETS - 1
        encoder.frame_bytes = encoder.packet_count * FRAGMENT_BYTES
    if encoder.is_key:
        encoder.packet_count += 1  # the parameter sets
        encoder.until_key = encoder.gop_frames
    encoder.until_key -= 1


cdef void put_rtp(rtp_track_t* track, uint8_t payload_type, bint marker, uint32_t ticks, uint8_t* target) noexcept nogil:
    target[0] = 0x80
    target[1] = payload_type | (0x80 if marker else 0)
    store_be16(target + 2, track.sequence_number)
    store_be32(target + 4, track.timestamp + ticks)
    store_be32(target + 8, track.ssrc)
    track.sequence_number += 1


cdef uint32_t put_parameter_sets(const content_t* content, uint8_t* target) noexcept nogil:
    """A STAP-A; the SEI is user data without a registered owner (H.264 D.1.7), zeros as its UUID
    would need emulation prevention, so ones."""
    cdef uint32_t at = 1
    cdef uint32_t i
    target[0] = 24 | 0x60
    store_be16(target + at, SPS_BYTES)
    memcpy(target + at + 2, overlane_lab_sps, SPS_BYTES)
    at += 2 + SPS_BYTES
    store_be16(target + at, PPS_BYTES)
    memcpy(target + at + 2, overlane_lab_pps, PPS_BYTES)
    at += 2 + PPS_BYTES
    store_be16(target + at, SEI_HEAD_BYTES + CONTENT_BYTES + 1)
    at += 2
    target[at] = 6
    target[at + 1] = 5
    target[at + 2] = 16 + CONTENT_BYTES
    for i in range(16):
        target[at + 3 + i] = 0x11
    at += SEI_HEAD_BYTES
    content_write(content, target + at, CONTENT_BYTES)
    target[at + CONTENT_BYTES] = 0x80
    return at + CONTENT_BYTES + 1


cdef uint32_t put_slice(const encoder_t* encoder, const content_t* content, uint8_t* target) noexcept nogil:
    """One fragment of the slice, or all of it. The slice header begins with first_mb_in_slice 0 and
    slice_type 7 (I), 5 (P) or 6 (B), in Exp-Golomb codes (H.264 7.3.3)."""
    cdef uint32_t fragments = encoder.packet_count - (1 if encoder.is_key else 0)
    cdef uint32_t fragment = content.index - (1 if encoder.is_key else 0)
    cdef uint32_t size = FRAGMENT_BYTES
    cdef uint8_t kind = 0x65 if encoder.is_key else 0x01 if encoder.is_discardable else 0x41
    cdef uint32_t at = 1
    if fragment + 1 == fragments:
        size = encoder.frame_bytes - fragment * FRAGMENT_BYTES
        if size < LEAST_BYTES:
            size = LEAST_BYTES
    if fragments == 1:
        target[0] = kind
    else:
        target[0] = 28 | (kind & 0x60)
        target[1] = (kind & 0x1F) | (0x80 if fragment == 0 else 0) | (0x40 if fragment + 1 == fragments else 0)
        at = 2
    if fragment == 0:
        target[at] = 0x88 if encoder.is_key else 0x9B if encoder.code < CODE_B else 0x9F
        target[at + 1] = 0xFF
        at += SLICE_BYTES
        size -= SLICE_BYTES
    content_write(content, target + at, size)
    return at + size


cdef uint32_t encoder_video_packet(encoder_t* encoder, uint32_t index, int64_t now_us, uint8_t* target) noexcept nogil:
    """Packet `index` of the frame begun; its size."""
    cdef content_t content
    cdef bint is_last = index + 1 == encoder.packet_count
    cdef uint32_t ticks = <uint32_t>(<uint64_t>encoder.shown * 90000 // encoder.fps)
    content.broadcast = encoder.broadcast | (encoder.version << VERSION_SHIFT)
    content.number = encoder.frame
    content.index = index
    content.count = encoder.packet_count
    content.code = encoder.code
    content.sent_us = now_us
    put_rtp(&encoder.video, VIDEO_PAYLOAD_TYPE, is_last, ticks, target)
    if is_last:
        encoder.frame += 1
    if encoder.is_key and index == 0:
        return RTP_BYTES + put_parameter_sets(&content, target + RTP_BYTES)
    return RTP_BYTES + put_slice(encoder, &content, target + RTP_BYTES)


cdef uint32_t encoder_audio_packet(encoder_t* encoder, int64_t now_us, uint8_t* target) noexcept nogil:
    """The next 20 ms; its size."""
    cdef content_t content
    content.broadcast = encoder.broadcast
    content.number = encoder.audio_packet
    content.index = 0
    content.count = 1
    content.code = CODE_KEY
    content.sent_us = now_us
    put_rtp(&encoder.audio, AUDIO_PAYLOAD_TYPE, False, encoder.audio_packet * 960, target)
    encoder.audio_packet += 1
    target[RTP_BYTES] = 0xFC  # one frame of 20 ms, CELT, stereo (RFC 6716 3.1)
    content_write(&content, target + RTP_BYTES + 1, AUDIO_BYTES)
    return RTP_BYTES + 1 + AUDIO_BYTES
