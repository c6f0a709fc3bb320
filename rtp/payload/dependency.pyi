from typing import final

@final
class Reader:
    """One track's `dependency_of` with its state, for tests."""

    def read(self, data: bytes | bytearray | memoryview, extension_id: int) -> bool | None:
        """Whether the packet's frame is discardable; None if no descriptor says."""
