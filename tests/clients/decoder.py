"""What a decoder complains of."""

from __future__ import annotations

import re

# As libavcodec says it of H.264 and others; not of what the network or a muxer did.
_COMPLAINTS = re.compile(
    r"error while decoding|corrupt|concealing|missing (picture|reference)|Missing reference"
    r"|non-existing PPS|decode_slice_header|no frame!|Invalid data|frame num gap|Frame num gap"
    r"|co located POCs unavailable|mmco: unref|number of reference frames",
)


def decode_errors(text: str) -> int:
    """How many lines tell of a picture that could not be decoded as it was meant."""
    return sum(1 for line in text.splitlines() if _COMPLAINTS.search(line))
