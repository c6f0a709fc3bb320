"""Measured round trip times between 242 cities, to place lab nodes on the globe.

Input: the tables in `data/` (origin and licence in `data/README.md`), read on first use. Output:
cities and the average round trip between two of them, in microseconds. The tables hold a reading
per direction; where they differ, the larger is usually a bad reading, so the smaller one counts.
"""

from __future__ import annotations

import csv
import difflib
import functools
import gzip
import io
import math
from dataclasses import dataclass
from importlib import resources

from lab.errors import NoMeasurementError, UnknownCityError

SAME_CITY_RTT_US = 500  # two sites of one city; the tables do not say (our choice)
_NEAR_NAMES = 3


@dataclass(frozen=True, slots=True)
class City:
    """One row of `cities.csv`; None where the source says nothing."""

    name: str
    country: str
    continent: str
    latitude: float | None
    longitude: float | None
    population: int | None


def cities() -> tuple[City, ...]:
    """All cities, by name."""
    return tuple(_load_cities().values())


def find_city(name: str) -> City:
    """The city of this name, whatever the case. Raises UnknownCityError with near names."""
    table = _load_cities()
    key = name.strip().casefold()
    if key in table:
        return table[key]
    # A fragment ("york") names a city better than a distance between spellings does.
    near = [k for k in table if key and key in k][:_NEAR_NAMES]
    near += [k for k in difflib.get_close_matches(key, table, n=_NEAR_NAMES) if k not in near]
    raise UnknownCityError(name, tuple(table[k].name for k in near[:_NEAR_NAMES]))


def rtt_us(city_a: str, city_b: str) -> int:
    """Average round trip between two cities: the smaller of the two directions' readings.

    500 us within one city. Raises UnknownCityError, and NoMeasurementError for the 18 pairs that
    nobody measured.
    """
    a, b = find_city(city_a).name, find_city(city_b).name
    if a == b:
        return SAME_CITY_RTT_US
    readings = _load_rtt_ms()
    least_ms = min(readings[a].get(b, math.inf), readings[b].get(a, math.inf))
    if math.isinf(least_ms):
        raise NoMeasurementError(f"no measurement between {a} and {b}")
    return round(least_ms * 1_000)


@functools.cache
def _load_cities() -> dict[str, City]:
    """Cities by name in case-folded form."""
    rows = csv.DictReader(io.StringIO(_read_data("cities.csv").decode()))
    return {
        row["city"].casefold(): City(
            name=row["city"],
            country=row["country"],
            continent=row["continent"],
            latitude=float(row["lat"]) if row["lat"] else None,
            longitude=float(row["lon"]) if row["lon"] else None,
            population=int(row["population"]) if row["population"] else None,
        )
        for row in rows
    }


@functools.cache
def _load_rtt_ms() -> dict[str, dict[str, float]]:
    """Readings by measuring city and target; missing ones are left out."""
    text = gzip.decompress(_read_data("rtt_avg_ms.csv.gz")).decode()
    header, *rows = csv.reader(io.StringIO(text))
    return {
        row[0]: {
            target: float(value) for target, value in zip(header[1:], row[1:], strict=True) if value
        }
        for row in rows
    }


def _read_data(name: str) -> bytes:
    return resources.files("lab").joinpath("data", name).read_bytes()
