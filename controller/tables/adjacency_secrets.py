"""The 32-byte secret that two neighbours share, derived from one master key.

Derived rather than drawn and stored: 600 nodes have 180,000 pairs, of which the brain then keeps
nothing, a brain restored from a backup of its key gives the same secrets (so no link is keyed
anew), and replicas agree without talking. Whoever reads the brain's disk has all secrets in either
case. HKDF-Expand alone (RFC 5869 2.3, one block), as the master key is uniformly random (3.3).
A node's `generation` is in it: raising it (a host was lost, a token leaked) changes the secrets of
that node's pairs and no others.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from control_client.messages import SECRET_BYTES

MASTER_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Party:
    """One side of a pair."""

    name: str
    generation: int = 1


def adjacency_secret(master_key: bytes, a: Party, b: Party) -> bytes:
    """The same whichever comes first. Raises ValueError for one node twice, or a short key."""
    if len(master_key) != MASTER_KEY_BYTES:
        raise ValueError(f"a master key has {MASTER_KEY_BYTES} bytes, not {len(master_key)}")
    if a.name == b.name:
        raise ValueError(f"{a.name} is no neighbour of itself")
    info = b"overlane adjacency"
    for party in sorted((a, b), key=lambda party: party.name):
        name = party.name.encode()
        info += bytes((len(name),)) + name + party.generation.to_bytes(4, "big")
    secret = hmac.digest(master_key, info + b"\x01", hashlib.sha256)
    assert len(secret) == SECRET_BYTES
    return secret
