"""Deadlines of links, in slots of 1 ms. A deadline further away than the wheel turns is put into
its last slot and set again by its owner when it fires early. `tick` is the newest wheel_pop's: each
turn pops before it sets.

What is empty is passed over by its bits: 16 words tell the next slot in use, whatever the number of
links, and one bit tells that an idle viewer's link stands in none.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef extern from *:
    int lowest_bit "__builtin_ctzll"(unsigned long long) nogil


cdef int wheel_open(wheel_t* wheel, int32_t entries) noexcept nogil:
    cdef int32_t i
    wheel.entries = <wheel_entry_t*>calloc(entries, sizeof(wheel_entry_t))
    wheel.armed = <uint64_t*>calloc((<size_t>entries + 63) // 64, sizeof(uint64_t))
    if wheel.entries == NULL or wheel.armed == NULL:
        return -1
    for i in range(WHEEL_WORDS):
        wheel.occupied[i] = 0
    for i in range(WHEEL_SLOTS):
        wheel.slots[i] = -1
    wheel.tick = 0
    wheel.count = 0
    return 0


cdef void wheel_close(wheel_t* wheel) noexcept nogil:
    free(wheel.entries)
    free(wheel.armed)


cdef void wheel_cancel(wheel_t* wheel, int32_t entry) noexcept nogil:
    cdef wheel_entry_t* e = &wheel.entries[entry]
    if not (wheel.armed[entry >> 6] >> (entry & 63)) & 1:
        return
    if e.previous >= 0:
        wheel.entries[e.previous].next = e.next
    else:
        wheel.slots[e.slot] = e.next
        if e.next < 0:
            wheel.occupied[e.slot >> 6] &= ~(<uint64_t>1 << (e.slot & 63))
    if e.next >= 0:
        wheel.entries[e.next].previous = e.previous
    wheel.armed[entry >> 6] &= ~(<uint64_t>1 << (entry & 63))
    wheel.count -= 1


cdef void wheel_set(wheel_t* wheel, int32_t entry, int64_t due_us) noexcept nogil:
    """Arm or move a deadline. It fires in the first turn at or after the end of its tick."""
    cdef wheel_entry_t* e = &wheel.entries[entry]
    cdef int64_t tick = (due_us + WHEEL_TICK_US - 1) // WHEEL_TICK_US
    if due_us < 0:
        due_us = 0
        tick = 0
    if (wheel.armed[entry >> 6] >> (entry & 63)) & 1:
        if e.due_us == due_us:
            return
        wheel_cancel(wheel, entry)
    if tick < wheel.tick:
        tick = wheel.tick
    if tick > wheel.tick + WHEEL_SLOTS - 1:
        tick = wheel.tick + WHEEL_SLOTS - 1
    e.due_us = due_us
    e.slot = <int32_t>(tick & (WHEEL_SLOTS - 1))
    e.previous = -1
    e.next = wheel.slots[e.slot]
    if e.next >= 0:
        wheel.entries[e.next].previous = entry
    wheel.slots[e.slot] = entry
    wheel.occupied[e.slot >> 6] |= <uint64_t>1 << (e.slot & 63)
    wheel.armed[entry >> 6] |= <uint64_t>1 << (entry & 63)
    wheel.count += 1


cdef int64_t ticks_to_next(const wheel_t* wheel) noexcept nogil:
    """From `tick` to the first slot in use, which there must be: at most once around."""
    cdef int64_t passed = 0
    cdef int64_t slot
    cdef uint64_t here
    while passed < WHEEL_SLOTS:
        slot = (wheel.tick + passed) & (WHEEL_SLOTS - 1)
        here = wheel.occupied[slot >> 6] >> (slot & 63)
        if here != 0:
            return passed + lowest_bit(here)
        passed += 64 - (slot & 63)
    return passed


cdef int32_t wheel_pop(wheel_t* wheel, int64_t now_us) noexcept nogil:
    """An entry whose slot's time has come, taken out; -1 when there is none."""
    cdef int64_t now_tick = now_us // WHEEL_TICK_US
    cdef int64_t due_tick
    cdef int32_t entry
    if wheel.count == 0:
        if now_tick > wheel.tick:
            wheel.tick = now_tick
        return -1
    if now_tick < wheel.tick:
        return -1
    due_tick = wheel.tick + ticks_to_next(wheel)
    if due_tick > now_tick:
        wheel.tick = now_tick
        return -1
    wheel.tick = due_tick
    entry = wheel.slots[due_tick & (WHEEL_SLOTS - 1)]
    wheel_cancel(wheel, entry)
    return entry


cdef int64_t wheel_next_us(const wheel_t* wheel) noexcept nogil:
    """When the next occupied slot is due; -1 if the wheel is empty."""
    if wheel.count == 0:
        return -1
    return (wheel.tick + ticks_to_next(wheel)) * WHEEL_TICK_US
