# A synthetic encoder: H.264 access units by syntax and Opus-like packets, as RTP.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from lab.virtual.draws cimport draws_t

cdef enum:
    VIDEO_PAYLOAD_TYPE = 96
    AUDIO_PAYLOAD_TYPE = 111
    AUDIO_PACKET_US = 20000
    MAX_FRAME_PACKETS = 512
    MAX_PACKET_BYTES = 1200      # of RTP, as encoders are told

ctypedef struct rtp_track_t:
    uint32_t ssrc
    uint32_t timestamp           # RTP time of number 0
    uint16_t sequence_number     # the next

ctypedef struct encoder_t:
    bint is_running
    bint is_paused
    bint has_audio
    bint video_waits             # for the pause to end
    bint audio_waits
    int64_t paused_us            # since when
    uint32_t broadcast
    uint32_t version             # 0: the best
    uint8_t codec                # payloads.VideoCodec
    int32_t host                 # -1: it sends to nobody
    int32_t video_port           # of that host's engine
    int32_t audio_port
    int64_t start_us
    int64_t end_us               # no frame from then on
    uint32_t fps
    uint32_t gop_frames
    uint32_t b_frames            # between two anchors
    uint32_t mean_bytes          # of a P frame
    uint32_t key_bytes
    uint32_t frame               # number of the next one
    uint32_t audio_packet
    uint32_t until_key           # frames
    uint32_t anchor              # number of the last key or P frame
    uint32_t group_left          # frames of the group of a P frame and its B frames
    uint32_t group_b_frames
    rtp_track_t video
    rtp_track_t audio
    draws_t draws
    uint64_t keys_asked          # by its node; each is answered by the next frame
    uint32_t settled_frame       # a second after it was last started
    # the frame that is being sent
    bint is_fresh                # of a GoP begun before that: nodes take up a new source a moment late
    bint is_key
    uint32_t code                # what it needs: `pyramid`
    uint32_t shown               # its number in the order of display
    bint is_discardable
    uint32_t frame_bytes
    uint32_t packet_count
    uint32_t fragments           # of them: all but a packet of parameter sets

cdef void encoder_restart(encoder_t* encoder) noexcept nogil
cdef void encoder_on_rtcp(encoder_t* encoder, const uint8_t* data, uint32_t size) noexcept nogil
cdef void encoder_resume(encoder_t* encoder, int64_t now_us) noexcept nogil
cdef void encoder_set_bitrate(encoder_t* encoder, uint32_t bitrate_bps) noexcept nogil
cdef int64_t encoder_frame_us(const encoder_t* encoder, uint32_t frame) noexcept nogil
cdef int64_t encoder_audio_us(const encoder_t* encoder, uint32_t packet) noexcept nogil
cdef void encoder_begin_frame(encoder_t* encoder) noexcept nogil
cdef uint32_t encoder_video_packet(encoder_t* encoder, uint32_t index, int64_t now_us, uint8_t* target) noexcept nogil
cdef uint32_t encoder_audio_packet(encoder_t* encoder, int64_t now_us, uint8_t* target) noexcept nogil
