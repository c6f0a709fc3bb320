def fragments(
    data: bytes | bytearray | memoryview, codec: int, limit: int, out: bytearray | memoryview
) -> tuple[int, list[bytes]] | None:
    """`fragments_begin` and every `fragments_next` for tests: the count, and a copy of each packet.

    Each is written into `out`, which has room for `limit` bytes. None if `data` is no RTP packet.
    """
