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
    INGEST_RTCP              # sender reports and whatever comes with them
    INGEST_RTCP_MALFORMED
    INGEST_RTCP_UNKNOWN      # of an SSRC that sends nothing here
    INGEST_PADDING           # padding-only: taken out and renumbered over
    INGEST_MALFORMED
    INGEST_UNASSIGNED
    INGEST_PAYLOAD_TYPE
    INGEST_OTHER_SSRC
    INGEST_OVERSIZED         # too large for a link and not to be split: lower the encoder's packet size
    INGEST_SPLIT             # too large for a link: sent on as several packets
    INGEST_LATE_SPLIT        # the same, but overtaken: there are no numbers left for its pieces
    INGEST_PARAMETER_SETS    # SPS and PPS of the configuration put before a key frame without
    INGEST_DUPLICATE
    INGEST_RTX_MALFORMED     # RTX without a packet in it, of a track that has not begun, or from elsewhere
    # beside packets
    VIEWER_REPORT            # RTCP of a viewer served here
    VIEWER_UNKNOWN           # RTCP that names no SSRC sent to that host
    VIEWER_MALFORMED         # anything else on a viewer port
    VIEWER_NACK_TOO_OLD      # asks for what was sent before a restart of its numbers, or not held
    VIEWER_RESEND_SUPPRESSED # asked for again within a round trip
    VIEWER_RESEND_REFUSED    # beyond a quarter of what it is sent
    VIEWER_PADDING           # sent once more as RTX, unasked, to fill a probe
    VIEWER_PAUSED            # ICMP: its host or port refuses
    INGEST_ASKED_AGAIN       # packets an encoder was asked for with NACK
    INGEST_REPAIRED          # of those that came in RTX, new to their ring
    KEY_REQUESTS_MERGED      # one is wanted already, and has not come yet
    PEER_MOVED               # a neighbour came back with another address
    STRANGER_RATE_LIMITED    # HELLOs from unknown addresses beyond the few that are looked at
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
    START_NOT_HELD           # a node's cursor was to begin at a packet that the ring no longer holds
    COMMAND_STALE
    LATE_POOL_EMPTY          # what is to leave late shares a bounded pool (fastpath/late)
    # overload: media that was shed, first to last (SHED_KINDS of them in overload.pxd)
    SHED_DISCARDABLE         # of frames that no other frame refers to
    SHED_VIDEO               # of streams that are shed whole
    SHED_UNTIL_KEY           # of streams that are not any more, until their next key frame
    SHED_UNCHECKED_VIDEO     # before the tag was checked
    SHED_AUDIO
    SHED_UNCHECKED_AUDIO
    SHED_REPAIR              # asked for again, and answered GONE
    SOCKET_DROPPED           # by the kernel: a socket's queue was full
    # viewers whose link is too slow: packets they were not sent (DROP_KINDS of them in cursor.pxd)
    DROPPED_DISCARDABLE      # of frames that no other frame refers to
    DROPPED_PREDICTED        # up to the next key frame
    DROPPED_GOP              # a key frame or the rest of a frame, and what followed
    SKIPPED_UPSTREAM         # numbers of whole frames that an overloaded node upstream left out
    # how the worker waits
    TURNS
    WAKE_UPS                 # sleeps that ended
    SPINS                    # waits that something ended before they became sleeps
    EMPTY_SPINS              # waits awake that nothing ended
    VERDICT_COUNT
