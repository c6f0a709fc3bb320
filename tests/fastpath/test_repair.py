"""Loss on one hop of a chain: who asks, when, what is answered, and what the viewer gets."""

from __future__ import annotations

import random

import pytest

from fastpath import Media
from lab.link import LinkConfig
from tests.support.chain import Chain
from tests.support.encoder import Encoder, index_of, number_of
from tests.support.faults import Faults, down, media_to, up
from tests.support.peer import FEEDBACK, PROBE, PeerBench, items

HOP = LinkConfig(delay_us=5_000)  # round trip 10 ms: no second request comes before the answer
FRAME_US = 10_000
DEADLINE_US = 300_000
SETTLE_US = 2_000  # of this hop: a sixteenth of its round trip, but at least this


def stream(chain: Chain, encoder: Encoder, frames: int, *, interval_us: int = FRAME_US) -> None:
    """A key frame and those after it, one packet each, at even distances."""
    for packet in encoder.gop(frames):
        chain.encode(packet)
        chain.run(interval_us)


def viewed(chain: Chain) -> list[int]:
    return [index_of(data) for _, data in chain.viewer_packets]


def warm(hops: int = 3, link: LinkConfig = HOP, **options: object) -> tuple[Chain, Faults, Encoder]:
    """A chain whose links know their round trip, with a viewer."""
    chain = Chain([link] * hops, **options)  # type: ignore[arg-type]
    faults = Faults(chain)
    chain.run(300_000)
    chain.add_viewer()
    return chain, faults, Encoder()


def assert_viewer_got_all(chain: Chain, encoder: Encoder) -> None:
    """Each packet once, unchanged but for the header, numbered without a gap across 2^16."""
    got = {index_of(data): data for _, data in chain.viewer_packets}
    assert len(chain.viewer_packets) == len(got)
    assert sorted(got) == list(range(len(encoder.sent)))
    for index, data in got.items():
        sent = encoder.sent[index]
        assert data[12:] == sent[12:]
        assert data[1] == (sent[1] & 0x80 | 100)
        assert data[4:8] == sent[4:8]
        assert number_of(data) == (65_530 + index) & 0xFFFF


def assert_no_blocks_left(chain: Chain) -> None:
    for node in chain.nodes:
        node.engine.remove_stream(node.stream)
        node.engine.turn(chain.now_us)
        memory = node.engine.memory()
        assert (memory.small_blocks[0], memory.large_blocks[0]) == (0, 0)


@pytest.mark.parametrize("hop", [1, 2, 3])
def test_loss_is_repaired_by_its_own_hop_only(hop: int) -> None:
    chain, faults, encoder = warm()
    faults.lose(media_to(hop, 5))
    stream(chain, encoder, 20)
    chain.run(100_000)
    assert len(faults.lost) == 1
    assert_viewer_got_all(chain, encoder)
    requests = [(leg.source, leg.destination) for leg in faults.legs if leg.is_request]
    assert requests == [(hop, hop - 1)]
    for node in (1, 2, 3):
        stats = up(chain, node)
        hit = int(node == hop)
        assert (stats.requests_sent, stats.lost, stats.repaired) == (hit, hit, hit)
        assert (stats.voided, stats.gone, stats.given_up, stats.holes_open) == (0, 0, 0, 0)
        assert down(chain, node - 1).resent == hit
    # Later nodes sent it on once, as soon as they had it.
    late = [chain.nodes[n].engine.stream_stats(chain.nodes[n].stream).late for n in range(4)]
    assert late == [0] + [int(n >= hop) for n in (1, 2, 3)]
    assert [leg.destination for leg in faults.legs if leg.is_repair] == [hop]


def test_times_of_one_repair() -> None:
    """Shown by the probe 2 ms after it left, asked for 2 ms later, there a round trip later."""
    chain, faults, encoder = warm(1)
    faults.lose(media_to(1, 5))
    start_us = chain.now_us
    stream(chain, encoder, 20)
    seen_us = start_us + 4 * FRAME_US + SETTLE_US + HOP.delay_us
    (request,) = [leg for leg in faults.legs if leg.is_request]
    assert request.time_us == seen_us + SETTLE_US
    (answer,) = [leg for leg in faults.legs if leg.is_repair]
    assert answer.time_us == request.time_us + HOP.delay_us
    (at_viewer,) = [t for t, data in chain.viewer_packets if index_of(data) == 4]
    assert at_viewer == answer.time_us + HOP.delay_us


def test_a_lost_request_is_made_again() -> None:
    chain, faults, encoder = warm(1)
    faults.lose(media_to(1, 5))
    faults.lose(lambda leg: leg.is_request)
    stream(chain, encoder, 20)
    chain.run(100_000)
    assert len(faults.lost) == 2
    assert_viewer_got_all(chain, encoder)
    stats = up(chain, 1)
    assert (stats.requests_sent, stats.repaired, stats.lost) == (2, 1, 1)
    first, second = (leg.time_us for leg in faults.legs if leg.is_request and leg.source == 1)
    # A round trip (10 ms, smoothed by ticks of 1 ms), an eighth of it and 5 ms, rounded up.
    assert 16_000 <= second - first <= 18_000


def test_on_a_long_hop_a_second_request_insures_the_first() -> None:
    chain, faults, encoder = warm(1, LinkConfig(delay_us=40_000))
    faults.lose(media_to(1, 5))
    stream(chain, encoder, 30)
    chain.run(300_000)
    assert_viewer_got_all(chain, encoder)
    first, second = (leg.time_us for leg in faults.legs if leg.is_request)
    assert second - first == 5_000  # a sixteenth of the round trip of 80 ms
    # Both came; the second was not answered again.
    assert (down(chain, 0).resent, down(chain, 0).resend_suppressed) == (1, 1)
    assert up(chain, 1).repaired == 1


def test_insurance_saves_a_lost_request() -> None:
    chain, faults, encoder = warm(1, LinkConfig(delay_us=40_000))
    faults.lose(media_to(1, 5))
    faults.lose(lambda leg: leg.is_request)
    stream(chain, encoder, 30)
    chain.run(300_000)
    assert_viewer_got_all(chain, encoder)
    assert up(chain, 1).requests_sent == 2
    assert (down(chain, 0).resent, down(chain, 0).resend_suppressed) == (1, 0)


def test_a_lost_answer_is_sent_again() -> None:
    """The copy had a number of its own: that one is void, and the packet comes once."""
    chain, faults, encoder = warm()
    faults.lose(media_to(2, 5), times=2)
    stream(chain, encoder, 30)
    chain.run(200_000)
    assert [leg.is_repair for leg in faults.lost] == [False, True]
    assert_viewer_got_all(chain, encoder)
    stats = up(chain, 2)
    assert (stats.lost, stats.repaired, stats.voided) == (2, 1, 1)
    assert (stats.gone, stats.given_up, stats.holes_open) == (0, 0, 0)
    assert down(chain, 1).resent == 2
    assert {(leg.source, leg.destination) for leg in faults.legs if leg.is_request} == {(2, 1)}


def test_a_probe_exposes_a_lost_tail() -> None:
    chain, faults, encoder = warm(1)
    faults.lose(media_to(1, 20))
    stream(chain, encoder, 20, interval_us=3_000)
    last_us = faults.lost[0].time_us
    chain.run(100_000)
    assert_viewer_got_all(chain, encoder)
    exposing = next(
        leg
        for leg in faults.legs
        if leg.kind == PROBE and leg.source == 0 and leg.time_us > last_us
    )
    assert exposing.time_us <= last_us + SETTLE_US + 1_000
    (request,) = [leg for leg in faults.legs if leg.is_request]
    assert request.time_us == exposing.time_us + HOP.delay_us + SETTLE_US


def test_a_lost_probe_is_void() -> None:
    chain, faults, encoder = warm(2)
    faults.lose(lambda leg: leg.kind == PROBE and leg.destination == 1 and leg.source == 0)
    chain.run(100_000)
    assert len(faults.lost) == 1
    stream(chain, encoder, 20)
    chain.run(100_000)
    stats = up(chain, 1)
    assert (stats.lost, stats.voided, stats.repaired, stats.holes_open) == (1, 1, 0, 0)
    assert down(chain, 0).resent == 0
    assert [leg.destination for leg in faults.legs if leg.is_void] == [1]
    assert_viewer_got_all(chain, encoder)


def test_lost_probes_in_a_row_are_void_in_one_message() -> None:
    chain, faults, encoder = warm(1)
    faults.lose(lambda leg: leg.kind == PROBE and leg.source == 0, times=3)
    chain.run(155_000)
    assert len(faults.lost) == 3
    stream(chain, encoder, 5)
    chain.run(100_000)
    assert up(chain, 1).voided == 3
    assert len([leg for leg in faults.legs if leg.is_request]) == 1
    assert len([leg for leg in faults.legs if leg.is_void]) == 1


def test_what_was_evicted_is_gone_downstream_too() -> None:
    """Node 0 holds 24 large packets; packet 2 leaves before it is asked for."""
    chain, faults, _ = warm(3, first_node={"slab_bytes": 1 << 16})
    encoder = Encoder(size=1000)
    faults.lose(media_to(1, 2))
    stream(chain, encoder, 60, interval_us=500)
    chain.run(200_000)
    assert chain.nodes[0].engine.verdicts()["evicted_for_space"] > 0
    stats = up(chain, 1)
    assert (stats.lost, stats.gone, stats.repaired, stats.holes_open) == (1, 1, 0, 0)
    assert [(leg.source, leg.destination) for leg in faults.legs if leg.is_gone] == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]
    assert [n.engine.stream_stats(n.stream).gone for n in chain.nodes] == [0, 1, 1, 1]
    # Only the hop that lost it counts a loss; nobody else asked.
    assert [up(chain, node).lost for node in (2, 3)] == [0, 0]
    assert [up(chain, node).requests_sent for node in (2, 3)] == [0, 0]
    assert sorted(viewed(chain)) == [n for n in range(60) if n != 1]
    assert_no_blocks_left(chain)


def test_reordering_within_the_tolerance_makes_no_request() -> None:
    chain, faults, encoder = warm(1)
    faults.hold(media_to(1, 5))
    stream(chain, encoder, 6, interval_us=1_000)
    faults.release()  # 1 ms behind packet 6, which shows the hole
    chain.run(300_000)
    stats = up(chain, 1)
    assert (stats.requests_sent, stats.reordered, stats.lost) == (0, 1, 0)
    assert [leg for leg in faults.legs if leg.is_request] == []
    assert_viewer_got_all(chain, encoder)


def test_reordering_beyond_the_tolerance_costs_one_request() -> None:
    chain, faults, encoder = warm(1)
    faults.hold(media_to(1, 5))
    stream(chain, encoder, 8)
    faults.release()
    chain.run(300_000)
    stats = up(chain, 1)
    assert stats.requests_sent == 1
    assert (stats.lost, stats.reordered) == (0, 1) or (stats.lost, stats.reordered) == (1, 0)
    assert_viewer_got_all(chain, encoder)


@pytest.mark.parametrize("reorder_us", [0, 1_000])
def test_the_tolerance_is_an_option(reorder_us: int) -> None:
    chain, faults, encoder = warm(1, reorder_us=reorder_us)
    faults.lose(media_to(1, 5))
    start_us = chain.now_us
    stream(chain, encoder, 20)
    (request,) = [leg for leg in faults.legs if leg.is_request]
    assert request.time_us == start_us + 4 * FRAME_US + SETTLE_US + HOP.delay_us + reorder_us


def test_duplicates_on_the_wire_are_dropped() -> None:
    chain, faults, encoder = warm(2)
    stream(chain, encoder, 10)
    for leg in [leg for leg in faults.legs if leg.kind == 0]:
        faults.again(leg)
    chain.run(50_000)
    assert chain.nodes[1].engine.verdicts()["replayed"] == 10
    assert chain.nodes[2].engine.verdicts()["replayed"] == 10
    assert_viewer_got_all(chain, encoder)


def test_a_packet_of_two_numbers_is_kept_once() -> None:
    bench = PeerBench()
    bench.turn(bench.media(1), bench.media(2), bench.media(1), bench.media(2))
    assert bench.counted()["duplicate_packet"] == 2
    stats = bench.engine.stream_stats(bench.stream)
    assert (stats.packets, stats.duplicates, stats.held_packets) == (2, 2, 2)


def test_scan_mode_asks_at_multiples_of_50_ms() -> None:
    chain, faults, encoder = warm(1, repair_early=False)
    for seq in (5, 12, 13):
        faults.lose(media_to(1, seq))
    stream(chain, encoder, 40, interval_us=7_000)
    chain.run(100_000)
    assert len(faults.lost) == 3
    times = [leg.time_us for leg in faults.legs if leg.is_request]
    assert times
    assert [t % 50_000 for t in times] == [0] * len(times)
    assert up(chain, 1).repaired == 3
    assert_viewer_got_all(chain, encoder)


def test_without_repair_nothing_is_asked_for() -> None:
    chain, faults, encoder = warm(2, repair=False)
    faults.lose(media_to(1, 5))
    stream(chain, encoder, 20)
    assert up(chain, 1).holes_open == 1
    chain.run(DEADLINE_US)
    assert [leg for leg in faults.legs if leg.is_request] == []
    stats = up(chain, 1)
    assert (stats.lost, stats.given_up, stats.holes_open) == (1, 1, 0)
    assert up(chain, 2).lost == 0
    # The viewer sees the gap in its numbers.
    numbers = [(number_of(data) - 65_530) & 0xFFFF for _, data in chain.viewer_packets]
    assert numbers == [n for n in range(20) if n != 4]


def test_a_hole_is_given_up_when_its_playout_has_passed() -> None:
    chain, faults, encoder = warm(1)
    faults.lose(media_to(1, 5))
    faults.lose(lambda leg: leg.is_request and leg.source == 1, times=1000)
    stream(chain, encoder, 6)
    seen_us = faults.lost[0].time_us + SETTLE_US + HOP.delay_us
    chain.run(seen_us + DEADLINE_US - 40_000 - chain.now_us)
    assert up(chain, 1).holes_open == 1
    chain.run(80_000)
    stats = up(chain, 1)
    assert (stats.lost, stats.given_up, stats.holes_open) == (1, 1, 0)
    requests = [leg.time_us for leg in faults.legs if leg.is_request and leg.source == 1]
    assert 16 <= len(requests) <= 18
    assert max(requests) < seen_us + DEADLINE_US
    assert sorted(viewed(chain)) == [0, 1, 2, 3, 5]


def test_numbers_wrap_while_packets_are_lost() -> None:
    """stream_seq across 2^32, encoder and viewer across 2^16, with a loss on each side of it."""
    chain, faults, encoder = warm(2, first_seq=0xFFFFFFF8)
    for seq in (0xFFFFFFFE, 0xFFFFFFFF, 0, 1, 20):
        faults.lose(media_to(1 + seq % 2, seq))
    encoder.first_number = 65_530
    stream(chain, encoder, 40)
    chain.run(100_000)
    assert len(faults.lost) == 5
    assert [up(chain, n).repaired for n in (1, 2)] == [3, 2]
    assert_viewer_got_all(chain, encoder)
    stats = chain.nodes[2].engine.stream_stats(chain.nodes[2].stream)
    assert (stats.first_stream_seq, stats.next_stream_seq) == (0xFFFFFFF8, 0xFFFFFFF8 + 40 - 2**32)


def test_malformed_feedback_is_counted_and_ignored() -> None:
    bench = PeerBench()
    before = bench.engine.link_stats(bench.link)
    for payload in (b"", b"\1" * 8, b"\0" + bytes(8), b"\4" + bytes(15), b"\3" + bytes(15)):
        assert all(data[0] != 0xC1 for data in bench.turn(bench.packet(payload, kind=FEEDBACK)))
    assert bench.counted()["malformed"] == 5
    assert bench.engine.link_stats(bench.link).resent == before.resent


def test_requests_for_numbers_never_sent_are_not_answered() -> None:
    bench = PeerBench()
    used = bench.engine.link_stats(bench.link).sent_packets
    bench.turn(bench.packet(b"\1" + items(0, used + 1, 4000, 2**32 - 1), kind=FEEDBACK))
    sent = [data for _, data in bench.wait(10_000)]
    assert [data for data in sent if data[0] != 0xC2] == []
    assert bench.counted()["feedback_taken"] == 1


def test_gone_of_a_stream_from_elsewhere_marks_nothing() -> None:
    bench = PeerBench()
    other = bench.engine.add_stream(
        stream_id=77, media=Media.VIDEO, first_stream_seq=1, upstream=None
    )
    message = b"\3" + (77).to_bytes(4) + (0).to_bytes(4) + (100).to_bytes(4) + bytes(4)
    bench.turn(bench.packet(message, kind=FEEDBACK))
    assert bench.engine.stream_stats(other).gone == 0
    bench.turn(bench.media(1), bench.media(4))
    message = message.replace((77).to_bytes(4), bench.media(1)[8:12])
    bench.turn(bench.packet(message, kind=FEEDBACK))
    assert bench.engine.stream_stats(bench.stream).gone == 2  # 2 and 3, the holes within 0..99


@pytest.mark.parametrize("seed", range(8), ids=lambda seed: f"seed {seed}")
def test_random_traffic_arrives_exactly_once(seed: int) -> None:
    draw = random.Random(seed)
    links = [
        LinkConfig(
            delay_us=draw.randrange(1_000, 40_000),
            jitter_us=draw.choice([0, 3_000]),
            loss=draw.choice([0.02, 0.05, 0.1]),
            reorder=0.05,
            reorder_extra_us=draw.choice([3_000, 15_000]),
        )
        for _ in range(3)
    ]
    chain = Chain(links, seed=seed, first_seq=0xFFFFFF80, repair_deadline_us=3_000_000)
    twice = Faults(chain)
    chain.run(400_000)
    chain.add_viewer()
    encoder = Encoder()
    for number in range(400):
        size = draw.choice([20, 150, 900, 1_200])
        encoder.size = size
        frame = encoder.key(draw.randrange(1, 5)) if number % 60 == 0 else encoder.other()
        draw.shuffle(frame) if number else None
        chain.encode(*frame)
        chain.run(draw.randrange(500, 8_000))
        for leg in twice.legs[-3:]:
            if draw.random() < 0.05:
                twice.again(leg)
    chain.run(1_500_000)
    for left, right, config in zip(chain.nodes, chain.nodes[1:], links, strict=False):
        for pair in ((left, right), (right, left)):
            clean = LinkConfig(delay_us=config.delay_us)
            chain.network.set_config(pair[0].address, pair[1].address, clean, chain.now_us)
    chain.run(500_000)  # even the last lost probe is accounted for
    counters = [up(chain, node) for node in (1, 2, 3)]
    assert sum(stats.lost for stats in counters) > 30
    assert sum(stats.given_up + stats.gone for stats in counters) == 0
    assert [stats.holes_open for stats in counters] == [0, 0, 0]
    for stats in counters:
        assert stats.lost == stats.repaired + stats.voided
    # The ingest keeps the encoder's order, so its shuffled packets keep their numbers.
    assert_viewer_got_all(chain, encoder)
    for node in chain.nodes[1:]:
        assert node.engine.verdicts()["bad_tag"] == 0
        assert node.engine.verdicts()["replayed"] > 0
    assert_no_blocks_left(chain)


def test_more_holes_than_one_message_names_are_asked_for_without_delay() -> None:
    """200 losses so far apart that each takes an item of its own; a request has room for 127."""
    bench = PeerBench()
    lost = list(range(20, 20 + 200 * 34, 34))
    last = lost[-1] + 1
    bench.turn(*[bench.media(n, hop_seq=n) for n in range(1, last + 1) if n not in set(lost)])
    assert bench.engine.link_stats(bench.link).holes_open == 200
    asked: list[int] = []
    for _, data in bench.wait(22_000):  # no round trip is known: 20 ms, and two ticks
        if data[0] == 0xC1:
            assert data[32] == 1
            items_of = [data[at : at + 8] for at in range(33, len(data), 8)]
            assert all(item[4:] == bytes(4) for item in items_of)
            asked += [int.from_bytes(item[:4]) for item in items_of]
    assert sorted(asked) == lost


def test_one_request_for_a_run_that_is_gone_gets_one_answer() -> None:
    chain, encoder = Chain([LinkConfig(delay_us=10_000)]), Encoder(size=200)
    chain.run(300_000)
    producer, consumer = chain.nodes
    chain.drop = lambda source, *_: source == producer.address
    chain.encode(*encoder.gop(200))
    chain.drop = lambda *_: False
    producer.engine.remove_stream(producer.stream)
    faults = Faults(chain)
    chain.run(200_000)

    assert len([leg for leg in faults.legs if leg.is_gone]) == 1
    stats = consumer.engine.link_stats(consumer.links["up"])
    assert (stats.gone, stats.holes_open) == (200, 0)
