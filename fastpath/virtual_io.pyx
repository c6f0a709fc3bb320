"""The other way to feed a worker: what it sends is copied out, packet by packet, for a lab to carry."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from fastpath.address cimport address_from_sockaddr
from fastpath.worker cimport batch_t, worker_t


cdef outbox_t* outbox_open() noexcept nogil:
    return <outbox_t*>calloc(1, sizeof(outbox_t))


cdef void outbox_close(outbox_t* outbox) noexcept nogil:
    if outbox != NULL:
        free(outbox.records)
        free(outbox.bytes)
        free(outbox)


cdef bint make_room(outbox_t* outbox, size_t size) noexcept nogil:
    cdef void* grown
    cdef size_t limit
    if outbox.record_count == outbox.record_limit:
        limit = 2 * outbox.record_limit + 64
        grown = realloc(outbox.records, limit * sizeof(outgoing_t))
        if grown == NULL:
            return False
        outbox.records = <outgoing_t*>grown
        outbox.record_limit = limit
    if outbox.byte_count + size > outbox.byte_limit:
        limit = 2 * (outbox.byte_limit + size)
        grown = realloc(outbox.bytes, limit)
        if grown == NULL:
            return False
        outbox.bytes = <uint8_t*>grown
        outbox.byte_limit = limit
    return True


cdef void virtual_transmit(worker_t* worker, const batch_t* batch) noexcept nogil:
    cdef outbox_t* outbox = <outbox_t*>worker.transmit_context
    cdef outgoing_t* record
    cdef int32_t piece = 0
    cdef size_t left = batch.total_bytes
    cdef size_t size
    while left > 0:
        size = batch.segment_bytes if left > batch.segment_bytes else left
        left -= size
        if not make_room(outbox, size):
            outbox.lost += 1
            return
        record = &outbox.records[outbox.record_count]
        outbox.record_count += 1
        record.port = batch.port
        address_from_sockaddr(batch.address, &record.destination)
        record.start = outbox.byte_count
        record.size = <uint32_t>size
        while outbox.byte_count < record.start + size:
            memcpy(outbox.bytes + outbox.byte_count, batch.parts[piece].iov_base, batch.parts[piece].iov_len)
            outbox.byte_count += batch.parts[piece].iov_len
            piece += 1
