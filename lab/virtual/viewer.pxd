# A synthetic viewer: what came, whether it is as it was sent, and when.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from lab.virtual.viewer_feedback cimport viewer_feedback_t

cdef enum:
    OPEN_FRAMES = 128            # being put together: more than 1 s at 120 frames/s
    SEEN_WORDS = 8               # a bit for each packet of a frame: encoder's MAX_FRAME_PACKETS
    ORDER_WORDS = 32             # RTP sequence numbers remembered: 2,048
    DELAY_BUCKETS = 2048         # of 1 ms; the last one takes all that is later
    MAX_GAPS = 64
    JUDGED_FRAMES = 64           # whose fate is remembered for those that need them
    MAX_VERSIONS = 8             # told apart; those above count as the last one
    MAX_CHANGES = 64             # of version, and of broadcast, that are listed
    MAX_TOLD = 4
    SWITCH_MARGIN = 32           # frames before the first that came of another broadcast and may still come

ctypedef struct open_frame_t:
    uint32_t number
    uint16_t count
    uint16_t got
    bint is_used
    bint is_bad
    bint is_duplicate
    bint is_again                # it was whole before, in another version
    bint is_fresh                # `encoder_t`: the key frame before it may have come too early for its node
    bint is_after_gap            # numbers were missing before one of its packets, or behind, when that came
    uint8_t version
    uint32_t code                # what it needs: `pyramid`
    int64_t sent_us
    uint64_t seen[SEEN_WORDS]

ctypedef struct order_t:         # RTP sequence numbers of one SSRC
    bint has_started
    uint32_t ssrc
    uint64_t first
    uint64_t highest
    uint64_t received
    uint64_t seen[ORDER_WORDS]

ctypedef struct gap_t:
    int64_t start_us
    int64_t end_us

ctypedef struct change_t:
    int64_t at_us
    uint8_t version

ctypedef struct switched_t:
    int64_t at_us
    uint32_t broadcast

ctypedef struct omission_t:
    uint32_t timestamp           # of the newest frame
    uint32_t frames
    uint16_t packets             # that were left out

ctypedef struct viewer_t:
    bint is_present
    uint32_t broadcast
    uint32_t next_broadcast      # which it was told last, and joins next; 0: it was told none
    uint32_t told[MAX_TOLD]      # which it may go on with when they come, in a ring
    uint32_t told_count
    uint32_t past_broadcast      # of which something may still come again; 0: none
    uint8_t codec                # payloads.VideoCodec
    uint8_t rtx_payload_type     # of what it asks for again (RFC 4588); 0: that comes under its own number
    # this stay
    uint8_t stay                 # its number, modulo 256: each stay is at ports of its own
    int64_t first_us             # its first packet; -1: none yet
    bint has_frames
    int64_t shift                # a frame's number here less its encoder's: numbers go on over switches
    int64_t past_shift
    uint32_t old_last            # the newest of before the last switch
    uint32_t new_first           # the oldest since; 0: there was none
    uint64_t unused              # numbers between such two
    uint32_t first_frame
    uint32_t highest_frame       # judged or open
    int64_t last_video_us
    order_t video
    order_t audio
    order_t rtx                  # of what is sent again, if it comes under an SSRC of its own
    open_frame_t frames[OPEN_FRAMES]
    uint32_t to_judge            # frames are judged in order; the next one
    uint8_t decodable[JUDGED_FRAMES]     # by number: 1 + the version it can be decoded in; 0: it cannot
    int32_t version              # of the last whole frame; -1: none yet
    bint has_gap                 # numbers are missing before the next packet that belongs to a frame
    bint is_explained            # a number has been missing since the last key frame that could be decoded
    uint32_t audio_broadcast     # of the newest packet of audio, and its number there; 0: none
    uint32_t audio_number
    # all stays
    int64_t joined_us            # first
    int64_t first_packet_us
    int64_t first_intact_us      # first complete key frame
    uint64_t expected
    uint64_t whole_early         # while catching up
    uint64_t damaged
    uint64_t undecodable         # whole, but something they need is not
    uint64_t unexplained         # of those: no number was missing, and the encoder was not just started
    int64_t unexplained_us       # when the newest of these was made
    uint64_t audio_passed        # times that audio was left out under numbers without a gap
    uint64_t of_version[MAX_VERSIONS]    # whole frames
    uint32_t change_count
    change_t changes[MAX_CHANGES]
    uint32_t switch_count
    switched_t switches[MAX_CHANGES]
    uint64_t duplicate_frames
    uint64_t packets
    uint64_t bytes               # of RTP, headers included
    uint64_t duplicates
    uint64_t rtx_packets         # all that came as RTX
    uint64_t rtx_repaired        # of those: stood for a packet that had not come; the others were of no use
    uint64_t corrupt
    uint64_t breaks
    uint64_t audio_packets
    uint64_t audio_missing
    uint64_t video_missing
    int64_t least_delay_us
    int64_t longest_gap_us
    int64_t gap_threshold_us     # longer ones are listed
    uint32_t gap_count
    gap_t gaps[MAX_GAPS]
    uint32_t delays[DELAY_BUCKETS]
    int64_t newest_us            # of the last whole frame; for those who watch a run
    uint64_t whole               # all so far
    uint32_t* packet_delays      # of first copies of video packets, as delays; NULL: not noted
    viewer_feedback_t* feedback  # its own; NULL: it says nothing
    int32_t place                # where its media came from last, -1: from nowhere yet
    int32_t port                 # likewise: the engine's
    omission_t omissions[2]      # faults on purpose, of video and audio: `World.break_by_omission`

cdef viewer_t* viewer_open(uint32_t broadcast, int64_t gap_threshold_us) noexcept nogil
cdef void viewer_close(viewer_t* viewer) noexcept nogil
cdef void viewer_join(viewer_t* viewer, int64_t now_us) noexcept nogil
cdef void viewer_leave(viewer_t* viewer, int64_t last_due, int64_t now_us) noexcept nogil
cdef uint64_t missing(const order_t* order) noexcept nogil
cdef void viewer_receive(viewer_t* viewer, bint is_video, const uint8_t* data, uint32_t size, int64_t now_us) noexcept nogil
