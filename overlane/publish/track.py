"""One RTP track of an encoder: numbering, RTP times, and its sender report. No I/O, no clock."""

import random
from dataclasses import dataclass

from rtp.ntp import ntp_from_unix_us
from rtp.packet import RtpPacket
from rtp.rtcp.sender_report import SenderReport, serialise_sender_report

VIDEO_PAYLOAD_TYPE = 96  # dynamic range, RFC 3551 6
AUDIO_PAYLOAD_TYPE = 111
_U16, _U32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where a track begins. RFC 3550 5.1 wants all three at random."""

    ssrc: int
    sequence_number: int
    timestamp: int

    @classmethod
    def draw(cls, rng: random.Random) -> "Numbers":
        return cls(rng.getrandbits(32), rng.getrandbits(16), rng.getrandbits(32))


class RtpTrack:
    """Turns payloads into packets and counts them."""

    def __init__(self, payload_type: int, clock_rate: int, numbers: Numbers) -> None:
        self.payload_type = payload_type
        self.clock_rate = clock_rate
        self.ssrc = numbers.ssrc
        self._sequence_number = numbers.sequence_number
        self._timestamp = numbers.timestamp
        self.packets = 0
        self.payload_bytes = 0

    @property
    def next_sequence_number(self) -> int:
        return self._sequence_number

    def rtp_time(self, ticks: int) -> int:
        """The 32-bit RTP time of media time `ticks`, which may be negative."""
        return (self._timestamp + ticks) & _U32

    def packetise(self, payloads: list[bytes], ticks: int, *, marker: bool) -> list[bytes]:
        """Packets of one access unit; `marker` goes on the last."""
        timestamp = self.rtp_time(ticks)
        packets = []
        for index, payload in enumerate(payloads):
            packet = RtpPacket(
                payload_type=self.payload_type,
                sequence_number=self._sequence_number,
                timestamp=timestamp,
                ssrc=self.ssrc,
                payload=payload,
                marker=marker and index == len(payloads) - 1,
            )
            packets.append(packet.serialise())
            self._sequence_number = (self._sequence_number + 1) & _U16
            self.payload_bytes += len(payload)
        self.packets += len(payloads)
        return packets

    def sender_report(self, unix_us: int, media_us: int, cname: str) -> bytes:
        """An SR and a CNAME. unix_us: now; media_us: the media time that is captured now."""
        report = SenderReport(
            ssrc=self.ssrc,
            ntp_timestamp=ntp_from_unix_us(unix_us),
            rtp_timestamp=self.rtp_time(media_us * self.clock_rate // 1_000_000),
            packet_count=self.packets & _U32,
            octet_count=self.payload_bytes & _U32,
        )
        return serialise_sender_report(report, cname)
