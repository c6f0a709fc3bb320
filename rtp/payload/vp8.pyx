"""Frame marks of one VP8 RTP payload (RFC 7741).

In: the payload without RTP header and padding; the marker bit; `begins` as for H.264: 1 if its
timestamp differs from the preceding packet's, 0 if it is the same, -1 if the preceding packet is
unknown. Out: marks, or -1 for a truncated descriptor or a payload with nothing behind it.

- FRAME_START: S=1 and PID=0, which only a frame's first packet has (4.2), whatever `begins` says: a
  hidden frame may share its timestamp with the next one. A new timestamp is a start as well, for
  senders that leave S out.
- KEY and GOP_START: the first packet of a key frame. Only that packet holds the payload header with
  its P bit (4.3), so the other packets of a key frame are not KEY: who wants it for them remembers
  the timestamp of the last GOP_START. Where it holds that much, the start code of a key frame
  (RFC 6386 9.1) must be there too, so that no other data passes for one.
- DISCARDABLE: the N bit, on each packet that is not KEY. FRAME_END: marker.
"""

from libc.stdint cimport uint8_t

from rtp.payload.marks cimport (
    MARK_DISCARDABLE,
    MARK_FRAME_END,
    MARK_FRAME_START,
    MARK_GOP_START,
    MARK_KEY,
)


cdef size_t vp8_descriptor_bytes(const uint8_t* payload, size_t size) noexcept nogil:
    cdef size_t need = 1
    if size < 1:
        return 0
    if payload[0] & VP8_EXTENDED:
        if size < 2:
            return 0
        need = 2
        if payload[1] & VP8_HAS_PICTURE_ID:
            if size < 3:
                return 0
            need += 2 if payload[2] & VP8_LONG_PICTURE_ID else 1
        if payload[1] & VP8_HAS_TL0PICIDX:
            need += 1
        if payload[1] & VP8_HAS_TID_OR_KEYIDX:
            need += 1
    return need if need < size else 0


# `data` begins with the payload header: the P bit is 0, and no other start code is seen.
cdef inline bint opens_key_frame(const uint8_t* data, size_t size) noexcept nogil:
    if size < 1 or data[0] & 0x01:
        return False
    if size < 6:
        return True
    return data[3] == 0x9D and data[4] == 0x01 and data[5] == 0x2A


cdef int vp8_marks(const uint8_t* payload, size_t size, int begins, bint marker) noexcept nogil:
    cdef size_t descriptor_bytes = vp8_descriptor_bytes(payload, size)
    cdef bint opens
    cdef int marks = 0
    if descriptor_bytes == 0 or size < 1:
        return -1
    opens = payload[0] & (VP8_PARTITION_START | VP8_PARTITION_MASK) == VP8_PARTITION_START
    if opens and opens_key_frame(payload + descriptor_bytes, size - descriptor_bytes):
        marks |= MARK_KEY | MARK_GOP_START
    elif payload[0] & VP8_NON_REFERENCE:
        marks |= MARK_DISCARDABLE
    if opens or begins > 0:
        marks |= MARK_FRAME_START
    if marker:
        marks |= MARK_FRAME_END
    return marks


def descriptor_bytes(const uint8_t[::1] payload not None):
    cdef size_t size = payload.shape[0]
    return vp8_descriptor_bytes(&payload[0] if size else NULL, size)


def marks(const uint8_t[::1] payload not None, int begins, bint marker):
    cdef size_t size = payload.shape[0]
    cdef int found = vp8_marks(&payload[0] if size else NULL, size, begins, marker)
    return None if found < 0 else found
