"""What a node link's controller lives on: which packets arrived, and when by the receiver's clock.

The receiver tells it each 50 ms while media or padding comes, sooner after 400 numbers, if the
sender's probes say that it wants to know. Each number is said in two reports, so that a lost one
harms nothing. In network order:

    ARRIVALS  6, base u32, settled u16, time u64, then for each number from base on one byte:
              0: has not arrived; 1 to 254: it has, (byte - 65) units after the one before it in
              this message; 255: the same by an i16 that follows, for longer and negative steps

A unit is 64 us; `time` stands in units for the first that has arrived. `settled`: so many numbers,
from base on, are said for the last time: what has not arrived by now counts as lost. Loss is counted
by hop_seq alone: what is repaired arrives under another number, and its own stays lost.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.feedback cimport MESSAGE_ARRIVALS
from fastpath.link cimport ARRIVALS_KEPT, history_t, link_recall, link_t, link_was_seen
from fastpath.pacing cimport pacer_cluster_of, pacer_on_results
from fastpath.rate.types cimport packet_result_t
from fastpath.send cimport message_payload, send_message
from fastpath.wire cimport TYPE_FEEDBACK
from fastpath.worker cimport worker_t
from rtp.big_endian cimport load_be16, load_be32, load_be64, store_be16, store_be32, store_be64

cdef enum:
    NO_STEP = 65                 # the byte of a step of 0
    LONG_STEP = 255
    FRESH_BYTES = 640            # chosen: as much again, said for the second time, fits as well
    MAX_BYTES = 1400             # of a message
    MAX_RESULTS = MAX_BYTES - ARRIVALS_BYTES
    CLOCK_BITS = 50              # of units: no clock is later; a peer's nonsense is


cdef void begin_arrivals(link_t* link) noexcept nogil:
    """Of what is there already no time is known."""
    link.tells_arrivals = True
    link.told_from = link.highest + 1
    link.told_to = link.highest + 1
    link.next_arrivals_us = -1


cdef inline size_t put_step(uint8_t* message, size_t size, int32_t step) noexcept nogil:
    """Bytes used then."""
    if -NO_STEP < step < LONG_STEP - NO_STEP:
        message[size] = <uint8_t>(step + NO_STEP)
        return size + 1
    if step > 32767:  # 2 s: any jump will do
        step = 32767
    if step < -32768:
        step = -32768
    message[size] = LONG_STEP
    store_be16(message + size + 1, <uint16_t>step)
    return size + 3


cdef void say_arrivals(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """All that is new, in as many messages as it takes."""
    cdef link_t* link = &worker.links[link_index]
    cdef uint8_t* message = message_payload(worker)
    cdef uint64_t base, at
    cdef uint32_t before, time
    cdef int64_t now = now_us >> ARRIVAL_SHIFT
    cdef size_t size, fresh_from
    cdef bint has_time
    link.next_arrivals_us = -1
    while link.told_to <= link.highest:
        base = link.told_from
        if base + ARRIVALS_KEPT <= link.highest:
            base = link.highest + 1 - ARRIVALS_KEPT
        if link.told_to < base:
            link.told_to = base
        size = ARRIVALS_BYTES
        fresh_from = MAX_BYTES
        before = 0
        has_time = False
        message[0] = MESSAGE_ARRIVALS
        store_be32(message + 1, <uint32_t>base)
        store_be16(message + 5, <uint16_t>(link.told_to - base))
        store_be64(message + 7, 0)
        at = base
        while at <= link.highest and size + 3 <= MAX_BYTES and size < fresh_from + FRESH_BYTES:
            if at == link.told_to:
                fresh_from = size
            if not link_was_seen(link, at):
                message[size] = 0
                size += 1
            else:
                time = link.arrivals[at & (ARRIVALS_KEPT - 1)]
                if not has_time:  # whole, from its low 32 bits
                    store_be64(message + 7, <uint64_t>(now + <int32_t>(time - <uint32_t>now)))
                    before = time
                    has_time = True
                size = put_step(message, size, <int32_t>(time - before))
                before = time
            at += 1
        link.told_from = link.told_to if link.told_to < at else at
        link.told_to = at
        send_message(worker, link_index, TYPE_FEEDBACK, <uint32_t>size, now_us)


cdef void on_arrivals(
    worker_t* worker, int32_t link_index, const uint8_t* payload, size_t size, int64_t now_us
) noexcept nogil:
    """Join the report with what was sent. Numbers never sent, or forgotten, say nothing."""
    cdef link_t* link = &worker.links[link_index]
    cdef packet_result_t results[MAX_RESULTS]
    cdef int32_t count = 0
    cdef int64_t behind = <int32_t>(<uint32_t>link.hop_seq - load_be32(payload + 1))
    cdef uint64_t number
    cdef uint64_t settled
    cdef int64_t time = <int64_t>load_be64(payload + 7)  # units
    cdef size_t at = ARRIVALS_BYTES
    cdef history_t* entry
    cdef bint has_arrived
    if not link.is_controlled or behind < 0 or <uint64_t>behind >= link.hop_seq or time >> CLOCK_BITS != 0:
        return
    number = link.hop_seq - <uint64_t>behind
    settled = number + load_be16(payload + 5)
    while at < size and number <= link.hop_seq and count < MAX_RESULTS:
        has_arrived = payload[at] != 0
        if payload[at] == LONG_STEP:
            if at + 3 > size:
                break
            time += <int16_t>load_be16(payload + at + 1)
            at += 3
        else:
            if has_arrived:
                time += <int32_t>payload[at] - NO_STEP
            at += 1
        if time < 0:
            time = 0
        entry = link_recall(link, number)
        if entry != NULL and entry.bytes != 0 and (has_arrived or number < settled):
            results[count].sent_us = entry.sent_us
            results[count].arrival_us = time << ARRIVAL_SHIFT if has_arrived else -1
            results[count].bytes = entry.bytes
            results[count].probe = pacer_cluster_of(link, number)
            results[count].is_ce = False
            results[count].is_fast = False  # many streams share a node link
            count += 1
            entry.bytes = 0
        number += 1
    if count > 0:
        pacer_on_results(link, results, count, link.rtt_us, now_us)
