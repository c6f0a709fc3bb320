"""One turn: commands, then what arrived, then what that allows to be sent, then timers.

Between begin_turn and end_turn the caller feeds datagrams: run_on_sockets from the kernel, the
lab from virtual time. Nothing here sleeps or knows the time but by its argument; only adding a
link allocates (its holes, history and queues), nothing that a packet does.

On sockets a turn is bounded, so that commands and control are seen to in time whatever the load and
the fan-out: it takes in no more than it can send in about 4 ms (the number of buffers follows what
turns have cost), and leaves links that it has not come to in that time to the next turns, which
take in nothing till then. These links are a round: those that get ready meanwhile are the next
round's, or many viewers with much to catch up on would keep a worker from hearing anything. What
has to wait, waits in the sockets, where its age tells of overload.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove
from fastpath.commands cimport apply_commands
from fastpath.insert cimport expire_early, wake_cursors
from fastpath.key_frame cimport ask_for_key_frames
from fastpath.mailbox cimport mailbox_ring
from fastpath.overload cimport overload_next_us
from fastpath.repair cimport on_link_timer
from fastpath.send cimport drain_link
from fastpath.shed cimport shed_turn
from fastpath.pause cimport on_viewer_timer
from fastpath.socket_io cimport TURN_US, monotonic_us, socket_io_adapt, socket_io_receive, socket_io_wait
from fastpath.verdict cimport SENT_PACKETS, TURNS
from fastpath.wheel cimport wheel_next_us, wheel_pop
from fastpath.worker cimport count, worker_t

cdef extern from *:
    """
    #define overlane_load_flag(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    int32_t overlane_load_flag(const int32_t*) nogil

cdef enum:
    PACKETS_A_LOOK = 128         # sent between two looks at the clock: about 0.1 ms


cdef void begin_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    apply_commands(worker, now_us)


cdef void drain_ready(worker_t* worker, int64_t began_us) noexcept nogil:
    """Links with something to do, one by one: all of them, or on sockets for a while; the others are
    first in the next turn."""
    cdef int32_t done = 0
    cdef int64_t now_us = began_us
    cdef uint64_t looked = worker.counters[<int>SENT_PACKETS]
    while done < worker.ready_count:
        if worker.is_running and worker.counters[<int>SENT_PACKETS] - looked >= PACKETS_A_LOOK:
            looked = worker.counters[<int>SENT_PACKETS]
            now_us = monotonic_us()
            if now_us - began_us > TURN_US:
                break
        drain_link(worker, worker.ready_links[done], now_us)
        done += 1
    worker.ready_count -= done
    worker.round_left = worker.round_left - done if worker.round_left > done else 0
    if worker.ready_count > 0:
        memmove(worker.ready_links, worker.ready_links + done, <size_t>worker.ready_count * sizeof(int32_t))


cdef void end_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    cdef int32_t link = wheel_pop(&worker.wheel, now_us)
    while link >= 0:
        if worker.links[link].is_viewer:
            on_viewer_timer(worker, link, now_us)
        else:
            on_link_timer(worker, link, now_us)
        link = wheel_pop(&worker.wheel, now_us)
    ask_for_key_frames(worker, now_us)
    wake_cursors(worker)
    if worker.round_left == 0:
        worker.round_left = worker.ready_count
    drain_ready(worker, now_us)
    expire_early(worker, now_us)
    if worker.round_left == 0:
        shed_turn(worker, now_us)
    mailbox_ring(&worker.events)


cdef int64_t next_turn_us(const worker_t* worker) noexcept nogil:
    """When a turn is due though nothing comes; -1: none is."""
    cdef int64_t due_us = wheel_next_us(&worker.wheel)
    cdef int64_t calm_us = overload_next_us(&worker.overload)
    return calm_us if due_us < 0 or 0 <= calm_us < due_us else due_us


cdef void run_on_sockets(worker_t* worker) noexcept nogil:
    cdef int64_t now_us = monotonic_us()
    cdef int64_t began_us, due_us
    cdef int64_t round_us = now_us  # when the round began
    cdef bint is_ready = False
    while not overlane_load_flag(&worker.stop):
        if worker.round_left == 0:
            due_us = next_turn_us(worker) if worker.ready_count == 0 else now_us
            is_ready = socket_io_wait(worker, due_us, now_us)
            now_us = monotonic_us()
            round_us = now_us
        began_us = now_us
        begin_turn(worker, now_us)
        if is_ready:
            socket_io_receive(worker, now_us)
            is_ready = False
        end_turn(worker, monotonic_us())
        count(worker, TURNS)
        now_us = monotonic_us()
        worker.overload.busy_us += now_us - began_us
        if worker.round_left == 0:
            socket_io_adapt(worker, now_us - round_us)
