"""A stream's map from NTP time to RTP time: how the media's clocks stood at one local time.

It comes with the stream from upstream and goes on with it; each node extrapolates by its own clock.
"""

import struct
from dataclasses import dataclass

from rtp.sequence import difference

CLOCK = 4  # first byte of the message that carries it
CLOCK_FIELDS = struct.Struct(">IIQ")  # stream_id, timestamp, ntp
JUMP_US = 500_000  # no path's delay changes so much


@dataclass(frozen=True, slots=True)
class MediaClock:
    timestamp: int  # RTP clock units
    ntp: int  # 32.32 s
    at_us: int

    def read(self, clock_rate: int, now_us: int) -> tuple[int, int]:
        """RTP time now, in whole ticks, and the NTP time of just that tick: a pair as exact as the
        map, however often it is handed on."""
        ticks = (now_us - self.at_us) * clock_rate // 1_000_000
        ntp = self.ntp + (ticks << 32) // clock_rate
        return (self.timestamp + ticks) & 0xFFFFFFFF, ntp & (1 << 64) - 1

    def pack(self, stream_id: int, clock_rate: int, now_us: int) -> bytes:
        """What a CLOCK message says as it leaves."""
        return CLOCK_FIELDS.pack(stream_id, *self.read(clock_rate, now_us))

    def jumps_to(self, timestamp: int, clock_rate: int, now_us: int) -> bool:
        """Is this RTP time so far from this map's that the encoder has begun anew?"""
        expected, _ = self.read(clock_rate, now_us)
        apart_us = abs(difference(timestamp, expected, 32)) * 1_000_000 // clock_rate
        return apart_us >= JUMP_US
