"""The producer: RTP of one encoder on one port becomes a stream, numbered and marked once.

stream_seq follows the encoder's extended sequence number, so loss and reordering before us stay
visible; padding-only packets (probes) are taken out and renumbered over. A far jump or a new SSRC
is believed after a second consistent packet (RFC 3550 A.1); numbering then goes on at the head.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.cursor cimport NOBODY
from fastpath.insert cimport insert_media, media_t
from fastpath.mailbox cimport EVENT_INGEST_SOURCE, mailbox_post, message_t
from fastpath.verdict cimport (
    ACCEPTED, ACCEPTED_LATE, DUPLICATE_PACKET, INGESTED, INGEST_DUPLICATE, INGEST_MALFORMED,
    INGEST_OTHER_SSRC, INGEST_OVERSIZED, INGEST_PADDING, INGEST_PAYLOAD_TYPE, INGEST_RTCP, INGEST_UNASSIGNED,
    JUMP_UNCONFIRMED,
)
from fastpath.wire cimport FIB_HOP_LIMIT, MAX_RTP_BYTES
from fastpath.worker cimport (
    CODEC_H264, datagram_t, ingest_t, new_event, stream_handle, worker_t,
)
from rtp.payload.h264 cimport h264_marks
from rtp.payload.marks cimport MARK_GOP_START, MARK_KEY
from rtp.payload.opus cimport opus_marks
from rtp.payload.rtp_header cimport is_rtcp, parse_rtp_header, rtp_header_t

cdef enum:
    SEQUENCE_BASE = 65536        # extended numbers begin here: one step back stays positive
    MAX_DROPOUT = 3000           # RFC 3550 A.1
    MAX_MISORDER = 100           # RFC 3550 A.1
    SILENCE_US = 1000000         # a new SSRC takes over at once when the old one was silent this long
    PADDINGS = 16


cdef void announce(worker_t* worker, const ingest_t* ingest, bint restarted) noexcept nogil:
    cdef message_t* event = new_event(worker, EVENT_INGEST_SOURCE)
    if event != NULL:
        event.handle = stream_handle(worker, ingest.stream)
        event.ssrc = ingest.ssrc
        event.flag = restarted
        mailbox_post(&worker.events)


cdef void number_from(worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp) noexcept nogil:
    """Let this packet follow the newest one of the stream, whatever its sequence number is."""
    cdef uint32_t next_seq = worker.streams[ingest.stream].ring.head
    ingest.highest = <uint64_t>SEQUENCE_BASE + rtp.sequence_number - 1
    ingest.offset = <uint64_t>next_seq - ingest.highest - 1
    ingest.padding_count = 0
    ingest.has_jump = False
    ingest.last_timestamp = rtp.timestamp - 1


cdef bint belongs(worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp, int64_t now_us) noexcept nogil:
    """Lock on to one SSRC; follow a change of it (an encoder that started again)."""
    cdef bint restarted = ingest.is_locked
    if ingest.is_locked and rtp.ssrc == ingest.ssrc:
        return True
    if ingest.is_locked and now_us - ingest.last_us < SILENCE_US and rtp.ssrc != ingest.other_ssrc:
        ingest.other_ssrc = rtp.ssrc
        return False
    if ingest.is_locked and now_us - ingest.last_us < SILENCE_US // 4:
        return False  # the old one still sends: two encoders on one port
    ingest.is_locked = True
    ingest.ssrc = rtp.ssrc
    ingest.other_ssrc = 0
    number_from(worker, ingest, rtp)
    announce(worker, ingest, restarted)
    return True


cdef int64_t extend(worker_t* worker, ingest_t* ingest, const rtp_header_t* rtp) noexcept nogil:
    """The extended sequence number, or -1 for a jump that nobody has confirmed yet."""
    cdef uint16_t step = <uint16_t>(rtp.sequence_number - <uint16_t>ingest.highest)
    if step < MAX_DROPOUT:
        ingest.has_jump = False
        return <int64_t>(ingest.highest + step)
    if step > 65536 - MAX_MISORDER:
        return <int64_t>(ingest.highest + step - 65536)
    if ingest.has_jump and rtp.sequence_number == ingest.jump_number:
        number_from(worker, ingest, rtp)
        return <int64_t>(ingest.highest + 1)
    ingest.has_jump = True
    ingest.jump_number = <uint16_t>(rtp.sequence_number + 1)
    return -1


cdef uint32_t stream_seq_of(const ingest_t* ingest, uint64_t number) noexcept nogil:
    """Take away the padding-only packets before this one; the newest 16 are remembered exactly."""
    cdef uint64_t before = ingest.padding_count
    cdef uint32_t i
    cdef uint32_t known = ingest.padding_count if ingest.padding_count < PADDINGS else PADDINGS
    for i in range(known):
        if ingest.padding[(ingest.padding_count - 1 - i) & (PADDINGS - 1)] > number:
            before -= 1
    return <uint32_t>(number + ingest.offset - before)


cdef int marks_of(
    ingest_t* ingest, const uint8_t* data, const rtp_header_t* rtp, uint64_t number
) noexcept nogil:
    """The codec's marks; frame starts by timestamp where the preceding packet is known."""
    cdef int begins = -1
    cdef int marks
    if ingest.codec != CODEC_H264:
        return opus_marks(data + rtp.header_bytes, rtp.payload_bytes)
    if number == ingest.highest + 1:
        begins = rtp.timestamp != ingest.last_timestamp
    marks = h264_marks(data + rtp.header_bytes, rtp.payload_bytes, begins, rtp.marker)
    # An access unit may begin with a delimiter or SEI of its own packet: its GoP then starts at the
    # first packet with key content, which is enough for a decoder.
    if marks > 0 and marks & MARK_KEY:
        if not ingest.has_key or ingest.key_timestamp != rtp.timestamp:
            marks |= MARK_GOP_START
        ingest.has_key = True
        ingest.key_timestamp = rtp.timestamp
    return marks


cdef int receive_rtp(worker_t* worker, const datagram_t* datagram, int64_t now_us) noexcept nogil:
    cdef ingest_t* ingest = &worker.ports[datagram.port].ingest
    cdef rtp_header_t rtp
    cdef media_t media
    cdef int64_t number
    cdef int marks, verdict
    if ingest.stream == NOBODY:
        return INGEST_UNASSIGNED
    if is_rtcp(datagram.data, datagram.size):
        return INGEST_RTCP
    if parse_rtp_header(datagram.data, datagram.size, &rtp) < 0:
        return INGEST_MALFORMED
    if rtp.payload_type != ingest.payload_type:
        return INGEST_PAYLOAD_TYPE
    if datagram.size > MAX_RTP_BYTES:
        return INGEST_OVERSIZED
    if not belongs(worker, ingest, &rtp, now_us):
        return INGEST_OTHER_SSRC
    number = extend(worker, ingest, &rtp)
    if number < 0:
        return JUMP_UNCONFIRMED
    ingest.last_us = now_us
    if rtp.payload_bytes == 0:
        if <uint64_t>number > ingest.highest:
            ingest.highest = <uint64_t>number
            ingest.padding[ingest.padding_count & (PADDINGS - 1)] = <uint64_t>number
            ingest.padding_count += 1
        return INGEST_PADDING
    marks = marks_of(ingest, datagram.data, &rtp, <uint64_t>number)
    if marks < 0:
        return INGEST_MALFORMED
    media.data = datagram.data
    media.size = <uint16_t>datagram.size
    media.delay = 0
    media.marks = <uint8_t>marks
    media.flags = 0
    media.hop_limit = FIB_HOP_LIMIT + 1
    media.stream_seq = stream_seq_of(ingest, <uint64_t>number)
    media.hop_seq = 0
    media.link = NOBODY
    media.arrival_us = datagram.arrival_us
    verdict = insert_media(worker, ingest.stream, &media, now_us)
    if <uint64_t>number > ingest.highest:
        ingest.highest = <uint64_t>number
        ingest.last_timestamp = rtp.timestamp
    if verdict == ACCEPTED or verdict == ACCEPTED_LATE:
        return INGESTED
    return INGEST_DUPLICATE if verdict == DUPLICATE_PACKET else verdict
