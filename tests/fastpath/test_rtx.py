"""RTX to viewers (RFC 4588): what they ask for again comes in a stream of its own."""

from __future__ import annotations

import struct
from random import Random

import pytest

from tests.support.chain import rtp
from tests.support.edge import Edge, Viewer, nack
from tests.support.encoder import Encoder, number_of

RTX_TYPE, RTX_SSRC = 101, 0xFEED0001
# Where other implementations test their sequence numbers: around powers of two and the wrap.
STARTS = (
    0, 1, 127, 128, 129, 511, 512, 513, 32_767, 32_768, 32_769, 65_407, 65_408, 65_409, 65_534,
    65_535,
)  # fmt: skip


def playing(
    *, first_number: int = 65_530, rtx_first: int = 65_534, packets: int = 30, **options: int
) -> tuple[Edge, Viewer, Encoder]:
    edge = Edge()
    stream = edge.add_track()
    rtx: dict[str, int] = {"rtx_payload_type": RTX_TYPE, "rtx_ssrc": RTX_SSRC} | options
    viewer = edge.add_viewer(
        stream,
        first_number=first_number,
        rtx_first_sequence_number=rtx_first,
        rtx_payload_type=rtx["rtx_payload_type"],
        rtx_ssrc=rtx["rtx_ssrc"],
    )
    encoder = Encoder()
    edge.encode(*encoder.gop(packets))
    return edge, viewer, encoder


def repeats(edge: Edge, viewer: Viewer) -> list[bytes]:
    """What came as RTX."""
    return [data for data in edge.media(viewer) if data[1] & 0x7F == RTX_TYPE]


def original_of(data: bytes, viewer: Viewer) -> bytes:
    """The packet that an RTX packet without extension stands for."""
    head = data[:1] + bytes([data[1] & 0x80 | 100]) + data[12:14] + data[4:8]
    return head + viewer.ssrc.to_bytes(4) + data[14:]


@pytest.mark.parametrize("first", STARTS)
def test_each_packet_comes_again_whatever_its_number(first: int) -> None:
    edge, viewer, _ = playing(first_number=first, rtx_first=first)
    sent = edge.media(viewer)
    wanted = [0, 1, 5, 16, 17, 29]
    edge.view(viewer, nack(viewer.ssrc, *((first + n) & 0xFFFF for n in wanted)), after_us=5_000)
    again = repeats(edge, viewer)
    assert [original_of(data, viewer) for data in again] == [sent[n] for n in wanted]
    assert [number_of(data) for data in again] == [(first + n) & 0xFFFF for n in range(6)]
    assert {int.from_bytes(data[8:12]) for data in again} == {RTX_SSRC}
    stats = edge.engine.cursor_stats(viewer.cursor)
    assert (stats.nacked, stats.resent, stats.packets) == (6, 6, 30)  # reports tell of the media


def test_marker_time_and_extension_stay_and_padding_goes() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), rtx_payload_type=RTX_TYPE, rtx_ssrc=RTX_SSRC)
    fixed = rtp(65_535, 0xFFFFFFF0, b"", marker=True)
    extension = struct.pack(">HHI", 0xBEDE, 1, 0x10AA0000)
    payload = b"\x65\x88 a key frame in one packet"
    data = bytes([0x80 | 0x20 | 0x10]) + fixed[1:] + extension + payload + bytes([0, 0, 3])
    edge.encode(data)
    edge.view(viewer, nack(viewer.ssrc, 65_530), after_us=5_000)
    (again,) = repeats(edge, viewer)
    assert again[0] == 0x90
    assert again[1] == 0x80 | RTX_TYPE
    assert again[4:8] == fixed[4:8]
    assert again[12:20] == extension
    assert again[20:] == (65_530).to_bytes(2) + payload


def test_a_header_too_long_for_rtx_comes_under_its_own_number() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), rtx_payload_type=RTX_TYPE, rtx_ssrc=RTX_SSRC)
    fixed = rtp(1, 0, b"", marker=True)
    extension = struct.pack(">HH", 0xBEDE, 20) + bytes(80)
    edge.encode(bytes([0x90]) + fixed[1:] + extension + b"\x65\x88 key")
    edge.view(viewer, nack(viewer.ssrc, 65_530), after_us=5_000)
    assert edge.media(viewer)[0] == edge.media(viewer)[1]


@pytest.mark.parametrize("payload_type", [0, 100])
def test_without_a_type_of_its_own_it_comes_under_its_own_number(payload_type: int) -> None:
    edge, viewer, _ = playing(rtx_payload_type=payload_type)
    edge.view(viewer, nack(viewer.ssrc, 3), after_us=5_000)
    media = edge.media(viewer)
    assert media[30] == media[(3 - 65_530) & 0xFFFF]


def test_what_is_recovered_late_is_no_retransmission() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), rtx_payload_type=RTX_TYPE, rtx_ssrc=RTX_SSRC)
    packets = Encoder().gop(10)
    edge.encode(*packets[:5], *packets[6:])
    edge.encode(packets[5])
    assert repeats(edge, viewer) == []
    assert number_of(edge.media(viewer)[-1]) == 65_535


def test_rtx_never_has_the_medias_ssrc() -> None:
    with pytest.raises(ValueError, match="rtx_ssrc must differ"):
        playing(rtx_ssrc=0xAB000001)
    with pytest.raises(ValueError, match="rtx_payload_type must be"):
        playing(rtx_payload_type=128)


def test_numbers_128_apart_are_each_remembered() -> None:
    """Of many viewers, whose numbers are near one another: within a round trip none comes twice."""
    edge = Edge(cursors=64, viewer_links=16)
    stream = edge.add_track()
    viewers = [edge.add_viewer(stream, first_number=65_530) for _ in range(8)]
    edge.encode(*Encoder().gop(600))
    wanted = [(65_530 + n) & 0xFFFF for n in (0, 128, 256, 384, 512)]
    for after_us in (5_000, 10_000):
        edge.wait(after_us)
        for viewer in viewers:
            edge.view(viewer, nack(viewer.ssrc, *wanted))
    assert [edge.engine.cursor_stats(v.cursor).resent for v in viewers] == [5] * 8
    assert edge.counted()["viewer_resend_suppressed"] == 40


def test_a_viewer_is_sent_a_quarter_again_at_most() -> None:
    """Also one that asks for all it gets, over and over."""
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), rate_bps=20_000_000)
    encoder = Encoder(size=1_000)
    edge.encode(*encoder.gop(1))
    for n in range(3_000):
        edge.encode(*encoder.other(), after_us=2_000)
        if n % 10 == 9:
            numbers = [(65_530 + n - back) & 0xFFFF for back in range(9, -1, -1)]
            edge.view(viewer, nack(viewer.ssrc, *numbers), after_us=25_000)
    sent, resent = edge.engine.link_stats(viewer.link), edge.engine.cursor_stats(viewer.cursor)
    assert 0.9 * 0.25 < resent.resent / sent.sent_packets < 0.26 + 65_536 / sent.sent_bytes
    assert sent.resend_refused == edge.counted()["viewer_resend_refused"] > 1_000


@pytest.mark.parametrize("seed", range(4), ids=lambda seed: f"seed {seed}")
def test_a_player_that_loses_much_gets_all_of_it(seed: int) -> None:
    """A tenth of all packets is lost, of what comes again as well; it asks every 25 ms."""
    draw = Random(seed)
    edge, viewer, encoder = playing(packets=1, rtx_first=65_500)
    heard, rtx_numbers = 0, []
    got: dict[int, bytes] = {}
    for n in range(800):
        if n < 600:
            edge.encode(*encoder.other(), after_us=3_000)
        else:
            edge.wait(3_000)
        media = edge.media(viewer)
        for data in media[heard:]:
            if data[1] & 0x7F == RTX_TYPE:
                rtx_numbers.append(number_of(data))
            if draw.random() < 0.9:
                data = original_of(data, viewer) if data[1] & 0x7F == RTX_TYPE else data
                assert got.setdefault(number_of(data), data) == data
        heard = len(media)
        if n % 9 == 0:
            newest = len(encoder.sent)
            missing = [each for each in range(newest) if (65_530 + each) & 0xFFFF not in got]
            if missing:
                edge.view(viewer, nack(viewer.ssrc, *(65_530 + each for each in missing)))
    assert len(got) == 601
    for index, packet in encoder.sent.items():
        assert got[(65_530 + index) & 0xFFFF][12:] == packet[12:]
    assert rtx_numbers == [(65_500 + n) & 0xFFFF for n in range(len(rtx_numbers))]
    assert 40 < len(rtx_numbers) < 100


def test_what_finds_no_room_costs_nothing_and_may_be_asked_for_again() -> None:
    """All at once is more than waits for a viewer; what is left out is not taken for sent."""
    edge, viewer, _ = playing(packets=300)
    sent = [number_of(data) for data in edge.media(viewer)]
    edge.view(viewer, *[nack(viewer.ssrc, *sent[n : n + 100]) for n in range(0, 300, 100)])
    edge.wait(1_000)
    full = edge.counted()["late_queue_full"]
    assert full == 300 - len(repeats(edge, viewer)) > 0
    edge.view(viewer, nack(viewer.ssrc, *sent[300 - full :]), after_us=2_000)
    edge.wait(1_000)
    assert len(repeats(edge, viewer)) == 300
    assert edge.engine.link_stats(viewer.link).resend_refused == 0


@pytest.mark.parametrize("rtx", [True, False])
def test_what_waits_for_its_turn_is_not_sent_once_for_each_time_it_is_asked_for(rtx: bool) -> None:
    """A rate that has fallen lets 40 packets leave in 0.5 s. They are asked for each 100 ms."""
    edge = Edge(max_lag_us=0)  # nothing is left out
    viewer = edge.add_viewer(
        edge.add_track(),
        first_number=65_400,
        rate_bps=20_000_000,
        rtx_payload_type=RTX_TYPE if rtx else 0,
        rtx_ssrc=RTX_SSRC if rtx else 0,
    )
    encoder = Encoder(size=1200)
    edge.encode(*encoder.gop(200))
    edge.wait(200_000)
    first = edge.media(viewer)
    lost = [number_of(data) for data in first[-40:]]
    edge.engine.set_link_rate(viewer.link, 800_000)
    for _ in range(10):
        later = edge.media(viewer)[len(first) :]
        come = {int.from_bytes(data[12:14]) if rtx else number_of(data) for data in later}
        if wanted := [number for number in lost if number not in come]:
            edge.view(viewer, nack(viewer.ssrc, *wanted))
        edge.encode(*encoder.other())
        edge.wait(100_000)
    assert edge.engine.cursor_stats(viewer.cursor).resent == 40
    assert len(edge.media(viewer)) == 200 + 40 + 10
