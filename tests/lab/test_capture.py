"""The check for nonces used twice must find them."""

from __future__ import annotations

from lab.capture import Audit, Seen, audit
from lab.udp_link import Direction
from relay.handshake import NO_NONCE
from relay.hkdf import Endpoint, link_key, session_key
from tests.support.peer import HELLO, header, seal

SECRET = bytes(range(32))
A, B = 1, 2
NONCES = [(bytes([n]) * 16, bytes([n + 100]) * 16) for n in (1, 2)]


def hello(own: bytes, peer: bytes, direction: Direction) -> Seen:
    return Seen(0, direction, seal(header(kind=HELLO), own + peer, b"h" * 16))


def packet(session: int, hop_seq: int, direction: Direction) -> Seen:
    nonces = dict(zip((A, B), NONCES[session], strict=True))
    sender, receiver = (A, B) if direction == "ab" else (B, A)
    tag_key = link_key(session_key(SECRET, nonces), Endpoint(sender), Endpoint(receiver))
    return Seen(0, direction, seal(header(hop_seq=hop_seq), bytes(40), tag_key))


def sessions() -> list[Seen]:
    """Two of them, each way ten packets, the second one numbered anew."""
    seen = []
    for session, (a, b) in enumerate(NONCES):
        seen += [hello(a, NO_NONCE, "ab"), hello(b, a, "ba"), hello(a, b, "ab")]
        for n in range(10):
            seen += [packet(session, n, "ab"), packet(session, n, "ba")]
    return seen


def test_numbers_may_begin_anew_under_another_key_and_in_each_direction() -> None:
    assert audit(sessions(), SECRET, A, B) == Audit(packets=40, hellos=6, keys=4)


def test_a_number_used_twice_is_found() -> None:
    seen = [*sessions(), packet(0, 3, "ab"), packet(1, 9, "ba")]
    assert audit(seen, SECRET, A, B).repeated == 2


def test_a_packet_under_no_known_key_is_found() -> None:
    strange = Seen(0, "ab", seal(header(hop_seq=11), bytes(40), b"x" * 16))
    truncated = Seen(0, "ab", packet(0, 12, "ab").data[:20])
    assert audit([*sessions(), strange, truncated], SECRET, A, B).unverified == 2
