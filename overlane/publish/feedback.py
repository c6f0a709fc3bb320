"""What a node tells an encoder: RTCP that asks for a key frame. Pure; time is an argument."""

from rtp.constants import RTCP_PAYLOAD_FEEDBACK
from rtp.errors import RtpParseError
from rtp.rtcp.compound import parse_compound

_PLI_FORMAT = 1  # RFC 4585 6.3.1
_FIR_FORMAT = 4  # RFC 5104 4.3.1
# Ours: a key frame asked for twice within a round trip is one loss, not two.
MIN_REQUEST_INTERVAL_US = 500_000


class KeyFrameRequests:
    """Counts requests, and lets one through each half second."""

    def __init__(self) -> None:
        self.received = 0
        self._granted_us: int | None = None

    def receive_datagram(self, data: bytes, now_us: int) -> bool:
        """Whether to make a key frame now. Anything but a request is ignored."""
        if not _asks_for_key_frame(data):
            return False
        self.received += 1
        if self._granted_us is not None and now_us - self._granted_us < MIN_REQUEST_INTERVAL_US:
            return False
        self._granted_us = now_us
        return True


def _asks_for_key_frame(data: bytes) -> bool:
    try:
        packets = parse_compound(data)
    except RtpParseError:
        return False
    return any(
        packet.packet_type == RTCP_PAYLOAD_FEEDBACK and packet.count in (_PLI_FORMAT, _FIR_FORMAT)
        for packet in packets
    )
