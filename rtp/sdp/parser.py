"""Session descriptions read: SDP files of senders, offers and answers.

In: text. Out: the RTP media with all their payload types, or an SdpError that names the line.
Unknown lines, media that are not RTP, and TTL and count of an address are passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rtp.constants import RTP_MAX_PAYLOAD_TYPE
from rtp.errors import SdpError
from rtp.sdp.description import (
    ADDRESS,
    MAX_CHANNELS,
    MAX_CHARACTERS,
    MAX_EXTENSION_ID,
    MAX_MEDIA,
    MAX_SESSION_ID,
    PROTOCOL,
    STATIC_FORMATS,
    TOKEN,
    URI,
    Direction,
    MediaDescription,
    PayloadFormat,
    SessionDescription,
)

_MAX_U16 = (1 << 16) - 1
_MAX_U32 = (1 << 32) - 1
_MAX_DIGITS = 20  # of 64 bits
_ADDRESS_TYPES = frozenset({"IP4", "IP6"})
_DIRECTIONS = {direction.value: direction for direction in Direction}


def parse(text: str) -> SessionDescription:
    """Raises SdpError: not SDP, or a line that is understood does not hold what it should."""
    if len(text) > MAX_CHARACTERS:
        raise SdpError(1, f"at most {MAX_CHARACTERS} characters in all, not {len(text)}")
    parser = _Parser()
    for number, letter, value in _lines(text):
        parser.feed(number, letter, value)
    return parser.finish()


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """(line number, letter, value); ends of lines are CR LF, or LF as many files have it."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if number == 1 and line != "v=0":
            raise SdpError(1, "v=0")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=" or not line[0].isalpha():
            raise SdpError(number, "<letter>=<value>")
        yield number, line[0], line[2:].strip()


@dataclass(slots=True)
class _Scope:
    """What lines at session level or under one m-line have said so far."""

    address: str | None = None
    direction: Direction | None = None
    rtcp_port: int | None = None
    rtcp_mux: bool = False
    ssrc: int | None = None
    cname: str | None = None
    repair_flows: dict[int, int] = field(default_factory=dict)
    maps: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    fmtp: dict[int, list[str]] = field(default_factory=dict)
    feedback: list[tuple[int | None, str]] = field(default_factory=list)
    extensions: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Medium(_Scope):
    line: int = 0
    media: str = ""
    port: int = 0
    protocol: str = ""
    payload_types: list[int] = field(default_factory=list)


class _Parser:
    """Collects lines; attributes belong to the newest m-line, before the first to the session."""

    def __init__(self) -> None:
        self._session = _Scope()
        self._media: list[_Medium] = []
        self._scope: _Scope | None = self._session
        self._result = SessionDescription(())

    def feed(self, number: int, letter: str, value: str) -> None:
        if letter == "m":
            self._scope = self._begin_medium(number, value)
        elif self._scope is None:
            return  # under a medium that is not RTP
        elif letter == "c":
            self._scope.address = _parse_address(number, value, "c=")
        elif letter == "a":
            self._feed_attribute(number, value, self._scope)
        elif letter == "o":
            self._feed_origin(number, value)
        elif letter == "s":
            self._result = replace(self._result, name=value or "-")

    def finish(self) -> SessionDescription:
        media = tuple(self._finish_medium(medium) for medium in self._media)
        return replace(self._result, media=media)

    def _begin_medium(self, number: int, value: str) -> _Medium | None:
        expected = "m=<media> <port> <protocol> <payload type> ..."
        fields = value.split()
        if len(fields) < 4 or not TOKEN.fullmatch(fields[0]):
            raise SdpError(number, expected)
        media, port, protocol, *formats = fields
        if not PROTOCOL.fullmatch(protocol):
            return None
        medium = _Medium(line=number, media=media, protocol=protocol)
        medium.port = _integer(number, port.partition("/")[0], _MAX_U16, "a port in m=")
        what = f"payload types of 0..{RTP_MAX_PAYLOAD_TYPE} in m="
        found = [_integer(number, each, RTP_MAX_PAYLOAD_TYPE, what) for each in formats]
        medium.payload_types = list(dict.fromkeys(found))
        self._media.append(medium)
        if len(self._media) > MAX_MEDIA:
            raise SdpError(number, f"at most {MAX_MEDIA} media")
        return medium

    def _feed_origin(self, number: int, value: str) -> None:
        fields = value.split()
        if len(fields) != 6:
            raise SdpError(number, "o=<user> <id> <version> IN IP4|IP6 <address>")
        self._result = replace(
            self._result,
            session_id=_integer(number, fields[1], MAX_SESSION_ID, "a session id in o="),
            session_version=_integer(number, fields[2], MAX_SESSION_ID, "a session version in o="),
            origin_address=_parse_address(number, " ".join(fields[3:]), "o="),
        )

    def _feed_attribute(self, number: int, value: str, scope: _Scope) -> None:
        name, _, rest = value.partition(":")
        if name == "rtpmap":
            payload_type, rest = _split_payload_type(number, name, rest)
            scope.maps[payload_type] = _parse_map(number, rest)
        elif name == "fmtp":
            payload_type, rest = _split_payload_type(number, name, rest)
            scope.fmtp.setdefault(payload_type, []).append(rest)
        elif name == "rtcp-fb":
            if rest.startswith("* "):
                scope.feedback.append((None, rest[2:].strip()))
            else:
                payload_type, rest = _split_payload_type(number, name, rest)
                scope.feedback.append((payload_type, rest))
        elif name == "rtcp":
            port = rest.partition(" ")[0]
            scope.rtcp_port = _integer(number, port, _MAX_U16, "a port in a=rtcp:")
        elif name == "rtcp-mux":
            scope.rtcp_mux = True
        elif name == "extmap":
            _read_extension(number, rest, scope)
        elif name == "ssrc":
            _read_source(number, rest, scope)
        elif name == "ssrc-group":
            _read_source_group(number, rest, scope)
        elif value in _DIRECTIONS:
            scope.direction = _DIRECTIONS[value]

    def _finish_medium(self, medium: _Medium) -> MediaDescription:
        address = medium.address or self._session.address
        if address is None:
            raise SdpError(medium.line, "a c= line for this m= line or for the session")
        direction = medium.direction or self._session.direction or Direction.SENDRECV
        return MediaDescription(
            media=medium.media,
            port=medium.port,
            address=address,
            formats=tuple(_format(medium, each) for each in medium.payload_types),
            protocol=medium.protocol,
            direction=direction,
            rtcp_port=medium.rtcp_port,
            rtcp_mux=medium.rtcp_mux,
            ssrc=medium.ssrc,
            cname=medium.cname,
            rtx_ssrc=None if medium.ssrc is None else medium.repair_flows.get(medium.ssrc),
            extensions=_join_extensions(self._session.extensions, medium.extensions),
        )


def _format(medium: _Medium, payload_type: int) -> PayloadFormat:
    known = medium.maps.get(payload_type) or STATIC_FORMATS.get(payload_type)
    if known is None:
        raise SdpError(medium.line, f"a=rtpmap:{payload_type} below this m= line")
    codec, clock_rate, channels = known
    feedback = [what for which, what in medium.feedback if which in (None, payload_type)]
    fmtp = ";".join(medium.fmtp.get(payload_type, []))
    return PayloadFormat(payload_type, codec, clock_rate, channels, fmtp, tuple(feedback))


def _integer(number: int, text: str, highest: int, expected: str) -> int:
    """Decimal digits alone, leading zeros included."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS) or int(text) > highest:
        raise SdpError(number, f"{expected}, not {text[:40]!r}")
    return int(text)


def _parse_address(number: int, value: str, where: str) -> str:
    fields = value.split()
    address = fields[2].partition("/")[0] if len(fields) == 3 else ""
    if not ADDRESS.fullmatch(address) or fields[0] != "IN" or fields[1] not in _ADDRESS_TYPES:
        raise SdpError(number, f"IN IP4|IP6 <address> in {where}")
    return address


def _split_payload_type(number: int, name: str, text: str) -> tuple[int, str]:
    payload_type, _, rest = text.partition(" ")
    if not rest.strip():
        raise SdpError(number, f"a={name}:<payload type> <value>")
    what = f"a payload type in a={name}:"
    return _integer(number, payload_type, RTP_MAX_PAYLOAD_TYPE, what), rest.strip()


def _parse_map(number: int, text: str) -> tuple[str, int, int]:
    codec, *numbers = text.split("/")
    if not TOKEN.fullmatch(codec) or not 1 <= len(numbers) <= 2:
        raise SdpError(number, "a=rtpmap:<payload type> <codec>/<clock rate>[/<channels>]")
    clock_rate = _integer(number, numbers[0], _MAX_U32, "a clock rate in a=rtpmap:")
    channels = 1
    if len(numbers) == 2:
        channels = _integer(number, numbers[1], MAX_CHANNELS, "channels in a=rtpmap:")
    if clock_rate == 0 or channels == 0:
        raise SdpError(number, "a clock rate and channels above 0 in a=rtpmap:")
    return codec, clock_rate, channels


def _read_extension(number: int, text: str, scope: _Scope) -> None:
    """The first use of an id and of a URI holds; ids above 255 are offers only (RFC 8285 5)."""
    fields = text.split()
    if len(fields) < 2 or not URI.fullmatch(fields[1]):
        raise SdpError(number, "a=extmap:<id>[/<direction>] <URI>")
    extension_id = _integer(number, fields[0].partition("/")[0], _MAX_U16, "an id in a=extmap:")
    if 0 < extension_id <= MAX_EXTENSION_ID and extension_id not in scope.extensions.values():
        scope.extensions.setdefault(fields[1], extension_id)


def _join_extensions(of_session: dict[str, int], of_medium: dict[str, int]) -> dict[str, int]:
    """What the medium says goes before."""
    taken = set(of_medium.values())
    left = {uri: number for uri, number in of_session.items() if number not in taken}
    return left | of_medium


def _read_source(number: int, text: str, scope: _Scope) -> None:
    """The first source with a CNAME: others are its repair flow or further tracks."""
    source, _, attribute = text.partition(" ")
    ssrc = _integer(number, source, _MAX_U32, "an SSRC in a=ssrc:")
    name, _, cname = attribute.partition(":")
    if name == "cname" and cname and scope.ssrc is None:
        scope.ssrc, scope.cname = ssrc, cname


def _read_source_group(number: int, text: str, scope: _Scope) -> None:
    """FID (RFC 5888 7, RFC 5576 4.2): a source, and what is sent again of it. Others are passed
    over."""
    semantics, *sources = text.split()
    if semantics != "FID":
        return
    found = [_integer(number, each, _MAX_U32, "an SSRC in a=ssrc-group:") for each in sources]
    if len(found) == 2 and found[0] != found[1]:
        scope.repair_flows[found[0]] = found[1]
