"""Access units out of RTP packets that come late, twice, in any order, or never.

A unit is whole when its packets are consecutive, end with the marker, and the packet before the
first one is known to belong to another unit. Sans-IO; sequence numbers are extended ones.
"""

from dataclasses import dataclass, field

from rtp.errors import RtpParseError
from rtp.payload.h264_packets import assemble

NAL_SPS = 7  # H.264 table 7-1


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole access unit. complete_us: when the last missing packet of it came."""

    first_number: int
    packets: int
    rtp_time: int
    complete_us: int
    nals: tuple[bytes, ...]

    @property
    def starts_with_parameter_sets(self) -> bool:
        return any(nal[0] & 0x1F == NAL_SPS for nal in self.nals[:2])


@dataclass(slots=True)
class _Packet:
    rtp_time: int
    marker: bool
    payload: bytes
    arrival_us: int
    is_used: bool = False


@dataclass(slots=True)
class FrameBuilder:
    """Feed packets, get the frames that each one completes."""

    malformed: int = 0
    duplicates: int = 0
    received: int = 0
    first: int | None = None
    last: int | None = None
    times: set[int] = field(default_factory=set)
    _packets: dict[int, _Packet] = field(default_factory=dict)

    def feed(
        self, number: int, rtp_time: int, marker: bool, payload: bytes, now_us: int
    ) -> list[Frame]:
        if number in self._packets:
            self.duplicates += 1
            return []
        self.received += 1
        self.first = number if self.first is None else min(self.first, number)
        self.last = number if self.last is None else max(self.last, number)
        self.times.add(rtp_time)
        self._packets[number] = _Packet(rtp_time, marker, payload, now_us)
        # It may complete its own unit, or prove where the next one begins.
        found = [self._frame_around(number), self._frame_around(number + 1)]
        return [frame for frame in found if frame is not None]

    @property
    def lost(self) -> int:
        """Numbers between the first and the last that never came."""
        if self.first is None or self.last is None:
            return 0
        return self.last - self.first + 1 - self.received

    def rest(self) -> list[Frame]:
        """At the end: units that are whole but for the proof that nothing preceded them."""
        return [
            frame
            for number, packet in sorted(self._packets.items())
            if packet.marker and not packet.is_used
            if (frame := self._frame_around(number, is_end=True)) is not None
        ]

    def _frame_around(self, number: int, *, is_end: bool = False) -> Frame | None:
        packet = self._packets.get(number)
        if packet is None or packet.is_used:
            return None
        first = last = number
        while self._continues(first - 1, packet.rtp_time):
            first -= 1
        while not self._packets[last].marker:
            last += 1
            if not self._continues(last, packet.rtp_time):
                return None
        before = self._packets.get(first - 1)
        starts_viewing = before is None and first == self.first
        if before is None and not starts_viewing and not is_end:
            return None
        return self._assemble(first, last, starts_viewing and not is_end)

    def _continues(self, number: int, rtp_time: int) -> bool:
        packet = self._packets.get(number)
        return packet is not None and packet.rtp_time == rtp_time

    def _assemble(self, first: int, last: int, starts_viewing: bool) -> Frame | None:
        packets = [self._packets[number] for number in range(first, last + 1)]
        try:
            nals = tuple(assemble([packet.payload for packet in packets]))
        except RtpParseError:
            if not starts_viewing:
                self.malformed += 1
                for packet in packets:
                    packet.is_used = True
            return None
        arrived_us = max(packet.arrival_us for packet in packets)
        frame = Frame(first, len(packets), packets[0].rtp_time, arrived_us, nals)
        if starts_viewing and not frame.starts_with_parameter_sets:
            return None  # its first packet may still come
        for packet in packets:
            packet.is_used = True
            packet.payload = b""
        return frame
