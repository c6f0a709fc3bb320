# Packets that left together, and by how much later each such group arrived than the one before.
from libc.stdint cimport int32_t, int64_t

ctypedef struct group_t:
    int64_t first_sent_us
    int64_t last_sent_us
    int64_t first_arrival_us
    int64_t last_arrival_us
    int64_t told_us              # own time of the feedback that told its last packet
    bint is_set

ctypedef struct grouping_t:
    group_t current
    group_t previous
    int32_t reordered            # groups in a row that arrived before the one sent earlier

ctypedef struct group_delta_t:   # between two finished groups
    int64_t sent_us
    int64_t arrival_us
    int64_t end_us               # arrival of the later one's last packet

cdef void grouping_reset(grouping_t* grouping) noexcept nogil
cdef bint grouping_add(
    grouping_t* grouping, int64_t sent_us, int64_t arrival_us, int64_t now_us, group_delta_t* delta
) noexcept nogil
