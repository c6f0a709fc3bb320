def descriptor_bytes(payload: bytes | bytearray | memoryview) -> int:
    """`vp8_descriptor_bytes` for tests: 0 if it is truncated or nothing follows it."""

def marks(payload: bytes | bytearray | memoryview, begins: int, marker: bool) -> int | None:
    """`vp8_marks` for tests: the marks of one payload, None if it is malformed."""
