# One direction of an emulated path: lab/link.py's stages, natively.
from libc.stdint cimport int64_t, uint32_t, uint64_t
from lab.virtual.draws cimport draws_t

ctypedef struct path_t:
    # what it does to datagrams
    int64_t delay_us
    int64_t jitter_us
    double loss
    double reorder
    int64_t reorder_extra_us
    int64_t rate_bps             # 0: no bottleneck
    int64_t queue_bytes
    uint32_t mtu_bytes
    # where it is
    draws_t draws
    int64_t now_us
    int64_t backlog              # microbits not yet through the bottleneck at now_us
    int64_t in_order_us          # arrival of the latest datagram's place in order
    uint64_t sent
    uint64_t lost
    uint64_t oversized
    uint64_t queue_dropped

cdef void path_advance(path_t* path, int64_t now_us) noexcept nogil
cdef int64_t path_admit(path_t* path, uint32_t size, int64_t now_us) noexcept nogil
cdef int path_configure(path_t* path, object config, int64_t now_us) except -1
