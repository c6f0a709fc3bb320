"""The buffer model at exact microseconds. Frames are 40 ms apart."""

from overlane.play.playout import ArrivedFrame, PlayoutModel, PlayoutResult, PlayoutState, simulate

INTERVAL_US = 40_000


def _play(
    frames: list[ArrivedFrame], until_us: int, media_end_us: int | None = None
) -> PlayoutResult:
    return simulate(frames, PlayoutModel(INTERVAL_US), until_us, media_end_us)


def _live(first: int, count: int, delay_us: int = 0) -> list[ArrivedFrame]:
    return [
        ArrivedFrame(n * INTERVAL_US + delay_us, n * INTERVAL_US)
        for n in range(first, first + count)
    ]


def test_a_live_stream_starts_after_its_target_and_never_freezes() -> None:
    result = _play(_live(0, 100), 4_000_000)
    assert result.started_us == 280_000  # with the eighth frame 320 ms are there
    assert (result.freezes, result.frozen_us, result.skipped, result.late) == (0, 0, 0, 0)
    assert result.shown == 94  # one each 40 ms from 280 to 4,000 ms


def test_a_slow_stream_starts_when_the_target_has_passed() -> None:
    model = PlayoutModel(INTERVAL_US)
    model.on_frame(0, 1_000)
    assert (model.state, model.next_timer_us()) == (PlayoutState.BUFFERING, 301_000)
    model.handle_timer(300_999)
    assert model.state is PlayoutState.BUFFERING
    model.handle_timer(301_000)
    assert (model.state, model.next_timer_us()) == (PlayoutState.PLAYING, 341_000)


def test_an_outage_longer_than_the_buffer_is_one_freeze() -> None:
    outage = [
        ArrivedFrame(max(frame.completed_us, 2_000_000), frame.media_us) for frame in _live(26, 50)
    ]
    result = _play(_live(0, 26) + outage, 3_000_000)
    # Frame n is due at 280 ms + 40 n: frame 26 at 1,320 ms, and it is not there before 2,000.
    assert (result.freezes, result.frozen_us) == (1, 680_000)


def test_an_outage_within_the_buffer_is_no_freeze() -> None:
    outage = [
        ArrivedFrame(max(frame.completed_us, 1_310_000), frame.media_us) for frame in _live(26, 50)
    ]
    result = _play(_live(0, 26) + outage, 3_000_000)
    assert (result.freezes, result.late) == (0, 0)


def test_a_missing_frame_is_passed_over() -> None:
    frames = _live(0, 100)
    del frames[50]
    result = _play(frames, 4_000_000)
    assert (result.freezes, result.skipped, result.shown) == (0, 1, 93)


def test_a_frame_after_its_turn_is_late() -> None:
    frames = _live(0, 100)
    frames[50] = ArrivedFrame(2_320_001, frames[50].media_us)  # the one after it is due at 2,320
    result = _play(frames, 4_000_000)
    assert (result.freezes, result.skipped, result.late) == (0, 1, 1)


def test_a_late_joiner_plays_faster_until_the_target_is_reached() -> None:
    cached = [ArrivedFrame(1_000 * n, n * INTERVAL_US) for n in range(50)]
    live = [ArrivedFrame(40_000 * (n - 48), n * INTERVAL_US) for n in range(50, 250)]
    result = _play(cached + live, 8_000_000)
    assert result.started_us == 7_000
    assert result.freezes == 0
    # 1.92 s are there, 0.3 s are wanted: the 1.62 s too many go at 0.5 s a second.
    assert abs(result.fast_us - 3_240_000) <= 2 * INTERVAL_US
    assert result.last_shown_us is not None
    assert result.last_shown_media_us is not None
    newest_us = result.last_shown_us + 48 * INTERVAL_US
    assert abs(newest_us - result.last_shown_media_us - 300_000) <= 2 * INTERVAL_US


def test_the_end_of_the_stream_is_no_freeze_but_a_silent_one_is() -> None:
    frames = _live(0, 20)
    ended = _play(frames, 5_000_000, media_end_us=19 * INTERVAL_US)
    assert (ended.freezes, ended.frozen_us, ended.shown) == (0, 0, 20)
    silent = _play(frames, 5_000_000)
    assert (silent.freezes, silent.frozen_us) == (1, 5_000_000 - 1_080_000)
    lost_tail = _play(frames, 5_000_000, media_end_us=21 * INTERVAL_US)
    assert lost_tail.freezes == 1


def test_frames_in_decoding_order_are_shown_in_theirs() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    frames = [ArrivedFrame(place * INTERVAL_US, n * INTERVAL_US) for place, n in enumerate(order)]
    result = _play(frames, 2_000_000, media_end_us=9 * INTERVAL_US)
    assert (result.shown, result.skipped, result.late, result.freezes) == (10, 0, 0, 0)


def test_nothing_came() -> None:
    result = _play([], 1_000_000)
    assert (result.started_us, result.freezes, result.shown) == (None, 0, 0)
