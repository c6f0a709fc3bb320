"""AIMD: how the delay part's rate follows the detector.

Far from a known capacity the rate grows by 8 % a second, near it by about a packet in two response
times; over-use takes it to 85 % of what arrives. It never grows past 1.5 times what arrives, so an
application that sends less than it may does not raise the estimate without evidence.

Source: libwebrtc aimd_rate_control.cc, draft-ietf-rmcat-gcc-02 5.5. One thing is ours: on a node link
the additive step is that of one flow times the number of streams that share it, and at least 2.5 % of
the rate. One flow's step does not depend on its rate, and takes 1,900 s from 85 % of 400 Mbit/s back to
all of it.
"""

from libc.math cimport ceil, pow
from libc.stdint cimport int64_t
from libc.string cimport memset
from fastpath.rate.capacity cimport (
    CAPACITY_WEIGHT, PROBE_WEIGHT, capacity_is_above, capacity_is_below, capacity_note, capacity_open,
    capacity_reset,
)
from fastpath.rate.types cimport RATE_DRAFT, USAGE_NORMAL, USAGE_OVER, USAGE_UNDER, clamp, rate_config_t

cdef enum:
    DEFAULT_RTT_US = 200000      # kDefaultRttMs
    DETECTION_US = 100000        # how long an over-use takes to be seen; draft 5.5
    SHORTEST_REDUCTION_US = 10000        # between two decreases: an RTT within these
    LONGEST_REDUCTION_US = 200000
    LONGEST_STEP_US = 1000000    # one increase covers; draft 5.5

cdef double DECREASE = 0.85      # kDefaultBackoffFactor; draft 5.5 beta
cdef double DECREASE_BPS = 5000  # and this; libwebrtc
cdef double GROWTH = 1.08        # per second; draft 5.5 eta
cdef double MIN_GROWTH_BPS = 1000        # per update; libwebrtc
cdef double MIN_ADDITIVE_BPS = 4000      # per second; libwebrtc kMinIncreaseRate
cdef double CAP = 1.5            # of what arrives; draft 5.5
cdef double CAP_BPS = 10000      # and this; libwebrtc
cdef double NODE_STEP = 0.025    # of the rate per second, at least: 15 % are back within 10 s at any round
                                 # trip; half of what the detector sees at its first threshold (5.2 %)
cdef double FRAMES_PER_S = 30    # draft 5.5: from which the size of a packet is guessed
cdef double PACKET_BITS = 9600   # 1,200 bytes
cdef double HALF = 0.5


cdef void aimd_open(aimd_t* aimd, const rate_config_t* config) noexcept nogil:
    memset(aimd, 0, sizeof(aimd_t))
    aimd.rtt_us = DEFAULT_RTT_US
    aimd.changed_us = -1
    aimd.profile = config.profile
    aimd.is_node_link = config.is_node_link
    aimd.bps = <double>config.start_bps
    aimd.throughput_bps = aimd.bps
    capacity_open(&aimd.capacity)
    aimd_limit(aimd, config)


cdef void aimd_limit(aimd_t* aimd, const rate_config_t* config) noexcept nogil:
    """Other limits, or another number of streams."""
    aimd.min_bps = <double>config.min_bps
    aimd.max_bps = <double>config.max_bps
    aimd.streams = <double>config.streams if config.is_node_link and config.streams > 1 else 1.0
    aimd.bps = clamp(aimd.bps, aimd.min_bps, aimd.max_bps)


cdef void aimd_set(aimd_t* aimd, double bps, int64_t now_us) noexcept nogil:
    aimd.bps = clamp(bps, aimd.min_bps, aimd.max_bps)
    aimd.changed_us = now_us


cdef void aimd_on_probe(aimd_t* aimd, double bps, int64_t now_us) noexcept nogil:
    """A probe told the rate of the link."""
    aimd_set(aimd, bps, now_us)
    if aimd.capacity.kbps > 0:
        capacity_note(&aimd.capacity, aimd.bps / 1000, PROBE_WEIGHT)


cdef bint aimd_may_reduce(const aimd_t* aimd, double throughput_bps, int64_t now_us) noexcept nogil:
    """Once in a round trip is enough, unless far less arrives than we take for possible. A round trip after
    an increase too: what ends by itself is no over-use (without this wait 5.1 of RFC 8867 loses 6 % of use)."""
    cdef int64_t interval_us = aimd.rtt_us
    if interval_us < SHORTEST_REDUCTION_US:
        interval_us = SHORTEST_REDUCTION_US
    elif interval_us > LONGEST_REDUCTION_US:
        interval_us = LONGEST_REDUCTION_US
    return aimd.changed_us < 0 or now_us - aimd.changed_us >= interval_us or throughput_bps < HALF * aimd.bps


cdef double aimd_additive_bps_per_s(const aimd_t* aimd) noexcept nogil:
    """Near the capacity. Each of the streams as if it were a flow of its own."""
    cdef double frame_bits = aimd.bps / aimd.streams / FRAMES_PER_S
    cdef double packets = ceil(frame_bits / PACKET_BITS)
    cdef double packet_bits = frame_bits / packets if packets > 0 else 0
    cdef double step_bps = packet_bits * 1e6 / (2.0 * <double>(aimd.rtt_us + DETECTION_US))
    step_bps = aimd.streams * (step_bps if step_bps > MIN_ADDITIVE_BPS else MIN_ADDITIVE_BPS)
    if aimd.is_node_link and step_bps < NODE_STEP * aimd.bps:
        return NODE_STEP * aimd.bps
    return step_bps


cdef void increase(aimd_t* aimd, int64_t now_us) noexcept nogil:
    cdef double step_s = clamp(<double>(now_us - aimd.changed_us), 0, LONGEST_STEP_US) / 1e6
    cdef double limit_bps = CAP * aimd.throughput_bps + CAP_BPS
    cdef double step_bps
    aimd.changed_us = now_us
    if capacity_is_above(&aimd.capacity, aimd.throughput_bps / 1000):
        capacity_reset(&aimd.capacity)
    if aimd.bps >= limit_bps:
        return
    if aimd.capacity.kbps > 0:
        step_bps = aimd_additive_bps_per_s(aimd) * step_s
    else:
        step_bps = aimd.bps * (pow(GROWTH, step_s) - 1)
        if step_bps < MIN_GROWTH_BPS:
            step_bps = MIN_GROWTH_BPS
    aimd.bps = clamp(aimd.bps + step_bps, 0, limit_bps)


cdef void decrease(aimd_t* aimd, int64_t now_us) noexcept nogil:
    cdef double bps = DECREASE * aimd.throughput_bps
    if aimd.profile != RATE_DRAFT and bps > DECREASE_BPS:
        bps -= DECREASE_BPS
    if bps > aimd.bps and aimd.capacity.kbps > 0:
        bps = DECREASE * aimd.capacity.kbps * 1000
    if capacity_is_below(&aimd.capacity, aimd.throughput_bps / 1000):
        capacity_reset(&aimd.capacity)           # the link is another one now
    capacity_note(&aimd.capacity, aimd.throughput_bps / 1000, CAPACITY_WEIGHT)
    if bps < aimd.bps:
        aimd.bps = bps
    aimd.changed_us = now_us


cdef void aimd_update(aimd_t* aimd, int usage, double throughput_bps, int64_t now_us) noexcept nogil:
    """Once per feedback. throughput_bps: negative, if it is not known."""
    if throughput_bps >= 0:
        aimd.throughput_bps = throughput_bps
    if usage == USAGE_OVER:
        decrease(aimd, now_us)
        aimd.state = AIMD_HOLD   # until the queue is empty again
    elif usage == USAGE_UNDER:
        aimd.state = AIMD_HOLD
    else:
        if aimd.state == AIMD_HOLD:
            aimd.state = AIMD_INCREASE
            aimd.changed_us = now_us
        increase(aimd, now_us)
    aimd.bps = clamp(aimd.bps, aimd.min_bps, aimd.max_bps)
