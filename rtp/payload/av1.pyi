from typing import final

def elements(payload: bytes | bytearray | memoryview) -> list[bytes] | None:
    """The OBUs of one payload and parts of such, None if their lengths do not add up, for tests."""

@final
class Marker:
    """One track's `av1_marks` with its state, for tests."""

    def marks(
        self, payload: bytes | bytearray | memoryview, begins: int, marker: bool
    ) -> int | None:
        """The marks of the track's next packet, None if it is malformed: nothing is kept of it."""
