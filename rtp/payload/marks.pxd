# Frame marks as the overlay header carries them (5 bits). Every packet has some of them.
cdef enum:
    MARK_GOP_START = 1     # first packet of a key frame
    MARK_FRAME_END = 2     # last packet of an access unit
    MARK_FRAME_START = 4   # first packet of an access unit
    MARK_DISCARDABLE = 8   # no other frame refers to this one
    MARK_KEY = 16          # belongs to a key frame
