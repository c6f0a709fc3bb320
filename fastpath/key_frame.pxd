# Asking for a key frame, towards the encoder.
from libc.stdint cimport int64_t
from fastpath.worker cimport worker_t

cdef void ask_for_key_frames(worker_t* worker, int64_t now_us) noexcept nogil
