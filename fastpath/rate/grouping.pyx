"""Arrival grouping: packets sent within 5 ms are one sample of the path's delay.

A queue that was blocked for a moment lets several groups out at once; they count as one, since their
arrival says nothing of the path. As libwebrtc does it (inter_arrival_delta.cc; draft-ietf-rmcat-gcc-02
5.2 is shorter). Packets are given in the order sent; nothing here assumes that they arrived in it, or
that the receiver's clock never jumps.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

cdef enum:
    GROUP_US = 5000              # draft 5.2 burst_time; kTimestampGroupLengthMs
    BURST_US = 5000              # between arrivals of a burst; kBurstDeltaThreshold
    LONGEST_BURST_US = 100000    # kMaxBurstDuration
    CLOCK_JUMP_US = 3000000      # of the receiver's clock beside ours; kArrivalTimeOffsetThreshold
    MAX_REORDERED = 3            # kReorderedResetThreshold


cdef void grouping_reset(grouping_t* grouping) noexcept nogil:
    memset(grouping, 0, sizeof(grouping_t))


cdef bint is_burst(const group_t* group, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    """It arrived so closely behind the group that a queue held both."""
    cdef int64_t arrival_delta_us = arrival_us - group.last_arrival_us
    cdef int64_t sent_delta_us = sent_us - group.last_sent_us
    if sent_delta_us == 0:
        return True
    return (
        arrival_delta_us - sent_delta_us < 0
        and arrival_delta_us <= BURST_US
        and arrival_us - group.first_arrival_us < LONGEST_BURST_US
    )


cdef bint compare(grouping_t* grouping, group_delta_t* delta) noexcept nogil:
    """The finished group with the one before; False if they cannot be compared."""
    cdef const group_t* current = &grouping.current
    cdef const group_t* previous = &grouping.previous
    cdef int64_t drift_us
    if not previous.is_set:
        return False
    delta.sent_us = current.last_sent_us - previous.last_sent_us
    delta.arrival_us = current.last_arrival_us - previous.last_arrival_us
    delta.end_us = current.last_arrival_us
    drift_us = delta.arrival_us - (current.told_us - previous.told_us)
    if drift_us >= CLOCK_JUMP_US or drift_us <= -CLOCK_JUMP_US:
        grouping_reset(grouping)
        return False
    if delta.arrival_us < 0:
        grouping.reordered += 1
        if grouping.reordered >= MAX_REORDERED:
            grouping_reset(grouping)
        return False
    grouping.reordered = 0
    return delta.sent_us >= 0


cdef void begin(group_t* group, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    group.is_set = True
    group.first_sent_us = sent_us
    group.last_sent_us = sent_us
    group.first_arrival_us = arrival_us


cdef bint grouping_add(
    grouping_t* grouping, int64_t sent_us, int64_t arrival_us, int64_t now_us, group_delta_t* delta
) noexcept nogil:
    """Whether this packet is the first of a new group, and `delta` was set from the two before it."""
    cdef group_t* current = &grouping.current
    cdef bint is_set = False
    if not current.is_set:
        begin(current, sent_us, arrival_us)
    elif sent_us < current.first_sent_us:
        return False             # of a group that is over
    elif sent_us - current.first_sent_us > GROUP_US and not is_burst(current, sent_us, arrival_us):
        is_set = compare(grouping, delta)
        if current.is_set:       # else the comparison began anew
            grouping.previous = current[0]
        begin(current, sent_us, arrival_us)
    elif sent_us > current.last_sent_us:
        current.last_sent_us = sent_us
    current.last_arrival_us = arrival_us
    current.told_us = now_us
    return is_set
