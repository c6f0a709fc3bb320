"""RTCP of viewers: reports, lost packets sent again, key frames asked for up to the encoder."""

from __future__ import annotations

import itertools

import pytest

from fastpath import Media
from lab.link import LinkConfig
from rtp.ntp import compact_from_us, compact_ntp
from rtp.rtcp.compound import serialise_compound
from rtp.rtcp.feedback import Feedback
from rtp.rtcp.receiver_report import ReportBlock
from tests.support.chain import STREAM_ID, Chain, key_slice, rtp
from tests.support.edge import (
    ENCODER,
    ENCODER_RTCP,
    Edge,
    Viewer,
    fir,
    nack,
    pli,
    plis_in,
    receiver_report,
    sender_report,
)
from tests.support.encoder import Encoder, number_of
from tests.support.peer import FEEDBACK, PEER, PeerBench

SHORTEST_RTT_US = 20_000
KEY_INTERVAL_US = 500_000
KEY_WANTED, CLOCK = 5, 4


def block_of(viewer: Viewer, **fields: int) -> ReportBlock:
    told = {
        "fraction_lost": 0,
        "cumulative_lost": 0,
        "extended_highest_sequence_number": 0,
        "interarrival_jitter": 0,
        "last_sr": 0,
        "delay_since_last_sr": 0,
    }
    return ReportBlock(ssrc=viewer.ssrc, **(told | fields))


def playing(frames: int = 30, **options: int) -> tuple[Edge, Viewer, Encoder]:
    """A viewer that has got so many packets; its numbers pass 65535."""
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track(), **options)  # type: ignore[arg-type]
    encoder = Encoder()
    edge.encode(*encoder.gop(frames))
    assert len(edge.media(viewer)) == frames
    return edge, viewer, encoder


# -- reports


@pytest.mark.parametrize("rtt_us", [0, 700, 85_000, 1_900_000])
def test_a_report_fills_the_viewers_statistics(rtt_us: int) -> None:
    edge, viewer, _ = playing()
    ((sent_us, report),) = edge.reports(viewer)
    held_us = 250_000
    edge.now_us = sent_us + rtt_us + held_us
    block = block_of(
        viewer,
        fraction_lost=64,
        cumulative_lost=-5,
        extended_highest_sequence_number=70_000,
        interarrival_jitter=900,
        last_sr=compact_ntp(report.ntp_timestamp),
        delay_since_last_sr=compact_from_us(held_us),
    )
    edge.view(viewer, receiver_report(block))
    stats = edge.engine.cursor_stats(viewer.cursor)
    assert abs(stats.rtt_us - max(rtt_us, 1)) <= 16  # a unit of 1/65,536 s
    assert (stats.fraction_lost, stats.cumulative_lost, stats.jitter_us) == (0.25, -5, 10_000)
    assert stats.reports_received == 1
    assert edge.counted()["viewer_report"] == 1


def test_a_report_without_sr_or_from_before_this_clock_tells_no_round_trip() -> None:
    edge, viewer, _ = playing()
    for last_sr, held in ((0, 0), (0x12345678, 0), (1, 0xFFFFFFFF)):
        block = block_of(viewer, last_sr=last_sr, delay_since_last_sr=held)
        edge.view(viewer, receiver_report(block))
    stats = edge.engine.cursor_stats(viewer.cursor)
    assert (stats.rtt_us, stats.reports_received) == (0, 3)


def test_only_the_viewers_host_is_believed_and_from_any_port() -> None:
    edge, viewer, _ = playing()
    block = receiver_report(block_of(viewer, fraction_lost=9))
    before = edge.engine.cursor_stats(viewer.cursor)
    sent = len(edge.sent)
    edge.view(viewer, block, nack(viewer.ssrc, 65_531), pli(viewer.ssrc), host="203.0.113.1")
    edge.view(viewer, fir(viewer.ssrc), host="203.0.113.1")
    assert edge.engine.cursor_stats(viewer.cursor) == before
    assert edge.counted()["viewer_unknown"] == 4
    edge.view(viewer, nack(0xDEAD, 65_531), pli(0xDEAD), fir(0xDEAD, 0xBEEF))
    assert edge.counted()["viewer_unknown"] == 7
    assert len(edge.sent) == sent
    edge.view(viewer, block, host="c633:6401::")  # as bytes, it begins like the viewer's
    assert edge.counted()["viewer_unknown"] == 8
    edge.turn((edge.viewer_port, (viewer.address[0], 1), block))
    assert edge.engine.cursor_stats(viewer.cursor).reports_received == 1


def test_anything_else_on_a_viewer_port_is_malformed() -> None:
    edge, viewer, _ = playing()
    for data in (b"\x00", b"\x80\xc9", rtp(1, 2, b"x"), nack(viewer.ssrc, 65_531)[:-1]):
        edge.view(viewer, data)
    assert edge.counted()["viewer_malformed"] == 4
    assert edge.engine.cursor_stats(viewer.cursor).nacked == 0


def test_rtcp_too_large_for_a_datagram_is_malformed() -> None:
    """64 KiB of NACK would ask for 280,000 packets at once."""
    edge, viewer, _ = playing()
    edge.view(viewer, nack(viewer.ssrc, *range(65_531, 65_531 + 17 * 400, 17)))
    assert edge.counted()["viewer_malformed"] == 1
    assert edge.engine.cursor_stats(viewer.cursor).nacked == 0


# -- lost packets


def test_what_is_asked_for_comes_again_as_it_was_across_the_wrap() -> None:
    edge, viewer, _ = playing()
    first = edge.media(viewer)
    wanted = [65_531, 65_535, 0, 1, 16]
    edge.view(viewer, nack(viewer.ssrc, *wanted), after_us=5_000)
    again = edge.media(viewer)[30:]
    assert again == [first[(n - 65_530) & 0xFFFF] for n in wanted]
    stats = edge.engine.cursor_stats(viewer.cursor)
    assert (stats.nacked, stats.resent, stats.packets) == (5, 5, 35)


def test_once_per_round_trip_and_never_more_often_than_the_shortest() -> None:
    edge, viewer, _ = playing()
    edge.view(viewer, nack(viewer.ssrc, 3))
    edge.view(viewer, nack(viewer.ssrc, 3), after_us=SHORTEST_RTT_US - 1)
    assert len(edge.media(viewer)) == 31
    assert edge.counted()["viewer_resend_suppressed"] == 1
    edge.view(viewer, nack(viewer.ssrc, 3), after_us=1)
    assert len(edge.media(viewer)) == 32
    ((sent_us, report),) = edge.reports(viewer)
    edge.now_us = sent_us + 100_000
    block = block_of(viewer, last_sr=compact_ntp(report.ntp_timestamp))
    edge.view(viewer, receiver_report(block), nack(viewer.ssrc, 4))
    edge.view(viewer, nack(viewer.ssrc, 4), after_us=99_000)
    assert len(edge.media(viewer)) == 33
    edge.view(viewer, nack(viewer.ssrc, 4), after_us=1_100)
    assert len(edge.media(viewer)) == 34


def test_one_viewers_requests_suppress_no_others() -> None:
    edge = Edge()
    stream = edge.add_track()
    link = edge.engine.add_viewer_link(rate_bps=1_000_000_000)
    viewers = [edge.add_viewer(stream, link=link) for _ in range(4)]
    edge.encode(*Encoder().gop(10))
    for viewer in viewers:
        edge.view(viewer, nack(viewer.ssrc, 65_533))
    assert [len(edge.media(viewer)) for viewer in viewers] == [11] * 4


def test_numbers_from_before_the_start_or_not_sent_yet_are_refused() -> None:
    edge, viewer, encoder = playing()
    edge.view(viewer, nack(viewer.ssrc, 65_529), nack(viewer.ssrc, 65_530 + 30, 9_000))
    assert len(edge.media(viewer)) == 30
    late = edge.add_viewer(edge.streams[0], first_number=5)
    edge.encode(*encoder.other())
    edge.view(late, nack(late.ssrc, 4), nack(late.ssrc, 5 + 31))
    assert len(edge.media(late)) == 31
    assert edge.counted()["viewer_nack_too_old"] == 5


def test_a_packet_no_longer_held_is_not_answered() -> None:
    edge = Edge(streams=1, slab_bytes=1 << 18)
    viewer = edge.add_viewer(edge.add_track())
    encoder = Encoder(size=1_000)
    for _ in range(40):
        edge.encode(*encoder.gop(20), after_us=1_000)
    count = len(edge.media(viewer))
    assert count == 800
    edge.view(viewer, nack(viewer.ssrc, 65_530), nack(viewer.ssrc, 65_530 + 799))
    assert len(edge.media(viewer)) == count + 1
    assert edge.counted()["viewer_nack_too_old"] == 1


def test_a_hole_is_not_answered_and_filled_when_the_packet_comes() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    packets = Encoder().gop(10)
    edge.encode(*packets[:5], *packets[6:])
    edge.view(viewer, nack(viewer.ssrc, 65_535))
    assert [number_of(data) for data in edge.media(viewer)][4:6] == [65_534, 0]
    edge.encode(packets[5])
    assert number_of(edge.media(viewer)[-1]) == 65_535
    edge.view(viewer, nack(viewer.ssrc, 65_535))
    assert edge.media(viewer)[-2] == edge.media(viewer)[-1]


def test_a_repeat_that_waits_for_the_budget_is_dropped_when_the_viewer_jumps_meanwhile() -> None:
    """Numbers are given anew at a jump: what was asked for under the old ones is not sent."""
    edge = Edge()
    stream = edge.add_track()
    viewer = edge.add_viewer(stream, rate_bps=2_000_000)
    encoder = Encoder(size=1_000)
    for _ in range(8):
        edge.encode(*encoder.other() if encoder.sent else encoder.key())
        edge.wait(40_000)
    assert len(edge.media(viewer)) == 8
    edge.encode(*encoder.gop(30))  # the budget is spent: the rest waits
    edge.view(viewer, nack(viewer.ssrc, 65_531, 65_532, 65_533))
    for _ in range(5):  # so much that the ring laps it
        edge.encode(*encoder.gop(1_000), after_us=500)
    edge.wait(1_000_000)
    numbers = [number_of(data) for data in edge.media(viewer)]
    fresh = numbers[:8] + [n for n in numbers[8:] if n not in (65_531, 65_532, 65_533)]
    assert fresh == [(65_530 + n) & 0xFFFF for n in range(len(fresh))]
    first = {number_of(data): data for data in edge.media(viewer)[:8]}
    for data in edge.media(viewer)[8:]:
        assert number_of(data) not in first or data == first[number_of(data)]


# -- key frames


def test_plis_and_firs_of_many_viewers_reach_the_encoder_as_one() -> None:
    edge = Edge()
    stream = edge.add_track()
    viewers = [edge.add_viewer(stream) for _ in range(5)]
    edge.encode(sender_report(0x1234, 1 << 40, 5), port=edge.rtcp_port, source=ENCODER_RTCP)
    encoder = Encoder()
    edge.encode(*encoder.gop(3))
    started_us = edge.now_us
    for at in range(60):
        for n, viewer in enumerate(viewers):
            ask = pli(viewer.ssrc) if n % 2 else fir(0x999, viewer.ssrc, command=at)
            edge.view(viewer, ask)
        edge.encode(*encoder.other(), after_us=25_000)
    asked = [(t, plis_in(packets)) for t, packets in edge.to_encoder() if plis_in(packets)]
    assert [t - started_us for t, _ in asked] == [KEY_INTERVAL_US * n for n in range(4)]
    assert {(len(found), found[0].media_ssrc) for _, found in asked} == {(1, 0x1234)}
    assert [edge.engine.cursor_stats(viewer.cursor).keys_wanted for viewer in viewers] == [60] * 5
    assert edge.counted()["key_requests_merged"] == 60 * 5 - 1


def test_one_fir_may_name_several_tracks() -> None:
    edge = Edge()
    tracks = [edge.add_track(96 + n) for n in range(2)]
    first = edge.add_viewer(tracks[0], host="198.51.100.7")
    second = edge.add_viewer(tracks[1], link=first.link, host="198.51.100.7")
    for n in range(2):
        edge.encode(rtp(65_535, 0, key_slice(), payload_type=96 + n, ssrc=0x50 + n))
    edge.view(first, fir(first.ssrc, second.ssrc))
    asked = [plis_in(packets)[0].media_ssrc for _, packets in edge.to_encoder(ENCODER)]
    assert sorted(asked) == [0x50, 0x51]


def test_a_key_frame_on_its_way_answers_those_who_asked_before_it() -> None:
    edge, viewer, encoder = playing()
    edge.view(viewer, pli(viewer.ssrc))
    edge.view(viewer, pli(viewer.ssrc), after_us=100_000)
    edge.encode(*encoder.gop(2), after_us=50_000)
    for _ in range(40):
        edge.encode(*encoder.other(), after_us=50_000)
    assert len(edge.to_encoder(ENCODER)) == 1
    # One that is lost in turn is asked for as soon as it may be.
    edge.view(viewer, pli(viewer.ssrc))
    edge.encode(*encoder.key(), after_us=100_000)
    edge.view(viewer, pli(viewer.ssrc))
    for _ in range(10):
        edge.encode(*encoder.other(), after_us=50_000)
    times = [t for t, _ in edge.to_encoder(ENCODER)]
    assert len(times) == 3
    assert times[2] - times[1] == KEY_INTERVAL_US


def test_audio_and_unknown_feedback_ask_for_nothing() -> None:
    edge, viewer, _ = playing()
    slices_lost = Feedback(206, 2, 0x77, viewer.ssrc, bytes(4)).build()
    edge.view(viewer, serialise_compound([slices_lost]))
    assert edge.to_encoder(ENCODER) == []


def test_requests_of_viewers_merge_over_two_hops() -> None:
    chain = Chain([LinkConfig(delay_us=10_000)] * 2)
    viewers = [chain.add_viewer() for _ in range(2)]
    encoder = Encoder()
    chain.run(300_000)
    chain.encode(*encoder.gop(3))
    chain.run(100_000)
    last = chain.nodes[-1]
    asked: list[int] = []
    lost: list[int] = []

    def drop(source: tuple[str, int], to: tuple[str, int], data: bytes) -> bool:
        if to == ENCODER:
            asked.append(chain.now_us)
        is_request = data[0] & 15 == FEEDBACK and data[32] == KEY_WANTED
        if is_request and source == last.address and not lost:
            lost.append(chain.now_us)  # the very first is lost on its way
            return True
        return False

    chain.drop = drop
    for at in range(50):
        if at < 10:
            out = last.engine.turn(
                chain.now_us, [(chain.viewer_port, ("192.0.2.9", 6001), pli(0xABCD))] * 3
            )
            for _, to, data in out:
                if not drop(last.address, to, data):
                    chain.network.send(last.address, to, data, chain.now_us)
        chain.encode(*encoder.other())
        chain.run(33_000)
    assert len(lost) == 1
    assert 2 <= len(asked) <= 4
    assert asked[0] - lost[0] >= KEY_INTERVAL_US
    assert all(b - a >= KEY_INTERVAL_US for a, b in itertools.pairwise(asked))
    assert last.engine.cursor_stats(viewers[-1]).keys_wanted == 30
    before = len(asked)
    chain.encode(*encoder.gop(2))
    for _ in range(40):
        chain.encode(*encoder.other())
        chain.run(33_000)
    assert len(asked) <= before + 1  # one may have been on its way


def test_a_link_that_does_not_follow_the_stream_has_no_say() -> None:
    bench = PeerBench()
    own = bench.engine.add_stream(stream_id=9, media=Media.VIDEO, first_stream_seq=1, upstream=None)
    bench.turn(bench.media(1))
    before = bench.state()
    wanted = bytes([KEY_WANTED])
    for payload in (
        wanted + STREAM_ID.to_bytes(4),  # it sends the stream, and does not get it
        wanted + (9).to_bytes(4),
        wanted + (12_345).to_bytes(4),
        bytes([CLOCK]) + (9).to_bytes(4) + bytes(12),
        bytes([CLOCK]) + (12_345).to_bytes(4) + bytes(12),
    ):
        assert bench.turn(bench.packet(payload, kind=FEEDBACK)) == []
    assert bench.counted()["feedback_taken"] == 5
    for payload in (wanted, wanted + bytes(3), bytes([CLOCK]) + bytes(15), b"\x3f" + bytes(30)):
        assert bench.turn(bench.packet(payload, kind=FEEDBACK)) == []
    assert bench.counted()["malformed"] == 4
    assert bench.engine.stream_stats(own).packets == 0
    after = bench.state()
    assert after[1:3] == before[1:3]  # type: ignore[index]
    assert bench.turn(source=PEER) == []
