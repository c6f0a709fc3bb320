# Lock-free single-producer single-consumer boxes between Python and a worker.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from fastpath.address cimport address_t

cdef enum:
    MESSAGE_BYTES = 1400         # largest control payload; fits a Stream-FIB leg
    MAILBOX_MESSAGES = 2048      # 3 MiB a box; a burst of this many commands or events fits

cdef enum MessageKind:
    # commands
    OPEN_PORT
    CLOSE_PORT
    ADD_LINK
    REMOVE_LINK
    OFFER_KEYS
    SEND_HELLO
    SEND_CONTROL
    SET_LINK_RATE
    SET_NEEDED
    ADD_STREAM
    REMOVE_STREAM
    SET_INGEST
    SET_UPSTREAM
    ADD_CURSOR
    REMOVE_CURSOR
    MOVE_CURSOR
    MARK_COPY
    SWITCH_CURSOR
    # events
    EVENT_HELLO
    EVENT_CONTROL
    EVENT_LINK_KEYED
    EVENT_LINK_UP
    EVENT_LINK_DOWN
    EVENT_CURSOR_STARTED
    EVENT_STREAM_STARTED
    EVENT_KEY_FRAME_WANTED
    EVENT_INGEST_SOURCE
    EVENT_FALLBACK
    EVENT_VIEWER_PAUSED
    EVENT_LINK_MOVED
    EVENT_UPSTREAM_FLOWS
    EVENT_OVERLOAD
    EVENT_VIEWER_LAGS
    EVENT_VIEWER_SWITCHED

ctypedef struct message_t:
    uint32_t kind
    int64_t handle               # what it is about
    int64_t stream
    int64_t link
    int64_t port
    int64_t number               # rate, stream_id, fd, errno or microseconds, as the kind needs
    uint32_t stream_seq
    uint32_t ssrc
    uint32_t tag
    uint16_t sequence_number
    uint8_t payload_type
    uint8_t kind_of              # port kind, media, codec or fallback
    uint8_t flag                 # or the header extension's id of an ingest
    address_t address
    address_t rtcp_address       # port 0: none
    uint32_t group
    uint32_t clock_rate
    uint32_t deadline_us
    uint32_t rtx_ssrc
    uint16_t rtx_number
    uint8_t rtx_payload_type     # 0: none
    uint8_t asks_again
    uint8_t key_a[16]
    uint8_t key_b[16]
    uint32_t payload_bytes
    uint8_t payload[MESSAGE_BYTES]

ctypedef struct mailbox_t:
    message_t* messages
    uint64_t written             # by the producer alone
    uint8_t apart[56]            # keeps the two counters on different cache lines
    uint64_t read                # by the consumer alone
    int32_t eventfd
    bint is_rung                 # producer's memory: something was posted since the last ring

cdef int mailbox_open(mailbox_t* box) noexcept nogil
cdef void mailbox_close(mailbox_t* box) noexcept nogil
cdef message_t* mailbox_reserve(mailbox_t* box) noexcept nogil
cdef uint64_t mailbox_free(const mailbox_t* box) noexcept nogil
cdef void mailbox_post(mailbox_t* box) noexcept nogil
cdef void mailbox_ring(mailbox_t* box) noexcept nogil
cdef message_t* mailbox_first(mailbox_t* box) noexcept nogil
cdef void mailbox_done(mailbox_t* box) noexcept nogil
cdef void mailbox_clear_bell(mailbox_t* box) noexcept nogil
