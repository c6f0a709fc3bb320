"""NACK, PLI and FIR: vectors, round trips across the wrap, refusals."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import ParseErrorKind, RtpParseError, RtpValueError
from rtp.rtcp.compound import RtcpPacket, parse_compound
from rtp.rtcp.feedback import (
    Feedback,
    build_fir,
    build_nack,
    build_pli,
    is_pli,
    pack_nack_items,
    parse_fir,
    parse_nack,
)

u32 = st.integers(0, 2**32 - 1)


def reparsed(feedback: Feedback) -> Feedback:
    (packet,) = parse_compound(feedback.build().serialise())
    return Feedback.parse(packet)


def test_nack_vector_across_the_wrap() -> None:
    nack = build_nack(1, 2, [65_534, 65_535, 0, 14, 15])
    # 65534 + 1, + 2, + 16; 15 is one too far for the first item.
    expected = "81cd0004 00000001 00000002 fffe8003 000f0000"
    assert nack.build().serialise() == bytes.fromhex(expected)
    assert parse_nack(reparsed(nack)) == [65_534, 65_535, 0, 14, 15]


def test_pli_vector() -> None:
    pli = build_pli(1, 2)
    assert pli.build().serialise() == bytes.fromhex("81ce0002 00000001 00000002")
    assert is_pli(reparsed(pli))
    assert not is_pli(build_nack(1, 2, [3]))


def test_fir_vector() -> None:
    fir = build_fir(1, [(0xAABBCCDD, 255), (3, 0)])
    expected = "84ce0006 00000001 00000000 aabbccdd ff000000 00000003 00000000"
    assert fir.build().serialise() == bytes.fromhex(expected)
    assert parse_fir(reparsed(fir)) == [(0xAABBCCDD, 255), (3, 0)]


@given(
    st.integers(65_400, 65_535),
    st.lists(st.integers(0, 300), min_size=1, max_size=60),
)
def test_nack_round_trip(first: int, offsets: list[int]) -> None:
    numbers = [(first + offset) & 0xFFFF for offset in offsets]
    in_order = [(first + offset) & 0xFFFF for offset in sorted(set(offsets))]
    assert parse_nack(reparsed(build_nack(1, 2, numbers))) == in_order


@given(st.sets(st.integers(0, 0xFFFF), min_size=1, max_size=100))
def test_even_numbers_far_apart_are_all_named(numbers: set[int]) -> None:
    assert sorted(parse_nack(build_nack(1, 2, numbers))) == sorted(numbers)


def test_as_few_items_as_possible() -> None:
    run = [(65_500 + n) & 0xFFFF for n in range(17 * 4)]
    assert pack_nack_items(reversed(run)) == [(run[17 * n], 0xFFFF) for n in range(4)]
    assert pack_nack_items([]) == []


@given(u32, st.lists(st.tuples(u32, st.integers(0, 255)), min_size=1, max_size=9))
def test_fir_round_trip(sender: int, requests: list[tuple[int, int]]) -> None:
    assert parse_fir(reparsed(build_fir(sender, requests))) == requests


@pytest.mark.parametrize("packet", [RtcpPacket(201, 1, bytes(8)), RtcpPacket(204, 1, bytes(8))])
def test_other_packets_are_refused(packet: RtcpPacket) -> None:
    with pytest.raises(RtpParseError) as caught:
        Feedback.parse(packet)
    assert caught.value.kind is ParseErrorKind.WRONG_PACKET_TYPE


@pytest.mark.parametrize("size", range(8))
def test_too_short_for_its_ssrcs(size: int) -> None:
    with pytest.raises(RtpParseError) as caught:
        Feedback.parse(RtcpPacket(206, 1, bytes(size)))
    assert caught.value.kind is ParseErrorKind.TOO_SHORT


@pytest.mark.parametrize(
    ("parse", "feedback", "kind"),
    [
        (parse_nack, Feedback(206, 1, 0, 0, bytes(4)), ParseErrorKind.WRONG_PACKET_TYPE),
        (parse_nack, Feedback(205, 15, 0, 0, bytes(4)), ParseErrorKind.WRONG_PACKET_TYPE),
        (parse_nack, Feedback(205, 1, 0, 0), ParseErrorKind.TOO_SHORT),
        (parse_nack, Feedback(205, 1, 0, 0, bytes(6)), ParseErrorKind.LENGTH_MISMATCH),
        (parse_fir, Feedback(206, 1, 0, 0, bytes(8)), ParseErrorKind.WRONG_PACKET_TYPE),
        (parse_fir, Feedback(206, 4, 0, 0), ParseErrorKind.TOO_SHORT),
        (parse_fir, Feedback(206, 4, 0, 0, bytes(12)), ParseErrorKind.LENGTH_MISMATCH),
    ],
)
def test_refusals(
    parse: Callable[[Feedback], object], feedback: Feedback, kind: ParseErrorKind
) -> None:
    with pytest.raises(RtpParseError) as caught:
        parse(feedback)
    assert caught.value.kind is kind


@given(st.sampled_from([205, 206]), st.integers(0, 31), st.binary(max_size=40))
def test_any_body_parses_or_raises_the_named_error(kind: int, count: int, body: bytes) -> None:
    refused = None
    for parse in (parse_nack, parse_fir):
        try:
            parse(Feedback.parse(RtcpPacket(kind, count, body)))
        except RtpParseError as error:
            refused = error
    assert refused is not None
    assert 0 <= refused.offset <= len(body)


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_nack(1, 2, []),
        lambda: build_nack(1, 2, [65_536]),
        lambda: build_nack(1, 2, [-1]),
        lambda: build_fir(1, []),
        lambda: build_fir(1, [(1, 256)]),
        lambda: build_pli(2**32, 0).build(),
    ],
)
def test_what_does_not_fit_is_our_own_error(build: Callable[[], object]) -> None:
    with pytest.raises(RtpValueError):
        build()
