"""City data: known readings, symmetry, and errors that help."""

from __future__ import annotations

import pytest

from lab import cities
from lab.errors import NoMeasurementError, UnknownCityError


@pytest.mark.parametrize(
    ("a", "b", "milliseconds"),
    [("London", "New York", 71), ("New York", "Los Angeles", 69), ("Los Angeles", "Tokyo", 108)],
)
def test_known_pairs(a: str, b: str, milliseconds: int) -> None:
    assert round(cities.rtt_us(a, b) / 1_000) == milliseconds
    assert cities.rtt_us(a, b) == cities.rtt_us(b, a)


def test_smaller_direction_counts() -> None:
    assert cities.rtt_us("New York", "London") == 71_000  # readings are 71.00 and 71.28


def test_all_pairs_but_eighteen_have_a_reading() -> None:
    names = [city.name for city in cities.cities()]
    assert len(names) == len(set(names)) == 242
    missing = 0
    for number, a in enumerate(names):
        for b in names[:number]:
            try:
                assert cities.rtt_us(a, b) > 0
            except NoMeasurementError:
                missing += 1
    assert missing == 18


def test_city_fields() -> None:
    london = cities.find_city(" london ")
    assert london.name == "London"
    assert london.country == "United Kingdom"
    assert london.latitude == pytest.approx(51.5, abs=0.1)
    assert cities.find_city("Westpoort").population is None


def test_same_city() -> None:
    assert cities.rtt_us("Tokyo", "tokyo") == cities.SAME_CITY_RTT_US


@pytest.mark.parametrize(
    ("name", "near"), [("Londn", "London"), ("york", "New York"), ("Los Angles", "Los Angeles")]
)
def test_unknown_city_names_near_ones(name: str, near: str) -> None:
    with pytest.raises(UnknownCityError, match="did you mean") as caught:
        cities.rtt_us("Tokyo", name)
    assert near in caught.value.near
    assert near in str(caught.value)


@pytest.mark.parametrize("name", ["", "zzzzzz"])
def test_unknown_city_without_near_ones(name: str) -> None:
    with pytest.raises(UnknownCityError) as caught:
        cities.find_city(name)
    assert caught.value.near == ()
