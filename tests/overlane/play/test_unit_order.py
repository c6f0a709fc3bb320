"""The order in which units reach the decoder."""

from overlane.play.tracks import AudioUnit
from overlane.play.unit_order import UnitOrder


def _unit(
    first: int, completed_us: int, *, last: int | None = None, epoch: int = 0, key: bool = False
) -> AudioUnit:
    return AudioUnit(
        epoch=epoch,
        first=first,
        last=first if last is None else last,
        rtp_time=0,
        completed_us=completed_us,
        key=key,
        payload=b"",
    )


def _firsts(units: list[AudioUnit]) -> list[tuple[int, int]]:
    return [(unit.epoch, unit.first) for unit in units]


def test_units_follow_each_other_at_once_and_gaps_are_waited_for() -> None:
    order: UnitOrder[AudioUnit] = UnitOrder(300_000)
    order.push(_unit(65_534, 0, last=65_536, key=True))
    assert _firsts(order.ready(299_999)) == []
    assert _firsts(order.ready(300_000)) == [(0, 65_534)]
    order.push(_unit(65_540, 310_000))
    assert order.ready(310_000) == []
    order.push(_unit(65_537, 320_000, last=65_539))
    assert _firsts(order.ready(320_000)) == [(0, 65_537), (0, 65_540)]


def test_what_comes_after_its_turn_is_counted_and_left_out() -> None:
    order: UnitOrder[AudioUnit] = UnitOrder(300_000)
    order.push(_unit(1, 0, key=True))
    order.push(_unit(3, 0))
    assert _firsts(order.ready(300_000)) == [(0, 1), (0, 3)]
    order.push(_unit(2, 300_001))
    assert order.drain() == []
    assert order.late == 1


def test_it_begins_with_a_key_unit() -> None:
    order: UnitOrder[AudioUnit] = UnitOrder(0)
    for first, key in ((1, False), (2, True), (3, False)):
        order.push(_unit(first, 0, key=key))
    assert _firsts(order.drain()) == [(0, 2), (0, 3)]


def test_a_new_epoch_comes_after_the_old_one() -> None:
    order: UnitOrder[AudioUnit] = UnitOrder(100)
    order.push(_unit(9, 0, key=True))
    order.push(_unit(2, 5, epoch=1))
    order.push(_unit(10, 10))
    assert _firsts(order.ready(100)) == [(0, 9), (0, 10)]
    assert _firsts(order.ready(105)) == [(1, 2)]
