"""What cannot be described is refused in one line."""

from __future__ import annotations

import pytest

from relay.edge.description import DELAY_URI, TRANSPORT_CC_URI, describe
from relay.edge.plain_rtp import Extensions
from relay.errors import RefusalCode, Refused
from relay.messages import Track
from rtp.sdp import parse

VIDEO = Track(
    stream_id=1,
    media="video",
    codec="H264",
    payload_type=96,
    clock_rate=90_000,
    first_stream_seq=0,
    fmtp=" packetization-mode=1 ",
)


def test_spaces_around_the_format_parameters_do_no_harm() -> None:
    text = describe("demo", [VIDEO], {"video": ("192.0.2.1", 6000)}, "next")
    assert parse(text).media[0].formats[0].fmtp == "packetization-mode=1"


def test_header_extensions_are_named_as_they_were_asked_for() -> None:
    addresses = {"video": ("192.0.2.1", 6000)}
    (plain,) = parse(describe("demo", [VIDEO], addresses, "next")).media
    assert plain.extensions == ()
    text = describe("demo", [VIDEO], addresses, "next", Extensions(3, 14))
    (medium,) = parse(text).media
    assert medium.extensions == ((3, TRANSPORT_CC_URI), (14, DELAY_URI))
    assert "transport-cc" in medium.formats[0].rtcp_feedback
    (delayed,) = parse(describe("demo", [VIDEO], addresses, "next", Extensions(delay=1))).media
    assert delayed.extensions == ((1, DELAY_URI),)
    assert "transport-cc" not in delayed.formats[0].rtcp_feedback


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        ({"audio": ("192.0.2.1", 6000)}, "demo has no audio"),
        ({"video": ("239.1.1.1", 6000)}, "there is no SDP for this: 239.1.1.1 is multicast"),
    ],
)
def test_what_sdp_cannot_say_is_refused(addresses: dict[str, tuple[str, int]], text: str) -> None:
    with pytest.raises(Refused) as raised:
        describe("demo", [VIDEO], addresses, "next")
    assert (str(raised.value), raised.value.code) == (text, RefusalCode.BAD_REQUEST)
