"""ICMP port (or host) unreachable: nobody listens there now. The cursor pauses, then tries again.

A player that starts later, or again, goes on under the same SSRC with the next sequence number, at
a key frame. The message is not authenticated, so it stops a viewer for a while and never for good.
"""

from libc.stdint cimport int32_t, int64_t
from fastpath.address cimport address_equal, address_t
from fastpath.cursor cimport CURSOR_FREE, CURSOR_PAUSED, cursor_t
from fastpath.link cimport link_t
from fastpath.mailbox cimport EVENT_VIEWER_PAUSED, mailbox_post, message_t
from fastpath.send cimport unqueue_cursor
from fastpath.switch cimport begin_cursor
from fastpath.verdict cimport VIEWER_PAUSED
from fastpath.worker cimport (
    count, first_viewer_at, mark_ready, new_event, worker_t,
)

cdef enum:
    FIRST_PAUSE_US = 1000000     # chosen: as long as a player takes to start again
    LONGEST_DOUBLING = 4         # 16 s: what one key frame each 16 s to a closed port costs is nothing
    FORGET_US = 60000000         # without a refusal for so long, a viewer is as good as new


cdef void pause(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    cdef cursor_t* cursor = &worker.cursors[index]
    cdef link_t* link = &worker.links[cursor.link]
    cdef message_t* event
    if cursor.pauses > 0 and now_us - cursor.paused_us > FORGET_US:
        cursor.pauses = 0
    unqueue_cursor(worker, index)
    cursor.state = CURSOR_PAUSED
    cursor.paused_us = now_us
    cursor.resume_us = now_us + (<int64_t>FIRST_PAUSE_US << cursor.pauses)
    if link.resume_us < 0 or cursor.resume_us < link.resume_us:
        link.resume_us = cursor.resume_us
    if cursor.pauses == 0:
        event = new_event(worker, EVENT_VIEWER_PAUSED)
        if event != NULL:
            event.handle = (<int64_t>cursor.generation << 20) | index
            mailbox_post(&worker.events)
    if cursor.pauses < LONGEST_DOUBLING:
        cursor.pauses += 1
    cursor.paused_times += 1
    count(worker, VIEWER_PAUSED)
    mark_ready(worker, cursor.link)


cdef void on_refused(worker_t* worker, int32_t port, const address_t* destination, int64_t now_us) noexcept nogil:
    """Every cursor that sends from this port to there; reports' addresses do not count."""
    cdef int32_t at = first_viewer_at(worker, destination)
    cdef cursor_t* cursor
    while at >= 0:
        cursor = &worker.cursors[at]
        if (
            cursor.port == port and address_equal(&cursor.peer, destination)
            and cursor.state != CURSOR_FREE and cursor.state != CURSOR_PAUSED
        ):
            pause(worker, at, now_us)
        at = cursor.next_in_address_bucket


cdef void end_pause(worker_t* worker, int32_t index, int64_t now_us) noexcept nogil:
    worker.cursors[index].resume_us = 0
    begin_cursor(worker, index)
    worker.cursors[index].began_us = now_us


cdef void on_viewer_timer(worker_t* worker, int32_t link_index, int64_t now_us) noexcept nogil:
    """A viewer's budget is there again, or one of its pauses is over."""
    cdef link_t* link = &worker.links[link_index]
    cdef int32_t at = link.first_cursor
    cdef cursor_t* cursor
    if not link.is_used:
        return
    if link.resume_us >= 0 and link.resume_us <= now_us:
        link.resume_us = -1
        while at >= 0:
            cursor = &worker.cursors[at]
            if cursor.state == CURSOR_PAUSED and cursor.resume_us <= now_us:
                end_pause(worker, at, now_us)
            elif cursor.state == CURSOR_PAUSED and (link.resume_us < 0 or cursor.resume_us < link.resume_us):
                link.resume_us = cursor.resume_us
            at = cursor.next_of_link
    mark_ready(worker, link_index)
