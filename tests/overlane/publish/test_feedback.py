"""Key frame requests: PLI and FIR, not more often than each half second."""

import pytest

from overlane.publish.feedback import KeyFrameRequests
from rtp.rtcp.compound import RtcpPacket

PLI = RtcpPacket(206, 1, bytes(8)).serialise()
FIR = RtcpPacket(206, 4, bytes(16)).serialise()
NACK = RtcpPacket(205, 1, bytes(12)).serialise()


@pytest.mark.parametrize("request_bytes", [PLI, FIR, NACK + PLI])
def test_a_request_is_granted(request_bytes: bytes) -> None:
    assert KeyFrameRequests().receive_datagram(request_bytes, 0)


@pytest.mark.parametrize("data", [b"", b"\x80", NACK, PLI[:-1], bytes(40)])
def test_anything_else_is_ignored(data: bytes) -> None:
    requests = KeyFrameRequests()
    assert not requests.receive_datagram(data, 0)
    assert requests.received == 0


def test_requests_within_half_a_second_are_one() -> None:
    requests = KeyFrameRequests()
    granted = [requests.receive_datagram(PLI, time_us) for time_us in (0, 499_999, 500_000)]
    assert granted == [True, False, True]
    assert requests.received == 3
