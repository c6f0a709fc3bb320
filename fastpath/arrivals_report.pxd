# When a link's packets arrived, told to who sent them.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from fastpath.link cimport ARRIVALS_KEPT, link_t
from fastpath.wire cimport TYPE_MEDIA, TYPE_PADDING
from fastpath.worker cimport worker_t

cdef enum:
    ARRIVAL_SHIFT = 6            # unit of times: 64 us
    ARRIVALS_INTERVAL_US = 50000
    ARRIVALS_SOON = 400          # so many numbers are told without waiting for the interval's end
    ARRIVALS_BYTES = 15          # before the first number's

cdef void begin_arrivals(link_t* link) noexcept nogil
cdef void say_arrivals(worker_t* worker, int32_t link, int64_t now_us) noexcept nogil
cdef void on_arrivals(
    worker_t* worker, int32_t link, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil


cdef inline void note_arrival(
    link_t* link, uint64_t hop_seq, uint8_t packet_type, int64_t arrival_us, int64_t now_us
) noexcept nogil:
    """Of an accepted number. Only media and padding make a report due: reports do not answer each other."""
    if hop_seq + ARRIVALS_KEPT > link.highest:
        link.arrivals[hop_seq & (ARRIVALS_KEPT - 1)] = <uint32_t>(arrival_us >> ARRIVAL_SHIFT)
    if packet_type == TYPE_MEDIA or packet_type == TYPE_PADDING:
        if link.next_arrivals_us < 0:
            link.next_arrivals_us = now_us + ARRIVALS_INTERVAL_US
        if link.highest >= link.told_to + ARRIVALS_SOON:
            link.next_arrivals_us = now_us
