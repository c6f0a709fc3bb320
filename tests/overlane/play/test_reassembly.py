"""Access units out of packets in any order, at exact microseconds and over the wraps."""

import random

import pytest

from overlane.play.reassembly import HOLD_US, AccessUnit, VideoReassembler
from rtp.packet import RtpPacket
from rtp.payload.h264_packets import access_unit_hash, packetize

SPS, PPS = b"\x67\x64\x00\x1e", b"\x68\xeb"
FIRST_TIME = 2**32 - 6_000
FIRST_NUMBER = 65_530


def _frame(index: int) -> list[bytes]:
    """A key frame of seven packets, or one of three."""
    if index % 10 == 0:
        return [SPS, PPS, b"\x65\x88" + bytes([index + 1]) * 550]
    return [b"\x41\x9a" + bytes([index + 1]) * 250]


def _packets(frames: int, *, markers: bool = True) -> list[RtpPacket]:
    packets: list[RtpPacket] = []
    for index in range(frames):
        payloads = packetize(_frame(index), 100)
        for place, payload in enumerate(payloads):
            packets.append(
                RtpPacket(
                    payload_type=96,
                    sequence_number=(FIRST_NUMBER + len(packets)) & 0xFFFF,
                    timestamp=(FIRST_TIME + index * 3_000) & 0xFFFFFFFF,
                    ssrc=1,
                    payload=payload,
                    marker=markers and place == len(payloads) - 1,
                )
            )
    return packets


class _Feed:
    """Feeds packets by their place, one each 10 us."""

    def __init__(self, frames: int = 3, *, markers: bool = True) -> None:
        self.packets = _packets(frames, markers=markers)
        self.reassembler = VideoReassembler()
        self.now_us = 0
        self.units: list[AccessUnit] = []

    def __call__(self, *places: int) -> list[AccessUnit]:
        units: list[AccessUnit] = []
        for place in places:
            self.now_us += 10
            units += self.reassembler.receive(
                self.packets[place], FIRST_NUMBER + place, self.now_us
            )
        self.units += units
        return units

    def record_hash(self, index: int) -> str | None:
        return self.reassembler.records[(FIRST_TIME + index * 3_000) & 0xFFFFFFFF].hash


def test_frames_in_order() -> None:
    feed = _Feed()
    units = feed(*range(len(feed.packets)))
    assert [unit.nals for unit in units] == [_frame(0), _frame(1), _frame(2)]
    assert [(unit.first, unit.last) for unit in units] == [
        (65_530, 65_536),
        (65_537, 65_539),
        (65_540, 65_542),
    ]
    assert [unit.completed_us for unit in units] == [70, 100, 130]
    assert [unit.key for unit in units] == [True, False, False]
    assert [unit.rtp_time for unit in units] == [FIRST_TIME, FIRST_TIME + 3_000, 0]
    assert feed.record_hash(1) == access_unit_hash(_frame(1))


def test_a_late_repair_completes_its_frame_when_it_comes() -> None:
    feed = _Feed()
    units = feed(0, 1, 2, 3, 4, 6, 7, 8, 9, 5)
    assert [unit.first for unit in units] == [65_537, 65_530]
    assert [unit.completed_us for unit in units] == [90, 100]


def test_any_order_gives_the_same_frames() -> None:
    seed = 11
    for _ in range(50):
        feed = _Feed(5)
        order = list(range(len(feed.packets)))
        random.Random(seed).shuffle(order)
        feed(*order)
        last = {unit.rtp_time: unit for unit in feed.units}
        found = [last[(FIRST_TIME + index * 3_000) & 0xFFFFFFFF].nals for index in range(5)]
        assert found == [_frame(index) for index in range(5)], f"seed {seed}"
        assert all(record.start_proven for record in feed.reassembler.records.values())
        seed += 1


@pytest.mark.parametrize("missing", range(13))
def test_a_frame_with_a_packet_missing_is_never_whole_as_sent(missing: int) -> None:
    feed = _Feed()
    feed(*(place for place in range(13) if place != missing))
    index = 0 if missing < 7 else 1 if missing < 10 else 2
    whole = [
        feed.record_hash(each) == access_unit_hash(_frame(each))
        for each in range(3)
        if (FIRST_TIME + each * 3_000) & 0xFFFFFFFF in feed.reassembler.records
    ]
    assert whole.count(False) == 1
    assert not whole[index]


def test_without_the_packet_before_it_a_frame_is_only_likely_whole() -> None:
    feed = _Feed()
    feed(*range(9))  # without the last packet of frame 1
    (unit,) = feed(10, 11, 12)
    assert unit.nals == _frame(2)
    assert not feed.reassembler.records[0].start_proven
    assert feed(9)[0].nals == _frame(1)
    assert feed.reassembler.records[0].start_proven


def test_a_frame_that_lacks_its_parameter_sets_is_taken_back_when_they_come() -> None:
    feed = _Feed(11)
    start = 7 + 9 * 3
    feed(*range(start - 1))  # not the last packet of frame 9, nor the first of frame 10
    (likely,) = feed(*range(start + 1, start + 7))
    assert likely.nals == [_frame(10)[2]]
    feed(start - 1)
    (whole,) = feed(start)
    assert whole.nals == _frame(10)
    assert whole.first == FIRST_NUMBER + start


def test_the_time_change_ends_a_frame_without_marker() -> None:
    feed = _Feed(markers=False)
    assert feed(*range(7)) == []
    (unit,) = feed(7)
    assert (unit.nals, unit.completed_us) == (_frame(0), 70)


def test_joining_in_the_middle_of_a_frame_shows_from_the_next_one() -> None:
    feed = _Feed()
    units = feed(*range(3, 13))
    assert [unit.first for unit in units] == [65_537, 65_540]
    assert len(feed.reassembler.records) == 3


def test_a_frame_is_given_up_after_the_hold_and_memory_is_freed() -> None:
    feed = _Feed()
    feed(*range(5), *range(7, 13))
    feed.now_us += HOLD_US + 1_000
    assert feed(5) == []
    assert feed(6) == []
    assert feed.record_hash(0) is None
    assert feed.reassembler._groups == {}
    assert feed.reassembler._times == {}


def test_garbage_never_raises() -> None:
    rng = random.Random(5)
    reassembler = VideoReassembler()
    for number in range(5_000):
        packet = RtpPacket(
            payload_type=96,
            sequence_number=number,
            timestamp=number // 3,
            ssrc=1,
            payload=rng.randbytes(rng.randrange(1, 12)),
            marker=number % 3 == 2,
        )
        reassembler.receive(packet, number, number * 1_000)
    assert reassembler.malformed > 0
