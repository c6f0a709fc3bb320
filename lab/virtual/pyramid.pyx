"""A group of B frames between two anchors, as encoders make them: the one in the middle is referenced by
those on both sides if there is more than one on either, and so on in each half. Those that nobody
references are discardable.

The anchor behind them is sent first, since all of them need it. It needs the anchor before it, so that
one is not named.
"""

from libc.stdint cimport uint8_t

cdef pyramid_t pyramids[MAX_B_FRAMES + 1]


cdef const pyramid_t* pyramid_of(int b_frames) noexcept nogil:
    """b_frames: 0 to MAX_B_FRAMES."""
    return &pyramids[b_frames]


cdef int put(pyramid_t* pyramid, int at, int first, int end, uint8_t needs):
    """The frames first to end - 1 in the order of display, from entry `at` on. Returns the next."""
    cdef int middle = (first + end) // 2
    if end - first >= 3:
        pyramid.place[at] = <uint8_t>middle
        pyramid.is_reference[at] = True
        pyramid.needs[at] = needs
        needs |= <uint8_t>(1 << (at + 1))
        at = put(pyramid, at + 1, first, middle, needs)
        return put(pyramid, at, middle + 1, end, needs)
    for middle in range(first, end):
        pyramid.place[at] = <uint8_t>middle
        pyramid.is_reference[at] = False
        pyramid.needs[at] = needs
        at += 1
    return at


cdef int made
for made in range(MAX_B_FRAMES + 1):
    put(&pyramids[made], 0, 0, made, 1)


def pyramid(int b_frames):
    if not 0 <= b_frames <= MAX_B_FRAMES:
        raise ValueError(f"0 to {MAX_B_FRAMES} B frames, not {b_frames}")
    cdef const pyramid_t* found = pyramid_of(b_frames)
    cdef int i
    return [(found.place[i], bool(found.is_reference[i]), found.needs[i]) for i in range(b_frames)]
