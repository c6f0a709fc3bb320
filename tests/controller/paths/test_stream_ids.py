"""Ids come once; after the largest the counter begins again and passes over what lives."""

import pytest

from controller.paths import StreamIds


def test_ids_count_on_across_the_wrap() -> None:
    ids = StreamIds(0xFFFFFFFE)
    assert [ids.draw(()) for _ in range(4)] == [0xFFFFFFFE, 0xFFFFFFFF, 1, 2]
    assert ids.next_id == 3


def test_living_ids_are_passed_over() -> None:
    ids = StreamIds(0xFFFFFFFF)
    assert [ids.draw({0xFFFFFFFF, 1, 3}) for _ in range(2)] == [2, 4]


@pytest.mark.parametrize(("start", "first"), [(0, 0xFFFFFFFF), (2**32, 1), (2**32 + 4, 5), (7, 7)])
def test_any_start_is_an_id(start: int, first: int) -> None:
    assert StreamIds(start).draw(()) == first
