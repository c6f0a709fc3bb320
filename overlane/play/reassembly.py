"""RTP packets of one video SSRC, in any order, to access units. Pure; time is an argument.

An access unit is whole when its packets are consecutive from one frame boundary to the next (a
change of RTP time, or the marker). Where the packet before its first one is missing, the payload
must show the begin of a picture; whether parameter sets were lost before it, only a hash can tell.
"""

from dataclasses import dataclass, field

from rtp import constants as c
from rtp.errors import RtpParseError
from rtp.packet import RtpPacket
from rtp.payload.h264_packets import access_unit_hash, assemble

# Ours: longer than any repair takes (a node answers from at most a few seconds of memory).
HOLD_US = 3_000_000
_FIRST_MB_IS_ZERO = 0x80  # a slice header begins with ue(v) 0, the single bit 1 (H.264 7.3.3)


@dataclass(slots=True)
class FrameRecord:
    """What came of one access unit. completed_us is None until it is whole."""

    rtp_time: int
    first_arrival_us: int
    completed_us: int | None = None
    hash: str | None = None
    key: bool = False
    start_proven: bool = False
    """Its first packet follows another access unit's packet, or is the first of all."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """A whole access unit, to decode. epoch rises with each new SSRC; sequence numbers extended."""

    epoch: int
    first: int
    last: int
    rtp_time: int
    completed_us: int
    key: bool
    nals: list[bytes]


@dataclass(slots=True)
class _Group:
    """Packets of one RTP time."""

    record: FrameRecord
    payloads: dict[int, bytes] = field(default_factory=dict)
    first: int = 0
    last: int = -1
    marked: bool = False
    newest_arrival_us: int = 0


class VideoReassembler:
    """Feed it packets that are no duplicates, with extended sequence numbers."""

    def __init__(self, epoch: int = 0) -> None:
        self._epoch = epoch
        self._groups: dict[int, _Group] = {}
        self._times: dict[int, int] = {}
        self._lowest: int | None = None
        self.records: dict[int, FrameRecord] = {}
        self.malformed = 0

    def receive(self, packet: RtpPacket, extended: int, now_us: int) -> list[AccessUnit]:
        """The access units that this packet makes whole: its own, or a neighbour of it."""
        self._expire(now_us)
        record = self.records.get(packet.timestamp)
        if record is not None and packet.timestamp not in self._groups:
            return []  # later than HOLD_US: its frame was given up
        group = self._add(packet, extended, now_us)
        touched = [group]
        for neighbour in (extended - 1, extended + 1):
            other = self._groups.get(self._times.get(neighbour, packet.timestamp))
            if other is not None and other is not group:
                touched.append(other)
        units = [self._complete(each, each is group) for each in touched]
        return [unit for unit in units if unit is not None]

    def _add(self, packet: RtpPacket, extended: int, now_us: int) -> _Group:
        group = self._groups.get(packet.timestamp)
        if group is None:
            record = FrameRecord(packet.timestamp, now_us)
            group = _Group(record, first=extended, last=extended)
            self._groups[packet.timestamp] = group
            self.records[packet.timestamp] = record
        self._times[extended] = packet.timestamp
        self._lowest = extended if self._lowest is None else min(self._lowest, extended)
        group.payloads[extended] = packet.payload
        if extended >= group.last:
            group.last, group.marked = extended, packet.marker
        group.first = min(group.first, extended)
        group.newest_arrival_us = max(group.newest_arrival_us, now_us)
        group.record.first_arrival_us = min(group.record.first_arrival_us, now_us)
        return group

    def _complete(self, group: _Group, grown: bool) -> AccessUnit | None:
        """The access unit if it is whole now and was not before; also if it grew since."""
        record = group.record
        if group.last - group.first + 1 != len(group.payloads) or not self._ends(group):
            record.completed_us = record.hash = None  # it seemed whole, and an earlier packet came
            return None
        record.start_proven = group.first == self._lowest or group.first - 1 in self._times
        if record.completed_us is not None and not grown:
            return None
        if not _begins_picture(group.payloads[group.first]):
            return None
        try:
            nals = assemble(group.payloads[number] for number in sorted(group.payloads))
        except RtpParseError:
            self.malformed += 1
            return None
        record.completed_us = group.newest_arrival_us
        record.hash = access_unit_hash(nals)
        record.key = any(nal[0] & c.NAL_TYPE_MASK == c.NAL_IDR_SLICE for nal in nals)
        return AccessUnit(
            self._epoch,
            group.first,
            group.last,
            record.rtp_time,
            group.newest_arrival_us,
            record.key,
            nals,
        )

    def _ends(self, group: _Group) -> bool:
        return group.marked or group.last + 1 in self._times

    def _expire(self, now_us: int) -> None:
        """Forget payloads of frames that nothing was added to for HOLD_US, oldest first."""
        while self._groups:
            rtp_time, group = next(iter(self._groups.items()))
            if now_us - group.newest_arrival_us < HOLD_US:
                return
            del self._groups[rtp_time]
            for number in group.payloads:
                self._times.pop(number, None)


def _begins_picture(payload: bytes) -> bool:
    """Whether this can be the first payload of an access unit (RFC 6184 5.6 to 5.8)."""
    if len(payload) < 2:
        return False
    structure = payload[0] & c.NAL_TYPE_MASK
    if structure == c.NAL_FU_A:
        if not payload[1] & c.FU_START:
            return False
        return _begins_nal(payload[1] & c.NAL_TYPE_MASK, payload[2:3])
    if structure == c.NAL_STAP_A:
        first = 1 + c.STAP_A_LENGTH_BYTES
        header = payload[first : first + 1]
        return bool(header) and _begins_nal(header[0] & c.NAL_TYPE_MASK, payload[first + 1 :])
    return _begins_nal(structure, payload[1:2])


def _begins_nal(nal_type: int, body: bytes) -> bool:
    if c.NAL_SLICE <= nal_type <= c.NAL_IDR_SLICE:
        return bool(body) and bool(body[0] & _FIRST_MB_IS_ZERO)
    return True
