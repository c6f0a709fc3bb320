"""A stream's map from NTP time to RTP time: how the media's clocks stood at one local time.

It comes with the stream from upstream and goes on with it; each node extrapolates by its own clock.
"""

import struct
from dataclasses import dataclass

CLOCK = 4  # first byte of the message that carries it
CLOCK_FIELDS = struct.Struct(">IIQ")  # stream_id, timestamp, ntp
FIRST_CLOCKS = 10  # the stream may not be known yet when the first ones arrive
FIRST_INTERVAL_US = 100_000
INTERVAL_US = 1_000_000


@dataclass(frozen=True, slots=True)
class MediaClock:
    timestamp: int  # RTP clock units
    ntp: int  # 32.32 s
    at_us: int

    def pack(self, stream_id: int, clock_rate: int, now_us: int) -> bytes:
        """What a CLOCK message says as it leaves."""
        passed_us = now_us - self.at_us
        seconds, rest_us = divmod(passed_us, 1_000_000)
        ntp = self.ntp + (seconds << 32) + (rest_us << 32) // 1_000_000
        timestamp = self.timestamp + passed_us * clock_rate // 1_000_000
        return CLOCK_FIELDS.pack(stream_id, timestamp & 0xFFFFFFFF, ntp & (1 << 64) - 1)
