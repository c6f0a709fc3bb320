"""Deadlines of links, in slots of 1 ms. A deadline further away than the wheel turns is put into
its last slot and set again by its owner when it fires early. `tick` is the newest wheel_pop's: each
turn pops before it sets.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free


cdef int wheel_open(wheel_t* wheel, int32_t entries) noexcept nogil:
    cdef int32_t i
    wheel.entries = <wheel_entry_t*>calloc(entries, sizeof(wheel_entry_t))
    if wheel.entries == NULL:
        return -1
    for i in range(entries):
        wheel.entries[i].due_us = -1
    for i in range(WHEEL_SLOTS):
        wheel.slots[i] = -1
    wheel.tick = 0
    wheel.count = 0
    return 0


cdef void wheel_close(wheel_t* wheel) noexcept nogil:
    free(wheel.entries)


cdef void wheel_cancel(wheel_t* wheel, int32_t entry) noexcept nogil:
    cdef wheel_entry_t* e = &wheel.entries[entry]
    if e.due_us < 0:
        return
    if e.previous >= 0:
        wheel.entries[e.previous].next = e.next
    else:
        wheel.slots[e.slot] = e.next
    if e.next >= 0:
        wheel.entries[e.next].previous = e.previous
    e.due_us = -1
    wheel.count -= 1


cdef void wheel_set(wheel_t* wheel, int32_t entry, int64_t due_us) noexcept nogil:
    """Arm or move a deadline. It fires in the first turn at or after the end of its tick."""
    cdef wheel_entry_t* e = &wheel.entries[entry]
    cdef int64_t tick = (due_us + WHEEL_TICK_US - 1) // WHEEL_TICK_US
    if due_us < 0:
        tick = 0
    if e.due_us == due_us and e.due_us >= 0:
        return
    wheel_cancel(wheel, entry)
    if tick < wheel.tick:
        tick = wheel.tick
    if tick > wheel.tick + WHEEL_SLOTS - 1:
        tick = wheel.tick + WHEEL_SLOTS - 1
    e.due_us = due_us if due_us >= 0 else 0
    e.slot = <int32_t>(tick & (WHEEL_SLOTS - 1))
    e.previous = -1
    e.next = wheel.slots[e.slot]
    if e.next >= 0:
        wheel.entries[e.next].previous = entry
    wheel.slots[e.slot] = entry
    wheel.count += 1


cdef int32_t wheel_pop(wheel_t* wheel, int64_t now_us) noexcept nogil:
    """An entry whose slot's time has come, taken out; -1 when there is none."""
    cdef int64_t now_tick = now_us // WHEEL_TICK_US
    cdef int32_t entry
    if wheel.count == 0:
        if now_tick > wheel.tick:
            wheel.tick = now_tick
        return -1
    if now_tick - wheel.tick > WHEEL_SLOTS:
        now_tick = wheel.tick + WHEEL_SLOTS
    while wheel.tick <= now_tick:
        entry = wheel.slots[wheel.tick & (WHEEL_SLOTS - 1)]
        if entry >= 0:
            wheel_cancel(wheel, entry)
            return entry
        if wheel.tick == now_tick:
            break
        wheel.tick += 1
    return -1


cdef int64_t wheel_next_us(const wheel_t* wheel) noexcept nogil:
    """When the next occupied slot is due; -1 if the wheel is empty."""
    cdef int64_t i
    cdef int64_t slot
    if wheel.count == 0:
        return -1
    for i in range(WHEEL_SLOTS):
        slot = (wheel.tick + i) & (WHEEL_SLOTS - 1)
        if wheel.slots[slot] >= 0:
            return (wheel.tick + i) * WHEEL_TICK_US
    return -1
