"""The playout buffer, to the microsecond."""

from overlane.player.playout import TARGET_US, play_out

FRAME_US = 40_000


def steady(count: int, delay_us: int = 0) -> list[tuple[int, int | None]]:
    return [(i * FRAME_US, 1_000_000 + i * FRAME_US + delay_us) for i in range(count)]


def test_steady_frames_start_after_the_buffer_is_full_and_never_freeze() -> None:
    result = play_out(steady(100))

    assert result.started_us == 1_000_000 + TARGET_US
    assert (result.freezes, result.skipped) == (0, 0)


def test_a_cached_gop_starts_at_once() -> None:
    frames = [(i * FRAME_US, 1_000_000) for i in range(25)] + [
        ((25 + i) * FRAME_US, 1_000_000 + i * FRAME_US) for i in range(50)
    ]

    result = play_out(frames)

    assert result.started_us == 1_000_000
    assert result.freezes == 0


def test_silence_longer_than_the_buffer_is_one_freeze_of_the_difference() -> None:
    frames = steady(20) + [
        (i * FRAME_US, 1_000_000 + i * FRAME_US + 500_000) for i in range(20, 60)
    ]

    result = play_out(frames)

    assert result.freezes == 1
    assert result.freeze_us == 500_000 - TARGET_US


def test_silence_within_the_buffer_is_no_freeze() -> None:
    frames = steady(20) + [
        (i * FRAME_US, 1_000_000 + i * FRAME_US + 250_000) for i in range(20, 60)
    ]

    assert play_out(frames).freezes == 0


def test_a_missing_frame_is_passed_over() -> None:
    frames = steady(50)
    frames[30] = (frames[30][0], None)

    result = play_out(frames)

    assert (result.freezes, result.skipped) == (0, 1)


def test_nothing_received_is_no_play() -> None:
    assert play_out([(0, None), (FRAME_US, None)]).started_us is None
