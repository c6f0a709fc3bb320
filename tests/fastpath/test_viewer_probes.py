"""What viewers are probed with: what they were sent, once more as RTX, or what they lag by (about
1 s)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fastpath import Codec
from fastpath.rate import RateConfig, RateKind
from rtp.rtcp.compound import serialise_compound
from rtp.rtcp.receiver_report import ReceiverReport
from rtp.rtcp.transport_feedback import TransportFeedback, build_transport_feedback
from tests.support.chain import key_slice, other_slice, rtp
from tests.support.edge import Edge, nack

CEILING_BPS, START_BPS = 20_000_000, 1_000_000
RTX_TYPE, RTX_SSRC, ID = 101, 0xFEED0001, 3
FRAME_US, FRAMES_OF_GOP = 40_000, 50
PROBE_US = 15_000  # of a probe at its rate
DELAY_US = 20_000
NEEDED_BPS = 4_000_000


class Show:
    """25 pictures a second of two packets, and audio of 20 ms, to one viewer: 430 kbit/s together.
    With each picture it tells what came when, behind a path of 20 ms."""

    def __init__(self, *, rtx: bool = True, bps: Callable[[int], float] | None = None) -> None:
        """bps: of the path, by time; None: it takes no time."""
        self.edge = Edge()
        video = self.edge.add_track()
        audio = self.edge.add_track(111, Codec.OPUS, clock_rate=48_000)
        self.viewer = self.edge.add_viewer(
            video,
            rate_bps=CEILING_BPS,
            rate_kind=RateKind.GCC,
            rate=RateConfig(min_bps=300_000, start_bps=START_BPS),
            transport_cc_id=ID,
            rtx_payload_type=RTX_TYPE if rtx else 0,
            rtx_ssrc=RTX_SSRC if rtx else 0,
        )
        self.heard = self.edge.add_viewer(audio, link=self.viewer.link, transport_cc_id=ID)
        self._bps = bps
        self._frames = self._told = 0
        self._free_us = 0.0
        self._arrivals: dict[int, int] = {}

    def run(self, duration_us: int) -> None:
        edge, end_us = self.edge, self.edge.now_us + duration_us
        while edge.now_us < end_us:
            slice_of = key_slice if self._frames % FRAMES_OF_GOP == 0 else other_slice
            first = 65_500 + 2 * self._frames
            edge.encode(
                rtp(first, 3600 * self._frames, slice_of(b"." * 900), marker=False),
                rtp(first + 1, 3600 * self._frames, other_slice(b"," * 900)),
            )
            for n in (0, 1):
                number = 2 * self._frames + n
                edge.encode(rtp(number, 960 * number, b"\x78" * 150, payload_type=111))
                edge.wait(FRAME_US // 2)
            self._frames += 1
            self._tell()

    def _tell(self) -> None:
        """All that has come since the last time."""
        for time_us, _, to, data in self.edge.sent[self._told :]:
            if to in (self.viewer.address, self.heard.address):
                at_us = max(time_us, self._free_us)
                if self._bps is not None:
                    at_us += 8e6 * len(data) / self._bps(time_us)
                self._free_us = at_us
                self._arrivals[transport_number(data)] = round(at_us) + DELAY_US
        self._told = len(self.edge.sent)
        come = {n: at for n, at in self._arrivals.items() if at <= self.edge.now_us}
        if come:
            first, last = min(come), max(come)
            times = tuple(come.get(n) for n in range(first, last + 1))
            told = TransportFeedback(0x77, self.viewer.ssrc, first & 0xFFFF, 0, times)
            report = [ReceiverReport(0x77).build(), build_transport_feedback(told).build()]
            self.edge.view(self.viewer, serialise_compound(report))
            self._arrivals = {n: at for n, at in self._arrivals.items() if n not in come}

    @property
    def target_bps(self) -> int:
        return self.edge.engine.link_stats(self.viewer.link).target_bps

    def padding(self) -> list[tuple[int, bytes]]:
        """What came as RTX, and when."""
        return [
            (time_us, data)
            for time_us, _, to, data in self.edge.sent
            if to == self.viewer.address and data[1] & 0x7F == RTX_TYPE
        ]


def transport_number(data: bytes) -> int:
    assert data[12:16] == b"\xbe\xde\x00\x01"
    return int.from_bytes(data[17:19])


def test_a_probe_is_filled_with_what_was_sent_last() -> None:
    show = Show(bps=lambda _: 2e6)
    show.run(1_000_000)
    before = len(show.padding())
    show.run(3_000_000)
    assert len(show.padding()) == before  # nothing is sent that no probe asks for
    show.edge.engine.set_needed_bps(show.viewer.link, NEEDED_BPS)
    asked_bps = 1.05 * NEEDED_BPS
    show.run(100_000)
    padding = show.padding()[before:]
    sent = [data for data in show.edge.media(show.viewer) if data[1] & 0x7F == 100]
    by_number = {data[2:4]: data for data in sent[-70:]}
    for _, data in padding:
        original = by_number[data[20:22]]  # of the video, and not old
        assert data[8:12] == RTX_SSRC.to_bytes(4)
        assert data[4:8] + data[22:] == original[4:8] + original[20:]
    took_us = padding[-1][0] - padding[0][0]
    size = sum(len(data) for _, data in padding)
    assert asked_bps * PROBE_US / 8e6 - 2_200 <= size <= asked_bps * PROBE_US / 8e6 + 1_000
    assert took_us == pytest.approx(PROBE_US, abs=3_000)
    assert show.edge.counted()["viewer_padding"] == len(show.padding())


def test_padding_is_no_repair_and_takes_nothing_from_repairs() -> None:
    show = Show()
    show.run(5_000_000)
    assert len(show.padding()) > 20
    stats = show.edge.engine.cursor_stats(show.viewer.cursor)
    assert (stats.resent, stats.nacked) == (0, 0)
    before = len(show.padding())
    newest = int.from_bytes(
        [data for data in show.edge.media(show.viewer) if data[1] & 0x7F == 100][-1][2:4]
    )
    wanted = [newest - n for n in range(60)]  # most of a small link's credit
    show.edge.view(show.viewer, nack(show.viewer.ssrc, *wanted), after_us=5_000)
    show.edge.wait(500_000)
    assert len(show.padding()) - before == 60
    assert show.edge.engine.link_stats(show.viewer.link).resend_refused == 0


@pytest.mark.parametrize("rtx", [True, False])
def test_who_needs_more_is_probed_for_it_and_keeps_it(rtx: bool) -> None:
    """Far above what it is sent. Without RTX it waits for a key frame that is large enough."""
    show = Show(rtx=rtx, bps=lambda now_us: 1e6 if now_us < 12_000_000 else 5e6)
    show.run(6_000_000)
    assert show.target_bps < 1_100_000
    show.edge.engine.set_needed_bps(show.viewer.link, NEEDED_BPS)
    before = len(show.padding())
    show.run(4_900_000)
    assert 300_000 < show.target_bps < 1_100_000  # probes that fail change nothing
    assert (len(show.padding()) > before) == rtx
    show.run(100_000 + 2_500_000)
    assert (show.target_bps == NEEDED_BPS) == rtx
    show.run(10_000_000)
    assert (show.target_bps >= NEEDED_BPS) == rtx


def test_a_link_of_a_fixed_rate_needs_nothing() -> None:
    edge = Edge()
    viewer = edge.add_viewer(edge.add_track())
    edge.engine.set_needed_bps(viewer.link, NEEDED_BPS)
    edge.turn()
    with pytest.raises(ValueError, match="negative"):
        edge.engine.set_needed_bps(viewer.link, -1)


def test_a_packet_lost_before_a_pause_slows_nothing_down_behind_it() -> None:
    """What left so long ago stands in no queue, whether or not anything is heard of it."""
    edge = Edge()
    viewer = edge.add_viewer(
        edge.add_track(),
        rate_bps=CEILING_BPS,
        rate_kind=RateKind.GCC,
        rate=RateConfig(min_bps=300_000, start_bps=5_000_000),
        transport_cc_id=ID,
    )
    edge.encode(rtp(65_534, 3000, key_slice(b"." * 900)))
    told = TransportFeedback(0x77, viewer.ssrc, 1, 0, (edge.now_us + DELAY_US,))
    report = [ReceiverReport(0x77).build(), build_transport_feedback(told).build()]
    edge.view(viewer, serialise_compound(report), after_us=2 * DELAY_US)
    edge.encode(rtp(65_535, 6000, other_slice(b"." * 900), marker=True))  # it is lost
    edge.wait(600_000)
    first = len(edge.media(viewer))
    edge.encode(*[rtp(n, 9000, other_slice(b"." * 900), marker=n == 9) for n in range(10)])
    edge.wait(500_000)
    times = [time_us for time_us, _, to, _ in edge.sent if to == viewer.address][first:]
    assert len(times) == 10
    assert times[-1] - times[0] < 30_000
    edge.wait(500_000)  # of which nothing is heard either, and now it goes on
    for n in range(10, 40):
        packet = rtp(n, 9000 + 3000 * n, other_slice(b"." * 900), marker=True)
        edge.encode(packet, after_us=20_000)
    later = [time_us for time_us, _, to, _ in edge.sent if to == viewer.address][first + 10 :]
    assert len(later) < 28  # at the lowest rate


def test_a_path_that_stands_still_is_sent_little_until_it_is_heard_of() -> None:
    """A frame takes longer at the lowest rate than news may take: that is no pause."""
    min_bps = 300_000
    edge = Edge(max_lag_us=0)  # nothing is left out
    viewer = edge.add_viewer(
        edge.add_track(),
        rate_bps=CEILING_BPS,
        rate_kind=RateKind.GCC,
        rate=RateConfig(min_bps=min_bps, start_bps=5_000_000),
        transport_cc_id=ID,
    )
    silent_us = told = 0
    for n in range(80):
        part = (other_slice if n % FRAMES_OF_GOP else key_slice)(b"." * 1200)
        edge.encode(*[rtp(65_500 + 12 * n + k, 3600 * n, part, marker=k == 11) for k in range(12)])
        edge.wait(FRAME_US)
        if n < 10:
            fresh = [each for each in edge.sent[told:] if each[2] == viewer.address]
            told = len(edge.sent)
            base = transport_number(fresh[0][3])
            times = tuple(at_us + DELAY_US for at_us, *_ in fresh)
            feedback = TransportFeedback(0x77, viewer.ssrc, base, 0, times)
            report = [ReceiverReport(0x77).build(), build_transport_feedback(feedback).build()]
            edge.view(viewer, serialise_compound(report))
            silent_us = edge.now_us
    late_us = silent_us + 500_000
    sent = sum(len(data) for at_us, *_, data in edge.sent if late_us <= at_us < late_us + 2_000_000)
    assert 8 * sent / 2 == pytest.approx(min_bps, rel=0.1)
