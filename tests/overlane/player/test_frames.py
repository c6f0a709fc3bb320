"""Access units from packets in any order. Sequence numbers cross 65535 in every test."""

import random

import pytest

from overlane.player.frames import Frame, FrameBuilder
from rtp.payload.h264_packets import packetize

SPS, PPS = b"\x67\x42\x00\x1e", b"\x68\xce\x38\x80"
FIRST = 65_530


def unit(index: int, *, key: bool = False) -> list[bytes]:
    """NAL units of one access unit, several packets long."""
    body = bytes([index & 0xFF]) * 3000
    return [SPS, PPS, b"\x65\x88" + body] if key else [b"\x41\x9a" + body]


def packets(units: int) -> list[tuple[int, int, bool, bytes]]:
    """(number, rtp_time, marker, payload) of a broadcast that begins with a key frame."""
    found = []
    number = FIRST
    for index in range(units):
        payloads = packetize(unit(index, key=index == 0), 1200)
        for place, payload in enumerate(payloads):
            found.append((number, 3000 * index, place == len(payloads) - 1, payload))
            number += 1
    return found


def feed(builder: FrameBuilder, items: list[tuple[int, int, bool, bytes]]) -> list[Frame]:
    found = []
    for at, (number, rtp_time, marker, payload) in enumerate(items):
        found += builder.feed(number, rtp_time, marker, payload, 1000 + at)
    return found


def test_frames_in_order_are_complete_with_their_last_packet() -> None:
    builder = FrameBuilder()

    frames = feed(builder, packets(4))

    assert [frame.rtp_time for frame in frames] == [0, 3000, 6000, 9000]
    assert [list(frame.nals) for frame in frames] == [unit(i, key=i == 0) for i in range(4)]
    assert frames[0].complete_us == 1000 + frames[0].packets - 1
    assert builder.lost == 0


@pytest.mark.parametrize("seed", range(20))
def test_any_order_gives_the_same_frames(seed: int) -> None:
    items = packets(6)
    random.Random(seed).shuffle(items)
    builder = FrameBuilder()

    frames = feed(builder, items) + builder.rest()

    assert sorted(frame.rtp_time for frame in frames) == [3000 * i for i in range(6)], f"{seed=}"
    assert {f.rtp_time: list(f.nals) for f in frames}[0] == unit(0, key=True)


def test_a_late_repair_completes_its_frame_at_its_own_time() -> None:
    items = packets(3)
    late = items.pop(5)
    builder = FrameBuilder()
    before = feed(builder, items)

    after = builder.feed(*late, 9_000_000)

    assert late[1] == 3000
    assert 3000 not in [frame.rtp_time for frame in before]
    assert [(frame.rtp_time, frame.complete_us) for frame in after] == [(3000, 9_000_000)]


def test_a_missing_first_packet_of_the_viewing_is_waited_for() -> None:
    items = packets(2)
    builder = FrameBuilder()

    assert 0 not in [frame.rtp_time for frame in feed(builder, items[1:])]
    assert [frame.rtp_time for frame in builder.feed(*items[0], 7)] == [0]


def test_a_lost_packet_costs_one_frame_only() -> None:
    items = packets(4)
    lost = next(i for i, item in enumerate(items) if item[1] == 3000)
    del items[lost + 1]
    builder = FrameBuilder()

    frames = feed(builder, items) + builder.rest()

    assert [frame.rtp_time for frame in frames] == [0, 6000, 9000]
    assert builder.lost == 1


def test_duplicates_are_counted_and_change_nothing() -> None:
    items = packets(2)
    builder = FrameBuilder()

    frames = feed(builder, items + items)

    assert len(frames) == 2
    assert builder.duplicates == len(items)
