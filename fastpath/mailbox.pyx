"""Commands in, events out: one writer, one reader, no lock; an eventfd wakes the reader.

The producer fills the message that mailbox_reserve gives and posts it; the release store of
`written` makes it visible. The consumer reads mailbox_first and then gives the place back.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int, int)
    int EFD_NONBLOCK, EFD_CLOEXEC
cdef extern from "<unistd.h>" nogil:
    int close(int)
    ssize_t read(int, void*, size_t)
    ssize_t write(int, const void*, size_t)
cdef extern from *:
    """
    #define overlane_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define overlane_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    """
    uint64_t overlane_acquire(const uint64_t*) nogil
    void overlane_release(uint64_t*, uint64_t) nogil


cdef int mailbox_open(mailbox_t* box) noexcept nogil:
    box.messages = <message_t*>calloc(MAILBOX_MESSAGES, sizeof(message_t))
    box.eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    return -1 if box.messages == NULL or box.eventfd < 0 else 0


cdef void mailbox_close(mailbox_t* box) noexcept nogil:
    free(box.messages)
    if box.eventfd >= 0:
        close(box.eventfd)


cdef message_t* mailbox_reserve(mailbox_t* box) noexcept nogil:
    """The producer's next message, or NULL while the box is full."""
    if box.written - overlane_acquire(&box.read) >= MAILBOX_MESSAGES:
        return NULL
    return &box.messages[box.written & (MAILBOX_MESSAGES - 1)]


cdef uint64_t mailbox_free(const mailbox_t* box) noexcept nogil:
    """Places left, as the producer sees it."""
    return MAILBOX_MESSAGES - (box.written - overlane_acquire(&box.read))


cdef void mailbox_post(mailbox_t* box) noexcept nogil:
    overlane_release(&box.written, box.written + 1)
    box.is_rung = True


cdef void mailbox_ring(mailbox_t* box) noexcept nogil:
    """Wake the consumer, once for all that was posted since the last time."""
    cdef uint64_t one = 1
    if box.is_rung:
        box.is_rung = False
        write(box.eventfd, &one, 8)


cdef message_t* mailbox_first(mailbox_t* box) noexcept nogil:
    if overlane_acquire(&box.written) == box.read:
        return NULL
    return &box.messages[box.read & (MAILBOX_MESSAGES - 1)]


cdef void mailbox_done(mailbox_t* box) noexcept nogil:
    overlane_release(&box.read, box.read + 1)


cdef void mailbox_clear_bell(mailbox_t* box) noexcept nogil:
    cdef uint64_t count
    read(box.eventfd, &count, 8)
