"""The pattern moves, repeats by seed, and shows its number."""

import numpy as np
import pytest

from overlane.publish.pattern import Pattern, tone


@pytest.mark.parametrize(("width", "height"), [(640, 360), (64, 64), (1280, 720), (126, 98)])
def test_frames_have_the_shape_of_yuv420p_and_move(width: int, height: int) -> None:
    pattern = Pattern(width, height, seed=1)
    first, second = pattern.draw(0), pattern.draw(1)
    assert first.shape == (height * 3 // 2, width)
    assert np.mean(first != second) > 0.2


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(Pattern(64, 64, 3).draw(17), Pattern(64, 64, 3).draw(17))
    assert not np.array_equal(Pattern(64, 64, 3).draw(17), Pattern(64, 64, 4).draw(17))


def test_the_counter_is_black_and_white_and_tells_the_number() -> None:
    pattern = Pattern(640, 360, 1)
    box = slice(16, 88), slice(16, 312)
    shown = {pattern.draw(number)[box].tobytes() for number in range(0, 400, 7)}
    assert len(shown) == len(range(0, 400, 7))
    assert set(np.unique(pattern.draw(123)[box])) == {16, 235}


def test_the_tone_is_continuous_and_beeps_each_second() -> None:
    whole = tone(0, 48_000)
    parts = np.concatenate([tone(start, 960) for start in range(0, 48_000, 960)], axis=1)
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole, tone(48_000, 48_000))
