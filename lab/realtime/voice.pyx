"""What a viewer of real time says back: as those of virtual time do, by the same code. Sans-IO."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from lab.virtual.viewer_feedback cimport (
    FEEDBACK_BYTES_MAX, feedback_is_report_due, feedback_next_us, feedback_on_packet, feedback_on_rtcp,
    feedback_on_rtp, feedback_open, feedback_reported, feedback_write, feedback_write_arrivals, viewer_feedback_t,
)
from rtp.payload.rtp_header cimport RTP_HEADER_OK, parse_rtp_header, rtp_header_t


@cython.final
cdef class Voice:
    """See voice.pyi."""
    cdef viewer_feedback_t* feedback

    def __cinit__(self, uint8_t wanted, uint64_t seed):
        self.feedback = feedback_open(wanted, seed)
        if self.feedback == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.feedback)

    def on_packet(self, const uint8_t[::1] data not None, int64_t now_us):
        cdef rtp_header_t rtp
        if data.shape[0] > 0 and parse_rtp_header(&data[0], data.shape[0], &rtp) == RTP_HEADER_OK:
            feedback_on_packet(self.feedback, &data[0], <unsigned int>data.shape[0], now_us)

    def on_new(
        self, bint is_video, bint is_again, const uint8_t[::1] data not None, int64_t now_us
    ):
        cdef rtp_header_t rtp
        if data.shape[0] > 0 and parse_rtp_header(&data[0], data.shape[0], &rtp) == RTP_HEADER_OK:
            feedback_on_rtp(self.feedback, is_video, is_again, &rtp, now_us)

    def on_rtcp(self, bint is_video, const uint8_t[::1] data not None, int64_t now_us):
        if data.shape[0] > 0:
            feedback_on_rtcp(self.feedback, is_video, &data[0], <unsigned int>data.shape[0], now_us)

    def next_us(self):
        cdef int64_t due_us = feedback_next_us(self.feedback)
        return None if due_us < 0 else due_us

    def say(self, int64_t now_us):
        cdef uint8_t said[FEEDBACK_BYTES_MAX]
        cdef bint with_report = feedback_is_report_due(self.feedback, now_us)
        cdef size_t size
        cdef int medium
        cdef list found = []
        for medium in range(3):
            if medium < 2:
                size = feedback_write(self.feedback, medium == 0, with_report, now_us, said)
            else:
                size = feedback_write_arrivals(self.feedback, now_us, said)
            if size > 0:
                found.append((medium != 1, (<const char*>said)[:size]))
        if with_report:
            feedback_reported(self.feedback, now_us)
        return found

    @property
    def asked(self):
        return self.feedback.asked
