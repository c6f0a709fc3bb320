"""Which sequence numbers of one SSRC have come: extended numbers, losses, duplicates."""

from rtp.sequence import SequenceUnwrapper

# A number further behind the highest than this is taken for a newer one (RFC 3550 A.1's rule of
# half a cycle), so what lies further back need not be remembered.
_REACH = 1 << 15


class SequenceLog:
    """Memory is bounded: two cycles of numbers."""

    def __init__(self) -> None:
        self._unwrapper = SequenceUnwrapper()
        self._seen: set[int] = set()
        self.lowest: int | None = None
        self.received = 0
        self.duplicates = 0

    def add(self, sequence_number: int) -> int | None:
        """The extended sequence number, or None if it has come before."""
        extended = self._unwrapper.unwrap(sequence_number)
        if extended in self._seen:
            self.duplicates += 1
            return None
        self._seen.add(extended)
        self.received += 1
        self.lowest = extended if self.lowest is None else min(self.lowest, extended)
        if len(self._seen) > 4 * _REACH:
            oldest = (self._unwrapper.highest or 0) - _REACH
            self._seen = {number for number in self._seen if number >= oldest}
        return extended

    @property
    def lost(self) -> int:
        """Numbers between the lowest and the highest that have not come."""
        if self.lowest is None or self._unwrapper.highest is None:
            return 0
        return self._unwrapper.highest - self.lowest + 1 - self.received
