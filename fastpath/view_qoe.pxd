# What a viewer's player makes of one track, as far as this node can see it: from what leaves here.
#
# Modelled on a player with a buffer of fixed length, LiveNet's 300 ms (SIGCOMM 2022, 6.2). It stalls when a
# frame leaves later than that: by the media's clock, beside the soonest of the frames before it; or after a
# silence longer than the buffer and a usual frame, whose frames will come too late if at all. What is lost
# between here and the viewer is not seen.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef enum:
    PLAYER_BUFFER_US = 300000
    PLAYER_RECOVERS = 8          # a delay that lasts is taken up by the player: 1/256 of it with each frame
    LONGEST_STEP_S = 10          # of RTP time between frames; more is another clock

ctypedef struct view_qoe_t:
    int64_t first_sent_us        # 0: nothing was sent yet
    int64_t first_frame_us       # when the first whole frame had left; 0: not yet
    int64_t newest_us            # when the newest frame began to leave
    int64_t behind_us            # how much later it left, by the media's clock, than the soonest before it
    int64_t interval_us          # between frames, smoothed; 0: not known
    int64_t stalled_us
    uint32_t stalls
    uint32_t timestamp           # of the newest frame


cdef inline void qoe_on_late(view_qoe_t* qoe, int64_t late_us) noexcept nogil:
    """A frame left later than the buffer lasts."""
    qoe.stalls += 1
    qoe.stalled_us += late_us - PLAYER_BUFFER_US


cdef inline void qoe_on_frame(view_qoe_t* qoe, uint32_t timestamp, uint32_t clock_rate, int64_t now_us) noexcept nogil:
    """The first packet of a frame newer than all before it leaves."""
    cdef int64_t step = <int32_t>(timestamp - qoe.timestamp)
    cdef int64_t gap_us = now_us - qoe.newest_us
    cdef int64_t step_us, late_us
    if qoe.newest_us == 0 or not 0 < step <= LONGEST_STEP_S * <int64_t>clock_rate:
        qoe.behind_us = 0
        qoe.interval_us = 0
    else:
        step_us = step * 1000000 // clock_rate
        qoe.behind_us += gap_us - step_us
        if qoe.behind_us < 0:
            qoe.behind_us = 0
        late_us = qoe.behind_us
        if qoe.interval_us == 0:
            qoe.interval_us = step_us
        elif gap_us - qoe.interval_us > late_us:
            late_us = gap_us - qoe.interval_us
        qoe.interval_us += (step_us - qoe.interval_us) // 8
        if late_us > PLAYER_BUFFER_US:
            qoe_on_late(qoe, late_us)
            qoe.behind_us = 0
        else:
            qoe.behind_us -= qoe.behind_us >> PLAYER_RECOVERS
    qoe.newest_us = now_us
    qoe.timestamp = timestamp


cdef inline void qoe_on_sent(
    view_qoe_t* qoe, uint32_t timestamp, uint32_t clock_rate, bint ends_frame, int64_t now_us
) noexcept nogil:
    """A packet leaves. timestamp: of the newest frame that has begun to leave."""
    if qoe.first_sent_us == 0:
        qoe.first_sent_us = now_us
    if ends_frame and qoe.first_frame_us == 0:
        qoe.first_frame_us = now_us
    if timestamp != qoe.timestamp or qoe.newest_us == 0:
        qoe_on_frame(qoe, timestamp, clock_rate, now_us)


cdef inline void qoe_on_move(view_qoe_t* qoe, int64_t now_us) noexcept nogil:
    """Another stream goes on where the one before ended, its RTP time moved by the silence between them."""
    cdef int64_t silent_us = now_us - qoe.newest_us
    if qoe.newest_us > 0 and silent_us > PLAYER_BUFFER_US:
        qoe_on_late(qoe, silent_us)
    qoe.behind_us = 0
