"""An encoder's clocks: one wall clock (NTP) for several tracks, each with its own RTP time."""

from __future__ import annotations

from dataclasses import dataclass

from rtp.rtcp.sender_report import SenderReport
from tests.support.chain import key_slice, rtp
from tests.support.edge import sender_report

NTP_SECOND = 1 << 32
# 3 s before the end of NTP's first era (2036).
LATE_2036 = 0xFFFFFFFD * NTP_SECOND


def ntp_of(us: float) -> int:
    """A duration in 32.32 s."""
    return round(us * NTP_SECOND / 1_000_000)


def us_of(ntp: int) -> float:
    """The inverse, of a signed difference mod 2^64."""
    ntp = (ntp + (1 << 63)) % (1 << 64) - (1 << 63)
    return ntp * 1_000_000 / NTP_SECOND


@dataclass
class Source:
    """One track. At the bench's time 0 its wall clock says `ntp` and its RTP time `timestamp`."""

    ssrc: int
    payload_type: int
    rate: int
    timestamp: int
    ntp: int = LATE_2036
    number: int = 65_500

    def ticks(self, time_us: int) -> int:
        return time_us * self.rate // 1_000_000

    def packet(self, captured_us: int, *, payload: bytes | None = None) -> bytes:
        """RTP of what was captured then."""
        self.number += 1
        text = payload if payload is not None else key_slice(b"%d" % self.number)
        return rtp(
            self.number - 1,
            self.timestamp + self.ticks(captured_us),
            text,
            marker=True,
            payload_type=self.payload_type,
            ssrc=self.ssrc,
        )

    def report(self, time_us: int, *, ntp: int | None = None) -> bytes:
        """An SR: the NTP time of a whole tick, exact to 2^-32 s."""
        ticks = self.ticks(time_us)
        exact = self.ntp + ticks * NTP_SECOND // self.rate
        return sender_report(self.ssrc, exact if ntp is None else ntp, self.timestamp + ticks)

    def shift_us(self, report: SenderReport) -> float:
        """From this track's wall clock to that of a viewer's report, for the same RTP time."""
        ticks = (report.rtp_timestamp - self.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
        return us_of(report.ntp_timestamp - self.ntp - ticks * NTP_SECOND // self.rate)
