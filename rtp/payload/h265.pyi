from typing import final

def has_sps(payload: bytes | bytearray | memoryview) -> bool: ...
@final
class Marker:
    """One track's `h265_marks` with its state, for tests."""

    def marks(
        self, payload: bytes | bytearray | memoryview, begins: int, marker: bool
    ) -> int | None:
        """The marks of the track's next packet, None if it is malformed: nothing is kept of it."""
