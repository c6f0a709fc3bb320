"""What nodes sent over emulated links, kept in memory, and a check of it: was any nonce used twice?

A packet's nonce is its `hop_seq` under the key of its link and direction. Keys are derived here
anew, from the HELLOs that were seen and the adjacency's secret, as `relay/handshake` does; each
packet is assigned to the key under which its tag fits.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from fastpath.wire import PacketType, parse, tag
from lab.timer_fd import now_us
from lab.udp_link import Direction, UdpLink
from relay.handshake import NO_NONCE
from relay.hkdf import NONCE_BYTES, Endpoint, link_key, session_key

TAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """A datagram as it entered or left a link."""

    time_us: int
    direction: Direction
    data: bytes

    @property
    def is_hello(self) -> bool:
        return self.data[0] & 0x0F == PacketType.TYPE_HELLO


class Capture:
    """Everything of one link from now on.

    sent: what nodes sent; delivered: what arrived, by direction, without HELLOs; those: hellos.
    """

    def __init__(self, link: UdpLink) -> None:
        self.sent: list[Seen] = []
        self.hellos_sent = 0
        self.delivered: dict[Direction, list[Seen]] = {"ab": [], "ba": []}
        self.hellos: dict[Direction, list[Seen]] = {"ab": [], "ba": []}
        link.tap(on_sent=self._on_sent, on_delivered=self._on_delivered)

    def before(self, direction: Direction, time_us: int) -> tuple[list[Seen], list[Seen]]:
        """What was delivered before that time: HELLOs, and all others."""
        return (
            _until(self.hellos[direction], time_us),
            _until(self.delivered[direction], time_us),
        )

    def _on_sent(self, direction: Direction, data: bytes) -> None:
        seen = Seen(now_us(), direction, data)
        self.sent.append(seen)
        self.hellos_sent += seen.is_hello

    def _on_delivered(self, direction: Direction, data: bytes) -> None:
        seen = Seen(now_us(), direction, data)
        (self.hellos if seen.is_hello else self.delivered)[direction].append(seen)


def _until(seen: list[Seen], time_us: int) -> list[Seen]:
    return seen[: bisect_left(seen, time_us, key=lambda one: one.time_us)]


@dataclass(slots=True)
class Audit:
    """packets: all but HELLOs, those of no key included. keys: of those used, both directions."""

    packets: int = 0
    hellos: int = 0
    keys: int = 0
    unverified: int = 0
    repeated: int = 0
    """Packets whose (key, hop_seq) an earlier packet had."""

    def __add__(self, other: Audit) -> Audit:
        return Audit(
            self.packets + other.packets,
            self.hellos + other.hellos,
            self.keys + other.keys,
            self.unverified + other.unverified,
            self.repeated + other.repeated,
        )


@dataclass(slots=True)
class _Direction:
    """Keys of one direction, the one that fitted last first."""

    keys: list[bytes] = field(default_factory=list)
    used: dict[bytes, set[int]] = field(default_factory=dict)


def audit(seen: list[Seen], secret: bytes, node_a: int, node_b: int) -> Audit:
    """Check one link. seen: what its nodes sent, a complete record from before its first HELLO.

    Numbers are taken to stay below 2^32 in a session.
    """
    found = Audit()
    a, b = Endpoint(node_a), Endpoint(node_b)
    directions = {"ab": _Direction(), "ba": _Direction()}
    pairs: set[tuple[bytes, bytes]] = set()
    # Keys first: a packet may be seen before the last HELLO that names both nonces.
    for one in seen:
        pair = _nonces(one) if one.is_hello else None
        if pair is not None and pair not in pairs:
            pairs.add(pair)
            session = session_key(secret, {node_a: pair[0], node_b: pair[1]})
            directions["ab"].keys.append(link_key(session, a, b))
            directions["ba"].keys.append(link_key(session, b, a))
    for one in seen:
        if one.is_hello:
            found.hellos += 1
            continue
        found.packets += 1
        way = directions[one.direction]
        fitting = _fit(one.data, way)
        if fitting is None:
            found.unverified += 1
            continue
        key, hop_seq = fitting
        used = way.used.setdefault(key, set())
        found.repeated += hop_seq in used
        used.add(hop_seq)
    found.keys = sum(len(way.used) for way in directions.values())
    return found


def _nonces(hello: Seen) -> tuple[bytes, bytes] | None:
    """A's and B's, if the HELLO names both."""
    payload = hello.data[-2 * NONCE_BYTES :]
    own, peer = payload[:NONCE_BYTES], payload[NONCE_BYTES:]
    if peer == NO_NONCE:
        return None
    return (own, peer) if hello.direction == "ab" else (peer, own)


def _fit(data: bytes, way: _Direction) -> tuple[bytes, int] | None:
    header = parse(data)
    if isinstance(header, str):
        return None
    size = header["header_bytes"]
    head, payload = data[:size], data[size + TAG_BYTES :]
    expected = int.from_bytes(data[size : size + TAG_BYTES])
    for place, key in enumerate(way.keys):
        if tag(head, payload, key) == expected:
            if place:
                way.keys.insert(0, way.keys.pop(place))
            return key, header["hop_seq"]
    return None
