"""Native RTCP against the plain-Python twins: vectors, random and broken input, no byte too far.

Each input ends, and each output's room ends, where a page without access begins.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp import constants
from rtp.errors import RtpParseError
from rtp.rtcp import walk
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.feedback import Feedback, build_fir, build_nack, build_pli
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock, parse_report_blocks
from rtp.rtcp.sender_report import SenderReport
from rtp.rtcp.source_description import build_cname, parse_cnames
from tests.rtp.guarded_page import GuardedPage

GUARDED = GuardedPage()
SEED = 3_550

u32 = st.integers(0, 2**32 - 1)
lost = st.integers(-(2**23), 2**23 - 1)
blocks = st.builds(ReportBlock, u32, st.integers(0, 255), lost, u32, u32, u32, u32)


def fields(block: ReportBlock) -> tuple[int, int, int, int, int, int, int]:
    return (
        block.ssrc,
        block.fraction_lost,
        block.cumulative_lost,
        block.extended_highest_sequence_number,
        block.interarrival_jitter,
        block.last_sr,
        block.delay_since_last_sr,
    )


def check_walk(data: bytes) -> None:
    """The compound is accepted and cut as the twin does it, and so is each packet in it."""
    try:
        expected = parse_compound(data)
    except RtpParseError:
        expected = None
    view = GUARDED.place(data)
    found, ended = walk.packets(view)
    assert walk.is_whole(view) == (expected is not None)
    assert ended == (expected is not None or not data)
    if expected is not None:
        assert [RtcpPacket(*packet) for packet in found] == expected
    for packet in found:
        check_packet(RtcpPacket(*packet))


def check_packet(packet: RtcpPacket) -> None:
    """Each reader on one packet that is alone in its datagram."""
    if len(packet.body) % 4:
        return
    view = GUARDED.place(packet.serialise())
    assert walk.sender_report(view) == expected_sender_report(packet)
    expected_blocks = expected_report_blocks(packet)
    assert walk.block_count(view) == len(expected_blocks)
    for index in (-(2**31), -1, len(expected_blocks), 31, 2**31 - 1):
        assert walk.block_at(view, index) is None or 0 <= index < len(expected_blocks)
    assert [walk.block_at(view, n) for n in range(len(expected_blocks))] == expected_blocks
    assert walk.feedback(view) == expected_feedback(packet)


def expected_sender_report(packet: RtcpPacket) -> tuple[int, int, int, int, int] | None:
    try:
        r = SenderReport.parse(packet)
    except RtpParseError:
        return None
    return r.ssrc, r.ntp_timestamp, r.rtp_timestamp, r.packet_count, r.octet_count


def expected_report_blocks(packet: RtcpPacket) -> list[tuple[int, int, int, int, int, int, int]]:
    try:
        return [fields(block) for block in parse_report_blocks(packet)]
    except RtpParseError:
        return []


def expected_feedback(packet: RtcpPacket) -> tuple[int, int, bytes] | None:
    try:
        feedback = Feedback.parse(packet)
    except RtpParseError:
        return None
    return feedback.sender_ssrc, feedback.media_ssrc, feedback.fci


def test_constants_are_those_of_python() -> None:
    assert walk.constants() == {name: getattr(constants, name) for name in walk.constants()}


BLOCK = ReportBlock(0xAABBCCDD, 0x40, -2, 0x0001FFFF, 90, 0xB2C38000, 0x00018000)
SR = SenderReport(0x11223344, 0xE4A1B2C3_80000000, 0xFFFFFFF0, 1000, 1_200_000)
TWO_BLOCKS = BLOCK.serialise() + ReportBlock(1, 0, 2**23 - 1, 2, 3, 4, 5).serialise()
PADDED_RR = bytes.fromhex("a0c9000200000001 00000004")


def corpus() -> list[bytes]:
    """Compounds of all kinds."""
    packets = [
        SR.build(),
        RtcpPacket(200, 2, SR.build().body + TWO_BLOCKS),
        ReceiverReport(7, (BLOCK,)).build(),
        ReceiverReport(7).build(),
        build_cname(7, "someone@host"),
        build_nack(1, 2, [65_534, 65_535, 0, 1, 40]).build(),
        build_pli(1, 2).build(),
        build_fir(1, [(2, 255), (3, 0)]).build(),
        RtcpPacket(203, 1, b"\0\0\0\7"),
        RtcpPacket(204, 0, b"\0\0\0\7name"),
    ]
    compounds = [packets[n : n + size] for size in (1, 2, 3) for n in range(len(packets))]
    data = [serialise_compound(compound) for compound in compounds]
    return data + [each + PADDED_RR for each in data[: len(packets)]] + [PADDED_RR]


def test_vectors() -> None:
    data = serialise_compound([RtcpPacket(200, 2, SR.build().body + TWO_BLOCKS)])
    expected = (SR.ssrc, SR.ntp_timestamp, SR.rtp_timestamp, SR.packet_count, SR.octet_count)
    assert walk.sender_report(data) == expected
    assert walk.block_count(data) == 2
    assert walk.block_at(data, 0) == fields(BLOCK)
    assert walk.block_at(data, 1) == (1, 0, 2**23 - 1, 2, 3, 4, 5)
    assert walk.packets(data + PADDED_RR)[0][1] == (201, 0, b"\0\0\0\1")
    nack = build_nack(1, 2, [65_535, 0]).build().serialise()
    assert walk.feedback(nack) == (1, 2, bytes.fromhex("ffff0001"))


def test_every_prefix_of_every_compound() -> None:
    for data in corpus():
        check_walk(data)
        for size in range(len(data)):
            check_walk(data[:size])


@pytest.mark.parametrize("packet_type", [200, 201, 205, 206])
def test_a_body_of_any_length_under_any_count(packet_type: int) -> None:
    body = bytes(range(1, 121))
    for count in range(5):
        for size in range(0, len(body) + 1, 4):
            check_walk(RtcpPacket(packet_type, count, body[:size]).serialise())


def test_random_mutations_agree_with_the_twin() -> None:
    rng = random.Random(SEED)
    seeds = corpus()
    for _ in range(10_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(data)) // rng.choice((1, 4)) % len(data)
            data[at] = rng.choice((0, 1, 4, 8, 0x80, 0xA0, 0xFF, rng.randrange(256)))
        check_walk(bytes(data[: rng.choice((len(data), rng.randint(0, len(data))))]))


@given(st.binary(max_size=80))
@settings(max_examples=500)
def test_any_bytes_agree_with_the_twin(data: bytes) -> None:
    check_walk(data)


@given(
    st.sampled_from([200, 201, 202, 203, 205, 206]),
    st.integers(0, 31),
    st.binary(max_size=120).map(lambda b: b[: len(b) // 4 * 4]),
)
@settings(max_examples=500)
def test_any_body_agrees_with_the_twin(packet_type: int, count: int, body: bytes) -> None:
    check_walk(RtcpPacket(packet_type, count, body).serialise())


def test_the_longest_packet() -> None:
    data = RtcpPacket(205, 1, bytes(4 * 65_535)).serialise()
    assert walk.is_whole(data)
    assert not walk.is_whole(data[:-1])
    assert walk.packets(data * 2) == ([(205, 1, bytes(4 * 65_535))] * 2, True)


# Writers ------------------------------------------------------------------------------------------


def room(size: int) -> memoryview:
    """Room whose end is the end of the page, filled with what no writer leaves behind by luck."""
    return GUARDED.place(b"\xee" * size)


@given(u32, st.integers(0, 2**64 - 1), u32, u32, u32)
def test_sender_report_is_the_twins(
    ssrc: int, ntp: int, time: int, count: int, octets: int
) -> None:
    out = room(28)
    assert walk.put_sender_report(out, ssrc, ntp, time, count, octets) == 28
    assert bytes(out) == SenderReport(ssrc, ntp, time, count, octets).build().serialise()


@given(u32, blocks)
def test_receiver_report_is_the_twins(ssrc: int, block: ReportBlock) -> None:
    out = room(32)
    assert walk.put_receiver_report(out, ssrc, fields(block)) == 32
    assert bytes(out) == ReceiverReport(ssrc, (block,)).build().serialise()
    out = room(8)
    assert walk.put_receiver_report(out, ssrc, None) == 8
    assert bytes(out) == ReceiverReport(ssrc).build().serialise()


@pytest.mark.parametrize(("given_lost", "written"), [(2**31 - 1, 2**23 - 1), (-(2**31), -(2**23))])
def test_loss_saturates(given_lost: int, written: int) -> None:
    out = bytearray(32)
    walk.put_receiver_report(out, 1, (2, 3, given_lost, 4, 5, 6, 7))
    block = walk.block_at(out, 0)
    assert block is not None
    assert block[2] == written


@given(u32, st.text(min_size=1, max_size=32).filter(lambda t: len(t.encode()) <= 32))
def test_cname_is_the_twins(ssrc: int, cname: str) -> None:
    expected = build_cname(ssrc, cname).serialise()
    out = room(len(expected))
    assert walk.put_cname(out, ssrc, cname.encode()) == len(expected)
    assert bytes(out) == expected
    assert parse_cnames(parse_compound(bytes(out))[0]) == {ssrc: cname}


def test_longest_cname_and_those_that_are_refused() -> None:
    assert walk.put_cname(room(44), 1, b"x" * 32) == 44
    for cname in (b"", b"x" * 33, b"x" * 300):
        out = room(44)
        assert walk.put_cname(out, 1, cname) == 0
        assert bytes(out) == b"\xee" * 44


@given(u32, u32)
def test_pli_is_the_twins(sender: int, media: int) -> None:
    out = room(12)
    assert walk.put_pli(out, sender, media) == 12
    assert bytes(out) == build_pli(sender, media).build().serialise()


@given(u32, u32, st.sets(st.integers(0, 200), min_size=1, max_size=64), st.integers(0, 65_535))
def test_nack_is_the_twins(sender: int, media: int, steps: set[int], first: int) -> None:
    numbers = [(first + step) & 0xFFFF for step in sorted(steps)]
    out = room(12 + 4 * len(numbers))
    size = walk.put_nack(out, sender, media, numbers)
    assert bytes(out[:size]) == build_nack(sender, media, numbers).build().serialise()


def test_written_packets_make_a_compound() -> None:
    out = bytearray(28 + 44 + 12)
    view = memoryview(out)
    at = walk.put_sender_report(view, 1, 2, 3, 4, 5)
    at += walk.put_cname(view[at:], 1, b"node")
    at += walk.put_pli(view[at:], 1, 9)
    assert [p.packet_type for p in parse_compound(bytes(out[:at]))] == [200, 202, 206]
    assert walk.is_whole(view[:at])


def test_room_is_asked_for_before_it_is_written() -> None:
    with pytest.raises(ValueError):
        walk.put_sender_report(bytearray(27), 1, 2, 3, 4, 5)
    with pytest.raises(ValueError):
        walk.put_pli(bytearray(11), 1, 2)
