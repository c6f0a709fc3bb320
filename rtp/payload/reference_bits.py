"""Plain-Python twin of `bits.pxd`: bits of a header, most significant first."""

from __future__ import annotations


class Bits:
    """What is not there reads as 0; `is_past_end` then says so."""

    def __init__(self, data: bytes) -> None:
        self._digits = "".join(f"{octet:08b}" for octet in data)
        self._at = 0

    @property
    def is_past_end(self) -> bool:
        return self._at > len(self._digits)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        digits = self._digits[self._at : self._at + count].ljust(count, "0")
        self._at += count
        return int(digits, 2) if count else 0

    def take_below(self, most: int) -> int:
        """ns(n) of AV1 4.10.7."""
        width = most.bit_length()
        if width == 0:
            return 0
        value = self.take(width - 1)
        short_values = (1 << width) - most
        return value if value < short_values else (value << 1) - short_values + self.take(1)
