"""One turn: commands, then what arrived, then what that allows to be sent, then timers.

Between begin_turn and end_turn the caller feeds datagrams: run_on_sockets from the kernel, the
lab from virtual time. Nothing here sleeps or knows the time but by its argument; only adding a
link allocates (its holes, history and queues), nothing that a packet does.

On sockets a turn is bounded: it takes from ports, and sends to links, for about 2 ms each, and
what is left comes first in the next one. So commands and control are seen to in between, whatever
the load and the fan-out. How long a round over all links takes counts as age of what waits.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove
from fastpath.commands cimport apply_commands
from fastpath.insert cimport expire_early, wake_cursors
from fastpath.key_frame cimport ask_for_key_frames
from fastpath.mailbox cimport mailbox_ring
from fastpath.overload cimport overload_next_us, overload_note
from fastpath.repair cimport on_link_timer
from fastpath.send cimport drain_link
from fastpath.shed cimport shed_turn
from fastpath.pause cimport on_viewer_timer
from fastpath.socket_io cimport monotonic_us, socket_io_receive, socket_io_wait
from fastpath.verdict cimport SENT_PACKETS, TURNS
from fastpath.wheel cimport wheel_next_us, wheel_pop
from fastpath.worker cimport count, worker_t

cdef extern from *:
    """
    #define overlane_load_flag(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    """
    int32_t overlane_load_flag(const int32_t*) nogil

cdef enum:
    SEND_US = 2000               # chosen: 1,500 to 3,000 packets; a tenth of what a control message may wait
    PACKETS_A_LOOK = 128         # sent between two looks at the clock: about 0.1 ms


cdef void begin_turn(worker_t* worker, int64_t now_us) noexcept nogil:
    apply_commands(worker, now_us)


cdef void keep_rest(worker_t* worker, int32_t done, int64_t began_us, int64_t now_us) noexcept nogil:
    """The links from `done` on wait for the next turn. A round ends when each that stood in the list
    at its beginning has had its turn."""
    cdef int32_t rest = worker.ready_count - done
    worker.round_left -= done
    if rest > 0 and done > 0:
        memmove(worker.ready_links, worker.ready_links + done, <size_t>rest * sizeof(int32_t))
    worker.ready_count = rest
    if rest == 0:
        worker.round_left = 0
        return
    if worker.round_left <= 0:
        worker.round_left = rest
        worker.round_us = began_us
    overload_note(&worker.overload, now_us - worker.round_us)


cdef void drain_ready(worker_t* worker, int64_t began_us) noexcept nogil:
    """Links with something to do, one by one: all of them, or on sockets for a while."""
    cdef int32_t done = 0
    cdef int64_t now_us = began_us
    cdef uint64_t looked = worker.counters[<int>SENT_PACKETS]
    while done < worker.ready_count:
        if worker.is_running and worker.counters[<int>SENT_PACKETS] - looked >= PACKETS_A_LOOK:
            looked = worker.counters[<int>SENT_PACKETS]
            now_us = monotonic_us()
            if now_us - began_us > SEND_US:
                break
        drain_link(worker, worker.ready_links[done], now_us)
        done += 1
    keep_rest(worker, done, began_us, now_us)


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
    drain_ready(worker, now_us)
    expire_early(worker, now_us)
    shed_turn(worker, now_us)
    mailbox_ring(&worker.events)


cdef int64_t next_turn_us(const worker_t* worker) noexcept nogil:
    """When a turn is due though nothing comes; -1: none is."""
    cdef int64_t due_us = wheel_next_us(&worker.wheel)
    cdef int64_t calm_us = overload_next_us(&worker.overload)
    return calm_us if due_us < 0 or 0 <= calm_us < due_us else due_us


cdef void run_on_sockets(worker_t* worker) noexcept nogil:
    cdef int64_t now_us = monotonic_us()
    cdef int64_t due_us, began_us
    cdef bint is_ready
    while not overlane_load_flag(&worker.stop):
        due_us = now_us if worker.ready_count > 0 else next_turn_us(worker)
        is_ready = socket_io_wait(worker, due_us, now_us)
        began_us = monotonic_us()
        begin_turn(worker, began_us)
        if is_ready:
            socket_io_receive(worker, began_us)
        end_turn(worker, monotonic_us())
        count(worker, TURNS)
        now_us = monotonic_us()
        worker.overload.busy_us += now_us - began_us
