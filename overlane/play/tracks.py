"""A track as a player receives it: one reassembly per SSRC, one record per frame or packet.

A node that forgot its viewer, and is asked anew, numbers its packets afresh under another SSRC; RTP
times go on, so records are kept by RTP time.
"""

from dataclasses import dataclass

from overlane.play.reassembly import AccessUnit, FrameRecord, VideoReassembler
from overlane.play.sequence_log import SequenceLog
from overlane.publish.manifest import audio_hash
from rtp.packet import RtpPacket


@dataclass(frozen=True, slots=True)
class AudioUnit:
    """One Opus packet, to decode."""

    epoch: int
    first: int
    last: int
    rtp_time: int
    completed_us: int
    key: bool
    payload: bytes


class _Track:
    """What both kinds count."""

    def __init__(self) -> None:
        self._logs: dict[int, SequenceLog] = {}
        self.first_arrival_us: int | None = None
        self.last_arrival_us: int | None = None

    @property
    def packets_received(self) -> int:
        return sum(log.received for log in self._logs.values())

    @property
    def packets_lost(self) -> int:
        return sum(log.lost for log in self._logs.values())

    @property
    def packets_duplicate(self) -> int:
        return sum(log.duplicates for log in self._logs.values())

    def _log(self, packet: RtpPacket, now_us: int) -> int | None:
        """The extended sequence number, or None for a duplicate."""
        if self.first_arrival_us is None:
            self.first_arrival_us = now_us
        self.last_arrival_us = now_us
        return self._logs.setdefault(packet.ssrc, SequenceLog()).add(packet.sequence_number)


class VideoTrack(_Track):
    """Packets in, whole access units out."""

    def __init__(self) -> None:
        super().__init__()
        self._reassemblers: dict[int, VideoReassembler] = {}

    def receive(self, packet: RtpPacket, now_us: int) -> list[AccessUnit]:
        extended = self._log(packet, now_us)
        if extended is None or not packet.payload:  # no payload: padding sent as a probe
            return []
        if packet.ssrc not in self._reassemblers:
            self._reassemblers[packet.ssrc] = VideoReassembler(len(self._reassemblers))
        units = self._reassemblers[packet.ssrc].receive(packet, extended, now_us)
        return [unit for unit in units if not self._came_before(packet.ssrc, unit.rtp_time)]

    def _came_before(self, ssrc: int, rtp_time: int) -> bool:
        """Whether a node that numbers afresh repeats a frame that was whole already."""
        records = (
            each.records.get(rtp_time) for key, each in self._reassemblers.items() if key != ssrc
        )
        return any(record is not None and record.completed_us is not None for record in records)

    def records(self) -> dict[int, FrameRecord]:
        """By RTP time; of a frame that came under two SSRCs, the one whole first."""
        merged: dict[int, FrameRecord] = {}
        for reassembler in self._reassemblers.values():
            for rtp_time, record in reassembler.records.items():
                if rtp_time not in merged or merged[rtp_time].completed_us is None:
                    merged[rtp_time] = record
        return merged

    @property
    def malformed(self) -> int:
        return sum(each.malformed for each in self._reassemblers.values())


class AudioTrack(_Track):
    """Each packet is a unit of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[int, FrameRecord] = {}
        self._epochs: dict[int, int] = {}

    def receive(self, packet: RtpPacket, now_us: int) -> AudioUnit | None:
        extended = self._log(packet, now_us)
        if extended is None or not packet.payload:
            return None
        epoch = self._epochs.setdefault(packet.ssrc, len(self._epochs))
        self._records.setdefault(
            packet.timestamp,
            FrameRecord(
                rtp_time=packet.timestamp,
                first_arrival_us=now_us,
                completed_us=now_us,
                hash=audio_hash(packet.payload),
                key=True,
                start_proven=True,
            ),
        )
        return AudioUnit(epoch, extended, extended, packet.timestamp, now_us, True, packet.payload)

    def records(self) -> dict[int, FrameRecord]:
        return self._records
