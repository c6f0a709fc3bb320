"""What real clients sent, kept in tests/recordings: reads and writes it.

NAME.pcap holds the datagrams as they came to bare UDP sockets, with the times they arrived (libpcap
format 2.4, LINKTYPE_RAW: an IPv4 and a UDP header before each, so that any analyser opens it).
NAME.json says what the client was and what its own encoder made, access unit by access unit.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent / "recordings"
LINKTYPE_RAW = 101
DIGEST_BYTES = 8
_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")
_HEADERS = struct.Struct(">BBHHHBBH4s4sHHHH")  # IPv4 (RFC 791 3.1), UDP (RFC 768)
_MAGIC_MICROSECONDS = 0xA1B2C3D4
_LOOPBACK = bytes([127, 0, 0, 1])


@dataclass(frozen=True, slots=True)
class Datagram:
    """time_us: when it arrived, of the Unix epoch; ports of source and destination."""

    time_us: int
    source_port: int
    port: int
    data: bytes

    @property
    def is_rtcp(self) -> bool:
        """RFC 5761 4: types 192 to 223 in the second byte."""
        return len(self.data) > 1 and 192 <= self.data[1] <= 223


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit as the client's encoder wrote it to a file.

    digest: of what `tests.support.units.encoded` makes of it. is_reference: others refer to it.
    """

    digest: str
    is_key: bool
    is_reference: bool


@dataclass(frozen=True, slots=True)
class Track:
    """codec: as a configuration names it, to this port with this payload type.

    units in sending order.
    """

    codec: str
    port: int
    payload_type: int
    units: list[Unit]


@dataclass(frozen=True, slots=True)
class Recording:
    """datagrams in order of arrival; `sdp` is the client's own, if it prints one."""

    name: str
    about: str
    command: str
    version: str
    tracks: list[Track]
    sdp: str = ""
    datagrams: list[Datagram] = field(default_factory=list)

    def rtp(self, track: Track) -> list[Datagram]:
        """The media packets of one track, in order of arrival."""
        return [
            datagram
            for datagram in self.datagrams
            if datagram.port == track.port
            and not datagram.is_rtcp
            and datagram.data[1] & 0x7F == track.payload_type
        ]

    def rtcp(self) -> list[Datagram]:
        return [datagram for datagram in self.datagrams if datagram.is_rtcp]


def load(name: str) -> Recording:
    """The recording of that name."""
    meta = json.loads((DIRECTORY / f"{name}.json").read_text())
    tracks = [
        Track(
            track["codec"],
            track["port"],
            track["payload_type"],
            [Unit(digest, bool(key), bool(ref)) for digest, key, ref in track["units"]],
        )
        for track in meta.pop("tracks")
    ]
    datagrams = read_pcap((DIRECTORY / f"{name}.pcap").read_bytes())
    return Recording(tracks=tracks, datagrams=datagrams, **meta)


def names() -> list[str]:
    """All recordings there are."""
    return sorted(path.stem for path in DIRECTORY.glob("*.pcap"))


def save(recording: Recording, directory: Path = DIRECTORY) -> None:
    """Write both files."""
    meta = asdict(recording)
    del meta["datagrams"]
    units = [
        json.dumps([[u.digest, int(u.is_key), int(u.is_reference)] for u in track.units])
        for track in recording.tracks
    ]
    for index, track in enumerate(meta["tracks"]):
        track["units"] = f"units {index}"
    text = json.dumps(meta, indent=1)
    for index, line in enumerate(units):
        text = text.replace(f'"units {index}"', line)
    (directory / f"{recording.name}.json").write_text(text + "\n")
    (directory / f"{recording.name}.pcap").write_bytes(write_pcap(recording.datagrams))


def write_pcap(datagrams: Iterable[Datagram]) -> bytes:
    parts = [_FILE_HEADER.pack(_MAGIC_MICROSECONDS, 2, 4, 0, 0, 65_535, LINKTYPE_RAW)]
    for datagram in datagrams:
        udp_bytes = 8 + len(datagram.data)
        size = 20 + udp_bytes
        addresses = (_LOOPBACK, _LOOPBACK, datagram.source_port, datagram.port)
        parts.append(_RECORD_HEADER.pack(*divmod(datagram.time_us, 1_000_000), size, size))
        parts.append(_HEADERS.pack(0x45, 0, size, 0, 0, 64, 17, 0, *addresses, udp_bytes, 0))
        parts.append(datagram.data)
    return b"".join(parts)


def read_pcap(data: bytes) -> list[Datagram]:
    """What `write_pcap` wrote. Raises ValueError for anything else."""
    magic, *_, linktype = _FILE_HEADER.unpack_from(data)
    if magic != _MAGIC_MICROSECONDS or linktype != LINKTYPE_RAW:
        raise ValueError("not a capture of this kind")
    datagrams = []
    offset = _FILE_HEADER.size
    while offset < len(data):
        seconds, micros, size, _ = _RECORD_HEADER.unpack_from(data, offset)
        offset += _RECORD_HEADER.size
        *_, source_port, port, udp_bytes, _ = _HEADERS.unpack_from(data, offset)
        if udp_bytes + 20 != size or offset + size > len(data):
            raise ValueError(f"a datagram at {offset} is cut off")
        payload = data[offset + _HEADERS.size : offset + size]
        datagrams.append(Datagram(seconds * 1_000_000 + micros, source_port, port, payload))
        offset += size
    return datagrams


def digest(data: bytes) -> str:
    """How the recordings name an access unit."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
