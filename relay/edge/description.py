"""The session description that a player of plain RTP opens (RFC 8866).

In: a broadcast's tracks and where the player listens. Out: text, or Refused if nothing of it can
be described. Feedback is offered under RTP/AVPF (RFC 4585): NACK and PLI are answered, from
whichever port they come; where RTX (RFC 4588) is wanted, NACK is answered by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from relay.edge.plain_rtp import NO_EXTENSIONS, Extensions, Leg, RtcpMode, Viewer
from relay.errors import RefusalCode, Refused
from relay.messages import Track
from rtp.constants import TRANSPORT_CC_URI
from rtp.errors import RtpValueError
from rtp.sdp import Direction, MediaDescription, PayloadFormat, SessionDescription, write
from service.address import Address

_FEEDBACK = {"video": ("nack", "nack pli", "ccm fir"), "audio": ("nack",)}
DELAY_URI = "urn:overlane:rtp-hdrext:delay"
"""u16, 0.25 ms: how long since the producer took the packet in (LiveNet 6.1)."""
_OPUS_CHANNELS = 2  # RFC 7587 7: always, whatever is sent


def describe(
    name: str,
    tracks: Iterable[Track],
    addresses: Mapping[str, Address],
    rtcp: RtcpMode,
    rtx_payload_type: int | None = None,
    extensions: Extensions = NO_EXTENSIONS,
) -> str:
    """Of the tracks that have an address in `addresses`, by "video" and "audio"."""
    viewer = Viewer(0, name, addresses, None, None, rtcp, rtx_payload_type, *extensions)
    media = [_medium(track, viewer) for track in tracks if track.media in addresses]
    return _text(name, media, addresses)


def describe_viewer(viewer: Viewer) -> str:
    """Of what a viewer is sent, its SSRCs included."""
    media = [_medium(leg.stream.track, viewer, leg) for leg in viewer.legs.values()]
    return _text(viewer.broadcast, media, viewer.addresses)


def _text(name: str, media: list[MediaDescription], wanted: Iterable[str]) -> str:
    if not media:
        raise Refused(RefusalCode.BAD_REQUEST, f"{name} has no {' or '.join(wanted)}")
    try:
        return write(SessionDescription(tuple(media), name=name))
    except RtpValueError as error:  # a multicast group
        raise Refused(RefusalCode.BAD_REQUEST, f"there is no SDP for this: {error}") from None


def _formats(track: Track, viewer: Viewer) -> Iterator[PayloadFormat]:
    feedback = _FEEDBACK[track.media]
    if viewer.transport_cc_of(track.media):
        feedback += ("transport-cc",)
    yield PayloadFormat(
        payload_type=track.payload_type,
        codec=track.codec,
        clock_rate=track.clock_rate,
        channels=_OPUS_CHANNELS if track.codec == "opus" else 1,
        fmtp=track.fmtp.strip(),
        rtcp_feedback=feedback,
    )
    rtx_payload_type = viewer.rtx_type(track.media, track.payload_type)
    if rtx_payload_type is not None:  # RFC 4588 8.1
        yield PayloadFormat(
            rtx_payload_type, "rtx", track.clock_rate, fmtp=f"apt={track.payload_type}"
        )


def _medium(track: Track, viewer: Viewer, leg: Leg | None = None) -> MediaDescription:
    host, port = viewer.addresses[track.media]
    ids = {
        TRANSPORT_CC_URI: viewer.transport_cc_of(track.media),
        DELAY_URI: viewer.delay_id,
    }
    return MediaDescription(
        media=track.media,
        port=port,
        address=host,
        formats=tuple(_formats(track, viewer)),
        protocol="RTP/AVPF",
        direction=Direction.SENDONLY,
        rtcp_mux=viewer.rtcp == "mux",
        extensions={uri: number for uri, number in ids.items() if number},
        ssrc=leg.ssrc if leg else None,
        cname=viewer.cname if leg else None,
        rtx_ssrc=leg.rtx_ssrc
        if leg and viewer.rtx_type(track.media, track.payload_type) is not None
        else None,
    )
