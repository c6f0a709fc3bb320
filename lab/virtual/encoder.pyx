"""What an encoder sends: per frame one burst of RTP packets of at most 1,200 bytes.

A packet is the codec's own (`payloads`): parameter sets before a key frame, one P or B slice or a part
of it. Nothing decodes it: behind a picture's first bytes stands `content`, by which a viewer judges
each packet. A key frame has four times the bytes of a P frame, a B frame 0.7 times if it is referenced and else 0.4 (chosen);
sizes vary by 20 % either way. Frames are sent in the order of decoding, one each frame's time, with
the time stamps of their display. Audio is a packet of 20 ms (RFC 7587).
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from lab.virtual.content cimport CONTENT_BYTES, IS_FRESH, VERSION_SHIFT, content_t, content_write
from lab.virtual.draws cimport draw_bits, draw_unit
from lab.virtual.payloads cimport (
    LAB_CODECS, LAB_H264, has_parameter_packet, piece_t, put_head, put_parameter_sets, reorders_frames,
)
from lab.virtual.pyramid cimport CODE_B, CODE_KEY, CODE_P, MAX_B_FRAMES, pyramid_of, pyramid_t
from rtp.big_endian cimport store_be16, store_be32
from rtp.rtcp.walk cimport PSFB_PLI, RTCP_PSFB, feedback_t, read_feedback, rtcp_is_whole, rtcp_next, rtcp_packet_t

cdef enum:
    RTP_BYTES = 12
    FRAGMENT_BYTES = 1186        # 1,200 - RTP header - FU indicator and header
    LEAST_BYTES = 64             # of a fragment
    AUDIO_BYTES = 160            # 64 kbit/s
    KEY_TENTHS = 40              # sizes of frames, a P frame's being 10
    P_TENTHS = 10
    REFERENCED_B_TENTHS = 7
    B_TENTHS = 4

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
    encoder.settled_frame = encoder.frame + encoder.fps


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
        encoder.is_fresh = encoder.frame < encoder.settled_frame
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
    if not reorders_frames(encoder.codec):
        encoder.shown = encoder.frame


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
    encoder.fragments = (encoder.frame_bytes + FRAGMENT_BYTES - 1) // FRAGMENT_BYTES
    if encoder.fragments > MAX_FRAME_PACKETS - 1:
        encoder.fragments = MAX_FRAME_PACKETS - 1
        encoder.frame_bytes = encoder.fragments * FRAGMENT_BYTES
    encoder.packet_count = encoder.fragments
    if encoder.is_key:
        encoder.packet_count += 1 if has_parameter_packet(encoder.codec) else 0
        encoder.until_key = encoder.gop_frames
    encoder.until_key -= 1


cdef void put_rtp(rtp_track_t* track, uint8_t payload_type, bint marker, uint32_t ticks, uint8_t* target) noexcept nogil:
    target[0] = 0x80
    target[1] = payload_type | (0x80 if marker else 0)
    store_be16(target + 2, track.sequence_number)
    store_be32(target + 4, track.timestamp + ticks)
    store_be32(target + 8, track.ssrc)
    track.sequence_number += 1


cdef uint32_t put_picture(const encoder_t* encoder, const content_t* content, uint8_t* target) noexcept nogil:
    """One fragment of the frame, or all of it."""
    cdef uint32_t before = encoder.packet_count - encoder.fragments
    cdef uint32_t fragment = content.index - before
    cdef uint32_t size = FRAGMENT_BYTES
    cdef uint32_t at
    cdef piece_t piece
    piece.codec = encoder.codec
    piece.is_key = encoder.is_key
    piece.is_b = encoder.code >= CODE_B
    piece.is_discardable = encoder.is_discardable
    piece.is_first = fragment == 0
    piece.is_last = fragment + 1 == encoder.fragments
    piece.number = encoder.frame
    if piece.is_last:
        size = encoder.frame_bytes - fragment * FRAGMENT_BYTES
        if size < LEAST_BYTES:
            size = LEAST_BYTES
    at = put_head(&piece, target)
    # What stands before the content is part of the fragment, but for H.264's own two bytes (one of a whole unit).
    size += (1 if encoder.codec == LAB_H264 and encoder.fragments == 1 else 2) - at
    content_write(content, target + at, size)
    return at + size


cdef uint32_t encoder_video_packet(encoder_t* encoder, uint32_t index, int64_t now_us, uint8_t* target) noexcept nogil:
    """Packet `index` of the frame begun; its size."""
    cdef content_t content
    cdef bint is_last = index + 1 == encoder.packet_count
    cdef uint32_t ticks = <uint32_t>(<uint64_t>encoder.shown * 90000 // encoder.fps)
    content.broadcast = encoder.broadcast | (encoder.version << VERSION_SHIFT) | (IS_FRESH if encoder.is_fresh else 0)
    content.number = encoder.frame
    content.index = index
    content.count = encoder.packet_count
    content.code = encoder.code
    content.sent_us = now_us
    put_rtp(&encoder.video, VIDEO_PAYLOAD_TYPE, is_last, ticks, target)
    if is_last:
        encoder.frame += 1
    if index == 0 and encoder.packet_count > encoder.fragments:
        return RTP_BYTES + put_parameter_sets(encoder.codec, &content, target + RTP_BYTES)
    return RTP_BYTES + put_picture(encoder, &content, target + RTP_BYTES)


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


@cython.final
cdef class SyntheticEncoder:
    """One encoder by itself, for a look at its packets."""
    cdef encoder_t encoder

    def __cinit__(
        self, uint64_t seed, *, uint8_t codec=0, uint32_t b_frames=0, uint32_t gop_frames=30,
        uint32_t bitrate_bps=1000000,
    ):
        if codec >= LAB_CODECS or b_frames > MAX_B_FRAMES or gop_frames == 0:
            raise ValueError("there is no such encoder")
        self.encoder.codec = codec
        self.encoder.b_frames = b_frames
        self.encoder.gop_frames = gop_frames
        self.encoder.fps = 30
        self.encoder.broadcast = 1
        self.encoder.draws.state = seed
        encoder_restart(&self.encoder)
        encoder_set_bitrate(&self.encoder, bitrate_bps)

    def frame(self):
        cdef uint8_t packet[MAX_PACKET_BYTES + 64]
        cdef uint32_t size, i
        cdef list packets = []
        encoder_begin_frame(&self.encoder)
        for i in range(self.encoder.packet_count):
            size = encoder_video_packet(&self.encoder, i, encoder_frame_us(&self.encoder, self.encoder.frame), packet)
            packets.append(packet[:size])
        return packets, bool(self.encoder.is_key), bool(self.encoder.is_discardable)
