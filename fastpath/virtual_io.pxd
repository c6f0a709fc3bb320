# Datagrams that a turn in virtual time gives: kept in memory until they are read.
from libc.stdint cimport int32_t, uint8_t, uint32_t
from fastpath.address cimport address_t
from fastpath.worker cimport batch_t, worker_t

ctypedef struct outgoing_t:
    int32_t port
    address_t destination
    size_t start
    uint32_t size

ctypedef struct outbox_t:
    outgoing_t* records
    size_t record_count
    size_t record_limit
    uint8_t* bytes
    size_t byte_count
    size_t byte_limit
    size_t lost                  # no memory for them

cdef outbox_t* outbox_open() noexcept nogil
cdef void outbox_close(outbox_t* outbox) noexcept nogil
cdef void virtual_transmit(worker_t* worker, const batch_t* batch) noexcept nogil
