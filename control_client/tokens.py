"""A node's registration token: 32 random bytes; the node has it, the brain its hash.

Rather than an HMAC of the node's name under a key of the brain: that key would make every node's
token, whoever saw the brain's disk could be any node, and one token could not be taken back alone.
The brain has a list of its nodes in any case. SHA-256 is enough for 256 random bits: there is
nothing to guess, so nothing to slow down.
"""

import hashlib
import hmac
import re
import secrets

TOKEN_BYTES = 32
_PREFIX = "ovl1."  # so that a scanner for leaked secrets can know one, and a person too
_TOKEN = re.compile(re.escape(_PREFIX) + r"[A-Za-z0-9_-]{43}\Z")
NO_TOKEN_HASH = "0" * 64  # matches no token


def new_token() -> str:
    """For one node; from the system's secure source."""
    return _PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def is_token(text: str) -> bool:
    """Whether it has the form of one: to tell a wrong file from a wrong token."""
    return _TOKEN.match(text) is not None


def token_hash(token: str) -> str:
    """What the brain keeps: 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_matches(token: str, expected_hash: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(token_hash(token), expected_hash)
