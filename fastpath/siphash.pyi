def digest(data: bytes, key: bytes) -> int:
    """The 64-bit SipHash-2-4 of `data`. key: 16 bytes."""

def ways() -> list[str]:
    """How this processor can make many tags at once: scalar, avx2, avx512. The last is used."""

def tags_of(packets: list[tuple[int, bytes | memoryview]], key: bytes, way: str) -> list[int]:
    """The tags of plain media packets, made in one of `ways()`: the high half of hop_seq, and header,
    tag and payload of 24, 8 and 16 or more bytes. At most 64. Raises ValueError."""
