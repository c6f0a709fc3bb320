"""Losses and duplicates over the wrap."""

import random

from overlane.play.sequence_log import SequenceLog


def test_wrap_reordering_duplicates_and_losses() -> None:
    log = SequenceLog()
    extended = [log.add(number) for number in (65_534, 0, 65_535, 0, 3, 2)]
    assert extended == [65_534, 65_536, 65_535, None, 65_539, 65_538]
    assert (log.received, log.duplicates, log.lost) == (5, 1, 1)
    assert log.add(1) == 65_537
    assert log.lost == 0


def test_a_packet_before_the_first_counts() -> None:
    log = SequenceLog()
    log.add(0)
    assert log.add(65_534) == -2
    assert (log.lowest, log.lost) == (-2, 1)


def test_nothing_is_lost_before_anything_came() -> None:
    assert SequenceLog().lost == 0


def test_memory_is_bounded_and_duplicates_are_still_found() -> None:
    rng = random.Random(3)
    log = SequenceLog()
    for number in range(300_000):
        assert log.add(number & 0xFFFF) == number
        if rng.random() < 0.01:
            assert log.add((number - rng.randrange(1_000)) & 0xFFFF) is None or number < 1_000
    assert len(log._seen) <= 1 << 17
