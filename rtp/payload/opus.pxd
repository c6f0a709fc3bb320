from libc.stdint cimport uint8_t


# Marks of one packet (see marks.pxd), or -1 if it is empty. `payload` is borrowed for the call.
cdef int opus_marks(const uint8_t* payload, size_t size) noexcept nogil
