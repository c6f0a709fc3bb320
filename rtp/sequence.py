"""Arithmetic on numbers that wrap: RTP sequence numbers (16 bits), timestamps and SSNs (32 bits).

Decides which of two wrapped numbers is newer, and turns wrapped numbers into extended ones that
never wrap. Source: RFC 3550 appendix A.1, RFC 1982. RFC 1982 leaves two numbers exactly half a
cycle apart undefined; here the number compared then counts as older.
"""

from rtp.constants import SEQUENCE_NUMBER_BITS
from rtp.errors import RtpValueError


def difference(value: int, reference: int, bits: int = SEQUENCE_NUMBER_BITS) -> int:
    """How far `value` is ahead of `reference`, in [-2**(bits-1), 2**(bits-1))."""
    half = 1 << (bits - 1)
    return ((value - reference + half) & ((1 << bits) - 1)) - half


def is_newer(value: int, reference: int, bits: int = SEQUENCE_NUMBER_BITS) -> bool:
    """`value` comes after `reference`, the shorter way round."""
    return difference(value, reference, bits) > 0


def add(value: int, increment: int, bits: int = SEQUENCE_NUMBER_BITS) -> int:
    """`value + increment`, wrapped to `bits`; the increment may be negative."""
    return (value + increment) & ((1 << bits) - 1)


class SequenceUnwrapper:
    """Extends wrapped numbers: each is placed nearest to the highest one seen.

    The first number is its own extended number, so one that precedes it across the wrap becomes
    negative. Late numbers do not move the highest, so reordering within half a cycle is harmless.
    """

    __slots__ = ("_bits", "_highest")

    def __init__(self, bits: int = SEQUENCE_NUMBER_BITS) -> None:
        if bits < 2:
            raise RtpValueError(f"bits must be at least 2, not {bits}")
        self._bits = bits
        self._highest: int | None = None

    @property
    def highest(self) -> int | None:
        """The highest extended number so far; None before the first."""
        return self._highest

    def unwrap(self, value: int) -> int:
        """The extended number of `value`. Raises RtpValueError outside [0, 2**bits)."""
        if value < 0 or value >> self._bits:
            raise RtpValueError(f"{value} does not fit {self._bits} bits")
        if self._highest is None:
            self._highest = value
            return value
        extended = self._highest + difference(value, self._highest, self._bits)
        self._highest = max(self._highest, extended)
        return extended

    def reset(self) -> None:
        """Forget all numbers, for a source that started anew."""
        self._highest = None
