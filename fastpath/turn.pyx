"""One turn: commands, then what arrived, then what that allows to be sent, then timers.

Between begin_turn and end_turn the caller feeds datagrams: run_on_sockets from the kernel, the
lab from virtual time. Nothing here sleeps or knows the time but by its argument; only adding a
link allocates (its holes, history and queues), nothing that a packet does.
"""

from libc.stdint cimport int32_t, int64_t
from fastpath.commands cimport apply_commands
from fastpath.insert cimport expire_early, wake_cursors
from fastpath.key_frame cimport ask_for_key_frames
from fastpath.mailbox cimport mailbox_ring
from fastpath.repair cimport on_link_timer
from fastpath.send cimport drain_link
from fastpath.pause cimport on_viewer_timer
from fastpath.socket_io cimport monotonic_us, socket_io_receive, socket_io_wait
from fastpath.wheel cimport wheel_next_us, wheel_pop
from fastpath.worker cimport worker_t

cdef extern from *:
    """
    #define overlane_load_flag(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    int32_t overlane_load_flag(const int32_t*) nogil


cdef void begin_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    apply_commands(worker, now_us)


cdef void end_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    cdef int32_t link = wheel_pop(&worker.wheel, now_us)
    cdef int32_t i = 0
    while link >= 0:
        if worker.links[link].is_viewer:
            on_viewer_timer(worker, link, now_us)
        else:
            on_link_timer(worker, link, now_us)
        link = wheel_pop(&worker.wheel, now_us)
    ask_for_key_frames(worker, now_us)
    wake_cursors(worker)
    while i < worker.ready_count:
        drain_link(worker, worker.ready_links[i], now_us)
        i += 1
    worker.ready_count = 0
    expire_early(worker, now_us)
    mailbox_ring(&worker.events)


cdef void run_on_sockets(worker_t* worker) noexcept nogil:
    cdef int64_t due_us, now_us
    cdef int ready
    while not overlane_load_flag(&worker.stop):
        due_us = wheel_next_us(&worker.wheel)
        if due_us >= 0:
            due_us -= monotonic_us()
            if due_us < 0:
                due_us = 0
        ready = socket_io_wait(worker, due_us)
        begin_turn(worker, monotonic_us())
        if ready > 0:
            socket_io_receive(worker, ready)
        end_turn(worker, monotonic_us())
