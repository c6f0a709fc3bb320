"""The budget of controlled links: ceiling, key frames, audio, probes, a bottleneck (about 10 s)."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from fastpath import Codec
from fastpath.footprint import state_bytes
from fastpath.rate import RateConfig, RateKind
from fastpath.stats import LinkStats
from lab.link import LinkConfig, LinkModel
from tests.support.chain import Chain, key_slice, other_slice, rtp
from tests.support.edge import Edge, Viewer
from tests.support.faults import MEDIA, Faults
from tests.support.peer import FEEDBACK, OVERHEAD_BYTES, PADDING

ARRIVALS = 6
RATE_BPS = 1_000_000
CEILING_BPS = 10_000_000
BYTES = 1000
PACKET_US = BYTES * 8 * 1_000_000 // RATE_BPS


def body(size: int, *, is_key: bool) -> bytes:
    return (key_slice if is_key else other_slice)(b"." * (size - 14))


def fixed_viewer(edge: Edge, stream: int) -> Viewer:
    """Paced at RATE_BPS, below its ceiling."""
    rate = RateConfig(start_bps=RATE_BPS)
    return edge.add_viewer(stream, rate_bps=CEILING_BPS, rate_kind=RateKind.FIXED, rate=rate)


def times(edge: Edge, viewer: Viewer) -> list[int]:
    return [time_us for time_us, _, to, _ in edge.sent if to == viewer.address]


def gaps(edge: Edge, viewer: Viewer) -> list[int]:
    found = times(edge, viewer)
    return [after - before for before, after in pairwise(found)]


def test_key_frames_leave_half_as_fast_again() -> None:
    """LiveNet 5.2. What is measured: twenty packets of a key frame, then twenty others."""
    edge = Edge()
    viewer = fixed_viewer(edge, edge.add_track())
    packets = [rtp(n, 3000, body(BYTES, is_key=True)) for n in range(20)]
    packets += [rtp(20 + n, 6000, body(BYTES, is_key=False)) for n in range(20)]
    edge.encode(*packets)
    edge.wait(1_000_000)
    assert len(times(edge, viewer)) == 40
    found = times(edge, viewer)
    assert found[19] - found[1] == pytest.approx(18 * PACKET_US / 1.5, abs=2_000)
    assert found[39] - found[20] == pytest.approx(19 * PACKET_US, abs=2_000)


def test_nothing_leaves_faster_than_the_configured_rate() -> None:
    edge = Edge()
    rate = RateConfig(start_bps=CEILING_BPS)
    viewer = edge.add_viewer(
        edge.add_track(), rate_bps=RATE_BPS, rate_kind=RateKind.LOSS_ONLY,
        rate=RateConfig(min_bps=5_000, start_bps=RATE_BPS),
    )  # fmt: skip
    edge.encode(*[rtp(n, 3000, body(BYTES, is_key=True)) for n in range(20)])
    edge.wait(1_000_000)
    assert min(gaps(edge, viewer)[2:]) >= PACKET_US - 1_000
    with pytest.raises(ValueError, match="does not suit"):
        edge.engine.add_viewer_link(rate_bps=RATE_BPS, rate_kind=RateKind.GCC, rate=rate)
    with pytest.raises(ValueError, match="go together"):
        edge.engine.add_viewer_link(rate_bps=RATE_BPS, rate_kind=RateKind.GCC)


def test_another_ceiling_holds_at_once() -> None:
    edge = Edge()
    viewer = fixed_viewer(edge, edge.add_track())
    edge.engine.set_link_rate(viewer.link, RATE_BPS // 10)
    edge.turn()
    stats = edge.engine.link_stats(viewer.link)
    assert stats.target_bps == stats.pacing_bps == RATE_BPS // 10


def test_audio_waits_for_nothing_and_video_waits_for_it() -> None:
    """Video behind is not let through by audio, whose bytes are charged."""
    edge = Edge()
    video, audio = edge.add_track(), edge.add_track(111, Codec.OPUS, clock_rate=48_000)
    watched = fixed_viewer(edge, video)
    heard = edge.add_viewer(audio, link=watched.link)
    edge.encode(*[rtp(n, 3000, body(BYTES, is_key=n == 0)) for n in range(30)])
    for n in range(20):
        edge.wait(10_000)
        edge.encode(rtp(n, 960 * n, b"\x78" * 488, payload_type=111))
        assert times(edge, heard)[-1] == edge.now_us
    edge.wait(1_000_000)
    assert len(times(edge, heard)) == 20
    took_us = times(edge, watched)[-1] - times(edge, watched)[0]
    # 29 packets of video and 20 of half their size, less the key packet's gain and a first credit.
    assert took_us == pytest.approx((29 + 10) * PACKET_US, abs=2 * PACKET_US)


def test_what_leaves_unasked_holds_video_back_for_half_a_second_at_most() -> None:
    edge = Edge()
    video, audio = edge.add_track(), edge.add_track(111, Codec.OPUS, clock_rate=48_000)
    watched = fixed_viewer(edge, video)
    edge.add_viewer(audio, link=watched.link)
    edge.encode(*[rtp(n, 960 * n, b"\x78" * 1188, payload_type=111) for n in range(200)])
    began_us = edge.now_us
    edge.encode(rtp(1, 3000, body(BYTES, is_key=True)))
    edge.wait(3_000_000)
    assert times(edge, watched) == [pytest.approx(began_us + 500_000, abs=1_001)]


# -- node links


def send(chain: Chain, packets: int, *, gap_us: int, size: int = BYTES, first: int = 0) -> None:
    """A key frame of one packet each second. first: number of the first packet."""
    for n in range(first, first + packets):
        is_key = n % (1_000_000 // gap_us) == 0
        chain.encode(rtp(n, 90 * gap_us * n // 1000, body(size, is_key=is_key)))
        chain.run(gap_us)


GCC = {
    "rate_bps": 20_000_000,
    "rate_kind": RateKind.GCC,
    "rate": RateConfig(min_bps=300_000, start_bps=8_000_000),
}


class MeasuredLink(LinkModel):
    """Keeps how long each datagram waits at the bottleneck, with when it was sent."""

    def __init__(self, config: LinkConfig) -> None:
        super().__init__(config, Random(1), Random(2))
        self.waits: list[tuple[int, int]] = []

    def admit(self, size_bytes: int, now_us: int) -> tuple[int, ...]:
        arrivals_us = super().admit(size_bytes, now_us)
        for arrival_us in arrivals_us:
            self.waits.append((now_us, arrival_us - now_us - self.config.delay_us))
        return arrivals_us


@pytest.mark.parametrize(("kind", "p95_us"), [(RateKind.GCC, 60_000), (RateKind.NADA, 260_000)])
def test_a_bottleneck_keeps_its_queue_short(kind: RateKind, p95_us: int) -> None:
    """3 Mbit/s over a path of 4 that falls to 1 Mbit/s for 20 s: what does not fit waits in the
    ring, where it can be skipped, not on the path, where it makes everything late."""
    wide = LinkConfig(delay_us=20_000, rate_bps=4_000_000, queue_bytes=500_000)
    narrow = LinkConfig(delay_us=20_000, rate_bps=1_000_000, queue_bytes=500_000)
    chain = Chain([wide], link_options=GCC | {"rate_kind": kind})
    left, right = (node.address for node in chain.nodes)
    path = MeasuredLink(wide)
    chain.network.add_link(left, right, path)
    chain.run(300_000)
    gap_us = (BYTES + OVERHEAD_BYTES) * 8 * 1_000_000 // 3_000_000
    before = 5_000_000 // gap_us
    send(chain, before, gap_us=gap_us)
    chain.network.set_config(left, right, narrow, chain.now_us)
    fell_us = chain.now_us
    send(chain, 20_000_000 // gap_us, gap_us=gap_us, first=before)
    late = sorted(wait_us for at_us, wait_us in path.waits if at_us > fell_us + 5_000_000)
    assert late[len(late) * 95 // 100] < p95_us
    assert max(wait_us for _, wait_us in path.waits) < 600_000
    stats = chain.nodes[0].engine.link_stats(chain.nodes[0].links["down"])
    assert 300_000 < stats.target_bps < 1_300_000


def test_a_probe_is_padding_at_its_rate_and_belongs_together() -> None:
    """A link that is not used to the full is probed; padding goes no further than the neighbour."""
    chain = Chain([LinkConfig(delay_us=20_000), LinkConfig(delay_us=20_000)], link_options=GCC)
    faults = Faults(chain)
    chain.add_viewer()
    chain.run(300_000)
    send(chain, 3000, gap_us=4_000)
    chain.run(200_000)
    padding = [leg for leg in faults.legs if leg.kind == PADDING and leg.destination == 1]
    assert len(padding) >= 5
    assert all(len(leg.data) <= 1200 and not any(leg.data[OVERHEAD_BYTES:]) for leg in padding)
    taken = chain.nodes[1].engine.verdicts()["padding_taken"]
    assert taken == len(padding)
    assert len(chain.viewer_packets) == 3000
    media = [leg for leg in faults.legs if leg.kind == MEDIA and leg.destination == 1]
    sent_bytes = sum(len(leg.data) for leg in padding)
    assert sent_bytes < sum(len(leg.data) for leg in media) / 5  # probing is not a load of its own


def test_an_idle_link_is_not_probed() -> None:
    chain = Chain([LinkConfig(delay_us=20_000)], link_options=GCC, subscribe=False)
    faults = Faults(chain)
    chain.run(10_000_000)
    assert not [leg for leg in faults.legs if leg.kind == PADDING]


def test_another_route_begins_at_the_start_rate() -> None:
    """A path that was cut and comes back may be another: what was learnt of it is forgotten."""
    narrow = LinkConfig(delay_us=20_000, rate_bps=1_000_000, queue_bytes=50_000)
    chain = Chain([narrow], link_options=GCC)
    left, right = (node.address for node in chain.nodes)
    chain.run(300_000)
    send(chain, 2_000, gap_us=4_000)

    def stats() -> LinkStats:
        node = chain.nodes[0]
        return node.engine.link_stats(node.links["down"])

    assert stats().target_bps < 1_500_000
    for src, dst in ((left, right), (right, left)):
        chain.network.set_config(src, dst, narrow.with_cut(), chain.now_us)
    chain.run(300_000)
    assert not stats().is_up
    for src, dst in ((left, right), (right, left)):
        chain.network.set_config(src, dst, LinkConfig(delay_us=20_000), chain.now_us)
    while not stats().is_up:
        chain.run(1_000)
    assert stats().target_bps == 8_000_000


def test_another_ceiling_may_say_where_another_route_begins() -> None:
    path = LinkConfig(delay_us=20_000)
    chain = Chain([path], link_options=GCC)
    left, right = (node.address for node in chain.nodes)
    chain.run(300_000)
    node = chain.nodes[0]
    link = node.links["down"]
    node.engine.set_link_rate(link, 30_000_000, 12_000_000)
    with pytest.raises(ValueError, match="start_bps"):
        node.engine.set_link_rate(link, 30_000_000, 31_000_000)
    chain.run(300_000)
    assert node.engine.link_stats(link).target_bps == 8_000_000  # of the route that it is
    for cut in (path.with_cut(), path):
        for src, dst in ((left, right), (right, left)):
            chain.network.set_config(src, dst, cut, chain.now_us)
        chain.run(300_000)
    assert node.engine.link_stats(link).is_up
    assert node.engine.link_stats(link).target_bps == 12_000_000
    node.engine.set_link_rate(link, 20_000_000)
    chain.run(50_000)
    assert node.engine.link_stats(link).target_bps == 12_000_000


def test_a_neighbour_that_no_longer_reports_is_not_waited_for() -> None:
    """Another one, of a version that knows no reports, may be back in its place."""
    path = LinkConfig(delay_us=20_000)
    chain = Chain([path], link_options=GCC)
    left, right = (node.address for node in chain.nodes)
    chain.run(300_000)
    send(chain, 500, gap_us=4_000)
    for src, dst in ((left, right), (right, left)):
        chain.network.set_config(src, dst, path.with_cut(), chain.now_us)
    chain.run(300_000)
    for src, dst in ((left, right), (right, left)):
        chain.network.set_config(src, dst, path, chain.now_us)
    chain.drop = lambda src, _, data: (
        src == right and data[0] & 15 == FEEDBACK and data[OVERHEAD_BYTES] == ARRIVALS
    )
    chain.run(300_000)
    send(chain, 500, gap_us=4_000, first=500)
    node = chain.nodes[0]
    stats = node.engine.link_stats(node.links["down"])
    assert stats.is_up
    assert stats.feedbacks > 0
    assert stats.pacing_bps >= 8_000_000


def test_a_controllers_memory_comes_and_goes_with_its_link() -> None:
    sizes = state_bytes()
    edge = Edge()
    before = edge.engine.memory().link_bytes[0]
    rate = RateConfig(start_bps=RATE_BPS)
    for kind, expected in (
        (RateKind.GCC, sizes["viewer_pacer"]),
        (RateKind.LOSS_ONLY, sizes["pacer"]),
        (None, 0),
    ):
        link = edge.engine.add_viewer_link(
            rate_bps=CEILING_BPS, rate_kind=kind, rate=None if kind is None else rate
        )
        edge.turn()
        assert edge.engine.memory().link_bytes[0] - before == sizes["link"] + expected
        edge.engine.remove_link(link)
        edge.turn()
        assert edge.engine.memory().link_bytes[0] == before
