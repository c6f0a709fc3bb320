def digest(data: bytes, key: bytes) -> int:
    """The 64-bit SipHash-2-4 of `data`. key: 16 bytes."""
