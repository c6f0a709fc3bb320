def marks(payload: bytes | bytearray | memoryview) -> int | None:
    """`opus_marks` for tests: the marks of one payload, None if it is empty."""
