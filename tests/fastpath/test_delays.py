"""How long packets stay in a worker, by powers of two microseconds."""

from __future__ import annotations

import pytest

from fastpath import PortKind
from fastpath.stats import DelayHistogram
from tests.support.edge import nack
from tests.support.peer import PEER, PeerBench, media_payload

OTHER, VIEWER = ("10.0.0.3", 7000), ("192.0.2.9", 6000)


class Bench(PeerBench):
    """A neighbour's packets go to another neighbour and to a viewer."""

    def __init__(self) -> None:
        super().__init__()
        self.other = self.engine.add_link(
            port=self.port, address=OTHER, peer_node=3, hello_key=self.hello_key, rate_bps=10**9
        )
        self.engine.offer_keys(
            self.other, receive_key=self.receive_key, send_key=self.send_key, send_now=True
        )
        self.number = self.viewer_port = 0

    def follow(self, *, viewers: int = 0) -> None:
        self.engine.add_cursor(stream=self.stream, link=self.other)
        port = self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        for _ in range(viewers):
            self.engine.add_viewer_cursor(
                stream=self.stream,
                link=self.engine.add_viewer_link(rate_bps=10**9),
                port=port,
                address=VIEWER,
                ssrc=1,
                payload_type=96,
                first_sequence_number=0,
            )
        self.turn()

    def pass_on(self, *waited_us: int) -> None:
        for waited in waited_us:
            self.number += 1
            self.now_us += 10
            data = self.packet(media_payload(self.number), stream_seq=self.number, marks=0b00111)
            self.engine.turn(
                self.now_us, [(self.port, PEER, data)], arrived_us=self.now_us - waited
            )


def in_bucket(index: int, packets: int = 1) -> tuple[int, ...]:
    return tuple(packets if at == index else 0 for at in range(22))


@pytest.mark.parametrize(
    ("waited_us", "bucket"),
    [
        *((0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11)),
        *(((1 << 20) - 1, 20), (1 << 20, 21), (1 << 24, 21)),
    ],
)
def test_a_delay_is_counted_where_it_belongs(waited_us: int, bucket: int) -> None:
    bench = Bench()
    bench.follow()
    bench.now_us += 1 << 25
    bench.pass_on(waited_us)
    found = bench.engine.delays(bench.other)
    assert found == DelayHistogram(in_bucket(bucket), waited_us)
    assert found.count == 1


def test_viewers_share_a_histogram_and_links_do_not() -> None:
    bench = Bench()
    bench.follow(viewers=3)
    bench.pass_on(5, 5)
    assert bench.engine.delays(bench.other).buckets == in_bucket(3, 2)
    assert bench.engine.delays().buckets == in_bucket(3, 6)
    assert bench.engine.delays().sum_us == 30
    assert bench.engine.delays(bench.link).count == 0


def test_what_lay_in_the_ring_before_the_subscriber_came_is_no_delay() -> None:
    bench = Bench()
    bench.pass_on(0, 0, 0)
    bench.now_us += 500_000
    bench.follow()
    assert bench.engine.link_stats(bench.other).sent_packets > 0
    assert bench.engine.delays(bench.other).count == 0
    bench.pass_on(3)
    assert bench.engine.delays(bench.other).count == 1


def test_what_a_viewer_is_sent_again_is_no_delay() -> None:
    bench = Bench()
    bench.follow(viewers=1)
    bench.pass_on(5, 5)
    bench.now_us += 300_000
    sent = bench.turn(nack(1, 0, 1), source=VIEWER, port=bench.viewer_port)
    assert len([data for data in sent if data[0] >> 6 == 2]) == 2  # RTP
    assert bench.engine.delays().buckets == in_bucket(3, 2)


def test_a_new_link_in_an_old_place_begins_at_nothing() -> None:
    bench = Bench()
    bench.follow()
    bench.pass_on(5)
    bench.engine.remove_link(bench.other)
    other = bench.engine.add_link(
        port=bench.port, address=OTHER, peer_node=3, hello_key=bench.hello_key, rate_bps=10**9
    )
    bench.turn()
    assert other & 0xFFFFF == bench.other & 0xFFFFF
    assert bench.engine.delays(other).count == 0
    with pytest.raises(KeyError):
        bench.engine.delays(bench.other)


def test_quantiles_are_told_by_proportion() -> None:
    none = DelayHistogram((0,) * 22, 0)
    assert none.quantile_us(0.5) is None
    one = DelayHistogram(in_bucket(7, 10), 0)
    assert [one.quantile_us(q) for q in (0.5, 1.0)] == [96, 128]
    assert DelayHistogram(in_bucket(0, 1), 0).quantile_us(0.5) == 0
    assert DelayHistogram(in_bucket(21, 1), 0).quantile_us(0.5) == 1 << 20
    mixed = DelayHistogram((0, 99, *(0,) * 8, 1, *(0,) * 11), 0)
    assert mixed.quantile_us(0.5) == 2
    assert mixed.quantile_us(0.999) == 973
