# When a worker sheds, and how much. Time is an argument.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    STEP_DISCARDABLE = 1         # packets that no other frame refers to
    STEP_STREAMS = 2             # and the first of 16 shares of the video streams, whole
    STEP_ALL_VIDEO = 17          # and the last
    STEP_UNCHECKED_VIDEO = 18    # before its tag is checked
    STEP_AUDIO = 19
    STEP_UNCHECKED = 20          # all media before its tag is checked
    SHED_KINDS = 7               # verdicts from SHED_DISCARDABLE to SHED_REPAIR

cdef enum OverloadChange:
    OVERLOAD_AS_BEFORE
    OVERLOAD_BEGAN
    OVERLOAD_ENDED

ctypedef struct overload_t:
    int64_t threshold_us         # an age above it is pressure; 0: nothing is ever shed
    int32_t step
    # of this turn
    int64_t oldest_us            # age of the oldest that was taken
    bint is_filling              # a socket's queue is more than half full, or has overflowed
    # pressure
    int64_t above_us             # since when each turn was above; -1: the last one was not
    int64_t age_us               # as it was then
    int32_t stride               # steps of the next raise
    # calm: since when, and what was done meanwhile
    int64_t calm_us
    int64_t hold_us              # how long it must last before less is shed
    int64_t fell_us              # when less was shed last; -1: not since the last raise
    int64_t busy_us
    int64_t work                 # in parts of about a shed packet's cost
    int64_t saved                # by what was shed
    int64_t awaited              # saved, of streams no longer shed whose key frame has not come
    # an episode: from the first step to QUIET_US without any
    bint is_episode
    int64_t began_us
    int64_t zero_us              # since when the step is 0
    int32_t highest_step
    uint64_t episodes
    uint64_t before[SHED_KINDS]  # the worker's counts when it began
    uint32_t unchecked           # packets shed unchecked: their numbers are no losses of the link

cdef inline void overload_note(overload_t* overload, int64_t age_us) noexcept nogil:
    """Something of this age was taken in this turn."""
    if age_us > overload.oldest_us:
        overload.oldest_us = age_us

cdef inline int64_t overload_cost(int32_t subscribers) noexcept nogil:
    """Of a packet that is not shed: it is copied, and sent to each. Measured roughly; what comes back
    is estimated with it, and corrected by what it then costs."""
    return 2 + 3 * <int64_t>subscribers

cdef void overload_open(overload_t* overload, int64_t threshold_us) noexcept nogil
cdef int overload_turn(overload_t* overload, int64_t now_us) noexcept nogil
cdef int64_t overload_next_us(const overload_t* overload) noexcept nogil
