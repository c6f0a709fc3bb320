# Transport-wide feedback, read in place: one number after the other.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from rtp.rtcp.walk cimport feedback_t

cdef enum:
    RTPFB_TRANSPORT_CC = 15      # draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1
    TRANSPORT_CC_UNIT_US = 250   # of its deltas

ctypedef struct transport_cc_t:
    uint16_t base                # number of the first packet
    uint16_t count               # packets that it is about
    int32_t reference            # of the times: 24 bits, signed, in 64 ms
    uint8_t report               # number of this report
    # where reading stands
    uint16_t done
    const uint8_t* chunk         # next
    const uint8_t* delta         # next
    const uint8_t* end
    uint16_t word                # the chunk that is being read
    int32_t left                 # packets of it that are not read yet
    int32_t time_units           # since the reference, in 250 us

# False if it is none, or shorter than it says: then none of it counts.
cdef bint transport_cc_open(transport_cc_t* report, const feedback_t* feedback, uint8_t format) noexcept nogil

# The next packet: its number, and 250 us units since the reference if it has arrived; False at the end.
cdef bint transport_cc_next(transport_cc_t* report, uint16_t* number, bint* arrived, int32_t* units) noexcept nogil
