"""Which frames count. RTP times cross 2^32 in every test."""

import pytest

from overlane.player.frames import Frame
from overlane.player.verdict import IN_TIME_US, Verdict, judge, percentile
from overlane.publish.manifest import Header, Manifest, SentFrame, VideoTrack
from rtp.payload.h264_packets import access_unit_hash

DELAY_US = 100_000
FRAME_US = 33_333
FIRST_TIME = 2**32 - 9000
COUNT = 200


def nals(index: int) -> tuple[bytes, ...]:
    return (b"\x67\x42\x00\x1e", bytes([0x41, 1 + index % 250]))


def rtp_time(index: int) -> int:
    return (FIRST_TIME + 3000 * index) % 2**32


def manifest() -> Manifest:
    video = VideoTrack(payload_type=96, clock_rate=90_000, ssrc=1, width=64, height=64, fps=30)
    frames = [
        SentFrame(
            frame=i,
            capture_us=i * FRAME_US,
            sent_us=i * FRAME_US,
            rtp_time=rtp_time(i),
            packets=1,
            bytes=10,
            key=i % 60 == 0,
            hash=access_unit_hash(nals(i)),
        )
        for i in range(COUNT)
    ]
    header = Header(version=1, stream="demo", clock="CLOCK_MONOTONIC", video=video, audio=None)
    return Manifest(header=header, frames=frames, audio=[], end=None)


def arrived(index: int, delay_us: int = DELAY_US) -> Frame:
    return Frame(index, 1, rtp_time(index), index * FRAME_US + delay_us, nals(index))


def verdict(frames: list[Frame], stopped_us: int = 10**9) -> Verdict:
    times = {frame.rtp_time for frame in frames}
    return judge(manifest(), frames, times, frames[0].complete_us, stopped_us)


def test_everything_whole_and_in_time_is_intact() -> None:
    found = verdict([arrived(i) for i in range(COUNT)])

    assert (found.expected, found.intact, found.late) == (COUNT, COUNT, 0)
    assert found.smallest_delay_us == DELAY_US
    assert found.first_intact_key_us == DELAY_US


@pytest.mark.parametrize(("extra_us", "late"), [(IN_TIME_US, 0), (IN_TIME_US + 1, 1)])
def test_the_deadline_is_exact(extra_us: int, late: int) -> None:
    frames = [arrived(i) for i in range(COUNT)]
    frames[150] = arrived(150, DELAY_US + extra_us)

    found = verdict(frames)

    assert (found.late, found.intact) == (late, COUNT - late)


def test_late_frames_of_the_first_three_seconds_are_only_reported() -> None:
    frames = [arrived(i) for i in range(COUNT)]
    frames[20] = arrived(20, 1_000_000)

    found = verdict(frames)

    assert (found.late_in_first_3s, found.late, found.intact) == (1, 0, COUNT)


def test_damaged_and_missing_frames_are_told_apart() -> None:
    frames = [arrived(i) for i in range(COUNT) if i != 100]
    frames[50] = Frame(50, 1, rtp_time(50), 50 * FRAME_US + DELAY_US, (b"\x41\xff",))

    found = verdict(frames)

    assert (found.damaged, found.incomplete, found.intact) == (1, 1, COUNT - 2)


def test_expected_begins_with_the_first_delivered_frame_and_ends_with_the_last_due() -> None:
    frames = [arrived(i) for i in range(60, COUNT)]
    stopped_us = 180 * FRAME_US + DELAY_US + IN_TIME_US

    found = verdict(frames, stopped_us)

    assert found.expected == 181 - 60


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 3
    assert percentile([], 0.5) is None
