# One direction of an emulated path: lab/link.py's stages, natively.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from lab.virtual.draws cimport draws_t

ctypedef struct rate_step_t:
    int64_t since_us
    int64_t rate_bps

cdef enum:
    MICROBITS_PER_BYTE = 8000000
    WAIT_BUCKETS = 2048          # of 1 ms; the last one takes all that is longer

ctypedef struct path_t:
    # what it does to datagrams
    int64_t delay_us
    int64_t jitter_us
    double loss
    double reorder
    int64_t reorder_extra_us
    double p_bad                 # 0 with loss_good: no bursts
    double p_good
    double loss_bad
    double loss_good
    double duplicate
    int64_t duplicate_extra_us
    rate_step_t* rates           # its own; NULL: no bottleneck
    int64_t rate_count
    int64_t queue_bytes
    int64_t queue_us             # -1: queue_bytes holds
    uint32_t mtu_bytes
    # where it is
    draws_t draws
    draws_t more
    bint is_bad
    int64_t now_us
    int64_t rate_at              # the step in force at now_us
    int64_t backlog              # microbits not yet through the bottleneck at now_us
    int64_t in_order_us          # arrival of the latest datagram's place in order
    uint64_t sent
    uint64_t lost
    uint64_t oversized
    uint64_t queue_dropped
    uint64_t duplicated
    double could_bits            # that the bottleneck could have sent until now_us
    uint64_t served_bytes        # that have passed it, or will
    uint32_t* waits              # its own, WAIT_BUCKETS: from coming to having left it; NULL: it has none

cdef void path_open(path_t* path, uint64_t seed) noexcept nogil
cdef void path_close(path_t* path) noexcept nogil
cdef void path_advance(path_t* path, int64_t now_us) noexcept nogil
cdef int64_t path_admit(path_t* path, uint32_t size, int64_t now_us, int64_t* copy_us) noexcept nogil
cdef int64_t path_wait_us(path_t* path, int64_t now_us) noexcept nogil
cdef int path_configure(path_t* path, object config, int64_t now_us) except -1
