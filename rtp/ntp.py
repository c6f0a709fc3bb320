"""NTP times as RTCP carries them: 64 bits (32.32 seconds since 1900) and the compact middle 32.

Converts to and from microseconds, unix time or duration; no clock is read here. NTP seconds wrap
in 2036: a first bit of 0 is read as the era that begins then, so unix times from 1968-01-20 to
2104-02-26 are told apart. Source: RFC 5905 6, RFC 4330 3 (the era rule), RFC 3550 4 and 6.4.1.
"""

from rtp.constants import NTP_UNIX_OFFSET_S

US_PER_S = 1_000_000
_ERA_S = 1 << 32
_HALF_ERA_S = 1 << 31
_FRACTION_MASK = (1 << 32) - 1
_NTP_MASK = (1 << 64) - 1


def ntp_from_unix_us(unix_us: int) -> int:
    """The 64-bit NTP timestamp nearest to a unix time in microseconds."""
    seconds, microseconds = divmod(unix_us, US_PER_S)
    # 2**32 fractions make 4,295 to the microsecond: rounding never reaches the next second.
    fraction = ((microseconds << 32) + US_PER_S // 2) // US_PER_S
    return (((seconds + NTP_UNIX_OFFSET_S) << 32) | fraction) & _NTP_MASK


def unix_us_from_ntp(ntp: int) -> int:
    """Unix time in microseconds, rounded to the nearest; inverse of `ntp_from_unix_us`."""
    seconds = ntp >> 32
    if seconds < _HALF_ERA_S:
        seconds += _ERA_S
    microseconds = ((ntp & _FRACTION_MASK) * US_PER_S + (1 << 31)) >> 32
    return (seconds - NTP_UNIX_OFFSET_S) * US_PER_S + microseconds


def compact_ntp(ntp: int) -> int:
    """The middle 32 bits (16.16 seconds), as `last_sr` holds them."""
    return (ntp >> 16) & 0xFFFFFFFF


def compact_from_us(duration_us: int) -> int:
    """A duration as 16.16 seconds, as `delay_since_last_sr` holds it; saturates at its ends."""
    units = ((duration_us << 16) + US_PER_S // 2) // US_PER_S
    return min(max(units, 0), 0xFFFFFFFF)


def us_from_compact(compact: int) -> int:
    """16.16 seconds as microseconds, rounded to the nearest (one unit is about 15.3 us)."""
    return (compact * US_PER_S + (1 << 15)) >> 16
