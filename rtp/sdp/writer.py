"""Session descriptions written, as players and encoders read them from a file or an answer.

In: a description. Out: its text, which `parser` reads back to an equal one, or an RtpValueError for
what SDP cannot hold. No TTL is written, so no IPv4 multicast address is either (RFC 8866 5.7).
"""

from collections.abc import Iterator
from ipaddress import ip_address

from rtp.constants import RTP_MAX_PAYLOAD_TYPE
from rtp.errors import RtpValueError
from rtp.sdp.description import (
    ADDRESS,
    MAX_CHANNELS,
    MAX_CHARACTERS,
    MAX_EXTENSION_ID,
    MAX_MEDIA,
    MAX_SESSION_ID,
    PROTOCOL,
    TOKEN,
    URI,
    MediaDescription,
    PayloadFormat,
    SessionDescription,
)


def write(description: SessionDescription) -> str:
    """The text, with CR LF at each line's end. Raises RtpValueError."""
    text = "".join(f"{line}\r\n" for line in _session_lines(description))
    if len(text) > MAX_CHARACTERS or len(description.media) > MAX_MEDIA:
        raise RtpValueError(f"{len(text)} characters, {len(description.media)} media")
    return text


def _session_lines(description: SessionDescription) -> Iterator[str]:
    _check_text("name", description.name)
    _check_range("session_id", description.session_id, MAX_SESSION_ID)
    _check_range("session_version", description.session_version, MAX_SESSION_ID)
    yield "v=0"
    origin = _address(description.origin_address)
    yield f"o=- {description.session_id} {description.session_version} {origin}"
    yield f"s={description.name}"
    addresses = {medium.address for medium in description.media}
    shared = len(addresses) == 1
    if shared:
        yield f"c={_unicast(addresses.pop())}"
    yield "t=0 0"
    for medium in description.media:
        yield from _medium_lines(medium, shared)


def _medium_lines(medium: MediaDescription, address_is_shared: bool) -> Iterator[str]:
    _check_medium(medium)
    payload_types = " ".join(str(each.payload_type) for each in medium.formats)
    yield f"m={medium.media} {medium.port} {medium.protocol} {payload_types}"
    if not address_is_shared:
        yield f"c={_unicast(medium.address)}"
    for each in medium.formats:
        yield from _format_lines(each)
    yield f"a={medium.direction.value}"
    if medium.rtcp_port is not None:
        yield f"a=rtcp:{medium.rtcp_port}"
    if medium.rtcp_mux:
        yield "a=rtcp-mux"
    if medium.rtx_ssrc is not None:
        yield f"a=ssrc-group:FID {medium.ssrc} {medium.rtx_ssrc}"
    for uri, number in medium.extensions.items():
        yield f"a=extmap:{number} {uri}"
    if medium.ssrc is not None:
        yield f"a=ssrc:{medium.ssrc} cname:{medium.cname}"
    if medium.rtx_ssrc is not None:
        yield f"a=ssrc:{medium.rtx_ssrc} cname:{medium.cname}"


def _format_lines(each: PayloadFormat) -> Iterator[str]:
    _check_range("payload_type", each.payload_type, RTP_MAX_PAYLOAD_TYPE)
    _check_range("clock_rate", each.clock_rate, 0xFFFFFFFF, lowest=1)
    _check_range("channels", each.channels, MAX_CHANNELS, lowest=1)
    if not TOKEN.fullmatch(each.codec):
        raise RtpValueError(f"codec is {each.codec!r}")
    channels = f"/{each.channels}" if each.channels > 1 else ""
    yield f"a=rtpmap:{each.payload_type} {each.codec}/{each.clock_rate}{channels}"
    if each.fmtp:
        _check_text("fmtp", each.fmtp)
        yield f"a=fmtp:{each.payload_type} {each.fmtp}"
    for what in each.rtcp_feedback:
        _check_text("rtcp_feedback", what)
        yield f"a=rtcp-fb:{each.payload_type} {what}"


def _check_medium(medium: MediaDescription) -> None:
    payload_types = [each.payload_type for each in medium.formats]
    if not payload_types or len(set(payload_types)) != len(payload_types):
        raise RtpValueError(f"payload types are {payload_types}")
    if not TOKEN.fullmatch(medium.media) or not PROTOCOL.fullmatch(medium.protocol):
        raise RtpValueError(f"media is {medium.media!r}, protocol {medium.protocol!r}")
    _check_range("port", medium.port, 0xFFFF)
    if medium.rtcp_port is not None:
        _check_range("rtcp_port", medium.rtcp_port, 0xFFFF)
    for uri, number in medium.extensions.items():
        _check_range("extension id", number, MAX_EXTENSION_ID, lowest=1)
        if not URI.fullmatch(uri):
            raise RtpValueError(f"extension is {uri!r}")
    if len(set(medium.extensions.values())) != len(medium.extensions):
        raise RtpValueError(f"extensions are {dict(medium.extensions)}")
    if (medium.ssrc is None) != (medium.cname is None):
        raise RtpValueError("ssrc and cname go together")
    if medium.ssrc is not None:
        _check_range("ssrc", medium.ssrc, 0xFFFFFFFF)
    if medium.cname is not None:
        _check_text("cname", medium.cname)
    if medium.rtx_ssrc is not None:
        _check_range("rtx_ssrc", medium.rtx_ssrc, 0xFFFFFFFF)
        if medium.ssrc is None or medium.ssrc == medium.rtx_ssrc:
            raise RtpValueError("rtx_ssrc belongs to another ssrc")


def _address(address: str) -> str:
    if not ADDRESS.fullmatch(address):
        raise RtpValueError(f"address is {address!r}")
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"


def _unicast(address: str) -> str:
    written = _address(address)
    try:
        is_multicast = ip_address(address).is_multicast
    except ValueError:  # a host's name
        is_multicast = False
    if is_multicast:
        raise RtpValueError(f"{address} is multicast")
    return written


def _check_text(name: str, text: str) -> None:
    """One line with something in it, and no space at its ends, which readers take off."""
    if not text or text != text.strip() or not text.isprintable():
        raise RtpValueError(f"{name} is {text!r}")


def _check_range(name: str, value: int, highest: int, lowest: int = 0) -> None:
    if not lowest <= value <= highest:
        raise RtpValueError(f"{name} is {value}, outside {lowest}..{highest}")
