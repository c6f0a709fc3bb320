# What another native module may reach of an engine: the lab moves datagrams between engines without
# a Python object each. It calls go_virtual once; then turns are its own: it notes the time in
# `turned_us`, calls begin_turn, receive_datagram and end_turn, and empties the outbox.
cimport cython
from libc.stdint cimport int64_t, uint32_t
from fastpath.mailbox cimport message_t
from fastpath.virtual_io cimport outbox_t
from fastpath.worker cimport worker_t


@cython.final
cdef class Engine:
    cdef worker_t* worker
    cdef outbox_t* outbox
    cdef bint started
    cdef int64_t turned_us       # the newest turn in virtual time
    cdef object ports, node_links, viewer_links, streams, cursors
    cdef object by_stream, by_link  # cursors in chains
    cdef dict stream_clocks      # stream -> (medium, clock rate)
    cdef object __weakref__

    cdef int allocate(self, size_t slab_bytes, int node_links, bint huge_pages) except -1
    cdef message_t* command(self, uint32_t kind, int64_t handle) except NULL
    cdef message_t* addition(self, uint32_t kind, table) except NULL
    cdef int post(self) except -1
    cdef int send_payload(self, uint32_t kind, int64_t link, bytes payload) except -1
    cdef int note_cursor(self, int64_t cursor, int64_t stream, int64_t link) except -1
    cdef int forget_cursor(self, int64_t cursor) except -1
    cdef int change_stream(self, uint32_t kind, int64_t cursor, int64_t stream, int payload_type) except -1
    cdef int forget_cursors(self, chains, int64_t place) except -1
    cdef object event_of(self, const message_t* message)
    cdef int tell_of_pages(self) except -1
    cdef int go_virtual(self) except -1
    cdef list take_outgoing(self)
