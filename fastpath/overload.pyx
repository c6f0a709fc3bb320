"""When a worker sheds, and how much: a controller without I/O, run once per turn.

Its input is the age of the oldest packet of each turn, from the kernel's receive time. What a turn
takes is the head of the queue, so a queue that stands is one whose age is above the threshold in
every turn for a while (CoDel's idea, and its 5 ms, RFC 8289 4): more than the longest turn explains. A
worker has 50 ms of patience with such a queue before it begins to shed, unless a socket's queue is
more than half full: 8 MiB of buffer can fill in 7 ms, and then the kernel drops control with
the rest.

While it stands and does not get shorter the step rises, each time further; that takes 25 ms to all
video (5 ms, if a queue is about to overflow). It falls after a calm in which the worker was idle for long enough to carry what would come
back; calms that prove too short get longer. So the share of streams that is shed stays where
it is needed instead of going up and down with the key frames that streams wait for.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

cdef enum:
    PATIENCE_US = 50000          # chosen: key frames of many streams at once are no overload
    PERIOD_US = 5000             # chosen, once something is shed: a few turns
    FILLING_US = 1000            # either of them when a queue is about to overflow
    FASTEST = 8                  # steps at once
    HOLD_US = 50000              # chosen: ten periods
    LONGEST_HOLD_US = 200000     # four of these at most from the highest step to none: below 1 s
    SOON = 4                     # holds after a fall in which a raise shows that it was too early
    FULL_PERCENT = 80            # of its time, a worker may be busy after less is shed
    QUIET_US = 1000000           # without any step: the episode is over


cdef void overload_open(overload_t* overload, int64_t threshold_us) noexcept nogil:
    memset(overload, 0, sizeof(overload_t))
    overload.threshold_us = threshold_us
    overload.above_us = -1
    overload.fell_us = -1
    overload.stride = 1
    overload.hold_us = HOLD_US


cdef void begin_calm(overload_t* o, int64_t now_us) noexcept nogil:
    o.calm_us = now_us
    o.busy_us = 0
    o.work = 0
    o.saved = 0
    o.awaited = 0


cdef void rise(overload_t* o, int64_t now_us) noexcept nogil:
    """All video by strides; what is dearer than that one by one."""
    if o.fell_us >= 0 and now_us - o.fell_us < SOON * o.hold_us:
        o.hold_us = 2 * o.hold_us if 2 * o.hold_us < LONGEST_HOLD_US else LONGEST_HOLD_US
    o.fell_us = -1
    if o.step >= STEP_ALL_VIDEO:
        o.step += 1 if o.step < STEP_UNCHECKED else 0
    elif o.step + o.stride >= STEP_ALL_VIDEO:
        o.step = STEP_ALL_VIDEO
    else:
        o.step += o.stride
        o.stride = 2 * o.stride if o.stride < FASTEST else FASTEST
    if o.step > o.highest_step:
        o.highest_step = o.step


cdef int32_t affordable(const overload_t* o, int64_t calm_us) noexcept nogil:
    """By how many steps less may be shed, so that the worker is not too busy with what comes back."""
    cdef int32_t shares = o.step - STEP_STREAMS + 1
    cdef int64_t room
    if o.work == 0:
        return o.step
    if o.step > STEP_ALL_VIDEO:
        return 1
    if o.busy_us <= 0:
        return o.step
    room = o.work * calm_us * FULL_PERCENT // (100 * o.busy_us) - o.work - o.awaited
    if room <= 0:
        return 0
    if room >= o.saved:
        return o.step
    return <int32_t>(room * shares // o.saved) if shares > 0 else 0


cdef void fall(overload_t* o, int64_t now_us) noexcept nogil:
    cdef int32_t steps = affordable(o, now_us - o.calm_us)
    o.stride = 1
    if steps > 0:
        o.step -= steps
        o.fell_us = now_us
    if o.step == 0:
        o.zero_us = now_us


cdef bint is_over(overload_t* o, int64_t now_us) noexcept nogil:
    if not o.is_episode or o.step > 0 or now_us - o.zero_us < QUIET_US:
        return False
    o.is_episode = False
    o.hold_us = HOLD_US
    return True


cdef void stand(overload_t* o, int64_t age_us, bint is_filling, int64_t now_us) noexcept nogil:
    """The queue stands, or is about to overflow: rise, unless what is shed already shortens it."""
    cdef int64_t lasted_us = now_us - o.above_us
    cdef bint hurries = is_filling and o.step < STEP_ALL_VIDEO
    if lasted_us < (FILLING_US if hurries else PERIOD_US if o.step > 0 else PATIENCE_US):
        return
    if hurries or o.age_us - age_us < lasted_us // 4:
        rise(o, now_us)
    o.above_us = now_us
    o.age_us = age_us


cdef int overload_turn(overload_t* overload, int64_t now_us) noexcept nogil:
    """At the end of a turn. What changed."""
    cdef int64_t age_us = overload.oldest_us
    cdef bint is_filling = overload.is_filling
    overload.oldest_us = 0
    overload.is_filling = False
    if overload.threshold_us == 0:
        return OVERLOAD_AS_BEFORE
    if age_us <= overload.threshold_us and not is_filling:
        overload.above_us = -1
        if overload.step > 0 and now_us - overload.calm_us >= overload.hold_us:
            fall(overload, now_us)
            begin_calm(overload, now_us)
        return OVERLOAD_ENDED if is_over(overload, now_us) else OVERLOAD_AS_BEFORE
    if overload.above_us < 0:
        overload.above_us = now_us
        overload.age_us = age_us
    stand(overload, age_us, is_filling, now_us)
    begin_calm(overload, now_us)
    if overload.step == 0 or overload.is_episode:
        return OVERLOAD_AS_BEFORE
    overload.is_episode = True
    overload.began_us = now_us
    overload.highest_step = overload.step
    overload.episodes += 1
    return OVERLOAD_BEGAN


cdef int64_t overload_next_us(const overload_t* overload) noexcept nogil:
    """When a turn is due that may shed less, or say that it is over; -1: none is."""
    if overload.step > 0:
        return overload.calm_us + overload.hold_us
    return overload.zero_us + QUIET_US if overload.is_episode else -1
