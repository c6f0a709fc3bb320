def marks(payload: bytes | bytearray | memoryview, begins: int, marker: bool) -> int | None:
    """`h264_marks` for tests: the marks of one payload, None if it is malformed."""

def mark_values() -> dict[str, int]:
    """The marks of `marks.pxd` by their names in `rtp.payload.marks.Marks`."""

def has_sps(payload: bytes) -> bool: ...
