"""RTP header extensions to viewers, and what their transport-wide feedback tells (about 2 s)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fastpath import Codec, PortKind
from fastpath.rate import RateConfig, RateKind
from rtp.payload.marks import Marks
from rtp.rtcp.compound import serialise_compound
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock
from rtp.rtcp.transport_feedback import TransportFeedback, build_transport_feedback
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.edge import Edge, Viewer, nack, receiver_report, sender_report
from tests.support.peer import PeerBench

RATE = RateConfig(min_bps=300_000, start_bps=5_000_000)
CEILING_BPS = 20_000_000
HALF_CLOCK_US = (1 << 23) * 64_000


def feedback(viewer: Viewer, base: int, times: list[int | None]) -> bytes:
    told = TransportFeedback(0x77, viewer.ssrc, base & 0xFFFF, 0, tuple(times))
    return serialise_compound(
        [ReceiverReport(0x77).build(), build_transport_feedback(told).build()]
    )


def wanting(
    edge: Edge,
    stream: int,
    kind: RateKind = RateKind.GCC,
    *,
    transport_cc_id: int = 0,
    delay_id: int = 0,
    rtx_payload_type: int = 0,
    rtx_ssrc: int = 0,
) -> Viewer:
    return edge.add_viewer(
        stream,
        rate_bps=CEILING_BPS,
        rate_kind=kind,
        rate=RATE,
        transport_cc_id=transport_cc_id,
        delay_id=delay_id,
        rtx_payload_type=rtx_payload_type,
        rtx_ssrc=rtx_ssrc,
    )


def elements(packet: bytes) -> dict[int, int]:
    """id -> value of the one-byte extensions; no other kind is there."""
    csrc_end = 12 + 4 * (packet[0] & 15)
    if not packet[0] & 0x10:
        return {}
    assert packet[csrc_end : csrc_end + 2] == b"\xbe\xde"
    body = packet[
        csrc_end + 4 : csrc_end + 4 + 4 * int.from_bytes(packet[csrc_end + 2 : csrc_end + 4])
    ]
    found, at = {}, 0
    while at < len(body) and body[at]:
        assert body[at] & 15 == 1
        found[body[at] >> 4] = int.from_bytes(body[at + 1 : at + 3])
        at += 3
    assert set(body[at:]) <= {0}
    return found


def test_each_viewer_gets_what_it_asked_for() -> None:
    edge = Edge()
    stream = edge.add_track()
    plain = edge.add_viewer(stream)
    numbered = wanting(edge, stream, transport_cc_id=5)
    delayed = edge.add_viewer(stream, delay_id=14)
    both = wanting(edge, stream, transport_cc_id=1, delay_id=2)
    ignored = edge.add_viewer(stream, transport_cc_id=5)  # its link has no controller
    body = key_slice(b"picture")
    edge.encode(rtp(1, 3000, body), after_us=1000)
    edge.encode(rtp(2, 6000, other_slice(b"next")), after_us=1000)
    assert [elements(data) for data in edge.media(plain)] == [{}, {}]
    assert [elements(data) for data in edge.media(ignored)] == [{}, {}]
    assert [elements(data) for data in edge.media(numbered)] == [{5: 1}, {5: 2}]
    assert [elements(data) for data in edge.media(delayed)] == [{14: 0}, {14: 0}]
    assert [elements(data) for data in edge.media(both)] == [{1: 1, 2: 0}, {1: 2, 2: 0}]
    for viewer, extra in ((plain, 0), (numbered, 8), (delayed, 8), (both, 12)):
        packet = edge.media(viewer)[0]
        assert packet[12 + extra :] == body
        assert len(packet) == 12 + extra + len(body)
        assert packet[1] & 0x7F == 100
        assert int.from_bytes(packet[8:12]) == viewer.ssrc


def test_the_encoders_extension_gives_way_and_its_contributors_stay() -> None:
    edge = Edge()
    stream = edge.add_track()
    numbered, plain = wanting(edge, stream, transport_cc_id=3), edge.add_viewer(stream)
    packet = bytearray(rtp(1, 3000, b""))
    packet[0] |= 0x12  # an extension, two contributors
    extension = b"\xbe\xde\x00\x02" + b"\x31abc" * 2
    whole = bytes(packet) + b"CSRCcsrc" + extension + key_slice(b"picture")
    edge.encode(whole, after_us=1000)
    (seen,) = edge.media(numbered)
    assert seen[12:20] == b"CSRCcsrc"
    assert elements(seen) == {3: 1}
    assert seen[28:] == key_slice(b"picture")
    (seen,) = edge.media(plain)
    assert seen[12:] == whole[12:]


def test_what_is_sent_again_as_rtx_has_them_too() -> None:
    """Under a transport number of its own, as it leaves when other packets do."""
    edge = Edge()
    stream = edge.add_track()
    viewer = wanting(
        edge, stream, transport_cc_id=3, delay_id=4, rtx_payload_type=101, rtx_ssrc=0xFEED0001
    )
    packet = bytearray(rtp(1, 3000, b""))
    packet[0] |= 0x11  # an extension, one contributor
    extension = b"\xbe\xde\x00\x01" + b"\x31abc"
    edge.encode(bytes(packet) + b"CSRC" + extension + key_slice(b"picture"), after_us=1000)
    first = edge.media(viewer)[0]
    edge.view(viewer, nack(viewer.ssrc, int.from_bytes(first[2:4])), after_us=5000)
    again = edge.media(viewer)[-1]
    assert (again[1] & 0x7F, again[8:12]) == (101, b"\xfe\xed\x00\x01")
    assert again[12:16] == b"CSRC"
    assert elements(again) == {3: 2, 4: 20}
    assert again[28:] == first[2:4] + key_slice(b"picture")


def test_the_delay_is_how_long_a_packet_has_been_here() -> None:
    """A later viewer begins at the key frame, which has grown old; half its round trip is added
    when its report has told it."""
    edge = Edge()
    stream = edge.add_track()
    edge.encode(rtp(1, 3000, key_slice()), after_us=1000)
    edge.now_us += 500_000
    viewer = edge.add_viewer(stream, delay_id=1)
    edge.turn()
    assert [elements(data)[1] for data in edge.media(viewer)] == [500_000 // 250]
    edge.encode(sender_report(0x1234, 1 << 40, 3000))
    edge.encode(rtp(2, 6000, other_slice()), after_us=1000)
    ((_, report),) = edge.reports(viewer)[-1:]
    told = ReportBlock(viewer.ssrc, 0, 0, 65_535, 0, report.ntp_timestamp >> 16 & 0xFFFFFFFF, 0)
    edge.view(viewer, receiver_report(told), after_us=80_000)
    edge.encode(rtp(3, 9000, other_slice()), after_us=1000)
    assert elements(edge.media(viewer)[-1])[1] == 81_000 // 2 // 250


def run(edge: Edge, viewer: Viewer, packets: int, *, lost: int = 0) -> list[int]:
    """Packets each 2 ms, a key frame first; each 50 ms feedback, which misses every `lost`th. The
    transport numbers that the viewer saw."""
    seen: list[int] = []
    for n in range(packets):
        body = key_slice(b"." * 986) if n == 0 else other_slice(b"." * 986)
        edge.encode(rtp(n, 3000 * n, body, marker=True), after_us=2_000)
        if n % 25 == 24:
            fresh = [elements(data)[5] for data in edge.media(viewer)]
            edge.sent.clear()
            times: list[int | None] = [
                None if lost and number % lost == 0 else 2_000 * (n - 24 + at)
                for at, number in enumerate(fresh)
            ]
            edge.view(viewer, feedback(viewer, fresh[0], times))
            seen += fresh
    return seen


def test_feedback_is_joined_with_what_was_sent() -> None:
    """Past the wrap of the transport number."""
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.FIXED, transport_cc_id=5)
    seen = run(edge, viewer, 66_000, lost=10)
    assert seen == [(n + 1) & 0xFFFF for n in range(66_000)]
    stats = edge.engine.link_stats(viewer.link)
    assert stats.feedbacks == 66_000 // 25
    assert stats.feedback_loss == pytest.approx(0.1, abs=0.002)
    assert stats.acked_bps == pytest.approx(0.9 * 500 * (12 + 8 + 988) * 8, rel=0.03)


def test_an_arrival_that_is_told_later_counts_as_well() -> None:
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.FIXED, transport_cc_id=5)
    for n in range(4):
        edge.encode(rtp(n, 3000, key_slice() if n == 0 else other_slice()), after_us=1000)
    edge.view(viewer, feedback(viewer, 1, [0, None, None, 1000]))
    edge.view(viewer, feedback(viewer, 1, [0, 2000, None, 1000]))  # says more than is new
    edge.view(viewer, feedback(viewer, 900, [0]))  # never sent
    edge.view(viewer, feedback(viewer, 1, [0, 2000]), after_us=1_100_000)
    edge.encode(rtp(5, 6000, other_slice()), after_us=1_000)
    stats = edge.engine.link_stats(viewer.link)
    assert stats.feedbacks == 2
    assert stats.feedback_loss == pytest.approx(2 / 5)  # two losses, three arrivals


def test_one_datagram_holds_no_more_work_than_a_few_reports() -> None:
    """A report of thousands of numbers takes 24 bytes."""
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.FIXED, transport_cc_id=5)
    for n in range(20):
        edge.encode(rtp(n, 3000 * n, other_slice() if n else key_slice()), after_us=1000)
    reports = [
        build_transport_feedback(
            TransportFeedback(0x77, viewer.ssrc, n + 1, 0, (1000 * n,))
        ).build()
        for n in range(20)
    ]
    edge.view(viewer, serialise_compound([ReceiverReport(0x77).build(), *reports]))
    assert edge.engine.link_stats(viewer.link).feedbacks == 8


@pytest.mark.parametrize("has_rtcp_port", [False, True])
def test_feedback_may_name_the_ssrc_of_what_came_again(has_rtcp_port: bool) -> None:
    """libwebrtc's names that of the newest packet, whichever that was."""
    edge = Edge()
    stream = edge.add_track()
    rtx_ssrc = 0xFEED0001
    viewer = wanting(edge, stream, transport_cc_id=5, rtx_payload_type=101, rtx_ssrc=rtx_ssrc)
    other = wanting(edge, stream, transport_cc_id=5)
    edge.encode(rtp(1, 3000, key_slice()), after_us=1000)
    told = replace(viewer, ssrc=rtx_ssrc)
    from_port = replace(told, rtcp=told.rtcp if has_rtcp_port else told.address)
    edge.view(from_port, feedback(told, 1, [0]))
    assert edge.engine.link_stats(viewer.link).feedbacks == 1
    edge.view(replace(other, ssrc=rtx_ssrc), feedback(told, 1, [0]))
    assert edge.engine.link_stats(other.link).feedbacks == 0
    assert edge.counted()["viewer_unknown"] == 1


def test_feedback_from_elsewhere_is_not_believed() -> None:
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.GCC, transport_cc_id=5)
    edge.encode(rtp(1, 3000, key_slice()), after_us=1000)
    edge.view(viewer, feedback(viewer, 1, [0]), host="203.0.113.5")
    assert edge.engine.link_stats(viewer.link).feedbacks == 0
    assert edge.counted()["viewer_unknown"] == 1


def test_a_viewer_is_probed_with_what_was_here_before_it_came() -> None:
    fill = b"\x55" * 900
    edge = Edge()
    track = edge.add_track()
    for n in range(60):
        piece = key_slice(fill) if n == 0 else other_slice(fill)
        edge.encode(rtp(n, 3000 * n, piece), after_us=1000)
    viewer = edge.add_viewer(
        track,
        rate_bps=CEILING_BPS,
        rate_kind=RateKind.GCC,
        rate=RateConfig(min_bps=100_000, start_bps=300_000),
        transport_cc_id=5,
    )
    paces = set()
    for _ in range(100):
        edge.turn(after_us=1_000)
        paces.add(edge.engine.link_stats(viewer.link).pacing_bps)
    assert max(paces) >= 3 * 300_000  # the first probe; what leaves before it goes at 2.5 times


def test_a_viewer_that_catches_up_is_probed_with_what_it_lags_behind() -> None:
    """At three and six times its start rate; nothing but media leaves."""
    edge = Edge()
    stream = edge.add_track()
    edge.encode(*(rtp(n, 3000, key_slice(b"." * 986)) for n in range(300)))
    rate = RateConfig(min_bps=300_000, start_bps=1_000_000)
    viewer = edge.add_viewer(
        stream, rate_bps=CEILING_BPS, rate_kind=RateKind.GCC, rate=rate, transport_cc_id=5
    )
    paces = set()
    for _ in range(400):
        edge.wait(1_000)
        edge.turn()
        paces.add(edge.engine.link_stats(viewer.link).pacing_bps)
    assert {3_000_000, 6_000_000} <= paces
    numbers = [elements(data)[5] for data in edge.media(viewer)]
    assert len(numbers) > 100
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_a_viewer_lags_behind_is_counted_no_further_back_than_the_ring_goes() -> None:
    """Its numbers jump while the controller wants a probe: no walk over a billion of them."""
    bench = PeerBench()
    link = bench.engine.add_viewer_link(
        rate_bps=CEILING_BPS,
        rate_kind=RateKind.GCC,
        rate=RateConfig(min_bps=300_000, start_bps=1_000_000),
    )
    bench.engine.add_viewer_cursor(
        stream=bench.stream,
        link=link,
        port=bench.engine.open_port(PortKind.VIEWER),
        address=("198.51.100.1", 6000),
        ssrc=1,
        payload_type=96,
        first_sequence_number=0,
        transport_cc_id=5,
    )
    key = Marks.KEY | Marks.GOP_START | Marks.FRAME_START | Marks.FRAME_END
    bench.turn(bench.media(1, marks=key))
    bench.now_us += 30_000
    began = time.process_time()
    sent = bench.turn(*(bench.media(n + (1 << 30), marks=key) for n in (2, 3, 4)))
    assert time.process_time() - began < 0.2
    assert len(sent) > 0


def test_news_that_is_overdue_leaves_no_rate_of_zero() -> None:
    edge = Edge()
    viewer = edge.add_viewer(
        edge.add_track(), rate_bps=CEILING_BPS, rate_kind=RateKind.GCC,
        rate=RateConfig(min_bps=0, start_bps=1_000_000), transport_cc_id=5,
    )  # fmt: skip
    edge.encode(rtp(0, 0, key_slice()), after_us=1000)
    edge.view(viewer, feedback(viewer, 1, [0]), after_us=1000)
    for n in range(1, 20):
        edge.encode(rtp(n, 9000 * n, other_slice(), marker=True), after_us=100_000)
    assert edge.engine.link_stats(viewer.link).pacing_bps > 0


def test_a_viewer_that_never_reports_is_not_slowed_down() -> None:
    """Silence from who has never spoken is no lost report: many players send no RTCP."""
    edge = Edge()
    rate = RateConfig(min_bps=1_000_000, start_bps=CEILING_BPS)
    viewer = edge.add_viewer(
        edge.add_track(), rate_bps=CEILING_BPS, rate_kind=RateKind.LOSS_ONLY, rate=rate
    )
    for n in range(600):
        edge.encode(rtp(n, 9000 * n, key_slice()), after_us=100_000)
    assert edge.engine.link_stats(viewer.link).target_bps == CEILING_BPS


def test_a_loss_only_viewer_is_slowed_down_by_its_reports() -> None:
    """Half of everything lost: less than a quarter after 10 s, never below the lowest."""
    edge = Edge()
    viewer = edge.add_viewer(
        edge.add_track(),
        rate_bps=CEILING_BPS,
        rate_kind=RateKind.LOSS_ONLY,
        rate=RateConfig(min_bps=1_000_000, start_bps=CEILING_BPS),
    )
    assert edge.engine.link_stats(viewer.link).target_bps == 0  # not there yet
    edge.encode(rtp(0, 0, key_slice()), after_us=1000)
    targets = []
    for second in range(1, 31):
        highest = 65_530 + 500 * second
        block = ReportBlock(viewer.ssrc, 128, 250 * second, highest, 0, 0, 0)
        edge.view(viewer, receiver_report(block), after_us=1_000_000)
        targets.append(edge.engine.link_stats(viewer.link).target_bps)
    assert targets[0] == CEILING_BPS  # a first report does not say since when
    assert targets[10] < CEILING_BPS / 4
    assert targets[-1] == 1_000_000


def targets(first_us: int) -> list[int]:
    """What GCC makes of a path that keeps packets waiting longer and longer; the receiver's clock
    is at first_us when the first one comes."""
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), transport_cc_id=5)
    found = []
    for n in range(1_500):
        edge.encode(rtp(n, 3000 * n, other_slice(b"." * 986) if n else key_slice()), after_us=2_000)
        if n % 25 == 24:
            fresh = [elements(data)[5] for data in edge.media(viewer)]
            edge.sent.clear()
            late_us = [max(0, number - 500) * 500 for number in fresh]
            real_us = [first_us + 2_000 * n + late for n, late in zip(fresh, late_us, strict=True)]
            wraps = (real_us[0] + HALF_CLOCK_US) // (2 * HALF_CLOCK_US)
            times: list[int | None] = [time - wraps * 2 * HALF_CLOCK_US for time in real_us]
            edge.view(viewer, feedback(viewer, fresh[0], times))
            found.append(edge.engine.link_stats(viewer.link).target_bps)
    return found


def test_the_receivers_clock_may_wrap() -> None:
    """A reference has 24 bits of 64 ms, with a sign."""
    usual = targets(64_000)
    assert usual[-1] < 0.6 * usual[10]
    assert targets(HALF_CLOCK_US - 1_280_000) == usual
    assert targets(-1_280_000) == usual


def paced_at(edge: Edge, viewer: Viewer) -> int:
    return edge.engine.link_stats(viewer.link).pacing_bps


def test_news_is_not_awaited_of_what_has_no_number() -> None:
    """Sound at an address of its own goes on while the picture pauses: nobody tells of it."""
    edge = Edge()
    video, audio = edge.add_track(), edge.add_track(97, Codec.OPUS, clock_rate=48_000)
    viewer = wanting(edge, video, transport_cc_id=5)
    edge.add_viewer(audio, link=viewer.link)
    run(edge, viewer, 200)
    before = paced_at(edge, viewer)
    assert before > RATE.min_bps
    for n in range(100):
        edge.encode(rtp(n, 960 * n, b"\x78sound", payload_type=97), after_us=20_000)
    edge.encode(rtp(200, 3000 * 200, other_slice(b"." * 986)), after_us=2_000)
    assert paced_at(edge, viewer) >= before


@pytest.mark.parametrize("has_number", [True, False])
def test_a_path_on_which_only_sound_flows_is_not_backed_off_from(has_number: bool) -> None:
    """Nobody tells of sound without numbers, and some not of sound alone: for longer than the 3 s
    after which a path is taken for one that no longer answers."""
    edge = Edge(max_lag_us=0)  # nothing is left out
    video, audio = edge.add_track(), edge.add_track(97, Codec.OPUS, clock_rate=48_000)
    viewer = wanting(edge, video, transport_cc_id=5)
    edge.add_viewer(audio, link=viewer.link, transport_cc_id=5 if has_number else 0)
    run(edge, viewer, 200)
    before = edge.engine.link_stats(viewer.link).target_bps
    for n in range(300):
        edge.encode(rtp(n, 960 * n, b"\x78sound", payload_type=97, marker=False), after_us=20_000)
    assert edge.engine.link_stats(viewer.link).target_bps == before
    for n in range(300):  # nothing is heard of pictures either
        edge.encode(rtp(200 + n, 3000 * n, other_slice(b"." * 986), marker=True), after_us=20_000)
    assert edge.engine.link_stats(viewer.link).target_bps < 0.7 * before


def test_a_player_that_tells_at_the_end_of_each_frame_is_waited_for_until_then() -> None:
    """As GStreamer: nothing is heard while only sound is sent, nor in the middle of a frame."""
    edge = Edge()
    video, audio = edge.add_track(), edge.add_track(97, Codec.OPUS, clock_rate=48_000)
    rate = RateConfig(min_bps=300_000, start_bps=1_000_000)
    viewer = edge.add_viewer(
        video, rate_bps=CEILING_BPS, rate_kind=RateKind.GCC, rate=rate, transport_cc_id=5
    )
    edge.add_viewer(audio, link=viewer.link, transport_cc_id=5)
    run(edge, viewer, 25)
    before = paced_at(edge, viewer)
    for n in range(100):
        edge.encode(rtp(n, 960 * n, b"\x78sound", payload_type=97), after_us=20_000)
    sent = len(edge.media(viewer))
    key = [rtp(25 + n, 90_000, key_slice(b"." * 986), marker=n == 99) for n in range(100)]
    edge.encode(*key)
    began_us = edge.now_us
    paces: list[int] = []
    while not any(data[1] & 0x80 for data in edge.media(viewer)[sent:]) and len(paces) < 300:
        edge.wait(5_000)
        edge.turn()
        paces.append(paced_at(edge, viewer))
    assert 400_000 < edge.now_us - began_us < 1_400_000
    assert min(paces) >= before
    for n in range(100):  # now nothing is heard of that, nor of what follows
        packet = rtp(125 + n, 90_000 + 3_000 * n, other_slice(b"." * 986), marker=True)
        edge.encode(packet, after_us=10_000)
    assert paced_at(edge, viewer) == rate.min_bps


def counted(viewer: Viewer, base: int, report: int, times: list[int | None]) -> bytes:
    told = TransportFeedback(0x77, viewer.ssrc, base & 0xFFFF, report & 0xFF, tuple(times))
    return serialise_compound(
        [ReceiverReport(0x77).build(), build_transport_feedback(told).build()]
    )


@pytest.mark.parametrize(("first", "report"), [(0, 250), (65_500, 1)])
def test_what_two_reports_in_a_row_leave_out_between_them_is_lost(first: int, report: int) -> None:
    """GStreamer begins each report with a packet that has arrived. Reports wrap at 256."""
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.FIXED, transport_cc_id=5)
    run(edge, viewer, first)
    edge.now_us += 1_100_000  # figures begin anew
    for n in range(first, first + 100):
        edge.encode(rtp(n, 3000 * n, other_slice() if n else key_slice()), after_us=1_000)
        at = n - first
        if at % 10 == 9:  # of ten the first seven are told of
            seven: list[int | None] = [1_000 * n] * 7
            edge.view(viewer, counted(viewer, n - 8, report + at // 10, seven))
    edge.encode(rtp(first + 100, 0, other_slice()), after_us=1_100_000)
    stats = edge.engine.link_stats(viewer.link)
    assert stats.feedback_loss == pytest.approx(9 * 3 / 97, abs=0.001)


def test_a_report_that_did_not_come_is_no_loss() -> None:
    edge = Edge()
    viewer = wanting(edge, edge.add_track(), RateKind.FIXED, transport_cc_id=5)
    for n in range(100):
        edge.encode(rtp(n, 3000 * n, other_slice() if n else key_slice()), after_us=1_000)
    edge.view(viewer, counted(viewer, 1, 0, [0] * 20))
    edge.view(viewer, counted(viewer, 41, 2, [40_000] * 20))
    edge.view(viewer, counted(viewer, 21, 1, [20_000] * 20))  # it came late
    edge.view(viewer, counted(viewer, 61, 2, [60_000] * 20))
    edge.encode(rtp(100, 300_000, other_slice()), after_us=1_000_000)
    assert edge.engine.link_stats(viewer.link).feedback_loss == 0.0
