"""Bursts: sizes, places in time, and nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from overlane.publish.pacer import BURST_GAP_US, Burst, plan_bursts


def test_a_small_frame_leaves_in_two_bursts() -> None:
    assert plan_bursts(6, 33_333) == [Burst(0, 3), Burst(1_000, 3)]


def test_a_key_frame_is_spread_over_a_third_of_the_interval() -> None:
    bursts = plan_bursts(60, 33_333)
    assert len(bursts) == 12
    assert {burst.packets for burst in bursts} == {5}
    assert bursts[-1].offset_us == 11_000


@given(st.integers(1, 2_000), st.integers(1, 1_000_000))
def test_every_packet_leaves_within_the_window(packets: int, interval_us: int) -> None:
    bursts = plan_bursts(packets, interval_us)
    assert sum(burst.packets for burst in bursts) == packets
    assert all(burst.packets > 0 for burst in bursts)
    assert [burst.offset_us for burst in bursts] == [n * BURST_GAP_US for n in range(len(bursts))]
    assert bursts[-1].offset_us <= interval_us // 3
