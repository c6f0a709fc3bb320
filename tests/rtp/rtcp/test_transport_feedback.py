"""Transport-wide feedback: written, read in Python and natively, and refused alike."""

from __future__ import annotations

import random

import pytest

from rtp.errors import RtpParseError, RtpValueError
from rtp.rtcp.compound import parse_compound, serialise_compound
from rtp.rtcp.feedback import Feedback
from rtp.rtcp.transport_cc import read
from rtp.rtcp.transport_feedback import (
    TransportFeedback,
    build_transport_feedback,
    parse_transport_feedback,
)

# Written by hand from 3.1: base 65534, 9 packets, reference 1 (64 ms), report 7; a run of three
# small deltas, a vector of two-bit symbols (none, large, small, none ...); deltas 0, 4, 255, -1, 8.
BY_HAND = bytes.fromhex(
    "8fcd0007 00000077 0000ab01 fffe0009 00000107 2003 c900 0004ff ffff 08 0000"
)


def datagram(feedback: TransportFeedback) -> bytes:
    return serialise_compound([build_transport_feedback(feedback).build()])


def test_one_written_by_hand() -> None:
    feedback = parse_transport_feedback(Feedback.parse(parse_compound(BY_HAND)[0]))
    times = (64_000, 65_000, 128_750, None, 128_500, 130_500, None, None, None)
    assert feedback == TransportFeedback(0x77, 0xAB01, 65_534, 7, times)
    assert feedback.by_number()[65_535] == 65_000
    assert feedback.by_number()[0] == 128_750
    numbers = [(65_534 + at) & 0xFFFF for at in range(9)]
    assert read(BY_HAND) == (0x77, 0xAB01, 7, list(zip(numbers, times, strict=True)))


def random_feedback(rng: random.Random) -> TransportFeedback:
    time = rng.randrange(-(1 << 22), 1 << 23) * 64_000 if rng.random() < 0.9 else 0
    loss, jump = rng.choice((0, 0.1, 0.9)), rng.choice((0, 0.05, 0.5))
    times: list[int | None] = []
    for _ in range(rng.choice((1, 6, 7, 8, 13, 14, 15, 100, 2000))):
        step = rng.randrange(-8_000, 8_000) if rng.random() < jump else rng.randrange(256)
        time += step * 250
        times.append(None if rng.random() < loss else time)
    base = rng.choice((65_535, 65_500, 0, rng.randrange(1 << 16)))
    return TransportFeedback(1, 2, base, rng.randrange(256), tuple(times))


@pytest.mark.parametrize("seed", range(200))
def test_what_is_written_is_read(seed: int) -> None:
    """Across the wrap of the numbers. A time that does not fit the reference is refused."""
    feedback = random_feedback(random.Random(seed))
    try:
        data = datagram(feedback)
    except RtpValueError:
        return
    assert parse_transport_feedback(Feedback.parse(parse_compound(data)[0])) == feedback
    found = read(data)
    assert found is not None
    assert dict(found[3]) == dict(feedback.by_number())
    assert [number for number, _ in found[3]] == list(feedback.by_number())


def test_damaged_ones_are_refused_alike() -> None:
    """Bits changed and ends cut: the native reader and the Python one say the same."""
    rng = random.Random(9)
    refused = 0
    for _ in range(2000):
        feedback = random_feedback(rng)
        try:
            fci = bytearray(build_transport_feedback(feedback).fci)
        except RtpValueError:
            continue
        for _ in range(rng.choice((0, 1, 3))):
            fci[rng.randrange(min(len(fci), 30))] ^= 1 << rng.randrange(8)
        del fci[4 * rng.randrange(1, len(fci) // 4 + 1) :]
        damaged = Feedback(205, 15, 1, 2, bytes(fci))
        native = read(serialise_compound([damaged.build()]))
        try:
            expected = parse_transport_feedback(damaged)
        except RtpParseError:
            refused += 1
            assert native is None
            continue
        assert native is not None
        assert [time for _, time in native[3]] == list(expected.arrivals_us)
    assert refused > 300


@pytest.mark.parametrize(
    "feedback",
    [
        TransportFeedback(1, 2, 0, 0, ()),
        TransportFeedback(1, 2, 0, 0, (64_000 << 23,)),
        TransportFeedback(1, 2, 0, 0, (0, 250 << 15)),
        TransportFeedback(1, 2, 0, 0, (None,) * 65_536),
    ],
)
def test_what_does_not_fit_is_not_written(feedback: TransportFeedback) -> None:
    with pytest.raises(RtpValueError):
        build_transport_feedback(feedback)


@pytest.mark.parametrize("packet_type", [200, 201, 206])
def test_other_rtcp_is_none(packet_type: int) -> None:
    data = bytearray(BY_HAND)
    data[1] = packet_type
    assert read(bytes(data)) is None
    assert read(b"") is None
    with pytest.raises(RtpParseError):
        parse_transport_feedback(Feedback(206, 15, 1, 2, BY_HAND[12:]))
