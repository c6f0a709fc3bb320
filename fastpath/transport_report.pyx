"""Transport-wide feedback to an encoder that numbers its packets across its tracks, as browsers do.

Its tracks share one socket (the configuration sees to it), so the socket's numbers are all there are.
Told each 100 ms while packets come, each number once; one that comes after that is not told again.
Source: draft-holmer-rmcat-transport-wide-cc-extensions-01, 2 and 3.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from fastpath.encoder_rtcp cimport begin_compound, our_ssrc, send_rtcp
from fastpath.send cimport message_payload
from fastpath.worker cimport TRANSPORT_SEEN, ingest_t, port_t, seen_t, transport_seen_t, worker_t
from rtp.rtcp.transport_cc cimport write_transport_cc

cdef enum:
    INTERVAL_US = 100000         # libwebrtc's at the start; 50 to 250 ms are usual
    SOON = 200                   # so many numbers are told without waiting for the interval's end
    MOST = 400                   # of one report: within a datagram whatever their deltas


cdef void note_transport(port_t* port, uint16_t number, int64_t arrival_us) noexcept nogil:
    cdef transport_seen_t* seen = &port.seen
    cdef int16_t ahead = <int16_t>(number - <uint16_t>seen.highest)
    cdef uint64_t extended
    cdef seen_t* entry
    if seen.highest == 0:
        seen.highest = 65536 + number
        seen.told_to = seen.highest
        ahead = 0
    extended = seen.highest + <uint64_t><int64_t>ahead
    if ahead > 0:
        seen.highest = extended
    elif seen.highest - extended >= TRANSPORT_SEEN:
        return
    entry = &seen.entries[extended & (TRANSPORT_SEEN - 1)]
    entry.number = <uint32_t>extended
    entry.is_set = True
    entry.arrival_us = arrival_us


cdef void forget_transport(port_t* port) noexcept nogil:
    """Another encoder begins, and numbers its packets anew; reports go on being counted."""
    cdef uint8_t reports = port.seen.reports
    memset(&port.seen, 0, sizeof(transport_seen_t))
    port.seen.reports = reports


cdef void say_transport(worker_t* worker, int32_t port_index, ingest_t* ingest, int64_t now_us) noexcept nogil:
    """If it is due: all numbers up to the newest, or the last MOST of them."""
    cdef transport_seen_t* seen = &worker.ports[port_index].seen
    cdef int64_t times_us[MOST]
    cdef uint64_t at
    cdef uint32_t count = 0
    cdef const seen_t* entry
    cdef size_t size
    if now_us < seen.next_us and seen.highest < seen.told_to + SOON:
        return
    if seen.highest == 0 or seen.highest < seen.told_to:
        return
    at = seen.told_to
    if seen.highest - at >= MOST:
        at = seen.highest + 1 - MOST
    seen.next_us = now_us + INTERVAL_US
    size = begin_compound(worker, ingest, NULL)
    seen.told_to = seen.highest + 1
    while at + count <= seen.highest:
        entry = &seen.entries[(at + count) & (TRANSPORT_SEEN - 1)]
        times_us[count] = entry.arrival_us if entry.is_set and entry.number == <uint32_t>(at + count) else -1
        count += 1
    size += write_transport_cc(
        message_payload(worker) + size, our_ssrc(worker, ingest), ingest.ssrc, <uint16_t>at, seen.reports, times_us,
        count,
    )
    seen.reports += 1
    send_rtcp(worker, port_index, ingest, <uint32_t>size)
