"""Session descriptions as values: a session, its media, their payload formats.

Sources: RFC 8866 5 and 6, RFC 3551 6 (static payload types), RFC 3605, RFC 4585 4.2, RFC 5576 4.2
and 6.1, RFC 5761 5.1.1, RFC 8285 5.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

# Ours: offers of browsers have some 10,000 characters.
MAX_CHARACTERS: Final = 65_536
MAX_MEDIA: Final = 64
MAX_CHANNELS: Final = 255
MAX_SESSION_ID: Final = (1 << 64) - 1  # ours: RFC 8866 5.2 sets none; browsers use 63 bits
TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")  # RFC 8866 9
ADDRESS: Final = re.compile(r"[0-9A-Za-z.:%_\-]+")  # of either family, or a host's name
MAX_EXTENSION_ID: Final = 255  # RFC 8285 4.3
URI: Final = re.compile(r"[!-~]+")  # of an extension
PROTOCOL: Final = re.compile(r"(?:[A-Z0-9]+/)*RTP/[A-Z]+")

# RFC 3551 tables 4 and 5: codec, clock rate in Hz, channels.
STATIC_FORMATS: Final = {
    0: ("PCMU", 8_000, 1),
    3: ("GSM", 8_000, 1),
    4: ("G723", 8_000, 1),
    5: ("DVI4", 8_000, 1),
    6: ("DVI4", 16_000, 1),
    7: ("LPC", 8_000, 1),
    8: ("PCMA", 8_000, 1),
    9: ("G722", 8_000, 1),
    10: ("L16", 44_100, 2),
    11: ("L16", 44_100, 1),
    12: ("QCELP", 8_000, 1),
    13: ("CN", 8_000, 1),
    14: ("MPA", 90_000, 1),
    15: ("G728", 8_000, 1),
    16: ("DVI4", 11_025, 1),
    17: ("DVI4", 22_050, 1),
    18: ("G729", 8_000, 1),
    25: ("CelB", 90_000, 1),
    26: ("JPEG", 90_000, 1),
    28: ("nv", 90_000, 1),
    31: ("H261", 90_000, 1),
    32: ("MPV", 90_000, 1),
    33: ("MP2T", 90_000, 1),
    34: ("H263", 90_000, 1),
}


class Direction(Enum):
    """Which way media flow, as the side that wrote the description sees it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class PayloadFormat:
    """One payload type of a medium.

    codec: as written, its case does not matter. clock_rate: Hz. fmtp: format parameters, unparsed.
    rtcp_feedback: such as "nack", "nack pli", "ccm fir".
    """

    payload_type: int
    codec: str
    clock_rate: int
    channels: int = 1
    fmtp: str = ""
    rtcp_feedback: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        """fmtp taken apart: names in lower case, "" for those without a value."""
        pairs = (part.partition("=") for part in self.fmtp.split(";") if part.strip())
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m-line with its attributes; the preferred format is the first.

    port: 0 for a medium that is refused. rtcp_port: as `a=rtcp` says, often absent or, with
    rtcp_mux, meaningless: see `control_port`. ssrc and cname: of the first source, or both None.
    rtx_ssrc: of what that source sends again (RFC 4588), its group FID. extensions: ids of RTP
    header extensions by what they are (RFC 8285 5).
    """

    media: str
    port: int
    address: str
    formats: tuple[PayloadFormat, ...]
    protocol: str = "RTP/AVP"
    direction: Direction = Direction.SENDRECV
    rtcp_port: int | None = None
    rtcp_mux: bool = False
    ssrc: int | None = None
    cname: str | None = None
    rtx_ssrc: int | None = None
    extensions: Mapping[str, int] = field(default_factory=dict)

    @property
    def control_port(self) -> int:
        """Where RTCP goes: the media's port with rtcp_mux, else `a=rtcp`, else the next port."""
        if self.rtcp_mux:
            return self.port
        return self.port + 1 if self.rtcp_port is None else self.rtcp_port


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """origin_address, session_id and session_version name this description (the o-line)."""

    media: tuple[MediaDescription, ...]
    name: str = "-"
    origin_address: str = "127.0.0.1"
    session_id: int = 0
    session_version: int = 0
