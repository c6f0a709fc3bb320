"""The session description that a player of plain RTP opens (RFC 8866).

In: a broadcast's tracks and where the player listens. Out: text, or Refused if nothing of it can
be described. Feedback is offered under RTP/AVPF (RFC 4585): NACK and PLI are answered, from
whichever port they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relay.edge.plain_rtp import NO_EXTENSIONS, Extensions, RtcpMode, Viewer
from relay.errors import RefusalCode, Refused
from relay.messages import Track
from rtp.errors import RtpValueError
from rtp.sdp import Direction, MediaDescription, PayloadFormat, SessionDescription, write
from service.address import Address

_FEEDBACK = {"video": ("nack", "nack pli", "ccm fir"), "audio": ("nack",)}
TRANSPORT_CC_URI = (
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"  # its section 5
)
DELAY_URI = "urn:overlane:rtp-hdrext:delay"
"""u16, 0.25 ms: how long since the producer took the packet in (LiveNet 6.1)."""
_OPUS_CHANNELS = 2  # RFC 7587 7: always, whatever is sent


def describe(
    name: str,
    tracks: Iterable[Track],
    addresses: Mapping[str, Address],
    rtcp: RtcpMode,
    extensions: Extensions = NO_EXTENSIONS,
) -> str:
    """Of the tracks that have an address in `addresses`, by "video" and "audio"."""
    media = [
        _medium(track, addresses[track.media], rtcp, extensions)
        for track in tracks
        if track.media in addresses
    ]
    return _text(name, media, addresses)


def describe_viewer(viewer: Viewer) -> str:
    """Of what a viewer is sent, its SSRCs included."""
    media = [
        _medium(
            leg.stream.track,
            viewer.addresses[kind],
            viewer.rtcp,
            Extensions(viewer.transport_cc_id, viewer.delay_id),
            ssrc=leg.ssrc,
            cname=viewer.cname,
        )
        for kind, leg in viewer.legs.items()
    ]
    return _text(viewer.broadcast, media, viewer.addresses)


def _text(name: str, media: list[MediaDescription], wanted: Iterable[str]) -> str:
    if not media:
        raise Refused(RefusalCode.BAD_REQUEST, f"{name} has no {' or '.join(wanted)}")
    try:
        return write(SessionDescription(tuple(media), name=name))
    except RtpValueError as error:  # a multicast group
        raise Refused(RefusalCode.BAD_REQUEST, f"there is no SDP for this: {error}") from None


def _medium(
    track: Track,
    address: Address,
    rtcp: RtcpMode,
    extensions: Extensions,
    *,
    ssrc: int | None = None,
    cname: str | None = None,
) -> MediaDescription:
    host, port = address
    feedback = _FEEDBACK[track.media]
    if extensions.transport_cc:
        feedback += ("transport-cc",)
    return MediaDescription(
        media=track.media,
        port=port,
        address=host,
        formats=(
            PayloadFormat(
                payload_type=track.payload_type,
                codec=track.codec,
                clock_rate=track.clock_rate,
                channels=_OPUS_CHANNELS if track.codec == "opus" else 1,
                fmtp=track.fmtp.strip(),
                rtcp_feedback=feedback,
            ),
        ),
        protocol="RTP/AVPF",
        direction=Direction.SENDONLY,
        rtcp_mux=rtcp == "mux",
        extensions=tuple(
            (id_, uri)
            for id_, uri in zip(extensions, (TRANSPORT_CC_URI, DELAY_URI), strict=True)
            if id_
        ),
        ssrc=ssrc,
        cname=cname,
    )
