from libc.stdint cimport uint8_t

from rtp.payload.rtp_header cimport rtp_header_t


cdef enum:
    # Ours: below this a piece is nearly all header.
    FRAGMENT_MIN_ROOM = 16
    # Ours, so that the work for one packet is bounded: 65,507 bytes take 46 pieces of 1,436.
    MAX_FRAGMENTS = 128
    MAX_PREFIX_BYTES = 8         # that of VP9 (VP9_MAX_FIXED_BYTES); VP8 has 6, H.265 3

# A packet on its way to become several, on the caller's stack. `data` is borrowed as long as it is
# used. All fields are fragment.pyx's own.
ctypedef struct fragments_t:
    const uint8_t* data
    size_t header_bytes
    bint marker
    size_t room                  # payload bytes that one packet holds
    int left                     # packets still to come
    uint8_t codec
    const uint8_t* units         # what follows of an aggregate: lengths and NAL units or OBUs
    size_t units_bytes
    int units_left               # OBUs: as av1_elements_t.left
    const uint8_t* rest          # what follows of the unit that is being cut
    size_t rest_bytes
    size_t piece_bytes           # of `rest`, for each piece but the last
    bint at_start
    uint8_t prefix[MAX_PREFIX_BYTES]  # before each piece of the unit
    size_t prefix_bytes
    size_t bits_at               # the octet of the prefix of which these bits are other
    uint8_t first_bits           # on the unit's first piece,
    uint8_t last_bits            # on its last piece


# How many packets of at most `limit` bytes, RTP header included, `data` becomes; `header` is
# parse_rtp_header's, `codec` one of codec.pxd. 1 if it fits; -1 if this codec or structure cannot be
# split, is malformed, or takes more than MAX_FRAGMENTS.
cdef int fragments_begin(
    fragments_t* f, const uint8_t* data, const rtp_header_t* header, uint8_t codec, size_t limit
) noexcept nogil

# Write the next packet into `out`, which has room for `limit` bytes; its size, 0 after the last.
cdef size_t fragments_next(fragments_t* f, uint8_t* out) noexcept nogil
