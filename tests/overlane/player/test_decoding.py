"""The order in which frames are decoded; exact microseconds."""

from overlane.player.decoding import InOrder
from overlane.player.frames import Frame
from overlane.player.playout import TARGET_US

KEY = (b"\x67\x42\x00\x1e", b"\x65\x88")
OTHER = (b"\x41\x9a",)


def frame(number: int, at_us: int, *, key: bool = False) -> Frame:
    """Two packets long."""
    return Frame(number, 2, 3000 * number, at_us, KEY if key else OTHER)


def numbers(frames: list[Frame]) -> list[int]:
    return [found.first_number for found in frames]


def test_frames_wait_for_the_first_key_frame_under_repair() -> None:
    order = InOrder()

    assert order.feed(frame(65_534, 1), 1) == []
    assert order.feed(frame(65_536, 2), 10 * TARGET_US) == []
    assert numbers(order.feed(frame(65_532, 3, key=True), 3)) == [65_532, 65_534, 65_536]


def test_a_gap_is_waited_for_as_long_as_the_buffer_holds() -> None:
    order = InOrder()
    assert numbers(order.feed(frame(10, 0, key=True), 0)) == [10]

    assert order.feed(frame(14, 1000), 1000) == []
    assert order.due(1000 + TARGET_US - 1) == []
    assert numbers(order.due(1000 + TARGET_US)) == [14]
    assert order.feed(frame(12, 400_000), 400_000) == []


def test_a_repair_in_time_restores_the_order() -> None:
    order = InOrder()
    order.feed(frame(10, 0, key=True), 0)
    order.feed(frame(14, 1000), 1000)

    assert numbers(order.feed(frame(12, 2000), 2000)) == [12, 14]
