from typing import final

def descriptor(
    payload: bytes | bytearray | memoryview,
) -> tuple[int, int, int, int, int] | None:
    """The fields of `vp9_descriptor_t` in order, None where it is refused, for tests."""

@final
class Marker:
    """One track's `vp9_marks` with its state, for tests."""

    def marks(
        self, payload: bytes | bytearray | memoryview, begins: int, marker: bool
    ) -> int | None:
        """The marks of the track's next packet, None if it is malformed: nothing is kept of it."""
