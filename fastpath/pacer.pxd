# What rate control keeps of a link; one without (a fixed rate) has none of it.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.rate.controller cimport rate_t
from fastpath.rate.types cimport probe_t, rate_config_t

cdef enum:
    # of transport_t.bytes; packets are smaller
    TOLD_LOST = 0x8000
    LEFT_FAST = 0x4000           # of a video key frame
    SIZE_MASK = 0x3FFF
    CLUSTERS = 8                 # of probes, remembered: several follow each other within a round trip
    TRANSPORT_HISTORY = 1024     # sent to a viewer, remembered: 2 s at 5 Mbit/s

ctypedef struct cluster_t:       # what left under these numbers belongs to one probe
    uint32_t id
    uint64_t first
    uint64_t last

ctypedef struct transport_t:     # what left to a viewer under a transport number
    uint32_t sent_us             # low 32 bits
    uint16_t number
    uint16_t bytes               # 0: nothing, or the controller knows what became of it

ctypedef struct pacer_t:
    rate_config_t config
    rate_t rate
    int64_t next_tick_us
    bint is_heard                # somebody tells of what is sent; until then no silence means anything
    uint64_t noted_bytes         # of what the link has sent, those that the controller knows of
    # what is under way
    uint64_t numbers_before      # of what is told of, when this draining began
    int64_t newest_sent_us       # of media
    int64_t untold_since_us      # media sent then, or soon after, is the oldest without news; -1: there is none
    int64_t base_rtt_us[2]       # least round trip of this period and of the one before; 0: not measured
    int64_t base_until_us        # end of this period
    int64_t news_us              # how long the newest news took: round trip, queue, and the wait for a report
    int64_t withheld_us          # something waited then because news was overdue
    bint is_late                 # news is overdue
    # the probe under way
    bint is_probing
    probe_t probe
    int64_t probe_until_us       # it is ended then, whether or not it is whole
    int64_t needed_bps           # what there would be to send, by who decides what is; see rate_config_t
    int64_t left_out_us          # last time that frames were left out for the viewer; 0: not lately
    int64_t held_until_us        # a viewer's next one waits until then for what it can be made of; 0: none does
    uint32_t padded              # packets back from the newest that its viewer was sent, what fills it has come
    uint64_t probe_from_bytes    # that the link had sent when it began
    uint64_t probe_from_number   # last used then: sound without numbers is no part of it
    cluster_t clusters[CLUSTERS]
    uint32_t cluster_count
    # of a viewer with packet feedback (fastpath/transport_feedback)
    transport_t* transport       # TRANSPORT_HISTORY, or NULL
    uint64_t transport_number    # last used; its low 16 bits are on the wire
    uint64_t frames_numbered     # packets with the marker among these: ends of video frames
    int64_t reference            # newest base of its reports' times, unwrapped
    uint16_t report_end          # what its newest report, of this count, ends before
    uint8_t report
    bint has_report
    # figures, over whole seconds
    int64_t figures_us           # since when
    uint64_t acked_bytes
    uint32_t told_packets
    uint32_t told_lost
    int64_t acked_bps            # of the last second
    uint32_t loss_millionths
    uint64_t feedbacks
