"""An encoder's session description as the tracks of an ingest: what ffmpeg's -sdp_file writes, or a
GStreamer user by hand.

In: the text. Out: tables as the configuration has them, so that the same checks apply.
"""

from __future__ import annotations

from typing import Any

from rtp.constants import ONE_BYTE_MAX_ID, TRANSPORT_CC_URI
from rtp.sdp import MediaDescription, parse

_CODECS = {name.lower(): name for name in ("H264", "H265", "VP8", "VP9", "AV1", "opus")}

_DEPENDENCY_URI = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)


def tracks_of(text: str, listen: str) -> list[dict[str, Any]]:
    """listen: the host that the encoder's ports are opened on.

    Raises SdpError, or ValueError if a medium is of no codec that is carried here, encrypted, or
    reported on at a port that is not listened on.
    """
    # On its standard output ffmpeg puts a line of its own before the description.
    session = parse(text.removeprefix("SDP:").lstrip())
    return [_track(medium, listen) for medium in session.media if medium.port != 0]


def _track(medium: MediaDescription, listen: str) -> dict[str, Any]:
    for offered in medium.formats:
        codec = _CODECS.get(offered.codec.lower())
        if codec is not None:
            break
    else:
        names = ", ".join(offered.codec for offered in medium.formats)
        raise ValueError(f"{medium.media}: {names} is none of {', '.join(_CODECS.values())}")
    if "SAVP" in medium.protocol:
        raise ValueError(f"{medium.media}: {medium.protocol} is encrypted; send RTP/AVP")
    if not medium.rtcp_mux and medium.control_port not in (medium.port, medium.port + 1):
        text = f"a=rtcp:{medium.control_port} is neither port {medium.port} nor the next one"
        raise ValueError(f"{medium.media}: {text}, where reports are heard")
    host = f"[{listen}]" if ":" in listen else listen
    is_next = not medium.rtcp_mux and medium.control_port == medium.port + 1
    transport_cc_id = medium.extensions.get(TRANSPORT_CC_URI, 0)
    return {
        "kind": medium.media,
        "codec": codec,
        "listen": f"{host}:{medium.port}",
        "rtcp": "next" if is_next else "mux",
        "payload_type": offered.payload_type,
        "clock_rate": offered.clock_rate,
        "fmtp": offered.fmtp,
        "transport_cc_id": transport_cc_id if transport_cc_id <= ONE_BYTE_MAX_ID else 0,
        "dependency_id": medium.extensions.get(_DEPENDENCY_URI, 0),
    }
