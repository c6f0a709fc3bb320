"""NTP times, with the wrap of NTP seconds in 2036."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp import ntp

WRAP_UNIX_S = 2**32 - 2_208_988_800  # 2036-02-07 06:28:16 UTC


def test_known_times() -> None:
    assert ntp.ntp_from_unix_us(0) == 2_208_988_800 << 32
    assert ntp.ntp_from_unix_us(1_500_000) == (2_208_988_801 << 32) | 0x80000000
    assert ntp.unix_us_from_ntp((2_208_988_801 << 32) | 0x40000000) == 1_250_000


def test_wrap_of_2036() -> None:
    assert ntp.ntp_from_unix_us(WRAP_UNIX_S * 1_000_000) == 0
    assert ntp.ntp_from_unix_us(WRAP_UNIX_S * 1_000_000 - 500_000) == 0xFFFFFFFF_80000000
    assert ntp.unix_us_from_ntp(0) == WRAP_UNIX_S * 1_000_000
    assert ntp.unix_us_from_ntp(0xFFFFFFFF_80000000) == WRAP_UNIX_S * 1_000_000 - 500_000


@given(st.integers(0, 4_000_000_000_000_000))
def test_round_trip_is_exact_to_the_microsecond(unix_us: int) -> None:
    assert ntp.unix_us_from_ntp(ntp.ntp_from_unix_us(unix_us)) == unix_us


@given(st.integers(0, 2**32 - 1))
def test_compact_is_the_middle(middle: int) -> None:
    assert ntp.compact_ntp(0xABCD << 48 | middle << 16 | 0x1234) == middle


# RFC 3550 6.4.1, figure 2: A 0xb710:8000, delay 5.25 s, last SR 0xb705:2000 give a round trip of
# 6.125 s.
def test_round_trip_time_of_rfc_3550_figure_2() -> None:
    units = 0xB7108000 - ntp.compact_from_us(5_250_000) - 0xB7052000
    assert ntp.compact_from_us(5_250_000) == 0x00054000
    assert ntp.us_from_compact(units) == 6_125_000


@pytest.mark.parametrize(
    ("duration_us", "units"),
    [(0, 0), (-1_000_000, 0), (15, 1), (1_000_000, 65_536), (70_000_000_000, 0xFFFFFFFF)],
)
def test_compact_from_us(duration_us: int, units: int) -> None:
    assert ntp.compact_from_us(duration_us) == units


@given(st.integers(0, 2**32 - 1))
def test_compact_round_trip(units: int) -> None:
    assert ntp.compact_from_us(ntp.us_from_compact(units)) == units
