# NTP time against RTP time of one stream (RFC 3550 6.4.1).
from libc.stdint cimport int64_t, uint32_t, uint64_t

ctypedef struct media_clock_t:   # at local time `at_us` the media's clocks stood at these
    bint is_set
    int64_t at_us
    uint64_t ntp                 # 32.32 s
    uint32_t timestamp           # RTP clock units

cdef uint64_t ntp_of_us(int64_t us) noexcept nogil
cdef int64_t us_of_ntp(uint64_t ntp) noexcept nogil
cdef void clock_read(
    const media_clock_t* clock, uint32_t clock_rate, int64_t now_us, uint64_t* ntp, uint32_t* timestamp
) noexcept nogil
cdef bint clock_on_arrival(
    media_clock_t* clock, uint32_t clock_rate, uint32_t timestamp, int64_t arrival_us
) noexcept nogil
cdef int64_t clock_expected_us(const media_clock_t* clock, uint32_t clock_rate, uint32_t timestamp) noexcept nogil
