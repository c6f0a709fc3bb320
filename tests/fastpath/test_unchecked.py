"""What is shed unseen leaves gaps in a link's numbers that are no losses, and no more is forgiven.

Numbers of the link wrap at 2^32 in each test.
"""

from __future__ import annotations

import pytest

from tests.support.peer import PeerBench

FIRST = (1 << 32) - 4_000
TURN_US = 6_000  # longer than a period of the controller
OTHER = ("10.0.0.3", 7000)
UNCHECKED_VIDEO = 18


class Pressed(PeerBench):
    """What comes is old in every turn, until video is shed before its tag is checked."""

    def __init__(self) -> None:
        super().__init__(keyed=False)
        self.offer(self.link)
        self.hop_seq = FIRST - 1
        number = 0
        while self.engine.overload().step < UNCHECKED_VIDEO:
            number += 1
            self.press(self.media(number, marks=0b00111))
        self.press(self.media(number + 1))
        assert self.counted()["shed_unchecked_video"] == 1

    def offer(self, link: int) -> None:
        self.engine.offer_keys(
            link,
            receive_key=self.receive_key,
            send_key=self.send_key,
            send_now=True,
            peer_first_hop_seq=FIRST,
        )
        self.turn()

    def press(self, data: bytes) -> None:
        self.now_us += TURN_US
        self.engine.turn(
            self.now_us, [(self.port, ("10.0.0.2", 7000), data)], arrived_us=self.now_us - 20_000
        )


@pytest.mark.parametrize("gap", [100, 3_900, 8_191, 8_192, 8_193, 9_000, 20_000])
def test_what_comes_late_over_a_gap_is_taken(gap: int) -> None:
    bench = Pressed()
    newest = bench.hop_seq + gap
    bench.turn(bench.probe(hop_seq=newest))
    before = bench.counted()
    late = [newest - behind for behind in (1, 63, 64, 99, 1_000, 5_000, 8_191) if behind < gap]
    for number in late:
        bench.turn(bench.probe(hop_seq=number))
    after = bench.counted()
    assert after["probe_taken"] - before["probe_taken"] == len(late)
    for number in late:
        bench.turn(bench.probe(hop_seq=number))
    assert bench.counted()["replayed"] == len(late)
    stats = bench.engine.link_stats(bench.link)
    assert (stats.holes_open, stats.lost) == (0, 0)


def test_a_link_that_came_afterwards_has_its_first_packet_repaired() -> None:
    bench = Pressed()
    other = bench.engine.add_link(
        port=bench.port, address=OTHER, peer_node=3, hello_key=bench.hello_key, rate_bps=10**9
    )
    bench.offer(other)
    bench.turn(bench.probe(hop_seq=FIRST + 1), source=OTHER)
    assert bench.engine.link_stats(other).holes_open == 1
    bench.hop_seq += 1
    bench.turn(bench.probe())
    assert bench.engine.link_stats(bench.link).holes_open == 0


def test_a_late_packet_does_not_stand_for_the_next_one() -> None:
    bench = Pressed()
    bench.turn(bench.probe())
    missing = bench.hop_seq = bench.hop_seq + 1
    bench.turn(bench.probe())
    assert bench.engine.link_stats(bench.link).holes_open == 1
    bench.turn(bench.media(100))
    assert bench.counted()["shed_unchecked_video"] == 2
    bench.turn(bench.probe(hop_seq=missing))
    bench.turn(bench.probe())
    assert bench.engine.link_stats(bench.link).holes_open == 0
