"""HKDF with SHA-256 (RFC 5869), and the keys of a link that are made with it."""

import hashlib
import hmac
from dataclasses import dataclass

HASH_BYTES = 32
KEY_BYTES = 16  # SipHash-2-4's key
NONCE_BYTES = 16  # chosen: 128 random bits do not repeat


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One side of a link: a node and the worker whose port it is."""

    node_id: int
    worker: int = 0

    def to_bytes(self) -> bytes:
        """Four bytes, network order."""
        return self.node_id.to_bytes(2, "big") + self.worker.to_bytes(2, "big")


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """RFC 5869 2.2: a 32-byte pseudorandom key."""
    return hmac.digest(salt or bytes(HASH_BYTES), secret, hashlib.sha256)


def hkdf_expand(key: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869 2.3. size: 1..8160."""
    block, output = b"", b""
    for counter in range(1, -(-size // HASH_BYTES) + 1):
        block = hmac.digest(key, block + info + bytes((counter,)), hashlib.sha256)
        output += block
    return output[:size]


def hello_key(secret: bytes) -> bytes:
    """What authenticates HELLO between two nodes, both ways."""
    return hkdf_expand(hkdf_extract(b"", secret), b"overlane hello", KEY_BYTES)


def session_key(secret: bytes, nonces: dict[int, bytes]) -> bytes:
    """nonces: by node id, two of them. Both sides get the same."""
    salt = b"".join(nonces[node_id] for node_id in sorted(nonces))
    return hkdf_extract(salt, secret)


def link_key(session: bytes, sender: Endpoint, receiver: Endpoint, generation: int = 0) -> bytes:
    """The key of one direction of one link. generation: how often the two workers have made one
    anew in this session, whose packets are numbered from 1 again; below 2^32."""
    info = b"overlane link" + sender.to_bytes() + receiver.to_bytes()
    if generation:
        info += generation.to_bytes(4, "big")
    return hkdf_expand(session, info, KEY_BYTES)
