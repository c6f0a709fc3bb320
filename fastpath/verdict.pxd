# Every packet ends in one verdict; the rest are counters of things that happen beside packets.
cpdef enum Verdict:
    # what became of a packet that arrived on an overlay port
    ACCEPTED                 # media, new to its ring
    ACCEPTED_LATE            # media, recovered or reordered, new to its ring
    HELD_EARLY               # media of a stream not yet known: kept for up to 1 s
    CONTROL_TAKEN
    FEEDBACK_TAKEN
    PROBE_TAKEN
    HELLO_TAKEN
    PADDING_TAKEN
    DUPLICATE_PACKET         # media already in its ring
    TOO_OLD_FOR_RING
    JUMP_UNCONFIRMED         # far ahead of the ring; a second consistent packet restarts it
    TRUNCATED
    WRONG_VERSION
    UNKNOWN_TYPE
    UNKNOWN_PEER
    NO_KEYS
    WRONG_EPOCH
    BEFORE_WINDOW            # older than the replay window
    BAD_TAG
    REPLAYED
    SOURCE_ROUTE_REFUSED     # this engine forwards by the Stream FIB only
    HOP_LIMIT_REACHED
    MALFORMED
    HELLO_RATE_LIMITED
    UNKNOWN_STREAM           # early media nobody claimed
    WRONG_UPSTREAM           # media of a known stream from a link it does not come from
    OVERSIZED
    NO_BLOCK_LEFT            # the slab was empty even after eviction
    # what became of a packet that arrived on an ingest port
    INGESTED
    INGEST_RTCP
    INGEST_PADDING           # padding-only: taken out and renumbered over
    INGEST_MALFORMED
    INGEST_UNASSIGNED
    INGEST_PAYLOAD_TYPE
    INGEST_OTHER_SSRC
    INGEST_OVERSIZED         # larger than a Stream-FIB leg carries: lower the encoder's packet size
    INGEST_DUPLICATE
    # beside packets
    VIEWER_INBOUND           # a datagram on a viewer port
    SENT_PACKETS
    SENT_BATCHES
    SEND_WOULD_BLOCK         # EAGAIN or ENOBUFS: packets of the batch count as lost on the link
    SEND_REFUSED             # ICMP unreachable and other errors
    RECEIVE_BATCHES
    RECEIVE_TRUNCATED
    CONTROL_UNSENT
    EVENTS_LOST
    LATE_QUEUE_FULL
    RING_GROWN
    RING_GROWTH_REFUSED
    EVICTED_FOR_SPACE
    EARLY_EVICTED
    COMMAND_STALE
    VERDICT_COUNT
