"""Session descriptions of RTP sessions (RFC 8866): read those of senders, write those for players.

`description` has the values, `parser` makes them of text, `writer` makes text of them.
"""

from rtp.sdp.description import (
    Direction,
    MediaDescription,
    PayloadFormat,
    SessionDescription,
)
from rtp.sdp.parser import parse
from rtp.sdp.writer import write

__all__ = [
    "Direction",
    "MediaDescription",
    "PayloadFormat",
    "SessionDescription",
    "parse",
    "write",
]
