"""LossBasedBweV2: what rate the observed losses speak for.

The link is taken to lose a share of all packets at any rate (inherent loss) and everything above some
bandwidth. Of a few bandwidths (the current one and 2 % more and 5 % less, what is acknowledged, what the
delay part allows) the most likely one is taken, with a bias for high ones; the inherent loss of each is
fitted by one step of Newton's method. So random loss does not take the rate down, and congestion does.

After losses the rate is held for 300 ms, doubling each time to 60 s, and grows by no more than 1.3 in
300 ms. Source: libwebrtc loss_based_bwe_v2.cc with its default configuration; the names of its fields
stand behind the numbers.
"""

from libc.math cimport fabs, log
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset
from fastpath.rate.types cimport clamp, is_usable, packet_result_t

cdef enum:
    OBSERVATION_US = 250000      # observation_duration_lower_bound
    READY = 3                    # min_num_observations
    WINDOW_US = 300000           # delayed_increase_window
    FIRST_HOLD_US = 300000       # kInitHoldDuration
    LONGEST_HOLD_US = 60000000   # kMaxHoldDuration
    HOLD_FACTOR = 2              # hold_duration_factor
    PADDING_US = 2000000         # padding_duration
    MAX_CANDIDATES = 5
    MANY = 1000000

cdef double RAMP_UP = 1.5                # bandwidth_rampup_upper_bound_factor, of what is acknowledged
cdef double RAMP_UP_HELD = 1.2           # ..._in_hold
cdef double RAMP_UP_HELD_BELOW = 1.3     # bandwidth_rampup_hold_threshold
cdef double HIGHER = 1.02                # candidate_factors
cdef double LOWER = 0.95
cdef double BANDWIDTH_BIAS = 0.0002      # higher_bandwidth_bias_factor, per kbit/s
cdef double LOG_BIAS = 0.02              # higher_log_bandwidth_bias_factor
cdef double LOWEST_LOSS = 0.001          # inherent_loss_lower_bound
cdef double PREFERENCE_LOSS = 0.2        # loss_threshold_of_high_bandwidth_preference
cdef double PREFERENCE_SMOOTHING = 0.002 # bandwidth_preference_smoothing_factor
cdef double BALANCE_BPS = 100000         # inherent_loss_upper_bound_bandwidth_balance, instant_...
cdef double LOSS_OFFSET = 0.05           # inherent_loss_upper_bound_offset, instant_...
cdef double FIRST_LOSS = 0.01            # initial_inherent_loss_estimate
cdef double NEWTON_STEP = 0.75           # newton_step_size, once
cdef double WEIGHT = 0.9                 # temporal_weight_factor, per observation
cdef double MAX_INCREASE = 1.3           # max_increase_factor
cdef double MEDIAN_FACTOR = 2.0          # median_sending_rate_factor
cdef double MIN_WINDOW_BPS = 5000        # kCongestionControllerMinBitrate
cdef double SMALLEST = 1e-6              # of a probability, and of what is not
cdef double FAR = 1e300                  # no limit
cdef double KILOBYTE = 1000


cdef struct candidate_t:
    double bandwidth_bps
    double inherent_loss


cdef void loss_based_open(loss_based_t* loss, double min_bps, double max_bps) noexcept nogil:
    memset(loss, 0, sizeof(loss_based_t))
    loss.observed_us = -1
    loss.inherent_loss = FIRST_LOSS
    loss.throughput_bps = -1
    loss.delay_based_bps = -1
    loss.window_began_us = -1
    loss.hold_us = FIRST_HOLD_US
    loss.hold_until_us = -1
    loss.padding_us = -1
    loss.state = LOSS_DELAY_BASED
    loss_based_limit(loss, min_bps, max_bps)


cdef void loss_based_limit(loss_based_t* loss, double min_bps, double max_bps) noexcept nogil:
    loss.min_bps = min_bps
    loss.max_bps = max_bps


# Observations

cdef const observation_t* aged(const loss_based_t* loss, int age) noexcept nogil:
    """age: 0 is the newest."""
    cdef int index = loss.next - 1 - age
    return &loss.observations[index if index >= 0 else index + LOSS_OBSERVATIONS]


cdef bint observe(
    loss_based_t* loss, const packet_result_t* results, int32_t count, int64_t now_us
) noexcept nogil:
    """Whether an observation is complete."""
    cdef int64_t first_us = -1
    cdef int64_t last_us = -1
    cdef int64_t lasted_us
    cdef observation_t* observation
    cdef double kilobytes
    cdef int32_t i
    for i in range(count):
        if not is_usable(&results[i], now_us):
            continue
        kilobytes = <double>results[i].bytes / KILOBYTE
        loss.partial_kilobytes += kilobytes
        if results[i].arrival_us < 0:
            loss.partial_lost_kilobytes += kilobytes
        if first_us < 0 or results[i].sent_us < first_us:
            first_us = results[i].sent_us
        if results[i].sent_us > last_us:
            last_us = results[i].sent_us
    if last_us < 0:
        return False
    if loss.observed_us < 0:
        loss.observed_us = first_us
    lasted_us = last_us - loss.observed_us
    if lasted_us < OBSERVATION_US:
        return False
    loss.observed_us = last_us
    observation = &loss.observations[loss.next]
    observation.sending_bps = loss.partial_kilobytes * KILOBYTE * 8e6 / <double>lasted_us
    observation.kilobytes = loss.partial_kilobytes
    observation.lost_kilobytes = loss.partial_lost_kilobytes
    loss.partial_kilobytes = 0
    loss.partial_lost_kilobytes = 0
    loss.next = loss.next + 1 if loss.next + 1 < LOSS_OBSERVATIONS else 0
    if loss.count < LOSS_OBSERVATIONS:
        loss.count += 1
    if loss.total < MANY:
        loss.total += 1
    return True


cdef double lost_kilobytes(const loss_based_t* loss) noexcept nogil:
    """In all observations. Most windows have none, and then there is little to work out."""
    cdef double lost = 0
    cdef int age
    for age in range(loss.count):
        lost += aged(loss, age).lost_kilobytes
    return lost


cdef double median_sending_bps(const loss_based_t* loss) noexcept nogil:
    cdef double sorted_bps[LOSS_OBSERVATIONS]
    cdef double bps
    cdef int count = 0
    cdef int place
    cdef int age
    for age in range(loss.count):
        bps = aged(loss, age).sending_bps
        if bps <= 0:
            continue
        place = count
        while place > 0 and sorted_bps[place - 1] > bps:
            sorted_bps[place] = sorted_bps[place - 1]
            place -= 1
        sorted_bps[place] = bps
        count += 1
    if count == 0:
        return 0
    if count & 1:
        return sorted_bps[count // 2]
    return (sorted_bps[count // 2 - 1] + sorted_bps[count // 2]) / 2


cdef double average_loss(const loss_based_t* loss) noexcept nogil:
    """By bytes, newer ones counting for more; without the best and the worst observation, unless the worst
    is of a sudden rise of our own."""
    cdef const observation_t* observation
    cdef double weight = 1
    cdef double total = 0
    cdef double lost = 0
    cdef double least = 1
    cdef double most = 0
    cdef double without = 0
    cdef double without_lost = 0
    cdef double least_bytes = 0
    cdef double least_lost = 0
    cdef double most_bytes = 0
    cdef double most_lost = 0
    cdef double most_bps = 0
    cdef double share
    cdef int age
    for age in range(loss.count):
        observation = aged(loss, age)
        total += weight * observation.kilobytes
        lost += weight * observation.lost_kilobytes
        share = observation.lost_kilobytes / observation.kilobytes if observation.kilobytes > 0 else 0
        if loss.total > READY:
            if share > most:
                most = share
                most_bytes = weight * observation.kilobytes
                most_lost = weight * observation.lost_kilobytes
                most_bps = observation.sending_bps
            if share < least:
                least = share
                least_bytes = weight * observation.kilobytes
                least_lost = weight * observation.lost_kilobytes
        weight *= WEIGHT
    if total <= 0:
        return 0
    without = total - least_bytes - most_bytes
    without_lost = lost - least_lost - most_lost
    if without <= SMALLEST or median_sending_bps(loss) * MEDIAN_FACTOR <= most_bps:
        return clamp(lost / total, 0, 1)
    return clamp(without_lost / without, 0, 1)


# The model

cdef inline double loss_probability(const candidate_t* candidate, double sending_bps) noexcept nogil:
    cdef double probability = candidate.inherent_loss
    if sending_bps > candidate.bandwidth_bps and sending_bps > 0:
        probability += (1 - probability) * (sending_bps - candidate.bandwidth_bps) / sending_bps
    return clamp(probability, SMALLEST, 1 - SMALLEST)


cdef double feasible_loss(double inherent_loss, double bandwidth_bps) noexcept nogil:
    """A fast link hardly loses much at random."""
    cdef double highest = 1
    if bandwidth_bps > 0:
        highest = clamp(LOSS_OFFSET + BALANCE_BPS / bandwidth_bps, 0, 1)
    return clamp(inherent_loss, LOWEST_LOSS if LOWEST_LOSS < highest else highest, highest)


cdef void fit(const loss_based_t* loss, candidate_t* candidate) noexcept nogil:
    """One step of Newton's method towards the likeliest inherent loss of this bandwidth."""
    cdef const observation_t* observation
    cdef double first = 0
    cdef double second = 0
    cdef double weight = 1
    cdef double p
    cdef double lost
    cdef double kept
    cdef int age
    for age in range(loss.count):
        observation = aged(loss, age)
        p = loss_probability(candidate, observation.sending_bps)
        lost = observation.lost_kilobytes / p
        kept = (observation.kilobytes - observation.lost_kilobytes) / (1 - p)
        first += weight * (lost - kept)
        second -= weight * (lost / p + kept / (1 - p))
        weight *= WEIGHT
    if second < -SMALLEST:
        candidate.inherent_loss -= NEWTON_STEP * first / second
    candidate.inherent_loss = feasible_loss(candidate.inherent_loss, candidate.bandwidth_bps)


cdef double bias(const loss_based_t* loss, double bandwidth_bps) noexcept nogil:
    """For high bandwidths while little is lost, against them while much is."""
    cdef double distance = PREFERENCE_LOSS - loss.average_loss
    cdef double preference = distance / (PREFERENCE_SMOOTHING + fabs(distance))
    cdef double kbps = bandwidth_bps / 1000
    return preference * (BANDWIDTH_BIAS * kbps + LOG_BIAS * log(1 + kbps))


cdef double likelihood(const loss_based_t* loss, const candidate_t* candidate) noexcept nogil:
    """Logarithm, with the bias. At or below the bandwidth all observations share two logarithms."""
    cdef const observation_t* observation
    cdef double preference = bias(loss, candidate.bandwidth_bps)
    cdef double below = clamp(candidate.inherent_loss, SMALLEST, 1 - SMALLEST)
    cdef double log_lost_below = log(below)
    cdef double log_kept_below = log(1 - below)
    cdef double log_lost
    cdef double log_kept
    cdef double weight = 1
    cdef double total = 0
    cdef double p
    cdef int age
    for age in range(loss.count):
        observation = aged(loss, age)
        log_lost = log_lost_below
        log_kept = log_kept_below
        if observation.sending_bps > candidate.bandwidth_bps:
            p = loss_probability(candidate, observation.sending_bps)
            log_lost = log(p)
            log_kept = log(1 - p)
        total += weight * (
            observation.lost_kilobytes * log_lost
            + (observation.kilobytes - observation.lost_kilobytes) * log_kept
            + preference * observation.kilobytes
        )
        weight *= WEIGHT
    return total


cdef inline bint is_loss_limited(const loss_based_t* loss) noexcept nogil:
    return loss.state != LOSS_DELAY_BASED


cdef candidate_t likeliest(const loss_based_t* loss, bint is_limited) noexcept nogil:
    """The best of a few bandwidths, each with its inherent loss. is_limited: by the application."""
    cdef double bandwidths[MAX_CANDIDATES]
    cdef double upper_bps = loss.max_bps
    cdef double best_likelihood = -FAR
    cdef double found
    cdef bint is_padded = loss.padding_us >= 0 and loss.observed_us - loss.padding_us <= PADDING_US
    cdef int count = 3
    cdef int i
    cdef candidate_t candidate
    cdef candidate_t best
    bandwidths[0] = HIGHER * loss.bandwidth_bps
    bandwidths[1] = loss.bandwidth_bps
    bandwidths[2] = LOWER * loss.bandwidth_bps
    if loss.throughput_bps >= 0 and (not is_limited or is_padded):
        bandwidths[count] = loss.throughput_bps
        count += 1
    if loss.delay_based_bps > loss.bandwidth_bps:
        bandwidths[count] = loss.delay_based_bps
        count += 1
    if is_loss_limited(loss) and loss.window_limit_bps > 0:
        upper_bps = loss.window_limit_bps
    if upper_bps < loss.bandwidth_bps:
        upper_bps = loss.bandwidth_bps
    best.bandwidth_bps = loss.bandwidth_bps
    best.inherent_loss = loss.inherent_loss
    if loss.window_lost <= 0:
        # Nothing was lost: the highest bandwidth is the likeliest, and any fit ends at the lowest loss.
        for i in range(count):
            if bandwidths[i] > best.bandwidth_bps:
                best.bandwidth_bps = bandwidths[i] if bandwidths[i] < upper_bps else upper_bps
        best.inherent_loss = feasible_loss(0, best.bandwidth_bps)
        return best
    for i in range(count):
        candidate.bandwidth_bps = bandwidths[i] if bandwidths[i] < upper_bps else upper_bps
        candidate.inherent_loss = feasible_loss(loss.inherent_loss, candidate.bandwidth_bps)
        fit(loss, &candidate)
        found = likelihood(loss, &candidate)
        if found > best_likelihood:
            best_likelihood = found
            best = candidate
    return best


# From the model to the result

cdef double ramp_limited(const loss_based_t* loss, double bandwidth_bps) noexcept nogil:
    """Growth while losses limit: not beyond the window's limit, nor far beyond what is acknowledged."""
    cdef double factor = RAMP_UP
    cdef double limit_bps
    if (
        loss.window_began_us >= 0 and loss.observed_us - loss.window_began_us < WINDOW_US
        and bandwidth_bps > loss.window_limit_bps
    ):
        bandwidth_bps = loss.window_limit_bps
    if loss.throughput_bps < 0 or bandwidth_bps < loss.bandwidth_bps:
        return bandwidth_bps
    if bandwidth_bps == loss.bandwidth_bps and loss.state != LOSS_INCREASING:
        return bandwidth_bps
    if loss.hold_bps > 0 and loss.throughput_bps < RAMP_UP_HELD_BELOW * loss.hold_bps:
        factor = RAMP_UP_HELD
    limit_bps = factor * loss.throughput_bps
    if bandwidth_bps > limit_bps:
        bandwidth_bps = limit_bps if limit_bps > loss.bandwidth_bps else loss.bandwidth_bps
    if loss.state == LOSS_DECREASING and bandwidth_bps == loss.bandwidth_bps:
        bandwidth_bps += 1       # so that the state becomes increasing, and padding verifies it
    return bandwidth_bps


cdef double bound_below_bps(const loss_based_t* loss) noexcept nogil:
    """What is acknowledged gets through: lower_bound_by_acked_rate_factor."""
    return loss.throughput_bps if loss.throughput_bps > loss.min_bps else loss.min_bps


cdef double bound_above_bps(const loss_based_t* loss) noexcept nogil:
    """Much loss speaks against a high rate, whatever the model says."""
    if loss.average_loss > LOSS_OFFSET:
        return BALANCE_BPS / (loss.average_loss - LOSS_OFFSET)
    return loss.max_bps


cdef void end_hold(loss_based_t* loss) noexcept nogil:
    loss.hold_us = FIRST_HOLD_US
    loss.hold_until_us = -1
    loss.hold_bps = 0


cdef void settle(loss_based_t* loss, double bps) noexcept nogil:
    """The new result and state."""
    cdef double ceiling_bps = loss.delay_based_bps if loss.delay_based_bps >= 0 else FAR
    cdef bint is_below = bps < ceiling_bps and bps < loss.max_bps
    cdef bint is_growing = is_loss_limited(loss) and (
        bps > loss.result_bps or (bps == loss.result_bps and loss.state == LOSS_INCREASING)
    )
    cdef bint may_go_on = (
        loss.state != LOSS_INCREASING or loss.padding_us < 0
        or loss.observed_us - loss.padding_us <= PADDING_US or bps > loss.padding_bps
    )
    if is_growing and may_go_on and is_below:
        if bps > loss.padding_bps:
            loss.padding_bps = bps
            loss.padding_us = loss.observed_us
        loss.state = LOSS_INCREASING
    elif is_below:
        if loss.state != LOSS_DECREASING:
            loss.hold_until_us = loss.observed_us + loss.hold_us
            loss.hold_us = HOLD_FACTOR * loss.hold_us if HOLD_FACTOR * loss.hold_us < LONGEST_HOLD_US else LONGEST_HOLD_US
            loss.hold_bps = bps
        loss.padding_bps = 0
        loss.padding_us = -1
        loss.state = LOSS_DECREASING
    else:
        end_hold(loss)
        loss.padding_bps = 0
        loss.padding_us = -1
        loss.state = LOSS_DELAY_BASED
    loss.result_bps = bps
    if is_loss_limited(loss) and (
        loss.window_began_us < 0 or loss.observed_us - loss.window_began_us > WINDOW_US
    ):
        loss.window_limit_bps = clamp(loss.bandwidth_bps * MAX_INCREASE, MIN_WINDOW_BPS, FAR)
        loss.window_began_us = loss.observed_us


cdef void loss_based_verified(loss_based_t* loss, double bps) noexcept nogil:
    """So much came through a probe, and nothing has been lost lately: losses no longer limit."""
    end_hold(loss)
    loss.padding_bps = 0
    loss.padding_us = -1
    loss.state = LOSS_DELAY_BASED
    if loss.bandwidth_bps > 0 and loss.bandwidth_bps < bps:
        loss.bandwidth_bps = bps
        loss.result_bps = bps


cdef void loss_based_update(
    loss_based_t* loss, const packet_result_t* results, int32_t count, double throughput_bps,
    double delay_based_bps, bint is_limited, int64_t now_us
) noexcept nogil:
    """Results of one feedback. throughput_bps, delay_based_bps: negative if not known.
    is_limited: the application sends less than it may."""
    cdef candidate_t best
    cdef double bps
    if throughput_bps >= 0:
        loss.throughput_bps = throughput_bps
    loss.delay_based_bps = delay_based_bps
    if not observe(loss, results, count, now_us):
        return
    loss.window_lost = lost_kilobytes(loss)
    loss.average_loss = average_loss(loss) if loss.window_lost > 0 else 0
    if loss.bandwidth_bps <= 0:
        if delay_based_bps <= 0:
            return
        loss.bandwidth_bps = delay_based_bps
        loss.result_bps = delay_based_bps
        loss.state = LOSS_DELAY_BASED
    best = likeliest(loss, is_limited)
    if loss.average_loss > best.inherent_loss and best.bandwidth_bps > loss.bandwidth_bps:
        best.bandwidth_bps = loss.bandwidth_bps  # not_increase_if_inherent_loss_less_than_average_loss
    if is_loss_limited(loss):
        best.bandwidth_bps = ramp_limited(loss, best.bandwidth_bps)
    bps = best.bandwidth_bps
    if bps > bound_above_bps(loss):
        bps = bound_above_bps(loss)
    if loss.delay_based_bps >= 0 and bps > loss.delay_based_bps:
        bps = loss.delay_based_bps
    if bps < bound_below_bps(loss):
        bps = bound_below_bps(loss)
    loss.bandwidth_bps = best.bandwidth_bps
    loss.inherent_loss = best.inherent_loss
    if bps < best.bandwidth_bps:                 # bound_best_candidate
        loss.bandwidth_bps = bps
        loss.inherent_loss = 0
    elif loss.bandwidth_bps < bound_below_bps(loss):
        loss.bandwidth_bps = bound_below_bps(loss)
    if (
        loss.state == LOSS_DECREASING and loss.hold_until_us > loss.observed_us
        and (loss.delay_based_bps < 0 or bps < loss.delay_based_bps)
    ):
        if loss.hold_bps < bound_below_bps(loss):
            loss.hold_bps = bound_below_bps(loss)
        loss.result_bps = bps if bps < loss.hold_bps else loss.hold_bps
        return
    settle(loss, bps)
