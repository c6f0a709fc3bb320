from libc.stdint cimport uint8_t


# RFC 7741 4.2: first octet of the payload descriptor, and the octet that X announces.
cdef enum:
    VP8_EXTENDED = 0x80          # X
    VP8_NON_REFERENCE = 0x20     # N
    VP8_PARTITION_START = 0x10   # S
    VP8_PARTITION_MASK = 0x07    # PID
    VP8_HAS_PICTURE_ID = 0x80    # I
    VP8_HAS_TL0PICIDX = 0x40     # L
    VP8_HAS_TID_OR_KEYIDX = 0x30 # T or K: they share one octet
    VP8_LONG_PICTURE_ID = 0x80   # M, in the PictureID's first octet
    VP8_MAX_DESCRIPTOR_BYTES = 6


# Bytes of the payload descriptor; 0 if it is truncated or nothing follows it.
cdef size_t vp8_descriptor_bytes(const uint8_t* payload, size_t size) noexcept nogil

# Marks of one packet (see marks.pxd), or -1 if it is malformed. `payload` is borrowed for the call.
cdef int vp8_marks(const uint8_t* payload, size_t size, int begins, bint marker) noexcept nogil
