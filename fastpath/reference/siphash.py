"""SipHash-2-4, 64-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012)."""

MASK = (1 << 64) - 1
INITIAL = b"somepseudorandomlygeneratedbytes"  # section 2.1: the four words before the key


def siphash24(data: bytes, key: bytes) -> int:
    """The 64-bit SipHash-2-4 of `data`. key: 16 bytes."""
    if len(key) != 16:
        raise ValueError("a SipHash key has 16 bytes")
    halves = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [int.from_bytes(INITIAL[8 * i : 8 * i + 8]) ^ halves[i % 2] for i in range(4)]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (64 - bits)) & MASK


def _rounds(v: list[int], times: int) -> None:
    """Section 2.3's SipRound."""
    for _ in range(times):
        v[0] = (v[0] + v[1]) & MASK
        v[2] = (v[2] + v[3]) & MASK
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2] = (v[2] + v[1]) & MASK
        v[0] = (v[0] + v[3]) & MASK
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = _rotate(v[2], 32)
