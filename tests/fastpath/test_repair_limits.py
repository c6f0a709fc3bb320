"""What repair costs at most, until when it tries, how it follows a link's reordering and loss."""

from __future__ import annotations

import itertools

import pytest

from fastpath import Engine
from lab.link import LinkConfig
from tests.fastpath.test_repair import assert_viewer_got_all, stream, viewed, warm
from tests.fastpath.test_rtx import STARTS
from tests.support.chain import Chain, key
from tests.support.encoder import Encoder, index_of
from tests.support.faults import Faults, Leg, down, media_to, up
from tests.support.peer import FEEDBACK, PeerBench, header, items, seal

LONG_HOP = LinkConfig(delay_us=50_000)
SETTLE_US = 100_000 // 16  # of its round trip
TICK_US = 1_000  # that deadlines are rounded up to
SHOWN_US = 4 * 10_000 + SETTLE_US // TICK_US * TICK_US + TICK_US + 50_000
"""From the first packet to when a probe shows that the fifth is lost."""
DEADLINE_US = 300_000


@pytest.mark.parametrize("first", STARTS)
def test_repair_goes_across_the_wrap_of_every_number(first: int) -> None:
    """The 16 bits of the encoder and the viewer, the 32 of streams and links: all near `first`."""
    high = 0xFFFF0000  # so that 32 bits wrap where 16 do
    hop = LinkConfig(delay_us=5_000)
    chain = Chain([hop] * 2, first_seq=high | first, first_hop_seq=(1 << 32) - 40 + first % 32)
    faults, encoder = Faults(chain), Encoder(first_number=first)
    chain.run(100_000)
    chain.add_viewer(first_number=first)
    for n in (3, 4, 9, 20):
        faults.lose(media_to(1 + n % 2, (high + first + n) & 0xFFFFFFFF))
    stream(chain, encoder, 40)
    chain.run(200_000)
    assert len(faults.lost) == 4
    assert [up(chain, n).repaired for n in (1, 2)] == [2, 2]
    got = {index_of(data): data for _, data in chain.viewer_packets}
    assert len(got) == len(chain.viewer_packets) == 40
    for index, data in got.items():
        assert int.from_bytes(data[2:4]) == (first + index) & 0xFFFF
        assert data[12:] == encoder.sent[index][12:]


# -- when a hole is asked for


def requests(faults: Faults) -> list[int]:
    """When the second node asked the first."""
    return [leg.time_us for leg in faults.legs if is_request(leg)]


def is_request(leg: Leg) -> bool:
    return leg.is_request and leg.source == 1


def test_on_a_link_in_order_a_hole_waits_for_a_sixteenth_of_the_round_trip() -> None:
    chain, faults, encoder = warm(1, LONG_HOP)
    faults.lose(media_to(1, 5))
    start_us = chain.now_us
    stream(chain, encoder, 30)
    seen_us = start_us + SHOWN_US
    first, second = requests(faults)
    assert SETTLE_US <= first - seen_us <= SETTLE_US + TICK_US
    assert SETTLE_US <= second - first <= SETTLE_US + TICK_US
    chain.run(200_000)
    assert_viewer_got_all(chain, encoder)


def test_a_link_that_reorders_is_given_more_time_and_less_again_later() -> None:
    chain, faults, encoder = warm(1, LONG_HOP)
    # Packet 5 comes 12 ms after packet 6 has shown that it is missing: asked for, and learnt from.
    faults.hold(media_to(1, 5))
    stream(chain, encoder, 5, interval_us=1_000)
    chain.encode(*encoder.other())
    chain.run(12_000)
    faults.release()
    chain.run(300_000)
    stats = up(chain, 1)
    assert (stats.lost, stats.reordered) == (0, 1)
    asked = len(requests(faults))
    assert asked == 1  # the second was not needed any more
    # The next that is as late costs nothing.
    faults.hold(media_to(1, 7))
    chain.encode(*encoder.other(), *encoder.other())
    chain.run(12_000)
    faults.release()
    chain.run(300_000)
    assert (up(chain, 1).reordered, len(requests(faults))) == (2, asked)
    # Two hundred real losses later it is forgotten.
    for _ in range(200):
        faults.lose(media_to(1, len(encoder.sent) + 1))
        stream_on(chain, encoder, 2)
    chain.run(300_000)
    before = len(requests(faults))
    faults.lose(media_to(1, len(encoder.sent) + 1))
    chain.encode(*encoder.other(), *encoder.other())
    seen_us = chain.now_us + 50_000
    chain.run(200_000)
    assert requests(faults)[before] - seen_us <= SETTLE_US + TICK_US


def stream_on(chain: Chain, encoder: Encoder, frames: int) -> None:
    """More frames of one packet each, 10 ms apart."""
    for _ in range(frames):
        chain.encode(*encoder.other())
        chain.run(10_000)


def test_the_wait_is_never_longer_than_the_option() -> None:
    chain, faults, encoder = warm(1, LONG_HOP, reorder_us=3_000)
    faults.lose(media_to(1, 5))
    start_us = chain.now_us
    stream(chain, encoder, 20)
    assert requests(faults)[0] == start_us + SHOWN_US + 3_000


# -- until when


def test_a_hole_is_given_up_when_its_playout_has_passed() -> None:
    chain, faults, encoder = warm(1, LONG_HOP)
    faults.lose(media_to(1, 5))
    faults.lose(is_request, times=1_000)
    start_us = chain.now_us
    stream(chain, encoder, 60)
    seen_us = start_us + SHOWN_US
    assert up(chain, 1).given_up == 1
    # Twice each round trip: 0 and 6, 118 and 124, 235 and 241 ms after the first.
    times = [t - seen_us for t in requests(faults)]
    assert len(times) == 6
    assert max(times) < DEADLINE_US


@pytest.mark.parametrize("deadline_us", [150_000, 600_000])
def test_each_stream_may_have_its_own(deadline_us: int) -> None:
    chain = Chain([LONG_HOP], deadline_us=deadline_us)
    faults, encoder = Faults(chain), Encoder()
    chain.run(300_000)
    chain.add_viewer()
    faults.lose(media_to(1, 5))
    faults.lose(is_request, times=1_000)
    start_us = chain.now_us
    stream(chain, encoder, 90)
    last = requests(faults)[-1] - start_us - SHOWN_US
    # What the engine has as its own default holds for holes whose stream nobody knows.
    longest_us = max(deadline_us, DEADLINE_US)
    assert longest_us - 150_000 < last < longest_us


def test_what_is_past_its_playout_is_gone_for_the_sender() -> None:
    """The receiver cannot know that what it lost had been repaired before: two hops, two times."""
    chain, faults, encoder = warm(2, LONG_HOP)
    faults.lose(media_to(1, 5), times=2)  # about 220 ms late at the first relay
    faults.lose(media_to(2, 5))  # and lost on its way to the second
    stream(chain, encoder, 80)
    chain.run(300_000)
    assert down(chain, 1).resend_expired == 1
    assert [leg.source for leg in faults.legs if leg.is_gone] == [1]
    stats = up(chain, 2)
    assert (stats.repaired, stats.gone, stats.given_up, stats.holes_open) == (0, 1, 0, 0)
    assert sorted(viewed(chain)) == [n for n in range(80) if n != 4]


def test_a_cached_packet_is_sent_again_however_old_it_is() -> None:
    """A new subscriber gets a GoP of the past: its playout begins with it."""
    chain = Chain([LONG_HOP], subscribe=False)
    faults, encoder = Faults(chain), Encoder()
    chain.run(300_000)
    chain.add_viewer()
    stream(chain, encoder, 100)  # a second of it, nobody listens
    faults.lose(media_to(1, 50))
    producer = chain.nodes[0]
    producer.engine.add_cursor(stream=producer.stream, link=producer.links["down"])
    stream_on(chain, encoder, 30)
    chain.run(300_000)
    assert_viewer_got_all(chain, encoder)
    assert down(chain, 0).resend_expired == 0


def test_an_answer_after_playout_is_counted_as_late() -> None:
    bench = PeerBench()
    bench.turn(*[bench.media(n) for n in (1, 2, 3)])
    bench.hop_seq += 2
    bench.turn(bench.media(6))
    bench.wait(DEADLINE_US - 1_000)
    bench.turn(bench.media(4, repairs=4))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.repaired, stats.repaired_late, stats.given_up) == (1, 0, 0)
    bench.now_us += 1_000
    bench.turn(bench.media(5, repairs=5))
    stats = bench.engine.link_stats(bench.link)
    assert (stats.repaired, stats.repaired_late, stats.given_up, stats.lost) == (1, 1, 1, 2)
    bench.turn(bench.media(5, repairs=5))  # once more: it is here already
    assert bench.engine.link_stats(bench.link).repaired_late == 1


def test_deadlines_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="repair_deadline_us is 1000 to"):
        Engine(repair_deadline_us=999)
    with pytest.raises(ValueError, match="deadline_us is 0, or 1000 to"):
        Chain([LONG_HOP], deadline_us=60_000_001)


# -- how much


def test_no_more_than_a_quarter_is_sent_again() -> None:
    """A neighbour that asks for everything, over and over."""
    hop = LinkConfig(delay_us=1_000)
    chain, faults, encoder = warm(1, hop, repair=False, deadline_us=60_000_000)
    encoder.size = 1_000
    for n in range(1_500):
        chain.encode(*(encoder.other() if n else encoder.key()))
        chain.run(4_000)
    legs = [leg for leg in faults.legs if leg.kind == 0]
    sent_before = down(chain, 0).sent_bytes
    assert sent_before > 1_500_000
    bench = Asker(chain)
    for leg in legs[-1_000:]:
        bench.ask(leg.hop_seq)
        chain.run(4_000)
    resent = down(chain, 0).resent
    most = 65_536 + (down(chain, 0).sent_bytes) // 4
    assert resent * 1_000 <= most
    assert down(chain, 0).resend_refused > 100


class Asker:
    """Makes a chain's second node ask for any number."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.number = 1 << 20  # beyond those that the node itself uses

    def ask(self, number: int) -> None:
        self.number += 1
        head = header(kind=FEEDBACK, traffic_class=0, stream_id=0, hop_seq=self.number)
        data = seal(head, b"\1" + items(number), key("right0"))
        second, first = self.chain.nodes[1], self.chain.nodes[0]
        self.chain.network.send(second.address, first.address, data, self.chain.now_us)


@pytest.mark.parametrize(("loss", "twice"), [(0.01, False), (0.06, True)])
def test_both_requests_are_answered_where_much_is_lost(loss: float, twice: bool) -> None:
    """Below 3 % a packet is sent again once in a round trip at most."""
    chain = Chain([LinkConfig(delay_us=50_000, loss=loss)], seed=4)
    encoder, faults = Encoder(), Faults(chain)
    chain.run(300_000)
    chain.add_viewer()
    stream(chain, encoder, 3_000, interval_us=3_000)
    chain.run(500_000)
    stats = down(chain, 0)
    assert (stats.resent_twice > 20) is twice
    times: dict[int, list[int]] = {}
    for leg in faults.legs:
        if leg.is_repair:
            times.setdefault(leg.stream_seq, []).append(leg.time_us)
    apart = [b - a for each in times.values() for a, b in itertools.pairwise(each)]
    if not twice:
        assert stats.resent_twice == 0
        assert min(apart, default=100_000) >= 87_000  # a round trip less an eighth
    assert stats.resend_refused == 0
    assert stats.resent / stats.sent_packets < 0.25


def test_what_was_repaired_leaves_twice_over_a_link_that_loses_much() -> None:
    """Only the second hop does: packets that the first has cost a round trip have a copy there."""
    hops = [LinkConfig(delay_us=50_000, loss=0.01), LinkConfig(delay_us=50_000, loss=0.06)]
    chain = Chain(hops, seed=4)
    encoder, faults = Encoder(), Faults(chain)
    chain.run(300_000)
    chain.add_viewer()
    stream(chain, encoder, 3_000, interval_us=3_000)
    chain.run(500_000)
    repaired = {leg.stream_seq for leg in faults.legs if leg.is_repair and leg.destination == 1}
    onward = [leg.stream_seq for leg in faults.legs if leg.kind == 0 and leg.destination == 2]
    lossy_from = 1_000  # numbers: by then the share of losses is known
    again = [onward.count(seq) for seq in repaired if seq > lossy_from]
    assert len(again) > 10
    assert min(again) == 2
    alone = [onward.count(seq) for seq in range(lossy_from, 3_000) if seq not in repaired]
    assert alone.count(1) > 1_500
    assert sorted(set(viewed(chain))) == list(range(3_000))
    assert down(chain, 0).resent_twice == 0


def test_a_burst_of_thousands_is_repaired() -> None:
    """A tenth of a second of 300 Mbit/s; 4,096 holes are kept, and 8,192 numbers remembered."""
    sizes = {"slab_bytes": 64 << 20, "reorder_us": 20_000}
    chain = Chain([LinkConfig(delay_us=10_000)], **sizes)  # type: ignore[arg-type]
    faults, encoder = Faults(chain), Encoder(size=100)
    chain.run(300_000)
    for node in chain.nodes:
        for link in node.links.values():
            node.engine.set_link_rate(link, 1_000_000_000)
    chain.encode(*encoder.key())
    for _ in range(300):  # which earns it credit
        chain.encode(*encoder.other(30))
        chain.run(1_000)
    faults.lose(lambda leg: leg.kind == 0 and leg.destination == 1 and not leg.is_repair, 3_000)
    for _ in range(100):
        chain.encode(*encoder.other(30))
        chain.run(1_000)
    for _ in range(100):
        chain.encode(*encoder.other())
        chain.run(2_000)
    stats = up(chain, 1)
    assert len(faults.lost) == 3_000
    assert (stats.repaired, stats.given_up, stats.holes_open) == (3_000, 0, 0)


# -- who waits


def test_who_moves_to_a_node_that_is_repairing_gets_the_packet_when_it_comes() -> None:
    """Three nodes; the last begins at a packet that the second is still asking for. Nothing has to
    be said: it stands before a hole, which is passed over, and filled when it is repaired."""
    hop = LinkConfig(delay_us=20_000)
    chain = Chain([hop, hop], subscribe=False)
    faults, encoder = Faults(chain), Encoder()
    chain.run(300_000)
    chain.add_viewer()
    producer, relay = chain.nodes[:2]
    producer.engine.add_cursor(stream=producer.stream, link=producer.links["down"])
    faults.lose(media_to(1, 10))
    stream(chain, encoder, 11)
    chain.run(12_000)  # the relay has packet 11 and asks for 10
    assert up(chain, 1).holes_open == 1
    relay.engine.add_cursor(stream=relay.stream, link=relay.links["down"], start_seq=10)
    stream_on(chain, encoder, 20)
    chain.run(200_000)
    to_last = [leg for leg in faults.legs if leg.kind == 0 and leg.destination == 2]
    assert sorted(leg.stream_seq for leg in to_last) == list(range(10, 32))
    assert to_last[0].stream_seq == 11
    assert {(leg.source, leg.destination) for leg in faults.legs if leg.is_request} == {(1, 0)}
    assert not any(leg.is_repair for leg in to_last)
