"""The names of the frame marks in Python; `marks.pxd` is the definition that native code uses.

A test compares the two. Marks travel in the overlay header, set once by the node that parsed the
codec, so that no other node parses media.
"""

from enum import IntFlag


class Marks(IntFlag):
    """Five bits of each packet; see `marks.pxd`."""

    GOP_START = 1
    FRAME_END = 2
    FRAME_START = 4
    DISCARDABLE = 8
    KEY = 16
