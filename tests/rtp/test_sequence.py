"""Wrapped numbers; every test crosses the wrap."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import RtpValueError
from rtp.sequence import SequenceUnwrapper, add, difference, is_newer

WIDTHS = pytest.mark.parametrize("bits", [16, 32])


@WIDTHS
def test_difference_crosses_the_wrap(bits: int) -> None:
    top = (1 << bits) - 1
    assert difference(0, top, bits) == 1
    assert difference(top, 0, bits) == -1
    assert difference(5, top - 4, bits) == 10
    assert difference(7, 7, bits) == 0


@WIDTHS
def test_half_a_cycle_counts_as_older(bits: int) -> None:
    half = 1 << (bits - 1)
    for start in (0, half - 1, half, (1 << bits) - 1):
        opposite = add(start, half, bits)
        assert difference(opposite, start, bits) == -half
        assert not is_newer(opposite, start, bits)
        assert not is_newer(start, opposite, bits)
        assert is_newer(add(start, half - 1, bits), start, bits)


def test_sixteen_bits_is_the_default() -> None:
    assert is_newer(0, 65_535)
    assert not is_newer(65_535, 0)
    assert add(65_535, 1) == 0
    assert add(0, -1) == 65_535


@given(st.integers(0, 65_535), st.integers(-32_768, 32_767))
def test_difference_inverts_add(value: int, step: int) -> None:
    assert difference(add(value, step), value) == step


def test_unwrapper_follows_three_cycles() -> None:
    unwrapper = SequenceUnwrapper(16)
    assert unwrapper.highest is None
    for extended in range(65_530, 65_530 + 3 * 65_536, 7):
        assert unwrapper.unwrap(extended & 0xFFFF) == extended
        assert unwrapper.highest == extended


def test_unwrapper_places_late_numbers_before_the_wrap() -> None:
    unwrapper = SequenceUnwrapper(16)
    assert [unwrapper.unwrap(v) for v in (65_534, 1, 65_535, 0, 2)] == [
        65_534,
        65_537,
        65_535,
        65_536,
        65_538,
    ]
    assert unwrapper.highest == 65_538


def test_number_before_the_first_is_negative() -> None:
    unwrapper = SequenceUnwrapper(16)
    assert [unwrapper.unwrap(v) for v in (0, 65_535, 1)] == [0, -1, 1]


def test_unwrapper_32_bits_and_reset() -> None:
    unwrapper = SequenceUnwrapper(32)
    assert unwrapper.unwrap(0xFFFFFFF0) == 0xFFFFFFF0
    assert unwrapper.unwrap(0x10) == 0x1_0000_0010
    unwrapper.reset()
    assert unwrapper.unwrap(0x10) == 0x10


@pytest.mark.parametrize("value", [-1, 65_536])
def test_unwrapper_refuses_what_does_not_fit(value: int) -> None:
    unwrapper = SequenceUnwrapper(16)
    unwrapper.unwrap(65_535)
    with pytest.raises(RtpValueError):
        unwrapper.unwrap(value)
    assert unwrapper.unwrap(0) == 65_536


def test_unwrapper_refuses_too_few_bits() -> None:
    with pytest.raises(RtpValueError):
        SequenceUnwrapper(1)


@given(
    bits=st.sampled_from([8, 16, 32]),
    jitter=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_unwrapper_undoes_any_reordering_within_half_a_cycle(
    bits: int, jitter: int, seed: int
) -> None:
    rng = random.Random(seed)
    start = (1 << bits) - 150
    sent = [n for n in range(start, start + 600) if rng.random() < 0.9]
    arrived = sorted(sent, key=lambda n: n + rng.random() * jitter)
    unwrapper = SequenceUnwrapper(bits)
    offset = None
    for extended in arrived:
        unwrapped = unwrapper.unwrap(extended & ((1 << bits) - 1))
        offset = unwrapped - extended if offset is None else offset
        assert unwrapped - extended == offset
    assert offset in (0, -(1 << bits))
